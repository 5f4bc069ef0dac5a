#!/usr/bin/env python
"""Measure speed: search latency by catalog size, and throughput of the running app by number of clients.

    python scripts/benchmark.py --sizes 2000 10000 50000 --clients 1 4 16

Catalogs of a given size are made of the bundled melodies and transposed, re-timed copies of them. The hums are the
bundled examples. Latency is that of Recognizer.recognize, audio file to ranking; throughput is that of `python app.py`
asked through gradio_client. All figures are from one run on one machine: compare the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.machine import n_cores, peak_memory_bytes
from hmm2song.melody.melody import Melody
from hmm2song.recognizer import Recognizer
from hmm2song.script import free_port, output_file, write_json

EXAMPLES = ROOT / "assets" / "examples"
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Latency:
    """Latency at one catalog size."""

    n_songs: int
    song_hours: float
    build_s: float
    median_s: float
    p95_s: float
    ratio_to_first: float
    peak_mb: float


@dataclass(frozen=True)
class Throughput:
    """Throughput with one number of clients."""

    clients: int
    requests: int
    per_second: float
    median_s: float
    p95_s: float
    failed: int


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2000, 10000, 50000], help="catalog sizes in songs")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 16], help="numbers of concurrent clients")
    parser.add_argument("--repeats", type=int, default=5, help="times each example hum is asked (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="for the copies (default 0)")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    options = parser.parse_args()
    hums = sorted(EXAMPLES.glob("*.flac"))
    if not hums:
        parser.error("assets/examples holds no hums; make them with scripts/make_examples.py")
    load = os.getloadavg()[0]
    print(f"{n_cores()} cores, load before the run {load:.1f}, {len(hums)} hums")
    latencies = measure_latencies(options.sizes, hums, options.repeats, options.seed)
    throughputs = measure_throughputs(options.clients, hums, options.repeats) if options.clients else []
    write_json(options.json, {"load_before": load, "latency": [asdict(row) for row in latencies],
                              "throughput": [asdict(row) for row in throughputs]})  # fmt: skip
    return 0


def measure_latencies(sizes: list[int], hums: list[Path], repeats: int, seed: int) -> list[Latency]:
    """Measure and print the latency at each size."""
    rows: list[Latency] = []
    for size in sizes:
        started_s = time.perf_counter()
        recognizer = enlarged(size, seed)
        build_s = time.perf_counter() - started_s
        recognizer.warm_up()
        seconds = [recognizer.recognize(hum).seconds for _ in range(repeats) for hum in hums]
        median_s = float(np.median(seconds))
        rows.append(Latency(
            n_songs=size,
            song_hours=round(sum(melody.duration_s for melody in recognizer.catalog.melodies) / 3600, 1),
            build_s=round(build_s, 1),
            median_s=round(median_s, 3),
            p95_s=round(float(np.percentile(seconds, 95)), 3),
            ratio_to_first=round(median_s / (rows[0].median_s if rows else median_s), 2),
            peak_mb=round((peak_memory_bytes() or 0) / 2**20),
        ))  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def enlarged(n_songs: int, seed: int) -> Recognizer:
    """Return a recogniser over the bundled melodies and copies of them, ``n_songs`` in all."""
    melodies = Recognizer.from_pretrained().catalog.melodies
    rng = np.random.default_rng(seed)
    copies = [
        melodies[index] if index < len(melodies) else changed(melodies[index % len(melodies)], rng)
        for index in tqdm(range(n_songs), desc=f"{n_songs} songs", leave=False)
    ]
    return Recognizer.from_melodies({f"copy {index}": melody for index, melody in enumerate(copies)})


def changed(melody: Melody, rng: np.random.Generator) -> Melody:
    """Transpose by up to an octave, change the tempo by up to a third, and shuffle four-second blocks."""
    speed = rng.uniform(0.75, 1.33)
    frames = np.minimum(
        (np.arange(int(len(melody.pitch_midi) / speed)) * speed).astype(int), len(melody.pitch_midi) - 1
    )
    blocks = np.array_split(frames, max(1, len(frames) // 100))
    order = rng.permutation(len(blocks))
    return Melody(melody.pitch_midi[np.concatenate([blocks[i] for i in order])] + rng.uniform(-6, 6))


def measure_throughputs(clients: list[int], hums: list[Path], repeats: int) -> list[Throughput]:
    """Start the app and ask it with several clients at once."""
    from gradio_client import Client

    port = free_port()
    started_s = time.perf_counter()
    app = subprocess.Popen([sys.executable, ROOT / "app.py", "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        client = connect(Client, f"http://127.0.0.1:{port}", app)
        print(f"app answers after {time.perf_counter() - started_s:.1f} s")
        first_s, later_s = [ask(client, hums[0]) for _ in range(2)]
        print(f"first query {first_s:.2f} s, second {later_s:.2f} s")
        return [measure_clients(Client, client.src, n_clients, hums * repeats) for n_clients in clients]
    finally:
        app.terminate()
        app.wait()


def connect(client_class: type, url: str, app: subprocess.Popen):
    """Wait until the app answers."""
    from httpx import TransportError

    deadline_s = time.perf_counter() + START_TIMEOUT_S
    while time.perf_counter() < deadline_s and app.poll() is None:
        try:
            return client_class(url, verbose=False)
        except (TransportError, ValueError):  # not listening yet
            time.sleep(0.2)
    reason = f"ended with code {app.poll()}" if app.poll() is not None else f"took over {START_TIMEOUT_S:.0f} s"
    raise SystemExit(f"the app did not start ({reason}); run python app.py to see why")


def ask(client, hum: Path) -> float:
    """Ask once; return the seconds, from sending to the parsed answer."""
    from gradio_client import handle_file

    started_s = time.perf_counter()
    client.predict(audio=handle_file(hum), genres=[], gender="any", top_k=10, api_name="/recognize")
    return time.perf_counter() - started_s


def measure_clients(client_class: type, url: str, n_clients: int, hums: list[Path]) -> Throughput:
    """Let ``n_clients`` share the questions, each over its own connection."""
    from gradio_client.exceptions import AppError
    from gradio_client.utils import QueueError

    connections = [client_class(url, verbose=False) for _ in range(n_clients)]
    questions = hums * max(1, n_clients // 4)

    def work(share: int) -> list[float | None]:
        seconds: list[float | None] = []
        for hum in questions[share::n_clients]:
            try:
                seconds.append(ask(connections[share], hum))
            except (AppError, QueueError):  # most often refused because the queue is full
                seconds.append(None)
        return seconds

    started_s = time.perf_counter()
    with ThreadPoolExecutor(n_clients) as pool:
        answers = [second for share in pool.map(work, range(n_clients)) for second in share]
    elapsed_s = time.perf_counter() - started_s
    answered = [second for second in answers if second is not None]
    row = Throughput(
        clients=n_clients,
        requests=len(answers),
        per_second=round(len(answered) / elapsed_s, 2),
        median_s=round(float(np.median(answered)), 3),
        p95_s=round(float(np.percentile(answered, 95)), 3),
        failed=len(answers) - len(answered),
    )
    print(row, flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
