"""Which catalog entries are versions of the same tune.

Hymns share tunes under other words, a carol stands in three books: a hum cannot tell such entries apart, so they share
one probability. Two entries are versions when the opening of one lies, nearly note for note, somewhere in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hmm2song.melody import FRAME_RATE_HZ, Melody
from hmm2song.search import MelodySearch
from hmm2song.windows import FilledContour, fill_rests

OPENING_S = 10.0
"""Stretch compared: two phrases, enough to tell tunes apart that begin alike."""
SAME_TUNE_COST_ST = 0.25
"""Mean alignment cost below which two openings are the same tune, in semitones: some passing notes may differ."""


def group_versions(melodies: Sequence[Melody], progress: Callable[[int, int], None] | None = None) -> tuple[int, ...]:
    """Return for each melody the position of the first melody that is a version of the same tune.

    Parameters
    ----------
    melodies : sequence of Melody, each with a voiced frame
    progress : callable, optional
        Called with (melodies done, melodies in all).
    """
    search = MelodySearch(melodies)
    group = np.arange(len(melodies))
    for position, melody in enumerate(melodies):
        contour = fill_rests(melody)
        opening = FilledContour(contour.pitch_midi[: round(OPENING_S * FRAME_RATE_HZ)], contour.offset_s)
        mask = np.ones(len(melodies), dtype=bool)
        mask[position] = False
        ranking = search.rank(opening, mask)
        for other in ranking.song[ranking.cost_st < SAME_TUNE_COST_ST]:
            merged = {group[position], group[other]}
            group[np.isin(group, list(merged))] = min(merged)
        if progress:
            progress(position + 1, len(melodies))
    return tuple(int(first) for first in group)
