"""From a list of files to songs: each read in a worker, or taken from a catalog that has it already.

Conventions
-----------
* What the file says (``as_read``) and what the catalog will say (``song``, with the table's row applied) are kept
  apart: a row that was corrected changes the catalog without the file being read again.
* A file whose row cannot be used is not remembered, so it is read again when the row was corrected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.facets import Facets
from hmm2song.errors import CatalogError, Hmm2SongError, ScoreError
from hmm2song.hearing.recording import LISTENER, HeardRecording
from hmm2song.indexing.extract import (
    Extracted,
    IndexOptions,
    RecordingQuality,
    StoredMelody,
    extract_file,
    load_heard,
    load_result,
)
from hmm2song.indexing.runners import runner_of
from hmm2song.indexing.separation.separation import open_separator
from hmm2song.indexing.sources import SURPLUS, Item, Listing, SkippedFile
from hmm2song.indexing.state import RememberedFile
from hmm2song.machine import n_cores
from hmm2song.melody.scores import ScoredMelody
from hmm2song.song import Song, with_row

MIN_VOICED_S = 1.0
"""A melody with less pitch than this cannot be told from others and is skipped."""
REMOVED = "removed from the catalog by hand; it comes back when the file changes"
SCORES_PER_WORKER = 16
"""A process takes about as long to start as it takes to read this many scores."""
RECORDING_BYTES_PER_WORKER = 2 * 2**20
"""It also takes about as long as tracking this much compressed sound, two minutes. Separating any takes longer."""

Progress = Callable[[str, int, int], None]
"""Called with the step (``"read"`` or ``"embed"``), how many are done, and how many there are."""


@dataclass(frozen=True, eq=False)
class IndexedSong:
    """A song that a file holds: what the file says, what the catalog will say, and where its melody is stored.

    ``old`` is its position in the previous catalog, which has the melody then, None if it is not from there.
    ``is_heard`` says that what its recording sounds like is stored, too, and not in the previous catalog.
    """

    item: Item
    as_read: Song
    song: Song
    stored: StoredMelody
    duration_s: float
    quality: RecordingQuality | None
    old: int | None = None
    warnings: tuple[str, ...] = ()
    is_heard: bool = False

    @property
    def heard(self) -> Facets | None:
        """One row: what its recording sounds like, None for notes and if that is in the previous catalog."""
        return self.stored.heard() if self.is_heard else None

    @property
    def doubts(self) -> tuple[str, ...]:
        """What was lost of it, and why it may not be found."""
        surplus = (self.item.row or {}).get(SURPLUS)
        return (
            self.warnings
            + (self.quality.doubts if self.quality is not None else ())
            + ((f"table, {surplus}",) if surplus else ())
        )


@dataclass(eq=False)
class Findings:
    """What the files of a source hold: songs, what was left out, and for each file its key and problems to remember."""

    listing: Listing
    songs: list[IndexedSong] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    qualities: dict[str, RecordingQuality | None] = field(default_factory=dict)
    n_unchanged: int = 0


@dataclass(frozen=True, eq=False)
class PreviousCatalog:
    """The catalog that is brought up to date, and what it remembers, by name of file."""

    catalog: Catalog | None = None
    files: Mapping[str, RememberedFile] = field(default_factory=dict)

    def known_key(self, item: Item) -> str:
        """Return the key with which a file need not be read again; empty if it must be."""
        return self.files[item.name].key if item.name in self.files else ""

    def is_heard(self, item: Item) -> bool:
        """Return whether this program has listened to such a file, whose songs are in the catalog."""
        facets = self.catalog.facets if self.catalog else None
        if not self.known_key(item) or facets is None or self.is_heard_otherwise:
            return False
        return bool(facets.heard[self.positions(item)].all())

    @property
    def is_heard_otherwise(self) -> bool:
        """Whether another version listened to the catalog: what it heard does not compare with what is heard now."""
        return self.catalog is not None and self.catalog.facets is not None and self.catalog.facets.listener != LISTENER

    def extracted(self, item: Item) -> Extracted:
        """Return what a file held that need not be read again."""
        file = self.files[item.name]
        melodies = (
            ScoredMelody(song.as_read(self.catalog.song(song.id)), self.catalog.melody(song.id), song.warnings)
            for song in file.songs
        )
        return Extracted(tuple(melodies), file.problems, file.quality)

    def positions(self, item: Item) -> list[int]:
        """Return where the songs of such a file stand in the catalog."""
        return [self.catalog.position(song.id) for song in self.files[item.name].songs]

    def by_hand(self) -> list[int]:
        """Return where the songs stand that no file is remembered for."""
        remembered = {song.id for file in self.files.values() for song in file.songs}
        songs = self.catalog.songs if self.catalog else ()
        return [position for position, song in enumerate(songs) if song.id not in remembered]


def read_items(
    listing: Listing,
    partial: Path,
    options: IndexOptions,
    workers: int | None = None,
    progress: Progress | None = None,
    previous: PreviousCatalog | None = None,
) -> Findings:
    """Read the files of a listing, or find what a former run stored of them in the folder ``partial``.

    ``workers`` files are read at a time, by default one per core, fewer for little work.
    """
    previous = previous or PreviousCatalog()
    if workers is not None and workers < 1:
        raise CatalogError(f"workers must be at least 1, got {workers}")
    run, items = runner_of(options.runner), listing.items
    if any(item.is_recording for item in items):
        open_separator(options.separator)  # what is missing is said now, not after hours
    partial.mkdir(parents=True, exist_ok=True)
    if options.runner == "local":
        workers = min(workers or n_cores(), _worthwhile_workers(items, options))
    calls = [(item, partial, options, previous.known_key(item), previous.is_heard(item)) for item in items]
    show = None if progress is None else lambda done: progress("read", done, len(items))
    if show is not None:
        show(0)  # the first file may take minutes
    findings = Findings(listing, skipped=list(listing.skipped))
    for item, result in zip(items, run(extract_file, calls, workers, show), strict=True):
        if isinstance(result, Hmm2SongError):
            findings.skipped.append(SkippedFile(item.name, str(result)))
        elif result == previous.known_key(item):
            findings.n_unchanged += 1
            known = previous.extracted(item)
            heard = None if previous.is_heard(item) or not options.listen else load_heard(partial, result)
            if not known.melodies and not known.broken:
                findings.skipped.append(SkippedFile(item.name, REMOVED))
            _add(findings, item, partial, result, known, heard, options, previous.positions(item))
        else:
            heard = load_heard(partial, result) if options.listen else None
            _add(findings, item, partial, result, load_result(partial, result), heard, options)
    return findings


def _worthwhile_workers(items: Sequence[Item], options: IndexOptions) -> int:
    """Return how many processes do enough work to be worth starting."""
    work = 0.0
    for item in items:
        if not item.is_recording:
            work += 1 / SCORES_PER_WORKER
        elif options.separator != "none":
            work += 1
        else:
            work += (item.file.stat().st_size if item.file.is_file() else 0) / RECORDING_BYTES_PER_WORKER
    return int(work) + 1


def _add(
    findings: Findings,
    item: Item,
    partial: Path,
    key: str,
    found: Extracted,
    heard: HeardRecording | None,
    options: IndexOptions,
    old: Sequence[int] | None = None,
) -> None:
    """Complete the metadata of a file's melodies and add them; list what is wrong with the others."""
    usable, problems = _with_enough_voice(found)
    findings.skipped += [SkippedFile(item.name, problem) for problem in problems]
    if item.row is not None and len(usable) > 1:
        findings.skipped.append(SkippedFile(item.name, f"holds {len(usable)} melodies, so one row cannot describe it"))
        return
    quality = found.quality
    if quality and heard:
        quality = dataclasses.replace(quality, heard=heard.warnings)
    path = item.name if options.previews and item.is_recording else ""
    for place, (number, melody) in enumerate(usable):
        try:
            song = dataclasses.replace(with_row(melody.song, item.row or {}), path=path)
        except (ScoreError, CatalogError) as error:
            findings.skipped.append(SkippedFile(item.name, str(error)))
            return
        position = old[place] if old is not None else None
        stored, duration_s = StoredMelody(partial, key, number), melody.melody.duration_s
        about = quality, position, melody.warnings, heard is not None
        findings.songs.append(IndexedSong(item, melody.song, song, stored, duration_s, *about))
    # Two rows may name one file; then it cannot be told whose song is whose, so it is read anew each time.
    findings.keys[item.name] = "" if item.name in findings.keys else key
    findings.problems[item.name], findings.qualities[item.name] = problems, quality


def _with_enough_voice(found: Extracted) -> tuple[list[tuple[int, ScoredMelody]], tuple[str, ...]]:
    """Return the usable melodies with their numbers, and what is wrong with the others."""
    usable, problems = [], list(found.broken)
    for number, melody in enumerate(found.melodies):
        if melody.melody.voiced_s >= MIN_VOICED_S:
            usable.append((number, melody))
            continue
        which = f"{melody.song.id}: " if len(found.melodies) > 1 else ""
        problems.append(f"{which}{melody.melody.voiced_s:.1f} s of melody; at least {MIN_VOICED_S:.0f} s needed")
    return usable, tuple(problems)
