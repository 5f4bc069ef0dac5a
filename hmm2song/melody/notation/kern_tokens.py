"""The tokens of ``**kern``: durations and pitches of a note, chord or rest."""

from __future__ import annotations

import re
from fractions import Fraction

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import SEMITONE_OF_STEP

MIDI_C4 = 60
"""``c`` is middle C, ``cc`` the octave above it, ``C`` the octave below, ``CC`` another one below."""
MAX_RECIPROCAL = 2048
"""Shortest note; together with three digits for all other numbers it keeps the exact sums small."""
MAX_DURATION_Q = 4096
NUMBER = re.compile(r"(\d{1,4})(?:%(\d{1,3}))?")
PITCH = re.compile(r"([a-g]+|[A-G]+)(#{1,3}|-{1,3})?")


def parse_token(token: str) -> tuple[Fraction, list[tuple[int, bool]]] | None:
    """Return duration and ``(midi, tied)`` of the notes of a token; None if it takes no time."""
    duration_q, pitches = None, []
    for note in token.split():
        if note == "." or "q" in note or "Q" in note:  # grace notes
            continue
        number = NUMBER.search(note)
        if number and duration_q is None:
            duration_q = _duration_q(number[1], number[2], note.count("."))
        pitch = PITCH.search(note)
        if pitch and "r" not in note:
            pitches.append((_midi(pitch[1], pitch[2] or ""), "[" in note or "_" in note))
    return (duration_q, pitches) if duration_q is not None else None


def _duration_q(number: str, numerator: str | None, dots: int) -> Fraction:
    """Read ``4`` (quarter), ``3%2`` (two thirds of a whole note), ``0`` and ``00`` (two and four whole notes)."""
    if not number.strip("0"):
        duration_q = Fraction(4 * 2 ** len(number))
    elif int(number) > MAX_RECIPROCAL:
        raise ScoreError(f"a duration of {number} is no note value")
    else:
        duration_q = Fraction(4 * int(numerator or 1), int(number))
    return min(duration_q * (2 - Fraction(1, 2 ** min(dots, 4))), Fraction(MAX_DURATION_Q))


def _midi(letters: str, accidental: str) -> int:
    octave = len(letters) - 1 if letters.islower() else -len(letters)
    midi = MIDI_C4 + 12 * octave + SEMITONE_OF_STEP[letters[0].upper()] + accidental.count("#") - accidental.count("-")
    if not 0 <= midi <= 127:
        raise ScoreError(f'the note "{letters[:20]}" is outside the range of pitches')
    return midi
