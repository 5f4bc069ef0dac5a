"""The layers of MEI: beams, tuplets, chords, notes and rests of one voice in one bar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from xml.etree.ElementTree import Element

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import MAX_NOTES, MAX_PLAYED_BARS, SEMITONE_OF_STEP, Bar, BarNote
from hmm2song.melody.notation.staves import Staff, WrittenNote
from hmm2song.melody.notation.xml import number, words

ID = "{http://www.w3.org/XML/1998/namespace}id"
QUARTERS_OF_DUR = {"long": 16, "breve": 8} | {str(2**n): Fraction(4, 2**n) for n in range(12)}
ALTER_OF_ACCID = {
    "n": 0.0, "s": 1.0, "f": -1.0, "ss": 2.0, "x": 2.0, "ff": -2.0, "xs": 3.0, "sx": 3.0, "ts": 3.0, "tf": -3.0,
    "nf": -1.0, "ns": 1.0, "su": 1.5, "sd": 0.5, "fu": -0.5, "fd": -1.5, "nu": 0.5, "nd": -0.5,
    "1qs": 0.5, "3qs": 1.5, "1qf": -0.5, "3qf": -1.5,
}  # fmt: skip
SHARP_STEPS = "FCGDAEB"
PREFERRED = {"app": ("lem", "rdg"), "choice": ("corr", "reg", "expan", "sic", "orig", "abbr"), "subst": ("add",)}
"""Of alternative readings, the one that is played: the first of these."""
SILENT = frozenset({"graceGrp", "del", "ossia", "restore", "verse", "accid", "dot", "artic", "clef", "keySig"})


def children(element: Element) -> Iterator[Element]:
    """Yield the children; an editorial element is replaced by what it holds, alternatives by the preferred one."""
    for child in element:
        if child.tag in PREFERRED:
            readings = (child.find(tag) for tag in PREFERRED[child.tag])
            chosen = next((reading for reading in readings if reading is not None), None)
            if chosen is not None:
                yield from children(chosen)
        elif child.tag in ("add", "corr", "reg", "supplied", "unclear", "sic", "orig", "damage", "rdg", "lem"):
            yield from children(child)
        else:
            yield child


@dataclass
class StaffState:
    """A staff and what holds for its next notes."""

    staff: Staff = field(default_factory=Staff)
    key_alters: dict[str, float] = field(default_factory=dict)
    transpose_st: float = 0.0
    dur: str = ""  # of notes that state none
    oct: str = ""
    is_drums: bool = False

    def define(self, element: Element) -> None:
        """Take over the key signature and the defaults that an element states."""
        self.dur = element.get("dur.default", self.dur)
        self.oct = element.get("oct.default", element.get("octave.default", self.oct))
        sign = element.find("keySig")
        written = element.get("keysig") or element.get("key.sig") if sign is None else sign.get("sig")
        if match := re.fullmatch(r"(\d)([sf]?)", written or ""):
            steps = SHARP_STEPS if match[2] == "s" else SHARP_STEPS[::-1]
            self.key_alters = dict.fromkeys(steps[: int(match[1])], ALTER_OF_ACCID[match[2] or "n"])


class Links:
    """What a score says from outside about its notes: ties and tuplets by the ids of notes, how pitches are written.

    ``is_sounding``: sounding accidentals are given, so that notes without a sign are natural.
    """

    def __init__(self, score: Element, is_sounding: bool) -> None:
        self.is_sounding = is_sounding
        self.n_notes = 0
        self.lost: list[str] = []
        self.tie_starts = {tie.get("startid", "").lstrip("#") for tie in score.iter("tie")}
        self.spans = {
            span.get("startid", "").lstrip("#"): (span.get("endid", "").lstrip("#"), _tuplet_factor(span))
            for span in score.iter("tupletSpan")
        }

    def count(self, n_notes: int) -> None:
        """Count notes, which repeated bars could multiply without end; ScoreError if there are too many."""
        self.n_notes += n_notes
        if self.n_notes > MAX_NOTES:
            raise ScoreError(f"there are more than {MAX_NOTES} notes")


class LayerReader:
    """Reads one layer of one measure."""

    def __init__(
        self,
        state: StaffState,
        voice: str,
        plan: Sequence[Bar],
        metre_q: Fraction,
        links: Links,
        alters: dict[tuple[str, int], float],
    ) -> None:
        self.state, self.voice, self.plan, self.metre_q = state, voice, plan, metre_q
        self.links, self.alters = links, alters
        self.now_q = Fraction(0)
        self.spans: list[tuple[str, Fraction]] = []  # open tuplet spans: the id where it ends, factor

    def read(self, element: Element, factor: Fraction) -> None:
        """Read the events in an element; ``factor`` is that of the tuplets around it."""
        for child in children(element):
            if child.tag in ("note", "chord", "rest", "space"):
                self._event(child, factor)
            elif child.tag == "multiRest":
                self.now_q += self.metre_q * int(max(1, min(number(child.get("num", "")) or 1, MAX_PLAYED_BARS)))
            elif child.tag == "mRpt":
                self._repeat_bar()
            elif child.tag in ("beatRpt", "halfmRpt", "mRpt2", "multiRpt"):
                self.links.lost.append(f"bar {len(self.plan)} repeats music by <{child.tag}>, which is not played")
            elif child.tag == "tuplet":
                self.read(child, factor * _tuplet_factor(child))
            elif child.tag == "fTrem":
                self.read(child, factor / 2)
            elif child.tag == "keySig":
                self.state.define(element)
            elif child.tag not in SILENT:
                self.read(child, factor)

    def _event(self, element: Element, factor: Fraction) -> None:
        if "grace" in element.attrib:
            return
        event_id = element.get(ID, "")
        if event_id in self.links.spans:
            self.spans.append(self.links.spans[event_id])
        for _, span_factor in self.spans:
            factor *= span_factor
        duration_q = _duration_q(element, self.state.dur) * factor
        if element.get("cue") != "true" and element.tag in ("note", "chord"):
            self._notes(element, duration_q)
        self.now_q += duration_q
        self.spans = [span for span in self.spans if span[0] != event_id]

    def _notes(self, event: Element, duration_q: Fraction) -> None:
        is_sung = "syl" in event.attrib or any(words(syllable) for syllable in event.iter("syl"))
        for note in [event] if event.tag == "note" else [child for child in children(event) if child.tag == "note"]:
            midi = self._midi(note)
            if midi is None:
                continue
            ids = {event.get(ID, ""), note.get(ID, "")} - {""}
            tied = any(sign in (note.get("tie", "") + event.get("tie", "")) for sign in "im")
            tied = tied or not ids.isdisjoint(self.links.tie_starts)
            written = WrittenNote(BarNote(self.now_q, duration_q, midi, tied), self.voice, is_sung)
            self.state.staff.notes[len(self.plan) - 1].append(written)
            self.links.count(1)

    def _midi(self, note: Element) -> float | None:
        """Return the sounding pitch; None for a note without one."""
        step = note.get("pname", "").upper()
        octave = number(note.get("oct.ges", "") or note.get("oct", self.state.oct))
        if step not in SEMITONE_OF_STEP or octave is None:
            midi = number(note.get("pnum", ""))
        else:
            midi = 12 * (octave + 1) + SEMITONE_OF_STEP[step] + self._alter(note, step, int(octave))
            midi += self.state.transpose_st
        if midi is not None and not 0 <= midi <= 127:
            self.links.lost.append(f"bar {len(self.plan)} has a pitch outside MIDI 0-127")
            return None
        return midi

    def _alter(self, note: Element, step: str, octave: int) -> float:
        signs = [note, *note.iter("accid")]
        sounding = next((sign.get("accid.ges", "") for sign in signs if "accid.ges" in sign.attrib), None)
        written = next((sign.get("accid", "") for sign in signs if "accid" in sign.attrib), None)
        if written in ALTER_OF_ACCID:
            self.alters[step, octave] = ALTER_OF_ACCID[written]
        if sounding in ALTER_OF_ACCID:
            return ALTER_OF_ACCID[sounding]
        if self.links.is_sounding or written in ALTER_OF_ACCID:
            return ALTER_OF_ACCID.get(written or "n", 0.0)
        return self.alters.get((step, octave), self.state.key_alters.get(step, 0.0))

    def _repeat_bar(self) -> None:
        """Play the bar before once more."""
        notes, last = self.state.staff.notes, len(self.plan) - 1
        repeated = [note for note in notes.get(last - 1, ()) if note.voice == self.voice]
        self.links.count(len(repeated))
        notes[last] += repeated
        self.now_q += self.plan[last - 1].length_q if last else Fraction(0)


def _duration_q(element: Element, default: str) -> Fraction:
    duration_q = Fraction(QUARTERS_OF_DUR.get(element.get("dur", default), 0))
    return duration_q * dotted(element.get("dots") or str(len(element.findall("dot"))))


def dotted(dots: str) -> Fraction:
    """Return by how much a number of dots lengthens a note."""
    return 2 - Fraction(1, 2 ** int(dots)) if dots in ("1", "2", "3", "4") else Fraction(1)


def _tuplet_factor(element: Element) -> Fraction:
    count, time = element.get("num", ""), element.get("numbase", "")
    if not (re.fullmatch(r"\d{1,3}", count) and re.fullmatch(r"\d{1,3}", time) and int(count) and int(time)):
        return Fraction(2, 3)
    return Fraction(int(time), int(count))
