"""What the songs of a catalog can be compared by, and how far all of them are from a query."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hmm2song.catalog.facets import Facets
from hmm2song.catalog.song_table import SongTable
from hmm2song.errors import AudioError, CatalogError, QueryError, UnknownSongError
from hmm2song.similar.neighbours import N_SAMPLE, FacetSpace, sampling_order
from hmm2song.similar.presets import FACETS, PRESETS
from hmm2song.similar.spaces import Scaling
from hmm2song.similar.tunes import Tunes
from hmm2song.song import Song

_NOT_HEARD = {
    "voice": "nobody sings in this recording",
    "style": "there is no sound in this recording",
    "feel": "there is no sound in this recording",
}


QuerySource = str | os.PathLike[str] | tuple[int, np.ndarray] | Facets


@dataclass(frozen=True, eq=False)
class Query:
    """What songs are compared with: a song of the catalog at ``row``, what was ``heard`` in a recording, or both.

    ``warnings`` are about how well the recording could be heard.
    """

    row: int | None
    song: Song | None
    heard: Facets | None
    warnings: tuple[str, ...] = ()


class Comparison:
    """Measures how far the songs of a catalog are from each other; parameters as of ``SimilarSongs``."""

    def __init__(self, songs: Sequence[Song], facets: Facets | None = None, tunes: Tunes | None = None) -> None:
        self.songs = SongTable.of(songs)
        self.heard = facets if facets is not None and facets.heard.any() else None
        self.tunes = tunes
        if not self.songs or (self.heard is None and self.tunes is None):
            raise CatalogError(
                "the catalog holds nothing to compare songs by: no melodies, and nobody has listened to its "
                "recordings; index them again"
            )
        self._spaces: dict[str, FacetSpace] = {}

    @cached_property
    def why_not(self) -> dict[str, str]:
        """By facet, why songs cannot be compared by it; empty if they can."""
        unheard = "nobody has listened to recordings of this catalog: index recordings, not only notes"
        reasons = dict.fromkeys(FACETS, "" if self.heard is not None else unheard)
        if self.heard is not None and not self.heard.voice.any():
            reasons["voice"] = "nobody sings in the recordings of this catalog"
        reasons["melody"] = "" if self.tunes is not None else "this catalog holds no melodies"
        return reasons

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {song_id: position for position, song_id in enumerate(self.songs.column("id"))}

    def has(self, song_id: str) -> bool:
        """Return whether a song has this id."""
        return song_id in self._positions

    def position(self, song_id: str) -> int:
        """Return where a song stands in :attr:`songs`, or raise UnknownSongError."""
        if song_id not in self._positions:
            raise UnknownSongError(f"no song has the id {song_id!r:.80}; ids are listed by the catalog search")
        return self._positions[song_id]

    @cached_property
    def order(self) -> np.ndarray:
        """The positions of the songs, of which the first ones are the sample."""
        return sampling_order(self.songs.column("id"))

    @cached_property
    def _scaling(self) -> Scaling:
        heard = self.order[self.heard.heard[self.order]]
        return Scaling.of(self.heard.take(heard[:N_SAMPLE]))

    def space(self, facet: str) -> FacetSpace:
        """Return the songs in one facet that can be compared; it is made when it is first asked for."""
        if facet not in self._spaces:
            if facet == "melody":
                vectors, known = self.tunes.means(), np.ones(len(self.songs), bool)
            else:
                vectors, known = getattr(self._scaling, facet)(self.heard)
            self._spaces[facet] = FacetSpace.of(vectors, known, self.order)
        return self._spaces[facet]

    def warm_up(self) -> None:
        """Measure all facets, so that the first visitor does not wait."""
        for name, why_not in self.why_not.items():
            if not why_not:
                self.space(name)

    def query(self, query: QuerySource) -> Query:
        """Return what is asked about; UnknownSongError, QueryError, or AudioError if nothing can be heard."""
        if isinstance(query, str):
            row = self.position(query)
            return Query(row, self.songs[row], self.heard_in(row))
        warnings: tuple[str, ...] = ()
        if not isinstance(query, Facets):
            if self.heard is None:
                raise QueryError(f"a recording can only be compared with recordings: {self.why_not['style']}")
            from hmm2song.hearing.recording import hear  # it loads a lot, and most questions are about ids

            recording = hear(query)
            query, warnings = recording.facets, recording.warnings
            if not query.heard.all():
                raise AudioError(f"nothing can be heard in the recording: {'; '.join(warnings)}")
        if len(query) != 1 or not query.heard.all():
            raise QueryError("a query is what was heard in one recording")
        if self.heard is not None and query.listener != self.heard.listener:
            raise QueryError(
                "the recording was listened to by another version of this program than the catalog's: bring the "
                "catalog up to date with `hmm2song index --update`"
            )
        return Query(None, None, query, warnings)

    def heard_in(self, row: int) -> Facets | None:
        """Return what was heard in the recording of a song, or None."""
        return None if self.heard is None or not self.heard.heard[row] else self.heard.take([row])

    def weights(
        self, facets: str | Mapping[str, float] | None, *queries: Query
    ) -> tuple[dict[str, float], tuple[str, ...]]:
        """Return the weights of the facets that all queries have, adding up to one, and what is left out and why."""
        asked = _checked(PRESETS["all"] if facets is None else facets)
        missing = {name: why_not for name in asked if (why_not := self._missing(name, queries))}
        if facets in (None, "all") and len(missing) == len(asked) and not self._missing("melody", queries):
            asked, missing = {"melody": 1.0}, {}  # notes have nothing else
        if len(missing) == len(asked):
            raise QueryError("; ".join(f"{name}: {why_not}" for name, why_not in missing.items()))
        left = {name: weight for name, weight in asked.items() if name not in missing}
        notices = tuple(f"{name} is not compared: {why_not}" for name, why_not in missing.items())
        return {name: weight / sum(left.values()) for name, weight in left.items()}, notices

    def _missing(self, facet: str, queries: Sequence[Query]) -> str:
        """Return why queries cannot be compared by a facet, empty if they can."""
        return self.why_not[facet] or next(filter(None, (self._missing_of(facet, query) for query in queries)), "")

    def _missing_of(self, facet: str, query: Query) -> str:
        if facet == "melody":
            return "" if query.row is not None else "the melody of a recording is found by humming it, not here"
        if query.heard is None:
            return "nobody has listened to a recording of this song"
        return "" if getattr(self._scaling, facet)(query.heard)[1][0] else _NOT_HEARD[facet]

    def farness(self, facet: str, query: Query) -> np.ndarray:
        """Return how far all songs are from a query that has the facet, (n_songs,), see :class:`FacetSpace`."""
        space = self.space(facet)
        if query.row is not None:
            return space.farness(space.vectors[query.row], query.row)
        vectors, _ = getattr(self._scaling, facet)(query.heard)
        return space.farness(vectors[0])


def _checked(facets: str | Mapping[str, float]) -> dict[str, float]:
    """Return the weights above zero, or raise QueryError."""
    if isinstance(facets, str):
        if facets not in PRESETS:
            raise QueryError(f"unknown preset {facets!r:.40}; choose one of {', '.join(PRESETS)}")
        facets = PRESETS[facets]
    for name, weight in facets.items():
        if name not in FACETS:
            raise QueryError(f"unknown facet {name!r:.40}; choose from {', '.join(FACETS)}")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            raise QueryError(f"the weight of {name} must be a number from 0 on, got {weight!r:.40}")
    weights = {name: float(weight) for name, weight in facets.items() if weight > 0}
    if not weights:
        raise QueryError(f"all weights are zero: give a weight to one of {', '.join(FACETS)}")
    return weights
