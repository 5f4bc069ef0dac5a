"""Written measures -> the order they are played in -> notes in seconds.

Conventions
-----------
* ``_q`` is a duration in quarter notes, kept as :class:`fractions.Fraction`: tuplets must add up exactly, or
  ties would not meet and bars would drift apart.
* A note is ``(onset_s, duration_s, midi)``, as everywhere in the package.
* Repeats are played as written. After a da capo or dal segno nothing is repeated again and the last ending is
  taken, which is how players read them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from hmm2song.errors import ScoreError

Note = tuple[float, float, float]
"""``(onset_s, duration_s, midi)``."""

DEFAULT_QUARTER_BPM = 120.0
"""Quarter notes per minute where a score states no tempo: the default of MIDI and of ABC players."""
MIN_QUARTER_BPM, MAX_QUARTER_BPM = 5.0, 1000.0
"""Tempi outside are typing errors or damage; they are ignored."""
MAX_PLAYED_BARS = 10_000
"""Bars after unfolding the repeats: hours of music, so more is a damaged or malicious file."""
MAX_ENDING = 99
"""Highest number of an ending: guards sets of passes written as "1-1000000000"."""
MAX_NOTES = 100_000
"""Notes of one score, after unfolding."""
SEMITONE_OF_STEP = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class BarNote:
    """A note within its bar; ``tied`` means it sounds on into the next note of the same pitch."""

    onset_q: Fraction
    duration_q: Fraction
    midi: float
    tied: bool = False


@dataclass
class Bar:
    """One written measure."""

    notes: list[BarNote] = field(default_factory=list)  # pitched, without grace notes, of any number of voices
    length_q: Fraction = Fraction(0)  # as written: a pickup bar is as long as its notes
    tempos: list[tuple[Fraction, float]] = field(default_factory=list)  # (position, quarters per minute from there on)
    starts_repeat: bool = False  # a forward repeat sign stands at the start
    after_double_bar: bool = False  # a repeat without a forward sign goes back to here
    times: int = 0  # how often the passage that ends here is played; 0 without a backward repeat sign at the end
    endings: frozenset[int] = frozenset()  # the passes this bar belongs to; empty for all
    segno: bool = False
    coda: bool = False
    fine: bool = False
    to_coda: bool = False
    jump: str = ""  # "dacapo" or "dalsegno" at the end of the bar

    def mark(self, text: str) -> None:
        """Note what printed words say about the order of playing, such as "D.S. al Coda"; ignore all other words."""
        letters = re.sub(r"[^a-z]", "", text[:60].lower())
        if letters.startswith(("dc", "dacapo")):
            self.jump = "dacapo"
        elif letters.startswith(("ds", "dalsegno")):
            self.jump = "dalsegno"
        elif letters in ("tocoda", "dacoda"):
            self.to_coda = True
        elif letters in ("segno", "fine", "coda"):
            setattr(self, letters, True)


def play_order(bars: Sequence[Bar]) -> list[int]:
    """Return the indices of ``bars`` in the order they are played; ScoreError above :data:`MAX_PLAYED_BARS`."""
    order: list[int] = []
    bars = _without_stray_endings(bars)
    position, section_start, times_played, jumped = 0, 0, 1, False
    last_passes = _last_passes(bars)
    codas = [index for index, bar in enumerate(bars) if bar.coda]
    to_codas = {index for index, bar in enumerate(bars) if bar.to_coda}
    if not to_codas and len(codas) > 1:  # two plain signs: leave at the first, go on at the last
        to_codas = {codas[0]}
    while position < len(bars):
        bar = bars[position]
        last_pass = last_passes[position]
        if jumped:
            times_played = last_pass
        elif _opens_section(bars, position, section_start):
            section_start, times_played = position, 1
        if bar.endings and times_played not in bar.endings:
            position += 1
            continue
        order.append(position)
        if len(order) > MAX_PLAYED_BARS:
            raise ScoreError(f"repeats unfold to more than {MAX_PLAYED_BARS} bars")
        if jumped and bar.fine:
            break
        if jumped and position in to_codas and codas and codas[-1] > position:
            position = codas[-1]
        elif not jumped and bar.times and times_played < max(bar.times, last_pass):
            position, times_played = section_start, times_played + 1
        elif not jumped and bar.jump:
            jumped = True
            segnos = [index for index in range(position + 1) if bars[index].segno]
            position = max(segnos, default=0) if bar.jump == "dalsegno" else 0
        else:
            position += 1
            more_endings_follow = bar.endings and position < len(bars) and bars[position].endings
            if bar.times and not more_endings_follow:
                section_start, times_played = position, 1
    return order


def _without_stray_endings(bars: Sequence[Bar]) -> Sequence[Bar]:
    """Return the bars, those of a second ending without a first one as bars of every pass."""
    groups: list[list[int]] = []
    for index, bar in enumerate(bars):
        if bar.endings:
            if not groups or groups[-1][-1] != index - 1 or bar.starts_repeat:
                groups.append([])
            groups[-1].append(index)
    stray = {index for group in groups if all(1 not in bars[index].endings for index in group) for index in group}
    return [replace(bar, endings=frozenset()) if index in stray else bar for index, bar in enumerate(bars)]


def _last_passes(bars: Sequence[Bar]) -> list[int]:
    """Return for each bar the highest ending number of its group of endings; 1 outside of groups."""
    last_passes = [1] * len(bars)
    group: list[int] = []
    for index, bar in enumerate(bars):
        if not bar.endings or bar.starts_repeat:
            group = []
        if bar.endings:
            group.append(index)
            highest = max(max(bar.endings), last_passes[group[0]])
            for member in group if highest > last_passes[group[0]] else group[-1:]:
                last_passes[member] = highest
    return last_passes


def _opens_section(bars: Sequence[Bar], position: int, section_start: int) -> bool:
    """Return whether counting passes starts afresh: at a forward sign, a double bar, on leaving a group of endings."""
    if position == section_start:
        return False
    left_endings = bars[position - 1].endings and not bars[position].endings
    after_double_bar = bars[position].after_double_bar and not bars[section_start].starts_repeat
    return bars[position].starts_repeat or bool(left_endings) or after_double_bar


def parse_endings(text: str) -> frozenset[int]:
    """Read the passes of an ending: ``"1"``, ``"1,3"``, ``"1-3"``, ``"1. 2."``; above 99 they are ignored."""
    passes: set[int] = set()
    for first, last in re.findall(r"(\d{1,4})(?:\s*-\s*(\d{1,4}))?", text):
        passes.update(range(int(first), min(int(last or first), MAX_ENDING) + 1))
    return frozenset(number for number in passes if 1 <= number <= MAX_ENDING)


def perform(bars: Sequence[Bar], order: Sequence[int] | None = None) -> list[Note]:
    """Play the bars: unfold the repeats (or take the ``order`` given), join ties, apply the tempo map.

    Returns the notes of all chords and voices in order of onset. Raises ScoreError for too many bars or notes.
    """
    played: list[list] = []  # [onset_q, end_q, midi]
    changes: list[tuple[Fraction, float]] = []
    open_ties: dict[float, int] = {}
    bar_start_q = Fraction(0)
    for index in play_order(bars) if order is None else order:
        bar = bars[index]
        tempos = sorted(bar.tempos, key=lambda tempo: tempo[0])  # of two at a place, the second counts
        changes += [(bar_start_q + at_q, bpm) for at_q, bpm in tempos if MIN_QUARTER_BPM <= bpm <= MAX_QUARTER_BPM]
        for note in sorted(bar.notes, key=lambda note: note.onset_q):
            onset_q = bar_start_q + note.onset_q
            earlier = open_ties.pop(note.midi, None)
            if earlier is not None and played[earlier][1] == onset_q:
                played[earlier][1] = onset_q + note.duration_q
            else:
                earlier = len(played)
                played.append([onset_q, onset_q + note.duration_q, note.midi])
            if note.tied:
                open_ties[note.midi] = earlier
        if len(played) > MAX_NOTES or len(changes) > MAX_NOTES:
            raise ScoreError(f"more than {MAX_NOTES} notes or tempo changes")
        bar_start_q += bar.length_q
    return _in_seconds(played, changes)


def _in_seconds(played: list[list], changes: list[tuple[Fraction, float]]) -> list[Note]:
    """Map quarter notes to seconds; ``changes`` are (position in quarter notes, quarter notes per minute)."""
    events = sorted({edge_q for onset_q, end_q, _ in played for edge_q in (onset_q, end_q)})
    second_of: dict[Fraction, float] = {}
    now_q, now_s, quarter_bpm, next_change = Fraction(0), 0.0, DEFAULT_QUARTER_BPM, 0
    for event_q in events:
        while next_change < len(changes) and changes[next_change][0] <= event_q:
            change_q, new_bpm = changes[next_change]
            now_s += float(change_q - now_q) * 60.0 / quarter_bpm
            now_q, quarter_bpm, next_change = change_q, new_bpm, next_change + 1
        second_of[event_q] = now_s + float(event_q - now_q) * 60.0 / quarter_bpm
    notes = [(second_of[on], second_of[end] - second_of[on], float(midi)) for on, end, midi in played]
    return sorted(notes)
