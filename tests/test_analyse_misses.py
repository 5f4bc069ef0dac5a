"""analyse_misses.py: the rules on made-up measurements, the measurements on melodies known, and a whole run."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from humming import hum, tune
from script_modules import script_fixture

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.evaluation.accuracy import Query
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.melody.pitch import track_pitch
from hmm2song.recognizer import Recognizer
from hmm2song.script import Journal
from hmm2song.training.singer import FLAWLESS

HUM_S = 8.0
QUERIES = (
    # file, the song it is said to be of; the last two are of another one
    ("two.flac", "s2"),
    ("three.flac", "s3"),
    ("four.flac", "s4"),
    ("not five.flac", "s5"),
    ("not six.flac", "s6"),
)
HUMMED = (2, 3, 4, 7, 8)


script = script_fixture("analyse_misses")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with hums, of which two are labelled wrongly, and the tables that the script reads."""
    folder = tmp_path_factory.mktemp("hums")
    for (name, _), number in zip(QUERIES, HUMMED, strict=True):
        soundfile.write(folder / name, hum(FLAWLESS, (number, HUM_S)), SAMPLE_RATE_HZ)
    header, rows = "file,song_id\n", [f"{name},{song}\n" for name, song in QUERIES]
    (folder / "queries.csv").write_text(header + "".join(rows))
    (folder / "missed.csv").write_text(header + "".join(rows[3:]))
    (folder / "titles.jsonl").write_text(json.dumps({"id": "s5", "title": "Fünf"}) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def run(script, folder, catalog, tmp_path, capsys, monkeypatch):
    """Run the script, with the first tracker in place of the second one, which takes seconds."""

    def track(samples: np.ndarray, hop_length: int, **_: object) -> tuple[np.ndarray, np.ndarray, None]:
        heard = track_pitch(samples)
        f0_hz = np.interp(np.arange(0, len(samples), hop_length) / SAMPLE_RATE_HZ, heard.time_s, heard.f0_hz)
        return f0_hz, f0_hz > 0, None

    monkeypatch.setattr(script.load_librosa(), "pyin", track)

    def call(*options: object) -> tuple[int, str, str]:
        usual = {f"--{name}": folder / f"{name}.csv" for name in ("queries", "missed")}
        usual |= {"--catalog": catalog.folder, "--work": tmp_path / "work.jsonl"}
        chosen = [word for name, value in usual.items() if name not in options for word in (name, value)]
        try:
            code = script.main([str(word) for word in (*chosen, *options)])
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def usual(script):
    return script.UsualBounds(0.8, gain_st=0.3, cost_lead_st=0.05, score_lead_st=0.05, likeness_st=0.55,
                        pitch_agreement=0.85, voicing_agreement=0.75)  # fmt: skip


@pytest.fixture
def miss(script):
    """A hum that cost far more than usual on its song and was heard alike by both trackers."""
    return script.Measurement(
        file="hum.flac",
        rank=5,
        voiced_share=0.8,
        truth=script.Side("s1", cost_st=1.2, vote=0.5, forced_st=1.2, halves_st=1.1),
        rival=script.Side("s2", cost_st=0.9, vote=0.6, forced_st=0.9, halves_st=0.8),
        likeness_st=0.7,
        second=script.SecondHearing(pitch_agreement=0.95, voicing_agreement=0.9, rank=6, forced_st=1.2),
    )


# The rules ----------------------------------------------------------------------------------------------


def changed(miss, **fields: object):
    """The miss with other fields; ``truth_...``, ``rival_...`` and ``second_...`` are fields of these."""
    for name in ("truth", "rival", "second"):
        inner = {key.removeprefix(f"{name}_"): fields.pop(key) for key in [*fields] if key.startswith(f"{name}_")}
        fields[name] = replace(getattr(miss, name), **inner)
    return replace(miss, **fields)


@pytest.mark.parametrize(
    ("cause", "fields"),
    [
        ("singer", {}),
        ("matching", {"truth_forced_st": 0.85}),  # placed as well as can be, the song is ahead
        ("matching", {"truth_forced_st": 0.85, "truth_cost_st": None, "truth_vote": None, "rank": 0}),
        ("singer", {"truth_forced_st": 0.86}),
        ("singer", {"truth_forced_st": 0.86, "truth_cost_st": None, "truth_vote": None, "rank": 0}),
        ("version", {"likeness_st": 0.2}),
        ("singer", {"likeness_st": 0.21}),
        ("version", {"likeness_st": 0.1, "truth_forced_st": 0.8}),  # which of two versions comes first is a toss
        ("ambiguous", {"likeness_st": 0.55, "truth_forced_st": 0.8, "truth_halves_st": 0.7, "rival_forced_st": 0.5}),
        ("chance", {"likeness_st": 0.56, "truth_forced_st": 0.8, "truth_halves_st": 0.7, "rival_forced_st": 0.5}),
        ("tracker", {"second_pitch_agreement": 0.8, "second_rank": 1}),
        ("tracker", {"second_voicing_agreement": 0.7, "second_rank": 1}),
        ("tracker", {"second_pitch_agreement": 0.8, "second_forced_st": 0.8}),
        ("singer", {"second_pitch_agreement": 0.8, "second_forced_st": 0.81}),  # the other one hears no better tune
        ("singer", {"second_rank": 1}),  # they hear the same
        ("jump", {"truth_forced_st": 1.2, "truth_halves_st": 0.79, "rival_forced_st": 0.7}),
        ("singer", {"truth_forced_st": 1.2, "truth_halves_st": 0.8, "rival_forced_st": 0.7}),
        ("jump", {"truth_forced_st": 1.05, "truth_halves_st": 0.74, "rival_forced_st": 0.7}),
        ("singer", {"truth_forced_st": 1.05, "truth_halves_st": 0.76, "rival_forced_st": 0.7}),
        ("jump", {"truth_forced_st": 0.79, "truth_halves_st": 0.48, "rival_forced_st": 0.7}),
    ],
    ids=str,
)
def test_the_cause_of_a_miss(script, miss, usual, cause, fields):
    assert script.cause_of(changed(miss, **fields), usual) == cause


def test_votes_count_where_the_song_was_ranked(script, miss, usual):
    worth_st = 0.2 * script.VOTE_WEIGHT_ST
    for short_st, cause in ((0.04, "singer"), (0.06, "matching")):
        ranked = changed(miss, truth_forced_st=0.9 + worth_st - short_st, truth_vote=0.8)
        assert script.cause_of(ranked, usual) == cause
        assert script.cause_of(changed(ranked, truth_vote=None, truth_cost_st=None), usual) == "singer"


def test_every_cause_is_told(script, miss, usual, capsys):
    script.print_report([miss] * len(script.CAUSES), list(script.CAUSES), usual, 7, {"s1": "One"})
    said = capsys.readouterr().out
    assert "7 misses, measured against 7 hits" in said
    for cause in script.CAUSES:
        assert f"{cause:10s}   1     0     1     0" in said
    assert "One: rank 5, cost 1.20/1.20/1.10; answered s2, cost 0.90/0.90/0.80; likeness 0.70" in said


def test_what_is_usual_holds_for_all_but_a_twentieth(script, miss):
    hits = [
        replace(
            miss,
            rank=1,
            truth=replace(miss.truth, forced_st=number / 100, halves_st=number / 400),
            likeness_st=number / 50,
            second=script.SecondHearing(number / 100, number / 200, 1, 0.0),
        )
        for number in range(101)
    ]
    expected = script.UsualBounds(0.95, gain_st=0.7125, cost_lead_st=-0.05, likeness_st=1.0,
                            score_lead_st=-0.05 - 0.1 * script.VOTE_WEIGHT_ST,
                            pitch_agreement=0.05, voicing_agreement=0.025)  # fmt: skip
    assert asdict(script.usual_of(hits)) == pytest.approx(asdict(expected))


# The measurements ---------------------------------------------------------------------------------------


def test_trackers_agree_frame_by_frame(script):
    one = Melody(np.array([60, 60, 60, 60, np.nan, 60, np.nan]))
    other = Melody(np.array([60.4, 72, 60, np.nan, 60, 60.6, np.nan, 60]))
    assert script.agreement(one, other) == (0.5, 4 / 6)
    assert script.agreement(one, Melody(np.full(7, np.nan))) == (0.0, 0.0)


def test_a_passage_is_found_in_any_key_and_at_another_tempo(script):
    songs = {"a": tune(1), "b": tune(2)}
    ranker = SimpleNamespace(
        catalog=SimpleNamespace(melody=lambda song_id: melody_from_notes(songs[song_id]))  # all that is asked for
    )
    faster = [[onset_s / 1.5, duration_s / 1.5, midi - 17] for onset_s, duration_s, midi in tune(1)[10:30]]
    passage = fill_rests(melody_from_notes(faster))
    right, wrong = script.force(ranker, passage, "a"), script.force(ranker, passage, "b")
    assert right.cost_st < 0.25 < 0.5 < wrong.cost_st
    assert right.passage.duration_s == pytest.approx(1.5 * passage.duration_s, rel=0.1)
    assert right.passage.offset_s == pytest.approx(tune(1)[10][0], abs=0.5)


def test_a_jump_in_the_middle_costs_the_whole_and_not_the_halves(script, catalog, folder):
    ranker = Recognizer.from_pretrained(catalog.folder).ranker
    steady = np.asarray(melody_from_notes(tune(4)).pitch_midi[50:250])
    jumped = np.concatenate((steady[:100], steady[100:] + 5))
    costs = {}
    for name, pitch_midi in (("steady", steady), ("jumped", jumped)):
        hum = fill_rests(Melody(pitch_midi))
        costs[name] = script.side(ranker, script.ranked(ranker, hum), hum, "s4")
    assert costs["steady"].forced_st == pytest.approx(costs["steady"].halves_st, abs=0.1)
    assert costs["jumped"].forced_st > 0.8 and costs["jumped"].halves_st < 0.2


def test_the_order_is_that_of_the_page(script, catalog, folder):
    recognizer = Recognizer.from_pretrained(catalog.folder)
    result = recognizer.recognize(folder / "not five.flac")
    found = script.ranked(recognizer.ranker, fill_rests(result.hum))
    assert found.ids[:10] == tuple(match.id for match in result.matches)
    measured = script.measure(recognizer.ranker, Query(folder / "not five.flac", "not five.flac", ("s5",)))
    assert measured.rank == found.ids.index("s5") + 1 > 1
    assert measured.rival.song_id == found.ids[0] == "s7"
    assert measured.rival.cost_st == pytest.approx(found.cost_st[0])
    assert measured.rival.forced_st < 0.5 < measured.truth.forced_st
    assert measured.second.pitch_agreement > 0.8 and measured.second.rank > 1


def test_a_hum_of_nothing_cannot_be_measured(script, catalog, tmp_path):
    soundfile.write(tmp_path / "silence.flac", np.zeros(SAMPLE_RATE_HZ, np.float32), SAMPLE_RATE_HZ)
    with pytest.raises(MelodyError, match="silence.flac: 0 s of melody"):
        recognizer = Recognizer.from_pretrained(catalog.folder)
        script.measure(recognizer.ranker, Query(tmp_path / "silence.flac", "silence.flac", ("s1",)))


# What is kept -------------------------------------------------------------------------------------------


def test_measurements_come_back_and_a_torn_line_is_left_out(script, miss, tmp_path):
    path = tmp_path / "work.jsonl"
    Journal(path).remembered("hum.flac", lambda: asdict(miss))
    with path.open("a") as file:
        file.write(path.read_text()[:50])
    again = Journal(path)
    assert script.as_measurement(again.remembered("hum.flac", pytest.fail)) == miss
    assert again.get("hum.flac") == asdict(miss) and again.get("other.flac") is None
    again.remembered("other.flac", lambda: asdict(replace(miss, rank=0)))
    assert [Journal(path).remembered(name, pytest.fail)["rank"] for name in ("hum.flac", "other.flac")] == [5, 0]
    for content in (b"no json\n", b'{"file": "x"}\n', b"\xff\n"):
        path.write_bytes(content)
        with pytest.raises(Hmm2SongError, match="holds something else"):
            Journal(path)
        assert path.read_bytes() == content


# The whole script ---------------------------------------------------------------------------------------


def test_a_run_and_a_second_one_that_measures_nothing_again(script, run, folder, tmp_path, monkeypatch):
    options = ("--titles", folder / "titles.jsonl", "--csv", tmp_path / "misses.csv", "--hits", 3)
    code, said, complained = run(*options)
    assert code == 0, complained
    assert "2 misses, measured against 3 hits" in said
    assert "Fünf: rank" in said and "s6: rank" in said and "answered s7" in said
    with (tmp_path / "misses.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {"not five.flac", "not six.flac"}
    assert {row["rival_song_id"] for row in rows} == {"s7", "s8"} and {row["cause"] for row in rows} <= {"singer"}
    assert [row["title"] for row in rows if row["truth_song_id"] == "s5"] == ["Fünf"]
    assert (tmp_path / "work.jsonl").read_text().count("\n") == 5
    monkeypatch.setattr(script, "measure", None)
    assert run(*options)[:2] == (0, said)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--queries", "/no/such.csv"], "/no/such.csv: No such file"),
        (["--missed", "/no/such.csv"], "/no/such.csv: No such file"),
        (["--titles", "/no/such.jsonl"], "/no/such.jsonl: No such file"),
        (["--catalog", "/no/such"], "/no/such"),
        (["--hits", "0"], "must be at least 1"),
        (["--csv", "/no/such/out.csv"], "there is no folder /no/such"),
    ],
)
def test_bad_input_is_one_line(run, options, expected):
    code, _, complained = run(*options)
    assert code == 2 and expected in complained.splitlines()[-1]


def test_hums_of_unknown_songs_and_no_misses_are_refused(run, tmp_path):
    (tmp_path / "missed.csv").write_text("file,song_id\ntwo.flac,s2\n")
    code, _, complained = run("--missed", tmp_path / "missed.csv")
    assert code == 2 and "none of the hums is a miss" in complained
    (tmp_path / "queries.csv").write_text("file,song_id\nx.flac,nobody\n")
    code, _, complained = run("--queries", tmp_path / "queries.csv")
    assert (
        code == 2 and "1 hums are of songs that the catalog does not hold, the first 'x.flac' of 'nobody'" in complained
    )
