"""The command line as people run it."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from heard import save_heard, studio
from test_indexing import sung

from hmm2song.__main__ import _print_table, _progress_bar, main
from hmm2song.catalog.hub import assets_folder
from hmm2song.match import kernels
from hmm2song.recognizer import MAX_EARLIER
from hmm2song.script import EXIT_ERROR, EXIT_INTERRUPTED

RATE_HZ = 16000
TUNES = {
    "stairs": ("Folk", "CDEF|GABc|BAGF|EDC2|CEGE|FDB,2|"),
    "leaps": ("March", "CGEc|GCcE|FcAf|cFA2|GdBg|dGB2|"),
    "bells": ("Folk, March", "ccAA|ffcc|AFAF|G2E2|ccAA|d2G2|"),
}
pytestmark = pytest.mark.usefixtures("tiny_model")
STAIRS_MIDI = (60, 62, 64, 65, 67, 69, 71, 72, 71, 69, 67, 65, 64, 62, 60, 60)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    music = folder / "music"
    music.mkdir()
    for title, (genre, notes) in TUNES.items():
        korean = "T:계단\n" if title == "stairs" else ""
        (music / f"{title}.abc").write_text(
            f"X:1\nT:{title}\n{korean}C:Trad.\nG:{genre}\nL:1/4\nQ:1/4=120\nK:C\n{notes}\n", encoding="utf-8"
        )
    (music / "bad\x1b[31m.mid").write_bytes(b"nonsense")
    assert main(["index", str(music), "--out", str(folder / "catalog")]) == 0
    return folder / "catalog"


@pytest.fixture(scope="module")
def hum(tmp_path_factory):
    """Return a recording of the first tune, a fourth lower and a little faster."""
    file = tmp_path_factory.mktemp("hum") / "hum.wav"
    soundfile.write(file, sung(np.array(STAIRS_MIDI) - 5, 0.45), RATE_HZ)
    return file


@pytest.mark.parametrize(
    "command",
    [(), *((name,) for name in ("recognize", "listen", "similar", "path", "index", "add", "remove", "merge", "info"))],
)
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as done:
        main([*command, "--help"])
    output, errors = capsys.readouterr()
    assert (done.value.code, errors) == (0, "")
    assert f"python -m hmm2song {' '.join(command)}" in output.partition("examples:")[2]
    assert "recognize" not in command or f"at most {1 + MAX_EARLIER})" in " ".join(output.split())


def test_index_lists_what_it_skipped(catalog, tmp_path, capsys):
    music = catalog.parent / "music"
    assert main(["index", str(music), "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    output = capsys.readouterr().out
    assert output == (
        f"4 files: 3 indexed, 1 skipped\n3 songs in {tmp_path / 'out'}\n"
        '  bad [31m.mid: it is not a MIDI file (it has no header chunk "MThd")\n'
    )
    assert main(["index", str(music), "--out", str(tmp_path / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["indexed"], report["skipped"][0]["path"]) == (3, "bad\x1b[31m.mid")
    assert report["next_commands"] == []  # no recording that could be separated


def test_index_says_how_to_separate(hum, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    source, out = hum.parent, tmp_path / "my catalog"
    assert main(["index", str(source), "--out", str(out), "--previews", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 file: 1 indexed, 0 skipped" and lines[2] == "1 recording not separated: 1 with a melody"
    assert lines[-3:] == [
        "to separate them (about 1 min here):",
        "  python scripts/setup_htdemucs.py",
        f"  python -m hmm2song index {source} --out '{out}' --separator htdemucs --update --previews --workers 1",
    ]
    assert main(shlex.split(lines[-1])[3:]) == EXIT_ERROR
    assert "fetch it once (98 MB) with: python scripts/setup_htdemucs.py" in capsys.readouterr().err


def test_progress_shows_files_rate_and_time_left_on_a_terminal_only(monkeypatch, capfd):
    for is_terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda shown=is_terminal: shown, raising=False)
        with _progress_bar() as show:
            show("read", 0, 4)
            show("read", 2, 4)
        errors = capfd.readouterr().err
        assert ("reading:   0%" in errors and "0/4 [00:00<?, ? files/s]" in errors) == is_terminal
    assert errors == ""


def test_songs_come_and_go(catalog, tmp_path, capsys):
    own, other = tmp_path / "own", tmp_path / "other"
    shutil.copytree(catalog, own)
    new = tmp_path / "stairs.abc"
    new.write_text("X:1\nT:Other stairs\nL:1/4\nQ:1/4=120\nK:C\nCcDd|EeFf|GgAa|Bbcc|\n")
    (tmp_path / "bad.mid").write_bytes(b"x")
    assert main(["add", str(own), str(new), str(tmp_path / "bad.mid")]) == 0
    assert capsys.readouterr().out == (
        f"1 songs added, 4 in {own}\n"
        "  stairs: the id was taken, so the song is now stairs-2\n"
        "2 files: 1 indexed, 1 skipped\n"
        '  bad.mid: it is not a MIDI file (it has no header chunk "MThd")\n'
    )
    assert main(["add", str(own), str(catalog.parent / "music" / "bells.abc"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["repeated"] == ["bells"]
    assert main(["remove", str(own), "stairs-2", "leaps"]) == 0
    assert capsys.readouterr().out == f"2 songs removed, 2 in {own}\n"
    assert main(["merge", str(own), str(catalog), "--out", str(other)]) == 0
    output = capsys.readouterr().out
    assert output == f"3 songs in {other}\n  bells: was there already\n  stairs: was there already\n"
    assert main(["info", str(other)]) == 0


def test_info(catalog, capsys):
    assert main(["info", str(catalog), "--verify"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for expected in (["songs", "3"], ["Folk", "2"], ["March", "2"], ["unknown", "3"], ["checksums", "ok"]):
        assert expected in lines
    assert main(["info", str(catalog), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["songs"], about["genres"], about["checksums"]) == (3, {"Folk": 2, "March": 2}, "not compared")
    assert about["genders"][""] == 3
    assert about["duration_s"] == pytest.approx(3 * 12.0, abs=1.0)


def test_warm_up_leaves_nothing_to_compile(capsys):
    assert main(["warm-up", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 0
    assert kernels.place_in_one_key.signatures and kernels.place_folded.signatures and kernels.best_path.signatures


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("info", "nowhere"), "not a catalog"),
        (("info", "{damaged}", "--verify"), "melodies.safetensors of catalog 'damaged' differs"),
        (("remove", "{damaged}", "nobody"), "melodies.safetensors of catalog 'damaged' differs"),
        (("index", "nowhere", "--out", "x"), "no file or folder"),
        (("index", ".", "--out", "x", "--workers", "0"), "at least 1"),
        (("index", "{music}", "--out", "x", "--separator", "stems:nowhere"), "nowhere"),
        (("index", "{music}", "--out", "{music}", "--update"), "not a catalog"),
        (("add", "nowhere", "{music}"), "not a catalog"),
        (("add", "{catalog}", "nowhere.mid"), "nowhere.mid"),
        (("remove", "{catalog}", "nobody"), "nobody"),
        (("merge", "{catalog}", "--out", "x"), "two catalogs"),
        (("merge", "{catalog}", "nowhere", "--out", "x"), "not a catalog"),
        (("recognize", "nowhere.wav", "--catalog", "{catalog}"), "nowhere.wav"),
        (("recognize", "{hum}", "nowhere.wav", "--catalog", "{catalog}"), "nowhere.wav"),
        (("recognize", *["{hum}"] * 6, "--catalog", "{catalog}"), "5 earlier hums are too many"),
        (("recognize", "{hum}", "--catalog", "{catalog}", "--genre", "Polka"), "Polka"),
        (("similar", "nobody", "--catalog", "{catalog}"), "no song has the id 'nobody'"),
        (("similar", "none.mp3", "--catalog", str(assets_folder() / "free_catalog")), "no file 'none.mp3'"),
        (("similar", "stairs", "--catalog", "{catalog}", "--like", "voice"), "nobody has listened"),
        (("similar", "stairs", "--catalog", "{catalog}", "--facets", "tempo=1"), "unknown facet 'tempo'"),
        (("similar", "stairs", "--catalog", "{catalog}", "--facets", "melody=0"), "all weights are zero"),
        (("recognize", "{hum}", "--catalog", "{catalog}", "--top-k", "0"), "top_k"),
    ],
)
def test_errors_are_one_line(arguments, reason, catalog, hum, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    music = tmp_path / "music"
    music.mkdir()
    soundfile.write(music / "a.wav", np.zeros(RATE_HZ), RATE_HZ)
    damaged = shutil.copytree(catalog, tmp_path / "damaged")
    content = (damaged / "melodies.safetensors").read_bytes()
    (damaged / "melodies.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    places = {"catalog": catalog, "hum": hum, "music": music, "damaged": damaged}
    assert main([argument.format(**places) for argument in arguments]) == EXIT_ERROR
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("hmm2song: ")
    assert reason in errors
    assert errors.count("\n") == 1


def test_recognize(catalog, hum, capsys):
    assert main(["recognize", str(hum), "--catalog", str(catalog)]) == 0
    header, first = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert header == ["sure", "title", "artist", "genre", "at", "key", "tempo"]
    assert first[0] == "1"
    assert first[2:7] == ["stairs", "(계단)", "Trad.", "Folk", "0:00"]
    assert first[7:9] == ["-5", "st"]


def test_several_hums_are_joined(catalog, hum, tmp_path, capsys):
    samples, _ = soundfile.read(hum)
    soundfile.write(tmp_path / "again.wav", samples[3 * RATE_HZ :], RATE_HZ)
    command = ["recognize", str(hum), str(tmp_path / "again.wav"), "--catalog", str(catalog)]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(", 2 hums joined:")
    assert "stairs" in lines[2]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n_hums"] == 2
    assert result["hum"]["duration_s"] == pytest.approx(len(samples) / RATE_HZ, abs=0.1)  # the first is shown


def test_recognize_json_and_filters(catalog, hum, capsys):
    command = ["recognize", str(hum), "--catalog", str(catalog), "--json", "--top-k", "2"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert [match["rank"] for match in result["matches"]] == [1, 2]
    assert (result["matches"][0]["id"], result["n_searched"]) == ("stairs", 3)
    assert result["matches"][0]["key_shift_st"] == pytest.approx(-5, abs=0.6)
    assert main([*command, "--genre", "March"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {match["id"] for match in result["matches"]} == {"leaps", "bells"}
    assert main([*command, "--gender", "male"]) == 0
    assert json.loads(capsys.readouterr().out)["n_unknown"] == 3
    assert main([*command, "--gender", "male", "--only-known"]) == 0
    assert json.loads(capsys.readouterr().out)["matches"] == []


def test_similar(catalog, capsys):
    assert main(["similar", "stairs", "--catalog", str(catalog), "--years", "1900-1999"]) == 0
    output, errors = capsys.readouterr()
    lines = output.splitlines()
    assert lines[0] == "Of 2 songs the nearest by melody:" and lines[1].split() == ["title", "artist", "genre", "why"]
    assert lines[2].startswith("1  ") and "the closest of all in melody" in lines[2] and len(lines) == 4
    assert errors == ""
    assert main(["similar", "stairs", "--catalog", str(catalog), "--facets", "melody=2", "--top-k", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["query"]["id"], result["facets"], len(result["songs"])) == ("stairs", {"melody": 1.0}, 1)
    with pytest.raises(SystemExit):
        main(["similar", "stairs", "--catalog", str(catalog), "--facets", "voice=much"])
    assert "--facets: invalid weights value: 'voice=much'" in capsys.readouterr().err


def test_a_catalog_of_recordings_without_melodies_is_explored(tmp_path, capsys):
    songs, facets = studio(12)
    save_heard(songs, facets, tmp_path)
    assert main(["path", "s00", "s09", "--steps", "3", "--catalog", str(tmp_path), "--like", "style"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in (lines[1], lines[-1])] == ["s00", "s09"] and len(lines) == 1 + 4
    assert main(["path", "s00", "s00", "--catalog", str(tmp_path)]) == EXIT_ERROR
    assert main(["info", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "of recordings, without melodies" in output and "cluster" in output
    assert main(["info", str(tmp_path), "--json"]) == 0
    assert sum(cluster["n_songs"] for cluster in json.loads(capsys.readouterr().out)["clusters"]) == 12
    assert main(["recognize", "x.wav", "--catalog", str(tmp_path)]) == EXIT_ERROR
    assert "explored, not searched by humming" in capsys.readouterr().err


def test_interrupt_has_its_own_exit_code(catalog, monkeypatch, capsys, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hmm2song.indexing.build.list_source", interrupt)
    assert main(["index", str(catalog.parent / "music"), "--out", str(tmp_path / "out")]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "hmm2song: stopped; run the same command again to go on where it stopped\n"


def test_tables_line_up_with_hangul(capsys):
    _print_table(("title", "n"), [("노래", "1"), ("cafe\u0301", "2"), ("long title", "3"), ("e\x1b[2J", "4")])
    assert capsys.readouterr().out.splitlines() == [
        "title       n", "노래        1", "cafe\u0301        2", "long title  3", "e [2J       4"
    ]  # fmt: skip
