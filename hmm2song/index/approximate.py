"""Vector search with FAISS: a file beside the catalog proposes windows, and the mapped embeddings judge them.

The file holds an inverted index of product-quantised windows (Jégou, Douze and Schmid, "Product quantization for
nearest neighbor search", PAMI 2011): some 44 bytes a window instead of 256, of which a query reads the lists next to
it. Their scores are rough. So several times as many windows as asked for are looked up, compared again by their
embeddings, and only those similarities leave this module. A filter that leaves few windows is searched exactly.

Three things of FAISS 1.15 matter here. A filter counts only in the parameters of the IVF index itself, not in those of
a wrapper, and parameters left out of such an object fall back to their defaults: so ``nprobe`` is always given, and
every row that comes back is checked. A mapped index is for reading only. And nothing is known of what a damaged or
hostile file makes the reader do: use indexes that you have made yourself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hmm2song.embeddings.codes import WindowCoder, import_faiss
from hmm2song.errors import IndexUnavailableError
from hmm2song.index.base import Neighbours, WindowRanges
from hmm2song.index.exact import ExactIndex
from hmm2song.machine import one_blas_thread
from hmm2song.song import SongFilter

SETTING_PREFIX = "faiss+"
DIMS_PER_CODE = 4
"""Dimensions that share a byte: 32 bytes for 128 dimensions."""
LISTS_PER_ROOT = 4
"""Lists of windows for each square root of their number."""
WINDOWS_PER_LIST = 40
"""Windows for each list to learn the lists from, as FAISS asks for."""
MIN_WINDOWS = 10_000
"""With fewer the codes cannot be learned, and an exact search takes no time."""
MAX_LISTS = 4096
"""To learn lists takes as long as the square of their number."""
LISTS_PROBED = 192
"""Lists that a query looks into, at most."""
WINDOWS_PROBED = 500_000
"""Windows in them, about: so a larger catalog takes no longer."""
CANDIDATES_PER_NEIGHBOUR = 5
CACHED_MASKS = 16
EXACT_WINDOWS = 300_000
"""So many windows are compared about as fast as they are looked up, and of few chosen ones the lists miss most."""
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class ApproximateIndex:
    """An index file and the embeddings it was made of.

    Attributes
    ----------
    exact : ExactIndex
        The embeddings, mapped.
    """

    exact: ExactIndex
    _index: Any = field(repr=False)
    _faiss: ModuleType = field(repr=False)
    candidates: int = CANDIDATES_PER_NEIGHBOUR

    @classmethod
    def of_codes(cls, exact: ExactIndex) -> ApproximateIndex:
        """Use the lists that belong to :class:`CodedWindows`: their similarities are those of the decoded windows."""
        faiss = import_faiss()
        faiss.omp_set_num_threads(exact.n_threads)
        return cls(exact, exact.embeddings.index, faiss, candidates=1)

    @classmethod
    def open(cls, path: Path, exact: ExactIndex, embeddings_sha256: str) -> ApproximateIndex:
        """Map an index file that :func:`build` made of these embeddings, else IndexUnavailableError."""
        faiss, how = import_faiss(), f"make it with: python scripts/build_faiss.py --catalog FOLDER --out {path}"
        try:
            made_of = json.loads(_about(path).read_text(encoding="utf-8"))
            if made_of != {"embeddings_sha256": embeddings_sha256, "bytes": path.stat().st_size}:
                raise IndexUnavailableError(f"the index {path.name!r} belongs to another catalog or is damaged; {how}")
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except (OSError, ValueError, RuntimeError) as error:
            raise IndexUnavailableError(f"there is no index {str(path)!r} ({error!r:.100}); {how}") from error
        if (index.ntotal, index.d) != exact.embeddings.shape:
            raise IndexUnavailableError(
                f"the index {path.name!r} holds {index.ntotal} windows of {index.d} numbers; {how}"
            )
        faiss.omp_set_num_threads(exact.n_threads)
        return cls(exact, index, faiss)

    def windows_of(self, ranges: WindowRanges) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`hmm2song.index.base.WindowIndex`."""
        return self.exact.windows_of(ranges)

    def nearest(
        self, queries: np.ndarray, k: int, mask: np.ndarray | None = None, wanted: SongFilter | None = None
    ) -> Neighbours:
        """See :class:`hmm2song.index.base.WindowIndex`; the similarities are exact, some neighbours may be missing."""
        n_chosen = self.exact.n_windows(mask)
        if n_chosen <= EXACT_WINDOWS or len(queries) == 0:
            return self.exact.nearest(queries, k, mask, wanted)
        n_probed = min(LISTS_PROBED, 1 + WINDOWS_PROBED * self._index.nlist // self._index.ntotal)
        parameters = self._faiss.SearchParametersIVF(nprobe=n_probed)
        if n_chosen < self.exact.first_window[-1]:
            allowed = self._allowed(mask.tobytes())
            parameters.sel = self._faiss.IDSelectorBitmap(allowed)
        with one_blas_thread():
            _, rows = self._index.search(queries.astype(np.float32), k * self.candidates, params=parameters)
        return self._judged(queries, rows, k, mask)

    @cached_property
    def _allowed(self) -> Callable[[bytes], np.ndarray]:
        """Return a bit for each window of the songs under a mask, which takes a while for many millions."""

        def bits(mask: bytes) -> np.ndarray:
            of_window = np.repeat(np.frombuffer(mask, bool), np.diff(self.exact.first_window))
            return np.packbits(of_window, bitorder="little")

        return lru_cache(maxsize=CACHED_MASKS)(bits)

    def _judged(self, queries: np.ndarray, rows: np.ndarray, k: int, mask: np.ndarray | None) -> Neighbours:
        """Compare proposed rows (n_queries, m), -1 for none, by their embeddings and keep the best k."""
        first_window = self.exact.first_window
        song = np.searchsorted(first_window, rows, side="right") - 1
        fits = rows >= 0 if mask is None else (rows >= 0) & mask[song]
        distinct, place = np.unique(rows, return_inverse=True)
        windows = self.exact.rows_of(np.maximum(distinct, 0))
        similarity = np.take_along_axis(queries @ windows.T, place.reshape(rows.shape), axis=1)
        similarity = np.where(fits, similarity, -np.inf)
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        rows, song, similarity = (np.take_along_axis(each, order, axis=1) for each in (rows, song, similarity))
        missing = np.isneginf(similarity)
        return Neighbours(np.where(missing, -1, song), np.where(missing, -1, rows - first_window[song]), similarity)


def build(
    embeddings: np.ndarray,
    path: Path,
    embeddings_sha256: str,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the index of embeddings (n, dim); ``progress`` is called with (windows done, windows in all).

    IndexUnavailableError for fewer than :data:`MIN_WINDOWS`.
    """
    n_windows = len(embeddings)
    n_lists = lists_for(n_windows)
    rows = np.random.default_rng(0).permutation(n_windows)[: n_lists * WINDOWS_PER_LIST]
    index = trained(embeddings[np.sort(rows)], n_lists)
    coder = WindowCoder(index)
    for first in range(0, n_windows, ROWS_AT_ONCE):
        some = coder.codes(embeddings[first : first + ROWS_AT_ONCE])
        index.add_sa_codes(some, np.arange(first, first + len(some)))
        if progress:
            progress(index.ntotal, n_windows)
    import_faiss().write_index(index, str(path))
    about = {"embeddings_sha256": embeddings_sha256, "bytes": path.stat().st_size}
    _about(path).write_text(json.dumps(about) + "\n", encoding="utf-8")


def lists_for(n_windows: int) -> int:
    """Return how many lists an index gets; IndexUnavailableError for fewer than :data:`MIN_WINDOWS`."""
    if n_windows < MIN_WINDOWS:
        raise IndexUnavailableError(
            f"{n_windows} windows are too few for an approximate index ({MIN_WINDOWS}); search them exactly"
        )
    return min(LISTS_PER_ROOT * math.isqrt(n_windows), n_windows // WINDOWS_PER_LIST, MAX_LISTS)


def trained(windows: np.ndarray, n_lists: int, dims_per_code: int = DIMS_PER_CODE) -> Any:
    """Return an empty index whose lists and codes were learned of windows (n, dim)."""
    faiss, dim = import_faiss(), windows.shape[1]
    index = faiss.IndexIVFPQ(
        faiss.IndexFlatIP(dim), dim, n_lists, max(1, dim // dims_per_code), 8, faiss.METRIC_INNER_PRODUCT
    )
    index.train(windows.astype(np.float32))
    return index


def _about(path: Path) -> Path:
    """Return the file that says what an index was made of; written last, it tells a whole one from a torso."""
    return path.with_name(f"{path.name}.json")
