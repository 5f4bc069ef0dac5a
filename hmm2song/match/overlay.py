"""The hum laid over the song: its contour in the song's time and key, and the plot of both.

Conventions
-----------
* x is the time in the *song* in seconds, y the pitch as MIDI note number. The hum's frames are moved to the
  song's time through the alignment's warping path, and to its key by subtracting ``key_shift_st``.
* Colours are readable on light and dark.
* plotly is imported only when something is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hmm2song.match.places import Alignment
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody

if TYPE_CHECKING:
    import plotly.graph_objects as go

CONTEXT_S = 3.0
"""Seconds of the song shown before and after the matched stretch."""
HEIGHT_PX = 340
SONG_COLOUR, HUM_COLOUR, SPAN_COLOUR = "#9aa3b5", "#6d5ef5", "rgba(109, 94, 245, 0.09)"
GRID_COLOUR = "rgba(128, 128, 128, 0.18)"
NOTE_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
JUMP_ST = 0.75
"""A larger step between frames is drawn as a new note, not as a line: the song looks like a piano roll."""
MARGIN_ST = 2
"""Space above the highest and below the lowest note."""
MAX_PITCH_TICKS, MAX_TIME_TICKS = 8, 6
TIME_TICK_STEPS_S = (1, 2, 5, 10, 20, 30, 60)


@dataclass(frozen=True, eq=False)
class Contour:
    """A line of the plot: ``time_s`` and ``pitch_midi``, each of shape (n,); NaN where there is no pitch."""

    time_s: np.ndarray
    pitch_midi: np.ndarray


def song_contour(song: Melody, alignment: Alignment) -> Contour:
    """Return the song's melody on the matched stretch and :data:`CONTEXT_S` around it."""
    first = max(0, round((alignment.start_s - CONTEXT_S) * FRAME_RATE_HZ))
    last = max(first, round((alignment.end_s + CONTEXT_S) * FRAME_RATE_HZ))
    return Contour(song.time_s[first:last], song.pitch_midi[first:last])


def hum_contour(hum: Melody, alignment: Alignment) -> Contour:
    """Return the hum in the song's time and key."""
    path_hum_s, rows = np.unique(alignment.hum_time_s, return_index=True)
    inside = (hum.time_s >= path_hum_s[0]) & (hum.time_s <= path_hum_s[-1])
    song_time_s = np.interp(hum.time_s[inside], path_hum_s, alignment.song_time_s[rows])
    return Contour(song_time_s, hum.pitch_midi[inside] - alignment.key_shift_st)


def distance_st(hum: Melody, song: Melody, alignment: Alignment, modulo_octave: bool = False) -> float:
    """Return the mean distance in semitones where both hum and song have a pitch; NaN where none do.

    A tracked melody is compared ``modulo_octave``: its jumps of an octave are the tracker's and not the singer's.
    """
    moved = hum_contour(hum, alignment)
    frames = np.round(moved.time_s * FRAME_RATE_HZ).astype(int)
    on_song = (frames >= 0) & (frames < len(song.pitch_midi))
    gaps_st = np.abs(moved.pitch_midi[on_song] - song.pitch_midi[frames[on_song]])
    gaps_st = gaps_st[~np.isnan(gaps_st)]
    if modulo_octave:
        gaps_st = np.abs(gaps_st - 12 * np.round(gaps_st / 12))
    return float(gaps_st.mean()) if len(gaps_st) else float("nan")


def overlay_figure(hum: Melody, song: Melody, alignment: Alignment, song_name: str = "song") -> go.Figure:
    """Draw the hum on the matched stretch of the song."""
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError('the plot is drawn by plotly, which is missing: pip install "plotly>=7.1,<8"') from error

    in_song, in_hum = song_contour(song, alignment), hum_contour(hum, alignment)
    figure = go.Figure()
    figure.add_scatter(**_line(notes_apart(in_song), song_name, SONG_COLOUR, width_px=7))
    figure.add_scatter(**_line(in_hum, "hum", HUM_COLOUR, width_px=2.5))
    figure.add_vrect(alignment.start_s, alignment.end_s, fillcolor=SPAN_COLOUR, line_width=0, layer="below")
    figure.update_layout(
        template="none",
        height=HEIGHT_PX,
        margin={"l": 44, "r": 12, "t": 12, "b": 52},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode=False,
        dragmode=False,
        modebar={"remove": ["zoom", "pan", "select", "lasso", "zoomin", "zoomout", "autoscale", "reset", "toimage"]},
    )
    # Fixed ranges: on a phone a finger on the plot scrolls the page.
    title = {"text": "time in the song", "standoff": 6}
    figure.update_xaxes(**time_axis(in_song, in_hum), title=title, fixedrange=True)
    figure.update_yaxes(**pitch_axis(in_song, in_hum), fixedrange=True, gridcolor=GRID_COLOUR, zeroline=False)
    return figure


def notes_apart(contour: Contour) -> Contour:
    """Put a gap into the line wherever the pitch jumps."""
    jumps = np.flatnonzero(np.abs(np.diff(contour.pitch_midi)) > JUMP_ST) + 1
    return Contour(
        np.insert(contour.time_s, jumps, contour.time_s[jumps]), np.insert(contour.pitch_midi, jumps, np.nan)
    )


def _line(contour: Contour, name: str, colour: str, width_px: float) -> dict:
    pitch_midi = [None if np.isnan(pitch) else round(float(pitch), 2) for pitch in contour.pitch_midi]
    line = {"color": colour, "width": width_px}
    time_s = np.round(contour.time_s, 3).tolist()
    return {"x": time_s, "y": pitch_midi, "name": name, "mode": "lines", "connectgaps": False, "line": line}


def time_axis(*contours: Contour) -> dict:
    """Return range, tick places and tick texts of the time axis, as plotly names them."""
    time_s = np.concatenate([contour.time_s for contour in contours])
    first_s, last_s = float(time_s.min()), float(time_s.max())
    step_s = next((step for step in TIME_TICK_STEPS_S if (last_s - first_s) / step <= MAX_TIME_TICKS), 60)
    ticks_s = np.arange(np.ceil(first_s / step_s), np.floor(last_s / step_s) + 1) * step_s
    return {
        "range": [first_s, last_s],
        "tickvals": ticks_s.tolist(),
        "ticktext": [clock(tick_s) for tick_s in ticks_s],
        "showgrid": False,
        "zeroline": False,
    }


def pitch_axis(*contours: Contour) -> dict:
    """Return range, tick places and tick texts of the pitch axis, as plotly names them; no ranges without a pitch."""
    pitch_midi = np.concatenate([contour.pitch_midi for contour in contours])
    pitch_midi = pitch_midi[~np.isnan(pitch_midi)]
    if len(pitch_midi) == 0:
        return {"showticklabels": False}
    low, high = int(np.floor(pitch_midi.min())) - MARGIN_ST, int(np.ceil(pitch_midi.max())) + MARGIN_ST
    step_st = max(1, -(-(high - low) // MAX_PITCH_TICKS))
    ticks = list(range(low + 1, high, step_st))
    return {"range": [low, high], "tickvals": ticks, "ticktext": [_note_name(tick) for tick in ticks]}


def _note_name(midi: int) -> str:
    return f"{NOTE_NAMES[midi % 12]}{midi // 12 - 1}"


def clock(seconds: float) -> str:
    """Write a time as m:ss, as players do."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
