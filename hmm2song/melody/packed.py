"""The melodies of many songs in one array, as a catalog stores them: a search reads them where they lie.

Conventions
-----------
* Pitch is in whole cents, int16; :data:`UNVOICED_CENTS`, like anything else outside MIDI 0 to 127, is unvoiced.
* The array may be a mapped file. Only the stretches that are asked for are copied, so that a catalog takes no more
  memory than what searches look at, and the system can take that back.
* Filled contours (:mod:`hmm2song.melody.contour`) are not stored: rests are filled while a stretch is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numba
import numpy as np

from hmm2song.errors import CatalogError
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ, HIGHEST_MIDI, HOP_S, LOWEST_MIDI, Melody, within_range

UNVOICED_CENTS = -32768
CENTS_PER_ST = 100.0
HIGHEST_CENTS = int(HIGHEST_MIDI * CENTS_PER_ST)
LOCAL_MEDIAN_S = 6.0
"""Length over which a song's local median pitch is taken: about what a hum covers."""
LOCAL_MEDIAN_RATE_HZ = 1.0
LOCAL_MEDIAN_SAMPLES_HZ = 8.0
"""Rate at which contours are sampled for their medians."""
MEDIAN_UNITS_ST = {np.dtype(np.float32): 1.0, np.dtype(np.uint8): 0.5}
"""What a stored median counts in, by its type: the medians of whole semitones are halves and take a byte."""
_MEDIAN_LENGTH = int(LOCAL_MEDIAN_S * LOCAL_MEDIAN_SAMPLES_HZ)
_MEDIAN_HOP = int(LOCAL_MEDIAN_SAMPLES_HZ / LOCAL_MEDIAN_RATE_HZ)


class PackedMelodies(Sequence[Melody]):
    """Melodies one after the other; a :class:`Melody` is made of each when it is asked for.

    Attributes
    ----------
    pitch_cents : np.ndarray, shape (n_frames of all,), int16, not writable
    first_frame : np.ndarray, shape (n_melodies + 1,), int64
        Melody ``i`` owns the frames ``first_frame[i]`` to ``first_frame[i + 1]``.
    contour_first, contour_frames : np.ndarray, shape (n_melodies,), int64
        The frame where each filled contour begins, and how many it has: 0 if nothing is voiced.
    """

    def __init__(self, stored: Mapping[str, np.ndarray], verify: bool = False) -> None:
        """Use arrays as :attr:`tensors` has them; all but ``pitch_cents`` and ``n_frames`` are computed if missing.

        ValueError or KeyError if they do not fit together; all of them are read only to ``verify`` what they hold.
        """
        cents, n_frames = stored["pitch_cents"], stored["n_frames"]
        if (cents.dtype, cents.ndim, n_frames.dtype, n_frames.ndim) != (np.int16, 1, np.int32, 1):
            raise ValueError(f"melodies are {cents.dtype} {cents.shape} and {n_frames.dtype} {n_frames.shape}")
        if (n_frames < 0).any() or int(n_frames.sum(dtype=np.int64)) != len(cents):
            raise ValueError(f"melody lengths add up to {int(n_frames.sum(dtype=np.int64))}, not {len(cents)}")
        self.pitch_cents = read_only(cents)
        self._place(stored, n_frames, lambda: _voiced_bounds(self.pitch_cents, self.first_frame), verify)

    def _place(
        self,
        stored: Mapping[str, np.ndarray],
        n_frames: np.ndarray,
        voiced_bounds: Callable[[], tuple[np.ndarray, np.ndarray]],
        verify: bool,
    ) -> None:
        """Use what is stored besides the pitches; what is missing is computed."""
        self.first_frame = np.concatenate(([0], np.cumsum(n_frames, dtype=np.int64)))
        if "contour_begin" in stored:
            begin, end = (stored[f"contour_{edge}"].astype(np.int64) for edge in ("begin", "end"))
        else:
            begin, end = voiced_bounds()
        if not begin.shape == end.shape == n_frames.shape or ((begin < 0) | (end < begin) | (end > n_frames)).any():
            raise ValueError("the contours do not lie inside their melodies")
        if verify and not np.array_equal((begin, end), voiced_bounds()):
            raise ValueError("the contours are not where their melodies are voiced")
        self.contour_first, self.contour_frames = self.first_frame[:-1] + begin, end - begin
        if "median_midi" in stored:
            self.median_midi = read_only(stored["median_midi"])
            if self.median_midi.dtype not in MEDIAN_UNITS_ST or self.median_midi.shape != (self.first_median[-1],):
                raise ValueError(f"local medians are {self.median_midi.dtype} {self.median_midi.shape}")
            inside = (self.median_midi >= LOWEST_MIDI) & (self.median_midi <= HIGHEST_MIDI / self.median_unit_st)
            if verify and not inside.all():
                raise ValueError(f"local medians are not between {LOWEST_MIDI:g} and {HIGHEST_MIDI:g}")

    @classmethod
    def of(cls, melodies: Sequence[Melody]) -> PackedMelodies:
        """Pack melodies, rounded to cents; what is packed stays as it is."""
        if isinstance(melodies, cls):
            return melodies
        contours = [_to_cents(melody) for melody in melodies]
        n_frames = np.array([len(contour) for contour in contours], np.int32)
        return cls({"pitch_cents": np.concatenate([np.zeros(0, np.int16), *contours]), "n_frames": n_frames})

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """All there is to store, by name."""
        return {"pitch_cents": self.pitch_cents, **self._places}

    @property
    def _places(self) -> dict[str, np.ndarray]:
        """What :meth:`_place` uses."""
        begin = self.contour_first - self.first_frame[:-1]
        return {
            "n_frames": np.diff(self.first_frame).astype(np.int32),
            "contour_begin": begin.astype(np.int32),
            "contour_end": (begin + self.contour_frames).astype(np.int32),
            "median_midi": self.median_midi,
        }

    def __len__(self) -> int:
        return len(self.first_frame) - 1

    def __getitem__(self, index):
        if isinstance(index, slice):
            return tuple(self[position] for position in range(*index.indices(len(self))))
        position = range(len(self))[index]
        cents = self.pitch_cents[self.first_frame[position] : self.first_frame[position + 1]]
        return Melody(within_range(cents / np.float32(CENTS_PER_ST)))

    def __iter__(self) -> Iterator[Melody]:
        return (self[position] for position in range(len(self)))

    def contour(self, position: int) -> FilledContour:
        """Return the filled contour of a melody; CatalogError if nothing is voiced, whatever a file states."""
        contour = fill_rests(self[position])
        if len(contour.pitch_midi) == 0:
            raise CatalogError(f"melody {position} of the catalog has no pitch; fetch or build the catalog again")
        return contour

    @property
    def duration_s(self) -> np.ndarray:
        """Lengths of the melodies in seconds, shape (n_melodies,)."""
        return np.diff(self.first_frame) * HOP_S

    @property
    def contour_s(self) -> np.ndarray:
        """Lengths of the filled contours in seconds, shape (n_melodies,)."""
        return self.contour_frames * HOP_S

    def n_samples(self, rate_hz: float) -> np.ndarray:
        """Return how many samples each contour has at ``rate_hz``, at least one, shape (n_melodies,), int64."""
        return np.maximum(1, (self.contour_s * rate_hz).astype(np.int64))

    def sample(self, rate_hz: float, melody: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Return stretches of filled contours, one after the other, float32.

        The stretch ``i`` are the samples ``start[i]`` to ``stop[i]`` of ``melody[i]``, counted at ``rate_hz`` from the
        beginning of its contour.
        """
        sampled = np.empty(int((stop - start).sum()), np.float32)
        _sample(self.pitch_cents, self.contour_first, self.contour_frames, melody, start, stop, rate_hz, sampled)
        return sampled

    @cached_property
    def first_median(self) -> np.ndarray:
        """Where the local medians of each melody begin in :attr:`median_midi`, shape (n_melodies + 1,), int64."""
        n_medians = 1 + np.maximum(0, self.n_samples(LOCAL_MEDIAN_SAMPLES_HZ) - _MEDIAN_LENGTH) // _MEDIAN_HOP
        return np.concatenate(([0], np.cumsum(n_medians)))

    @property
    def median_unit_st(self) -> float:
        """What :attr:`median_midi` counts in, in semitones."""
        return MEDIAN_UNITS_ST[self.median_midi.dtype]

    @cached_property
    def median_midi(self) -> np.ndarray:
        """The median pitch of what follows, once a second, float32; at least one value for each melody."""
        medians = []
        for position, n_samples in enumerate(self.n_samples(LOCAL_MEDIAN_SAMPLES_HZ)):
            pitch = self.sample(LOCAL_MEDIAN_SAMPLES_HZ, *np.array([[position], [0], [n_samples]]))
            windows = np.lib.stride_tricks.sliding_window_view(pitch, min(n_samples, _MEDIAN_LENGTH))[::_MEDIAN_HOP]
            medians.append(np.median(windows, axis=1))
        return read_only(np.concatenate([np.zeros(0, np.float32), *medians]))


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written to: compiled code takes what is in memory and in a mapped file alike."""
    array = array.view()
    array.setflags(write=False)
    return array


def _to_cents(melody: Melody) -> np.ndarray:
    cents = np.round(np.nan_to_num(melody.pitch_midi) * CENTS_PER_ST)
    return np.where(melody.voiced, cents, UNVOICED_CENTS).astype(np.int16)


@numba.njit(nogil=True, cache=True)
def _voiced_bounds(cents, first_frame):
    """Return the first voiced frame of each melody and the one after its last; 0 and 0 if there is none."""
    begin, end = np.zeros(len(first_frame) - 1, np.int64), np.zeros(len(first_frame) - 1, np.int64)
    for melody in range(len(begin)):
        first, last = first_frame[melody], first_frame[melody + 1] - 1
        while first <= last and not 0 <= cents[first] <= HIGHEST_CENTS:
            first += 1
        while last > first and not 0 <= cents[last] <= HIGHEST_CENTS:
            last -= 1
        if first <= last:
            begin[melody], end[melody] = first - first_frame[melody], last + 1 - first_frame[melody]
    return begin, end


@numba.njit(nogil=True, cache=True)
def _sample(cents, contour_first, contour_frames, melodies, start, stop, rate_hz, sampled):
    """Fill ``sampled`` as :meth:`FilledContour.sample` of filled rests would: with the last voiced frame."""
    place = 0
    for index in range(len(melodies)):
        first, n_frames = contour_first[melodies[index]], contour_frames[melodies[index]]
        known, held = first - 1, np.float32(0.0)  # no more is looked at than what the file owns, whatever it states
        for number in range(start[index], stop[index]):
            time_s = min((number + 0.5) / rate_hz, n_frames * HOP_S - HOP_S / 2)
            last = first + min(max(int(np.floor(time_s * FRAME_RATE_HZ + 1e-6)), 0), n_frames - 1)
            frame = last
            while frame > known and not 0 <= cents[frame] <= HIGHEST_CENTS:
                frame -= 1
            if frame > known:
                held = np.float32(cents[frame]) / np.float32(CENTS_PER_ST)
            known = last
            sampled[place] = held
            place += 1
