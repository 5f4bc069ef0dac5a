"""What the fields of ABC notation say: key, metre, unit length, tempo, clef and octave, voices, the order of parts.

Each function takes the text behind the colon and returns None or an empty value where the field says nothing of its
kind, because old tune books hold words in all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

SHARPS_OF_TONIC = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
SHARPS_OF_MODE = {"lyd": 1, "mix": -1, "dor": -2, "m": -3, "min": -3, "aeo": -3, "phr": -4, "loc": -5}
"""Against the major (ionian) mode on the same tonic."""
SHARP_ORDER = "FCGDAEB"
ALTER_OF_ACCIDENTAL = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}
SHORT_METRE = Fraction(3, 4)
"""Below this metre the unit length is a sixteenth unless stated, else an eighth."""
MAX_PLAYED_PARTS = 1000
MIN_UNIT_BPM = 40

FRACTION = re.compile(r"(\d{1,3})\s*/\s*(\d{1,3})")
OCTAVE_CLEF = re.compile(r"([+-])(8|15)")
CLEF = re.compile(
    r"\bclef\s*=\s*\"?([^\s\"]+)|(?<![\w=\"])((?:treble|alto|tenor|bass|soprano|mezzo|baritone|perc|none)[^\s\"]*)",
    re.I,
)
PROPERTY = re.compile(r"([a-z-]+)\s*=\s*(?:\"([^\"]*)\"?|(\S*))", re.I)
_QUOTED = re.compile(r"(?<!clef=)\"[^\"]*\"?")
_KEY_PROPERTY = re.compile(
    r"(?<![A-Za-z])(?:clef|octave|oct|middle|m|transpose|t|score|sound|shift|staff\w*|cue|style|nm|name|snm)\s*=\s*\S*",
    re.I,
)
"""Not the natural of an explicit accidental, as in ``Dmix=c``."""
_KEY = re.compile(r"([A-G])([#b]?)(.*)", re.DOTALL)
_LOWER_KEY = re.compile(r"[a-g][#b]?\s*(m|maj|min|aeo|dor|ion|lyd|loc|mix|phr)?[a-z]*", re.I)
_UNICODE_ACCIDENTALS = str.maketrans({"♯": "#", "♭": "b", "＃": "#"})


def key_alters(value: str) -> dict[str, int] | None:
    """Return the alteration in semitones of each step; None where the field only names a clef."""
    value = _KEY_PROPERTY.sub(" ", value.translate(_UNICODE_ACCIDENTALS)).strip()
    marks = re.findall(r"(\^\^|\^|__|_|=)([A-Ga-g])", value)
    explicit = {step.upper(): ALTER_OF_ACCIDENTAL[mark] for mark, step in marks}
    if value.startswith(("HP", "Hp")):
        return {"F": 1, "C": 1}
    if _LOWER_KEY.fullmatch(value) and not CLEF.match(value):
        value = value[0].upper() + value[1:]
    match = _KEY.match(re.sub(r"\s+sharp\b", "#", re.sub(r"\s+flat\b", "b", value)))
    if not match:
        return explicit if explicit or value.lower().startswith("none") else None
    tonic, accidental, rest = match.groups()
    word = re.match(r"[A-Za-z]*", rest.strip())[0].lower()
    mode = "m" if word == "m" else word[:3]
    if mode == "exp":
        return explicit
    sharps = SHARPS_OF_TONIC[tonic] + 7 * {"#": 1, "b": -1, "": 0}[accidental] + SHARPS_OF_MODE.get(mode, 0)
    altered = SHARP_ORDER[: max(0, sharps)] if sharps > 0 else SHARP_ORDER[::-1][: max(0, -sharps)]
    return {step: 1 if sharps > 0 else -1 for step in altered} | explicit


def metre(value: str) -> Fraction | None:
    """Return the length of a bar in whole notes; None for free metre."""
    value = value.strip()
    if value.startswith(("C", "c")):  # C, C| and the like; "none" is free
        return Fraction(1)
    match = re.match(r"\(?\s*(\d{1,3}(?:\s*\+\s*\d{1,3}){0,8})\s*\)?\s*/\s*(\d{1,3})", value)
    if not match or not int(match[2]):
        return None
    return Fraction(sum(int(beats) for beats in match[1].split("+")), int(match[2]))


def is_compound(value: str) -> bool:
    """Return whether the metre counts in threes, on which some tuplets depend."""
    return bool(re.match(r"\s*(3|6|9|12)\s*/\s*(8|16)", value))


def unit_q(value: str) -> Fraction | None:
    """Return the unit length in quarters."""
    match = FRACTION.match(value.strip())
    if match and int(match[1]) and int(match[2]):
        return Fraction(int(match[1]), int(match[2])) * 4
    return Fraction(4) if value.strip() == "1" else None


def default_unit_q(bar: Fraction | None) -> Fraction:
    """Return the unit length in quarters of a tune that states only its metre."""
    return Fraction(1, 4) if bar is not None and bar < SHORT_METRE else Fraction(1, 2)


def quarter_bpm(value: str, unit: Fraction) -> float | None:
    """Return quarter notes per minute; None where the field holds only words.

    Old forms count in unit lengths: ``120``, ``C=120``, and ``C3=40`` in three of them. Where that makes a bare number
    slower than :data:`MIN_UNIT_BPM` quarters, its writer meant quarters, as abc2midi always reads it.
    """
    value = re.sub(r"\"[^\"]*\"", " ", value)
    head, equals, rate = value.partition("=")
    number = re.search(r"\d{1,5}(?:\.\d{1,5})?", rate if equals else value)
    if number is None:
        return None
    beat_q = sum((Fraction(int(top), int(bottom) or 1) * 4 for top, bottom in FRACTION.findall(head)), Fraction(0))
    if equals and not beat_q and (units := re.search(r"[A-Ga-g](\d{1,2})", head)):
        beat_q = int(units[1]) * unit
    bpm = float(number[0]) * float((beat_q if equals else None) or unit)
    return float(number[0]) if not equals and bpm < MIN_UNIT_BPM else bpm


def pitch_shifts(value: str) -> dict[str, int]:
    """Return by what the sounding pitch is shifted, in semitones, by source: clef, octave or transpose."""
    shifts = {}
    value = _QUOTED.sub('""', value)
    properties = {name.lower(): quoted or plain for name, quoted, plain in PROPERTY.findall(value)}
    if clef := CLEF.search(value):
        octave = OCTAVE_CLEF.search(clef[1] or clef[2])
        shifts["clef"] = int(octave[1] + {"8": "12", "15": "24"}[octave[2]]) if octave else 0
    for source, names, unit_st in (("octave", ("octave", "oct"), 12), ("transpose", ("transpose", "t"), 1)):
        for name in names:
            if re.fullmatch(r"[+-]?\d{1,2}", properties.get(name, "")):
                shifts[source] = int(properties[name]) * unit_st
    return shifts


def is_percussion(value: str) -> bool:
    """Return whether the clef of a ``V:`` or ``K:`` field is that of drums."""
    clef = CLEF.search(value)
    return bool(clef) and (clef[1] or clef[2]).lower().startswith("perc")


@dataclass(frozen=True)
class VoiceDefinition:
    """The id of a voice, its name (empty where it has none) and its other properties."""

    voice_id: str
    name: str
    properties: str


def voice_definition(value: str) -> VoiceDefinition:
    """Read a ``V:`` field."""
    voice_id, _, properties = value.strip().replace("\t", " ").partition(" ")
    named = {key.lower(): quoted or plain for key, quoted, plain in PROPERTY.findall(properties)}
    return VoiceDefinition(voice_id, named.get("name") or named.get("nm") or "", properties)


def part_order(value: str) -> str:
    """Return the letters of the parts in the order they are played: ``A2(BC)2`` is ``AABCBC``; empty for words.

    Not more than :data:`MAX_PLAYED_PARTS`.
    """
    text = re.sub(r"[.,\s*+-]", "", value)
    if not re.fullmatch(r"[A-Z0-9()]{1,200}", text):
        return ""
    stack: list[str] = [""]
    last = ""  # what a number behind it repeats
    for token in re.findall(r"[A-Z()]|\d{1,3}", text):
        if token == "(":
            stack.append("")
            last = ""
        elif token.isdigit():
            stack[-1] += last * (int(token) - 1)
        else:
            last = stack.pop() if token == ")" and len(stack) > 1 else token.strip(")")
            stack[-1] += last
        stack[-1] = stack[-1][:MAX_PLAYED_PARTS]
    return "".join(stack)[:MAX_PLAYED_PARTS]
