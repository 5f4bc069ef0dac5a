"""The compiled loops of the alignment, in one key and in a key that moves.

State and steps are those of :mod:`hmm2song.match.align`. Two rules keep measurements honest and the loops fast:

* Every number that is tuned comes in as an argument. Numba keeps compiled code on disk and does not notice a constant
  that has changed in another module, so a tuned constant in here would be applied by some kernels and not by others.
  For the same reason all kernels are in this one file.
* The innermost loops run over song frames and only touch the two rows before them, each in a function of its own whose
  arguments the compiler can prove independent: that vectorises (3-4 G cells per second and core) and needs O(song)
  memory.

Arrays: ``hums`` and ``pitch`` are packed contours in semitones, ``version_start`` bounds the hum at each tempo
hypothesis, ``starts`` and ``stops`` (n,) are frames of ``pitch``, ``order`` the stretches to work on. ``costs`` (4,)
holds the largest cost of a frame, the cost of a step off the diagonal and that of moving the key; as three scalars the
same numbers make the loops up to 1.7 times slower. A *folded* alignment (``is_folded``) compares pitch classes, 0 to 12
st, and its path may jump to another place in the song; the other one never uses the fourth number, the cost of a jump.
All floats are float32.
"""

from __future__ import annotations

import numba
import numpy as np

INFINITE_COST = np.float32(1e9)
"""Cost of what cannot be reached; a finite number, as ``fastmath`` allows no infinity."""
OCTAVE_ST = np.float32(12.0)


@numba.njit(nogil=True, cache=True, fastmath=True)
def place_in_one_key(
    hums, version_start, tempo_cost, pitch, starts, stops, lowest, highest, key_step, costs, order,
    cost, end, key, version,
):  # fmt: skip
    """Fill cost, end, key and version (n,) with the best placement over all keys and tempi, where one is found."""
    for index in order:
        song = pitch[starts[index] : stops[index]]
        n_keys = int((highest[index] - lowest[index]) / key_step + np.float32(1.001))
        for hypothesis in range(len(version_start) - 1):
            hum = hums[version_start[hypothesis] : version_start[hypothesis + 1]]
            if len(hum) >= 2 * len(song):  # out of reach, even at two hum frames a step
                continue
            for key_index in range(n_keys):
                tried_key = np.float32(lowest[index] + key_index * key_step)
                path_cost, _, last = _subsequence_cost(hum, song, np.full(1, tried_key), costs, False)
                found = path_cost + tempo_cost[hypothesis]
                if found < cost[index]:
                    cost[index] = found
                    end[index] = starts[index] + last + 1
                    key[index] = tried_key
                    version[index] = hypothesis


@numba.njit(nogil=True, cache=True, fastmath=True)
def place_in_moving_key(hums, version_start, version, pitch, starts, stops, keys, costs, order, cost, end):
    """Fill cost and end (n,) with the best placement at one tempo each, moving among ``keys`` (n, n_keys)."""
    for index in order:
        hum = hums[version_start[version[index]] : version_start[version[index] + 1]]
        song = pitch[starts[index] : stops[index]]
        if len(hum) < 2 * len(song):  # else out of reach, even at two hum frames a step
            cost[index], _, last = _subsequence_cost(hum, song, keys[index], costs, False)
            end[index] = starts[index] + last + 1


@numba.njit(nogil=True, cache=True, fastmath=True)
def place_folded(hums, version_start, tempo_cost, pitch, starts, stops, keys, costs, order, cost, key, version):
    """Fill cost, key and version (n,) with the best folded path over all tempi, moving among ``keys`` (n, n_keys).

    A song shorter than the hum is not out of reach, as the path may jump.
    """
    for index in order:
        song = pitch[starts[index] : stops[index]]
        for hypothesis in range(len(version_start) - 1):
            hum = hums[version_start[hypothesis] : version_start[hypothesis + 1]]
            path_cost, best_k, _ = _subsequence_cost(hum, song, keys[index], costs, True)
            found = path_cost + tempo_cost[hypothesis]
            if found < cost[index]:
                cost[index] = found
                key[index] = keys[index, best_k]
                version[index] = hypothesis


@numba.njit(nogil=True, cache=True, fastmath=True)
def _subsequence_cost(hum, song, keys, costs, is_folded):
    """Return the mean cost of the best path, and the number of the key and the song frame where it ends."""
    total = np.full((3, len(keys), len(song) + 2), INFINITE_COST, np.float32)
    _fill(total, hum, song, keys, costs, is_folded)
    last_rows = total[(len(hum) - 1) % 3]
    best_k, best_j = _least(last_rows)
    return last_rows[best_k, best_j + 2] / len(hum), best_k, best_j


@numba.njit(nogil=True, cache=True, fastmath=True)
def _fill(total, hum, song, keys, costs, is_folded):
    """Fill the totals (n_rows, n_keys, n_song + 2) hum frame by hum frame, row ``i % n_rows``; all rows begin infinite.

    Two columns of padding on the left stand for "before the song": never a way in, except in the first row. The key may
    move to a neighbour if the cost of moving is finite.
    """
    n_rows, n_keys, n_song = len(total), len(keys), len(song)
    frame_cost = np.empty((2, n_keys, n_song), np.float32)
    moved, halves = np.empty(n_song + 2, np.float32), np.empty(n_song + 2, np.float32)
    least = np.empty(n_keys, np.float32)
    move, jump = costs[2], costs[3]
    moves = n_keys > 1 and move < INFINITE_COST
    for k in range(n_keys):
        _first_row(total[0, k], frame_cost[0, k], song, _compared(hum[0] - keys[k], is_folded), costs, is_folded)
    for i in range(1, len(hum)):
        before = total[(i - 1) % n_rows]
        if is_folded:
            for k in range(n_keys):
                least[k] = _least_total(before[k], halves)
        for k in range(n_keys):
            below, above = max(k - 1, 0), min(k + 1, n_keys - 1)
            entered, resumed = before[k], least[k]
            if moves:
                _least_of_three(moved, before[below], before[k], before[above], costs)
                entered, resumed = moved, min(resumed, min(least[below], least[above]) + move)
            pitch = _compared(hum[i] - keys[k], is_folded)
            if is_folded:
                _next_folded_row(
                    total[i % n_rows, k], entered, total[(i - 2) % n_rows, k], frame_cost[i % 2, k],
                    frame_cost[(i - 1) % 2, k], song, pitch, resumed + jump, costs,
                )  # fmt: skip
            else:
                _next_row(
                    total[i % n_rows, k], entered, total[(i - 2) % n_rows, k], frame_cost[i % 2, k],
                    frame_cost[(i - 1) % 2, k], song, pitch, costs,
                )  # fmt: skip


@numba.njit(nogil=True, cache=True, fastmath=True)
def _compared(pitch, is_folded):
    """Return the pitch, or its class, as songs are given."""
    return pitch - OCTAVE_ST * np.floor(pitch / OCTAVE_ST) if is_folded else pitch


@numba.njit(nogil=True, cache=True, fastmath=True)
def _distance_st(pitch, other, is_folded):
    """Return how far apart two pitches, or their classes, are."""
    distance = abs(pitch - other)
    return min(distance, OCTAVE_ST - distance) if is_folded else distance


@numba.njit(nogil=True, cache=True, fastmath=True)
def _first_row(total, frame_cost, song, pitch, costs, is_folded):
    """Fill ``total`` (n_song + 2,) for the first hum frame, which may be anywhere."""
    for j in range(len(song)):
        frame_cost[j] = min(_distance_st(pitch, song[j], is_folded), costs[0])
        total[j + 2] = frame_cost[j]


@numba.njit(nogil=True, cache=True, fastmath=True)
def _next_row(total, total_1, total_2, frame_cost, frame_cost_1, song, pitch, costs):
    """Fill ``total`` (n_song + 2,) for a hum frame from the two before it."""
    cap, warp = costs[0], costs[1]
    for j in range(len(song)):
        distance = abs(pitch - song[j])
        distance = distance if distance < cap else cap
        frame_cost[j] = distance
        straight = total_1[j + 1]
        song_fast = total_1[j] + warp
        hum_fast = total_2[j + 1] + frame_cost_1[j] + warp
        best = straight if straight < song_fast else song_fast
        best = best if best < hum_fast else hum_fast
        total[j + 2] = distance + best


@numba.njit(nogil=True, cache=True, fastmath=True)
def _next_folded_row(total, total_1, total_2, frame_cost, frame_cost_1, song, pitch, jumped, costs):
    """Fill ``total`` (n_song + 2,) for a hum frame from the two before it, or from a jump that has cost ``jumped``."""
    cap, warp = costs[0], costs[1]
    for j in range(len(song)):
        distance = abs(pitch - song[j])
        around = OCTAVE_ST - distance
        distance = distance if distance < around else around
        distance = distance if distance < cap else cap
        frame_cost[j] = distance
        straight = total_1[j + 1]
        song_fast = total_1[j] + warp
        hum_fast = total_2[j + 1] + frame_cost_1[j] + warp
        best = straight if straight < song_fast else song_fast
        best = best if best < hum_fast else hum_fast
        best = best if best < jumped else jumped
        total[j + 2] = distance + best


@numba.njit(nogil=True, cache=True, fastmath=True)
def _least_total(row, halves):
    """Return the least of ``row``, halved again and again: a plain loop over its frames does not vectorise."""
    n = len(row) // 2
    least = row[len(row) - 1]
    _halve(halves, row, n)
    while n > 1:
        if n % 2 and halves[n - 1] < least:
            least = halves[n - 1]
        n //= 2
        _halve(halves, halves, n)
    return min(least, halves[0])


@numba.njit(nogil=True, cache=True, fastmath=True)
def _halve(halves, row, n):
    for j in range(n):
        here, other = row[j], row[j + n]
        halves[j] = here if here < other else other


@numba.njit(nogil=True, cache=True, fastmath=True)
def _least_of_three(least, below, here, above, costs):
    """Fill ``least`` with the totals of a key's frame before, where moving from a neighbour costs ``move``."""
    move = costs[2]
    for j in range(len(least)):
        neighbour = below[j] if below[j] < above[j] else above[j]
        neighbour += move
        least[j] = here[j] if here[j] < neighbour else neighbour


@numba.njit(nogil=True, cache=True)
def _least(rows):
    """Return key and song frame of the least total in ``rows`` (n_keys, n_song + 2)."""
    best_k, best_j = 0, 0
    for k in range(rows.shape[0]):
        for j in range(rows.shape[1] - 2):
            if rows[k, j + 2] < rows[best_k, best_j + 2]:
                best_k, best_j = k, j
    return best_k, best_j


@numba.njit(nogil=True, cache=True)
def best_path(hum, song, keys, costs, is_folded):
    """Return the hum and song frames of the best path and which of them were reached by a jump, all (n_path,).

    All totals are kept, and the path is walked back from the least one: the totals around a frame tell which way the
    path came.
    """
    n_hum, n_keys = len(hum), len(keys)
    cap, warp, move, jump = costs[0], costs[1], costs[2], costs[3]
    total = np.full((max(n_hum, 3), n_keys, len(song) + 2), INFINITE_COST, np.float32)
    _fill(total, hum, song, keys, costs, is_folded)
    k, j = _least(total[n_hum - 1])
    hum_frame, song_frame, jumped = np.empty(n_hum, np.int64), np.empty(n_hum, np.int64), np.zeros(n_hum, np.bool_)
    i, n_path = n_hum - 1, 0
    while True:
        hum_frame[n_path], song_frame[n_path] = i, j
        n_path += 1
        if i == 0:
            break
        least, taken, from_k, from_j = np.float32(2 * INFINITE_COST), 0, k, j - 1
        for other in range(max(k - 1, 0), min(k + 2, n_keys)):
            moving = move if other != k else np.float32(0.0)
            if total[i - 1, other, j + 1] + moving < least:
                least, taken, from_k, from_j = total[i - 1, other, j + 1] + moving, 0, other, j - 1
            if total[i - 1, other, j] + warp + moving < least:
                least, taken, from_k, from_j = total[i - 1, other, j] + warp + moving, 1, other, j - 2
        if i >= 2:
            held = min(_distance_st(_compared(hum[i - 1] - keys[k], is_folded), song[j], is_folded), cap)
            if total[i - 2, k, j + 1] + held + warp < least:
                least, taken, from_k, from_j = total[i - 2, k, j + 1] + held + warp, 2, k, j - 1
        if is_folded:
            for other in range(max(k - 1, 0), min(k + 2, n_keys)):
                moving = move if other != k else np.float32(0.0)
                best_j = np.argmin(total[i - 1, other, 2:])
                if total[i - 1, other, best_j + 2] + jump + moving < least:
                    least, taken, from_k, from_j = total[i - 1, other, best_j + 2] + jump + moving, 3, other, best_j
        if taken == 2:
            hum_frame[n_path], song_frame[n_path] = i - 1, j
            n_path += 1
        jumped[n_path - 1] = taken == 3
        i -= 2 if taken == 2 else 1
        k, j = from_k, from_j
        if j < 0:
            break
    return hum_frame[:n_path][::-1].copy(), song_frame[:n_path][::-1].copy(), jumped[:n_path][::-1].copy()
