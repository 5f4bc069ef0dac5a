"""Voices: the map behind the voice embeddings, how it is learned and judged, and the second source system."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile
import torch
from heard import made_facets
from safetensors.numpy import save_file
from script_modules import run_script

from hmm2song.catalog.hub import assets_folder
from hmm2song.embeddings.base import WEIGHTS_FILE
from hmm2song.embeddings.voice import VoiceEncoder
from hmm2song.embeddings.voice_head import VoiceHead
from hmm2song.errors import ModelError
from hmm2song.evaluation.accuracy import singer_scores
from hmm2song.evaluation.baselines.voices import four_cells, tcae
from hmm2song.similar.spaces import Scaling
from hmm2song.training.voice_contrast import degraded, train_head

RATE_HZ = 16000
VOICE_DIM = VoiceEncoder.dim


def made_up_hums(rng: np.random.Generator, n_singers: int, per_singer: int = 6):
    """Parts of hums in which the room, eight directions of the embedding, is louder than the singer."""
    rooms, voices = rng.standard_normal((8, VOICE_DIM)), rng.standard_normal((n_singers, VOICE_DIM))
    names = np.repeat(np.arange(n_singers), per_singer)
    centres = voices[names] + 2 * rng.standard_normal((len(names), 8)) @ rooms
    return [[centre + 0.3 * rng.standard_normal((8, VOICE_DIM))] for centre in centres], names.astype(str)


@pytest.mark.parametrize("steps", [0, 20])
def test_a_map_learned_from_some_singers_tells_others_apart(steps):
    rng = np.random.default_rng(0)
    hums, singers = made_up_hums(rng, 40)
    head = train_head(hums[:180], singers[:180], steps=steps)
    voices = np.array([views[0].mean(axis=0) for views in hums[180:]], np.float32)
    songs = np.arange(len(voices))
    plain = voices / np.linalg.norm(voices, axis=1, keepdims=True)
    before = singer_scores(plain @ plain.T, singers[180:], songs)
    after = singer_scores(head(voices) @ head(voices).T, singers[180:], songs)
    assert after.equal_error.value < 0.5 * before.equal_error.value
    assert after.nearest.low > before.nearest.value


def test_a_map_is_written_and_read(tmp_path):
    rng = np.random.default_rng(0)
    head = VoiceHead(*(rng.standard_normal(shape).astype(np.float32) for shape in ((VOICE_DIM,), (VOICE_DIM, 5))))
    head.save(tmp_path)
    voices = rng.standard_normal((3, VOICE_DIM)).astype(np.float16)
    voices[1] = 0
    mapped = VoiceHead.load(tmp_path)(voices)
    assert head.dim == 5 and np.array_equal(mapped, head(voices))
    assert np.linalg.norm(mapped, axis=1) == pytest.approx([1, 0, 1], abs=1e-5)
    voices[:, :256] *= np.float16(0.5)  # the embedding counts at unit length
    assert np.allclose(head(voices), mapped, atol=1e-4)


@pytest.mark.parametrize("weights", [None, {"mean": (5,), "weight": (5, 5)}, {"mean": (VOICE_DIM,)}])
def test_weights_that_are_no_such_map_are_refused(tmp_path, weights):
    if weights is not None:
        save_file({name: np.zeros(shape, np.float32) for name, shape in weights.items()}, tmp_path / WEIGHTS_FILE)
    with pytest.raises(ModelError):
        VoiceHead.load(tmp_path)


def test_similar_songs_compare_voices_through_the_bundled_map():
    facets = made_facets(12, voice_dim=VOICE_DIM)
    vectors, known = Scaling.of(facets).voice(facets)
    head = VoiceHead.load(assets_folder() / "model_voice")
    assert np.array_equal(vectors, head(facets.voice)) and np.array_equal(known, facets.voice.any(axis=1))
    assert vectors[known].shape[1] == head.dim and not vectors[~known].any()


def test_pairs_of_one_song_do_not_count():
    singers, songs = np.repeat(["a", "b", "c"], 2), np.array([1, 2] * 3)
    likeness = np.where(singers[:, None] == singers, 0.9, 0.1)
    assert singer_scores(likeness, singers, songs).to_dict() == {
        "n_singers": 3, "n_hums": 6,
        "equal_error": {"value": 0.0, "low": 0.0, "high": 0.0}, "nearest": {"value": 1.0, "low": 1.0, "high": 1.0},
    }  # fmt: skip
    same_song = songs[:, None] == songs
    assert singer_scores(np.where(same_song, 1.0, likeness), singers, songs).nearest.value == 1.0
    likeness[0, 3] = likeness[3, 0] = 0.95
    wrong = singer_scores(likeness, singers, songs)
    assert wrong.nearest.value == pytest.approx(4 / 6)
    assert 0 < wrong.equal_error.value <= 1 / 6


@pytest.mark.parametrize("seed", range(4))
def test_degraded_hums_stay_hums(seed):
    tone = np.sin(2 * np.pi * 220 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    once, again = (degraded(tone, np.random.default_rng(seed)) for _ in range(2))
    assert once.shape == tone.shape and once.dtype == np.float32 and np.array_equal(once, again)
    assert not np.allclose(once, tone)
    assert np.abs(np.fft.rfft(once)).argmax() == 220
    assert np.isfinite(degraded(np.zeros(1000, np.float32), np.random.default_rng(seed))).all()


def test_the_auto_encoder_sees_nothing_of_what_comes_later_and_learns():
    rng = np.random.default_rng(0)
    mel = tcae.tcae_mel(rng.standard_normal(RATE_HZ).astype(np.float32))
    assert mel.shape == (tcae.N_MELS, 63)
    assert np.allclose(tcae.tcae_mel(np.zeros(RATE_HZ, np.float32)), np.log10(tcae.FLOOR))
    losses = []
    network = tcae.train_tcae(mel[None], steps=30, batch=1, progress=lambda step, loss: losses.append(loss))
    assert losses[-1] < 0.5 * losses[0]
    later = mel.copy()
    later[:, 40:] += 1
    difference = np.abs(network.latent(later) - network.latent(mel)).max(axis=1)
    assert difference[:40].max() == 0 and difference[40:].min() > 0


def test_shifted_copies_come_near_as_positive_pairs_and_go_away_as_negative_ones():
    rng = np.random.default_rng(0)
    voices = rng.standard_normal((4, 1, four_cells.N_MELS))
    hums = np.repeat(voices, 4, axis=0) + 0.3 * rng.standard_normal((16, 200, four_cells.N_MELS))
    hums = hums.astype(np.float32)
    mels, singers = (hums, np.roll(hums, 3, axis=2), hums), np.repeat(list("abcd"), 4)
    likeness = {}
    for alike in (True, False):
        network = four_cells.train_cell(mels, singers, four_cells.Cell(alike, None), steps=15)
        with torch.inference_mode():
            plain, shifted = (network(torch.from_numpy(each)).numpy() for each in mels[:2])
        likeness[alike] = float((plain * shifted).sum(axis=1).mean())
    assert likeness[True] > likeness[False] + 0.3


def test_copies_are_shifted_or_stretched():
    seconds = np.arange(four_cells.SAMPLE_RATE_HZ) / four_cells.SAMPLE_RATE_HZ
    tone = np.sin(2 * np.pi * 300 * seconds).astype(np.float32)
    shifted, stretched = four_cells.copies(tone, np.random.default_rng(0))
    ratio = np.abs(np.fft.rfft(shifted)).argmax() / 300
    assert 2 <= abs(12 * np.log2(ratio)) <= 6.5 and len(shifted) == len(tone)
    assert 0.2 <= abs(np.log2(len(tone) / len(stretched))) <= 0.65


def test_the_script_learns_a_map_and_judges_it(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = []
    for singer in range(4):
        for song in range(2):
            seconds = np.arange(2 * RATE_HZ) / RATE_HZ
            harmonics = sum(np.sin(2 * np.pi * k * (150 + 40 * singer) * seconds) / k**singer for k in range(1, 9))
            name = f"{singer}_{song}.wav"
            soundfile.write(tmp_path / name, 0.1 * harmonics + 0.001 * rng.standard_normal(len(seconds)), RATE_HZ)
            rows.append((name, song, singer))
    table = tmp_path / "hums.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "song_id", "singer"), *rows])
    options = ["--hums", str(table), "--work", str(tmp_path / "work")]
    assert run_script("train_voice", *options, "--out", str(tmp_path / "out"), "--copies", "1", "--steps", "3") == 0
    assert capsys.readouterr().out.count("| 2 x 6 |") == 8
    first = (tmp_path / "out" / WEIGHTS_FILE).read_bytes()
    assert run_script("train_voice", *options, "--out", str(tmp_path / "out"), "--copies", "1", "--steps", "3") == 0
    assert (tmp_path / "out" / WEIGHTS_FILE).read_bytes() == first
    assert run_script("train_voice", *options, "--judge", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("| 4 x 6 | with the map, mutual proximity |")
    table.write_text("\n".join(table.read_text().splitlines()[:4]))
    assert run_script("train_voice", *options, "--judge", str(tmp_path / "out")) == 2
    assert "name another --work" in capsys.readouterr().err
