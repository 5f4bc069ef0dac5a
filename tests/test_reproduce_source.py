"""scripts/studies/reproduce_source.py: which clips are looked up, what counts as right, and the tables."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from clip_sets import make_clip_set
from humming import tune
from script_modules import script_fixture

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import ModelError
from hmm2song.evaluation.baselines.mel_cnn.network import ConvSubnet
from hmm2song.evaluation.baselines.mel_cnn.training import MelRecipe, split_clips
from hmm2song.melody.pitch import track_pitch

script = script_fixture("reproduce_source")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four songs; the first and the last have the same genre and gender but for a text that is not the same."""
    return make_clip_set(tmp_path_factory.mktemp("clips") / "set", (2, 1, 2, 2))


def test_the_own_test_asks_for_what_was_nearly_seen(script, clips):
    split = split_clips(clips, MelRecipe(n_held_out_songs=1), seed=0)
    seen = {(int(clip), int(kind)) for clip, kind in split.hums_to_learn()}
    own, held_out = script.seen_test(split), script.held_out_test(split)
    assert set(own.clips) == {clip for clip, _ in seen}
    for clip, kind in zip(own.clips, own.kinds, strict=True):
        assert (clip, kind) not in seen and sum(other == clip for other, _ in seen) == 4
    assert not set(own.clips) & set(held_out.clips) and set(own.clips) | set(held_out.clips) == set(range(7))
    asked = list(zip(held_out.clips, held_out.kinds, strict=True))
    assert len(set(asked)) == len(asked) == 5 * len(set(held_out.clips))


def test_right_clip_and_right_song_are_counted_apart(script, clips):
    everything = script.Lookup(np.arange(7), np.zeros(7, int))
    same_song = clips.clip_song[:, None] == clips.clip_song  # every song here has another genre or gender
    np.testing.assert_array_equal(script.buckets(clips, everything), same_song)
    test = script.Lookup(np.array([0, 1, 3, 6]), np.zeros(4, int))
    nearness = np.ones((4, 7))
    nearness[[0, 1, 2, 3], [0, 0, 4, 2]] = 0.0  # right; right song; right song; wrong
    row = script.row_of(clips, test, nearness, "x", "l2")
    shares = [row[name]["value"] for name in ("clip", "song", "clip_in_bucket", "song_in_bucket")]
    assert shares == [0.25, 0.75, 0.25, 1.0]  # 6 ties with 5, which is first
    assert script.chance(clips, test) == {
        "clip": pytest.approx(1 / 7, abs=1e-4), "song": pytest.approx(2 / 7, abs=1e-4),
        "clip_in_bucket": 0.5, "song_in_bucket": 1.0,
    }  # fmt: skip
    found = np.array([True, False, True, True])
    assert script.by_filter(script.Lookup(test.clips, np.array([0, 0, 4, 4])), found) == {"fh": 0.5, "n": 1.0}


@pytest.fixture
def reproduce(script, monkeypatch, clips):
    """Run the command without training and without the other scripts; return its exit code."""

    def train(clips, recipe, seed, out, progress):
        progress(1, 2, 0.5)
        ConvSubnet.untrained(seed=1).save(out)

    monkeypatch.setattr(script, "train_conv_subnet", train)

    def main(*options: object) -> int:
        return script.main(["--clips", str(clips.folder), *map(str, options)])

    return main


def test_one_command_prints_the_tables(script, reproduce, tmp_path, monkeypatch, capsys):
    calls = []

    def run(command, **_):
        calls.append(command[1:])
        low = {"value": 0.5, "low": 0.25, "high": 0.75}
        figures = {"n": 3, "n_songs": 4, "top1": low, "top10": low, "mrr": low}
        Path(command[command.index("--json") + 1]).write_text(json.dumps(figures))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(script, "UNTRAINED_SEEDS", range(1))
    hums = ("--hums", tmp_path / "queries.csv", "--songs", tmp_path / "songs.jsonl")
    assert reproduce("--out", tmp_path / "out", "--held-out-songs", 1, *hums) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    rows = report["own"]["rows"]
    assert [(row["embedding"], row["distance"]) for row in rows[:3]] == [
        ("raw log-mel", name) for name in ("l2", "cosine", "cosine-as-distance")
    ]
    assert len(rows) == 3 + 1 + 3 and rows[0]["clip"]["value"] == rows[0]["song"]["value"] == 1.0  # noise of 3 dB
    assert rows[2]["clip"]["value"] == 0.0  # the sign error finds another
    assert set(report["held_out"]["by_filter"]["raw log-mel"]) == {"fh", "fl", "mh", "ml", "n"}
    assert [Path(command[0]).name for command in calls] == ["evaluate.py"] * 4
    assert "--songs" in calls[-1] and "mel" not in calls[-1]
    told = capsys.readouterr().out
    assert "| raw log-mel | l2 | 1.000 [1.000, 1.000]" in told
    assert "| chance | 0.250 | 1.000 | 0.521 |" in told  # of four songs
    assert "| ours, melodies of the scores | 0.500 [0.250, 0.750]" in told
    tables = [line for line in told.splitlines() if line.startswith("|")]
    assert len(tables) == 2 * (10 + 5) + 7


def test_written_songs_are_sung_as_written(script, tmp_path, monkeypatch):
    songs = tmp_path / "songs.jsonl"
    songs.write_text("".join(json.dumps({"id": f"t{n}", "title": f"T {n}", "notes": tune(n)}) + "\n" for n in (1, 2)))
    called = []
    monkeypatch.setattr(script, "call", lambda *command: called.append(command))
    assert script.sung_clips(songs, tmp_path) == tmp_path / "clips"
    assert called[0][0] == "build_dataset.py" and called[0][2] == tmp_path / "music" / "info.csv"
    with (tmp_path / "music" / "info.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["path"]) for row in rows] == [("t1", "0000.flac"), ("t2", "0001.flac")]
    samples, rate_hz = soundfile.read(tmp_path / "music" / "0001.flac", dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    notes = np.array(tune(2))
    assert len(samples) / rate_hz == pytest.approx(notes[-1, 0] + notes[-1, 1], abs=0.1)
    melody = track_pitch(samples).melody
    heard = np.array([np.nanmedian(melody.slice_s(at + 0.1, at + 0.25).pitch_midi) for at in notes[:, 0]])
    off_st = (heard - notes[:, 2]) - np.nanmedian(heard - notes[:, 2])
    assert np.nanquantile(np.abs(off_st), 0.9) < 0.5


def test_what_fails_is_explained_in_one_line(script, reproduce, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ModelError("too few clips")

    hums = ("--hums", tmp_path / "queries.csv", "--songs", tmp_path / "songs.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(script, "measure", lambda *_: {})
        assert reproduce("--out", tmp_path / "out", "--held-out-songs", 1, *hums) == 2  # there is no such table
        assert "reproduce_source.py: evaluate.py ended with 2, see above" in capsys.readouterr().err
    monkeypatch.setattr(script, "train_conv_subnet", fail)
    assert reproduce("--out", tmp_path / "out") == 2
    assert "reproduce_source.py: too few clips" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--hums", "x.csv"), "--hums goes with --songs"),
        (("--people-songs", "x.jsonl"), "--people with --people-songs"),
        (("--held-out-songs", 0), "at least 1"),
        (("--epochs", 0), "at least 1"),
    ],
)
def test_impossible_options_are_refused(reproduce, tmp_path, capsys, options, words):
    with pytest.raises(SystemExit, match="2"):
        reproduce("--out", tmp_path, *options)
    assert words in capsys.readouterr().err
