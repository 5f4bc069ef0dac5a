"""The approximate index against the exact one; needs FAISS."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hmm2song.errors import IndexUnavailableError
from hmm2song.index import approximate
from hmm2song.index.approximate import ApproximateIndex, build
from hmm2song.index.base import WindowRanges
from hmm2song.index.exact import ExactIndex

pytest.importorskip("faiss")
DIM, N_SONGS = 16, 300
RNG = np.random.default_rng(0)
N_WINDOWS = RNG.integers(30, 50, N_SONGS)
ROWS = np.repeat(RNG.normal(size=(N_SONGS, DIM)), N_WINDOWS, axis=0) + RNG.normal(size=(N_WINDOWS.sum(), DIM))
EMBEDDINGS = (ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)).astype(np.float16)
EXACT = ExactIndex.of(EMBEDDINGS, N_WINDOWS, n_threads=1)
MASKS = {"all": None, "half": RNG.random(N_SONGS) < 0.5, "few": np.arange(N_SONGS) < 3, "none": np.zeros(N_SONGS, bool)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "windows.faiss"
    told = []
    build(EMBEDDINGS, path, "digest", lambda *done: told.append(done))
    assert told[-1] == (len(EMBEDDINGS), len(EMBEDDINGS))
    return path


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("searched_exactly", [0, 10_000])
def test_nearly_all_neighbours_are_found_and_none_is_forbidden(path, monkeypatch, mask, searched_exactly):
    monkeypatch.setattr(approximate, "EXACT_WINDOWS", searched_exactly)
    queries = EMBEDDINGS[::997].astype(np.float32)
    index = ApproximateIndex.open(path, EXACT, "digest")
    found, expected = (each.nearest(queries, 30, mask) for each in (index, EXACT))
    there = found.song >= 0
    assert mask is None or mask[found.song[there]].all()
    rows = EXACT.first_window[found.song[there]] + found.window[there]
    exact = (EMBEDDINGS.astype(np.float32)[rows] * np.repeat(queries, there.sum(axis=1), axis=0)).sum(axis=1)
    np.testing.assert_allclose(found.similarity[there], exact, atol=1e-5)
    assert (np.diff(found.similarity[:, : there.sum(axis=1).min()], axis=1) <= 0).all()
    pairs = [
        {(song, window) for song, window in zip(*each, strict=True) if song >= 0}
        for neighbours in (found, expected)
        for each in [(neighbours.song.ravel().tolist(), neighbours.window.ravel().tolist())]
    ]
    assert len(pairs[0] & pairs[1]) >= 0.9 * len(pairs[1])


def test_windows_are_the_embeddings(path):
    ranges = WindowRanges.whole(np.array([5, 2]))
    index = ApproximateIndex.open(path, EXACT, "digest")
    for found, expected in zip(index.windows_of(ranges), EXACT.windows_of(ranges), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_wrong_or_broken_index_is_refused(path, tmp_path):
    with pytest.raises(IndexUnavailableError, match="belongs to another catalog"):
        ApproximateIndex.open(path, EXACT, "other digest")
    with pytest.raises(IndexUnavailableError, match="there is no index"):
        ApproximateIndex.open(tmp_path / "nothing.faiss", EXACT, "digest")
    torso, about = tmp_path / path.name, tmp_path / f"{path.name}.json"
    torso.write_bytes(path.read_bytes()[:5000])
    about.write_text(path.with_name(about.name).read_text())
    with pytest.raises(IndexUnavailableError, match="damaged"):
        ApproximateIndex.open(torso, EXACT, "digest")
    about.write_text(json.dumps({"embeddings_sha256": "digest", "bytes": 5000}))
    with pytest.raises(IndexUnavailableError, match="there is no index"):
        ApproximateIndex.open(torso, EXACT, "digest")
    with pytest.raises(IndexUnavailableError, match="100 windows are too few"):
        build(EMBEDDINGS[:100], tmp_path / "small.faiss", "digest")
