#!/usr/bin/env python
"""Build the bundled catalog of free recordings: what was heard in soundtracks of Debian packages, without their sound.

    python scripts/build_free_catalog.py --packages FOLDER

assets/free_recordings.csv names the recordings: package and version of Debian 12, the file in it (stems that belong
together are joined by "|", and mixed), title, composer, how the package states the composer (in a tag, the file's name
or its copyright file), and licence. FOLDER holds the packages as .deb files; one that is missing is downloaded into it
with `apt-get download`. Nothing is installed.

Each recording is listened to once, about a second per minute of music. The recordings stay in FOLDER/audio (for
scripts/evaluate_similar.py), what was heard in FOLDER/heard: the same command goes on after an interruption, and only
hears anew what another version of the listening pass heard.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.audio import SAMPLE_RATE_HZ, load_recording
from hmm2song.catalog import storage
from hmm2song.catalog.facets import Facets
from hmm2song.errors import Hmm2SongError
from hmm2song.hearing.recording import LISTENER, HeardRecording, hear
from hmm2song.script import GOES_ON, main_of, progress, table_rows
from hmm2song.similar.enrich import enriched_songs
from hmm2song.song import Song

ARCHIVE = ".pk3"
"""Archives inside packages; the path of a file in one goes on behind its name."""
STATED_IN = {"tag": "a tag", "file name": "the file's name", "copyright file": "the package's copyright file"}
ROW_COLUMNS = ("id", "package", "version", "path", "title", "composer", "composer_from", "licence")
Row = dict[str, str]


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder of .deb files (2.5 GB)")
    parser.add_argument(
        "--recordings", type=Path, default=ROOT / "assets" / "free_recordings.csv", help="table of the recordings"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "free_catalog", help="catalog folder to write")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Listen to all recordings, and write the catalog."""
    rows = table_rows(options.recordings, *ROW_COLUMNS)
    listen_to_all(rows, options.packages)
    facets = Facets.concatenate([HeardRecording.read(heard_file(options.packages, row)).facets for row in rows])
    songs = enriched_songs([song_of(row) for row in rows], facets)
    write_catalog(options.out, songs, facets)
    sung = int(facets.voice.any(axis=1).sum())
    print(f"{len(songs)} recordings of {len({row['package'] for row in rows})} packages, {sung} of them sung")


def listen_to_all(rows: Sequence[Row], packages: Path) -> None:
    """Unpack and hear what was not heard before, package by package."""
    for folder in (packages / "heard", packages / "audio"):
        folder.mkdir(parents=True, exist_ok=True)
    with progress("listening", "recordings", len(rows)) as show:
        for n_done, row in enumerate(rows):
            show(n_done)
            heard = heard_file(packages, row)
            if heard.is_file():
                continue
            if audio_file(packages, row) is None:
                unpack(packages, [other for other in rows if other["package"] == row["package"]])
            recording = hear(audio_file(packages, row))
            with storage.whole_file(heard) as file:
                recording.write(file)
        show(len(rows))


def heard_file(packages: Path, row: Row) -> Path:
    """Return where it is kept what this version of the listening pass heard in a recording."""
    facts = "\n".join((LISTENER, row["package"], row["version"], row["path"]))
    return packages / "heard" / f"{row['id']}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.safetensors"


def audio_file(packages: Path, row: Row) -> Path | None:
    """Return the recording's file, or None if it has to be unpacked."""
    return next((packages / "audio").glob(f"{row['id']}.*"), None)


def debian_package(folder: Path, package: str, version: str) -> Path:
    """Return the file of a package; it is downloaded if it is not in the folder."""
    file_version = version.replace(":", "%3a")
    found = sorted(folder.glob(f"{package}_{file_version}_*.deb"))
    if not found:
        command = ["apt-get", "download", "-q", f"{package}={version}"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
            raise Hmm2SongError(
                f"package {package} {version} cannot be downloaded: {reason:.200}; run this on Debian 12, or put the "
                f".deb file into {folder}"
            ) from error
        found = sorted(folder.glob(f"{package}_{file_version}_*.deb"))
    if not found:
        raise Hmm2SongError(f"apt-get download left no {package}_{file_version}_*.deb in {folder}")
    return found[0]


def unpack(packages: Path, rows: Sequence[Row]) -> None:
    """Write recordings of one package to the folder ``audio``, each named by its id."""
    deb = debian_package(packages, rows[0]["package"], rows[0]["version"])
    wanted = {path for row in rows for path in row["path"].split("|")}
    archives = {path[: path.index(ARCHIVE) + len(ARCHIVE)] for path in wanted if ARCHIVE in path}
    content: dict[str, bytes] = {}
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as reader,
        tarfile.open(fileobj=reader.stdout, mode="r|") as members,
    ):
        for member in members:
            path = member.name.removeprefix("./")
            if path in wanted:
                content[path] = members.extractfile(member).read()
            elif path in archives:
                with zipfile.ZipFile(io.BytesIO(members.extractfile(member).read())) as archive:
                    inner = {f"{path}/{name}": name for name in archive.namelist()}
                    content |= {path: archive.read(inner[path]) for path in wanted & inner.keys()}
    missing = wanted - content.keys()
    if reader.returncode or missing:
        raise Hmm2SongError(f"{deb.name} is damaged or another version: it lacks {min(missing, default='its end')}")
    for row in rows:
        paths = row["path"].split("|")
        suffix = PurePosixPath(paths[0]).suffix or ".ogg"  # one game leaves it out
        with storage.whole_file(packages / "audio" / f"{row['id']}{suffix if len(paths) == 1 else '.wav'}") as file:
            if len(paths) == 1:
                file.write_bytes(content[paths[0]])
            else:
                soundfile.write(file, mixed([content[path] for path in paths]), SAMPLE_RATE_HZ, "FLOAT", format="WAV")


def mixed(stems: Sequence[bytes]) -> np.ndarray:
    """Return the sum of recordings, mono at 16 kHz."""
    parts = []
    for stem in stems:
        with tempfile.NamedTemporaryFile() as file:
            file.write(stem)
            file.flush()
            parts.append(load_recording(file.name))
    samples = np.zeros(max(map(len, parts)), np.float32)
    for part in parts:
        samples[: len(part)] += part
    return samples


def song_of(row: Row) -> Song:
    """Return the entry of a recording."""
    composer = f"composer as in {STATED_IN[row['composer_from']]}" if row["composer"] else "composer not stated"
    return Song(
        id=row["id"],
        title=row["title"],
        author=row["composer"],
        source=f"Debian package {row['package']} {row['version']}",
        licence=row["licence"],
        credit=f"{row['path'].replace('|', ' and ')}; {composer}",
    )


def write_catalog(folder: Path, songs: Sequence[Song], facets: Facets) -> None:
    """Write a catalog without melodies; it appears, or replaces a former one, only when complete."""
    folder = storage.absolute(folder)
    storage.recover(folder)
    storage.CATALOG.check_replaceable(folder)
    with storage.replacement(folder) as new:
        storage.write_songs(new, songs)
        (new / storage.CREDITS_FILE).write_text(credits_of(songs), encoding="utf-8")
        facets.write(new / storage.FACETS_FILE)
        storage.write_manifest(new, "", len(songs))


def credits_of(songs: Sequence[Song]) -> str:
    """Write where every recording comes from; the path within the package is the song's ``credit``."""
    lines = [
        "# Credits",
        "",
        "What was measured in these recordings, not the recordings: they are in the Debian packages named, under the",
        "licences given, as the packages' copyright files state them.",
    ]
    for source, pieces in groupby(songs, key=lambda song: song.source):
        lines += ["", f"## {source}", ""]
        lines += [f"- **{song.title}**: {song.author or 'composer not stated'}, {song.licence}" for song in pieces]
    return "\n".join(lines) + "\n"


main = main_of(__file__, parse_options, run, when_stopped=GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
