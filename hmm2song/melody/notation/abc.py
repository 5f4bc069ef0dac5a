"""ABC notation 1.6 to 2.1 (https://abcnotation.com/wiki/abc:standard:v2.1): text -> header fields and notes.

Honoured: key signatures and modes, accidentals as ``propagate-accidentals`` says, unit length, metre, tempo and their
changes in the body or inline, octave clefs, ``octave=`` and ``transpose=``, broken rhythm, tuplets, chords (all notes
are given), ties, rests of several bars, repeats, numbered and named endings, da capo and dal segno, the order of the
parts (``P:``), several voices. Dropped: grace notes, ornaments, chord symbols, voice overlays (``&``), macros.

Where the standards differ, what players do decides: ``!`` alone is a line break of ABC 1.6, ``+CEG+`` a chord of ABC
1.6, a repeat without a sign at its start goes back to the latest double bar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import zip_longest
from typing import ClassVar

from hmm2song.errors import ScoreError
from hmm2song.melody.notation import abc_fields
from hmm2song.melody.notation.abc_book import count_numbered, split_tunes, statements
from hmm2song.melody.notation.abc_fields import ALTER_OF_ACCIDENTAL
from hmm2song.melody.notation.bars import (
    MAX_NOTES,
    MAX_PLAYED_BARS,
    SEMITONE_OF_STEP,
    Bar,
    BarNote,
    parse_endings,
    perform,
)
from hmm2song.melody.notation.parts import Part
from hmm2song.melody.notation.text import without_escapes

__all__ = ["Tune", "count_numbered", "parse_tune", "split_tunes"]

MIDI_C4 = 60
"""``C`` in ABC is middle C."""
METRE_TUPLETS = frozenset({5, 7, 9})
"""Tuplets whose time depends on the metre."""
TIME_OF_TUPLET = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
MAX_VOICES = 64
MAX_DURATION_Q = 4096
"""Longest single note or rest in quarters; longer is damage."""
MAX_WARNINGS = 20
DRUM_CHANNEL = "10"
MUSIC_FIELDS = frozenset("IKLMPQTUVWmrswx+")
"""Fields that say nothing about the song as a whole when they stand in the body."""
DYNAMICS = frozenset({"f", "ff", "fff", "ffff"})
"""Decorations that read like notes."""

INLINE_FIELD = re.compile(r"\[\s{0,4}([A-Za-z]):([^\]\n]{0,200})\]")
BAR_LINE = re.compile(r"\.?(\[\|\]|\[\|[|:\]]*|:*\|[|:\]]*(?:\[\|[|:\]]*)?|::+)\s*(\d[\d,.\-]*)?")
ENDING = re.compile(r"\[\s*(?:(\d[\d,.\-]*)|\"([^\"\n]{0,40})\")")
LENGTH = r"(\d{0,4})(/{0,8})(\d{0,3})"
"""Numbers are kept short: the exact sums of lengths must not grow without bound."""
_ACCIDENTAL = r"(?:(\^\^|\^|__|_|=)(\d?/\d?)?)?"
NOTE = re.compile(_ACCIDENTAL + r"([A-Ga-g])([,']*)" + LENGTH)
REST = re.compile(r"([xzXZ])" + LENGTH)
CHORD = re.compile(r"\[((?:\"[^\"\n]{0,100}\"|[^\]\[|:\"\n]){1,200})\]" + LENGTH)
NOTES = r"(?:[\^_=]{0,2}[A-Ga-gz][,']{0,4}[\d/]{0,4}){1,12}"
OLD_CHORD = re.compile(r"\+(" + NOTES + r")\+" + LENGTH)
BROKEN = re.compile(r"<{1,4}|>{1,4}")
TUPLET = re.compile(r"\((\d)(?::(\d{0,2}))?(?::(\d{0,2}))?")
DECORATION = re.compile(
    r"!([^\s!|\[\]\"]{1,40}|(?:[Dd]\.? ?[CcSs]\b|[Dd]a |[Dd]al |[Tt]o )[^!|\n]{0,30})!|\+([a-zA-Z.]{1,40})\+"
)
SKIPPED = re.compile(r"\"[^\"\n]{0,500}\"|\{[^}\n]{0,100}\}|y\d*")
UNCLOSED = re.compile(r"[\"{]\S*")
OVERLAY = re.compile(r"\(&|&\)?")
USER_SYMBOL = re.compile(r"([H-Zh-w~])\s*=\s*[!+]?([^!+]*)")


@dataclass(frozen=True)
class Tune:
    """One tune: its fields in order, as ``(letter, text)``, its voices, and what of it could not be read."""

    fields: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()

    def texts(self, letter: str) -> tuple[str, ...]:
        """Return the texts of all fields of this letter."""
        return tuple(without_escapes(text) for found, text in self.fields if found == letter and text)


@dataclass
class _Voice:
    """What a voice remembers while it is read."""

    name: str = ""
    key_alters: dict[str, int] = field(default_factory=dict)
    metre: Fraction | None = Fraction(1)
    is_compound: bool = False
    unit_q: Fraction | None = None
    shifts_st: dict[str, int] = field(default_factory=dict)
    is_percussion: bool = False
    program: int | None = None
    n_syllables: int = 0
    may_have_words: bool = False  # no words yet under the last line of music
    bars: list[Bar] = field(default_factory=lambda: [Bar()])
    now_q: Fraction = Fraction(0)
    bar_alters: dict[str, float] = field(default_factory=dict)
    tied_midi: dict[str, float] = field(default_factory=dict)
    tuplet: Fraction = Fraction(1)
    tuplet_left: int = 0
    broken: Fraction = Fraction(1)  # by how much the next note is longer
    last: tuple[Bar, int, Fraction] | None = None  # bar, index of the first note, duration of the last note or chord
    last_chord: dict[str, float] = field(default_factory=dict)
    endings: frozenset[int] = frozenset()
    overlay: str = ""  # the sign that opened the voice overlay that is being passed over


def parse_tune(text: str) -> Tune:
    """Read one tune.

    Raises ScoreError if there is no ``K:`` field (which ends the header), a number out of range, or too much music.
    """
    reader = _TuneReader()
    for letter, value in statements(text, reader.warnings):
        reader.read(letter, value)
    if reader.in_header:
        raise ScoreError('there is no "K:" line, which every ABC tune needs at the end of its header')
    parts = reader.parts()
    return Tune(tuple(reader.fields), parts, tuple(dict.fromkeys(reader.warnings)))


class _TuneReader:
    """Reads the fields of a tune, and the lines of its body into the bars of its voices."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.in_header, self.may_go_on = True, False
        self.template = self.voice = _Voice()
        self.voices: dict[str, _Voice] = {}
        self.tempo = self.order = ""
        self.parts_at: dict[int, str] = {}  # the parts of the tune by the bar at which they begin
        self.long_overlay: _Voice | None = None
        self.propagation = "pitch"
        self.bang_breaks_lines = False
        self.symbols = {"S": "segno", "O": "coda"}

    def read(self, letter: str, value: str) -> None:
        """Read a field, or a line of music if ``letter`` is empty."""
        if letter == "":
            position = 0
            while position < len(value):
                position = self._read_token(value, position)
        elif letter == "+" and self.may_go_on:
            self.fields[-1] = (self.fields[-1][0], f"{self.fields[-1][1]} {value}".strip())
        elif letter != "+":
            self.may_go_on = self.in_header or letter not in MUSIC_FIELDS
            if self.may_go_on:
                self.fields.append((letter, value))
            self._field(letter, value)
            if letter == "K" and self.in_header:
                self._start_body()

    def parts(self) -> tuple[Part, ...]:
        """Perform every voice with the tempo marks of all, because these usually stand in one voice only."""
        for voice in self.voices.values():
            self._close_bar(voice, is_last=True)
        for bars in zip_longest(*(voice.bars for voice in self.voices.values())):
            tempos = [tempo for bar in bars if bar for tempo in bar.tempos]
            for bar in filter(None, bars):
                bar.tempos = tempos
        return tuple(self._part(voice) for voice in self.voices.values() if not voice.is_percussion)

    def _part(self, voice: _Voice) -> Part:
        notes = tuple(perform(self._in_order(voice.bars)))
        n_written = sum(len(bar.notes) for bar in voice.bars)
        return Part(
            voice.name, notes, round(min(1.0, voice.n_syllables / max(1, n_written)) * len(notes)), voice.program
        )

    def _in_order(self, bars: list[Bar]) -> list[Bar]:
        """Return the bars with the parts of the tune in the order that ``P:`` in the header asks for."""
        if not self.order or not self.parts_at:
            return bars
        starts = sorted(self.parts_at)
        sections = {}
        for start, end in zip(starts, [*starts[1:], len(bars)], strict=True):
            sections.setdefault(self.parts_at[start], bars[start:end])
        if missing := "".join(sorted(set(self.order) - set(sections))):
            self.warnings.append(f"there is no part {missing}, which is to be played")
        ordered = bars[: starts[0]]
        for letter in self.order:
            section = sections.get(letter)
            if section:
                ordered = [*ordered, replace(section[0], starts_repeat=True), *section[1:]]
            if len(ordered) > MAX_PLAYED_BARS:
                raise ScoreError(f"the parts unfold to more than {MAX_PLAYED_BARS} bars")
        return ordered

    def _start_body(self) -> None:
        self.in_header = False
        if self.template.unit_q is None:
            self.template.unit_q = abc_fields.default_unit_q(self.template.metre)
        for voice in self.voices.values():
            voice.unit_q = voice.unit_q or self.template.unit_q
        self.voice = next(iter(self.voices.values()), None) or self._select("1")
        if self.tempo:
            self._set_tempo(self.tempo)

    def _select(self, voice_id: str) -> _Voice:
        if voice_id not in self.voices:
            if len(self.voices) >= MAX_VOICES:
                raise ScoreError(f"there are more than {MAX_VOICES} voices")
            # the other values are never changed in place, so the voices may share them
            self.voices[voice_id] = replace(self.template, name=voice_id, bars=[Bar()], bar_alters={}, tied_midi={})
        return self.voices[voice_id]

    def _field(self, letter: str, value: str) -> None:
        voice = self.voice
        if letter == "V":
            self._voice_field(value)
        elif letter == "K":
            alters = abc_fields.key_alters(value)
            for changed in self._concerned():
                changed.key_alters = changed.key_alters if alters is None else alters
                self._apply_clef(changed, value, is_weak=self.in_header)
        elif letter == "M":
            for changed in self._concerned():
                changed.metre, changed.is_compound = abc_fields.metre(value), abc_fields.is_compound(value)
        elif letter == "L":
            for changed in self._concerned():
                changed.unit_q = abc_fields.unit_q(value) or changed.unit_q
        elif letter == "Q":
            if self.in_header:
                self.tempo = value
            else:
                self._set_tempo(value)
        elif letter == "P":
            if self.in_header:
                self.order = abc_fields.part_order(value)
            elif part := re.match(r"\s*([A-Z])(?![A-Za-z])", value):
                self.parts_at.setdefault(len(voice.bars) - 1 + (voice.now_q > 0), part[1])
        elif letter == "I":
            self._directive(value)
        elif letter == "U":
            if symbol := USER_SYMBOL.match(value):
                self.symbols[symbol[1]] = symbol[2].strip()
        elif letter == "w" and voice.may_have_words:
            voice.may_have_words = False
            voice.n_syllables += sum(bool(text.strip("*~.0123456789")) for text in re.split(r"[\s\-|_]+", value))

    def _concerned(self) -> list[_Voice]:
        """Return the voices that a field changes: all in the header, else the present one."""
        return [self.template, *self.voices.values()] if self.in_header else [self.voice]

    def _voice_field(self, value: str) -> None:
        definition = abc_fields.voice_definition(value)
        voice = self._select(definition.voice_id)
        voice.name = definition.name or voice.name
        self._apply_clef(voice, definition.properties)
        if not self.in_header:
            self.voice = voice

    def _apply_clef(self, voice: _Voice, value: str, is_weak: bool = False) -> None:
        """Shift the voice's pitch; what its own definition says goes before the key's ``is_weak`` clef."""
        shifts_st = abc_fields.pitch_shifts(value)
        voice.shifts_st = shifts_st | voice.shifts_st if is_weak else voice.shifts_st | shifts_st
        voice.is_percussion = voice.is_percussion or abc_fields.is_percussion(value)

    def _directive(self, value: str) -> None:
        words = value.replace("=", " ").split()
        key, last = " ".join(words[: max(1, min(2, len(words) - 1))]).lower(), words[-1] if words else ""
        if key == "propagate-accidentals":
            self.propagation = last
        elif key == "linebreak":
            self.bang_breaks_lines = last == "!"
        elif key == "decoration":
            self.bang_breaks_lines = last == "+"
        for voice in self._concerned():
            if key == "midi transpose" and re.fullmatch(r"[+-]?\d{1,2}", last):
                voice.shifts_st = voice.shifts_st | {"midi": int(last)}
            elif key == "midi program" and re.fullmatch(r"\d{1,3}", last):
                voice.program = int(last)
            elif key == "midi channel" and last == DRUM_CHANNEL:
                voice.is_percussion = True

    def _set_tempo(self, value: str) -> None:
        quarter_bpm = abc_fields.quarter_bpm(value, self.voice.unit_q)
        if quarter_bpm is not None:
            self.voice.bars[-1].tempos.append((self.voice.now_q, quarter_bpm))

    def _read_token(self, line: str, position: int) -> int:
        """Read what stands at ``position`` and return where the next token starts."""
        for pattern, act in self._TOKENS.get(line[position], ()):
            match = pattern.match(line, position)
            if match and act(self, match) is not False:
                return match.end()
        letter = line[position]
        if letter == "-":
            self._tie()
        elif letter in self.symbols:
            self.voice.bars[-1].mark(self.symbols[letter])
        elif letter == "[" and "]" not in line[position : position + 100]:
            self._warn(line[position : position + 40], "is not closed")
        return position + 1  # slurs, one-letter ornaments, spaces and what the standard says to ignore

    def _warn(self, text: str, fault: str) -> None:
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(f'"{text.strip()[:20]}" {fault}')

    def _skip(self, match: re.Match) -> None:
        """Pass over chord symbols, annotations, grace notes and spacers."""

    def _skip_unclosed(self, match: re.Match) -> None:
        self._warn(match[0], "is not closed")

    def _inline_field(self, match: re.Match) -> None:
        self._field(match[1], match[2])

    def _decoration(self, match: re.Match) -> bool | None:
        """Read ``!name!`` or ``+name+``; return False if the sign is a line break, as in ABC 1.6."""
        name = match[1] or match[2]
        if match[1] and (self.bang_breaks_lines or (name not in DYNAMICS and re.fullmatch(NOTES, name))):
            return False
        self.voice.bars[-1].mark(name)
        return None

    def _bar_line(self, match: re.Match) -> None:
        signs, number = match.groups()
        voice, bare = self.voice, signs.replace("[", "").replace("]", "")
        if bare.strip(":"):
            ends = len(bare) - len(bare.lstrip(":"))
            starts = bare[ends:].count(":")
        else:
            ends = starts = max(1, len(bare) // 2)
        if ends:
            voice.bars[-1].times = ends + 1
        is_double = signs != "[|]" and ("||" in bare or signs != bare)
        self._close_bar(voice)
        bar = voice.bars[-1]
        bar.starts_repeat = bar.starts_repeat or starts > 0
        bar.after_double_bar = bar.after_double_bar or is_double
        if ends or starts or is_double:
            voice.endings = frozenset()
        if number:
            voice.endings = parse_endings(number)
        bar.endings = voice.endings

    def _ending(self, match: re.Match) -> bool | None:
        """Read ``[1`` or ``["1st time"``; return False for a chord with a chord symbol in it."""
        if match[1] is None and CHORD.match(match.string, match.start()):
            return False
        self.voice.endings = parse_endings(match[1] or match[2])
        if self.voice.now_q > 0:
            self._close_bar(self.voice)
        self.voice.bars[-1].endings = self.voice.endings
        return None

    def _close_bar(self, voice: _Voice, is_last: bool = False) -> None:
        """End the bar. A bar line that follows a bar line with nothing between adds its signs to it."""
        bar = voice.bars[-1]
        if voice.now_q == 0 and not is_last:
            if bar.times and len(voice.bars) > 1:
                voice.bars[-2].times, bar.times = bar.times, 0
            return
        bar.length_q = voice.now_q
        if not is_last:
            voice.bars.append(Bar())
        if len(voice.bars) > MAX_PLAYED_BARS:
            raise ScoreError(f"there are more than {MAX_PLAYED_BARS} bars")
        voice.now_q, voice.bar_alters = Fraction(0), {}
        if voice.overlay == "&":
            voice.overlay = ""

    def _overlay(self, match: re.Match) -> None:
        """Pass over what sounds beside the voice: to the end of the bar, or in ``(a|b & c|d &)`` to the sign."""
        voice = self.voice
        if match[0] == "(&":
            voice.overlay = ""
            self.long_overlay = voice
        elif match[0] == "&)":
            voice.overlay, self.long_overlay = "", None
        else:
            voice.overlay = "(&" if self.long_overlay is voice else "&"

    def _tuplet(self, match: re.Match) -> None:
        count = int(match[1])
        if count < 2 or self.voice.overlay:
            return
        default = (3 if self.voice.is_compound else 2) if count in METRE_TUPLETS else TIME_OF_TUPLET[count]
        time = int(match[2] or 0) or default
        self.voice.tuplet = Fraction(time, count)
        self.voice.tuplet_left = min(int(match[3] or 0) or count, 99)

    def _note(self, match: re.Match) -> None:
        self._place(self._spelled(match), self._length(match))

    def _rest(self, match: re.Match) -> None:
        length = self._length(match)
        if match[1] in "xz":
            self._place({}, length)
            return
        bars = min(int(length), MAX_PLAYED_BARS)
        bar_q = (self.voice.metre or Fraction(1)) * 4
        for number in range(bars):
            self.voice.now_q += bar_q
            if number < bars - 1:
                self._close_bar(self.voice)
                self.voice.bars[-1].endings = self.voice.endings
        self.voice.last, self.voice.last_chord = None, {}

    def _chord(self, match: re.Match) -> bool | None:
        """Read ``[CEG]2`` or ``+CEG+2``: as long as its first note times the length behind it."""
        notes = list(NOTE.finditer(SKIPPED.sub("", DECORATION.sub("", match[1]))))
        if match[0].startswith("+") and match[1] in DYNAMICS:
            return False
        chord: dict[str, float] = {}
        for note in notes:
            chord.update(self._spelled(note))
        self._place(chord, (self._length(notes[0]) if notes else Fraction(1)) * self._length(match))
        for note in notes:
            if note.string[note.end() : note.end() + 1] == "-":
                self._tie(note[3] + note[4])
        return None

    def _spelled(self, match: re.Match) -> dict[str, float]:
        """Return the note as spelled, without its accidental, and its MIDI number; nothing if that is impossible."""
        accidental, micro, letter, octave_marks = match[1], match[2], match[3], match[4]
        spelled, step = letter + octave_marks, letter.upper()
        where = spelled if self.propagation == "octave" else step
        voice = self.voice
        if accidental:
            alter: float = ALTER_OF_ACCIDENTAL[accidental]
            if micro:
                top, _, bottom = micro.partition("/")
                alter *= int(top or 1) / (int(bottom or 2) or 2)
            if self.propagation != "not":
                voice.bar_alters[where] = alter
        elif spelled in voice.tied_midi:
            return {spelled: voice.tied_midi[spelled]}
        else:
            alter = voice.bar_alters.get(where, voice.key_alters.get(step, 0))
        octave = (1 if letter.islower() else 0) + octave_marks.count("'") - octave_marks.count(",")
        midi = MIDI_C4 + SEMITONE_OF_STEP[step] + 12 * octave + alter + sum(voice.shifts_st.values())
        if not 0 <= midi <= 127:
            self._warn(match[0], "is outside the range of pitches")
            return {}
        return {spelled: midi}

    def _place(self, chord: dict[str, float], length: Fraction) -> None:
        """Add a note, chord or rest of ``length`` units."""
        voice = self.voice
        if voice.overlay:
            return
        duration_q = length * voice.unit_q * voice.broken
        voice.broken = Fraction(1)
        if voice.tuplet_left:
            duration_q *= voice.tuplet
            voice.tuplet_left -= 1
        if duration_q > MAX_DURATION_Q:
            raise ScoreError(f"a note lasts more than {MAX_DURATION_Q} quarters")
        bar = voice.bars[-1]
        voice.last, voice.last_chord, voice.tied_midi = (bar, len(bar.notes), duration_q), chord, {}
        voice.may_have_words = True
        bar.notes += [BarNote(voice.now_q, duration_q, midi) for midi in chord.values()]
        voice.now_q += duration_q
        if len(bar.notes) > MAX_NOTES:
            raise ScoreError(f"there are more than {MAX_NOTES} notes")

    def _broken(self, match: re.Match) -> None:
        """Lengthen the note before ``>`` and shorten that behind it, wherever these stand."""
        voice = self.voice
        if voice.overlay or voice.last is None or voice.last[0] is not voice.bars[-1]:
            return
        bar, first, duration_q = voice.last
        short = Fraction(1, 2 ** len(match[0]))
        factor = 2 - short if match[0][0] == ">" else short
        bar.notes[first:] = [replace(note, duration_q=note.duration_q * factor) for note in bar.notes[first:]]
        voice.now_q += duration_q * (factor - 1)
        voice.broken, voice.last = 2 - factor, None

    def _tie(self, spelled: str | None = None) -> None:
        """Tie the last note or chord on, or one note of it; its accidental holds for the note it is tied to."""
        voice = self.voice
        if voice.overlay or not voice.last_chord:
            return
        bar = next((bar for bar in reversed(voice.bars[-2:]) if bar.notes), Bar())
        tied = {name: midi for name, midi in voice.last_chord.items() if spelled in (None, name)}
        for index in range(max(0, len(bar.notes) - len(voice.last_chord)), len(bar.notes)):
            if bar.notes[index].midi in tied.values():
                bar.notes[index] = replace(bar.notes[index], tied=True)
        voice.tied_midi = voice.tied_midi | tied

    def _length(self, match: re.Match) -> Fraction:
        """Read a length like ``3``, ``/``, ``//``, ``/4``, ``3/2`` in units, from the last three groups."""
        top, slashes, bottom = match.groups()[-3:]
        numerator = int(top) if top else 1
        denominator = int(bottom) if bottom and slashes else 2 ** len(slashes)
        if denominator == 0:
            self._warn(match[0], "is divided by zero")
            denominator = 1
        return Fraction(numerator, denominator)

    _TOKENS: ClassVar[dict[str, list]] = {}
    """The patterns that may begin with a character, and what they do, in the order they are tried."""
    for _first, _pattern, _act in (
        ('"{y', SKIPPED, _skip),
        ('"{', UNCLOSED, _skip_unclosed),
        ("+", OLD_CHORD, _chord),
        ("!+", DECORATION, _decoration),
        ("[", INLINE_FIELD, _inline_field),
        ("^_=ABCDEFGabcdefg", NOTE, _note),
        ("xzXZ", REST, _rest),
        (".[|:", BAR_LINE, _bar_line),
        ("[", ENDING, _ending),
        ("[", CHORD, _chord),
        ("(", TUPLET, _tuplet),
        ("(&", OVERLAY, _overlay),
        ("<>", BROKEN, _broken),
    ):
        for _character in _first:
            _TOKENS.setdefault(_character, []).append((_pattern, _act))
