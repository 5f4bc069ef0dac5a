"""Every file of a folder is accounted for, whatever lies in it, and every tune of a file."""

import json
import os

import pytest
from midi_files import midi_file, midi_track, off, on

from hmm2song.__main__ import main
from hmm2song.audio import AUDIO_SUFFIXES
from hmm2song.catalog.hub import default_encoder
from hmm2song.errors import CatalogError
from hmm2song.indexing.build import index
from hmm2song.indexing.edit import add
from hmm2song.indexing.sources import ARCHIVES, HIDDEN, UNREADABLE_NOTES, UNREADABLE_SOUND
from hmm2song.melody.scores import SCORE_SUFFIXES

MUSIC = (*AUDIO_SUFFIXES, *SCORE_SUFFIXES, *UNREADABLE_SOUND, *UNREADABLE_NOTES)
OTHERS = (".txt", ".jpg", ".pdf", ".json", ".py", ".lrc", ".m3u", ".cue", ".csv", "", ".")
TUNE = midi_file(midi_track(*(event for pitch in range(60, 72) for event in ((0, on(pitch)), (240, off(pitch))))))
BOOK = "X:1\nK:C\nCDEF GABc|\n\nX:2\nT:No key\nCDEF|\n\nX:3\nK:C\ncBAG FEDC|\n"


def write(folder, name, content=b""):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@pytest.fixture
def odd_folder(tmp_path):
    """Return a folder of some 300 files, most of which are not what their name says."""
    folder = tmp_path / "odd"
    for suffix in (*MUSIC, *ARCHIVES, *OTHERS):
        write(folder, f"empty{suffix}")
        write(folder, f"wrong/UPPER{suffix.upper()}", b"\0\1PK\3\4 not what it seems")
        write(folder, f"wrong/midi{suffix}", TUNE)
    for name in (
        "good.mid",
        "deep/" * 20 + "good.mid",
        "노래 🎵.mid",
        "a" * 240 + ".mid",
        "line\nbreak.kar",
        "a;b.rmi",
    ):
        write(folder, name, TUNE)
    write(folder, "cut.mid", TUNE[:-9])
    write(folder, "book.abc", BOOK.encode())
    write(folder, "all broken.abc", BOOK.replace("K:", "k:").encode())
    for name in (".hidden.mid", ".cache/song.mp3", ".cache/deeper/x", ".DS_Store", "._good.mid", "sub/.git/config"):
        write(folder, name)
    os.makedirs(folder / "folder.mid")
    write(folder, "folder.wav/inside.txt")
    (folder / "link.mid").symlink_to(folder / "good.mid")
    (folder / "out.mid").symlink_to("/etc/hostname")
    (folder / "gone.mp3").symlink_to(folder / "nothing")
    (folder / "gone.txt").symlink_to(folder / "nothing")
    (folder / "round.abc").symlink_to(folder / "round.abc")
    (folder / "sub" / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.csv")
    with open(os.fsencode(folder) + b"/bytes \xff\xfe.mid", "wb") as file:
        file.write(TUNE)
    write(folder, "locked/song.mid", TUNE)
    write(folder, "locked.mid", TUNE)
    (folder / "locked.mid").chmod(0)
    return folder


def files_in(folder):
    return sum(len(names) for _, _, names in os.walk(folder))


def test_every_file_is_accounted_for(odd_folder, tmp_path):
    report = index(odd_folder, tmp_path / "out", default_encoder(), workers=1)
    files = report.files
    assert files.total == files_in(odd_folder) > 300
    assert files.indexed + files.skipped + files.not_music == files.total and files.unaccounted == 0
    reasons = {entry.path: entry.reason for entry in report.skipped}
    assert all(reasons.values())
    assert reasons[".hidden.mid"] == reasons[".cache/song.mp3"] == HIDDEN
    assert "._good.mid" not in reasons and "sub/.git/config" not in reasons
    assert {"folder.mid", "folder.wav", "out.mid", "gone.mp3", "round.abc", "pipe.csv"} <= set(reasons)
    for suffix in (*MUSIC, *ARCHIVES):
        if suffix not in (".txt", ".csv"):
            assert {f"empty{suffix}", f"wrong/UPPER{suffix.upper()}"} <= set(reasons), suffix
    read = {song.id for song in report.catalog.songs}
    assert {"good", "book-1", "book-3", "cut"} <= read
    warned = {warning.path: warning.warnings for warning in report.warned}
    assert warned["cut.mid"] == ("track 1 ends without its last event; its rest is lost",)
    of_broken = [entry.reason for entry in report.skipped if entry.path == "all broken.abc"]
    assert [reason.partition(":")[0] for reason in of_broken] == ["tune 1", "tune 2", "tune 3"]
    n_tunes_skipped = sum(entry.is_file for entry in report.skipped) - files.skipped
    assert report.tunes.indexed == len(report.catalog) == files.indexed + 1
    assert n_tunes_skipped == 3  # one of the book, and of the broken book two more than the file
    again = index(odd_folder, tmp_path / "out", default_encoder(), workers=1)
    assert (again.files, again.tunes) == (files, report.tunes)


def test_the_accounts_are_printed(tmp_path, capsys):
    folder = tmp_path / "music"
    contents = {"a.mid": TUNE, "b.mid": TUNE[:-9], "c.abc": BOOK.encode(), "d.zip": b"", "e.jpg": b""}
    for name, content in contents.items():
        write(folder, name, content)
    command = ["index", str(folder), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        "5 files: 3 indexed (2 with warnings), 1 skipped, 1 not music",
        "5 tunes in them: 4 indexed (1 with warnings), 1 skipped",
    ]
    assert main([*command, "--json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert as_json["files"] == {
        "total": 5, "indexed": 3, "with_warnings": 2, "skipped": 1, "not_music": 1, "unit": "file", "unaccounted": 0,
    }  # fmt: skip
    assert as_json["tunes"] == {"total": 5, "indexed": 4, "with_warnings": 1, "skipped": 1}
    assert [entry["path"] for entry in as_json["skipped"]] == ["d.zip", "c.abc"]
    added = add(tmp_path / "out", [folder / "a.mid", folder], default_encoder())
    assert added.to_dict()["files"]["total"] == 6
    rows = ("a.mid,Once, more", "c.abc,Book,,", "gone.mid,Gone", 300 * "x" + ".mid,Too long")
    write(folder, "songs.csv", "\n".join(["path,Title", *rows]).encode())
    added = add(tmp_path / "out", [folder / "songs.csv"], default_encoder())
    assert str(added.read.files) == "4 rows: 1 indexed (1 with warnings), 3 skipped"
    assert "line 2: 3 cells for 2 columns" in added.read.warned[0].warnings[0]


def test_nothing_found_is_accounted_for_too(tmp_path):
    write(tmp_path / "music", "a.zip")
    write(tmp_path / "music", "b.txt")
    with pytest.raises(CatalogError, match=r"2 files: 0 indexed, 1 skipped, 1 not music; a\.zip: \.zip archives"):
        index(tmp_path / "music", tmp_path / "out", default_encoder())
