"""The compiled loops of the alignment, in one key and in a key that moves.

State and steps are those of :mod:`hmm2song.match.align`. Two rules keep measurements honest and the loops fast:

* Every number that is tuned comes in as an argument. Numba keeps compiled code on disk and does not notice a constant
  that has changed in another module, so a tuned constant in here would be applied by some kernels and not by others.
  For the same reason all kernels are in this one file.
* The innermost loops run over song frames, in whole numbers of 16 bits, each in a function of its own whose arguments
  the compiler can prove independent: that vectorises (5-8 G cells per second and core) and needs O(song) memory. A song
  is laid out in all keys one after the other, so that the loops are long even where the stretch of song is short.

Arrays: ``hums`` are packed contours in *units*, parts of a semitone, counted from ``centre``; ``pitch`` those of the
songs, in semitones, or in units where folded. ``version_start`` bounds the hum at each tempo hypothesis, ``starts`` and
``stops`` (n,) are frames of ``pitch``, ``order`` the stretches to work on. ``costs`` (4,) holds in units the largest
cost of a frame, the cost of a step off the diagonal and those of moving the key and of a jump; as scalars the same
numbers make the loops up to 1.7 times slower. A *folded* alignment compares pitch classes, 0 to 12 st, and its path may
jump to another place in the song.
"""

from __future__ import annotations

import numba
import numpy as np

INFINITE_COST = np.float32(1e9)
"""Cost of what cannot be reached; a finite number, as ``fastmath`` allows no infinity."""
OCTAVE_ST = np.float32(12.0)
UNREACHED = np.uint16(40_000)
"""Total of what cannot be reached, in units; what grows from it stays below the largest number of 16 bits."""
LARGEST_TOTAL = 36_000
"""What a path may cost in all, in units."""
FARTHEST = 15_000
"""Pitch in units, relative to the hum's, from where everything is equally far."""
RAISED_FROM = 16_000
"""Least total of a folded row, in units, from where what is stored is lowered."""
HOPELESS = 22_000
"""Units by which a key of a folded row is behind the best at most, so that its totals fit."""
AT_ONCE = 64
"""Cells that a loop takes at once, unrolled and on the widest processors; those that are left over cost as much."""
BLOCK_CELLS = 4096
"""Song frames times keys that are aligned at once: the rows then stay in the processor's fastest cache."""


@numba.njit(nogil=True, cache=True)
def place_in_one_key(
    hums, version_start, tempo_cost, pitch, starts, stops, lowest, highest, key_step, centre, units, costs,
    order, first_place, place_start, place_stop, cost, end, key, version,
):  # fmt: skip
    """Fill cost, end, key and version (n_places,) with the best placement over all keys and tempi, where one is found.

    Stretch ``i`` holds the places ``first_place[i]`` to ``first_place[i + 1]``: all of them are found in one alignment.
    """
    for index in order:
        song = pitch[starts[index] : stops[index]]
        width = len(song) + 2
        n_keys = int((highest[index] - lowest[index]) / key_step + np.float32(1.001))
        n_block = max(1, BLOCK_CELLS // width)
        for first_key in range(0, n_keys, n_block):
            keys = lowest[index] + key_step * np.arange(first_key, min(first_key + n_block, n_keys)).astype(np.float32)
            shifted = _in_keys(song, keys, centre, units)
            for hypothesis in range(len(version_start) - 1):
                hum = hums[version_start[hypothesis] : version_start[hypothesis + 1]]
                if len(hum) >= 2 * len(song):  # out of reach, even at two hum frames a step
                    continue
                total = np.full((2, len(shifted) + 2 * width), UNREACHED, np.uint16)
                _fill(total, hum, shifted, len(keys) * width, width, costs, False)
                last = total[(len(hum) - 1) % 2, width:]
                for place in range(first_place[index], first_place[index + 1]):
                    from_j, to_j = place_start[place] - starts[index], place_stop[place] - starts[index]
                    for k in range(len(keys)):
                        least = _least_of(last[k * width + 2 + from_j : k * width + 2 + to_j])
                        found = np.float32(least) / (len(hum) * units) + tempo_cost[hypothesis]
                        if least < UNREACHED and found < cost[place]:
                            cost[place], key[place], version[place] = found, keys[k], hypothesis
                            end[place] = place_start[place] + 1 + _where(last[k * width + 2 + from_j :], least)


@numba.njit(nogil=True, cache=True)
def place_in_moving_key(
    hums, version_start, version, pitch, starts, stops, keys, centre, units, costs, order, cost, end
):
    """Fill cost and end (n,) with the best placement at one tempo each, moving among ``keys`` (n, n_keys)."""
    for index in order:
        hum = hums[version_start[version[index]] : version_start[version[index] + 1]]
        song = pitch[starts[index] : stops[index]]
        if len(hum) >= 2 * len(song):  # out of reach, even at two hum frames a step
            continue
        width = len(song) + 2
        shifted = _in_keys(song, keys[index], centre, units)
        total = np.full((2, len(shifted) + 2 * width), UNREACHED, np.uint16)
        n = keys.shape[1] * width
        _fill(total, hum, shifted, n, width, costs, True)
        last = total[(len(hum) - 1) % 2, width : width + n]
        least = _least_of(last)
        if least < UNREACHED:
            cost[index] = np.float32(least) / (len(hum) * units)
            end[index] = stops[index]
            for k in range(keys.shape[1]):  # the earliest end in any key
                end[index] = min(end[index], starts[index] + 1 + _where(last[k * width + 2 : (k + 1) * width], least))


@numba.njit(nogil=True, cache=True)
def _in_keys(song, keys, centre, units):
    """Return the song in all keys, one after the other, in units; before each one there are two frames of padding.

    Behind the last one there are some more, up to a multiple of :data:`AT_ONCE`.
    """
    width = len(song) + 2
    shifted = np.zeros(-(-len(keys) * width // AT_ONCE) * AT_ONCE, np.int16)
    for k in range(len(keys)):
        for j in range(len(song)):
            value = np.rint((song[j] + keys[k] - centre) * units)
            shifted[k * width + 2 + j] = np.int16(min(max(value, np.float32(-FARTHEST)), np.float32(FARTHEST)))
    return shifted


@numba.njit(nogil=True, cache=True)
def _fill(total, hum, shifted, n, width, costs, moves):
    """Fill the totals (n_rows, len(shifted) + 2 * width) hum frame by hum frame, row ``i % n_rows``.

    All rows begin unreached. On either side they have the frames of a key, neighbours of the outermost ones, which are
    never reached; nor is what follows the ``n`` frames of the song in all keys. The key may move to a neighbour if
    ``moves``.
    """
    n_rows, n_filled = len(total), len(shifted)
    held, moved = np.full(n_filled, UNREACHED, np.uint16), np.full(n_filled + 2 * width, UNREACHED, np.uint16)
    _begin(total[0, width:], shifted, hum[0], costs)
    for i in range(len(hum)):
        before, after = total[(i - 1) % n_rows], total[i % n_rows]
        if i > 0 and moves:
            _move(moved[width : width + n_filled], before, before[width:], before[2 * width :], costs)
            _continue(
                after[width:], held, moved[width - 1 :], moved[width - 2 :], before[width - 1 :], shifted, hum[i],
                costs,
            )  # fmt: skip
        elif i > 0:
            _continue_in_key(after[width:], held, before[width - 1 :], before[width - 2 :], shifted, hum[i], costs)
        for first in range(width, width + n, width):  # the padding before each key is no way in
            after[first], after[first + 1] = UNREACHED, UNREACHED
        after[width + n : width + n_filled] = UNREACHED


@numba.njit(nogil=True, cache=True)
def _begin(total, shifted, pitch, costs):
    """Fill ``total`` for the first hum frame, which may be anywhere."""
    for m in range(len(shifted)):
        distance = np.uint16(abs(np.int16(pitch - shifted[m])))
        total[m] = distance if distance < costs[0] else costs[0]


@numba.njit(nogil=True, cache=True)
def _continue(total, held, entered_1, entered_2, before, shifted, pitch, costs):
    """Fill ``total`` for a hum frame; ``held`` is the way in from the frame before the last, and then that of the next.

    Every operation has to be cut back to 16 bits at once, or the loop works with fewer and longer numbers.
    """
    cap, warp = costs[0], costs[1]
    for m in range(len(shifted)):
        distance = np.uint16(abs(np.int16(pitch - shifted[m])))
        distance = distance if distance < cap else cap
        straight = entered_1[m]
        song_fast = np.uint16(entered_2[m] + warp)
        hum_fast = held[m]
        best = straight if straight < song_fast else song_fast
        best = best if best < hum_fast else hum_fast
        held[m] = np.uint16(np.uint16(before[m] + distance) + warp)
        total[m] = np.uint16(best + distance)


@numba.njit(nogil=True, cache=True)
def _continue_in_key(total, held, before, before_2, shifted, pitch, costs):
    """Do as :func:`_continue` where the key does not move, and a frame need not be read twice."""
    cap, warp = costs[0], costs[1]
    for m in range(len(shifted)):
        distance = np.uint16(abs(np.int16(pitch - shifted[m])))
        distance = distance if distance < cap else cap
        straight = before[m]
        song_fast = np.uint16(before_2[m] + warp)
        hum_fast = held[m]
        best = straight if straight < song_fast else song_fast
        best = best if best < hum_fast else hum_fast
        held[m] = np.uint16(np.uint16(straight + distance) + warp)
        total[m] = np.uint16(best + distance)


@numba.njit(nogil=True, cache=True)
def _move(moved, below, here, above, costs):
    """Fill ``moved`` with the least total of each frame where moving from a neighbouring key costs ``move``."""
    move = costs[2]
    for m in range(len(moved)):
        neighbour = below[m] if below[m] < above[m] else above[m]
        neighbour = np.uint16(neighbour + move)
        moved[m] = here[m] if here[m] < neighbour else neighbour


@numba.njit(nogil=True, cache=True)
def _least_of(totals):
    least = UNREACHED
    for m in range(len(totals)):
        least = totals[m] if totals[m] < least else least
    return least


@numba.njit(nogil=True, cache=True)
def _where(totals, wanted):
    """Return where ``wanted`` stands first; a large number if it does not."""
    for m in range(len(totals)):
        if totals[m] == wanted:
            return m
    return 1 << 40


@numba.njit(nogil=True, cache=True)
def _place_of_least(totals):
    """Return where the least stands first; numpy's argmin takes long to be compiled."""
    place = 0
    for m in range(1, len(totals)):
        place = m if totals[m] < totals[place] else place
    return place


@numba.njit(nogil=True, cache=True)
def place_folded(hums, version_start, tempo_cost, pitch, starts, stops, keys, units, costs, order, cost, key, version):
    """Fill cost, key and version (n,) with the best folded path over all tempi; keys have shape (n, n_groups, n_keys).

    The path moves among the keys of one group. A song shorter than the hum is not out of reach, as the path may jump.
    """
    for index in order:
        song = pitch[starts[index] : stops[index]]
        total = np.empty((3, (keys.shape[2] + 2) * (len(song) + 2)), np.uint16)
        for hypothesis in range(len(version_start) - 1):
            hum = hums[version_start[hypothesis] : version_start[hypothesis + 1]]
            for group in range(keys.shape[1]):
                limit = (cost[index] - tempo_cost[hypothesis]) * len(hum) * units
                raised = np.zeros(len(hum), np.int64)
                total[:] = UNREACHED
                least = _fill_folded(total, raised, hum, song, keys[index, group], units, costs, limit)
                best = np.argmin(least)
                found = np.float32(least[best] + raised[-1]) / (len(hum) * units) + tempo_cost[hypothesis]
                if found < cost[index]:
                    cost[index], key[index], version[index] = found, keys[index, group, best], hypothesis


@numba.njit(nogil=True, cache=True)
def _fill_folded(total, raised, hum, song, keys, units, costs, limit):
    """Fill the totals (n_rows, (n_keys + 2) * (n_song + 2)), laid out as in :func:`_fill`; return each key's least.

    Totals of a long hum would not fit into 16 bits: those of frame ``i`` are ``raised[i]`` higher than what is stored.
    Gives up when all totals are over ``limit``.
    """
    n_rows, n_keys, width = len(total), len(keys), len(song) + 2
    octave = int(OCTAVE_ST * units)
    held, moved = np.full((n_keys, len(song)), UNREACHED, np.uint16), np.empty(width, np.uint16)
    shifts = np.rint(keys * units).astype(np.int64)
    least, least_before, lowest = np.empty(n_keys, np.int64), np.empty(n_keys, np.int64), 0
    for i in range(len(hum)):
        before, after = total[(i - 1) % n_rows], total[i % n_rows]
        if i > 0:
            least, least_before = least_before, least
            lowest = int(least_before.min())
            raised[i] = raised[i - 1]
            if lowest + raised[i] > limit:
                raised[-1] = raised[i]
                return least_before
            if lowest > RAISED_FROM:
                raised[i - 1 : i + 1] += lowest
                least_before -= lowest
                for k in range(n_keys):
                    _lower(held[k], lowest)
                    _lower(before[(k + 1) * width + 2 : (k + 2) * width], lowest)
                lowest = 0
        for k in range(n_keys):
            pitch, first = np.int16((hum[i] - shifts[k]) % octave), (k + 1) * width
            if i == 0:
                least[k] = _begin_folded(after[first + 2 :], song, pitch, octave, costs)
                continue
            entered, resumed = before[first : first + width], least_before[k]
            if n_keys > 1:
                below, above = least_before[max(k - 1, 0)], least_before[min(k + 1, n_keys - 1)]
                resumed = min(min(resumed, min(below, above) + int(costs[2])), lowest + HOPELESS)
                _move(moved, before[first - width :], before[first:], before[first + width :], costs)
                entered = moved
            least[k] = _continue_folded(
                after[first + 2 :], held[k], entered[1:], entered, before[first + 1 :], song, pitch,
                np.uint16(resumed + int(costs[3])), np.uint16(octave), costs,
            )  # fmt: skip
    return least


@numba.njit(nogil=True, cache=True)
def _lower(row, by):
    for m in range(len(row)):
        row[m] = np.uint16(row[m] - by)


@numba.njit(nogil=True, cache=True)
def _begin_folded(total, song, pitch, octave, costs):
    least = int(costs[0])
    for m in range(len(song)):
        distance = abs(pitch - song[m])
        distance = min(min(distance, octave - distance), int(costs[0]))
        total[m] = distance
        least = min(least, distance)
    return least


@numba.njit(nogil=True, cache=True)
def _continue_folded(total, held, entered_1, entered_2, before, song, pitch, jumped, octave, costs):
    """Do as :func:`_continue` for pitch classes, or from a jump that has cost ``jumped``; return the least total."""
    cap, warp = costs[0], costs[1]
    least = UNREACHED
    for m in range(len(song)):
        distance = np.uint16(abs(np.int16(pitch - song[m])))
        around = np.uint16(octave - distance)
        distance = distance if distance < around else around
        distance = distance if distance < cap else cap
        straight = entered_1[m]
        song_fast = np.uint16(entered_2[m] + warp)
        hum_fast = held[m]
        best = straight if straight < song_fast else song_fast
        best = best if best < hum_fast else hum_fast
        best = best if best < jumped else jumped
        held[m] = np.uint16(np.uint16(before[m] + distance) + warp)
        here = np.uint16(best + distance)
        total[m] = here
        least = here if here < least else least
    return least


@numba.njit(nogil=True, cache=True)
def best_path(hum, song, keys, units, costs):
    """Return the hum and song frames of the best path over written melody, both (n_path,); the song is not in units."""
    shifted, width = _in_keys(song, keys, np.float32(0.0), units), len(song) + 2
    total, n = np.full((max(len(hum), 3), len(shifted) + 2 * width), UNREACHED, np.uint16), len(keys) * width
    _fill(total, hum, shifted, n, width, costs, True)
    hum_frame, song_frame, _ = _walk_back(total, np.zeros(len(hum), np.int64), hum, shifted[:n], width, costs, 0)
    return hum_frame, song_frame


@numba.njit(nogil=True, cache=True)
def best_folded_path(hum, song, keys, units, costs):
    """Return the hum and song frames of the best folded path and which were reached by a jump, all (n_path,)."""
    octave, width = int(OCTAVE_ST * units), len(song) + 2
    total = np.full((max(len(hum), 3), (len(keys) + 2) * width), UNREACHED, np.uint16)
    raised = np.zeros(len(hum), np.int64)
    _fill_folded(total, raised, hum, song, keys, units, costs, np.inf)
    shifted = np.zeros(len(keys) * width, np.int16)
    for k in range(len(keys)):
        shifted[k * width + 2 : (k + 1) * width] = (song + int(np.rint(keys[k] * units))) % octave
    return _walk_back(total, raised, hum % octave, shifted, width, costs, octave)


@numba.njit(nogil=True, cache=True)
def _walk_back(total, raised, hum, shifted, width, costs, octave):
    """Walk the best path back from its end: the totals around a frame tell which way it came."""
    n_hum, n_keys = len(hum), len(shifted) // width
    cap, warp, move, jump = int(costs[0]), int(costs[1]), int(costs[2]), int(costs[3])
    end = width + _place_of_least(total[n_hum - 1, width : width + len(shifted)])
    k, j = end // width - 1, end % width - 2
    hum_frame, song_frame, jumped = np.empty(n_hum, np.int64), np.empty(n_hum, np.int64), np.zeros(n_hum, np.bool_)
    i, n_path = n_hum - 1, 0
    while True:
        hum_frame[n_path], song_frame[n_path] = i, j
        n_path += 1
        if i == 0:
            break
        least, taken, from_k, from_j = 1 << 40, 0, k, j - 1
        before = total[i - 1]
        for other in range(max(k - 1, 0), min(k + 2, n_keys)):
            moving = move if other != k else 0
            here = (other + 1) * width + 2 + j
            if raised[i - 1] + before[here - 1] + moving < least:
                least, taken, from_k, from_j = raised[i - 1] + before[here - 1] + moving, 0, other, j - 1
            if raised[i - 1] + before[here - 2] + warp + moving < least:
                least, taken, from_k, from_j = raised[i - 1] + before[here - 2] + warp + moving, 1, other, j - 2
        if i >= 2:
            held = abs(hum[i - 1] - shifted[k * width + 2 + j])
            held = min(min(held, octave - held) if octave else held, cap)
            held += raised[i - 2] + total[i - 2, (k + 1) * width + 1 + j] + warp
            if held < least:
                least, taken, from_k, from_j = held, 2, k, j - 1
        if octave:
            for other in range(max(k - 1, 0), min(k + 2, n_keys)):
                moving = move if other != k else 0
                row = before[(other + 1) * width + 2 : (other + 2) * width]
                best_j = _place_of_least(row)
                resumed = raised[i - 1] + row[best_j] + jump + moving
                if resumed < least:
                    least, taken, from_k, from_j = resumed, 3, other, best_j
        if taken == 2:
            hum_frame[n_path], song_frame[n_path] = i - 1, j
            n_path += 1
        jumped[n_path - 1] = taken == 3
        i -= 2 if taken == 2 else 1
        k, j = from_k, from_j
        if j < 0:
            break
    return hum_frame[:n_path][::-1].copy(), song_frame[:n_path][::-1].copy(), jumped[:n_path][::-1].copy()


@numba.njit(nogil=True, cache=True)
def merge(starts, stops, lowest, highest, key_step):
    """Return the first place of each stretch and how many places there are, (n_stretches + 1,), for places by start.

    Places that overlap make a stretch, if aligning it takes less than aligning each of them.
    """
    first = np.zeros(len(starts) + 1, np.int64)
    n = 0
    begin, reach, low, high, work = starts[0], stops[0], lowest[0], highest[0], np.float32(0.0)
    for place in range(len(starts)):
        own = (stops[place] - starts[place]) * (highest[place] - lowest[place] + key_step)
        joined_low, joined_high = min(low, lowest[place]), max(high, highest[place])
        joined = (max(reach, stops[place]) - begin) * (joined_high - joined_low + key_step)
        if place == 0 or starts[place] >= reach or joined > work + own:
            first[n] = place
            n += 1
            begin, reach, low, high, work = starts[place], stops[place], lowest[place], highest[place], own
        else:
            reach, low, high, work = max(reach, stops[place]), joined_low, joined_high, joined
    first[n] = len(starts)
    return first[: n + 1]
