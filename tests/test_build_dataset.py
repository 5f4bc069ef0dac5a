"""scripts/build_dataset.py: from recordings to a dataset, its stages, interruptions and errors."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from folders import contents
from waiting import PATIENCE_S, wait_until

pytest.importorskip("librosa", reason="pip install -r requirements-dataset.txt")

from hmm2song.errors import AudioError, Hmm2SongError
from hmm2song.evaluation.baselines.mel_cnn.clips import ARRAY_DTYPE, KINDS, ClipSet, ClipSetError, array_file
from hmm2song.evaluation.baselines.mel_cnn.full_input import Rule, full_input
from hmm2song.evaluation.baselines.mel_cnn.mel import CLIP_SAMPLES, SAMPLE_RATE_HZ, log_mel
from hmm2song.evaluation.baselines.mel_cnn.stages import Settings, make

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "build_dataset.py"


def sung(seed: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a voice that pauses for 3 s in the middle, and a band."""
    rng = np.random.default_rng(seed)
    n_samples = round(seconds * SAMPLE_RATE_HZ)
    time_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    loudness = 0.3 * np.abs(np.sin(2 * np.pi * 1.3 * time_s)) * (np.abs(time_s - seconds / 2) > 1.5)
    voice = loudness * np.sin(2 * np.pi * 220 * (1 + seed / 10) * time_s)
    return voice.astype(np.float32), (0.02 * rng.standard_normal(n_samples)).astype(np.float32)


def write(file: Path, samples: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, samples, SAMPLE_RATE_HZ, subtype="PCM_16")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs of 12 and 7 s with their voices in ``stems``, a song without one, and two that are broken."""
    folder = tmp_path_factory.mktemp("recordings") / "music"
    for name, seed, seconds in (("one", 1, 12.0), ("two", 2, 7.0)):
        voice, band = sung(seed, seconds)
        write(folder / f"{name}.flac", voice + band)
        write(folder / "stems" / f"{name}.flac", voice)
    write(folder / "alone.flac", sung(3, 4.0)[0])
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "text.flac").write_text("not sound at all, only words")
    write(folder / "stems" / "text.flac", voice)
    (folder / "info.csv").write_text(
        "id,Title,Singer,Lyric,genre,path,gender\n"
        '7,하나,가수,,"Dance, Ballad",one.flac,여성\n'
        "8,Gone,Nobody,,,gone.flac,\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def main() -> Callable[[list[str]], int]:
    """The script's main function."""
    return runpy.run_path(str(SCRIPT))["main"]


@pytest.fixture(scope="module")
def built(music: Path, main: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the folder, made once; not to be changed."""
    out = tmp_path_factory.mktemp("built") / "clips"
    assert main(command(music, out)) == 0
    return out


def command(music: Path, out: Path, *more: str) -> list[str]:
    options = {"--source": music, "--out": out, "--separator": f"stems:{music / 'stems'}", "--workers": 1}
    return [*(str(word) for option in options.items() for word in option), *more]


def stamps(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def rows_of(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


# What is built ------------------------------------------------------------------------------------------------


def test_songs_clips_and_what_was_left_out(built):
    clips = ClipSet.open(built)
    clips.verify()
    assert [(song.id, song.title, song.artist, song.path) for song in clips.songs] == [
        ("7", "하나", "가수", "one.flac"),
        ("two", "two", "", "two.flac"),
    ]
    assert (clips.songs[0].genres, clips.songs[0].gender) == (("Dance", "Ballad"), "female")
    assert clips.clip_song.tolist() == [0, 0, 1]
    assert clips.start_s.tolist() == [0.0, 8.0, 0.0]
    assert clips.duration_s.tolist() == [10.0, 4.0, 7.0]
    assert rows_of(built / "clips.csv")[2] == ["1", "7", "8.0", "4.0"]
    assert clips.about["rule"] == "difference"
    skipped = {path: reason for path, reason in rows_of(built / "skipped.csv")[1:]}
    assert set(skipped) == {"alone.flac", "empty.mp3", "gone.flac", "text.flac"}
    assert "no separated voice" in skipped["alone.flac"]
    assert "line 3" in skipped["gone.flac"]


def test_pictures_are_those_of_the_full_input(built):
    clips = ClipSet.open(built)
    voice, band = sung(1, 12.0)
    full = full_input(voice, band, Rule.DIFFERENCE)
    assert not np.allclose(full, voice, atol=1e-3), "the pause is filled"
    assert np.allclose(full[SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ], voice[SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ])
    wanted = log_mel(full[8 * SAMPLE_RATE_HZ :])
    loud = wanted > wanted.max() - 40.0  # below that, 16 bits differ from float
    assert np.abs(clips.kind("org")[1] - wanted)[loud].max() < 0.2


def test_every_kind_is_another_picture_of_the_same_clip(built):
    clips = ClipSet.open(built)
    pictures = {kind: clips.kind(kind).astype(np.float32) for kind in KINDS}
    bands = {kind: picture[0].max(axis=1) for kind, picture in pictures.items()}
    assert bands["fh"][:10].max() < bands["org"][:10].max() - 20.0, "242 Hz, twice by 12 dB"
    assert bands["fl"][-10:].max() < bands["org"][-10:].max() - 6.0
    assert bands["mh"].argmax() > bands["org"].argmax() > bands["ml"].argmax()
    above = {kind: np.median(pictures[kind][0][64:]) for kind in ("org", "n")}
    assert above["n"] > above["org"] + 10.0, "noise where the voice, a pure tone, has nothing"
    assert all(picture.dtype == np.float16 for picture in map(clips.kind, KINDS))


def test_the_rule_matters_and_several_processes_make_the_same(music, built, main, tmp_path):
    assert main(command(music, tmp_path / "two", "--workers", "2")) == 0
    assert contents(tmp_path / "two") == contents(built)
    assert main(command(music, tmp_path / "clips", "--rule", "amplitude")) == 0
    other = ClipSet.open(tmp_path / "clips")
    assert other.about["rule"] == "amplitude"
    assert not np.array_equal(other.kind("org"), ClipSet.open(built).kind("org"))


def test_a_table_and_no_separation(music, main, tmp_path):
    out = tmp_path / "clips"
    arguments = ["--source", str(music / "info.csv"), "--out", str(out), "--workers", "1"]
    assert main(arguments) == 0
    clips = ClipSet.open(out)
    assert ([song.id for song in clips.songs], clips.about["separator"]) == (["7"], "none")
    mix = sum(sung(1, 12.0))
    wanted = log_mel(mix[:CLIP_SAMPLES])
    loud = wanted > wanted.max() - 40.0
    assert np.abs(clips.kind("org")[0] - wanted)[loud].max() < 0.2


# Stages, and going on -----------------------------------------------------------------------------------------


def test_stages_alone(music, built, main, tmp_path, capsys):
    out, work = tmp_path / "clips", tmp_path / "clips.work"
    for stage, count in (("full", 2), ("split", 3), ("filters", 15), ("mel", 2)):
        assert main(command(music, out, "--stage", stage)) == 0
        files = [file for file in (work / stage).rglob("*") if file.is_file()]
        assert len(files) == count
        assert not out.exists()
        assert f"{work / stage}: 2 songs; 4 skipped" in capsys.readouterr().out
    [folder] = (work / "split").glob("7-*")
    clip, rate_hz = soundfile.read(folder / "001.flac")
    assert (len(clip), rate_hz) == (4 * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)
    [folder] = (work / "filters").glob("7-*")
    assert sorted(file.name for file in folder.iterdir())[:5] == [f"000_{kind}.flac" for kind in sorted(KINDS[1:])]
    before = stamps(work)
    assert main(command(music, out)) == 0
    assert stamps(work) == before, "nothing was made again"
    assert contents(out) == contents(built)


def test_only_what_is_new_is_made(music, main, tmp_path):
    source, out, full = tmp_path / "music", tmp_path / "clips", tmp_path / "clips.work" / "full"
    write(source / "a.flac", sung(4, 4.0)[0])
    arguments = ["--source", str(source), "--out", str(out), "--workers", "1", "--stage", "full"]
    assert main(arguments) == 0
    before = stamps(full)
    (source / "a.flac").rename(source / "renamed.flac")
    write(source / "b.flac", sung(5, 5.0)[0])
    assert main(arguments) == 0
    assert before.items() < stamps(full).items()
    assert len(stamps(full)) == 2
    write(source / "b.flac", sung(6, 5.0)[0])
    assert main([*arguments, "--rule", "amplitude"]) == 0
    assert len(stamps(full)) == 4, "another rule, or other content under a known name: made again"


def test_killed_and_run_again(music, built, tmp_path, main):
    out, work = tmp_path / "clips", tmp_path / "clips.work"
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *command(music, out)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: process.poll() is not None or list(work.glob("full/*.flac")))
        assert process.poll() is None  # it is killed in the middle
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    assert not out.exists()
    assert main(command(music, out)) == 0
    assert contents(out) == contents(built)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_damaged_files_are_made_again_and_nothing_else_is_replaced(music, built, main, tmp_path, capsys):
    shutil.copytree(built.with_name("clips.work"), tmp_path / "clips.work")
    out = tmp_path / "clips"
    shutil.copytree(built, out)
    (out / "org.npy").write_bytes(b"damaged")
    truncated = min((tmp_path / "clips.work" / "mel").iterdir())
    os.truncate(truncated, truncated.stat().st_size // 2)
    assert main(command(music, out)) == 0
    assert contents(out) == contents(built)
    (out / "thesis.txt").write_text("mine")
    capsys.readouterr()
    assert main(command(music, out)) == 2
    assert "thesis.txt" in capsys.readouterr().err
    assert (out / "thesis.txt").read_text() == "mine"


# Errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--separator", "guess"], "there is no separation 'guess'"),
        (["--separator", "stems:/nowhere"], "/nowhere"),
        (["--source", "/nowhere"], "/nowhere"),
        (["--source", str(ROOT / "docs")], "no recording found in docs"),
        (["--out", str(ROOT)], "not overwritten"),
    ],
)
def test_one_line_says_what_is_wrong(music, main, tmp_path, capsys, changes, words):
    assert main([*command(music, tmp_path / "clips"), *changes]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "clips.work").exists()


def test_impossible_options(music, main, tmp_path, capsys):
    for changes in (["--workers", "0"], ["--ray-address", "auto"], ["--rule", "ear"]):
        with pytest.raises(SystemExit, match="2"):
            main(command(music, tmp_path / "clips", *changes))
        assert changes[0] in capsys.readouterr().err


def test_a_disk_that_cannot_be_written_to_ends_the_run(music, tmp_path):
    (tmp_path / "work").write_text("a file where the folder should be")
    with pytest.raises(Hmm2SongError, match="cannot write") as stopped:
        make("full", str(music / "one.flac"), "one", Settings(tmp_path / "work", "none", Rule.DIFFERENCE))
    assert not isinstance(stopped.value, AudioError), "it is no fault of the recording"


# Reading ------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def reseal(folder: Path, **changes: object) -> None:
    """Record sizes as they are, so that only what is inside a file is wrong."""
    about = json.loads((folder / "dataset.json").read_text())
    for name, entry in about["files"].items():
        entry["bytes"] = (folder / name).stat().st_size
    (folder / "dataset.json").write_text(json.dumps(about | changes))


def test_clips_are_mapped_and_damage_is_found(copy):
    def flip(name: str) -> None:
        content = bytearray((copy / name).read_bytes())
        content[-3] ^= 1
        (copy / name).write_bytes(content)

    clips = ClipSet.open(copy)
    assert isinstance(clips.kind("org"), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        clips.kind("org")[0, 0, 0] = 1.0
    with pytest.raises(ClipSetError, match="'hum'"):
        clips.kind("hum")
    flip("mh.npy")
    with pytest.raises(ClipSetError, match=r"mh\.npy .*checksum"):
        clips.verify()
    flip("songs.csv")
    with pytest.raises(ClipSetError, match=r"songs\.csv .*checksum"):
        ClipSet.open(copy)
    os.truncate(copy / "n.npy", 1000)
    with pytest.raises(ClipSetError, match=r"n\.npy .*1000 bytes instead of"):
        ClipSet.open(copy)
    (copy / "fh.npy").unlink()
    with pytest.raises(ClipSetError, match=r"fh\.npy .*missing"):
        ClipSet.open(copy)


def test_other_versions_and_other_folders_are_refused(copy, tmp_path):
    with pytest.raises(ClipSetError, match="not a dataset"):
        ClipSet.open(tmp_path)
    reseal(copy, format_version=99)
    with pytest.raises(ClipSetError, match="version 99"):
        ClipSet.open(copy)
    (copy / "dataset.json").write_text('{"format_version": 1}')
    with pytest.raises(ClipSetError, match="damaged"):
        ClipSet.open(copy)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 128, 431), ARRAY_DTYPE),
        np.zeros((3, 128, 430), ARRAY_DTYPE),
        np.zeros((3, 128, 431), np.float32),
        np.asfortranarray(np.zeros((3, 128, 431), ARRAY_DTYPE)),
        np.array([len], dtype=object),
    ],
    ids=["clips", "frames", "type", "order", "objects"],
)
def test_arrays_of_another_form_are_refused(copy, array):
    np.save(copy / array_file("fl"), array)
    reseal(copy)
    with pytest.raises(ClipSetError, match=r"fl\.npy"):
        ClipSet.open(copy)
