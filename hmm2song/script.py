"""What all scripts do alike: report errors in one line, show progress, read counts, write figures and tables."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from hmm2song.errors import Hmm2SongError

if TYPE_CHECKING:
    from subprocess import Popen

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 180.0
GOES_ON = "the same command goes on from here"
"""What a script that keeps what it has done says when it is stopped."""


def main_of(
    file: str,
    parse_options: Callable[[Sequence[str] | None], argparse.Namespace],
    run: Callable[[argparse.Namespace], int | None],
    when_stopped: str = "nothing was written",
) -> Callable[..., int]:
    """Return the ``main`` of a script: it parses options, runs, and returns the exit status.

    An expected error is printed in one line, without a traceback. Options may have a ``when_stopped`` of their own.
    """
    name = Path(file).name

    def main(arguments: Sequence[str] | None = None) -> int:
        for stream in (sys.stdout, sys.stderr):  # titles may hold letters that the terminal's encoding lacks
            if isinstance(stream, io.TextIOWrapper):  # a notebook or a test may have put another one in its place
                stream.reconfigure(errors="replace")
        options = parse_options(arguments)
        try:
            return run(options) or 0
        except (Hmm2SongError, OSError) as error:
            print(f"{name}: {printable(str(error))}", file=sys.stderr)
            return EXIT_ERROR
        except KeyboardInterrupt:
            what_now = getattr(options, "when_stopped", when_stopped)
            print(f"{name}: stopped" + (f"; {what_now}" if what_now else ""), file=sys.stderr)
            return EXIT_INTERRUPTED

    return main


def printable(text: str) -> str:
    """Return the text without control characters: a title from a file must not steer the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


@contextmanager
def progress(label: str, unit: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar; yield a callback that takes how many are done and, if it was not known before, the total."""
    with tqdm(desc=label, total=total, unit=f" {unit}", file=sys.stderr) as bar:

        def show(done: int, total: int | None = None) -> None:
            bar.total = total or bar.total
            bar.update(done - bar.n)

        yield show


class Journal:
    """What a long run has found, by key, one line of JSON each: the next run goes on from there.

    A line that a killed run left torn is left out. Hmm2SongError if the file holds something else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
        self._found: dict[str, Any] = {}
        for line in filter(None, lines):
            if not line.startswith("["):
                raise Hmm2SongError(f"{file} holds something else than the results of this script; name another")
            with suppress(ValueError, TypeError):
                key, value = json.loads(line)
                self._found[key] = value

    def get(self, key: str) -> Any:
        """Return what was found for a key so far; None if nothing was looked for."""
        return self._found.get(key)

    def remembered(self, key: str, find: Callable[[], Any]) -> Any:
        """Return what was found for a key, now or in an earlier run; it consists of plain JSON types."""
        if key not in self._found:
            self._found[key] = find()
            self._file.parent.mkdir(exist_ok=True)
            with self._file.open("a", encoding="utf-8") as stream:  # the first line feed ends a torn line
                stream.write("\n" + json.dumps([key, self._found[key]], ensure_ascii=False))
        return self._found[key]


def free_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def start_app(port: int, log: Path, *arguments: object, **environment: str) -> Popen:
    """Start the app on a port of this machine, and wait until it answers; what it writes goes to the end of ``log``.

    ``arguments`` are those of Python: ``app.py`` and its options. Hmm2SongError if it does not answer in time.
    """
    import subprocess
    import urllib.request  # here: the command line imports this file, and needs neither

    command = [sys.executable, *map(str, arguments), "--port", str(port), "--host", "127.0.0.1"]
    with log.open("a") as output:
        known = {**os.environ, "no_proxy": "127.0.0.1", **environment}
        app = subprocess.Popen(command, cwd=ROOT, env=known, stdout=output, stderr=output)
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s and app.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5):
            return app
        time.sleep(0.2)
    app.kill()
    raise Hmm2SongError(f"the app did not start: {log.read_text(encoding='utf-8', errors='replace')[-300:].strip()}")


@contextmanager
def running_app(log: Path, *options: object, **environment: str) -> Iterator[tuple[str, Popen]]:
    """Run ``app.py`` for a while; yield its address and its process, see :func:`start_app`."""
    port = free_port()
    app = start_app(port, log, "app.py", *options, **environment)
    try:
        yield f"http://127.0.0.1:{port}", app
    finally:
        app.terminate()
        app.wait()


def interval_text(estimate: dict[str, float], sign: str = "") -> str:
    """Write a mean with its 95 % bootstrap interval."""
    return f"{estimate['value']:{sign}.3f} [{estimate['low']:{sign}.3f}, {estimate['high']:{sign}.3f}]"


def positive(text: str) -> int:
    """Read an option that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text!r}")
    return int(text)


def output_file(text: str) -> Path:
    """Read an option that names a file to write; its folder must exist, so that a long run does not end in vain."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent} to write {path.name} to")
    return path


def table_rows(path: Path, *columns: str) -> list[dict[str, str]]:
    """Read a CSV; Hmm2SongError if it cannot be read, lacks one of the columns, or holds no row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise Hmm2SongError(f"{path}: {error.strerror}; give a CSV with the columns {','.join(columns)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Hmm2SongError(f"{path} is not a CSV in UTF-8 ({error})") from error
    if not rows or not rows[0].keys() >= set(columns):
        raise Hmm2SongError(f"{path} needs the columns {','.join(columns)} and at least one row")
    return [{name: value or "" for name, value in row.items() if name is not None} for row in rows]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def write_json(path: Path | None, figures: object) -> None:
    """Write figures, if a file for them was given."""
    if path:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
