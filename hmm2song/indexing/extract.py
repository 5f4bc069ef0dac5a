"""From one file to its melodies, stored where the next run finds them.

Conventions
-----------
* A result is a safetensors file ``<key>.safetensors`` in the folder of partial results. The key digests everything the
  result depends on: the extractor, the file's name and content and, for recordings, what separates them.
* That a file is unusable is a result too: a broken recording is not separated again after every interruption.
* A result appears under its name only when complete, so a killed run leaves good ones only.
* What a recording sounds like (:mod:`hmm2song.hearing.recording`) is a result of its own, in a file named after the
  listener too: another version of one does not make the other out of date.
* A recording is separated (:mod:`hmm2song.indexing.separation.separation`), then its vocal melody is taken
  (:mod:`hmm2song.indexing.vocal_melody`). The separated parts are deleted as soon as the melody is stored, unless there
  is a folder to keep them in.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hmm2song.audio import MAX_RECORDING_BYTES, load_recording
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.storage import sha256_of, whole_file
from hmm2song.errors import AudioError, CatalogError, MelodyError, ScoreError
from hmm2song.hearing.recording import LISTENER, HeardRecording, hear_samples
from hmm2song.indexing.separation.separation import process_separator
from hmm2song.indexing.separation.stems import Separator
from hmm2song.indexing.sources import Item
from hmm2song.indexing.tags import song_fields, stated_length_s
from hmm2song.indexing.vocal_melody import LITTLE_MELODY, LITTLE_VOICE_SHARE, vocal_melody
from hmm2song.melody.melody import Melody
from hmm2song.melody.scores import ScoredMelody, read_score_file
from hmm2song.song import Song, song_of

EXTRACTOR_VERSION = "6"
"""Part of every key: change it when extraction changes, so that older results are not used."""
STEMS_FOLDER = "stems"
SHARE_DIGITS = 4
WHOLE_SHARE = 0.9
"""A recording of which less can be decoded than this share, and a second, of the stated length is damaged."""


@dataclass(frozen=True)
class IndexOptions:
    """How files are read and what becomes of an existing catalog.

    Attributes
    ----------
    separator : str
        What separates voice and band, see :func:`hmm2song.indexing.separation.separation.open_separator`.
    stems_cache : Path or None
        Where separated parts are kept; None: deleted as soon as the melody is stored.
    previews : bool
        Let songs refer to their recordings (``Song.path``, relative to the source), so that the page can play them.
    update : bool
        Take what is in an existing catalog already instead of reading it again, and keep songs added by hand.
    runner : str
        What reads many files at a time, see :func:`hmm2song.indexing.runners.runner_of`.
    listen : bool
        Also hear what recordings sound like, so that they can be compared (:mod:`hmm2song.catalog.facets`).
    """

    separator: str = "none"
    stems_cache: Path | None = None
    previews: bool = False
    update: bool = False
    runner: str = "local"
    listen: bool = True


@dataclass(frozen=True)
class RecordingQuality:
    """What is known of a recording's melody: voiced share of its duration, whether it is that of an unseparated mix.

    ``heard`` are the warnings of the listening pass.
    """

    voiced_share: float
    is_mix: bool
    warnings: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """What may be wrong with its melody and with what was heard."""
        return self.melody_doubts + self.heard

    @property
    def melody_doubts(self) -> tuple[str, ...]:
        """The warnings of the extraction, or that an unseparated recording has little melody."""
        if not self.is_mix or self.warnings or self.voiced_share >= LITTLE_VOICE_SHARE:
            return self.warnings
        return (f"{LITTLE_MELODY}: a pitch in {self.voiced_share:.0%} of it; perhaps nobody sings",)

    @property
    def kind(self) -> str:
        """The code of the melody's first doubt, else ``"voice"``, or ``"melody"`` where nobody knows whose it is."""
        doubts = self.melody_doubts
        return doubts[0].partition(":")[0] if doubts else "melody" if self.is_mix else "voice"

    @classmethod
    def of(cls, row: dict) -> RecordingQuality:
        """Return the quality that :func:`dataclasses.asdict` made a row of."""
        warnings, heard = (tuple(map(str, row.get(name, ()))) for name in ("warnings", "heard"))
        return cls(float(row["voiced_share"]), bool(row["is_mix"]), warnings, heard)


@dataclass(frozen=True)
class Extracted:
    """What a file holds: its melodies, what could not be read of it, and of a recording the quality."""

    melodies: tuple[ScoredMelody, ...]
    broken: tuple[str, ...] = ()
    quality: RecordingQuality | None = None


def extract_file(item: Item, partial: Path, options: IndexOptions, known_key: str = "", is_heard: bool = False) -> str:
    """Extract the melodies of a file, listen to a recording, and store both in the folder ``partial``; return the key.

    Nothing is extracted where the key is ``known_key`` (the caller has the result, and if ``is_heard`` also what it
    sounds like), or where a former run stored it. ScoreError if the file cannot be opened or is too large, CatalogError
    if the result cannot be stored, SeparatorUnavailableError if no recording can be separated.
    """
    content = _content_digest(item.file)
    separator = process_separator(options.separator) if item.is_recording else None
    key = _digest(EXTRACTOR_VERSION, item.name, content, separator.name if separator else "")
    samples = cache(lambda: load_recording(item.file))  # decoded once, when it is needed
    has_melody = key == known_key
    if not has_melody:
        found = load_result(partial, key)
        if found is None:
            # No two workers may share a folder: one would delete it too early.
            own_stems = stems = partial / STEMS_FOLDER / key
            if separator and options.stems_cache:
                stems = options.stems_cache / _digest(content, separator.name)  # found again under another name
            found = _read(item, separator, stems, samples)
            _save_result(found, partial, key)
            shutil.rmtree(own_stems, ignore_errors=True)
        has_melody, is_heard = bool(found.melodies), False
    if item.is_recording and options.listen and has_melody and not is_heard and load_heard(partial, key) is None:
        with _written(_heard_file(partial, key)) as temporary:
            hear_samples(samples()).write(temporary)
    return key


def load_result(partial: Path, key: str) -> Extracted | None:
    """Load a stored result. Returns None if the result is missing or truncated."""
    file = partial / f"{key}.safetensors"
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as tensors:
            about = json.loads((tensors.metadata() or {})["about"])
            melodies = [Melody(tensors.get_tensor(str(number))) for number in range(len(about["songs"]))]
        songs = zip(about["songs"], melodies, about["warnings"], strict=True)
        return Extracted(
            tuple(ScoredMelody(Song(**song), melody, tuple(warnings)) for song, melody, warnings in songs),
            tuple(about["broken"]),
            about["quality"] and RecordingQuality.of(about["quality"]),
        )
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class StoredMelody:
    """Where a melody is stored: it is the one of this ``number`` in the result ``key`` of the folder ``partial``."""

    partial: Path
    key: str
    number: int

    def load(self) -> Melody:
        """Read it; CatalogError if the result is gone. The other melodies of one file are then at hand."""
        return _melodies_at_hand(self.partial, self.key)[self.number].melody

    def heard(self) -> Facets | None:
        """Read what the recording sounds like."""
        heard = load_heard(self.partial, self.key)
        return heard.facets if heard else None


@lru_cache(maxsize=1)
def _melodies_at_hand(partial: Path, key: str) -> tuple[ScoredMelody, ...]:
    found = load_result(partial, key)
    if found is None:
        raise CatalogError(f"what was read of a file is no longer in {str(partial)!r}; run the same command again")
    return found.melodies


def load_heard(partial: Path, key: str) -> HeardRecording | None:
    """Load what a recording sounds like. Returns None if nobody listened or the result is truncated."""
    file = _heard_file(partial, key)
    try:
        return HeardRecording.read(file) if file.is_file() else None
    except CatalogError:
        return None


def _heard_file(partial: Path, key: str) -> Path:
    return partial / f"{key}.{LISTENER}.safetensors"


def _content_digest(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_RECORDING_BYTES:
            raise ScoreError(f"larger than {MAX_RECORDING_BYTES} bytes")
        return sha256_of(file)
    except OSError as error:
        raise ScoreError(f"cannot be opened ({error.strerror})") from error


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read(item: Item, separator: Separator | None, stems: Path, samples: Callable[[], np.ndarray]) -> Extracted:
    try:
        if separator is not None:
            return _read_recording(item, separator, stems, samples)
        found = read_score_file(item.file, item.name)
        return Extracted(found.melodies, found.broken or (() if found.melodies else ("it is empty",)))
    except (AudioError, MelodyError, ScoreError) as error:
        # The list of what was left out names the file already.
        return Extracted((), (str(error).removeprefix(item.name).removeprefix(repr(item.file.name)).lstrip(": "),))


def _read_recording(item: Item, separator: Separator, stems: Path, samples: Callable[[], np.ndarray]) -> Extracted:
    found = vocal_melody(separator.separate(item.file, stems), samples)
    song = song_of(song_fields(item.file, item.name), item.name)
    quality = RecordingQuality(round(found.voiced_share, SHARE_DIGITS), separator.name == "none", found.warnings)
    return Extracted(
        (ScoredMelody(song, found.melody, _cut_short(item.file, found.melody.duration_s)),), quality=quality
    )


def _cut_short(file: Path, found_s: float) -> tuple[str, ...]:
    """Say that much less of a recording could be decoded than its header promises."""
    stated_s = stated_length_s(file)
    if stated_s is None or found_s >= WHOLE_SHARE * stated_s - 1.0:
        return ()
    return (f"only {found_s:.0f} of {stated_s:.0f} s can be read",)


def _save_result(found: Extracted, partial: Path, key: str) -> None:
    about = {
        "songs": [dataclasses.asdict(melody.song) for melody in found.melodies],
        "warnings": [melody.warnings for melody in found.melodies],
        "broken": found.broken,
        "quality": found.quality and dataclasses.asdict(found.quality),
    }
    tensors = {str(number): melody.melody.pitch_midi for number, melody in enumerate(found.melodies)}
    with _written(partial / f"{key}.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"about": json.dumps(about)})


@contextmanager
def _written(file: Path) -> Iterator[Path]:
    try:
        with whole_file(file) as temporary:
            yield temporary
    except (OSError, SafetensorError) as error:  # the disk is full: no fault of the file that was read
        raise CatalogError(f"cannot write to {str(file.parent)!r} ({error})") from error
