"""Tags of recordings: what they say, and what strangers may have written into them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hmm2song.indexing.tags import MAX_TAG_CHARS, Tags, artist_and_title, read_tags, song_fields

SAMPLE_RATE_HZ = 16000


def record(file: Path, **tags: str) -> Path:
    """Write a tenth of a second of silence, with tags that libsndfile knows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(file, "w", SAMPLE_RATE_HZ, 1) as sound:
        for name, text in tags.items():
            setattr(sound, name, text)
        sound.write(np.zeros(SAMPLE_RATE_HZ // 10))
    return file


def record_mp3(file: Path, frames: dict[str, bytes]) -> Path:
    """Write an MP3 file that is all tag: ID3 2.3, text declared as Latin-1."""
    body = b"".join(
        name.encode() + struct.pack(">IH", len(text) + 1, 0) + b"\0" + text for name, text in frames.items()
    )
    size = bytes((len(body) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    file.write_bytes(b"ID3\x03\0\0" + size + body + b"\xff\xfb\x90\0" + bytes(500))
    return file


def test_tags_of_a_recording(tmp_path):
    file = record(
        tmp_path / "a.flac", title="Gap-ja!", artist="Kim", genre="Trot; Dance/Trot", date="2003-05-12",
        copyright="(C) 2003 Kim", license="CC BY 4.0",
    )  # fmt: skip
    assert read_tags(file) == Tags("Gap-ja!", "Kim", "Trot, Dance", "2003", "(C) 2003 Kim", "CC BY 4.0")


def test_a_comment_that_states_a_licence_is_one(tmp_path):
    free = record(tmp_path / "free.flac", comment="Licensed to the public under creativecommons.org/licenses/by/3.0")
    chat = record(tmp_path / "chat.flac", comment="ripped with my favourite program")
    assert read_tags(free).licence.startswith("Licensed to the public")
    assert read_tags(chat) == Tags()


def test_korean_in_the_wrong_encoding(tmp_path):
    file = record_mp3(tmp_path / "k.mp3", {"TIT2": "좋은 날".encode("cp949"), "TPE1": "아이유".encode("cp949")})
    assert (read_tags(file).title, read_tags(file).artist) == ("좋은 날", "아이유")


def test_the_album_artist_stands_in(tmp_path):
    file = record_mp3(tmp_path / "a.mp3", {"TPE1": b"Unknown Artist", "TPE2": b"Band", "TIT2": b"Track 07"})
    assert (read_tags(file).title, read_tags(file).artist) == ("", "Band")
    various = record_mp3(tmp_path / "v.mp3", {"TPE2": b"Various Artists", "TIT2": b"Song"})
    assert read_tags(various).artist == ""


def test_hostile_tags_are_cut_and_cleaned(tmp_path):
    title = "A\x1b[2J\u202egnp\u200b.exe\n\n" + "x" * 1_000_000
    file = record(tmp_path / "a.flac", title=title, artist="e\u0301", genre=",".join(f"g{n}" for n in range(1000)))
    tags = read_tags(file)
    assert tags.title.startswith("A[2Jgnp.exe xxx") and len(tags.title) == MAX_TAG_CHARS
    assert tags.artist == "\u00e9"
    assert len(tags.genre.split(",")) == 5


@pytest.mark.parametrize(
    "content",
    [b"", b"ID3", b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + b"TIT2" + b"\xff" * 40, b"fLaC\x84\xff\xff\xff", b"OggS" * 9,
     b"\0\0\0\x20ftypM4A " + b"\xff" * 64, b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\xff\xffINFOINAM\xff\xff\xff\xff"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".m4a", ".wav"])
def test_damaged_tags_are_as_good_as_none(tmp_path, content, suffix):
    file = tmp_path / f"Singer - Song{suffix}"
    file.write_bytes(content)
    assert read_tags(file) == Tags()
    assert song_fields(file, file.name)["title"] == "Song"


def test_missing_file_has_no_tags(tmp_path):
    assert read_tags(tmp_path / "gone.mp3") == Tags()


@pytest.mark.parametrize(
    ("name", "artist", "title"),
    [
        ("Kim - Song.mp3", "Kim", "Song"),
        ("album/01. Kim - Song.mp3", "Kim", "Song"),
        ("1-07 Song.flac", "", "1-07 Song"),
        ("07 Song.flac", "", "Song"),
        ("99 Luftballons.mp3", "", "99 Luftballons"),
        ("9.99.mp3", "", "9.99"),
        ("Dead_Poets_-_I.ogg", "Dead Poets", "I"),
        ("Kim – 좋은 날 - live.m4a", "Kim", "좋은 날 - live"),
        ("a/b/hum.wav", "", "hum"),
        ("12. - .mp3", "", "12. -"),
    ],
)
def test_names(name, artist, title):
    assert artist_and_title(name) == (artist, title)


def test_what_tags_lack_comes_from_the_name(tmp_path):
    file = record(tmp_path / "Kim - Name.flac", title="Tag")
    fields = song_fields(file, "folder/Kim - Name.flac")
    assert (fields["title"], fields["singer"], fields["genre"]) == ("Tag", "Kim", "")
