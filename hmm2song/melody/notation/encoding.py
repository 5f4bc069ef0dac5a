"""Text in any encoding, for titles and names: Unicode, an encoding that is declared, or what the bytes look like.

Titles are too short for detectors made for pages: charset-normalizer 3.5.3 reads "Café crème" as Arabic. Here each
encoding is tried, and judged by what a title in it looks like: Latin accents that one language has, Cyrillic words that
are capitalised as words are, Hangul, kana and common ideographs.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
"""Any letter of the Korean alphabet."""
CHARSET = re.compile(
    r"utf-?8|us-ascii|cp-?\d{3,4}|windows-\d{3,4}|iso-?8859-?\d{1,2}|latin-?\d{1,2}|koi8-[rut]|mac\w*|"
    r"euc-\w{2}|iso-2022-\w{2}|big5|gb\w+|s(?:hift)?_?jis|ks_c_5601-1987|tis-620",
    re.IGNORECASE,
)
"""Names of encodings that may be declared; Python knows others that are no encodings of text."""
ALPHABETS = {
    "cp1252": ("àâæçèéêëîïôœùûüÿ", "äöüßéàáè", "áéíñóúüªº", "áâãàçéêíóôõúü", "àèéìòù", "åäöéüàæøô", "áéíóúýðþæö",
               "áéíóú", "àèìòùáéó", "äöõüšž", "âêîôûáéïëöäü"),
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž"),
    "iso8859_2": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž"),
    "cp1254": ("çğıöşüİâîû",),
    "cp1257": ("āčēģīķļņšūž", "ąčęėįšųūž"),
    "cp850": ("äöüßéàáè", "àâçèéêëîïôùûü", "áéíñóúü"),
    "mac_roman": ("àâæçèéêëîïôœùûüÿ", "äöüßéàáè", "áéíñóúü"),
}  # fmt: skip
"""Small letters beyond ASCII of languages, by the encodings of these; the commonest first, which wins a draw."""
SCRIPTS = {
    "cp1251": ("Ѐ", "ӿ", "оеаинтсрвлкмдпуяыі"), "koi8_r": ("Ѐ", "ӿ", "оеаинтсрвлкмдпуяы"),
    "cp866": ("Ѐ", "ӿ", "оеаинтсрвлкмдпуяы"), "iso8859_5": ("Ѐ", "ӿ", "оеаинтсрвлкмдпуяы"),
    "cp1253": ("Ά", "Ͽ", "αάοόιίεέτσνηήυύρπκμλςθ"),
}  # fmt: skip
"""First and last letter of the script, and the letters that make up most of its texts."""
COMMON_LEADS = {
    "cp949": ((0xB0, 0xC8),), "cp932": ((0x82, 0x83), (0x88, 0x97)), "euc_jp": ((0xA4, 0xA5), (0xB0, 0xCF)),
    "gb18030": ((0xB0, 0xD7),), "big5": ((0xA4, 0xC6),),
}  # fmt: skip
"""First bytes of Hangul, of kana and of the common ideographs; the others are rare in titles."""
PUNCTUATION = frozenset("“”„‘’‚«»‹›–—…·•¿¡°§©®™´`¨\u00a0、。・「」『』（）！？，：～")
MAX_JUDGED_BYTES = 8192
MIN_SCRIPT_LETTERS = 4
"""Fewer letters may as well be a Western word in capitals."""
ENOUGH = 0.5
"""A judgement below this is none."""


def decode(content: bytes, declared: str = "") -> str:
    """Return the text: UTF-16 if it looks so, else UTF-8 where a line can be; the other lines as declared or guessed.

    A file whose parts come from several sources may hold lines of both kinds. An encoding that is no encoding of text,
    or that does not fit, is not believed. Bytes that fit nothing are read as CP1252, then as Latin-1.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    if content[:2].count(0) == 1 and content[:200].count(0) * 3 >= len(content[:200]):  # a small letter and its zero
        return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le", "replace")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode()
        return content.decode("iso2022_jp", "replace") if "\x1b$" in text else text
    except UnicodeDecodeError:
        lines = content.split(b"\n")
    legacy = [line for line in lines if not _is_utf8(line)]
    encoding = declared if CHARSET.fullmatch(declared) and _fits(b"\n".join(legacy), declared) else guess(legacy)
    return "\n".join(line.decode() if _is_utf8(line) else line.decode(encoding, "replace") for line in lines)


def repaired(text: str) -> str:
    """Return a text whose bytes a program read as Latin-1 or CP1252 as it was meant; any other unchanged."""
    if text.isascii():
        return text
    for encoding in ("latin-1", "cp1252"):
        try:
            content = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        if _is_utf8(content) or guess([content]) not in ("cp1252", "latin-1"):
            return decode(content)
    return text


def guess(lines: list[bytes]) -> str:
    """Return the encoding in which the lines, none of them in UTF-8, look most like titles."""
    sample = b"\n".join(dict.fromkeys(lines))
    if len(sample) > MAX_JUDGED_BYTES:
        sample = sample[:MAX_JUDGED_BYTES].rpartition(b"\n")[0]
    judged = {
        encoding: _judged(sample.decode(encoding), encoding)
        for encoding in (*COMMON_LEADS, *ALPHABETS, *SCRIPTS)
        if _fits(sample, encoding)
    }
    best = max(judged, key=judged.__getitem__, default="latin-1")
    if judged.get(best, 0.0) >= ENOUGH:
        return best
    return "cp1252" if _fits(b"\n".join(lines), "cp1252") else "latin-1"


def _is_utf8(content: bytes) -> bool:
    return _fits(content, "utf-8")


def _fits(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _judged(text: str, encoding: str) -> float:
    """Return from 0 to 1 how much the words with letters beyond ASCII look like words in this encoding."""
    words = [word for word in re.findall(r"[^\x00-\x40\x5b-\x60\x7b-\x7f]+", text) if not word.isascii()]
    words = [stripped for word in words if (stripped := word.strip("".join(PUNCTUATION))) and not stripped.isascii()]
    if not words:
        return ENOUGH  # only quotation marks, dashes and the like
    if encoding in ALPHABETS:
        lines = [set("".join(re.findall(r"[^\W\d_]+", line))) for line in text.split("\n")]
        of_one = sum(_are_of_a_language(letters, encoding) for letters in lines) / len(lines)
        return (sum(_is_latin(word, encoding) for word in words) / len(words) + of_one) / 2
    if encoding in SCRIPTS:
        return (
            (sum(map(len, words)) >= MIN_SCRIPT_LETTERS)
            * sum(_of_script(word, *SCRIPTS[encoding]) for word in words)
            / len(words)
        )
    letters = [letter for word in words for letter in word if not letter.isascii() and letter not in PUNCTUATION]
    mixed = sum(any(map(str.isascii, word)) for word in words)
    return sum(_is_common(letter, encoding) for letter in letters) / max(1, len(letters)) - 0.5 * mixed / len(words)


def _are_of_a_language(letters: Iterable[str], encoding: str) -> bool:
    beyond = {letter.lower() for letter in letters if not letter.isascii()}
    return any(beyond <= set(alphabet) for alphabet in ALPHABETS[encoding])


def _is_latin(word: str, encoding: str) -> bool:
    cased = word.isupper() or word[1:].islower() or not word[1:]
    return (
        _are_of_a_language(word, encoding)
        and cased
        and 2 * sum(not letter.isascii() for letter in word) <= len(word) + 1
    )


def _of_script(word: str, first: str, last: str, common: str) -> float:
    if not all(first <= letter <= last for letter in word) or not (
        word.isupper() or word[1:].islower() or not word[1:]
    ):
        return 0.0
    return 0.5 + 0.5 * sum(letter in common for letter in word.lower()) / len(word)


def _is_common(letter: str, encoding: str) -> bool:
    lead, *trail = letter.encode(encoding)
    in_blocks = any(low <= lead <= high for low, high in COMMON_LEADS[encoding])
    return in_blocks and bool(trail) and (encoding in ("cp932", "big5") or trail[0] >= 0xA1)
