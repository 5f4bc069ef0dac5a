"""From one file to its melodies, stored where the next run finds them.

Conventions
-----------
* A result is a safetensors file ``<key>.safetensors`` in the folder of partial results. The key digests everything the
  result depends on: the extractor, the file's name and content and, for recordings, what separates them.
* That a file is unusable is a result too: a broken recording is not separated again after every interruption.
* A result appears under its name only when complete, so a killed run leaves good ones only.
* A recording is separated (:mod:`hmm2song.indexing.separation.separation`), then its vocal melody is taken
  (:mod:`hmm2song.indexing.vocal_melody`). The separated parts are deleted as soon as the melody is stored, unless there
  is a folder to keep them in.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hmm2song.audio import MAX_RECORDING_BYTES
from hmm2song.catalog.storage import sha256_of, whole_file
from hmm2song.errors import AudioError, CatalogError, MelodyError, ScoreError
from hmm2song.indexing.separation.separation import process_separator
from hmm2song.indexing.separation.stems import Separator
from hmm2song.indexing.sources import Item
from hmm2song.indexing.tags import song_fields
from hmm2song.indexing.vocal_melody import LITTLE_MELODY, LITTLE_VOICE_SHARE, vocal_melody
from hmm2song.melody.melody import Melody
from hmm2song.melody.scores import ScoredMelody, read_score_file
from hmm2song.song import Song, song_of

EXTRACTOR_VERSION = "6"
"""Part of every key: change it when extraction changes, so that older results are not used."""
STEMS_FOLDER = "stems"
SHARE_DIGITS = 4


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
    """

    separator: str = "none"
    stems_cache: Path | None = None
    previews: bool = False
    update: bool = False
    runner: str = "local"


@dataclass(frozen=True)
class RecordingQuality:
    """What is known of a recording's melody: voiced share of its duration, whether it is that of an unseparated mix."""

    voiced_share: float
    is_mix: bool
    warnings: tuple[str, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """The warnings of the extraction, or that an unseparated recording has little melody."""
        if not self.is_mix or self.warnings or self.voiced_share >= LITTLE_VOICE_SHARE:
            return self.warnings
        return (f"{LITTLE_MELODY}: a pitch in {self.voiced_share:.0%} of it; perhaps nobody sings",)

    @property
    def kind(self) -> str:
        """The code of the first doubt, else ``"voice"``, or ``"melody"`` where nobody knows whether it is a voice."""
        return self.doubts[0].partition(":")[0] if self.doubts else "melody" if self.is_mix else "voice"

    @classmethod
    def of(cls, row: dict) -> RecordingQuality:
        """Return the quality that :func:`dataclasses.asdict` made a row of."""
        return cls(float(row["voiced_share"]), bool(row["is_mix"]), tuple(map(str, row["warnings"])))


@dataclass(frozen=True)
class Extracted:
    """What a file holds: its melodies, what could not be read of it, and of a recording the quality."""

    melodies: tuple[ScoredMelody, ...]
    broken: tuple[str, ...] = ()
    quality: RecordingQuality | None = None


def extract_file(item: Item, partial: Path, options: IndexOptions, known_key: str = "") -> str:
    """Extract the melodies of a file and store them in the folder ``partial``; return their key.

    Nothing is done where the key is ``known_key`` (the caller has the result), or where a former run stored it.
    ScoreError if the file cannot be opened or is too large, CatalogError if the result cannot be stored,
    SeparatorUnavailableError if no recording can be separated.
    """
    content = _content_digest(item.file)
    separator = process_separator(options.separator) if item.is_recording else None
    key = _digest(EXTRACTOR_VERSION, item.name, content, separator.name if separator else "")
    if key == known_key or load_result(partial, key) is not None:
        return key
    own_stems = stems = partial / STEMS_FOLDER / key  # no two workers may share it: one would delete it too early
    if separator and options.stems_cache:
        stems = options.stems_cache / _digest(content, separator.name)  # found again under another name
    _save_result(_read(item, separator, stems), partial, key)
    shutil.rmtree(own_stems, ignore_errors=True)
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


def _content_digest(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_RECORDING_BYTES:
            raise ScoreError(f"larger than {MAX_RECORDING_BYTES} bytes")
        return sha256_of(file)
    except OSError as error:
        raise ScoreError(f"cannot be opened ({error.strerror})") from error


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read(item: Item, separator: Separator | None, stems: Path) -> Extracted:
    try:
        if separator is not None:
            return _read_recording(item, separator, stems)
        found = read_score_file(item.file, item.name)
        return Extracted(found.melodies, found.broken or (() if found.melodies else ("it is empty",)))
    except (AudioError, MelodyError, ScoreError) as error:
        # The list of what was left out names the file already.
        return Extracted((), (str(error).removeprefix(item.name).removeprefix(repr(item.file.name)).lstrip(": "),))


def _read_recording(item: Item, separator: Separator, stems: Path) -> Extracted:
    found = vocal_melody(separator.separate(item.file, stems), item.file)
    song = song_of(song_fields(item.file, item.name), item.name)
    quality = RecordingQuality(round(found.voiced_share, SHARE_DIGITS), separator.name == "none", found.warnings)
    return Extracted((ScoredMelody(song, found.melody),), quality=quality)


def _save_result(found: Extracted, partial: Path, key: str) -> None:
    about = {
        "songs": [dataclasses.asdict(melody.song) for melody in found.melodies],
        "warnings": [melody.warnings for melody in found.melodies],
        "broken": found.broken,
        "quality": found.quality and dataclasses.asdict(found.quality),
    }
    tensors = {str(number): melody.melody.pitch_midi for number, melody in enumerate(found.melodies)}
    try:
        with whole_file(partial / f"{key}.safetensors") as temporary:
            save_file(tensors, temporary, metadata={"about": json.dumps(about)})
    except (OSError, SafetensorError) as error:  # the disk is full: no fault of the file that was read
        raise CatalogError(f"cannot write to {str(partial)!r} ({error})") from error
