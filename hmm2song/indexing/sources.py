"""What to index: the files of a folder, the rows of a table, or one file.

Conventions
-----------
* A **folder** is walked recursively in sorted order: score files (:mod:`hmm2song.melody.scores`) and recordings. An
  ``info.csv`` in it supplies metadata for its files. Hidden files are not read.
* A **table** (CSV) has the columns ``id, Title, Singer, Lyric, genre, path, gender`` and any of ``author, title_ko,
  year, source, licence, credit``; ``path`` names a score or recording in the table's folder. Only ``path`` is required.
* Nothing outside the folder is read, whatever links or paths say. Every file is accounted for: music that cannot be
  read, or is hidden, is listed with the reason; files that are no music, such as pictures and texts, are counted.
* Names are those that people see, relative to the folder, with ``/``.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmm2song.audio import AUDIO_SUFFIXES
from hmm2song.errors import CatalogError
from hmm2song.melody.notation.encoding import decode
from hmm2song.melody.scores import SCORE_SUFFIXES, is_score
from hmm2song.song import safe_relative_path

INFO_NAME = "info.csv"
MAX_TABLE_BYTES = 256 * 2**20
UNREADABLE_SOUND = (
    ".au", ".snd", ".spx", ".dsf", ".dff", ".mpc", ".ra", ".rm", ".shn", ".dts", ".voc", ".gsm",
    ".mod", ".xm", ".s3m", ".it", ".aup3", ".m4p", ".aa", ".aax",
)  # fmt: skip
UNREADABLE_NOTES = (
    ".mscz", ".mscx", ".gp", ".gp3", ".gp4", ".gp5", ".gpx", ".ptb", ".sib", ".mus", ".musx", ".cap", ".capx",
    ".nwc", ".enc", ".ove", ".ly", ".tg",
)  # fmt: skip
ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")
"""Kinds of music that cannot be read, and what may hold music; they are listed, while pictures and texts are not."""
SURPLUS = "surplus cells"
"""Holds, in a row, what :func:`surplus_cells` says of it."""
HIDDEN = "hidden, as its name or that of a folder starts with a dot"
OF_MAC = "._"
"""How names start of what macOS stores beside a file on other systems; it is no music, whatever its suffix."""


@dataclass(frozen=True)
class SkippedFile:
    """A file, row or tune that was left out. ``path`` is relative to the source.

    ``is_file`` is False for a folder, or a row of ``info.csv`` without a file: they do not count among the files.
    """

    path: str
    reason: str
    is_file: bool = True

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {"path": self.path, "reason": self.reason}


def first_reasons(skipped: Sequence[SkippedFile]) -> str:
    """Return why the first three of what was left out were, in a line."""
    return "; ".join(f"{entry.path}: {entry.reason}" for entry in skipped[:3])


@dataclass(frozen=True)
class Item:
    """A file to read: where it is, its name for people, and the row of metadata that goes with it."""

    file: Path
    name: str
    row: dict[str, str] | None = None

    @property
    def is_recording(self) -> bool:
        """Whether it holds sound, not notes; by its name, as the content is not read before its turn."""
        return is_recording(self.file)

    @property
    def is_tracked(self) -> bool:
        """Whether its melody was tracked in sound, by us or (a table of f0) by others, and not written as notes."""
        return self.is_recording or self.file.suffix.lower() == ".csv"


@dataclass(frozen=True)
class Listing:
    """What a source holds: files to read in a stable order, what is left out already, how many files are no music.

    ``n_total`` is how many there are in all, counted by themselves. ``unit`` is what is counted: each ``"file"`` of a
    folder, each ``"row"`` of a table.
    """

    items: tuple[Item, ...]
    skipped: tuple[SkippedFile, ...]
    n_total: int
    n_not_music: int = 0
    unit: str = "file"


def is_recording(file: Path) -> bool:
    """Return whether a file is named like a recording."""
    return file.suffix.lower() in AUDIO_SUFFIXES


def list_source(source: Path, leave_out: Sequence[Path] = ()) -> Listing:
    """List the files of a folder, a table or a single file; the resolved folders ``leave_out`` in it are not walked.

    CatalogError if there is no such file or folder, or it is none that can be indexed.
    """
    if source.is_dir():
        return _list_folder(source, leave_out)
    if not source.is_file():
        raise CatalogError(f"there is no file or folder {str(source)!r}; check the name")
    if is_recording(source) or is_score(source):
        return Listing((Item(source, readable_name(source.name)),), (), 1)
    if source.suffix.lower() == ".csv":
        return _list_table(source)
    reason = _why_unreadable(source) or "neither a folder, a table (.csv), a score nor a recording"
    raise CatalogError(f"{source.name!r}: {reason}")


def walk(
    folder: Path, leave_out: Sequence[Path] = (), hidden: list[Path] | None = None
) -> tuple[list[Path], list[SkippedFile]]:
    """Return the files in a folder and below in sorted order, and those that are not to be opened with the reason.

    The resolved folders ``leave_out`` are in neither list, nor are hidden files, which are added to ``hidden``.
    """
    root = os.path.realpath(folder)
    files: list[Path] = []
    skipped: list[SkippedFile] = []

    def skip(path: str | Path, reason: str, is_file: bool = True) -> None:
        skipped.append(SkippedFile(readable_name(Path(path).relative_to(folder).as_posix()), reason, is_file))

    def skip_folder(error: OSError) -> None:
        skip(error.filename, f"the folder cannot be opened ({error.strerror})", is_file=False)

    for parent, folders, names in os.walk(folder, onerror=skip_folder):
        is_hidden = any(part.startswith(".") for part in Path(parent).relative_to(folder).parts)
        folders[:] = [
            name
            for name in sorted(folders)
            if Path(os.path.realpath(Path(parent, name))) not in leave_out
            and (hidden is not None or not name.startswith("."))
        ]
        if hidden is not None:
            hidden += [Path(parent, name) for name in names if is_hidden or name.startswith(".")]
        if is_hidden:
            continue
        for name in folders:
            place = Path(parent, name)
            if is_recording(place) or place.name.lower().endswith(SCORE_SUFFIXES):  # it is walked all the same
                skip(place, "a folder, although it is named like a file of music", is_file=False)
            if place.is_symlink() and not Path(os.path.realpath(place)).is_relative_to(root):
                skip(place, "a link out of the folder is not followed; index the folder it leads to", is_file=False)
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    found = []
    for file in sorted(files, key=lambda file: (_normal(file.relative_to(folder).as_posix()), os.fsencode(file))):
        if not Path(os.path.realpath(file)).is_relative_to(root):  # resolve() raises where links go in circles
            skip(file, "a link out of the folder is not followed")
        elif file.exists() and not file.is_file():
            skip(file, "not a regular file")
        else:
            found.append(file)
    return found, skipped


def _list_folder(folder: Path, leave_out: Sequence[Path]) -> Listing:
    rows: dict[str, dict[str, str]] = {}
    if (folder / INFO_NAME).is_file():
        for row in read_table(folder / INFO_NAME):
            rows[_normal(row["path"].replace("\\", "/").removeprefix("./"))] = row
    hidden: list[Path] = []
    files, skipped = walk(folder, leave_out, hidden)
    n_total = len(files) + len(hidden) + sum(entry.is_file for entry in skipped)
    hidden_music = [file for file in hidden if _is_music(file)]
    skipped += [SkippedFile(readable_name(file.relative_to(folder).as_posix()), HIDDEN) for file in hidden_music]
    items, n_not_music = [], len(hidden) - len(hidden_music)
    for file in files:
        name = readable_name(file.relative_to(folder).as_posix())
        try:
            if is_recording(file) or is_score(file):
                items.append(Item(file, name, rows.pop(_normal(name), None)))
            elif reason := _why_unreadable(file):
                skipped.append(SkippedFile(name, reason))
                rows.pop(_normal(name), None)
            else:
                n_not_music += 1
        except OSError as error:
            skipped.append(SkippedFile(name, f"cannot be opened ({error.strerror})"))
    unused = (
        SkippedFile(row["path"], f"line {row['line']} of {INFO_NAME} names no score or recording in the folder", False)
        for row in rows.values()
    )
    return Listing(tuple(items), (*sorted(skipped, key=lambda entry: entry.path), *unused), n_total, n_not_music)


def _is_music(hidden: Path) -> bool:
    """Return whether a file is named like one of music; it is not opened."""
    if hidden.name.startswith(OF_MAC) or hidden.name.lower().endswith((".csv", ".txt", *ARCHIVES)):
        return False
    return is_recording(hidden) or hidden.name.lower().endswith(SCORE_SUFFIXES) or bool(_why_unreadable(hidden))


def _why_unreadable(file: Path) -> str:
    """Return why a file of music is not read, by its name; empty if it is no music."""
    suffix = file.suffix.lower()
    if suffix in UNREADABLE_SOUND:
        return f"{suffix} recordings cannot be decoded; save it as FLAC, WAV or MP3"
    if suffix in ARCHIVES:
        return f"{suffix} archives are not opened; unpack it if there is music in it"
    return f"{suffix} scores cannot be read; export it as MusicXML or MIDI" if suffix in UNREADABLE_NOTES else ""


def _list_table(table: Path) -> Listing:
    items, skipped = [], []
    rows = read_table(table)
    for row in rows:
        try:
            items.append(Item(_file_of_row(table.parent, row["path"]), row["path"], row))
        except CatalogError as error:
            skipped.append(SkippedFile(row["path"], f"line {row['line']}: {error}"))
        except OSError as error:  # a name that is too long, a folder that is locked
            skipped.append(SkippedFile(row["path"], f"line {row['line']}: cannot be opened ({error.strerror})"))
    return Listing(tuple(items), tuple(skipped), len(rows), unit="row")


def _file_of_row(folder: Path, path: str) -> Path:
    """Return the file a row names, which must lie in the table's folder."""
    inside = path.replace("\\", "/")
    if not inside:
        raise CatalogError("the path is empty")
    if not safe_relative_path(inside) or "\0" in inside:
        raise CatalogError("the path leads out of the table's folder")
    # A name typed here and a name from another system may spell the same Hangul or accents differently.
    files = [folder / unicodedata.normalize(form, inside) for form in ("NFC", "NFD")]
    file = next((file for file in (folder / inside, *files) if file.is_file()), None)
    if file is None:
        raise CatalogError("there is no such file")
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder)):
        raise CatalogError("the path leads out of the table's folder")
    if not (is_recording(file) or is_score(file)):
        raise CatalogError(_why_unreadable(file) or "neither a recording nor a score that can be read")
    return file


def read_table(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table of songs: the cells by lower-case column name, ``line``, and :data:`SURPLUS`.

    ``line`` is the row's last line.
    CatalogError if it is no CSV file with a ``path`` column, or too large.
    """
    rows = table_rows(table)
    _, head = next(rows, (0, ()))
    columns = [name.strip().lower() for name in head]
    if "path" not in columns:
        raise CatalogError(
            f'{table.name} has no column "path"; a table of songs starts with id,Title,Singer,Lyric,genre,path,gender'
        )
    return [
        {"path": "", **dict(zip(columns, map(str.strip, cells), strict=False)), "line": str(line)}
        | {SURPLUS: surplus_cells(line, cells, len(columns))}
        for line, cells in rows
    ]


def surplus_cells(line: int, cells: Sequence[str], n_columns: int) -> str:
    """Say that a row has more cells than there are columns; empty if it does not, or the others are blank."""
    if not any(map(str.strip, cells[n_columns:])):
        return ""
    return f"line {line}: {len(cells)} cells for {n_columns} columns; put cells with commas in double quotes"


def table_rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file that has cells: its last line, and the cells. CatalogError if it cannot be read."""
    try:
        if table.stat().st_size > MAX_TABLE_BYTES:
            raise CatalogError(f"{table.name} has more than {MAX_TABLE_BYTES} bytes")
        lines = csv.reader(io.StringIO(_table_text(table.read_bytes()), newline=""))
        for cells in lines:
            if cells:
                yield lines.line_num, cells
    except OSError as error:
        raise CatalogError(f"{str(table)!r} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise CatalogError(f"{table.name} {error}") from error
    except csv.Error as error:
        raise CatalogError(f"{table.name}, line {lines.line_num}: {error}") from error


def readable_name(name: str) -> str:
    """Return a file name that can be written as UTF-8, whatever bytes it has."""
    return decode(os.fsencode(name))


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _table_text(content: bytes) -> str:
    """Decode a table in any encoding that spreadsheets write; ValueError if it is no text."""
    text = decode(content)
    if re.search(r"[\x01-\x08\x0e-\x1f]", text) or "\ufffd" in text:
        raise ValueError("is not text (save it as CSV in UTF-8)")
    return text
