#!/usr/bin/env python
"""Index a folder of good and broken files made here, and check that exactly the good ones are in the catalog.

    python scripts/studies/check_index.py --good 900 --broken 100 --workers 2

The good files are small scores and sung recordings. The others are broken in some thirty ways: truncated, empty,
mislabelled, hours of silence in a few bytes, NaN, no channels, absurd headers, folders and pipes named like recordings,
links out of the folder and in circles, no permission to read. All files are in a temporary folder, which is deleted.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import random
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.catalog.hub import default_encoder
from hmm2song.errors import Hmm2SongError
from hmm2song.indexing.build import index
from hmm2song.indexing.report import IndexReport
from hmm2song.script import main_of

RATE_HZ = 16000
RECORDING_EVERY = 20
"""One good file in so many is a recording; the others are scores, which are read much faster."""
BOMB_S, BOMB_RATE_HZ = 7200, 4000


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--good", type=int, default=900, metavar="N", help="good files (default 900)")
    parser.add_argument("--broken", type=int, default=100, metavar="N", help="broken files (default 100)")
    parser.add_argument("--workers", type=int, metavar="N", help="files read at the same time (default: one per core)")
    options = parser.parse_args(arguments)
    if options.good < 1 or options.broken < 0:
        parser.error("there must be at least one good file, and no negative number of broken ones")
    return options


def run(options: argparse.Namespace) -> None:
    """Check in a temporary folder, and print the reasons given."""
    with tempfile.TemporaryDirectory(prefix="hmm2song-check-") as folder:
        report = check(Path(folder), options.good, options.broken, options.workers)
    for skipped in report.skipped:
        print(f"  {skipped.path!r}: {skipped.reason!r}")
    print(f"{report.indexed} indexed, {len(report.skipped)} listed with reasons; as it should be")


def check(folder: Path, n_good: int, n_broken: int, workers: int | None) -> IndexReport:
    """Make the files, index them, and compare.

    Raises
    ------
    Hmm2SongError
        A good file is not in the catalog, or a broken one is not listed once.
    """
    music = folder / "music"
    music.mkdir(parents=True)
    good = {make_good(music, number) for number in range(n_good)}
    makers = [MAKERS[number % len(MAKERS)] for number in range(n_broken)]
    broken = [make(music / f"broken-{number:03d}", random.Random(number)) for number, make in enumerate(makers)]
    with tqdm(total=n_good + n_broken, desc="reading", file=sys.stderr, disable=None) as bar:

        def show(step: str, done: int, _: int) -> None:
            if step == "read":
                bar.update(done - bar.n)

        report = index(music, folder / "catalog", default_encoder(), workers, show)
    indexed = {song.id for song in report.catalog.songs}
    listed = sorted(skipped.path for skipped in report.skipped)
    expected = sorted(os.fsencode(path.name).decode("utf-8", "replace") for path in broken)
    if indexed != good:
        raise Hmm2SongError(f"not as made: {sorted(indexed ^ good)[:5]} of {n_good} good files")
    if listed != expected:
        raise Hmm2SongError(f"not as made: {sorted(set(listed) ^ set(expected))[:5]} of {n_broken} broken files")
    if not all(skipped.reason.strip() for skipped in report.skipped):
        raise Hmm2SongError("a broken file is listed without a reason")
    return report


def make_good(folder: Path, number: int) -> str:
    """Write a good file; return the id its song will have."""
    rng = random.Random(number)
    name = f"good-{number:04d}"
    if number % RECORDING_EVERY == 0:
        soundfile.write(folder / f"{name}.wav", sung([rng.randint(55, 70) for _ in range(8)]), RATE_HZ)
    else:
        notes = " ".join(rng.choice("CDEFGABcde") for _ in range(16))
        (folder / f"{name}.abc").write_text(f"X:1\nT:{name}\nL:1/4\nQ:1/4=120\nK:C\n{notes}|\n")
    return name


def sung(pitches_midi: list[int], note_s: float = 0.35) -> np.ndarray:
    """Sing notes as a harmonic tone: (n,) float32 at 16 kHz."""
    f0_hz = np.repeat(440.0 * 2 ** ((np.array(pitches_midi) - 69) / 12), int(note_s * RATE_HZ))
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ
    return (0.2 * sum(np.sin(harmonic * phase) / harmonic for harmonic in (1, 2, 3))).astype(np.float32)


# Broken files: each maker gets a path without suffix, and returns the path it made ---------------------------

Maker = Callable[[Path, random.Random], Path]


def content(suffix: str, make: Callable[[random.Random], bytes]) -> Maker:
    """Return a maker of files with some content."""

    def write(path: Path, rng: random.Random) -> Path:
        file = path.with_name(path.name + suffix)
        file.write_bytes(make(rng))
        return file

    return write


def wav_header(
    n_bytes: int, channels: int = 1, rate_hz: int = RATE_HZ, bits: int = 16, claimed: int | None = None
) -> bytes:
    """Return a RIFF header and ``n_bytes`` of silence after it."""
    size = n_bytes if claimed is None else claimed
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, (rate_hz * block) & 0xFFFFFFFF, block & 0xFFFF, bits)
    riff = b"RIFF" + struct.pack("<I", min(36 + size, 0xFFFFFFFF)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return riff + b"data" + struct.pack("<I", size) + bytes(n_bytes)


def sound_file(samples: np.ndarray, rate_hz: int = RATE_HZ, **kind: str) -> bytes:
    """Return samples as a sound file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, **kind)
    return file.getvalue()


def with_nan(rng: random.Random) -> bytes:
    """Return a good recording with samples that are not numbers."""
    samples = sung([60, 62, 64, 65, 67])
    samples[rng.randrange(len(samples))] = np.nan
    return sound_file(samples, format="WAV", subtype="FLOAT")


def cut(whole: bytes, rng: random.Random) -> bytes:
    """Return the first bytes of a file, too few to hold anything."""
    return whole[: rng.randint(5, 40)]


def zip_bomb(_: random.Random) -> bytes:
    """Return a compressed score that unpacks to a hundred megabytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "META-INF/container.xml", '<container><rootfiles><rootfile full-path="s.xml"/></rootfiles></container>'
        )
        archive.writestr("s.xml", b"<x>" + bytes(100 * 2**20))
    return file.getvalue()


def folder_named_like_a_recording(path: Path, _: random.Random) -> Path:
    """Make a folder whose name ends like that of a recording."""
    made = path.with_suffix(".mp3")
    made.mkdir()
    return made


def pipe(path: Path, _: random.Random) -> Path:
    """Make a pipe, which would block whoever opens it."""
    os.mkfifo(path.with_suffix(".wav"))
    return path.with_suffix(".wav")


def link_out(path: Path, _: random.Random) -> Path:
    """Make a link to a good file outside the folder."""
    secret = path.parent.parent / f"secret-{path.name}.wav"
    soundfile.write(secret, sung([60, 62, 64, 65, 67]), RATE_HZ)
    path.with_suffix(".wav").symlink_to(secret)
    return path.with_suffix(".wav")


def link_in_circles(path: Path, _: random.Random) -> Path:
    """Make a link to itself."""
    path.with_suffix(".flac").symlink_to(path.with_suffix(".flac").name)
    return path.with_suffix(".flac")


def link_to_nothing(path: Path, _: random.Random) -> Path:
    """Make a link to a file that is gone."""
    path.with_suffix(".ogg").symlink_to("gone.ogg")
    return path.with_suffix(".ogg")


def not_permitted(path: Path, rng: random.Random) -> Path:
    """Make a file that may not be read; for root, who may read all, one that is no sound."""
    file = content(".wav", lambda _: wav_header(0))(path, rng)
    file.chmod(0o000)
    return file


def name_not_utf8(path: Path, rng: random.Random) -> Path:
    """Make a broken file whose name is not UTF-8."""
    file = Path(os.fsdecode(os.fsencode(path) + b"-\xff\xfe.mid"))
    file.write_bytes(b"MThd" + rng.randbytes(20))
    return file


ENTITIES = b"<!ENTITY a 'aaaaaaaaaa'>" + b"".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>".encode() for n in range(9)
)
MAKERS: list[Maker] = [
    content(".wav", lambda rng: cut(sound_file(sung([60, 62]), format="WAV"), rng)),
    content(".mp3", lambda _: b""),
    content(".mp3", lambda rng: f"These are words, not sound: {rng.random()}".encode()),
    content(".wav", lambda rng: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + rng.randbytes(900)),
    content(".wav", with_nan),
    content(".wav", lambda rng: wav_header(rng.randint(2000, 9000), channels=0)),
    content(".wav", lambda rng: wav_header(100 + rng.randrange(9), claimed=0xFFFFFFFF)),
    content(".flac", lambda _: sound_file(np.zeros(BOMB_S * BOMB_RATE_HZ, np.int16), BOMB_RATE_HZ, format="FLAC")),
    content(".flac", lambda rng: sound_file(np.zeros(rng.randint(20, 40) * RATE_HZ, np.int16), format="FLAC")),
    folder_named_like_a_recording,
    link_to_nothing,
    link_in_circles,
    link_out,
    not_permitted,
    pipe,
    name_not_utf8,
    content(".mid", lambda rng: b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x00\x60MTrk\x00\x00\x00\x09" + rng.randbytes(3)),
    content(".abc", lambda rng: f"% no tune here, only {rng.random()}".encode()),
    content(".jsonl", lambda rng: b'{"id": "x", "notes": [[0, 1, ' + str(rng.random()).encode()),
    content(".musicxml", lambda _: b"<?xml version='1.0'?><!DOCTYPE x [" + ENTITIES + b"]><x>&j;</x>"),
    content(".mxl", zip_bomb),
    content(".jsonl.gz", lambda rng: gzip.compress(rng.randbytes(500))[:-200]),
    content(".f0.csv", lambda rng: f"time_s,f0_hz\n0.0,{rng.random()}\nnow,high\n".encode()),
    content(".wav", lambda rng: sound_file(sung([60 + rng.randrange(9)]), format="WAV")),
    content(".m4a", lambda rng: b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00" + rng.randbytes(60)),
    content(".wav", lambda rng: wav_header(40_000 + rng.randrange(9), rate_hz=1)),
    content(".wav", lambda rng: wav_header(2_000 * rng.randint(10, 20), channels=1000)),
    content(".ogg", lambda rng: cut(sound_file(sung([60, 62]), format="OGG"), rng)),
    content(".webm", lambda rng: b"\x1a\x45\xdf\xa3" + rng.randbytes(500)),
    content(".opus", lambda rng: b"OggS\x00\x02" + bytes(21) + rng.randbytes(500)),
]


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
