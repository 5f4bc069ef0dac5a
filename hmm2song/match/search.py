"""Melody search: in which songs, and where in them, a hum could be.

Passes of the same alignment (:mod:`hmm2song.match.align`) over the songs' contours. The coarse pass works at 8 Hz and
in semitone key steps: around the places that the window votes propose, and, where that is affordable, over *every*
position of every song. The fine pass looks again at the most promising proposals and at the songs that the coarse pass
found best, at 12.5 Hz, half-semitone keys and more tempi: a hum full of wrong notes is often recognised by its windows
only, one of another rhythm by its alignment only. At these places the key may also drift; everywhere, that would take a
dozen times as long.

Keys: hum and song are compared at the offsets that bring the hum's median pitch near the median of some few seconds of
the song. An octave between a low voice and a high melody, or a song that modulates, is thereby searched as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from hmm2song.machine import n_cores
from hmm2song.match.align import (
    DRIFT_REACH_ST,
    INFINITE_COST,
    SampledContours,
    describe_path,
    place,
    place_drifting,
    trace,
)
from hmm2song.match.places import LONGEST_STRETCH, Alignment, Placements, Places, first_of_each
from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import HIGHEST_MIDI, LOWEST_MIDI, Melody
from hmm2song.melody.packed import LOCAL_MEDIAN_RATE_HZ, LOCAL_MEDIAN_S, PackedMelodies

COARSE_BUDGET_S = 30_000.0
"""Seconds of song that get the coarse pass: an eighth of a second on two cores, for a hum of eight seconds."""
COARSE_BUDGET_S2 = 8.0 * COARSE_BUDGET_S
"""Seconds of song times seconds of hum: a longer hum takes no longer."""
MAX_PLACES = 4000
"""Proposed places that get the coarse pass, at most."""
COARSE_RATE_HZ = 8.0
COARSE_KEY_STEP_ST = 1.0
COARSE_SPEEDS = (0.75, 1.0, 1.33)
"""Tempo hypotheses; the slope limits of the alignment bridge what lies between."""
FINE_RATE_HZ = 12.5
FINE_KEY_STEP_ST = 0.5
FINE_KEY_REACH_ST = 1.0
FINE_SPEEDS = tuple(2.0 ** (step / 4) for step in range(-3, 4))
N_REFINED = 200
"""Places that get the fine pass."""
N_PROMISING = 50
"""Of these, the ones that are proposed first, however badly they align at first."""
KEY_MARGIN_ST = 3.0
"""How far the hum's median may lie from a local median of the song: the stretches need not coincide. For every second
that a hum is shorter than that stretch, it may lie a semitone further off."""
REGION_SLACK_S = 1.5
"""Added around a coarse placement before it is refined."""
PLACE_SLACK_S = 3.0
"""Added around a proposed place: proposals are that rough."""


class MelodySearch:
    """Alignment search over a fixed set of melodies.

    Parameters
    ----------
    melodies : sequence of Melody
        Each with at least one voiced frame.
    n_threads : int, optional
        Threads per search; default: the processor's cores.
    key_reach_st : float, optional
        How far the key of what is placed may drift; scores, unlike people, stay where they are (0).
    """

    def __init__(
        self, melodies: Sequence[Melody], n_threads: int | None = None, key_reach_st: float = DRIFT_REACH_ST
    ) -> None:
        self.n_threads = n_threads or n_cores()
        self.key_reach_st = key_reach_st
        self.melodies = PackedMelodies.of(melodies)
        self._coarse = SampledContours(self.melodies, COARSE_RATE_HZ)
        self._fine = SampledContours(self.melodies, FINE_RATE_HZ)
        self._length_s = self.melodies.contour_s

    @property
    def n_songs(self) -> int:
        """How many melodies there are."""
        return len(self.melodies)

    def rank(self, hum: FilledContour, mask: np.ndarray, proposed: Places | None = None) -> Placements:
        """Place a hum that is not empty in songs; best first, songs too short for it are left out.

        What is proposed adds places to those of the song that aligned best at first.

        Parameters
        ----------
        hum : FilledContour
        mask : np.ndarray, shape (n_songs,), bool
            The songs to search: everywhere, if they are short enough together or nothing is proposed.
        proposed : Places, optional
            Where to look in any case, most promising first, as far as :data:`COARSE_BUDGET_S` reaches; in songs under
            ``mask``. From start to end the hum would last at its tempo hypothesis.
        """
        everywhere = np.flatnonzero(mask)
        if proposed is None:
            return self._rank_places(hum, Places.whole(everywhere), n_promising=0)
        budget_s = min(COARSE_BUDGET_S, COARSE_BUDGET_S2 / hum.duration_s)
        if self._length_s[everywhere].sum() > budget_s:
            everywhere = everywhere[:0]
        around = _affordable(proposed, budget_s)
        return self._rank_places(hum, around.followed_by(Places.whole(everywhere)), min(N_PROMISING, len(around)))

    def _rank_places(self, hum: FilledContour, places: Places, n_promising: int) -> Placements:
        """Align coarsely with all places, then more finely with some of them.

        These are the first ``n_promising`` and the best ones of the other songs.
        """
        coarse = self._place_coarsely(hum, places)
        order = np.argsort(coarse.cost_st, kind="stable")
        order = order[coarse.cost_st[order] < INFINITE_COST]
        best_of_song = order[first_of_each(coarse.song[order])]
        promising = order[order < n_promising]
        kept = np.concatenate((promising, best_of_song[~np.isin(best_of_song, promising)]))[:N_REFINED]
        return self._place_finely(hum, coarse.take(kept))

    def _place_coarsely(self, hum: FilledContour, places: Places) -> Placements:
        hum_median = float(np.median(hum.pitch_midi))
        lowest, highest = self._median_range_st(places)
        margin_st = KEY_MARGIN_ST + max(0.0, LOCAL_MEDIAN_S - hum.duration_s)
        keys_st = hum_median - highest - np.ceil(margin_st), hum_median - lowest + margin_st
        return place(hum, self._coarse, places, *keys_st, COARSE_SPEEDS, COARSE_KEY_STEP_ST, self.n_threads, True)

    def _place_finely(self, hum: FilledContour, coarse: Placements) -> Placements:
        """Place the hum anew around coarse placements, in a key that may drift; best first."""
        reach_s = 1.5 * hum.duration_s * coarse.speed + REGION_SLACK_S
        around = Places(coarse.song, coarse.end_s - reach_s, coarse.end_s + REGION_SLACK_S)
        keys_st = coarse.key_st - FINE_KEY_REACH_ST, coarse.key_st + FINE_KEY_REACH_ST
        fine = place(hum, self._fine, around, *keys_st, FINE_SPEEDS, FINE_KEY_STEP_ST, self.n_threads)
        drifting = place_drifting(hum, self._fine, around, fine, self.n_threads, self.key_reach_st)
        best = np.argsort(drifting.cost_st, kind="stable")
        return drifting.take(best[drifting.cost_st[best] < INFINITE_COST])

    def _median_range_st(self, places: Places) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest local median of places, each of shape (n_places,)."""
        start, stop = self._coarse.frames(places)
        first_frame, first_median = self._coarse.first_frame[places.song], self.melodies.first_median[places.song]
        last_median = self.melodies.first_median[places.song + 1] - 1
        per_frame = LOCAL_MEDIAN_RATE_HZ / COARSE_RATE_HZ
        begin = np.minimum(first_median + ((start - first_frame) * per_frame).astype(np.int64), last_median)
        # a median covers what follows it: those that reach beyond the place say nothing about it
        reach = np.maximum(stop - first_frame - int(LOCAL_MEDIAN_S * COARSE_RATE_HZ), start - first_frame)
        after = np.clip(first_median + (reach * per_frame).astype(np.int64) + 1, begin + 1, last_median + 1)
        units = _range_of(self.melodies.median_midi, begin, after)
        lowest, highest = (each * np.float32(self.melodies.median_unit_st) for each in units)
        # a file may state anything, and all keys between the two are tried
        return np.fmax(lowest, np.float32(LOWEST_MIDI)), np.fmin(highest, np.float32(HIGHEST_MIDI))

    def align(self, hum: FilledContour, placements: Placements, index: int) -> Alignment:
        """Trace one placement."""
        song = self.melodies.contour(int(placements.song[index]))
        return describe_path(hum, song, *self.path(hum, placements, index))

    def path(self, hum: FilledContour, placements: Placements, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the path of one placement as (hum time, song time), (n_path,), from the first frames of both."""
        song, speed = int(placements.song[index]), float(placements.speed[index])
        first = int(self._fine.first_frame[song])
        end = first + round(float(placements.end_s[index]) * FINE_RATE_HZ)
        start = max(first, end - _reach_frames(hum, speed, FINE_RATE_HZ))
        (stretch, _), key_st = self._fine.stretches(np.array([start]), np.array([end])), float(placements.key_st[index])
        hum_time_s, song_time_s = trace(hum, stretch, key_st, speed, FINE_RATE_HZ, self.key_reach_st)
        return hum_time_s, song_time_s + (start - first) / FINE_RATE_HZ


def _affordable(proposed: Places, budget_s: float) -> Places:
    """Return the surroundings of the proposals that the budget allows."""
    longest_s = LONGEST_STRETCH * (proposed.end_s - proposed.start_s)
    around = Places(proposed.song, proposed.start_s - PLACE_SLACK_S, proposed.start_s + longest_s + PLACE_SLACK_S)
    total_s = np.cumsum(around.end_s - around.start_s)
    return around.first(min(MAX_PLACES, int(np.searchsorted(total_s, budget_s))))


def _reach_frames(hum: FilledContour, speed: float, rate_hz: float) -> int:
    """Longest stretch a placement can cover: twice the stretched hum."""
    return 2 * int(hum.duration_s * speed * rate_hz) + 2


@numba.njit(nogil=True, cache=True)
def _range_of(values, begin, after):
    """Return the least and the greatest of ``values[begin[i]:after[i]]`` for every i."""
    lowest, highest = np.empty(len(begin), np.float32), np.empty(len(begin), np.float32)
    for index in range(len(begin)):
        low = high = np.float32(values[begin[index]])  # min and max of numpy take a second to be compiled
        for number in range(begin[index] + 1, after[index]):
            low, high = min(low, np.float32(values[number])), max(high, np.float32(values[number]))
        lowest[index], highest[index] = low, high
    return lowest, highest
