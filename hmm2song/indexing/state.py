"""What a catalog remembers of the files it was made of (``sources.json``), so that it can be brought up to date.

Conventions
-----------
* A file is the same as before if its key is (:mod:`hmm2song.indexing.extract`): its name, its content, and all that its
  melodies depend on. Then they and their embeddings are taken from the catalog.
* Metadata from a table and ids that had to be changed are applied anew each time, so what the *file* said is kept:
  only where the catalog's song says something else, to keep this small.
* Songs of the catalog that no file is remembered for were added by hand and stay.
* A file whose record cannot be used is read again; that is never wrong, only slow.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from hmm2song.catalog.storage import SOURCES_NAME
from hmm2song.errors import CatalogError
from hmm2song.indexing.extract import RecordingQuality
from hmm2song.song import Song

STATE_VERSION = 1


@dataclass(frozen=True)
class RememberedSong:
    """A song of the catalog by its id, what its file says where that differs, and what was lost of it."""

    id: str
    stated: dict[str, str]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, final: Song, as_read: Song, warnings: tuple[str, ...] = ()) -> RememberedSong:
        """Remember how a song was read that stands in the catalog as ``final``."""
        names = (field.name for field in fields(Song) if field.name != "guessed")  # no file states it
        return cls(
            final.id,
            {name: value for name in names if (value := getattr(as_read, name)) != getattr(final, name)},
            warnings,
        )

    def as_read(self, final: Song) -> Song:
        """Return the song as its file says."""
        return dataclasses.replace(final, **self.stated)


@dataclass(frozen=True)
class RememberedFile:
    """A file: its name, its key, its songs, what was wrong with the others, and of a recording the quality."""

    path: str
    key: str
    songs: tuple[RememberedSong, ...]
    problems: tuple[str, ...] = ()
    quality: RecordingQuality | None = None


def state_text(files: Sequence[RememberedFile]) -> str:
    """Return the content of ``sources.json``."""
    rows = [dataclasses.asdict(file) for file in files]
    return json.dumps({"version": STATE_VERSION, "files": rows}, ensure_ascii=False, indent=1) + "\n"


def read_state(folder: Path) -> tuple[RememberedFile, ...] | None:
    """Read what a catalog remembers; None if it remembers nothing, CatalogError if the file is damaged."""
    file = folder / SOURCES_NAME
    if not file.is_file():
        return None
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        if state["version"] != STATE_VERSION:
            raise ValueError(f"version {state['version']!r:.20}")
        return tuple(_remembered(row) for row in state["files"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogError(
            f"{SOURCES_NAME} of catalog {folder.name!r} is not well formed ({error!r:.200}); "
            "index again without --update"
        ) from error


def forget_songs(files: Sequence[RememberedFile], song_ids: Collection[str]) -> tuple[RememberedFile, ...]:
    """Return the memory without some songs: they stay away until their file changes."""
    return tuple(
        dataclasses.replace(file, songs=tuple(song for song in file.songs if song.id not in song_ids)) for file in files
    )


def _remembered(row: dict) -> RememberedFile:
    names = {field.name for field in fields(Song)}
    songs = tuple(
        RememberedSong(
            str(song["id"]),
            {name: str(text) for name, text in song["stated"].items() if name in names},
            tuple(map(str, song.get("warnings", ()))),
        )
        for song in row["songs"]
    )
    quality = row["quality"] and RecordingQuality.of(row["quality"])
    return RememberedFile(str(row["path"]), str(row["key"]), songs, tuple(map(str, row["problems"])), quality)
