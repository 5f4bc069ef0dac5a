"""The window index in Milvus Lite: the answers of the exact index, and errors that say what to do."""

from __future__ import annotations

import logging.handlers
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoders import tiny_encoder
from script_modules import run_script

from hmm2song.catalog.catalog import Catalog
from hmm2song.errors import CatalogError, IndexUnavailableError, QueryError
from hmm2song.index import milvus
from hmm2song.index.base import WindowRanges
from hmm2song.index.exact import ExactIndex
from hmm2song.index.milvus import MilvusAddress, MilvusCollection, MilvusIndex, digest_of, filter_expression
from hmm2song.melody.melody import Melody
from hmm2song.song import Song, SongFilter

pytest.importorskip("pymilvus", reason="pip install -r requirements-milvus.txt")
server_manager = pytest.importorskip("milvus_lite.server_manager").server_manager_instance

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "load_milvus.py"
ENCODER = tiny_encoder()
DIM = ENCODER.dim
NASTY_GENRES = (
    'Rock "n" Roll\\', "it's", "발라드", "\\", '"', "\\n", "a\nb\rc\td", '"] or row >= 0 or gender in ["',
    "{x} %s \x07 é 🎵",
)  # fmt: skip
GENRES = ("", "Folk", "folk", *NASTY_GENRES)
GENDERS = ("", "female", "male", "mixed")
EVERYTHING = SongFilter()

# starts the script as from a shell, but with sudden death after some batches
DRIVER = f"""
import os, runpy, signal, sys
from hmm2song.index.milvus import MilvusCollection
left = int(sys.argv.pop(1))
call = MilvusCollection.call
def dying(self, method, *args, **options):
    global left
    result = call(self, method, *args, **options)
    left -= method == "upsert"
    if method == "upsert" and left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
MilvusCollection.call = dying
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


def make_catalog(n_songs: int = 60, seed: int = 0) -> Catalog:
    """Return songs of all genres and genders with random windows."""
    rng = np.random.default_rng(seed)
    n_windows = rng.integers(1, 20, n_songs).astype(np.int32)
    embeddings = rng.normal(size=(n_windows.sum(), DIM))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    songs = tuple(
        Song(str(number), "t", genre=", ".join({GENRES[number % len(GENRES)], GENRES[number // 7 % len(GENRES)]}),
             gender=GENDERS[number % 5 % 4])
        for number in range(n_songs)
    )  # fmt: skip
    melody = Melody(np.full(3, 60.0))
    return Catalog(songs, (melody,) * n_songs, embeddings.astype(np.float16), n_windows, ENCODER.fingerprint)


CATALOG = make_catalog()
N_ROWS = len(CATALOG.embeddings)
EXACT = ExactIndex.of(CATALOG.embeddings, CATALOG.n_windows, n_threads=1)
QUERIES = np.random.default_rng(9).normal(size=(7, DIM)).astype(np.float32) / 6


@pytest.fixture(scope="module")
def script() -> dict:
    """The names that scripts/load_milvus.py defines."""
    return runpy.run_path(str(SCRIPT))


def close(path: Path) -> None:
    """End the Milvus Lite of this process, so that another may open the file."""
    server_manager.release_server(str(path))


@pytest.fixture(scope="module")
def loaded(script, tmp_path_factory) -> Iterator[Path]:
    """A file with the whole catalog; tests must not change it."""
    path = tmp_path_factory.mktemp("milvus") / "windows.db"
    script["load"](MilvusCollection.open(str(path)), CATALOG, "FLAT", 100)
    yield path
    close(path)


@pytest.fixture
def path(tmp_path) -> Iterator[Path]:
    """A file of one test's own."""
    yield tmp_path / "windows.db"
    close(tmp_path / "windows.db")


@pytest.fixture(scope="module")
def index(loaded) -> MilvusIndex:
    return MilvusIndex.connect(str(loaded), CATALOG)


def assert_equal_answers(index: MilvusIndex, wanted: SongFilter = EVERYTHING, k: int = 50) -> None:
    found = index.nearest(QUERIES, k, wanted=wanted)
    expected = EXACT.nearest(QUERIES, k, CATALOG.selection(wanted).mask)
    np.testing.assert_array_equal(found.song, expected.song)
    np.testing.assert_array_equal(found.window, expected.window)
    np.testing.assert_allclose(found.similarity, expected.similarity, atol=1e-6)
    assert [array.dtype for array in (found.song, found.window, found.similarity)] == [np.int64, np.int64, np.float32]


# The same answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 50, N_ROWS, N_ROWS + 3])
def test_neighbours_are_those_of_the_exact_index(index, k):
    assert_equal_answers(index, k=k)


@pytest.mark.parametrize("only_known", [False, True])
@pytest.mark.parametrize("gender", ["any", "female", "mixed"])
@pytest.mark.parametrize("genres", [(), ("Folk",), ("Folk", "발라드"), *((genre,) for genre in NASTY_GENRES)], ids=repr)
def test_filtered_neighbours_are_those_of_the_exact_index(index, genres, gender, only_known):
    wanted = SongFilter(genres, gender, only_known)
    assert any(wanted.passes(song) for song in CATALOG.songs)
    assert_equal_answers(index, wanted)


def test_many_queries_go_in_several_calls_and_nothing_may_be_found(index, monkeypatch):
    monkeypatch.setattr(milvus, "HITS_PER_CALL", 150)
    assert_equal_answers(index, k=50)
    assert index.nearest(QUERIES[:0], 5).song.shape == (0, 5)
    found = index.nearest(QUERIES, 3, wanted=SongFilter(("no such genre",), only_known=True))
    assert (found.song == -1).all() and (found.window == -1).all() and np.isneginf(found.similarity).all()
    assert found.song.shape == found.window.shape == found.similarity.shape == (len(QUERIES), 3)


@pytest.mark.parametrize("songs", [[0], [5, 3, 59, 0], [4, 9, 4], range(60), []], ids=str)
def test_windows_are_those_of_the_catalog(index, songs, monkeypatch):
    monkeypatch.setattr(milvus, "ROWS_PER_CALL", 64)
    songs = np.array(songs, dtype=np.int64)
    ranges = WindowRanges.whole(songs)
    for found, expected in zip(index.windows_of(ranges), EXACT.windows_of(ranges), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("k", [0, -1, 16_385])
def test_an_impossible_number_of_neighbours_is_refused(index, k):
    with pytest.raises(QueryError, match=f"1 to 16384 neighbours, not {k}"):
        index.nearest(QUERIES, k)


def test_recall_is_measured(script, index):
    few = FewHits(index.collection.address, index.collection.name, index.collection.client)
    blind = replace(index, collection=few)
    assert script["recall"](CATALOG, blind) == pytest.approx(0.5)


class FewHits(MilvusCollection):
    """A collection that finds every other neighbour only."""

    def call(self, method, *args, **options):
        result = super().call(method, *args, **options)
        return [hits[::2] for hits in result] if method == "search" else result


# Filter expressions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expression"),
    [
        (SongFilter(), ""),
        (SongFilter(only_known=True), ""),
        (SongFilter(gender="male"), 'gender in ["male", ""]'),
        (SongFilter(gender="male", only_known=True, guessed=True), 'gender in ["male", ""]'),  # not all of them pass
        (SongFilter(("a", "b")), '(array_contains_any(genres, ["a", "b"]) or array_length(genres) == 0)'),
        (SongFilter(("a",), "male", True), 'array_contains_any(genres, ["a"]) and gender in ["male"]'),
        (SongFilter(('"\\',), only_known=True), r'array_contains_any(genres, ["\"\\"])'),
    ],
)
def test_filters_become_expressions(wanted, expression):
    assert filter_expression(wanted) == expression


# Loading ------------------------------------------------------------------------------------------------


def options(catalog: Path, path: Path, *more: str) -> list[str]:
    return ["--catalog", str(catalog), "--uri", str(path), *more]


def test_killed_between_batches_the_same_command_goes_on(script, tmp_path, path, capsys):
    folder = tmp_path / "catalog"
    CATALOG.save(folder)
    ENCODER.save(folder)
    command = [sys.executable, "-c", DRIVER, "3", *options(folder, path, "--batch", "100")]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(IndexUnavailableError, match="not loaded completely; load it with: python scripts/load_milvus"):
        MilvusIndex.connect(str(path), CATALOG)
    assert script["main"](options(folder, path, "--batch", "70")) == 0
    said = capsys.readouterr()
    assert f"{N_ROWS} rows in 'hmm2song_windows', {N_ROWS - 300} of them added in" in said.out
    assert "recall@200 of windows: 1.000" in said.out
    assert f"{N_ROWS}/{N_ROWS}" in said.err
    assert_equal_answers(MilvusIndex.connect(str(path), CATALOG))


def test_gaps_of_a_batch_cut_short_are_filled(script, path):
    collection = MilvusCollection.open(str(path))
    unfinished = collection.unfinished
    properties = {milvus.CATALOG_PROPERTY: digest_of(CATALOG), milvus.INDEX_PROPERTY: "FLAT"}
    script["prepare"](unfinished, DIM, properties, False)
    assert script["rows_done"](unfinished) == 0
    unfinished.call("upsert", data=next(script["batches"](CATALOG, 0, 300)))
    unfinished.call("delete", filter="row in [211, 212, 250]")
    assert (unfinished.count(), script["rows_done"](unfinished)) == (297, 211)
    assert script["load"](collection, CATALOG, "FLAT", 100) == N_ROWS - 211
    assert_equal_answers(MilvusIndex.connect(str(path), CATALOG))


def test_another_catalog_is_replaced_only_when_asked_for(script, path):
    collection = MilvusCollection.open(str(path))
    other = make_catalog(n_songs=9, seed=1)
    script["load"](collection, other, "FLAT")
    with pytest.raises(IndexUnavailableError, match="'hmm2song_windows' holds another catalog .* --replace"):
        script["load"](collection, CATALOG, "FLAT")
    assert len(MilvusIndex.connect(str(path), other).first_window) == 10
    assert script["load"](collection, CATALOG, "FLAT", replace=True) == N_ROWS
    assert script["load"](collection, CATALOG, "FLAT") == 0  # what is loaded is not loaded again
    assert_equal_answers(MilvusIndex.connect(str(path), CATALOG))


def test_half_of_another_catalog_is_replaced_only_when_asked_for(script, path):
    collection = MilvusCollection.open(str(path))
    script["prepare"](collection.unfinished, DIM, {milvus.CATALOG_PROPERTY: "x", milvus.INDEX_PROPERTY: "FLAT"}, False)
    with pytest.raises(IndexUnavailableError, match="'hmm2song_windows_loading' holds another catalog"):
        script["load"](collection, CATALOG, "FLAT")
    assert script["load"](collection, CATALOG, "FLAT", replace=True) == N_ROWS


def test_collections_of_one_file_do_not_disturb_each_other(script, path):
    other = make_catalog(n_songs=9, seed=1)
    script["load"](MilvusCollection.open(str(path), name="mine"), CATALOG, "FLAT")
    script["load"](MilvusCollection.open(str(path), name="others"), other, "FLAT")
    assert_equal_answers(milvus.index_from_setting(f"milvus+{path}?collection=mine", CATALOG))


class Indexing(MilvusCollection):
    """A collection whose index is described by one answer after the other."""

    def call(self, method, *args, **options):
        assert method == "describe_index"
        return self.client.pop(0)


def test_the_index_is_waited_for(script, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    states = [("InProgress", 9), ("Finished", 4), ("Finished", 0), ("Finished", 0)]
    answers = [{"state": state, "pending_index_rows": n_pending} for state, n_pending in states]
    script["wait_for_index"](Indexing(MilvusAddress("http://h:1"), "c", answers), 9)
    assert len(answers) == 1
    failing = Indexing(MilvusAddress("http://h:1"), "c", [{"state": "Failed", "pending_index_rows": 9}])
    with pytest.raises(IndexUnavailableError, match="could not build the index"):
        script["wait_for_index"](failing, 9)


def test_a_file_has_no_approximate_index(script, path):
    with pytest.raises(IndexUnavailableError, match="leave --index at FLAT"):
        script["load"](MilvusCollection.open(str(path)), CATALOG, "HNSW")


@pytest.mark.parametrize(
    ("genre", "words"),
    [
        ("g" * 65_536, "has 1 genres of up to 65536 bytes"),
        (", ".join(map(str, range(4097))), "has 4097 genres"),
        ("\ud800", "is not valid text"),
    ],
    ids=["long", "many", "broken"],
)
def test_genres_that_milvus_cannot_hold_are_refused_beforehand(script, genre, words):
    songs = (replace(CATALOG.songs[0], genre=genre), *CATALOG.songs[1:])
    with pytest.raises(CatalogError, match=f"song '0' .*{words}"):
        script["require_storable"](replace(CATALOG, songs=songs))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "is not a catalog"),
        (["--batch", "0"], "'0' is not a number from 1 to 20000"),
        (["--index", "IVF"], "invalid choice: 'IVF'"),
    ],
    ids=["catalog", "batch", "index"],
)
def test_bad_input_is_named(more, words, tmp_path, capsys):
    ENCODER.save(tmp_path)
    assert run_script("load_milvus", *options(tmp_path, tmp_path / "x.db", *more)) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


# The right collection -----------------------------------------------------------------------------------


def test_a_missing_file_is_not_made(tmp_path):
    path = tmp_path / "gone.db"
    with pytest.raises(IndexUnavailableError, match=r"no search index .*gone.db.*scripts/load_milvus.py --catalog"):
        MilvusIndex.connect(str(path), CATALOG)
    assert not path.exists()


def test_another_catalog_is_not_searched(loaded):
    for other in (make_catalog(seed=1), replace(CATALOG, encoder_fingerprint="other")):
        with pytest.raises(IndexUnavailableError, match=r"does not belong to this catalog; load it with"):
            MilvusIndex.connect(str(loaded), other)


def test_a_collection_that_disappears_is_missed_and_found_again(script, path):
    collection = MilvusCollection.open(str(path))
    script["load"](collection, CATALOG, "FLAT")
    index = MilvusIndex.connect(str(path), CATALOG)
    collection.call("drop_collection")
    for ask in (lambda: index.nearest(QUERIES, 5), lambda: index.windows_of(WindowRanges.whole([1]))):
        with pytest.raises(IndexUnavailableError, match="there is no collection 'hmm2song_windows'"):
            ask()
    script["load"](collection, make_catalog(seed=1), "FLAT")
    with pytest.raises(IndexUnavailableError, match="does not belong to this catalog"):
        index.nearest(QUERIES, 5)
    script["load"](collection, CATALOG, "FLAT", replace=True)
    collection.call("load_collection")
    assert_equal_answers(index)


def test_lost_rows_are_noticed(script, path):
    collection = MilvusCollection.open(str(path))
    script["load"](collection, CATALOG, "FLAT")
    index = MilvusIndex.connect(str(path), CATALOG)
    collection.call("delete", filter="row == 0")
    with pytest.raises(IndexUnavailableError, match=f"has {N_ROWS - 1} rows instead of {N_ROWS}"):
        MilvusIndex.connect(str(path), CATALOG)
    with pytest.raises(IndexUnavailableError, match="lacks 1 of"):
        index.windows_of(WindowRanges.whole([0]))


def test_the_digest_tells_what_the_rows_depend_on():
    song = CATALOG.songs[0]
    other_words = replace(song, title="other", lyric="la", year="1900")
    same = replace(CATALOG, songs=(other_words, *CATALOG.songs[1:]), credits="c")
    assert digest_of(same) == digest_of(CATALOG)
    embeddings = CATALOG.embeddings.copy()
    embeddings[-1, -1] += np.float16(0.01)
    changed = [
        replace(CATALOG, songs=(replace(song, genre="Folk, it's"), *CATALOG.songs[1:])),
        replace(CATALOG, songs=(replace(song, gender="mixed"), *CATALOG.songs[1:])),
        replace(CATALOG, embeddings=embeddings),
        replace(CATALOG, n_windows=np.append(CATALOG.n_windows[1:], CATALOG.n_windows[0])),
        replace(CATALOG, encoder_fingerprint="other"),
    ]
    assert len({digest_of(catalog) for catalog in (CATALOG, *changed)}) == len(changed) + 1


def test_connecting_reads_no_embeddings_of_a_saved_catalog(loaded, tmp_path):
    CATALOG.save(tmp_path / "songs")
    saved = Catalog.load(tmp_path / "songs", ENCODER)
    digest = digest_of(saved)
    assert digest == digest_of(CATALOG)
    unread = replace(saved, embeddings=np.broadcast_to(np.float16(np.nan), saved.embeddings.shape))
    assert MilvusIndex.connect(str(loaded), unread).digest == digest


def test_a_collection_of_the_first_version_need_not_be_loaded_again(script, tmp_path, monkeypatch):
    path = tmp_path / "old.db"
    with monkeypatch.context() as older:
        older.setitem(script["load"].__globals__, "digest_for", lambda catalog, _: milvus._first_digest_of(catalog))
        script["load"](MilvusCollection.open(str(path)), CATALOG, "FLAT")
    assert_equal_answers(MilvusIndex.connect(str(path), CATALOG))
    assert script["load"](MilvusCollection.open(str(path)), CATALOG, "FLAT") == 0
    with pytest.raises(IndexUnavailableError, match="does not belong to this catalog"):
        MilvusIndex.connect(str(path), make_catalog(seed=1))
    close(path)


# Addresses and servers that do not answer ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "shown", "token"),
    [
        ("folder/windows.db", "folder/windows.db", ""),
        ("http://localhost:19530", "http://localhost:19530", ""),
        ("https://me:pass%40word@milvus.example/music/", "https://milvus.example/music", "me:pass@word"),
    ],
)
def test_addresses_are_read_and_shown_without_secrets(uri, shown, token):
    address = MilvusAddress.parse(uri)
    assert (address.uri, address.token) == (shown, token)
    assert not token or token not in repr(address)
    assert MilvusAddress.parse(uri, "mine").token == "mine"


BAD_ADDRESSES = ("", "windows", "ftp://h:1", "http://", "http://h:port", "http://u:secret@h:99999999")
BAD_SETTINGS = ("", "exact", "http://h:1", "milvus", "milvus+", "milvus+windows", "Milvus+a.db")


@pytest.mark.parametrize("setting", [*(f"milvus+{uri}" for uri in BAD_ADDRESSES), *BAD_SETTINGS])
def test_other_addresses_and_settings_are_refused(setting):
    with pytest.raises(IndexUnavailableError, match="http://host:19530") as refused:
        milvus.index_from_setting(setting, CATALOG)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["../x", "1a", "a b", "노래", "a" * 201])
def test_names_are_checked(tmp_path, name):
    with pytest.raises(IndexUnavailableError, match="letters, digits and underscores"):
        MilvusCollection.open(str(tmp_path / "x.db"), name=name)


def test_a_file_in_a_missing_folder_or_in_use_does_not_open(loaded, tmp_path):
    with pytest.raises(IndexUnavailableError, match="does not open: .*is the folder there"):
        MilvusCollection.open(str(tmp_path / "missing" / "x.db"))
    (tmp_path / "same.db").symlink_to(loaded)
    with pytest.raises(IndexUnavailableError, match="does not open: .*not in use by another program"):
        MilvusIndex.connect(str(tmp_path / "same.db"), CATALOG)


@pytest.mark.parametrize("answers", ["nobody", "somebody else"])
def test_a_server_that_is_not_there_is_an_error_without_secrets(answers, monkeypatch):
    monkeypatch.setattr(milvus, "CONNECT_TIMEOUT_S", 0.5)
    monkeypatch.setenv(milvus.TOKEN_VARIABLE, "root:secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answers == "nobody":
            server.close()
        with pytest.raises(IndexUnavailableError, match=f"at http://127.0.0.1:{port} does not open") as refused:
            milvus.index_from_setting(f"milvus+http://127.0.0.1:{port}", CATALOG)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_error_is_raised_and_not_printed_as_well(loaded):
    logged = logging.handlers.BufferingHandler(1000)
    logger = logging.getLogger("pymilvus")
    logger.setLevel(logging.WARNING)  # as pymilvus sets it
    logger.addHandler(logged)
    collection = MilvusCollection.open(str(loaded))
    with pytest.raises(IndexUnavailableError, match=r"does not answer \(query: .*=="):
        collection.count("song ==")
    logger.removeHandler(logged)
    assert logged.buffer == []


def test_reasons_do_not_give_the_token_away():
    address = MilvusAddress("http://h:1", "root:secret")
    assert address.without_secrets("wrong\n root:secret, or secret?") == "wrong ***, or ***?"
    assert MilvusAddress("http://h:1").without_secrets("fine") == "fine"


def test_without_pymilvus_only_opening_fails_and_names_the_command_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    assert "MilvusIndex" in runpy.run_path(milvus.__file__)
    with pytest.raises(IndexUnavailableError, match=r"pip install -r requirements-milvus\.txt"):
        MilvusCollection.open(str(tmp_path / "x.db"))
