"""What the questions about similar songs answer: frozen dataclasses with ``to_dict()`` giving plain JSON types.

The names in ``to_dict()`` are public API, as those of :mod:`hmm2song.match.results`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hmm2song.match.results import to_frame
from hmm2song.song import Song

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = ("", "title", "artist", "genre", "why")
"""What the cells of :meth:`SimilarSong.row` are."""


def about(song: Song) -> dict:
    """Return what results say about a song, as plain JSON types."""
    stated = ("id", "title", "title_ko", "artist", "author", "genre", "gender", "year", "tune")
    return {name: getattr(song, name) for name in stated}


class Reason(NamedTuple):
    """Why a song is listed.

    ``code`` is ``version``, ``tune``, ``much_of_tune`` or ``phrase_of_tune`` (``value``: the share of the melody),
    ``closest`` or ``closer`` (in a ``facet``; ``value``: see ``closer_than``), ``tempo`` or ``same_tempo`` (bpm).
    """

    code: str
    facet: str
    value: float


@dataclass(frozen=True, eq=False)
class SimilarSong:
    """One song of a list of similar ones.

    Attributes
    ----------
    closer_than : Mapping from str to float
        By facet, and ``"overall"`` with the weights asked for: how many percent of the catalog's other songs are
        farther from the query. A facet is missing if the query or this song does not have it.
    why : str
        The same in words, of the facets that stand out; ``reasons`` say it in codes.
    tempo_bpm, duration_s : float or None
        As heard; None if this song was not listened to, or has no beat.
    also : tuple of str
        Ids of songs that would stand in this list too but are this one again: the same recording, or a version of the
        same tune.
    """

    rank: int
    song: Song
    closer_than: Mapping[str, float]
    why: str
    tempo_bpm: float | None = None
    duration_s: float | None = None
    also: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()

    def __repr__(self) -> str:
        return f"SimilarSong({self.rank}: {self.song.title!r}, {self.why})"

    def row(self) -> tuple[str, ...]:
        """Return the song as the cells of a table, in the order of :data:`HEADINGS`."""
        return (str(self.rank), self.song.full_title, self.song.artist, self.song.genre, self.why)

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {
            "rank": self.rank,
            **about(self.song),
            "closer_than": dict(self.closer_than),
            "why": self.why,
            "reasons": [reason._asdict() for reason in self.reasons],
            "tempo_bpm": self.tempo_bpm,
            "duration_s": self.duration_s,
            "also": list(self.also),
        }


@dataclass(frozen=True, eq=False)
class SimilarResult:
    """Songs like one song, nearest first.

    Attributes
    ----------
    query : Song or None
        The song asked about; None for a recording that is not of the catalog.
    facets : Mapping from str to float
        The weights by which songs were compared, adding up to one.
    notices : tuple of str
        What the caller should know: a facet that could not be compared, a list shorter than asked for.
    n_compared : int
        Songs that passed the filter.
    """

    query: Song | None
    facets: Mapping[str, float]
    songs: tuple[SimilarSong, ...]
    notices: tuple[str, ...]
    n_compared: int
    seconds: float

    def __repr__(self) -> str:
        best = f": {self.songs[0]!r}" if self.songs else ""
        return f"SimilarResult({len(self.songs)} of {self.n_compared} songs, by {', '.join(self.facets)}{best})"

    def to_frame(self) -> pd.DataFrame:
        """Return the songs as a table of pandas, with the columns of :meth:`SimilarSong.to_dict`."""
        return to_frame(self.songs)

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {
            "query": about(self.query) if self.query else None,
            "facets": {name: round(weight, 4) for name, weight in self.facets.items()},
            "songs": [song.to_dict() for song in self.songs],
            "notices": list(self.notices),
            "n_compared": self.n_compared,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, eq=False)
class SimilarMoment:
    """A stretch of a song that sounds like a stretch of the query; ``closer_than`` in percent of all stretches."""

    rank: int
    song: Song
    start_s: float
    end_s: float
    closer_than: float

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        times = {"start_s": round(self.start_s, 2), "end_s": round(self.end_s, 2)}
        return {"rank": self.rank, **about(self.song), **times, "closer_than": self.closer_than}


@dataclass(frozen=True, eq=False)
class MomentResult:
    """Moments of other songs like the one from ``start_s`` to ``end_s`` of the query, nearest first."""

    query: Song | None
    start_s: float
    end_s: float
    moments: tuple[SimilarMoment, ...]
    notices: tuple[str, ...]

    def __repr__(self) -> str:
        return f"MomentResult({len(self.moments)} moments like that at {self.start_s:.1f} s)"

    def to_frame(self) -> pd.DataFrame:
        """Return the moments as a table of pandas."""
        return to_frame(self.moments)

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {
            "query": about(self.query) if self.query else None,
            "start_s": round(self.start_s, 2),
            "end_s": round(self.end_s, 2),
            "moments": [moment.to_dict() for moment in self.moments],
            "notices": list(self.notices),
        }


@dataclass(frozen=True, eq=False)
class SongPath:
    """A way from the first song to the last in even steps.

    ``why[i]`` says how song ``i`` follows the one before, ``reasons[i]`` the same in codes; ``facets`` are the weights
    by which songs were compared.
    """

    songs: tuple[Song, ...]
    why: tuple[str, ...]
    notices: tuple[str, ...] = ()
    reasons: tuple[tuple[Reason, ...], ...] = ()
    facets: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"SongPath({' -> '.join(song.title for song in self.songs)})"

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        reasons = [[reason._asdict() for reason in each] for each in self.reasons]
        told = zip(self.songs, self.why, reasons, strict=True)
        songs = [{**about(song), "why": why, "reasons": codes} for song, why, codes in told]
        facets = {name: round(weight, 4) for name, weight in self.facets.items()}
        return {"facets": facets, "songs": songs, "notices": list(self.notices)}


def listed(parts: Sequence[str]) -> str:
    """Return ``"a"``, ``"a and b"`` or ``"a, b and c"``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
