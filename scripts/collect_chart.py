#!/usr/bin/env python
"""Make or complete info.csv, the table of songs, from Melon's genre charts and from hand-made rows.

    pip install -r requirements-collect.txt
    python scripts/collect_chart.py --month 2023-12 --genre Dance --genre Ballad
    python scripts/collect_chart.py --from-csv corrected.csv

Columns: id, Title, Singer, Lyric, genre, path, gender. A song in two charts is one row with both genres; gender is what
the artists' pages state, else empty for a person to fill in. No audio is downloaded; scripts/match_audio.py fills path.

The site's robots.txt is obeyed. Where it forbids programs to read the charts (as Melon's did when this was written,
for all but a few search engines), the script says so, fetches nothing and ends: write the rows by hand then and merge
them with --from-csv. docs/collecting.md has the details.

A run that stops, for whatever reason, is continued by the same command; pages already read are not requested again.
Cells that info.csv already has are kept. Rows of --from-csv win over both.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.collect import chart as melon
from hmm2song.collect.fetch import DEFAULT_PAUSE_S, PageMissingError, PoliteClient, RobotsError
from hmm2song.collect.info_csv import (
    COLUMNS,
    Row,
    TableError,
    add_collected,
    apply_corrections,
    read_corrections,
    read_info,
    write_info,
)
from hmm2song.errors import Hmm2SongError
from hmm2song.script import GOES_ON, Journal, main_of

MIN_PAUSE_S = 1.0
"""Shortest pause between requests to a server that is not on this machine."""
FIRST_MONTH = "2004-11"
"""Melon opened then."""
LOOPBACK = ("127.0.0.1", "localhost")
ANY_ID = "1"
"""Stands for the id of any song or artist when robots.txt is asked beforehand."""
LYRICS_WARNING = "lyrics belong to their authors: keep this info.csv, and catalogs made from it, to yourself"

Parsed = str | list[dict]


@dataclass
class FoundSong:
    """What charts and pages say about a song so far."""

    chart_song: melon.ChartSong
    genres: list[str]
    gender: str = ""
    lyric: str = ""

    def to_row(self) -> Row:
        """Return it as a row of the table."""
        song = self.chart_song
        cells = (song.id, song.title, ", ".join(song.singers), self.lyric, ", ".join(self.genres), "", self.gender)
        return dict(zip(COLUMNS, cells, strict=True))


class Collector:
    """Reads charts, then what the table still lacks; :attr:`songs` always holds what is known so far."""

    def __init__(self, client: PoliteClient, journal: Journal) -> None:
        self.songs: dict[str, FoundSong] = {}
        self.notices: list[str] = []
        self._client = client
        self._journal = journal

    def read_charts(self, month: str, genres: Sequence[str], top: int | None) -> None:
        """Read the chart of each genre."""
        with bar(genres, "charts") as shown:
            for genre in shown:
                wanted = top or melon.LONG_TOPS.get(genre, melon.DEFAULT_TOP)
                path = melon.chart_path(genre, month)
                rows = self._read(path, lambda page: [vars(song) for song in melon.parse_chart(page, month)])
                self._add_chart(rows[:wanted], genre)
                if len(rows) < wanted:
                    self.notices.append(f"the {genre} chart of {month} lists {len(rows)} songs, not {wanted}")

    def _add_chart(self, rows: Iterable[dict], genre: str) -> None:
        for row in rows:
            song = melon.ChartSong(**row | {name: tuple(row[name]) for name in ("singers", "artist_ids")})
            self.songs.setdefault(song.id, FoundSong(song, [])).genres.append(genre)

    def read_genders(self, known: set[str]) -> None:
        """Read the artists of all songs but those in ``known``."""
        songs = [found for found in self.songs.values() if found.chart_song.id not in known]
        artist_ids = list(dict.fromkeys(artist_id for found in songs for artist_id in found.chart_song.artist_ids))
        with bar(artist_ids, "artists") as shown:
            genders = {
                artist_id: self._read(melon.artist_path(artist_id), melon.parse_artist_gender, if_missing="")
                for artist_id in shown
            }
        for found in songs:
            song = found.chart_song
            nobody = [""] * (len(song.singers) - len(song.artist_ids))  # singers without a page
            found.gender = melon.song_gender([*(genders[artist_id] for artist_id in song.artist_ids), *nobody])

    def read_lyrics(self, known: set[str]) -> None:
        """Read the lyrics of all songs but those in ``known``."""
        with bar([song_id for song_id in self.songs if song_id not in known], "lyrics") as shown:
            for song_id in shown:
                self.songs[song_id].lyric = self._read(melon.song_path(song_id), melon.parse_lyric, if_missing="")

    def rows(self) -> list[Row]:
        """Return what is known so far as rows of the table."""
        return [found.to_row() for found in self.songs.values()]

    def _read(self, path: str, parse: Callable[[str], Parsed], if_missing: Parsed | None = None) -> Parsed:
        def read() -> Parsed:
            try:
                page = self._client.get(path)
            except PageMissingError:
                if if_missing is None:
                    raise
                return if_missing
            try:
                return parse(page)
            except melon.MarkupError as error:
                raise melon.MarkupError(f"{self._client.site}{path}: {error}") from error

        return self._journal.remembered(self._client.site + path, read)


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("info.csv"), help="table to make or complete (info.csv)")
    parser.add_argument("--month", metavar="YYYY-MM", help="month of the charts; without it nothing is fetched")
    parser.add_argument(
        "--genre", action="append", choices=list(melon.GENRE_CODES), help="chart to read; may be repeated (all eight)"
    )
    parser.add_argument("--top", type=int, metavar="N", help="songs per chart (100; Dance and Ballad 150)")
    parser.add_argument("--no-gender", action="store_true", help="do not read the artists' pages")
    parser.add_argument("--lyrics", action="store_true", help="read lyrics too, for your own use only")
    parser.add_argument(
        "--from-csv", type=Path, action="append", default=[], metavar="FILE",
        help="merge hand-made or corrected rows, which win; any of the columns, with id or Title; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--pause", type=float, default=DEFAULT_PAUSE_S, metavar="S",
        help=f"seconds between two requests ({DEFAULT_PAUSE_S:.0f}; at least {MIN_PAUSE_S:.0f})",
    )  # fmt: skip
    parser.add_argument("--site", default=melon.SITE, metavar="URL", help=f"the site ({melon.SITE})")
    return parser


def run(options: argparse.Namespace) -> None:
    """Complete the table and say how it stands."""
    check_options(options)
    corrections = [row for file in options.from_csv for row in read_corrections(file)]
    rows = read_info(options.out) if options.out.exists() else []
    n_before = len(rows)
    notices: list[str] = []
    if options.month:
        rows, notices = collect(options, rows)
    rows = apply_corrections(rows, corrections)
    write_info(options.out, rows)
    if options.month:
        shutil.rmtree(journal_folder(options.out), ignore_errors=True)
    tell_result(options.out, rows, n_before, notices)


def check_options(options: argparse.Namespace) -> None:
    """Raise an error for options that make no sense."""
    if not options.month and not options.from_csv:
        raise TableError("nothing to do; give --month, --from-csv or both")
    if not options.out.parent.is_dir():
        raise TableError(f"--out {options.out}: there is no such folder")
    if options.month and not (
        re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", options.month) and FIRST_MONTH <= options.month < f"{date.today():%Y-%m}"
    ):
        raise TableError(f"--month {options.month}: give a past month since {FIRST_MONTH}, as in 2023-12")
    if options.top is not None and options.top < 1:
        raise TableError(f"--top {options.top}: must be at least 1")
    if not options.pause >= MIN_PAUSE_S and urlsplit(options.site).hostname not in LOOPBACK:
        raise TableError(f"--pause {options.pause}: be polite, at least {MIN_PAUSE_S:.0f} s")


def journal_folder(out: Path) -> Path:
    """Return where what was read from each page is kept until the table is complete; the pages are not kept."""
    return out.with_name(out.name + ".partial")


def collect(options: argparse.Namespace, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows completed from the site, and what to tell about it."""
    client = PoliteClient(options.site, options.pause, on_wait=tell_wait)
    collector = Collector(client, Journal(journal_folder(options.out) / "pages.jsonl"))
    try:
        read_pages(collector, client, options, rows)
    except RobotsError as error:
        raise RobotsError(
            f"{error}. Leave out what it forbids (--no-gender, no --lyrics), or write rows by hand for --from-csv"
        ) from error
    except Hmm2SongError as error:
        if not collector.songs:
            raise
        partial = add_collected(rows, collector.rows())
        write_info(options.out, partial)
        raise Hmm2SongError(f"{error} ({len(partial)} songs so far; the same command goes on from here)") from error
    return add_collected(rows, collector.rows()), collector.notices


def read_pages(collector: Collector, client: PoliteClient, options: argparse.Namespace, rows: Sequence[Row]) -> None:
    """Read all that the options ask for and the rows lack."""
    genres = list(dict.fromkeys(options.genre or melon.GENRE_CODES))
    needed = [melon.chart_path(genre, options.month) for genre in genres]
    needed += [] if options.no_gender else [melon.artist_path(ANY_ID)]
    needed += [melon.song_path(ANY_ID)] if options.lyrics else []
    client.require_allowed(needed)  # all of them, before the first is requested
    collector.read_charts(options.month, genres, options.top)
    if not options.no_gender:
        collector.read_genders({row["id"] for row in rows if row["gender"]})
    if options.lyrics:
        collector.read_lyrics({row["id"] for row in rows if row["Lyric"]})


def bar(items: Sequence[str], label: str) -> tqdm:
    """Show progress; used with ``with``, so that the bar is finished before an error is told."""
    return tqdm(items, desc=label, unit=" pages", file=sys.stderr)


def tell_wait(wait_s: float, problem: str) -> None:
    """Say why the program waits."""
    tqdm.write(f"waiting {wait_s:.0f} s ({problem})", file=sys.stderr)


def tell_result(out: Path, rows: Sequence[Row], n_before: int, notices: Iterable[str]) -> None:
    """Say how the table stands, and what a person can add."""
    for notice in notices:
        print(f"note: {notice}")
    if any(row["Lyric"] for row in rows):
        print(f"note: {LYRICS_WARNING}")
    lacking = ", ".join(f"{sum(not row[column] for row in rows)} without {column}" for column in ("gender", "path"))
    print(f"{out}: {len(rows)} songs, {len(rows) - n_before} new; {lacking}")


main = main_of(__file__, make_parser().parse_args, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
