"""Why a song is listed, in percent and in words: never the farness itself, which says nothing to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hmm2song.similar.results import listed
from hmm2song.song import Song

TELLING_PERCENT = 80.0
"""A facet is a reason from here on."""
MAX_REASONS = 2
SAME_TEMPO = 1.04


@dataclass(frozen=True, eq=False)
class Reasons:
    """How far all songs are from the query ``row``: by facet, and ``"overall"``; both of arrays of shape (n_songs,)."""

    farness: Mapping[str, np.ndarray]
    known: Mapping[str, np.ndarray]
    row: int | None
    shared: Mapping[int, float] = field(default_factory=dict)
    """Shares of the query's melody that lie in others nearly note for note."""

    def closer_than(self, song: int) -> dict[str, float]:
        """Return how many percent of the other songs are farther, by what the song has; rounded down to tenths."""
        return {name: self._percent(name, song) for name in self.farness if self.known[name][song]}

    def _percent(self, name: str, song: int) -> float:
        others = self._others(name, song)
        n_others = int(np.count_nonzero(others))
        n_farther = int(np.count_nonzero(others & (self.farness[name] > self.farness[name][song])))
        return 100.0 if n_others == 0 else int(1000 * n_farther / n_others) / 10

    def _others(self, name: str, song: int) -> np.ndarray:
        others = self.known[name].copy()
        others[[song] if self.row is None else [song, self.row]] = False
        return others

    def _is_nearest(self, name: str, song: int) -> bool:
        return not (self._others(name, song) & (self.farness[name] < self.farness[name][song])).any()

    def in_words(self, song: int, found: Song, query: Song | None, tempi_bpm: tuple[float | None, float | None]) -> str:
        """Return why a song is listed, such as "closer in voice than 98 % of the catalog, also 92 bpm".

        ``tempi_bpm`` are those of the query and of the song.
        """
        percents = {name: percent for name, percent in self.closer_than(song).items() if name != "overall"}
        best_first = sorted(percents, key=lambda name: (-percents[name], name))
        telling = [name for name in best_first if percents[name] >= TELLING_PERCENT][:MAX_REASONS] or best_first[:1]
        first = [name for name in telling if self._is_nearest(name, song)]
        others = [name for name in telling if name not in first]
        is_version = query is not None and query.tune and found.tune == query.tune
        parts = ["a version of the same tune" if is_version else _shared_in_words(self.shared.get(song, 0.0))]
        if first:
            parts.append(f"the closest of all in {listed(first)}")
        if others:
            parts.append(" and ".join(f"closer in {name} than {_shown(percents[name])}" for name in others))
            parts[-1] += " of the catalog"
        asked_bpm, song_bpm = tempi_bpm
        if asked_bpm and song_bpm:
            is_same = max(asked_bpm, song_bpm) <= SAME_TEMPO * min(asked_bpm, song_bpm)
            parts.append(f"{'also ' if is_same else ''}{song_bpm:.0f} bpm")
        return ", ".join(filter(None, parts))


def _shared_in_words(share: float) -> str:
    """Say how much of a melody lies in another song."""
    if share == 1:
        return "nearly the same tune"
    return "shares much of the tune" if share >= 0.5 else "shares a phrase of the tune" if share > 0 else ""


def _shown(percent: float) -> str:
    return f"{percent:.1f} %" if 99 < percent < 100 else f"{int(percent)} %"
