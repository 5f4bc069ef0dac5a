"""Melody search: in which songs, and where in them, a hum could be.

Passes of the same alignment (:mod:`hmm2song.match.align`) over the songs' contours. The coarse pass works at 8 Hz and
in semitone key steps: around the places that the window votes propose, and, where that is affordable, over *every*
position of every song. The fine pass looks again at the most promising proposals and at the songs that the coarse pass
found best, at 12.5 Hz, half-semitone keys and more tempi: a hum full of wrong notes is often recognised by its windows
only, one of another rhythm by its alignment only. At these places the key may also drift (:mod:`hmm2song.match.align`);
everywhere, that would take a dozen times as long.

Keys: hum and song are compared at the offsets that bring the hum's median pitch near the median of some few seconds of
the song. An octave between a low voice and a high melody, or a song that modulates, is thereby searched as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numba
import numpy as np

from hmm2song.machine import n_cores
from hmm2song.match.align import (
    DRIFT_REACH_ST,
    INFINITE_COST,
    PackedContours,
    Placements,
    Stretches,
    describe_path,
    pack_contours,
    place,
    place_drifting,
    trace,
)
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.results import Alignment

COARSE_BUDGET_S = 30_000.0
"""Seconds of song that get the coarse pass: an eighth of a second on two cores, for a hum of eight seconds."""
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
LOCAL_MEDIAN_S = 6.0
"""Length over which a song's local median pitch is taken: about what a hum covers."""
LOCAL_MEDIAN_RATE_HZ = 1.0
KEY_MARGIN_ST = 3.0
"""How far the hum's median may lie from a local median of the song: the stretches need not coincide. For every second
that a hum is shorter than that stretch, it may lie a semitone further off."""
REGION_SLACK_S = 1.5
"""Added around a coarse placement before it is refined."""
PLACE_SLACK_S = 3.0
"""Added around a proposed place: proposals are that rough."""
LONGEST_STRETCH = 1.3
"""How much longer than at its tempo hypothesis a hum's stretch of song is assumed to be."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Placements of a hum in order of alignment cost; all arrays have shape (n_ranked,).

    ``song`` is the position in the catalog; a song may be there with several places. ``cost_st`` is the mean cost per
    hum frame in semitones, ``end``, ``key_st`` (about which it drifts) and ``speed`` describe the placement on the fine
    grid.
    """

    song: np.ndarray
    cost_st: np.ndarray
    end: np.ndarray
    key_st: np.ndarray
    speed: np.ndarray

    def best_of_songs(self, score: np.ndarray) -> np.ndarray:
        """Return which placements are their song's best by ``score`` (n_ranked,), in the order of the ranking."""
        best_first = np.argsort(-score, kind="stable")
        return np.sort(best_first[first_of_each(self.song[best_first])])

    def take(self, chosen: np.ndarray) -> Ranking:
        """Return the placements ``chosen``."""
        return Ranking(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Proposals:
    """Places in songs where the hum could begin, most promising first; all arrays have shape (n,).

    ``song`` is a position in the catalog and may repeat, ``start_s`` a song time from the song's first voiced frame (it
    may be a little negative), ``speed`` how many seconds of song a second of the hum would last.
    """

    song: np.ndarray
    start_s: np.ndarray
    speed: np.ndarray


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
        self._contours = [fill_rests(melody) for melody in melodies]
        self._coarse = pack_contours(self._contours, COARSE_RATE_HZ)
        self._fine = pack_contours(self._contours, FINE_RATE_HZ)
        self._medians = _local_medians(self._coarse)
        self._length_s = np.array([contour.duration_s for contour in self._contours])

    @property
    def n_songs(self) -> int:
        """How many melodies there are."""
        return len(self._contours)

    def contour(self, song: int) -> FilledContour:
        """Return the filled contour of a song."""
        return self._contours[song]

    def rank(self, hum: FilledContour, mask: np.ndarray, proposed: Proposals | None = None) -> Ranking:
        """Place a hum that is not empty in songs; best first, songs too short for it are left out.

        What is proposed adds places to those of the song that aligned best at first.

        Parameters
        ----------
        hum : FilledContour
        mask : np.ndarray, shape (n_songs,), bool
            The songs to search: everywhere, if they are short enough together or nothing is proposed.
        proposed : Proposals, optional
            Where to look in any case, as far as :data:`COARSE_BUDGET_S` reaches; songs under ``mask``.
        """
        everywhere = np.flatnonzero(mask)
        if proposed is not None and self._length_s[everywhere].sum() > COARSE_BUDGET_S:
            everywhere = everywhere[:0]
        song, start, stop = self._proposed_stretches(hum, proposed) if proposed is not None else (everywhere[:0],) * 3
        first_frame = self._coarse.first_frame
        return self._rank_stretches(
            hum,
            songs=np.concatenate((song, everywhere)),
            start=np.concatenate((start, first_frame[everywhere])),
            stop=np.concatenate((stop, first_frame[everywhere + 1])),
            n_promising=min(N_PROMISING, len(song)),
        )

    def _proposed_stretches(self, hum: FilledContour, proposed: Proposals) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return songs, first and last frames on the coarse grid of the proposals that the budget allows."""
        before_s = proposed.start_s - PLACE_SLACK_S
        after_s = proposed.start_s + LONGEST_STRETCH * hum.duration_s * proposed.speed + PLACE_SLACK_S
        n_places = min(MAX_PLACES, int(np.searchsorted(np.cumsum(after_s - before_s), COARSE_BUDGET_S)))
        song, before_s, after_s = proposed.song[:n_places], before_s[:n_places], after_s[:n_places]
        first, end = self._coarse.first_frame[song], self._coarse.first_frame[song + 1]
        start = np.clip(first + np.floor(before_s * COARSE_RATE_HZ).astype(np.int64), first, end - 1)
        stop = np.clip(first + np.ceil(after_s * COARSE_RATE_HZ).astype(np.int64), start + 1, end)
        return song, start, stop

    def _rank_stretches(
        self, hum: FilledContour, songs: np.ndarray, start: np.ndarray, stop: np.ndarray, n_promising: int
    ) -> Ranking:
        """Align with stretches ``start`` to ``stop`` of the coarse grid, then more finely with some of them.

        These are the first ``n_promising`` and the best ones of the other songs.
        """
        if len(songs) == 0:
            return Ranking(songs, *np.zeros((4, 0)))
        coarse = self._place_coarsely(hum, songs, start, stop)
        order = np.argsort(coarse.cost_st, kind="stable")
        order = order[coarse.cost_st[order] < INFINITE_COST]
        best_of_song = order[first_of_each(songs[order])]
        promising = order[order < n_promising]
        kept = np.concatenate((promising, best_of_song[~np.isin(best_of_song, promising)]))[:N_REFINED]
        regions = self._regions(hum, songs[kept], coarse, kept)
        fine = place(hum, self._fine, regions, FINE_SPEEDS, FINE_KEY_STEP_ST, self.n_threads)
        cost_st, end = place_drifting(hum, self._fine, regions, fine, self.n_threads, self.key_reach_st)
        best = np.argsort(cost_st, kind="stable")
        best = best[cost_st[best] < INFINITE_COST]
        return Ranking(songs[kept][best], cost_st[best], end[best], fine.key_st[best], fine.speed[best])

    def _place_coarsely(self, hum: FilledContour, songs: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Placements:
        hum_median = float(np.median(hum.pitch_midi))
        lowest, highest = self._median_range_st(songs, start, stop)
        margin_st = KEY_MARGIN_ST + max(0.0, LOCAL_MEDIAN_S - hum.duration_s)
        stretches = Stretches(
            start=start,
            stop=stop,
            lowest_key_st=(hum_median - highest - margin_st).astype(np.float32),
            highest_key_st=(hum_median - lowest + margin_st).astype(np.float32),
        )
        return place(hum, self._coarse, stretches, COARSE_SPEEDS, COARSE_KEY_STEP_ST, self.n_threads)

    def _median_range_st(self, songs: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest local median of stretches of the coarse grid, each of shape (n_stretches,)."""
        first_frame, first_median = self._coarse.first_frame[songs], self._medians.first_frame[songs]
        last_median = self._medians.first_frame[songs + 1] - 1
        per_frame = LOCAL_MEDIAN_RATE_HZ / COARSE_RATE_HZ
        begin = np.minimum(first_median + ((start - first_frame) * per_frame).astype(np.int64), last_median)
        # a median covers what follows it: those that reach beyond the stretch say nothing about it
        reach = np.maximum(stop - first_frame - int(LOCAL_MEDIAN_S * COARSE_RATE_HZ), start - first_frame)
        after = np.clip(first_median + (reach * per_frame).astype(np.int64) + 1, begin + 1, last_median + 1)
        return _range_of(self._medians.pitch_midi, begin, after)

    def stretches_s(self, hum: FilledContour, ranking: Ranking) -> tuple[np.ndarray, np.ndarray]:
        """Return where the placements begin at the earliest and end, in s from their song's first voiced frame."""
        end_s = (ranking.end - self._fine.first_frame[ranking.song]) / FINE_RATE_HZ
        return end_s - LONGEST_STRETCH * hum.duration_s * ranking.speed, end_s

    def align(self, hum: FilledContour, ranking: Ranking, place_index: int) -> Alignment:
        """Trace the placement of one ranked song."""
        song = int(ranking.song[place_index])
        speed = float(ranking.speed[place_index])
        first, end = int(self._fine.first_frame[song]), int(ranking.end[place_index])
        start = max(first, end - _reach_frames(hum, speed, FINE_RATE_HZ))
        stretch, key_st = self._fine.pitch_midi[start:end], float(ranking.key_st[place_index])
        hum_time_s, song_time_s = trace(hum, stretch, key_st, speed, FINE_RATE_HZ, self.key_reach_st)
        song_time_s = song_time_s + (start - first) / FINE_RATE_HZ
        return describe_path(hum, self._contours[song], hum_time_s, song_time_s)

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


def first_of_each(keys: np.ndarray) -> np.ndarray:
    """Return where each key stands first, in that order; ``keys`` has shape (n,), or (k, n) if a column is a key."""
    return np.sort(np.unique(keys, axis=-1, return_index=True)[1])


def _reach_frames(hum: FilledContour, speed: float, rate_hz: float) -> int:
    """Longest stretch a placement can cover: twice the stretched hum."""
    return 2 * int(hum.duration_s * speed * rate_hz) + 2


def _local_medians(contours: PackedContours) -> PackedContours:
    """Return the median pitch of what follows, once a second, for every contour; one value at least for each."""
    length = int(LOCAL_MEDIAN_S * contours.rate_hz)
    hop = int(contours.rate_hz / LOCAL_MEDIAN_RATE_HZ)
    medians = []
    for start, stop in zip(contours.first_frame[:-1], contours.first_frame[1:], strict=True):
        pitch = contours.pitch_midi[start:stop]
        if len(pitch) <= length:
            medians.append(np.median(pitch, keepdims=True))
        else:
            medians.append(np.median(np.lib.stride_tricks.sliding_window_view(pitch, length)[::hop], axis=1))
    first = np.concatenate(([0], np.cumsum([len(each) for each in medians]))).astype(np.int64)
    return PackedContours(np.concatenate(medians).astype(np.float32), first, LOCAL_MEDIAN_RATE_HZ)


@numba.njit(nogil=True, cache=True)
def _range_of(values, begin, after):
    """Return the least and the greatest of ``values[begin[i]:after[i]]`` for every i."""
    lowest, highest = np.empty(len(begin), np.float32), np.empty(len(begin), np.float32)
    for index in range(len(begin)):
        part = values[begin[index] : after[index]]
        lowest[index], highest[index] = part.min(), part.max()
    return lowest, highest
