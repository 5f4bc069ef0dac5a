"""Training the melody encoder: what is learned from and what is not, pairs that belong together, runs that continue."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import TINY_SIZES, IntervalEncoder
from humming import tune
from script_modules import loaded_script
from snapshots import snapshot_of
from torch import nn

from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import Hmm2SongError
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.training import learner as learning
from hmm2song.training import pairs
from hmm2song.training.learner import Learner, Validation, contrastive_loss, learning_rate
from hmm2song.training.pairs import MelodyPool, make_batch, read_ids
from hmm2song.training.recipe import Recipe
from hmm2song.training.singer import FLAWLESS
from hmm2song.training.snapshot import average
from hmm2song.training.tracker import tracked, transcribed

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "train.py"
N_MELODIES = 40


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
def recipe() -> Recipe:
    """A recipe for a tiny network."""
    return replace(
        Recipe(), network=TINY_SIZES, n_steps=4, n_hums=8, n_validation_hums=6, n_warmup_steps=2, validate_every=2
    )


@pytest.fixture(scope="module")
def songs(melodies) -> list:
    return MelodyPool(melodies).read()[0]


# Which melodies -----------------------------------------------------------------------------------------


def onsets(songs: list) -> set[tuple[float, ...]]:
    """Tell melodies apart by when their notes begin."""
    return {tuple(song.notes[:, 0]) for song in songs}


def all_read(path: Path, excluded: frozenset[str] = frozenset()) -> set[tuple[float, ...]]:
    learned, held_out = MelodyPool(path, excluded).read()
    assert not onsets(learned) & onsets(held_out)
    return onsets(learned + held_out)


@pytest.mark.parametrize(
    "fields",
    [{"in_benchmark": True}, {"dup_of_earlier": True}, {"notes": [[0.0, 1.0, 60]]}, {"notes": []},
     {"notes": [[0.0, -1.0, 60.0]]}]
    + [{"source": source} for source in ("essen", "symbtr", "nova_scotia")],
    ids=str,
)  # fmt: skip
def test_what_may_not_or_cannot_be_learned_from_is_left_out(tmp_path, fields):
    rows = [row(number) for number in range(N_MELODIES)]
    without = all_read(write_rows(tmp_path / "without.jsonl", rows))
    unusable = [row(100 + number, **fields) for number in range(30)]
    assert all_read(write_rows(tmp_path / "with.jsonl", [*unusable, *rows])) == without
    assert len(without) == N_MELODIES


def test_excluded_ids_are_neither_learned_from_nor_held_out(melodies, tmp_path):
    table = tmp_path / "exclude.tsv"
    table.write_text("id\ttitle\n" + "".join(f"tune {number}\tTitle\n" for number in range(5, 30)), encoding="utf-8")
    left = all_read(melodies, read_ids(table))
    kept = [tune(number) for number in range(N_MELODIES) if not 5 <= number < 30]
    assert left == {tuple(np.array(notes)[:, 0]) for notes in kept}


def test_songs_can_be_excluded_by_their_own_file(tmp_path):
    songs = tmp_path / "songs.jsonl"
    songs.write_text('{"id": "a", "title": "A"}\n\n{"id": 7}\n', encoding="utf-8")
    assert read_ids(songs) == {"a", "7"}
    songs.write_text('{"title": "A"}\n', encoding="utf-8")
    with pytest.raises(Hmm2SongError, match=r"songs\.jsonl: line 1: no 'id'"):
        read_ids(songs)


def test_the_same_melodies_are_held_out_in_whatever_file_they_are(melodies, tmp_path):
    held_out = onsets(MelodyPool(melodies).read()[1])
    assert 0 < len(held_out) < N_MELODIES / 4
    with gzip.open(tmp_path / "other.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row(number)) + "\n" for number in reversed(range(N_MELODIES + 20)))
    learned, others_held_out = map(onsets, MelodyPool(tmp_path / "other.jsonl.gz").read())
    assert held_out <= others_held_out and not held_out & learned
    few = onsets(MelodyPool(melodies, limit=3).read()[0])
    assert 3 <= len(few) < N_MELODIES and few <= learned


# Pairs of windows ---------------------------------------------------------------------------------------


def assert_same_batch(first, second) -> None:
    for name in ("hum_pitch_st", "hum_voiced", "song_pitch_st", "song_voiced", "song"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_seed_and_step_decide_the_batch(songs, recipe):
    batch = make_batch(songs, recipe, seed=3, step=5)
    assert_same_batch(batch, make_batch(songs, recipe, seed=3, step=5))
    for seed, step in ((3, 6), (4, 5)):
        other = make_batch(songs, recipe, seed, step)
        assert not np.array_equal(batch.hum_pitch_st[0], other.hum_pitch_st[0], equal_nan=True)


def test_a_batch_holds_windows_of_hums_and_songs(songs, recipe):
    batch = make_batch(songs, recipe, seed=0, step=0)
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
def test_paired_windows_are_the_same_place(songs, recipe, monkeypatch, tempo_ratio):
    monkeypatch.setattr(
        pairs, "GOOD_SINGER", replace(FLAWLESS, tempo_ratio_limits=(tempo_ratio,) * 2, phrase_start_probability=0.0)
    )
    exact = replace(
        recipe, n_hums=20, poor_singer_share=0.0, noisy_song_share=0.0, tempo_residual_log_sd=0.0, start_residual_s=0.0
    )
    batch = make_batch(songs, exact, seed=1, step=0)
    assert np.mean(~np.isnan(batch.hum_pitch_st + batch.song_pitch_st)) > 0.5
    assert share_alike(batch.hum_pitch_st, batch.song_pitch_st) > 0.9  # all but the frames at borders of notes
    assert share_alike(batch.hum_pitch_st, np.roll(batch.song_pitch_st, 6, axis=1)) < 0.8  # a quarter second off
    assert share_alike(batch.hum_pitch_st, np.roll(batch.song_pitch_st, 2, axis=0)) < 0.4  # other songs


@pytest.mark.parametrize(("hear", "least_right", "hears_others"), [(transcribed, 0.9, False), (tracked, 0.6, True)])
def test_a_song_heard_by_a_tracker_is_like_the_written_one(songs, hear, least_right, hears_others):
    written = songs[0].contour
    before = written.pitch_midi.copy()
    others, wrong = 0, []
    for seed in range(20):
        heard = hear(written, np.random.default_rng(seed))
        assert len(heard.pitch_midi) == len(heard.voiced) == len(written.pitch_midi)
        both = heard.voiced & written.voiced
        wrong.append(np.mean(np.abs((heard.pitch_midi - written.pitch_midi)[both]) > 1.0))
        others += np.count_nonzero(heard.voiced & ~written.voiced)
        assert heard.pitch_midi.dtype == np.float32 and both.mean() > 0.5 * written.voiced.mean()
    assert 0.0 < np.mean(wrong) < 1.0 - least_right
    assert (others > 0) == hears_others
    np.testing.assert_array_equal(written.pitch_midi, before)
    for n_frames in (1, 2, 50):
        shortest = FilledContour(np.full(n_frames, 60.0, np.float32), np.ones(n_frames, bool), 0.0)
        for seed in range(5):
            assert np.isfinite(hear(shortest, np.random.default_rng(seed)).pitch_midi).all()


def test_a_share_of_the_songs_is_heard_in_a_mix(songs, recipe):
    written, mixed = (
        make_batch(songs, replace(recipe, noisy_song_share=0.0, tracked_song_share=share), seed=0, step=0).song_pitch_st
        for share in (0.0, 1.0)
    )
    rounded = [np.mean(np.isclose(pitch % 0.5, 0.0, atol=1e-3)[~np.isnan(pitch)]) for pitch in (written, mixed)]
    assert rounded[0] > 0.9 > 0.5 > rounded[1]  # notes are whole numbers, what is tracked is not


# Learning -----------------------------------------------------------------------------------------------

SCALE = torch.tensor(50.0)


@pytest.mark.parametrize(
    ("hums", "windows", "song", "expected"),
    [
        ([0, 1, 2], [0, 1, 2], [0, 1, 2], 0.0),
        ([0, 1, 2], [1, 2, 0], [0, 1, 2], 50.0),
        ([0, 0, 0], [0, 0, 0], [0, 1, 2], math.log(3)),
        ([0, 0, 1], [0, 0, 1], [7, 7, 8], 0.0),  # windows of the same song are no negatives
        ([0, 0, 1], [0, 0, 1], [7, 9, 8], 2 / 3 * math.log(2)),
        ([0, 1], [1, 0], [7, 7], 0.0),  # nor does any other one help
        ([0, 1, 1], [0, 0, 1], [1, 2, 3], (math.log(2) + 50.0) / 3),
    ],
)
def test_the_loss_falls_when_pairs_are_alike_and_others_are_not(hums, windows, song, expected):
    rows = torch.eye(4)  # embeddings
    for first, second in ((hums, windows), (windows, hums)):
        loss = contrastive_loss(rows[first], rows[second], torch.tensor(song), SCALE).item()
        assert loss == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_learning_rate_rises_and_falls():
    recipe = replace(Recipe(), n_steps=1000, n_warmup_steps=100, learning_rate=1.0)
    rate = np.array([learning_rate(step, recipe) for step in range(1000)])
    assert (np.diff(rate[:100]) > 0).all() and (np.diff(rate[100:]) < 0).all()
    assert rate.max() == pytest.approx(0.976, abs=0.01)
    assert 0 < rate[-1] < 1e-4


def test_learning_makes_hums_and_their_songs_alike(songs, recipe):
    learner = Learner(replace(recipe, n_steps=1000, n_warmup_steps=1), seed=0)
    batch = make_batch(songs, recipe, seed=0, step=0)
    losses = [learner.learn(batch) for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]


def learned(learner, songs: list, until: int):
    """Take the steps up to ``until``."""
    for step in range(learner.step, until):
        learner.learn(make_batch(songs, learner.recipe, learner.seed, step))
    return learner


def test_a_run_that_goes_on_learns_the_same(songs, recipe, tmp_path):
    straight = learned(Learner(recipe, 1), songs, until=4)
    first = learned(Learner(recipe, 1), songs, until=2)
    first.best = 0.25
    first.save(tmp_path / "snapshot")
    second = Learner(recipe, 1)
    second.resume(tmp_path / "snapshot")
    assert (second.step, second.best) == (2, 0.25)
    learned(second, songs, until=4)
    assert second.encoder().fingerprint == straight.encoder().fingerprint != first.encoder().fingerprint
    assert torch.equal(second.log_scale, straight.log_scale)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot"]


def test_a_snapshot_of_another_run_is_refused(recipe, tmp_path):
    Learner(recipe, 1).save(tmp_path / "snapshot")
    for other in (Learner(recipe, 2), Learner(replace(recipe, temperature=0.1), 1)):
        with pytest.raises(Hmm2SongError, match="snapshot of another recipe or seed; delete it or choose"):
            other.resume(tmp_path / "snapshot")


# Validation ---------------------------------------------------------------------------------------------


def test_every_run_is_validated_with_the_same_hums(songs, recipe):
    first, second = (Validation.make(songs[:5], recipe) for _ in range(2))
    assert_same_batch(first.hums, second.hums)
    assert len(first.hums.song) <= 5 and len(set(first.hums.song)) == len(first.hums.song)
    assert len(first.song) == len(first.pitch_st) == len(first.voiced)
    assert set(first.song) == set(range(5))


def test_validation_tells_good_embeddings_from_bad(songs, recipe):
    validation = Validation.make(songs, replace(recipe, n_validation_hums=60))
    good, bad = (validation.song_top1(encoder) for encoder in (IntervalEncoder(), MelodyEncoder.untrained(TINY_SIZES)))
    assert 0.2 < good <= 1.0
    assert good > bad + 0.1


# The command --------------------------------------------------------------------------------------------


def inline_batches(pool, recipe, seed, first_step, n_workers):
    """Make the batches in this process: starting others takes seconds."""
    melodies = pool.read()[0]
    yield from (make_batch(melodies, recipe, seed, step) for step in range(first_step, recipe.n_steps))


@pytest.fixture
def run(monkeypatch):
    """Run the command with --smoke in this process; return its exit code."""
    monkeypatch.setattr(learning, "batches", inline_batches)

    def main(*options: object) -> int:
        monkeypatch.setattr(sys, "argv", ["train.py", "--smoke", *map(str, options)])
        with loaded_script("train") as script:
            return script.main()

    return main


def test_a_run_makes_a_model_and_workers_make_the_same(one_thread, run, melodies, tmp_path):
    out = tmp_path / "model"
    command = [sys.executable, SCRIPT, "--smoke", "--melodies", melodies, "--out", out, "--workers", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "no_proxy": "*"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    encoder = MelodyEncoder.load(out)
    assert (encoder.dim, encoder.sizes.channels) == (16, 8)
    assert np.isfinite(encoder.embed_song(fill_rests(Melody(np.full(200, 60.0))))).all()
    lines = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0.0 <= line["validation_top1"] <= 1.0 and line["loss"] > 0.0 for line in lines)
    assert run("--melodies", melodies, "--out", tmp_path / "inline") == 0
    assert MelodyEncoder.load(tmp_path / "inline").fingerprint == encoder.fingerprint


def test_an_interrupted_run_ends_like_another(one_thread, run, monkeypatch, melodies, tmp_path):
    options = ("--seed", 5, "--melodies", melodies, "--out")
    assert run(*options, tmp_path / "straight") == 0
    with monkeypatch.context() as patch:
        learn = Learner.learn

        def until_interrupted(learner, batch):
            if learner.step == 1:
                raise KeyboardInterrupt
            return learn(learner, batch)

        patch.setattr(Learner, "learn", until_interrupted)
        assert run(*options, tmp_path / "interrupted") == 130
    assert run(*options, tmp_path / "interrupted") == 0
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "interrupted" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name
    assert snapshot_of(tmp_path / "interrupted") == snapshot_of(tmp_path / "straight")
    assert run(*options, tmp_path / "interrupted") == 0  # nothing is left to do
    assert len((tmp_path / "interrupted" / "training.jsonl").read_text().splitlines()) == 2


def test_the_best_encoder_is_kept(run, monkeypatch, melodies, tmp_path):
    scores = iter([0.5, 0.2])
    seen = []

    def song_top1(validation, encoder):
        seen.append(encoder.fingerprint)
        return next(scores)

    monkeypatch.setattr(Validation, "song_top1", song_top1)
    assert run("--melodies", melodies, "--out", tmp_path) == 0
    assert MelodyEncoder.load(tmp_path).fingerprint == seen[0] != seen[1]


def test_what_is_learned_for_recordings_joins_the_model_for_written_songs(run, melodies, tmp_path):
    assert run("--melodies", melodies, "--out", tmp_path / "first") == 0
    options = ("--tracked", 0.5, "--average", 0.5, "--written", tmp_path / "first")
    assert run("--melodies", melodies, *options, "--out", tmp_path / "both") == 0
    first, both = (MelodyEncoder.load(tmp_path / name) for name in ("first", "both"))
    assert both.fingerprint == first.fingerprint != both.tracked.fingerprint
    line = json.loads((tmp_path / "both" / "training.jsonl").read_text().splitlines()[-1])
    assert 0.0 <= line["validation_tracked_top1"] <= 1.0


@pytest.mark.parametrize(("share", "expected"), [(1.0, 4.0), (0.5, 3.125)])
def test_the_weights_that_are_kept_are_an_average_of_late_steps(share, expected):
    averaged, newest = nn.Linear(1, 1), nn.Linear(1, 1)
    for step, value in enumerate((1.0, 2.0, 3.0, 4.0), start=1):
        nn.init.constant_(newest.weight, value)
        average(averaged, newest, max(share, 1.0 / step))
    assert averaged.weight.item() == pytest.approx(expected)


def refused(run, capsys, *options: object) -> str:
    """Run what must end with one line of explanation; return it."""
    assert run(*options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train.py: ")]
    return line


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pool.jsonl", None, "pool.jsonl"),
        ("pool.jsonl", b"", "holds 0 melodies to train on and 0 to validate with"),
        ("pool.jsonl", json.dumps(row(1)).encode(), "1 melodies to train on and 0"),
        ("pool.jsonl", b'{"id": ', "line 1"),
        ("pool.jsonl", b'{"id": "x", "source": "mine"}\n', "line 1"),
        ("pool.jsonl", b'{"id": "x", "source": "mine", "in_benchmark": false, "notes": "la"}\n', "holds 0 melodies"),
        ("pool.jsonl", b"\xff\xfe\n", "pool.jsonl"),
        ("pool.jsonl.gz", gzip.compress(json.dumps(row(1)).encode())[:200], "pool.jsonl.gz"),
        ("out/training.safetensors", b"\xff" * 64, "training.safetensors"),
    ],
    ids=["no file", "empty", "one", "cut off", "no notes", "words", "no text", "cut archive", "snapshot"],
)
def test_files_that_cannot_be_used_are_explained(run, capsys, melodies, tmp_path, name, content, words):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if content is not None:
        path.write_bytes(content)
    pool = path if name.startswith("pool") else melodies
    assert words in refused(run, capsys, "--melodies", pool, "--out", tmp_path / "out")


def test_impossible_numbers_are_refused(run, capsys, melodies, tmp_path):
    for option, value, words in (("--steps", "-5", "at least 1"), ("--tracked", "1.5", "not from 0 to 1")):
        with pytest.raises(SystemExit, match="2"):
            run("--melodies", melodies, "--out", tmp_path, option, value)
        assert words in capsys.readouterr().err
