"""Catalogs made of other catalogs: songs are added, removed, replaced or merged, and none is embedded again.

Conventions
-----------
* Functions are pure: they return a new :class:`~hmm2song.catalog.catalog.Catalog` and leave the old ones as they are.
* A song that stays keeps its melody, its embeddings and its facets, byte for byte.
* Catalogs are joined only if one encoder made both: embeddings of different encoders cannot be compared.
* Ids are unique. Of several different songs with one id the first keeps it, the others get ``-2``, ``-3``, ...
* Credits are Markdown. Lines that :func:`credits_of` wrote come and go with their songs; other text stays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.facets import Facets
from hmm2song.errors import CatalogError
from hmm2song.melody.packed import CENTS_PER_ST
from hmm2song.song import Song

CREDITS_TITLE = "# Credits"


@dataclass(frozen=True)
class RenamedSong:
    """A song whose id was taken, and the id it has now."""

    id: str
    new_id: str


@dataclass(frozen=True, eq=False)
class MergeResult:
    """Two catalogs as one.

    ``renamed`` lists the songs that got a new id, ``repeated`` the ids of songs that both had and that were not added.
    """

    catalog: Catalog
    renamed: tuple[RenamedSong, ...]
    repeated: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Entry:
    """A song's melody and embeddings in a catalog, with the metadata it is to have."""

    catalog: Catalog
    position: int
    song: Song


def entries_of(catalog: Catalog) -> list[Entry]:
    """Return the songs of a catalog as they are."""
    return [Entry(catalog, position, song) for position, song in enumerate(catalog.songs)]


def assemble(entries: Sequence[Entry], credits: str) -> Catalog:
    """Make a catalog of songs of one or several others, in the order given."""
    if not entries:
        raise CatalogError("no song would be left; a catalog holds at least one")
    fingerprints = {entry.catalog.encoder_fingerprint for entry in entries}
    if len(fingerprints) > 1:
        raise CatalogError(
            f"the catalogs were made with different encoders ({', '.join(sorted(fingerprints))}); index one of them "
            "again with the other's"
        )
    starts = {id(entry.catalog): entry.catalog for entry in entries}
    first_window = {key: np.cumsum(catalog.n_windows) - catalog.n_windows for key, catalog in starts.items()}
    rows, n_windows = [], []
    for entry in entries:
        entry.catalog.check_editable()
        start = int(first_window[id(entry.catalog)][entry.position])
        n_windows.append(int(entry.catalog.n_windows[entry.position]))
        rows.append(entry.catalog.embeddings[start : start + n_windows[-1]])
    return Catalog(
        songs=tuple(entry.song for entry in entries),
        melodies=tuple(entry.catalog.melodies[entry.position] for entry in entries),
        embeddings=np.concatenate(rows),
        n_windows=np.array(n_windows, dtype=np.int32),
        encoder_fingerprint=fingerprints.pop(),
        credits=credits,
        tracked=np.array([entry.catalog.tracked[entry.position] for entry in entries]),
        facets=_facets_of(entries),
    )


def _facets_of(entries: Sequence[Entry]) -> Facets | None:
    """Return what was heard in the songs, or None if none was listened to."""
    rows: dict[int, list[int]] = {}
    for place, entry in enumerate(entries):
        rows.setdefault(id(entry.catalog), []).append(place)
    parts, places = [], []
    for part in rows.values():
        catalog = entries[part[0]].catalog
        known = catalog.facets or Facets.unheard(len(catalog))
        parts.append(known.take([entries[place].position for place in part]))
        places += part
    joined = Facets.concatenate(parts)
    return joined.take(np.argsort(places)) if joined.heard.any() else None


def remove_songs(catalog: Catalog, song_ids: Collection[str]) -> Catalog:
    """Return the catalog without some songs and without their credits; at least one must be left."""
    for song_id in song_ids:
        catalog.position(song_id)
    credits = _credits_with(catalog, {song_id: None for song_id in song_ids})
    return assemble([entry for entry in entries_of(catalog) if entry.song.id not in song_ids], credits)


def join(first: Catalog, second: Catalog, replace: bool = False) -> MergeResult:
    """Add the songs of one catalog to another, made with the same encoder.

    A song of ``second`` that ``first`` has too, with the same melody and metadata, is not added again, unless
    ``replace`` is given and only ``second`` heard its recording. Of different songs with one id, that of ``second``
    gets a new id, or takes the other's place if ``replace``.
    """
    known = {song.id for song in first.songs}
    repeated = [
        song.id
        for song in second.songs
        if song.id in known
        and _is_same(first, second, song.id)
        and not (replace and _is_heard(second, song.id) and not _is_heard(first, song.id))
    ]
    known_already = frozenset(repeated)
    coming = [entry for entry in entries_of(second) if entry.song.id not in known_already]
    replacing = {entry.song.id: entry for entry in coming if replace and entry.song.id in known}
    kept = [replacing.get(entry.song.id, entry) for entry in entries_of(first)]
    added = [entry for entry in coming if entry.song.id not in replacing]
    songs = with_unique_ids([entry.song for entry in (*kept, *added)])
    entries = [dataclasses.replace(entry, song=song) for entry, song in zip((*kept, *added), songs, strict=True)]
    renamed = tuple(
        RenamedSong(entry.song.id, song.id)
        for entry, song in zip(added, songs[len(kept) :], strict=True)
        if entry.song.id != song.id
    )
    old = _credits_with(first, dict.fromkeys(replacing))
    new = _credits_with(second, {**dict.fromkeys(repeated), **{entry.id: entry.new_id for entry in renamed}})
    return MergeResult(assemble(entries, _joined_credits(old, new)), renamed, tuple(repeated))


def _is_same(first: Catalog, second: Catalog, song_id: str) -> bool:
    """Tell whether both have the same song, as precisely as it is stored."""
    own, other = (np.round(catalog.melody(song_id).pitch_midi * CENTS_PER_ST) for catalog in (first, second))
    songs = [dataclasses.replace(catalog.song(song_id), guessed="") for catalog in (first, second)]
    return songs[0] == songs[1] and np.array_equal(own, other, equal_nan=True)


def _is_heard(catalog: Catalog, song_id: str) -> bool:
    return catalog.facets is not None and bool(catalog.facets.heard[catalog.position(song_id)])


def with_unique_ids(songs: Sequence[Song]) -> list[Song]:
    """Give songs that claim one id different ones: the first keeps it, the next get ``-2``, ``-3``, ..."""
    wanted = {song.id for song in songs}
    next_number: dict[str, int] = {}
    unique = []
    for song in songs:
        own_id = song.id
        if song.id in next_number:
            while own_id in wanted:
                own_id = f"{song.id}-{next_number[song.id]}"
                next_number[song.id] += 1
            wanted.add(own_id)
        next_number.setdefault(own_id, 2)
        unique.append(dataclasses.replace(song, id=own_id))
    return unique


def credits_of(songs: Sequence[Song]) -> str:
    """Return Markdown that says where each song comes from, as far as its file or row says so."""
    return f"{CREDITS_TITLE}\n\n" + "".join(f"{_credit_line(song)}\n" for song in songs)


def _credits_with(catalog: Catalog, new_ids: Mapping[str, str | None]) -> str:
    """Return a catalog's credits with other ids, or without the songs whose new id is None."""
    lines = {}
    for song in catalog.songs:
        if song.id in new_ids:
            new_id = new_ids[song.id]
            lines[_credit_line(song)] = new_id and _credit_line(dataclasses.replace(song, id=new_id))
    kept = (lines.get(line, line) for line in catalog.credits.split("\n"))
    return "\n".join(line for line in kept if line is not None)


def _joined_credits(first: str, second: str) -> str:
    """Return one text of two, with what both have in common once."""
    first, second = first.strip("\n"), second.removeprefix(CREDITS_TITLE).strip("\n")
    if not second or second in first:
        return f"{first}\n"
    goes_on = first.rpartition("\n")[2].startswith("* ") and second.startswith("* ")  # two parts of one list
    return first + ("\n" if goes_on else "\n\n") + second + "\n"


def _credit_line(song: Song) -> str:
    known = (song.singer, song.author, song.source, song.credit, song.licence)
    origin = "; ".join(dict.fromkeys(filter(None, known)))
    return "* " + " ".join(f"{song.title} ({song.id}): {origin or 'not stated'}".split())
