"""The index that a setting names, for a catalog: one outside this process, or an approximate one in a file."""

from __future__ import annotations

from pathlib import Path

from hmm2song.catalog.catalog import Catalog
from hmm2song.embeddings.codes import CodedWindows
from hmm2song.errors import CatalogError
from hmm2song.index import approximate
from hmm2song.index.approximate import ApproximateIndex
from hmm2song.index.base import WindowIndex
from hmm2song.index.exact import ExactIndex
from hmm2song.index.milvus import index_from_setting
from hmm2song.machine import n_cores


def own_index(catalog: Catalog, n_threads: int) -> WindowIndex:
    """Return the index that a catalog is searched with by itself: exact, or that of a compact catalog."""
    exact = ExactIndex.of(catalog.embeddings, catalog.n_windows, n_threads)
    return ApproximateIndex.of_codes(exact) if isinstance(catalog.embeddings, CodedWindows) else exact


def index_of(setting: str, catalog: Catalog) -> WindowIndex:
    """Open ``faiss+<file>`` or ``milvus+<uri>``; IndexUnavailableError if it is missing or another catalog's."""
    if isinstance(catalog.embeddings, CodedWindows):
        raise CatalogError("a compact catalog has its own index; leave HMM2SONG_INDEX away")
    if not setting.startswith(approximate.SETTING_PREFIX):
        return index_from_setting(setting, catalog)
    path = Path(setting.removeprefix(approximate.SETTING_PREFIX))
    exact = ExactIndex.of(catalog.embeddings, catalog.n_windows, n_cores())
    return ApproximateIndex.open(path, exact, embeddings_sha256(catalog))


def embeddings_sha256(catalog: Catalog) -> str:
    """Return the recorded checksum of a saved catalog's embeddings, which are not read for it."""
    if catalog.folder is None:
        raise CatalogError("a catalog that was not saved has no index in a file; save it first")
    return catalog.embeddings_sha256
