"""What all HTML of the page is made of: words of the page, escaped, and names that come from anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from unicodedata import bidirectional

from hmm2song.page.texts import text


def html_text(language: str, key: str, /, **values: object) -> str:
    """Return a text of the page as HTML."""
    return escape(text(language, key, **values))


def listed(words: Iterable[str]) -> str:
    """Return words with a dot between them, without the empty ones; plain text."""
    return " · ".join(_isolated(word) for word in words if word)


def song_button(act: str, song_id: str, language: str) -> str:
    """Return a button that asks for something of a song: ``like`` for songs like it, ``goal`` for a path to it."""
    return f'<button type="button" data-{act}="{escape(song_id)}">{html_text(language, f"{act}_short")}</button>'


def _isolated(words: str) -> str:
    """Keep an Arabic or Hebrew name from turning the numbers beside it round."""
    is_from_right = any(bidirectional(character) in ("R", "AL") for character in words)
    return f"\u2068{words}\u2069" if is_from_right else words
