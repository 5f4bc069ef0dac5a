"""The catalog: songs, their melodies, and the embeddings of their melody windows.

On disk a catalog is a folder::

    songs.json                one row per song; the seven columns of the source system first (id, Title, Singer,
                              Lyric, genre, path, gender), then ours
    melodies.safetensors      pitch_cents int16 (all songs one after the other; UNVOICED_CENTS = rest),
                              n_frames int32 (n_songs,), and if any melody is tracked, tracked bool (n_songs,); what a
                              search would otherwise compute of them when it starts: contour_begin, contour_end int32
                              (n_songs,), median_midi float32
    embeddings.safetensors    embeddings float16 (n_windows, dim), n_windows int32 (n_songs,)
    facets.safetensors        what was heard in recordings (:mod:`hmm2song.catalog.facets`), if there are any
    credits.md                where every entry comes from
    manifest.json             format version, size and SHA-256 of each file, the encoder's fingerprint

Melodies and embeddings are mapped, not read: a catalog opens at once, and only what a search looks at takes memory. The
files may come from a stranger: sizes, headers and all that is read whole are checked against the manifest when a
catalog is opened, the rest on demand (``verify`` of :meth:`Catalog.load`) and once after a download. Nothing in them is
executed or unpickled.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from hmm2song.catalog import storage
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.song_table import SongTable
from hmm2song.catalog.storage import (
    CREDITS_FILE,
    EMBEDDINGS_FILE,
    FACETS_FILE,
    MAPPED_FILES,
    MELODIES_FILE,
    SONG_COLUMNS_FILE,
    WINDOWS_FILE,
)
from hmm2song.embeddings.base import WEIGHTS_FILE
from hmm2song.embeddings.codes import coded_windows
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import CatalogError, UnknownSongError
from hmm2song.machine import n_cores
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.melody.packed import PackedMelodies
from hmm2song.melody.runs import RunMelodies
from hmm2song.song import ANY_GENDER, Song, SongFilter, fold_text

CACHED_FILTERS = 64
ROWS_AT_ONCE = 65_536
EMBEDDED_AT_ONCE = 32
"""Songs whose melodies and windows wait in memory until they are written."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Songs a filter leaves.

    ``mask`` has shape (n_songs,), bool, the songs that pass ``wanted``; ``n_unknown`` counts those of them whose genre
    or gender is unknown although it was asked for.
    """

    wanted: SongFilter
    mask: np.ndarray
    n_unknown: int

    @property
    def n_songs(self) -> int:
        """How many songs the filter leaves."""
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True, eq=False)
class Catalog:
    """Songs with their melodies and embeddings, in memory or mapped.

    Attributes
    ----------
    songs : SongTable
    melodies : PackedMelodies
        Both are sequences, and other ones may be given: melodies are then rounded to cents, as they are stored.
    embeddings : np.ndarray, shape (n_windows, dim), float16
        All songs' windows one after the other, one every hop of the encoder from a song's first voiced frame.
    n_windows : np.ndarray, shape (n_songs,), int32
    credits : str
        Markdown naming the origin of every entry.
    folder : Path or None
        Where it was loaded from; recordings are looked up there.
    tracked : np.ndarray, shape (n_songs,), bool
        Whether the melody was tracked in sound; otherwise it was written as notes, which is the default.
    facets : Facets or None
        What was heard in the recordings, a row a song; None if none was listened to.
    stride : int
        Hops of the encoder from one window to the next; more than one in compact catalogs only, whose embeddings are
        :class:`~hmm2song.embeddings.codes.CodedWindows`.
    """

    songs: Sequence[Song]
    melodies: Sequence[Melody]
    embeddings: np.ndarray
    n_windows: np.ndarray
    encoder_fingerprint: str
    credits: str = ""
    folder: Path | None = None
    tracked: np.ndarray | None = None
    facets: Facets | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if len(self.songs) == 0:
            raise CatalogError("the catalog holds no songs; index at least one")
        object.__setattr__(self, "songs", SongTable.of(self.songs))
        object.__setattr__(self, "melodies", PackedMelodies.of(self.melodies))
        if len(self.melodies) != len(self.songs) or len(self.n_windows) != len(self.songs):
            raise CatalogError(
                f"{len(self.songs)} songs but {len(self.melodies)} melodies and {len(self.n_windows)} window counts"
            )
        if (self.n_windows < 1).any() or int(self.n_windows.sum()) != len(self.embeddings):
            raise CatalogError(f"window counts add up to {int(self.n_windows.sum())}, not {len(self.embeddings)}")
        tracked = np.zeros(len(self.songs), bool) if self.tracked is None else np.array(self.tracked)
        if tracked.shape != (len(self.songs),) or tracked.dtype != bool:
            raise CatalogError(f"{len(self.songs)} songs but {tracked.shape} {tracked.dtype} marks of tracked melodies")
        if self.facets is not None and len(self.facets) != len(self.songs):
            raise CatalogError(f"{len(self.songs)} songs but facets of {len(self.facets)}")
        tracked.setflags(write=False)
        object.__setattr__(self, "tracked", tracked)
        for position in np.flatnonzero(self.melodies.contour_frames == 0)[:1]:
            raise unvoiced_error(self.songs.text(position, "id"))

    @classmethod
    def build(
        cls,
        songs: Sequence[Song],
        melodies: Sequence[Melody],
        encoder: MelodyEncoder,
        credits: str = "",
        progress: Callable[[int, int], None] | None = None,
        tracked: Sequence[bool] | None = None,
        facets: Facets | None = None,
    ) -> Catalog:
        """Embed every song; ``progress`` is called with (songs done, songs in all).

        A catalog of tracked songs alone is made with the encoder for them.

        CatalogError for no songs, different lengths, repeated ids, or a melody without any voiced frame.
        """
        if len(songs) != len(melodies):
            raise CatalogError(f"{len(songs)} songs but {len(melodies)} melodies")
        embedded, encoder = [], encoder.for_songs(tracked or ())
        for done, (_, rows) in enumerate(embed_songs(songs, melodies, encoder), start=1):
            embedded.append(rows)
            if progress:
                progress(done, len(songs))
        return cls(
            songs=tuple(songs),
            melodies=tuple(melodies),
            embeddings=np.concatenate(embedded) if embedded else np.zeros((0, encoder.dim), np.float16),
            n_windows=np.array([len(rows) for rows in embedded], dtype=np.int32),
            encoder_fingerprint=encoder.fingerprint,
            credits=credits,
            tracked=None if tracked is None else np.array(tracked, dtype=bool),
            facets=facets,
        )

    def embedded_by(self, encoder: MelodyEncoder) -> Catalog:
        """Return the catalog as made with an encoder, itself if it is; CatalogError if it cannot be changed."""
        if self.encoder_fingerprint == encoder.fingerprint:
            return self
        self.check_editable()
        embedded = [rows for _, rows in embed_songs(self.songs, self.melodies, encoder)]
        return replace(
            self,
            embeddings=np.concatenate(embedded),
            n_windows=np.array([len(rows) for rows in embedded], dtype=np.int32),
            encoder_fingerprint=encoder.fingerprint,
            folder=None,
        )

    def __len__(self) -> int:
        return len(self.songs)

    def __repr__(self) -> str:
        hours = self.melodies.duration_s.sum() / 3600
        return f"Catalog({len(self)} songs, {hours:.1f} h of melody, encoder {self.encoder_fingerprint})"

    @property
    def _embedded(self) -> dict[str, np.ndarray]:
        return {"embeddings": self.embeddings, "n_windows": self.n_windows}

    @property
    def embeddings_sha256(self) -> str:
        """Checksum of the file that holds the embeddings: they are not read if it is recorded."""
        self.check_editable()
        if self.folder is None:
            return storage.tensors_sha256(self._embedded)
        return storage.read_manifest(self.folder)["files"][EMBEDDINGS_FILE]["sha256"]

    @cached_property
    def _position(self) -> dict[str, int]:
        return {song_id: position for position, song_id in enumerate(self.songs.column("id"))}

    def position(self, song_id: str) -> int:
        """Return where a song stands in :attr:`songs`, or raise UnknownSongError."""
        if song_id not in self._position:
            raise UnknownSongError(f"no song has the id {song_id!r:.80}; ids are listed by the catalog search")
        return self._position[song_id]

    def song(self, song_id: str) -> Song:
        """Return the song with this id, or raise UnknownSongError."""
        return self.songs[self.position(song_id)]

    def melody(self, song_id: str) -> Melody:
        """Return the melody of the song with this id, or raise UnknownSongError."""
        return self.melodies[self.position(song_id)]

    def recording(self, song_id: str, folder: Path | None = None) -> Path | None:
        """Return the song's recording in ``folder``, by default the catalog's own, or None if there is none.

        Only the person who runs the program may choose the folder: nothing outside it is returned, whatever path the
        catalog states. A song without a path is looked up in the report that indexing has left beside the catalog.
        """
        relative = self.song(song_id).path or (self._reported_paths.get(song_id, "") if folder else "")
        folder = folder or self.folder
        if not relative or folder is None:
            return None
        root = folder.resolve()
        try:
            path = (root / relative).resolve()
            return path if path.is_relative_to(root) and path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # too long a name, a null byte, links in a circle: no such file
            return None

    @cached_property
    def _reported_paths(self) -> dict[str, str]:
        """The path of each song in the report of the indexing run; empty if the catalog came without one."""
        if self.folder is None:
            return {}
        try:
            with (self.folder / storage.REPORT_NAME).open(newline="", encoding="utf-8") as file:
                return {row["id"]: row["path"] for row in csv.DictReader(file)}
        except (OSError, ValueError, KeyError, csv.Error):
            return {}

    def genre_counts(self, guessed: bool = False) -> dict[str, int]:
        """Songs per genre, most frequent first; a song with two genres counts under both, ``guessed`` ones if so."""
        return self.songs.genre_counts(guessed)

    def gender_counts(self, guessed: bool = False) -> dict[str, int]:
        """Songs per singer gender, with ``guessed`` ones if wished; the empty key counts the unknown ones."""
        return self.songs.gender_counts(guessed)

    def select(
        self, genres: Iterable[str] = (), gender: str = ANY_GENDER, only_known: bool = False, guessed: bool = False
    ) -> Selection:
        """Filter the songs.

        A song passes if it has any of ``genres`` and the ``gender``. A song whose genre or gender the catalog does not
        know passes too, unless ``only_known``; with ``guessed`` it knows what it has guessed, too. QueryError for a
        genre that no song has, or an unknown gender.
        """
        return self.selection(self.songs.filter(genres, gender, only_known, guessed=guessed))

    def selection(self, wanted: SongFilter) -> Selection:
        """Return the songs that pass a filter in the catalog's own spelling."""
        return self._selections(wanted)

    @cached_property
    def _selections(self) -> Callable[[SongFilter], Selection]:
        # Every search asks for its filter's songs more than once, mostly for those of no filter at all.
        return lru_cache(maxsize=CACHED_FILTERS)(self._compare)

    def _compare(self, wanted: SongFilter) -> Selection:
        mask = self.songs.which(wanted.passes)
        mask.setflags(write=False)
        return Selection(wanted, mask, int(np.count_nonzero(mask & self.songs.which(wanted.is_unknown_of))))

    def find(self, text: str = "", limit: int = 200) -> tuple[Song, ...]:
        """Return songs whose title, artist, genre or id holds every word of ``text``, ignoring case and accents."""
        return tuple(self.songs[position] for position in islice(self.songs.find(fold_text(text).split()), limit))

    def check_editable(self) -> None:
        """Refuse to make another catalog of a compact one, which has no embeddings: CatalogError."""
        if not isinstance(self.embeddings, np.ndarray):
            raise CatalogError("a compact catalog is for searching; change the one it was made of, and make it again")

    def save(
        self, folder: str | os.PathLike[str], beside: Mapping[str, str | Path] | None = None, keep_others: bool = True
    ) -> None:
        """Write the catalog; the folder appears, or replaces a former catalog, only when complete.

        ``beside`` are further files by name: their text, or a file to copy. Other files of a former catalog's folder,
        its model or recordings, are kept; without ``keep_others`` such a folder is not replaced. Nor is a folder that
        is no catalog, or that holds the model of another encoder, which could not open this catalog.
        """
        self.check_editable()
        with replaced_catalog(folder, self.encoder_fingerprint, beside, keep_others) as new:
            self._write_files(new)

    def _write_files(self, folder: Path) -> None:
        storage.write_songs(folder, self.songs)
        (folder / CREDITS_FILE).write_text(self.credits, encoding="utf-8")
        melodies = self.melodies.tensors
        if self.tracked.any():  # otherwise the file is the same as before this property existed
            melodies["tracked"] = self.tracked
        # not safetensors' own: a copy of everything in memory, or files that only their owner can read
        storage.write_tensors(folder / MELODIES_FILE, melodies)
        storage.write_tensors(folder / EMBEDDINGS_FILE, self._embedded)
        if self.facets is not None:
            self.facets.write(folder / FACETS_FILE)
        storage.write_manifest(folder, self.encoder_fingerprint, len(self.songs))

    @classmethod
    def load(cls, folder: str | os.PathLike[str], encoder: MelodyEncoder, verify: bool = False) -> Catalog:
        """Open a catalog; its melodies and embeddings are mapped, and read whole only to ``verify`` them.

        Then their checksums are compared, and whoever signed them, embeddings must be finite and contours where the
        melodies are voiced.
        Who writes what was loaded should verify it: what is damaged would otherwise get a new checksum.

        If a program was killed while replacing the catalog, it is first put back in its place. CatalogError if it is
        no catalog, of another format version, or made with another encoder; IntegrityError if a file is missing or
        truncated, or differs from its checksum.
        """
        folder = Path(folder)
        storage.recover(folder)
        manifest = storage.read_manifest(folder)
        if FACETS_FILE in manifest["files"] and MELODIES_FILE not in manifest["files"]:
            raise CatalogError(
                f"catalog {folder.name!r} holds no melodies: it can be explored, not searched by humming; "
                "name another catalog for that"
            )
        encoder = encoder.that_made(manifest.get("encoder_fingerprint"))
        if manifest.get("encoder_fingerprint") != encoder.fingerprint:
            raise CatalogError(
                f"catalog {folder.name!r} was made with encoder {manifest.get('encoder_fingerprint')!r:.40}, "
                f"this program has {encoder.fingerprint!r}; build the catalog again"
            )
        if verify:
            storage.check_files(folder, None if storage.is_compact(manifest) else MAPPED_FILES)
        facets = Facets.load(folder)
        songs, credits = _songs_and_credits(folder, manifest)
        contours, embedded = (storage.map_tensors(folder / name, manifest) for name in MAPPED_FILES)
        try:
            melodies = (RunMelodies if "run_cents" in contours else PackedMelodies)(contours, verify)
            embeddings = (
                coded_windows(folder / WINDOWS_FILE, embedded)
                if storage.is_compact(manifest)
                else embedded["embeddings"]
            )
            n_windows, stride = embedded["n_windows"], int(embedded.get("stride", (1,))[0])
        except (ValueError, KeyError) as error:
            raise CatalogError(f"catalog {folder.name!r} is not well formed: {error!r:.200}") from error
        if embeddings.ndim != 2 or embeddings.shape[1] != encoder.dim or embeddings.dtype != np.float16:
            raise CatalogError(
                f"catalog {folder.name!r}: embeddings of shape {embeddings.shape} and type {embeddings.dtype}, "
                f"expected (n, {encoder.dim}) and float16"
            )
        if verify and not _all_finite(embeddings):
            raise CatalogError(f"catalog {folder.name!r}: the embeddings are not finite numbers")
        if n_windows.dtype != np.int32 or n_windows.ndim != 1:
            raise CatalogError(f"catalog {folder.name!r}: the window counts are not a list of int32 numbers")
        tracked = contours.get("tracked")
        kept = songs, melodies, embeddings, n_windows
        return cls(*kept, encoder.fingerprint, credits, folder, tracked, facets, stride)

    @classmethod
    def load_downloaded(cls, folder: Path, encoder: MelodyEncoder) -> Catalog:
        """Open a catalog as :meth:`load` does; it is verified, unless the very same files were verified before.

        CatalogError for a compact one: FAISS would read the file of a stranger unchecked.
        """
        if storage.is_compact(storage.read_manifest(folder)):
            raise CatalogError("a compact catalog is for those who made it; fetch the one that it was made of")
        mark = storage.verified_mark(folder)
        catalog = cls.load(folder, encoder, verify=not mark.exists())
        with suppress(OSError):  # without a mark it is done again
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        return catalog


@contextmanager
def replaced_catalog(
    folder: str | os.PathLike[str],
    encoder_fingerprint: str,
    beside: Mapping[str, str | Path] | None = None,
    keep_others: bool = True,
) -> Iterator[Path]:
    """Yield an empty folder for the files of a catalog, as :meth:`Catalog.save` describes it."""
    folder = storage.absolute(folder)
    storage.recover(folder)
    storage.CATALOG.check_replaceable(folder, keep_others)
    own = MelodyEncoder.load(folder) if (folder / WEIGHTS_FILE).is_file() else None
    if own and own.that_made(encoder_fingerprint).fingerprint != encoder_fingerprint:
        raise CatalogError(
            f"{folder.name!r} holds the model of another encoder than this catalog was made with; move its "
            f"{WEIGHTS_FILE} away or choose another place to write to"
        )
    with storage.replacement(folder) as new:
        yield new
        if keep_others and folder.exists():
            storage.keep_other_files(folder, new)
        for name, content in (beside or {}).items():
            storage.write_beside(new, name, content)


def embed_songs(
    songs: Iterable[Song], melodies: Iterable[Melody], encoder: MelodyEncoder
) -> Iterator[tuple[Melody, np.ndarray]]:
    """Yield the melody of each song and its windows (n, dim) float16; no more than some are read ahead.

    CatalogError for a melody without any voiced frame.
    """
    coming = zip(songs, melodies, strict=True)
    with ThreadPoolExecutor(n_cores()) as pool:
        while some := list(islice(coming, EMBEDDED_AT_ONCE)):
            windows = list(pool.map(lambda entry: _embed_song(*entry, encoder), some))
            yield from ((melody, rows) for (_, melody), rows in zip(some, windows, strict=True))


def unvoiced_error(song_id: str) -> CatalogError:
    """Return the error for a song whose melody has no pitch."""
    return CatalogError(f"song {song_id!r:.80} has no melody: no frame of it is voiced")


def _songs_and_credits(folder: Path, manifest: dict) -> tuple[Sequence[Song], str]:
    if not storage.is_compact(manifest):
        return storage.read_texts(folder, manifest)
    columns = storage.map_tensors(folder / SONG_COLUMNS_FILE, manifest)
    try:
        songs = SongTable.of_columns(columns, int(manifest["n_songs"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CatalogError(f"catalog {folder.name!r} is not well formed: {error!r:.200}") from error
    return songs, storage.read_credits(folder, manifest)


def _all_finite(rows: np.ndarray) -> bool:
    return all(np.isfinite(rows[at : at + ROWS_AT_ONCE]).all() for at in range(0, len(rows), ROWS_AT_ONCE))


def _embed_song(song: Song, melody: Melody, encoder: MelodyEncoder) -> np.ndarray:
    if not melody.voiced.any():
        raise unvoiced_error(song.id)
    return encoder.embed_song(fill_rests(melody)).astype(np.float16)
