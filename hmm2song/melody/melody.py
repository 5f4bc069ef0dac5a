"""The melody: the one thing a hum shares with its song.

Conventions
-----------
* Pitch is in semitones as MIDI note numbers (A4 = 440 Hz = 69.0), fractional; ``NaN`` means unvoiced.
* Every pitch lies within MIDI 0 to 127 (8.18 Hz to 12.5 kHz), as catalogs store pitches in 16-bit cents.
  :class:`Melody` refuses any other pitch; :func:`melody_from_f0` makes frequencies outside unvoiced.
* Time is in seconds from the start of the recording or score.
* A :class:`Melody` has one fixed frame grid: frame ``i`` is the melody at ``i * HOP_S``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hmm2song.errors import MelodyError

FRAME_RATE_HZ = 25.0
"""Frames per second. 40 ms resolves the shortest sung notes (about 100 ms) and keeps catalogs small."""
HOP_S = 1.0 / FRAME_RATE_HZ
MAX_SONG_S = 3600.0
"""Longest melody accepted, in seconds: guards against a damaged score asking for gigabytes."""
MIDI_A4 = 69.0
HZ_A4 = 440.0
SHORTEST_PARTED_FRAMES = 3
"""A note this long or longer is shortened by a frame when the next has the same pitch."""
LOWEST_MIDI, HIGHEST_MIDI = 0.0, 127.0


def hz_to_midi(f0_hz: np.ndarray) -> np.ndarray:
    """Convert frequencies in Hz to MIDI note numbers; zero, negative and non-finite become NaN."""
    f0_hz = np.asarray(f0_hz, dtype=np.float64)
    voiced = np.isfinite(f0_hz) & (f0_hz > 0)
    return np.where(voiced, MIDI_A4 + 12.0 * np.log2(np.where(voiced, f0_hz, HZ_A4) / HZ_A4), np.nan)


def midi_to_hz(pitch_midi: np.ndarray) -> np.ndarray:
    """Convert MIDI note numbers to Hz; NaN (unvoiced) becomes 0."""
    return np.nan_to_num(HZ_A4 * 2.0 ** ((np.asarray(pitch_midi, dtype=np.float64) - MIDI_A4) / 12.0))


def within_range(pitch_midi: np.ndarray) -> np.ndarray:
    """Return the pitches with NaN (unvoiced) in place of those outside MIDI 0 to 127."""
    return np.where((pitch_midi >= LOWEST_MIDI) & (pitch_midi <= HIGHEST_MIDI), pitch_midi, np.nan)


@dataclass(frozen=True, eq=False)
class Melody:
    """A melody contour.

    ``pitch_midi``, shape (n_frames,), float32, not writable, is the MIDI note number of each frame, NaN if it has no
    pitch. Anything else than one pitch of 0 to 127 per frame raises MelodyError.
    """

    pitch_midi: np.ndarray

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite and is refused below
            pitch_midi = np.array(self.pitch_midi, dtype=np.float32)
        if pitch_midi.ndim != 1:
            raise MelodyError(f"a melody is one pitch per frame, got an array of shape {pitch_midi.shape}")
        outside = pitch_midi[~np.isnan(pitch_midi) & np.isnan(within_range(pitch_midi))]
        if len(outside):
            raise MelodyError(f"pitches must be MIDI numbers {LOWEST_MIDI:.0f}-{HIGHEST_MIDI:.0f}, got {outside[0]:g}")
        pitch_midi.setflags(write=False)
        object.__setattr__(self, "pitch_midi", pitch_midi)

    def __repr__(self) -> str:
        heard = self.pitch_midi[self.voiced]
        pitches = f", MIDI {heard.min():.1f} to {heard.max():.1f}" if len(heard) else ""
        return f"Melody({self.duration_s:.1f} s, {self.voiced_s:.1f} s of it voiced{pitches})"

    @property
    def voiced(self) -> np.ndarray:
        """Frames that have a pitch, shape (n_frames,), bool."""
        return ~np.isnan(self.pitch_midi)

    @property
    def time_s(self) -> np.ndarray:
        """Time of each frame in seconds, shape (n_frames,)."""
        return np.arange(len(self.pitch_midi)) * HOP_S

    @property
    def duration_s(self) -> float:
        """Length of the frame grid in seconds."""
        return len(self.pitch_midi) * HOP_S

    @property
    def voiced_s(self) -> float:
        """Seconds that have a pitch."""
        return float(np.count_nonzero(self.voiced)) * HOP_S

    def slice_s(self, start_s: float, end_s: float) -> Melody:
        """Return the stretch from ``start_s`` to ``end_s`` (clipped to the melody)."""
        return Melody(self.pitch_midi[max(0, round(start_s * FRAME_RATE_HZ)) : max(0, round(end_s * FRAME_RATE_HZ))])


def melody_from_notes(notes: Sequence[Sequence[float]]) -> Melody:
    """Draw notes on the frame grid.

    Notes are (onset_s, duration_s, midi), in any order; if they overlap, the later onset wins, as one voice cannot hold
    both. A note that follows another of the same pitch without a rest is parted from it by one unvoiced frame, which
    keeps the rhythm of repeated notes.

    Raises MelodyError for no note, a non-finite or negative value, a pitch outside MIDI 0-127, or more than an hour.
    """
    table = np.asarray(notes, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 3 or len(table) == 0:
        raise MelodyError(f"notes must be a non-empty list of [onset_s, duration_s, midi], got shape {table.shape}")
    if not np.isfinite(table).all() or (table[:, :2] < 0).any():
        raise MelodyError("notes must be finite, with onset_s and duration_s not negative")
    table = table[np.argsort(table[:, 0], kind="stable")]
    length_s = float((table[:, 0] + table[:, 1]).max())
    if length_s > MAX_SONG_S:
        raise MelodyError(f"the melody lasts {length_s:.0f} s; at most {MAX_SONG_S:.0f} s are accepted")
    pitch_midi = np.full(max(1, int(np.ceil(length_s * FRAME_RATE_HZ - 1e-6))), np.nan)
    for onset_s, duration_s, midi in table:
        first = int(round(onset_s * FRAME_RATE_HZ))
        last = max(first + 1, int(round((onset_s + duration_s) * FRAME_RATE_HZ)))
        if first >= SHORTEST_PARTED_FRAMES and (pitch_midi[first - SHORTEST_PARTED_FRAMES : first] == midi).all():
            pitch_midi[first - 1] = np.nan
        pitch_midi[first:last] = midi
    return Melody(pitch_midi)


def melody_from_f0(time_s: np.ndarray, f0_hz: np.ndarray) -> Melody:
    """Resample an f0 track to the frame grid.

    Each grid frame takes the median of the track's voiced values within half a hop, so that a finer track is smoothed
    and a single outlier (octave slip of one frame) does not survive; a coarser one is held. Times, shape (n,), must
    increase from 0 or later. A frequency of 0, negative, NaN or outside MIDI 0 to 127 means unvoiced.

    Raises MelodyError for an empty track, different lengths, times that do not increase or are not finite, or more than
    an hour.
    """
    time_s, f0_hz = np.asarray(time_s, dtype=np.float64), np.asarray(f0_hz, dtype=np.float64)
    if time_s.ndim != 1 or time_s.shape != f0_hz.shape or len(time_s) == 0:
        raise MelodyError(f"an f0 track needs as many times as frequencies, got {time_s.shape} and {f0_hz.shape}")
    if not np.isfinite(time_s).all() or time_s[0] < 0 or (np.diff(time_s) <= 0).any():
        raise MelodyError("the times of an f0 track must be finite, not negative, and strictly increasing")
    if time_s[-1] > MAX_SONG_S:
        raise MelodyError(f"the f0 track lasts {time_s[-1]:.0f} s; at most {MAX_SONG_S:.0f} s are accepted")
    pitch_midi = within_range(hz_to_midi(f0_hz))
    track_hop_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else HOP_S
    grid_s = np.arange(int(np.floor((time_s[-1] + track_hop_s) * FRAME_RATE_HZ)) or 1) * HOP_S
    reach_s = max(HOP_S, track_hop_s) / 2 + 1e-9
    first = np.searchsorted(time_s, grid_s - reach_s, side="left")
    last = np.searchsorted(time_s, grid_s + reach_s, side="right")
    grid_midi = np.full(len(grid_s), np.nan)
    for width in np.unique(last - first):
        rows = np.flatnonzero(last - first == width)
        if width == 0:
            continue
        window = pitch_midi[first[rows, None] + np.arange(width)]
        mostly_voiced = np.count_nonzero(~np.isnan(window), axis=1) * 2 >= width
        if mostly_voiced.any():
            grid_midi[rows[mostly_voiced]] = np.nanmedian(window[mostly_voiced], axis=1)
    return Melody(grid_midi)
