"""Separate a recording of any length in overlapping segments, with memory for a few of them.

How it works
------------
* The recording is decoded block by block; the model sees segments of a fixed length, each beginning ``stride`` frames
  after the one before. Segments are added up with triangular weights, so that none of their ends is heard (the scheme
  of Demucs, ``demucs/apply.py``: Defossez 2021, Rouard et al. 2023). A last, shorter segment is seen in the middle of
  as much of the recording as there is around it.
* The accompaniment is the recording minus the voice: the two add up to the recording.
* Both are written as 16-bit FLAC while they come.

How the folder stays safe
-------------------------
* Everything is written into a hidden folder beside its place and moved there at the end. ``separation.json``, moved
  last, names the separator, the recording's digest and the sizes of both files: a folder where one of these is wrong
  or missing is made anew.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from hmm2song.audio import stereo_blocks
from hmm2song.catalog.storage import sha256_of
from hmm2song.errors import AudioError, SeparationError, SeparatorUnavailableError
from hmm2song.indexing.separation.stems import SILENT_PEAK, Progress, Stems
from hmm2song.indexing.separation.voice_check import VoiceCheck

VOCALS_NAME = "vocals.flac"
ACCOMPANIMENT_NAME = "accompaniment.flac"
RECORD_NAME = "separation.json"
PARTIAL_PREFIX = ".partial-"
STALE_S = 3600.0
"""Partial folders this old were left by a run that was killed; a younger one may be somebody else's work."""


class SegmentModel(Protocol):
    """Finds the voice in a segment."""

    rate_hz: int
    segment_frames: int
    stride_frames: int

    def voice(self, mix: np.ndarray) -> np.ndarray:
        """Return the voice in a mix; both are float32 of shape (segment_frames, 2).

        It raises SeparationError if it fails on this segment, SeparatorUnavailableError if it fails on every one.
        """
        ...


def separate_in_segments(
    model: SegmentModel, name: str, recording: Path, out: Path, progress: Progress | None = None
) -> Stems:
    """Separate a recording into a folder, unless that was done before by the separator of this name.

    ``recording`` is anything that :mod:`hmm2song.audio` can decode, up to an hour; ``progress`` is called with the
    share of it that is done, 0 to 1. Afterwards ``out`` holds the two stems and ``separation.json``.

    Raises AudioError if the recording cannot be decoded, as SeparationError if the result cannot be right, and
    SeparatorUnavailableError if the model does not work or ``out`` cannot be written.
    """
    digest = _digest_of(recording)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(out)
        stems = _complete(out, name, digest)
        if stems is None:
            partial = Path(tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=out))
            try:
                record = {"separator": name, "recording_sha256": digest} | _write(model, recording, partial, progress)
                _publish(record, partial, out)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            stems = Stems(out / VOCALS_NAME, out / ACCOMPANIMENT_NAME, is_mix=False, voice_db=record["voice_db"])
    except (OSError, soundfile.LibsndfileError) as error:  # the disk is full or read-only: no fault of the recording
        raise SeparatorUnavailableError(f"cannot write stems to {str(out)!r} ({error})") from error
    if progress is not None:
        progress(1.0)
    return stems


def overlap_add(blocks: Iterator[np.ndarray], model: SegmentModel) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Run a model over a mix that comes in blocks, float32 of shape (n, 2) with any n; silent segments are left out.

    Yields pieces of the mix and their voice, both of shape (n, 2), together as long as the input.
    """
    segment, stride = model.segment_frames, model.stride_frames
    weight = _triangle(segment)[:, None]
    kept = np.zeros((segment, 2), np.float32)  # the frames before the next segment, and what is known of the others
    voice_sum = np.zeros((segment, 2), np.float32)
    weight_sum = np.zeros((segment, 1), np.float32)
    while n_ahead := len(kept := _read_on(kept, blocks, 2 * segment)) - segment:
        n_new = min(segment, n_ahead)
        before = (segment - n_new) // 2
        mix = np.zeros((segment, 2), np.float32)
        mix[: before + n_new] = kept[segment - before : segment + n_new]
        if np.abs(mix).max() > SILENT_PEAK:
            voice_sum[:n_new] += weight[:n_new] * model.voice(mix)[before : before + n_new]
        weight_sum[:n_new] += weight[:n_new]
        n_done = min(stride, n_ahead)
        yield kept[segment : segment + n_done], voice_sum[:n_done] / weight_sum[:n_done]
        for sums in (voice_sum, weight_sum):
            sums[:-stride], sums[-stride:] = sums[stride:].copy(), 0.0
        kept = kept[n_done:]


def _read_on(kept: np.ndarray, blocks: Iterator[np.ndarray], n_frames: int) -> np.ndarray:
    """Append blocks until there are so many frames, or no more blocks."""
    parts, n_known = [kept], len(kept)
    while n_known < n_frames and (block := next(blocks, None)) is not None:
        parts.append(block)
        n_known += len(block)
    return np.concatenate(parts)


def _triangle(length: int) -> np.ndarray:
    """Return weights that rise from the ends to 1 in the middle, none of them 0."""
    rising = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(rising, rising[::-1]) / (length / 2)


def _write(model: SegmentModel, recording: Path, partial: Path, progress: Progress | None) -> dict:
    """Separate into a folder; return what is worth recording of it."""
    check = VoiceCheck(model.rate_hz)
    n_frames = 0
    blocks = stereo_blocks(recording, model.rate_hz, progress)
    form = {"samplerate": model.rate_hz, "channels": 2, "format": "FLAC", "subtype": "PCM_16"}
    with (
        soundfile.SoundFile(partial / VOCALS_NAME, "w", **form) as vocals,
        soundfile.SoundFile(partial / ACCOMPANIMENT_NAME, "w", **form) as accompaniment,
    ):
        for mix, voice in overlap_add(blocks, model):
            check.add(mix, voice)
            vocals.write(np.clip(voice, -1.0, 1.0))
            accompaniment.write(np.clip(mix - voice, -1.0, 1.0))
            n_frames += len(mix)
    try:
        voice_db = check.verdict()
    except SeparationError as error:
        raise SeparationError(f"{recording.name!r}: {error}") from error
    return {
        "rate_hz": model.rate_hz,
        "duration_s": round(n_frames / model.rate_hz, 3),
        "voice_db": round(voice_db, 2),
        "bytes": {name: (partial / name).stat().st_size for name in (VOCALS_NAME, ACCOMPANIMENT_NAME)},
    }


def _publish(record: dict, partial: Path, out: Path) -> None:
    """Move the stems into place, the record last."""
    (partial / RECORD_NAME).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (out / RECORD_NAME).unlink(missing_ok=True)  # that of stems about to be replaced
    for name in (ACCOMPANIMENT_NAME, VOCALS_NAME, RECORD_NAME):
        (partial / name).replace(out / name)


def _complete(out: Path, name: str, digest: str) -> Stems | None:
    """Return the stems in a folder if they are complete and were made by this separator of this recording."""
    try:
        record = json.loads((out / RECORD_NAME).read_text(encoding="utf-8"))
        if (record["separator"], record["recording_sha256"]) != (name, digest):
            return None
        if any((out / stem).stat().st_size != record["bytes"][stem] for stem in (VOCALS_NAME, ACCOMPANIMENT_NAME)):
            return None
        return Stems(out / VOCALS_NAME, out / ACCOMPANIMENT_NAME, is_mix=False, voice_db=float(record["voice_db"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # missing, somebody else's, or truncated
        return None


def _remove_leftovers(out: Path) -> None:
    for folder in out.glob(f"{PARTIAL_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > STALE_S:
            shutil.rmtree(folder, ignore_errors=True)


def _digest_of(recording: Path) -> str:
    try:
        return sha256_of(recording)
    except (OSError, ValueError) as error:  # ValueError: a null character in its name
        raise AudioError(f"{recording.name!r} cannot be opened ({error}); check the name") from error
