"""A file of ABC notation -> its tunes -> their fields and lines of music.

The standards leave much open, and tune books are older than they are: tunes without ``X:`` or without an empty line
before it, fields in the middle and at the end of the music, a history that runs on, prose between the lines.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from hmm2song.errors import ScoreError

MAX_TUNES = 20_000
MAX_FILE_HEADER_CHARS = 4096
"""The fields before the first tune are repeated for each tune, so they must be few."""
MAX_QUOTED_CHARS = 40

LINE_END = re.compile(r"\r\n?|\n")
TUNE_NUMBER = re.compile(r"\s{0,8}X\s?:\s*\d|X:")
_SHARED = re.compile(r"(?![KPTVWX])[A-Z]:|%%(?!abc|begin|text|center)")
_COMMENT = re.compile(r"(\"[^\"]{0,200}\")|(?<!\\)%.*")
"""What follows a per cent sign, unless that stands in a chord symbol or annotation."""
_HEADER_FIELD = re.compile(r"\s{0,8}([A-Za-z+])\s?:(.*)")
_BODY_FIELD = re.compile(r"\s{0,8}(?![A-Ga-gxz]:[|:])([A-Za-z+]):(.*)")
"""Not a note and a repeat sign, as in ``A:|``, but any other letter with a colon."""
_TEXT_FIELDS = frozenset("ABCDFGHNORSTWZw")
"""Fields of words: a backslash at the end of the line continues them."""
_NO_PROSE = re.compile(r"\"[^\"]{0,200}\"|![^!]{0,40}!|\+[^+\s]{0,40}\+|\[[A-Za-z]:[^\]]{0,200}\]|\{[^}]{0,40}\}")
_PROSE = re.compile(r"(?<![A-Za-z])[A-Z]?[a-z]*[h-tw][a-z]*[h-tw]|^\s*<[^<>]*>\s*$")
"""A word with two small letters that are no notes, or a line of HTML."""
_TYPOGRAPHY = str.maketrans({**dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‘’‛′´", "'"), "\u00a0": " ", "｜": "|"})
_ENTITY = re.compile(r"&(gt|lt|quot|amp|nbsp|#39|#34);")


def split_tunes(text: str) -> list[str]:
    """Cut a file into tunes: at ``X:`` lines, and where a title with a key stands after a tune without one.

    The fields before the first such line apply to all tunes; where music stands there, it is a tune of its own. Raises
    ScoreError if there are more than :data:`MAX_TUNES`.
    """
    lines = _without_text_blocks(LINE_END.split(text.replace("\ufeff", "")))
    starts: list[int] = []
    is_complete, after_blank = True, True  # whether the tune before has its key, which ends the header
    for number, line in enumerate(lines):
        if TUNE_NUMBER.match(line):
            if is_complete or not lines[starts[-1]].startswith("T:"):
                starts.append(number)
            is_complete = False
        elif line.startswith("T:") and after_blank and is_complete and _has_key(lines, number):
            starts.append(number)
            is_complete = False
        elif line.startswith("K:"):
            is_complete = True
        after_blank = not line.strip()
    if not starts:
        return ["\n".join(lines)]
    if len(starts) > MAX_TUNES:
        raise ScoreError(f"there are more than {MAX_TUNES} tunes")
    before = "\n".join(lines[: starts[0]])
    has_music = any(letter == "" for letter, _ in statements(before, []))
    shared = [line for line in before[:MAX_FILE_HEADER_CHARS].split("\n") if _SHARED.match(line)]
    ends = [*starts[1:], len(lines)]
    tunes = ["\n".join(shared + lines[start:end]) for start, end in zip(starts, ends, strict=True)]
    return [before] * has_music + tunes


def count_numbered(text: str) -> int:
    """Return how many ``X:`` lines a file has."""
    return sum(bool(TUNE_NUMBER.match(line)) for line in LINE_END.split(text))


def _has_key(lines: list[str], start: int) -> bool:
    for line in lines[start:]:
        if not line.strip() or TUNE_NUMBER.match(line):
            return False
        if line.startswith("K:"):
            return True
    return False


def _without_text_blocks(lines: list[str]) -> list[str]:
    """Leave out what stands between ``%%begintext`` and ``%%endtext`` and their like."""
    kept: list[str] = []
    begin = None
    for line in lines:
        if line.startswith("%%begin"):
            begin = len(kept)
        elif line.startswith("%%end") and begin is not None:
            del kept[begin:]
            begin = None
            continue
        kept.append(line)
    return kept


def statements(text: str, warnings: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a tune as ``(letter, text)`` and its lines of music as ``("", line)``.

    Directives (``%%``) come as ``I`` fields. What is left out though it may be music is added to ``warnings``.
    """
    in_music = after_key = after_gap = False
    field = ""  # the field of words that goes on in the next line
    lines = iter(_without_text_blocks(LINE_END.split(text.rstrip("\x1a"))))
    for line in lines:
        if line.startswith("%"):
            if line.startswith("%%"):
                yield "I", line[2:].strip()
            continue
        if not line.strip():
            if in_music:
                break
            after_gap = after_key
            continue
        line = _COMMENT.sub(lambda match: match[1] or "", line).rstrip()
        match = (_BODY_FIELD if after_key else _HEADER_FIELD).match(line)
        if match:
            letter, value = match[1], match[2].strip()
            goes_on = letter in _TEXT_FIELDS and value.endswith("\\")
            field = letter if goes_on or letter == "H" else ""
            after_key = after_key or letter == "K"
            yield letter, value.removesuffix("\\").strip() if goes_on else value
        elif field and (field != "H" or "|" not in line):
            yield "+", line.removesuffix("\\").strip()
            field = field if field == "H" or line.endswith("\\") else ""
        elif after_key and line and (not after_gap or "|" in line):
            field = ""
            if is_prose(line):
                warnings.append(f'"{line.strip()[:MAX_QUOTED_CHARS]}" is not music')
                continue
            in_music = True
            yield "", _ENTITY.sub(lambda entity: html.unescape(entity[0]), line).translate(_TYPOGRAPHY)
    if any(
        "|" in line and not line.startswith("%") and not _BODY_FIELD.match(line) and not is_prose(line)
        for line in lines
    ):
        warnings.append("music after an empty line, which ends a tune, is left out")


def is_prose(line: str) -> bool:
    """Return whether a line of the body is words that somebody forgot to mark as such."""
    bare = _NO_PROSE.sub(" ", line)
    return "|" not in bare and bool(_PROSE.search(bare))
