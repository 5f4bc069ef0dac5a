"""Which catalog entries are versions of the same tune.

Hymns share tunes under other words, a carol stands in three books: a hum cannot tell such entries apart, so they share
one probability. Two entries are versions when the shorter one, piece by piece, lies nearly note for note in the longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hmm2song.match.search import MelodySearch
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody

PIECE_S = 10.0
"""Length of a piece: two phrases."""
MAX_PIECES = 4
"""Pieces compared: further ones are other verses."""
SAME_TUNE_COST_ST = 0.2
"""Mean alignment cost of the pieces, in semitones, below which it is the same tune: some passing notes may differ."""
SAME_PIECE_COST_ST = 0.3
"""No piece may cost more: tunes that only begin alike are different."""


def group_versions(melodies: Sequence[Melody], progress: Callable[[int, int], None] | None = None) -> tuple[int, ...]:
    """Return for each melody the position of the first melody that is a version of the same tune.

    Every melody has a voiced frame; ``progress`` is called with (melodies done, melodies in all).
    """
    search = MelodySearch(melodies, key_reach_st=0.0)
    contours = [fill_rests(melody) for melody in melodies]
    pieces = [_cut(contour) for contour in contours]
    group = np.arange(len(melodies))
    for position in range(len(melodies)):
        mask = np.ones(len(melodies), dtype=bool)
        mask[position] = False
        opening = search.rank(pieces[position][0], mask)
        for other in opening.song[opening.cost_st < SAME_PIECE_COST_ST]:
            # Only with the first of a group: chains of small resemblances would join half the catalog.
            first, second = sorted((position, int(other)))
            if group[first] != first or group[second] != second:
                continue
            shorter, longer = sorted((first, second), key=lambda index: contours[index].duration_s)
            if _lies_in(search, pieces[shorter], longer):
                group[group == second] = first
        if progress:
            progress(position + 1, len(melodies))
    return tuple(int(first) for first in group)


def _cut(contour: FilledContour) -> list[FilledContour]:
    """Cut the beginning of a contour into whole pieces; one shorter than a piece is one piece."""
    length = round(PIECE_S * FRAME_RATE_HZ)
    n_pieces = min(MAX_PIECES, max(1, len(contour.pitch_midi) // length))
    starts = [number * length for number in range(n_pieces)]
    return [contour.part(start, start + length) for start in starts]


def _lies_in(search: MelodySearch, pieces: list[FilledContour], song: int) -> bool:
    """Tell whether every piece lies in one song."""
    mask = np.zeros(search.n_songs, dtype=bool)
    mask[song] = True
    costs_st = [search.rank(piece, mask).cost_st for piece in pieces]
    if not all(len(cost_st) for cost_st in costs_st):
        return False
    worst_st, mean_st = np.max(costs_st), np.mean(costs_st)
    return bool(worst_st < SAME_PIECE_COST_ST and mean_st < SAME_TUNE_COST_ST)
