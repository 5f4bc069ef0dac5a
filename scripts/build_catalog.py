#!/usr/bin/env python
"""Build the bundled catalog from the songbook and a file of public-domain melodies.

    python scripts/build_catalog.py --public-domain public_domain.jsonl

Reads assets/songbook/*.abc (our own transcriptions), the rows of the JSON lines that are free everywhere,
assets/songbook/performers.csv (who sang the recording that made a song known) and assets/songbook/hymn_tunes.csv (who
wrote the hymn tunes whose credit is cut in the JSON lines). Writes assets/catalog. The result is the same bytes for the
same input.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import default_encoder
from hmm2song.errors import Hmm2SongError
from hmm2song.match.versions import group_versions
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.melody.scores import read_rows, read_scores
from hmm2song.script import main_of, progress, table_rows
from hmm2song.song import Song

FREE_SCOPES = ("US + life+70", "CC0 edition", "public domain as stated by the source")
"""Beginnings of ``pd_scope`` of the rows that may be bundled: free in the US and by the author's death elsewhere."""
GENRES = {
    "Hymn": "Hymn",
    "Christmas carol": "Holiday",
    "Classical/Lied": "Classical",
    "Folk": "Folk",
    "Traditional/Folk": "Folk",
    "Early pop": "Early pop",
    "American parlour": "Parlour",
    "Jazz/Standard": "Jazz",
    "Musical/Stage": "Musical",
    "Classical": "Classical",
}
"""Genres of the public-domain file to those of our songbook."""
SOURCES = {
    "openhymnal": "Open Hymnal Project",
    "openewld": "OpenEWLD lead sheets",
    "openscore_lieder": "OpenScore Lieder Corpus",
    "christmas_carols": "Christmas carols in LilyPond",
    "foster": "Stephen Foster songs in Humdrum **kern",
}
EXCLUDED = {
    "openhymnal_Complete_Jesus_Loves_Me": "the row holds the alto line, and our songbook has the tune",
    "openhymnal_Complete_Away_In_A_Manger": "the row holds the alto line, and our songbook has the tune",
}
"""Beginnings of the ids of rows that are not the melody they are named for."""
MAX_CREDIT_CHARS = 300
CUT_NAME = re.compile(r"(?:^|\s)(?:[A-Z]|Mrs|St)$")
"""The public-domain file cuts a credit at the first full stop: "Will L" is half a name."""
NO_NAMES = {
    "adapted", "ancient", "attr", "circa 1200s", "found", "melody", "old melody", "or", "pieced together", "resonet",
    "unknown, sometimes",
}  # fmt: skip
"""What is left of credits that name a book or nobody."""
NATIONS = "English|French|German"

Entry = tuple[Song, Melody]


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public-domain", type=Path, required=True, help="JSON lines of melodies with pd_scope")
    parser.add_argument("--songbook", type=Path, default=ROOT / "assets" / "songbook", help="folder of ABC tunes")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "catalog", help="catalog folder to write")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Build the catalog and say what it holds."""
    entries = read_songbook(options.songbook)
    entries += read_public_domain(options.public_domain, options.songbook / "hymn_tunes.csv")
    entries = mark_versions(add_performers(entries, options.songbook / "performers.csv"))
    songs, melodies = zip(*entries, strict=True)
    with progress("embedding", "songs") as show:
        catalog = Catalog.build(songs, melodies, default_encoder(), credits_of(songs), show)
    catalog.save(options.out)
    genders = ", ".join(f"{count} {gender or 'unknown'}" for gender, count in catalog.gender_counts().items())
    print(f"{len(catalog)} songs, {len({song.tune or song.id for song in songs})} tunes; singers: {genders}")


def read_songbook(folder: Path) -> list[Entry]:
    """Read our own transcriptions."""
    entries = []
    for path in sorted(folder.glob("*.abc")):
        scored = read_scores(path).melodies[0]
        song = dataclasses.replace(
            scored.song, id=f"songbook_{path.stem}", source="Hmm2Song songbook", licence="CC0",
            credit="written down for this project",
        )  # fmt: skip
        entries.append((song, scored.melody))
    return entries


def read_public_domain(path: Path, hymn_tunes: Path) -> list[Entry]:
    """Read the rows that are free everywhere."""
    authors = {row["tune"]: row["author"] for row in table_rows(hymn_tunes, "tune", "author")}
    return [
        (song_of_row(row, authors), melody_from_notes(row["notes"]))
        for _, row in read_rows(path, "id", "pd_scope", "notes")
        if row["pd_scope"].startswith(FREE_SCOPES) and not row["id"].startswith(tuple(EXCLUDED))
    ]


def song_of_row(row: dict, authors: Mapping[str, str]) -> Song:
    """Turn a row of the public-domain file into a song; ``authors`` are those of hymn tunes whose credit is cut."""
    tune = row["id"].partition("-")[2].removesuffix("_1")  # openhymnal_Complete_..._Title-Tune_1
    author, credit = tidy_author(row["artist"]), row["artist"][:MAX_CREDIT_CHARS]
    if CUT_NAME.search(credit):
        credit += "…"
    if tune in authors:
        author = authors[tune]
        credit = f"{tune.replace('_', ' ')}: {author}"
    stated = f"{row['licence']}; {row['pd_basis']}; {row['pd_scope']}"
    return Song(
        id=short_id(row["id"]),
        title=tidy_title(row["title"]),
        author=author,
        genre=GENRES.get(row["genre"], ""),
        year=row["year"][:4],
        source=SOURCES[row["source"]],
        licence=row["licence"],
        credit=f"{credit} ({stated})",
    )


def short_id(row_id: str) -> str:
    """Shorten the ids that repeat a file name: they appear in links."""
    return row_id.replace("openhymnal_Complete_", "openhymnal_").replace("carol_ly_8_5garamond_", "carol_")


def tidy_title(title: str) -> str:
    """Drop the numbers and tune names that some books put in brackets behind a title."""
    return re.sub(r"\s+", " ", re.sub(r"\((\d+|[A-Z][\w ]*\d+)\)", "", title)).strip()


def tidy_author(artist: str) -> str:
    """Keep the composer of a credit line that also names tune, words, setting and book; empty if it names none."""
    music = re.search(r"Music(?: and Setting)?:\s*(.+)", artist)
    name = (music.group(1) if music else artist).strip().removeprefix("Words: ")
    name = re.sub(r"^('[^']*'(?: \([^)]*\))?(?: or )?)+\s*", "", name)  # hymn tune names in quotes
    name = re.sub(r"\s*(\(|\[\d).*", "", name).replace(" ,", ",")
    name = re.split(
        r",? (?:from|in|found|attr)\b|(?<![A-Z])(?<!Rev)(?<!Mrs)\. |,? (?:circa |before )?1\d{3}\b"
        r"|, (?:possibly|before)|;",
        name,
    )[0]
    name = re.sub(r"(?<!Jr)(?<!\.[A-Z])\.$|, \d\dth cent$| c$", "", name.strip(" ,*"))
    name = re.sub(r"^\[?[Tt]raditional\]?$", "Traditional", name)
    name = re.sub(rf"^({NATIONS})$", r"Traditional \1", name)
    if name.startswith(("'", "from ", "From ")) or name.lower() in NO_NAMES or CUT_NAME.search(name):
        return ""
    return name[:1].upper() + name[1:80]


def add_performers(entries: list[Entry], table: Path) -> list[Entry]:
    """Add who sang the recording that made a song known."""
    performers = {short_id(row["id"]): row for row in table_rows(table, "id", "singer", "gender", "source")}
    unknown = sorted(set(performers) - {song.id for song, _ in entries})
    if unknown:
        raise Hmm2SongError(f"{table.name} names {len(unknown)} songs that are not in the catalog, e.g. {unknown[0]!r}")
    return [(performed(song, performers.get(song.id)), melody) for song, melody in entries]


def performed(song: Song, row: dict[str, str] | None) -> Song:
    """Add one performer to a song."""
    if row is None:
        return song
    credit = f"{song.credit}; singer: {row['singer']}, {row['source']}"
    return dataclasses.replace(song, singer=row["singer"], gender=row["gender"], credit=credit)


def mark_versions(entries: list[Entry]) -> list[Entry]:
    """Give entries that are versions of one tune a common ``tune``."""
    with progress("versions", "songs") as show:
        groups = group_versions([melody for _, melody in entries], show)
    shared = {group for group in groups if groups.count(group) > 1}
    return [
        (dataclasses.replace(song, tune=entries[group][0].id) if group in shared else song, melody)
        for (song, melody), group in zip(entries, groups, strict=True)
    ]


def credits_of(songs: tuple[Song, ...]) -> str:
    """Write where every entry comes from."""
    lines = [
        "# Credits",
        "",
        "Melodies only: no recordings, lyrics or editions are included. Each entry below is in the public domain or",
        "CC0 as stated; who sang the recording that made a song known is given where it is on record. The tunes of the",
        "songbook were written down for this project, many of them with an edition in the public domain at hand.",
        "",
    ]
    for song in songs:
        korean = f" ({song.title_ko})" if song.title_ko else ""
        author = song.author.rstrip(".") or "author unknown"
        lines.append(f"- `{song.id}` **{song.title}**{korean}: {author}. {song.source}. {song.credit}.")
    return "\n".join(lines) + "\n"


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
