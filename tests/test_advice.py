"""Advice: each fault alone gets its own code with the right number, and a good hum gets none.

Every sound is made here, and goes through the real tracker.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.match.results import Advice
from hmm2song.melody import advice as quality
from hmm2song.melody.advice import assess
from hmm2song.melody.pitch import PitchTrack, track_pitch

CODES = ("too_quiet", "mostly_unvoiced", "too_short", "not_one_voice", "noisy", "clipped")
"""All codes, most important first."""


def seconds(length_s: float) -> np.ndarray:
    """Time of each sample."""
    return np.arange(round(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ


def voice(f0_hz: np.ndarray, level: float = 0.2) -> np.ndarray:
    """Eight overtones falling off by 1/k above a moving fundamental, shape of ``f0_hz``."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    return level * sum(np.sin(k * phase) / k for k in range(1, 9))


def melody_hz(seed: int, length_s: float = 8.0, lowest_hz: float = 180.0, note_s: float = 0.4) -> np.ndarray:
    """Random notes within an octave, one frequency per sample."""
    t = seconds(length_s)
    steps_st = np.random.default_rng(seed).integers(0, 13, int(length_s / note_s) + 1)
    return lowest_hz * 2.0 ** (steps_st[(t / note_s).astype(int)] / 12)


def breathe(samples: np.ndarray, period_s: float = 2.0, breath_s: float = 0.4) -> np.ndarray:
    """Silence the last part of every period, with soft edges."""
    t = seconds(len(samples) / SAMPLE_RATE_HZ) % period_s
    return samples * np.clip(np.minimum(t, period_s - breath_s - t) / 0.02, 0.0, 1.0)


def hum(length_s: float = 8.0, level: float = 0.2, seed: int = 1) -> np.ndarray:
    """Make a good hum: one voice, clear notes, pauses to breathe."""
    return breathe(voice(melody_hz(seed, length_s), level))


def noise(length_s: float, level: float, seed: int = 0) -> np.ndarray:
    """White noise of the given RMS level."""
    return level * np.random.default_rng(seed).standard_normal(round(length_s * SAMPLE_RATE_HZ))


def speech(length_s: float = 8.0) -> np.ndarray:
    """Syllables of 0.2 s whose pitch never rests, with hissed consonants between them."""
    t = seconds(length_s)
    intonation_st = 4 * np.sin(2 * np.pi * 2.9 * t) + 3 * np.sin(2 * np.pi * 1.3 * t)
    is_vowel = t % 0.3 < 0.2
    is_hiss = (t % 0.3 > 0.22) & (t % 0.3 < 0.28)
    return voice(140.0 * 2.0 ** (intonation_st / 12)) * is_vowel + noise(length_s, 0.03) * is_hiss


def advise(samples: np.ndarray) -> dict[str, Advice]:
    """Advice by code, after checking what holds for all advice."""
    samples = np.asarray(samples, dtype=np.float32)
    track = track_pitch(samples)
    given = assess(samples, track, track.melody)
    codes = [advice.code for advice in given]
    assert codes == sorted(set(codes), key=CODES.index)
    for advice in given:
        shown = (f"{advice.value:.1f}", f"{advice.value:.0f}")
        assert any(number in advice.message for number in shown), advice
        assert advice.message.endswith(".") and len(advice.message) < 130
        json.dumps(advice.to_dict(), allow_nan=False)
    return dict(zip(codes, given, strict=True))


def whistled() -> np.ndarray:
    return breathe(0.3 * np.sin(2 * np.pi * np.cumsum(melody_hz(3, lowest_hz=900.0)) / SAMPLE_RATE_HZ))


def with_vibrato(depth_st: float, rate_hz: float) -> np.ndarray:
    vibrato = 2.0 ** (depth_st / 12 * np.sin(2 * np.pi * rate_hz * seconds(8.0)))
    return breathe(voice(melody_hz(3, note_s=0.5) * vibrato), 0.5, 0.1)


def at_level(samples: np.ndarray, rms_dbfs: float) -> np.ndarray:
    return samples * 10 ** (rms_dbfs / 20) / np.sqrt(np.mean(samples**2))


SINE = np.sin(2 * np.pi * 220 * seconds(8.0))
GOOD = {
    **{f"hum {seed}": hum(seed=seed) for seed in range(5)},
    **{f"voice from {hz} Hz": breathe(voice(melody_hz(2, lowest_hz=hz))) for hz in (80.0, 120.0, 300.0)},
    **{f"vibrato {st} st, {hz} Hz": with_vibrato(st, hz) for st in (0.5, 1.0) for hz in (5.0, 6.0)},
    "whistle": whistled(),
    "short detached notes": breathe(voice(melody_hz(4, note_s=0.3)), 0.3, 0.1),
    "no pause": voice(melody_hz(5)),
    "a little noise": hum() + noise(8.0, np.sqrt(np.mean(hum() ** 2)) * 10 ** (-15 / 20)),
    "8 bits at 8 kHz": np.round(np.repeat(hum()[::2], 2) * 128) / 128,
    "soft": at_level(hum(), -38.0),
    "sine that touches full scale": SINE / np.abs(SINE).max(),
    "voice that touches full scale": hum() / np.abs(hum()).max(),
}


@pytest.mark.parametrize("samples", GOOD.values(), ids=GOOD)
def test_a_good_recording_needs_no_advice(samples: np.ndarray) -> None:
    assert advise(samples) == {}


@pytest.mark.parametrize("length_s", [1.0, 2.0, 3.0])
def test_too_short_says_how_long_the_melody_was(length_s: float) -> None:
    given = advise(voice(melody_hz(1, length_s)))
    assert list(given) == ["too_short"]
    assert given["too_short"].value == pytest.approx(length_s, abs=0.15)
    assert given["too_short"].message.endswith("s of melody was heard; hum for 8 to 10 seconds.")


@pytest.mark.parametrize("n_samples", [1, 10, 1000])
def test_a_click_is_too_short_and_nothing_else(n_samples: int) -> None:
    given = advise(np.full(n_samples, 0.5))
    assert list(given) == ["too_short"] and given["too_short"].value < 0.1


@pytest.mark.parametrize("amplitude", [0.0, 1e-5])
def test_silence_is_too_quiet_and_nothing_else(amplitude: float) -> None:
    given = advise(np.full(5 * SAMPLE_RATE_HZ, amplitude))
    assert list(given) == ["too_quiet"]
    assert given["too_quiet"].value == pytest.approx(quality.FLOOR_DBFS if amplitude == 0 else -100.0, abs=0.01)
    assert "silent" in given["too_quiet"].message


@pytest.mark.parametrize("level_dbfs", [-48.0, -60.0])
def test_too_quiet_gives_the_level(level_dbfs: float) -> None:
    given = advise(at_level(SINE, level_dbfs))
    assert list(given) == ["too_quiet"]
    assert given["too_quiet"].value == pytest.approx(level_dbfs, abs=0.5)


@pytest.mark.parametrize("overdrive", [1.5, 3.0])
@pytest.mark.parametrize("ceiling", [1.0, 127 / 128])
def test_clipping_is_measured(overdrive: float, ceiling: float) -> None:
    given = advise(np.clip(overdrive * SINE, -ceiling, ceiling))
    assert list(given) == ["clipped"]
    share = np.mean(np.abs(overdrive * SINE) >= quality.FULL_SCALE)
    assert given["clipped"].value == pytest.approx(100 * share, abs=1.0)


def test_noise_alone_has_no_melody() -> None:
    given = advise(noise(6.0, 0.1))
    assert list(given) == ["mostly_unvoiced", "too_short"]
    assert given["mostly_unvoiced"].value < 5.0


def test_whispering_between_a_few_notes_is_mostly_unvoiced() -> None:
    t = seconds(12.0)
    is_sung = t % 3.0 < 0.6
    given = advise(np.where(is_sung, voice(np.full(len(t), 220.0), 0.1), noise(12.0, 0.1)))
    assert "mostly_unvoiced" in given
    assert given["mostly_unvoiced"].value == pytest.approx(20.0, abs=6.0)


def test_noise_between_the_notes_gives_the_margin() -> None:
    t = seconds(8.0)
    sung = breathe(voice(np.full(len(t), 220.0)), 2.0, 0.6)
    voice_power = np.mean(voice(np.full(len(t), 220.0)) ** 2)
    margins_db = []
    for snr_db in (10.0, 0.0, -3.0):
        given = advise(sung + noise(8.0, np.sqrt(voice_power * 10 ** (-snr_db / 10))))
        if snr_db > 5:
            assert "noisy" not in given
        else:
            margins_db.append(given["noisy"].value)
            assert given["noisy"].value == pytest.approx(10 * np.log10(10 ** (snr_db / 10) + 1), abs=1.0)
    assert margins_db[0] > margins_db[1]


def test_background_of_a_recording_without_pauses_is_unknown_not_noisy() -> None:
    samples = voice(np.full(8 * SAMPLE_RATE_HZ, 220.0))
    assert "noisy" not in advise(samples + noise(8.0, np.sqrt(np.mean(samples**2))))


def test_speech_is_not_one_voice_singing() -> None:
    given = advise(speech())
    assert list(given) == ["not_one_voice"]
    assert given["not_one_voice"].value < 40.0
    assert "speaking" in given["not_one_voice"].message


@pytest.mark.parametrize("seed", range(3))
def test_two_melodies_at_once_are_not_one_voice(seed: int) -> None:
    first = voice(melody_hz(seed, lowest_hz=180.0))
    second = voice(melody_hz(seed + 10, lowest_hz=230.0, note_s=0.55))
    given = advise(first + second)
    assert list(given) == ["not_one_voice"]
    assert given["not_one_voice"].value < quality.MIN_HARMONIC_PERCENT
    assert "other voices" in given["not_one_voice"].message
    assert advise(first) == {} and advise(second) == {}


def test_advice_does_not_depend_on_the_gain() -> None:
    mixed = voice(melody_hz(1)) + voice(melody_hz(11, note_s=0.55))
    loud, soft = advise(mixed), advise(mixed * 0.1)
    assert list(loud) == list(soft) == ["not_one_voice"]
    assert loud["not_one_voice"].value == pytest.approx(soft["not_one_voice"].value, abs=0.5)


def test_harmonic_share_of_a_known_mixture() -> None:
    t = seconds(4.0)
    samples = (0.4 * np.sin(2 * np.pi * 200 * t) + 0.2 * np.sin(2 * np.pi * 700 * t)).astype(np.float32)
    time_s = np.arange(0.0, 4.0, 0.016)
    steady = np.ones(len(time_s))
    track = PitchTrack(time_s, 200.0 * steady, 0.8 * steady, -9.0 * steady, is_whistle=False)
    (advice,) = assess(samples, track, track.melody)  # 4 s of melody: long enough
    assert advice.code == "not_one_voice"
    assert advice.value == pytest.approx(100 * 1.0 / 1.25, abs=0.5)
