"""Text of files in any encoding: Unicode, the one declared, or what its bytes look like.

Tables, tags, tune books and names of MIDI tracks often do not say how they are encoded. What follows UTF-8 is told by
what people write: Korean text is all Hangul, Japanese has kana, a Russian word has no other letters, Chinese text is of
frequent characters. A short text may look like several; then the first of these wins, and Western comes last.
"""

from __future__ import annotations

import codecs
import re
from itertools import islice

HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
"""Any letter of the Korean alphabet."""
KANA = re.compile(r"[\u3041-\u30fa]")
CHARSET = re.compile(
    r"cp-?\d{3,4}|windows-\d{3,4}|iso-?8859-?\d{1,2}|latin-?\d{1,2}|koi8-[rut]|mac\w*|euc-?\w{2}|big5|gbk|gb2312|gb18030"
    r"|s(hift)?[-_]?jis|utf-?(8|16|32)"
)
"""Names of encodings that may be declared, in small letters; Python knows others that are no encodings of text."""
RUSSIAN_WORD = re.compile(r"(?<![a-zA-Z])[\xa8\xb8\xc0-\xff]{3,}(?![a-zA-Z])")
"""Three letters or more that are all beyond ASCII, as bytes."""
FREQUENT_RUSSIAN = frozenset("оеаинтсрвл")
POLISH_LETTER = re.compile(
    r"(?<=[a-zA-Z])[\xb3\xb9\xbf](?=[a-z])|(?<=[a-z])[\xb3\xb9](?![\w])|(?<!\w)[\xa3\xaf](?=[a-z])|\x9c(?=[\xf1\xe6])"
)
"""Signs of CP1252 that stand inside a word, where CP1250 has letters."""
FIRST_FREQUENT, LAST_FREQUENT = {"gb2312": 0xB0, "big5": 0xA4}, {"gb2312": 0xD7, "big5": 0xC6}
"""First bytes of the frequent characters, which Chinese encodings hold before the rare ones."""
FREQUENT_SHARE = 0.8
MAX_LINES = 200
"""Lines beyond ASCII that are looked at."""


def decode(content: bytes, declared: str = "") -> str:
    """Return the text: UTF-16 if it starts so, UTF-8 if it can be, else as ``declared``, else as its bytes look."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    known = [declared] if CHARSET.fullmatch(declared.lower()) else []
    for encoding in ("utf-8-sig", *known):
        text = _decoded(content, encoding)
        if text is not None:
            return text
    telling = b"\n".join(islice((line for line in content.splitlines() if not line.isascii()), MAX_LINES))
    encoding = _likely_encoding(telling)
    text = _decoded(content, encoding)
    return content.decode("latin-1" if encoding == "cp1252" else encoding, "replace") if text is None else text


def repaired(text: str) -> str:
    """Return text whose bytes a program read as Latin-1 as what it was; any other text, and Western text, unchanged."""
    try:
        content = text.encode("latin-1")
    except UnicodeEncodeError:
        return text
    found = decode(content)
    return found if any(letter > "\xff" and letter.isalpha() for letter in found) else text


def _decoded(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _likely_encoding(content: bytes) -> str:
    letters = {encoding: _foreign_letters(content, encoding) for encoding in ("cp949", "shift_jis", "euc_jp")}
    for encoding in ("shift_jis", "euc_jp"):
        found = letters[encoding]
        is_half_width = any("\uff61" <= letter <= "\uff9f" for letter in found)
        if found and not is_half_width and 4 * len(KANA.findall(found)) >= len(found):
            return encoding
    if _is_korean(letters["cp949"]):
        return "cp949"
    as_bytes = content.decode("latin-1")
    n_high = len(re.findall(r"[\x80-\xff]", as_bytes))
    if n_high and 5 * sum(map(len, RUSSIAN_WORD.findall(as_bytes))) >= 4 * n_high:
        counts = {encoding: _n_frequent_russian(content, encoding) for encoding in ("cp1251", "koi8-r")}
        if 4 * max(counts.values()) >= n_high:
            return max(counts, key=lambda encoding: counts[encoding])
    shares = {encoding: _frequent_share(content, encoding) for encoding in FIRST_FREQUENT}
    likeliest = max(shares, key=lambda encoding: shares[encoding])
    if shares[likeliest] >= FREQUENT_SHARE:
        return likeliest
    return "cp1250" if POLISH_LETTER.search(as_bytes) else "cp1252"


def _is_korean(letters: str) -> bool:
    """Return whether all letters are Hangul, and most of them usual: rare syllables look like Western letters."""
    n_usual = sum(len(letter.encode("euc_kr", "ignore")) == 2 for letter in letters)
    return bool(letters) and len(HANGUL.findall(letters)) == len(letters) <= 2 * n_usual


def _foreign_letters(content: bytes, encoding: str) -> str:
    """Return the letters beyond ASCII; none if the text cannot be in this encoding."""
    text = _decoded(content, encoding) or ""
    return "".join(letter for letter in text if letter > "\x7f" and letter.isalpha())


def _n_frequent_russian(content: bytes, encoding: str) -> int:
    """Count frequent letters; one inside a word counts only if it is small, as the other encoding turns case round."""
    text = content.decode(encoding, "replace")
    n_inner_capitals = len(re.findall(r"(?<=[а-я])[А-Я]", text))
    return sum(letter in FREQUENT_RUSSIAN for letter in text.lower()) - 3 * n_inner_capitals


def _frequent_share(content: bytes, encoding: str) -> float:
    """Return which share of at least two characters beyond ASCII is frequent; 0 if it is not of this encoding."""
    text = _decoded(content, encoding)
    letters = [letter.encode(encoding)[0] for letter in text or "" if letter > "\x7f" and letter.isalpha()]
    if len(letters) < 2:
        return 0.0
    n_frequent = sum(FIRST_FREQUENT[encoding] <= first <= LAST_FREQUENT[encoding] for first in letters)
    return n_frequent / len(letters)
