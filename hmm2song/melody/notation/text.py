"""Letters that ABC writes with signs of ASCII: as in TeX, as in HTML, or by their number."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

COMBINING_OF_MARK = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307",
    '"': "\u0308", "H": "\u030b", "v": "\u030c", "c": "\u0327", ",": "\u0327", ";": "\u0328", "k": "\u0328",
}  # fmt: skip
LETTER_OF_NAME = {
    "AA": "Å", "aa": "å", "AE": "Æ", "ae": "æ", "OE": "Œ", "oe": "œ", "/O": "Ø", "/o": "ø", "/L": "Ł", "/l": "ł",
    "ss": "ß", "DH": "Ð", "dh": "ð", "TH": "Þ", "th": "þ", "-D": "Đ", "-d": "đ",
}  # fmt: skip
ESCAPE = re.compile(
    r"\\(?:u([0-9a-fA-F]{4})|([23][0-7]{2})|"
    rf"({'|'.join(LETTER_OF_NAME)})|"
    rf"([{re.escape(''.join(COMBINING_OF_MARK))}]) ?(?:\{{\\?([A-Za-z])\}}|\\?([A-Za-z]))|([%&]))"
)
"""A code of Unicode, one of Latin-1 in octal digits, a named letter, a mark and its letter, a sign."""


def without_escapes(words: str) -> str:
    r"""Return a text of ABC with the letters that it writes as in TeX (``\'e``), HTML (``&eacute;``) or ``\u00e9``."""

    def letter(match: re.Match[str]) -> str:
        code, octal, name, mark, braced, bare, sign = match.groups()
        if code or octal:
            return chr(int(code, 16) if code else int(octal, 8))
        return sign or (LETTER_OF_NAME[name] if name else (braced or bare) + COMBINING_OF_MARK[mark])

    plain = unicodedata.normalize("NFC", ESCAPE.sub(letter, unescape(words)))
    return re.sub(r"\{([^\x00-\x7f])\}", r"\1", plain)
