#!/usr/bin/env python
"""Measure speed: search latency by catalog size, and throughput of the running app by number of clients.

    python scripts/benchmark.py --sizes 2000 10000 100000 --catalog songs --queries Q.csv --keep simulated
    python scripts/benchmark.py --clients 1 4 16 64

Catalogs of a given size are simulated: some songs of --catalog are kept as they are, the targets of simulated hums and
of the real ones of --queries, and the phrases of the others are recombined to as many songs as are wanted
(hmm2song/training/recombining.py), which are written to disk one by one. Each size is searched in a process of its own.
Throughput is that of `python app.py` asked through gradio_client, by clients on the same machine. All figures are from
one run on one machine: compare the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import BUNDLED_CATALOG, encoder_of
from hmm2song.catalog.storage import EMBEDDINGS_FILE
from hmm2song.catalog.writer import writing
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.evaluation.accuracy import Query, read_queries
from hmm2song.index.base import first_windows
from hmm2song.machine import n_cores, peak_memory_bytes
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.recognizer import Recognizer
from hmm2song.script import free_port, main_of, output_file, wait_for_app, write_json
from hmm2song.song import Song
from hmm2song.training.recombining import notes_of, phrases_of, recombined
from hmm2song.training.singer import FEMALE, Singer, hum_contour

EXAMPLES = ROOT / "assets" / "examples"
LARGEST_TARGET_SHARE = 0.5
"""Of the songs given: the others give their phrases."""
SONGS_AT_ONCE = 64
"""Songs that are embedded together; so many are in memory."""


@dataclass(frozen=True, eq=False)
class Hum:
    """A hum to search, a recording or a melody, and the songs that answer it."""

    sound: Path | Melody
    acceptable: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """Latency at one catalog size; ``build_s`` is 0 if the catalog was there, top-1 None without such hums."""

    n_songs: int
    song_hours: float
    build_s: float
    kb_per_song: float
    kb_per_song_without_embeddings: float
    open_s: float
    median_s: float
    p95_s: float
    cpu_s: float
    ratio_to_first: float
    peak_mb: float
    top1_simulated: float | None
    top1_real: float | None


@dataclass(frozen=True)
class Throughput:
    """Throughput with one number of clients.

    ``slowest_client`` is the median wait of the client that waits longest, divided by that of all; ``cpu_s`` what the
    app takes per answer, None where the system does not tell.
    """

    clients: int
    requests: int
    per_second: float
    median_s: float
    p95_s: float
    failed: int
    slowest_client: float
    cpu_s: float | None


def run(options: argparse.Namespace) -> None:
    """Measure, print and write the figures."""
    load = os.getloadavg()[0]
    print(f"{n_cores()} cores, load before the run {load:.1f}")
    latencies = measure_latencies(options) if options.sizes else []
    throughputs = []
    if options.clients:
        throughputs = measure_throughputs(options.clients, sorted(EXAMPLES.glob("*.flac")), options.repeats)
    write_json(options.json, {"load_before": load, "latency": [asdict(row) for row in latencies],
                              "throughput": [asdict(row) for row in throughputs]})  # fmt: skip


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="catalog sizes in songs")
    parser.add_argument("--catalog", type=Path, default=BUNDLED_CATALOG, help="songs to make others of")
    parser.add_argument("--queries", type=Path, help="CSV with the columns file,song_id: real hums of its songs")
    parser.add_argument("--targets", type=int, default=1000, help="songs kept for simulated hums (default 1000)")
    parser.add_argument("--limit", type=int, default=100, help="hums of each kind to search (default 100)")
    parser.add_argument("--song-s", type=float, default=210.0, help="length of a song made (default 210 s)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the catalogs here, and use what is there")
    parser.add_argument("--clients", type=int, nargs="*", default=[], help="numbers of concurrent clients")
    parser.add_argument("--repeats", type=int, default=5, help="times each client asks each example (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="for songs and hums (default 0)")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    if not options.sizes and not options.clients:
        parser.error("give --sizes, --clients or both")
    return options


# Catalogs by size ---------------------------------------------------------------------------------------------


def measure_latencies(options: argparse.Namespace) -> list[Latency]:
    """Measure and print the latency at each size."""
    encoder = encoder_of(options.catalog)
    pool = Catalog.load(options.catalog, encoder, verify=True)
    queries = read_queries(options.queries) if options.queries else []
    rng = np.random.default_rng(options.seed)
    targets = choose_targets(pool, queries, options.targets, rng)
    hums = [*simulated_hums(pool, targets, options.limit, rng), *real_hums(queries, options.limit, rng)]
    rows: list[Latency] = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            folder = (options.keep or Path(temporary)) / f"{size} songs of {options.song_s:g} s"
            started_s = time.perf_counter()
            if not folder.exists():
                write_catalog(folder, pool, targets, size, options, encoder)
            build_s = time.perf_counter() - started_s
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                figures = process.submit(measure_catalog, folder, options.catalog, hums).result()
            ratio = figures["median_s"] / (rows[0].median_s if rows else figures["median_s"])
            rows.append(Latency(build_s=round(build_s, 1), ratio_to_first=round(ratio, 2), **figures))
            print(rows[-1], flush=True)
    if len(rows) > 1 and rows[0].n_songs != rows[-1].n_songs:
        growth = math.log(rows[-1].cpu_s / rows[0].cpu_s) / math.log(rows[-1].n_songs / rows[0].n_songs)
        print(f"processor time grows with the catalog to the power of {growth:.2f}")
    return rows


def choose_targets(pool: Catalog, queries: list[Query], n_targets: int, rng: np.random.Generator) -> list[int]:
    """Return the songs to keep: those of the queries first, then random ones."""
    asked = {pool.position(song_id) for query in queries for song_id in query.acceptable}
    others = [song for song in rng.permutation(len(pool)).tolist() if song not in asked]
    return [*sorted(asked), *others[: min(n_targets, int(LARGEST_TARGET_SHARE * len(pool)))]]


def simulated_hums(pool: Catalog, targets: list[int], limit: int, rng: np.random.Generator) -> list[Hum]:
    """Let the simulated singer hum random targets for eight seconds."""
    hums = []
    for song in rng.permutation(targets).tolist():
        if len(hums) == limit:
            break
        try:
            sung = hum_contour(notes_of(pool.melodies[song]), (Singer(), FEMALE)[len(hums) % 2], rng)
        except MelodyError:  # too short a song
            continue
        hums.append(Hum(sung.melody, (pool.songs.text(song, "id"),)))
    return hums


def real_hums(queries: list[Query], limit: int, rng: np.random.Generator) -> list[Hum]:
    """Choose random queries."""
    chosen = rng.permutation(len(queries))[:limit]
    return [Hum(queries[number].file, queries[number].acceptable) for number in chosen]


def write_catalog(
    folder: Path,
    pool: Catalog,
    targets: list[int],
    size: int,
    options: argparse.Namespace,
    encoder: MelodyEncoder,
) -> None:
    """Write the targets and as many songs made of the phrases of the others as are wanted."""
    if size < len(targets):
        raise Hmm2SongError(f"{size} songs are fewer than the {len(targets)} targets; give fewer --targets")
    sources = sorted(set(range(len(pool))) - set(targets))
    phrases = [phrase for song in sources for phrase in phrases_of(pool.melodies[song])]
    if not phrases:
        raise Hmm2SongError("no song is left to take phrases from; give fewer --targets or more songs")
    first_window = first_windows(pool.n_windows)

    def made(number: int) -> tuple[Melody, np.ndarray]:
        melody = recombined(phrases, np.random.default_rng([options.seed, number]), options.song_s)
        return melody, encoder.embed_song(fill_rests(melody))

    with writing(folder, encoder.fingerprint) as writer, ThreadPoolExecutor(n_cores()) as threads:
        for song in targets:
            windows = pool.embeddings[first_window[song] : first_window[song + 1]]
            writer.add(pool.songs[song], pool.melodies[song], windows, bool(pool.tracked[song]))
        n_made = size - len(targets)
        for first in tqdm(range(0, n_made, SONGS_AT_ONCE), desc=folder.name, leave=False, disable=None):
            numbers = range(first, min(first + SONGS_AT_ONCE, n_made))
            for number, (melody, windows) in zip(numbers, threads.map(made, numbers), strict=True):
                writer.add(Song(f"made-{number}", f"Made {number}"), melody, windows)


def measure_catalog(folder: Path, source: Path, hums: list[Hum]) -> dict[str, float | None]:
    """Open a catalog made of another, search the hums, and return the figures."""
    encoder = encoder_of(source)
    n_bytes = {path.name: path.stat().st_size for path in folder.iterdir()}
    started_s = time.perf_counter()
    catalog = Catalog.load(folder, encoder)
    recognizer = Recognizer(catalog, encoder)
    open_s = time.perf_counter() - started_s
    recognizer.warm_up()
    seconds, found, cpu_s = [], {Melody: [], Path: []}, time.process_time()
    for hum in hums:
        is_melody = isinstance(hum.sound, Melody)
        result = (recognizer.recognize_melody if is_melody else recognizer.recognize)(hum.sound)
        seconds.append(result.seconds)
        found[Melody if is_melody else Path].append(bool(result.matches) and result.matches[0].id in hum.acceptable)
    cpu_s = (time.process_time() - cpu_s) / len(hums)
    top1 = {kind: round(float(np.mean(answers)), 3) if answers else None for kind, answers in found.items()}
    kb_per_song = sum(n_bytes.values()) / len(catalog) / 1000
    return {
        "n_songs": len(catalog),
        "song_hours": round(float(catalog.melodies.duration_s.sum()) / 3600, 1),
        "kb_per_song": round(kb_per_song, 2),
        "kb_per_song_without_embeddings": round(kb_per_song - n_bytes[EMBEDDINGS_FILE] / len(catalog) / 1000, 2),
        "open_s": round(open_s, 3),
        "median_s": round(float(np.median(seconds)), 3),
        "p95_s": round(float(np.percentile(seconds, 95)), 3),
        "cpu_s": round(cpu_s, 3),
        "peak_mb": round((peak_memory_bytes() or 0) / 2**20),
        "top1_simulated": top1[Melody],
        "top1_real": top1[Path],
    }


# Clients ------------------------------------------------------------------------------------------------------


def measure_throughputs(clients: list[int], hums: list[Path], repeats: int) -> list[Throughput]:
    """Start the app and ask it with several clients at once."""
    from gradio_client import Client

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, ROOT / "app.py", "--port", str(port)]
    started_s = time.perf_counter()
    with tempfile.NamedTemporaryFile() as log:
        app = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for_app(app, url, Path(log.name))
            client = Client(url, verbose=False)
            print(f"app answers after {time.perf_counter() - started_s:.1f} s")
            first_s, later_s = [ask(client, hums[0]) for _ in range(2)]
            print(f"first query {first_s:.2f} s, second {later_s:.2f} s")
            return [measure_clients(Client, url, app.pid, n_clients, hums * repeats) for n_clients in clients]
        finally:
            app.terminate()
            app.wait()


def ask(client, hum: Path) -> float:
    """Ask once; return the seconds, from sending to the parsed answer."""
    from gradio_client import handle_file

    started_s = time.perf_counter()
    client.predict(audio=handle_file(hum), genres=[], gender="any", top_k=10, api_name="/recognize")
    return time.perf_counter() - started_s


def spent_cpu_s(pid: int) -> float | None:
    """Return the processor time that a process has taken; None where the system does not tell."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return None
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def measure_clients(client_class: type, url: str, pid: int, n_clients: int, hums: list[Path]) -> Throughput:
    """Let ``n_clients`` share the questions, each over its own connection."""
    from gradio_client.exceptions import AppError
    from gradio_client.utils import QueueError
    from httpx import TransportError

    # Without TLS: or each request of a client reads the certificates anew, which takes this process 0.1 s a question,
    # and the uploads of 64 clients five seconds.
    connections = [client_class(url, verbose=False, ssl_verify=False) for _ in range(n_clients)]
    questions = hums * max(1, n_clients // 4)

    def work(share: int) -> list[float | None]:
        seconds: list[float | None] = []
        for hum in questions[share::n_clients]:
            try:
                seconds.append(ask(connections[share], hum))
            except (AppError, QueueError, TransportError):  # the queue is full, or the machine too busy to answer
                seconds.append(None)
        return seconds

    started_s, before_s = time.perf_counter(), spent_cpu_s(pid)
    with ThreadPoolExecutor(n_clients) as pool:
        shares = list(pool.map(work, range(n_clients)))
    elapsed_s, after_s = time.perf_counter() - started_s, spent_cpu_s(pid)
    answers = [second for share in shares for second in share]
    answered = [second for second in answers if second is not None]
    waits_s = [np.median([second for second in share if second is not None]) for share in shares if any(share)]
    row = Throughput(
        clients=n_clients,
        requests=len(answers),
        per_second=round(len(answered) / elapsed_s, 2),
        median_s=round(float(np.median(answered)), 3),
        p95_s=round(float(np.percentile(answered, 95)), 3),
        failed=len(answers) - len(answered),
        slowest_client=round(float(max(waits_s) / np.median(answered)), 2),
        cpu_s=None if before_s is None or after_s is None else round((after_s - before_s) / len(answered), 3),
    )
    print(row, flush=True)
    return row


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
