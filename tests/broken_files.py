"""Files broken in some thirty ways, for tests of indexing: truncated, mislabelled, hours of silence in a few bytes, ...

Each maker gets a path without suffix and a random generator, and returns the path that it made.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from test_indexing import sung

RATE_HZ = 16000
BOMB_S, BOMB_RATE_HZ = 7200, 4000


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
