"""Window votes: what the encoder says about songs, and about places in songs, for one hum.

A hum is cut into windows at several tempi. Each window is most like some windows of some songs; windows of one hum that
follow each other should find windows of one song that follow each other. That is used twice:

* :func:`propose` asks the index for each window's nearest neighbours in the whole catalog and collects those that agree
  on song and place: the places worth aligning.
* :func:`votes` compares the windows of given songs, or of stretches of them, walking a *time-consistent path* through
  each: from one window of the hum to the next the song advances by nought to two windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from hmm2song.catalog.catalog import Selection
from hmm2song.embeddings.contour_encoder import MelodyEncoder, WindowConfig
from hmm2song.index.base import WindowIndex, WindowRanges
from hmm2song.match.places import Places, first_of_each
from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import FRAME_RATE_HZ

VOTE_SPEEDS = tuple(2.0 ** (step / 4) for step in range(-3, 4))
"""Tempo hypotheses; the encoder is trained to bear what lies between."""
PHASES = (0.0, 0.5)
"""Where the hum's first window starts, in hops of the song's windows."""
MIN_HUM_FILL = 0.5
"""A hum's last window must be filled by half, or it says more about its edge than about the melody."""
N_NEIGHBOURS = 200
PLACE_STEP_S = 2.0
"""Neighbours that put the hum's start this close together agree."""
STRETCH_SLACK_S = 1.0
"""Windows this far outside a stretch of a song still speak for it: they lie on a grid and the stretch is a guess."""


@dataclass(frozen=True, eq=False)
class HumWindows:
    """Embedded windows of one hum of ``duration_s``, at all tempi; each array has a row a window.

    ``embeddings`` have shape (n, dim), float32; ``start_s`` is in song time, from the hum's first frame; windows of one
    tempo and phase follow each other and share the number ``series``; ``speed`` is the tempo hypothesis: seconds of
    song per second of hum.
    """

    embeddings: np.ndarray
    start_s: np.ndarray
    series: np.ndarray
    speed: np.ndarray
    duration_s: float


def embed_hum(hum: FilledContour, encoder: MelodyEncoder, n_threads: int = 1) -> HumWindows:
    """Cut and embed a hum that is not empty."""
    pitch_st, voiced, start_s, series, speeds = [], [], [], [], []
    for number, (speed, phase) in enumerate((speed, phase) for speed in VOTE_SPEEDS for phase in PHASES):
        skipped_s = phase * encoder.windows.song_hop_s
        rest = hum.part(round(skipped_s / speed * FRAME_RATE_HZ), len(hum.pitch_midi))
        if phase and rest.duration_s * speed < MIN_HUM_FILL * encoder.windows.window_s:
            continue  # too little is left for a window of its own
        windows = encoder.cut(rest, speed=speed, min_fill=MIN_HUM_FILL)
        pitch_st.append(windows.pitch_st)
        voiced.append(windows.voiced)
        start_s.append(windows.start_s + skipped_s)
        series.append(np.full(len(windows.start_s), number))
        speeds.append(np.full(len(windows.start_s), speed))
    embeddings = encoder.embed(np.concatenate(pitch_st), np.concatenate(voiced), n_threads)
    return HumWindows(
        embeddings, np.concatenate(start_s), np.concatenate(series), np.concatenate(speeds), hum.duration_s
    )


def propose(hum: HumWindows, index: WindowIndex, song_hop_s: float, selection: Selection) -> Places:
    """Return the places where the hum could be because nearest neighbours agree on them, most promising first.

    Each neighbour of a window says where the hum would have begun. Within a tempo and a place each window of the hum
    counts once, with the excess of its best similarity over that of its last neighbour: what every song offers is no
    evidence. The evidence of a place is the mean over the windows of its tempo, for the faster a hum is taken to be,
    the more windows it has.
    """
    asked = np.flatnonzero(hum.series % len(PHASES) == 0)  # the other phases find the same places
    found = index.nearest(hum.embeddings[asked], N_NEIGHBOURS, selection.mask, selection.wanted)
    row, rank = np.nonzero(found.song >= 0)
    song, window = found.song[row, rank], found.window[row, rank]
    worst = np.where(np.isfinite(found.similarity), found.similarity, np.inf).min(axis=1, initial=1.0)
    excess = found.similarity[row, rank] - worst[row]
    query = asked[row]
    tempo = hum.speed[asked]
    excess = excess / np.count_nonzero(tempo[:, None] == tempo, axis=1)[row]
    start_s = window * song_hop_s - hum.start_s[query]
    place = np.floor(start_s / PLACE_STEP_S).astype(np.int64)
    speed = np.searchsorted(VOTE_SPEEDS, hum.speed[query] - 1e-9)
    # a place and the one before it share the evidence that falls on their border
    twice = np.repeat(np.arange(len(song)), 2)
    place = np.stack((place, place - 1), axis=1).ravel()
    chosen = _strongest_first(song[twice], place, speed[twice], query[twice], excess[twice], start_s[twice])
    song, start_s, speed = song[twice][chosen], start_s[twice][chosen], np.asarray(VOTE_SPEEDS)[speed[twice][chosen]]
    return Places(song, start_s, start_s + hum.duration_s * speed)


def _strongest_first(
    song: np.ndarray, place: np.ndarray, speed: np.ndarray, query: np.ndarray, excess: np.ndarray, start_s: np.ndarray
) -> np.ndarray:
    """Add up the evidence for each (song, place, tempo), each query once; return where it says best that it begins.

    All arrays are in order of the queries, and for each query in order of excess.
    """
    if len(song) == 0:
        return np.zeros(0, np.int64)
    place = place - place.min()
    key = (song * (place.max() + 1) + place) * len(VOTE_SPEEDS) + speed
    order = np.argsort(key, kind="stable")  # leaves the queries of a place in order, and each query's best first
    new_place = np.append(True, np.diff(key[order]) != 0)
    new_query = new_place | np.append(True, np.diff(query[order]) != 0)
    group, excess = np.cumsum(new_place) - 1, excess[order]
    evidence = np.bincount(group, weights=np.where(new_query, excess, 0.0))
    is_best = np.flatnonzero(excess == np.maximum.reduceat(excess, np.flatnonzero(new_place))[group])
    strongest = order[is_best[np.append(True, np.diff(group[is_best]) != 0)]]  # it says best where the hum begins
    chosen = strongest[np.argsort(-evidence, kind="stable")]
    # of two places that share their evidence the better one remains: as many others can be looked at
    start = np.rint((start_s - start_s.min())[chosen] * FRAME_RATE_HZ).astype(np.int64)
    exact = (song[chosen] * (start.max() + 1) + start) * len(VOTE_SPEEDS) + speed[chosen]
    return chosen[first_of_each(exact)]


def ranges_of(places: Places, config: WindowConfig) -> WindowRanges:
    """Return the windows that speak for places."""
    last_s = places.end_s - MIN_HUM_FILL * config.window_s  # a hum's last window starts there
    first = np.floor((places.start_s - STRETCH_SLACK_S) / config.song_hop_s).astype(np.int64)
    after = np.floor((last_s + STRETCH_SLACK_S) / config.song_hop_s).astype(np.int64) + 1
    return WindowRanges(places.song, first, after)


def votes(hum: HumWindows, index: WindowIndex, ranges: WindowRanges) -> np.ndarray:
    """Return the vote for each range: mean similarity along the best path of all tempi and phases.

    Returns
    -------
    np.ndarray, shape (n,), float32
        1 for identical melodies, about 0 for chance.
    """
    song_windows, counts = index.windows_of(ranges)
    first_window = np.concatenate(([0], np.cumsum(counts)))
    similarity = song_windows @ hum.embeddings.T
    best = np.full(len(counts), -2.0, dtype=np.float32)  # less than any similarity; fastmath allows no infinity
    for number in np.unique(hum.series):
        columns = np.flatnonzero(hum.series == number)
        _raise_to_best_paths(np.ascontiguousarray(similarity[:, columns]), first_window, best)
    return best


@numba.njit(nogil=True, cache=True, fastmath=True)
def _raise_to_best_paths(similarity, first_window, best):
    n_hum = similarity.shape[1]
    for song in range(len(first_window) - 1):
        start, n_song = first_window[song], first_window[song + 1] - first_window[song]
        reached = similarity[start : start + n_song, 0].copy()
        following = np.empty(n_song, np.float32)
        for i in range(1, n_hum):
            for j in range(n_song):
                highest = reached[j]
                if j >= 1 and reached[j - 1] > highest:
                    highest = reached[j - 1]
                if j >= 2 and reached[j - 2] > highest:
                    highest = reached[j - 2]
                following[j] = highest + similarity[start + j, i]
            reached, following = following, reached
        highest = reached[0]
        for j in range(1, n_song):  # numpy's max takes half a second to be compiled
            highest = max(highest, reached[j])
        vote = highest / n_hum
        if vote > best[song]:
            best[song] = vote
