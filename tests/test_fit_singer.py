"""scripts/studies/fit_singer.py: takes made with known numbers must give them back, and the command must print them."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from humming import tune
from script_modules import run_script

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.melody.melody import HOP_S, Melody, melody_from_notes, midi_to_hz
from hmm2song.training.singer import FLAWLESS, Singer, hum_contour
from hmm2song.training.voice import hum_audio

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "studies" / "fit_singer.py"
FINE_HOP_S = 0.016
SCORE = np.array(tune(3))[:36]
TWICE = np.repeat(SCORE[:18], 2, axis=0)
TWICE[:, 0] = 12 * HOP_S * np.arange(36)
TWICE[:, 1] = 12 * HOP_S
TWICE_S = 36 * 12 * HOP_S
"""Every pitch twice, without rests, and how long that is."""


@pytest.fixture(scope="module")
def script() -> dict:
    """The names the script defines."""
    return runpy.run_path(str(SCRIPT))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def values_of(script: dict, melody: Melody, notes: np.ndarray = SCORE) -> dict[str, list[float]]:
    return script["hum_values"](script["Hum"](melody, notes, script["search_in"](notes)))


def sung(notes: np.ndarray, shift_st: float = -10.0) -> Melody:
    """The notes exactly as they are given, also where the same pitch comes twice, in another key."""
    pitch_midi = np.full(round(max(notes[:, 0] + notes[:, 1]) / HOP_S), np.nan)
    for onset_s, length_s, midi in notes:
        pitch_midi[round(onset_s / HOP_S) : round((onset_s + length_s) / HOP_S)] = midi + shift_st
    return Melody(pitch_midi)


# Contours against a score -------------------------------------------------------------------------------


@pytest.mark.parametrize("tempo_ratio", [0.7, 1.0, 1.25])
def test_the_tempo_is_that_of_the_hum_against_the_score(script, tempo_ratio):
    values = values_of(script, sung(SCORE / [tempo_ratio, tempo_ratio, 1.0]))
    assert values["tempo_ratio"] == [pytest.approx(tempo_ratio, rel=0.03)]
    assert values["start_s"] == [pytest.approx(0.0, abs=0.15)]
    assert values["local_tempo_log_sd"][0] < 0.05


def test_changes_of_tempo_show_in_the_local_tempo(script):
    onset_s, length_s, midi = SCORE.T
    # three seconds of the score at four fifths of the speed, three at five quarters, and so on
    slower = np.where(np.arange(0.0, 30.0, 0.01) % 6.0 < 3.0, 1.25, 0.8)
    hum_s = np.append(0.0, np.cumsum(slower) * 0.01)
    begin_s, end_s = (
        np.interp(time_s, np.arange(len(hum_s)) * 0.01, hum_s) for time_s in (onset_s, onset_s + length_s)
    )
    values = values_of(script, sung(np.column_stack((begin_s, end_s - begin_s, midi))))
    assert 0.08 < values["local_tempo_log_sd"][0] < np.log(1.25)


def test_pitch_errors_are_split_by_their_cause(script):
    time_s = np.linspace(0.0, 20.0, 3000)
    written_midi = rng(1).choice([60.0, 62.0, 64.0, 67.0], 3000)
    error_st = rng().normal(0.0, 0.3, 3000) + 0.05 * (time_s - 10.0) + 0.08 * (written_midi - 63.0)
    error_st[::50] = 4.0
    values = script["accuracy_values"](time_s, written_midi, error_st)
    assert values["note_sd_st"] == [pytest.approx(0.3, abs=0.01)]
    assert values["drift_st_per_10s"] == [pytest.approx(0.5, abs=0.03)]
    assert values["interval_scale"] == [pytest.approx(1.08, abs=0.01)]
    assert np.mean(values["wrong"]) == pytest.approx(0.02, abs=0.002)
    spreads_st = [  # that of few notes is not underestimated
        script["accuracy_values"](time_s[:12], written_midi[:12], rng(seed).normal(0.0, 0.3, 12))["note_sd_st"][0]
        for seed in range(400)
    ]
    assert np.sqrt(np.mean(np.square(spreads_st))) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("written_midi", "error_st"),
    [
        (np.arange(60.0, 67.0), np.zeros(7)),  # too few
        (np.arange(60.0, 72.0), np.tile([0.0, 5.0], 6)),  # half of them wrong
        (np.full(12, 60.0), np.zeros(12)),  # no interval
    ],
)
def test_what_says_nothing_about_accuracy_is_not_measured(script, written_midi, error_st):
    assert script["accuracy_values"](np.arange(float(len(error_st))), written_midi, error_st) == {}


def test_note_errors_of_a_hum_are_found_through_the_alignment(script):
    notes = SCORE + np.column_stack((np.zeros((36, 2)), np.tile([0.4, -0.4, 0.0], 12)))
    notes[10, 2] += 3.0
    values = values_of(script, sung(notes))
    assert values["note_sd_st"] == [pytest.approx(0.33, abs=0.05)]
    assert np.sum(values["wrong"]) == 1
    assert values["low_midi"] == [pytest.approx(np.median(sung(SCORE).pitch_midi[sung(SCORE).voiced]), abs=0.5)]


def test_a_hum_of_something_else_is_left_out(script):
    assert values_of(script, sung(np.array(tune(8)))) == {}
    assert values_of(script, Melody(np.full(200, np.nan))) == {}


def test_silences_are_measured(script):
    frames = sung(TWICE).pitch_midi.copy()
    frames[200:210] = np.nan  # a breath of 0.4 s
    melody = Melody(np.concatenate((np.full(15, np.nan), frames)))
    values = values_of(script, melody, TWICE)
    assert values["lead_in_s"] == [pytest.approx(0.6)]
    assert values["gap_s"] == values["breath_s"] == [pytest.approx(0.4)]
    assert values["unvoiced"] == [pytest.approx(0.4 / TWICE_S, rel=0.02)]
    assert values["breaths_per_10s"] == [pytest.approx(10 / TWICE_S, rel=0.02)]


@pytest.mark.parametrize("parted_is_same", [True, False])
def test_parted_notes_are_told_from_connected_ones(script, parted_is_same):
    notes = TWICE.copy()
    is_same = np.append(np.diff(notes[:, 2]) == 0, False)
    notes[is_same == parted_is_same, 1] -= 0.08
    values = values_of(script, sung(notes), TWICE)
    parted, connected = ("parted_same", "parted_different") if parted_is_same else ("parted_different", "parted_same")
    assert len(values[parted]) > 12 and len(values[connected]) > 12
    assert np.mean(values[parted]) > 0.95 and np.mean(values[connected]) < 0.05
    share = np.mean([*values[connected], *values[parted]])
    assert values["connected"] == [pytest.approx(1.0 - share)]
    rests = TWICE - [0.0, 0.2, 0.0]  # written rests part no notes
    values = values_of(script, sung(rests), rests)
    assert values["parted_same"] == values["parted_different"] == []


def test_octave_slips_are_counted(script):
    frames = sung(SCORE).pitch_midi.copy()
    voiced = np.flatnonzero(~np.isnan(frames))
    for first in (voiced[50], voiced[120]):
        frames[first : first + 3] += 12.0
    values = values_of(script, Melody(frames))
    assert values["octave_slip_s"] == pytest.approx([0.12, 0.12], abs=HOP_S)
    assert values["octave_slips_per_s"] == [pytest.approx(2 / (len(voiced) * HOP_S), rel=0.01)]
    assert values["octave"] == [pytest.approx(6 / len(voiced), rel=0.4)]


# Labelled notes -----------------------------------------------------------------------------------------

ONE_NOTE = np.array([0.0, 2.0, 60.0])
NOTE_TIME_S = np.arange(125) * FINE_HOP_S


@pytest.mark.parametrize("rate_hz", [4.5, 5.5, 7.0])
def test_vibrato_gives_back_its_rate_and_depth(script, rate_hz):
    pitch_midi = 60.0 + 0.3 * np.sin(2 * np.pi * rate_hz * NOTE_TIME_S) + 0.2 * NOTE_TIME_S
    values = script["note_values"](pitch_midi, ONE_NOTE)
    assert values["vibrato"] == [1.0]
    assert values["vibrato_hz"] == [pytest.approx(rate_hz, abs=0.15)]
    assert values["vibrato_st"] == [pytest.approx(0.3, rel=0.1)]


def test_no_vibrato_where_there_is_none(script):
    unsteady = 60.0 + 0.3 * np.sin(2 * np.pi * 1.0 * NOTE_TIME_S) + rng().normal(0.0, 0.05, len(NOTE_TIME_S))
    assert script["note_values"](unsteady, ONE_NOTE)["vibrato"] == [0.0]
    assert "vibrato" not in script["note_values"](unsteady, np.array([0.0, 0.4, 60.0]))


def test_jitter_gives_back_its_size_and_memory(script):
    measured = []
    for seed in range(60):
        noise = rng(seed).normal(0.0, 0.15, len(NOTE_TIME_S) + 1)
        values = script["note_values"](60.0 + (noise[1:] + noise[:-1]) / np.sqrt(2.0), ONE_NOTE)
        measured.append((values["jitter_st"][0], values["autocorrelation"][0]))
    size_st, memory = np.mean(measured, axis=0)
    assert size_st == pytest.approx(0.15, rel=0.05)
    assert memory == pytest.approx(0.5, abs=0.05)


def test_a_scoop_is_what_a_note_begins_with_after_silence(script):
    pitch_midi = np.full(125, 60.0)
    pitch_midi[10:14] = 59.2
    note = np.array([10 * FINE_HOP_S, 1.0, 60.0])
    assert "scoop_st" not in script["note_values"](pitch_midi, note)
    pitch_midi[:10] = np.nan
    assert script["note_values"](pitch_midi, note)["scoop_st"] == [pytest.approx(0.8)]


@pytest.mark.parametrize("interval_st", [-4.0, 3.0])
def test_a_glide_gives_back_its_time(script, interval_st):
    way = np.clip((np.arange(125) * FINE_HOP_S - 0.9) / 0.2, 0.0, 1.0)
    pitch_midi = 60.0 + interval_st * way
    notes = np.array([[0.0, 1.0, 60.0], [1.0, 1.0, 60.0 + interval_st]])
    assert script["glide_s"](pitch_midi, *notes) == [pytest.approx(0.7 * 0.2, abs=FINE_HOP_S)]
    pitch_midi[62] = np.nan
    assert script["glide_s"](pitch_midi, *notes) == []


def labelled_take(script: dict, gap_s: float):
    """Twenty notes of half a second, every second one parted from the next."""
    midi = np.tile([60.0, 62.0, 64.0, 64.0, 65.0], 4)
    onset_s = 0.5 * np.arange(20)
    length_s = np.where(np.arange(20) % 2, 0.5 - gap_s, 0.5)
    time_s = np.arange(round(10.0 / FINE_HOP_S)) * FINE_HOP_S
    note = np.minimum((time_s / 0.5).astype(int), 19)
    pitch_midi = np.where(time_s < (onset_s + length_s)[note], midi[note], np.nan)
    return script["Take"](pitch_midi, np.column_stack((onset_s, length_s, midi)), midi - 60.0)


@pytest.mark.parametrize(("gap_s", "share"), [(0.1, 0.5), (0.016, 0.0)])
def test_the_share_of_parted_notes_is_that_of_the_take(script, gap_s, share):
    values = script["take_values"](labelled_take(script, gap_s))
    n_parted = np.sum(values["parted_same"]) + np.sum(values["parted_different"])
    assert n_parted / 19 == pytest.approx(share, abs=0.03)
    assert len(values["parted_same"]) == 4
    assert values["connected"] == [pytest.approx(1.0 - n_parted / 19)]
    assert [gap for gap in values["labelled_gap_s"] if gap > 1e-6] == pytest.approx([gap_s] * 9)


def test_takes_without_a_consensus_say_nothing_about_accuracy(script):
    take = labelled_take(script, 0.1)
    assert script["take_values"](take)["wrong"] == [0.0] * 20
    assert "wrong" not in script["take_values"](replace(take, written_midi=np.full(20, np.nan)))


def test_the_consensus_is_what_most_sang_in_any_key(script):
    written_midi = np.array([60.0, 62, 64, 65, 67, 65, 64, 62, 60])
    takes = [
        np.column_stack((np.arange(9.0), np.ones(9), written_midi + key_st + 0.3 + rng(seed).normal(0, 0.1, 9)))
        for seed, key_st in enumerate((-7.0, 0.0, 5.0))
    ]
    takes[1][4, 2] += 2.0  # a wrong note
    found = script["consensus"](["a", "a", "a", "b", "a"], [*takes, takes[0], takes[0][:5]])
    for index in range(3):
        np.testing.assert_array_equal(found[index] - found[index][0], written_midi - written_midi[0])
    assert np.isnan(found[3]).all() and np.isnan(found[4]).all()


def test_the_simulated_take_is_labelled_as_it_is_sung(script):
    take = labelled_take(script, 0.1)
    simulated = script["simulated_take"](take, FLAWLESS, rng())
    np.testing.assert_allclose(np.diff(simulated.notes[:, 2]), np.diff(take.notes[:, 2]), atol=1e-6)
    np.testing.assert_allclose(np.diff(simulated.notes[:, 0]), 0.5, atol=1e-6)


# The command --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of source, a few takes each, all sung by the simulated singer."""
    folder = tmp_path_factory.mktemp("people")
    write_hums(folder)
    write_answers(folder)
    write_takes(folder)
    return folder


def write_hums(folder: Path) -> None:
    rows = ["file,song_id"]
    for seed in range(3):
        samples = hum_audio(tune(seed), Singer(), rng(seed), start_s=0.0, duration_s=8.0)[1]
        soundfile.write(folder / f"hum{seed}.flac", samples, SAMPLE_RATE_HZ)
        rows.append(f"hum{seed}.flac,s{seed}")
    (folder / "queries.csv").write_text("\n".join([*rows, "gone.flac,s0", "hum0.flac,other"]) + "\n")
    songs = [json.dumps({"id": f"s{seed}", "notes": tune(seed)}) for seed in range(3)]
    (folder / "songs.jsonl").write_text("\n".join(songs) + "\n")


def write_answers(folder: Path) -> None:
    rows, tracks = ["key,melody,singer,kind,jury_grade"], {}
    for seed in range(4):
        notes = tune(seed)[:14]
        answer = hum_contour(notes, Singer(), rng(seed), start_s=0.0, duration_s=20.0).melody
        for kind, melody in (("piano reference f0", melody_from_notes(notes)), ("sung f0", answer)):
            key = f"{kind[:5]}{seed}"
            tracks[key] = np.repeat(midi_to_hz(melody.pitch_midi), 2).astype(np.float32)
            rows.append(f"{key},m{seed},{seed},{kind},{'' if kind.startswith('piano') else 'pass'}")
    rows.append("nobody,m0,99,sung f0,fail")  # no piano: never read
    (folder / "mast.csv").write_text("\n".join(rows) + "\n")
    np.savez(folder / "mast.npz", **tracks)


def write_takes(folder: Path) -> None:
    script = runpy.run_path(str(SCRIPT))
    singer = replace(Singer(), dropped_probability=0.0, repeated_probability=0.0)
    rows, tracks = [], {}
    for seed in range(4):
        take = script["simulated_take"](labelled_take(script, 0.1), singer, rng(seed))
        tracks[f"t{seed}"] = np.stack((midi_to_hz(take.pitch_midi), ~np.isnan(take.pitch_midi)))
        rows.append(json.dumps({"key": f"t{seed}", "label": "one", "notes": take.notes.tolist()}))
    (folder / "takes.jsonl").write_text("\n".join(rows) + "\n")
    np.savez(folder / "takes.npz", **tracks)


run = partial(run_script, "fit_singer")


def files(folder: Path, **options: str) -> list[str]:
    names = {"ssvd-notes": "takes.jsonl", "ssvd-f0": "takes.npz", "mast-csv": "mast.csv", "mast-npz": "mast.npz"}
    names |= {"queries": "queries.csv", "songs": "songs.jsonl"} | {
        key.replace("_", "-"): options[key] for key in options
    }
    return [part for name, file in names.items() for part in (f"--{name}", str(folder / file))]


def test_the_command_prints_people_beside_the_simulation(folder, tmp_path, capsys):
    out = tmp_path / "fit.json"
    assert run(*files(folder), "--json", out) == 0
    printed = capsys.readouterr()
    assert "'gone.flac'" in printed.err
    report = json.loads(out.read_text())
    assert {name: (group["n_hums"], group["n_used"]) for name, group in report.items()} == {
        "SSVD": (4, 4),
        "MAST pass": (4, 4),
        "QBSH": (3, 3),
    }
    for name, group in report.items():
        assert f"{name}: {group['n_used']} of {group['n_hums']} hums" in printed.out
        for row in group["quantities"]:
            assert f"| {row['quantity']} | {row['unit']} |" in printed.out
            assert row["people"] is None or row["people"]["p5"] <= row["people"]["median"] <= row["people"]["p95"]
    rows = {row["quantity"]: row for row in report["QBSH"]["quantities"]}
    assert rows["tempo ratio"]["people"]["n"] == rows["tempo ratio"]["simulated"]["n"] == 3
    assert rows["sd of note centres"]["constants"]["note_error_median_st"] == Singer().note_error_median_st
    assert rows["start in the song"]["simulated"] is None
    assert "gaps" not in {row["quantity"] for row in report["MAST pass"]["quantities"]}


def test_seed_and_tracker_change_the_simulation_and_not_the_people(folder, capsys):
    qbsh = ("--queries", folder / "queries.csv", "--songs", folder / "songs.jsonl")
    printed = []
    for options in ((), (), ("--seed", 1), ("--sound",)):
        assert run(*qbsh, *options) == 0
        rows = capsys.readouterr().out.splitlines()
        printed.append(next(row for row in rows if row.startswith("| unvoiced share")).split(" | "))
    assert printed[0] == printed[1]
    assert len({row[2] for row in printed}) == 1 and len({row[3] for row in printed}) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("queries", "file,title\na.flac,x\n", "file,song_id"),
        ("queries", "file,song_id\na.flac,x\n", "names a song"),
        ("songs", '{"id": "s0"}\n', "songs: line 1: no 'notes'"),
        ("mast_csv", "key,melody\nx,y\n", "needs the columns"),
        ("mast_npz", "no archive", "not an npz"),
        ("ssvd_f0", None, "t0: needs the shape (2, n), has (9,)"),
        ("ssvd_notes", "{", "not a JSON object"),
    ],
)
def test_unusable_files_are_explained(folder, tmp_path, capsys, name, content, message):
    if content is None:
        with (tmp_path / name).open("wb") as file:
            np.savez(file, **{f"t{seed}": np.zeros(9) for seed in range(4)})
    else:
        (tmp_path / name).write_text(content)
    assert run(*files(folder, **{name: str(tmp_path / name)})) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "at least one source"),
        (["--queries", "q.csv"], "--queries and --songs go together"),
        (["--queries", "q.csv", "--songs", "s.jsonl", "--json", "no-such-folder/fit.json"], "no folder no-such-folder"),
    ],
)
def test_impossible_options_are_refused(capsys, options, message):
    assert run(*options) == 2
    assert message in capsys.readouterr().err
