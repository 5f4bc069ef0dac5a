"""Slope-limited subsequence dynamic time warping with key and tempo search.

The hum is laid on any stretch of a song: both are filled contours (see :mod:`hmm2song.melody.contour`) sampled at one
rate. Every hum frame costs its distance to the song in semitones, capped at :data:`COST_CAP_ST` so that a wrong note or
an octave slip costs no more than any other error. Steps are (1, 1), (1, 2) and (2, 1) in (hum, song) frames, so the
local tempo stays within a factor of two of the hypothesis (Sakoe and Chiba 1978, slope constraint P = 1), and a step
off the diagonal costs :data:`WARP_PENALTY_ST`: people keep a tempo, chance resemblances do not. The overall tempo and
key are searched over hypotheses. The cost of a path is its mean per hum frame, in semitones; lower is better.

The inner loop runs over song frames and only touches the two rows before it, in a function of its own whose arguments
the compiler can prove independent: that vectorises (3-4 G cells per second and core) and needs O(song) memory.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

from hmm2song.melody.contour import FilledContour
from hmm2song.results import Alignment

COST_CAP_ST = 2.5
"""Largest cost of a frame, in semitones."""
WARP_PENALTY_ST = 0.5
"""Cost of a step off the diagonal, in semitone frames."""
TEMPO_PENALTY_ST = 0.2
"""Cost of a tempo hypothesis per doubling or halving, in semitones: most people hum near the tempo they know."""
INFINITE_COST = np.float32(1e9)


@dataclass(frozen=True, eq=False)
class PackedContours:
    """Many contours at one rate in one array.

    Attributes
    ----------
    pitch_midi : np.ndarray, shape (n_frames,), float32
    first_frame : np.ndarray, shape (n_contours + 1,), int64
        Contour ``i`` is ``pitch_midi[first_frame[i]:first_frame[i + 1]]``.
    rate_hz : float
    """

    pitch_midi: np.ndarray
    first_frame: np.ndarray
    rate_hz: float


def pack_contours(contours: list[FilledContour], rate_hz: float) -> PackedContours:
    """Sample contours at ``rate_hz`` and pack them."""
    return _pack([sample_contour(contour, rate_hz) for contour in contours], rate_hz)


def _pack(pitches: list[np.ndarray], rate_hz: float) -> PackedContours:
    first_frame = np.concatenate(([0], np.cumsum([len(pitch) for pitch in pitches]))).astype(np.int64)
    return PackedContours(np.concatenate(pitches), first_frame, rate_hz)


def sample_contour(contour: FilledContour, rate_hz: float, speed: float = 1.0) -> np.ndarray:
    """Return the contour stretched by ``speed`` in time at ``rate_hz``, shape (n,), float32; n >= 1 if not empty."""
    n_frames = max(1, int(contour.duration_s * speed * rate_hz)) if len(contour.pitch_midi) else 0
    return contour.sample((np.arange(n_frames) + 0.5) / rate_hz / speed).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Stretches:
    """Where to look: song stretches, each with the keys to try.

    All arrays have shape (n_stretches,). ``start`` and ``stop`` are frames of a :class:`PackedContours`;
    ``lowest_key_st`` to ``highest_key_st`` are the offsets hum minus song to try.
    """

    start: np.ndarray
    stop: np.ndarray
    lowest_key_st: np.ndarray
    highest_key_st: np.ndarray


@dataclass(frozen=True, eq=False)
class Placements:
    """The best placement of a hum on each stretch; all arrays have shape (n_stretches,).

    ``cost_st`` is the mean cost per hum frame (:data:`INFINITE_COST` where the stretch is too short), ``end`` the
    packed frame after the placement's last, ``key_st`` the offset hum minus song, ``speed`` the tempo hypothesis.
    """

    cost_st: np.ndarray
    end: np.ndarray
    key_st: np.ndarray
    speed: np.ndarray


def place(
    hum: FilledContour,
    songs: PackedContours,
    stretches: Stretches,
    speeds: tuple[float, ...],
    key_step_st: float,
    n_threads: int,
) -> Placements:
    """Find the best placement of the hum on every stretch.

    Parameters
    ----------
    hum : FilledContour
        Not empty.
    songs : PackedContours
    stretches : Stretches
    speeds : tuple of float
        Tempo hypotheses: how much longer than the hum its stretch of song is.
    key_step_st : float
        Distance of the keys tried, in semitones.
    n_threads : int
        Threads to share the stretches among (the kernel releases the interpreter lock).
    """
    tempi = np.asarray(speeds)
    hums, tempo_st = hum_at(hum, songs.rate_hz, tempi), tempo_cost_st(tempi)
    n_stretches = len(stretches.start)
    cost, key = np.full(n_stretches, INFINITE_COST), np.zeros(n_stretches, np.float32)
    end, version = np.zeros(n_stretches, np.int64), np.zeros(n_stretches, np.int64)

    def work(order: np.ndarray) -> None:
        _place_many(
            hums.pitch_midi,
            hums.first_frame,
            tempo_st,
            songs.pitch_midi,
            stretches.start,
            stretches.stop,
            stretches.lowest_key_st,
            stretches.highest_key_st,
            np.float32(key_step_st),
            order,
            cost,
            end,
            key,
            version,
        )

    share(work, n_stretches, n_threads)
    return Placements(cost, end, key, tempi[version])


def hum_at(hum: FilledContour, rate_hz: float, speeds: np.ndarray) -> PackedContours:
    """Sample a hum at ``rate_hz`` as it would be at each tempo hypothesis, shape (n_speeds,), and pack the versions."""
    return _pack([sample_contour(hum, rate_hz, speed) for speed in speeds], rate_hz)


def tempo_cost_st(speeds: np.ndarray) -> np.ndarray:
    """Return what tempo hypotheses cost, shape (n_speeds,), float32."""
    return (TEMPO_PENALTY_ST * np.abs(np.log2(speeds))).astype(np.float32)


def share(work: Callable[[np.ndarray], None], n_items: int, n_threads: int) -> None:
    """Let threads do ``work`` on shares of ``n_items`` positions; it has to release the interpreter lock."""
    if n_threads == 1 or n_items < n_threads:
        work(np.arange(n_items))
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(work, [np.arange(first, n_items, n_threads) for first in range(n_threads)]))


@numba.njit(nogil=True, cache=True, fastmath=True)
def _place_many(
    hums,
    version_start,
    tempo_cost,
    pitch,
    starts,
    stops,
    lowest,
    highest,
    key_step,
    order,
    cost,
    end,
    key,
    version,
):
    for index in order:
        song = pitch[starts[index] : stops[index]]
        n_keys = int((highest[index] - lowest[index]) / key_step + np.float32(1.001))
        for hypothesis in range(len(version_start) - 1):
            hum = hums[version_start[hypothesis] : version_start[hypothesis + 1]]
            if len(hum) >= 2 * len(song):  # out of reach, even at two hum frames a step
                continue
            for key_index in range(n_keys):
                tried_key = np.float32(lowest[index] + key_index * key_step)
                path_cost, last = _subsequence_cost(hum, song, tried_key)
                found = path_cost + tempo_cost[hypothesis]
                if found < cost[index]:
                    cost[index] = found
                    end[index] = starts[index] + last + 1
                    key[index] = tried_key
                    version[index] = hypothesis


@numba.njit(nogil=True, cache=True, fastmath=True)
def _subsequence_cost(hum, song, key):
    """Return the mean cost of the best path and the song frame where it ends."""
    n_hum, n_song = len(hum), len(song)
    # Two columns of padding on the left stand for "before the song": never a way in, except in the first row.
    total = np.full((3, n_song + 2), INFINITE_COST, np.float32)
    frame_cost = np.empty((2, n_song), np.float32)
    first_row(total[0], frame_cost[0], song, hum[0] - key)
    for i in range(1, n_hum):
        next_row(
            total[i % 3],
            total[(i - 1) % 3],
            total[(i - 2) % 3],
            frame_cost[i % 2],
            frame_cost[(i - 1) % 2],
            song,
            hum[i] - key,
        )
    last_row = total[(n_hum - 1) % 3]
    best = 0
    for j in range(n_song):
        if last_row[j + 2] < last_row[best + 2]:
            best = j
    return last_row[best + 2] / n_hum, best


@numba.njit(nogil=True, cache=True, fastmath=True)
def first_row(total, frame_cost, song, pitch):
    """Fill ``total`` (n_song + 2,) for the first hum frame, which may be anywhere; compiled, as :func:`next_row`."""
    for j in range(len(song)):
        frame_cost[j] = min(abs(pitch - song[j]), np.float32(COST_CAP_ST))
        total[j + 2] = frame_cost[j]


@numba.njit(nogil=True, cache=True, fastmath=True)
def next_row(total, total_1, total_2, frame_cost, frame_cost_1, song, pitch):
    """Fill ``total`` (n_song + 2,) for a hum frame from the two before it; compiled."""
    penalty = np.float32(WARP_PENALTY_ST)
    cap = np.float32(COST_CAP_ST)
    for j in range(len(song)):
        distance = abs(pitch - song[j])
        distance = distance if distance < cap else cap
        frame_cost[j] = distance
        straight = total_1[j + 1]
        song_fast = total_1[j] + penalty
        hum_fast = total_2[j + 1] + frame_cost_1[j] + penalty
        best = straight if straight < song_fast else song_fast
        best = best if best < hum_fast else hum_fast
        total[j + 2] = distance + best


def describe_path(
    hum: FilledContour, song: FilledContour, hum_time_s: np.ndarray, song_time_s: np.ndarray
) -> Alignment:
    """Turn a path into an :class:`Alignment`.

    The key shift is the median difference along the path, the tempo ratio the song's seconds per hum second.

    Parameters
    ----------
    hum, song : FilledContour
        The whole contours; their offsets turn contour times into recording and score times.
    hum_time_s, song_time_s : np.ndarray, shape (n,)
        The path, relative to the contours' first frames.
    """
    difference_st = hum.sample(hum_time_s) - song.sample(song_time_s)
    span_hum_s = max(hum_time_s[-1] - hum_time_s[0], 1e-3)
    span_song_s = max(song_time_s[-1] - song_time_s[0], 1e-3)
    return Alignment(
        hum_time_s=hum_time_s + hum.offset_s,
        song_time_s=song_time_s + song.offset_s,
        key_shift_st=float(np.nanmedian(difference_st)),
        tempo_ratio=float(span_song_s / span_hum_s),
    )
