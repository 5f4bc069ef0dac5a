"""Songs like a song: the door to this room.

>>> from hmm2song import SimilarSongs
>>> songs = SimilarSongs.load("my-catalog")
>>> songs.like("some-id", "voice", years=(1960, 1979))
>>> songs.like(Path("other.mp3"), {"style": 1, "feel": 0.5}).songs[0].why
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.hub import encoder_of, resolve_catalog
from hmm2song.catalog.song_table import SongTable
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.embeddings.style import TAGS
from hmm2song.errors import CatalogError, QueryError, require_whole
from hmm2song.similar.choice import Choice
from hmm2song.similar.comparison import Comparison, Query, QuerySource
from hmm2song.similar.map import Cluster, MapPoint, SongMap, cluster_names, lay_out
from hmm2song.similar.moments import Moments, moment_at, span_s
from hmm2song.similar.path import candidates, shortest_path
from hmm2song.similar.presets import DEFAULT_STEPS, DEFAULT_TOP_K, FACETS, MAX_STEPS, MAX_TOP_K, PRESETS
from hmm2song.similar.reasons import Reasons, in_words, percent_farther
from hmm2song.similar.results import MomentResult, SimilarMoment, SimilarResult, SimilarSong, SongPath
from hmm2song.similar.spaces import tempo_bpm
from hmm2song.similar.tunes import Tunes
from hmm2song.song import ANY_GENDER, Song

__all__ = ["DEFAULT_TOP_K", "FACETS", "PRESETS", "SimilarSongs"]


class SimilarSongs:
    """Compares the songs of a catalog, with melodies or with recordings that were listened to, or both.

    Parameters
    ----------
    songs : sequence of Song
    facets : Facets, optional
        What was heard in their recordings.
    tunes : Tunes, optional
        Their melodies.

    Raises
    ------
    CatalogError
        No songs, or none of them has anything to be compared by.
    """

    def __init__(self, songs: Sequence[Song], facets: Facets | None = None, tunes: Tunes | None = None) -> None:
        self._comparison = Comparison(songs, facets, tunes)
        self.songs = self._comparison.songs
        self._choice = Choice(self.songs, self._comparison.heard, tunes)

    @classmethod
    def load(cls, source: str | os.PathLike[str] | None = None, revision: str | None = None) -> SimilarSongs:
        """Load a catalog from a folder, the Hub, or (nothing given) the bundled one; it need not hold melodies.

        Raises
        ------
        CatalogError, IntegrityError, HubError, ModelError
        """
        resolved = resolve_catalog(source, revision)
        folder = resolved.folder
        manifest = storage.read_manifest(folder)
        if storage.MELODIES_FILE in manifest["files"]:
            encoder = encoder_of(folder)
            catalog = (Catalog.load_downloaded if resolved.downloaded else Catalog.load)(folder, encoder)
            return cls.of(catalog, encoder)
        (songs, _), facets = storage.read_texts(folder, manifest), Facets.load(folder)
        if facets is not None and len(facets) != len(songs):
            raise CatalogError(f"{len(songs)} songs but facets of {len(facets)}")
        return cls(songs, facets)

    @classmethod
    def of(cls, catalog: Catalog, encoder: MelodyEncoder | None = None) -> SimilarSongs:
        """Compare the songs of a loaded catalog; its encoder is the one its folder brings, if none is given."""
        if encoder is None and catalog.folder is not None:
            encoder = encoder_of(catalog.folder)
        return cls(catalog.songs, catalog.facets, Tunes(catalog, encoder))

    def __len__(self) -> int:
        return len(self.songs)

    def __contains__(self, song_id: str) -> bool:
        return self._comparison.has(song_id)

    def __repr__(self) -> str:
        compared = [name for name, why_not in self.facets.items() if not why_not]
        return f"SimilarSongs({len(self)} songs, by {', '.join(compared)})"

    @property
    def facets(self) -> Mapping[str, str]:
        """By facet, why songs cannot be compared by it; empty if they can."""
        return self._comparison.why_not

    @property
    def heard_s(self) -> float:
        """Seconds of recordings that were listened to."""
        heard = self._comparison.heard
        return 0.0 if heard is None else float(heard.duration_s.sum())

    def position(self, song_id: str) -> int:
        """Return where a song stands in :attr:`songs`, or raise UnknownSongError."""
        return self._comparison.position(song_id)

    def heard(self, song_id: str) -> Facets | None:
        """Return what was heard in a song, or None; UnknownSongError if there is no such song."""
        return self._comparison.heard_in(self.position(song_id))

    def warm_up(self) -> None:
        """Measure all facets, so that the first visitor does not wait."""
        self._comparison.warm_up()

    def like(
        self,
        query: QuerySource,
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
        query : str, path, (sample_rate_hz, samples) or Facets
            The id of a song of the catalog, a recording (its path is no ``str``, which would be an id), or what was
            heard in one.
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
        AudioError
            The recording cannot be read, or nothing can be heard in it.
        QueryError
            An unknown facet, weights that are negative or sum to zero, a facet that the catalog or the query does not
            have, an unknown genre or gender, an impossible ``top_k``.
        """
        started_s = time.perf_counter()
        require_whole("top_k", top_k, 1, MAX_TOP_K)
        require_whole("per_artist", per_artist, 0, MAX_TOP_K)
        passing = self._passing(genres, gender, years, only_known, guessed)
        asked = self._comparison.query(query)
        weights, notices = self._comparison.weights(facets, asked)
        reasons = self._reasons(weights, asked, looks_closely=True)
        comparable = reasons.known["overall"] & passing
        if asked.row is not None:
            comparable[asked.row] = False
        chosen = self._choice.choose(reasons.farness["overall"], comparable, asked.row, top_k, per_artist)
        songs = tuple(
            self._result(rank, song, also, reasons, asked) for rank, (song, also) in enumerate(chosen.items(), 1)
        )
        n_compared = int(np.count_nonzero(comparable))
        notices = (*asked.warnings, *notices, *_notices_of_list(len(songs), n_compared, top_k))
        return SimilarResult(asked.song, weights, songs, notices, n_compared, time.perf_counter() - started_s)

    def _passing(
        self, genres: Iterable[str], gender: str, years: tuple[int, int] | None, only_known: bool, guessed: bool
    ) -> np.ndarray:
        return self.songs.which(self.songs.filter(genres, gender, only_known, years, guessed).passes)

    def _reasons(self, weights: Mapping[str, float], asked: Query, looks_closely: bool) -> Reasons:
        """Return how far all songs are; ``looks_closely``: by melody with more than the means of their windows."""
        farness = {name: self._comparison.farness(name, asked) for name in weights}
        shared = {}
        if "melody" in weights and looks_closely:
            farness["melody"], shared = self._comparison.tunes.refined(asked.row, farness["melody"])
        known = {name: self._comparison.space(name).known for name in weights}
        farness["overall"] = sum(weight * farness[name] for name, weight in weights.items())
        known["overall"] = np.any(list(known.values()), axis=0)
        return Reasons(farness, known, asked.row, shared)

    def _result(self, rank: int, row: int, also: list[str], reasons: Reasons, asked: Query) -> SimilarSong:
        song, heard = self.songs[row], self._comparison.heard
        tempi_bpm = tempo_bpm(asked.heard), tempo_bpm(heard, row)
        why = reasons.of(row, song, asked.song, tempi_bpm)
        return SimilarSong(
            rank=rank,
            song=song,
            closer_than=reasons.closer_than(row),
            why=in_words(why),
            tempo_bpm=tempi_bpm[1],
            duration_s=round(float(heard.duration_s[row]), 1) if heard is not None and heard.heard[row] else None,
            also=tuple(also),
            reasons=why,
        )

    @cached_property
    def _moments(self) -> Moments:
        return Moments(self._comparison.heard, self._comparison.order)

    def moments(
        self,
        query: QuerySource,
        at_s: float | None = None,
        *,
        top_k: int = DEFAULT_TOP_K,
        genres: Iterable[str] = (),
        gender: str = ANY_GENDER,
        years: tuple[int, int] | None = None,
        only_known: bool = False,
        guessed: bool = False,
        per_artist: int = 1,
    ) -> MomentResult:
        """List the moments of other songs most like one of the query, one of each song.

        Parameters
        ----------
        query, top_k, genres, gender, years, only_known, guessed, per_artist
            As in :meth:`like`.
        at_s : float, optional
            A second of the query; default: its most typical moment.

        Raises
        ------
        UnknownSongError, AudioError, QueryError
            As in :meth:`like`; or the query has no moments, or is shorter than ``at_s``.
        """
        require_whole("top_k", top_k, 1, MAX_TOP_K)
        require_whole("per_artist", per_artist, 0, MAX_TOP_K)
        passing = self._passing(genres, gender, years, only_known, guessed)
        asked = self._comparison.query(query)
        if self.facets["style"] or asked.heard is None:
            raise QueryError(f"moments: {self.facets['style'] or 'nobody has listened to a recording of this song'}")
        if len(asked.heard.moments) == 0:
            raise QueryError("moments: no stretch of eight beats of this recording sounds")
        number = self._moments.typical(asked.heard.moments) if at_s is None else moment_at(asked.heard, at_s)
        distances = self._moments.distances(asked.heard.moments[number])
        nearest, rows = self._moments.nearest_of_songs(distances)
        comparable = np.isfinite(nearest) & passing
        others = np.ones(len(distances), bool)
        if asked.row is not None:
            comparable[asked.row] = False
            others[self._moments.first[asked.row] : self._moments.first[asked.row + 1]] = False
        chosen = self._choice.choose(nearest, comparable, asked.row, top_k, per_artist)
        ascending = np.sort(distances[others])
        moments = []
        for rank, song in enumerate(chosen, start=1):
            heard = self._comparison.heard_in(song)
            start_s, end_s = span_s(heard, int(rows[song] - self._moments.first[song]))
            n_farther = len(ascending) - np.searchsorted(ascending, nearest[song], side="right")
            closer_than = percent_farther(n_farther, len(ascending))
            moments.append(SimilarMoment(rank, self.songs[song], start_s, end_s, closer_than))
        notices = (*asked.warnings, *_notices_of_list(len(moments), int(np.count_nonzero(comparable)), top_k))
        return MomentResult(asked.song, *span_s(asked.heard, number), tuple(moments), notices)

    def path(
        self,
        first: str,
        last: str,
        n_steps: int = DEFAULT_STEPS,
        facets: str | Mapping[str, float] | None = None,
    ) -> SongPath:
        """Lead from one song to another in steps to songs alike, none of which comes twice.

        Parameters
        ----------
        first, last : str
            Ids of two songs.
        n_steps : int
            Steps from song to song, 1 to 50: there are as many songs and one more.
        facets : str or Mapping from str to float, optional
            As in :meth:`like`. Melodies are compared by the means of their windows.

        Raises
        ------
        UnknownSongError
            No song has one of the ids.
        QueryError
            It is one song twice, the facets are impossible or missing (:meth:`like`), or there are too few songs.
        """
        require_whole("n_steps", n_steps, 1, MAX_STEPS)
        ends = self._comparison.query(first), self._comparison.query(last)
        if ends[0].row == ends[1].row:
            raise QueryError("a path leads from one song to another: name two songs")
        weights, notices = self._comparison.weights(facets, *ends)
        reasons = [self._reasons(weights, end, looks_closely=False) for end in ends]
        mask = reasons[0].known["overall"].copy()
        mask[[end.row for end in ends]] = False
        between = candidates(*(reason.farness["overall"] for reason in reasons), mask)
        if len(between) < n_steps - 1:
            raise QueryError(
                f"{n_steps} steps need {n_steps - 1} songs between the two, and {len(between)} can be compared with "
                "them: ask for fewer steps"
            )
        rows = np.array([ends[0].row, *between, ends[1].row])
        farness = sum(weight * self._comparison.space(name).among(rows) for name, weight in weights.items())
        way = rows[shortest_path(farness, [self._choice.artist(row) for row in rows], n_steps - 1)]
        why, codes = [""], [()]
        for before, row in pairwise(map(int, way)):
            asked = self._comparison.query(self.songs.text(before, "id"))
            step = self._result(0, row, [], self._reasons(weights, asked, False), asked)
            why.append(step.why)
            codes.append(step.reasons)
        return SongPath(tuple(self.songs[int(row)] for row in way), tuple(why), notices, tuple(codes), weights)

    def map(self, facet: str | None = None, n_clusters: int | None = None) -> SongMap:
        """Lay out the catalog in two dimensions and find clusters.

        Parameters
        ----------
        facet : str, optional
            One of :data:`FACETS`; default: style, or for a catalog of notes melody. Songs that lack it are left out.
        n_clusters : int, optional
            1 to 50; default: by the number of songs.

        Raises
        ------
        QueryError
            An unknown facet, or one that the catalog does not have.
        """
        facet = facet or ("melody" if self.facets["style"] else "style")
        if facet not in FACETS:
            raise QueryError(f"unknown facet {facet!r:.40}; choose from {', '.join(FACETS)}")
        if self.facets[facet]:
            raise QueryError(f"{facet}: {self.facets[facet]}")
        if n_clusters is not None:
            require_whole("n_clusters", n_clusters, 1, MAX_STEPS)
        space = self._comparison.space(facet)
        rows = np.flatnonzero(space.known)
        sample = np.searchsorted(rows, space.sample)
        layout = lay_out(space.vectors[rows], sample, space.among(space.sample), n_clusters)
        songs = [self.songs[int(row)] for row in rows]
        names = cluster_names(layout.cluster, *self._naming(rows, songs))
        count = np.bincount(layout.cluster)
        clusters = [
            Cluster(number, name, int(count[number]), songs[layout.centre[number]].id)
            for number, name in enumerate(names)
        ]
        places = zip(songs, layout.xy.tolist(), layout.cluster.tolist(), strict=True)
        points = tuple(MapPoint(song, x, y, cluster) for song, (x, y), cluster in places)
        missing = len(self) - len(rows)
        notices = (f"{missing} songs are not on the map: they have no {facet} to compare",) if missing else ()
        return SongMap(facet, points, tuple(clusters), notices, missing)

    def _naming(self, rows: np.ndarray, songs: Sequence[Song]) -> tuple[np.ndarray, Sequence[str]]:
        """Return what clusters of songs are named by: tags if they were heard, else genres; (n, k) and k names."""
        if self._comparison.heard is not None:
            return self._comparison.heard.tags[rows].astype(np.float64), TAGS
        genres = list(SongTable.of(songs).genre_counts())
        return np.array([[name in song.genres for name in genres] for song in songs], float), genres


def _notices_of_list(n_listed: int, n_compared: int, top_k: int) -> tuple[str, ...]:
    if n_compared == 0:
        return ("no other song of the catalog passes the filter and has what is compared",)
    if n_listed >= min(top_k, n_compared):
        return ()
    return (
        f"only {n_listed} of {n_compared} songs are listed: the others are by the same artists, or copies or versions "
        "of these or of the song itself; per_artist=0 lists all songs of an artist",
    )
