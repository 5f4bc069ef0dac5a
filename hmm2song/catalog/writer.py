"""A catalog written song by song, in memory that does not grow with its melodies: for more songs than fit there."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import replaced_catalog, unvoiced_error
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.song_table import repeated_id_error
from hmm2song.catalog.storage import CREDITS_FILE, EMBEDDINGS_FILE, FACETS_FILE, MELODIES_FILE, SONGS_FILE
from hmm2song.errors import CatalogError
from hmm2song.melody.melody import Melody
from hmm2song.melody.packed import PackedMelodies
from hmm2song.song import Song

_EMBEDDED = ("embeddings", "n_windows")


class CatalogWriter:
    """Appends to the files of a folder; made by :func:`writing`."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        self._folder = folder
        self._files = files
        self._songs = files.enter_context((folder / SONGS_FILE).open("w", encoding="utf-8"))
        self._parts: dict[str, tuple[object, np.dtype, tuple[int, ...]]] = {}
        self._ids: set[str] = set()
        self._any_tracked = False

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, song: Song, melody: Melody, embeddings: np.ndarray, tracked: bool = False) -> None:
        """Append a song with its windows (n, dim) float16; CatalogError for a known id or a melody without pitch."""
        packed = PackedMelodies.of([melody])
        if packed.contour_frames[0] == 0:
            raise unvoiced_error(song.id)
        if song.id in self._ids:
            raise repeated_id_error(song.id)
        row = json.dumps(song.to_row(), ensure_ascii=False, indent=1)
        self._songs.write(("[\n" if not self._ids else ",\n") + textwrap.indent(row, " "))
        self._ids.add(song.id)
        self._any_tracked |= tracked
        windows = {"embeddings": embeddings.astype(np.float16), "n_windows": np.array([len(embeddings)], np.int32)}
        for name, array in {**packed.tensors, **windows, "tracked": np.array([tracked])}.items():
            if name not in self._parts:
                part = self._files.enter_context((self._folder / f"{name}.part").open("wb"))
                self._parts[name] = part, array.dtype, array.shape[1:]
            self._parts[name][0].write(np.ascontiguousarray(array))

    def finish(self, encoder_fingerprint: str, credits: str, facets: Facets | None = None) -> None:
        """Make the files of what was added."""
        if not self._ids:
            raise CatalogError("the catalog holds no songs; index at least one")
        if facets is not None:
            if len(facets) != len(self):
                raise CatalogError(f"{len(self)} songs but facets of {len(facets)}")
            facets.write(self._folder / FACETS_FILE)
        self._songs.write("\n]\n")
        self._files.close()
        (self._folder / CREDITS_FILE).write_text(credits, encoding="utf-8")
        arrays = {
            name: np.memmap(self._folder / f"{name}.part", dtype, "r").reshape(-1, *shape)
            for name, (_, dtype, shape) in self._parts.items()
        }
        if not self._any_tracked:
            del arrays["tracked"]
        embedded = {name: arrays.pop(name) for name in _EMBEDDED}
        storage.write_tensors(self._folder / MELODIES_FILE, arrays)
        storage.write_tensors(self._folder / EMBEDDINGS_FILE, embedded)
        for name in self._parts:
            (self._folder / f"{name}.part").unlink()
        storage.write_manifest(self._folder, encoder_fingerprint, len(self))


@contextmanager
def writing(
    folder: str | os.PathLike[str],
    encoder_fingerprint: str,
    credits: str = "",
    facets: Facets | None = None,
    beside: Mapping[str, str | Path] | None = None,
    keep_others: bool = False,
) -> Iterator[CatalogWriter]:
    """Yield a writer; the folder appears, or replaces a former catalog, when the block ends without an error.

    What it writes is what :meth:`hmm2song.catalog.catalog.Catalog.save` writes, also ``beside`` the catalog.
    CatalogError if the folder is something else than a catalog, or nothing was added.
    """
    with replaced_catalog(folder, encoder_fingerprint, beside, keep_others) as new, ExitStack() as files:
        writer = CatalogWriter(new, files)
        yield writer
        writer.finish(encoder_fingerprint, credits, facets)
