"""measure_joined.py: which recordings are paired, what is counted, and a run over hums with known answers."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from humming import hum
from script_modules import run_script, script_fixture
from serving import MiniatureCatalog

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import Hmm2SongError
from hmm2song.evaluation.accuracy import Query
from hmm2song.training.singer import FLAWLESS

HUM_S = 8.0


script = script_fixture("measure_joined")


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hums of s2, of which one is silence, two of s5, and one that is not there."""
    folder = tmp_path_factory.mktemp("hums")
    for name, samples in (
        ("two.flac", hum(FLAWLESS, (2, HUM_S))),
        ("silence.flac", np.zeros(4 * SAMPLE_RATE_HZ, np.float32)),
        ("five.flac", hum(FLAWLESS, (5, HUM_S))),
        ("five again.flac", hum(FLAWLESS, (5, HUM_S + 1))),
    ):
        soundfile.write(folder / name, samples, SAMPLE_RATE_HZ)
    rows = (
        "two.flac,s2,a",
        "silence.flac,s2,b",
        "five.flac,s5|nobody,a",
        "five again.flac,s5|nobody,b",
        "gone.flac,s7,c",
    )
    (folder / "queries.csv").write_text("file,song_id,singer\n" + "\n".join(rows) + "\n")
    return folder / "queries.csv"


@pytest.fixture
def run(capsys):
    return lambda *options: (run_script("measure_joined", *options), *capsys.readouterr())


def hums_of(script: ModuleType, *songs_and_singers: str) -> list:
    """Each is a song and a singer, one letter each."""
    return [
        Query(Path(f"{number}.flac"), f"{number}.flac", (song,), singer.strip())
        for number, (song, singer) in enumerate(songs_and_singers)
    ]


# Pairs --------------------------------------------------------------------------------------------------


def test_pairs_are_of_one_song_and_two_singers_and_nothing_is_used_twice(script):
    hums = hums_of(script, "xa", "xa", "xb", "xc", "ya", "ya", "yb", "za", "zd", "zd")
    for seed in range(20):
        pairs = script.choose_pairs(hums, 99, seed)
        assert 3 <= len(pairs) <= 4
        used = [each.file for pair in pairs for each in pair]
        assert len(used) == len(set(used))
        assert all(a.acceptable == b.acceptable and a.singer != b.singer for a, b in pairs)
        assert pairs == script.choose_pairs(hums, 99, seed)
    assert len(script.choose_pairs(hums, 2, 0)) == 2
    assert script.describe_singers(pairs) == "by two different people"


def test_unknown_singers_are_paired_and_said_to_be_unknown(script):
    pairs = script.choose_pairs(hums_of(script, "x ", "x ", "yb", "ya"), 9, 0)
    assert len(pairs) == 2
    assert script.describe_singers(pairs) == "the table does not say by whom"


def test_where_nobody_hums_what_another_hums_there_are_no_pairs(script):
    hums = hums_of(script, "xa", "xa", "yb")
    with pytest.raises(Hmm2SongError, match="no song has two recordings"):
        script.choose_pairs(hums, 1, 0)
    assert script.choose_pairs(hums, 0, 0) == []


# Figures ------------------------------------------------------------------------------------------------


def test_the_figures_of_known_ranks(script):
    ranks = script.collect([(1, 1, 1), (1, 2, 1), (0, 1, 1), (5, 0, 2)])
    report = script.summarise(ranks, seed=0)
    assert report["n"] == 4
    assert [report[name]["top1"]["value"] for name in script.COLUMNS] == [0.5, 0.5, 0.75]
    assert (report["joined"]["mrr"]["value"], report["first"]["top10"]["value"]) == (0.875, 0.75)
    assert report["gain_over_first"]["value"] == report["gain_over_second"]["value"] == 0.25
    assert report["where_first_missed"] == {"n": 2, "second": 0.5, "joined": 0.5}
    assert report["where_first_right"] == {"n": 2, "joined": 1.0}


def test_nothing_has_no_share(script):
    assert script.share(np.zeros(0, bool)) is None
    report = script.summarise(script.collect([(1, 1, 1)]), seed=0)
    assert report["where_first_missed"] == {"n": 0, "second": None, "joined": None}


def test_a_recording_is_cut_in_its_middle(script):
    first, second = script.split(np.arange(7, dtype=np.float32))
    assert (first.tolist(), second.tolist()) == ([0, 1, 2], [3, 4, 5, 6])


# The whole script ---------------------------------------------------------------------------------------


def test_a_run(run, queries: Path, catalog: MiniatureCatalog, tmp_path: Path):
    out = tmp_path / "joined.json"
    code, said, complained = run(
        "--queries", queries, "--catalog", catalog.folder, "--pairs", 2, "--halves", 5, "--json", out
    )
    assert code == 0, complained
    report = json.loads(out.read_text())
    pairs, halves = report["pairs"], report["halves"]
    assert pairs["n"] == 2 and pairs["joined"]["top1"]["value"] == 1.0  # silence adds nothing and takes nothing
    assert pairs["first"]["top1"]["value"] + pairs["second"]["top1"]["value"] == 1.5
    assert halves["n"] == 5 and halves["joined"]["top1"]["value"] == 0.6  # one is silent, one is not there
    assert "counts as missed" in complained and "gone.flac" in complained
    assert "two hums of a song, by two different people: n 2\n" in said and "the two halves of a hum: n 5\n" in said
    assert "joined   1.000 [1.000, 1.000]" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--queries", "/no/such.csv"], "/no/such.csv: No such file"),
        (["--catalog", "/no/such"], "/no/such"),
        (["--pairs", "-1"], "must not be negative"),
        (["--pairs", "0", "--halves", "0"], "not both 0"),
        (["--json", "/no/such/out.json"], "there is no folder /no/such"),
    ],
)
def test_bad_input_is_one_line(run, queries: Path, catalog: MiniatureCatalog, options: list[str], expected: str):
    code, _, complained = run("--queries", queries, "--catalog", catalog.folder, *options)
    assert code == 2 and expected in complained.splitlines()[-1]
