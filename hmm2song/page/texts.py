"""The page's words in every language it speaks.

Conventions
-----------
* Each file of ``texts/`` is one language: plain text, never HTML, so what puts it on the page escapes it. :func:`text`
  fills in the ``{placeholders}``; numbers are formatted here or in the text itself, so a caller passes plain values.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hmm2song.errors import AudioError, Hmm2SongError
from hmm2song.match.overlay import clock, distance_st
from hmm2song.match.results import Advice, Match, SearchResult
from hmm2song.melody.melody import Melody
from hmm2song.similar.reasons import shown_percent
from hmm2song.similar.results import Reason
from hmm2song.song import Song

if TYPE_CHECKING:
    from hmm2song.similar.map import Cluster

DEFAULT_LANGUAGE = "en"
SAME_KEY_ST = 0.5
"""Closer than half a semitone people call it the same key."""
SAME_TEMPO = 0.03
"""Tempo differences below 3 % go unnoticed."""
SEMITONES_PER_OCTAVE = 12


@cache
def load_texts() -> dict[str, dict]:
    """Return the words of the page by language and key; those of ``genres`` by genre."""
    files = sorted(
        Path(__file__).with_name("texts").glob("*.toml"), key=lambda file: (file.stem != DEFAULT_LANGUAGE, file)
    )
    return {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in files}


LANGUAGES = {code: words["name"] for code, words in load_texts().items()}


def text(language: str, key: str, /, **values: object) -> str:
    """Return the text of ``key`` in ``language`` with its placeholders filled in."""
    return load_texts()[language][key].format(**values)


def preferred_language(accept_language: str | None) -> str:
    """Choose the page's language from an ``Accept-Language`` header (RFC 9110, 12.5.4).

    Of the languages the page speaks the one with the highest weight wins, the earlier on a tie; else English.
    """
    best, best_weight = DEFAULT_LANGUAGE, 0.0
    for part in (accept_language or "").split(","):
        tag, _, parameter = part.strip().partition(";")
        language = tag.split("-")[0].strip().lower()
        weight = _weight(parameter)
        if language in LANGUAGES and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def position_words(match: Match, language: str) -> str:
    """Say where in the song the hum lies."""
    return text(language, "position", start=clock(match.alignment.start_s), end=clock(match.alignment.end_s))


def key_words(key_shift_st: float, language: str) -> str:
    """Say how far the hum lies above or below the catalog's version, in octaves and semitones."""
    if abs(key_shift_st) < SAME_KEY_ST:
        return text(language, "same_key")
    octaves, semitones = divmod(max(1, round(abs(key_shift_st))), SEMITONES_PER_OCTAVE)
    parts = [_counted(language, name, n) for name, n in (("octave", octaves), ("semitone", semitones)) if n]
    interval = parts[0] if len(parts) == 1 else text(language, "and", first=parts[0], second=parts[1])
    return text(language, "higher" if key_shift_st > 0 else "lower", interval=interval)


def tempo_words(tempo_ratio: float, language: str) -> str:
    """Say how fast the hum is compared with the catalog's version."""
    if abs(tempo_ratio - 1) < SAME_TEMPO:
        return text(language, "same_tempo")
    return text(language, "faster" if tempo_ratio > 1 else "slower", percent=round(abs(tempo_ratio - 1) * 100))


def _counted(language: str, key: str, n: int) -> str:
    return text(language, f"{key}_1" if n == 1 else f"{key}_n", n=n)


def genre_words(genres: str, language: str) -> str:
    """Translate a comma-separated list of genres or tags; one that is not known keeps the catalog's name."""
    known = load_texts()[language]["genres"]
    return ", ".join(known.get(genre, genre) for genre in map(str.strip, genres.split(",")))


def cluster_words(cluster: Cluster, language: str) -> str:
    """Translate the tags or genres that a cluster is named by; one without a name has a number."""
    number = cluster.number + 1
    if cluster.name == f"cluster {number}":
        return text(language, "cluster_number", n=number)
    return genre_words(cluster.name, language)


def heard_words(warning: str, language: str) -> str:
    """Translate a warning about what was heard by its code; one this page does not know keeps the English sentence."""
    key = f"heard_{warning.partition(':')[0].replace(' ', '_')}"
    return text(language, key) if key in load_texts()[language] else warning


def label_words(song: Song | Match, language: str) -> tuple[str, str]:
    """Say genre and singer of a song, and how sure they are where they are guessed; empty what is not known."""
    singer = text(language, f"singer_{song.gender}") if song.gender else ""
    stated = {"genre": genre_words(song.genre, language), "gender": singer}
    for label, guess in song.guesses.items():
        word = genre_words(guess.value, language) if label == "genre" else text(language, f"singer_{guess.value}")
        stated[label] = text(language, "guessed", label=word, percent=round(100 * guess.probability))
    return stated["genre"], stated["gender"]


def credit_words(artist: str, author: str, year: str, language: str) -> tuple[str, ...]:
    """Say whose song it is and from when: a singer made known what an author wrote, perhaps long before."""
    if not author or artist == author:
        return (artist, year)
    known = text(language, "known_by", singer=artist)
    if author.startswith(("Traditional", "Ancient", "Anonymous")):
        return (known, author, year)
    return (known, text(language, "by", author=author), text(language, "written", year=year) if year else "")


def error_words(error: Hmm2SongError, language: str) -> str:
    """Say in the reader's language that a recording cannot be used; the library's own sentences are English."""
    return text(language, "error_audio", detail=error) if isinstance(error, AudioError) else str(error)


def why_words(reasons: Iterable[Reason], language: str) -> str:
    """Say why a song is like another one."""
    words = []
    for reason in reasons:
        facet, percent = text(language, f"facet_{reason.facet}"), shown_percent(reason.value)
        words.append(text(language, f"why_{reason.code}", facet=facet, percent=percent, bpm=reason.value))
    return ", ".join(words)


def advice_words(advice: Advice, language: str) -> str:
    """Translate advice by its code; one this page does not know keeps the library's English sentence."""
    key = f"advice_{advice.code}"
    if key not in load_texts()[language]:
        return advice.message
    return text(language, key, value=advice.value)


def searched_words(result: SearchResult, language: str) -> str:
    """Say how many songs were searched, how fast, and how many of them the filter could not judge."""
    count = "0" if result.n_searched == 0 else "1" if result.n_searched == 1 else "n"
    words = text(language, f"searched_{count}", n=result.n_searched, seconds=result.seconds)
    return f"{words} {text(language, 'unknown', n=result.n_unknown)}" if result.n_unknown else words


def titles(title: str, title_ko: str, language: str) -> tuple[str, ...]:
    """Return a song's one or two different titles, the one in the reader's language first."""
    ordered = (title_ko, title) if language == "ko" else (title, title_ko)
    return tuple(dict.fromkeys(name for name in ordered if name))


def full_title(match: Match, language: str) -> str:
    """Return the title, with the one in the other language in brackets."""
    first, *others = titles(match.title, match.title_ko, language) or (match.id,)
    return f"{first} ({others[0]})" if others else first


def overlay_words(match: Match, hum: Melody, language: str) -> str:
    """Describe the plot for those who cannot see it."""
    apart_st = distance_st(hum, match.melody, match.alignment, match.is_tracked)
    return text(
        language,
        "overlay_no_voice" if math.isnan(apart_st) else "overlay_words",
        title=full_title(match, language),
        start=clock(match.alignment.start_s),
        end=clock(match.alignment.end_s),
        key=key_words(match.alignment.key_shift_st, language),
        tempo=tempo_words(match.alignment.tempo_ratio, language),
        distance=apart_st,
    )
