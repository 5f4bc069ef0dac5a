"""The third source system, on tones and noise: what it learns, the mode of its votes, and its hard gate."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from hmm2song.errors import AudioError, CatalogError
from hmm2song.evaluation.baselines.genre_cnn import RATE_HZ, GenreEnsemble, killing_part, mel_of, stratified_folds

RANDOM = np.random.default_rng(0)
SECONDS = np.arange(RATE_HZ) / RATE_HZ


def sound(genre: str) -> np.ndarray:
    if genre == "noise":
        return RANDOM.normal(0, 0.1, RATE_HZ).astype(np.float32)
    low = genre == "low"
    return (0.3 * np.sin(2 * np.pi * RANDOM.uniform(*((100, 200) if low else (1500, 2500))) * SECONDS)).astype("f4")


LABELS = ["low", "high", "noise"] * 6
SOUNDS = [sound(label) for label in LABELS]
MELS = np.stack([mel_of(each) for each in SOUNDS])


def test_five_networks_learn_tones_and_noise_and_vote():
    ensemble = GenreEnsemble.train(MELS, LABELS, n_epochs=40)
    assert ensemble.accuracy.mean() > 0.8 and len(ensemble.networks) == 5
    asked = ["noise", "low", "high"]
    assert ensemble.predict(np.stack([mel_of(sound(label)) for label in asked])) == asked


def test_every_fold_holds_every_genre_alike():
    genres = np.repeat([0, 1], [10, 15])
    folds = stratified_folds(genres)
    assert [np.bincount(genres[folds == fold]).tolist() for fold in range(5)] == [[2, 3]] * 5


def test_too_few_songs_and_short_recordings(tmp_path):
    with pytest.raises(CatalogError, match="five folds"):
        GenreEnsemble.train(MELS[:9], LABELS[:9])
    path = tmp_path / "short.wav"
    soundfile.write(path, np.concatenate(SOUNDS[:2]), RATE_HZ)
    assert len(killing_part(path)) == 2 * RATE_HZ
    ramp = np.arange(92 * 4000) / (92 * 4000) * 0.5  # it tells where the part was cut
    soundfile.write(path, ramp, 4000)
    part = killing_part(path)
    assert len(part) == 30 * RATE_HZ and abs(part[RATE_HZ] - 0.5 * 61 / 92) < 0.01
    path.write_bytes(b"not audio")
    with pytest.raises(AudioError):
        killing_part(path)
