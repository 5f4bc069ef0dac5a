"""The fourth source system: segments on the beat, one value per MFCC, clusters, and percentages inside a cluster."""

from __future__ import annotations

import numpy as np
import pytest

from hmm2song.evaluation.baselines.segments import SAMPLE_RATE_HZ, SegmentSearch, SongSegments, segments_of

BEAT_S = 0.5


@pytest.fixture(scope="module")
def drummed() -> SongSegments:
    """Return 24 s with a beat every half second; from the middle on all is 12 dB quieter."""
    return segments_of(drums(48, 440.0))


def drums(n_beats: int, pitch_hz: float) -> np.ndarray:
    time_s = np.arange(round(BEAT_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(0).normal(size=len(time_s))
    beat = np.exp(-20 * time_s) * (noise + np.sin(2 * np.pi * pitch_hz * time_s)) * 0.2
    gains = np.where(np.arange(n_beats) < n_beats // 2, 1, 10 ** (-12 / 20))
    return np.outer(gains, beat).ravel().astype(np.float32)


def test_segments_are_cut_on_the_beat_every_four_seconds(drummed):
    assert np.diff(drummed.start_s) == pytest.approx(4.0, abs=0.1)
    assert drummed.vectors.shape == (len(drummed.start_s), 20)
    assert drummed.vectors.std(axis=1, ddof=1) == pytest.approx(1)  # whitened, each alone


def test_loudness_goes_in_steps_of_3_db(drummed):
    assert set(drummed.loudness_db.ravel()) <= set(range(0, 31, 3))
    assert drummed.loudness_db.shape[1] == 8
    assert np.median(drummed.loudness_db[0]) - np.median(drummed.loudness_db[-1]) == pytest.approx(12, abs=3)


def test_silence_and_very_short_songs_have_one_segment():
    for samples in (np.zeros(2 * SAMPLE_RATE_HZ, np.float32), drums(1, 440.0)):
        song = segments_of(samples)
        assert song.vectors.shape == (1, 20) and song.loudness_db.shape == (1, 8)
        assert np.isfinite(song.vectors).all()


def test_only_other_songs_of_the_same_cluster_are_found(drummed):
    rng = np.random.default_rng(1)
    other = SongSegments(np.arange(6.0), rng.normal(size=(6, 20)), np.zeros((6, 8)))
    search = SegmentSearch([drummed, drummed, other])
    found = search.nearest(0)
    assert found[0] == (len(drummed.start_s), pytest.approx(100))
    assert {search.song[segment] for segment, _ in found} <= {1, 2}
    assert {search.cluster[segment] for segment, _ in found} == {search.cluster[0]}
    likeness = search.songs_like(0)
    assert likeness.argmax() == 1 and likeness[0] == 0
