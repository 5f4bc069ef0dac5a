"""scripts/train.py: what is learned from and what is not, pairs that belong together, and runs that go on."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from encoders import TINY_SIZES, IntervalEncoder
from humming import tune
from script_modules import loaded_script
from snapshots import snapshot_of

from hmm2song.embeddings.contour import MelodyEncoder
from hmm2song.errors import Hmm2SongError
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.training.singer import FLAWLESS

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "train.py"
N_MELODIES = 40


@pytest.fixture(scope="module")
def train() -> Iterator[ModuleType]:
    """The script as a module of this name, as its workers' messages need one."""
    with loaded_script("train") as module:
        yield module


def row(number: int, **fields: object) -> dict:
    return {"id": f"tune {number}", "source": "mine", "in_benchmark": False, "notes": tune(number), **fields}


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def melodies(tmp_path_factory) -> Path:
    """A file of melodies, of which a few are held out."""
    return write_rows(tmp_path_factory.mktemp("melodies") / "pool.jsonl", [row(number) for number in range(N_MELODIES)])


@pytest.fixture(scope="module")
def recipe(train):
    """A recipe for a tiny network."""
    return replace(
        train.Recipe(), network=TINY_SIZES, n_steps=4, n_hums=8, n_validation_hums=6, n_warmup_steps=2, validate_every=2
    )


@pytest.fixture(scope="module")
def songs(train, melodies) -> list:
    return train.read_melodies(melodies, frozenset(), None)[0]


# Which melodies -----------------------------------------------------------------------------------------


def onsets(songs: list) -> set[tuple[float, ...]]:
    """Tell melodies apart by when their notes begin."""
    return {tuple(song.notes[:, 0]) for song in songs}


def all_read(train: ModuleType, path: Path, excluded: frozenset[str] = frozenset()) -> set[tuple[float, ...]]:
    learned, held_out = train.read_melodies(path, excluded, None)
    assert not onsets(learned) & onsets(held_out)
    return onsets(learned + held_out)


@pytest.mark.parametrize(
    "fields",
    [{"in_benchmark": True}, {"dup_of_earlier": True}, {"notes": [[0.0, 1.0, 60]]}, {"notes": []},
     {"notes": [[0.0, -1.0, 60.0]]}]
    + [{"source": source} for source in ("essen", "symbtr", "nova_scotia")],
    ids=str,
)  # fmt: skip
def test_what_may_not_or_cannot_be_learned_from_is_left_out(train, tmp_path, fields):
    rows = [row(number) for number in range(N_MELODIES)]
    without = all_read(train, write_rows(tmp_path / "without.jsonl", rows))
    unusable = [row(100 + number, **fields) for number in range(30)]
    assert all_read(train, write_rows(tmp_path / "with.jsonl", [*unusable, *rows])) == without
    assert len(without) == N_MELODIES


def test_excluded_ids_are_neither_learned_from_nor_held_out(train, melodies, tmp_path):
    table = tmp_path / "exclude.tsv"
    table.write_text("id\ttitle\n" + "".join(f"tune {number}\tTitle\n" for number in range(5, 30)), encoding="utf-8")
    left = all_read(train, melodies, train.read_ids(table))
    kept = [tune(number) for number in range(N_MELODIES) if not 5 <= number < 30]
    assert left == {tuple(np.array(notes)[:, 0]) for notes in kept}


def test_songs_can_be_excluded_by_their_own_file(train, tmp_path):
    songs = tmp_path / "songs.jsonl"
    songs.write_text('{"id": "a", "title": "A"}\n\n{"id": 7}\n', encoding="utf-8")
    assert train.read_ids(songs) == {"a", "7"}
    songs.write_text('{"title": "A"}\n', encoding="utf-8")
    with pytest.raises(Hmm2SongError, match=r"songs\.jsonl is no list of songs"):
        train.read_ids(songs)


def test_the_same_melodies_are_held_out_in_whatever_file_they_are(train, melodies, tmp_path):
    held_out = onsets(train.read_melodies(melodies, frozenset(), None)[1])
    assert 0 < len(held_out) < N_MELODIES / 4
    with gzip.open(tmp_path / "other.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row(number)) + "\n" for number in reversed(range(N_MELODIES + 20)))
    learned, others_held_out = map(onsets, train.read_melodies(tmp_path / "other.jsonl.gz", frozenset(), None))
    assert held_out <= others_held_out and not held_out & learned


def test_a_few_melodies_are_enough_to_try_it(train, melodies):
    learned, held_out = train.read_melodies(melodies, frozenset(), 3)
    everything = train.read_melodies(melodies, frozenset(), None)
    assert 3 <= len(learned) <= len(everything[0])
    assert held_out


# Pairs of windows ---------------------------------------------------------------------------------------


def assert_same_batch(first, second) -> None:
    for name in ("hum_pitch_st", "hum_voiced", "song_pitch_st", "song_voiced", "song"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_seed_and_step_decide_the_batch(train, songs, recipe):
    batch = train.make_batch(songs, recipe, seed=3, step=5)
    assert_same_batch(batch, train.make_batch(songs, recipe, seed=3, step=5))
    for seed, step in ((3, 6), (4, 5)):
        other = train.make_batch(songs, recipe, seed, step)
        assert not np.array_equal(batch.hum_pitch_st[0], other.hum_pitch_st[0], equal_nan=True)


def test_a_batch_holds_windows_of_hums_and_songs(train, songs, recipe):
    batch = train.make_batch(songs, recipe, seed=0, step=0)
    n_rows = len(batch.song)
    assert recipe.n_hums < n_rows <= recipe.n_hums * recipe.windows_per_hum
    for pitch_st, voiced in ((batch.hum_pitch_st, batch.hum_voiced), (batch.song_pitch_st, batch.song_voiced)):
        assert pitch_st.shape == voiced.shape == (n_rows, TINY_SIZES.n_frames)
        assert (pitch_st.dtype, voiced.dtype) == (np.float32, bool)
        np.testing.assert_allclose(np.nanmedian(pitch_st, axis=1), 0.0, atol=1e-4)
        assert not voiced[np.isnan(pitch_st)].any()
    assert len(set(batch.song)) == recipe.n_hums
    assert set(batch.song) <= set(range(len(songs)))


def share_alike(first_st: np.ndarray, second_st: np.ndarray) -> float:
    """The share of the frames both windows have where they are alike, in whatever key."""
    difference_st = first_st - second_st
    difference_st -= np.nanmedian(difference_st, axis=1, keepdims=True)
    return float(np.mean(np.abs(difference_st[~np.isnan(difference_st)]) < 0.1))


@pytest.mark.parametrize("tempo_ratio", [0.7, 1.0, 1.4])
def test_paired_windows_are_the_same_place(train, songs, recipe, monkeypatch, tempo_ratio):
    monkeypatch.setattr(
        train, "GOOD_SINGER", replace(FLAWLESS, tempo_ratio_limits=(tempo_ratio,) * 2, phrase_start_probability=0.0)
    )
    exact = replace(
        recipe, n_hums=20, poor_singer_share=0.0, noisy_song_share=0.0, tempo_residual_log_sd=0.0, start_residual_s=0.0
    )
    batch = train.make_batch(songs, exact, seed=1, step=0)
    assert np.mean(~np.isnan(batch.hum_pitch_st + batch.song_pitch_st)) > 0.5
    assert share_alike(batch.hum_pitch_st, batch.song_pitch_st) > 0.9  # all but the frames at borders of notes
    assert share_alike(batch.hum_pitch_st, np.roll(batch.song_pitch_st, 6, axis=1)) < 0.8  # a quarter second off
    assert share_alike(batch.hum_pitch_st, np.roll(batch.song_pitch_st, 2, axis=0)) < 0.4  # other songs


def test_a_transcribed_song_is_like_the_written_one(train, songs):
    written = songs[0].contour
    before = written.pitch_midi.copy()
    for seed in range(5):
        heard = train.transcribed(written, np.random.default_rng(seed))
        assert len(heard.pitch_midi) == len(heard.voiced) == len(written.pitch_midi)
        difference_st = np.abs(heard.pitch_midi - written.pitch_midi)
        assert 0.0 < np.median(difference_st) < 0.5
        assert not (heard.voiced & ~written.voiced).any()
    np.testing.assert_array_equal(written.pitch_midi, before)


@pytest.mark.parametrize("n_frames", [1, 2, 50])
def test_the_shortest_songs_can_be_transcribed(train, n_frames):
    contour = FilledContour(np.full(n_frames, 60.0, np.float32), np.ones(n_frames, bool), 0.0)
    for seed in range(5):
        assert np.isfinite(train.transcribed(contour, np.random.default_rng(seed)).pitch_midi).all()


# Learning -----------------------------------------------------------------------------------------------

SCALE = torch.tensor(50.0)


def loss_of(train: ModuleType, hums: list[int], windows: list[int], song: list[int]) -> float:
    """The loss where embeddings are rows of the identity."""
    rows = torch.eye(4)
    return train.contrastive_loss(rows[hums], rows[windows], torch.tensor(song), SCALE).item()


def test_the_loss_falls_when_pairs_are_alike_and_others_not(train):
    assert loss_of(train, [0, 1, 2], [0, 1, 2], [0, 1, 2]) == pytest.approx(0.0, abs=1e-6)
    assert loss_of(train, [0, 1, 2], [1, 2, 0], [0, 1, 2]) == pytest.approx(50.0, rel=1e-3)
    assert loss_of(train, [0, 0, 0], [0, 0, 0], [0, 1, 2]) == pytest.approx(math.log(3), rel=1e-3)


def test_windows_of_the_same_song_are_no_negatives(train):
    assert loss_of(train, [0, 0, 1], [0, 0, 1], [7, 7, 8]) == pytest.approx(0.0, abs=1e-6)
    assert loss_of(train, [0, 0, 1], [0, 0, 1], [7, 9, 8]) == pytest.approx(2 / 3 * math.log(2), rel=1e-3)
    assert loss_of(train, [0, 1], [1, 0], [7, 7]) == pytest.approx(0.0, abs=1e-6)  # nor does any other one help


def test_hums_and_songs_are_interchangeable_in_the_loss(train):
    torch.manual_seed(0)
    hums, windows = torch.nn.functional.normalize(torch.randn(2, 6, 4), dim=2)
    song = torch.tensor([0, 0, 1, 2, 3, 3])
    loss = [train.contrastive_loss(*sides, song, SCALE).item() for sides in ((hums, windows), (windows, hums))]
    assert loss[0] == pytest.approx(loss[1], rel=1e-5)


def test_the_learning_rate_rises_and_falls(train):
    recipe = replace(train.Recipe(), n_steps=1000, n_warmup_steps=100, learning_rate=1.0)
    rate = np.array([train.learning_rate(step, recipe) for step in range(1000)])
    assert (np.diff(rate[:100]) > 0).all() and (np.diff(rate[100:]) < 0).all()
    assert rate.max() == pytest.approx(0.976, abs=0.01)
    assert 0 < rate[-1] < 1e-4


def test_learning_makes_hums_and_their_songs_alike(train, songs, recipe):
    learner = train.Learner(replace(recipe, n_steps=1000, n_warmup_steps=1), seed=0)
    batch = train.make_batch(songs, recipe, seed=0, step=0)
    losses = [learner.learn(batch) for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]


def learned(train: ModuleType, learner, songs: list, until: int):
    """Take the steps up to ``until``."""
    for step in range(learner.step, until):
        learner.learn(train.make_batch(songs, learner.recipe, learner.seed, step))
    return learner


def test_a_run_that_goes_on_learns_the_same(train, songs, recipe, tmp_path):
    straight = learned(train, train.Learner(recipe, 1), songs, until=4)
    first = learned(train, train.Learner(recipe, 1), songs, until=2)
    first.best = 0.25
    first.save(tmp_path / "snapshot")
    second = train.Learner(recipe, 1)
    second.resume(tmp_path / "snapshot")
    assert (second.step, second.best) == (2, 0.25)
    learned(train, second, songs, until=4)
    assert second.encoder().fingerprint == straight.encoder().fingerprint != first.encoder().fingerprint
    assert torch.equal(second.log_scale, straight.log_scale)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot"]


def test_a_snapshot_of_another_run_is_refused(train, recipe, tmp_path):
    train.Learner(recipe, 1).save(tmp_path / "snapshot")
    for other in (train.Learner(recipe, 2), train.Learner(replace(recipe, temperature=0.1), 1)):
        with pytest.raises(Hmm2SongError, match="snapshot of another recipe or seed; delete it or choose"):
            other.resume(tmp_path / "snapshot")


# Validation ---------------------------------------------------------------------------------------------


def test_every_run_is_validated_with_the_same_hums(train, songs, recipe):
    first, second = (train.Validation.make(songs[:5], recipe) for _ in range(2))
    assert_same_batch(first.hums, second.hums)
    assert len(first.hums.song) <= 5 and len(set(first.hums.song)) == len(first.hums.song)
    assert len(first.song) == len(first.pitch_st) == len(first.voiced)
    assert set(first.song) == set(range(5))


def test_validation_tells_good_embeddings_from_bad(train, songs, recipe):
    validation = train.Validation.make(songs, replace(recipe, n_validation_hums=60))
    good, bad = (validation.song_top1(encoder) for encoder in (IntervalEncoder(), MelodyEncoder.untrained(TINY_SIZES)))
    assert 0.2 < good <= 1.0
    assert good > bad + 0.1


# The command --------------------------------------------------------------------------------------------


class InlinePool:
    """A pool of this process: starting others takes seconds."""

    def __init__(self, workers, initializer, initargs):
        initializer(*initargs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def run(train, monkeypatch, melodies):
    """Run the command with --smoke in this process; return its exit code."""
    monkeypatch.setattr(train, "ProcessPoolExecutor", InlinePool)
    monkeypatch.setattr(torch, "set_num_threads", lambda n_threads: None)

    def main(*options: object) -> int:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, options)])
        return train.main()

    return main


def test_a_run_makes_a_model(melodies, tmp_path):
    out = tmp_path / "model"
    command = [sys.executable, SCRIPT, "--smoke", "--melodies", melodies, "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "no_proxy": "*"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    encoder = MelodyEncoder.load(out)
    assert (encoder.dim, encoder.sizes.channels) == (16, 8)
    assert np.isfinite(encoder.embed_song(fill_rests(Melody(np.full(200, 60.0))))).all()
    lines = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0.0 <= line["validation_top1"] <= 1.0 and line["loss"] > 0.0 for line in lines)


def test_an_interrupted_run_ends_like_another(one_thread, train, run, monkeypatch, melodies, tmp_path):
    options = ("--smoke", "--seed", 5, "--melodies", melodies, "--out")
    assert run(*options, tmp_path / "straight") == 0
    with monkeypatch.context() as patch:
        learn = train.Learner.learn

        def until_interrupted(learner, batch):
            if learner.step == 1:
                raise KeyboardInterrupt
            return learn(learner, batch)

        patch.setattr(train.Learner, "learn", until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(*options, tmp_path / "interrupted")
    assert run(*options, tmp_path / "interrupted") == 0
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "interrupted" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name
    assert snapshot_of(tmp_path / "interrupted") == snapshot_of(tmp_path / "straight")
    assert run(*options, tmp_path / "interrupted") == 0  # nothing is left to do
    assert len((tmp_path / "interrupted" / "training.jsonl").read_text().splitlines()) == 2


def test_the_best_encoder_is_kept(train, run, monkeypatch, melodies, tmp_path):
    scores = iter([0.5, 0.2])
    seen = []

    def song_top1(validation, encoder):
        seen.append(encoder.fingerprint)
        return next(scores)

    monkeypatch.setattr(train.Validation, "song_top1", song_top1)
    assert run("--smoke", "--melodies", melodies, "--out", tmp_path) == 0
    assert MelodyEncoder.load(tmp_path).fingerprint == seen[0] != seen[1]


def refused(run, capsys, *options: object) -> str:
    """Run what must end with one line of explanation; return it."""
    assert run("--smoke", *options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train.py: ")]
    return line


def test_another_seed_does_not_go_on(run, capsys, melodies, tmp_path):
    assert run("--smoke", "--melodies", melodies, "--out", tmp_path) == 0
    before = (tmp_path / "model.safetensors").read_bytes()
    assert "another recipe or seed" in refused(run, capsys, "--melodies", melodies, "--out", tmp_path, "--seed", 1)
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "pool.jsonl"),
        (b"", "holds 0 melodies to train on and 0 to validate with"),
        (json.dumps(row(1)).encode(), "1 melodies to train on and 0"),
        (b'{"id": ', "line 1"),
        (b"[1]\n", "line 1"),
        (b'{"id": "x", "source": "mine"}\n', "line 1"),
        (b'{"id": "x", "source": "mine", "in_benchmark": false, "notes": "la"}\n', "line 1"),
        (b"\xff\xfe\n", "pool.jsonl"),
    ],
    ids=["no file", "empty", "one", "cut off", "no object", "no notes", "words", "not text"],
)
def test_melodies_that_cannot_be_used_are_explained(run, capsys, tmp_path, content, words):
    path = tmp_path / "pool.jsonl"
    if content is not None:
        path.write_bytes(content)
    assert words in refused(run, capsys, "--melodies", path, "--out", tmp_path / "out")


def test_a_truncated_archive_is_explained(run, capsys, melodies, tmp_path):
    whole = gzip.compress(melodies.read_bytes())
    (tmp_path / "pool.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert "pool.jsonl.gz" in refused(run, capsys, "--melodies", tmp_path / "pool.jsonl.gz", "--out", tmp_path / "out")


def test_a_damaged_snapshot_is_explained(run, capsys, melodies, tmp_path):
    (tmp_path / "training.safetensors").write_bytes(b"\xff" * 64)
    assert "training.safetensors" in refused(run, capsys, "--melodies", melodies, "--out", tmp_path)


@pytest.mark.parametrize("options", [("--workers", "0"), ("--steps", "0"), ("--steps", "-5")], ids=str)
def test_impossible_numbers_are_refused(run, capsys, melodies, tmp_path, options):
    with pytest.raises(SystemExit, match="2"):
        run("--smoke", "--melodies", melodies, "--out", tmp_path, *options)
    assert "at least 1" in capsys.readouterr().err
