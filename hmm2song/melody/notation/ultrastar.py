"""UltraStar karaoke songs (https://usdx.eu/format): text -> header and sung notes.

A header of ``#TAG:value`` lines is followed by one line per syllable, ``type start length pitch text``, by ``-``
between lines of lyrics, ``P1`` and ``P2`` before the voices of a duet, and ``E`` at the end. A unit of time is a
quarter of a beat of ``#BPM``, from ``#VERSION`` 2 on a beat; ``B start bpm`` changes the tempo. Notes start ``#GAP``
milliseconds into the recording. Pitch 0 is middle C. Freestyle (``F``) and rap (``R``, ``G``) have no pitch to match
and are left out.

The singers of a duet take turns, so both make one melody; where they sing together, the one with more notes is taken.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from hmm2song.errors import ScoreError
from hmm2song.melody.notation import encoding
from hmm2song.melody.notation.bars import MAX_NOTES, Note
from hmm2song.melody.notation.clock import Clock
from hmm2song.melody.notation.parts import Part

MIDI_C4 = 60
MIDI_NUMBERS_FROM = 36
"""Median pitch from which a file holds MIDI numbers, as some converters write: nobody sings three octaves above C4."""
UNITS_PER_BEAT = 4
"""Before version 2 of the format; in that, a unit is a beat."""
MIN_BPM, MAX_BPM = 1.0, 100_000.0
MAX_GAP_MS = 3.6e6
MAX_SONG_CHARS = 2**20
MAX_VOICES = 9
BOTH_VOICES = 3
"""``P3`` in files without ``#VERSION``; from version 2 on there may be a third voice."""

TAG = re.compile(r"#\s*([A-Za-z0-9]+)\s*:(.*)")
SYLLABLE = re.compile(r"([:*FRG])\s*(-?\d{1,7})\s+(\d{1,7})\s+(-?\d{1,4})(?!\d)")
"""A start or length of more digits is damage."""
LINE_BREAK = re.compile(r"-\s*(-?\d{1,8})(?:\s+(-?\d{1,8}))?")
TEMPO = re.compile(r"B\s*(-?\d{1,8}(?:[.,]\d+)?)\s+(\d{1,6}(?:[.,]\d+)?)")
VOICE = re.compile(r"P\s*([1-9])\s*$")
NUMBER = re.compile(r"\s*[-+]?(\d{1,9}([.,]\d*)?|[.,]\d+)\s*")
SONG_START = re.compile(r"\s*#\s*[A-Za-z0-9]+\s*:")
BPM_LINE = re.compile(r"^\s*#\s*BPM\s*:", re.IGNORECASE | re.MULTILINE)
ENCODING_LINE = re.compile(rb"^\s*#\s*ENCODING\s*:\s*([\w-]+)", re.IGNORECASE | re.MULTILINE)
SNIFFED_BYTES = 16_384
"""A header fits; what has no ``#BPM`` in it is another kind of text."""


@dataclass(frozen=True)
class KaraokeSong:
    """The tags of the header by upper-case name, the melody, and what could not be read."""

    tags: dict[str, str]
    part: Part
    lost: tuple[str, ...] = ()


@dataclass
class _Voice:
    notes: list[tuple[int, int, int]] = field(default_factory=list)  # start and length in units, pitch
    line_start: int = 0  # in units; moves in files with relative times only


def is_ultrastar(head: bytes) -> bool:
    """Tell from the first :data:`SNIFFED_BYTES` whether a text is an UltraStar song."""
    start = decode(head)
    return SONG_START.match(start) is not None and BPM_LINE.search(start) is not None


def decode(content: bytes) -> str:
    """Return the text, in the encoding that the header declares unless it is Unicode."""
    declared = ENCODING_LINE.search(content)
    return encoding.decode(content, declared[1].decode("ascii", "replace") if declared else "")


def parse_song(song: str) -> KaraokeSong:
    """Read a song; ScoreError without a tempo or sung notes, or with too many of them."""
    if len(song) > MAX_SONG_CHARS:
        raise ScoreError(f"longer than {MAX_SONG_CHARS} characters, which no karaoke song is")
    tags: dict[str, str] = {}
    voices = [_Voice() for _ in range(MAX_VOICES)]
    singing = voices[:1]
    tempos: list[tuple[float, float]] = []
    lost: list[int] = []
    for line_number, line in _lines(song):
        if tag := TAG.match(line):
            tags.setdefault(tag[1].upper(), tag[2].strip())
        elif syllable := SYLLABLE.match(line):
            _sing(singing, *syllable.groups())
        elif line_break := LINE_BREAK.match(line):
            if tags.get("RELATIVE", "").lower() in ("yes", "true", "1"):
                for voice in singing:
                    voice.line_start += int(line_break[2] or line_break[1])
        elif tempo := TEMPO.match(line):
            tempos.append((_decimal(tempo[1]) + singing[0].line_start, _decimal(tempo[2])))
        elif voice_line := VOICE.match(line):
            number = int(voice_line[1])
            is_both = number == BOTH_VOICES and "VERSION" not in tags
            singing = voices[:2] if is_both else [voices[number - 1]]
        elif line.strip() != "-":
            lost.append(line_number)
    bpm = _decimal(tags.get("BPM", ""))
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise ScoreError(f"#BPM must be a number of {MIN_BPM:g} to {MAX_BPM:g}, got {tags.get('BPM', '')[:20]!r}")
    gap_ms = _decimal(tags.get("GAP", ""))
    is_gap = abs(gap_ms) <= MAX_GAP_MS and NUMBER.fullmatch(tags.get("GAP", "") or "0") is not None
    units = 1 if re.match(r"[2-9]|\d\d", tags.get("VERSION", "")) else UNITS_PER_BEAT
    tempos.sort(key=lambda tempo: tempo[0])  # of two at a place, the second counts
    changes = [(start, 60 / (units * new_bpm)) for start, new_bpm in tempos if MIN_BPM <= new_bpm <= MAX_BPM]
    clock = Clock(60 / (units * bpm), changes, gap_ms / 1000 * is_gap)
    notes = _one_voice(voices)
    part = Part(tags.get("ARTIST", ""), tuple(_timed(notes, clock)))
    warnings = [f"line {lost[0]} is no note (of {len(lost)} such lines)"] if lost else []
    if not is_gap:
        warnings.append(f"#GAP {tags['GAP'][:20]!r} is no number of milliseconds; the song starts at once")
    if len(part.notes) < len(notes):
        warnings.append(f"{len(notes) - len(part.notes)} pitches are outside MIDI 0-127")
    return KaraokeSong(tags, part, tuple(warnings))


def _lines(song: str) -> Iterator[tuple[int, str]]:
    """Yield number and content of the lines before the end of the song, blank ones left out."""
    for number, line in enumerate(re.split(r"\r\n?|\n", song), start=1):
        if re.match(r"\s*E\s*$", line):
            return
        if line.strip():
            yield number, line.lstrip()


def _sing(singing: list[_Voice], kind: str, start: str, length: str, pitch: str) -> None:
    if kind not in ":*" or int(length) == 0:
        return
    for voice in singing:
        voice.notes.append((voice.line_start + int(start), int(length), int(pitch)))
        if len(voice.notes) > MAX_NOTES:
            raise ScoreError(f"more than {MAX_NOTES} notes")


def _one_voice(voices: list[_Voice]) -> list[tuple[int, int, int]]:
    """Return the notes of the voice with most of them, and those of the others that sound while it is silent."""
    line: list[tuple[int, int, int]] = []
    for notes in sorted((sorted(voice.notes) for voice in voices), key=len, reverse=True):
        starts = [start for start, _, _ in line]
        alone = []
        for start, length, pitch in notes:
            after = bisect_right(starts, start)
            is_covered = after > 0 and sum(line[after - 1][:2]) > start
            if not is_covered and not (after < len(starts) and starts[after] < start + length):
                alone.append((start, length, pitch))
        line = sorted(line + alone)
    if not line:
        raise ScoreError("there are no sung notes in it")
    return line


def _timed(notes: list[tuple[int, int, int]], clock: Clock) -> list[Note]:
    """Return notes in seconds; where a negative gap puts the first before the start, the song starts with it."""
    c4 = MIDI_C4 if median(pitch for _, _, pitch in notes) < MIDI_NUMBERS_FROM else 0
    early_s = min(0.0, clock.second(notes[0][0]))
    timed = ((clock.second(start), clock.second(start + length), c4 + pitch) for start, length, pitch in notes)
    return [(on_s - early_s, off_s - on_s, float(midi)) for on_s, off_s, midi in timed if 0 <= midi <= 127]


def _decimal(text: str) -> float:
    """Return the number written with a point or a comma, 0 if there is none."""
    return float(text.replace(",", ".")) if NUMBER.fullmatch(text) else 0.0
