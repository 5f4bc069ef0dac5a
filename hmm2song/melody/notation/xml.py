"""XML of scores, which are untrusted: parsing without entities, and the texts and numbers in it.

A document that declares entities is refused before anything is expanded: that is what both "billion laughs" and
external-entity attacks need.
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from fractions import Fraction
from html.entities import name2codepoint
from xml.etree import ElementTree
from xml.parsers import expat

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.encoding import decode

MAX_XML_BYTES = 32 * 2**20
"""Largest document after unpacking: a Beethoven quartet has 11 MB."""
MAX_DEPTH = 64
"""Deepest nesting of elements: editions have up to some thirty."""
MAX_ELEMENTS = 2_000_000
ENCODING_OF_START = {
    b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16",
    b"<\0": "utf-16-le", b"\0<": "utf-16-be", b"\xef\xbb\xbf": "utf-8",
}  # fmt: skip
DECLARED_ENCODING = re.compile(rb"""\s*<\?xml[^>]{0,100}?\sencoding\s*=\s*["']([\w.:-]{1,40})["']""")
DECLARATION = re.compile(r"<\?xml\s[^>]{0,200}\?>")
FORBIDDEN = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
LONE_AMPERSAND = re.compile(r"&(?![#\w]{1,32};)")
NUMBER = re.compile(r"\s*[+-]?(\d{1,9}(\.\d{0,9})?|\.\d{1,9})([eE][+-]?\d{1,2})?\s*")
GRID = 2**8 * 3**2 * 5 * 7 * 11 * 13
"""Positions are counted in this part of a quarter note: all usual tuplets are exact, and sums stay short."""


def parse_xml(data: bytes) -> ElementTree.Element:
    """Parse XML that declares no entities; elements with a namespace lose it. ScoreError for any other document."""
    root, fault = parse_damaged_xml(data)
    if fault:
        raise ScoreError(fault)
    return root


def parse_damaged_xml(data: bytes) -> tuple[ElementTree.Element, str]:
    """Parse XML as far as it is well-formed; return the root and, if that is not all, where and why it ends.

    Raises ScoreError if there is no element, and as :func:`parse_xml` does.
    """
    if len(data) > MAX_XML_BYTES:
        raise ScoreError(f"it has more than {MAX_XML_BYTES} bytes")
    data = _in_utf8(data)
    _refuse_entities_and_depth(data)
    elements: list[ElementTree.Element] = []

    def keep_root(tag: str, attributes: dict[str, str]) -> ElementTree.Element:
        element = ElementTree.Element(tag, attributes)
        if not elements:
            elements.append(element)
        return element

    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(keep_root), encoding="utf-8")
    parser.entity.update((name, chr(code)) for name, code in name2codepoint.items())
    fault = ""
    try:
        parser.feed(data)
        parser.close()
    except (ElementTree.ParseError, ValueError) as error:
        fault = f"it is not well-formed XML ({error})"
    if not elements:
        raise ScoreError(fault)
    for element in elements[0].iter():
        if isinstance(element.tag, str) and element.tag.startswith("{"):
            element.tag = element.tag.partition("}")[2]
    return elements[0], fault


def _in_utf8(data: bytes) -> bytes:
    """Return the document in UTF-8 without its XML declaration, and without what no XML may hold.

    The encoding is the one that the first bytes show, else the declared one; a program that declares UTF-16 may have
    written UTF-8.
    """
    shown = next((encoding for start, encoding in ENCODING_OF_START.items() if data.startswith(start)), "")
    declared = DECLARED_ENCODING.match(data)
    encoding = shown or (declared[1].decode() if declared else "utf-8")
    is_wide = encoding.lower().startswith(("utf-16", "utf-32", "ucs", "iso-10646"))
    if not shown and (is_wide or not _is_charset(encoding)):
        encoding = "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode(shown, "replace") if shown else decode(data)
    text = FORBIDDEN.sub("", DECLARATION.sub("", text.lstrip("\ufeff \t\r\n"), count=1))
    return LONE_AMPERSAND.sub("&amp;", text).encode("utf-8", "replace")


def _is_charset(name: str) -> bool:
    """Return whether Python knows a character set of this name, and not only a way to write text in ASCII."""
    try:
        b"x".decode(name, "replace")
        return codecs.lookup(name).name not in ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined")
    except LookupError:
        return False


def _refuse_entities_and_depth(data: bytes) -> None:
    depth = n_elements = 0

    def refuse(name: str, *_: object) -> None:
        raise ScoreError(f'it declares the XML entity "{name[:40]}", which no score needs')

    def descend(*_: object) -> None:
        nonlocal depth, n_elements
        depth, n_elements = depth + 1, n_elements + 1
        if depth > MAX_DEPTH or n_elements > MAX_ELEMENTS:
            raise ScoreError(f"it has more than {MAX_ELEMENTS} elements, or they are nested more than {MAX_DEPTH} deep")

    def ascend(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate("utf-8")
    parser.EntityDeclHandler, parser.StartElementHandler, parser.EndElementHandler = refuse, descend, ascend
    with suppress(expat.ExpatError):
        parser.Parse(data, True)


def text_at(element: ElementTree.Element, path: str) -> str:
    """Return the text of the first element at a path, empty if there is none."""
    found = element.find(path)
    return "" if found is None else words(found)


def words(element: ElementTree.Element) -> str:
    """Return the text in an element and below, with single spaces."""
    return " ".join("".join(element.itertext()).split())


def number(text: str) -> float | None:
    """Return the number written, or None: empty or not a number."""
    return float(text) if NUMBER.fullmatch(text) else None


def grid_fraction(text: str, divisor: Fraction = Fraction(1)) -> Fraction | None:
    """Return the number written, divided, to the next position of the grid; None if it is not a number."""
    return Fraction(round(Fraction(text.strip()) / divisor * GRID), GRID) if NUMBER.fullmatch(text) else None
