"""Which of the nearest songs are listed: not too many of one artist, and no song twice.

Two entries are one song if the catalog says so (``Song.tune``), or if they are copies of one recording: half of the
moments of the shorter one sound like moments of the other, or both are equally long and have the same melody, or where
the catalog holds no melodies the same title. Embeddings of whole songs do not tell: different quiet pieces for piano
are nearer to each other than two copies of one recording in different quality.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from hmm2song.catalog.facets import Facets
from hmm2song.catalog.song_table import SongTable
from hmm2song.index.base import first_windows
from hmm2song.similar.tunes import Tunes
from hmm2song.song import fold_text

SAME_DURATION = 1.01
"""Two copies of a recording differ by no more in length: silence at the ends, an encoder's padding."""
SAME_MELODY = 0.95
"""Mean similarity of their melody windows from which two recordings are copies."""
COPY_STEPS, COPY_SHARE = 2, 0.5
"""Two moments sound alike if no column differs by more steps. Of two recordings of 144 that are none of one piece, at
most 0.1 of the moments do; of a copy that ends earlier or is quieter, all; of one that begins later, as a rule none."""
COPY_TIMBRE = 4.0
"""Root mean square difference of the MFCC from where moments are not even looked at."""
FIRST_CANDIDATES = 500
NOBODY = ("", "traditional", "trad", "anonymous", "anon", "unknown", "unknown artist", "various", "various artists")
"""What is no artist, and no limit is set to: also with a country behind it, as in "Traditional English"."""
_GUEST = re.compile(r"\s*(?:[;(]|\bfeat\b|\bft\b|\bfeaturing\b).*")


class Choice:
    """Chooses among the songs of one catalog."""

    def __init__(self, songs: SongTable, facets: Facets | None, tunes: Tunes | None) -> None:
        self._songs = songs
        self._facets = facets
        self._tunes = tunes
        self._first = None if facets is None else first_windows(facets.n_moments)
        artists = zip(songs.column("singer"), songs.column("author"), strict=True)
        self._artists: list[str] = [artist_key(singer or author) for singer, author in artists]
        ids = list(songs.column("id"))
        self._place = np.argsort(sorted(range(len(ids)), key=ids.__getitem__))

    def artist(self, song: int) -> str:
        """Return by what songs of its artist are known, see :func:`artist_key`."""
        return self._artists[song]

    def choose(
        self, farness: np.ndarray, mask: np.ndarray, query: int | None, n: int, per_artist: int
    ) -> dict[int, list[str]]:
        """Return the positions of ``n`` songs to list, nearest first, each with the ids of the same song again.

        Parameters
        ----------
        farness : np.ndarray, shape (n_songs,)
        mask : np.ndarray, shape (n_songs,), bool
            The songs to choose from.
        query : int or None
            The song that is asked about: its copies are not listed; versions of its tune are, each for itself.
        n : int
        per_artist : int
            0: any number.
        """
        chosen: dict[int, list[str]] = {}
        n_listed: dict[str, int] = {}
        tune = "" if query is None else self._songs.text(query, "tune")
        for song in self._nearest_first(farness, mask):
            if query is not None and self.same_recording(song, query):
                continue
            again = next((other for other in chosen if self._is_again(song, other, tune)), None)
            artist = self._artists[song]
            if again is not None:
                chosen[again].append(self._songs.text(song, "id"))
            elif len(chosen) == n:
                break
            elif not artist or not per_artist or n_listed.get(artist, 0) < per_artist:
                chosen[song] = []
                n_listed[artist] = n_listed.get(artist, 0) + 1
        return chosen

    def _nearest_first(self, farness: np.ndarray, mask: np.ndarray) -> Iterator[int]:
        """Yield the songs under a mask in order of farness, of equally far ones in order of their ids."""
        rows = np.flatnonzero(mask)
        if len(rows) > FIRST_CANDIDATES:
            limit = np.partition(farness[rows], FIRST_CANDIDATES)[FIRST_CANDIDATES]
            near, rows = rows[farness[rows] <= limit], rows[farness[rows] > limit]
            yield from map(int, near[np.lexsort((self._place[near], farness[near]))])
        yield from map(int, rows[np.lexsort((self._place[rows], farness[rows]))])

    def _is_again(self, song: int, other: int, tune_asked: str) -> bool:
        tune = self._songs.text(song, "tune")
        is_version = tune not in ("", tune_asked) and tune == self._songs.text(other, "tune")
        return is_version or self.same_recording(song, other)

    def same_recording(self, song: int, other: int) -> bool:
        """Tell whether two songs are copies of one recording."""
        if self._facets is None or not (self._facets.heard[song] and self._facets.heard[other]):
            return False
        difference = self._facets.timbre[song].astype(np.float32) - self._facets.timbre[other]
        if np.square(difference).mean() > COPY_TIMBRE**2:
            return False
        durations_s = sorted(self._facets.duration_s[[song, other]])
        if durations_s[1] <= durations_s[0] * SAME_DURATION:
            titles = {fold_text(self._songs.text(each, "title")) for each in (song, other)}
            if len(titles) == 1 if self._tunes is None else self._tunes.likeness(song, other) >= SAME_MELODY:
                return True
        return self._shared_moments(song, other) >= COPY_SHARE

    def _shared_moments(self, song: int, other: int) -> float:
        """Return the share of the moments of one song that sound like moments of the other, of the one with fewer."""
        few, many = sorted(
            (
                self._facets.moments[self._first[each] : self._first[each + 1]].astype(np.int16)
                for each in (song, other)
            ),
            key=len,
        )
        if len(few) == 0:
            return 0.0
        steps = np.abs(few[:, None] - many).max(axis=2).min(axis=1)
        return float((steps <= COPY_STEPS).mean())


@lru_cache(maxsize=100_000)
def artist_key(artist: str) -> str:
    """Return by what songs of one artist are known, without guests; empty if there is no artist."""
    name = _GUEST.sub("", fold_text(artist)).strip(" .")
    return "" if name in NOBODY or name.startswith("traditional ") else name
