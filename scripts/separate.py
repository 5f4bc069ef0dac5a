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
from hmm2song.indexing.report import csv_text
from hmm2song.indexing.separation.separation import USAGE, open_separator
from hmm2song.indexing.separation.stems import Separator, Stems
from hmm2song.indexing.sources import is_recording, readable_name, walk
from hmm2song.script import EXIT_ERROR, GOES_ON, main_of, positive

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
        self._n_bytes = {file: file.stat().st_size if file.exists() else 0 for file in files}  # 0: a dead link
        self.bar = tqdm(total=sum(self._n_bytes.values()), unit="B", unit_scale=True, file=sys.stderr)
        self._shown: dict[Path, int] = {}
        self.bar.set_description(f"0/{self._n_files}")

    def advance(self, file: Path, share: float) -> None:
        """Show how far a recording is; end its separation if the run is being stopped."""
        if self.stopping.is_set():
            raise StoppedError("stopped")
        with self._lock:
            n_bytes = round(share * self._n_bytes[file])
            self.bar.update(n_bytes - self._shown.get(file, 0))
            self._shown[file] = n_bytes

    def finish(self, file: Path) -> None:
        """Count a recording as done, separated or not."""
        self.advance(file, 1.0)
        self._n_done += 1
        self.bar.set_description(f"{self._n_done}/{self._n_files}")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True, metavar="FOLDER", help="folder of recordings")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the stems")
    parser.add_argument("--backend", required=True, help=f"{USAGE} (of these, those that separate)")
    parser.add_argument("--workers", type=positive, default=1, help="recordings at a time; default: %(default)s")
    parser.add_argument("--threads", type=positive, default=1, help="cores per recording; default: %(default)s")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Separate everything; return the exit status."""
    music, out, backend = options.music, options.out, options.backend
    if backend == "none" or backend.startswith("stems:"):
        raise SeparatorUnavailableError(f"the backend {backend!r} separates nothing; give an onnx or spleeter one")
    if not music.is_dir():
        raise SeparatorUnavailableError(f"there is no folder {str(music)!r}; check the name")
    found, unreadable = walk(music, [out.resolve()])
    files = [file for file in found if is_recording(file)]
    if not files:
        raise SeparatorUnavailableError(f"there is no recording in {str(music)!r} ({', '.join(AUDIO_SUFFIXES)})")
    separators = [open_separator(backend, options.threads) for _ in range(min(options.workers, len(files)))]
    results = separate_all(files, music, out, separators)
    names = {file: readable_name(file.relative_to(music).as_posix()) for file in files}
    stems = {file: result for file, result in results.items() if isinstance(result, Stems)}
    skipped = [(entry.path, entry.reason) for entry in unreadable if is_recording(Path(entry.path))]
    for file in results.keys() - stems.keys():
        skipped.append((names[file], str(results[file]).removeprefix(f"{file.name!r}: ")))
    instrumental = [(names[file], f"{made.voice_db:.1f} dB") for file, made in stems.items() if made.is_instrumental]
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / SKIPPED_NAME, csv_text([("path", "reason"), *sorted(skipped)]))
    write_whole(out / INSTRUMENTAL_NAME, csv_text([("path", "voice"), *instrumental]))
    print(
        f"{out}: {len(stems)} of {len(files)} recordings are separated, {len(instrumental)} of them instrumental; "
        f"{len(skipped)} skipped, see {out / SKIPPED_NAME}"
    )
    return 0 if stems else EXIT_ERROR


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
        display.bar.close()
    return {file: results[file] for file in files}


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
