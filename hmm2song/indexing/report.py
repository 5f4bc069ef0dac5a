"""What a person should know after indexing: what became of each file, which songs may not be found, what to do next.

The same numbers are printed, returned as JSON, and written beside the catalog as ``skipped.csv`` and ``report.csv``.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hmm2song.catalog.catalog import Catalog
from hmm2song.indexing.gathering import Findings, IndexedSong
from hmm2song.indexing.sources import SkippedFile
from hmm2song.song import Song

SKIPPED_COLUMNS = ("path", "reason")
REPORT_COLUMNS = ("path", "id", "voiced_share", "separated", "warnings", "guessed")
MIX_NOTE = (
    "recordings read as they are: {n}; if a band plays in them, the singer was heard in the mix, "
    "and a separated voice is still a little better (docs/vocals.md)"
)


@dataclass(frozen=True)
class FileCounts:
    """What became of the files of a folder or the rows of a table: each is indexed, skipped or not music.

    ``with_warnings`` are those of the indexed ones that may not be found, or of which a part was left out; ``skipped``
    those for which there is a reason. The ``total`` is counted by itself; what the others lack of it is said.
    """

    total: int
    indexed: int
    with_warnings: int
    skipped: int
    not_music: int
    unit: str

    @classmethod
    def of(cls, findings: Findings) -> FileCounts:
        """Count what was found."""
        listing = findings.listing
        doubted = {id(found.item): _is_doubted(findings, found) for found in findings.songs}
        n_left_out = sum(skipped.is_file for skipped in listing.skipped)
        explained = {skipped.path for skipped in findings.skipped}
        n_unusable = sum(id(item) not in doubted and item.name in explained for item in listing.items)
        return cls(
            total=listing.n_total,
            indexed=len(doubted),
            with_warnings=sum(doubted.values()),
            skipped=n_left_out + n_unusable,
            not_music=listing.n_not_music,
            unit=listing.unit,
        )

    @property
    def unaccounted(self) -> int:
        """Those of which nothing is known: always 0, unless this program is wrong."""
        return self.total - self.indexed - self.skipped - self.not_music

    def __str__(self) -> str:
        warned = f" ({self.with_warnings} with warnings)" if self.with_warnings else ""
        others = f", {self.not_music} not music" if self.not_music else ""
        others += f", {self.unaccounted} UNACCOUNTED FOR" if self.unaccounted else ""
        return f"{counted(self.total, self.unit)}: {self.indexed} indexed{warned}, {self.skipped} skipped{others}"


@dataclass(frozen=True)
class TuneCounts:
    """What became of the tunes in the files that were opened; a recording, and a file that cannot be read, is one."""

    total: int
    indexed: int
    with_warnings: int
    skipped: int

    @classmethod
    def of(cls, findings: Findings) -> TuneCounts:
        """Count what was found."""
        n_indexed, n_skipped = len(findings.songs), len(findings.skipped) - len(findings.listing.skipped)
        return cls(n_indexed + n_skipped, n_indexed, sum(bool(found.doubts) for found in findings.songs), n_skipped)

    def __str__(self) -> str:
        warned = f" ({self.with_warnings} with warnings)" if self.with_warnings else ""
        return f"{counted(self.total, 'tune')} in them: {self.indexed} indexed{warned}, {self.skipped} skipped"


@dataclass(frozen=True)
class RecordingCounts:
    """How many indexed recordings are of which kind (:attr:`RecordingQuality.kind`), and how long the mixes are."""

    separated: dict[str, int]
    not_separated: dict[str, int]
    not_separated_s: float

    @classmethod
    def of(cls, findings: Findings) -> RecordingCounts:
        """Count what was found."""
        kinds: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        mixes_s = 0.0
        for found in findings.songs:
            if (quality := found.quality) is not None:
                kinds[quality.is_mix][quality.kind] += 1
                mixes_s += found.duration_s * quality.is_mix
        return cls(dict(sorted(kinds[False].items())), dict(sorted(kinds[True].items())), round(mixes_s, 1))

    @property
    def n_not_separated(self) -> int:
        """How many were read as they are."""
        return sum(self.not_separated.values())

    def lines(self) -> list[str]:
        """Return a line for the separated recordings, and one for the others."""
        groups = (("separated", self.separated), ("not separated", self.not_separated))
        return [
            f"{counted(sum(kinds.values()), 'recording')} {how}: "
            + ", ".join(f"{n} {_KIND_WORDS.get(kind, kind)}" for kind, n in kinds.items())
            for how, kinds in groups
            if kinds
        ]


_KIND_WORDS = {
    "voice": "with a voice",
    "little voice": "with little voice",
    "melody": "with a melody",
    "no singing detector": "heard without the singing detector",
    "little melody": "with little melody, perhaps instrumental",
}


@dataclass(frozen=True)
class FileWarning:
    """A song that is in the catalog but may not be found or is not whole, and why.

    A warning of a recording is a short code, a colon and words; that of a score says what was lost.
    """

    path: str
    id: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class IndexReport:
    """The catalog made, how many songs it has, and what a person should know.

    ``unchanged`` files were not read again by an update, ``removed`` songs were dropped as their files are gone.
    """

    catalog: Catalog
    indexed: int
    files: FileCounts
    tunes: TuneCounts
    recordings: RecordingCounts
    skipped: tuple[SkippedFile, ...]
    warned: tuple[FileWarning, ...] = ()
    notes: tuple[str, ...] = ()
    unchanged: int = 0
    removed: int = 0

    @property
    def n_heard(self) -> int:
        """How many songs of the catalog were listened to."""
        return 0 if self.catalog.facets is None else int(np.count_nonzero(self.catalog.facets.heard))

    @property
    def n_sung(self) -> int:
        """In how many of them somebody sings."""
        return 0 if self.catalog.facets is None else int(np.count_nonzero(self.catalog.facets.voice.any(axis=1)))

    @classmethod
    def of(cls, findings: Findings, catalog: Catalog, songs: Sequence[Song]) -> IndexReport:
        """Describe a catalog; ``songs`` are those of it that start with the findings'."""
        warned = (
            FileWarning(found.item.name, song.id, found.doubts)
            for found, song in zip(findings.songs, songs, strict=False)
            if found.doubts
        )
        files, tunes, recordings = FileCounts.of(findings), TuneCounts.of(findings), RecordingCounts.of(findings)
        n_mixes = recordings.n_not_separated
        notes = (MIX_NOTE.format(n=n_mixes),) if n_mixes else ()
        return cls(catalog, len(catalog), files, tunes, recordings, tuple(findings.skipped), tuple(warned), notes)

    def counts(self) -> str:
        """Return what became of the files and, where some hold several, of the tunes in them: a line each."""
        is_one_each = self.tunes.total <= self.files.indexed + self.files.skipped
        return f"{self.files}" if is_one_each else f"{self.files}\n{self.tunes}"

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {
            "indexed": self.indexed,
            "files": {**dataclasses.asdict(self.files), "unaccounted": self.files.unaccounted},
            "tunes": dataclasses.asdict(self.tunes),
            "recordings": dataclasses.asdict(self.recordings),
            "heard": {"songs": self.n_heard, "sung": self.n_sung},
            "unchanged": self.unchanged,
            "removed": self.removed,
            "skipped": [skipped.to_dict() for skipped in self.skipped],
            "warned": [dataclasses.asdict(warned) for warned in self.warned],
            "notes": list(self.notes),
        }


def counted(n: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def skipped_rows(findings: Findings) -> list[tuple[str, str]]:
    """Return what was left out, under :data:`SKIPPED_COLUMNS`."""
    return [(entry.path, entry.reason) for entry in findings.skipped]


def report_rows(findings: Findings, songs: Sequence[Song]) -> list[tuple[str, ...]]:
    """Return what is known of each recording and each doubtful score, under :data:`REPORT_COLUMNS`.

    ``songs`` starts with the findings'.
    """
    return [
        (
            found.item.name,
            song.id,
            f"{found.quality.voiced_share:.3f}" if found.quality else "",
            ("no" if found.quality.is_mix else "yes") if found.quality else "",
            "; ".join(found.doubts),
            song.guessed,
        )
        for found, song in zip(findings.songs, songs, strict=False)
        if found.quality is not None or found.doubts
    ]


def csv_text(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as the text of a table."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _is_doubted(findings: Findings, found: IndexedSong) -> bool:
    return bool(found.doubts or findings.problems[found.item.name])
