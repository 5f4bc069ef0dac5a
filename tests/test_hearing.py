"""The listening pass: what is heard is that of the music, not of its level, rate or silence, and nothing crashes it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import soxr

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.catalog.facets import BEATS_PER_MOMENT, FEEL_COLUMNS, N_MFCC, Facets
from hmm2song.embeddings.voice import VOICE_DIM
from hmm2song.errors import AudioError
from hmm2song.hearing import recording as listening
from hmm2song.hearing import singing
from hmm2song.hearing.recording import hear, hear_samples
from hmm2song.hearing.singing import segments_of
from hmm2song.hearing.sound import beats_of, moments_of, sound_of


def band(seconds: float, bpm: float = 120.0, seed: int = 0) -> np.ndarray:
    """Return a beat of noise over chords that change every four beats."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    beat = time_s * bpm / 60
    roots_hz = rng.choice([110.0, 130.8, 146.8, 196.0], int(beat[-1] // 4) + 1)[(beat // 4).astype(int)]
    phase = 2 * np.pi * np.cumsum(roots_hz) / SAMPLE_RATE_HZ
    chord = sum(np.sin(ratio * phase) for ratio in (1, 1.25, 1.5, 2, 3)) * np.exp(-(beat % 1))
    drum = rng.normal(size=len(time_s)) * np.exp(-20 * (beat % 1))
    return (0.06 * chord + 0.2 * drum).astype(np.float32)


def feel(facets: Facets, name: str) -> float:
    return float(facets.feel[0, FEEL_COLUMNS.index(name)])


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.vdot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.fixture(scope="module")
def music():
    return band(12)


@pytest.fixture(scope="module")
def heard(music):
    return hear_samples(music).facets


def test_copies_of_a_recording_are_heard_alike(music, heard, tmp_path):
    soundfile.write(tmp_path / "stereo.flac", np.column_stack([soxr.resample(music, 16000, 48000)] * 2), 48000)
    soundfile.write(tmp_path / "low.flac", soxr.resample(music, 16000, 44100) * 10**-0.5, 44100, subtype="PCM_24")
    for copy in (hear(tmp_path / "stereo.flac"), hear(tmp_path / "low.flac"), hear((SAMPLE_RATE_HZ, music / 30))):
        assert cosine(copy.facets.style, heard.style) > 0.99 and cosine(copy.facets.timbre, heard.timbre) > 0.999
        assert feel(copy.facets, "tempo_bpm") == pytest.approx(feel(heard, "tempo_bpm"), rel=0.005)
        assert np.array_equal(copy.facets.moment_start_s, heard.moment_start_s)
        assert copy.warnings == () and copy.facets.duration_s[0] == pytest.approx(12, abs=0.01)
    assert feel(hear((SAMPLE_RATE_HZ, music / 10)).facets, "loudness_lufs") == pytest.approx(
        feel(heard, "loudness_lufs") - 20, abs=0.01
    )


def test_the_same_recording_is_the_same_bytes(music, heard, tmp_path):
    heard.write(tmp_path / "first")
    hear_samples(music.copy()).facets.write(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_silence_is_no_part_of_the_music(music, heard):
    padded = hear_samples(np.concatenate([music, np.zeros(30 * SAMPLE_RATE_HZ, np.float32)])).facets
    assert cosine(padded.style, heard.style) > 0.99 and cosine(padded.timbre, heard.timbre) > 0.99
    assert padded.duration_s[0] == 42 and padded.moment_start_s.max() < 12


def test_different_music_sounds_different(heard):
    noise = np.random.default_rng(0).normal(size=16 * SAMPLE_RATE_HZ).astype(np.float32) * 0.1
    assert cosine(hear_samples(noise).facets.style, heard.style) < 0.9


def test_loudness_is_that_of_the_standard():
    sine = np.sin(2 * np.pi * 997 * np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32)
    assert sound_of(sine).loudness_lufs == pytest.approx(-3.01, abs=0.1)  # BS.1770: full scale at 997 Hz


@pytest.mark.parametrize("bpm", [75, 100, 128, 160])
def test_the_beat_is_found(bpm):
    beats = beats_of(sound_of(band(20, bpm)))
    assert beats.tempo_bpm == pytest.approx(bpm, rel=0.01) and beats.pulse > 0.3
    assert np.median(np.diff(beats.frames)) == pytest.approx(60 / bpm * 62.5, abs=1)


def test_moments_are_eight_beats_with_their_loudness(music):
    louder = np.concatenate([music / 4, music])
    starts_s, moments = moments_of(sound_of(louder), beats_of(sound_of(louder)))
    assert np.diff(starts_s) == pytest.approx(4.0, abs=0.1) and len(moments) in (5, 6)
    loudness = moments[:, N_MFCC:]
    assert loudness.shape[1] == BEATS_PER_MOMENT and loudness.max() <= 10 and loudness.min() >= 0
    assert np.median(loudness[-2:]) - np.median(loudness[:2]) == pytest.approx(4, abs=1)  # 12 dB in steps of 3


def test_without_a_beat_there_is_no_tempo():
    tone = np.sin(2 * np.pi * 220 * np.arange(20 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32) / 10
    facets = hear_samples(tone).facets
    assert feel(facets, "tempo_bpm") == 0 and len(facets.moments) == 5


# Who sings ------------------------------------------------------------------------------------------------------


def with_voice(monkeypatch, column: int, share: float) -> None:
    """Let somebody speak (0) or sing (1) in the first part of every recording."""

    def probabilities(samples):
        frames = np.zeros((len(samples) // 160, 3), np.float32)
        frames[: round(share * len(frames)), column] = 0.9
        return frames

    monkeypatch.setattr(listening, "voice_probabilities", probabilities)


@pytest.mark.parametrize(
    ("column", "share", "is_sung", "codes"),
    [(1, 0.6, True, []), (1, 0.1, False, []), (0, 0.8, False, ["speech"]), (0, 0.3, False, [])],
)
def test_a_voice_is_that_of_singing_only(monkeypatch, music, column, share, is_sung, codes):
    with_voice(monkeypatch, column, share)
    heard = hear_samples(music)
    assert heard.is_sung == is_sung and [warning.partition(":")[0] for warning in heard.warnings] == codes
    assert heard.facets.singing_share[0] == pytest.approx(share if column == 1 else 0, abs=0.01)
    assert np.linalg.norm(heard.facets.voice[:, :VOICE_DIM].astype(float)) == pytest.approx(float(is_sung), abs=1e-3)


@pytest.mark.parametrize(
    ("is_sung", "expected"),
    [
        ([], []),
        ([0] * 100, []),
        ([1] * 49, []),
        ([0] * 50 + [1] * 100, [(0.5, 1.5)]),
        ([1] * 60 + [0] * 29 + [1] * 60 + [0] * 30 + [1] * 60, [(0.0, 1.49), (1.79, 2.39)]),
    ],
)
def test_segments_of_singing(is_sung, expected):
    assert segments_of(np.array(is_sung, bool)) == expected


# Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "is_heard", "codes"),
    [
        (np.zeros(3 * SAMPLE_RATE_HZ, np.float32), False, ["silent"]),
        (np.zeros(1, np.float32), False, ["silent"]),
        (np.full(SAMPLE_RATE_HZ, 1e-6, np.float32), False, ["silent"]),
        (band(0.02), True, ["short"]),
        (band(1.0), True, ["short"]),
        (band(3.0), True, []),
        (np.concatenate([np.zeros(30 * SAMPLE_RATE_HZ, np.float32), band(1.0)]), True, ["short"]),
    ],
)
def test_short_and_silent_recordings_are_told(samples, is_heard, codes):
    heard = hear_samples(samples)
    assert heard.facets.heard[0] == is_heard and not heard.is_sung
    assert [warning.partition(":")[0] for warning in heard.warnings] == codes


@pytest.mark.parametrize("content", [b"", b"RIFF no sound", b"ID3" + bytes(2000)])
def test_what_is_no_recording_is_refused(content, tmp_path):
    (tmp_path / "bad.mp3").write_bytes(content)
    with pytest.raises(AudioError, match=r"bad\.mp3"):
        hear(tmp_path / "bad.mp3")


def test_without_a_detector_no_voice_is_compared(monkeypatch, music):
    def missing():
        raise OSError("no library for this platform")

    monkeypatch.setattr(singing, "_vad", missing)
    heard = hear_samples(music)
    assert heard.facets.heard[0] and not heard.is_sung and "no library for this platform" in heard.warnings[0]
