"""MEI (https://music-encoding.org), common Western notation: XML -> header and parts.

Honoured: measures, staves and layers, beams, tuplets (also as spans), chords, ties (attributes and elements), dots,
rests of a bar and of several, repeated bars, repeats, endings, expansions (which replace the repeats), ``repeatMark``
and directions such as "D.C. al Fine", accidentals written and sounding, key signatures, transposing instruments, tempo,
lyrics; of alternative readings the one that an edition prefers. Dropped: grace and cue notes, ossias, percussion.
A tremolo is one note, as a hum would hold it.

Where a document says anywhere how a note sounds (``accid.ges``), notes without a sign are natural, as the guidelines
want it. Otherwise the key signature and the earlier signs of the bar apply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from xml.etree.ElementTree import Element

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import MAX_PLAYED_BARS, Bar, parse_endings, play_order
from hmm2song.melody.notation.mei_layers import ID, QUARTERS_OF_DUR, LayerReader, Links, StaffState, children, dotted
from hmm2song.melody.notation.parts import Part
from hmm2song.melody.notation.xml import number, text_at, words

MAX_STAVES = 128
MAX_BAR_Q = 4096
"""Longest bar in quarters; longer is damage."""
DRUM_CHANNEL = "10"


@dataclass(frozen=True)
class Movement:
    """An ``mdiv``: its label, its parts, and what could not be read."""

    label: str
    parts: tuple[Part, ...]
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeiDocument:
    """Title, composers and rights from the header, and the movements."""

    title: str
    composers: tuple[str, ...]
    rights: str
    movements: tuple[Movement, ...]


def parse_mei(root: Element) -> MeiDocument:
    """Read a document; ScoreError if it has no score in measures, impossible numbers or too much music."""
    is_sounding = any("accid.ges" in element.attrib for element in root.iter())
    scores = [
        (mdiv.get("label", ""), mdiv.findall("score") or mdiv.findall("parts/part")) for mdiv in root.iter("mdiv")
    ]
    scores = [(label, found) for label, found in scores if found] or [("", list(root.iter("score")))]
    if not scores[0][1]:
        raise ScoreError("there is no <score> in it")
    file, work = root.find("meiHead/fileDesc"), root.find("meiHead//work")
    header = [element for element in (file, work) if element is not None]
    composers = [
        words(person)
        for element in header
        for person in element.iter()
        if person.tag == "composer" or person.get("role", "").lower() in ("composer", "cmp", "lyricist")
    ]
    return MeiDocument(
        next(filter(None, (text_at(element, path) for path in ("titleStmt/title", "title") for element in header)), ""),
        tuple(dict.fromkeys(filter(None, composers))),
        text_at(file, "pubStmt/availability") if file is not None else "",
        tuple(_movement(label, [_ScoreReader(score, is_sounding) for score in found]) for label, found in scores),
    )


def _movement(label: str, readers: list[_ScoreReader]) -> Movement:
    """Put the parts of an ensemble together, each of which may stand in a score of its own."""
    parts = tuple(part for reader in readers for part in reader.parts())
    return Movement(label, parts, tuple(fault for reader in readers for fault in reader.links.lost))


class _ScoreReader:
    def __init__(self, score: Element, is_sounding: bool) -> None:
        self.links = Links(score, is_sounding)
        self.plan: list[Bar] = []
        self.staves: dict[str, StaffState] = {}
        self.order_of: dict[str, list[int]] = {}  # bars by the id of a section, ending or measure
        self.is_expanded = self.starts_repeat = False
        self.metre_q, self.beat_q = Fraction(4), Fraction(1)
        self.tempo: float | None = None
        self.order = self._section(score, frozenset())

    def parts(self) -> Iterator[Part]:
        """Play all staves by the same plan."""
        order = self.order if self.is_expanded else play_order(self.plan)
        return (state.staff.play(self.plan, order) for state in self.staves.values() if not state.is_drums)

    def _section(self, section: Element, endings: frozenset[int]) -> list[int]:
        """Read a section; return its bars in the order they are played, apart from repeat signs."""
        order: list[int] = []
        expansion = None
        n_endings = 0
        for child in children(section):
            bars: list[int] = []
            if child.tag == "measure":
                bars = [len(self.plan)]
                self._measure(child, endings)
            elif child.tag == "section":
                bars = self._section(child, endings)
            elif child.tag == "ending":
                n_endings += 1
                bars = self._section(child, parse_endings(child.get("n", "")) or frozenset({min(n_endings, 99)}))
            elif child.tag == "expansion":
                expansion = expansion or child.get("plist", "").split()
            elif child.tag == "scoreDef":
                self._score_def(child)
            elif child.tag == "staffDef":
                self._staff_def(child)
            self.order_of[child.get(ID, "")] = bars
            order += bars
            if len(order) > MAX_PLAYED_BARS:
                raise ScoreError(f"there are more than {MAX_PLAYED_BARS} bars")
        wanted = [ref.lstrip("#") for ref in expansion or ()]
        if unknown := [ref for ref in wanted if not self.order_of.get(ref)]:
            self.links.lost.append(f"an expansion names {unknown[0][:40]!r}, which is no section with bars")
        elif wanted:
            self.is_expanded, order = True, []
            for ref in wanted:
                order += self.order_of[ref]
                if len(order) > MAX_PLAYED_BARS:
                    raise ScoreError(f"the expansion unfolds to more than {MAX_PLAYED_BARS} bars")
        return order

    def _score_def(self, element: Element) -> None:
        self._metre(element)
        for state in self.staves.values():
            state.define(element)
        self.tempo = _quarter_bpm(element) or self.tempo
        for staff_def in element.iter("staffDef"):
            self._staff_def(staff_def, element)
        for group in element.iter("staffGrp"):
            for staff_def in group.findall("staffDef"):
                staff = self.staves[staff_def.get("n", "1")].staff
                staff.name = staff.name or group.get("label", "") or text_at(group, "label")

    def _staff_def(self, element: Element, score_def: Element | None = None) -> None:
        state = self.staves.setdefault(element.get("n", "1"), StaffState())
        if len(self.staves) > MAX_STAVES:
            raise ScoreError(f"there are more than {MAX_STAVES} staves")
        state.staff.name = element.get("label", "") or text_at(element, "label") or state.staff.name
        if "trans.semi" in element.attrib:
            state.transpose_st = number(element.get("trans.semi", "")) or 0.0
        for definition in (score_def, element, *element.iterfind("layerDef")):
            if definition is not None:
                state.define(definition)
        self._metre(element)
        instrument = next(element.iter("instrDef"), None)
        if instrument is not None:
            state.is_drums = instrument.get("midi.channel") == DRUM_CHANNEL
            program = number(instrument.get("midi.instrnum", ""))
            state.staff.program = None if program is None else int(program)
        clefs = [element.get("clef.shape", ""), *(clef.get("shape", "") for clef in element.iterfind("clef"))]
        state.is_drums = state.is_drums or "perc" in clefs

    def _metre(self, element: Element) -> None:
        sign = element.find("meterSig")
        count = element.get("meter.count", "") if sign is None else sign.get("count", "")
        unit = element.get("meter.unit", "") if sign is None else sign.get("unit", "")
        if re.fullmatch(r"\d{1,3}(\s*\+\s*\d{1,3}){0,8}", count) and unit in QUARTERS_OF_DUR:
            self.beat_q = Fraction(QUARTERS_OF_DUR[unit])
            self.metre_q = self.beat_q * sum(map(int, count.split("+")))

    def _measure(self, measure: Element, endings: frozenset[int]) -> None:
        left, right = measure.get("left", ""), measure.get("right", "")
        bar = Bar(endings=endings, starts_repeat=self.starts_repeat or left in ("rptstart", "rptboth"))
        if left in ("rptend", "rptboth") and self.plan:
            self.plan[-1].times = 2
        bar.times = 2 if right in ("rptend", "rptboth") else 0
        self.starts_repeat = right in ("rptstart", "rptboth")
        self.plan.append(bar)
        if self.tempo is not None:
            bar.tempos.append((Fraction(0), self.tempo))
            self.tempo = None
        for child in children(measure):
            if child.tag == "staff":
                self._staff(child, bar)
            elif child.tag == "tempo" and (quarter_bpm := _quarter_bpm(child)) is not None:
                beat = max(1.0, number(child.get("tstamp", "")) or 1.0)
                bar.tempos.append((Fraction(round((beat - 1) * 96), 96) * self.beat_q, quarter_bpm))
            elif child.tag == "repeatMark":
                bar.mark(child.get("func", "") or words(child))
            elif child.tag == "dir":
                bar.mark(words(child))
        bar.length_q = bar.length_q or self.metre_q

    def _staff(self, element: Element, bar: Bar) -> None:
        state = self.staves.setdefault(element.get("n", "1"), StaffState())
        for definition in element.iterfind("staffDef"):
            self._staff_def(definition)
        alters: dict[tuple[str, int], float] = {}
        for layer in children(element):
            if layer.tag == "layer":
                reader = LayerReader(state, layer.get("n", "1"), self.plan, self.metre_q, self.links, alters)
                reader.read(layer, Fraction(1))
                bar.length_q = max(bar.length_q, reader.now_q)
                if bar.length_q > MAX_BAR_Q:
                    raise ScoreError(f"bar {len(self.plan)} is longer than {MAX_BAR_Q} quarters")


def _quarter_bpm(element: Element) -> float | None:
    """Return quarter notes per minute; None where the element only holds words."""
    quarter_bpm = number(element.get("midi.bpm", ""))
    us_per_quarter = number(element.get("midi.mspb", ""))
    rate, unit_q = number(element.get("mm", "")), QUARTERS_OF_DUR.get(element.get("mm.unit", "4"))
    if quarter_bpm is None and us_per_quarter:
        return 6e7 / us_per_quarter
    if quarter_bpm is None and rate is not None and unit_q is not None:
        return rate * float(unit_q * dotted(element.get("mm.dots", "")))
    return quarter_bpm
