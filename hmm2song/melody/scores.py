"""Melodies from files of notes: MIDI, ABC, MusicXML, MEI, Humdrum, UltraStar, JSON lines of notes, f0 tables.

``.mid .midi .kar .rmi``
    One melody; the part is chosen as :mod:`hmm2song.melody.notation.parts` says; title and singer of karaoke files.
``.musicxml .xml .mxl``
    One melody, chosen likewise; title, creators and rights from the header.
``.mei .krn .kern``
    One melody per movement or segment; title, composers, genre, year and rights from the header.
``.txt``
    UltraStar karaoke songs, told from other texts by their header: one melody, with title, singer, genre and year.
``.abc``
    One melody per tune: ``T:`` title, second ``T:`` in Hangul the Korean title, ``C:`` author, ``G:`` genres,
    ``D:`` year, ``O:`` and ``S:`` source, ``Z:`` credit and, where a line names one, licence.
``.jsonl .jsonl.gz``
    One melody per row ``{"id": ..., "title": ..., "notes": [[onset_s, duration_s, midi], ...]}``.
``.f0.csv .csv``
    One melody: a header that starts ``time_s,f0_hz``, then a row per frame, 0 = unvoiced.

Times are in seconds by the score's own tempo map. Files are untrusted: sizes are limited before anything is unpacked or
unfolded, and a broken file raises :class:`~hmm2song.errors.ScoreError` with its name and the reason.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hmm2song.errors import CatalogError, MelodyError, ScoreError
from hmm2song.melody.melody import Melody, melody_from_f0, melody_from_notes
from hmm2song.melody.notation import abc, kern, mei, midi, musicxml, ultrastar
from hmm2song.melody.notation.bars import MAX_NOTES, Note
from hmm2song.melody.notation.encoding import HANGUL, decode
from hmm2song.melody.notation.parts import Part, doubts, rank_parts
from hmm2song.melody.notation.xml import parse_damaged_xml
from hmm2song.song import Song, listed_genres, row_fields, song_of

MAX_SCORE_BYTES = 16 * 2**20
"""Largest score file: long orchestral MusicXML stays below."""
MAX_TABLE_BYTES = 2**30
"""Largest JSON-lines file, unpacked: some hundred thousand songs."""
MAX_LINE_BYTES = 8 * 2**20
"""Longest row of a JSON-lines file."""
MAX_WARNINGS = 10
"""Warnings kept of a melody: a file may be wrong in every bar."""
F0_HEADER = ("time_s", "f0_hz")
_YEAR = re.compile(r"\D{0,12}[12]\d{3}(\D{1,3}\d{2,4})?\D{0,4}")
"""The year of a song; ``D:`` is the discography as well."""
_INVERTED = re.compile(r"^(.+), (The|An|La|Le|Les|Der|Die|Das|El|Los|Las|Il)$")
"""A title as tune books sort it: "Kesh Jig, The"."""
_ABC_CHARSET = re.compile(rb"^(?:%%|I:)\s*abc-charset\s+([\w-]{1,40})", re.MULTILINE)
_LICENCE = re.compile(r"licen[cs]e|public domain|creative commons|\bCC[ -]?(BY|0|zero)", re.IGNORECASE)


@dataclass(frozen=True)
class ScoredMelody:
    """A melody from a score; id and title are always set, the rest as far as the file says.

    ``warnings`` name what of it was lost or is doubtful.
    """

    song: Song
    melody: Melody
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreFile:
    """What a file holds: its melodies, and for each tune or row that could not be read, the reason."""

    melodies: tuple[ScoredMelody, ...]
    broken: tuple[str, ...] = ()


@dataclass
class _Found:
    """What a reader collects: for each melody its number in the file (0 if there is one only) and ``Song`` fields.

    ``broken`` are the reasons why others cannot be read, ``warnings`` those of each melody that can, by number.
    """

    entries: list[tuple[int, dict[str, str], Melody]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    warnings: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def add(self, number: int, fields: dict[str, str], parts: Sequence[Part], warnings: tuple[str, ...]) -> None:
        """Add the melody of the parts, or the reason why there is none."""
        try:
            ranked = rank_parts(parts)
            self.entries.append((number, fields, melody_from_notes(ranked[0].line)))
            self.warnings[number] = warnings + doubts(ranked)
        except (ScoreError, MelodyError) as error:
            reason = "; ".join((str(error), *warnings[:1]))
            self.broken.append(f"tune {number}: {reason}" if number else reason)


def is_score(path: Path) -> bool:
    """Return whether the file is one to read: by its name, and a plain ``.csv`` by its header."""
    name = path.name.lower()
    if name.endswith(".csv") and not name.endswith(".f0.csv"):
        with path.open("rb") as file:
            return _is_f0_header(decode(file.read(256)).partition("\n")[0])
    if name.endswith(".txt"):
        with path.open("rb") as file:
            return ultrastar.is_ultrastar(file.read(ultrastar.SNIFFED_BYTES))
    return _reader_of(name) is not None


def read_scores(path: str | os.PathLike, name: str | None = None) -> ScoreFile:
    """Read every melody of a file.

    ``name`` is shown in messages, and supplies the ids and titles that the file itself does not state; by default it is
    the file's name. Raises ScoreError if the file cannot be read, is too large, or none of its melodies is usable.
    """
    file = read_score_file(path, name)
    if not file.melodies:
        raise ScoreError(f"{name or Path(path).name}: {file.broken[0] if file.broken else 'it is empty'}")
    return file


def read_score_file(path: str | os.PathLike, name: str | None = None) -> ScoreFile:
    """Read a file as :func:`read_scores` does; it may hold no usable melody, only the reasons why."""
    path = Path(path)
    name = path.name if name is None else name
    reader = _reader_of(path.name.lower())
    if reader is None:
        raise ScoreError(f"{name}: not a score; use {', '.join(_READERS)}")
    found = _Found()
    try:
        with path.open("rb") as file:
            reader(file, found)
    except OSError as error:
        raise ScoreError(f"{name}: cannot be opened ({error.strerror or error})") from error
    except (ScoreError, MelodyError) as error:
        raise ScoreError(f"{name}: {error}") from error
    melodies = []
    for number, fields, melody in found.entries:
        try:
            song = song_of(fields, name, number)
            melodies.append(ScoredMelody(song, melody, found.warnings.get(number, ())[:MAX_WARNINGS]))
        except CatalogError as error:
            found.broken.append(str(error))
    return ScoreFile(tuple(melodies), tuple(found.broken))


def _reader_of(name: str) -> Callable[[BinaryIO, _Found], None] | None:
    return next((reader for suffix, reader in _READERS.items() if name.endswith(suffix)), None)


def _content(file: BinaryIO) -> bytes:
    content = file.read(MAX_SCORE_BYTES + 1)
    if len(content) > MAX_SCORE_BYTES:
        raise ScoreError(f"larger than {MAX_SCORE_BYTES} bytes")
    if not content:
        raise ScoreError("the file is empty")
    return content


def _read_midi(file: BinaryIO, found: _Found) -> None:
    """Track names are no titles ("Piano", "Track 1"), so only a karaoke file gives a title and a singer."""
    song = midi.parse_midi(_content(file))
    found.add(0, dict(zip(("title", "singer"), song.titles, strict=False)), song.parts, song.warnings)


def _read_musicxml(file: BinaryIO, found: _Found) -> None:
    content = _content(file)
    root, fault = parse_damaged_xml(musicxml.unpack(content) if content.startswith(b"PK") else content)
    if root.tag == "mei":
        _read_mei(mei.parse_mei(root), found, (f"{fault}; the rest is lost",) if fault else ())
        return
    document = musicxml.parse_score(root, fault)
    authors = [name for kind, name in document.creators if kind.lower() in ("composer", "lyricist", "poet", "")]
    fields = {
        "title": document.title,
        "author": ", ".join(dict.fromkeys(filter(None, authors))),
        "licence": document.rights if _LICENCE.search(document.rights) else "",
        "credit": document.rights,
    }
    found.add(0, fields, document.parts, document.warnings)


def _read_mei(document: mei.MeiDocument, found: _Found, warnings: tuple[str, ...]) -> None:
    for number, movement in enumerate(document.movements, start=1):
        fields = {
            "title": " ".join(filter(None, (document.title, movement.label))),
            "author": ", ".join(document.composers),
            "licence": document.rights if _LICENCE.search(document.rights) else "",
            "credit": document.rights,
        }
        found.add(number if len(document.movements) > 1 else 0, fields, movement.parts, warnings + movement.lost)


def _read_kern(file: BinaryIO, found: _Found) -> None:
    segments = kern.split_segments(decode(_content(file)))
    for number, segment in enumerate(segments, start=1):
        try:
            score = kern.parse_score(segment)
        except ScoreError as error:
            found.broken.append(f"segment {number}: {error}")
            continue
        rights = score.texts("YEM") + score.texts("YEC")
        fields = {
            "title": next(iter(score.texts("OTL") + score.texts("OTP") + score.texts("OPR")), ""),
            "title_ko": next(filter(HANGUL.search, score.texts("OTL")[1:]), ""),
            "author": ", ".join(score.texts("COM")),
            "genre": listed_genres(",".join(score.texts("AGN"))),
            "year": next(iter(re.findall(r"\d{4}", " ".join(score.texts("ODT")))), ""),
            "licence": next(filter(_LICENCE.search, rights), ""),
            "credit": "; ".join(rights),
        }
        found.add(number if len(segments) > 1 else 0, fields, score.parts, score.lost)


def _read_ultrastar(file: BinaryIO, found: _Found) -> None:
    content = _content(file)
    if not ultrastar.is_ultrastar(content[: ultrastar.SNIFFED_BYTES]):
        raise ScoreError("it is no UltraStar song (its first lines are not like #TITLE:, #BPM:)")
    song = ultrastar.parse_song(ultrastar.decode(content))
    fields = {
        "title": song.tags.get("TITLE", ""),
        "singer": song.tags.get("ARTIST", ""),
        "genre": listed_genres(song.tags.get("GENRE", "")),
        "year": song.tags.get("YEAR", ""),
        "credit": song.tags.get("CREATOR", "") or song.tags.get("AUTHOR", ""),
    }
    found.add(0, fields, (song.part,), song.lost)


def _read_abc(file: BinaryIO, found: _Found) -> None:
    content = _content(file)
    declared = _ABC_CHARSET.search(content)
    book = decode(content, declared[1].decode("ascii") if declared else "")
    tunes, n_numbered = abc.split_tunes(book), abc.count_numbered(book)
    for number, tune_text in enumerate(tunes, start=1):
        try:
            tune = abc.parse_tune(tune_text)
        except ScoreError as error:
            found.broken.append(f"tune {number}: {error}")
        else:
            unnumbered = n_numbered > 0 and not any(letter == "X" for letter, _ in tune.fields)
            warnings = tune.warnings + ('it has no "X:" line, unlike the other tunes',) * unnumbered
            found.add(number if len(tunes) > 1 else 0, _abc_fields(tune), tune.parts, warnings)
    if n_numbered > len(tunes):  # what is wrong with each of the others is said already
        found.broken.append(f'{n_numbered} tunes by their "X:" lines, {len(tunes)} found')


def _abc_fields(tune: abc.Tune) -> dict[str, str]:
    titles, transcriptions = tune.texts("T"), tune.texts("Z")
    return {
        "title": _INVERTED.sub(r"\2 \1", next(iter(titles), "")),
        "title_ko": next((title for title in titles[1:] if HANGUL.search(title)), ""),
        "author": ", ".join(tune.texts("C")),
        "genre": listed_genres(",".join(tune.texts("G"))),
        "year": next((text for text in tune.texts("D") if _YEAR.fullmatch(text)), ""),
        "source": "; ".join(tune.texts("O") + tune.texts("S")),
        "licence": next((text for text in transcriptions if _LICENCE.search(text)), ""),
        "credit": "; ".join(transcriptions),
    }


def _read_f0(file: BinaryIO, found: _Found) -> None:
    lines = csv.reader(io.StringIO(decode(_content(file)), newline=""))
    times_s, f0_hz = [], []
    try:
        if not _is_f0_header(",".join(next(lines, ()))):
            raise ScoreError(f'the first line must be "{",".join(F0_HEADER)}"')
        for row in lines:
            if row:
                times_s.append(float(row[0]))
                f0_hz.append(float(row[1] or "nan"))
    except (ValueError, IndexError, csv.Error) as error:
        raise ScoreError(f"line {lines.line_num} is not a time in seconds and a frequency in Hz") from error
    found.entries.append((0, {}, melody_from_f0(np.array(times_s), np.array(f0_hz))))


def _is_f0_header(line: str) -> bool:
    return tuple(cell.strip().lower() for cell in line.split(",")[: len(F0_HEADER)]) == F0_HEADER


def _read_jsonl(file: BinaryIO, found: _Found) -> None:
    for number, row in _rows(file):
        try:
            row = _checked(row)
            found.entries.append((number, row_fields(row), melody_from_notes(row_notes(row))))
        except (ScoreError, MelodyError) as error:
            found.broken.append(f"line {number}: {error}")


def _read_jsonl_gz(file: BinaryIO, found: _Found) -> None:
    with _unpacked(file) as unpacked:
        _read_jsonl(unpacked, found)


def read_rows(
    path: Path, *keys: str, on_broken: Callable[[str], None] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) for every row of JSON lines (``.gz`` too); blank lines are passed over.

    The place is "path: line number", for messages. Every row must have the ``keys``; ``notes`` among them are checked
    and become triples of floats. ``on_broken`` is called with the reason for each row that cannot be used; by default
    such a row raises ScoreError, as does a file that cannot be read.
    """
    try:
        with path.open("rb") as file, _unpacked(file) if path.suffix == ".gz" else file as lines:
            for number, row in _rows(lines):
                try:
                    yield f"{path}: line {number}", _checked(row, *keys)
                except (ScoreError, MelodyError) as error:
                    if on_broken is None:
                        raise ScoreError(f"line {number}: {error}") from error
                    on_broken(f"{path}: line {number}: {error}")
    except OSError as error:
        raise ScoreError(f"{path}: {error.strerror or error}; give songs as JSON lines") from error
    except ScoreError as error:
        raise ScoreError(f"{path}: {error}") from error


def row_notes(row: Mapping[str, Any]) -> list[Note]:
    """Return the ``notes`` of a row of JSON; MelodyError if there are none, too many, or no triples of numbers."""
    notes = row.get("notes")
    if not isinstance(notes, list) or not notes or len(notes) > MAX_NOTES:
        raise MelodyError(f"notes must be a list of 1 to {MAX_NOTES} notes")
    for note in notes:
        if not isinstance(note, list) or len(note) != 3 or not all(type(value) in (int, float) for value in note):
            raise MelodyError("notes must be [onset_s, duration_s, midi], all numbers")
    try:
        return [(float(onset_s), float(duration_s), float(midi)) for onset_s, duration_s, midi in notes]
    except OverflowError as error:
        raise MelodyError("notes hold a number too large") from error


@contextmanager
def _unpacked(file: BinaryIO) -> Iterator[BinaryIO]:
    try:
        with gzip.open(file) as unpacked:
            yield unpacked
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ScoreError(f"the compression is damaged ({error})") from error


def _rows(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) for every line of JSON, None for a line that is not; sizes are limited."""
    n_bytes = 0
    for number in itertools.count(1):
        line = file.readline(MAX_LINE_BYTES + 1)
        n_bytes += len(line)
        if len(line) > MAX_LINE_BYTES or n_bytes > MAX_TABLE_BYTES:
            raise ScoreError(f"a line is larger than {MAX_LINE_BYTES} bytes, or all of it than {MAX_TABLE_BYTES}")
        if not line:
            return
        if line.strip():
            try:
                yield number, json.loads(decode(line))
            except (ValueError, RecursionError):
                yield number, None


def _checked(row: Any, *keys: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ScoreError("not a JSON object")
    if missing := [key for key in keys if key not in row]:
        raise ScoreError(f"no {', '.join(map(repr, missing))}")
    return row | {"notes": row_notes(row)} if "notes" in keys else row


_READERS: dict[str, Callable[[BinaryIO, _Found], None]] = {
    ".mid": _read_midi,
    ".midi": _read_midi,
    ".kar": _read_midi,
    ".rmi": _read_midi,
    ".musicxml": _read_musicxml,
    ".xml": _read_musicxml,
    ".mxl": _read_musicxml,
    ".mei": _read_musicxml,
    ".krn": _read_kern,
    ".kern": _read_kern,
    ".txt": _read_ultrastar,
    ".abc": _read_abc,
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl_gz,
    ".csv": _read_f0,
}
SCORE_SUFFIXES = tuple(_READERS)
"""How the names of score files end; a ``.csv`` or ``.txt`` may also be something else."""
