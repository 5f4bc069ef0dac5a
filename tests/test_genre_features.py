"""The fifth source system on tones and noise, and its honest measures: no song of the same artist helps."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile

from hmm2song.errors import AudioError, CatalogError
from hmm2song.evaluation.baselines.genre_features import FEATURES, RATE_HZ, FeatureTable, features_of
from hmm2song.evaluation.genre_measures import GenreData, calibration_error, over_folds, pooled, similar_rows

SECONDS = np.arange(2 * RATE_HZ) / RATE_HZ


@pytest.fixture
def tone(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 1000 * SECONDS), RATE_HZ)
    return path


def write_table(path, features, genres):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "length", *FEATURES, "label"])
        writer.writerows(
            [f"{k}.wav", 1, *row, genre] for k, (row, genre) in enumerate(zip(features, genres, strict=True))
        )
    return path


def test_a_tone_has_the_features_of_a_tone(tone):
    assert len(FEATURES) == 57 and FEATURES[16] == "tempo" and FEATURES[-1] == "mfcc20_var"
    features = dict(zip(FEATURES, features_of(tone), strict=True))
    assert np.isfinite(list(features.values())).all()
    assert features["spectral_centroid_mean"] == pytest.approx(1000, rel=0.05)
    assert features["zero_crossing_rate_mean"] == pytest.approx(2000 / RATE_HZ, rel=0.05)
    assert features["rms_mean"] == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert features["harmony_var"] > 100 * features["perceptr_var"]  # it does not beat
    with pytest.raises(AudioError):
        features_of(tone.with_name("none.wav"))


def test_unscaled_columns_that_are_large_decide(tmp_path, tone):
    own = features_of(tone)
    large = own.copy()
    large[FEATURES.index("rolloff_mean")] += 1000
    table = FeatureTable.read(write_table(tmp_path / "table.csv", np.stack([own * 1.01, large, own + 1, own]), "abcd"))
    similarity, unscaled = table.similarities()[3], table.similarities(is_scaled=False)[3]  # the fault of the source
    assert unscaled[:3].argmin() == 1 and unscaled.min() > 0.9 > similarity[:3].min()
    for content in ("", "filename,label\nx,y\n"):
        (tmp_path / "bad.csv").write_text(content)
        with pytest.raises(CatalogError):
            FeatureTable.read(tmp_path / "bad.csv")


def made_data(genre_step: float, artist_step: float) -> GenreData:
    """Three genres of eight artists of two songs; how far apart the genres are, and the artists of one."""
    random = np.random.default_rng(0)
    genre, artist = np.repeat(np.arange(3), 16), np.repeat(np.arange(24), 2)
    features = 5 + random.uniform(0, 0.1, (48, len(FEATURES)))
    features[:, :3] += genre_step * np.eye(3)[genre]
    features[:, 3:27] += artist_step * np.eye(24)[artist]
    return GenreData(features, genre, artist % 3, artist)


def test_genres_are_told_by_artists_that_were_not_learned_from():
    data = made_data(genre_step=1.0, artist_step=0.0)
    said = over_folds(data, data.logarithms, pooled)
    assert np.allclose(said.sum(axis=1), 1) and (said.argmax(axis=1) == data.genre).mean() > 0.9
    by_name = {row.name: row for row in similar_rows(data, said)}
    assert by_name["mutual proximity and probability of the genre"].precision.value > 0.75


def test_songs_of_the_same_artist_do_not_count():
    data = made_data(genre_step=0.0, artist_step=1.0)  # an artist can be told, a genre cannot
    said = np.full((48, 3), 1 / 3)
    for row in similar_rows(data, said):
        if not row.name.startswith("S3"):
            assert row.precision.value < 0.5
    said = np.eye(3)[(data.genre + 1) % 3]  # always wrong: the hard gate finds nothing then, the soft one something
    by_name = {row.name: row.precision.value for row in similar_rows(data, said)}
    assert by_name["S3: the nearest of the genre that is predicted"] == 0


def test_the_calibration_error_is_how_far_probabilities_are_off():
    said = np.array([[0.8, 0.2]] * 10)
    assert calibration_error(said, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert calibration_error(said, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)


def test_folds_that_do_not_fit_the_table_are_refused(tmp_path):
    table = write_table(tmp_path / "table.csv", np.ones((2, 57)), ["a", "b"])
    (tmp_path / "folds.csv").write_text("filename,fold,artist_group\nother.wav,1,x\n")
    with pytest.raises(CatalogError, match="does not fit"):
        GenreData.read(table, tmp_path / "folds.csv")
