"""Compact catalogs: what a million songs leave on a disk and in memory.

In the place of a catalog's files there are::

    songs.safetensors         the songs' fields in columns, as UTF-8 text, which are mapped
    melodies.safetensors      runs of one pitch (:mod:`hmm2song.melody.runs`), which lose nothing
    windows.faiss             inverted lists of codes of windows (:mod:`hmm2song.embeddings.codes`) in the place of
                              embeddings
    embeddings.safetensors    the list of each window, and its place there; ``stride``, how many hops of the encoder
                              windows are apart

A compact catalog is made of an ordinary one, for searching by those who made it: embeddings cannot be had back, and
FAISS reads its file unchecked. It is written in shards; a run that was ended goes on with those that it has.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog, unvoiced_error
from hmm2song.catalog.song_table import FIELDS, SongTable, TextColumn
from hmm2song.embeddings.codes import WindowCoder, import_faiss
from hmm2song.errors import CatalogError
from hmm2song.index.approximate import WINDOWS_PER_LIST, lists_for, trained
from hmm2song.index.base import first_windows
from hmm2song.melody.melody import Melody
from hmm2song.melody.packed import MEDIAN_UNITS_ST, PackedMelodies
from hmm2song.melody.runs import runs_of
from hmm2song.song import Song

SONGS_PER_SHARD = 2000
STRIDE = 2
DIMS_PER_CODE = 4
ABOUT_FILE, TRAINED_FILE = "about.json", "trained.faiss"


@dataclass(frozen=True)
class CompactForm:
    """What a compact catalog is made of, and how.

    ``source`` tells one source of songs from another; of every song each ``stride``-th window is kept, as a byte for
    each ``dims_per_code`` dimensions.
    """

    source: str
    n_songs: int
    encoder_fingerprint: str
    stride: int = STRIDE
    dims_per_code: int = DIMS_PER_CODE


def compact(
    catalog: Catalog,
    folder: str | os.PathLike[str],
    stride: int = STRIDE,
    dims_per_code: int = DIMS_PER_CODE,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a catalog that was saved as a compact one; ``progress`` is called with (songs done, songs in all)."""
    catalog.check_editable()
    if catalog.folder is None:
        raise CatalogError("a compact catalog is made of one that was saved; save it first")
    source = storage.sha256_of(catalog.folder / storage.MANIFEST_FILE)
    form = CompactForm(source, len(catalog), catalog.encoder_fingerprint, stride, dims_per_code)
    first_window = first_windows(catalog.n_windows)

    def learned() -> Any:
        n_lists = lists_for(int((-(-catalog.n_windows // stride)).sum()))
        n_learned = min(len(catalog.embeddings), n_lists * WINDOWS_PER_LIST)
        rows = np.random.default_rng(0).permutation(len(catalog.embeddings))[:n_learned]
        return trained(catalog.embeddings[np.sort(rows)], n_lists, dims_per_code)

    def entries(first: int, stop: int) -> Iterable[tuple[Song, Melody, np.ndarray, bool]]:
        for song in range(first, stop):
            windows = catalog.embeddings[first_window[song] : first_window[song + 1]]
            yield catalog.songs[song], catalog.melodies[song], windows, bool(catalog.tracked[song])

    write_compact(folder, form, entries, learned, catalog.credits, progress)


def write_compact(
    folder: str | os.PathLike[str],
    form: CompactForm,
    entries: Callable[[int, int], Iterable[tuple[Song, Melody, np.ndarray, bool]]],
    learned: Callable[[], Any],
    credits: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write songs as a compact catalog, in memory that grows with the lists of the index only.

    Parameters
    ----------
    folder : path
        It appears, or replaces a former catalog, when all is written.
    form : CompactForm
    entries : callable
        Return the songs from the first to before the second number, each with its melody, all its windows (n, dim)
        float16, and whether it was tracked.
    learned : callable
        Return an index that codes windows (:func:`hmm2song.index.approximate.trained`).
    """
    folder = storage.absolute(folder)
    storage.recover(folder)
    storage.CATALOG.check_replaceable(folder)
    shards = storage.partial_of(folder) / "shards"
    about = json.dumps(asdict(form))
    if shards.exists() and (not (shards / ABOUT_FILE).exists() or (shards / ABOUT_FILE).read_text() != about):
        shutil.rmtree(shards)
    shards.mkdir(parents=True, exist_ok=True)
    (shards / ABOUT_FILE).write_text(about)
    faiss = import_faiss()
    if not (shards / TRAINED_FILE).exists():
        with storage.whole_file(shards / TRAINED_FILE) as temporary:
            faiss.write_index(learned(), str(temporary))
    index = faiss.read_index(str(shards / TRAINED_FILE))
    coder = WindowCoder(index)
    files = [shards / f"{first}.safetensors" for first in range(0, form.n_songs, SONGS_PER_SHARD)]
    for number, file in enumerate(files):
        first, stop = number * SONGS_PER_SHARD, min((number + 1) * SONGS_PER_SHARD, form.n_songs)
        if not file.exists():
            arrays = _shard(list(islice(entries(first, stop), stop - first)), coder, form.stride)
            with storage.whole_file(file) as temporary:
                storage.write_tensors(temporary, arrays)
        if progress:
            progress(stop, form.n_songs)
    with storage.replacement(folder) as new:
        _join(new, [storage.mapped_tensors(file) for file in files], index, form)
        (new / storage.CREDITS_FILE).write_text(credits, encoding="utf-8")
        storage.write_manifest(new, form.encoder_fingerprint, form.n_songs)
        shutil.rmtree(shards)


def _shard(entries: list[tuple[Song, Melody, np.ndarray, bool]], coder: WindowCoder, stride: int) -> dict:
    """Return the arrays of some songs."""
    songs, melodies, windows, tracked = zip(*entries, strict=True)
    packed = PackedMelodies.of(melodies)
    for number in np.flatnonzero(packed.contour_frames == 0)[:1]:
        raise unvoiced_error(songs[number].id)
    kept = [rows[::stride] for rows in windows]
    arrays = runs_of(packed)
    for field in FIELDS:
        column = TextColumn.of([getattr(song, field) for song in songs])
        arrays[f"text_{field}"] = np.frombuffer(column.utf8, np.uint8)
        arrays[f"bytes_{field}"] = np.diff(column.first).astype(np.int32)
    return {
        **arrays,
        "tracked": np.array(tracked, bool),
        "codes": coder.codes(np.concatenate(kept)),
        "n_windows": np.array([len(rows) for rows in kept], np.int32),
    }


def _join(folder: Path, shards: list[dict[str, np.ndarray]], index: Any, form: CompactForm) -> None:
    """Write the files of all shards."""
    pieces = {name: [shard[name] for shard in shards] for name in shards[0]}
    columns = {}
    for field in FIELDS:
        text = pieces.pop(f"text_{field}")
        first = np.concatenate(([0], np.cumsum(np.concatenate(pieces.pop(f"bytes_{field}")), dtype=np.int64)))
        if first[-1]:
            columns[f"text_{field}"], columns[f"first_{field}"] = text, first
    table = SongTable.of_columns({name: np.concatenate(each) if isinstance(each, list) else each
                                  for name, each in columns.items()}, form.n_songs)  # fmt: skip
    storage.write_tensors(folder / storage.SONG_COLUMNS_FILE, {**columns, **table.kind_columns})
    medians = pieces["median_midi"]
    if len({each.dtype for each in medians}) > 1:
        pieces["median_midi"] = [(each * MEDIAN_UNITS_ST[each.dtype]).astype(np.float32) for each in medians]
    codes = pieces.pop("codes")
    window_list, window_place = zip(*_added(codes, index), strict=True)
    embedded = {
        "window_list": window_list,
        "window_place": window_place,
        "n_windows": pieces.pop("n_windows"),
        "stride": np.array([form.stride], np.int32),
    }
    if not any(each.any() for each in pieces["tracked"]):
        del pieces["tracked"]
    storage.write_tensors(folder / storage.MELODIES_FILE, pieces)
    storage.write_tensors(folder / storage.EMBEDDINGS_FILE, embedded)
    import_faiss().write_index(index, str(folder / storage.WINDOWS_FILE))


def _added(codes: Iterable[np.ndarray], index: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Put codes into their lists, and yield the list of each and its place there; FAISS appends one after the other."""
    size = np.zeros(index.nlist, np.int64)
    for some in codes:
        index.add_sa_codes(np.ascontiguousarray(some), np.arange(index.ntotal, index.ntotal + len(some)))
        number = np.zeros((len(some), 2), np.uint8)
        number[:, : index.coarse_code_size()] = some[:, : index.coarse_code_size()]
        number = number.view("<u2").ravel()
        order = np.argsort(number, kind="stable")
        first = np.searchsorted(number[order], np.arange(index.nlist))
        place = np.empty(len(some), np.int64)
        place[order] = np.arange(len(some)) - first[number[order]] + size[number[order]]
        size += np.bincount(number, minlength=index.nlist)
        yield number, place.astype(np.uint32)
