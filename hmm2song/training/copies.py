"""Copies of recordings, to learn and to measure what a codec changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import av
import numpy as np

from hmm2song.audio import stereo_blocks
from hmm2song.catalog.facets import Facets
from hmm2song.song import Song

MP3_RATE_HZ, MP3_BITS_PER_S = 44100, 64_000
MAX_COPIED_S = 90.0
"""Longer recordings are not copied, to save time."""


def short_ones(songs: Sequence[Song], facets: Facets, seed: int, left_out: Collection[str] = ()) -> list[int]:
    """Return the positions of the songs that are short enough to be copied, in random order."""
    order = np.random.default_rng(seed).permutation(len(songs))
    is_short = facets.heard & (facets.duration_s <= MAX_COPIED_S)
    return [int(row) for row in order if is_short[row] and songs[row].id not in left_out]


def as_mp3(file: Path, mp3: Path) -> Path:
    """Write a recording to the file ``mp3`` at 64 kbit/s."""
    samples = np.concatenate([*stereo_blocks(file, MP3_RATE_HZ)]).T
    with av.open(mp3, "w") as container:
        stream = container.add_stream("mp3", rate=MP3_RATE_HZ, layout="stereo")
        stream.bit_rate = MP3_BITS_PER_S
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), "fltp", "stereo")
        frame.sample_rate = MP3_RATE_HZ
        resampler = av.AudioResampler("fltp", "stereo", MP3_RATE_HZ, stream.codec_context.frame_size or 1152)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))
    return mp3
