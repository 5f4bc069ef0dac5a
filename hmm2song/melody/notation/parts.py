"""Which part of a song is the tune: one rule for all notations.

A reader hands over its parts at sounding pitch. Each part is weighed by what can be heard or sung of it, as sums of
evidence:

* **lyrics**: syllables under its notes, against the part with the most. They outweigh all the rest;
* **one voice**: how much of it remains when chords are reduced to their top notes;
* **height**: the tune of a song, hymn or lead sheet lies on top, but in the range of voices;
* **share of the song**: an intro, a riff or a descant sounds for a while only;
* **pace**: notes per second and the size of its steps: neither a held pad nor an arpeggio is sung;
* **name**: a hint only. "Voice Oohs" and "Lead Guitar" are names of sounds, and "Flute" may be the singer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import Note
from hmm2song.melody.notation.lines import skyline

TUNE_WORDS = (
    "melod", "mélod", "tune", "song", "vocal", "vocals", "vokal", "voice", "voices", "vox", "singer", "gesang",
    "stimme", "zang", "sang", "sång", "chant", "voix", "canto", "cantus", "voce", "voz", "veu", "laulu", "śpiew",
    "głos", "zpěv", "ének", "soprano", "sopran", "mezzo", "alto", "tenor", "bariton", "мелод", "вокал", "голос",
    "멜로디", "보컬", "노래", "メロディ", "ボーカル", "歌", "唱", "旋律", "人声", "人聲",
)  # fmt: skip
"""Beginnings or ends of words by which people name the sung part."""
LEAD_WORDS = frozenset({"lead", "solo", "solist", "solista", "cantor", "kantor"})
"""Words for the tune or for an instrument that plays alone."""
OTHER_WORDS = (
    "back", "harmon", "choir", "chor", "coro", "合唱", "ooh", "aah", "pad", "synth", "bass", "drum", "percuss", "piano",
    "klavier", "organ", "orgel", "guitar", "gitarre", "sax", "chord", "accomp", "begleit", "string", "rhythm", "left",
    "harp", "continuo", "timpani", "tuba",
)  # fmt: skip
"""Beginnings of words by which people name what accompanies it, or a sound."""
BASS_PROGRAMS = range(32, 40)
EFFECT_PROGRAMS = range(96, 104)
SOUND_PROGRAMS = range(112, 128)
"""General MIDI, counted from 0: basses, synthesizer effects, percussion and noises."""

LYRICS_WEIGHT, NAME_WEIGHT, PROGRAM_WEIGHT = 8.0, 2.5, 1.5
ONE_VOICE_WEIGHT, HEIGHT_WEIGHT, RANGE_WEIGHT, SHARE_WEIGHT = 2.5, 1.5, 1.0, 3.0
PACE_WEIGHT, STEP_WEIGHT, VARIETY_WEIGHT = 1.0, 1.0, 1.0
LOW_MIDI, HIGH_MIDI = 52, 79
"""Median pitches that people sing or a tune is written at; further out, parts are basses and decorations."""
SLOW_PER_S, FAST_PER_S = 0.4, 6.0
"""Notes per second of a tune, while it sounds."""
WIDE_STEP_ST = 4.0
"""Mean step in semitones from which a line is rather an arpeggio."""
CLEAR_SCORE = 0.3
"""A lead of less evidence than this is doubtful."""
WINDOW_S = 4.0
"""The song is counted in windows of this length; a part takes part where one of its notes begins."""


@dataclass(frozen=True)
class Part:
    """A part as a reader hands it over.

    ``notes`` are at sounding pitch, in any order; ``n_syllables`` counts those with a syllable of lyrics;
    ``program`` is its General MIDI sound from 0, None if not known. Percussion is left out by the reader.
    """

    name: str
    notes: tuple[Note, ...]
    n_syllables: int = 0
    program: int | None = None


@dataclass(frozen=True)
class RankedPart:
    """A part, its line of one voice, the evidence for it (by name, in any unit) and the sum of that."""

    part: Part
    line: tuple[Note, ...]
    evidence: dict[str, float]

    @property
    def score(self) -> float:
        """The sum of the evidence; the highest is the tune."""
        return sum(self.evidence.values())


def melody_line(parts: Sequence[Part]) -> list[Note]:
    """Choose the melody part and reduce it to one voice; ScoreError if no part has a note."""
    return list(rank_parts(parts)[0].line)


def rank_parts(parts: Sequence[Part]) -> list[RankedPart]:
    """Return the parts that have notes, the likeliest tune first; ScoreError if none has."""
    sounding = [part for part in parts if part.notes]
    lines = [tuple(skyline(part.notes)) for part in sounding]
    if not any(lines):
        raise ScoreError("there are no pitched notes in it")
    windows = [{int(onset_s / WINDOW_S) for onset_s, _, _ in line} for line in lines]
    n_windows, most_notes = max(map(len, windows)), max(map(len, lines))
    top_midi = max(
        median(midi for _, _, midi in line)
        for line, in_windows in zip(lines, windows, strict=True)
        if 2 * len(in_windows) >= n_windows
    )
    most_syllables = max(part.n_syllables for part in sounding)
    ranked = [
        RankedPart(
            part,
            line,
            {
                "lyrics": _lyrics(part, line, most_syllables),
                "name": NAME_WEIGHT * _name_hint(part.name),
                "sound": -PROGRAM_WEIGHT * _is_no_tune(part.program),
                "share of the song": SHARE_WEIGHT
                * min(1.0, 1.5 * len(in_windows) / n_windows, 4 * len(line) / most_notes),
                **_heard(part, line, top_midi),
            },
        )
        for part, line, in_windows in zip(sounding, lines, windows, strict=True)
        if line
    ]
    return sorted(ranked, key=lambda candidate: -candidate.score)


def doubts(ranked: Sequence[RankedPart]) -> tuple[str, ...]:
    """Return a warning if the second part is nearly as likely the tune as the first and is another line."""
    if len(ranked) < 2 or ranked[0].score - ranked[1].score >= CLEAR_SCORE or ranked[0].line == ranked[1].line:
        return ()
    taken, other = (f"{candidate.part.name!r:.60}" for candidate in ranked[:2])
    gains = {kind: gain - ranked[1].evidence[kind] for kind, gain in ranked[0].evidence.items()}
    reasons = ", ".join(kind for kind, gain in sorted(gains.items(), key=lambda item: -item[1]) if gain > 0.01)
    return (f"the tune may be in part {other}, not in {taken}, which was taken for its {reasons or 'place'}",)


def _lyrics(part: Part, line: Sequence[Note], most_syllables: int) -> float:
    """Weigh how well the part's notes and all syllables cover each other (F1).

    So neither a word or two over a piano is a tune, nor a busy part some of whose notes begin with another's syllables.
    """
    if not part.n_syllables:
        return 0.0
    return LYRICS_WEIGHT * min(1.0, 2 * part.n_syllables / (most_syllables + len(line)))


def _heard(part: Part, line: Sequence[Note], top_midi: float) -> dict[str, float]:
    pitches = [midi for _, _, midi in line]
    middle = median(pitches)
    sounding_s = sum(duration_s for _, duration_s, _ in line)
    steps = [abs(second - first) for first, second in pairwise(pitches)]
    rate = len(line) / max(sounding_s, 1e-3)
    outside_octaves = (max(0.0, LOW_MIDI - middle) + max(0.0, middle - HIGH_MIDI)) / 12
    repeated = sum(step == 0 for step in steps) / len(steps) if steps else 0.0
    return {
        "one voice": ONE_VOICE_WEIGHT * len(line) / len({(onset_s, midi) for onset_s, _, midi in part.notes}),
        "height": -HEIGHT_WEIGHT * min(1.5, max(0.0, top_midi - middle) / 12),
        "range": -RANGE_WEIGHT * min(3.0, outside_octaves),
        "pace": -PACE_WEIGHT * (min(2.0, max(0.0, rate / FAST_PER_S - 1)) + min(2.0, max(0.0, SLOW_PER_S / rate - 1))),
        "steps": -STEP_WEIGHT * min(2.0, max(0.0, (fmean(steps) if steps else 0.0) / WIDE_STEP_ST - 1)),
        "variety": -VARIETY_WEIGHT * max(0.0, repeated - 0.5),
    }


def _name_hint(name: str) -> float:
    """Return 1 for a name of the sung part, less than 0 for one of the accompaniment or of a sound, 0 for others."""
    words = re.findall(r"[^\W\d_]+", name.casefold())
    if any(word.startswith(OTHER_WORDS) for word in words):
        return -0.5
    if any(word.startswith(TUNE_WORDS) or word.endswith(TUNE_WORDS) for word in words):
        return 1.0
    return 0.5 * bool(LEAD_WORDS & set(words))


def _is_no_tune(program: int | None) -> bool:
    return program is not None and (program in BASS_PROGRAMS or program in EFFECT_PROGRAMS or program in SOUND_PROGRAMS)
