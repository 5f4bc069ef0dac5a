"""The index in memory against a comparison of everything with everything."""

from __future__ import annotations

import numpy as np
import pytest

from hmm2song.index import exact as index_module
from hmm2song.index.base import WindowRanges
from hmm2song.index.exact import ExactIndex

DIM = 8
N_SONGS = 40
RNG = np.random.default_rng(0)
N_WINDOWS = RNG.integers(1, 12, N_SONGS)
MASKS = {
    "everything": np.ones(N_SONGS, bool),
    "no mask": None,
    "half": RNG.random(N_SONGS) < 0.5,
    "few": np.isin(np.arange(N_SONGS), (0, 7, 8, 20, 21, 22, N_SONGS - 1)),
}


def unit_rows(n_rows: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n_rows, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


EMBEDDINGS = unit_rows(N_WINDOWS.sum(), seed=1).astype(np.float16)
PLACES = [(song, window) for song, count in enumerate(N_WINDOWS) for window in range(count)]
"""(song, window) of every embedding."""


def passing_rows(mask: np.ndarray | None) -> list[int]:
    return [row for row, (song, _) in enumerate(PLACES) if mask is None or mask[song]]


# Nearest windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("k", [1, 7, 30])
@pytest.mark.parametrize(("block", "n_threads"), [(8192, 1), (8192, 2), (5, 1), (5, 3)])
def test_the_nearest_are_those_of_a_full_comparison(monkeypatch, mask, k, block, n_threads):
    monkeypatch.setattr(index_module, "BLOCK_WINDOWS", block)
    queries = unit_rows(9, seed=2)
    found = ExactIndex.of(EMBEDDINGS, N_WINDOWS, n_threads).nearest(queries, k, mask)
    passing = passing_rows(mask)
    assert k < len(passing) <= len(EMBEDDINGS)
    similarity = queries @ EMBEDDINGS[passing].astype(np.float32).T
    for query in range(len(queries)):
        best = np.argsort(-similarity[query])[:k]
        assert list(zip(found.song[query], found.window[query], strict=True)) == [PLACES[passing[row]] for row in best]
        np.testing.assert_allclose(found.similarity[query], similarity[query][best], atol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("mask", [None, MASKS["few"], np.zeros(N_SONGS, bool)], ids=["all", "few", "none"])
def test_with_fewer_windows_than_asked_for_the_rest_is_filled_up(mask, n_threads):
    passing = {PLACES[row] for row in passing_rows(mask)}
    found = ExactIndex.of(EMBEDDINGS, N_WINDOWS, n_threads).nearest(unit_rows(3, seed=3), len(passing) + 5, mask)
    for song, window, similarity in zip(found.song, found.window, found.similarity, strict=True):
        assert set(zip(song[:-5], window[:-5], strict=True)) == passing
        assert (np.diff(similarity[:-5]) <= 0).all() and (similarity[:-5] >= -1.001).all()
        assert (song[-5:] == -1).all() and (window[-5:] == -1).all() and (similarity[-5:] == -np.inf).all()


def test_one_window_alone_is_the_nearest():
    one = unit_rows(1, seed=5)
    found = ExactIndex.of(one.astype(np.float16), np.array([1]), 2).nearest(one, 2)
    assert found.song.tolist() == found.window.tolist() == [[0, -1]]
    assert found.similarity[0, 0] == pytest.approx(1.0, abs=2e-3)


def test_equal_windows_are_all_found():
    embeddings = unit_rows(12, seed=6)
    embeddings[[2, 5, 9]] = embeddings[0]  # the songs 0, 2 and 4: versions of a tune have the same windows
    index = ExactIndex.of(embeddings.astype(np.float16), np.array([2, 3, 2, 1, 4]), 2)
    found = index.nearest(embeddings[:1], 4)
    assert set(zip(found.song[0], found.window[0], strict=True)) == {(0, 0), (1, 0), (2, 0), (4, 1)}


def test_without_queries_there_are_no_neighbours():
    found = ExactIndex.of(EMBEDDINGS, N_WINDOWS, 1).nearest(np.zeros((0, DIM), np.float32), 4)
    assert found.song.shape == found.window.shape == found.similarity.shape == (0, 4)


# Windows of songs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("songs", [[], [0], [N_SONGS - 1], [5, 2, 30], [7, 7], list(range(N_SONGS))], ids=str)
def test_windows_come_in_the_order_asked_for(songs):
    songs = np.array(songs, dtype=np.int64)
    windows, counts = ExactIndex.of(EMBEDDINGS, N_WINDOWS, 1).windows_of(WindowRanges.whole(songs))
    assert windows.dtype == np.float32 and windows.shape[1] == DIM
    np.testing.assert_array_equal(counts, N_WINDOWS[songs])
    expected = [row for song in songs for row, place in enumerate(PLACES) if place[0] == song]
    np.testing.assert_array_equal(windows, EMBEDDINGS[expected].astype(np.float32))


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
