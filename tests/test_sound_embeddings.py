"""The networks for style and voice: the files that were recorded, on the input that they were trained with."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.catalog.facets import N_TAGS, STYLE_DIM
from hmm2song.catalog.hub import assets_folder
from hmm2song.embeddings import style, voice
from hmm2song.embeddings.spectrum import band_power, mel_weights
from hmm2song.errors import ModelError

MODELS = ((style.StyleEncoder, "model_style", style.STYLE_FILE), (voice.VoiceEncoder, "model_voice", voice.VOICE_FILE))


def tone(frequency_hz: float, seconds: float, vibrato_st: float = 0.0) -> np.ndarray:
    """Return a tone with falling harmonics, rather like a voice."""
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    phase = 2 * np.pi * frequency_hz * time_s + vibrato_st * np.sin(2 * np.pi * 5 * time_s)
    return sum(np.sin(number * phase) / number for number in range(1, 12)).astype(np.float32) / 10


@pytest.mark.parametrize(("encoder", "folder", "file"), MODELS)
def test_another_file_than_the_recorded_one_is_refused(encoder, folder, file, tmp_path):
    content = (assets_folder() / folder / file).read_bytes()
    encoder(assets_folder() / folder)
    with pytest.raises(ModelError, match="cannot be read"):
        encoder(tmp_path)
    (tmp_path / file).write_bytes(content[:-1] + b"?")
    with pytest.raises(ModelError, match="checksum"):
        encoder(tmp_path)


@pytest.mark.parametrize(("n_fft", "hop", "n_bands"), [(512, 256, 96), (400, 160, 40)])
def test_spectra_are_those_of_librosa(n_fft, hop, n_bands):
    samples = np.random.default_rng(0).normal(size=16001).astype(np.float32)
    wanted = librosa.feature.melspectrogram(y=samples, sr=16000, n_fft=n_fft, hop_length=hop, n_mels=n_bands).T
    assert np.allclose(band_power(samples, hop, mel_weights(n_fft, n_bands)), wanted, rtol=1e-4, atol=1e-4)


def test_a_window_has_the_same_style_alone_and_among_others():
    encoder = style.StyleEncoder(assets_folder() / "model_style")
    power = np.abs(np.random.default_rng(0).normal(size=(9, style.WINDOW_FRAMES, style.N_BANDS))).astype(np.float32)
    styles, tags = encoder.embed(power)
    assert styles.shape == (9, STYLE_DIM) and tags.shape == (9, N_TAGS) and len(style.TAGS) == N_TAGS
    assert np.allclose(encoder.embed(power[8:])[0], styles[8:], atol=1e-4)
    assert 0 <= tags.min() < tags.max() <= 1 and not np.allclose(styles[0], styles[1], atol=0.01)


def test_a_voice_is_heard_in_its_segments_only_and_at_any_level():
    encoder = voice.VoiceEncoder(assets_folder() / "model_voice")
    low, high = tone(110, 4, 0.3), tone(330, 4, 0.3)
    paused = np.concatenate([low[:32000], np.zeros(48000, np.float32), low[:32000]])
    alone, *others = (
        encoder.embed(samples, [(start_s, end_s)])
        for samples, start_s, end_s in (
            (low, 0.0, 4.0), (np.concatenate([high, low / 10, high]), 4.0, 8.0), (paused, 0.0, 7.0), (high, 0.0, 4.0)
        )
    )  # fmt: skip
    assert alone.shape == (encoder.dim,) and np.linalg.norm(alone[: voice.VOICE_DIM]) == pytest.approx(1)
    for part in (slice(voice.VOICE_DIM), slice(voice.VOICE_DIM, None)):
        within, again, different = (each[part] @ alone[part] / np.linalg.norm(alone[part]) / np.linalg.norm(each[part])
                                    for each in others)  # fmt: skip
        assert within > 0.999 and again > 0.99 and different < 0.9


@pytest.mark.parametrize("segments", [[], [(0.0, 0.5)], [(5.0, 9.0)], [(2.0, 3.5)]])
def test_too_little_voice_is_none(segments):
    encoder = voice.VoiceEncoder(assets_folder() / "model_voice")
    samples = np.concatenate([tone(220, 1.9), np.zeros(40000, np.float32)])
    assert not encoder.embed(samples, segments).any()
