"""What a search answers: frozen dataclasses with ``to_dict()`` giving plain JSON types.

The field names of ``to_dict()`` are the public API of the package, the command line (``--json``) and the web
endpoints alike, and do not change between minor versions. In a notebook a result is shown as a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from hmm2song.errors import QueryError
from hmm2song.match.overlay import clock, overlay_figure
from hmm2song.match.places import Alignment
from hmm2song.melody.advice import Advice
from hmm2song.melody.melody import Melody
from hmm2song.song import Guess

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

HEADINGS = ("", "sure", "title", "artist", "genre", "at", "key", "tempo")
"""What the cells of :meth:`Match.row` are."""
FOUND, PERHAPS, NONE = "found", "perhaps", "none"
"""Levels of an answer; see :attr:`SearchResult.level`."""
FOUND_PROBABILITY = 0.5
PERHAPS_PROBABILITY = 0.07
"""A best guess below this is not worth naming: of right ones after five seconds or more, one in twenty is below."""
MIN_EVIDENCE_S = 2.0
"""Of hums with less melody hardly any is found: in a small catalog even a wrong song may look probable."""


@dataclass(frozen=True, eq=False)
class Match:
    """One song of the ranking.

    ``probability`` is that of the *tune*: entries with the same non-empty ``tune`` are versions of one melody and share
    it. ``score`` is the uncalibrated match score in semitones, higher is better. ``melody`` is the song's whole melody,
    and ``is_tracked`` tells whether it was tracked in sound. ``artist`` is the singer if known, else the author.
    ``guesses`` holds genre and gender where they were heard, not stated.
    """

    rank: int
    id: str
    title: str
    title_ko: str
    artist: str
    genre: str
    gender: str
    year: str
    lyric: str
    tune: str
    probability: float
    score: float
    alignment: Alignment
    melody: Melody
    is_tracked: bool = False
    author: str = ""
    guesses: Mapping[str, Guess] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Match({self.rank}: {self.full_title!r}, {self.probability:.0%}, from {clock(self.alignment.start_s)})"

    @property
    def full_title(self) -> str:
        """The title, with the Korean one in brackets if there is another."""
        return f"{self.title} ({self.title_ko})" if self.title_ko not in ("", self.title) else self.title

    def row(self) -> tuple[str, ...]:
        """Return the match as the cells of a table, in the order of :data:`HEADINGS`."""
        place = self.alignment
        sung = (clock(place.start_s), f"{place.key_shift_st:+.0f} st", f"{place.tempo_ratio:.0%}")
        return (str(self.rank), f"{self.probability:.0%}", self.full_title, self.artist, self.genre, *sung)

    def to_dict(self) -> dict:
        """Return plain JSON types; ``genre`` is comma-separated as in the catalog, ``gender`` empty when unknown."""
        stated = ("rank", "id", "title", "title_ko", "artist", "author", "genre", "gender", "year", "lyric", "tune")
        return {name: getattr(self, name) for name in stated} | {
            "guessed": {label: guess.to_dict() for label, guess in self.guesses.items()},
            "probability": round(self.probability, 4),
            "score": round(self.score, 4),
            "start_s": round(self.alignment.start_s, 2),
            "end_s": round(self.alignment.end_s, 2),
            "key_shift_st": round(self.alignment.key_shift_st, 2),
            "tempo_ratio": round(self.alignment.tempo_ratio, 3),
        }


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The answer to one hum.

    Attributes
    ----------
    matches : tuple of Match
        Best first, at most ``top_k``. When ``no_match`` is true these are the closest songs all the same.
    no_match : bool
        True when it is more likely than not that the song is not among those searched, when the level is ``"none"``,
        or when nothing could be searched.
    advice : tuple of Advice
        What to do better next time, measured from the recording.
    hum : Melody
        The melody heard.
    earlier : tuple of Melody
        Melodies of earlier hums of the same tune, whose evidence is part of the ranking.
    n_searched, n_unknown : int
        Songs searched after filtering, and how many of them have an unknown genre or gender under the filter.
    elsewhere : Match or None
        A good match outside the filter, if the filter leaves no good match.
    notices : tuple of str
        Things the caller should know (the Hub was unreachable, the bundled catalog is in use, ...).
    seconds : float
        Time from audio to ranking.
    """

    matches: tuple[Match, ...]
    no_match: bool
    advice: tuple[Advice, ...]
    hum: Melody
    n_searched: int
    n_unknown: int
    elsewhere: Match | None = None
    earlier: tuple[Melody, ...] = ()
    notices: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def level(self) -> str:
        """How much to make of the best match: :data:`FOUND`, :data:`PERHAPS` (worth naming) or :data:`NONE`."""
        voiced_s = self.hum.voiced_s + sum(hum.voiced_s for hum in self.earlier)
        return level_of(self.matches[0].probability if self.matches else 0.0, voiced_s)

    def __repr__(self) -> str:
        best = f": {self.matches[0]!r}" if self.matches else ""
        return f"SearchResult({self._summary()}{best})"

    def _summary(self) -> str:
        if self.level == PERHAPS:
            return f"perhaps one of {self.n_searched} songs"
        if self.level == NONE:
            return f"no match among {self.n_searched} songs" + (", the closest" if self.matches else "")
        return f"best {len(self.matches)} of {self.n_searched} songs"

    def _repr_html_(self) -> str:
        rows = [HEADINGS, *(match.row() for match in self.matches)] if self.matches else []
        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
        table = "".join(f"<tr>{row}</tr>" for row in cells)
        advice = "".join(f"<p>{escape(advice.message)}</p>" for advice in self.advice)
        return f"<p>{self._summary().capitalize()}</p><table>{table}</table>{advice}"

    def to_frame(self) -> pd.DataFrame:
        """Return the matches as a table of pandas, with the columns of :meth:`Match.to_dict`."""
        return to_frame(self.matches)

    def plot(self, rank: int = 1) -> go.Figure:
        """Draw the hum over the melody of the match with this rank.

        Raises
        ------
        QueryError
            No match has this rank.
        """
        if not 1 <= rank <= len(self.matches):
            raise QueryError(f"no match has rank {rank}; {len(self.matches)} were found")
        match = self.matches[rank - 1]
        return overlay_figure(self.hum, match.melody, match.alignment, match.full_title)

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {
            "matches": [match.to_dict() for match in self.matches],
            "level": self.level,
            "no_match": self.no_match,
            "advice": [advice.to_dict() for advice in self.advice],
            "hum": {"duration_s": round(self.hum.duration_s, 2), "voiced_s": round(self.hum.voiced_s, 2)},
            "n_hums": 1 + len(self.earlier),
            "n_searched": self.n_searched,
            "n_unknown": self.n_unknown,
            "elsewhere": self.elsewhere.to_dict() if self.elsewhere else None,
            "notices": list(self.notices),
            "seconds": round(self.seconds, 3),
        }


def level_of(probability: float, voiced_s: float) -> str:
    """Return the level of an answer whose best match has this probability, for hums with ``voiced_s`` of melody."""
    if voiced_s < MIN_EVIDENCE_S or probability < PERHAPS_PROBABILITY:
        return NONE
    return FOUND if probability >= FOUND_PROBABILITY else PERHAPS


def to_frame(results: Iterable) -> pd.DataFrame:
    """Return a table of pandas with a row for each result, by its ``to_dict()``; ImportError without pandas."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError('the table is made by pandas, which is missing: pip install "pandas>=3.1,<4"') from error
    return pd.DataFrame([result.to_dict() for result in results])
