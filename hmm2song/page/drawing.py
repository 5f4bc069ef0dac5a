"""The page's plot: the hum on the song as SVG that fits any width, with its labels as text beside it.

Conventions
-----------
* The SVG's own units are seconds of song to the right and semitones downward; it is stretched to its box, and the width
  of the lines is not. Labels are placed in percent of the box.
* Colours are those of the page (``.song``, ``.hum-line``, ``.match`` in ``page.css``).
"""

from __future__ import annotations

from html import escape

from hmm2song.match.overlay import Contour, hum_contour, notes_apart, pitch_axis, song_contour, time_axis
from hmm2song.match.results import Match
from hmm2song.melody.melody import Melody

EMPTY_RANGE_MIDI = (55, 75)
HEAD = "position:absolute;top:0;bottom:0;width:2px;background:var(--body-text-color)"
"""What shows how far the song is played."""
EDGE = 0.03
"""No label stands so close to the right edge, in widths of the box."""


def match_plot(match: Match, hum: Melody, words: str) -> str:
    """Draw a hum on the song; ``words`` say the same to those who cannot see it."""
    place = match.alignment
    return _plot(song_contour(match.melody, place), hum_contour(hum, place), (place.start_s, place.end_s), words)


def song_plot(song: Melody, length_s: float, words: str) -> str:
    """Draw the first seconds of a song."""
    part = song.slice_s(0.0, length_s)
    return _plot(Contour(part.time_s, part.pitch_midi), None, None, words)


def _plot(song: Contour, hum: Contour | None, match_s: tuple[float, float] | None, words: str) -> str:
    shown = [song] if hum is None else [song, hum]
    across, up = time_axis(*shown), pitch_axis(*shown)
    (first_s, last_s), (low, high) = across["range"], up.get("range", EMPTY_RANGE_MIDI)
    length_s, height_st = max(last_s - first_s, 0.1), high - low
    marks = "".join(
        f'<i style="left:{(at - first_s) / length_s:.1%}">{escape(label)}</i>'
        for at, label in zip(across["tickvals"], across["ticktext"], strict=True)
        if at < last_s - EDGE * length_s
    ) + "".join(
        f'<i class="note-name" style="top:{(high - at) / height_st:.1%}">{escape(label)}</i>'
        for at, label in zip(up.get("tickvals", ()), up.get("ticktext", ()), strict=True)
    )
    lines = f'<path class="song" d="{_path(notes_apart(song))}"/>'
    if hum is not None:
        start_s, end_s = match_s
        box = f'x="{start_s:.2f}" y="{-high}" width="{end_s - start_s:.2f}" height="{height_st}"'
        lines = f'<rect class="match" {box}/>{lines}<path class="hum-line" d="{_path(hum)}"/>'
    return (
        f'<div class="plot" role="img" aria-label="{escape(words)}" data-span="{first_s:.2f} {length_s:.2f}">'
        '<svg aria-hidden="true" preserveAspectRatio="none" fill="none" stroke-linecap="round" stroke-linejoin="round" '
        f'viewBox="{first_s:.2f} {-high} {length_s:.2f} {height_st}">{lines}</svg>{marks}'
        f'<div class="head" style="{HEAD}" hidden></div></div>'
    )


def _path(contour: Contour) -> str:
    """Write a line with gaps where there is no pitch."""
    parts, is_drawn = [], False
    for time_s, pitch in zip(contour.time_s.tolist(), contour.pitch_midi.tolist(), strict=True):
        is_voiced = pitch == pitch  # not NaN
        if is_voiced:
            parts.append(f"{'L' if is_drawn else 'M'}{time_s:.2f} {-pitch:.2f}")
        is_drawn = is_voiced
    return "".join(parts)
