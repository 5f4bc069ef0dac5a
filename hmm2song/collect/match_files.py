"""Which recording of a folder belongs to which song of a table.

How names are compared
----------------------
* Case, punctuation, spaces, accents and Unicode forms do not count: macOS spells file names in NFD, Windows in NFC.
* A recording has several *readings*: title and artist of its tags (:mod:`hmm2song.indexing.tags`) and, from its name,
  both orders of ``Artist - Title``.
* A title matches with or without the text in brackets, and by the brackets alone (``미워 (Ego)`` is ``Ego``), except
  credits such as ``(Feat. 아이유)``. Each singer of a list, and each name of ``태연 (TAEYEON)``, counts as the artist.
* Similar names match: the normalised InDel similarity of the letters, with Hangul split into jamo, must reach
  :data:`MIN_TITLE` and :data:`MIN_ARTIST`; short names of artists must be equal.
* Other numbers (Part 1, Part 2) and other versions (live, remix, accompaniment) never match, however similar.
* A title alone decides only if the artist is unknown or written in another script, the title is exactly the same, and
  no other song or recording has it. Here a folder's name is taken for an artist.

Each recording is given to one song and each song gets one recording, the surest pairs first. Pairs below :data:`SURE`
should be checked by a person.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from rapidfuzz import fuzz, process

from hmm2song.collect.info_csv import Row
from hmm2song.errors import Hmm2SongError
from hmm2song.indexing.sources import SkippedFile, is_recording, readable_name, walk
from hmm2song.indexing.tags import read_tags
from hmm2song.melody.notation.encoding import HANGUL
from hmm2song.song import safe_relative_path

MIN_TITLE = 0.85
"""Least similarity of the titles, 0 to 1: one wrong letter in seven."""
MIN_ARTIST = 0.80
"""Least similarity of one artist on each side."""
SHORT_ARTIST = 8
"""Names of fewer letters must be the same: 태연 and 태현 differ in one of five jamo."""
SURE = 0.97
"""Least score of pairs that nobody needs to check."""
ALTERNATIVE_TITLE = 0.98
"""Factor for titles that are the same only without, or only in, brackets: the whole title wins where a file has it."""
MISSPELT = 0.95
"""Factor for pairs whose title or artist is only similar."""
OTHER_NUMBERS = 0.9
"""Factor for titles of which one has a number and the other none, as "해요" and "해요 (2022)"."""
TITLE_ONLY_SCORE = 0.7
TITLE_SHARE = 0.6
"""Share of the title in the score; the rest is the artist's."""
TAGS, FILE_NAME, FOLDER_NAMES = "tags", "file name", "folder names"
_VERSIONS = {
    "live": "live", "라이브": "live",
    "inst": "accompaniment", "instrumental": "accompaniment", "mr": "accompaniment", "karaoke": "accompaniment",
    "반주": "accompaniment", "노래방": "accompaniment",
    "remix": "remix", "리믹스": "remix", "sped": "sped up", "slowed": "slowed", "nightcore": "sped up",
    "acoustic": "acoustic", "어쿠스틱": "acoustic", "cover": "cover", "커버": "cover", "demo": "demo",
}  # fmt: skip
"""Words that make a recording another one than that of the chart."""
_CREDIT = re.compile(r"^\W*(feat|ft|featuring|with|prod|duet)\b", re.IGNORECASE)
_TRAILING_CREDIT = re.compile(r"\s(feat|ft|featuring|prod)\b\.?\s.*$", re.IGNORECASE)
_ARTIST_BREAKS = re.compile(r"[,&;/()\[\]·、]|\s(?:feat|ft|featuring|with|and|x|vs)\b\.?\s*", re.IGNORECASE)
_TRACK_NUMBER = re.compile(r"^\(?(?:\d{1,2}-)?\d{1,3}\)?(?:\s*[-._)]+\s*|\s+)")
_NAME_BREAK = re.compile(r"\s+[-–—]\s+|_-_")


class MusicFolderError(Hmm2SongError):
    """The music folder is missing or holds no usable recording."""


@dataclass(frozen=True)
class Reading:
    """A way to understand a recording; an unknown artist is empty, ``source`` says where it stands."""

    title: str
    artist: str
    source: str


@dataclass(frozen=True)
class Track:
    """A recording: its path relative to the music folder, spelt as on the disk, and its readings."""

    path: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Pair:
    """A song and a recording that fits it; ``how`` says by what, ``score`` is 0 to 1."""

    song_id: str
    path: str
    score: float
    how: str

    @property
    def is_sure(self) -> bool:
        """Whether nobody needs to check it."""
        return self.score >= SURE


@dataclass(frozen=True)
class Matching:
    """The pairs made, the nearest recording of each song that got none (if any is near), and recordings left over."""

    pairs: tuple[Pair, ...]
    near_misses: tuple[Pair, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True)
class _Name:
    """A song or a reading prepared for comparison: title forms with their factors, artists, digits, versions."""

    owner: int
    titles: tuple[tuple[str, float], ...]
    artists: tuple[str, ...]
    numbers: str
    versions: frozenset[str]
    source: str = ""


# The folder ---------------------------------------------------------------------------------------------------


def find_recordings(folder: Path) -> tuple[list[Path], list[SkippedFile]]:
    """Return the recordings in a folder and below, in a stable order, and those that cannot be given to a song."""
    if not folder.is_dir():
        raise MusicFolderError(f"there is no folder {str(folder)!r}; check the name")
    found, skipped = walk(folder)
    files = []
    for file in filter(is_recording, found):
        path = file.relative_to(folder).as_posix()
        if reason := _why_no_table_holds(path) or ("" if file.is_file() else "a link to nothing"):
            skipped.append(SkippedFile(readable_name(path), reason))
        else:
            files.append(file)
    return files, [entry for entry in skipped if is_recording(Path(entry.path)) or (folder / entry.path).is_dir()]


def _why_no_table_holds(path: str) -> str:
    """Return why a table cannot name a file, empty if it can."""
    if path != readable_name(path):
        return "the name is not UTF-8; rename the file"
    if not safe_relative_path(path) or re.search(r"[\\\x00-\x1f]", path) or path != path.strip():
        return "a table cannot hold a path with : or \\, control characters or a space at its ends; rename the file"
    return ""


def read_track(file: Path, folder: Path) -> Track:
    """Return what tags and name say about a recording; tags that cannot be read count as none."""
    tags = read_tags(file)
    path = file.relative_to(folder).as_posix()
    readings = [Reading(tags.title, tags.artist, TAGS)] if tags.title else []
    readings += [reading for reading in readings_of_name(path) if reading.artist or not (tags.title and tags.artist)]
    return Track(path, tuple(readings))


def readings_of_name(path: str) -> list[Reading]:
    """Return the ways to understand ``Artist/Album/01 Title.mp3``, ``01. Artist - Title.mp3`` and the like."""
    *folders, name = path.split("/")
    stem = name.rpartition(".")[0]
    if " " not in stem and "_-_" not in stem:
        stem = stem.replace("_", " ")
    readings = []
    for text in (_TRACK_NUMBER.sub("", stem), stem):  # "10 Minutes" may be a title, or "Minutes" the tenth track
        parts = [part.strip() for part in _NAME_BREAK.split(text)]
        first, last = parts[0], parts[-1]
        if len(parts) > 1:
            titles_and_artists = [(" ".join(parts[1:]), first), (last, first), (" ".join(parts[:-1]), last)]
            readings += [Reading(title, artist, FILE_NAME) for title, artist in titles_and_artists]
        else:
            readings += [Reading(first, ", ".join(folders[-2:]), FOLDER_NAMES), Reading(first, "", FILE_NAME)]
    return [reading for reading in dict.fromkeys(readings) if reading.title]


# The matching -------------------------------------------------------------------------------------------------


def match(rows: Sequence[Row], tracks: Sequence[Track]) -> Matching:
    """Give recordings to songs (rows with ``id``, ``Title``, ``Singer``); of equally good ones the first is taken."""
    songs = [_name(number, row["Title"], row["Singer"]) for number, row in enumerate(rows)]
    readings = [
        _name(number, reading.title, reading.artist, reading.source)
        for number, track in enumerate(tracks)
        for reading in track.readings
    ]
    candidates = sorted(
        [*_similar(songs, readings), *_by_title_only(songs, readings)],
        key=lambda found: (-found[0], found[1], found[2]),
    )
    pairs: dict[int, Pair] = {}
    near: dict[int, Pair] = {}
    used: set[int] = set()
    for score, song, track, how in candidates:
        pair = Pair(rows[song]["id"], tracks[track].path, round(score, 3), how)
        if how and song not in pairs and track not in used:
            pairs[song] = pair
            used.add(track)
        near.setdefault(song, pair)
    return Matching(
        tuple(pairs[song] for song in sorted(pairs)),
        tuple(near[song] for song in sorted(near.keys() - pairs.keys())),
        tuple(track.path for number, track in enumerate(tracks) if number not in used),
    )


_Candidate = tuple[float, int, int, str]
"""Score, number of the song, number of the track, how (empty: near, but not the song)."""


def _similar(songs: Sequence[_Name], readings: Sequence[_Name]) -> Iterator[_Candidate]:
    """Yield the pairs of song and reading whose titles are similar."""
    forms = [(reading, form, factor) for reading in readings for form, factor in reading.titles]
    texts = [form for _, form, _ in forms]
    if not texts:
        return
    for song in songs:
        for own_form, own_factor in song.titles:
            similarities = process.cdist([own_form], texts, scorer=fuzz.ratio, score_cutoff=100 * MIN_TITLE)[0] / 100
            for place in np.flatnonzero(similarities):
                reading, form, factor = forms[place]
                title = float(similarities[place]) * min(own_factor, factor)
                artist = _artist_similarity(song.artists, reading.artists)
                score = TITLE_SHARE * title + (1 - TITLE_SHARE) * artist
                if form != own_form or artist < 1.0:
                    score *= MISSPELT
                if song.numbers != reading.numbers:
                    score *= OTHER_NUMBERS
                fits = artist >= MIN_ARTIST and _same_song(song, reading, form == own_form)
                kind = "same" if score >= SURE else "similar"
                yield score, song.owner, reading.owner, f"{reading.source}, {kind}" if fits else ""


def _same_song(song: _Name, reading: _Name, same_letters: bool) -> bool:
    """Tell whether numbers and versions allow two similar titles to be one song's."""
    if song.versions != reading.versions:
        return False
    return song.numbers == reading.numbers or (same_letters and not (song.numbers and reading.numbers))


def _by_title_only(songs: Sequence[_Name], readings: Sequence[_Name]) -> Iterator[_Candidate]:
    """Yield the pairs with a title that one song and one recording have, where the artists cannot be compared."""
    of_tracks = _by_title(readings)
    for form, namesakes in _by_title(songs).items():
        found = of_tracks.get(form, [])
        if len(namesakes) > 1 or len({reading.owner for reading in found}) != 1:
            continue
        song, stated = namesakes[0], [reading for reading in found if reading.source != FOLDER_NAMES]
        if stated and not any(_contradicts(song, reading) for reading in found):
            yield TITLE_ONLY_SCORE, song.owner, stated[0].owner, f"{stated[0].source}, title only"


def _by_title(names: Sequence[_Name]) -> dict[str, list[_Name]]:
    found: dict[str, list[_Name]] = {}
    for name in names:
        found.setdefault(name.titles[0][0], []).append(name)
    return found


def _contradicts(song: _Name, reading: _Name) -> bool:
    """Tell whether version or artist, where the artists share a script, speak against the same title."""
    own, others = ({bool(HANGUL.search(artist)) for artist in name.artists} for name in (song, reading))
    return song.versions != reading.versions or bool(own & others)


def _artist_similarity(some: Sequence[str], others: Sequence[str]) -> float:
    return max((_artist_ratio(one, other) for one in some for other in others), default=0.0)


@lru_cache(maxsize=100_000)
def _artist_ratio(one: str, other: str) -> float:
    if min(len(one), len(other)) < SHORT_ARTIST:
        return float(one == other)
    return fuzz.ratio(one, other) / 100


def _name(owner: int, title: str, artist: str, source: str = "") -> _Name:
    title, artist = unicodedata.normalize("NFKC", title), unicodedata.normalize("NFKC", artist)
    outside, inside = _brackets(title)
    outside = _TRAILING_CREDIT.sub("", outside)
    inside = [text for text in inside if not _CREDIT.search(text)]
    forms = {letters(title): 1.0}
    for alternative in (outside, *inside):
        if form := letters(alternative):
            forms.setdefault(form, ALTERNATIVE_TITLE)
    artists = map(letters, [artist, *_ARTIST_BREAKS.split(artist)])
    words = re.findall(r"\w+", title.casefold())
    return _Name(
        owner,
        tuple(forms.items()),
        tuple(dict.fromkeys(filter(None, artists))),
        "".join(re.findall(r"\d", " ".join((outside, *inside)))),
        frozenset(_VERSIONS[word] for word in words if word in _VERSIONS),
        source,
    )


def _brackets(text: str) -> tuple[str, list[str]]:
    """Return what stands outside brackets, and what inside each outermost pair."""
    outside, inside, depth = "", [], 0
    for letter in text:
        if letter in "([{<【〈《「『":
            depth += 1
            if depth == 1:
                inside.append("")
                outside += " "
                continue
        elif letter in ")]}>】〉》」』" and depth:
            depth -= 1
            if depth == 0:
                continue
        if depth:
            inside[-1] += letter
        else:
            outside += letter
    return outside, inside


def letters(text: str) -> str:
    """Return the letters and digits of a text in one form: without case, accents and spaces, Hangul as jamo.

    A text without any, such as ``"?"``, is returned as it is.
    """
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(letter for letter in apart if letter.isalnum()) or apart.strip()
