"""What is made of one recording for the dataset of the first source system, stage by stage.

======== ======================================================= ====================================
stage    makes                                                   in the work folder
======== ======================================================= ====================================
separate voice and accompaniment                                 ``separate/KEY/*.flac``
full     voice where there is voice, accompaniment elsewhere     ``full/KEY.flac``
split    clips of 10 s every 8 s, to listen to                   ``split/NAME-KEY/000.flac``
filters  their five "hums", to listen to                         ``filters/NAME-KEY/000_fh.flac``
mel      log-mel pictures of clips and hums                      ``mel/KEY.safetensors``
======== ======================================================= ====================================

Conventions
-----------
* A stage makes what it needs unless it is there already. ``mel`` cuts and filters in memory: the files of ``split`` and
  ``filters``, the same sound in 16 bits, are for people.
* Keys are digests of the recording's content and of all that has been done to it, so files made from another recording
  or by another separator, rule or version are not used, and the name of a file does not matter.
* Every file is complete or absent. The same recording gives the same bytes, noise included.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hmm2song.catalog.storage import sha256_of
from hmm2song.errors import AudioError
from hmm2song.evaluation.baselines.mel_cnn.clips import KINDS, ClipSetError
from hmm2song.evaluation.baselines.mel_cnn.full_input import Rule, full_input, read_mono, read_pair
from hmm2song.evaluation.baselines.mel_cnn.hum_filters import hums
from hmm2song.evaluation.baselines.mel_cnn.mel import N_FRAMES, N_MELS, SAMPLE_RATE_HZ, log_mel, segments
from hmm2song.indexing.separation.separation import process_separator
from hmm2song.indexing.separation.stems import Stems

STAGES_VERSION = "1"
"""Part of every key: change it when what a stage makes changes, so that old files are not used."""
SEED = 2023
"""Of the noise; a clip's own is drawn from this, the recording's content and the clip's number."""
KEY_CHARS = 24
"""Hexadecimal digits of a key: 96 bits, no two recordings share one."""
PICTURES = "pictures"


class Stage(StrEnum):
    """What is made; see the module."""

    SEPARATE = "separate"
    FULL = "full"
    SPLIT = "split"
    FILTERS = "filters"
    MEL = "mel"


@dataclass(frozen=True)
class Settings:
    """Where and how: the work folder, what ``open_separator`` takes, and the rule of the full input."""

    work: Path
    separator: str
    rule: Rule


@dataclass(frozen=True)
class Pictures:
    """The stored log-mel pictures of a recording; ``n_samples`` is the length of its full input at 22,050 Hz."""

    file: Path
    n_samples: int

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(segments(self.n_samples))

    def clips(self) -> np.ndarray:
        """Read the pictures: (n_clips, 6, 128, 431), float16, decibels, kinds in the order of ``clips.KINDS``."""
        with safe_open(self.file, framework="numpy") as stored:
            return stored.get_tensor(PICTURES)


def make(stage: str, recording: str, name: str, settings: Settings) -> str:
    """Make a stage of a recording unless it is there, and return its place in the work folder (the voice's of stems).

    The same function runs in this process, in others, and on a cluster, so its arguments and its result are plain.
    ``name`` becomes part of the names of clips to listen to.

    Raises AudioError if the recording cannot be read or separated, SeparatorUnavailableError if none can be separated,
    and ClipSetError if the work folder cannot be written to.
    """
    one = _Recording(Path(recording), name, settings)
    made = {
        Stage.SEPARATE: lambda: one.stems().vocals,
        Stage.FULL: one.full,
        Stage.SPLIT: one.split,
        Stage.FILTERS: one.filters,
        Stage.MEL: one.mel,
    }[Stage(stage)]()
    return os.path.relpath(made, settings.work)


def open_pictures(file: Path) -> Pictures | None:
    """Open the file of the stage ``mel``; returns None if it is missing or truncated."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as stored:
            return Pictures(file, int(stored.metadata()["n_samples"]))
    except SafetensorError:
        return None


@dataclass(frozen=True)
class _Recording:
    """One recording, and its file of every stage."""

    file: Path
    name: str
    settings: Settings

    @cached_property
    def content(self) -> str:
        """Digest of the recording's bytes."""
        try:
            return sha256_of(self.file)
        except OSError as error:
            raise AudioError(f"{self.file.name!r} cannot be opened ({error.strerror})") from error

    def key(self, *done: str) -> str:
        """Return the key for what has been done to the recording."""
        parts = "\n".join((STAGES_VERSION, self.content, process_separator(self.settings.separator).name, *done))
        return hashlib.sha256(parts.encode()).hexdigest()[:KEY_CHARS]

    def stems(self) -> Stems:
        folder = self.settings.work / Stage.SEPARATE / self.key()
        return process_separator(self.settings.separator).separate(self.file, folder)

    def full(self) -> Path:
        file = self.settings.work / Stage.FULL / f"{self.key(self.settings.rule)}.flac"
        if not file.is_file():
            pair = read_pair(self.stems(), self.file)
            with _completed(file) as temporary:
                _write_sound(temporary, full_input(pair.voice, pair.accompaniment, self.settings.rule))
        return file

    def clips(self) -> list[np.ndarray]:
        """Return the clips, float32 (n,) each, in the order of the song."""
        samples = read_mono(self.full())
        return [samples[segment.start : segment.stop] for segment in segments(len(samples))]

    def hums(self, number: int, clip: np.ndarray) -> dict[str, np.ndarray]:
        """Return the hums of the clip with this number."""
        return hums(clip, np.random.default_rng([SEED, int(self.content[:16], 16), number]))

    def split(self) -> Path:
        folder = self._listening_folder(Stage.SPLIT)
        if not folder.is_dir():
            with _completed(folder) as temporary:
                temporary.mkdir()
                for number, clip in enumerate(self.clips()):
                    _write_sound(temporary / f"{number:03d}.flac", clip)
        return folder

    def filters(self) -> Path:
        folder = self._listening_folder(Stage.FILTERS)
        if not folder.is_dir():
            with _completed(folder) as temporary:
                temporary.mkdir()
                for number, clip in enumerate(self.clips()):
                    for kind, hum in self.hums(number, clip).items():
                        _write_sound(temporary / f"{number:03d}_{kind}.flac", hum)
        return folder

    def mel(self) -> Path:
        file = self.settings.work / Stage.MEL / f"{self.key(self.settings.rule)}.safetensors"
        if open_pictures(file) is None:
            clips = self.clips()
            pictures = np.empty((len(clips), len(KINDS), N_MELS, N_FRAMES), dtype=np.float16)
            for number, clip in enumerate(clips):
                sounds = {"org": clip} | self.hums(number, clip)
                for place, kind in enumerate(KINDS):
                    pictures[number, place] = log_mel(sounds[kind])
            with _completed(file) as temporary:
                save_file({PICTURES: pictures}, temporary, {"n_samples": str(soundfile.info(self.full()).frames)})
        return file

    def _listening_folder(self, stage: Stage) -> Path:
        readable = re.sub(r"[^\w.-]+", "_", self.name)[:60]
        return self.settings.work / stage / f"{readable}-{self.key(self.settings.rule)}"


def _write_sound(file: Path, samples: np.ndarray) -> None:
    """Write FLAC in 16 bits; what exceeds full scale is clipped."""
    soundfile.write(file, np.clip(samples, -1.0, 1.0), SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")


@contextmanager
def _completed(target: Path) -> Iterator[Path]:
    """Give a temporary place for a file or folder, and move it to its own when it is complete."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
            temporary = Path(folder, target.name)
            yield temporary
            if target.is_dir():  # made by another run at the same time
                shutil.rmtree(temporary)
            else:
                os.replace(temporary, target)
    except (OSError, SafetensorError, soundfile.LibsndfileError) as error:  # a full disk is not the recording's fault
        raise ClipSetError(f"cannot write to {str(target.parent)!r} ({error})") from error
