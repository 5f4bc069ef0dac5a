"""Cutting a song into the clips of the first source system: 10 s every 8 s, so that neighbours share 2 s.

The last clip ends with the song and may be shorter (it is padded with silence where it is made into a picture, see
:mod:`hmm2song.baselines.mel_cnn.mel`). There is none that would lie wholly in the clip before it; so a song of 10 s or
less is one clip, and the last one of a longer song has more than 2 s.
"""

from __future__ import annotations

from dataclasses import dataclass

from hmm2song.baselines.mel_cnn.mel import CLIP_SAMPLES, SAMPLE_RATE_HZ

HOP_S = 8.0
HOP_SAMPLES = round(HOP_S * SAMPLE_RATE_HZ)


@dataclass(frozen=True)
class Segment:
    """A clip as samples ``start`` to ``stop`` (not included) of its song at 22,050 Hz."""

    start: int
    stop: int

    @property
    def start_s(self) -> float:
        """Where the clip begins in its song, in seconds."""
        return self.start / SAMPLE_RATE_HZ

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds: 10 unless it is the end of the song."""
        return (self.stop - self.start) / SAMPLE_RATE_HZ


def segments(n_samples: int) -> list[Segment]:
    """Return the clips of a song with this many samples at 22,050 Hz; none if it is empty."""
    if n_samples <= 0:
        return []
    n_more = -(-max(0, n_samples - CLIP_SAMPLES) // HOP_SAMPLES)
    starts = range(0, (n_more + 1) * HOP_SAMPLES, HOP_SAMPLES)
    return [Segment(start, min(start + CLIP_SAMPLES, n_samples)) for start in starts]
