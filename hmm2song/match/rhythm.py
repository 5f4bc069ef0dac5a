"""A second look at the best songs: whether the notes of the hum and of the song fall together.

The alignment compares pitch with pitch, with rests filled. A song of many quick notes therefore fits some hums by
chance: the path hurries past notes that nobody sang. People leave out hardly any note, change their pitch where the
song does, and after a breath resume where a note begins. :meth:`HumNotes.misfit_st` charges a path for what differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import HOP_S

UNSUNG_ST_S = 0.2
"""Cost of a note of the song that the hum is silent for or the path leaps over, in semitone seconds of hum."""
UNHEARD_ST_S = 0.1
"""Cost of a change of the song's pitch at which the hum's stays, in semitone seconds of hum."""
RESUMED_ST = 0.8
"""Cost in semitones where the hum resumes off the beginning of a note, for the seconds that it is off."""
FARTHEST_S = 0.3
"""Further off than this is no worse."""
CHANGE_ST = 0.5
"""Least change of the hum's pitch that counts: people glide over a semitone."""
WRITTEN_CHANGE_ST = 0.3
"""Least change of the song's pitch that begins a note."""
MEDIAN_FRAMES = 3
"""Frames before and after a change whose medians are compared."""
CHANGE_SLACK_FRAMES = 1
"""A change this far off still counts as at the same time."""
EDGE_S = 0.1
"""What is this close to either end of the path is not judged: the hum has no pitch on the other side."""


@dataclass(frozen=True, eq=False)
class HumNotes:
    """What a hum, or a piece of one, tells about its notes."""

    hum: FilledContour

    @cached_property
    def resumed_s(self) -> np.ndarray:
        """Return when the hum resumes after silence, (n,)."""
        voiced = self.hum.voiced
        return (np.flatnonzero(voiced[1:] & ~voiced[:-1]) + 1) * HOP_S

    @cached_property
    def changes(self) -> np.ndarray:
        """Return whether the pitch changes at a frame or next to it, (n_frames,), bool."""
        n, reach = MEDIAN_FRAMES, CHANGE_SLACK_FRAMES
        held = np.lib.stride_tricks.sliding_window_view(np.pad(self.hum.pitch_midi, n, mode="edge"), n)
        median = np.median(held, axis=1)
        changed = np.pad(np.abs(median[n:] - median[:-n]) > CHANGE_ST, reach)
        return np.lib.stride_tricks.sliding_window_view(changed, 2 * reach + 1).any(axis=1)[: len(self.hum.pitch_midi)]

    def misfit_st(self, song: FilledContour, hum_time_s: np.ndarray, song_time_s: np.ndarray) -> float:
        """Return what a path costs in addition, two arrays (n,) relative to the first frames of both contours."""
        pitch, begins = song.pitch_midi, np.zeros(len(song.pitch_midi), bool)
        is_change = np.append(False, np.abs(np.diff(pitch)) > WRITTEN_CHANGE_ST)
        begins[1:] = is_change[1:] | (song.voiced[1:] & ~song.voiced[:-1])
        onset_s = np.flatnonzero(begins) * HOP_S
        note = np.searchsorted(onset_s, song_time_s, side="right")
        n_sung = len(np.unique(note[self.hum.sample_voiced(hum_time_s)]))
        n_unsung = note[-1] - note[0] + 1 - n_sung

        on_path = (onset_s > song_time_s[0]) & (onset_s < song_time_s[-1])
        onset_hum_s = np.interp(onset_s[on_path], song_time_s, hum_time_s)
        changes_s = onset_hum_s[is_change[begins][on_path]]
        first_s, last_s = hum_time_s[0] + EDGE_S, hum_time_s[-1] - EDGE_S
        changes_s = changes_s[(changes_s > first_s) & (changes_s < last_s)]
        n_unheard = np.count_nonzero(~self.changes[np.rint(changes_s / HOP_S).astype(np.int64)])

        resumed_s = self.resumed_s[(self.resumed_s > first_s) & (self.resumed_s < last_s)]
        around_s = np.concatenate(([-np.inf], onset_hum_s, [np.inf]))
        after = np.searchsorted(around_s, resumed_s)
        off_s = np.minimum(resumed_s - around_s[after - 1], around_s[after] - resumed_s)
        total = UNSUNG_ST_S * n_unsung + UNHEARD_ST_S * n_unheard + RESUMED_ST * np.minimum(off_s, FARTHEST_S).sum()
        return float(total / (hum_time_s[-1] - hum_time_s[0] + HOP_S))
