"""MusicXML 1-4, partwise or timewise, plain or compressed (.mxl) -> header texts and parts with notes in seconds.

Honoured: pickup and irregular bars, voices, staves, chords, ties, tuplets, repeats, endings, da capo, dal
segno and coda (as ``<sound>`` attributes or as words), ``<sound tempo>`` and metronome marks, transposing
instruments. Dropped: grace and cue notes, percussion, chord symbols.

Files may come from anyone: a document that declares entities is refused before anything is expanded (that is
what both "billion laughs" and external-entity attacks need), and a compressed file is never unpacked beyond a
fixed size.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from urllib.parse import unquote
from xml.etree import ElementTree

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import MAX_PLAYED_BARS, SEMITONE_OF_STEP, Bar, BarNote, parse_endings, play_order
from hmm2song.melody.notation.parts import Part
from hmm2song.melody.notation.staves import Staff, WrittenNote
from hmm2song.melody.notation.xml import MAX_XML_BYTES, grid_fraction, number, parse_damaged_xml, text_at, words

QUARTERS_OF_UNIT = {
    "breve": Fraction(8), "whole": Fraction(4), "half": Fraction(2), "quarter": Fraction(1),
    "eighth": Fraction(1, 2), "16th": Fraction(1, 4), "32nd": Fraction(1, 8), "64th": Fraction(1, 16),
}  # fmt: skip
CONTAINER = "META-INF/container.xml"
DAMAGED_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, NotImplementedError)
"""What reading a damaged archive in memory may raise: bad data, its end, a place before or far beyond it, a version."""
MAX_CANDIDATES, MAX_HEAD_BYTES = 20, 4096
SCORE_MARK = re.compile(rb"<([\w.-]+:)?(score-partwise|score-timewise|mei)\b")
MAX_PARTS, MAX_STAVES = 128, 8
MAX_DOTS, MAX_LOST = 4, 20
MAX_BAR_Q = 4096
"""Longest bar in quarters; longer is damage."""
DRUM_CHANNEL = 10
JUMP_ATTRIBUTES = frozenset({"dacapo", "dalsegno", "fine", "tocoda", "coda"})
"""Where ``<sound>`` says how to jump, the words printed beside it are not needed."""


@dataclass(frozen=True)
class Document:
    """Title, creators as ``(type, name)``, rights, the parts that have notes, and what could not be read."""

    title: str
    creators: tuple[tuple[str, str], ...]
    rights: str
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()


def unpack(data: bytes) -> bytes:
    """Return the score inside a compressed MusicXML file.

    It is the first of those that the container names or, where programs left that out or misspelled it, of the XML
    documents inside.
    Raises ScoreError for what is no ZIP archive, damaged, without a score, or larger than
    :data:`~hmm2song.melody.notation.xml.MAX_XML_BYTES` inside.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = dict.fromkeys(_named_scores(archive) + _score_names(archive))
            for name in names:
                if SCORE_MARK.search((content := _read_member(archive, name)).replace(b"\0", b"")[:MAX_HEAD_BYTES]):
                    return content
            return _read_member(archive, next(iter(names), CONTAINER))
    except DAMAGED_ARCHIVE as error:
        raise ScoreError(f"the archive is damaged ({error})") from error


def _score_names(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the first XML documents, those of the archive itself left out."""
    names = [name for name in archive.namelist() if not re.search(r"(^|/)(META-INF|__MACOSX|\.)", name, re.IGNORECASE)]
    return [name for name in names if name.lower().endswith((".xml", ".musicxml"))][:MAX_CANDIDATES]


def _named_scores(archive: zipfile.ZipFile) -> list[str]:
    """Return the members that the container names, wherever it lies, relative to the archive or to its own place."""
    names = {name.casefold(): name for name in archive.namelist()}
    container = next((name for name in names if f"/{name}".endswith(f"/{CONTAINER.casefold()}")), "")
    if not container:
        return []
    root, _ = parse_damaged_xml(_read_member(archive, names[container]))
    paths = [unquote(file.get("full-path", "")).replace("\\", "/").casefold() for file in root.iter("rootfile")]
    folder = container.removesuffix(CONTAINER.casefold())
    places = [start + path.removeprefix("./").lstrip("/") for path in paths for start in ("", folder)]
    return [names[place] for place in places if place in names and not place.endswith("/")][:MAX_CANDIDATES]


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise ScoreError(f"the archive has no {name}") from None
    if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ScoreError("the archive is encrypted or packed in an unusual way")
    with archive.open(member) as stream:
        content = stream.read(MAX_XML_BYTES + 1)  # the size in the directory is only a claim
    if len(content) > MAX_XML_BYTES:
        raise ScoreError(f"{name} unpacks to more than {MAX_XML_BYTES} bytes")
    return content


def parse_score(root: ElementTree.Element, fault: str = "") -> Document:
    """Read a score; ``fault`` says where and why the XML ends, if it is not all. ScoreError for other documents.

    A score that breaks off, or holds impossible numbers, gives what can be read of it, and warnings.
    """
    if root.tag not in ("score-partwise", "score-timewise"):
        raise ScoreError(fault or f"<{root.tag[:40]}> is not a MusicXML score; export it as MusicXML")
    names, programs, drums = _part_list(root)
    elements = root.findall("part") if root.tag == "score-partwise" else _parts_of_timewise(root)
    if len(elements) > MAX_PARTS:
        raise ScoreError(f"there are more than {MAX_PARTS} parts")
    readers = [
        _PartReader(names.get(element.get("id", ""), ""), programs.get(element.get("id", "")), element)
        for element in elements
        if element.get("id", "") not in drums
    ]
    return Document(
        text_at(root, "work/work-title") or text_at(root, "movement-title") or _credit_title(root),
        tuple((creator.get("type", ""), words(creator)) for creator in root.iterfind("identification/creator")),
        text_at(root, "identification/rights"),
        _perform_together(readers),
        ((f"{fault}; the rest is lost",) if fault else ()) + tuple(text for reader in readers for text in reader.lost),
    )


def _parts_of_timewise(root: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the parts of a score whose measures hold parts, as parts that hold measures."""
    parts: dict[str, ElementTree.Element] = {}
    for number_of_measure, measure in enumerate(root.iterfind("measure")):
        for content in measure.iterfind("part"):
            part_id = content.get("id", "")
            part = parts.setdefault(part_id, ElementTree.Element("part", id=part_id))
            while len(part) < number_of_measure:  # parts that enter later, or pause
                ElementTree.SubElement(part, "measure")
            ElementTree.SubElement(part, "measure").extend(content)
    return list(parts.values())


def _part_list(root: ElementTree.Element) -> tuple[dict[str, str], dict[str, int], set[str]]:
    """Return the names and General MIDI programs of the parts by id, and the ids of those on the drum channel only."""
    names, programs, drums = {}, {}, set()
    for part in root.iterfind("part-list/score-part"):
        part_id = part.get("id", "")
        names[part_id] = text_at(part, "part-name") or text_at(part, "score-instrument/instrument-name")
        program = number(text_at(part, "midi-instrument/midi-program"))
        if program is not None:
            programs[part_id] = int(program) - 1
        channels = {words(channel) for channel in part.iterfind("midi-instrument/midi-channel")}
        if channels == {str(DRUM_CHANNEL)}:
            drums.add(part_id)
    return names, programs, drums


def _credit_title(root: ElementTree.Element) -> str:
    for credit in root.iterfind("credit"):
        if text_at(credit, "credit-type").lower() == "title":
            return text_at(credit, "credit-words")
    return ""


def _perform_together(readers: list[_PartReader]) -> tuple[Part, ...]:
    """Play all parts by the same plan: lengths, signs and tempi usually stand in one part only."""
    plan = [_merged(list(filter(None, bars))) for bars in zip_longest(*(reader.plan for reader in readers))]
    for bar, metres_q in zip(plan, zip_longest(*(reader.metres_q for reader in readers)), strict=True):
        bar.length_q = bar.length_q or max(filter(None, metres_q), default=Fraction(4))  # nothing stands in it
    order = play_order(plan)
    parts = []
    for reader in readers:
        for staff_number, staff in sorted(reader.staves.items()):
            staff.name = reader.name if staff_number == "1" else f"{reader.name} ({staff_number})"
            staff.program = reader.program
            parts.append(staff.play(plan, order))
    return tuple(parts)


def _merged(bars: list[Bar]) -> Bar:
    return Bar(
        length_q=max(bar.length_q for bar in bars),
        tempos=[tempo for bar in bars for tempo in bar.tempos],
        starts_repeat=any(bar.starts_repeat for bar in bars),
        times=max(bar.times for bar in bars),
        endings=frozenset().union(*(bar.endings for bar in bars)),
        jump=next((bar.jump for bar in bars if bar.jump), ""),
        **{mark: any(getattr(bar, mark) for bar in bars) for mark in ("segno", "coda", "fine", "to_coda")},
    )


class _PartReader:
    """Reads one part: the plan (bars without notes) and the notes of each staff by bar."""

    def __init__(self, name: str, program: int | None, element: ElementTree.Element) -> None:
        self.name, self.program = name, program
        self.plan: list[Bar] = []
        self.staves: dict[str, Staff] = {}
        self.lost: list[str] = []
        self.divisions = Fraction(1)
        self.transpose_st: dict[str, float] = {}
        self.metre_q = Fraction(4)
        self.metres_q: list[Fraction] = []
        self.now_q = self.chord_start_q = Fraction(0)
        self.endings: frozenset[int] = frozenset()
        self.starts_repeat_next = False
        self.n_bars_repeated = 0  # as many bars repeat what stands as many before
        for measure in element.iterfind("measure"):
            self._measure(measure)
            if len(self.plan) > MAX_PLAYED_BARS:
                raise ScoreError(f"there are more than {MAX_PLAYED_BARS} bars")

    def _measure(self, measure: ElementTree.Element) -> None:
        bar = Bar(starts_repeat=self.starts_repeat_next)
        self.starts_repeat_next = False
        self.plan.append(bar)
        self.now_q = self.chord_start_q = Fraction(0)
        ends_here = False
        for element in measure:
            if element.tag == "note":
                self._note(element)
            elif element.tag == "backup":
                self.now_q = max(Fraction(0), self.now_q - self._duration_q(element))
            elif element.tag == "forward":
                self.now_q += self._duration_q(element)
            elif element.tag == "attributes":
                self._attributes(element)
            elif element.tag == "direction":
                self._direction(element)
            elif element.tag == "sound":
                self._sound(element, self._position_q(element))
            elif element.tag == "barline":
                ends_here = self._barline(element) or ends_here
            bar.length_q = max(bar.length_q, self.now_q)
            if bar.length_q > MAX_BAR_Q:
                raise ScoreError(f"bar {len(self.plan)} is longer than {MAX_BAR_Q} quarters")
        if not self._has_notes(len(self.plan) - 1):
            bar.length_q = min(bar.length_q, self.metre_q)  # Sibelius 5 writes rests of a bar twice as long
            self._repeat_bar(len(self.plan) - 1)
        self.metres_q.append(self.metre_q)
        bar.endings = self.endings
        if ends_here:
            self.endings = frozenset()

    def _has_notes(self, index: int) -> bool:
        return any(index in staff.notes for staff in self.staves.values())

    def _repeat_bar(self, index: int) -> None:
        """Fill a bar without notes from an earlier one, if a sign says so."""
        earlier = index - self.n_bars_repeated
        if self.n_bars_repeated and earlier >= 0 and self._has_notes(earlier):
            self.plan[index].length_q = self.plan[earlier].length_q
            for staff in self.staves.values():
                if earlier in staff.notes:
                    staff.notes[index] = staff.notes[earlier]

    def _attributes(self, element: ElementTree.Element) -> None:
        if text := text_at(element, "divisions"):
            divisions = grid_fraction(text)
            if divisions:
                self.divisions = abs(divisions)
            else:
                self._lose(f"<divisions> {text[:20]!r}")
        beats, beat_type = text_at(element, "time/beats"), number(text_at(element, "time/beat-type"))
        if re.fullmatch(r"\d{1,3}( ?\+ ?\d{1,3}){0,8}", beats) and beat_type in (1, 2, 4, 8, 16, 32, 64):
            self.metre_q = Fraction(4 * sum(map(int, beats.split("+"))), int(beat_type))
        for sign in element.iterfind("measure-style/measure-repeat"):
            self.n_bars_repeated = int(number(words(sign)) or 1) if sign.get("type") == "start" else 0
        for transpose in element.iterfind("transpose"):
            chromatic = number(text_at(transpose, "chromatic")) or 0.0
            octaves = number(text_at(transpose, "octave-change")) or 0.0
            if not (staff := transpose.get("number", "")):
                self.transpose_st.clear()
            self.transpose_st[staff] = chromatic + 12 * octaves

    def _duration_q(self, element: ElementTree.Element) -> Fraction:
        """Return the duration, from the note's kind if none is stated; 0 if that is none either."""
        duration_q = grid_fraction(text_at(element, "duration"), self.divisions)
        if duration_q is None and element.find("type") is not None:
            unit_q = QUARTERS_OF_UNIT.get(text_at(element, "type"), Fraction(0))
            dots = min(len(element.findall("dot")), MAX_DOTS)
            actual = number(text_at(element, "time-modification/actual-notes")) or 1
            normal = number(text_at(element, "time-modification/normal-notes")) or 1
            duration_q = grid_fraction(str(float(unit_q) * (2 - 0.5**dots) * normal / actual))
        if duration_q is None or duration_q < 0:
            self._lose(f"<{element.tag}> without a usable <duration>")
            return Fraction(0)
        return duration_q

    def _lose(self, what: str) -> None:
        if len(self.lost) < MAX_LOST:
            self.lost.append(f"bar {len(self.plan)}{f' of {self.name}' if self.name else ''}: {what}")

    def _note(self, element: ElementTree.Element) -> None:
        if element.find("grace") is not None:
            return
        duration_q = self._duration_q(element)
        if element.find("chord") is None:
            self.chord_start_q = self.now_q
            self.now_q += duration_q
        pitch = element.find("pitch")
        if pitch is None or element.find("cue") is not None or duration_q == 0:
            return
        ties = [tie.get("type") for tie in (*element.iterfind("tie"), *element.iterfind("notations/tied"))]
        staff_number = text_at(element, "staff") or "1"
        midi = self._midi(pitch, staff_number)
        if midi is None:
            return
        note = BarNote(self.chord_start_q, duration_q, midi, tied="start" in ties)
        staff = self.staves.setdefault(staff_number, Staff())
        if len(self.staves) > MAX_STAVES:
            raise ScoreError(f"a part has more than {MAX_STAVES} staves")
        is_sung = any(words(text) for text in element.iterfind("lyric/text"))
        staff.notes[len(self.plan) - 1].append(WrittenNote(note, text_at(element, "voice"), is_sung))

    def _midi(self, pitch: ElementTree.Element, staff: str) -> float | None:
        step, octave = text_at(pitch, "step").upper(), number(text_at(pitch, "octave"))
        alter = number(text_at(pitch, "alter")) or 0.0
        if step not in SEMITONE_OF_STEP or octave is None:
            self._lose("a pitch without a step and octave")
            return None
        transpose_st = self.transpose_st.get(staff, self.transpose_st.get("", 0.0))
        midi = 12 * (octave + 1) + SEMITONE_OF_STEP[step] + alter + transpose_st
        if not 0 <= midi <= 127:
            self._lose("a pitch outside MIDI 0-127")
            return None
        return midi

    def _direction(self, element: ElementTree.Element) -> None:
        at_q = self._position_q(element)
        sound = element.find("sound")
        bar = self.plan[-1]
        bar.segno = bar.segno or element.find("direction-type/segno") is not None
        if sound is not None:
            self._sound(sound, at_q)
        if sound is None or sound.get("tempo") is None:
            self._metronome(element, at_q)
        if sound is None or not JUMP_ATTRIBUTES & set(sound.keys()):
            bar.coda = bar.coda or element.find("direction-type/coda") is not None
            for direction in element.iterfind("direction-type/words"):
                bar.mark(words(direction))

    def _position_q(self, element: ElementTree.Element) -> Fraction:
        offset_q = grid_fraction(text_at(element, "offset"), self.divisions) or Fraction(0)
        return max(Fraction(0), self.now_q + offset_q)

    def _sound(self, element: ElementTree.Element, at_q: Fraction) -> None:
        bar = self.plan[-1]
        quarter_bpm = number(element.get("tempo", ""))
        if quarter_bpm is not None:
            bar.tempos.append((at_q, quarter_bpm))
        if element.get("dacapo") == "yes":
            bar.jump = "dacapo"
        elif element.get("dalsegno"):
            bar.jump = "dalsegno"
        bar.segno = bar.segno or bool(element.get("segno"))
        bar.coda = bar.coda or bool(element.get("coda"))
        bar.fine = bar.fine or bool(element.get("fine"))
        bar.to_coda = bar.to_coda or bool(element.get("tocoda"))

    def _metronome(self, element: ElementTree.Element, at_q: Fraction) -> None:
        metronome = element.find("direction-type/metronome")
        if metronome is None:
            return
        unit_q = QUARTERS_OF_UNIT.get(text_at(metronome, "beat-unit"))
        rate = re.search(r"\d{1,4}(\.\d{1,4})?", text_at(metronome, "per-minute"))
        if unit_q is None or rate is None:
            return
        dots = len(metronome.findall("beat-unit-dot"))
        unit_q *= 2 - Fraction(1, 2 ** min(dots, MAX_DOTS))
        self.plan[-1].tempos.append((at_q, float(rate[0]) * float(unit_q)))

    def _barline(self, element: ElementTree.Element) -> bool:
        """Read repeat signs and endings; return whether an ending stops at this bar."""
        bar, repeat, ending = self.plan[-1], element.find("repeat"), element.find("ending")
        side = element.get("location", "right")
        if repeat is not None and repeat.get("direction") == "forward":
            bar.starts_repeat |= side == "left" or bar.length_q == 0
            self.starts_repeat_next = side != "left" and not bar.starts_repeat
        elif repeat is not None:
            ended = self.plan[-2] if side == "left" and len(self.plan) > 1 else bar
            ended.times = max(2, int(number(repeat.get("times", "")) or 2))
        if ending is None:
            return False
        if not self.endings and ending.get("type") != "start" and bar.times:  # a first ending that never began
            self.endings = frozenset({1})
        if ending.get("type") == "start":
            self.endings = parse_endings(ending.get("number", ""))
            return False
        return True
