"""From a folder of music, or a table, to a catalog.

What can be indexed
-------------------
* A **folder**, walked recursively in sorted order: score files (:mod:`hmm2song.scores`) and recordings of one
  voice, sung alone or already separated from its band. An ``info.csv`` in it supplies metadata for its files.
* A **table** (CSV) with the columns ``id, Title, Singer, Lyric, genre, path, gender`` and any of ``author,
  title_ko, year, source, licence, credit``; ``path`` names a score or recording in the table's folder. Only
  ``path`` is required.
* A single **score file**, such as JSON lines of notes.

How it stays safe
-----------------
* Every melody is stored in ``<out>.partial`` as soon as it is extracted, under a name made from the file's
  content; a run that is killed goes on where it stopped, and the result has the same bytes as that of an
  undisturbed run.
* Broken files are skipped and listed, in the report and in the catalog's ``skipped.csv``.
* The catalog is built beside ``<out>`` and moved there when complete. A folder that is not a catalog is never
  touched.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hmm2song.audio import load_audio
from hmm2song.catalog import Catalog
from hmm2song.catalog_files import DATA_FILES, MANIFEST_FILE
from hmm2song.encoder import MelodyEncoder
from hmm2song.errors import CatalogError, Hmm2SongError, ScoreError
from hmm2song.melody import MAX_SONG_S, Melody
from hmm2song.pitch import track_pitch
from hmm2song.scores import (
    ROW_FIELDS,
    ScoredMelody,
    ScoreFile,
    gender_code,
    is_score,
    listed_genres,
    read_scores,
    song_of,
)
from hmm2song.song import Song, safe_relative_path
from hmm2song.workers import map_files

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".webm"})
MAX_RECORDING_BYTES = 2**30
"""Largest recording: an hour of CD-quality stereo takes 0.6 GiB uncompressed."""
MIN_VOICED_S = 1.0
"""A melody with less pitch than this cannot be told from others and is skipped."""
EXTRACTOR_VERSION = "2"
"""Part of the names of partial results: change it when extraction changes, so that old ones are not used."""
INFO_NAME = "info.csv"
SKIPPED_NAME = "skipped.csv"
MAX_TABLE_BYTES = 256 * 2**20

Progress = Callable[[str, int, int], None]
"""Called with the step (``"read"`` or ``"embed"``), how many are done, and how many there are."""


@dataclass(frozen=True)
class Skipped:
    """A file, row or tune that was left out. ``path`` is relative to the source."""

    path: str
    reason: str


@dataclass(frozen=True)
class IndexReport:
    """The catalog made, how many songs it has, and what was left out."""

    catalog: Catalog
    indexed: int
    skipped: tuple[Skipped, ...]

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {"indexed": self.indexed, "skipped": [dataclasses.asdict(skipped) for skipped in self.skipped]}


@dataclass(frozen=True)
class _Item:
    """A file to read: where it is, its name for people, and the row of metadata that goes with it."""

    file: Path
    name: str
    row: dict[str, str] | None = None


def index(
    source: str | os.PathLike,
    out: str | os.PathLike,
    encoder: MelodyEncoder,
    workers: int | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Make a catalog of a folder, a table or a score file.

    Parameters
    ----------
    source : path
        What to index, see above.
    out : path
        The catalog's folder. It may exist only if it is empty or a catalog, which is replaced when the new
        one is complete. One run at a time may write to it.
    encoder : MelodyEncoder
        Embeds the melodies; the catalog can be searched with this encoder only.
    workers : int, optional
        Processes that read files at the same time; one per core by default. More than one need the caller's
        main module to be importable (``if __name__ == "__main__":``), as always with :mod:`multiprocessing`.
    progress : callable, optional
        See :data:`Progress`.

    Raises
    ------
    CatalogError
        The source cannot be read or holds no usable melody, or ``out`` must not be overwritten.
    """
    source, out = Path(source), Path(os.path.abspath(out))
    out = out.parent.resolve() / out.name  # as it is compared with resolved names
    if workers is not None and workers < 1:
        raise CatalogError(f"workers must be at least 1, got {workers}")
    partial = out.with_name(out.name + ".partial")
    _recover(out, partial)
    _check_replaceable(out)
    items, skipped = _collect(source, leave_out=(out, partial))
    partial.mkdir(parents=True, exist_ok=True)
    results = map_files(
        _extract,
        [(item.file, item.name, partial) for item in items],
        workers,
        None if progress is None else lambda done: progress("read", done, len(items)),
    )
    found: list[ScoredMelody] = []
    for item, result in zip(items, results, strict=True):
        if isinstance(result, Hmm2SongError):
            skipped.append(Skipped(item.name, str(result).removeprefix(f"{item.file.name}: ")))
            continue
        melodies, problems = _finish(item, _load_partial(partial / result))
        found += melodies
        skipped += [Skipped(item.name, problem) for problem in problems]
    if not found:
        reasons = "; ".join(f"{entry.path}: {entry.reason}" for entry in skipped[:3])
        raise CatalogError(f"no melody found in {source.name or source} ({reasons or 'no score or recording in it'})")
    songs = _with_unique_ids([melody.song for melody in found])
    catalog = Catalog.build(
        songs,
        [melody.melody for melody in found],
        encoder,
        credits=_credits(songs),
        progress=None if progress is None else lambda done, total: progress("embed", done, total),
    )
    _publish(catalog, skipped, out, partial)
    return IndexReport(Catalog.load(out, encoder), len(songs), tuple(skipped))


# What to read -----------------------------------------------------------------------------------------------


def _collect(source: Path, leave_out: Sequence[Path]) -> tuple[list[_Item], list[Skipped]]:
    if source.is_dir():
        return _collect_folder(source, leave_out)
    if not source.is_file():
        raise CatalogError(f"there is no file or folder {str(source)!r}; check the name")
    if is_score(source) or source.suffix.lower() in AUDIO_SUFFIXES:
        return [_Item(source, _readable(source.name))], []
    if source.suffix.lower() == ".csv":
        return _collect_table(source)
    raise CatalogError(f"{source.name!r} is neither a folder, a table (.csv), a score nor a recording")


def _collect_folder(folder: Path, leave_out: Sequence[Path]) -> tuple[list[_Item], list[Skipped]]:
    skipped: list[Skipped] = []
    rows: dict[str, dict[str, str]] = {}
    if (folder / INFO_NAME).is_file():
        for row in read_table(folder / INFO_NAME):
            rows[_normal(row["path"].replace("\\", "/").removeprefix("./"))] = row
    items = []
    for file in _walk(folder, leave_out, skipped):
        name = _readable(file.relative_to(folder).as_posix())
        if not file.resolve().is_relative_to(folder.resolve()):
            skipped.append(Skipped(name, "a link out of the folder is not followed"))
            continue
        if file.exists() and not file.is_file():
            skipped.append(Skipped(name, "not a regular file"))
            continue
        try:
            if file.suffix.lower() in AUDIO_SUFFIXES or is_score(file):
                items.append(_Item(file, name, rows.pop(_normal(name), None)))
        except OSError as error:
            skipped.append(Skipped(name, f"cannot be opened ({error.strerror})"))
    skipped += [
        Skipped(row["path"], f"line {row['line']} of {INFO_NAME} names no score or recording in the folder")
        for row in rows.values()
    ]
    return items, skipped


def _walk(folder: Path, leave_out: Sequence[Path], skipped: list[Skipped]) -> Iterator[Path]:
    """Yield the files in sorted order, without hidden ones and without the folders in ``leave_out``."""

    def unreadable(error: OSError) -> None:
        name = os.path.relpath(error.filename, folder)
        skipped.append(Skipped(_readable(name), f"the folder cannot be opened ({error.strerror})"))

    files = []
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [
            name for name in folders if not name.startswith(".") and Path(parent, name).resolve() not in leave_out
        ]
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return iter(sorted(files, key=lambda file: (_normal(file.relative_to(folder).as_posix()), os.fsencode(file))))


def _collect_table(table: Path) -> tuple[list[_Item], list[Skipped]]:
    items, skipped = [], []
    for row in read_table(table):
        try:
            items.append(_Item(_file_of_row(table.parent, row["path"]), row["path"], row))
        except CatalogError as error:
            skipped.append(Skipped(row["path"], f"line {row['line']}: {error}"))
    return items, skipped


def _file_of_row(folder: Path, path: str) -> Path:
    """Return the file a row names, which must lie in the table's folder."""
    inside = path.replace("\\", "/")
    if not inside:
        raise CatalogError("the path is empty")
    if not safe_relative_path(inside) or "\0" in inside:
        raise CatalogError("the path leads out of the table's folder")
    # A name typed here and a name from another system may spell the same Hangul or accents differently.
    files = [folder / unicodedata.normalize(form, inside) for form in ("NFC", "NFD")]
    file = next((file for file in (folder / inside, *files) if file.is_file()), None)
    if file is None:
        raise CatalogError("there is no such file")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise CatalogError("the path leads out of the table's folder")
    return file


def read_table(table: Path) -> list[dict[str, str]]:
    """Read a table of songs.

    Returns
    -------
    list of dict
        One per row: the cells by lower-case column name, and ``line``, the row's last line in the file.

    Raises
    ------
    CatalogError
        Not a CSV file with a ``path`` column, or too large.
    """
    if table.stat().st_size > MAX_TABLE_BYTES:
        raise CatalogError(f"{table.name} has more than {MAX_TABLE_BYTES} bytes")
    lines = csv.reader(io.StringIO(_decoded(table), newline=""))
    rows = []
    try:
        columns = [name.strip().lower() for name in next(lines, ())]
        if "path" not in columns:
            raise CatalogError(
                f'{table.name} has no column "path"; a table of songs starts with '
                "id,Title,Singer,Lyric,genre,path,gender"
            )
        for cells in lines:
            if cells:
                row = dict(zip(columns, map(str.strip, cells), strict=False))
                rows.append({"path": "", **row, "line": str(lines.line_num)})
    except csv.Error as error:
        raise CatalogError(f"{table.name}, line {lines.line_num}: {error}") from error
    return rows


def _decoded(table: Path) -> str:
    content = table.read_bytes()
    for encoding in ("utf-8-sig", "cp949"):  # cp949 is what a Korean Excel writes
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CatalogError(f"{table.name} is not text in UTF-8 (or CP949)")


def _readable(name: str) -> str:
    """Return a file name that can be written as UTF-8, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "replace")


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


# Reading one file, in a worker ------------------------------------------------------------------------------


def _extract(file: Path, name: str, partial: Path) -> str:
    """Extract the melodies of a file into the folder of partial results; return the name they have there."""
    stored = _content_key(file, name) + ".safetensors"
    if _load_partial(partial / stored) is None:
        _save_partial(_read(file, name), partial / stored)
    return stored


def _content_key(file: Path, name: str) -> str:
    """Return a name for what will be extracted: of the extractor, the file's name and the file's content."""
    digest = hashlib.sha256(f"{EXTRACTOR_VERSION} {name}\n".encode())
    try:
        if file.stat().st_size > MAX_RECORDING_BYTES:
            raise ScoreError(f"larger than {MAX_RECORDING_BYTES} bytes")
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    except OSError as error:
        raise ScoreError(f"cannot be opened ({error.strerror})") from error
    return digest.hexdigest()


def _read(file: Path, name: str) -> ScoreFile:
    if file.suffix.lower() not in AUDIO_SUFFIXES:
        return read_scores(file, name)
    samples = load_audio(file, max_s=MAX_SONG_S, max_bytes=MAX_RECORDING_BYTES)
    return ScoreFile((ScoredMelody(song_of({"path": name}, name), track_pitch(samples).melody),))


def _save_partial(found: ScoreFile, file: Path) -> None:
    about = {
        "songs": json.dumps([dataclasses.asdict(melody.song) for melody in found.melodies]),
        "broken": json.dumps(found.broken),
    }
    tensors = {str(number): melody.melody.pitch_midi for number, melody in enumerate(found.melodies)}
    try:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        os.close(descriptor)
        save_file(tensors, temporary, metadata=about)
        os.replace(temporary, file)
    except (OSError, SafetensorError) as error:  # the disk is full: no fault of the file that was read
        raise CatalogError(f"cannot write to {str(file.parent)!r} ({error})") from error


def _load_partial(file: Path) -> ScoreFile | None:
    """Load partial results; None where there are none, or only the torso that a power cut leaves."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as tensors:
            about = tensors.metadata()
            songs = json.loads(about["songs"])
            melodies = [Melody(tensors.get_tensor(str(number))) for number in range(len(songs))]
    except SafetensorError:
        return None
    return ScoreFile(
        tuple(ScoredMelody(Song(**song), melody) for song, melody in zip(songs, melodies, strict=True)),
        tuple(json.loads(about["broken"])),
    )


# Putting it together ----------------------------------------------------------------------------------------


def _finish(item: _Item, found: ScoreFile) -> tuple[list[ScoredMelody], list[str]]:
    """Complete the metadata of a file's melodies; return them and what is wrong with the others."""
    if item.row is not None and len(found.melodies) > 1:
        return [], [f"holds {len(found.melodies)} melodies, so one row cannot describe it"]
    finished, problems = [], list(found.broken)
    for melody in found.melodies:
        if melody.melody.voiced_s < MIN_VOICED_S:
            which = f"{melody.song.id}: " if len(found.melodies) > 1 else ""
            problems.append(f"{which}{melody.melody.voiced_s:.1f} s of melody; at least {MIN_VOICED_S:.0f} s needed")
            continue
        try:
            finished.append(dataclasses.replace(melody, song=_with_row(melody.song, item.row or {})))
        except (ScoreError, CatalogError) as error:
            problems.append(str(error))
    return finished, problems


def _with_row(song: Song, row: Mapping[str, str]) -> Song:
    """Return the song with what the row states in place of what its file states."""
    changes = {column: row[column] for column in ROW_FIELDS if row.get(column)}
    if "genre" in changes:
        changes["genre"] = listed_genres(changes["genre"])
    if "gender" in changes:
        changes["gender"] = gender_code(changes["gender"])
    return dataclasses.replace(song, **changes)


def _with_unique_ids(songs: Sequence[Song]) -> list[Song]:
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


# Writing the catalog ----------------------------------------------------------------------------------------


def _credits(songs: Sequence[Song]) -> str:
    """Return Markdown that says where each song comes from, as far as its file or row says so."""
    lines = []
    for song in songs:
        origin = "; ".join(dict.fromkeys(filter(None, (song.author, song.source, song.credit, song.licence))))
        lines.append("* " + " ".join(f"{song.title} ({song.id}): {origin or 'not stated'}".split()))
    return "# Credits\n\n" + "\n".join(lines) + "\n"


def _check_replaceable(out: Path) -> None:
    """Refuse to replace anything but nothing, an empty folder, or a catalog with nothing added to it."""
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir():
        raise CatalogError(f"{str(out)!r} exists and is not a folder; choose another place for the catalog")
    names = {entry.name for entry in out.iterdir()}
    if names and MANIFEST_FILE not in names:
        raise CatalogError(f"{str(out)!r} exists and is not a catalog; it is not overwritten, choose another place")
    others = sorted(names - {MANIFEST_FILE, *DATA_FILES, SKIPPED_NAME})
    if others:
        raise CatalogError(
            f"{str(out)!r} holds other files besides the catalog ({', '.join(others[:3])}), which would be "
            "deleted with it; move them away or choose another place"
        )


def _publish(catalog: Catalog, skipped: Sequence[Skipped], out: Path, partial: Path) -> None:
    """Write the catalog beside its place, then move it there."""
    staging = partial / "catalog"
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    catalog.save(staging)
    with (staging / SKIPPED_NAME).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "reason"])
        writer.writerows((entry.path, entry.reason) for entry in skipped)
    if out.exists():
        _check_replaceable(out)  # again: the run may have taken hours
        out.rename(_previous(partial))
    staging.rename(out)
    shutil.rmtree(partial)


def _previous(partial: Path) -> Path:
    """Return where the catalog that is being replaced waits for the moment between two renames."""
    return partial / "previous"


def _recover(out: Path, partial: Path) -> None:
    """Put the old catalog back if a run was killed in that moment."""
    if _previous(partial).is_dir():
        if out.exists():
            shutil.rmtree(_previous(partial))
        else:
            _previous(partial).rename(out)
