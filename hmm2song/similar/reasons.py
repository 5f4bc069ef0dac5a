"""Why a song is listed, in percent and in words: never the farness itself, which says nothing to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hmm2song.similar.results import Reason, listed
from hmm2song.song import Song

TELLING_PERCENT = 80.0
"""A facet is a reason from here on."""
MAX_REASONS = 2
SAME_TEMPO = 1.04
SHARES = {"tune": 1.0, "much_of_tune": 0.5, "phrase_of_tune": 1e-9}
"""Codes by the least share of a melody that lies in another song."""
TUNE_WORDS = {
    "version": "a version of the same tune",
    "tune": "nearly the same tune",
    "much_of_tune": "shares much of the tune",
    "phrase_of_tune": "shares a phrase of the tune",
}


@dataclass(frozen=True, eq=False)
class Reasons:
    """How far all songs are from the query ``row``: by facet, and ``"overall"``; both of arrays of shape (n_songs,)."""

    farness: Mapping[str, np.ndarray]
    known: Mapping[str, np.ndarray]
    row: int | None
    shared: Mapping[int, float] = field(default_factory=dict)
    """By song, the share of its melody and the query's, of the shorter one, that lies in the other."""

    def closer_than(self, song: int) -> dict[str, float]:
        """Return how many percent of the other songs are farther, by what the song has; rounded down to tenths."""
        return {name: self._percent(name, song) for name in self.farness if self.known[name][song]}

    def _percent(self, name: str, song: int) -> float:
        others = self._others[name]
        n_farther = int(np.count_nonzero(others > self.farness[name][song]))
        return percent_farther(n_farther, len(others))

    @cached_property
    def _others(self) -> dict[str, np.ndarray]:
        """How far the songs but the query are that have a facet; the song that is asked about is one of them."""
        is_other = np.arange(len(self.known["overall"])) != (-1 if self.row is None else self.row)
        return {name: values[self.known[name] & is_other] for name, values in self.farness.items()}

    def _is_nearest(self, name: str, song: int) -> bool:
        return not (self._others[name] < self.farness[name][song]).any()

    def of(
        self, song: int, found: Song, query: Song | None, tempi_bpm: tuple[float | None, float | None]
    ) -> tuple[Reason, ...]:
        """Return why a song is listed; ``tempi_bpm`` are those of the query and of the song."""
        percents = {name: percent for name, percent in self.closer_than(song).items() if name != "overall"}
        best_first = sorted(percents, key=lambda name: (-percents[name], name))
        telling = [name for name in best_first if percents[name] >= TELLING_PERCENT][:MAX_REASONS] or best_first[:1]
        first = [name for name in telling if self._is_nearest(name, song)]
        is_version = query is not None and query.tune and found.tune == query.tune
        share = self.shared.get(song, 0.0)
        tune = "version" if is_version else next((code for code, least in SHARES.items() if share >= least), "")
        reasons = [Reason(tune, "melody", round(share, 2))] if tune else []
        reasons += [Reason("closest", name, percents[name]) for name in first]
        reasons += [Reason("closer", name, percents[name]) for name in telling if name not in first]
        asked_bpm, song_bpm = tempi_bpm
        if asked_bpm and song_bpm:
            is_same = max(asked_bpm, song_bpm) <= SAME_TEMPO * min(asked_bpm, song_bpm)
            reasons.append(Reason("same_tempo" if is_same else "tempo", "feel", song_bpm))
        return tuple(reasons)


def percent_farther(n_farther: int, n: int) -> float:
    """Return how many percent of ``n`` but one are farther than that one, rounded down to tenths; alone it is 100."""
    return 100.0 if n < 2 else int(1000 * n_farther / (n - 1)) / 10


def in_words(reasons: Sequence[Reason]) -> str:
    """Return reasons as English, such as "closer in voice than 98 % of the catalog, also 92 bpm"."""
    parts = [TUNE_WORDS[reason.code] for reason in reasons if reason.code in TUNE_WORDS]
    closest = [reason.facet for reason in reasons if reason.code == "closest"]
    if closest:
        parts.append(f"the closest of all in {listed(closest)}")
    closer = [f"closer in {name} than {shown_percent(value)} %" for code, name, value in reasons if code == "closer"]
    if closer:
        parts.append(f"{' and '.join(closer)} of the catalog")
    tempo = {"tempo": "", "same_tempo": "also "}
    parts += [f"{tempo[code]}{value:.0f} bpm" for code, _, value in reasons if code in tempo]
    return ", ".join(parts)


def shown_percent(percent: float) -> str:
    """Write a percentile: to a tenth from 99 to 100, else whole, and never rounded up."""
    return f"{percent:.1f}" if 99 < percent < 100 else str(int(percent))
