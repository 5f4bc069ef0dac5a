"""A song -> its singing voice and its accompaniment, by one of several backends.

Backends
--------
``none``
    Nothing is separated: the recording itself stands for the voice.
``stems:FOLDER``
    Already separated: ``FOLDER/NAME.flac`` (or another audio suffix), or ``FOLDER/NAME/vocals.flac`` with an optional
    ``accompaniment`` or ``no_vocals`` beside it, NAME being the recording's with or without its suffix. Folders around
    the recording may be repeated in FOLDER; the longest path that exists wins.
``htdemucs``
    HTDemucs with the model that ``scripts/setup_htdemucs.py`` has fetched.
``onnx:MODEL.onnx``, ``onnx:OWNER/NAME``, ``onnx:OWNER/NAME@COMMIT``
    HTDemucs through onnxruntime, see :mod:`hmm2song.indexing.separation.onnx_backend`.
``spleeter``, ``spleeter:MODEL_FOLDER``
    Spleeter's two stems in an environment of its own, see :mod:`hmm2song.indexing.separation.spleeter_backend`.

Conventions
-----------
* A backend's ``name`` changes with its weights, so it can stand in the name of whatever is made from its stems.
* The stems of a recording are complete in their folder or absent, and made for that recording's content: see
  :mod:`hmm2song.indexing.separation.segmentwise`.
* Every separation is checked: :mod:`hmm2song.indexing.separation.voice_check`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from hmm2song.audio import AUDIO_SUFFIXES, stereo_blocks
from hmm2song.errors import SeparationError, SeparatorUnavailableError
from hmm2song.indexing.separation.stems import DIGEST_CHARS, SILENT_PEAK, Progress, Separator, Stems
from hmm2song.indexing.separation.voice_check import VoiceCheck
from hmm2song.machine import cache_folder

ACCOMPANIMENT_NAMES = ("accompaniment", "no_vocals")
"""What Spleeter and Demucs call all that is not the voice."""
CHECKED_S = 60.0
"""Length of the beginning of stems from elsewhere that is compared with the recording."""
CHECK_RATE_HZ = 16000
USAGE = (
    "'none', 'stems:FOLDER', 'htdemucs', 'onnx:MODEL.onnx', 'onnx:OWNER/NAME', 'spleeter' or 'spleeter:MODEL_FOLDER'"
)
HTDEMUCS_SETUP = "python scripts/setup_htdemucs.py"


def htdemucs_model() -> Path:
    """Return where ``scripts/setup_htdemucs.py`` puts the model."""
    return cache_folder() / "htdemucs" / "htdemucs.onnx"


def open_separator(spec: str, threads: int = 1) -> Separator:
    """Open the backend of a specification (see the module's description), with so many cores for one recording.

    Several recordings at a time on one core each are faster than one on several. SeparatorUnavailableError if there is
    no such backend, or what it needs is missing.
    """
    if threads < 1:
        raise SeparatorUnavailableError(f"a separator needs at least one thread, not {threads}")
    kind, colon, argument = spec.partition(":")
    if colon and not argument:
        raise SeparatorUnavailableError(f"{spec!r} names nothing after its colon; give {USAGE}")
    if spec == "none":
        return NoSeparation()
    if kind == "stems" and argument:
        return FolderOfStems(Path(argument))
    if spec == "htdemucs":
        kind, argument = "onnx", str(htdemucs_model())
        if not htdemucs_model().is_file():
            raise SeparatorUnavailableError(
                f"the HTDemucs model is missing: there is no {argument!r}; fetch it once (98 MB) with: {HTDEMUCS_SETUP}"
            )
    if kind == "onnx" and argument:
        from hmm2song.indexing.separation.onnx_backend import OnnxSeparator  # here: it brings onnxruntime with it

        return OnnxSeparator.open(argument, threads)
    if kind == "spleeter":
        from hmm2song.indexing.separation.spleeter_backend import SpleeterSeparator

        return SpleeterSeparator.open(Path(argument) if argument else None, threads)
    raise SeparatorUnavailableError(f"there is no separation {spec!r}; give {USAGE}")


@lru_cache(maxsize=1)
def process_separator(spec: str) -> Separator:
    """Open a backend once per process and keep it: it may hold a network of hundreds of megabytes."""
    return open_separator(spec)


class NoSeparation:
    """The backend ``none``."""

    name = "none"

    def separate(self, recording: Path, out: Path, progress: Progress | None = None) -> Stems:
        """Return the recording as its own voice; nothing is read or written."""
        del out
        if progress is not None:
            progress(1.0)
        return Stems(recording, None, is_mix=True)


class FolderOfStems:
    """The backend ``stems``: voices that were separated elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self.name = f"stems-{_listing_digest(folder)}"
        except OSError as error:
            raise SeparatorUnavailableError(f"the folder of stems {str(folder)!r} cannot be read ({error})") from error

    def separate(self, recording: Path, out: Path, progress: Progress | None = None) -> Stems:
        """Find the stems of a recording; nothing is written. SeparationError if there are none or nothing was done."""
        del out
        vocals = _first_file(self._vocals_candidates(recording))
        if vocals is None:
            raise SeparationError(
                f"{recording.name!r} has no separated voice in {str(self._folder)!r}: "
                f"neither {recording.stem}.flac nor {recording.name}/vocals.flac, nor with another audio suffix"
            )
        _check_beginning(recording, vocals)
        names = ACCOMPANIMENT_NAMES if vocals.stem == "vocals" else ()
        beside = (vocals.with_name(name + suffix) for name in names for suffix in AUDIO_SUFFIXES)
        stems = Stems(vocals, _first_file(beside), is_mix=False)
        if progress is not None:
            progress(1.0)
        return stems

    def _vocals_candidates(self, recording: Path) -> Iterator[Path]:
        parts = recording.parent.parts
        for first in range(len(parts) + 1):
            parent = self._folder.joinpath(*(part for part in parts[first:] if part not in (recording.anchor, "..")))
            for name in (recording.name, recording.stem):
                for suffix in AUDIO_SUFFIXES:
                    yield parent / name / f"vocals{suffix}"
                    yield parent / f"{name}{suffix}"


def _listing_digest(folder: Path) -> str:
    """Return a digest of names, sizes and times of a folder's files; a stem exchanged for another changes it."""
    digest = hashlib.sha256()
    os.listdir(folder)  # raises OSError where rglob finds nothing
    for file in sorted(file for file in folder.rglob("*") if not file.is_dir()):
        status = file.stat()
        line = f"{file.relative_to(folder).as_posix()}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(os.fsencode(line))
    return digest.hexdigest()[:DIGEST_CHARS]


def _check_beginning(recording: Path, vocals: Path) -> None:
    """Compare what is there of a voice at the beginning with the recording; a silent beginning says nothing."""
    if vocals.samefile(recording):
        raise SeparationError(
            f"{recording.name!r} is its own separated voice; use the backend 'none' for single voices"
        )
    mix, voice = _beginning(recording), _beginning(vocals)
    n = min(len(mix), len(voice))
    check = VoiceCheck(CHECK_RATE_HZ)
    check.add(mix[:n], voice[:n])
    try:
        if n and np.abs(mix[:n]).max() > SILENT_PEAK and np.abs(voice[:n]).max() > SILENT_PEAK:
            check.require_change()
    except SeparationError as error:
        raise SeparationError(f"{vocals.name!r} for {recording.name!r}: {error}") from error


def _beginning(recording: Path) -> np.ndarray:
    blocks, n_frames = [], 0
    for block in stereo_blocks(recording, CHECK_RATE_HZ):
        blocks.append(block)
        n_frames += len(block)
        if n_frames >= CHECKED_S * CHECK_RATE_HZ:
            break
    return np.concatenate(blocks)


def _first_file(candidates: Iterator[Path]) -> Path | None:
    return next((candidate for candidate in candidates if candidate.is_file()), None)
