"""Packed melodies without their repetitions: runs of one pitch instead of 25 frames a second.

Written melodies are piecewise constant: a song of four minutes has some hundreds of notes and 6,000 frames. Nothing is
lost. Frames are made of the runs of a melody when a stretch of it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numba
import numpy as np

from hmm2song.melody.melody import FRAME_RATE_HZ, HOP_S, Melody, within_range
from hmm2song.melody.packed import CENTS_PER_ST, HIGHEST_CENTS, MEDIAN_UNITS_ST, PackedMelodies, read_only

LONGEST_RUN = 255
"""Frames: what lasts longer is several runs."""


class RunMelodies(PackedMelodies):
    """Melodies as runs, made by :func:`runs_of`.

    Attributes
    ----------
    run_cents, run_frames : np.ndarray, shape (n_runs of all,), int16 and uint8
        Pitch and length of the runs.
    first_run : np.ndarray, shape (n_melodies + 1,), int64
        Melody ``i`` owns the runs ``first_run[i]`` to ``first_run[i + 1]``.
    """

    def __init__(self, stored: Mapping[str, np.ndarray], verify: bool = False) -> None:
        """Use arrays as :attr:`tensors` has them; ValueError or KeyError if they do not fit together."""
        self.run_cents, self.run_frames = read_only(stored["run_cents"]), read_only(stored["run_frames"])
        counts, n_frames = stored["n_runs"], stored["n_frames"]
        types = (self.run_cents.dtype, self.run_frames.dtype, counts.dtype, n_frames.dtype)
        if types != (np.int16, np.uint8, np.int32, np.int32) or self.run_cents.shape != self.run_frames.shape:
            raise ValueError(f"runs are of the types {', '.join(map(str, types))}")
        self.first_run = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        if counts.shape != n_frames.shape or (counts < 0).any() or self.first_run[-1] != len(self.run_cents):
            raise ValueError(f"runs add up to {int(self.first_run[-1])}, not {len(self.run_cents)}")
        self._place(stored, n_frames, lambda: _voiced_bounds(self.run_cents, self.run_frames, self.first_run), verify)
        if verify:
            lengths = _lengths(self.run_frames, self.first_run)
            if not np.array_equal(lengths, n_frames):
                raise ValueError("the runs are not as long as their melodies")

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """All there is to store, by name."""
        return {
            **self._places,
            "run_cents": self.run_cents,
            "run_frames": self.run_frames,
            "n_runs": np.diff(self.first_run).astype(np.int32),
        }

    def __getitem__(self, index):
        if isinstance(index, slice):
            return super().__getitem__(index)
        position = range(len(self))[index]
        runs = slice(self.first_run[position], self.first_run[position + 1])
        cents = np.repeat(self.run_cents[runs], self.run_frames[runs])
        return Melody(within_range(cents / np.float32(CENTS_PER_ST)))

    def sample(self, rate_hz: float, melody: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """See :meth:`PackedMelodies.sample`."""
        sampled = np.empty(int((stop - start).sum()), np.float32)
        begin = self.contour_first - self.first_frame[:-1]
        runs = self.run_cents, self.run_frames, self.first_run, begin, self.contour_frames
        _sample_runs(*runs, melody, start, stop, rate_hz, sampled)
        return sampled


def runs_of(melodies: PackedMelodies) -> dict[str, np.ndarray]:
    """Return what :class:`RunMelodies` stores of melodies."""
    stored = melodies.tensors
    cents, n_frames = stored.pop("pitch_cents"), stored["n_frames"]
    edges = np.append(True, np.diff(cents) != 0) if len(cents) else np.zeros(0, bool)
    edges[melodies.first_frame[:-1][n_frames > 0]] = True
    first = np.flatnonzero(edges)
    length = np.diff(np.append(first, len(cents)))
    n_parts = -(-length // LONGEST_RUN)
    frames = np.full(n_parts.sum(), LONGEST_RUN, np.int64)
    frames[np.cumsum(n_parts) - 1] = length - (n_parts - 1) * LONGEST_RUN
    before = np.concatenate(([0], np.cumsum(n_parts)))[np.searchsorted(first, melodies.first_frame)]
    units = stored["median_midi"] / np.float32(MEDIAN_UNITS_ST[np.dtype(np.uint8)])
    if np.array_equal(units, units.astype(np.uint8)):
        stored["median_midi"] = units.astype(np.uint8)
    return {
        **stored,
        "run_cents": np.repeat(cents[first], n_parts),
        "run_frames": frames.astype(np.uint8),
        "n_runs": np.diff(before).astype(np.int32),
    }


@numba.njit(nogil=True, cache=True)
def _lengths(run_frames, first_run):
    """Return how many frames the runs of each melody have."""
    lengths = np.zeros(len(first_run) - 1, np.int64)
    for melody in range(len(lengths)):
        for run in range(first_run[melody], first_run[melody + 1]):
            lengths[melody] += run_frames[run]
    return lengths


@numba.njit(nogil=True, cache=True)
def _voiced_bounds(run_cents, run_frames, first_run):
    """Return the first voiced frame of each melody and the one after its last; 0 and 0 if there is none."""
    begin, end = np.zeros(len(first_run) - 1, np.int64), np.zeros(len(first_run) - 1, np.int64)
    for melody in range(len(begin)):
        frame = 0
        for run in range(first_run[melody], first_run[melody + 1]):
            if 0 <= run_cents[run] <= HIGHEST_CENTS:
                if end[melody] == 0:
                    begin[melody] = frame
                end[melody] = frame + run_frames[run]
            frame += run_frames[run]
    return begin, end


@numba.njit(nogil=True, cache=True)
def _sample_runs(run_cents, run_frames, first_run, begin, contour_frames, melodies, start, stop, rate_hz, sampled):
    """Fill ``sampled`` as :meth:`FilledContour.sample` of filled rests would: with the last voiced frame."""
    place = 0
    for index in range(len(melodies)):
        melody = melodies[index]
        run, last_run = first_run[melody], first_run[melody + 1]
        after, held = 0, np.float32(0.0)  # ``after`` is the frame behind the runs that were looked at
        for number in range(start[index], stop[index]):
            time_s = min((number + 0.5) / rate_hz, contour_frames[melody] * HOP_S - HOP_S / 2)
            frame = min(max(int(np.floor(time_s * FRAME_RATE_HZ + 1e-6)), 0), contour_frames[melody] - 1)
            while after <= begin[melody] + frame and run < last_run:
                if 0 <= run_cents[run] <= HIGHEST_CENTS:
                    held = np.float32(run_cents[run]) / np.float32(CENTS_PER_ST)
                after += run_frames[run]
                run += 1
            sampled[place] = held
            place += 1
