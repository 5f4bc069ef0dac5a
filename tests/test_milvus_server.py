"""A Milvus server in a process of its own: it gives the answers of the exact index, is killed, hangs and comes back.

By default, and so in ``.ci/run``, the server is the one that comes with Milvus Lite (``milvus-lite server``): it takes
the same calls over the network, but is another program than Milvus. With the environment variable
HMM2SONG_MILVUS_PYTHON the same tests run against a real Milvus 2.3.5; docs/milvus.md says how to install it.
"""

from __future__ import annotations

import itertools
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from waiting import wait_until

from hmm2song.catalog.catalog import Catalog
from hmm2song.errors import IndexUnavailableError
from hmm2song.index import milvus
from hmm2song.index.base import WindowRanges
from hmm2song.index.exact import ExactIndex
from hmm2song.index.milvus import MilvusCollection, MilvusIndex
from hmm2song.melody.melody import Melody
from hmm2song.script import free_port
from hmm2song.song import Song, SongFilter

MilvusException = pytest.importorskip("pymilvus", reason="pip install -r requirements-milvus.txt").MilvusException
pytest.importorskip("milvus_lite", reason="pip install -r requirements-milvus.txt")
SERVER_PYTHON = os.environ.get("HMM2SONG_MILVUS_PYTHON", "")
pytestmark = pytest.mark.timeout(600)

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "load_milvus.py"
DIM = 32
K = 100
GENRES = ("", "Folk", 'Rock "n" Roll\\, Folk', "발라드", "a\nb\tc, it's 🎵")
GENDERS = ("", "female", "male", "mixed")
FILTERS = (
    SongFilter(),
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
"""Writes the real server's configuration, with free ports, and unpacks its program."""


def make_catalog(n_songs: int) -> Catalog:
    """Return songs of all genres and genders with ten random windows each."""
    embeddings = np.random.default_rng(n_songs).normal(size=(10 * n_songs, DIM))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    songs = tuple(Song(str(number), "t", genre=GENRES[number % 5], gender=GENDERS[number % 4])
                  for number in range(n_songs))  # fmt: skip
    n_windows = np.full(n_songs, 10, np.int32)
    return Catalog(songs, (Melody(np.full(3, 60.0)),) * n_songs, embeddings.astype(np.float16), n_windows, "test")


CATALOG = make_catalog(100)
QUERIES = np.random.default_rng(9).normal(size=(10, DIM)).astype(np.float32) / 6


class LiteServer:
    """The server of Milvus Lite in a process that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.environment = dict(os.environ)
        self.command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder / "data"),
                        "--host", "127.0.0.1", "--port", str(self.port)]  # fmt: skip

    def start(self) -> None:
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self.is_ready)  # a real server that was killed first waits until its old session has expired

    def is_ready(self) -> bool:
        assert self.process.poll() is None, (self.folder / "output.log").read_text()[-2000:]
        with suppress(OSError, IndexUnavailableError, MilvusException):
            return self.answers()
        return False

    def answers(self) -> bool:
        client = MilvusCollection.open(self.uri).client
        for name in client.list_collections():
            client.load_collection(name)  # as a real server does on its own when it starts
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class RealServer(LiteServer):
    """Milvus, from the environment that HMM2SONG_MILVUS_PYTHON names."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.health_port = free_port()
        subprocess.run([SERVER_PYTHON, "-c", PREPARE, str(folder), str(self.port)], check=True, timeout=120)
        self.command = [str(folder / "bin" / "milvus"), "run", "standalone"]
        self.environment |= {
            "DEPLOY_MODE": "STANDALONE", "METRICS_PORT": str(self.health_port), "MILVUS_RUN_DIR": str(folder / "run"),
            "LD_LIBRARY_PATH": str(folder / "bin"),
        }  # fmt: skip

    def answers(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self.health_port}/healthz", timeout=5) as answer:
            return b"OK" in answer.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[LiteServer]:
    server = (RealServer if SERVER_PYTHON else LiteServer)(tmp_path_factory.mktemp("server"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def script() -> dict:
    """The names that scripts/load_milvus.py defines."""
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def index(server, script) -> MilvusIndex:
    """The catalog in the server, ready to be searched."""
    assert script["load"](MilvusCollection.open(server.uri), CATALOG, "FLAT", 300) == len(CATALOG.embeddings)
    return MilvusIndex.connect(server.uri, CATALOG)


def assert_equal_answers(index: MilvusIndex, catalog: Catalog) -> None:
    exact = ExactIndex.of(catalog.embeddings, catalog.n_windows, n_threads=1)
    for wanted in FILTERS:
        assert any(wanted.passes(song) for song in catalog.songs)
        found = index.nearest(QUERIES, K, wanted=wanted)
        expected = exact.nearest(QUERIES, K, catalog.selection(wanted).mask)
        np.testing.assert_allclose(found.similarity, expected.similarity, atol=1e-5)
        same = (found.song == expected.song) & (found.window == expected.window)
        assert same.mean() > 0.99  # neighbours whose similarity differs in the last bit may change places
    ranges = WindowRanges(np.array([7, 99, 0, 7]), np.array([0, 0, 1, 2]), np.array([99, 2, 2, 99]))
    for found, expected in zip(index.windows_of(ranges), exact.windows_of(ranges), strict=True):
        np.testing.assert_array_equal(found, expected)


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except IndexUnavailableError:
        return False
    return True


def interrupt(patch: pytest.MonkeyPatch, method: str, nth: int, action: Callable[[], None]) -> None:
    """Do ``action`` just before the nth call of a method of the client."""
    call, numbers = MilvusCollection.call, itertools.count(1)

    def interrupted(self, name, *args, **options):
        if name == method and next(numbers) == nth:
            action()
        return call(self, name, *args, **options)

    patch.setattr(MilvusCollection, "call", interrupted)


def test_answers_are_those_of_the_exact_index(index, script):
    assert_equal_answers(index, CATALOG)
    assert script["load"](index.collection, CATALOG, "FLAT") == 0  # it is loaded already


def test_an_approximate_index_finds_nearly_everything(server, script):
    catalog = make_catalog(300)
    script["load"](MilvusCollection.open(server.uri, name="approximate"), catalog, "HNSW")
    index = MilvusIndex.connect(server.uri, catalog, collection="approximate")
    assert index.collection.call("describe_index", index_name="embedding")["index_type"] == "HNSW"
    assert script["recall"](catalog, index) > 0.95


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "hangs"])
def test_a_query_whose_server_stops_is_an_error_until_it_is_back(server, index, is_killed):
    killer = threading.Timer(1.0, server.kill)

    def stop() -> None:
        server.process.send_signal(signal.SIGSTOP)  # so the query is on its way and cannot be answered
        os.waitpid(server.process.pid, os.WUNTRACED)  # until it has stopped: a busy one may answer first
        if is_killed:
            killer.start()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(milvus, "SEARCH_TIMEOUT_S", 5.0)
        interrupt(patch, "search", 1, stop)
        try:
            with pytest.raises(IndexUnavailableError, match=rf"{server.uri} does not answer \(search: "):
                index.nearest(QUERIES, K)
        finally:
            if not is_killed:
                server.process.send_signal(signal.SIGCONT)
    if is_killed:
        killer.join()
        with pytest.raises(IndexUnavailableError, match="does not answer|does not open"):
            MilvusIndex.connect(server.uri, CATALOG)
        server.start()
    wait_until(lambda: succeeds(lambda: assert_equal_answers(index, CATALOG)))


def test_replacing_a_catalog_goes_on_after_the_server_was_killed(server, script):
    collection, first, second = MilvusCollection.open(server.uri, name="mine"), make_catalog(110), make_catalog(120)
    script["load"](collection, first, "FLAT")
    index = MilvusIndex.connect(server.uri, first, collection="mine")

    def replace() -> int:
        return script["load"](collection, second, "FLAT", 200, replace=True)

    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, "upsert", 5, server.kill)
        with pytest.raises(IndexUnavailableError, match="does not answer"):
            replace()
    server.start()
    # the first one is searched until the second is complete
    wait_until(lambda: succeeds(lambda: assert_equal_answers(index, first)))
    n_added = []
    wait_until(lambda: succeeds(lambda: n_added.append(replace())))
    assert n_added == [len(second.embeddings) - 4 * 200]
    assert_equal_answers(MilvusIndex.connect(server.uri, second, collection="mine"), second)
    with pytest.raises(IndexUnavailableError, match="does not belong to this catalog"):
        index.nearest(QUERIES, K)
