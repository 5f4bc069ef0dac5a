"""HTML of the page: status, ranked results, advice, the list of songs.

Conventions
-----------
* Everything that comes from a catalog, a recording or an error goes through :func:`html.escape`; texts of the
  page do too, so that no function here needs to know which strings are safe.
* Colours are CSS variables of the page's theme, so the same HTML serves light and dark.
* A card is a ``<details>`` element: it opens by mouse, touch and keyboard without a script. Its ``<summary>``
  carries ``data-index``, which the page's click handler reads to redraw the plot.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from hmm2song.page.texts import (
    advice_words,
    full_title,
    key_words,
    position_words,
    searched_words,
    tempo_words,
    text,
    titles,
)
from hmm2song.results import NONE, Match, SearchResult

if TYPE_CHECKING:
    from hmm2song.song import Song

SEARCH_SITES = {
    "YouTube": "https://www.youtube.com/results?search_query={query}",
    "Spotify": "https://open.spotify.com/search/{query}",
    "Apple Music": "https://music.apple.com/search?term={query}",
    "Melon": "https://www.melon.com/search/total/index.htm?q={query}",
}
"""Search pages, not songs: the catalog does not know where a song can be heard."""

MOVING_STATES = ("listening", "searching")


def header_html(language: str) -> str:
    """Return the page's title and what to do."""
    return (
        f"<header><h1>Hmm2Song</h1><p>{_text(language, 'tagline')} {_text(language, 'how_to')}</p>"
        f'<p class="note only-insecure">{_text(language, "insecure")}</p></header>'
    )


def status_html(key: str, language: str) -> str:
    """Return the status line for a state: ``ready``, ``again``, ``listening``, ``searching``, ``busy`` or ``gone``."""
    return _status(text(language, key), is_moving=key in MOVING_STATES)


def found_html(result: SearchResult, language: str) -> str:
    """Return the status line after a search: the best match, or that there is none; and how many hums were joined."""
    joined = ""
    if result.earlier and result.matches:  # without matches nothing was searched
        joined = f" · {text(language, 'joined', n=1 + len(result.earlier))}"
    if result.level == NONE:
        return _status(text(language, "no_match" if result.n_searched else "nothing_left") + joined)
    best = result.matches[0]
    return _status(text(language, result.level, title=full_title(best, language), percent=_percent(best)) + joined)


def description_html(words: str, language: str) -> str:
    """Return the plot's heading and its description, visible to everybody."""
    return f'<h2>{_text(language, "overlay")}</h2><p class="quiet">{escape(words)}</p>'


def privacy_html(language: str) -> str:
    """Return the line about what happens to recordings."""
    return f'<p class="quiet">{_text(language, "privacy")}</p>'


def examples_html(language: str) -> str:
    """Return the line above the example hums."""
    return f'<p class="quiet" style="text-align: center">{_text(language, "examples")}</p>'


def error_html(message: str, language: str) -> str:
    """Return an error as a block of the page; ``message`` is the exception's own, in English."""
    return f'<div class="note" role="alert"><b>{_text(language, "error")}</b><br>{escape(message)}</div>'


def verdict_html(result: SearchResult, language: str) -> str:
    """Return what comes before the ranking: an honest no-match, advice, a good match outside the filter."""
    return _no_match(result, language) + _advice(result, language) + _elsewhere(result, language)


def ranking_html(result: SearchResult, language: str) -> str:
    """Return the ranked cards, the first one open, and what was searched."""
    notes = [searched_words(result, language), *result.notices]
    return _ranking(result, language) + "".join(f'<p class="quiet">{escape(note)}</p>' for note in notes)


def songs_html(songs: Iterable[Song], query: str, language: str, is_cut: bool) -> str:
    """Return the list of catalog songs that ``query`` found; ``is_cut`` tells that there are more."""
    rows = [_song_row(song, language) for song in songs]
    if not rows:
        return f"<p>{_text(language, 'catalog_none', query=query)}</p>"
    more = f'<p class="quiet">{_text(language, "catalog_more", shown=len(rows))}</p>' if is_cut else ""
    return f'{more}<ul class="songs">{"".join(rows)}</ul>'


def search_links(match: Match) -> dict[str, str]:
    """Return, per music site, the address that searches for the song there."""
    korean = f"{match.title_ko or match.title} {match.artist}"
    english = f"{match.title} {match.artist}"
    return {
        site: address.format(query=quote((korean if site == "Melon" else english).strip(), safe=""))
        for site, address in SEARCH_SITES.items()
    }


def _status(words: str, is_moving: bool = False) -> str:
    """Return a line that screen readers announce when it changes."""
    moving = " moving" if is_moving else ""
    return f'<p class="status{moving}" role="status" aria-live="polite">{escape(words)}</p>'


def _text(language: str, key: str, /, **values: object) -> str:
    return escape(text(language, key, **values))


def _no_match(result: SearchResult, language: str) -> str:
    if result.level != NONE:
        return ""
    key = "no_match" if result.n_searched else "nothing_left"
    return f'<div class="note"><b>{_text(language, key)}</b><br>{_text(language, f"{key}_hint")}</div>'


def _advice(result: SearchResult, language: str) -> str:
    if not result.advice:
        return ""
    items = "".join(f"<li>{escape(advice_words(advice, language))}</li>" for advice in result.advice)
    return f'<div class="note"><b>{_text(language, "advice")}</b><ul>{items}</ul></div>'


def _elsewhere(result: SearchResult, language: str) -> str:
    if result.elsewhere is None:
        return ""
    title = f"{full_title(result.elsewhere, language)} ({_percent(result.elsewhere)}%)"
    return f'<div class="note">{_text(language, "elsewhere", title=title)}</div>'


def _ranking(result: SearchResult, language: str) -> str:
    if not result.matches:
        return ""
    first_ranks: dict[str, int] = {}
    for match in result.matches:
        first_ranks.setdefault(match.tune or match.id, match.rank)
    cards = "".join(
        _card(index, match, first_ranks[match.tune or match.id], language) for index, match in enumerate(result.matches)
    )
    heading = _text(language, "guesses" if result.level == NONE else "results")
    dim = ' class="dim"' if result.level == NONE else ""
    return f"<h2>{heading}</h2><div{dim}>{cards}</div>"


def _card(index: int, match: Match, first_rank: int, language: str) -> str:
    """Return a card; ``first_rank`` is that of the best version of the same melody."""
    percent = _percent(match)
    first, *others = titles(match.title, match.title_ko, language) or (match.id,)
    names = [f"<b>{escape(first)}</b>", *(f"<span>{escape(other)}</span>" for other in others)]
    return (
        f'<details class="card" name="match"{" open" if index == 0 else ""}>'
        f'<summary data-index="{index}"><span style="min-width:1.2em">{match.rank}</span>'
        f'<span class="names">{"".join(names)}'
        f'<span class="quiet">{escape(match.artist)}</span></span>'
        f'<b class="sure" style="--sure:{match.probability:.0%}">'
        f"{_text(language, 'sure', percent=percent)}</b></summary>"
        f'<div class="body">{_facts(match, first_rank, language)}{_links(match, language)}'
        f'<button type="button" class="narrow" data-index="{index}">{_text(language, "show")}</button>'
        f"{_lyrics(match, language)}</div></details>"
    )


def _facts(match: Match, first_rank: int, language: str) -> str:
    how = [
        position_words(match, language),
        key_words(match.alignment.key_shift_st, language),
        tempo_words(match.alignment.tempo_ratio, language),
    ]
    what = [match.genre or text(language, "genre_unknown"), match.year]
    if match.gender:
        what.append(text(language, f"singer_{match.gender}"))
    if first_rank < match.rank:
        what.append(text(language, "same_tune", rank=first_rank))
    return _chips(how) + _chips(what)


def _chips(words: Iterable[str]) -> str:
    return f'<div class="chips">{"".join(f"<span>{escape(word)}</span>" for word in words if word)}</div>'


def _links(match: Match, language: str) -> str:
    links = "".join(
        f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(site)}</a>'
        for site, address in search_links(match).items()
    )
    return f'<div class="chips"><small>{_text(language, "find_on")}</small> {links}</div>'


def _lyrics(match: Match, language: str) -> str:
    if not match.lyric.strip():
        return ""
    return (
        f"<details><summary>{_text(language, 'lyrics')}</summary>"
        f'<div class="lyrics">{escape(match.lyric.strip())}</div></details>'
    )


def _song_row(song: Song, language: str) -> str:
    first, *others = titles(song.title, song.title_ko, language) or (song.id,)
    other = f" ({escape(others[0])})" if others else ""
    rest = " · ".join(escape(word) for word in (song.artist, song.year, song.genre) if word)
    return f'<li><b>{escape(first)}</b>{other} <span class="quiet">{rest}</span></li>'


def _percent(match: Match) -> str:
    """Write a probability in percent, from <1 to 99: no match is certain, and none in the list is impossible."""
    percent = min(round(match.probability * 100), 99)
    return str(percent) if percent else "<1"
