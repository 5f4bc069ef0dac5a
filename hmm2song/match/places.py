"""Places in songs, in one unit: seconds of a song from its first voiced frame.

The window votes propose :class:`Places`, the search looks at :class:`Places` and returns :class:`Placements`, and the
votes are then counted where the hum was placed. Only the loops of the alignment count in frames and only the index in
windows; each converts for itself. An :class:`Alignment`, which users see, has the times of the recording and of the
score.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

LONGEST_STRETCH = 1.3
"""How much longer than at its tempo hypothesis a hum's stretch of song is assumed to be."""


@dataclass(frozen=True, eq=False)
class Places:
    """Stretches of songs; all arrays have shape (n,).

    ``song`` is a position in the catalog and may repeat. ``start_s`` and ``end_s`` may lie outside the song: what is
    outside does not count.
    """

    song: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray

    @classmethod
    def whole(cls, songs: np.ndarray) -> Places:
        """Return the places that are ``songs`` (n,) from beginning to end."""
        return cls(songs, np.zeros(len(songs)), np.full(len(songs), np.inf))

    def __len__(self) -> int:
        return len(self.song)

    def first(self, n: int) -> Places:
        """Return the first ``n`` places."""
        return Places(self.song[:n], self.start_s[:n], self.end_s[:n])

    def of(self, mask: np.ndarray) -> Places:
        """Return the places in songs under ``mask`` (n_songs,)."""
        chosen = mask[self.song]
        return Places(self.song[chosen], self.start_s[chosen], self.end_s[chosen])

    def followed_by(self, others: Places) -> Places:
        """Return these places and the others behind them."""
        return Places(*(np.concatenate((getattr(self, f.name), getattr(others, f.name))) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Placements:
    """How a hum lies on songs; all arrays have shape (n,).

    ``song`` is a position in the catalog and may repeat, ``end_s`` where the placement ends, ``key_st`` the offset hum
    minus song (about which it may drift), ``speed`` the tempo hypothesis in seconds of song per second of hum, and
    ``cost_st`` the mean cost per hum frame in semitones.
    """

    song: np.ndarray
    end_s: np.ndarray
    key_st: np.ndarray
    speed: np.ndarray
    cost_st: np.ndarray

    def __len__(self) -> int:
        return len(self.song)

    def take(self, chosen: np.ndarray) -> Placements:
        """Return the placements ``chosen``."""
        return Placements(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def best_of_songs(self, score: np.ndarray) -> np.ndarray:
        """Return which placements are their song's best by ``score`` (n,), in the order they stand here."""
        best_first = np.argsort(-score, kind="stable")
        return np.sort(best_first[first_of_each(self.song[best_first])])

    def stretches(self, hum_s: float) -> Places:
        """Return what a hum of ``hum_s`` seconds covers: from where it begins at the earliest to the end."""
        return Places(self.song, self.end_s - LONGEST_STRETCH * hum_s * self.speed, self.end_s)


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the hum lies on the song.

    Attributes
    ----------
    hum_time_s, song_time_s : np.ndarray, shape (n,)
        Corresponding instants, both non-decreasing: the warping path.
    key_shift_st : float
        Semitones from the song down or up to the hum (hum = song + shift), octave included.
    tempo_ratio : float
        Speed of the hum relative to the song: 1.2 is 20 % faster than the catalog's version.
    """

    hum_time_s: np.ndarray
    song_time_s: np.ndarray
    key_shift_st: float
    tempo_ratio: float

    @property
    def start_s(self) -> float:
        """Where in the song the hum begins."""
        return float(self.song_time_s[0])

    @property
    def end_s(self) -> float:
        """Where in the song the hum ends."""
        return float(self.song_time_s[-1])


def first_of_each(keys: np.ndarray) -> np.ndarray:
    """Return where each of ``keys`` (n,) stands first, in that order."""
    return np.sort(np.unique(keys, return_index=True)[1])
