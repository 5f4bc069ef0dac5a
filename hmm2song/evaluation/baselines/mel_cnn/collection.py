"""The recordings of a folder or table with what is known of each song: what a dataset is made of.

Files are found and named as :mod:`hmm2song.indexing.sources` says, so the songs of a dataset and of a catalog made from
the same folder have the same ids. Scores are left out: they have no sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hmm2song.catalog.edit import with_unique_ids
from hmm2song.errors import CatalogError, ScoreError
from hmm2song.indexing.sources import Item, SkippedFile, first_reasons, list_source
from hmm2song.indexing.tags import song_fields
from hmm2song.song import Song, song_of, with_row


@dataclass(frozen=True)
class RecordedSong:
    """A song and its recording; ``song.path`` is the recording relative to the source."""

    song: Song
    file: Path


@dataclass(frozen=True)
class Collection:
    """Recordings in a stable order, each song with an id of its own, and what was left out."""

    recorded: tuple[RecordedSong, ...]
    skipped: tuple[SkippedFile, ...]


def collect(source: Path, leave_out: Sequence[Path] = ()) -> Collection:
    """List the recordings of a folder, of a table (``info.csv``), or a single one; raises CatalogError.

    ``leave_out`` are resolved folders inside the source that hold other sound: stems, the dataset itself.
    """
    listing = list_source(source, leave_out)
    recorded, skipped = [], list(listing.skipped)
    for item in listing.items:
        if not item.is_recording:
            if item.row is not None:
                skipped.append(SkippedFile(item.name, "a score has no sound; name a recording"))
            continue
        try:
            recorded.append(RecordedSong(_song(item), item.file))
        except (ScoreError, CatalogError) as error:
            skipped.append(SkippedFile(item.name, str(error)))
    if not recorded:
        reasons = first_reasons(skipped)
        raise CatalogError(f"no recording found in {source.name or source} ({reasons or 'none is named like one'})")
    songs = with_unique_ids([one.song for one in recorded])
    return Collection(
        tuple(RecordedSong(song, one.file) for song, one in zip(songs, recorded, strict=True)), tuple(skipped)
    )


def _song(item: Item) -> Song:
    """Return what is known of a song: its row says more than its tags, these more than its name."""
    song = song_of({**song_fields(item.file, item.name), "path": item.name}, item.name)
    return with_row(song, item.row or {})
