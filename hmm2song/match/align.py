"""Slope-limited subsequence dynamic time warping with key and tempo search.

The hum is laid on any stretch of a song: both are filled contours (see :mod:`hmm2song.melody.contour`) sampled at one
rate. Every hum frame costs its distance to the song in semitones, capped at :data:`COST_CAP_ST` so that a wrong note or
an octave slip costs no more than any other error. Steps are (1, 1), (1, 2) and (2, 1) in (hum, song) frames, so the
local tempo stays within a factor of two of the hypothesis (Sakoe and Chiba 1978, slope constraint P = 1), and a step
off the diagonal costs :data:`WARP_PENALTY_ST`: people keep a tempo, chance resemblances do not. The overall tempo and
key are searched over hypotheses. The cost of a path is its mean per hum frame, in semitones; lower is better.

:func:`place` keeps one key from beginning to end. :func:`place_drifting` takes a second look at a few places: there the
key may move by :data:`DRIFT_STEP_ST` at every hum frame, within :data:`DRIFT_REACH_ST` of the key found, and every move
costs :data:`MOVE_PENALTY_ST`. A singer who goes flat phrase by phrase, or who continues in another key after a breath,
pays for the moves and not for every note after them. A chance resemblance gains less, as it is off in both directions.
The states are then (key, song frame).

:func:`place_folded` is for melodies that were tracked in sound. A tracker jumps octaves in a mix of instruments, so
pitches are compared modulo an octave. Long hums repeat a verse or jump to the chorus, so the path may resume anywhere
in the song for :data:`JUMP_PENALTY_ST_S`. On written melodies folding loses more than it finds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hmm2song.machine import in_threads
from hmm2song.match import kernels
from hmm2song.match.kernels import INFINITE_COST
from hmm2song.match.places import Alignment, Placements, Places
from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import HOP_S
from hmm2song.melody.packed import PackedMelodies

COST_CAP_ST = 2.5
"""Largest cost of a frame, in semitones."""
WARP_PENALTY_ST = 0.5
"""Cost of a step off the diagonal, in semitone frames."""
TEMPO_PENALTY_ST = 0.2
"""Cost of a tempo hypothesis per doubling or halving, in semitones: most people hum near the tempo they know."""
FASTEST = 2.0
"""Largest tempo hypothesis."""
FINEST_UNITS = 256
"""Parts of a semitone that the kernels can tell apart; for a hum of eight seconds it is a quarter of that."""
FOLDED_UNITS = np.float32(64.0)
"""The same in the folded alignment, for hums of any length."""
DRIFT_STEP_ST = 0.5
DRIFT_REACH_ST = 3.0
"""How far the key of a singer may drift from where it was found."""
MOVE_PENALTY_ST = 3.0
"""Cost of moving the key by a step, in semitone frames: as much as six frames, half a second, half a semitone off."""
JUMP_PENALTY_ST_S = 1.9
"""Cost of resuming elsewhere in a tracked song, in semitone seconds: three quarters of a second of wrong notes."""


class Contours(ABC):
    """Many contours at one rate, as if they stood one after the other.

    Contour ``i`` has the frames ``first_frame[i]`` to ``first_frame[i + 1]``; ``first_frame`` has shape
    (n_contours + 1,) and type int64.
    """

    first_frame: np.ndarray
    rate_hz: float

    @abstractmethod
    def stretches(self, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pitches (n,) float32 that hold the frames ``start[i]`` to ``stop[i]``, and where each begins there.

        No stretch may reach from one contour into the next.
        """

    def frames(self, places: Places) -> tuple[np.ndarray, np.ndarray]:
        """Return the first frame of each place and the one after its last, (n,) int64; a place keeps one at least."""
        first, n_frames = self.first_frame[places.song], np.diff(self.first_frame)[places.song]
        start = np.clip(np.floor(places.start_s * self.rate_hz), 0, n_frames - 1).astype(np.int64)
        stop = np.clip(np.ceil(places.end_s * self.rate_hz), start + 1, n_frames).astype(np.int64)
        return first + start, first + stop


@dataclass(frozen=True, eq=False)
class PackedContours(Contours):
    """Contours in one array, ``pitch_midi`` of shape (n_frames,), float32."""

    pitch_midi: np.ndarray
    first_frame: np.ndarray
    rate_hz: float

    def stretches(self, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Contours.stretches`."""
        return self.pitch_midi, start


@dataclass(frozen=True, eq=False)
class SampledContours(Contours):
    """The filled contours of melodies, of which stretches are sampled when they are asked for."""

    melodies: PackedMelodies
    rate_hz: float

    @cached_property
    def first_frame(self) -> np.ndarray:
        """See :class:`Contours`."""
        return np.concatenate(([0], np.cumsum(self.melodies.n_samples(self.rate_hz))))

    def stretches(self, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Contours.stretches`."""
        melody = np.searchsorted(self.first_frame, start, side="right") - 1
        before, after = start - self.first_frame[melody], stop - self.first_frame[melody]
        return self.melodies.sample(self.rate_hz, melody, before, after), np.cumsum(stop - start) - (stop - start)


def pack_contours(contours: list[FilledContour], rate_hz: float) -> PackedContours:
    """Sample contours at ``rate_hz`` and pack them."""
    return pack([sample_contour(contour, rate_hz) for contour in contours], rate_hz)


def pack(pitches: list[np.ndarray], rate_hz: float) -> PackedContours:
    """Pack contours, each of shape (n,), that have been sampled at ``rate_hz``."""
    first_frame = np.concatenate(([0], np.cumsum([len(pitch) for pitch in pitches]))).astype(np.int64)
    return PackedContours(np.concatenate(pitches), first_frame, rate_hz)


def sample_contour(contour: FilledContour, rate_hz: float, speed: float = 1.0) -> np.ndarray:
    """Return the contour stretched by ``speed`` in time at ``rate_hz``, shape (n,), float32; n >= 1 if not empty."""
    n_frames = max(1, int(contour.duration_s * speed * rate_hz)) if len(contour.pitch_midi) else 0
    time_s = (np.arange(n_frames) + 0.5) / rate_hz / speed
    return contour.sample(np.minimum(time_s, contour.duration_s - HOP_S / 2)).astype(np.float32)


def place(
    hum: FilledContour,
    songs: Contours,
    places: Places,
    lowest_key_st: np.ndarray,
    highest_key_st: np.ndarray,
    speeds: tuple[float, ...],
    key_step_st: float,
    n_threads: int,
    together: bool = False,
) -> Placements:
    """Find the best placement of a hum that is not empty on every place, in one key.

    Keys are tried for every place from ``lowest_key_st`` to ``highest_key_st``, offsets hum minus song of shape
    (n_places,), ``key_step_st`` semitones apart; ``speeds`` are tempo hypotheses: how much longer than the hum its
    stretch of song is. ``n_threads`` share the places (the kernel releases the interpreter lock). ``together`` aligns
    with places that overlap at once, if that takes less: a placement then ends in its place, but may begin before it.

    The cost is :data:`INFINITE_COST` where the place is too short for the hum.
    """
    tempi = np.asarray(speeds)
    if len(places) == 0:
        nothing = np.zeros(0)
        return Placements(places.song, nothing, nothing, nothing, nothing)
    hums, tempo_st = _hum_at(hum, songs.rate_hz, tempi), _tempo_cost_st(tempi)
    start, stop = songs.frames(places)
    order = np.argsort(start, kind="stable")
    start, stop = start[order], stop[order]
    lowest, highest = lowest_key_st[order].astype(np.float32), highest_key_st[order].astype(np.float32)
    first = np.arange(len(places) + 1)
    if together:
        first = kernels.merge(start, stop, lowest, highest, np.float32(key_step_st))
    starts, stops = start[first[:-1]], np.maximum.reduceat(stop, first[:-1])
    lowest, highest = np.minimum.reduceat(lowest, first[:-1]), np.maximum.reduceat(highest, first[:-1])
    centre_st, units = _units(hum, songs.rate_hz)
    hum_units, costs = _in_units(hums.pitch_midi, centre_st, units), _costs(units)
    pitch, begin = songs.stretches(starts, stops)
    moved = np.repeat(starts - begin, np.diff(first))  # of each place, from its song to what was sampled of it
    start, stop = start - moved, stop - moved
    cost, key = np.full(len(places), INFINITE_COST), np.zeros(len(places), np.float32)
    end, version = start.copy(), np.zeros(len(places), np.int64)

    def work(share: np.ndarray) -> None:
        kernels.place_in_one_key(
            hum_units, hums.first_frame, tempo_st, pitch, begin, begin + stops - starts, lowest, highest,
            np.float32(key_step_st), centre_st, units, costs, share, first, start, stop, cost, end, key, version,
        )  # fmt: skip

    _share(work, len(starts), n_threads)
    back = np.argsort(order, kind="stable")
    end_s = ((end + moved)[back] - songs.first_frame[places.song]) / songs.rate_hz
    return Placements(places.song, end_s, key[back], tempi[version[back]], cost[back])


def _units(hum: FilledContour, rate_hz: float) -> tuple[np.float32, np.float32]:
    """Return the pitch that is 0 to the kernels of written melodies, and in how many units they divide a semitone.

    Both are the same for all tempo hypotheses up to :data:`FASTEST`, so that costs can be compared. The number is even:
    keys half a semitone apart are told apart exactly.
    """
    n_longest = FASTEST * hum.duration_s * rate_hz + 1
    finest = kernels.LARGEST_TOTAL / (n_longest * (COST_CAP_ST + WARP_PENALTY_ST / 2))
    return np.median(hum.pitch_midi), np.float32(max(2, min(FINEST_UNITS, 2 * int(finest / 2))))


def _in_units(pitch_midi: np.ndarray, centre_st: np.float32, units: np.float32) -> np.ndarray:
    """Return pitches in units from the centre, shape (n,), int16."""
    pitch = np.rint((pitch_midi - centre_st) * units)
    return np.clip(pitch, -kernels.FARTHEST, kernels.FARTHEST).astype(np.int16)


def _costs(units: np.float32, jump_st: float = 0.0) -> np.ndarray:
    """Return the tuned costs in units; they are read at every call, so that a study may change them."""
    return np.rint(np.array([COST_CAP_ST, WARP_PENALTY_ST, MOVE_PENALTY_ST, jump_st]) * units).astype(np.uint16)


def _hum_at(hum: FilledContour, rate_hz: float, speeds: np.ndarray) -> PackedContours:
    """Sample a hum at ``rate_hz`` as it would be at each tempo hypothesis, shape (n_speeds,), and pack the versions."""
    return pack([sample_contour(hum, rate_hz, speed) for speed in speeds], rate_hz)


def _tempo_cost_st(speeds: np.ndarray) -> np.ndarray:
    """Return what tempo hypotheses cost, shape (n_speeds,), float32."""
    return (TEMPO_PENALTY_ST * np.abs(np.log2(speeds))).astype(np.float32)


def _share(work: Callable[[np.ndarray], None], n_items: int, n_threads: int) -> None:
    """Let threads do ``work`` on shares of ``n_items`` positions; it has to release the interpreter lock."""
    n_shares = n_threads if n_items >= n_threads else 1
    in_threads(work, [np.arange(first, n_items, n_shares) for first in range(n_shares)], n_threads)


def place_drifting(
    hum: FilledContour,
    songs: Contours,
    places: Places,
    found: Placements,
    n_threads: int,
    reach_st: float = DRIFT_REACH_ST,
) -> Placements:
    """Place a hum that is not empty anew on every place, in a key that may drift away from the one ``found`` there.

    ``found`` is what :func:`place` returned for them: keys and speeds to begin with; ``reach_st`` says how far the key
    may go. Returns the placements as found, with another end and a cost that is never higher, but for rounding.
    """
    if len(places) == 0:
        return found
    speeds, version = np.unique(found.speed, return_inverse=True)
    hums = _hum_at(hum, songs.rate_hz, speeds)
    centre_st, units = _units(hum, songs.rate_hz)
    hum_units, costs = _in_units(hums.pitch_midi, centre_st, units), _costs(units)
    keys_st = _keys_st(found.key_st, reach_st)
    start, stop = songs.frames(places)
    pitch, begin = songs.stretches(start, stop)
    cost, end = np.full(len(places), INFINITE_COST), begin.copy()

    def work(order: np.ndarray) -> None:
        kernels.place_in_moving_key(
            hum_units, hums.first_frame, version, pitch, begin, begin + stop - start, keys_st, centre_st, units, costs,
            order, cost, end,
        )  # fmt: skip

    _share(work, len(places), n_threads)
    cost = np.where(cost < INFINITE_COST, cost + _tempo_cost_st(found.speed), INFINITE_COST)
    end_s = (end - begin + start - songs.first_frame[places.song]) / songs.rate_hz
    return replace(found, end_s=end_s, cost_st=cost)


def _keys_st(key_st: np.ndarray | float, reach_st: float) -> np.ndarray:
    """Return the keys within reach of ``key_st``, shape (..., n_keys), float32."""
    n_steps = round(reach_st / DRIFT_STEP_ST)
    return (np.asarray(key_st)[..., None] + DRIFT_STEP_ST * np.arange(-n_steps, n_steps + 1)).astype(np.float32)


def trace(
    hum: FilledContour, song: np.ndarray, key_st: float, speed: float, rate_hz: float, reach_st: float = DRIFT_REACH_ST
) -> tuple[np.ndarray, np.ndarray]:
    """Return the path of the best placement as (hum time, song time) pairs, each of shape (n_path,).

    ``song`` is the stretch, shape (n_song,), float32, at ``rate_hz``; ``key_st`` and ``speed`` are the hypothesis to
    follow, from which the key may drift by ``reach_st``. Times are seconds from the first frame of the hum's contour
    and of the stretch.
    """
    version = sample_contour(hum, rate_hz, speed)
    centre_st, units = _units(hum, rate_hz)
    hum_frame, song_frame = kernels.best_path(
        _in_units(version, centre_st, units), song - centre_st, _keys_st(key_st, reach_st), units, _costs(units)
    )
    return (hum_frame + 0.5) / rate_hz / speed, (song_frame + 0.5) / rate_hz


def fold(pitch_midi: np.ndarray) -> np.ndarray:
    """Return pitches as the pitch classes that :func:`place_folded` compares: int16, 0 to 12 st in units."""
    return np.rint(pitch_midi * FOLDED_UNITS).astype(np.int16) % np.int16(kernels.OCTAVE_ST * FOLDED_UNITS)


def place_folded(
    hum: FilledContour,
    songs: Contours,
    chosen: np.ndarray,
    keys_st: np.ndarray,
    speeds: tuple[float, ...],
    may_drift: bool,
    n_threads: int,
) -> Placements:
    """Find the best path of a hum that is not empty through whole songs in pitch classes, with jumps.

    Aligned are the contours ``chosen``, shape (n,), in the keys ``keys_st``, offsets hum minus song of shape (n,
    n_keys), ascending; with ``may_drift`` the key may move to its neighbours, for :data:`MOVE_PENALTY_ST`. ``speeds``
    are tempo hypotheses. Of the placements ``song`` are the numbers in ``chosen``; ``end_s`` is not filled, as the path
    may lie in several parts of the song.
    """
    tempi = np.asarray(speeds)
    hums, tempo_st = _hum_at(hum, songs.rate_hz, tempi), _tempo_cost_st(tempi)
    hum_units = _in_units(hums.pitch_midi, np.float32(0.0), FOLDED_UNITS)
    keys = (keys_st[:, None, :] if may_drift else keys_st[:, :, None]).astype(np.float32)
    costs = _costs(FOLDED_UNITS, JUMP_PENALTY_ST_S * songs.rate_hz)
    pitch, start = songs.stretches(songs.first_frame[chosen], songs.first_frame[chosen + 1])
    folded, stop = fold(pitch), start + np.diff(songs.first_frame)[chosen]
    cost, key = np.full(len(chosen), INFINITE_COST), np.zeros(len(chosen), np.float32)
    version = np.zeros(len(chosen), np.int64)

    def work(order: np.ndarray) -> None:
        kernels.place_folded(
            hum_units, hums.first_frame, tempo_st, folded, start, stop, keys, FOLDED_UNITS, costs, order,
            cost, key, version,
        )  # fmt: skip

    _share(work, len(chosen), n_threads)
    return Placements(chosen, np.full(len(chosen), np.nan), key, tempi[version], cost)


def trace_folded(
    hum: FilledContour, song: np.ndarray, keys_st: np.ndarray, speed: float, rate_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the longest part of the best folded path without a jump as (hum time, song time) pairs, each (n_path,).

    ``song`` is the whole song in pitch classes (:func:`fold`), shape (n_song,), int16, at ``rate_hz``; ``keys_st`` are
    as for :func:`place_folded`, ``speed`` is the tempo hypothesis to follow. Times are seconds from the first frame of
    the hum's contour and of the song.
    """
    version = sample_contour(hum, rate_hz, speed)
    costs = _costs(FOLDED_UNITS, JUMP_PENALTY_ST_S * rate_hz)
    hum_frame, song_frame, jumped = kernels.best_folded_path(
        _in_units(version, np.float32(0.0), FOLDED_UNITS), song, keys_st.astype(np.float32), FOLDED_UNITS, costs
    )
    bounds = np.concatenate(([0], np.flatnonzero(jumped), [len(jumped)]))
    longest = int(np.argmax(np.diff(bounds)))
    part = slice(bounds[longest], bounds[longest + 1])
    return (hum_frame[part] + 0.5) / rate_hz / speed, (song_frame[part] + 0.5) / rate_hz


def describe_path(
    hum: FilledContour, song: FilledContour, hum_time_s: np.ndarray, song_time_s: np.ndarray
) -> Alignment:
    """Turn a path, two arrays (n,) relative to the first frames of the whole contours, into an :class:`Alignment`.

    The offsets of the contours turn contour times into recording and score times. The key shift is the median
    difference along the path, the tempo ratio the song's seconds per hum second.
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
