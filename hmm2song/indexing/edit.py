"""Catalog folders changed without indexing anew: songs added and removed, catalogs merged.

Conventions
-----------
* The old catalog stays in its place until the new one is complete (:mod:`hmm2song.catalog.storage`), so a run that is
  killed changes nothing; an interrupted :func:`add` goes on where it stopped.
* Files beside a catalog, such as a model of its own, stay with it; a merged catalog gets the model of the first one.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.edit import RenamedSong, join, remove_songs, with_unique_ids
from hmm2song.catalog.storage import REPORT_NAME, SKIPPED_NAME, SOURCES_NAME
from hmm2song.embeddings.base import CONFIG_FILE, WEIGHTS_FILE
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import CatalogError
from hmm2song.indexing.build import embed, own_folders
from hmm2song.indexing.extract import IndexOptions
from hmm2song.indexing.gathering import Progress, read_items
from hmm2song.indexing.report import REPORT_COLUMNS, SKIPPED_COLUMNS, IndexReport, csv_text, report_rows, skipped_rows
from hmm2song.indexing.sources import Listing, first_reasons, list_source
from hmm2song.indexing.state import forget_songs, read_state, state_text
from hmm2song.similar.enrich import enriched


@dataclass(frozen=True)
class EditReport:
    """What became of a catalog.

    ``n_new`` songs came in, songs ``renamed`` had ids that others have, ``repeated`` ids were there already with the
    same melody, ``read`` says what was read where something was.
    """

    catalog: Catalog
    n_new: int
    renamed: tuple[RenamedSong, ...] = ()
    repeated: tuple[str, ...] = ()
    read: IndexReport | None = None

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        about = {
            "songs": len(self.catalog),
            "new": self.n_new,
            "renamed": [dataclasses.asdict(renamed) for renamed in self.renamed],
            "repeated": list(self.repeated),
        }
        read = self.read.to_dict() if self.read else {}
        return about | {name: read[name] for name in ("files", "tunes", "skipped", "warned", "notes") if name in read}


def add(
    folder: str | os.PathLike[str],
    sources: Sequence[str | os.PathLike[str]],
    encoder: MelodyEncoder,
    workers: int | None = None,
    progress: Progress | None = None,
    options: IndexOptions | None = None,
    replace: bool = False,
) -> EditReport:
    """Add the songs of files, folders or tables (:mod:`hmm2song.indexing.sources`) to a catalog.

    The other options are those of :func:`hmm2song.indexing.build.index`, where ``update`` has no meaning. With
    ``replace`` a song takes the place of the one that has its id; otherwise it gets another id. CatalogError if there
    is no catalog, or nothing to add.
    """
    folder, options = storage.absolute(folder), options or IndexOptions()
    catalog = Catalog.load(folder, encoder, verify=True)
    listings = [list_source(Path(source), own_folders(folder, options)) for source in sources]
    listing = Listing(
        tuple(item for listing in listings for item in listing.items),
        tuple(skipped for listing in listings for skipped in listing.skipped),
        sum(listing.n_total for listing in listings),
        sum(listing.n_not_music for listing in listings),
        "row" if all(listing.unit == "row" for listing in listings) else "file",
    )
    partial = storage.partial_of(folder)
    findings = read_items(listing, partial, options, workers, progress)
    if not findings.songs:
        reasons = first_reasons(findings.skipped)
        raise CatalogError(f"no melody to add ({reasons or 'no score or recording there'})")
    songs = with_unique_ids([found.song for found in findings.songs])
    common = encoder.for_songs([*catalog.tracked, *(found.item.is_tracked for found in findings.songs)])
    coming = embed(songs, findings.songs, common, progress)
    joined = join(catalog.embedded_by(common), coming, replace)
    joined = dataclasses.replace(joined, catalog=enriched(_embedded_as_new(joined.catalog, encoder)))
    new_ids = {renamed.id: renamed.new_id for renamed in joined.renamed}
    songs = [joined.catalog.song(new_ids.get(song.id, song.id)) for song in songs]
    n_new = len(coming) - len(joined.repeated)
    if n_new:
        here = {song.id for song in songs} - set(joined.repeated)
        beside = _kept_files(folder, here)
        rows = [row for row in report_rows(findings, songs) if row[REPORT_COLUMNS.index("id")] in here]
        beside[SKIPPED_NAME] = beside.get(SKIPPED_NAME, csv_text([SKIPPED_COLUMNS])) + csv_text(skipped_rows(findings))
        beside[REPORT_NAME] = beside.get(REPORT_NAME, csv_text([REPORT_COLUMNS])) + csv_text(rows)
        joined.catalog.save(folder, beside)
    shutil.rmtree(partial, ignore_errors=True)
    report = IndexReport.of(findings, joined.catalog, songs)
    return EditReport(joined.catalog, n_new, joined.renamed, joined.repeated, report)


def remove(folder: str | os.PathLike[str], song_ids: Sequence[str], encoder: MelodyEncoder) -> EditReport:
    """Remove songs from a catalog. They come back when it is indexed anew, or updated after their files have changed.

    If recordings alone are left, they are embedded anew where another encoder of the model made the catalog.
    UnknownSongError for an id that no song has, CatalogError if no song would be left; nothing is removed then.
    """
    folder = storage.absolute(folder)
    catalog = remove_songs(Catalog.load(folder, encoder, verify=True), frozenset(song_ids))
    catalog = _embedded_as_new(catalog, encoder)
    catalog.save(folder, _kept_files(folder, set(song_ids)))
    return EditReport(catalog, 0)


def merge(folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], encoder: MelodyEncoder) -> EditReport:
    """Make one catalog of several that were made with one model; songs with a taken id get another.

    If some are of recordings alone and some are not, the windows of one kind are embedded anew. CatalogError for fewer
    than two catalogs, different models, or an ``out`` that must not be overwritten.
    """
    if len(folders) < 2:
        raise CatalogError("give at least two catalogs to merge")
    out = storage.absolute(out)
    storage.recover(out)
    storage.CATALOG.check_replaceable(out)
    catalogs = [Catalog.load(folder, encoder, verify=True) for folder in folders]
    encoder = encoder.for_songs(np.concatenate([catalog.tracked for catalog in catalogs]))
    merged, *others = (catalog.embedded_by(encoder) for catalog in catalogs)
    renamed, repeated, n_first = [], [], len(merged)
    for other in others:
        joined = join(merged, other)
        merged, renamed, repeated = joined.catalog, renamed + [*joined.renamed], repeated + [*joined.repeated]
    first = Path(folders[0])
    model = {name: first / name for name in (CONFIG_FILE, WEIGHTS_FILE) if (first / name).is_file()}
    merged.save(out, model, keep_others=False)
    return EditReport(merged, len(merged) - n_first, tuple(renamed), tuple(repeated))


def _embedded_as_new(catalog: Catalog, encoder: MelodyEncoder) -> Catalog:
    """Return a catalog whose last score went as one of recordings alone."""
    return catalog.embedded_by(encoder.for_songs(catalog.tracked))


def _kept_files(folder: Path, gone: set[str]) -> dict[str, str]:
    """Return what a catalog's folder holds besides the catalog, without the songs that are gone."""
    kept = {}
    if (folder / SKIPPED_NAME).is_file():
        kept[SKIPPED_NAME] = (folder / SKIPPED_NAME).read_text(encoding="utf-8")
    if (folder / REPORT_NAME).is_file():
        kept[REPORT_NAME] = _without_rows((folder / REPORT_NAME).read_text(encoding="utf-8"), gone)
    files = read_state(folder)
    if files is not None:
        kept[SOURCES_NAME] = state_text(forget_songs(files, gone))
    return kept


def _without_rows(table: str, gone: set[str]) -> str:
    header, *rows = list(csv.reader(io.StringIO(table, newline=""))) or [[]]
    header += REPORT_COLUMNS[len(header) :]  # of an older version
    place = header.index("id") if "id" in header else len(header)
    return csv_text([header, *(row for row in rows if place >= len(row) or row[place] not in gone)])
