#!/usr/bin/env python
"""Measure speed: search latency by catalog size, and throughput of the running app by number of clients.

    python scripts/benchmark.py --sizes 2000 10000 100000 --catalog songs --queries Q.csv --keep simulated
    python scripts/benchmark.py --sizes 100000 ... --phrases POOL --drop versions.tsv --forms exact faiss compact
    python scripts/benchmark.py --clients 1 4 16 64

Catalogs of a given size are simulated: some songs of --catalog are kept as they are, the targets of simulated hums and
of the real ones of --queries. The phrases of the others, or of --phrases, are recombined to blocks, and these put
together to as many songs as are wanted (hmm2song/training/blocks.py). All are written piece by piece, and a run that
was ended goes on with the blocks that it has. Each catalog is searched in a process of its own.
Throughput is that of `python app.py` asked through gradio_client, by clients on the same machine. All figures are from
one run on one machine: compare the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import BUNDLED_CATALOG, encoder_of
from hmm2song.catalog.storage import EMBEDDINGS_FILE, WINDOWS_FILE, whole_file
from hmm2song.catalog.writer import writing
from hmm2song.embeddings.codes import import_faiss
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.evaluation.accuracy import Query, read_queries
from hmm2song.evaluation.index_recall import recall
from hmm2song.index.approximate import SETTING_PREFIX, WINDOWS_PER_LIST, build, lists_for, trained
from hmm2song.index.base import first_windows
from hmm2song.indexing.compact import CompactForm, write_compact
from hmm2song.machine import n_cores, own_memory_bytes, peak_memory_bytes
from hmm2song.match.search_index import embeddings_sha256, index_of, own_index
from hmm2song.match.votes import embed_hum
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.melody.scores import read_rows
from hmm2song.recognizer import Recognizer
from hmm2song.script import main_of, output_file, running_app, write_json
from hmm2song.song import GENDERS, Song
from hmm2song.training.blocks import Block, make_block, song_of_blocks
from hmm2song.training.recombining import notes_of, phrases_of
from hmm2song.training.singer import FEMALE, Singer, hum_contour

EXAMPLES = ROOT / "assets" / "examples"
FORMS = ("exact", "faiss", "compact")
"""The catalog as it is, with an approximate index beside it, and compact."""
FILTERS = {"none": {}, "half": {"gender": "female"}, "fifth": {"genres": ["Common"]}, "narrow": {"genres": ["Rare"]}}
"""By about the share of the songs made that pass; the targets' genre and gender are not known, so they pass, too."""
N_RECALLED = 50
"""Windows of hums whose neighbours are looked up to see what an index misses."""
LARGEST_TARGET_SHARE = 0.5
"""Of the songs given: the others give their phrases."""
BLOCKS_AT_ONCE = 250
"""Blocks in a file; a run that was ended loses no more."""


@dataclass(frozen=True, eq=False)
class Hum:
    """A hum to search, a recording or a melody, and the songs that answer it."""

    sound: Path | Melody
    acceptable: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """Latency at one catalog size; ``build_s`` is 0 if the catalog was there, top-1 None without such hums.

    ``own_mb`` is memory that is not a mapped file, after the last hum; ``same_first`` the share of the hums whose first
    song is that of the exact search of this catalog, ``recall`` the share of the nearest windows that an index finds
    among the ``n_chosen`` songs that the filter leaves.
    """

    form: str
    n_songs: int
    filter: str
    n_chosen: int
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
    own_mb: float
    same_first: float | None
    recall: float | None
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
    parser.add_argument("--phrases", type=Path, help="JSONL with melodies to take the phrases from")
    parser.add_argument("--drop", type=Path, help="table whose first column holds ids of melodies not to take")
    parser.add_argument("--blocks", type=int, default=20_000, help="different blocks to make songs of (default 20000)")
    parser.add_argument("--song-s", type=float, default=210.0, help="length of a song made (default 210 s)")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["exact"], help="what to search (default exact)")
    parser.add_argument("--filters", nargs="+", choices=FILTERS, default=["none"], help="filters (default none)")
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
    blocks: list[Block] = []
    with tempfile.TemporaryDirectory() as temporary:
        keep = options.keep or Path(temporary)
        for size in options.sizes:
            folder = keep / f"{size} songs of {options.song_s:g} s"
            if size < len(targets):
                raise Hmm2SongError(f"{size} songs are fewer than the {len(targets)} targets; give fewer --targets")
            exact: list[list[str]] = []
            for form in options.forms:
                started_s = time.perf_counter()
                if not place_of(folder, form).exists():
                    blocks = blocks or blocks_of(keep / "blocks", pool, targets, options)
                    prepare(folder, form, Songs(pool, targets, blocks, options), size)
                build_s = round(time.perf_counter() - started_s, 1)
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                    task = process.submit(measure_catalog, folder, form, options.catalog, hums, options.filters)
                    measured, firsts = task.result()
                exact = firsts if form == "exact" else exact
                for number, figures in enumerate(measured):
                    alike = [row for row in rows if (row.form, row.filter) == (form, figures["filter"])]
                    ratio = figures["median_s"] / (alike[0].median_s if alike else figures["median_s"])
                    same = np.equal(firsts[number], exact[number]) if exact else None
                    same_first = None if same is None else round(float(np.mean(same)), 3)
                    rows.append(
                        Latency(build_s=build_s, ratio_to_first=round(ratio, 2), same_first=same_first, **figures)
                    )
                    print(rows[-1], flush=True)
    for form in options.forms:
        of_form = [row for row in rows if (row.form, row.filter) == (form, options.filters[0])]
        first, last = of_form[0], of_form[-1]
        if first.n_songs != last.n_songs:
            growth = math.log(last.cpu_s / first.cpu_s) / math.log(last.n_songs / first.n_songs)
            print(f"{form}: processor time grows with the catalog to the power of {growth:.2f}")
    return rows


def prepare(folder: Path, form: str, songs: Songs, size: int) -> None:
    """Make a catalog in one of the :data:`FORMS`."""
    if form == "compact":
        songs.write_compact(place_of(folder, form), size)
        return
    if not folder.exists():
        songs.write(folder, size)
    if form == "faiss":
        catalog = Catalog.load(folder, encoder_of(songs.options.catalog))
        build(catalog.embeddings, place_of(folder, form), embeddings_sha256(catalog))


def place_of(folder: Path, form: str) -> Path:
    """Return where a catalog is in a form."""
    return folder if form == "exact" else folder.with_name(f"{folder.name}.{form}")


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


@dataclass(frozen=True, eq=False)
class Songs:
    """The songs of a simulated catalog: the targets, and as many put together of blocks as are wanted."""

    pool: Catalog
    targets: list[int]
    blocks: list[Block]
    options: argparse.Namespace

    def entries(self, first: int, stop: int) -> Iterator[tuple[Song, Melody, np.ndarray, bool]]:
        """Yield songs from number ``first`` to before ``stop``, with their windows and whether they were tracked."""
        first_window = first_windows(self.pool.n_windows)
        hop_s = encoder_of(self.options.catalog).windows.song_hop_s
        for song in self.targets[first:stop]:
            windows = self.pool.embeddings[first_window[song] : first_window[song + 1]]
            yield self.pool.songs[song], self.pool.melodies[song], windows, bool(self.pool.tracked[song])
        for number in range(max(first - len(self.targets), 0), stop - len(self.targets)):
            rng = np.random.default_rng([self.options.seed, number])
            melody, windows = song_of_blocks(self.blocks, rng, self.options.song_s, hop_s)
            genre = "Rare" if number % 500 == 0 else "Common" if number % 5 == 1 else "Other"
            song = Song(f"made-{number}", f"Made {number}", genre=genre, gender=GENDERS[number % 2])
            yield song, melody, windows, False

    def write(self, folder: Path, size: int) -> None:
        """Write an ordinary catalog."""
        with writing(folder, self.pool.encoder_fingerprint) as writer:
            for entry in tqdm(self.entries(0, size), folder.name, size, leave=False, disable=None):
                writer.add(*entry)

    def write_compact(self, folder: Path, size: int) -> None:
        """Write a compact catalog, without the embeddings of an ordinary one."""
        form = CompactForm(
            f"{self.options.blocks} blocks, seed {self.options.seed}", size, self.pool.encoder_fingerprint
        )
        n_lists = lists_for(int(size * self.options.song_s / form.stride))
        kept = folder.parent / f"{n_lists} lists"

        def learned() -> object:
            if not kept.exists():
                windows = np.concatenate([part for block in self.blocks for part in (block.lead, block.inner)])
                rows = np.random.default_rng(0).permutation(len(windows))[: n_lists * WINDOWS_PER_LIST]
                with whole_file(kept) as temporary:
                    import_faiss().write_index(trained(windows[np.sort(rows)], n_lists), str(temporary))
            return import_faiss().read_index(str(kept))

        with tqdm(total=size, desc=folder.name, leave=False, disable=None) as bar:
            write_compact(folder, form, self.entries, learned, "", lambda done, _: bar.update(done - bar.n))


def blocks_of(folder: Path, pool: Catalog, targets: list[int], options: argparse.Namespace) -> list[Block]:
    """Return the blocks that are kept in a folder; those that are missing are made first."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{first}.safetensors" for first in range(0, options.blocks, BLOCKS_AT_ONCE)]
    missing = [number for number, file in enumerate(files) if not file.exists()]
    encoder = encoder_of(options.catalog).that_made(pool.encoder_fingerprint)
    phrases = phrases_to_use(pool, targets, options) if missing else []

    def made(number: int) -> Block:
        return make_block(phrases, np.random.default_rng([options.seed, number, 1]), encoder)

    with ThreadPoolExecutor(n_cores()) as threads:
        for number in tqdm(missing, desc=f"blocks, {BLOCKS_AT_ONCE} a time", leave=False, disable=None):
            first = number * BLOCKS_AT_ONCE
            some = list(threads.map(made, range(first, min(first + BLOCKS_AT_ONCE, options.blocks))))
            columns = {field.name: [getattr(block, field.name) for block in some] for field in fields(Block)}
            n_hops = np.array(columns.pop("n_hops"))
            lengths = {f"n_{name}": np.array(list(map(len, arrays))) for name, arrays in columns.items()}
            joined = {name: np.concatenate(arrays) for name, arrays in columns.items()}
            with whole_file(files[number]) as temporary:
                save_file({"n_hops": n_hops, **joined, **lengths}, temporary)
    return [block for file in files for block in read_blocks(file)]


def read_blocks(file: Path) -> Iterator[Block]:
    """Read the blocks of a file."""
    arrays = load_file(file)
    n_hops = arrays.pop("n_hops").tolist()
    names = [field.name for field in fields(Block) if field.name != "n_hops"]
    columns = {name: np.split(arrays[name], np.cumsum(arrays[f"n_{name}"])[:-1]) for name in names}
    for number, hops in enumerate(n_hops):
        yield Block(n_hops=hops, **{name: column[number] for name, column in columns.items()})


def phrases_to_use(pool: Catalog, targets: list[int], options: argparse.Namespace) -> list[np.ndarray]:
    """Return the phrases of ``--phrases``, or of the songs that are no targets."""
    if options.phrases is None:
        melodies = (pool.melodies[song] for song in sorted(set(range(len(pool))) - set(targets)))
    else:
        lines = options.drop.read_text(encoding="utf-8").splitlines() if options.drop else ()
        dropped = {line.split("\t")[0] for line in lines}
        rows = (row for _, row in read_rows(options.phrases, "id", "notes"))
        melodies = (melody_from_notes(row["notes"]) for row in rows if str(row["id"]) not in dropped)
    phrases = [phrase for melody in melodies for phrase in phrases_of(melody)]
    if not phrases:
        raise Hmm2SongError("no song is left to take phrases from; give fewer --targets or more songs")
    return phrases


def measure_catalog(
    folder: Path, form: str, source: Path, hums: list[Hum], filters: list[str]
) -> tuple[list[dict], list[list[str]]]:
    """Open a catalog made of another and search the hums; return figures and first songs with each filter."""
    encoder, place = encoder_of(source), place_of(folder, form)
    places = [*folder.iterdir(), place] if form == "faiss" else place.iterdir()
    n_bytes = {path.name: path.stat().st_size for path in places}
    started_s = time.perf_counter()
    catalog = Catalog.load(folder if form == "faiss" else place, encoder)
    index = index_of(f"{SETTING_PREFIX}{place}", catalog) if form == "faiss" else own_index(catalog, n_cores())
    recognizer = Recognizer(catalog, encoder, index=index)
    open_s = time.perf_counter() - started_s
    recognizer.warm_up()
    embedded = sum(size for name, size in n_bytes.items() if name == EMBEDDINGS_FILE or name.endswith(form))
    if form == "compact":
        embedded += n_bytes[WINDOWS_FILE]
    about = {
        "form": form,
        "n_songs": len(catalog),
        "song_hours": round(float(catalog.melodies.duration_s.sum()) / 3600, 1),
        "kb_per_song": round(sum(n_bytes.values()) / len(catalog) / 1000, 2),
        "kb_per_song_without_embeddings": round((sum(n_bytes.values()) - embedded) / len(catalog) / 1000, 2),
        "open_s": round(open_s, 3),
        "recall": None,
    }
    searched = [search_hums(recognizer, hums, FILTERS[name]) for name in filters]
    measured = [{**about, "filter": name, **figures} for name, (figures, _) in zip(filters, searched, strict=True)]
    if form != "exact":
        windows = hum_windows(recognizer, hums, encoder.that_made(catalog.encoder_fingerprint))
        for figures in measured:
            figures["recall"] = recall(index, windows, catalog.select(**FILTERS[figures["filter"]]).mask)
    return measured, [firsts for _, firsts in searched]


def search_hums(recognizer: Recognizer, hums: list[Hum], wanted: dict) -> tuple[dict, list[str]]:
    """Search hums among the songs of a filter; return figures and first songs."""
    seconds, firsts, found, cpu_s = [], [], {Melody: [], Path: []}, time.process_time()
    for hum in hums:
        is_melody = isinstance(hum.sound, Melody)
        result = (recognizer.recognize_melody if is_melody else recognizer.recognize)(hum.sound, **wanted)
        seconds.append(result.seconds)
        firsts.append(result.matches[0].id if result.matches else "")
        found[Melody if is_melody else Path].append(firsts[-1] in hum.acceptable)
    top1 = {kind: round(float(np.mean(answers)), 3) if answers else None for kind, answers in found.items()}
    figures = {
        "n_chosen": recognizer.catalog.select(**wanted).n_songs,
        "median_s": round(float(np.median(seconds)), 3),
        "p95_s": round(float(np.percentile(seconds, 95)), 3),
        "cpu_s": round((time.process_time() - cpu_s) / len(hums), 3),
        "peak_mb": round((peak_memory_bytes() or 0) / 2**20),
        "own_mb": round((own_memory_bytes() or 0) / 2**20),
        "top1_simulated": top1[Melody],
        "top1_real": top1[Path],
    }
    return figures, firsts


def hum_windows(recognizer: Recognizer, hums: list[Hum], encoder: MelodyEncoder) -> np.ndarray:
    """Return some windows of hums, embedded."""
    melodies = (hum.sound if isinstance(hum.sound, Melody) else recognizer.hear(hum.sound) for hum in hums)
    windows = np.concatenate([embed_hum(fill_rests(melody), encoder).embeddings for melody in melodies])
    return windows[:: -(-len(windows) // N_RECALLED)]


# Clients ------------------------------------------------------------------------------------------------------


def measure_throughputs(clients: list[int], hums: list[Path], repeats: int) -> list[Throughput]:
    """Start the app and ask it with several clients at once."""
    from gradio_client import Client

    started_s = time.perf_counter()
    with tempfile.NamedTemporaryFile() as log, running_app(Path(log.name)) as (url, app):
        client = Client(url, verbose=False)
        print(f"app answers after {time.perf_counter() - started_s:.1f} s")
        first_s, later_s = [ask(client, hums[0]) for _ in range(2)]
        print(f"first query {first_s:.2f} s, second {later_s:.2f} s")
        return [measure_clients(Client, url, app.pid, n_clients, hums * repeats) for n_clients in clients]


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
