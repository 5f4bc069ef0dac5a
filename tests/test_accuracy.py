"""Retrieval metrics against numbers worked out by hand, and the tables of hums that every evaluation reads."""

import json
from pathlib import Path

import numpy as np
import pytest
from script_modules import loaded_script

from hmm2song.errors import Hmm2SongError
from hmm2song.evaluation.accuracy import Query, estimate, rank_of, read_queries, retrieval_scores

RANKS = [1, 2, 0, 4, 11]


@pytest.mark.parametrize(
    ("acceptable", "rank"), [({"a"}, 1), ({"c"}, 3), ({"d", "b"}, 2), ({"x"}, 0), (set(), 0), (["c", "a"], 1)]
)
def test_rank_is_the_place_of_the_first_acceptable(acceptable, rank):
    assert rank_of(["a", "b", "c", "d"], acceptable) == rank


def test_metrics_by_hand():
    scores = retrieval_scores(RANKS)
    assert scores.n == 5
    assert scores.top1.value == pytest.approx(1 / 5)
    assert scores.top3.value == pytest.approx(2 / 5)
    assert scores.top10.value == pytest.approx(3 / 5)
    assert scores.mrr.value == pytest.approx((1 + 1 / 2 + 0 + 1 / 4 + 1 / 11) / 5)


@pytest.mark.parametrize(("ranks", "value"), [([1] * 20, 1.0), ([0] * 20, 0.0), ([1], 1.0)])
def test_unanimous_ranks_leave_no_doubt(ranks, value):
    scores = retrieval_scores(ranks)
    for metric in (scores.top1, scores.top3, scores.top10, scores.mrr):
        assert (metric.value, metric.low, metric.high) == (value, value, value)


def test_the_interval_is_that_of_a_proportion():
    top1 = retrieval_scores([1, 0] * 200).top1
    half_width = 1.96 * np.sqrt(0.25 / 400)
    assert (top1.low, top1.high) == pytest.approx((0.5 - half_width, 0.5 + half_width), abs=0.01)


def test_an_interval_of_differences_may_be_negative():
    gain = estimate(np.repeat([-1.0, 0.0, 1.0], (10, 70, 20)))
    assert gain.value == pytest.approx(0.1)
    half_width = 1.96 * np.sqrt((0.3 - 0.1**2) / 100)
    assert (gain.low, gain.high) == pytest.approx((0.1 - half_width, 0.1 + half_width), abs=0.02)


def test_the_same_seed_gives_the_same_interval():
    first, second, other = (retrieval_scores(RANKS * 5, seed) for seed in (0, 0, 1))
    assert first == second
    assert first.mrr.value == other.mrr.value
    assert first.mrr != other.mrr


def test_scores_as_json():
    scores = json.loads(json.dumps(retrieval_scores(RANKS).to_dict()))
    assert set(scores) == {"n", "top1", "top3", "top10", "mrr"}
    assert (scores["n"], scores["top3"]["value"], scores["mrr"]["value"]) == (5, 0.4, 0.3682)
    assert all(set(scores[name]) == {"value", "low", "high"} for name in ("top1", "top3", "top10", "mrr"))


# Tables of hums -------------------------------------------------------------------------------------------


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "queries.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_as_spreadsheets_write_them(tmp_path):
    path = table(tmp_path, "\ufeffyear,song_id,file,singer\r\n1,a | b|,x/1.wav, kim \r\n2,c, 2.wav\r\n")
    assert read_queries(path) == [
        Query(tmp_path / "x/1.wav", "x/1.wav", ("a", "b"), "kim"),
        Query(tmp_path / "2.wav", "2.wav", ("c",), ""),
    ]


def test_the_singer_need_not_be_known(tmp_path):
    assert read_queries(table(tmp_path, "file,song_id\n1.wav,a\n"))[0].singer == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "at least one row"),
        ("file,song_id\n", "at least one row"),
        ("file,title\n1.wav,a\n", "the columns file,song_id"),
        ("file,song_id\n1.wav\n", "row 1: file or song_id is empty"),
        ("file,song_id\n1.wav,a\n,b\n", "row 2: file or song_id is empty"),
        ("file,song_id\n1.wav,|\n", "row 1: file or song_id is empty"),
        (b"file,song_id\n\xff\xfe,a\n", "not a CSV in UTF-8"),
        ("file,song_id\n" + "x" * 200_000 + ",a\n", "not a CSV in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(tmp_path, content, message):
    with pytest.raises(Hmm2SongError, match=message):
        read_queries(table(tmp_path, content))


def test_a_missing_table_is_explained(tmp_path):
    with pytest.raises(
        Hmm2SongError, match=r"none\.csv: No such file or directory; give a CSV with the columns file,song_id"
    ):
        read_queries(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "options"), [("ablate", ["--model", "model"]), ("fit_confidence", []), ("evaluate", [])]
)
def test_scripts_say_it_in_a_line(name, options, tmp_path, monkeypatch, capsys):
    songs = tmp_path / "songs.jsonl"
    songs.write_text('{"id": "a", "notes": [[0, 1, 60], [1, 1, 64], [2, 1, 62]]}\n')
    command = [name, "--queries", tmp_path / "none.csv", "--songs", songs, *options]
    monkeypatch.setattr("sys.argv", [str(part) for part in command])
    with loaded_script(name) as script:
        assert script.main() == 2
    assert capsys.readouterr().err.startswith(f"{name}.py: {tmp_path / 'none.csv'}: No such file")
