"""hmm2song/match/versions.py: what counts as two versions of one tune."""

from __future__ import annotations

import numpy as np
from contours import random_notes

from hmm2song.match.versions import group_versions
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody

LENGTH_S = 40


def pitch_of(seed: int) -> np.ndarray:
    return random_notes(seed).pitch_midi[: round(LENGTH_S * FRAME_RATE_HZ)]


def groups(*pitches_midi: np.ndarray) -> tuple[int, ...]:
    return group_versions([Melody(pitch_midi) for pitch_midi in pitches_midi])


def test_a_tune_in_another_key_and_after_another_opening_is_the_same():
    tune, other, opening = pitch_of(1), pitch_of(2), pitch_of(3)
    assert groups(tune, other, np.concatenate((opening, tune + 5.0))) == (0, 1, 0)


def test_a_passing_note_does_not_make_another_tune():
    tune = pitch_of(1)
    passing = tune.copy()
    passing[100:105] += 2.0
    assert groups(tune, passing) == (0, 0)


def test_tunes_that_only_begin_alike_are_different():
    tune, other = pitch_of(1), pitch_of(2)
    begun_s = 12
    alike = np.concatenate((tune[: round(begun_s * FRAME_RATE_HZ)], other))
    assert groups(tune, alike) == (0, 1)


def test_the_key_of_a_score_does_not_drift():
    """What is forgiven a singer, going on a semitone higher, is another tune on paper."""
    tune = pitch_of(1)
    phrase = np.arange(len(tune)) // round(5 * FRAME_RATE_HZ)
    assert groups(tune, tune + phrase % 2) == (0, 1)


def test_progress_counts_the_melodies():
    seen: list[tuple[int, int]] = []
    group_versions([Melody(pitch_of(seed)) for seed in (1, 2, 3)], lambda done, n: seen.append((done, n)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
