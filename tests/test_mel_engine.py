"""The search of the first source system, on pictures and sounds whose nearest neighbours are known."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from clip_sets import HOP_S, make_sounding_set, tones

from hmm2song.errors import ModelError, QueryError
from hmm2song.evaluation.baselines.mel_cnn.engine import MelEngine, embedding_of, raw_log_mel, spectrogram_of
from hmm2song.evaluation.baselines.mel_cnn.mel import N_FRAMES, N_MELS, SAMPLE_RATE_HZ
from hmm2song.evaluation.baselines.mel_cnn.network import ConvSubnet

CLIPS_PER_SONG = (2, 3, 1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three songs of six clips; clip n sounds like ``tones(n)``."""
    return make_sounding_set(tmp_path_factory.mktemp("clips") / "set", CLIPS_PER_SONG)


@pytest.fixture(scope="module")
def engine(clips):
    return MelEngine(clips, raw_log_mel)


def hum(number: int) -> tuple[int, np.ndarray]:
    """A quieter and noisier one than the clip."""
    noise = np.random.default_rng(number).standard_normal(len(tones(number)))
    return SAMPLE_RATE_HZ, (0.7 * tones(number) + 0.002 * noise).astype(np.float32)


def test_the_nearest_clip_of_every_song_ranks_it(engine):
    for clip, song in enumerate(np.repeat(np.arange(3), CLIPS_PER_SONG)):
        result = engine.recognize(hum(clip))
        first = result.matches[0]
        assert (first.rank, first.id, first.clip) == (1, f"s{song}", clip)
        assert first.start_s == HOP_S * (clip - [0, 2, 5][song])
        assert sorted(match.id for match in result.matches) == ["s0", "s1", "s2"]
        assert [match.rank for match in result.matches] == [1, 2, 3]
        nearness = [match.distance for match in result.matches]
        assert nearness == sorted(nearness) and (result.n_searched, result.message) == (3, "")


def test_the_ranking_agrees_with_the_distances_of_all_clips(engine, clips):
    (distances,) = engine.distances(spectrogram_of(hum(3))[None])
    best = {song.id: distances[clips.clip_song == number].min() for number, song in enumerate(clips.songs)}
    everything = engine.recognize(hum(3)).matches
    assert {match.id: match.distance for match in everything} == pytest.approx(best)
    assert engine.recognize(hum(3), top_k=2).matches == everything[:2]


def test_a_filter_that_leaves_nothing_says_so(engine):
    result = engine.recognize(hum(0), genres=["Jazz"])
    assert (result.matches, result.n_searched) == ((), 0) and "choose another genre" in result.message
    assert {match.id for match in engine.recognize(hum(0), gender="male", only_known=True).matches} == {"s1"}


def test_the_sign_error_ranks_the_right_song_last(clips):
    right, wrong = (MelEngine(clips, raw_log_mel, name) for name in ("cosine", "cosine-as-distance"))
    assert right.recognize(hum(5)).matches[0].id == "s2"
    assert wrong.recognize(hum(5)).matches[-1].id == "s2"
    with pytest.raises(QueryError, match="'dot' is not one of l2, cosine, cosine-as-distance"):
        MelEngine(clips, raw_log_mel, "dot")


def test_the_gallery_is_embedded_once(clips):
    calls = []

    def embed(spectrograms, progress):
        calls.append(len(spectrograms))
        return raw_log_mel(spectrograms, progress)

    told = []
    engine = MelEngine(clips, embed, progress=told.append)
    for number in range(2):
        engine.recognize(hum(number))
    assert calls == [6, 1, 1] and told == [6]


def test_a_network_is_used_when_there_is_one(clips, tmp_path):
    ConvSubnet.untrained(seed=3).save(tmp_path)
    spectrograms = clips.kind("org")[:2]
    for network, seed in ((tmp_path, 3), ("untrained", 0)):
        vectors = embedding_of(network)(spectrograms, None)
        np.testing.assert_array_equal(vectors, ConvSubnet.untrained(seed).embed(spectrograms))
    assert embedding_of("raw")(spectrograms, None).shape == (2, N_MELS * N_FRAMES)
    with pytest.raises(ModelError, match="not a model"):
        embedding_of(tmp_path / "none")


def test_a_hum_is_its_first_ten_seconds(tmp_path):
    short, ten, long = (spectrogram_of((SAMPLE_RATE_HZ, tones(1, seconds))) for seconds in (4.0, 10.0, 12.0))
    assert short.shape == (N_MELS, N_FRAMES)
    np.testing.assert_allclose(long[:, :420], ten[:, :420], atol=0.1)  # only one of them ends there
    assert (short[:, 200:] == short.min()).all() and (ten[:, 200:400].max(axis=0) > ten.max() - 10).all()
    soundfile.write(tmp_path / "hum.flac", tones(1, 4.0), SAMPLE_RATE_HZ)
    np.testing.assert_allclose(spectrogram_of(tmp_path / "hum.flac"), short, atol=1.0)
    one, other = (spectrogram_of((rate_hz, tones(0, 10.0, rate_hz))) for rate_hz in (16000, 44100))
    loud = one > one.max() - 30  # the rate of a recording does not matter
    assert loud.any() and np.abs(one - other)[loud].max() < 1.0
