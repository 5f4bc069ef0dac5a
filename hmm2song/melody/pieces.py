"""Cutting a hum into pieces that are placed each for itself, where no single stretch of a song fits the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import HOP_S

MAX_PIECE_S = 15.0
"""Longer hums are cut: they may repeat a verse or wander."""
PAUSE_S = 1.0
"""Who is silent for longer may go on anywhere: most often, from the start again."""
MIN_PHRASE_S = 3.0
"""Less melody between two pauses fits too many songs to count by itself."""


def cut_evenly(hum: FilledContour) -> list[FilledContour]:
    """Cut a long hum into equally long pieces."""
    n_pieces = max(1, int(np.ceil(hum.duration_s / MAX_PIECE_S)))
    edges = np.linspace(0, len(hum.pitch_midi), n_pieces + 1).round().astype(int)
    return [hum.part(start, stop) for start, stop in pairwise(edges)]


def cut_at_pauses(hum: FilledContour) -> list[FilledContour]:
    """Return what is hummed between long pauses, without scraps; the hum itself where there is nothing to cut."""
    sung = np.flatnonzero(hum.voiced)
    last = np.flatnonzero((np.diff(sung) - 1) * HOP_S > PAUSE_S)
    if len(last) == 0:
        return [hum]
    firsts, lasts = sung[[0, *(last + 1)]], sung[[*last, -1]]
    phrases = [hum.part(int(first), int(final) + 1) for first, final in zip(firsts, lasts, strict=True)]
    return [phrase for phrase in phrases if phrase.voiced_s >= MIN_PHRASE_S] or [hum]
