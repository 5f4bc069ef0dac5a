"""Any recording -> stereo float32 samples at any rate, block by block.

Conventions
-----------
* The decoding, its limits and its errors are those of :mod:`hmm2song.audio`; here nothing is mixed down to mono and
  nothing is collected, so memory does not depend on the recording's length.
* One channel is doubled, more than two are averaged into both: where a surround recording has the voice in its
  centre channel, both sides get it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import soxr

from hmm2song.audio import (
    LARGEST_SAMPLE,
    MAX_RECORDING_BYTES,
    Block,
    check_channels,
    check_rate,
    file_blocks,
    local_path,
    open_checked,
)
from hmm2song.errors import AudioError
from hmm2song.melody.melody import MAX_SONG_S


def stereo_blocks(
    recording: str | os.PathLike,
    rate_hz: int,
    progress: Callable[[float], None] | None = None,
    max_s: float = MAX_SONG_S,
) -> Iterator[np.ndarray]:
    """Decode a recording.

    Parameters
    ----------
    recording : path
        A local audio or video file.
    rate_hz : int
        The sample rate wanted.
    progress : callable, optional
        Called with the share of the file that has been read, 0 to 1: codecs need not state their length.
    max_s : float
        Longest recording accepted, in seconds.

    Yields
    ------
    np.ndarray, shape (n, 2), float32
        Full scale is +-1; blocks of some thousand samples.

    Raises
    ------
    AudioError
        As :func:`hmm2song.audio.load_audio`, when the damage is reached.
    """
    path = local_path(recording)
    label = repr(path.name)
    n_frames = 0
    with open_checked(path, label, MAX_RECORDING_BYTES) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        share = 0.0
        resample: Callable[[np.ndarray, bool], np.ndarray] | None = None
        form = None
        for block in _readable(file_blocks(file, label, max_s), label):
            if form is None:
                form = (block.rate_hz, block.samples.shape[1])
                check_rate(block.rate_hz, label)
                check_channels(block.samples.shape[1], label)
                resample = _resampling(block.rate_hz, rate_hz)
            n_frames += len(block.samples)
            _check_block(block.samples, (block.rate_hz, block.samples.shape[1]), form, n_frames, label, max_s)
            yield resample(_to_stereo(block.samples), False)
            if progress is not None:
                share = max(share, min(1.0, os.lseek(file.fileno(), 0, os.SEEK_CUR) / n_bytes))
                progress(share)
        if resample is None:
            raise AudioError(f"{label} holds no sound that can be decoded; record it again")
        yield resample(np.zeros((0, 2), np.float32), True)


def _readable(blocks: Iterator[Block], label: str) -> Iterator[Block]:
    try:
        yield from blocks
    except OSError as error:  # a bad sector, a network drive that went away
        raise AudioError(f"{label} cannot be read to its end ({error}); copy it anew") from error


def _check_block(
    samples: np.ndarray, form: tuple[int, int], first_form: tuple[int, int], n_frames: int, label: str, max_s: float
) -> None:
    if form != first_form:
        raise AudioError(
            f"{label} changes from {first_form[0]} Hz, {first_form[1]} channels to {form[0]} Hz, {form[1]} channels "
            "on the way; save it again as WAV"
        )
    if n_frames > max_s * form[0]:
        raise AudioError(f"{label} lasts more than the {max_s:g} s that are accepted: cut out a part")
    if not np.all(np.abs(samples) <= LARGEST_SAMPLE):  # false for NaN too
        raise AudioError(
            f"{label} holds samples that are not finite numbers (NaN, infinite or absurdly large), "
            f"the first within {n_frames / form[0]:.1f} s; export it again"
        )


def _resampling(from_hz: int, to_hz: int) -> Callable[[np.ndarray, bool], np.ndarray]:
    """Return a function of (samples, is_last) that resamples block after block."""
    if from_hz == to_hz:
        return lambda samples, is_last: samples
    stream = soxr.ResampleStream(from_hz, to_hz, 2, dtype="float32")
    return lambda samples, is_last: stream.resample_chunk(samples, last=is_last).reshape(-1, 2)


def _to_stereo(samples: np.ndarray) -> np.ndarray:
    """Return (n, n_channels) as contiguous (n, 2)."""
    if samples.shape[1] > 2:
        samples = samples.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.ascontiguousarray(np.broadcast_to(samples, (len(samples), 2)), dtype=np.float32)
