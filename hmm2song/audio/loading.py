"""A whole recording or a part of it, from a file or an array, to samples."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hmm2song.audio.decoding import BLOCK_FRAMES, file_blocks
from hmm2song.audio.resampling import Block, check_length, check_rate, checked, mono, resampled, to_float, to_stereo
from hmm2song.errors import AudioError

MAX_HUM_S = 60.0
"""Longest hum in seconds: 10 s suffice to find a song, and a minute is what people will wait for."""
MAX_FILE_BYTES = 50 * 1024**2
"""Largest file: one minute of 24-bit stereo takes 33 MiB at 96 kHz, and 11 MiB as browsers record it."""
MAX_RECORDING_S = 3600.0
"""Longest song in seconds."""
MAX_RECORDING_BYTES = 2**30
"""Largest song: an hour of CD-quality stereo takes 0.6 GiB uncompressed."""
AUDIO_SUFFIXES = (
    ".flac", ".wav", ".aiff", ".aif", ".aifc", ".wv", ".ape", ".tta", ".caf", ".w64",
    ".ogg", ".opus", ".mp3", ".m4a", ".webm", ".oga", ".mp2", ".aac", ".m4b", ".wma", ".ac3", ".amr", ".mka",
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".avi", ".mpg", ".mpeg", ".flv", ".wmv", ".ogv",
)  # fmt: skip
"""How the names of recordings end, those without loss first; of videos the sound is read."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:/")  # two letters at least: C:/ is a drive


def load_audio(
    source: str | os.PathLike | tuple[int, np.ndarray], max_s: float = MAX_HUM_S, max_bytes: int = MAX_FILE_BYTES
) -> np.ndarray:
    """Read a recording as mono float32 samples at 16 kHz, shape (n,), at least one.

    Channels are averaged; if they cancel each other, the loudest is taken. A damaged file gives what could be decoded.

    Parameters
    ----------
    source : path or (sample_rate_hz, samples)
        A local audio or video file; or what ``gradio.Audio(type="numpy")`` gives: the rate in Hz and an array
        of shape (n,) or (n, n_channels), of floats with full scale +-1 or of uint8, int8, int16, int32.
    max_s, max_bytes
        Longest recording and largest file accepted. A longer recording is refused before it is decoded to its end.

    Raises
    ------
    AudioError
        Missing, empty, not audio, without sound, too long, too large, or with samples that are not numbers.
    """
    if isinstance(source, (tuple, list)):
        return mono(_array_blocks(source, max_s), "the recording", max_s)
    path = local_path(source)
    label = repr(path.name)
    with open_checked(path, label, max_bytes) as file:
        return mono(file_blocks(file, label, max_s), label, max_s)


def load_recording(source: str | os.PathLike | tuple[int, np.ndarray]) -> np.ndarray:
    """Do the same with a whole song."""
    return load_audio(source, MAX_RECORDING_S, MAX_RECORDING_BYTES)


def stereo_blocks(
    recording: str | os.PathLike, rate_hz: int, progress: Callable[[float], None] | None = None, from_s: float = 0.0
) -> Iterator[np.ndarray]:
    """Yield a recording in blocks of some thousand float32 samples, shape (n, 2): memory does not depend on its length.

    One channel is doubled. More than two are averaged into both, as surround recordings have the voice in the centre.
    ``progress`` is called with the share of the file that has been read, 0 to 1; many codecs do not state the length.
    The decoder seeks to ``from_s``, exact to a packet of the codec (0.1 s), so a late place takes no longer. AudioError
    as of :func:`load_audio`, when the damage is reached.
    """
    path = local_path(recording)
    label = repr(path.name)
    with open_checked(path, label, MAX_RECORDING_BYTES) as file:
        n_bytes, share = os.fstat(file.fileno()).st_size, 0.0
        blocks = checked(file_blocks(file, label, MAX_RECORDING_S, from_s), label, MAX_RECORDING_S)
        for samples in resampled((Block(block.rate_hz, to_stereo(block.samples)) for block in blocks), rate_hz):
            yield samples
            if progress is not None:
                share = max(share, min(1.0, os.lseek(file.fileno(), 0, os.SEEK_CUR) / n_bytes))
                progress(share)


def load_part(
    recording: str | os.PathLike, rate_hz: int, from_s: float = 0.0, duration_s: float = math.inf
) -> np.ndarray:
    """Return a part of a recording, by default all of it, as mono samples at any rate, shape (n,) or less.

    AudioError as of :func:`load_audio`, when the damage is reached, and if nothing is there.
    """
    blocks, n_samples = [], 0
    for block in stereo_blocks(recording, rate_hz, from_s=from_s):
        blocks.append(block.mean(axis=1))
        n_samples += len(block)
        if n_samples >= duration_s * rate_hz:
            break
    return np.concatenate(blocks)[: round(min(duration_s * rate_hz, n_samples))]


def local_path(source: object) -> Path:
    """Return a file name as a path, or raise AudioError for what is none."""
    if source is None:
        raise AudioError("there is no recording (None); record or choose a file first")
    if not isinstance(source, (str, os.PathLike)):
        raise AudioError(
            "a recording is given as a file name or as (sample_rate_hz, samples), "
            f"not as {type(source).__name__}; pass one of these"
        )
    name = os.fsdecode(source)
    if not name:
        raise AudioError("the file name is empty (''); choose a recording")
    if _URL.match(name):
        scheme = name.split(":")[0]
        raise AudioError(f"{scheme}: addresses are not opened; download the recording and pass the file")
    return Path(name)


def open_checked(path: Path, label: str, max_bytes: int) -> BinaryIO:
    """Open a regular file (a pipe would block, a device never ends) that is neither empty nor too large."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{label} is a folder; choose one recording in it")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{label} is not a regular file; choose a recording")
        if status.st_size == 0:
            raise AudioError(f"{label} is empty (0 bytes); record it again")
        if status.st_size > max_bytes:
            raise AudioError(
                f"{label} has {status.st_size / 1024**2:.1f} MiB; at most {max_bytes / 1024**2:.1f} MiB are "
                "accepted: cut it shorter or save it as MP3"
            )
        return path.open("rb", buffering=0)  # libsndfile shares the descriptor: nothing may be read ahead
    except FileNotFoundError as error:
        raise AudioError(f"there is no file {label}; check the name and the folder") from error
    except OSError as error:
        raise AudioError(f"{label} cannot be opened ({error.strerror}); check the name and the permissions") from error
    except ValueError as error:  # a null character
        raise AudioError(f"{label} is no possible file name; rename the recording") from error


def _array_blocks(source: tuple, max_s: float) -> Iterator[Block]:
    if len(source) == 2 and isinstance(source[0], np.ndarray):
        source = source[::-1]  # (samples, rate), as soundfile and librosa give it
    is_pair = len(source) == 2 and isinstance(source[0], (int, float, np.number))
    if not is_pair or not isinstance(source[1], np.ndarray):
        kinds = ", ".join(type(part).__name__ for part in source)
        raise AudioError(f"sound in memory is given as (sample_rate_hz, NumPy array), not as ({kinds})")
    rate_hz, samples = source
    if samples.dtype.kind != "f" and samples.dtype not in (np.uint8, np.int8, np.int16, np.int32):
        raise AudioError(
            f"samples of type {samples.dtype} have no known full scale; convert them to int16, int32 or float32"
        )
    if samples.size == 0:
        raise AudioError(f"the recording is empty (array of shape {samples.shape}); record it again")
    if samples.ndim not in (1, 2):
        raise AudioError(f"samples must have the shape (n,) or (n, n_channels), got {samples.shape}")
    samples = samples.reshape(len(samples), -1)
    check_rate(rate_hz, "the recording")
    check_length(len(samples) / rate_hz, "the recording", max_s)
    for start in range(0, len(samples), BLOCK_FRAMES):
        yield Block(int(round(rate_hz)), to_float(samples[start : start + BLOCK_FRAMES]))
