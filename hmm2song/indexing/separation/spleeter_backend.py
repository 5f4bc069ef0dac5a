"""The separation backend ``spleeter``: Spleeter's two stems, in an environment of its own.

Spleeter 2.4.2 needs TensorFlow 2.12 and numpy below 2, which cannot share an environment with this program. So
``scripts/setup_spleeter.py`` makes one for it, and :mod:`hmm2song.indexing.separation.spleeter_worker` runs there: one
process for many recordings, asked through a pipe, killed when it takes too long, gone when we are.

Where things are
----------------
* The interpreter: the environment variable ``HMM2SONG_SPLEETER_PYTHON``, else ``venv`` in :func:`spleeter_home`.
* The weights: the folder given, else ``HMM2SONG_SPLEETER_MODEL``, else ``models`` in :func:`spleeter_home`. It is the
  folder ``2stems``, or the one that holds it.

With no weights, Spleeter fails once, leaves an empty folder, and from then on answers with the output of an untrained
network. So a complete checkpoint is looked for before it is started, and every voice is checked afterwards
(:mod:`hmm2song.indexing.separation.voice_check`).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hmm2song.errors import SeparationError, SeparatorUnavailableError
from hmm2song.indexing.separation import spleeter_worker
from hmm2song.indexing.separation.segmentwise import separate_in_segments
from hmm2song.indexing.separation.stems import Progress, Stems, weights_digest
from hmm2song.machine import cache_folder

PYTHON_VARIABLE = "HMM2SONG_SPLEETER_PYTHON"
MODEL_VARIABLE = "HMM2SONG_SPLEETER_MODEL"
MODEL_NAME = "2stems"
PROBE_NAME = ".probe"
"""The file by which Spleeter tells weights it need not download."""
RATE_HZ = spleeter_worker.RATE_HZ
SEGMENT_FRAMES = (3 * 512 - 8) * 1024
"""35 s: the network sees 512 hops of 1,024 samples at a time, so this fills three of its inputs but for the margin."""
STRIDE_FRAMES = SEGMENT_FRAMES - 2 * RATE_HZ
START_TIMEOUT_S = 900.0
"""TensorFlow starts in 10 s, but on a machine with ten times the load it can bear it was seen to take 300 s."""
SEGMENT_TIMEOUT_S = 1200.0
"""A segment takes seconds; the same holds here."""
ATTEMPTS = 2
"""A worker that dies is started again once with the same segment: most likely somebody killed it."""
MAX_FAILED_RECORDINGS = 3
"""So many recordings in a row at which workers died are not the recordings' fault."""
SETUP = "run python scripts/setup_spleeter.py"

_CHECKPOINT_PATH = re.compile(r'^model_checkpoint_path:\s*"([^"]+)"', re.MULTILINE)


class WorkerDiedError(SeparationError):
    """The worker ended or did not answer; another one may do better."""


class SpleeterSeparator:
    """Separates with Spleeter's two stems by asking a worker, which is started when it is needed.

    ``command`` starts the worker, ``name`` names the weights, ``threads`` are the cores that the worker may use.
    """

    rate_hz = RATE_HZ
    segment_frames = SEGMENT_FRAMES
    stride_frames = STRIDE_FRAMES
    start_timeout_s = START_TIMEOUT_S
    segment_timeout_s = SEGMENT_TIMEOUT_S

    def __init__(self, command: Sequence[str], name: str, threads: int = 1) -> None:
        self.name = name
        self._command, self._threads = command, threads
        self._worker: _Worker | None = None
        self._n_failed = 0

    @classmethod
    def open(cls, folder: Path | None = None, threads: int = 1, python: Path | None = None) -> SpleeterSeparator:
        """Check weights (``folder``) and interpreter (``python``), by default those described above."""
        folder = model_folder(folder)
        files = checkpoint_files(folder)
        python = python or spleeter_python()
        command = [str(python), spleeter_worker.__file__, "--model", str(folder), "--parent", str(os.getpid())]
        try:
            return cls(command, f"spleeter-{weights_digest(files)}", threads)
        except OSError as error:
            raise SeparatorUnavailableError(
                f"Spleeter's weights in {str(folder)!r} cannot be read ({error})"
            ) from error

    def separate(self, recording: Path, out: Path, progress: Progress | None = None) -> Stems:
        """Separate a recording; see :class:`hmm2song.indexing.separation.separation.Separator`."""
        try:
            stems = separate_in_segments(self, self.name, recording, out, progress)
        except WorkerDiedError as error:
            self._n_failed += 1
            if self._n_failed >= MAX_FAILED_RECORDINGS:
                raise SeparatorUnavailableError(
                    f"Spleeter failed at {self._n_failed} recordings in a row: {error}"
                ) from error
            raise SeparationError(f"{recording.name!r}: {error}") from error
        self._n_failed = 0
        return stems

    def voice(self, mix: np.ndarray) -> np.ndarray:
        """Return the voice in a mix, both (n, 2); WorkerDiedError if a second worker dies of it too."""
        samples = mix.astype("<f4").tobytes()
        request = len(samples).to_bytes(spleeter_worker.LENGTH_BYTES, "little") + samples
        for attempts_left in reversed(range(ATTEMPTS)):
            self.start()
            try:
                answer = self._worker.answer(request, len(samples), self.segment_timeout_s)
                return np.frombuffer(answer, "<f4").reshape(mix.shape)
            except WorkerDiedError:
                if not attempts_left:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def start(self) -> None:
        """Start a worker unless one is running; SeparatorUnavailableError if it cannot be used."""
        if self._worker is not None and self._worker.is_alive:
            return
        self.close()
        self._worker = _Worker(self._command, self._threads)
        try:
            greeting = self._worker.answer(b"", len(spleeter_worker.READY), self.start_timeout_s)
        except WorkerDiedError as error:
            raise SeparatorUnavailableError(f"Spleeter does not start: {error}; {SETUP}") from error
        if greeting != spleeter_worker.READY:
            self.close()
            raise SeparatorUnavailableError(f"Spleeter's worker begins with {greeting} instead of being ready; {SETUP}")

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


class _Worker:
    """A process that answers bytes with bytes; SeparatorUnavailableError if it cannot be started."""

    def __init__(self, command: Sequence[str], threads: int) -> None:
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        try:  # a session of its own: Ctrl-C is for us, we end the worker
            process = subprocess.Popen(command, env=_environment(threads), start_new_session=True, **pipes)
        except OSError as error:
            errors.close()
            raise SeparatorUnavailableError(f"{command[0]!r} cannot be started ({error}); {SETUP}") from error
        self._process, self._errors = process, errors
        self.close = weakref.finalize(self, _end, process, errors)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def answer(self, request: bytes, n_bytes: int, timeout_s: float) -> bytes:
        """Return the answer to a request; WorkerDiedError if the worker ends, or is killed after this time."""
        killer = threading.Timer(timeout_s, self._process.kill)
        began_s = time.monotonic()
        killer.start()
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
            answer = self._process.stdout.read(n_bytes)
        except OSError:
            answer = b""
        finally:
            killer.cancel()
        if len(answer) == n_bytes:
            return answer
        is_late = time.monotonic() - began_s >= timeout_s
        reason = f"did not answer within {timeout_s:g} s and was killed" if is_late else self._obituary()
        self.close()
        raise WorkerDiedError(f"the worker {reason}")

    def _obituary(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return how + (f" ({last[0].strip()[:300]})" if last else "")


def spleeter_home() -> Path:
    """Return where ``scripts/setup_spleeter.py`` puts environment and weights unless told otherwise."""
    return cache_folder() / "spleeter"


def python_of(venv: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return venv / "Scripts" / "python.exe" if sys.platform == "win32" else venv / "bin" / "python"


def spleeter_python() -> Path:
    """Return the interpreter of Spleeter's environment; SeparatorUnavailableError if there is none."""
    named = os.environ.get(PYTHON_VARIABLE)
    python = Path(named) if named else python_of(spleeter_home() / "venv")
    if not python.is_file():
        where = f", as {PYTHON_VARIABLE} says" if named else ""
        raise SeparatorUnavailableError(
            f"Spleeter's environment is missing: there is no {str(python)!r}{where}; {SETUP}"
        )
    return python


def model_folder(folder: Path | None = None) -> Path:
    """Return the folder that holds the checkpoint, by default the one of the environment variable or of the setup."""
    if folder is None:
        named = os.environ.get(MODEL_VARIABLE)
        folder = Path(named) if named else spleeter_home() / "models"
    inner = folder / MODEL_NAME
    return inner if inner.is_dir() and not (folder / "checkpoint").is_file() else folder


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the two files of the weights; SeparatorUnavailableError if weights are missing, empty or incomplete."""
    todo = f"{SETUP}, with --weights FOLDER if you have them"
    try:
        match = _CHECKPOINT_PATH.search((folder / "checkpoint").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SeparatorUnavailableError(
            f"there are no weights for Spleeter in {str(folder)!r}: no 'checkpoint' can be read ({error}); {todo}"
        ) from error
    if match is None:
        raise SeparatorUnavailableError(f"the file 'checkpoint' in {str(folder)!r} names no checkpoint; {todo}")
    files = [folder / f"{match[1]}{suffix}" for suffix in (".index", ".data-00000-of-00001")]
    missing = [file.name for file in files if not file.is_file() or file.stat().st_size == 0]
    if not (folder / PROBE_NAME).is_file():
        missing.append(PROBE_NAME)
    if missing:
        raise SeparatorUnavailableError(
            f"the weights for Spleeter in {str(folder)!r} are incomplete: {', '.join(missing)} missing or empty; {todo}"
        )
    return files


def _environment(threads: int) -> dict[str, str]:
    """Return the environment variables for the worker: ours, but not those that lead Python to our packages."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    limits = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return ours | dict.fromkeys(limits, str(threads)) | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}


def _end(process: subprocess.Popen, errors: BinaryIO) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, errors):
        with contextlib.suppress(OSError):  # a request that nobody read was still waiting to be written
            stream.close()
