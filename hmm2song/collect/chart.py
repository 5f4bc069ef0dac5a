"""Melon's pages: where they are, and what is read from them.

Pages are given as text, nothing here touches the network. A page of another form raises :class:`MarkupError`, so that
no wrong row is written. Text is Unicode NFC with single spaces; ids are Melon's own, decimal digits. The selectors were
checked against saved pages of January 2018 (chart) and against what public programs of 2018 to 2026 select (month, song
and artist pages).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from bs4 import BeautifulSoup, NavigableString, Tag

from hmm2song.errors import Hmm2SongError
from hmm2song.song import KOREAN_GENDERS

SITE = "https://www.melon.com"
GENRE_CODES = {
    "Dance": "GN0200", "Ballad": "GN0100", "Trot": "GN0700", "Hiphop": "GN0300",
    "RnB_Soul": "GN0400", "Rock_Metal": "GN0600", "Folk_Blues": "GN0800", "Indie": "GN0500",
}  # fmt: skip
"""Our genres to Melon's ``classCd``, in the order in which charts are read."""
DEFAULT_TOP = 100
LONG_TOPS = {"Dance": 150, "Ballad": 150}
"""Songs taken per chart, and the genres that are taken further down."""
_ARTIST_LINK = re.compile(r"goArtistDetail\('?(\d+)'?\)")


class MarkupError(Hmm2SongError):
    """A page does not have the expected form: the site has changed, or it is another page."""


@dataclass(frozen=True)
class ChartSong:
    """One row of a chart; ``rank`` counts from 1, ``artist_ids`` are those of the singers who have a page."""

    rank: int
    id: str
    title: str
    singers: tuple[str, ...]
    artist_ids: tuple[str, ...]


def chart_path(genre: str, month: str) -> str:
    """Return the path of a genre's chart of a month (``"2023-12"``)."""
    return f"/chart/month/index.htm?classCd={GENRE_CODES[genre]}&moved=Y&rankMonth={month.replace('-', '')}"


def song_path(song_id: str) -> str:
    """Return the path of a song's page."""
    return f"/song/detail.htm?songId={song_id}"


def artist_path(artist_id: str) -> str:
    """Return the path of an artist's page."""
    return f"/artist/detail.htm?artistId={artist_id}"


def parse_chart(page: str, month: str | None = None) -> tuple[ChartSong, ...]:
    """Return the songs of a chart's page by rank.

    The page must state the month (``"2023-12"``), if given: for a month without a chart the site may show another one.
    """
    soup = BeautifulSoup(page, "html.parser")
    if month is not None:
        _require_month(soup, month)
    songs = tuple(_chart_song(row) for row in soup.select("tr[data-song-no]"))
    if not songs:
        raise MarkupError("the chart has no rows tr[data-song-no]: there is none for that month, or the markup changed")
    ranks = [song.rank for song in songs]
    if ranks != list(range(1, len(ranks) + 1)):
        raise MarkupError(f"the ranks are not 1 to {len(ranks)} but {ranks[:5]} ... {ranks[-1]}: the markup changed")
    return songs


def _require_month(soup: BeautifulSoup, month: str) -> None:
    period = soup.select_one(".calendar_prid")
    stated = re.search(r"(\d{4})\.(\d{2})", _text(period)) if period else None
    if stated is None:
        raise MarkupError("the chart does not state its month in .calendar_prid: the markup changed")
    if f"{stated.group(1)}-{stated.group(2)}" != month:
        raise MarkupError(f"asked for the chart of {month}, but the site shows that of {stated.group(0)}")


def _chart_song(row: Tag) -> ChartSong:
    song_id = str(row["data-song-no"]).strip()
    rank = _text(row.select_one("span.rank"))
    where = f"row {rank or '?'} of the chart (song {song_id or '?'})"
    if not re.fullmatch(r"[0-9]{1,12}", song_id) or not re.fullmatch(r"[0-9]{1,4}", rank):
        raise MarkupError(f"{where}: data-song-no and span.rank are not both numbers: the markup changed")
    title = _text(row.select_one("div.rank01 > span > a"))
    artists = row.select_one("div.rank02")
    if not title or artists is None:
        raise MarkupError(f"{where}: no title in div.rank01 > span > a, or no div.rank02: the markup changed")
    # The same links stand once more inside span.checkEllipsis, so only direct children count.
    links = artists.find_all("a", recursive=False)
    singers = tuple(filter(None, map(_text, links)))
    if not singers:  # "Various Artists" is no link
        own = "".join(node for node in artists.children if type(node) is NavigableString)
        singers = tuple(filter(None, [_tidy(own)]))
    if not singers:
        raise MarkupError(f"{where}: no singer in div.rank02: the markup changed")
    ids = [match.group(1) for link in links if (match := _ARTIST_LINK.search(str(link.get("href", ""))))]
    return ChartSong(int(rank), song_id, title, singers, tuple(ids))


def parse_lyric(page: str) -> str:
    """Return the lyric on a song's page with its line breaks; empty if it shows none (as for adults-only songs)."""
    soup = BeautifulSoup(page, "html.parser")
    if soup.select_one("div.song_name") is None:
        raise MarkupError("not a song's page (no div.song_name): the markup changed")
    block = soup.select_one("div.lyric")
    if block is None:
        return ""
    lines = [""]
    for node in block.descendants:
        if isinstance(node, Tag):
            if node.name == "br":
                lines.append("")
        elif type(node) is NavigableString:  # not a comment, which is a subclass
            lines[-1] += node
    return "\n".join(map(_tidy, lines)).strip()


def parse_artist_gender(page: str) -> str:
    """Return the gender an artist's page states: ``female``, ``male``, ``mixed``, or empty if it states none."""
    soup = BeautifulSoup(page, "html.parser")
    if soup.select_one(".title_atist") is None:
        raise MarkupError("not an artist's page (no .title_atist): the markup changed")
    for label in soup.select("div.section_atistinfo03 dt"):
        value = label.find_next_sibling("dd")
        if _text(label) == "유형" and value is not None:
            words = re.split(r"[|/,\s]+", value.get_text(" "))
            stated = {KOREAN_GENDERS[word] for word in words if word in KOREAN_GENDERS}
            return stated.pop() if len(stated) == 1 else ""
    return ""


def song_gender(artist_genders: Iterable[str]) -> str:
    """Return the gender of a song's singers together; empty if it cannot be told because some are unknown."""
    genders = set(artist_genders)
    if "mixed" in genders or {"female", "male"} <= genders:
        return "mixed"
    return genders.pop() if len(genders) == 1 else ""


def _text(tag: Tag | None) -> str:
    return "" if tag is None else _tidy(tag.get_text())


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))
