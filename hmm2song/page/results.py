"""HTML of the page: status, the winner's card, the other candidates, advice, the list of songs.

Conventions
-----------
* Everything that comes from a catalog, a recording or an error goes through :func:`html.escape`; texts of the
  page do too, so that no function here needs to know which strings are safe.
* Colours are CSS variables of the page's theme, so the same HTML serves light and dark.
* Buttons carry ``data-act`` (``answer.js`` does it) or ``data-index`` (the match that is to be shown instead).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from hmm2song.match.results import NONE, Match, SearchResult
from hmm2song.page.drawing import match_plot, song_plot
from hmm2song.page.markup import html_text, listed, song_button
from hmm2song.page.texts import (
    advice_words,
    credit_words,
    full_title,
    key_words,
    label_words,
    overlay_words,
    position_words,
    searched_words,
    tempo_words,
    text,
    titles,
)

if TYPE_CHECKING:
    from hmm2song.melody.melody import Melody
    from hmm2song.page.preview import Preview
    from hmm2song.song import Song

SEARCH_SITES = {
    "YouTube": "https://www.youtube.com/results?search_query={query}",
    "Spotify": "https://open.spotify.com/search/{query}",
    "Apple Music": "https://music.apple.com/search?term={query}",
    "Melon": "https://www.melon.com/search/total/index.htm?q={query}",
}
"""Search pages, not songs: the catalog does not know where a song can be heard."""

MOVING_STATES = ("listening_plain", "searching")
N_GUESSES = 3
"""Songs shown while the hum goes on."""
SONG_SHOWN_S = 20.0
"""What is drawn and played of a song that a link names."""


@dataclass(frozen=True)
class Card:
    """The parts of a winner's card that differ between an answer and a song that a link names; four of them HTML."""

    song: Song | Match
    state: str
    about: str
    ring: str
    plot: str
    details: str
    data: str
    level: str = ""


def header_html(about: str, language: str) -> str:
    """Return the page's title, what to do, and what is in the catalog."""
    return (
        f"<header><h1>Hmm2Song</h1><p>{html_text(language, 'tagline')} {html_text(language, 'how_to')}</p>"
        f'<p class="quiet">{escape(about)}</p>'
        f'<p class="note only-insecure">{html_text(language, "insecure")}</p></header>'
    )


def status_html(key: str, language: str) -> str:
    """Return the status line for a state: ``again``, ``listening_plain``, ``searching`` or ``busy``."""
    return _status(text(language, key), "moving" if key in MOVING_STATES else "")


def found_html(result: SearchResult, language: str) -> str:
    """Return the answer in a line for screen readers: the best match, or that there is none, and how many joined."""
    if result.level == NONE:
        words = text(language, "no_match" if result.n_searched else "nothing_left")
    else:
        best = result.matches[0]
        words = text(language, result.level, title=full_title(best, language), percent=_percent(best))
    return _status(listed([words, _joined(result, language)]), "unseen")


def privacy_html(language: str) -> str:
    """Return the line about what happens to recordings."""
    rest = f'<p class="quiet">{html_text(language, "privacy")}</p>'
    return f'<details class="others"><summary>{html_text(language, "privacy_short")}</summary>{rest}</details>'


def examples_html(language: str) -> str:
    """Return the line above the example hums."""
    return f'<p class="quiet">{html_text(language, "examples")}</p>'


def error_html(message: str, language: str) -> str:
    """Return an error as a block of the page; ``message`` says what is wrong."""
    return f'<div class="note" role="alert"><b>{html_text(language, "error")}</b><br>{escape(message)}</div>'


def winner_html(result: SearchResult, index: int, sound: Preview, language: str) -> str:
    """Return the card of a match: what it is, how sure, where, the overlay, and what can be done with it.

    Only the first match of an answer that names one goes into the visitor's history.
    """
    match, percent = result.matches[index], _percent(result.matches[index])
    level = result.level if index == 0 else NONE
    words = overlay_words(match, result.hum, language)
    ring = (
        f'<b class="ring" role="img" style="--sure:{match.probability:.0%}" '
        f'aria-label="{html_text(language, "sure_words", percent=percent)}">'
        f"{html_text(language, 'sure', percent=percent)}</b>"
    )
    card = Card(
        match,
        state=listed([text(language, f"level_{level}"), _joined(result, language)]),
        about=listed(credit_words(match.artist, match.author, match.year, language)),
        ring=ring,
        plot=_caption(match, language) + match_plot(match, result.hum, words),
        details=f'<p class="quiet">{escape(words)}</p>{_facts(result, index, language)}',
        level=level,
        data=f' data-percent="{escape(percent)}"' + (' data-heard="1"' if level != NONE else ""),
    )
    return _winner(card, sound, ("yes", "no", "link", "share", "like"), language)


def song_html(song: Song, melody: Melody, sound: Preview, language: str) -> str:
    """Return the card of a song that a link names: without a hum, with its beginning."""
    words = text(language, "song_words", title=titles(song.title, song.title_ko, language)[0])
    card = Card(
        song,
        state=text(language, "song_shared"),
        about=listed(credit_words(song.artist, song.author, song.year, language)),
        ring="",
        plot=song_plot(melody, SONG_SHOWN_S, words),
        details=f"<p>{escape(listed(label_words(song, language)))}</p>",
        data="",
    )
    return _winner(card, sound, ("link", "share", "like"), language)


def verdict_html(result: SearchResult, language: str, is_alone: bool = False) -> str:
    """Return what goes with the answer: an honest no-match, advice, a good match outside the filter.

    ``is_alone`` tells that earlier hums were left out because this one alone is clearer.
    """
    alone = f'<p class="note">{html_text(language, "alone")}</p>' if is_alone else ""
    return alone + _no_match(result, language) + _advice(result, language) + _elsewhere(result, language)


def ranking_html(result: SearchResult, language: str) -> str:
    """Return the other candidates (all of them where none is convincing), and what was searched."""
    notes = [searched_words(result, language), *result.notices]
    return _ranking(result, language) + "".join(f'<p class="quiet">{escape(note)}</p>' for note in notes)


def songs_html(songs: Iterable[Song], query: str, language: str, is_cut: bool) -> str:
    """Return the list of catalog songs that ``query`` found; ``is_cut`` tells that there are more."""
    rows = [_song_row(song, language) for song in songs]
    if not rows:
        return f"<p>{html_text(language, 'catalog_none', query=query)}</p>"
    more = f'<p class="quiet">{html_text(language, "catalog_more", shown=len(rows))}</p>' if is_cut else ""
    return f'{more}<ul class="songs">{"".join(rows)}</ul>'


def guesses(result: SearchResult, language: str) -> list[dict[str, str]]:
    """Return the best songs of an interim search as plain text; of those with the same tune the first."""
    tunes = {match.tune or match.id: match for match in reversed(result.matches)}
    best = sorted(tunes.values(), key=lambda match: match.rank)[:N_GUESSES]
    return [{"title": full_title(match, language), "percent": _percent(match)} for match in best]


def search_links(song: Song | Match) -> dict[str, str]:
    """Return, per music site, the address that searches for the song there."""
    korean = f"{song.title_ko or song.title} {song.artist}"
    english = f"{song.title} {song.artist}"
    return {
        site: address.format(query=quote((korean if site == "Melon" else english).strip(), safe=""))
        for site, address in SEARCH_SITES.items()
    }


def _winner(card: Card, sound: Preview, acts: Iterable[str], language: str) -> str:
    first, *others = titles(card.song.title, card.song.title_ko, language) or (card.song.id,)
    rest = "".join(f'<span dir="auto">{escape(other)}</span>' for other in others)
    play, pause = html_text(language, "play"), html_text(language, "pause")
    pressed = {"yes": ' aria-pressed="false"', "no": ' aria-pressed="false"'}
    buttons = "".join(
        f'<button type="button" data-act="{act}"{pressed.get(act, "")}>{html_text(language, act)}</button>'
        for act in acts
    )
    return (
        f'<article class="winner {card.level}" data-id="{escape(card.song.id)}" data-title="{escape(first)}" '
        f'data-artist="{escape(card.song.artist)}"{card.data}>'
        f'<div class="top">{card.ring}<div class="names"><span class="state">{escape(card.state)}</span>'
        f'<h2 dir="auto">{escape(first)}</h2>{rest}<span class="quiet">{escape(card.about)}</span></div>'
        f'<button type="button" class="play" data-act="play" data-play="{play}" data-pause="{pause}" '
        f'aria-label="{play}"></button></div>{card.plot}'
        f'<audio preload="auto" src="{escape("gradio_api/file=" + quote(sound.path.as_posix()))}" '
        f'data-at="{sound.match_s:.2f}" data-from="{sound.from_s:.2f}"></audio>'
        f'<div class="acts">{buttons}</div><p class="said" role="status"></p>'
        f"<details><summary>{html_text(language, 'details')}</summary>{card.details}{_lyrics(card.song, language)}"
        f"</details>{_links(card.song, language)}</article>"
    )


def _caption(match: Match, language: str) -> str:
    """Say where in the song the hum lies, and what the lines of the plot are."""
    names = {"song": html_text(language, "key_song"), "hum-line": html_text(language, "key_hum")}
    lines = "".join(
        '<span><svg aria-hidden="true" width="28" height="10" style="display:inline" fill="none">'
        f'<path class="{line}" d="M4 5h18" stroke-linecap="round"/></svg>{name}</span>'
        for line, name in names.items()
    )
    return f'<p class="caption"><b>{escape(position_words(match, language))}</b>{lines}</p>'


def _status(words: str, kind: str = "") -> str:
    """Return a line that screen readers announce when it changes."""
    return f'<p class="status {kind}" role="status" aria-live="polite">{escape(words)}</p>'


def _joined(result: SearchResult, language: str) -> str:
    """Say how many hums were joined; without matches nothing was searched."""
    return text(language, "joined", n=1 + len(result.earlier)) if result.earlier and result.matches else ""


def _no_match(result: SearchResult, language: str) -> str:
    if result.level != NONE:
        return ""
    key = "no_match" if result.n_searched else "nothing_left"
    own = f"{html_text(language, 'lead_own')} <code>hmm2song index my-music --out my-catalog</code>"
    return (
        f'<div class="note no-match"><h2>{html_text(language, key)}</h2><p>{html_text(language, f"{key}_hint")}</p>'
        f'<p class="acts"><button type="button" data-act="catalog">{html_text(language, "lead_catalog")}</button></p>'
        f'<p class="quiet">{own}</p></div>'
    )


def _advice(result: SearchResult, language: str) -> str:
    if not result.advice:
        return ""
    items = "".join(f"<li>{escape(advice_words(advice, language))}</li>" for advice in result.advice)
    return f'<div class="note"><b>{html_text(language, "advice")}</b><ul>{items}</ul></div>'


def _elsewhere(result: SearchResult, language: str) -> str:
    if result.elsewhere is None:
        return ""
    title = f"{full_title(result.elsewhere, language)} ({_percent(result.elsewhere)}%)"
    return f'<div class="note">{html_text(language, "elsewhere", title=title)}</div>'


def _ranking(result: SearchResult, language: str) -> str:
    is_none = result.level == NONE
    others = list(enumerate(result.matches))[0 if is_none else 1 :]
    if not others:
        return ""
    cards = "".join(_card(index, match, language) for index, match in others)
    summary = html_text(language, "guesses") if is_none else html_text(language, "also", n=len(others))
    return f'<details class="others"{" open" if is_none else ""}><summary>{summary}</summary>{cards}</details>'


def _card(index: int, match: Match, language: str) -> str:
    first, *others = titles(match.title, match.title_ko, language) or (match.id,)
    names = f"<b>{escape(first)}</b>" + "".join(f"<span>{escape(other)}</span>" for other in others)
    return (
        f'<div class="row"><button type="button" class="card" data-index="{index}"><span>{match.rank}</span>'
        f'<span class="names" dir="auto">{names}<span class="quiet">{escape(match.artist)}</span></span>'
        f'<b class="sure" style="--sure:{match.probability:.0%}">'
        f"{html_text(language, 'sure', percent=_percent(match))}</b></button>{_like(match.id, language)}</div>"
    )


def _like(song_id: str, language: str) -> str:
    return f'<span class="acts">{song_button("like", song_id, language)}</span>'


def _facts(result: SearchResult, index: int, language: str) -> str:
    match = result.matches[index]
    first = next(each for each in result.matches if (each.tune or each.id) == (match.tune or match.id))
    genre, singer = label_words(match, language)
    words = [
        key_words(match.alignment.key_shift_st, language),
        tempo_words(match.alignment.tempo_ratio, language),
        genre or text(language, "genre_unknown"),
        singer,
        text(language, "same_tune", rank=first.rank) if first.rank < match.rank else "",
    ]
    return f'<div class="chips">{"".join(f"<span>{escape(word)}</span>" for word in words if word)}</div>'


def _links(song: Song | Match, language: str) -> str:
    links = "".join(
        f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(site)}</a>'
        for site, address in search_links(song).items()
    )
    return f'<div class="chips"><small>{html_text(language, "find_on")}</small> {links}</div>'


def _lyrics(song: Song | Match, language: str) -> str:
    if not song.lyric.strip():
        return ""
    return (
        f"<details><summary>{html_text(language, 'lyrics')}</summary>"
        f'<div class="lyrics" style="white-space:pre-line">{escape(song.lyric.strip())}</div></details>'
    )


def _song_row(song: Song, language: str) -> str:
    first, *others = titles(song.title, song.title_ko, language) or (song.id,)
    other = f" ({escape(others[0])})" if others else ""
    credit = credit_words(song.artist, song.author, song.year, language)
    rest = listed([*credit, label_words(song, language)[0]])
    link = f'<a dir="auto" href="?song={quote(song.id, safe="")}">{escape(first)}</a>'
    return f'<li><b>{link}</b>{other} <span class="quiet">{escape(rest)}</span> {_like(song.id, language)}</li>'


def _percent(match: Match) -> str:
    """Write a probability in percent, from <1 to 99: no match is certain, and none in the list is impossible."""
    percent = min(round(match.probability * 100), 99)
    return str(percent) if percent else "<1"
