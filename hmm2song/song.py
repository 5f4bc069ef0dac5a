"""One catalog entry: the fields of a song, the filter by genre, gender and year."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import PurePosixPath
from types import MappingProxyType

from hmm2song.errors import CatalogError, ScoreError

GENDERS = ("female", "male", "mixed")
ANY_GENDER = "any"
KOREAN_GENDERS = {"여성": "female", "남성": "male", "혼성": "mixed"}
MAX_FIELD_CHARS = 100_000
"""Longest text of one field. The lyrics of any song fit; a longer text is refused as damage or an attack."""

ROW_FIELDS = (
    "id", "title", "title_ko", "singer", "author", "lyric", "genre", "gender", "year", "source", "licence",
    "credit"
)  # fmt: skip
"""Fields of a song that a row of a table may state; ``artist`` is read as the author, because a score has no singer."""

SOURCE_COLUMNS = {"title": "Title", "singer": "Singer", "lyric": "Lyric"}
"""Our field names that are not the source system's column names."""


@dataclass(frozen=True)
class Guess:
    """A label that was heard in a recording, not stated: the value, its probability, and the version of the model."""

    value: str
    probability: float
    model: str

    def __str__(self) -> str:
        return f"{self.value} ({self.probability:.2f}, {self.model})"

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Song:
    """One catalog entry; every field is text, empty when unknown.

    ``singer`` is who sings the recording that made the song known, ``author`` who wrote the melody; ``genre`` holds one
    or several genres, comma-separated; ``gender`` is that of the singer; ``path`` a recording relative to the catalog;
    ``tune`` is shared by entries that are versions of one melody, which no hum can tell apart. ``guessed`` holds what
    was heard where nothing is stated, as :func:`guessed_text` writes it.
    """

    id: str
    title: str
    singer: str = ""
    lyric: str = ""
    genre: str = ""
    path: str = ""
    gender: str = ""
    title_ko: str = ""
    author: str = ""
    year: str = ""
    source: str = ""
    licence: str = ""
    credit: str = ""
    tune: str = ""
    guessed: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) or len(value) > MAX_FIELD_CHARS:
                raise CatalogError(
                    f"song {self.id!r:.80}: field {field.name!r} must be text of at most {MAX_FIELD_CHARS} characters"
                )
        if not self.id:
            raise CatalogError(f"a song needs an id (title {self.title!r:.80})")
        if self.gender not in ("", *GENDERS):
            raise CatalogError(
                f"song {self.id!r:.80}: gender {self.gender!r:.40} is not one of {', '.join(GENDERS)} or empty"
            )
        guesses_of(self.guessed)

    @property
    def artist(self) -> str:
        """The singer if known, else the author."""
        return self.singer or self.author

    @property
    def full_title(self) -> str:
        """The title, with the Korean one in brackets if there is another."""
        return f"{self.title} ({self.title_ko})" if self.title_ko not in ("", self.title) else self.title

    @property
    def genres(self) -> tuple[str, ...]:
        """The song's genres, in the order given."""
        return tuple(part.strip() for part in self.genre.split(",") if part.strip())

    @property
    def guesses(self) -> Mapping[str, Guess]:
        """The guessed labels, by ``"genre"`` and ``"gender"``: only of what is not stated."""
        return {name: guess for name, guess in guesses_of(self.guessed).items() if not getattr(self, name)}

    def known_genres(self, guessed: bool = False) -> tuple[str, ...]:
        """Return the stated genres; if there are none and ``guessed``, the guessed one."""
        guess = self.guesses.get("genre") if guessed and self.guessed else None
        return (guess.value,) if guess else self.genres

    def known_gender(self, guessed: bool = False) -> str:
        """Return the stated gender; if there is none and ``guessed``, the guessed one."""
        guess = self.guesses.get("gender") if guessed and self.guessed else None
        return guess.value if guess else self.gender

    def to_row(self) -> dict[str, str]:
        """Return the row as stored, under the source system's column names; ``guessed`` only if something is."""
        cells = {SOURCE_COLUMNS.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}
        return cells if self.guessed else {name: cell for name, cell in cells.items() if name != "guessed"}

    @classmethod
    def from_row(cls, row: dict[str, str]) -> Song:
        """Read a row with the source system's columns; further columns are ours or ignored, missing ones empty."""
        cells = {field.name: row.get(SOURCE_COLUMNS.get(field.name, field.name)) for field in fields(cls)}
        values = {name: "" if cell is None else cell for name, cell in cells.items()}
        values["gender"] = KOREAN_GENDERS.get(values["gender"], values["gender"])
        return cls(**values)


@dataclass(frozen=True)
class SongFilter:
    """Which songs to search: of any of ``genres`` (all if empty), sung by ``gender``, of ``years`` (first and last).

    A song of unknown genre, gender or year passes too, unless ``only_known``; where genre or gender is not stated,
    ``guessed`` takes the guessed one for known. The search by humming leaves the years alone: an index outside this
    process does not hold them.
    """

    genres: tuple[str, ...] = ()
    gender: str = ANY_GENDER
    only_known: bool = False
    years: tuple[int, int] | None = None
    guessed: bool = False

    def passes(self, song: Song) -> bool:
        """Tell whether a song is to be searched."""
        if self.only_known and self.is_unknown_of(song):
            return False
        genres = song.known_genres(self.guessed)
        genre_fits = not self.genres or not genres or not set(self.genres).isdisjoint(genres)
        year = year_of(song)
        year_fits = self.years is None or year is None or self.years[0] <= year <= self.years[1]
        gender_fits = self.gender == ANY_GENDER or song.known_gender(self.guessed) in ("", self.gender)
        return genre_fits and year_fits and gender_fits

    def is_unknown_of(self, song: Song) -> bool:
        """Tell whether the filter asks for a genre, a gender or a year that is unknown for this song."""
        return (
            bool(self.genres and not song.known_genres(self.guessed))
            or (self.gender != ANY_GENDER and not song.known_gender(self.guessed))
            or (self.years is not None and year_of(song) is None)
        )


def year_of(song: Song) -> int | None:
    """Return the year that a song's field states first (``"1921"``, ``"c. 1740-1745"``), or None."""
    stated = re.search(r"\d{4}", song.year)
    return int(stated[0]) if stated else None


@lru_cache(maxsize=4096)
def guesses_of(text: str) -> Mapping[str, Guess]:
    """Read what :func:`guessed_text` wrote, or raise CatalogError."""
    guesses = {}
    for part in text.split("; ") if text else ():
        match = re.fullmatch(r"(genre|gender): ([^;()]+) \(([01]\.\d+), ([^;()]+)\)", part)
        if match is None or (match[1] == "gender" and match[2] not in GENDERS) or float(match[3]) > 1:
            raise CatalogError(f"guessed label {part!r:.80} is not written as 'gender: male (0.97, model)'")
        guesses[match[1]] = Guess(match[2], float(match[3]), match[4])
    return MappingProxyType(guesses)


def guessed_text(guesses: Mapping[str, Guess]) -> str:
    """Write guesses by label as a song keeps them: ``"gender: male (0.97, model); genre: Metal (0.91, model)"``."""
    return "; ".join(f"{label}: {guess}" for label, guess in sorted(guesses.items()))


def fold_text(text: str) -> str:
    """Lower case without accents; Hangul stays as typed, composed."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    marks = {ord(char): None for char in set(decomposed) if unicodedata.combining(char)}
    return unicodedata.normalize("NFC", decomposed.translate(marks)).strip()


def safe_relative_path(path: str) -> bool:
    """Tell whether a catalog's path stays inside the catalog as written (no ``..``, not absolute, no drive)."""
    parts = PurePosixPath(path.replace("\\", "/"))
    return not parts.is_absolute() and ".." not in parts.parts and ":" not in path


def song_of(fields: Mapping[str, str], name: str, number: int = 0) -> Song:
    """Return the song with these fields; a missing id or title is taken from the file's name."""
    stem = unicodedata.normalize("NFC", re.sub(r"(\.f0)?\.[^./]+(\.gz)?$", "", name))
    suffix = f"-{number}" if number else ""
    own_id = re.sub(r"[^\w.]+", "-", stem).strip("-") + suffix
    title = fields.get("id") or stem.rpartition("/")[2] + suffix
    return Song(**{"id": own_id or "untitled", "title": title, **{key: text for key, text in fields.items() if text}})


def with_row(song: Song, row: Mapping[str, str]) -> Song:
    """Return the song with the fields of a table's row, which replace those found in its file.

    Raises ScoreError for an unknown gender and CatalogError for a field that is too long.
    """
    stated = {column: row[column] for column in ROW_FIELDS if row.get(column)}
    if "genre" in stated:
        stated["genre"] = listed_genres(stated["genre"])
    if "gender" in stated:
        stated["gender"] = gender_code(stated["gender"])
    return replace(song, **stated)


def row_fields(row: dict) -> dict[str, str]:
    """Return the :data:`ROW_FIELDS` of a row of JSON, empty if the row lacks them; ScoreError for an unknown gender."""
    texts = {key: str(value).strip() for key, value in row.items() if isinstance(value, (str, int))}
    fields = {key: texts.get(key, "") for key in ROW_FIELDS}
    genres = row.get("genres")
    return fields | {
        "author": fields["author"] or texts.get("artist", ""),
        "genre": listed_genres(",".join(map(str, genres)) if isinstance(genres, list) else fields["genre"]),
        "gender": gender_code(fields["gender"]),
        "licence": fields["licence"] or texts.get("license", ""),
    }


def gender_code(word: str) -> str:
    """Return ``"female"``, ``"male"``, ``"mixed"`` or ``""`` (unknown) for English or Korean words, else ScoreError.

    Several words, as in "female + male", are ``"mixed"``.
    """
    words = [part.strip().lower() for part in re.split(r"[+&/,]", word)]
    codes = {KOREAN_GENDERS.get(part, part) for part in words}
    if not codes <= {"", *GENDERS}:
        raise ScoreError(f"gender {word[:40]!r} is none of {', '.join((*GENDERS, *KOREAN_GENDERS))}")
    return "mixed" if len(codes) > 1 else codes.pop()


def listed_genres(text: str) -> str:
    """Return a comma-separated list of genres with each genre once."""
    return ", ".join(dict.fromkeys(genre for genre in map(str.strip, text.split(",")) if genre))
