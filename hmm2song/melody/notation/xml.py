"""XML of scores, which are untrusted: parsing without entities, and the texts and numbers in it.

A document that declares entities is refused before anything is expanded: that is what both "billion laughs" and
external-entity attacks need.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.parsers import expat

from hmm2song.errors import ScoreError

MAX_XML_BYTES = 32 * 2**20
"""Largest document after unpacking: a Beethoven quartet has 11 MB."""
MAX_DEPTH = 64
"""Deepest nesting of elements: editions have up to some thirty."""


def parse_xml(data: bytes) -> ElementTree.Element:
    """Parse XML that declares no entities; elements with a namespace lose it. ScoreError for any other document."""
    _check(data)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ScoreError(f"it is not well-formed XML ({error})") from error
    for element in root.iter():
        if isinstance(element.tag, str) and element.tag.startswith("{"):
            element.tag = element.tag.partition("}")[2]
    return root


def _check(data: bytes) -> None:
    depth = 0

    def refuse(name: str, *_: object) -> None:
        raise ScoreError(f'it declares the XML entity "{name[:40]}", which no score needs')

    def descend(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ScoreError(f"its elements are nested more than {MAX_DEPTH} deep")

    def ascend(_: str) -> None:
        nonlocal depth
        depth -= 1

    if len(data) > MAX_XML_BYTES:
        raise ScoreError(f"it has more than {MAX_XML_BYTES} bytes")
    parser = expat.ParserCreate()
    parser.EntityDeclHandler, parser.StartElementHandler, parser.EndElementHandler = refuse, descend, ascend
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ScoreError(f"it is not well-formed XML ({error})") from error


def text_at(element: ElementTree.Element, path: str) -> str:
    """Return the text of the first element at a path, empty if there is none."""
    found = element.find(path)
    return "" if found is None else words(found)


def words(element: ElementTree.Element) -> str:
    """Return the text in an element and below, with single spaces."""
    return " ".join("".join(element.itertext()).split())


def number(text: str) -> float | None:
    """Return the number written, or None: empty, not a number or not finite."""
    return float(text) if re.fullmatch(r"\s*[+-]?\d{1,9}(\.\d{0,9})?\s*", text) else None
