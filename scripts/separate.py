#!/usr/bin/env python
"""Separate the recordings of a folder into voice and accompaniment.

    python scripts/separate.py --music my-music --out my-stems --backend onnx:htdemucs.onnx --workers 2
    python scripts/separate.py --music my-music --out my-stems --backend spleeter

my-music/rock/song.mp3 becomes my-stems/rock/song.mp3/vocals.flac and accompaniment.flac; later steps read them with the
backend stems:my-stems. Stopped or killed, the same command goes on with the recording it was at. Recordings that cannot
be separated are skipped and listed in my-stems/skipped.csv, instrumentals in my-stems/instrumental.csv.

Every worker separates one recording at a time on --threads cores; docs/separation.md says what a backend needs.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.audio import AUDIO_SUFFIXES
from hmm2song.collect.info_csv import write_whole
from hmm2song.errors import AudioError, Hmm2SongError, SeparatorUnavailableError
from hmm2song.indexing.separation.separation import USAGE, Separator, Stems, open_separator

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
SKIPPED_NAME = "skipped.csv"
INSTRUMENTAL_NAME = "instrumental.csv"


class StoppedError(Hmm2SongError):
    """The run ends; raised between two segments of a recording."""


class Display:
    """Progress and time left, in bytes of the recordings: their lengths are known only when they are decoded."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._n_files, self._n_done = len(files), 0
        self._bar = tqdm(total=sum(size_of(file) for file in files), unit="B", unit_scale=True, file=sys.stderr)
        self._shown: dict[Path, int] = {}
        self._bar.set_description(f"0/{self._n_files}")

    def advance(self, file: Path, share: float) -> None:
        """Show how far a recording is; end its separation if the run is being stopped."""
        if self.stopping.is_set():
            raise StoppedError("stopped")
        with self._lock:
            n_bytes = round(share * size_of(file))
            self._bar.update(n_bytes - self._shown.get(file, 0))
            self._shown[file] = n_bytes

    def finish(self, file: Path) -> None:
        """Count a recording as done, separated or not."""
        self.advance(file, 1.0)
        self._n_done += 1
        self._bar.set_description(f"{self._n_done}/{self._n_files}")

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._bar.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):  # names may hold letters that the terminal's encoding lacks
        stream.reconfigure(errors="replace")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True, metavar="FOLDER", help="folder of recordings")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the stems")
    parser.add_argument("--backend", required=True, help=f"{USAGE} (of these, those that separate)")
    parser.add_argument("--workers", type=positive, default=1, help="recordings at a time; default: %(default)s")
    parser.add_argument("--threads", type=positive, default=1, help="cores per recording; default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        return run(options.music, options.out, options.backend, options.workers, options.threads)
    except (Hmm2SongError, OSError) as error:
        print(f"separate.py: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("separate.py: stopped; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED


def run(music: Path, out: Path, backend: str, n_workers: int, threads: int) -> int:
    """Separate everything; return the exit status."""
    if backend == "none" or backend.startswith("stems:"):
        raise SeparatorUnavailableError(f"the backend {backend!r} separates nothing; give an onnx or spleeter one")
    files = find_recordings(music, out)
    if not files:
        suffixes = ", ".join(sorted(AUDIO_SUFFIXES))
        raise SeparatorUnavailableError(f"there is no recording in {str(music)!r} ({suffixes})")
    separators = [open_separator(backend, threads) for _ in range(min(n_workers, len(files)))]
    results = separate_all(files, music, out, separators)
    skipped = [(file, str(result)) for file, result in results.items() if isinstance(result, AudioError)]
    stems = {file: result for file, result in results.items() if isinstance(result, Stems)}
    instrumental = [(file, f"{found.voice_db:.1f} dB") for file, found in stems.items() if found.is_instrumental]
    write_table(out / SKIPPED_NAME, ("path", "reason"), skipped, music)
    write_table(out / INSTRUMENTAL_NAME, ("path", "voice"), instrumental, music)
    print(
        f"{out}: {len(stems)} of {len(files)} recordings are separated, {len(instrumental)} of them instrumental; "
        f"{len(skipped)} skipped, see {out / SKIPPED_NAME}"
    )
    return 0 if stems else EXIT_ERROR


def find_recordings(music: Path, out: Path) -> list[Path]:
    """Return the recordings of a folder in sorted order, without hidden files and without what lies in ``out``."""
    if not music.is_dir():
        raise SeparatorUnavailableError(f"there is no folder {str(music)!r}; check the name")
    found = []
    for parent, folders, names in os.walk(music):
        folders[:] = [
            name for name in folders if not name.startswith(".") and Path(parent, name).resolve() != out.resolve()
        ]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.suffix.lower() in AUDIO_SUFFIXES)


def separate_all(
    files: Sequence[Path], music: Path, out: Path, separators: Sequence[Separator]
) -> dict[Path, Stems | AudioError]:
    """Separate recordings, one at a time with every separator; return stems or what was wrong, in order."""
    display = Display(files)
    idle = list(separators)

    def separate(file: Path) -> Stems | AudioError:
        separator = idle.pop()  # never empty: there are as many threads as separators
        try:
            folder = out / file.relative_to(music)
            return separator.separate(file, folder, lambda share: display.advance(file, share))
        except AudioError as error:
            return error
        finally:
            idle.append(separator)
            display.finish(file)

    results: dict[Path, Stems | AudioError] = {}
    pool = ThreadPoolExecutor(len(separators))  # threads: the work is done in native code or in other processes
    try:
        futures: dict[Future, Path] = {pool.submit(separate, file): file for file in files}
        for future in as_completed(futures):
            results[futures[future]] = future.result()
    finally:
        display.stopping.set()
        pool.shutdown(cancel_futures=True)
        display.close()
    return {file: results[file] for file in files}


def write_table(file: Path, columns: tuple[str, str], rows: Sequence[tuple[Path, str]], music: Path) -> None:
    """Write recordings and what is to be said of them, as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for recording, remark in rows:
        name = os.fsencode(recording.relative_to(music).as_posix()).decode("utf-8", "replace")
        writer.writerow((name, remark.removeprefix(f"{recording.name!r}: ")))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, text.getvalue())


def size_of(file: Path) -> int:
    """Return the size of a file in bytes; 0 where it cannot be told, as for a dead link."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def positive(text: str) -> int:
    """Read a number of workers or threads."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
