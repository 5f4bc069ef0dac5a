"""From many parts and chords to the one line people sing.

The part is chosen by its name where it has a telling one, else by its pitch: in songs, hymns and lead sheets
the tune lies on top. What remains of chords is reduced to the top note, the "skyline" of Uitdenbogerd and
Zobel (1998), "Manipulation of music for melody matching", which they found the best of the simple ways.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import Note

MELODY_WORDS = (
    "melody", "melodie", "melodia", "멜로디", "vocals", "vocal", "보컬", "voice", "vox", "lead", "singer",
    "song", "노래",
)  # fmt: skip
"""Words in a part's name that mark it as the tune, the surest first."""
ACCOMPANIMENT_WORDS = frozenset({"backing", "back", "background", "harmony", "choir", "bass", "drums"})
"""Words that take a part out of the running again ("backing vocals")."""
ENOUGH_NOTES_SHARE = 0.25
"""A part with fewer notes than this share of the busiest part's is decoration, however high."""
LEGATO_S = 0.15
"""Longest overlap, in seconds, of two notes that a player meant to be one after the other."""


@dataclass(frozen=True)
class Part:
    """A named part and its notes, in any order."""

    name: str
    notes: tuple[Note, ...]


def melody_line(parts: Sequence[Part]) -> list[Note]:
    """Choose the melody part and reduce it to one voice.

    The part whose name holds one of :data:`MELODY_WORDS` wins, unless it also holds one of :data:`ACCOMPANIMENT_WORDS`;
    else, among the parts with enough notes, the one with the highest mean pitch (weighted by duration). Drums must have
    been left out already. Raises ScoreError if no part has a note.
    """
    sounding = [part for part in parts if part.notes]
    if not sounding:
        raise ScoreError("there are no pitched notes in it")
    named = [part for part in sounding if _name_rank(part.name) < len(MELODY_WORDS)]
    if named:
        return skyline(min(named, key=lambda part: _name_rank(part.name)).notes)
    enough = ENOUGH_NOTES_SHARE * max(len(part.notes) for part in sounding)
    return skyline(max((part for part in sounding if len(part.notes) >= enough), key=_mean_midi).notes)


def _name_rank(name: str) -> int:
    words = set(re.findall(r"[^\W\d_]+", name.casefold()))
    if words & ACCOMPANIMENT_WORDS:
        return len(MELODY_WORDS)
    return min((rank for rank, word in enumerate(MELODY_WORDS) if word in words), default=len(MELODY_WORDS))


def _mean_midi(part: Part) -> float:
    total_s = sum(duration_s for _, duration_s, _ in part.notes)
    if total_s <= 0:
        return 0.0
    return sum(duration_s * midi for _, duration_s, midi in part.notes) / total_s


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
