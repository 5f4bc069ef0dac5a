"""A real Milvus server: the answers of the exact index, and what happens when the server dies, hangs and comes back.

The server (PyPI's milvus, which needs an environment of its own) is started by the Python that the environment variable
HMM2SONG_MILVUS_PYTHON names; docs/milvus.md says how to make it. Without it these tests are skipped.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest

from hmm2song.catalog.catalog import Catalog
from hmm2song.errors import IndexUnavailableError
from hmm2song.index.base import WindowRanges
from hmm2song.index.exact import ExactIndex
from hmm2song.index.milvus import MilvusCollection, MilvusIndex
from hmm2song.melody.melody import Melody
from hmm2song.song import Song, SongFilter

pytest.importorskip("pymilvus", reason="pip install -r requirements-milvus.txt")
SERVER_PYTHON = os.environ.get("HMM2SONG_MILVUS_PYTHON", "")
pytestmark = [
    pytest.mark.skipif(not SERVER_PYTHON, reason="HMM2SONG_MILVUS_PYTHON is not set, see docs/milvus.md"),
    pytest.mark.timeout(600),
]

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "load_milvus.py"
READY_S = 180.0
"""A server killed without warning first waits until its old session has expired."""
DIM = 32
GENRES = ("", "Folk", 'Rock "n" Roll\\, Folk', "발라드", "a\nb\tc, it's 🎵")
GENDERS = ("", "female", "male", "mixed")
EVERYTHING = SongFilter()
FILTERS = (
    EVERYTHING,
    SongFilter(('Rock "n" Roll\\',), only_known=True),
    SongFilter(("발라드", "it's 🎵"), "female"),
    SongFilter(("a\nb\tc",), only_known=True),
    SongFilter((), "mixed", True),
)
PREPARE = """
import sys
from milvus import MilvusServerConfig, _initialize_data_files
config = MilvusServerConfig(data_dir=sys.argv[1], proxy_port=int(sys.argv[2]))
config.resolve()
_initialize_data_files(config.base_data_dir)
"""
"""Writes the server's configuration, with free ports, and unpacks its program."""


def make_catalog(n_songs: int) -> Catalog:
    """Return songs of all genres and genders with ten random windows each."""
    embeddings = np.random.default_rng(n_songs).normal(size=(10 * n_songs, DIM))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    songs = tuple(Song(str(number), "t", genre=GENRES[number % 5], gender=GENDERS[number % 4])
                  for number in range(n_songs))  # fmt: skip
    n_windows = np.full(n_songs, 10, np.int32)
    return Catalog(songs, (Melody(np.full(3, 60.0)),) * n_songs, embeddings.astype(np.float16), n_windows, "test")


CATALOG = make_catalog(300)
QUERIES = np.random.default_rng(9).normal(size=(20, DIM)).astype(np.float32) / 6


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Server:
    """Milvus in a process that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.health_port = folder, free_port(), free_port()
        subprocess.run([SERVER_PYTHON, "-c", PREPARE, str(folder), str(self.port)], check=True, timeout=120)
        self.process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = self.folder / "bin" / "milvus"
        environment = {
            **os.environ, "DEPLOY_MODE": "STANDALONE", "METRICS_PORT": str(self.health_port),
            "MILVUS_RUN_DIR": str(self.folder / "run"), "LD_LIBRARY_PATH": str(program.parent),
        }  # fmt: skip
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(program), "run", "standalone"], cwd=self.folder, env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        wait_until(self.is_healthy)

    def is_healthy(self) -> bool:
        assert self.process.poll() is None, f"the server ended, see {self.folder}/output.log"
        try:
            with urlopen(f"http://127.0.0.1:{self.health_port}/healthz", timeout=5) as answer:
                return b"OK" in answer.read()
        except (URLError, OSError):
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + READY_S
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {READY_S} s"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def script() -> dict:
    """The names that scripts/load_milvus.py defines."""
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def index(server, script) -> MilvusIndex:
    """The catalog in the server, ready to be searched."""
    assert script["load"](MilvusCollection.open(server.uri), CATALOG, "FLAT", 500) == len(CATALOG.embeddings)
    return MilvusIndex.connect(server.uri, CATALOG)


def assert_equal_answers(index: MilvusIndex, catalog: Catalog = CATALOG) -> None:
    exact = ExactIndex.of(catalog.embeddings, catalog.n_windows, n_threads=1)
    for wanted in FILTERS:
        assert any(wanted.passes(song) for song in catalog.songs)
        found = index.nearest(QUERIES, 200, wanted=wanted)
        expected = exact.nearest(QUERIES, 200, catalog.selection(wanted).mask)
        np.testing.assert_allclose(found.similarity, expected.similarity, atol=1e-5)
        same = (found.song == expected.song) & (found.window == expected.window)
        assert same.mean() > 0.99  # neighbours whose similarity differs in the last bit may change places
    ranges = WindowRanges(np.array([7, 299, 0, 7]), np.array([0, 0, 1, 2]), np.array([99, 2, 2, 99]))
    for found, expected in zip(index.windows_of(ranges), exact.windows_of(ranges), strict=True):
        np.testing.assert_array_equal(found, expected)


def failure(call: Callable[[], object]) -> str:
    """Return what the error of a call says, empty if there is none."""
    try:
        call()
    except IndexUnavailableError as error:
        return str(error)
    return ""


def answers(index: MilvusIndex) -> bool:
    return not failure(lambda: index.nearest(QUERIES, 5))


def search_until_it_fails(index: MilvusIndex) -> str:
    """Search again and again; return what the error says."""
    with pytest.raises(IndexUnavailableError) as failed:
        while True:
            index.nearest(QUERIES, 200)
    return str(failed.value)


def test_answers_are_those_of_the_exact_index(index):
    assert_equal_answers(index)


def test_what_is_loaded_is_not_loaded_again(index, script):
    assert script["load"](index.collection, CATALOG, "FLAT") == 0


def test_an_approximate_index_finds_nearly_everything(server, script):
    catalog = make_catalog(900)
    script["load"](MilvusCollection.open(server.uri, name="approximate"), catalog, "HNSW")
    index = MilvusIndex.connect(server.uri, catalog, collection="approximate")
    assert index.collection.call("describe_index", index_name="embedding")["index_type"] == "HNSW"
    assert script["recall"](catalog, index) > 0.95


def test_another_catalog_is_replaced_when_asked_for(server, script):
    collection, first, second = MilvusCollection.open(server.uri, name="mine"), make_catalog(320), make_catalog(310)
    script["load"](collection, first, "FLAT")
    index = MilvusIndex.connect(server.uri, first, collection="mine")
    with pytest.raises(IndexUnavailableError, match="--replace"):
        script["load"](collection, second, "FLAT")
    script["load"](collection, second, "FLAT", replace=True)
    assert_equal_answers(MilvusIndex.connect(server.uri, second, collection="mine"), second)
    with pytest.raises(IndexUnavailableError, match="does not belong to this catalog"):
        index.nearest(QUERIES, 5)


def test_a_server_that_dies_during_a_query_is_an_error_until_it_is_back(server, index):
    assert answers(index)
    killer = threading.Timer(1.0, server.kill)
    killer.start()
    message = search_until_it_fails(index)
    killer.join()
    assert f"the search index at {server.uri} does not answer" in message
    assert not answers(index)
    with pytest.raises(IndexUnavailableError, match="does not answer|does not open"):
        MilvusIndex.connect(server.uri, CATALOG)
    server.start()
    wait_until(lambda: answers(index))
    assert_equal_answers(index)


def test_a_server_that_hangs_is_an_error_until_it_goes_on(server, index):
    wait_until(lambda: answers(index))
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert "does not answer" in search_until_it_fails(index)
    finally:
        server.process.send_signal(signal.SIGCONT)
    wait_until(lambda: answers(index))
    assert_equal_answers(index)


def test_loading_goes_on_after_the_server_died(server, script, monkeypatch):
    catalog = make_catalog(400)
    collection = MilvusCollection.open(server.uri, name="interrupted")
    call, n_batches = MilvusCollection.call, 0

    def kill_before_the_fifth_batch(self, method, *args, **options):
        nonlocal n_batches
        n_batches += method == "upsert"
        if method == "upsert" and n_batches == 5:
            server.kill()
        return call(self, method, *args, **options)

    monkeypatch.setattr(MilvusCollection, "call", kill_before_the_fifth_batch)
    with pytest.raises(IndexUnavailableError, match="does not answer"):
        script["load"](collection, catalog, "FLAT", 500)
    server.start()

    def connect() -> MilvusIndex:
        return MilvusIndex.connect(server.uri, catalog, collection="interrupted")

    wait_until(lambda: "is not loaded completely" in failure(connect))
    n_added = []
    wait_until(lambda: not failure(lambda: n_added.append(script["load"](collection, catalog, "FLAT", 500))))
    assert n_added == [len(catalog.embeddings) - 4 * 500]
    assert_equal_answers(connect(), catalog)
