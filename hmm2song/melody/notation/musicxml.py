"""MusicXML 1-4, partwise, plain or compressed (.mxl) -> header texts and parts with notes in seconds.

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
from xml.etree import ElementTree

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import MAX_PLAYED_BARS, SEMITONE_OF_STEP, Bar, BarNote, parse_endings
from hmm2song.melody.notation.parts import Part
from hmm2song.melody.notation.staves import Staff, WrittenNote
from hmm2song.melody.notation.xml import MAX_XML_BYTES, number, parse_xml, text_at, words

QUARTERS_OF_UNIT = {
    "breve": Fraction(8), "whole": Fraction(4), "half": Fraction(2), "quarter": Fraction(1),
    "eighth": Fraction(1, 2), "16th": Fraction(1, 4), "32nd": Fraction(1, 8),
}  # fmt: skip
CONTAINER = "META-INF/container.xml"
MAX_PARTS, MAX_STAVES = 128, 8
MAX_DIVISIONS = 16384
"""Finest grid per quarter note; MusicXML's own maximum."""
MAX_BAR_Q = 4096
"""Longest bar in quarters; longer is damage."""
DRUM_CHANNEL = 10
JUMP_ATTRIBUTES = frozenset({"dacapo", "dalsegno", "fine", "tocoda", "coda"})
"""Where ``<sound>`` says how to jump, the words printed beside it are not needed."""


@dataclass(frozen=True)
class Document:
    """Title, creators as ``(type, name)``, rights, and the parts that have notes."""

    title: str
    creators: tuple[tuple[str, str], ...]
    rights: str
    parts: tuple[Part, ...]


def unpack(data: bytes) -> bytes:
    """Return the score inside a compressed MusicXML file.

    It is the one that the container names or, where programs left that out or misspelled it, the first XML document.
    Raises ScoreError for what is no ZIP archive, damaged, without a score, or larger than
    :data:`~hmm2song.melody.notation.xml.MAX_XML_BYTES` inside.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            scores = [
                name
                for name in archive.namelist()
                if name.lower().endswith((".xml", ".musicxml"))
                and not name.upper().startswith(("META-INF", "__MACOSX"))
            ]
            return _read_member(archive, next(filter(None, [_named_score(archive), *scores]), CONTAINER))
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error, NotImplementedError) as error:
        raise ScoreError(f"the archive is damaged ({error})") from error


def _named_score(archive: zipfile.ZipFile) -> str:
    """Return the member that the container names, empty if there is no container or no such member."""
    names = archive.namelist()
    if CONTAINER not in names:
        return ""
    rootfile = next(parse_xml(_read_member(archive, CONTAINER)).iter("rootfile"), None)
    path = "" if rootfile is None else rootfile.get("full-path", "").replace("\\", "/").removeprefix("./").lstrip("/")
    return next((name for name in names if name.lower() == path.lower()), "")


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


def parse_document(data: bytes) -> Document:
    """Read a partwise score; ScoreError for other documents, declared entities and impossible numbers."""
    return parse_score(parse_xml(data))


def parse_score(root: ElementTree.Element) -> Document:
    """Read a partwise score that is parsed already."""
    if root.tag != "score-partwise":
        raise ScoreError(f"<{root.tag[:40]}> is not a MusicXML score; export it as partwise MusicXML")
    names, programs, drums = _part_list(root)
    elements = root.findall("part")
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
    )


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
    parts = []
    for reader in readers:
        for staff_number, staff in sorted(reader.staves.items()):
            staff.name = reader.name if staff_number == "1" else f"{reader.name} ({staff_number})"
            staff.program = reader.program
            parts.append(staff.play(plan))
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
        self.divisions = 1
        self.transpose_st = 0.0
        self.metre_q = Fraction(4)
        self.now_q = self.chord_start_q = Fraction(0)
        self.endings: frozenset[int] = frozenset()
        for measure in element.iterfind("measure"):
            self._measure(measure)
            if len(self.plan) > MAX_PLAYED_BARS:
                raise ScoreError(f"there are more than {MAX_PLAYED_BARS} bars")

    def _measure(self, measure: ElementTree.Element) -> None:
        bar = Bar()
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
                self._sound(element, self.now_q)
            elif element.tag == "barline":
                ends_here = self._barline(element) or ends_here
            bar.length_q = max(bar.length_q, self.now_q)
            if bar.length_q > MAX_BAR_Q:
                raise ScoreError(f"bar {len(self.plan)} is longer than {MAX_BAR_Q} quarters")
        bar.length_q = bar.length_q or self.metre_q
        bar.endings = self.endings
        if ends_here:
            self.endings = frozenset()

    def _attributes(self, element: ElementTree.Element) -> None:
        divisions = number(text_at(element, "divisions"))
        if divisions is not None:
            if not 1 <= divisions <= MAX_DIVISIONS or divisions != int(divisions):
                raise ScoreError(f"<divisions> must be a whole number up to {MAX_DIVISIONS}, got {divisions:g}")
            self.divisions = int(divisions)
        beats, beat_type = text_at(element, "time/beats"), number(text_at(element, "time/beat-type"))
        if re.fullmatch(r"\d{1,3}( ?\+ ?\d{1,3}){0,8}", beats) and beat_type in (1, 2, 4, 8, 16, 32, 64):
            self.metre_q = Fraction(4 * sum(map(int, beats.split("+"))), int(beat_type))
        if element.find("transpose") is not None:
            chromatic = number(text_at(element, "transpose/chromatic")) or 0.0
            self.transpose_st = chromatic + 12 * (number(text_at(element, "transpose/octave-change")) or 0.0)

    def _duration_q(self, element: ElementTree.Element) -> Fraction:
        duration = number(text_at(element, "duration"))
        if duration is None or not 0 <= duration <= MAX_BAR_Q * MAX_DIVISIONS:
            raise ScoreError(f"bar {len(self.plan)} has a <{element.tag}> without a usable <duration>")
        return Fraction(round(duration), self.divisions)

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
        note = BarNote(self.chord_start_q, duration_q, self._midi(pitch), tied="start" in ties)
        staff = self.staves.setdefault(text_at(element, "staff") or "1", Staff())
        if len(self.staves) > MAX_STAVES:
            raise ScoreError(f"a part has more than {MAX_STAVES} staves")
        is_sung = any(words(text) for text in element.iterfind("lyric/text"))
        staff.notes[len(self.plan) - 1].append(WrittenNote(note, text_at(element, "voice"), is_sung))

    def _midi(self, pitch: ElementTree.Element) -> float:
        step, octave = text_at(pitch, "step").upper(), number(text_at(pitch, "octave"))
        alter = number(text_at(pitch, "alter")) or 0.0
        if step not in SEMITONE_OF_STEP or octave is None:
            raise ScoreError(f"bar {len(self.plan)} has a pitch without a step and octave")
        midi = 12 * (octave + 1) + SEMITONE_OF_STEP[step] + alter + self.transpose_st
        if not 0 <= midi <= 127:
            raise ScoreError(f"bar {len(self.plan)} has a pitch outside MIDI 0-127")
        return midi

    def _direction(self, element: ElementTree.Element) -> None:
        offset = number(text_at(element, "offset")) or 0.0
        at_q = max(Fraction(0), self.now_q + Fraction(round(offset), self.divisions))
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
        unit_q *= 2 - Fraction(1, 2 ** min(dots, 4))
        self.plan[-1].tempos.append((at_q, float(rate[0]) * float(unit_q)))

    def _barline(self, element: ElementTree.Element) -> bool:
        """Read repeat signs and endings; return whether an ending stops at this bar."""
        bar, repeat, ending = self.plan[-1], element.find("repeat"), element.find("ending")
        if repeat is not None and repeat.get("direction") == "forward":
            bar.starts_repeat = True
        elif repeat is not None:
            bar.times = max(2, int(number(repeat.get("times", "")) or 2))
        if ending is None:
            return False
        if ending.get("type") == "start":
            self.endings = parse_endings(ending.get("number", ""))
            return False
        return True
