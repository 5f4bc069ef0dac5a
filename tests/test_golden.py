"""Golden numbers: the melody heard in one bundled recording, so that no change of tracking goes unnoticed.

When the change is meant, or the recording was made anew, look at the new contour and replace the numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmm2song.audio import load_audio
from hmm2song.melody.melody import Melody
from hmm2song.melody.pitch import track_pitch

RECORDING = Path(__file__).parent.parent / "assets" / "examples" / "arirang.flac"
TOLERANCE_ST = 0.05
N_FRAMES, VOICED_S = 224, 8.48
PITCH_MIDI = {
    12: 42.821, 19: 43.060, 27: 43.112, 34: 43.119, 42: 43.193, 53: 42.808, 77: 42.933, 94: 45.226, 106: 48.417,
    114: 48.381, 121: 48.142, 129: 48.218, 155: 48.212, 197: 52.147, 220: 50.147,
}  # fmt: skip
"""Pitch of some frames, away from the ends of notes."""
UNVOICED_FRAMES = (0, 2, 3, 5, 7)


@pytest.fixture(scope="module")
def melody() -> Melody:
    return track_pitch(load_audio(RECORDING)).melody


def test_the_pitch_is_the_one_heard_before(melody):
    heard = melody.pitch_midi[list(PITCH_MIDI)]
    np.testing.assert_allclose(heard, list(PITCH_MIDI.values()), rtol=0, atol=TOLERANCE_ST)


def test_the_voice_is_where_it_was_before(melody):
    assert len(melody.pitch_midi) == N_FRAMES
    assert melody.voiced_s == pytest.approx(VOICED_S, abs=0.04)
    assert not melody.voiced[list(UNVOICED_FRAMES)].any()
