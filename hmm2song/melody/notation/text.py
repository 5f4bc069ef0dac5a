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
    rf"\\(?:u([0-9a-fA-F]{{4}})|({'|'.join(LETTER_OF_NAME)})|([{re.escape(''.join(COMBINING_OF_MARK))}])\{{?([A-Za-z])\}}?)"
)


def without_escapes(words: str) -> str:
    r"""Return a text of ABC with the letters that it writes as in TeX (``\'e``), HTML (``&eacute;``) or ``\u00e9``."""

    def letter(match: re.Match[str]) -> str:
        code, name, mark, base = match.groups()
        return chr(int(code, 16)) if code else LETTER_OF_NAME[name] if name else base + COMBINING_OF_MARK[mark]

    return unicodedata.normalize("NFC", ESCAPE.sub(letter, unescape(words)))
