"""Humdrum ``**kern`` (https://www.humdrum.org/rep/kern/): text -> reference records and parts.

Honoured: spines that split, join, swap, start and end, durations as numbers, rationals (``3%2``) and breves, dots,
chords, ties, repeats, expansion lists (``*>[A,A,B]``, which replace the repeat signs), ``*MM`` tempi, lyrics in
``**text`` and ``**silbe``. Kern writes sounding pitches with all accidentals, so key signatures, clefs and
transpositions (``*k``, ``*ITr``, ``*Tr``) change nothing. Dropped: grace notes, ornaments, other spines.

Each voice states when its last note ends, so the time of a line is what most voices with a note in it say. A voice that
was miscounted is right again from the next line on that it shares with others.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction
from html import unescape
from itertools import groupby

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import MAX_NOTES, MAX_PLAYED_BARS, Bar, BarNote, parse_endings, play_order
from hmm2song.melody.notation.kern_tokens import parse_token
from hmm2song.melody.notation.parts import Part
from hmm2song.melody.notation.staves import Staff, WrittenNote

KERN, LYRICS = "**kern", frozenset({"**text", "**silbe", "**sylb", "**lyrics"})
MAX_SPINES = 256
SEGMENT = re.compile(r"^!!!!SEGMENT.*$", re.MULTILINE)
SPINES = re.compile(r"^\*\*", re.MULTILINE)
RECORD = re.compile(r"!!!\s*([A-Za-z]+\d*)(@*[A-Za-z]*)\s*:(.*)")
REPEAT = re.compile(r"(:?)[|!]+(:?)")
ENDING = re.compile(r"\d(st|nd|rd|th) ending")
EXPANSION = re.compile(r"\*>\[(.*)\]")
TEMPO = re.compile(r"\*MM(\d{1,4}(?:\.\d{1,4})?)")


@dataclass(frozen=True)
class KernScore:
    """Reference records ``(key, language, text)`` in order, as in ``!!!OTL@@DE: Ade``, the parts, and what was lost."""

    records: tuple[tuple[str, str, str], ...]
    parts: tuple[Part, ...]
    lost: tuple[str, ...] = ()

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the texts of all records of this key, those in the original language first."""
        found = [(language, text) for record, language, text in self.records if record == key and text]
        return tuple(text for _, text in sorted(found, key=lambda text: text[0][:2] not in ("", "@@")))


@dataclass(frozen=True)
class _Spine:
    kind: str
    staff: int  # -1 for spines without notes
    voice: str = ""
    now_q: Fraction = Fraction(0)  # end of its last note
    has_notes: bool = False


@dataclass
class _Pending:
    """What stands before the next notes and takes effect with them."""

    is_new_bar: bool = False
    starts_repeat: bool = False
    labels: list[str] = field(default_factory=list)
    tempo: float | None = None


def split_segments(text: str) -> list[str]:
    """Return the scores of a file: each ``!!!!SEGMENT`` starts one."""
    return [segment for segment in SEGMENT.split(text) if SPINES.search(segment)] or [text]


def parse_score(text: str) -> KernScore:
    """Read one score; ScoreError without a ``**kern`` spine or with too much music."""
    reader = _Reader()
    records, is_lost = [], False
    for number, line in enumerate(re.split(r"\r\n?|\n", text), start=1):
        if record := RECORD.match(line):
            records.append((record[1].upper(), record[2].upper(), unescape(record[3]).strip()))
        elif line and not line.startswith("!") and not is_lost:
            tokens = line.split("\t")
            is_lost = len(tokens) != len(reader.spines) and not all(token.startswith("**") for token in tokens)
            if is_lost:
                found = f"line {number} has {len(tokens)} columns for {len(reader.spines)} spines"
                reader.lost.append(f"{found}; nothing is read from there on")
            else:
                reader.read_line(number, tokens)
    parts = reader.parts()
    return KernScore(tuple(records), parts, tuple(reader.lost))


class _Reader:
    def __init__(self) -> None:
        self.spines: list[_Spine] = []
        self.staves: list[Staff] = []
        self.plan: list[Bar] = [Bar()]
        self.bar_start_q = self.line_q = self.end_q = Fraction(0)
        self.pending = _Pending()
        self.labels: dict[str, int] = {}  # section -> its first bar
        self.expansion: list[str] | None = None
        self.endings: frozenset[int] = frozenset()
        self.n_notes = 0
        self.lost: list[str] = []

    def parts(self) -> tuple[Part, ...]:
        if not self.staves:
            raise ScoreError("there is no **kern spine in it")
        self.plan[-1].length_q = self.end_q - self.bar_start_q
        order = self._expanded() or play_order(self.plan)
        return tuple(staff.play(self.plan, order) for staff in self.staves)

    def read_line(self, number: int, tokens: list[str]) -> None:
        if all(token.startswith("**") for token in tokens):
            self.spines = [self._spine(token) for token in tokens]
        elif tokens[0].startswith("*"):
            self._interpret(tokens)
        elif any(token.startswith("=") for token in tokens):
            self._bar_line(next(token for token in tokens if token.startswith("=")))
        else:
            self._notes(number, tokens)

    def _spine(self, kind: str) -> _Spine:
        if kind != KERN:
            return _Spine(kind, -1)
        self.staves.append(Staff())
        if len(self.staves) > MAX_SPINES:
            raise ScoreError(f"there are more than {MAX_SPINES} spines")
        return _Spine(kind, len(self.staves) - 1, now_q=self.line_q)

    def _interpret(self, tokens: list[str]) -> None:
        for spine, token in zip(self.spines, tokens, strict=True):
            if token.startswith('*I"') and spine.staff >= 0:
                self.staves[spine.staff].name = self.staves[spine.staff].name or unescape(token[3:])
        token = next((token for spine, token in zip(self.spines, tokens, strict=True) if spine.kind == KERN), "")
        if expansion := EXPANSION.match(token):
            self.expansion = expansion[1].split(",")
        elif token.startswith("*>") and "[" not in token:
            self.pending.labels.append(token[2:])
        elif tempo := TEMPO.match(token):
            self.pending.tempo = float(tempo[1])
        if any(token in ("*^", "*v", "*x", "*+", "*-") or token.startswith("**") for token in tokens):
            self._change_spines(tokens)

    def _change_spines(self, tokens: list[str]) -> None:
        """Split, join, swap, start, end and rename spines."""
        swapped = [index for index, token in enumerate(tokens) if token == "*x"]
        spines = list(self.spines)
        for first, second in zip(swapped[::2], swapped[1::2], strict=False):
            spines[first], spines[second] = spines[second], spines[first]
        changed: list[_Spine] = []
        pairs = zip(spines, tokens, strict=True)
        for (is_join, _), group in groupby(pairs, key=lambda pair: (pair[1] == "*v", pair[0].staff)):
            members = list(group)
            if is_join:
                first, last = members[0][0], max((spine for spine, _ in members), key=lambda spine: spine.now_q)
                changed.append(replace(last, voice=first.voice))
                continue
            for spine, token in members:
                if token == "*^":
                    changed += [spine, replace(spine, voice=spine.voice + "2", has_notes=False)]
                elif token == "*+":
                    changed += [spine, _Spine("", -1)]
                elif token.startswith("**"):
                    changed.append(self._spine(token))
                elif token != "*-":
                    changed.append(spine)
        if len(changed) > MAX_SPINES:
            raise ScoreError(f"there are more than {MAX_SPINES} spines")
        self.spines = changed

    def _bar_line(self, token: str) -> None:
        repeat = REPEAT.search(token)
        if repeat and repeat[1]:
            self.plan[-1].times = 2
        self.pending.starts_repeat |= bool(repeat and repeat[2])
        self.pending.is_new_bar = True

    def _notes(self, number: int, tokens: list[str]) -> None:
        """Place the notes of a line. Lyrics stand to the right of the spine they belong to."""
        timed = []
        for index, token in enumerate(tokens):
            if token != "." and self.spines[index].kind == KERN:
                try:
                    parsed = parse_token(token)
                except ScoreError as error:
                    self.lost.append(f"line {number}: {error}")
                    continue
                timed += [(index, *parsed)] if parsed else []
        if not timed:
            return
        self._begin_line([self.spines[index] for index, _, _ in timed])
        sung, staff = set(), -1
        for spine, token in zip(self.spines, tokens, strict=True):
            if spine.kind == KERN:
                staff = spine.staff
            elif spine.kind in LYRICS and token.strip() not in (".", ""):
                sung.add(staff)
        onset_q, bar = self.line_q - self.bar_start_q, len(self.plan) - 1
        for index, duration_q, pitches in timed:
            spine = self.spines[index]
            self.spines[index] = replace(spine, now_q=self.line_q + duration_q, has_notes=True)
            self.staves[spine.staff].notes[bar] += [
                WrittenNote(BarNote(onset_q, duration_q, midi, tied), spine.voice, spine.staff in sung)
                for midi, tied in pitches
            ]
            sung.discard(spine.staff)  # the syllable is that of the first voice
            self.n_notes += len(pitches)
            self.end_q = max(self.end_q, self.spines[index].now_q)
        if self.n_notes > MAX_NOTES:
            raise ScoreError(f"there are more than {MAX_NOTES} notes")

    def _begin_line(self, spines: list[_Spine]) -> None:
        """Set the time of the line and begin the bar that was announced before it."""
        claims = Counter(spine.now_q for spine in spines if spine.has_notes and spine.now_q > self.line_q)
        if claims:
            self.line_q = min(claims, key=lambda claim_q: (-claims[claim_q], claim_q))
        elif self.n_notes:
            ends = [spine.now_q for spine in self.spines if spine.now_q > self.line_q]
            self.line_q = min(ends, default=self.line_q)
        pending, self.pending = self.pending, _Pending()
        if (pending.is_new_bar or pending.labels) and self.line_q > self.bar_start_q:
            self.plan[-1].length_q = self.line_q - self.bar_start_q
            self.bar_start_q = self.line_q
            self.plan.append(Bar())
            if len(self.plan) > MAX_PLAYED_BARS:
                raise ScoreError(f"there are more than {MAX_PLAYED_BARS} bars")
        self.plan[-1].starts_repeat |= pending.starts_repeat
        self.labels.update(dict.fromkeys(pending.labels, len(self.plan) - 1))
        for label in pending.labels:
            self.endings = parse_endings(label) if ENDING.fullmatch(label) else frozenset()
        self.plan[-1].endings = self.endings
        if pending.tempo is not None:
            self.plan[-1].tempos.append((self.line_q - self.bar_start_q, pending.tempo))

    def _expanded(self) -> list[int] | None:
        """Return the bars in the order of the expansion list; None without one, or if labels say more than it."""
        wanted = self.expansion or ()
        if not wanted or any(bar.endings for bar in self.plan):
            return None
        if unknown := [label for label in wanted if label not in self.labels]:
            self.lost.append(f"the expansion list names the section {unknown[0][:40]!r}, which is not there")
            return None
        starts = sorted({*self.labels.values(), len(self.plan)})
        order = list(range(starts[0]))
        for label in wanted:
            start = self.labels[label]
            order += range(start, next(end for end in starts if end > start))
            if len(order) > MAX_PLAYED_BARS:
                raise ScoreError(f"the expansion list unfolds to more than {MAX_PLAYED_BARS} bars")
        return order
