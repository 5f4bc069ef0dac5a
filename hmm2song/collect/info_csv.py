"""The table of songs, ``info.csv``: read, complete, correct, write.

Conventions
-----------
* A row is a dict of text by column name. The columns are ``id, Title, Singer, Lyric, genre, path, gender`` of the
  source system, then any others of the file, which are kept. Names are recognised in any case.
* ``genre`` lists one or several genres (``"RnB_Soul, Indie"``), ``gender`` is ``female``, ``male``, ``mixed`` or empty
  (Korean words are read too), ``path`` is relative to the table's folder and stays inside it.
* Text is UTF-8 (CP949, as a Korean Excel writes it, is read too), in NFC except ``path``, which is spelt as on the
  disk. Line breaks inside a cell are line feeds.
* A correction replaces a cell of the table, which is never replaced by what is collected anew. An empty cell replaces
  nothing.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hmm2song.catalog.storage import whole_file
from hmm2song.errors import CatalogError, Hmm2SongError
from hmm2song.indexing.report import csv_text
from hmm2song.indexing.sources import surplus_cells, table_rows
from hmm2song.song import Song, gender_code, listed_genres, safe_relative_path

COLUMNS = ("id", "Title", "Singer", "Lyric", "genre", "path", "gender")
OWN_ID_PREFIX = "own-"
"""Begins the ids given to hand-made rows that have none; the rest is made of title and singer."""
_OWN_ID_CHARS = 12

Row = dict[str, str]


class TableError(Hmm2SongError, ValueError):
    """A table of songs cannot be read, or a row contradicts itself or the others."""


def read_info(file: Path) -> list[Row]:
    """Read a table in which every row has an id of its own; a TableError names file and line."""
    rows: list[Row] = []
    seen: set[str] = set()
    for line, row in _read(file):
        if not row["id"]:
            raise TableError(f"{file.name}, line {line}: the row has no id")
        if row["id"] in seen:
            raise TableError(f"{file.name}, line {line}: the id {row['id']!r:.60} is already that of a row above")
        seen.add(row["id"])
        rows.append(row)
    return rows


def read_corrections(file: Path) -> list[Row]:
    """Read hand-made rows and corrections: any of the columns, but each row has an ``id`` or a ``Title``."""
    rows = _read(file)
    for line, row in rows:
        if not row["id"] and not row["Title"]:
            raise TableError(f"{file.name}, line {line}: the row needs an id or a Title")
    return [row for _, row in rows]


def add_collected(rows: Sequence[Row], collected: Iterable[Row]) -> list[Row]:
    """Return the table completed: empty cells filled, genres added, new songs appended; nothing is overwritten."""
    table = {row["id"]: dict(row) for row in rows}
    for new in collected:
        Song.from_row(new)
        old = table.setdefault(new["id"], dict(new))
        for column, text in new.items():
            if not old.get(column):
                old[column] = text
        old["genre"] = listed_genres(f"{old['genre']},{new['genre']}")
    return list(table.values())


def apply_corrections(rows: Sequence[Row], corrections: Iterable[Row]) -> list[Row]:
    """Return the table with every filled cell of a correction in place of the table's.

    A correction belongs to the row with its id; without an id, to the one with its title and singer, or title alone if
    it names no singer. One that belongs to none is a new song, for which it needs a title; one that belongs to several
    rows is a TableError.
    """
    table = {row["id"]: dict(row) for row in rows}
    for correction in corrections:
        song_id = correction["id"] or _id_of(correction, table.values())
        if song_id not in table:
            if not correction["Title"]:
                raise TableError(f"a correction is for the id {song_id!r:.60}, which the table lacks, and has no Title")
            table[song_id] = dict.fromkeys(COLUMNS, "")
        table[song_id].update({column: text for column, text in correction.items() if text}, id=song_id)
    return list(table.values())


def write_info(file: Path, rows: Sequence[Row]) -> None:
    """Write the table: completely, or not at all."""
    write_whole(file, table_csv([*dict.fromkeys([*COLUMNS, *(column for row in rows for column in row)])], rows))


def table_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return these columns of a table as CSV; a row may lack some and have others."""
    return csv_text([columns, *([row.get(column, "") for column in columns] for row in rows)])


def write_whole(file: Path, text: str) -> None:
    """Write a text file as UTF-8 beside its place, then move it there; raises TableError if that fails."""
    try:
        with whole_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise TableError(f"{str(file)!r} cannot be written ({error.strerror or error})") from error


def _id_of(correction: Row, rows: Iterable[Row]) -> str:
    """Return the id of the row a correction without an id belongs to, or a new one."""
    title, singer = _plain(correction["Title"]), _plain(correction["Singer"])
    found = [
        row["id"] for row in rows if _plain(row["Title"]) == title and (not singer or _plain(row["Singer"]) == singer)
    ]
    if len(found) > 1:
        raise TableError(
            f"a correction for {correction['Title']!r:.80} fits {len(found)} rows ({', '.join(found[:3])}); give its id"
        )
    digest = hashlib.sha256(f"{title}\n{singer}".encode()).hexdigest()
    return found[0] if found else OWN_ID_PREFIX + digest[:_OWN_ID_CHARS]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()


def _read(file: Path) -> list[tuple[int, Row]]:
    """Return the rows with the number of the line each ends in."""
    try:
        (_, head), *lines = list(table_rows(file)) or [(0, ())]
    except CatalogError as error:
        raise TableError(str(error)) from error
    known = {column.lower(): column for column in COLUMNS}
    columns = [known.get(name.strip().lower(), name.strip()) for name in head]
    if "id" not in columns and "Title" not in columns:
        raise TableError(f"{file.name}: the first line names neither id nor Title; it must be {','.join(COLUMNS)}")
    if "" in columns or len(set(columns)) < len(columns):
        raise TableError(f"{file.name}: the first line has an empty column name, or one twice")
    rows = []
    for line, cells in lines:
        where = f"{file.name}, line {line}"
        if surplus := surplus_cells(line, cells, len(columns)):  # the table is written anew, without them
            raise TableError(f"{file.name}, {surplus}")
        if any(map(str.strip, cells)):
            rows.append((line, _checked(dict.fromkeys(COLUMNS, "") | dict(zip(columns, cells, strict=False)), where)))
    return rows


def _checked(row: Row, where: str) -> Row:
    """Return the row with tidy text; the path is left as the disk has it."""
    tidy = {column: text.strip() if column == "path" else _tidy(text) for column, text in row.items()}
    if not safe_relative_path(tidy["path"]):
        raise TableError(f"{where}: the path {tidy['path']!r:.80} leads out of the table's folder")
    try:
        tidy["gender"] = gender_code(tidy["gender"])
        tidy["genre"] = listed_genres(tidy["genre"])
        Song.from_row({**tidy, "id": tidy["id"] or OWN_ID_PREFIX})  # checks lengths
    except Hmm2SongError as error:
        raise TableError(f"{where}: {error}") from error
    return tidy
