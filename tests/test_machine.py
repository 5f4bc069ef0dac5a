"""Cores and memory of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np  # noqa: F401 - its library has to be there to be found
import pytest
from filelock import FileLock
from threadpoolctl import threadpool_info, threadpool_limits

from hmm2song.machine import import_librosa, n_cores, one_blas_thread, peak_memory_bytes

ROOT = Path(__file__).resolve().parent.parent

ASK_ON_ONE_CORE = """
import os
from hmm2song.machine import n_cores
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(n_cores())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_only_the_cores_that_the_process_may_use_are_counted():
    asked = subprocess.run([sys.executable, "-c", ASK_ON_ONE_CORE], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "1"
    assert n_cores() == len(os.sched_getaffinity(0))


def test_peak_memory_is_in_bytes_on_every_system(monkeypatch):
    here = peak_memory_bytes()
    assert 20 * 2**20 < here < 2**40
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_memory_bytes() * 1024 == pytest.approx(here, rel=0.1)
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory_bytes() is None


def n_blas_threads() -> int:
    return next(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")


def test_two_users_multiply_on_one_core_each_and_leave_numpy_as_it_was():
    with threadpool_limits(3, "blas"):
        with ExitStack() as first:
            first.enter_context(one_blas_thread())
            with ThreadPoolExecutor(1) as pool, one_blas_thread():
                first.close()  # the first to enter is the first to leave
                assert n_blas_threads() == pool.submit(n_blas_threads).result() == 1
        assert n_blas_threads() == 3


IMPORT_LIBROSA = """
import sys
import hmm2song.machine as machine
print("ready", flush=True)
machine.import_librosa()
print("librosa.beat" in sys.modules, flush=True)
"""


def test_librosa_is_imported_by_one_process_at_a_time(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    (tmp_path / ".cache" / "hmm2song").mkdir(parents=True)
    with FileLock(tmp_path / ".cache" / "hmm2song" / "librosa.lock"):
        command = [sys.executable, "-c", IMPORT_LIBROSA]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):  # without the lock it ends, unless the machine is very slow
            process.wait(timeout=4)
    assert process.communicate(timeout=300)[0] == "True\n"


def test_librosa_is_imported_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / ".cache").write_text("in the way")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert import_librosa.__wrapped__().beat
