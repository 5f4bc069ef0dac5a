"""Songs like a song: the door to this room.

>>> from hmm2song import SimilarSongs
>>> songs = SimilarSongs.load("my-catalog")
>>> songs.like("some-id", "voice", years=(1960, 1979))
>>> songs.like("other.mp3", {"style": 1, "feel": 0.5}).songs[0].why
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.hub import encoder_of, resolve_catalog
from hmm2song.errors import CatalogError, QueryError, UnknownSongError
from hmm2song.similar.choice import Choice
from hmm2song.similar.neighbours import N_SAMPLE, FacetSpace, sampling_order
from hmm2song.similar.reasons import Reasons, in_words
from hmm2song.similar.results import SimilarResult, SimilarSong
from hmm2song.similar.spaces import Scaling, tempo_bpm
from hmm2song.similar.tunes import Tunes
from hmm2song.song import ANY_GENDER, Song, SongFilter

FACETS = ("voice", "style", "feel", "melody")
PRESETS = {
    "all": {"voice": 1.0, "style": 1.0, "feel": 0.5},
    "voice": {"voice": 1.0},
    "style": {"style": 1.0},
    "feel": {"feel": 1.0},
    "tune": {"melody": 1.0},
}
"""Weights by name. Of ``"all"``, facets that a catalog or a song lacks are left out; notes are compared by melody."""
DEFAULT_TOP_K, MAX_TOP_K = 10, 100
_NOT_HEARD = {
    "voice": "nobody sings in this recording",
    "style": "there is no sound in this recording",
    "feel": "there is no sound in this recording",
}


class SimilarSongs:
    """Compares the songs of a catalog, with melodies or with recordings that were listened to, or both.

    Parameters
    ----------
    songs : sequence of Song
    facets : Facets, optional
        What was heard in their recordings.
    catalog : Catalog, optional
        The same songs with their melodies.

    Raises
    ------
    CatalogError
        No songs, or none of them has anything to be compared by.
    """

    def __init__(self, songs: Sequence[Song], facets: Facets | None = None, catalog: Catalog | None = None) -> None:
        self.songs = tuple(songs)
        self._facets = facets if facets is not None and facets.heard.any() else None
        self._tunes = Tunes(catalog) if catalog is not None else None
        if not self.songs or (self._facets is None and self._tunes is None):
            raise CatalogError(
                "the catalog holds nothing to compare songs by: no melodies, and nobody has listened to its "
                "recordings; index them again"
            )
        self._choice = Choice(self.songs, self._facets, self._tunes)
        self._position = {song.id: position for position, song in enumerate(self.songs)}
        self._spaces: dict[str, FacetSpace] = {}
        self._mask = lru_cache(maxsize=64)(self._passing)

    @classmethod
    def load(cls, source: str | os.PathLike[str] | None = None, revision: str | None = None) -> SimilarSongs:
        """Load a catalog from a folder, the Hub, or (nothing given) the bundled one; it need not hold melodies.

        Raises
        ------
        CatalogError, IntegrityError, HubError, ModelError
        """
        folder = resolve_catalog(source, revision).folder
        if storage.MELODIES_FILE in storage.read_manifest(folder)["files"]:
            return cls.of(Catalog.load(folder, encoder_of(folder)))
        storage.check_files(folder, (storage.SONGS_FILE, storage.CREDITS_FILE, storage.FACETS_FILE))
        songs, facets = storage.read_songs(folder), Facets.load(folder)
        if facets is not None and len(facets) != len(songs):
            raise CatalogError(f"{len(songs)} songs but facets of {len(facets)}")
        return cls(songs, facets)

    @classmethod
    def of(cls, catalog: Catalog) -> SimilarSongs:
        """Compare the songs of a catalog that is loaded."""
        return cls(catalog.songs, catalog.facets, catalog)

    def __len__(self) -> int:
        return len(self.songs)

    def __repr__(self) -> str:
        compared = [name for name, why_not in self.facets.items() if not why_not]
        return f"SimilarSongs({len(self)} songs, by {', '.join(compared)})"

    # What can be compared ---------------------------------------------------------------------------------------

    @cached_property
    def facets(self) -> dict[str, str]:
        """By facet, why songs cannot be compared by it; empty if they can."""
        unheard = "nobody has listened to recordings of this catalog: index recordings, not only notes"
        why_not = dict.fromkeys(FACETS, "" if self._facets is not None else unheard)
        if self._facets is not None and not self._facets.voice.any():
            why_not["voice"] = "nobody sings in the recordings of this catalog"
        why_not["melody"] = "" if self._tunes is not None else "this catalog holds no melodies"
        return why_not

    def position(self, song_id: str) -> int:
        """Return where a song stands in :attr:`songs`, or raise UnknownSongError."""
        if song_id not in self._position:
            raise UnknownSongError(
                f"no song has the id {song_id!r:.80}; `hmm2song info` and the catalog search list ids"
            )
        return self._position[song_id]

    @cached_property
    def _order(self) -> np.ndarray:
        return sampling_order([song.id for song in self.songs])

    @cached_property
    def _scaling(self) -> Scaling:
        heard = self._order[self._facets.heard[self._order]]
        return Scaling.of(self._facets.take(heard[:N_SAMPLE]))

    def space(self, facet: str) -> FacetSpace:
        """Return the songs in one facet that can be compared; it is made when it is first asked for."""
        if facet not in self._spaces:
            if facet == "melody":
                vectors, known = self._tunes.means(), np.ones(len(self), bool)
            else:
                vectors, known = getattr(self._scaling, facet)(self._facets)
            self._spaces[facet] = FacetSpace.of(vectors, known, self._order)
        return self._spaces[facet]

    def warm_up(self) -> None:
        """Measure all facets, so that the first visitor does not wait."""
        for name, why_not in self.facets.items():
            if not why_not:
                self.space(name)

    # Songs like one ---------------------------------------------------------------------------------------------

    def like(
        self,
        query: str | os.PathLike[str] | Facets,
        facets: str | Mapping[str, float] | None = None,
        *,
        top_k: int = DEFAULT_TOP_K,
        genres: Iterable[str] = (),
        gender: str = ANY_GENDER,
        years: tuple[int, int] | None = None,
        only_known: bool = False,
        guessed: bool = False,
        per_artist: int = 1,
    ) -> SimilarResult:
        """List the songs most like one.

        Parameters
        ----------
        query : str or Facets
            The id of a song of the catalog, or what was heard in one recording.
        facets : str or Mapping from str to float, optional
            The name of one of :data:`PRESETS`, or weights by facet, which need not add up to one; default ``"all"``.
        top_k : int
            Length of the list, 1 to 100.
        genres, gender, years, only_known, guessed
            The songs to list, see :class:`hmm2song.song.SongFilter`; ``years`` are a first and a last one.
        per_artist : int
            Songs of one artist that are listed at most; 0: any number.

        Raises
        ------
        UnknownSongError
            No song has this id.
        QueryError
            An unknown facet, weights that are negative or sum to zero, a facet that the catalog or the query does not
            have, an unknown genre or gender, an impossible ``top_k``.
        """
        started_s = time.perf_counter()
        _require_whole("top_k", top_k, 1, MAX_TOP_K)
        _require_whole("per_artist", per_artist, 0, MAX_TOP_K)
        passing = self._mask(SongFilter.of(self.songs, genres, gender, only_known, years, guessed))
        row, heard = self._query(query)
        weights, notices = self._weights(facets, row, heard)
        farness = {name: self._farness(name, row, heard) for name in weights}
        shared = {}
        if "melody" in weights:
            farness["melody"], shared = self._tunes.refined(row, farness["melody"])
        known = {name: self.space(name).known for name in weights}
        farness["overall"] = sum(weight * farness[name] for name, weight in weights.items())
        known["overall"] = np.any(list(known.values()), axis=0)
        comparable = known["overall"] & passing
        if row is not None:
            comparable[row] = False
        chosen = self._choice.choose(farness["overall"], comparable, row, top_k, per_artist)
        reasons = Reasons(farness, known, row, shared)
        songs = tuple(
            self._result(rank, song, also, reasons, row, heard) for rank, (song, also) in enumerate(chosen.items(), 1)
        )
        n_compared = int(np.count_nonzero(comparable))
        if n_compared == 0:
            notices.append("no other song of the catalog passes the filter and has what is compared")
        elif len(songs) < min(top_k, n_compared):
            notices.append(
                f"only {len(songs)} of {n_compared} songs are listed: the others are by the same artists or are these "
                "songs again; per_artist=0 lists all songs of an artist"
            )
        asked = None if row is None else self.songs[row]
        return SimilarResult(asked, weights, songs, tuple(notices), n_compared, time.perf_counter() - started_s)

    def _result(
        self, rank: int, song: int, also: list[str], reasons: Reasons, row: int | None, heard: Facets | None
    ) -> SimilarSong:
        asked = None if row is None else self.songs[row]
        song_heard = self._heard(song)
        tempi_bpm = tempo_bpm(heard), tempo_bpm(song_heard)
        why = reasons.of(song, self.songs[song], asked, tempi_bpm)
        return SimilarSong(
            rank=rank,
            song=self.songs[song],
            closer_than=reasons.closer_than(song),
            why=in_words(why),
            tempo_bpm=tempi_bpm[1],
            duration_s=None if song_heard is None else round(float(song_heard.duration_s[0]), 1),
            also=tuple(also),
            reasons=why,
        )

    def _heard(self, row: int) -> Facets | None:
        return None if self._facets is None or not self._facets.heard[row] else self._facets.take([row])

    def _query(self, query: str | os.PathLike[str] | Facets) -> tuple[int | None, Facets | None]:
        """Return the query's position if it is of the catalog, and what was heard in it, if anything."""
        if isinstance(query, Facets):
            if len(query) != 1 or not query.heard.all():
                raise QueryError("a query is what was heard in one recording")
            if self._facets is not None and query.listener != self._facets.listener:
                raise QueryError(
                    "the recording was listened to by another version of this program than the catalog's: bring the "
                    "catalog up to date with `hmm2song index --update`"
                )
            return None, query
        row = self.position(os.fspath(query))
        return row, self._heard(row)

    def _weights(
        self, facets: str | Mapping[str, float] | None, row: int | None, heard: Facets | None
    ) -> tuple[dict[str, float], list[str]]:
        """Return the weights of the facets that can be compared, adding up to one, and what could not be."""
        asked = PRESETS["all"] if facets is None else facets
        if isinstance(facets, str):
            if facets not in PRESETS:
                raise QueryError(f"unknown preset {facets!r:.40}; choose one of {', '.join(PRESETS)}")
            asked = PRESETS[facets]
        for name, weight in asked.items():
            if name not in FACETS:
                raise QueryError(f"unknown facet {name!r:.40}; choose from {', '.join(FACETS)}")
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
                raise QueryError(f"the weight of {name} must be a number from 0 on, got {weight!r:.40}")
        asked = {name: float(weight) for name, weight in asked.items() if weight > 0}
        if not asked:
            raise QueryError(f"all weights are zero: give a weight to one of {', '.join(FACETS)}")
        missing = {name: why_not for name in asked if (why_not := self._why_not(name, row, heard))}
        if facets in (None, "all") and len(missing) == len(asked) and not self._why_not("melody", row, heard):
            asked, missing = {"melody": 1.0}, {}  # notes have nothing else
        if len(missing) == len(asked):
            raise QueryError("; ".join(f"{name}: {why_not}" for name, why_not in missing.items()))
        left = {name: weight for name, weight in asked.items() if name not in missing}
        return (
            {name: weight / sum(left.values()) for name, weight in left.items()},
            [f"{name} is not compared: {why_not}" for name, why_not in missing.items()],
        )

    def _why_not(self, facet: str, row: int | None, heard: Facets | None) -> str:
        """Return why a query cannot be compared by a facet, empty if it can."""
        if self.facets[facet]:
            return self.facets[facet]
        if facet == "melody":
            return "" if row is not None else "the melody of a recording is found by humming it, not here"
        if heard is None:
            return "nobody has listened to a recording of this song"
        return "" if getattr(self._scaling, facet)(heard)[1][0] else _NOT_HEARD[facet]

    def _farness(self, facet: str, row: int | None, heard: Facets | None) -> np.ndarray:
        space = self.space(facet)
        vector = space.vectors[row] if row is not None else getattr(self._scaling, facet)(heard)[0][0]
        return space.farness(vector, row)

    def _passing(self, wanted: SongFilter) -> np.ndarray:
        return np.array([wanted.passes(song) for song in self.songs])


def _require_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise QueryError(f"{name} must be a whole number from {least} to {most}, got {value!r:.40}")
