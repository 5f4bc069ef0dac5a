"""Tables of hums whose song is known: what evaluations ask and constants are fitted on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from hmm2song.errors import Hmm2SongError

COLUMNS = frozenset({"file", "song_id"})


@dataclass(frozen=True)
class Query:
    """A hum and the ids of the songs that answer it; ``singer`` is empty where the table does not tell.

    ``name`` is the file as the table has it.
    """

    file: Path
    name: str
    acceptable: tuple[str, ...]
    singer: str = ""


def read_queries(path: Path) -> list[Query]:
    """Read a CSV with the columns file,song_id and perhaps singer; others are ignored.

    Files are relative to the table; several acceptable ids are joined by ``|``.

    Raises
    ------
    Hmm2SongError
        The table cannot be read, lacks a column, holds no hum, or a row lacks its file or song.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise Hmm2SongError(f"{path}: {error.strerror}; give the CSV of queries") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Hmm2SongError(f"{path} is not a CSV in UTF-8 ({error})") from error
    if not rows or not rows[0].keys() >= COLUMNS:
        raise Hmm2SongError(f"{path} needs the columns file,song_id and at least one row")
    return [_query_of(row, path, number) for number, row in enumerate(rows, start=1)]


def _query_of(row: dict[str, str | None], path: Path, number: int) -> Query:
    """Read one row; a short one has None where the table ends."""
    name, songs, singer = ((row.get(column) or "").strip() for column in ("file", "song_id", "singer"))
    acceptable = tuple(filter(None, map(str.strip, songs.split("|"))))
    if not name or not acceptable:
        raise Hmm2SongError(f"{path}, row {number}: file or song_id is empty; fill it in or drop the row")
    return Query(path.parent / name, name, acceptable, singer)
