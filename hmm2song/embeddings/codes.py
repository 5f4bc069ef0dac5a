"""Windows as product-quantised codes: what is kept of embeddings where these would take too much room.

A code is the number of a list of windows (of an inverted file of FAISS) and a byte for each few dimensions of what is
left. It is decoded when somebody asks for the embedding: about 0.2 µs a window. Codes stand in the lists and nowhere
else: of each window a catalog knows its list and its place there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hmm2song.errors import CatalogError, IndexUnavailableError

CODES_REMEMBERED = 4_000_000
"""Different windows whose codes :class:`WindowCoder` knows, at most: some 200 MB."""


class CodedWindows:
    """Codes that are read like an array of embeddings (n, dim), float16.

    Parameters
    ----------
    codes : np.ndarray, shape (n, code size), uint8, or ListedCodes
    index : faiss.IndexIVF
        What decodes them; it may hold their inverted lists.
    """

    dtype = np.dtype(np.float16)
    ndim = 2

    def __init__(self, codes: np.ndarray | ListedCodes, index: Any) -> None:
        self.codes, self.index = codes, index
        self.shape = (len(codes), index.d)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        codes = np.ascontiguousarray(self.codes[rows])
        return self.index.sa_decode(codes).astype(np.float16) if len(codes) else np.zeros((0, self.index.d), np.float16)


class ListedCodes:
    """The codes of windows that stand in the lists of an index, read like an array (n, code size), uint8.

    Parameters
    ----------
    window_list, window_place : np.ndarray, shape (n,), uint16 and uint32
        The list of each window, and its place there; they may be mapped.
    index : faiss.IndexIVF
        It may be mapped; it must not change.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, window_list: np.ndarray, window_place: np.ndarray, index: Any) -> None:
        self._list, self._place = window_list, window_place
        self.shape = (len(window_list), index.sa_code_size())
        self._list_bytes = index.coarse_code_size()
        self._sizes = np.array([index.invlists.list_size(number) for number in range(index.nlist)], np.int64)
        width = index.code_size
        starts = [int(index.invlists.get_codes(n)) if size else 0 for n, size in enumerate(self._sizes)]
        self._starts = np.array(starts, np.int64)
        used = self._sizes > 0
        self._base = int(self._starts[used].min())
        n_bytes = int((self._starts + width * self._sizes)[used].max()) - self._base
        memory = np.frombuffer((ctypes.c_uint8 * n_bytes).from_address(self._base), np.uint8)
        self._codes = np.lib.stride_tricks.sliding_window_view(memory, width)
        self._width, self._index = width, index  # whose memory it is

    def __len__(self) -> int:
        return len(self._list)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        lists, places = self._list[rows], self._place[rows].astype(np.int64)
        if (lists >= len(self._sizes)).any() or (places >= self._sizes[lists]).any():
            raise CatalogError("the windows of the catalog are not in the lists of its index; make the catalog again")
        codes = self._codes[self._starts[lists] - self._base + places * self._width]
        numbers = lists.astype("<u2").view(np.uint8).reshape(-1, 2)[:, : self._list_bytes]
        return np.concatenate((numbers, codes), axis=1)


def coded_windows(path: Path, stored: Mapping[str, np.ndarray]) -> CodedWindows:
    """Map the index file of a compact catalog, in which its windows stand; CatalogError if it is of other windows.

    Older catalogs hold the codes a second time, in the order of the windows.
    """
    faiss = import_faiss()
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise CatalogError(f"{path.name} of catalog {path.parent.name!r} cannot be read ({error!r:.100})") from error
    codes = stored["codes"] if "codes" in stored else ListedCodes(stored["window_list"], stored["window_place"], index)
    if index.ntotal != len(codes) or codes.dtype != np.uint8 or codes.shape[1:] != (index.sa_code_size(),):
        raise CatalogError(
            f"{path.name} of catalog {path.parent.name!r} belongs to other codes; make the catalog again"
        )
    return CodedWindows(codes, index)


class WindowCoder:
    """Codes windows; those that it has met before cost nothing: choruses and other versions repeat them."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._multipliers = np.random.default_rng(0).integers(0, 2**63, index.d // 4, np.uint64) * np.uint64(
            2
        ) + np.uint64(1)
        self._forget()

    def codes(self, windows: np.ndarray) -> np.ndarray:
        """Return the codes of windows (n, dim), float16; shape (n, code size), uint8."""
        words = np.ascontiguousarray(windows, np.float16).view(np.uint64)
        keys, first, place = np.unique((words * self._multipliers).sum(axis=1), return_index=True, return_inverse=True)
        if len(self._keys) + len(keys) > CODES_REMEMBERED:
            self._forget()
        at = np.searchsorted(self._keys, keys)
        # The 0 is of their type: as floats, keys next to each other are equal.
        known = np.append(self._keys, np.uint64(0))[at] == keys
        new = np.flatnonzero(~known) if len(self._keys) else np.arange(len(keys))
        if len(new):
            coded = self._index.sa_encode(windows[first[new]].astype(np.float32))
            self._keys = np.insert(self._keys, at[new], keys[new])
            self._codes = np.insert(self._codes, at[new], coded, axis=0)
        return self._codes[np.searchsorted(self._keys, keys)][place]

    def _forget(self) -> None:
        self._keys = np.zeros(0, np.uint64)
        self._codes = np.zeros((0, self._index.sa_code_size()), np.uint8)


def import_faiss() -> ModuleType:
    """Return FAISS, or raise IndexUnavailableError."""
    try:
        import faiss
    except ImportError as error:
        raise IndexUnavailableError("this index needs FAISS: pip install -r requirements-faiss.txt") from error
    return faiss
