"""ABC notation 2.1 (https://abcnotation.com/wiki/abc:standard:v2.1): text -> header fields and notes.

Honoured: key signatures and modes, accidentals to the end of the bar and over ties, unit length, metre, tempo
and their changes in the body or inline, broken rhythm, tuplets, chords (all notes are given), ties, rests of
several bars, repeats, numbered endings, da capo and dal segno, several voices. Dropped: grace notes,
ornaments, chord symbols, lyrics, voice overlays (``&``), octaves of clefs (a hum has its own octave). Not
honoured: the part order of ``P:`` and macros; parts are played as written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import zip_longest

from hmm2song.errors import ScoreError
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

MIDI_C4 = 60
"""``C`` in ABC is middle C."""
SHARPS_OF_TONIC = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
SHARPS_OF_MODE = {"lyd": 1, "mix": -1, "dor": -2, "m": -3, "min": -3, "aeo": -3, "phr": -4, "loc": -5}
"""Against the major (ionian) mode on the same tonic."""
SHARP_ORDER = "FCGDAEB"
ALTER_OF_ACCIDENTAL = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}
METRE_TUPLETS = frozenset({5, 7, 9})
"""Tuplets whose time depends on the metre."""
TIME_OF_TUPLET = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
MAX_VOICES = 64
MAX_TUNES = 20_000
MAX_FILE_HEADER_CHARS = 4096
"""The fields before the first tune are repeated for each tune, so they must be few."""
MAX_DURATION_Q = 4096
"""Longest single note or rest in quarters; longer is damage."""
SHORT_METRE = Fraction(3, 4)
"""Below this metre the unit length is a sixteenth unless stated, else an eighth."""

BODY_FIELD = re.compile(r"([IKLMmNPQRrsTUVWw+]):(.*)")
INLINE_FIELD = re.compile(r"\[([A-Za-z]):([^\]\n]{0,200})\]")
BAR_LINE = re.compile(r"\.?(\[\|[|:\]]*|:*\|[|:\]]*(?:\[\|[|:\]]*)?|::+)\s*(\d[\d,.\-]*)?")
ENDING = re.compile(r"\[\s*(\d[\d,.\-]*)")
LENGTH = r"(\d{0,4})(/{0,8})(\d{0,3})"
"""Numbers are kept short: the exact sums of lengths must not grow without bound."""
NOTE = re.compile(r"(\^\^|\^|__|_|=)?([A-Ga-g])([,']*)" + LENGTH)
REST = re.compile(r"([xzXZ])" + LENGTH)
CHORD_END = re.compile(r"\]" + LENGTH)
BROKEN = re.compile(r"[\s)]*(<{1,4}|>{1,4})")
TUPLET = re.compile(r"\((\d)(?::(\d{0,2}))?(?::(\d{0,2}))?")
DECORATION = re.compile(r"!([^!\n|]{1,40})!|\+([a-zA-Z.]{2,40})\+")
SKIPPED = re.compile(r"\"[^\"\n]*\"?|\{[^}\n]*\}?|y\d*")
DURATION = re.compile(r"(\d{1,3})\s*/\s*(\d{1,3})")


@dataclass(frozen=True)
class Tune:
    """One tune: its header fields in order, as ``(letter, text)``, and its voices."""

    fields: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]

    def texts(self, letter: str) -> tuple[str, ...]:
        """Return the texts of all header fields of this letter."""
        return tuple(text for found, text in self.fields if found == letter and text)


@dataclass
class _Voice:
    """What a voice remembers while it is read."""

    name: str = ""
    key_alters: dict[str, int] = field(default_factory=dict)
    metre: Fraction | None = Fraction(1)
    is_compound: bool = False
    unit_q: Fraction | None = None
    bars: list[Bar] = field(default_factory=lambda: [Bar()])
    now_q: Fraction = Fraction(0)
    bar_alters: dict[str, int] = field(default_factory=dict)
    tied_midi: dict[str, int] = field(default_factory=dict)
    tuplet: Fraction = Fraction(1)
    tuplet_left: int = 0
    broken: Fraction = Fraction(1)
    last_chord: dict[str, int] = field(default_factory=dict)
    endings: frozenset[int] = frozenset()
    in_overlay: bool = False


def split_tunes(text: str) -> list[str]:
    """Cut a file into tunes at its ``X:`` lines; the fields before the first apply to all of them.

    Raises ScoreError if there are more than :data:`MAX_TUNES`.
    """
    starts = [match.start() for match in re.finditer(r"^X:", text, re.MULTILINE)]
    if not starts:
        return [text]
    if len(starts) > MAX_TUNES:
        raise ScoreError(f"there are more than {MAX_TUNES} tunes")
    file_header = text[: min(starts[0], MAX_FILE_HEADER_CHARS)]
    shared = "".join(line + "\n" for line in file_header.splitlines() if re.match(r"[A-Z]:", line))
    return [shared + text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def parse_tune(text: str) -> Tune:
    """Read one tune.

    Raises ScoreError if there is no ``K:`` field (which ends the header), a number out of range, or too much music.
    """
    header, body = _split_header(text)
    template = _Voice()
    names: dict[str, str] = {}
    tempo = None
    for letter, value in header:
        if letter == "V":
            voice_id, names[voice_id] = _voice_definition(value)
        elif letter == "Q":
            tempo = value
        else:
            _apply_field(template, letter, value)
    if template.unit_q is None:
        template.unit_q = _default_unit_q(template.metre)
    reader = _BodyReader(template, names, tempo)
    for line in body:
        reader.read_line(line)
    return Tune(tuple(header), reader.parts())


def _split_header(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    header: list[tuple[str, str]] = []
    lines = _music_lines(text)
    for line in lines:
        match = re.match(r"([A-Za-z+]):(.*)", line)
        if not match:
            continue
        letter, value = match[1], match[2].strip()
        if letter == "+" and header:
            header[-1] = (header[-1][0], f"{header[-1][1]} {value}".strip())
        else:
            header.append((letter, value))
        if letter == "K":
            return header, list(lines)
    raise ScoreError('there is no "K:" line, which every ABC tune needs at the end of its header')


def _music_lines(text: str) -> Iterator[str]:
    """Yield the lines up to a blank one after the header, without comments, directives and text blocks."""
    in_text_block = seen_key = False
    for line in text.splitlines():
        if line.startswith("%%begin"):
            in_text_block = True
        elif line.startswith("%%end"):
            in_text_block = False
        elif in_text_block or line.startswith("%"):
            continue
        elif not line.strip():
            if seen_key:
                return
        else:
            seen_key = seen_key or line.startswith("K:")
            yield re.sub(r"(?<!\\)%.*", "", line).rstrip()


def _voice_definition(value: str) -> tuple[str, str]:
    """Return the voice's id and its name (the id where it has none)."""
    voice_id, _, properties = value.strip().partition(" ")
    named = re.search(r"\b(?:name|nm)\s*=\s*(?:\"([^\"]*)\"|(\S+))", properties)
    return voice_id, (named[1] or named[2] or voice_id) if named else voice_id


def _apply_field(voice: _Voice, letter: str, value: str) -> None:
    if letter == "K":
        alters = _key_alters(value)
        if alters is not None:
            voice.key_alters = alters
    elif letter == "M":
        voice.metre = _metre(value)
        voice.is_compound = bool(re.match(r"(3|6|9|12)\s*/\s*(8|16)", value.strip()))
    elif letter == "L":
        match = DURATION.match(value.strip())
        if match and int(match[1]) and int(match[2]):
            voice.unit_q = Fraction(int(match[1]), int(match[2])) * 4
        elif value.strip() == "1":
            voice.unit_q = Fraction(4)


def _default_unit_q(metre: Fraction | None) -> Fraction:
    return Fraction(1, 4) if metre is not None and metre < SHORT_METRE else Fraction(1, 2)


def _metre(value: str) -> Fraction | None:
    """Return the length of a bar in whole notes; None for free metre."""
    value = value.strip()
    if value in ("C", "C|"):
        return Fraction(1)
    match = re.match(r"\(?\s*(\d{1,3}(?:\s*\+\s*\d{1,3}){0,8})\s*\)?\s*/\s*(\d{1,3})", value)
    if not match or not int(match[2]):
        return None
    return Fraction(sum(int(beats) for beats in match[1].split("+")), int(match[2]))


def _key_alters(value: str) -> dict[str, int] | None:
    """Return the alteration in semitones of each step; None where the field only names a clef."""
    value = re.sub(r"\b[a-z]\w*=\S+", "", value).strip()  # clef=bass, transpose=2, ...
    marks = re.findall(r"(\^\^|\^|__|_|=)([A-Ga-g])", value)
    explicit = {step.upper(): ALTER_OF_ACCIDENTAL[mark] for mark, step in marks}
    if value.startswith(("HP", "Hp")):
        return {"F": 1, "C": 1}
    match = re.match(r"([A-G])([#b]?)\s*(.*)", value)
    if not match:
        return explicit if explicit or value.startswith("none") else None
    tonic, accidental, rest = match.groups()
    word = re.match(r"[A-Za-z]*", rest)[0].lower()
    mode = "m" if word == "m" else word[:3]
    if mode == "exp":
        return explicit
    sharps = SHARPS_OF_TONIC[tonic] + 7 * {"#": 1, "b": -1, "": 0}[accidental] + SHARPS_OF_MODE.get(mode, 0)
    altered = SHARP_ORDER[: max(0, sharps)] if sharps > 0 else SHARP_ORDER[::-1][: max(0, -sharps)]
    return {step: 1 if sharps > 0 else -1 for step in altered} | explicit


def _quarter_bpm(value: str, unit_q: Fraction) -> float | None:
    """Return quarter notes per minute; None where the field holds only words."""
    value = re.sub(r"\"[^\"]*\"", " ", value)
    head, equals, rate = value.partition("=")
    number = re.search(r"\d{1,5}(?:\.\d{1,5})?", rate if equals else value)
    if number is None:
        return None
    beat_q = sum((Fraction(int(top), int(bottom) or 1) * 4 for top, bottom in DURATION.findall(head)), Fraction(0))
    return float(number[0]) * float((beat_q if equals else None) or unit_q)


class _BodyReader:
    """Reads the lines of a tune's body into the bars of its voices."""

    def __init__(self, template: _Voice, names: dict[str, str], tempo: str | None) -> None:
        self.template, self.names = template, names
        self.voices: dict[str, _Voice] = {}
        self.voice = self._select(next(iter(names), "1"))
        if tempo is not None:
            self._set_tempo(tempo)

    def parts(self) -> tuple[Part, ...]:
        """Perform every voice with the tempo marks of all, because these usually stand in one voice only."""
        for voice in self.voices.values():
            self._close_bar(voice, is_last=True)
        for bars in zip_longest(*(voice.bars for voice in self.voices.values())):
            tempos = [tempo for bar in bars if bar for tempo in bar.tempos]
            for bar in filter(None, bars):
                bar.tempos = tempos
        return tuple(Part(voice.name, tuple(perform(voice.bars))) for voice in self.voices.values())

    def read_line(self, line: str) -> None:
        """Read a line of music or a field."""
        if match := BODY_FIELD.match(line):
            self._field(match[1], match[2])
            return
        position = 0
        while position < len(line):
            position = self._read_token(line, position)

    def _select(self, voice_id: str) -> _Voice:
        if voice_id not in self.voices:
            if len(self.voices) >= MAX_VOICES:
                raise ScoreError(f"there are more than {MAX_VOICES} voices")
            # the other values are never changed in place, so the voices may share them
            name = self.names.get(voice_id, voice_id)
            self.voices[voice_id] = replace(self.template, name=name, bars=[Bar()], bar_alters={}, tied_midi={})
        return self.voices[voice_id]

    def _field(self, letter: str, value: str) -> None:
        if letter == "V":
            voice_id, name = _voice_definition(value)
            self.voice = self._select(voice_id)
            if name != voice_id:
                self.voice.name = name
        elif letter == "Q":
            self._set_tempo(value)
        else:
            _apply_field(self.voice, letter, value)

    def _set_tempo(self, value: str) -> None:
        quarter_bpm = _quarter_bpm(value, self.voice.unit_q)
        if quarter_bpm is not None:
            self.voice.bars[-1].tempos.append((self.voice.now_q, quarter_bpm))

    def _read_token(self, line: str, position: int) -> int:
        """Read what stands at ``position`` and return where the next token starts."""
        for pattern, act in self._TOKENS:
            match = pattern.match(line, position)
            if match and match.end() > position:
                return act(self, match) or match.end()
        if line[position] == "&":
            self.voice.in_overlay = True
        elif line[position] == "-":
            self._tie()
        return position + 1  # slurs, one-letter ornaments, spaces and what the standard says to ignore

    def _skip(self, match: re.Match) -> None:
        """Pass over chord symbols, annotations, grace notes and spacers."""

    def _inline_field(self, match: re.Match) -> None:
        self._field(match[1], match[2])

    def _decoration(self, match: re.Match) -> None:
        self.voice.bars[-1].mark(match[1] or match[2])

    def _bar_line(self, match: re.Match) -> None:
        signs, number = match.groups()
        voice, bare = self.voice, signs.replace("[", "").replace("]", "")
        ends = len(bare) - len(bare.lstrip(":"))
        starts = len(bare) - len(bare.rstrip(":"))
        if bare and not bare.strip(":"):
            ends = starts = max(1, len(bare) // 2) if len(bare) > 1 else 0
        if ends:
            voice.bars[-1].times = ends + 1
        self._close_bar(voice)
        if starts:
            voice.bars[-1].starts_repeat = True
        if ends or starts or "||" in bare or "[" in signs or "]" in signs:
            voice.endings = frozenset()
        if number:
            voice.endings = parse_endings(number)
        voice.bars[-1].endings = voice.endings

    def _ending(self, match: re.Match) -> None:
        self.voice.endings = parse_endings(match[1])
        if self.voice.now_q > 0:
            self._close_bar(self.voice)
        self.voice.bars[-1].endings = self.voice.endings

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
        voice.now_q, voice.bar_alters, voice.in_overlay = Fraction(0), {}, False

    def _tuplet(self, match: re.Match) -> None:
        count = int(match[1])
        if count < 2:
            return
        default = (3 if self.voice.is_compound else 2) if count in METRE_TUPLETS else TIME_OF_TUPLET[count]
        time = int(match[2] or 0) or default
        self.voice.tuplet = Fraction(time, count)
        self.voice.tuplet_left = min(int(match[3] or 0) or count, 99)

    def _note(self, match: re.Match) -> int:
        chord = dict([self._spelled(match)])
        return self._place(chord, _length(match.groups()[3:]), match.string, match.end())

    def _rest(self, match: re.Match) -> int:
        length = _length(match.groups()[1:])
        if match[1] in "xz":
            return self._place({}, length, match.string, match.end())
        bars = min(int(length), MAX_PLAYED_BARS)
        bar_q = (self.voice.metre or Fraction(1)) * 4
        for number in range(bars):
            self.voice.now_q += bar_q
            if number < bars - 1:
                self._close_bar(self.voice)
                self.voice.bars[-1].endings = self.voice.endings
        return match.end()

    def _chord(self, match: re.Match) -> int:
        """Read ``[CEG]2``: as long as its first note times the length behind the bracket."""
        line, position = match.string, match.end()
        chord: dict[str, int] = {}
        first_length, tied = None, False
        while position < len(line) and line[position] != "]":
            note = NOTE.match(line, position)
            if note:
                chord.update([self._spelled(note)])
                first_length = first_length or _length(note.groups()[3:])
                position = note.end()
                continue
            tied = tied or line[position] == "-"
            skipped = SKIPPED.match(line, position) or DECORATION.match(line, position)
            position = skipped.end() if skipped else position + 1
        end = CHORD_END.match(line, position)
        if not end:
            return position
        after = self._place(chord, (first_length or Fraction(1)) * _length(end.groups()), line, end.end())
        if tied:
            self._tie()
        return after

    def _spelled(self, match: re.Match) -> tuple[str, int]:
        """Return the note as spelled, without its accidental, and its MIDI number."""
        accidental, letter, octave_marks = match[1], match[2], match[3]
        spelled, step = letter + octave_marks, letter.upper()
        if accidental:
            self.voice.bar_alters[step] = ALTER_OF_ACCIDENTAL[accidental]
        elif spelled in self.voice.tied_midi:
            return spelled, self.voice.tied_midi[spelled]
        octave = (1 if letter.islower() else 0) + octave_marks.count("'") - octave_marks.count(",")
        alter = self.voice.bar_alters.get(step, self.voice.key_alters.get(step, 0))
        midi = MIDI_C4 + SEMITONE_OF_STEP[step] + 12 * octave + alter
        if not 0 <= midi <= 127:
            raise ScoreError(f'the note "{match[0][:20]}" is outside the range of pitches')
        return spelled, midi

    def _place(self, chord: dict[str, int], length: Fraction, line: str, position: int) -> int:
        """Add a note, chord or rest of ``length`` units and return where the next token starts."""
        voice = self.voice
        duration_q = length * voice.unit_q * voice.broken
        voice.broken = Fraction(1)
        broken = BROKEN.match(line, position)
        if broken:
            short = Fraction(1, 2 ** len(broken[1]))
            dotted_first = broken[1][0] == ">"
            duration_q *= 2 - short if dotted_first else short
            voice.broken = short if dotted_first else 2 - short
            position = broken.end()
        if voice.tuplet_left:
            duration_q *= voice.tuplet
            voice.tuplet_left -= 1
        if duration_q > MAX_DURATION_Q:
            raise ScoreError(f"a note lasts more than {MAX_DURATION_Q} quarters")
        if voice.in_overlay:
            return position
        bar = voice.bars[-1]
        bar.notes += [BarNote(voice.now_q, duration_q, midi) for midi in chord.values()]
        voice.last_chord, voice.tied_midi = chord, {}
        voice.now_q += duration_q
        if len(bar.notes) > MAX_NOTES:
            raise ScoreError(f"there are more than {MAX_NOTES} notes")
        return position

    def _tie(self) -> None:
        """Tie the last note or chord on; its accidental holds for the note it is tied to."""
        voice, bar = self.voice, self.voice.bars[-1]
        if voice.now_q == 0 or voice.in_overlay or not voice.last_chord:
            return
        for index in range(len(bar.notes) - len(voice.last_chord), len(bar.notes)):
            bar.notes[index] = replace(bar.notes[index], tied=True)
        voice.tied_midi = voice.last_chord

    _TOKENS = (
        (SKIPPED, _skip),
        (DECORATION, _decoration),
        (INLINE_FIELD, _inline_field),
        (NOTE, _note),
        (REST, _rest),
        (BAR_LINE, _bar_line),
        (ENDING, _ending),
        (TUPLET, _tuplet),
        (re.compile(r"\["), _chord),
    )


def _length(groups: tuple[str, ...]) -> Fraction:
    """Read a length like ``3``, ``/``, ``//``, ``/4``, ``3/2`` in units."""
    top, slashes, bottom = groups[-3:]
    numerator = int(top) if top else 1
    if not slashes:
        return Fraction(numerator)
    denominator = int(bottom) if bottom else 2 ** len(slashes)
    if denominator == 0:
        raise ScoreError("a note length is divided by zero")
    return Fraction(numerator, denominator)
