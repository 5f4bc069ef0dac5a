"""Pitch tracking of tones that are known: hums, whistles, whispers, noise and silence."""

import numpy as np
import pytest
from scipy.signal import sawtooth

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.melody import pitch
from hmm2song.melody.melody import hz_to_midi
from hmm2song.melody.pitch import GATE_BELOW_LOUD_DB, SILENCE_PEAK, WHISTLE_ABOVE_HZ, track_pitch

EDGE_S = 0.1
"""Left out at the ends of tones, where a tracker's window covers silence as well."""


def hum(f0_hz: float, duration_s: float = 1.5, peak: float = 0.3) -> np.ndarray:
    """Return a tone with the overtones of a voice, shape (n,), float32."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = sum(np.sin(2 * np.pi * k * f0_hz * time_s) / k for k in range(1, 9))
    return (peak * tone / np.abs(tone).max()).astype(np.float32)


def whistle(f0_hz: float, duration_s: float = 1.5) -> np.ndarray:
    """Return a sine, shape (n,), float32."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * f0_hz * time_s)).astype(np.float32)


def silence(duration_s: float) -> np.ndarray:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)


@pytest.mark.parametrize("f0_hz", [82.4, 130.8, 220.0, 311.1, 523.3, 700.0, 1046.5, 1800.0])
def test_a_voice_and_a_whistle_are_heard_at_their_pitch(f0_hz):
    is_whistle = f0_hz > WHISTLE_ABOVE_HZ
    track = track_pitch(whistle(f0_hz) if is_whistle else hum(f0_hz))
    inner = track.melody.slice_s(EDGE_S, track.melody.duration_s - EDGE_S).pitch_midi
    assert np.abs(inner - hz_to_midi(f0_hz)).max() < 0.2  # false for an unvoiced frame too
    assert track.is_whistle == is_whistle


@pytest.mark.parametrize("f0_hz", [82.4, 100.0, 200.0, 247.0, 392.0, 500.0])
@pytest.mark.parametrize("shape", [np.sin, lambda phase: sawtooth(phase, 0.5)], ids=["sine", "triangle"])
def test_a_clean_synthetic_tone_is_heard_at_its_pitch_and_its_pauses_stay_silent(shape, f0_hz):
    time_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = (0.3 * shape(2 * np.pi * f0_hz * time_s)).astype(np.float32)
    melody = track_pitch(np.concatenate([tone, silence(1.0), tone])).melody
    for start_s in (0.0, 2.0):
        inner = melody.slice_s(start_s + EDGE_S, start_s + 1.0 - EDGE_S).pitch_midi
        assert np.isfinite(inner).mean() > 0.9
        assert np.nanmax(np.abs(inner - hz_to_midi(f0_hz))) < 0.4
    assert melody.slice_s(1.0 + EDGE_S, 2.0 - EDGE_S).voiced_s == 0.0


def test_only_pure_tones_get_noise(monkeypatch):
    monkeypatch.setattr(pitch, "_with_noise", lambda samples: pytest.fail("a voice got noise"))
    noise = np.random.default_rng(0).normal(0.0, 0.1, SAMPLE_RATE_HZ).astype(np.float32)
    for samples in (hum(196.0), hum(196.0) + np.float32(0.2), noise, silence(1.0), np.full(2000, 0.5, np.float32)):
        track_pitch(samples)


def test_notes_keep_their_time():
    samples = np.concatenate([silence(0.5), hum(196.0, 1.0), silence(0.5), hum(246.9, 1.0), silence(0.5)])
    melody = track_pitch(samples).melody
    assert melody.duration_s == pytest.approx(3.5, abs=0.08)
    edges_s = np.flatnonzero(np.diff(melody.voiced.astype(int))) * 0.04
    np.testing.assert_allclose(edges_s, [0.5, 1.5, 2.0, 3.0], atol=0.08)
    assert np.nanmedian(melody.slice_s(0.6, 1.4).pitch_midi) == pytest.approx(55.0, abs=0.1)
    assert np.nanmedian(melody.slice_s(2.1, 2.9).pitch_midi) == pytest.approx(59.0, abs=0.1)


def test_times_of_a_whistle_are_not_stretched():
    samples = np.concatenate([silence(0.5), whistle(1318.5, 1.0), silence(0.5)])
    track = track_pitch(samples)
    assert track.time_s[-1] == pytest.approx(2.0, abs=0.1)
    voiced_s = track.time_s[track.f0_hz > 0]
    assert (voiced_s[0], voiced_s[-1]) == pytest.approx((0.5, 1.5), abs=0.1)


@pytest.mark.parametrize("peak", [0.003, 0.0003])
def test_quiet_voices_are_heard_and_their_level_is_told(peak):
    loud, quiet = track_pitch(hum(196.0, peak=0.3)), track_pitch(hum(196.0, peak=peak))
    np.testing.assert_allclose(quiet.melody.pitch_midi, loud.melody.pitch_midi, atol=0.05)
    middle = len(loud.time_s) // 2
    difference_db = loud.loudness_db[middle] - quiet.loudness_db[middle]
    assert difference_db == pytest.approx(20 * np.log10(0.3 / peak), abs=0.1)


def test_what_is_far_below_the_voice_is_room():
    def heard(below_db: float) -> float:
        quiet = hum(246.9, 1.0, peak=0.3 * 10 ** (-below_db / 20))
        return track_pitch(np.concatenate([hum(196.0, 1.0), quiet])).melody.slice_s(1.2, 1.9).voiced_s

    assert heard(GATE_BELOW_LOUD_DB - 10.0) > 0.6
    assert heard(GATE_BELOW_LOUD_DB + 5.0) == 0.0


@pytest.mark.parametrize(
    "samples",
    [
        silence(1.0),
        np.full(SAMPLE_RATE_HZ, SILENCE_PEAK / 2, np.float32),
        np.random.default_rng(0).normal(0.0, 0.1, 2 * SAMPLE_RATE_HZ).astype(np.float32),
    ],
    ids=["silence", "offset", "noise"],
)
def test_what_has_no_pitch_is_unvoiced(samples):
    track = track_pitch(samples)
    assert not (track.f0_hz > 0).any()
    assert track.melody.voiced_s == 0.0
    assert not track.is_whistle


def test_a_blip_is_no_note():
    for length_s, expected in ((0.02, False), (0.3, True)):
        samples = np.concatenate([silence(0.5), hum(220.0, length_s), silence(0.5)])
        assert track_pitch(samples).melody.voiced.any() == expected


@pytest.mark.parametrize("n_samples", [1, 2, 100, 1000])
def test_the_shortest_recordings(n_samples):
    track = track_pitch(hum(220.0)[:n_samples])
    assert len(track.time_s) == len(track.f0_hz) == len(track.confidence) == len(track.loudness_db) >= 1
    assert track.melody.duration_s <= 0.2


@pytest.mark.parametrize("duration_s", [0.03, 4.999, 5.0, 5.001, 12.3])
def test_the_length_of_the_pieces_changes_nothing(monkeypatch, duration_s):
    notes = [hum(f0_hz, 0.7, peak) for f0_hz, peak in zip(np.linspace(90, 500, 18), [0.3, 0.05] * 9, strict=True)]
    samples = np.concatenate(notes)[: round(duration_s * SAMPLE_RATE_HZ)]
    before, by_pieces = samples.copy(), track_pitch(samples)
    np.testing.assert_array_equal(samples, before)
    monkeypatch.setattr(pitch, "PIECE_S", 60.0)
    at_once = track_pitch(samples)
    for name in ("time_s", "f0_hz", "confidence", "loudness_db"):
        np.testing.assert_allclose(getattr(by_pieces, name), getattr(at_once, name), atol=1e-6, rtol=1e-6)
