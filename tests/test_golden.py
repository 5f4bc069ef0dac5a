"""Golden numbers: the melody heard in one bundled recording, so that no change of tracking goes unnoticed.

When the change is meant, or the recording was made anew, look at the new contour and replace the numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmm2song.audio import load_audio
from hmm2song.melody import Melody
from hmm2song.pitch import track_pitch

RECORDING = Path(__file__).parent.parent / "assets" / "examples" / "arirang.flac"
TOLERANCE_ST = 0.05
N_FRAMES, VOICED_S = 224, 8.32
PITCH_MIDI = {
    20: 43.017, 35: 43.060, 53: 42.794, 61: 44.935, 77: 42.860, 91: 45.032, 106: 48.400, 114: 48.390, 127: 48.310,
    150: 50.014, 166: 48.066, 184: 52.345, 204: 50.223, 212: 52.116, 221: 50.189,
}  # fmt: skip
"""Pitch of some frames, away from the ends of notes."""
UNVOICED_FRAMES = (0, 5, 66, 141, 176)


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
