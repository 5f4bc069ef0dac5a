"""The first source system on the command line: ``train.py --recipe mel`` and ``evaluate.py --engine mel``."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from clip_sets import make_clip_set, make_sounding_set, tones
from script_modules import run_script
from snapshots import snapshot_of

from hmm2song.errors import ModelError
from hmm2song.evaluation.baselines.mel_cnn import training as mel_training
from hmm2song.evaluation.baselines.mel_cnn.clips import ClipSet
from hmm2song.evaluation.baselines.mel_cnn.mel import SAMPLE_RATE_HZ
from hmm2song.evaluation.baselines.mel_cnn.network import DIM, N_CHANNELS, WEIGHTS_FILE, ConvSubnet
from hmm2song.evaluation.baselines.mel_cnn.training import (
    HUM_KINDS,
    SMOKE,
    MelLearner,
    MelRecipe,
    draw_others,
    split_clips,
)

CLIPS_PER_SONG = (3, 3, 3, 3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    return make_clip_set(tmp_path_factory.mktemp("clips") / "set", CLIPS_PER_SONG)


# What is trained on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [MelRecipe(), MelRecipe(n_clips=7), MelRecipe(n_held_out_songs=2)], ids=str)
def test_one_filter_of_every_clip_and_whole_songs_are_never_trained_on(clips, recipe):
    split = split_clips(clips, recipe, seed=0)
    assert len(set(split.clips)) == (recipe.n_clips or len(clips))
    learned = {(int(clip), int(kind)) for clip, kind in split.hums_to_learn()}
    for clip, kind, is_held_out in zip(split.clips, split.held_out_kind, split.is_of_held_out_song, strict=True):
        kinds = {kind for other, kind in learned if other == clip}
        assert kinds == (set() if is_held_out else set(range(5)) - {kind})
    assert len(learned) == 4 * np.count_nonzero(~split.is_of_held_out_song)
    songs = clips.clip_song[split.clips]
    held_out_songs = set(songs[split.is_of_held_out_song])
    assert len(held_out_songs) == recipe.n_held_out_songs
    assert not held_out_songs & set(songs[~split.is_of_held_out_song])


def test_the_seed_decides_what_is_held_out(clips):
    recipe = MelRecipe(n_clips=6, n_held_out_songs=1)
    first, again, other = (vars(split_clips(clips, recipe, seed)) for seed in (0, 0, 1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("recipe", [MelRecipe(n_held_out_songs=4), MelRecipe(n_clips=1)], ids=str)
def test_too_few_clips_are_explained(clips, recipe):
    with pytest.raises(ModelError, match="leave no two clips to train on"):
        split_clips(clips, recipe, seed=0)


def test_a_negative_is_another_clip():
    rng = np.random.default_rng(0)
    own = np.array([4, 4, 7, 9])
    drawn = np.array([draw_others(own, np.arange(20), rng) for _ in range(200)])
    assert not (drawn == own).any() and set(drawn.ravel()) == {4, 7, 9}
    assert set(drawn[:, 0]) == {7, 9}
    alone = draw_others(np.array([4, 4]), np.array([4, 5]), rng)
    assert alone.tolist() == [5, 5]


# Learning -----------------------------------------------------------------------------------------------


class TinySubnet(ConvSubnet):
    """As many rows of as many numbers, from hardly any computation."""

    def __init__(self) -> None:
        super().__init__()
        self.small = torch.nn.Linear(8, DIM)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        rows = spectrograms.reshape(len(spectrograms), -1)[:, : 8 * N_CHANNELS].reshape(-1, 8) / 60.0
        return self.small(rows).float() * (1.0 + self.conv1.bias.sum())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mel_training, "ConvSubnet", TinySubnet)


def test_an_epoch_learns_every_hum_once_in_batches(tiny, clips, monkeypatch):
    learner = MelLearner(clips, MelRecipe(batch_size=20), seed=0)
    seen = []
    loss = learner._loss
    monkeypatch.setattr(learner, "_loss", lambda part, rng: (seen.append(part.copy()), loss(part, rng))[1])
    assert [n_learned for n_learned, _ in learner.learn_epoch()] == [20, 40, 48]
    assert [len(part) for part in seen] == [10, 10, 10, 10, 8]
    assert sorted(map(tuple, np.concatenate(seen))) == sorted(map(tuple, learner.hums)) and learner.epoch == 1


def test_the_hum_its_clip_and_another_make_the_loss(tiny, clips, monkeypatch):
    learner = MelLearner(clips, MelRecipe(), seed=0)
    part = np.array([[0, 1], [5, 2]])
    monkeypatch.setattr(mel_training, "draw_others", lambda own, pool, rng: np.array([5, 7]))

    def rows(kind: str, clip: int) -> torch.Tensor:
        return learner.network(torch.from_numpy(clips.kind(kind)[clip][None].astype(np.float32)))

    pairs = [
        (rows(HUM_KINDS[1], 0), rows("org", 0), rows("org", 5)),
        (rows(HUM_KINDS[2], 5), rows("org", 5), rows("org", 7)),
    ]
    worse = torch.cat([(a - p).norm(dim=1) - (a - n).norm(dim=1) for a, p, n in pairs])
    expected = (worse + 1.0).clamp(min=0.0).mean().item()
    assert learner._loss(part, np.random.default_rng(0)).item() == pytest.approx(expected, rel=0.02)  # bfloat16


def test_learning_tells_clips_apart(tiny, clips):
    learner = MelLearner(clips, MelRecipe(learning_rate=1e-2), seed=0)
    losses = [loss for _ in range(12) for _, loss in learner.learn_epoch()]
    assert losses[-1] < 0.5 * losses[0]


train = partial(run_script, "train", "--recipe", "mel")
evaluate = partial(run_script, "evaluate", "--engine", "mel")


def test_two_steps_of_the_real_network_make_a_model(clips, tmp_path, capsys):
    assert train("--smoke", "--clips", clips.folder, "--out", tmp_path) == 0
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and all(line["loss"] > 0 for line in lines)
    weights = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("epoch_1", "epoch_2", ".")]
    assert weights[0] != weights[1] == weights[2]
    assert np.isfinite(ConvSubnet.load(tmp_path).embed(clips.kind("org")[:1])).all()
    assert "16/16" in capsys.readouterr().err  # two epochs of two clips, four hums each


def test_an_interrupted_run_ends_like_another(one_thread, tiny, clips, monkeypatch, tmp_path):
    recipe = replace(SMOKE, n_epochs=3)
    mel_training.train_conv_subnet(clips, recipe, 5, tmp_path / "straight")
    with monkeypatch.context() as patch:
        learn = MelLearner._learn

        def until_interrupted(learner, batch, rng):
            if learner.epoch == 2:
                raise KeyboardInterrupt
            return learn(learner, batch, rng)

        patch.setattr(MelLearner, "_learn", until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            mel_training.train_conv_subnet(clips, recipe, 5, tmp_path / "interrupted")
    seen = []
    mel_training.train_conv_subnet(clips, recipe, 5, tmp_path / "interrupted", lambda *told: seen.append(told[:2]))
    assert seen == [(24, 24)]  # the last of three epochs of eight hums
    for name in (WEIGHTS_FILE, "epoch_1/" + WEIGHTS_FILE, "epoch_3/" + WEIGHTS_FILE):
        assert (tmp_path / "interrupted" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name
    assert snapshot_of(tmp_path / "interrupted") == snapshot_of(tmp_path / "straight")
    mel_training.train_conv_subnet(clips, recipe, 5, tmp_path / "straight", lambda *told: pytest.fail("learned more"))


def test_epochs_can_be_added_but_not_taken_away(one_thread, tiny, clips, tmp_path):
    for out, numbers in (("at once", (3,)), ("in turn", (1, 3))):
        for n_epochs in numbers:
            mel_training.train_conv_subnet(clips, replace(SMOKE, n_epochs=n_epochs), 5, tmp_path / out)
    assert snapshot_of(tmp_path / "at once") == snapshot_of(tmp_path / "in turn")
    with pytest.raises(ModelError, match="was trained for 3 epochs, 2 are asked for; take epoch_2"):
        mel_training.train_conv_subnet(clips, SMOKE, 5, tmp_path / "in turn")


def test_a_run_of_another_recipe_or_dataset_is_not_continued(tiny, clips, tmp_path):
    mel_training.train_conv_subnet(clips, SMOKE, 0, tmp_path / "out")
    others = make_clip_set(tmp_path / "others", (1, 2))
    for other, recipe, seed in ((clips, SMOKE, 1), (clips, replace(SMOKE, n_clips=3), 0), (others, SMOKE, 0)):
        with pytest.raises(ModelError, match="another recipe, seed or dataset; delete it or choose"):
            mel_training.train_conv_subnet(other, recipe, seed, tmp_path / "out")


def refused(capsys, *options: object) -> str:
    """Run what must end with one line of explanation; return it."""
    assert train("--smoke", *options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "train.py: " in line]
    return line


def test_what_cannot_be_trained_on_is_explained(clips, tmp_path, capsys):
    assert "is not a dataset" in refused(capsys, "--clips", tmp_path, "--out", tmp_path / "out")
    (tmp_path / "training.safetensors").write_bytes(b"\xff" * 64)
    assert "training.safetensors is damaged" in refused(capsys, "--clips", clips.folder, "--out", tmp_path)
    assert train("--out", tmp_path) == 2
    assert "--recipe mel needs --clips" in capsys.readouterr().err


# Evaluation ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    """Four songs of one clip each, and a table of four hums of them."""
    opened = make_sounding_set(tmp_path_factory.mktemp("sounding") / "set", (1, 1, 1, 1))
    rows = ["file,song_id"]
    for number, song_id in ((0, "s0"), (1, "s1|x"), (2, "s3")):
        soundfile.write(opened.folder / f"{number}.flac", 0.5 * tones(number), SAMPLE_RATE_HZ)
        rows.append(f"{number}.flac,{song_id}")
    (opened.folder / "queries.csv").write_text("\n".join([*rows, "track.csv,s0"]) + "\n")
    (opened.folder / "track.csv").write_text("time_s,f0_hz\n0.0,220\n")
    return opened


def test_the_engine_is_measured_like_ours(sounding, tmp_path):
    files = ("--json", tmp_path / "report.json", "--misses", tmp_path / "misses.csv")
    queries = ("--queries", sounding.folder / "queries.csv", "--clips", sounding.folder)
    assert evaluate(*queries, *files) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["n"], report["n_songs"], report["unreadable"]) == (4, 4, 1)
    assert report["top1"]["value"] == 0.5 and report["top10"]["value"] == 0.75  # of the track there is no sound
    assert "track.csv is an f0 track" in (tmp_path / "misses.csv").read_text()
    assert evaluate(*queries, *files, "--skip-start", 2, "--limit", 2) == 0
    assert evaluate(*queries, *files, "--distance", "cosine-as-distance") == 0
    missed = (tmp_path / "misses.csv").read_text()
    assert "0.flac" in missed and "1.flac" in missed  # both were found before
    ConvSubnet.untrained(seed=4).save(tmp_path / "model")
    for network in (tmp_path / "model", "untrained"):
        assert evaluate(*queries, *files, "--network", network, "--limit", 3) == 0
        assert json.loads((tmp_path / "report.json").read_text())["n"] == 3


def test_what_cannot_be_measured_is_explained(sounding, tmp_path, capsys):
    queries = ("--queries", sounding.folder / "queries.csv")
    assert evaluate(*queries, "--clips", sounding.folder, "--network", tmp_path) == 2
    assert "is not a model" in capsys.readouterr().err
    for options, words in (
        ((), "--engine mel needs the dataset of the songs"),
        (("--clips", sounding.folder, "--songs", "x.jsonl"), "--engine mel searches --clips"),
    ):
        assert evaluate(*queries, *options) == 2
        assert words in capsys.readouterr().err
