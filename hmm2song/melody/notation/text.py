"""Text of any encoding that scores are found in: Unicode, the one declared, or what its bytes look like."""

from __future__ import annotations

import codecs
import re
import unicodedata
from html import unescape

from hmm2song.song import HANGUL

CHARSET = re.compile(
    r"cp-?\d{3,4}|windows-\d{3,4}|iso-?8859-?\d{1,2}|latin-?\d{1,2}|koi8-[rut]|mac\w*|euc-\w{2}|big5|gbk"
)
"""Names of encodings that may be declared, in small letters; Python knows others that are no encodings of text."""
COMBINING_OF_MARK = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307",
    '"': "\u0308", "H": "\u030b", "v": "\u030c", "c": "\u0327", ",": "\u0327", ";": "\u0328", "k": "\u0328",
}  # fmt: skip
LETTER_OF_NAME = {
    "AA": "Å", "aa": "å", "AE": "Æ", "ae": "æ", "OE": "Œ", "oe": "œ", "/O": "Ø", "/o": "ø", "/L": "Ł", "/l": "ł",
    "ss": "ß", "DH": "Ð", "dh": "ð", "TH": "Þ", "th": "þ", "-D": "Đ", "-d": "đ",
}  # fmt: skip
ESCAPE = re.compile(
    rf"\\(?:u([0-9a-fA-F]{{4}})|({'|'.join(LETTER_OF_NAME)})|([{re.escape(''.join(COMBINING_OF_MARK))}])\{{?([A-Za-z])\}}?)"
)


def decode(content: bytes, declared: str = "") -> str:
    """Return the text.

    It is UTF-16 if it starts so, UTF-8 if it can be, else in the encoding ``declared``, else in CP949 if all letters
    beyond ASCII are then Korean, else in CP1252, as Windows writes Western languages.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    known = [declared] if CHARSET.fullmatch(declared.lower()) else []
    for encoding in ("utf-8-sig", *known, "cp949", "cp1252"):
        try:
            text = content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if encoding != "cp949" or known or all(map(HANGUL.match, filter(str.isalpha, re.findall(r"[^\0-\x7f]", text)))):
            return text
    return content.decode("latin-1")


def without_escapes(words: str) -> str:
    r"""Return a text of ABC with the letters that it writes as in TeX (``\'e``), HTML (``&eacute;``) or ``\u00e9``."""

    def letter(match: re.Match[str]) -> str:
        code, name, mark, base = match.groups()
        return chr(int(code, 16)) if code else LETTER_OF_NAME[name] if name else base + COMBINING_OF_MARK[mark]

    return unicodedata.normalize("NFC", ESCAPE.sub(letter, unescape(words)))
