"""Korean text as it arrives: whether there is any, and how to mend what another program has misread."""

from __future__ import annotations

import re

HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
"""Any letter of the Korean alphabet."""


def from_cp949(text: str) -> str:
    """Return Korean text whose CP949 bytes a program took for Latin-1 as it was meant; any other text as it is."""
    try:
        meant = text.encode("latin-1").decode("cp949")
    except UnicodeError:
        return text
    return meant if HANGUL.search(meant) else text
