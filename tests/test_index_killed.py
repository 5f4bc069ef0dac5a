"""The whole command killed at random moments, ten times in a row: the catalog ends as that of one clean run.

``HMM2SONG_KILL_SERIES`` repeats the series, each with other moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import default_encoder

ROOT = Path(__file__).parent.parent
RATE_HZ = 16000
N_KILLS = 10
N_SERIES = int(os.environ.get("HMM2SONG_KILL_SERIES", "1"))
N_RECORDINGS, N_SCORES = 8, 16
SHORTEST_LEFT = 0.2
"""Kills fall into the first part of the run's work, so that some of it is left for the next."""
pytestmark = [pytest.mark.usefixtures("tiny_model"), pytest.mark.timeout(600)]

# The command itself, in a process that has imported everything: an import takes longer than the work, and most kills
# would hit that. Each run is a fork that leads a process group of its own, as a shell's job would be.
RUNNER = """
import os, sys
from hmm2song.__main__ import main
import hmm2song.indexing.vocal_melody
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(line.rstrip("\\n").split("\\t")))
    try:
        os.setpgid(child, child)  # on both sides: whoever is first
    except (PermissionError, ProcessLookupError):
        pass
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Runner:
    """Runs the command again and again, and may kill it."""

    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", RUNNER], env=environment, **pipes)

    def run(self, arguments, kill_when=None):
        """Run to the end, or until ``kill_when()`` is true; return the exit code, -9 if it was killed."""
        self.process.stdin.write("\t".join(map(str, arguments)) + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if kill_when is not None:
            while _lives(child) and not kill_when():
                time.sleep(0.001)
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.killpg(child, signal.SIGKILL)
        return int(self.process.stdout.readline())


def _lives(child):
    try:
        os.kill(child, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def runner():
    running = Runner()
    yield running
    running.process.stdin.close()
    running.process.wait(timeout=60)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Return recordings, scores and two broken files."""
    folder = tmp_path_factory.mktemp("killed") / "music"
    folder.mkdir()
    rng = np.random.default_rng(11)
    for number in range(N_RECORDINGS):
        f0_hz = 440.0 * 2 ** ((np.repeat(rng.integers(55, 72, 24), RATE_HZ // 4) - 69) / 12)
        phase = 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ
        samples = 0.2 * sum(np.sin(k * phase) / k for k in (1, 2, 3))
        soundfile.write(folder / f"{number:02d}.flac", samples, RATE_HZ)
    for number in range(N_SCORES):
        notes = "".join(rng.choice(list("CDEFGABc"), 16))
        (folder / f"score {number:02d}.abc").write_text(f"X:1\nT:{number}\nL:1/4\nQ:1/4=120\nK:C\n{notes}|\n")
    (folder / "broken.mid").write_bytes(b"MThd")
    (folder / "broken.mp3").write_bytes(b"words")
    return folder


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def timed(runner, arguments):
    started_s = time.monotonic()
    assert runner.run(arguments) == 0
    return time.monotonic() - started_s


class After:
    """True from some seconds after the first question on."""

    def __init__(self, seconds):
        self.seconds, self.first_s = seconds, None

    def __call__(self):
        self.first_s = self.first_s or time.monotonic()
        return time.monotonic() - self.first_s >= self.seconds


def kill_often(runner, arguments, moments_s):
    """Start the command once for each moment, and kill it then; return how many runs were killed at work."""
    return sum(runner.run(arguments, After(moment_s)) == -signal.SIGKILL for moment_s in moments_s)


@pytest.mark.parametrize("series", range(N_SERIES))
def test_indexing_killed_ten_times_ends_like_a_clean_run(runner, music, tmp_path, series):
    rng = random.Random(series)
    clean, killed = tmp_path / "clean", tmp_path / "killed"
    options = ["--workers", "1", "--separator", "none", "--previews"]
    clean_s = timed(runner, ["index", music, "--out", clean, *options])
    command = ["index", music, "--out", killed, *options]
    # What a run leaves shortens the next, so each is killed within what would be left without that.
    n_killed = kill_often(runner, command, [rng.uniform(0.0, SHORTEST_LEFT * clean_s) for _ in range(N_KILLS)])
    assert n_killed >= N_KILLS // 2
    assert runner.run(command) == 0
    assert files_of(killed) == files_of(clean)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean", "killed"]


@pytest.mark.parametrize("series", range(N_SERIES))
def test_updates_and_edits_killed_leave_the_old_catalog_or_the_new_one(runner, music, tmp_path, series):
    rng = random.Random(100 + series)
    out, extra = tmp_path / "out", tmp_path / "extra"
    extra.mkdir()
    (extra / "extra.abc").write_text("X:1\nT:Extra\nL:1/4\nQ:1/4=120\nK:C\nCEGc|BGEC|\n")
    assert runner.run(["index", music, "--out", out, "--workers", "1"]) == 0
    old = files_of(out)
    commands = [
        ["add", out, extra, "--workers", "1"],
        ["remove", out, "extra"],
        ["index", music, "--out", out, "--update", "--workers", "1"],
    ]
    for command in commands:
        before = files_of(out)
        seconds = timed(runner, command)
        after = files_of(out)
        _restore(out, before)
        for _ in range(N_KILLS // 3):
            runner.run(command, After(rng.uniform(0.0, seconds)))
            if not out.exists():  # killed between the two renames; the next run puts it back
                assert (out.with_name("out.partial") / "previous").is_dir()
                continue
            assert files_of(out) in (before, after)
            Catalog.load(out, default_encoder())
            if files_of(out) == after:
                _restore(out, before)
        assert runner.run(command) == 0
        assert files_of(out) == after
    assert files_of(out) == old  # what was added is removed, and nothing else has changed


def _restore(folder, files):
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_a_kill_in_every_step_of_the_exchange(runner, music, tmp_path):
    """The moments that random ones seldom hit: while the catalog is written, and between the renames."""
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    command = ["index", music, "--out", out, "--workers", "1"]
    assert runner.run(command) == 0
    clean = files_of(out)
    steps = [
        lambda: (partial / "new").is_dir(),
        lambda: not out.exists(),
    ]
    for step in steps:
        runner.run(command, step)
        assert runner.run(command) == 0
        assert files_of(out) == clean
        assert not partial.exists()
