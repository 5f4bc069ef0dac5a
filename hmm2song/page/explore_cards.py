"""HTML of the Explore tab: songs to choose from, songs and moments like one, a path, a map.

The conventions are those of :mod:`hmm2song.page.results`. Buttons carry the id of a song: ``data-like`` (songs like
it), ``data-goal`` (the path's end), ``data-hear`` (play it, from second ``data-at`` on); ``explore.js`` acts on them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from hmm2song.match.overlay import clock
from hmm2song.page.markup import html_text, listed, song_button
from hmm2song.page.texts import (
    cluster_words,
    credit_words,
    genre_words,
    heard_words,
    label_words,
    text,
    titles,
    why_words,
)
from hmm2song.similar.reasons import shown_percent

if TYPE_CHECKING:
    from hmm2song.similar.map import Cluster, MapPoint, SongMap
    from hmm2song.similar.results import MomentResult, SimilarResult, SongPath
    from hmm2song.song import Song

COLOURS = (
    "#5b7fe0", "#d2722a", "#3a9a5c", "#cf5050", "#9068cf", "#977348", "#c95fa3", "#2d97a8", "#8f8f2c", "#6f7fa0"
)  # fmt: skip
"""Of the groups of a map, the largest first; each has a contrast of 3:1 with the light and the dark background."""
OTHERS_COLOUR = "#8b93a8"
TOP_K = 12
"""Songs or moments that are listed."""
SPOT = "position:absolute;width:20px;height:20px;margin:-10px;border:3px solid;border-radius:50%;pointer-events:none"
"""The ring around a point of the map."""
MAX_DRAWN = 3000
"""Points of a map; all its clusters are listed."""
N_IN_CLUSTER = 8
"""Songs of a cluster that are listed below the map."""


class Look(NamedTuple):
    """How songs are shown.

    In a language; whether they can be played (else they state licence and source), and be the end of a path.
    """

    language: str
    can_play: bool
    can_lead: bool


def choices_html(songs: Sequence[Song], query: str, look: Look) -> str:
    """Return the songs that ``query`` finds, to be explored from, or to end the path."""
    if not songs:
        return f"<p>{html_text(look.language, 'catalog_none', query=query)}</p>"
    return "".join(_card(song, "", look.can_lead, look) for song in songs)


def note_html(key: str, language: str, **values: object) -> str:
    """Return a text of the page as a quiet line."""
    return f'<p class="quiet">{html_text(language, key, **values)}</p>'


def about_html(titles: Sequence[str], language: str) -> str:
    """Say what is explored: nothing yet, one song or recording, or the way between two."""
    if not titles:
        return f"<p>{html_text(language, 'explore_about')}</p>"
    return f'<h2 dir="auto">{_explored(titles, language)}</h2>'


def told_html(titles: Sequence[str], language: str) -> str:
    """Tell screen readers what is shown now."""
    words = _explored(titles, language) if titles else ""
    return f'<p class="status unseen" role="status" aria-live="polite">{words}</p>'


def _explored(titles: Sequence[str], language: str) -> str:
    key = "explore_to" if len(titles) > 1 else "explore_from"
    return html_text(language, key, title=titles[0], goal=titles[-1])


def songs_html(result: SimilarResult, warnings: Iterable[str], lacking: Sequence[str], once: bool, look: Look) -> str:
    """Return the songs like one, each with its reasons.

    ``warnings`` are about the recording asked with, ``lacking`` are the facets that it does not have, and with ``once``
    every artist is listed once.
    """
    language = look.language
    notes = [*(heard_words(warning, language) for warning in warnings), *_lacking(lacking, language)]
    if not result.n_compared:
        notes.append(text(language, "nothing_like"))
    elif once and len(result.songs) < min(TOP_K, result.n_compared):
        notes.append(text(language, "only_once", n=len(result.songs)))
    rows = []
    for each in result.songs:
        player = _player(each.song.id, 0.0, look)
        rows.append(_card(each.song, why_words(each.reasons, language), look.can_lead, look, player))
    return _notes(notes) + "".join(rows)


def _lacking(names: Sequence[str], language: str) -> list[str]:
    facets = ", ".join(text(language, f"facet_{name}") for name in names)
    return [text(language, "lacking", facets=facets)] if names else []


def moments_html(result: MomentResult, once: bool, look: Look) -> str:
    """Return the moments of other songs like one of the query, each played at its place; ``once`` as for songs."""
    language = look.language
    at = html_text(language, "moment_of", start=clock(result.start_s), end=clock(result.end_s))
    rows = []
    for each in result.moments:
        place = {"start": clock(each.start_s), "end": clock(each.end_s)}
        words = text(language, "moment", percent=shown_percent(each.closer_than), **place)
        rows.append(_card(each.song, words, look.can_lead, look, _player(each.song.id, each.start_s, look)))
    is_short = result.notices and once  # of fewer than asked for
    note = text(language, "only_once", n=len(rows)) if rows else text(language, "nothing_like")
    return f"<p>{at}</p>{_notes([note] if is_short or not rows else [])}{''.join(rows)}"


def path_html(path: SongPath, lacking: Sequence[str], look: Look) -> str:
    """Return the songs on the way from one to another; ``lacking`` are the facets that its ends do not have."""
    return _notes(_lacking(lacking, look.language)) + "".join(
        _card(song, why_words(reasons, look.language), False, look, _player(song.id, 0.0, look))
        for song, reasons in zip(path.songs, path.reasons, strict=True)
    )


def map_html(drawn: SongMap, colour: str, query_id: str, look: Look) -> str:
    """Return the map as a picture that can be walked with the arrow keys, and its clusters in words.

    ``colour`` is ``cluster``, ``genre`` or ``voice``; the song ``query_id`` is marked. Of very many songs some are
    drawn.
    """
    language, every = look.language, math.ceil(len(drawn.points) / MAX_DRAWN) or 1
    points = [point for n, point in enumerate(drawn.points) if n % every == 0 or point.song.id == query_id]
    groups = _groups(points, drawn.clusters, colour, language)
    counts = Counter(groups).most_common()
    colours = dict(zip((name for name, _ in counts), COLOURS, strict=False))
    dots: dict[str, list[str]] = {name: [] for name, _ in reversed(counts)}
    known = []
    for point, group in zip(points, groups, strict=True):
        x, y = _place(point)
        dots[group].append(f"M{x} {y}h0")
        known.append([x, y, point.song.id, listed([title_of(point.song, language), point.song.artist, group])])
    paths = "".join(
        f'<path style="stroke:{colours.get(name, OTHERS_COLOUR)}" d="{"".join(each)}"/>' for name, each in dots.items()
    )
    start = next((number for number, point in enumerate(points) if point.song.id == query_id), -1)
    facet = text(language, f"facet_{drawn.facet}")
    missing = [text(language, "map_missing", n=drawn.n_missing, facet=facet)] if drawn.n_missing else []
    words = html_text(language, "map_words", n=len(known), groups=len(counts))
    marks = {name: f'<b style="color:{each}">●</b>' for name, each in colours.items()}
    is_by_cluster = colour == "cluster"  # then the list of clusters is the legend
    named = [] if is_by_cluster else counts[: len(COLOURS)]
    legend = "".join(f"<span>{marks[name]} {escape(name)} ({n:,})</span>" for name, n in named)
    buttons = _buttons("", look.can_lead, language) + _player("", 0.0, look)
    return (
        f'<div class="plot map" tabindex="0" role="application" aria-label="{words}" data-start="{start}" '
        f'data-points="{escape(json.dumps(known, ensure_ascii=False, separators=(",", ":")))}">'
        '<svg aria-hidden="true" preserveAspectRatio="none" fill="none" stroke-linecap="round" '
        f'viewBox="0 0 1000 1000">{paths}</svg>'
        f'<b class="spot" style="{SPOT}" hidden></b></div><p class="quiet spot-words" role="status" aria-live="polite">'
        f'{words}</p><p class="acts spot-acts" hidden>{buttons}</p><div class="chips">{legend}</div>'
        f"{_clusters(drawn, marks if is_by_cluster else {}, look)}{_notes(missing)}"
    )


def _groups(points: Iterable[MapPoint], clusters: Iterable[Cluster], colour: str, language: str) -> list[str]:
    names = {cluster.number: cluster_words(cluster, language) for cluster in clusters}

    def group(point: MapPoint) -> str:
        if colour == "cluster":
            return names[point.cluster]
        if colour == "genre":
            return genre_words("".join(point.song.known_genres(True)[:1]), language)
        gender = point.song.known_gender(True)
        return text(language, f"singer_{gender}") if gender else ""

    unknown = text(language, "genre_unknown" if colour == "genre" else "group_unknown")
    return [group(point) or unknown for point in points]


def _place(point: MapPoint) -> tuple[int, int]:
    """Return where a point lies in a square of 1000 units with a margin, y downward."""
    return round(500 + 460 * point.x), round(500 - 460 * point.y)


def _clusters(drawn: SongMap, marks: Mapping[str, str], look: Look) -> str:
    blocks = []
    for cluster in drawn.clusters:
        points = [point for point in drawn.points if point.cluster == cluster.number]
        middle = next(point for point in points if point.song.id == cluster.song_id)
        points.sort(key=lambda point: (point.x - middle.x) ** 2 + (point.y - middle.y) ** 2)
        rows = "".join(_card(point.song, "", False, look) for point in points[:N_IN_CLUSTER])
        name = cluster_words(cluster, look.language)
        size = f"{marks.get(name, '')} {html_text(look.language, 'cluster', name=name, n=cluster.n_songs)}"
        blocks.append(f'<details class="others"><summary>{size}</summary>{rows}</details>')
    return "".join(blocks)


def _card(song: Song, words: str, with_goal: bool, look: Look, player: str = "") -> str:
    language = look.language
    credit = credit_words(song.artist, song.author, song.year, language)
    rights = () if look.can_play else (song.licence, song.source)
    about = listed([*credit, *label_words(song, language), *rights])
    why = f"<span>{escape(words)}</span>" if words else ""
    return (
        f'<article class="card"><div class="names" dir="auto"><b>{escape(title_of(song, language))}</b>'
        f'<span class="quiet">{escape(about)}</span>{why}'
        f'<span class="acts">{_buttons(song.id, with_goal, language)}</span></div>{player}</article>'
    )


def _player(song_id: str, at_s: float, look: Look) -> str:
    if not look.can_play:
        return ""
    play, pause = html_text(look.language, "hear"), html_text(look.language, "pause")
    return (
        f'<button type="button" class="play" data-hear="{escape(song_id)}" data-at="{at_s:.2f}" data-play="{play}" '
        f'data-pause="{pause}" aria-label="{play}"></button>'
    )


def title_of(song: Song, language: str) -> str:
    """Return the title in the reader's language, or the id of a song without a title."""
    return (titles(song.title, song.title_ko, language) or (song.id,))[0]


def _buttons(song_id: str, with_goal: bool, language: str) -> str:
    return " ".join(song_button(act, song_id, language) for act in (("like", "goal") if with_goal else ("like",)))


def _notes(notices: Iterable[str]) -> str:
    return "".join(f'<p class="quiet">{escape(notice)}</p>' for notice in notices)
