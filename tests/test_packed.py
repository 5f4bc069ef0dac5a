"""Packed melodies against the filled contours and medians that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from hmm2song.errors import CatalogError
from hmm2song.match.align import SampledContours, sample_contour
from hmm2song.match.places import Places
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.melody.packed import PackedMelodies


def melody(n_frames: int, seed: int, rests: float = 0.4) -> Melody:
    rng = np.random.default_rng(seed)
    pitch = np.round(rng.uniform(0, 127, n_frames), 2)
    for start in rng.integers(0, n_frames, round(rests * n_frames / 10)):
        pitch[start : start + 15] = np.nan
    pitch[rng.integers(n_frames)] = 60.0
    return Melody(pitch)


MELODIES = [melody(n_frames, seed) for seed, n_frames in enumerate((1, 2, 7, 40, 151, 400, 1200))]
PACKED = PackedMelodies.of(MELODIES)


@pytest.mark.parametrize("rate_hz", [4.0, 6.25, 8.0, 12.5])
def test_samples_are_those_of_the_filled_contours(rate_hz):
    contours = SampledContours(PACKED, rate_hz)
    whole = [sample_contour(fill_rests(each), rate_hz) for each in MELODIES]
    np.testing.assert_array_equal(np.diff(contours.first_frame), [len(each) for each in whole])
    rng = np.random.default_rng(3)
    song = rng.integers(0, len(MELODIES), 200)
    start_s = rng.uniform(-2, 50, 200)
    start, stop = contours.frames(Places(song, start_s, start_s + rng.uniform(0, 8, 200)))
    pitch, begin = contours.stretches(start, stop)
    for index in range(200):
        first = contours.first_frame[song[index]]
        expected = whole[song[index]][start[index] - first : stop[index] - first]
        np.testing.assert_array_equal(pitch[begin[index] : begin[index] + len(expected)], expected)


def test_medians_are_those_of_what_follows():
    for position, each in enumerate(MELODIES):
        pitch = sample_contour(fill_rests(each), 8.0)
        starts = range(0, max(1, len(pitch) - 47), 8)
        expected = [np.median(pitch[start : start + 48]) for start in starts]
        first, after = PACKED.first_median[position : position + 2]
        np.testing.assert_array_equal(PACKED.median_midi[first:after], expected)


def test_melodies_come_back_one_by_one():
    assert len(PACKED) == len(MELODIES)
    for packed, each in zip(PACKED, MELODIES, strict=True):
        np.testing.assert_array_equal(packed.pitch_midi, each.pitch_midi)
    np.testing.assert_array_equal(PACKED[-1].pitch_midi, MELODIES[-1].pitch_midi)
    assert [len(each.pitch_midi) for each in PACKED[1:3]] == [2, 7]
    np.testing.assert_allclose(PACKED.duration_s, [each.duration_s for each in MELODIES])


def test_what_a_file_states_of_contours_never_leads_out_of_it():
    stored = {"pitch_cents": np.full(9, -1, np.int16), "n_frames": np.int32([4, 5])}
    bounds = {"contour_begin": np.int32([0, 2]), "contour_end": np.int32([4, 2])}
    pitch = PackedMelodies({**stored, **bounds}).sample(8.0, np.arange(2), np.zeros(2, int), np.array([1, 1]))
    assert pitch.tolist() == [0.0, 0.0]  # nothing is voiced there
    with pytest.raises(CatalogError, match="melody 1 .* has no pitch"):
        PackedMelodies({**stored, **bounds}).contour(1)
