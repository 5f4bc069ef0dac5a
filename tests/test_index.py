"""The index in memory against a comparison of everything with everything."""

from __future__ import annotations

import numpy as np
import pytest

from hmm2song.catalog.catalog import Catalog
from hmm2song.index import exact as index_module
from hmm2song.index.exact import ExactIndex, WindowRanges
from hmm2song.melody.melody import Melody
from hmm2song.song import Song, SongFilter

DIM = 8
N_SONGS = 40
FILTERS = {
    "everything": SongFilter(),
    "one genre": SongFilter(genres=("Folk",)),
    "two genres": SongFilter(genres=("Folk", "Dance")),
    "gender": SongFilter(gender="female"),
    "only known": SongFilter(("Dance",), "female", only_known=True),
}


def unit_rows(n_rows: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n_rows, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_catalog(embeddings: np.ndarray, n_windows: list[int]) -> Catalog:
    """Return a catalog with these embeddings; its songs differ in genre and gender, their melodies do not matter."""
    songs = [
        Song(id=str(number), title="t", genre=("Folk", "Dance", "", "Folk, Dance")[number % 4],
             gender=("female", "male", "")[number % 3])
        for number in range(len(n_windows))
    ]  # fmt: skip
    melodies = (Melody([60.0]),) * len(songs)
    return Catalog(tuple(songs), melodies, embeddings.astype(np.float16), np.int32(n_windows), "none")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    n_windows = np.random.default_rng(0).integers(1, 12, N_SONGS).tolist()
    return make_catalog(unit_rows(sum(n_windows), seed=1), n_windows)


def places_of(catalog: Catalog) -> list[tuple[int, int]]:
    """Return (song, window) of every embedding."""
    return [(song, window) for song, count in enumerate(catalog.n_windows) for window in range(count)]


# Nearest windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("k", [1, 7, 40])
@pytest.mark.parametrize(("block", "n_threads"), [(8192, 1), (8192, 2), (5, 1), (5, 3)])
def test_the_nearest_are_those_of_a_full_comparison(catalog, monkeypatch, wanted, k, block, n_threads):
    monkeypatch.setattr(index_module, "BLOCK_WINDOWS", block)
    queries = unit_rows(9, seed=2)
    found = ExactIndex.of(catalog, n_threads).nearest(queries, wanted, k)
    passing = [row for row, (song, _) in enumerate(places_of(catalog)) if wanted.passes(catalog.songs[song])]
    assert k < len(passing) <= len(catalog.embeddings)
    similarity = queries @ catalog.embeddings[passing].astype(np.float32).T
    for query in range(len(queries)):
        best = np.argsort(-similarity[query])[:k]
        expected = [places_of(catalog)[passing[row]] for row in best]
        assert list(zip(found.song[query], found.window[query], strict=True)) == expected
        np.testing.assert_allclose(found.similarity[query], similarity[query][best], atol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("wanted", [SongFilter(), SongFilter(gender="female", only_known=True)])
def test_with_fewer_windows_than_asked_for_the_rest_is_filled_up(catalog, wanted, n_threads):
    passing = {place for place in places_of(catalog) if wanted.passes(catalog.songs[place[0]])}
    found = ExactIndex.of(catalog, n_threads).nearest(unit_rows(3, seed=3), wanted, len(passing) + 5)
    for song, window, similarity in zip(found.song, found.window, found.similarity, strict=True):
        assert set(zip(song[:-5], window[:-5], strict=True)) == passing
        assert (np.diff(similarity[:-5]) <= 0).all() and similarity[-6] >= -1.001
        assert (song[-5:] == -1).all() and (window[-5:] == -1).all() and (similarity[-5:] == -np.inf).all()


def test_a_filter_that_leaves_nothing_finds_nothing(catalog):
    found = ExactIndex.of(catalog, 2).nearest(unit_rows(2, seed=4), SongFilter(gender="mixed", only_known=True), 3)
    np.testing.assert_array_equal(found.song, np.full((2, 3), -1))
    np.testing.assert_array_equal(found.window, np.full((2, 3), -1))
    assert (found.similarity == -np.inf).all()


def test_a_catalog_of_one_window_has_a_nearest():
    one = make_catalog(unit_rows(1, seed=5), [1])
    found = ExactIndex.of(one, 2).nearest(one.embeddings.astype(np.float32), SongFilter(), 2)
    np.testing.assert_array_equal(found.song, [[0, -1]])
    np.testing.assert_array_equal(found.window, [[0, -1]])
    assert found.similarity[0, 0] == pytest.approx(1.0, abs=2e-3)


def test_equal_windows_are_all_found():
    embeddings = unit_rows(12, seed=6)
    embeddings[[2, 5, 9]] = embeddings[0]  # the songs 0, 2 and 4: versions of a tune have the same windows
    found = ExactIndex.of(make_catalog(embeddings, [2, 3, 2, 1, 4]), 2).nearest(embeddings[:1], SongFilter(), 4)
    places = set(zip(found.song[0], found.window[0], strict=True))
    assert places == {(0, 0), (1, 0), (2, 0), (4, 1)}


def test_without_queries_there_are_no_neighbours(catalog):
    found = ExactIndex.of(catalog, 1).nearest(np.zeros((0, DIM), np.float32), SongFilter(), 4)
    assert found.song.shape == found.window.shape == found.similarity.shape == (0, 4)


# Windows of songs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("songs", [[0], [N_SONGS - 1], [5, 2, 30], [7, 7], list(range(N_SONGS))], ids=str)
def test_windows_come_in_the_order_asked_for(catalog, songs):
    windows, counts = ExactIndex.of(catalog, 1).windows_of(WindowRanges.whole(np.array(songs)))
    assert windows.dtype == np.float32
    np.testing.assert_array_equal(counts, catalog.n_windows[songs])
    expected = [row for song in songs for row, place in enumerate(places_of(catalog)) if place[0] == song]
    np.testing.assert_array_equal(windows, catalog.embeddings[expected].astype(np.float32))


@pytest.mark.parametrize(
    ("first", "after", "expected"),
    [
        (0, 99, [0, 1, 2, 3]),
        (1, 3, [1, 2]),
        (-5, 2, [0, 1]),
        (2, -3, [2]),  # one at least
        (9, 9, [3]),
        (-9, -9, [0]),
    ],
)
def test_ranges_are_cut_to_the_song_and_never_empty(first, after, expected):
    first_window = np.array([0, 2, 6, 7])
    ranges = WindowRanges(np.array([1, 0]), np.array([first, 0]), np.array([after, 1]))
    rows, counts = ranges.rows(first_window)
    assert rows.tolist() == [2 + window for window in expected] + [0]
    assert counts.tolist() == [len(expected), 1]


def test_no_songs_have_no_windows(catalog):
    windows, counts = ExactIndex.of(catalog, 1).windows_of(WindowRanges.whole(np.array([], dtype=np.int64)))
    assert windows.shape == (0, DIM)
    assert counts.shape == (0,)
