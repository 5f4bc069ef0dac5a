"""What a recording says about itself: the tags in the file, and the file's name where they are silent.

Conventions
-----------
* Tags are texts of strangers: control and invisible characters go, spaces are joined, every text is cut to
  :data:`MAX_TAG_CHARS`. Tags that cannot be read count as missing.
* Placeholders that programs write ("Track 01", "Unknown Artist", "Various Artists") are no title and no artist.
* A name is read as ``Artist - Title``, with or without a track number before it.
* Pictures, lyrics and everything else in the tags are left where they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinytag import TinyTag, TinyTagException

from hmm2song.melody.notation.encoding import repaired
from hmm2song.song import listed_genres

MAX_TAG_CHARS = 300
"""Longest text kept of one tag: titles of classical recordings take 150."""
MAX_GENRES = 5
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that no title needs; among them are those that reverse the text after them."""
_PLACEHOLDER = re.compile(
    r"(no |unknown |audio ?)?(title|artist|track|song)[\s_#]*\d*|untitled|unknown|various( artists)?|v\.?a\.?|n/?a|\W*",
    re.IGNORECASE,
)
_LICENCE = re.compile(
    r"licen[cs]e|public domain|creative ?commons|\bCC[ -]?(BY|0|zero)|all rights reserved", re.IGNORECASE
)
_TRACK_NUMBER = re.compile(r"^(?:\(?(?:\d{1,2}-)?\d{1,3}\)?\s*[-._)]+\s*|0\d{1,2}\s+)(?=[^\s\d])")
_NAME_BREAK = re.compile(r"\s+[-–—]\s+")
_YEAR = re.compile(r"\b(1[5-9]|20)\d{2}\b")


@dataclass(frozen=True)
class Tags:
    """The tags of a recording, cleaned; what it does not state is empty.

    ``genre`` is comma-separated, ``credit`` the copyright line and address, ``licence`` a text that names one.
    """

    title: str = ""
    artist: str = ""
    genre: str = ""
    year: str = ""
    credit: str = ""
    licence: str = ""


def song_fields(file: Path, name: str) -> dict[str, str]:
    """Return the fields of a :class:`~hmm2song.song.Song` that a recording states in its tags.

    What they lack of title and artist comes from ``name``, the recording's path in the collection.
    """
    tags = read_tags(file)
    artist, title = artist_and_title(name)
    return {
        "title": tags.title or title,
        "singer": tags.artist or artist,
        "genre": tags.genre,
        "year": tags.year,
        "licence": tags.licence,
        "credit": tags.credit,
    }


def stated_length_s(file: Path) -> float | None:
    """Return how long a recording says that it is; None if it does not, or its format is unknown here."""
    try:
        return TinyTag.get(file, tags=False).duration
    except (TinyTagException, OSError):
        return None


def read_tags(file: Path) -> Tags:
    """Read the tags of a recording; all are empty if it has none or they are damaged."""
    try:
        found = TinyTag.get(file, duration=False)
    except (TinyTagException, OSError):
        return Tags()
    copyrights = [_clean(text) for text in found.other.get("copyright") or ()]
    addresses = [_clean(text) for text in found.other.get("url") or () if text.startswith(("http://", "https://"))]
    licences = [_clean(text) for text in found.other.get("license") or ()]
    stated = [text for text in (*copyrights, _clean(found.comment)) if _LICENCE.search(text)]
    return Tags(
        title=_stated(found.title),
        artist=_stated(found.artist) or _stated(found.albumartist),
        genre=_genres(_clean(found.genre)),
        year=year.group() if (year := _YEAR.search(_clean(found.year))) else "",
        credit="; ".join(dict.fromkeys(filter(None, (*copyrights[:1], *addresses[:1])))),
        licence=next(filter(None, (*licences, *stated)), ""),
    )


def artist_and_title(name: str) -> tuple[str, str]:
    """Return what a name such as ``Album/01. Artist - Title.mp3`` says; the artist is empty where it has none."""
    stem = name.rpartition("/")[2].rpartition(".")[0] or name.rpartition("/")[2]
    if " " not in stem:
        stem = stem.replace("_", " ")
    bare = _TRACK_NUMBER.sub("", stem)
    artist, title = _split_name(bare)
    if not any(letter.isalnum() for letter in title):
        return "", _clean(stem)
    return _clean(artist), _clean(title)


def _split_name(stem: str) -> Sequence[str]:
    parts = _NAME_BREAK.split(stem, maxsplit=1)
    return parts if len(parts) == 2 else ("", stem)


def _stated(text: str | None) -> str:
    """Return a title or artist, or nothing if it is only a placeholder."""
    cleaned = _clean(text)
    return "" if _PLACEHOLDER.fullmatch(cleaned) else cleaned


def _clean(text: str | None) -> str:
    visible = "".join(
        " " if letter.isspace() else letter
        for letter in repaired((text or "")[: 10 * MAX_TAG_CHARS])
        if letter.isspace() or unicodedata.category(letter) not in _INVISIBLE
    )
    return unicodedata.normalize("NFC", " ".join(visible.split()))[:MAX_TAG_CHARS].strip()


def _genres(text: str) -> str:
    genres = (genre.strip() for genre in re.split(r"[;/,|]", text))
    named = [genre for genre in genres if genre and not genre.isdigit() and genre.lower() not in ("other", "unknown")]
    return listed_genres(",".join(named[:MAX_GENRES]))
