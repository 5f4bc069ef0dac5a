"""From a folder of music, a table or a score to a catalog.

What is read stands in :mod:`hmm2song.indexing.sources`, how in :mod:`hmm2song.indexing.extract`; here it is put
together.

How it stays safe
-----------------
* Every melody is stored in ``<out>.partial`` as soon as it is extracted, under a name made from the file's
  content; a run that is killed goes on where it stopped, and the result has the same bytes as that of an
  undisturbed run.
* Broken files are skipped and listed, in the report and in the catalog's ``skipped.csv``; ``report.csv`` lists how much
  melody was found in each recording.
* The catalog is built beside ``<out>`` and moved there when complete (:mod:`hmm2song.catalog.storage`). A folder that
  is not a catalog is never touched.
* An update reads only what is new or changed, and gives the same bytes as indexing anew, but for the rounding of
  melodies where it embeds anew: when scores come to a folder of recordings alone, or the reverse.
* Melodies and embeddings are written song by song and never held for all songs.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog, embed_songs
from hmm2song.catalog.edit import credits_of, with_unique_ids
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.storage import MANIFEST_FILE, REPORT_NAME, SKIPPED_NAME, SOURCES_NAME
from hmm2song.catalog.writer import writing
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import CatalogError
from hmm2song.index.base import first_windows
from hmm2song.indexing.extract import IndexOptions
from hmm2song.indexing.gathering import Findings, IndexedSong, PreviousCatalog, Progress, read_items
from hmm2song.indexing.report import (
    REPORT_COLUMNS,
    SKIPPED_COLUMNS,
    FileCounts,
    IndexReport,
    csv_text,
    report_rows,
    skipped_rows,
)
from hmm2song.indexing.sources import first_reasons, list_source
from hmm2song.indexing.state import RememberedFile, RememberedSong, read_state, state_text
from hmm2song.similar.enrich import enriched_songs
from hmm2song.song import Song

HEARD_AT_ONCE = 1000
"""Recordings of which it is read at once what they sound like."""
OUT_OF_DATE_NOTE = (
    "songs added by hand: {n}; another version listened to them, so they are not compared with others: "
    "add them again with --replace"
)


def index(
    source: str | os.PathLike,
    out: str | os.PathLike,
    encoder: MelodyEncoder,
    workers: int | None = None,
    progress: Progress | None = None,
    options: IndexOptions | None = None,
) -> IndexReport:
    """Make a catalog of a folder, a table or a score file.

    Parameters
    ----------
    source : path
        What to index, see :mod:`hmm2song.indexing.sources`.
    out : path
        The catalog's folder. It may exist only if it is empty or a catalog, which is replaced when the new
        one is complete. One run at a time may write to it.
    encoder : MelodyEncoder
        Embeds the melodies, with its network for recordings if there are no others; the catalog can be searched with
        this encoder only.
    workers : int, optional
        Processes that read files at the same time; one per core by default. More than one need the caller's
        main module to be importable (``if __name__ == "__main__":``), as always with :mod:`multiprocessing`.
    progress : callable, optional
        See :data:`hmm2song.indexing.gathering.Progress`.
    options : IndexOptions, optional
        By default recordings are not separated, and an existing catalog is made anew.

    Raises
    ------
    CatalogError
        The source cannot be read or holds no usable melody, or ``out`` must not be overwritten.
    SeparatorUnavailableError
        What is to separate the recordings is missing or broken.
    """
    source, folder, options = Path(source), storage.absolute(out), options or IndexOptions()
    partial = storage.partial_of(folder)
    storage.recover(folder)
    storage.CATALOG.check_replaceable(folder, with_others=options.update)
    previous = _previous_catalog(folder, encoder) if options.update else PreviousCatalog()
    listing = list_source(source, own_folders(folder, options))
    findings = read_items(listing, partial, options, workers, progress, previous)
    if not findings.songs:
        reasons = first_reasons(findings.skipped)
        about = f"{FileCounts.of(findings)}; {reasons}" if reasons else f"{FileCounts.of(findings)}"
        raise CatalogError(f"no melody found in {source.name or source} ({about})")
    _write(folder, findings, encoder, previous, progress, options)
    shutil.rmtree(partial, ignore_errors=True)
    catalog = Catalog.load(folder, encoder)
    kept = {song.id for song in catalog.songs}
    removed = sum(song.id not in kept for song in previous.catalog.songs) if previous.catalog else 0
    report = IndexReport.of(findings, catalog, catalog.songs)
    if options.listen and previous.is_heard_otherwise and (n_by_hand := len(previous.by_hand())):
        report = dataclasses.replace(report, notes=(*report.notes, OUT_OF_DATE_NOTE.format(n=n_by_hand)))
    return dataclasses.replace(report, unchanged=findings.n_unchanged, removed=removed)


# What is there already --------------------------------------------------------------------------------------


def _previous_catalog(folder: Path, encoder: MelodyEncoder) -> PreviousCatalog:
    if not (folder / MANIFEST_FILE).is_file():
        return PreviousCatalog()
    catalog = Catalog.load(folder, encoder, verify=True)
    catalog.check_editable()
    files = read_state(folder)
    if files is None:
        raise CatalogError(
            f"catalog {folder.name!r} does not say which files it was made of ({SOURCES_NAME}); "
            "index again without --update, or add to it"
        )
    ids = {song.id for song in catalog.songs}
    return PreviousCatalog(catalog, {file.path: _usable(file, ids) for file in files})


def _usable(file: RememberedFile, ids: set[str]) -> RememberedFile:
    """Return the file as to be read again if songs of it are missing from the catalog."""
    known = tuple(song for song in file.songs if song.id in ids)
    return file if len(known) == len(file.songs) else dataclasses.replace(file, songs=known, key="")


def own_folders(catalog: Path, options: IndexOptions) -> list[Path]:
    """Return the folders that may lie in the source but do not belong to the music."""
    kind, _, folder = options.separator.partition(":")
    stems = [Path(folder)] if kind == "stems" and folder else []
    stems += [options.stems_cache] if options.stems_cache else []
    return [catalog, storage.partial_of(catalog), *(Path(os.path.realpath(stem)) for stem in stems)]


# Putting it together ----------------------------------------------------------------------------------------


def _write(
    folder: Path,
    findings: Findings,
    encoder: MelodyEncoder,
    previous: PreviousCatalog,
    progress: Progress | None,
    options: IndexOptions,
) -> None:
    """Write the songs that were found and those that were added by hand; what is new is embedded.

    All is, if the catalog was made with another encoder of the model: scores came to recordings, or the reverse.
    """
    found, by_hand = findings.songs, previous.by_hand()
    songs = with_unique_ids([*(entry.song for entry in found), *(previous.catalog.songs[place] for place in by_hand)])
    credits = credits_of(songs)
    facets = _facets_of(found, previous, by_hand, options.listen)
    if facets is not None:
        songs = enriched_songs(songs, facets)
    catalog, old_places = previous.catalog, [*(entry.old for entry in found), *by_hand]
    tracked = [entry.item.is_tracked for entry in found] + [bool(catalog.tracked[old]) for old in by_hand]
    encoder = encoder.for_songs(tracked)
    keeps_windows = catalog is not None and catalog.encoder_fingerprint == encoder.fingerprint
    first_window = first_windows(catalog.n_windows) if keeps_windows else None
    new = [place for place, old in enumerate(old_places) if old is None or not keeps_windows]
    melodies = (
        found[place].stored.load() if old_places[place] is None else catalog.melodies[old_places[place]]
        for place in new
    )
    coming = embed_songs((songs[place] for place in new), melodies, encoder)
    beside, n_embedded, is_new = _files_beside(findings, songs), 0, set(new)
    with writing(folder, encoder.fingerprint, credits, facets, beside, options.update) as writer:
        for place, (song, old) in enumerate(zip(songs, old_places, strict=True)):
            if place in is_new:
                writer.add(song, *next(coming), tracked[place])
                n_embedded += 1
                if progress:
                    progress("embed", n_embedded, len(new))
            else:
                windows = catalog.embeddings[first_window[old] : first_window[old + 1]]
                writer.add(song, catalog.melodies[old], windows, tracked[place])


def _facets_of(
    found: Sequence[IndexedSong], previous: PreviousCatalog, by_hand: Sequence[int], listen: bool
) -> Facets | None:
    """Return what was heard in all songs, or None; rows of the previous catalog are kept where nothing is newer."""
    rows = [entry if entry.old is None or entry.is_heard else entry.old for entry in found]
    rows += [None] * len(by_hand) if listen and previous.is_heard_otherwise else by_hand
    kept = [place for place, row in enumerate(rows) if isinstance(row, int)]
    others = [place for place, row in enumerate(rows) if not isinstance(row, int)]
    parts = []
    if kept:
        known = previous.catalog.facets or Facets.unheard(len(previous.catalog))
        parts.append(known.take([rows[place] for place in kept]))
    for first in range(0, len(others), HEARD_AT_ONCE):
        some = [rows[place] for place in others[first : first + HEARD_AT_ONCE]]
        parts.append(Facets.concatenate([(row and row.heard) or Facets.unheard(1) for row in some]))
    joined = Facets.concatenate(parts)
    return joined.take(np.argsort(kept + others)) if joined.heard.any() else None


def embed(
    songs: Sequence[Song], found: Sequence[IndexedSong], encoder: MelodyEncoder, progress: Progress | None
) -> Catalog:
    """Make a catalog of ``songs``, which have ids of their own, with the melodies that were found."""
    show = None if progress is None else lambda done, total: progress("embed", done, total)
    melodies, tracked = [entry.stored.load() for entry in found], [entry.item.is_tracked for entry in found]
    facets = Facets.of_songs([entry.heard for entry in found])
    return Catalog.build(songs, melodies, encoder, credits_of(songs), show, tracked, facets)


# Beside the catalog -----------------------------------------------------------------------------------------


def _files_beside(findings: Findings, songs: Sequence[Song]) -> dict[str, str]:
    """Return what the catalog's folder holds besides the catalog; ``songs`` starts with those of the findings."""
    of_file: dict[str, list[RememberedSong]] = {name: [] for name in findings.keys}
    for found, song in zip(findings.songs, songs, strict=False):
        if found.item.name in of_file:
            of_file[found.item.name].append(RememberedSong.of(song, found.as_read, found.warnings))
    files = [
        RememberedFile(name, findings.keys[name], tuple(remembered), findings.problems[name], findings.qualities[name])
        for name, remembered in of_file.items()
    ]
    return {
        SKIPPED_NAME: csv_text([SKIPPED_COLUMNS, *skipped_rows(findings)]),
        REPORT_NAME: csv_text([REPORT_COLUMNS, *report_rows(findings, songs)]),
        SOURCES_NAME: state_text(files),
    }
