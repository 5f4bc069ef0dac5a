"""Alignment with a singer whose key drifts or jumps: the last look at a few places.

As :mod:`hmm2song.match.align`, but the key may move by :data:`KEY_STEP_ST` at every hum frame, within :data:`REACH_ST`
of where the alignment in one key has found it; every move costs :data:`MOVE_PENALTY_ST`. Who goes flat phrase by
phrase, takes a breath and goes on in another key, or squeezes a large interval and never comes back pays for the moves
and not for every note after them. A chance resemblance gains less by it, as it is off in both directions.

States are (key, song frame): for each hum frame and key, the best total of the frame before in this key or in one of
its neighbours takes the place of the total in one key. The inner loops stay those of :mod:`hmm2song.match.align`.
"""

from __future__ import annotations

import numba
import numpy as np

from hmm2song.match.align import (
    COST_CAP_ST,
    INFINITE_COST,
    WARP_PENALTY_ST,
    PackedContours,
    Placements,
    Stretches,
    first_row,
    hum_at,
    next_row,
    sample_contour,
    share,
    tempo_cost_st,
)
from hmm2song.melody.contour import FilledContour

KEY_STEP_ST = 0.5
REACH_ST = 3.0
"""How far the key of a person may go from where it was found."""
MOVE_PENALTY_ST = 3.0
"""Cost of moving the key by a step, in semitone frames: as much as six frames, half a second, half a semitone off."""


def place_drifting(
    hum: FilledContour,
    songs: PackedContours,
    stretches: Stretches,
    found: Placements,
    n_threads: int,
    reach_st: float = REACH_ST,
) -> tuple[np.ndarray, np.ndarray]:
    """Place the hum anew on every stretch, in a key that may drift away from the one found there.

    Parameters
    ----------
    hum : FilledContour
        Not empty.
    songs : PackedContours
    stretches : Stretches
        Of shape (n,); its keys are not used.
    found : Placements
        What :func:`hmm2song.match.align.place` has found on them: the keys and speeds to begin with.
    n_threads : int
    reach_st : float, optional
        How far the key may go from there.

    Returns
    -------
    cost_st : np.ndarray, shape (n,), float32
        Never more than in one key, but for rounding; :data:`INFINITE_COST` where the stretch is too short.
    end : np.ndarray, shape (n,)
        The packed frame after the placement's last.
    """
    speeds, version = np.unique(found.speed, return_inverse=True)
    n_stretches = len(stretches.start)
    cost, end = np.full(n_stretches, INFINITE_COST), np.zeros(n_stretches, np.int64)
    if n_stretches == 0:
        return cost, end
    hums = hum_at(hum, songs.rate_hz, speeds)
    keys_st = _keys_st(found.key_st, reach_st)
    tempo_st = tempo_cost_st(found.speed)

    def work(order: np.ndarray) -> None:
        _place_many(
            hums.pitch_midi,
            hums.first_frame,
            version,
            songs.pitch_midi,
            stretches.start,
            stretches.stop,
            keys_st,
            order,
            cost,
            end,
        )

    share(work, n_stretches, n_threads)
    return np.where(cost < INFINITE_COST, cost + tempo_st, INFINITE_COST), end


def _keys_st(key_st: np.ndarray | float, reach_st: float) -> np.ndarray:
    """Return the keys within reach of ``key_st``, shape (..., n_keys), float32."""
    n_steps = round(reach_st / KEY_STEP_ST)
    return (np.asarray(key_st)[..., None] + KEY_STEP_ST * np.arange(-n_steps, n_steps + 1)).astype(np.float32)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _place_many(hums, version_start, version, pitch, starts, stops, keys_st, order, cost, end):
    for index in order:
        hum = hums[version_start[version[index]] : version_start[version[index] + 1]]
        song = pitch[starts[index] : stops[index]]
        if len(hum) < 2 * len(song):  # else out of reach, even at two hum frames a step
            cost[index], last = _subsequence_cost(hum, song, keys_st[index])
            end[index] = starts[index] + last + 1


@numba.njit(nogil=True, cache=True, fastmath=True)
def _subsequence_cost(hum, song, keys_st):
    """Return the mean cost of the best path and the song frame where it ends."""
    total = np.full((3, len(keys_st), len(song) + 2), INFINITE_COST, np.float32)
    _fill(total, hum, song, keys_st)
    last_rows = total[(len(hum) - 1) % 3]
    best_k, best_j = _least(last_rows)
    return last_rows[best_k, best_j + 2] / len(hum), best_j


@numba.njit(nogil=True, cache=True, fastmath=True)
def _fill(total, hum, song, keys_st):
    """Fill the totals (n_rows, n_keys, n_song + 2) hum frame by hum frame, row ``i % n_rows``; all rows begin infinite.

    As in one key, two columns of padding stand for "before the song".
    """
    n_rows, n_keys, n_song = len(total), len(keys_st), len(song)
    frame_cost = np.empty((2, n_keys, n_song), np.float32)
    moved = np.empty(n_song + 2, np.float32)
    for k in range(n_keys):
        first_row(total[0, k], frame_cost[0, k], song, hum[0] - keys_st[k])
    for i in range(1, len(hum)):
        before = total[(i - 1) % n_rows]
        for k in range(n_keys):
            _least_of_three(moved, before[max(k - 1, 0)], before[k], before[min(k + 1, n_keys - 1)])
            next_row(
                total[i % n_rows, k],
                moved,
                total[(i - 2) % n_rows, k],
                frame_cost[i % 2, k],
                frame_cost[(i - 1) % 2, k],
                song,
                hum[i] - keys_st[k],
            )


@numba.njit(nogil=True, cache=True)
def _least(rows):
    """Return key and song frame of the least total in ``rows`` (n_keys, n_song + 2)."""
    best_k, best_j = 0, 0
    for k in range(rows.shape[0]):
        for j in range(rows.shape[1] - 2):
            if rows[k, j + 2] < rows[best_k, best_j + 2]:
                best_k, best_j = k, j
    return best_k, best_j


@numba.njit(nogil=True, cache=True, fastmath=True)
def _least_of_three(least, below, here, above):
    """Fill ``least`` with the totals of a key's frame before, where moving from a neighbour costs something."""
    penalty = np.float32(MOVE_PENALTY_ST)
    for j in range(len(least)):
        neighbour = below[j] if below[j] < above[j] else above[j]
        neighbour += penalty
        least[j] = here[j] if here[j] < neighbour else neighbour


def trace(
    hum: FilledContour, song: np.ndarray, key_st: float, speed: float, rate_hz: float, reach_st: float = REACH_ST
) -> tuple[np.ndarray, np.ndarray]:
    """Return the path of the best placement as (hum time, song time) pairs.

    Parameters
    ----------
    hum : FilledContour
    song : np.ndarray, shape (n_song,), float32
        The stretch, at ``rate_hz``.
    key_st, speed : float
        The hypothesis to follow.
    rate_hz : float
    reach_st : float, optional
        How far the key may drift from it.

    Returns
    -------
    hum_time_s, song_time_s : np.ndarray, shape (n_path,)
        Seconds from the first frame of the hum's contour and of the stretch.
    """
    version = sample_contour(hum, rate_hz, speed)
    hum_frame, song_frame = _trace(version, song, _keys_st(key_st, reach_st))
    return (hum_frame + 0.5) / rate_hz / speed, (song_frame + 0.5) / rate_hz


@numba.njit(nogil=True, cache=True)
def _trace(hum, song, keys_st):
    """Keep all totals and walk back from the least: which way it came is told by the totals around it."""
    n_hum, n_keys = len(hum), len(keys_st)
    warp, move = np.float32(WARP_PENALTY_ST), np.float32(MOVE_PENALTY_ST)
    total = np.full((max(n_hum, 3), n_keys, len(song) + 2), INFINITE_COST, np.float32)
    _fill(total, hum, song, keys_st)
    k, j = _least(total[n_hum - 1])
    hum_frame, song_frame = np.empty(n_hum, np.int64), np.empty(n_hum, np.int64)
    i, n_path = n_hum - 1, 0
    while True:
        hum_frame[n_path], song_frame[n_path] = i, j
        n_path += 1
        if i == 0:
            break
        least, taken, came = np.float32(2 * INFINITE_COST), 0, k
        for other in range(max(k - 1, 0), min(k + 2, n_keys)):
            moving = move if other != k else np.float32(0.0)
            if total[i - 1, other, j + 1] + moving < least:
                least, taken, came = total[i - 1, other, j + 1] + moving, 0, other
            if total[i - 1, other, j] + warp + moving < least:
                least, taken, came = total[i - 1, other, j] + warp + moving, 1, other
        if i >= 2:
            held = min(abs(hum[i - 1] - keys_st[k] - song[j]), np.float32(COST_CAP_ST))
            if total[i - 2, k, j + 1] + held + warp < least:
                taken, came = 2, k
        if taken == 2:
            hum_frame[n_path], song_frame[n_path] = i - 1, j
            n_path += 1
        i -= 2 if taken == 2 else 1
        j -= 2 if taken == 1 else 1
        k = came
        if j < 0:
            break
    return hum_frame[:n_path][::-1].copy(), song_frame[:n_path][::-1].copy()
