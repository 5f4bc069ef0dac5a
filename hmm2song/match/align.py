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
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hmm2song.match import kernels
from hmm2song.match.kernels import INFINITE_COST
from hmm2song.melody.contour import FilledContour
from hmm2song.results import Alignment

COST_CAP_ST = 2.5
"""Largest cost of a frame, in semitones."""
WARP_PENALTY_ST = 0.5
"""Cost of a step off the diagonal, in semitone frames."""
TEMPO_PENALTY_ST = 0.2
"""Cost of a tempo hypothesis per doubling or halving, in semitones: most people hum near the tempo they know."""
DRIFT_STEP_ST = 0.5
DRIFT_REACH_ST = 3.0
"""How far the key of a singer may drift from where it was found."""
MOVE_PENALTY_ST = 3.0
"""Cost of moving the key by a step, in semitone frames: as much as six frames, half a second, half a semitone off."""


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
    hums, tempo_st = _hum_at(hum, songs.rate_hz, tempi), _tempo_cost_st(tempi)
    costs = _costs_st()
    n_stretches = len(stretches.start)
    cost, key = np.full(n_stretches, INFINITE_COST), np.zeros(n_stretches, np.float32)
    end, version = np.zeros(n_stretches, np.int64), np.zeros(n_stretches, np.int64)

    def work(order: np.ndarray) -> None:
        kernels.place_in_one_key(
            hums.pitch_midi, hums.first_frame, tempo_st, songs.pitch_midi, stretches.start, stretches.stop,
            stretches.lowest_key_st, stretches.highest_key_st, np.float32(key_step_st), costs, order,
            cost, end, key, version,
        )  # fmt: skip

    _share(work, n_stretches, n_threads)
    return Placements(cost, end, key, tempi[version])


def _hum_at(hum: FilledContour, rate_hz: float, speeds: np.ndarray) -> PackedContours:
    """Sample a hum at ``rate_hz`` as it would be at each tempo hypothesis, shape (n_speeds,), and pack the versions."""
    return _pack([sample_contour(hum, rate_hz, speed) for speed in speeds], rate_hz)


def _tempo_cost_st(speeds: np.ndarray) -> np.ndarray:
    """Return what tempo hypotheses cost, shape (n_speeds,), float32."""
    return (TEMPO_PENALTY_ST * np.abs(np.log2(speeds))).astype(np.float32)


def _costs_st() -> np.ndarray:
    """Return the tuned costs as the kernels take them; they are read at every call, so that a study may change them."""
    return np.array([COST_CAP_ST, WARP_PENALTY_ST, MOVE_PENALTY_ST], np.float32)


def _share(work: Callable[[np.ndarray], None], n_items: int, n_threads: int) -> None:
    """Let threads do ``work`` on shares of ``n_items`` positions; it has to release the interpreter lock."""
    if n_threads == 1 or n_items < n_threads:
        work(np.arange(n_items))
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(work, [np.arange(first, n_items, n_threads) for first in range(n_threads)]))


def place_drifting(
    hum: FilledContour,
    songs: PackedContours,
    stretches: Stretches,
    found: Placements,
    n_threads: int,
    reach_st: float = DRIFT_REACH_ST,
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
        What :func:`place` has found on them: the keys and speeds to begin with.
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
    hums = _hum_at(hum, songs.rate_hz, speeds)
    keys_st = _keys_st(found.key_st, reach_st)
    tempo_st = _tempo_cost_st(found.speed)
    costs = _costs_st()

    def work(order: np.ndarray) -> None:
        kernels.place_in_moving_key(
            hums.pitch_midi, hums.first_frame, version, songs.pitch_midi, stretches.start, stretches.stop,
            keys_st, costs, order, cost, end,
        )  # fmt: skip

    _share(work, n_stretches, n_threads)
    return np.where(cost < INFINITE_COST, cost + tempo_st, INFINITE_COST), end


def _keys_st(key_st: np.ndarray | float, reach_st: float) -> np.ndarray:
    """Return the keys within reach of ``key_st``, shape (..., n_keys), float32."""
    n_steps = round(reach_st / DRIFT_STEP_ST)
    return (np.asarray(key_st)[..., None] + DRIFT_STEP_ST * np.arange(-n_steps, n_steps + 1)).astype(np.float32)


def trace(
    hum: FilledContour, song: np.ndarray, key_st: float, speed: float, rate_hz: float, reach_st: float = DRIFT_REACH_ST
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
    hum_frame, song_frame = kernels.best_path(version, song, _keys_st(key_st, reach_st), _costs_st())
    return (hum_frame + 0.5) / rate_hz / speed, (song_frame + 0.5) / rate_hz


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
