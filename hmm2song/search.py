"""Melody search: in which songs, and where in them, a hum could be.

Passes of the same alignment (:mod:`hmm2song.align`) over the songs' contours, each finer than the one before. The
coarse pass visits *every* position of *every* song that passed the filter, at 8 Hz and in semitone key steps, so
nothing is lost to an approximate index; only when the songs together are longer than :data:`COARSE_BUDGET_S`, a scan at
4 Hz chooses which of them get it. The fine pass looks again at the best few hundred songs, around the place found, at
12.5 Hz, half-semitone keys and more tempi.

Keys: hum and song are compared at the offsets that bring the hum's median pitch near the median of some few seconds of
the song. An octave between a low voice and a high melody, or a song that modulates, is thereby searched as well.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hmm2song.align import (
    INFINITE_COST,
    PackedContours,
    Placements,
    Stretches,
    describe_path,
    pack_contours,
    place,
    trace,
)
from hmm2song.melody import Melody
from hmm2song.results import Alignment
from hmm2song.windows import FilledContour, fill_rests

SCAN_RATE_HZ = 4.0
SCAN_SPEEDS = (0.84, 1.19)
COARSE_BUDGET_S = 60_000.0
"""Seconds of song that get the coarse pass: a quarter of a second on two cores, for a hum of eight seconds."""
COARSE_RATE_HZ = 8.0
COARSE_KEY_STEP_ST = 1.0
COARSE_SPEEDS = (0.75, 1.0, 1.33)
"""Tempo hypotheses; the slope limits of the alignment bridge what lies between."""
FINE_RATE_HZ = 12.5
FINE_KEY_STEP_ST = 0.5
FINE_KEY_REACH_ST = 1.0
FINE_SPEEDS = tuple(2.0 ** (step / 4) for step in range(-3, 4))
N_REFINED = 200
"""Songs that get the fine pass."""
LOCAL_MEDIAN_S = 6.0
"""Length over which a song's local median pitch is taken: about what a hum covers."""
KEY_MARGIN_ST = 3.0
"""How far the hum's median may lie from a local median of the song: the stretches need not coincide."""
REGION_SLACK_S = 1.5
"""Added around a coarse placement before it is refined."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Songs in order of alignment cost; all arrays have shape (n_ranked,).

    ``song`` is the position in the catalog, ``cost_st`` the mean cost per hum frame in semitones, ``end``, ``key_st``
    and ``speed`` describe the placement on the fine grid.
    """

    song: np.ndarray
    cost_st: np.ndarray
    end: np.ndarray
    key_st: np.ndarray
    speed: np.ndarray


class MelodySearch:
    """Alignment search over a fixed set of melodies.

    Parameters
    ----------
    melodies : sequence of Melody
        Each with at least one voiced frame.
    n_threads : int, optional
        Threads per search; default: the processor's cores.
    """

    def __init__(self, melodies: Sequence[Melody], n_threads: int | None = None) -> None:
        self.n_threads = n_threads or os.cpu_count() or 1
        self._contours = [fill_rests(melody) for melody in melodies]
        self._scan = pack_contours(self._contours, SCAN_RATE_HZ)
        self._coarse = pack_contours(self._contours, COARSE_RATE_HZ)
        self._fine = pack_contours(self._contours, FINE_RATE_HZ)
        self._median_range_st = _local_median_ranges(self._coarse)

    @property
    def n_songs(self) -> int:
        """How many melodies there are."""
        return len(self._contours)

    def rank(self, hum: FilledContour, mask: np.ndarray) -> Ranking:
        """Rank the songs under ``mask`` (n_songs,) for a hum that is not empty; best first, too short ones left out."""
        songs = self._within_budget(hum, np.flatnonzero(mask))
        coarse = self._place_all(hum, songs, self._coarse, COARSE_SPEEDS)
        order = np.argsort(coarse.cost_st, kind="stable")
        order = order[coarse.cost_st[order] < INFINITE_COST]
        kept = order[:N_REFINED]
        regions = self._regions(hum, songs[kept], coarse, kept)
        fine = place(hum, self._fine, regions, FINE_SPEEDS, FINE_KEY_STEP_ST, self.n_threads)
        best = np.argsort(fine.cost_st, kind="stable")
        best = best[fine.cost_st[best] < INFINITE_COST]
        return Ranking(songs[kept][best], fine.cost_st[best], fine.end[best], fine.key_st[best], fine.speed[best])

    def align(self, hum: FilledContour, ranking: Ranking, place_index: int) -> Alignment:
        """Trace the placement of one ranked song."""
        song = int(ranking.song[place_index])
        speed = float(ranking.speed[place_index])
        first, end = int(self._fine.first_frame[song]), int(ranking.end[place_index])
        start = max(first, end - _reach_frames(hum, speed, FINE_RATE_HZ))
        hum_time_s, song_time_s = trace(
            hum, self._fine.pitch_midi[start:end], float(ranking.key_st[place_index]), speed, FINE_RATE_HZ
        )
        song_time_s = song_time_s + (start - first) / FINE_RATE_HZ
        return describe_path(hum, self._contours[song], hum_time_s, song_time_s)

    def _within_budget(self, hum: FilledContour, songs: np.ndarray) -> np.ndarray:
        """Return the songs that get the coarse pass: all, or as many of the scan's best as the budget allows."""
        length_s = np.diff(self._scan.first_frame)[songs] / SCAN_RATE_HZ
        if length_s.sum() <= COARSE_BUDGET_S:
            return songs
        scanned = self._place_all(hum, songs, self._scan, SCAN_SPEEDS)
        order = np.argsort(scanned.cost_st, kind="stable")
        return songs[np.sort(order[np.cumsum(length_s[order]) <= COARSE_BUDGET_S])]

    def _place_all(
        self, hum: FilledContour, songs: np.ndarray, contours: PackedContours, speeds: tuple[float, ...]
    ) -> Placements:
        """Place the hum anywhere in whole songs."""
        hum_median = float(np.median(hum.pitch_midi))
        lowest, highest = self._median_range_st[songs].T
        stretches = Stretches(
            start=contours.first_frame[songs],
            stop=contours.first_frame[songs + 1],
            lowest_key_st=(hum_median - highest - KEY_MARGIN_ST).astype(np.float32),
            highest_key_st=(hum_median - lowest + KEY_MARGIN_ST).astype(np.float32),
        )
        return place(hum, contours, stretches, speeds, COARSE_KEY_STEP_ST, self.n_threads)

    def _regions(self, hum: FilledContour, songs: np.ndarray, coarse: Placements, kept: np.ndarray) -> Stretches:
        """Surround the coarse placements on the fine grid."""
        first, after = self._fine.first_frame[songs], self._fine.first_frame[songs + 1]
        end_s = (coarse.end[kept] - self._coarse.first_frame[songs]) / COARSE_RATE_HZ
        reach_s = 1.5 * hum.duration_s * coarse.speed[kept] + REGION_SLACK_S
        start = first + np.floor(np.maximum(0.0, end_s - reach_s) * FINE_RATE_HZ).astype(np.int64)
        stop = first + np.ceil((end_s + REGION_SLACK_S) * FINE_RATE_HZ).astype(np.int64)
        key_st = coarse.key_st[kept]
        return Stretches(
            start=np.minimum(start, after - 1),
            stop=np.minimum(stop, after),
            lowest_key_st=key_st - np.float32(FINE_KEY_REACH_ST),
            highest_key_st=key_st + np.float32(FINE_KEY_REACH_ST),
        )


def _reach_frames(hum: FilledContour, speed: float, rate_hz: float) -> int:
    """Longest stretch a placement can cover: twice the stretched hum."""
    return 2 * int(hum.duration_s * speed * rate_hz) + 2


def _local_median_ranges(contours: PackedContours) -> np.ndarray:
    """Return the lowest and highest local median pitch of every contour, shape (n_contours, 2), float32."""
    length = int(LOCAL_MEDIAN_S * contours.rate_hz)
    hop = int(contours.rate_hz)
    ranges = np.empty((len(contours.first_frame) - 1, 2), dtype=np.float32)
    for index, (start, stop) in enumerate(zip(contours.first_frame[:-1], contours.first_frame[1:], strict=True)):
        pitch = contours.pitch_midi[start:stop]
        if len(pitch) <= length:
            medians = np.median(pitch, keepdims=True)
        else:
            medians = np.median(np.lib.stride_tricks.sliding_window_view(pitch, length)[::hop], axis=1)
        ranges[index] = medians.min(), medians.max()
    return ranges
