"""The files of a catalog's folder, their checksums, and the replacement of a folder or a file as a whole.

Conventions
-----------
* A new folder is made in ``<folder>.partial/new``. When it is complete, the old folder moves to
  ``<folder>.partial/previous``, the new one takes its place, and the old one is deleted.
* After a program was killed at any moment, the old folder or the new one is there and whole: in its place, or in
  ``previous`` if the program was killed between the two moves. :func:`recover` then puts it back; loading a catalog and
  replacing a folder begin with that.
* One program at a time may write to a folder. Nothing but an empty folder or one of the same kind is ever replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from hmm2song.errors import CatalogError, Hmm2SongError, IntegrityError
from hmm2song.machine import cache_folder
from hmm2song.song import Song

FORMAT_VERSION, COMPACT_VERSION = 1, 2
MANIFEST_FILE = "manifest.json"
SONGS_FILE = "songs.json"
MELODIES_FILE = "melodies.safetensors"
EMBEDDINGS_FILE = "embeddings.safetensors"
CREDITS_FILE = "credits.md"
FACETS_FILE = "facets.safetensors"
DATA_FILES = (SONGS_FILE, MELODIES_FILE, EMBEDDINGS_FILE, CREDITS_FILE)
SONG_COLUMNS_FILE = "songs.safetensors"
WINDOWS_FILE = "windows.faiss"
COMPACT_FILES = (SONG_COLUMNS_FILE, MELODIES_FILE, EMBEDDINGS_FILE, WINDOWS_FILE, CREDITS_FILE)
"""Those of a compact catalog (:mod:`hmm2song.indexing.compact`)."""
OPTIONAL_FILES = (FACETS_FILE,)
"""A catalog has these only if its manifest lists them."""
MAPPED_FILES = (MELODIES_FILE, EMBEDDINGS_FILE)
SKIPPED_NAME = "skipped.csv"
REPORT_NAME = "report.csv"
SOURCES_NAME = "sources.json"
INDEXING_FILES = (SKIPPED_NAME, REPORT_NAME, SOURCES_NAME)
"""What indexing leaves beside a catalog."""
TENSOR_TYPES = {
    "BOOL": np.bool_, "U8": np.uint8, "U16": np.dtype("<u2"), "U32": np.dtype("<u4"), "I8": np.int8,
    "I16": np.dtype("<i2"), "I32": np.dtype("<i4"), "I64": np.dtype("<i8"), "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"), "F64": np.dtype("<f8"),
}  # fmt: skip
"""Types of arrays in a catalog's files."""
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error)
NEW, PREVIOUS = "new", "previous"
"""In the partial folder: the one that is being made, and the one that waits while that takes its place."""


# Manifest and checksums -----------------------------------------------------------------------------------------


def write_songs(folder: Path, songs: Sequence[Song]) -> None:
    """Write the songs' rows; the same songs are the same bytes."""
    rows = [song.to_row() for song in songs]
    (folder / SONGS_FILE).write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_songs(folder: Path) -> tuple[Song, ...]:
    """Read the songs' rows, or raise CatalogError."""
    try:
        return _songs_of((folder / SONGS_FILE).read_bytes())
    except (OSError, *_MALFORMED) as error:
        raise _malformed(folder / SONGS_FILE, error) from error


def read_texts(folder: Path, manifest: dict) -> tuple[tuple[Song, ...], str]:
    """Read songs and credits, and compare both with their checksums; CatalogError or IntegrityError."""
    songs, credits = (_checked_bytes(folder / name, manifest) for name in (SONGS_FILE, CREDITS_FILE))
    try:
        return _songs_of(songs), credits.decode("utf-8")
    except _MALFORMED as error:
        raise _malformed(folder / SONGS_FILE, error) from error


def read_credits(folder: Path, manifest: dict) -> str:
    """Read the credits, compared with their checksum."""
    return _checked_bytes(folder / CREDITS_FILE, manifest).decode("utf-8", "replace")


def _songs_of(content: bytes) -> tuple[Song, ...]:
    return tuple(Song.from_row(row) for row in json.loads(content.decode("utf-8")))


def map_tensors(path: Path, manifest: dict) -> dict[str, np.ndarray]:
    """Map a safetensors file of a catalog without reading it: arrays by name, not writable.

    IntegrityError if it is missing or has another size than the manifest records, CatalogError if its header is wrong.
    A file must not be truncated while it is mapped: the system then ends the program (SIGBUS). On Windows it is read:
    there, nobody could replace a mapped file.
    """
    _check_size(path, manifest)
    return mapped_tensors(path)


def mapped_tensors(path: Path) -> dict[str, np.ndarray]:
    """Map a safetensors file that this program has written, or :func:`map_tensors` has looked at."""
    try:
        with safe_open(path, framework="numpy") as file:  # compares sizes and places of all tensors with the file's
            names = file.keys()
        with path.open("rb") as file:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(header_bytes))
        mapped = np.fromfile(path, np.uint8) if os.name == "nt" else np.memmap(path, np.uint8, mode="r")
        return {name: _tensor(mapped[8 + header_bytes :], **header[name]) for name in names}
    except (SafetensorError, OSError, *_MALFORMED) as error:
        raise _malformed(path, error) from error


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray | Sequence[np.ndarray]]) -> None:
    """Write a safetensors file without a copy in memory; the same arrays are the same bytes.

    An array may be given in pieces, a list of arrays to stand one after the other.
    """
    with path.open("wb") as file:
        for part in _parts(arrays):
            file.write(part)


def tensors_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the checksum of the file that :func:`write_tensors` would write."""
    digest = hashlib.sha256()
    for part in _parts(arrays):
        digest.update(part)
    return digest.hexdigest()


def _parts(arrays: Mapping[str, np.ndarray | Sequence[np.ndarray]]) -> Iterator[bytes | np.ndarray]:
    codes = {np.dtype(kind): code for code, kind in TENSOR_TYPES.items()}
    pieces = {name: [array] if isinstance(array, np.ndarray) else array for name, array in arrays.items()}
    header, end = {}, 0
    names = sorted(pieces, key=lambda name: (-pieces[name][0].itemsize, name))  # so that all of them are aligned
    for name in names:
        begin, end = end, end + sum(piece.nbytes for piece in pieces[name])
        shape = [sum(map(len, pieces[name])), *pieces[name][0].shape[1:]]
        header[name] = {"dtype": codes[pieces[name][0].dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for piece in (piece for name in names for piece in pieces[name]):
        yield np.ascontiguousarray(piece)


def _tensor(data: np.ndarray, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    begin, end = data_offsets
    array = data[begin:end].view(np.ndarray).view(TENSOR_TYPES[dtype]).reshape(shape)
    return array if array.flags.aligned else array.copy()  # compiled code takes aligned ones only


def write_manifest(folder: Path, encoder_fingerprint: str, n_songs: int) -> None:
    """Record size and checksum of every data file that is in ``folder``."""
    is_compact = (folder / WINDOWS_FILE).is_file()
    names = (*(COMPACT_FILES if is_compact else DATA_FILES), *OPTIONAL_FILES)
    manifest = {
        "format_version": COMPACT_VERSION if is_compact else FORMAT_VERSION,
        "encoder_fingerprint": encoder_fingerprint,
        "n_songs": n_songs,
        "files": checksums(folder, [name for name in names if (folder / name).is_file()]),
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def data_files(manifest: dict) -> tuple[str, ...]:
    """Return the names of a catalog's data files, with the optional ones that it has."""
    files = COMPACT_FILES if is_compact(manifest) else DATA_FILES
    return (*files, *(name for name in OPTIONAL_FILES if name in manifest["files"]))


def is_compact(manifest: dict) -> bool:
    """Tell whether a catalog is compact."""
    return manifest["format_version"] == COMPACT_VERSION


def checksums(folder: Path, names: Iterable[str]) -> dict[str, dict]:
    """Return size and SHA-256 of files in a folder, by name."""
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict:
    """Read and check the manifest, or raise CatalogError or IntegrityError."""
    if not (folder / MANIFEST_FILE).is_file():
        raise CatalogError(f"{folder.name!r} is not a catalog: it has no {MANIFEST_FILE}")
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        version = manifest["format_version"]
        manifest["files"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"{MANIFEST_FILE} of catalog {folder.name!r} is damaged: {error!r:.200}; fetch it again"
        ) from error
    if version not in (FORMAT_VERSION, COMPACT_VERSION):
        raise CatalogError(
            f"catalog {folder.name!r} has format version {version!r:.20}, this program reads "
            f"{FORMAT_VERSION} and {COMPACT_VERSION}"
        )
    return manifest


def check_files(folder: Path, names: Iterable[str] | None = None) -> dict:
    """Compare files, by default all, with their records and return the manifest; CatalogError or IntegrityError."""
    manifest = read_manifest(folder)
    for name in names or data_files(manifest):
        if name in manifest["files"] or name not in OPTIONAL_FILES:
            _check_size(folder / name, manifest)
            _check_digest(folder / name, manifest, sha256_of(folder / name))
    return manifest


def verified_mark(folder: Path) -> Path:
    """Return the file that stands if the files of a folder were verified before, the very same ones."""
    places = [folder / name for name in (MANIFEST_FILE, *DATA_FILES, *OPTIONAL_FILES)]
    states = [(place.stat().st_size, place.stat().st_mtime_ns) if place.is_file() else None for place in places]
    facts = json.dumps([str(folder.resolve()), states, sha256_of(folder / MANIFEST_FILE)])
    return cache_folder() / "verified" / hashlib.sha256(facts.encode()).hexdigest()


def _checked_bytes(path: Path, manifest: dict) -> bytes:
    _check_size(path, manifest)
    content = path.read_bytes()
    _check_digest(path, manifest, hashlib.sha256(content).hexdigest())
    return content


def _check_size(path: Path, manifest: dict) -> None:
    recorded, name = manifest["files"].get(path.name), f"{path.name} of catalog {path.parent.name!r}"
    if not isinstance(recorded, dict) or not path.is_file():
        raise IntegrityError(f"{name} is missing; fetch or build the catalog again")
    size = path.stat().st_size
    if size != recorded.get("bytes"):
        raise IntegrityError(
            f"{name} has {size} bytes instead of {recorded.get('bytes')}: truncated or changed; "
            "fetch or build the catalog again"
        )


def _check_digest(path: Path, manifest: dict, sha256: str) -> None:
    if sha256 != manifest["files"][path.name].get("sha256"):
        raise IntegrityError(
            f"{path.name} of catalog {path.parent.name!r} differs from its recorded checksum: damaged or tampered "
            "with; fetch or build the catalog again"
        )


def _malformed(path: Path, error: Exception) -> CatalogError:
    return CatalogError(f"catalog {path.parent.name!r} is not well formed: {path.name}: {error!r:.200}")


# Replacing a folder ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder: what people call it, the file that tells it from others, its other files, what to raise."""

    word: str
    telling: str
    files: frozenset[str]
    error: type[Hmm2SongError]

    def check_replaceable(self, folder: Path, with_others: bool = False) -> None:
        """Refuse to replace anything but nothing, an empty folder, or one of this kind.

        ``with_others`` says that it may hold other files too: they are going to be kept.
        """
        if not folder.exists() and not folder.is_symlink():
            return
        shown = repr(str(folder))
        if folder.is_symlink() or not folder.is_dir():
            raise self.error(f"{shown} exists and is not a folder; choose another place for the {self.word}")
        names = {entry.name for entry in folder.iterdir()}
        if names and self.telling not in names:
            raise self.error(f"{shown} exists and is not a {self.word}; it is not overwritten, choose another place")
        others = sorted(names - self.files - {self.telling})
        if others and not with_others:
            raise self.error(
                f"{shown} holds other files besides the {self.word} ({', '.join(others[:3])}), which would be "
                "deleted with it; move them away or choose another place"
            )


CATALOG = FolderKind(
    "catalog", MANIFEST_FILE, frozenset((*DATA_FILES, *COMPACT_FILES, *OPTIONAL_FILES, *INDEXING_FILES)), CatalogError
)


def absolute(folder: str | os.PathLike[str]) -> Path:
    """Return the path from the root, links in its parents followed; its last part may be a link."""
    path = Path(os.path.abspath(folder))
    return path.parent.resolve() / path.name


def partial_of(folder: Path) -> Path:
    """Return where unfinished work on a folder is kept."""
    path = Path(os.path.abspath(folder))  # "." has no name
    return path.parent / f"{path.name}.partial"


def recover(folder: Path) -> None:
    """Put a folder back in its place if a program was killed while replacing it, or raise CatalogError."""
    previous = partial_of(folder) / PREVIOUS
    if os.path.lexists(folder) or not os.path.isdir(previous):  # of names that no file system takes, too
        return
    try:
        previous.rename(folder)
    except OSError as error:
        raise CatalogError(f"what was {str(folder)!r} is in {str(previous)!r}; move it back ({error})") from error
    _remove_if_empty(partial_of(folder))


@contextmanager
def replacement(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of ``folder`` if the block ends without an error."""
    recover(folder)
    _delete_leftovers(folder)
    partial = partial_of(folder)
    (partial / NEW).mkdir(parents=True)
    try:
        yield partial / NEW
        if folder.exists():
            folder.rename(partial / PREVIOUS)
        (partial / NEW).rename(folder)
    finally:
        recover(folder)
        _delete_leftovers(folder)
        _remove_if_empty(partial)


def _delete_leftovers(folder: Path) -> None:
    """Delete what a replacement leaves; ``previous`` is renamed first, so that what has this name is always whole."""
    new, previous = partial_of(folder) / NEW, partial_of(folder) / PREVIOUS
    shutil.rmtree(new, ignore_errors=True)
    if previous.is_dir() and folder.exists():
        previous.rename(new)
        shutil.rmtree(new, ignore_errors=True)


def _remove_if_empty(partial: Path) -> None:
    with suppress(OSError):  # an unfinished run has left results there
        partial.rmdir()


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yield a name to write to; what is there takes the place of ``file`` if the block ends without an error.

    A link stays a link: what it points to is replaced.
    """
    target = Path(os.path.realpath(file))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def keep_other_files(folder: Path, new: Path) -> None:
    """Give ``new`` all that a catalog's folder holds besides the catalog: its model, its recordings.

    Files are linked, so that recordings take neither time nor room; what cannot be linked is copied. ``folder`` is not
    changed.
    """
    own = {MANIFEST_FILE, *DATA_FILES, *COMPACT_FILES, *OPTIONAL_FILES}

    def left_out(directory: str, _: list[str]) -> set[str]:
        return own if Path(directory) == folder else set()

    shutil.copytree(folder, new, symlinks=True, ignore=left_out, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system mounted below, one without links, somebody else's file
        shutil.copy2(source, target)


def write_beside(folder: Path, name: str, content: str | Path) -> None:
    """Write a further file, a text or a copy; what :func:`keep_other_files` linked there is not changed."""
    (folder / name).unlink(missing_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, folder / name)
    else:
        (folder / name).write_text(content, encoding="utf-8", newline="")
