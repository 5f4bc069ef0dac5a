"""The pieces of the first source system's dataset, on sound whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hmm2song.errors import AudioError
from hmm2song.evaluation.baselines.mel_cnn.full_input import (
    BLOCK_SAMPLES,
    Rule,
    best_shift,
    block_means,
    full_input,
    moved,
    read_mono,
    read_pair,
    voiced_by_amplitude,
    voiced_by_difference,
)
from hmm2song.evaluation.baselines.mel_cnn.hum_filters import high_passed, hums, low_passed, noisy, pitch_shifted
from hmm2song.evaluation.baselines.mel_cnn.mel import CLIP_SAMPLES, SAMPLE_RATE_HZ, TOP_DB, log_mel, segments
from hmm2song.indexing.separation.stems import Stems

librosa = pytest.importorskip("librosa", reason="pip install -r requirements-dataset.txt")

HALF_STEP = 0.5 / 2**15
"""Half a step of 16 bits: what writing FLAC costs at most."""


def tone(f0_hz: float, seconds: float = 1.0, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * f0_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def blocks(*levels: float) -> np.ndarray:
    """Return a voice whose blocks of 1/8 s have these mean magnitudes."""
    signs = np.where(np.arange(BLOCK_SAMPLES * len(levels)) % 2, -1.0, 1.0)
    return (np.repeat(levels, BLOCK_SAMPLES) * signs).astype(np.float32)


def voiced_blocks(voice: np.ndarray) -> list[int]:
    """Return which blocks the notebook's rule takes for voice, having seen that it takes whole blocks."""
    voiced = voiced_by_difference(voice).reshape(-1, BLOCK_SAMPLES)
    assert (voiced.all(axis=1) == voiced.any(axis=1)).all()
    return np.flatnonzero(voiced[:, 0]).tolist()


# Full input ---------------------------------------------------------------------------------------------------


def test_amplitude_rule_compares_every_sample_with_the_mean():
    voice = np.array([0.0, -0.75, 0.25, 0.25, 0.0], dtype=np.float32)  # mean magnitude 0.25
    assert voiced_by_amplitude(voice).tolist() == [False, True, False, False, False]
    other = np.arange(5, dtype=np.float32)
    assert full_input(voice, other, Rule.AMPLITUDE).tolist() == [0.0, -0.75, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("levels", "found"),
    [
        ([0.0] * 8 + [0.4] * 8 + [0.0] * 8, list(range(7, 17))),  # both blocks of a change, and what lies between
        ([*(0.01 * step for step in range(10)), 0.49], [9, 10]),  # of ten changes only one is above the mean
        ([0.1] * 3 + [0.1 + 1e-4] * 3, [2, 3]),  # sqrt(1 + 1e-8) is 1 in single precision
        ([0.3] * 4, []),
        ([0.0], []),
    ],
)
def test_difference_rule_marks_changes_above_the_mean(levels, found):
    assert voiced_blocks(blocks(*levels)) == found


def test_the_last_block_is_averaged_over_what_there_is_of_it():
    voice = np.concatenate([blocks(0.25), np.full(10, -0.5, np.float32)])
    assert block_means(voice).tolist() == pytest.approx([0.25, 0.5])
    assert voiced_by_difference(voice).shape == voice.shape


def test_the_shorter_stem_goes_on_with_silence():
    voice, short = blocks(*[0.0] * 8, *[0.4] * 8), np.full(100, 0.2, dtype=np.float32)
    joined = full_input(voice, short, Rule.DIFFERENCE)
    blocks_of_voice = voice[7 * BLOCK_SAMPLES : 9 * BLOCK_SAMPLES]
    silence = np.zeros(7 * BLOCK_SAMPLES, np.float32)
    assert joined.tolist() == [*short, *silence[100:], *blocks_of_voice, *silence]
    assert len(full_input(short, voice, Rule.AMPLITUDE)) == len(voice)
    with pytest.raises(AudioError, match="empty"):
        full_input(voice[:0], voice[:0], Rule.DIFFERENCE)


# Segments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "clips"),
    [
        (0.0, []),
        (3.0, [(0, 3)]),
        (10.0, [(0, 10)]),
        (12.0, [(0, 10), (8, 4)]),
        (18.0, [(0, 10), (8, 10)]),
        (18.5, [(0, 10), (8, 10), (16, 2.5)]),
        (216.0, [*((8 * clip, 10) for clip in range(26)), (208, 8)]),
    ],
)
def test_clips_of_ten_seconds_every_eight(seconds, clips):
    found = segments(round(seconds * SAMPLE_RATE_HZ))
    assert [(one.start_s, one.duration_s) for one in found] == clips


# Hum filters --------------------------------------------------------------------------------------------------


def gain(filtered: np.ndarray, samples: np.ndarray) -> float:
    """Return by how much a tone became louder, away from its ends; its phase must be the same."""
    middle = slice(len(samples) // 4, 3 * len(samples) // 4)
    ratio = float(np.dot(filtered[middle], samples[middle]) / np.dot(samples[middle], samples[middle]))
    assert np.abs(filtered[middle] - ratio * samples[middle]).max() < 1e-3
    return ratio


@pytest.mark.parametrize(
    ("passed", "corner_hz", "f0_hz"),
    [(high_passed, 1000.0, f0_hz) for f0_hz in (250.0, 1000.0, 4000.0)]
    + [(low_passed, 5000.0, f0_hz) for f0_hz in (500.0, 5000.0, 9000.0)],
)
def test_filters_of_order_one_run_both_ways(passed, corner_hz, f0_hz):
    # An analogue high-pass of order 1, twice: 1 / (1 + (corner / f)^2); the digital one warps frequencies (bilinear).
    corner, f0 = (np.tan(np.pi * f_hz / SAMPLE_RATE_HZ) for f_hz in (corner_hz, f0_hz))
    ratio = corner / f0 if passed is high_passed else f0 / corner
    assert gain(passed(tone(f0_hz)), tone(f0_hz)) == pytest.approx(1 / (1 + ratio**2), abs=2e-3)


@pytest.mark.parametrize(("shift_st", "expected_hz"), [(3.0, 523.25), (-3.0, 369.99)])
def test_pitch_shift(shift_st, expected_hz):
    samples = tone(440.0, 2.0)
    shifted = pitch_shifted(samples, shift_st)
    assert (shifted.shape, shifted.dtype) == (samples.shape, np.float32)
    spectrum = np.abs(np.fft.rfft(shifted * np.hanning(len(shifted))))
    assert np.argmax(spectrum) * SAMPLE_RATE_HZ / len(shifted) == pytest.approx(expected_hz, abs=1.5)


def test_noise_has_the_mean_and_spread_of_the_source():
    samples = tone(300.0, 5.0)
    noise = noisy(samples, np.random.default_rng(1)) - samples
    assert noise.mean() == pytest.approx(0.005, abs=2e-4)
    assert noise.std() == pytest.approx(0.01, abs=2e-4)
    assert (noisy(samples, np.random.default_rng(1)) - samples == noise).all()
    assert (noisy(samples, np.random.default_rng(2)) - samples != noise).any()


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large")
@pytest.mark.parametrize("n_samples", [1, 5, 3000])
def test_five_hums_as_long_as_the_clip(n_samples):
    made = hums(tone(300.0)[1 : n_samples + 1], np.random.default_rng(0))
    assert list(made) == ["fh", "fl", "mh", "ml", "n"]
    assert {(len(hum), hum.dtype) for hum in made.values()} == {(n_samples, np.dtype(np.float32))}


# Pictures -----------------------------------------------------------------------------------------------------


def test_a_tone_lights_up_its_band():
    picture = log_mel(tone(1000.0, 10.0))
    assert (picture.shape, picture.dtype) == ((128, 431), np.float32)
    centres_hz = librosa.mel_frequencies(n_mels=130, fmax=SAMPLE_RATE_HZ / 2)[1:-1]
    assert (picture[:, 5:-5].argmax(axis=0) == np.abs(centres_hz - 1000.0).argmin()).all()
    assert picture.max() - picture.min() == pytest.approx(TOP_DB, abs=1e-3)


def test_time_runs_in_hops_of_512_and_levels_are_absolute():
    samples = np.zeros(CLIP_SAMPLES, dtype=np.float32)
    samples[100 * 512] = 1.0
    picture = log_mel(samples)
    lit = np.flatnonzero(picture.max(axis=0) > picture.min())
    assert lit.tolist() == [99, 100, 101], "a window reaches 1024 samples each way, where it is zero"
    # The power of an impulse is 1 in every bin; a band of Slaney's norm has the area 1, in Hz, and a bin is so wide:
    assert np.median(picture[:, 100]) == pytest.approx(10 * np.log10(2048 / SAMPLE_RATE_HZ), abs=0.05)
    assert log_mel(0.1 * samples)[64, 100] == pytest.approx(picture[64, 100] - 20.0, abs=1e-3)


def test_short_clips_end_in_silence_not_in_noise_of_0_db():
    whole, half = tone(500.0, 10.0), tone(500.0, 4.0)
    n_frames = int(4.0 * SAMPLE_RATE_HZ / 512)
    picture = log_mel(half)
    assert picture.shape == (128, 431)
    assert np.allclose(picture[:, : n_frames - 4], log_mel(whole)[:, : n_frames - 4], atol=1e-3)
    assert (picture[:, n_frames + 4 :] == picture.min()).all()
    assert picture.min() == pytest.approx(picture.max() - 80.0)
    assert np.unique(log_mel(np.zeros(1000, dtype=np.float32))) == pytest.approx([-100.0])


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(CLIP_SAMPLES + 1, np.float32),
        np.zeros((100, 2), np.float32),
        np.full(100, np.nan, np.float32),
    ],
)
def test_what_is_no_clip_is_refused(samples):
    with pytest.raises(AudioError, match="clip"):
        log_mel(samples)


# Stems --------------------------------------------------------------------------------------------------------


@pytest.fixture
def song() -> tuple[np.ndarray, np.ndarray]:
    """A voice with rests and its accompaniment, 3 s at 22,050 Hz."""
    rng = np.random.default_rng(3)
    n_samples = 3 * SAMPLE_RATE_HZ
    loudness = np.repeat(rng.uniform(0.0, 0.3, 30), n_samples // 30)
    voice = loudness * np.sin(2 * np.pi * np.cumsum(np.repeat(rng.uniform(150, 500, 30), n_samples // 30)) / 22_050)
    return voice.astype(np.float32), (0.1 * rng.standard_normal(n_samples)).astype(np.float32)


@pytest.mark.parametrize("shift", [0, 1105, -529])
def test_a_shifted_voice_is_moved_back(song, shift):
    voice, band = song
    stem = moved(voice, -shift, len(voice))
    assert best_shift(voice + band, stem) == shift
    back = moved(stem, shift, len(voice) + 9)
    assert len(back) == len(voice) + 9
    inner = slice(abs(shift), len(voice) - abs(shift))
    assert (back[inner] == voice[inner]).all()


def test_silence_and_strangers_are_not_moved(song):
    voice, band = song
    for stranger in (np.zeros(len(voice)), np.random.default_rng(9).standard_normal(len(voice))):
        assert best_shift(voice + band, stranger.astype(np.float32)) == 0


def test_accompaniment_is_the_recording_minus_the_voice(song, tmp_path):
    voice, band = song
    recording = write(tmp_path / "song.flac", voice + band)
    stem = write(tmp_path / "voice.flac", np.pad(voice, (576, 0)))  # as a decoder gives it that keeps the delay
    pair = read_pair(Stems(stem, None, is_mix=False), recording)
    assert np.abs(pair.voice - voice).max() <= 1.01 * HALF_STEP
    assert np.abs(pair.accompaniment - band).max() <= 2.02 * HALF_STEP
    given = write(tmp_path / "band.flac", band[::-1])
    pair = read_pair(Stems(stem, given, is_mix=False), recording)
    assert np.abs(pair.accompaniment - band[::-1]).max() <= 1.01 * HALF_STEP


def test_stems_of_another_rate_and_in_stereo(tmp_path):
    stereo = np.stack([tone(440.0, 1.0, 16_000), 0.5 * tone(440.0, 1.0, 16_000)], axis=1)
    soundfile.write(tmp_path / "voice.flac", stereo, 16_000)
    samples = read_mono(tmp_path / "voice.flac")
    assert len(samples) == SAMPLE_RATE_HZ
    middle = slice(2000, -2000)
    assert np.abs(samples - 0.75 * tone(440.0))[middle].max() < 1e-3


def write(file: Path, samples: np.ndarray) -> Path:
    soundfile.write(file, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    return file
