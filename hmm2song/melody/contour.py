"""Filled contours, and how they are cut: into windows of equal length, and a hum into pieces.

Building catalogs, searching and training share these functions.

Convention: a *filled contour* is a melody without its leading and trailing rests, in which every inner rest holds the
pitch before it. Singers breathe where the score has no rest, and hold notes through written rests; filling the rests
makes both sides alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hmm2song.melody.melody import FRAME_RATE_HZ, HOP_S, Melody

MAX_PIECE_S = 15.0
"""A longer hum may repeat a verse or leave the song's order, so it is cut."""
PAUSE_S = 1.0
"""After a longer pause the singer may resume anywhere in the song, most often at the start again."""
MIN_PHRASE_S = 3.0
"""A phrase between two pauses needs this much melody; less fits too many songs."""


@dataclass(frozen=True, eq=False)
class FilledContour:
    """A melody with its rests filled, on the melody's frame grid; arrays of shape (n_frames,), empty if unvoiced."""

    pitch_midi: np.ndarray  # float32, never NaN
    voiced: np.ndarray  # which frames were sung, not filled
    offset_s: float  # time of the first frame in the melody it was made from

    def sample(self, time_s: np.ndarray) -> np.ndarray:
        """Return the pitch at times relative to the first frame; NaN outside the contour. Any shape."""
        frame, inside = self._frames(time_s)
        return np.where(inside, self.pitch_midi[frame], np.float32(np.nan))

    def sample_voiced(self, time_s: np.ndarray) -> np.ndarray:
        """Return whether it is sung at times relative to the first frame; False outside the contour. Any shape."""
        frame, inside = self._frames(time_s)
        return inside & self.voiced[frame]

    def _frames(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frame = np.floor(np.asarray(time_s) * FRAME_RATE_HZ + 1e-6).astype(np.int64)
        inside = (frame >= 0) & (frame < len(self.pitch_midi))
        return np.clip(frame, 0, max(0, len(self.pitch_midi) - 1)), inside

    def part(self, start: int, stop: int) -> FilledContour:
        """Return the frames from ``start`` to ``stop`` (not negative; clipped to the contour)."""
        return FilledContour(self.pitch_midi[start:stop], self.voiced[start:stop], self.offset_s + start * HOP_S)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pitch_midi) * HOP_S

    @property
    def voiced_s(self) -> float:
        """Seconds of it that were sung."""
        return int(np.count_nonzero(self.voiced)) * HOP_S


def fill_rests(melody: Melody) -> FilledContour:
    """Drop outer rests and hold the last pitch through inner ones."""
    voiced_frames = np.flatnonzero(melody.voiced)
    if len(voiced_frames) == 0:
        return FilledContour(np.zeros(0, np.float32), np.zeros(0, bool), 0.0)
    first, last = int(voiced_frames[0]), int(voiced_frames[-1])
    held = np.where(melody.voiced, np.arange(len(melody.pitch_midi)), 0)
    np.maximum.accumulate(held, out=held)
    inner = slice(first, last + 1)
    return FilledContour(melody.pitch_midi[held[inner]], melody.voiced[inner], first * HOP_S)


@dataclass(frozen=True, eq=False)
class Windows:
    """Equally long windows of one contour, seen at one tempo."""

    pitch_st: np.ndarray  # (n_windows, n_frames), float32, relative to the window's median; NaN beyond the contour
    voiced: np.ndarray  # (n_windows, n_frames), bool: where something is sung
    start_s: np.ndarray  # (n_windows,), relative to the contour's first frame, in the window's time (the song's)


def cut_windows(
    contour: FilledContour, window_s: float, hop_s: float, n_frames: int, speed: float = 1.0, min_fill: float = 0.4
) -> Windows:
    """Cut a contour that is not empty into windows of ``n_frames`` samples, at least one.

    ``window_s`` and ``hop_s`` are in song time: a hum sung ``speed`` times as fast as the song lasts ``speed`` times as
    long there. The last window starts where at least the share ``min_fill`` of it is still inside the contour.
    """
    stretched_s = contour.duration_s * speed
    start_s = np.arange(0.0, max(stretched_s - window_s * min_fill, hop_s / 2), hop_s)
    inside_s = (np.arange(n_frames) + 0.5) * (window_s / n_frames)
    return Windows(*sample_windows(contour, (start_s[:, None] + inside_s) / speed), start_s)


def sample_windows(contour: FilledContour, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pitch relative to each window's median, in semitones, and voicing at times of shape (..., n_frames)."""
    pitch = contour.sample(time_s)
    ascending = np.sort(pitch, axis=-1)  # NaN last; np.nanmedian takes ten times as long
    n_inside = np.count_nonzero(~np.isnan(pitch), axis=-1, keepdims=True)
    middle = [np.take_along_axis(ascending, place // 2, axis=-1) for place in (n_inside - 1, n_inside)]
    return pitch - (middle[0] + middle[1]) / np.float32(2.0), contour.sample_voiced(time_s)


def cut_evenly(hum: FilledContour) -> list[FilledContour]:
    """Cut a long hum into pieces of equal length, at most :data:`MAX_PIECE_S`."""
    n_pieces = max(1, int(np.ceil(hum.duration_s / MAX_PIECE_S)))
    edges = np.linspace(0, len(hum.pitch_midi), n_pieces + 1).round().astype(int)
    return [hum.part(start, stop) for start, stop in pairwise(edges)]


def cut_at_pauses(hum: FilledContour) -> list[FilledContour]:
    """Return the phrases between long pauses without the too short ones; the hum itself if no phrase is left."""
    sung = np.flatnonzero(hum.voiced)
    last = np.flatnonzero((np.diff(sung) - 1) * HOP_S > PAUSE_S)
    if len(last) == 0:
        return [hum]
    firsts, lasts = sung[[0, *(last + 1)]], sung[[*last, -1]]
    phrases = [hum.part(int(first), int(final) + 1) for first, final in zip(firsts, lasts, strict=True)]
    return [phrase for phrase in phrases if phrase.voiced_s >= MIN_PHRASE_S] or [hum]
