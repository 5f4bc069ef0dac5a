"""From chords to the one line people sing.

Chords are reduced to the top note, the "skyline" of Uitdenbogerd and Zobel (1998), "Manipulation of music for melody
matching", which they found the best of the simple ways.
"""

from __future__ import annotations

from collections.abc import Sequence

from hmm2song.melody.notation.bars import Note

LEGATO_S = 0.15
"""Longest overlap, in seconds, of two notes that a player meant to be one after the other."""


def skyline(notes: Sequence[Note]) -> list[Note]:
    """Reduce notes to one voice: the top note of a chord, the moving voice over a held lower one.

    A lower note that starts under a sounding higher one is accompaniment, unless it is merely played legato
    (covered for at most :data:`LEGATO_S` and half of its length): then the higher one ends where it starts.
    ``notes`` may have any order; those returned are in order of onset, without overlaps.
    """
    line: list[Note] = []
    for onset_s, duration_s, midi in sorted(notes, key=lambda note: (note[0], -note[2])):
        if duration_s <= 0:
            continue
        if line:
            last_onset_s, last_duration_s, last_midi = line[-1]
            covered_s = last_onset_s + last_duration_s - onset_s
            accompanies = covered_s > min(LEGATO_S, duration_s / 2)
            if onset_s == last_onset_s or (midi < last_midi and accompanies):
                continue
            if covered_s > 0:
                line[-1] = (last_onset_s, onset_s - last_onset_s, last_midi)
        line.append((onset_s, duration_s, midi))
    return line
