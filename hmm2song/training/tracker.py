"""What trackers make of a song in a recording: the song's side of pairs to learn from.

How often trackers err was measured on the melodies that ours finds in twelve songs, in the mixes (and in separated
voices), beside notes made by hand: 5 % of the sung frames are an octave off (4 %), in stretches of a quarter of a
second; 20 % are at another pitch (13 %), half of these at the borders of notes; 7 % are missing (11 %); half of the
unsung frames hold instruments or other voices (35 %). Recordings and trackers differ widely, so each song draws how
bad it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import FRAME_RATE_HZ

SEVERITY = (0.2, 2.0)
"""The rates below are those of a song of severity 1."""
WOBBLE_SD_ST = 0.3
BORDER_SD_S = 0.06
"""How far the borders of notes are off."""
OCTAVE_RATE_PER_S, OCTAVE_S = 0.12, 0.4
"""Stretches an octave off: how often, and how long on average."""
REGISTER_RATE_PER_S, REGISTER_S = 0.025, 3.0
"""Longer ones, for which the tracker stays with another octave."""
WRONG_RATE_PER_S, WRONG_S, WRONG_SD_ST = 0.6, 0.15, 3.0
"""Stretches at another pitch."""
FOREIGN_RATE_PER_S, FOREIGN_S = 0.06, 1.5
"""Stretches in which an instrument is followed although somebody sings."""
GAP_RATE_PER_S, GAP_S = 0.6, 0.25
FILL_PROBABILITY = 0.45
"""Rests in which something else is heard."""
FILL_NOTE_S = 0.25
FILL_ST = (-1.5, 4.0)
"""Pitch of what else is heard beside the voice, mean and standard deviation."""


def transcribed(contour: FilledContour, rng: np.random.Generator) -> FilledContour:
    """Return a contour with the errors of a tracker of voices: off by some cents or an octave, or missing."""
    n_frames = len(contour.pitch_midi)
    pitch = contour.pitch_midi + _wander(n_frames, 0.25, rng).astype(np.float32)
    voiced = contour.voiced.copy()
    for _ in range(rng.poisson(n_frames / 250)):
        start, length = rng.integers(n_frames), int(rng.uniform(3, 30))
        if rng.random() < 0.5:
            pitch[start : start + length] += rng.choice((-12.0, 12.0))
        else:
            pitch[start : start + length] = pitch[max(0, start - 1)]
            voiced[start : start + length] = False
    return FilledContour(pitch, voiced, contour.offset_s)


def tracked(contour: FilledContour, rng: np.random.Generator) -> FilledContour:
    """Return a contour as a tracker hears it in the mix of a recording, on the same frames."""
    n_frames, severity = len(contour.pitch_midi), rng.uniform(*SEVERITY)

    def stretches(rate_per_s: float, mean_s: float) -> Iterator[slice]:
        for _ in range(rng.poisson(severity * rate_per_s * n_frames / FRAME_RATE_HZ)):
            start = int(rng.integers(n_frames))
            yield slice(start, start + 1 + int(rng.exponential(mean_s * FRAME_RATE_HZ)))

    def instrument(where: slice) -> None:
        """Put notes beside the voice that is held there."""
        n_there = len(pitch[where])
        note = np.cumsum(rng.random(n_there) < 1.0 / (FILL_NOTE_S * FRAME_RATE_HZ))
        pitch[where] += np.rint(rng.normal(*FILL_ST, n_there + 1))[note]
        voiced[where] = True

    shift = np.rint(_wander(n_frames, severity * BORDER_SD_S * FRAME_RATE_HZ, rng)).astype(np.int64)
    frame = np.clip(np.arange(n_frames) + shift, 0, n_frames - 1)
    pitch, voiced = contour.pitch_midi[frame], contour.voiced[frame]
    edges = np.flatnonzero(np.diff(voiced, prepend=True, append=True))
    for start, stop in edges.reshape(-1, 2):
        if rng.random() < severity * FILL_PROBABILITY:
            instrument(slice(start, stop))
    for where in stretches(FOREIGN_RATE_PER_S, FOREIGN_S):
        instrument(where)
    for where in stretches(WRONG_RATE_PER_S, WRONG_S):
        pitch[where] += np.rint(rng.normal(0.0, WRONG_SD_ST))
    for rate_per_s, mean_s in ((OCTAVE_RATE_PER_S, OCTAVE_S), (REGISTER_RATE_PER_S, REGISTER_S)):
        for where in stretches(rate_per_s, mean_s):
            pitch[where] += rng.choice((-12.0, 12.0))
    pitch += _wander(n_frames, WOBBLE_SD_ST, rng)
    for where in stretches(GAP_RATE_PER_S, GAP_S):
        pitch[where] = pitch[max(0, where.start - 1)]
        voiced[where] = False
    return FilledContour(pitch.astype(np.float32), voiced, contour.offset_s)


def _wander(n_frames: int, sd: float, rng: np.random.Generator) -> np.ndarray:
    """Return a line through normal draws 8 frames apart, (n_frames,)."""
    n_knots = n_frames // 8 + 2
    return np.interp(np.arange(n_frames) / 8, np.arange(n_knots), sd * rng.standard_normal(n_knots))
