"""One catalog entry: what is known about a song, in the columns of the source system and ours."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import PurePosixPath

from hmm2song.errors import CatalogError

GENDERS = ("female", "male", "mixed")
ANY_GENDER = "any"
KOREAN_GENDERS = {"여성": "female", "남성": "male", "혼성": "mixed"}
MAX_FIELD_CHARS = 100_000
"""Longest text of one field: lyrics of any song fit, a hostile catalog's do not."""

SOURCE_COLUMNS = {
    "id": "id",
    "title": "Title",
    "singer": "Singer",
    "lyric": "Lyric",
    "genre": "genre",
    "path": "path",
}
"""Our field names to the source system's column names (``gender`` is the same in both)."""


@dataclass(frozen=True)
class Song:
    """One catalog entry; every field is text, empty when unknown.

    ``singer`` is who sings the recording that made the song known, ``author`` who wrote the melody; ``genre`` holds one
    or several genres, comma-separated; ``gender`` is that of the singer; ``path`` a recording relative to the catalog;
    ``tune`` is shared by entries that are versions of one melody, which no hum can tell apart.
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

    @property
    def artist(self) -> str:
        """The singer if known, else the author."""
        return self.singer or self.author

    @property
    def genres(self) -> tuple[str, ...]:
        """The song's genres, in the order given."""
        return tuple(part.strip() for part in self.genre.split(",") if part.strip())

    def to_row(self) -> dict[str, str]:
        """Return the row as stored, under the source system's column names."""
        return {SOURCE_COLUMNS.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_row(cls, row: dict[str, str]) -> Song:
        """Read a row with the source system's columns; further columns are ours or ignored, missing ones empty."""
        values = {}
        for field in fields(cls):
            value = row.get(SOURCE_COLUMNS.get(field.name, field.name), "")
            values[field.name] = "" if value is None else value
        values["gender"] = KOREAN_GENDERS.get(values["gender"], values["gender"])
        return cls(**values)


@dataclass(frozen=True)
class SongFilter:
    """Which songs to search: of any of ``genres`` (all if empty), sung by ``gender``.

    Where a song's genre or gender is unknown it passes too, unless ``only_known``.
    """

    genres: tuple[str, ...] = ()
    gender: str = ANY_GENDER
    only_known: bool = False

    def passes(self, song: Song) -> bool:
        """Tell whether a song is to be searched."""
        if self.only_known and self.is_unknown_of(song):
            return False
        genre_fits = not self.genres or not song.genres or not set(self.genres).isdisjoint(song.genres)
        return genre_fits and (self.gender == ANY_GENDER or song.gender in ("", self.gender))

    def is_unknown_of(self, song: Song) -> bool:
        """Tell whether the song has no genre or no gender although that is asked for."""
        return bool(self.genres and not song.genres) or (self.gender != ANY_GENDER and not song.gender)


def safe_relative_path(path: str) -> bool:
    """Tell whether a catalog's path stays inside the catalog as written (no ``..``, not absolute, no drive)."""
    parts = PurePosixPath(path.replace("\\", "/"))
    return not parts.is_absolute() and ".." not in parts.parts and ":" not in path
