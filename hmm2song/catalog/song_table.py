"""The songs of a catalog in columns: a :class:`~hmm2song.song.Song` is made of a row when it is asked for.

A column is UTF-8 text in one array, so that a million songs are a few dozen objects. Filters ask once for each *kind*
of song (:func:`kind_of`) and not for each song.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from hmm2song.errors import CatalogError, QueryError
from hmm2song.song import ANY_GENDER, GENDERS, Song, SongFilter, fold_text

FIELDS = tuple(field.name for field in fields(Song))
TELLING_FIELDS = ("genre", "gender", "year", "guessed")
"""Songs alike in these are of one kind (:func:`kind_of`)."""
SEARCHED_FIELDS = ("title", "title_ko", "singer", "author", "genre", "id")


@dataclass(frozen=True, eq=False)
class TextColumn:
    """Texts one after the other: text ``i`` is ``utf8[first[i]:first[i + 1]]``; ``first`` (n + 1,), int64.

    ``utf8`` may be a mapped array, uint8.
    """

    utf8: bytes | np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> TextColumn:
        """Store texts, lone surrogates included."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        return cls(b"".join(encoded), np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    def __getitem__(self, index: int) -> str:
        return bytes(self.utf8[self.first[index] : self.first[index + 1]]).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self.first) - 1))


class SongTable(Sequence[Song]):
    """Songs in columns; equal to any sequence of equal songs.

    ``kinds`` holds one song of each kind, and ``kind`` (n_songs,), int32, says which of them is like each song.
    """

    def __init__(self, songs: Iterable[Song]) -> None:
        """Store songs; their ids must differ, else CatalogError."""
        cells: dict[str, list[str]] = {name: [] for name in FIELDS}
        kinds: dict[tuple, int] = {}
        kind, examples = [], []
        for song in songs:
            for name, texts in cells.items():
                texts.append(getattr(song, name))
            kind.append(kinds.setdefault(kind_of(song), len(kinds)))
            if kind[-1] == len(examples):
                examples.append(song)
        _check_unique(cells["id"])
        self._columns = {name: TextColumn.of(texts) for name, texts in cells.items()}
        self.kind, self.kinds = np.array(kind, np.int32), tuple(examples)

    @classmethod
    def of_columns(cls, arrays: Mapping[str, np.ndarray], n_songs: int) -> SongTable:
        """Use columns: ``text_<field>`` uint8 and ``first_<field>`` int64 of every field that is not empty.

        :attr:`kind_columns` are computed if they are missing, and then ids are compared.
        """
        table, nothing = cls.__new__(cls), TextColumn(b"", np.broadcast_to(np.int64(0), n_songs + 1))
        table._columns = {
            name: TextColumn(arrays[f"text_{name}"], arrays[f"first_{name}"]) if f"text_{name}" in arrays else nothing
            for name in FIELDS
        }
        for name, column in table._columns.items():
            if len(column.first) != n_songs + 1 or column.first[-1] != len(column.utf8):
                raise ValueError(f"the column {name!r} does not fit {n_songs} songs")
        table.kind = np.zeros(n_songs, np.int32)
        if "kind" in arrays:
            table.kind, examples = arrays["kind"], arrays["kind_example"]
        else:
            _check_unique(list(table.column("id")))
            kinds: dict[tuple, int] = {}
            told = zip(*(table.column(name) for name in TELLING_FIELDS), strict=True)
            table.kind = np.array([kinds.setdefault(cells, len(kinds)) for cells in told], np.int32)
            examples = np.unique(table.kind, return_index=True)[1].astype(np.int32)
        if len(table.kind) != n_songs or not (table.kind.min() >= 0 and table.kind.max() < len(examples)):
            raise ValueError(f"the kinds do not fit {n_songs} songs")
        table._examples = examples
        table.kinds = tuple(table[position] for position in examples.tolist())
        return table

    @property
    def kind_columns(self) -> dict[str, np.ndarray]:
        """The kind of each song, and which song is an example of each, int32; of a table made of columns."""
        return {"kind": self.kind, "kind_example": self._examples}

    @classmethod
    def of(cls, songs: Sequence[Song]) -> SongTable:
        """Store songs; a table stays as it is."""
        return songs if isinstance(songs, cls) else cls(songs)

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return tuple(self[position] for position in range(*index.indices(len(self))))
        position = range(len(self))[index]
        return Song(**{name: column[position] for name, column in self._columns.items()})

    def __iter__(self) -> Iterator[Song]:
        return (self[position] for position in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None

    def text(self, position: int, field: str) -> str:
        """Return one field of one song."""
        return self._columns[field][position]

    def column(self, field: str) -> Iterator[str]:
        """Return one field of all songs."""
        return iter(self._columns[field])

    def which(self, holds: Callable[[Song], bool]) -> np.ndarray:
        """Return for which songs something holds that depends on their kind, shape (n_songs,), bool."""
        return np.array([holds(song) for song in self.kinds], bool)[self.kind]

    def n_alike(self) -> Iterator[tuple[Song, int]]:
        """Return the kinds of songs, and how many songs are of each."""
        return zip(self.kinds, np.bincount(self.kind).tolist(), strict=True)

    def filter(
        self,
        genres: Iterable[str] = (),
        gender: str = ANY_GENDER,
        only_known: bool = False,
        years: tuple[int, int] | None = None,
        guessed: bool = False,
    ) -> SongFilter:
        """Return a filter in the spelling of these songs; QueryError for a genre that none has or a wrong value."""
        if gender not in (ANY_GENDER, *GENDERS):
            raise QueryError(f"unknown gender {gender!r:.40}; choose one of {', '.join((ANY_GENDER, *GENDERS))}")
        if years is not None and not (len(years) == 2 and years[0] <= years[1]):
            raise QueryError(f"years are a first and a last one, got {years!r:.60}")
        genres = (genres,) if isinstance(genres, str) else tuple(genres)
        known = tuple(self.genre_counts(guessed=True)) if genres else ()  # most searches ask for none
        wanted = set()
        for genre in genres:
            alike = {name for name in known if fold_text(name) == fold_text(str(genre))}
            if not alike:
                raise QueryError(f"unknown genre {str(genre)!r:.60}; choose from: {', '.join(known)}")
            wanted |= alike
        return SongFilter(tuple(sorted(wanted)), gender, only_known, years, guessed)

    def genre_counts(self, guessed: bool = False) -> dict[str, int]:
        """Songs per genre, most frequent first; a song with two genres counts under both, ``guessed`` ones if so."""
        counts: Counter[str] = Counter()
        for song, n_songs in self.n_alike():
            for genre in song.known_genres(guessed):
                counts[genre] += n_songs
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def has_guesses(self) -> bool:
        """Whether anything was guessed of any song."""
        return any(song.guessed for song in self.kinds)

    def gender_counts(self, guessed: bool = False) -> dict[str, int]:
        """Songs per singer gender, with ``guessed`` ones if wished; the empty key counts the unknown ones."""
        counts = dict.fromkeys((*GENDERS, ""), 0)
        for song, n_songs in self.n_alike():
            counts[song.known_gender(guessed)] += n_songs
        return counts

    def find(self, words: Iterable[str]) -> Iterator[int]:
        """Return where every one of some folded words stands, in the order of the songs."""
        first, *others = [word.encode("utf-8", "surrogatepass") for word in words] or [b""]
        text, bounds = self._folded.utf8, self._folded.first
        song = -1
        while (place := text.find(first, bounds[song + 1])) >= 0 and song + 1 < len(self):
            song = int(np.searchsorted(bounds, place, side="right")) - 1
            line = text[bounds[song] : bounds[song + 1]]
            if all(word in line for word in others):
                yield song

    @cached_property
    def _folded(self) -> TextColumn:
        """What :meth:`find` looks at; a line of text for each song."""
        columns = [self._columns[name] for name in SEARCHED_FIELDS]
        lines = "\n".join(" ".join(cells).replace("\n", " ") for cells in zip(*columns, strict=True))
        folded = fold_text(f"\0{lines}\0")  # all at once; without the ends a blank first or last line would be cut off
        return TextColumn.of([f"{line}\n" for line in folded.split("\n")])


def kind_of(song: Song) -> tuple:
    """Return all that filters (:class:`hmm2song.song.SongFilter`) look at."""
    return song.genre, song.gender, song.year, song.known_genres(guessed=True), song.known_gender(guessed=True)


def _check_unique(ids: Sequence[str]) -> None:
    if len(set(ids)) < len(ids):
        repeated = next(song_id for song_id, count in Counter(ids).items() if count > 1)
        raise repeated_id_error(repeated)


def repeated_id_error(song_id: str) -> CatalogError:
    """Return the error for two songs with one id."""
    return CatalogError(f"song id {song_id!r:.80} occurs more than once; ids must be unique")
