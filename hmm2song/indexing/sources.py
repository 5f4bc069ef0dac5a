"""What to index: the files of a folder, the rows of a table, or one file.

Conventions
-----------
* A **folder** is walked recursively in sorted order: score files (:mod:`hmm2song.melody.scores`) and recordings. An
  ``info.csv`` in it supplies metadata for its files. Hidden files and folders are left out.
* A **table** (CSV) has the columns ``id, Title, Singer, Lyric, genre, path, gender`` and any of ``author, title_ko,
  year, source, licence, credit``; ``path`` names a score or recording in the table's folder. Only ``path`` is required.
* Nothing outside the folder is read, whatever links or paths say. What cannot be read is listed with the reason.
* Names are those that people see, relative to the folder, with ``/``.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hmm2song.audio import AUDIO_SUFFIXES
from hmm2song.errors import CatalogError
from hmm2song.melody.scores import is_score
from hmm2song.song import safe_relative_path

INFO_NAME = "info.csv"
MAX_TABLE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Skipped:
    """A file, row or tune that was left out. ``path`` is relative to the source."""

    path: str
    reason: str


def first_reasons(skipped: Sequence[Skipped]) -> str:
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
        return self.file.suffix.lower() in AUDIO_SUFFIXES


@dataclass(frozen=True)
class Listing:
    """What a source holds: files to read in a stable order, and what is left out already."""

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]


def list_source(source: Path, leave_out: Sequence[Path] = ()) -> Listing:
    """List the files of a folder, a table or a single file.

    Parameters
    ----------
    source : Path
        See above.
    leave_out : sequence of Path
        Resolved folders inside it that are not walked: the catalog being made.

    Raises
    ------
    CatalogError
        There is no such file or folder, or it is none that can be indexed.
    """
    if source.is_dir():
        return _list_folder(source, leave_out)
    if not source.is_file():
        raise CatalogError(f"there is no file or folder {str(source)!r}; check the name")
    if is_score(source) or source.suffix.lower() in AUDIO_SUFFIXES:
        return Listing((Item(source, _readable(source.name)),), ())
    if source.suffix.lower() == ".csv":
        return _list_table(source)
    raise CatalogError(f"{source.name!r} is neither a folder, a table (.csv), a score nor a recording")


@dataclass
class _Walk:
    """What is found while a folder is walked."""

    folder: Path
    root: Path
    rows: dict[str, dict[str, str]]
    items: list[Item] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.append(Skipped(_readable(path.relative_to(self.folder).as_posix()), reason))

    def unreadable(self, error: OSError) -> None:
        self.skip(Path(error.filename), f"the folder cannot be opened ({error.strerror})")

    def visit(self, file: Path) -> None:
        """List a file if it is one to read; others are no business of ours, but broken ones are reported."""
        if not Path(os.path.realpath(file)).is_relative_to(self.root):  # resolve() raises where links go in circles
            self.skip(file, "a link out of the folder is not followed")
            return
        if file.exists() and not file.is_file():
            self.skip(file, "not a regular file")
            return
        try:
            if file.suffix.lower() in AUDIO_SUFFIXES or is_score(file):
                name = _readable(file.relative_to(self.folder).as_posix())
                self.items.append(Item(file, name, self.rows.pop(_normal(name), None)))
        except OSError as error:
            self.skip(file, f"cannot be opened ({error.strerror})")


def _list_folder(folder: Path, leave_out: Sequence[Path]) -> Listing:
    rows: dict[str, dict[str, str]] = {}
    if (folder / INFO_NAME).is_file():
        for row in read_table(folder / INFO_NAME):
            rows[_normal(row["path"].replace("\\", "/").removeprefix("./"))] = row
    walk = _Walk(folder, Path(os.path.realpath(folder)), rows)
    for file in _files(walk, leave_out):
        walk.visit(file)
    unused = (
        Skipped(row["path"], f"line {row['line']} of {INFO_NAME} names no score or recording in the folder")
        for row in walk.rows.values()
    )
    return Listing(tuple(walk.items), (*walk.skipped, *unused))


def _files(walk: _Walk, leave_out: Sequence[Path]) -> list[Path]:
    """Return the files in sorted order, without hidden ones and without the folders in ``leave_out``."""
    files = []
    for parent, folders, names in os.walk(walk.folder, onerror=walk.unreadable):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(os.path.realpath(Path(parent, name))) not in leave_out
        ]
        for name in sorted(folders):
            if Path(name).suffix.lower() in AUDIO_SUFFIXES:  # it is walked all the same
                walk.skip(Path(parent, name), "a folder, although it is named like a recording")
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files, key=lambda file: (_normal(file.relative_to(walk.folder).as_posix()), os.fsencode(file)))


def _list_table(table: Path) -> Listing:
    items, skipped = [], []
    for row in read_table(table):
        try:
            items.append(Item(_file_of_row(table.parent, row["path"]), row["path"], row))
        except CatalogError as error:
            skipped.append(Skipped(row["path"], f"line {row['line']}: {error}"))
    return Listing(tuple(items), tuple(skipped))


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
    return file


def read_table(table: Path) -> list[dict[str, str]]:
    """Read a table of songs.

    Returns
    -------
    list of dict
        One per row: the cells by lower-case column name, and ``line``, the row's last line in the file.

    Raises
    ------
    CatalogError
        Not a CSV file with a ``path`` column, or too large.
    """
    if table.stat().st_size > MAX_TABLE_BYTES:
        raise CatalogError(f"{table.name} has more than {MAX_TABLE_BYTES} bytes")
    lines = csv.reader(io.StringIO(_decoded(table), newline=""))
    rows = []
    try:
        columns = [name.strip().lower() for name in next(lines, ())]
        if "path" not in columns:
            raise CatalogError(
                f'{table.name} has no column "path"; a table of songs starts with '
                "id,Title,Singer,Lyric,genre,path,gender"
            )
        for cells in lines:
            if cells:
                row = dict(zip(columns, map(str.strip, cells), strict=False))
                rows.append({"path": "", **row, "line": str(lines.line_num)})
    except csv.Error as error:
        raise CatalogError(f"{table.name}, line {lines.line_num}: {error}") from error
    return rows


def _decoded(table: Path) -> str:
    content = table.read_bytes()
    for encoding in ("utf-8-sig", "cp949"):  # cp949 is what a Korean Excel writes
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CatalogError(f"{table.name} is not text in UTF-8 (or CP949)")


def _readable(name: str) -> str:
    """Return a file name that can be written as UTF-8, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "replace")


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
