"""The songs that can be explored, and recordings to explore them from: what the Explore tab and its endpoints share.

Conventions
-----------
* There are up to two collections: the app's own catalog, and the bundled free recordings, which hold no melodies. What
  compares their songs is made when somebody opens the tab or asks, so that the app starts as quickly as without it.
* A recording that somebody sends is listened to and forgotten; what was heard in it stays with the visitor.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

from hmm2song.audio import MAX_FILE_BYTES, load_audio
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import assets_folder
from hmm2song.catalog.storage import MANIFEST_FILE, read_manifest
from hmm2song.errors import AudioError, Hmm2SongError, QueryError
from hmm2song.song import Song, fold_text

if TYPE_CHECKING:
    from hmm2song.hearing.recording import HeardRecording
    from hmm2song.similar.map import SongMap
    from hmm2song.similar.songs import SimilarSongs

OWN, FREE = "own", "free"
FREE_CATALOG = assets_folder() / "free_catalog"
MAX_PREPARED = 20_000
"""Songs of a catalog that are compared before somebody asks: more take the processor from those who hum."""
MAX_QUERY_S = 600.0
"""Listening takes about one second a minute of the recording."""


class Explorer:
    """Compares songs of the app's catalog, and of the free recordings if they are there."""

    def __init__(self, catalog: Catalog, free: Path | None = None) -> None:
        free = free or FREE_CATALOG
        self.own = catalog.songs
        self.sizes = {OWN: len(catalog)}
        if (free / MANIFEST_FILE).is_file():
            self.sizes[FREE] = read_manifest(free)["n_songs"]
        self._catalog, self._free = catalog, free
        self._made: dict[str, SimilarSongs] = {}
        self._maps: dict[tuple[str, str | None], SongMap] = {}
        self._lock, self._drawing = Lock(), Lock()
        self._prepared: set[str] = set()

    def songs(self, collection: str = OWN) -> SimilarSongs:
        """Return what compares the songs of a collection, ``"own"`` or ``"free"``; QueryError if there is no such."""
        if collection not in self.sizes:
            raise QueryError(f"unknown catalog {collection!r:.40}; choose one of {', '.join(self.sizes)}")
        with self._lock:
            if collection not in self._made:
                from hmm2song.similar.songs import SimilarSongs  # it takes long to import

                own = collection == OWN
                self._made[collection] = SimilarSongs.of(self._catalog) if own else SimilarSongs.load(self._free)
            return self._made[collection]

    def prepare(self, collection: str = OWN) -> Thread | None:
        """Make what the first questions need, in the background; return the thread, or None if that was done."""
        if collection in self._prepared or collection not in self.sizes or self.sizes[collection] > MAX_PREPARED:
            return None
        self._prepared.add(collection)
        thread = Thread(target=self._ask_first, args=(collection,), daemon=True)
        thread.start()
        return thread

    def _ask_first(self, collection: str) -> None:
        songs = self.songs(collection)
        songs.warm_up()
        with suppress(Hmm2SongError):  # there may be nothing to compare it with
            songs.like(songs.songs[0].id)
            self.map(collection)

    def find(self, collection: str, words: str, limit: int) -> list[Song]:
        """Return the first songs of a collection whose title, artist, genre or id holds every word."""
        table = self.own if collection == OWN else self.songs(collection).songs
        return [table[position] for position in islice(table.find(fold_text(words).split()), limit)]

    def map(self, collection: str = OWN, facet: str | None = None, n_clusters: int | None = None) -> SongMap:
        """Return the map of a collection; it is drawn once."""
        if n_clusters is not None:  # any number may be asked for: those maps are not kept
            return self.songs(collection).map(facet, n_clusters)
        with self._drawing:
            if (collection, facet) not in self._maps:
                drawn = self.songs(collection).map(facet)
                self._maps[collection, facet] = self._maps[collection, drawn.facet] = drawn
            return self._maps[collection, facet]

    def hear(self, path: str, collection: str = OWN) -> HeardRecording:
        """Listen to a recording that a collection is to be compared with.

        Raises
        ------
        AudioError
            The recording cannot be read, is too long or too large, or is silent.
        QueryError
            Nobody has listened to recordings of the collection.
        """
        why_not = self.songs(collection).facets["style"]
        if why_not:
            raise QueryError(f"a recording can only be compared with recordings: {why_not}")
        from hmm2song.hearing.recording import hear_samples  # it loads a lot, and most visitors never need it

        heard = hear_samples(load_audio(path, max_s=MAX_QUERY_S, max_bytes=MAX_FILE_BYTES))
        if not heard.facets.heard.all():
            raise AudioError(f"nothing can be heard in {Path(path).name!r}: {'; '.join(heard.warnings)}")
        return heard


def facets_of(words: str | None) -> str | dict[str, float] | None:
    """Read the name of a preset, or weights such as ``"voice=1, style=0.5"``; nothing is None."""
    if not words or "=" not in words:
        return (words or "").strip() or None
    pairs = [part.partition("=") for part in words.split(",")]
    try:
        return {name.strip(): float(weight) for name, _, weight in pairs}
    except ValueError as error:
        raise QueryError(
            f"facets are the name of a preset or weights such as voice=1,style=0.5; got {words!r:.60}"
        ) from error


def years_of(first: float | str | None, last: float | str | None) -> tuple[int, int] | None:
    """Return a first and a last year, or None; one that is not given is as early or as late as possible."""
    if first in (None, "") and last in (None, ""):
        return None
    try:
        return int(first or 0), int(9999 if last in (None, "") else last)
    except (ValueError, OverflowError) as error:
        raise QueryError(f"years are whole numbers, got {first!r:.20} and {last!r:.20}") from error
