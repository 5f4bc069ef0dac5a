"""Songs made of the phrases of others: as many as a measurement of large catalogs needs.

Each song takes a few phrases, cuts some notes off their ends, transposes and re-times each, and repeats them in an
order of its own. So songs resemble each other as songs of one style do, but none is a copy of another.
"""

from __future__ import annotations

import numpy as np

from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ, HOP_S, Melody

SHORTEST_PHRASE_S, LONGEST_PHRASE_S = 4.0, 9.0
LONGEST_CUT_S = 1.0
"""What is cut off either end of a phrase at most."""
FASTEST_SONG, FASTEST_PHRASE = 1.33, 1.1
"""Tempo of a song, and of a phrase in it, against the original at most; the slowest is as much slower."""
HIGHEST_MEDIAN_ST = 6
"""Phrases of a song lie as far from its middle at most."""
MIDDLE_MIDI = 64.0
PHRASES_PER_SONG = (4, 9)


def notes_of(melody: Melody) -> list[tuple[float, float, float]]:
    """Return the stretches of one pitch as notes (onset_s, duration_s, midi)."""
    pitch = np.nan_to_num(melody.pitch_midi, nan=-1.0)
    edges = np.flatnonzero(np.diff(pitch, prepend=np.nan, append=np.nan) != 0)
    notes = zip(edges[:-1], edges[1:], pitch[edges[:-1]], strict=True)
    return [(start * HOP_S, (stop - start) * HOP_S, float(midi)) for start, stop, midi in notes if midi >= 0]


def phrases_of(melody: Melody) -> list[np.ndarray]:
    """Cut a melody at its rests into phrases of 4 to 9 s, each (n_frames,) in MIDI numbers with NaN in rests."""
    contour = fill_rests(melody)
    pitch = np.where(contour.voiced, contour.pitch_midi, np.nan).astype(np.float32)
    shortest, longest = (round(length_s * FRAME_RATE_HZ) for length_s in (SHORTEST_PHRASE_S, LONGEST_PHRASE_S))
    phrases, start = [], 0
    while len(pitch) - start >= shortest:
        rests = np.flatnonzero(~contour.voiced[start + shortest : start + longest])
        stop = start + (shortest + int(rests[0]) if len(rests) else min(longest, len(pitch) - start))
        phrases.append(pitch[start:stop])
        start = stop
    return [phrase for phrase in phrases if len(np.unique(phrase[~np.isnan(phrase)])) >= 3]


def recombined(phrases: list[np.ndarray], rng: np.random.Generator, duration_s: float) -> Melody:
    """Make a song of about ``duration_s``; ``phrases`` are those of all songs (:func:`phrases_of`)."""
    chosen = rng.integers(len(phrases), size=rng.integers(*PHRASES_PER_SONG))
    speed = FASTEST_SONG ** rng.uniform(-1, 1)
    own = [_changed(phrases[number], speed, rng) for number in chosen]
    parts, n_frames = list(own), sum(map(len, own))
    while n_frames < duration_s * FRAME_RATE_HZ:
        parts.append(own[rng.integers(len(own))])
        n_frames += len(parts[-1])
    return Melody(np.concatenate(parts)[: max(len(own[0]), round(duration_s * FRAME_RATE_HZ))])


def _changed(phrase: np.ndarray, speed: float, rng: np.random.Generator) -> np.ndarray:
    cut = rng.integers(0, round(LONGEST_CUT_S * FRAME_RATE_HZ), size=2)
    shorter = phrase[cut[0] : len(phrase) - cut[1]]
    phrase = phrase if np.isnan(shorter).all() else shorter
    speed *= FASTEST_PHRASE ** rng.uniform(-1, 1)
    frames = (np.arange(int(len(phrase) / speed)) * speed).astype(int)
    middle = MIDDLE_MIDI + rng.integers(-HIGHEST_MEDIAN_ST, HIGHEST_MEDIAN_ST + 1)
    shifted = phrase[frames] + np.round(middle - np.nanmedian(phrase))
    return np.clip(shifted, 0.0, 127.0)
