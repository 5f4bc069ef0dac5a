"""What a search answers: frozen dataclasses with ``to_dict()`` giving plain JSON types.

The field names of ``to_dict()`` are the public API of the package, the command line (``--json``) and the web
endpoints alike, and do not change between minor versions.
"""

from __future__ import annotations

from dataclasses import dataclass

from hmm2song.match.places import Alignment
from hmm2song.melody.advice import Advice
from hmm2song.melody.melody import Melody


@dataclass(frozen=True, eq=False)
class Match:
    """One song of the ranking.

    ``probability`` is that of the *tune*: entries with the same non-empty ``tune`` are versions of one melody and share
    it. ``score`` is the uncalibrated match score in semitones, higher is better.
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

    def to_dict(self) -> dict:
        """Return plain JSON types; ``genre`` is comma-separated as in the catalog, ``gender`` empty when unknown."""
        return {
            "rank": self.rank,
            "id": self.id,
            "title": self.title,
            "title_ko": self.title_ko,
            "artist": self.artist,
            "genre": self.genre,
            "gender": self.gender,
            "year": self.year,
            "lyric": self.lyric,
            "tune": self.tune,
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
        Best first; at most ``top_k``. Also given when ``no_match`` is true: the best of a bad lot.
    no_match : bool
        True when it is more likely than not that the song is not among those searched, or nothing could be searched.
    advice : tuple of Advice
        What to do better next time, measured from the recording.
    hum : Melody
        The melody heard.
    earlier : tuple of Melody
        What was heard in earlier hums of the same tune, whose evidence is in the ranking too.
    n_searched, n_unknown : int
        Songs searched after filtering, and how many of them have an unknown genre or gender under the filter.
    elsewhere : Match or None
        A good match outside the filter, offered when the filter's own best is poor or it left nothing.
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

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {
            "matches": [match.to_dict() for match in self.matches],
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
