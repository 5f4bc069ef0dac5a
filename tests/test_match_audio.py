"""scripts/match_audio.py: recordings of one's own find their rows, and others do not."""

from __future__ import annotations

import csv
import os
import runpy
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from test_tags import record, record_mp3

from hmm2song.collect.info_csv import COLUMNS, read_info, write_info
from hmm2song.collect.match_files import SURE, Matching, Reading, Track, letters, match, read_track, readings_of_name
from hmm2song.song import safe_relative_path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "match_audio.py"


def row(number: int, title: str, singer: str, **cells: str) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, "") | {"id": str(number), "Title": title, "Singer": singer} | cells


def tagged(path: str, title: str, artist: str) -> Track:
    return Track(path, (Reading(title, artist, "tags"),))


def named(path: str) -> Track:
    return Track(path, tuple(readings_of_name(path)))


def paths(matching: Matching) -> dict[str, str]:
    return {pair.song_id: pair.path for pair in matching.pairs}


# Names --------------------------------------------------------------------------------------------------------


def test_spelling_does_not_count():
    alike = {"That`s OK": "THAT’S  ok!", "눈, 코, 입": "눈 코 입", "Beyoncé": "beyonce", "ＡＢＣ１": "abc1"}
    alike["느린 노래"] = unicodedata.normalize("NFD", "느린 노래")
    assert [*map(letters, alike)] == [*map(letters, alike.values())]
    assert letters("?") != letters("!")


@pytest.mark.parametrize(
    ("path", "title", "artist"),
    [
        ("01. 가나다 - 느린 노래.mp3", "느린 노래", "가나다"),
        ("느린 노래 - 가나다.flac", "느린 노래", "가나다"),
        ("Some_Singer_-_Slow_Song.mp3", "Slow_Song", "Some_Singer"),
        ("가나다/앨범/1-03 느린 노래.m4a", "느린 노래", "가나다, 앨범"),
        ("10 Minutes.mp3", "10 Minutes", ""),
        ("10 Minutes.mp3", "Minutes", ""),
        ("가나다 - 앨범 - 07 - 느린 노래.mp3", "느린 노래", "가나다"),
        ("가나다 - 노래 - Live.mp3", "노래 Live", "가나다"),
        ("slow_song.mp3", "slow song", ""),
    ],
)
def test_names_of_files_are_understood(path, title, artist):
    assert (title, artist) in {(reading.title, reading.artist) for reading in readings_of_name(path)}


def test_tags_are_read(tmp_path):
    other_artist = read_track(record(tmp_path / "느린 노래.flac", title="느린 노래", artist="라마바"), tmp_path)
    assert match([row(1, "느린 노래", "가나다")], [other_artist]).pairs == ()  # tags count more than the name
    track = read_track(record(tmp_path / "a" / "x.flac", title="느린 노래", artist="가나다"), tmp_path)
    assert track == Track("a/x.flac", (Reading("느린 노래", "가나다", "tags"), Reading("x", "a", "folder names")))
    file = record_mp3(tmp_path / "track.mp3", {"TIT2": "느린 노래".encode("cp949"), "TPE1": "가나다".encode("cp949")})
    assert Reading("느린 노래", "가나다", "tags") in read_track(file, tmp_path).readings


def test_broken_files_still_have_a_name(tmp_path):
    for content in (b"", b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + b"\xff" * 50, b"fLaC" + b"\xff" * 50):
        file = tmp_path / "가 - 나.mp3"
        file.write_bytes(content)
        assert Reading("나", "가", "file name") in read_track(file, tmp_path).readings


# Matching -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "singer", "track"),
    [
        ("느린 노래", "가나다 (GANADA)", tagged("x.mp3", "느린 노래", "GANADA")),
        ("느린 노래 (Slow Song)", "가나다", tagged("x.mp3", "Slow Song", "가나다")),
        ("느린 노래 (Feat. 나비 (NABI))", "가나다, 라마바", tagged("x.mp3", "느린 노래 feat. 나비", "라마바")),
        ("느린 노래", "가나다", tagged("x.mp3", "느린노래", "가나다 feat.나비")),
        ("Slow Song", "GANADA", tagged("x.mp3", "SLOW SONG", "Ganada & Nabi")),
        ("느린 노래", "가나다", named(unicodedata.normalize("NFD", "03. 가나다 - 느린 노래.mp3"))),
        ("느린 노래", "가나다", named("느린 노래 - 가나다.mp3")),
        ("느린 노래", "가나다", named("가나다/첫 앨범/05 느린 노래.mp3")),
    ],
)
def test_the_same_song_is_recognised(title, singer, track):
    (pair,) = match([row(1, title, singer)], [track]).pairs
    assert (pair.song_id, pair.path) == ("1", track.path)
    assert pair.is_sure


@pytest.mark.parametrize(
    ("title", "singer", "track"),
    [
        ("아주 느리고 긴 노래", "가나다", tagged("x.mp3", "아주 느리고 간 노래", "가나다")),
        ("Slowly Sung Song", "Somebody Else", tagged("x.mp3", "Slowly Sung Song", "Somebdy Else")),
        ("느린 노래 (2022)", "가나다", tagged("x.mp3", "느린 노래", "가나다")),
        ("느린 노래", "가나다", tagged("x.mp3", "느린 노래", "GANADA")),
        ("느린 노래", "가나다", named("느린 노래.mp3")),
    ],
)
def test_a_doubtful_pair_asks_to_be_checked(title, singer, track):
    (pair,) = match([row(1, title, singer)], [track]).pairs
    assert pair.score < SURE
    assert not pair.is_sure


@pytest.mark.parametrize(
    ("title", "singer", "track"),
    [
        ("느린 노래", "가나다", tagged("x.mp3", "느린 노래", "라마바")),
        ("느린 노래", "태연", tagged("x.mp3", "느린 노래", "태현")),
        ("느린 노래", "가나다", tagged("x.mp3", "느린 노래 (Live)", "가나다")),
        ("느린 노래", "가나다", tagged("x.mp3", "느린 노래 (Inst.)", "가나다")),
        ("느린 노래 (Remix)", "가나다", tagged("x.mp3", "느린 노래", "가나다")),
        ("느린 노래 (Part 1)", "가나다", tagged("x.mp3", "느린 노래 (Part 2)", "가나다")),
        ("느리고 긴 노래 1", "가나다", tagged("x.mp3", "느리고 긴 노래 2", "가나다")),
        ("느린 노래", "가나다", named("라마바 - 느린 노래.mp3")),
        ("느린 노래", "가나다", named("라마바/느린 노래.mp3")),
        ("느린 노래", "가나다", named("느린 노래 (Live).mp3")),
        ("빠른 노래", "가나다", tagged("x.mp3", "느린 노래", "가나다")),
        ("", "가나다", tagged("x.mp3", "느린 노래", "가나다")),
    ],
)
def test_another_song_is_not(title, singer, track):
    matching = match([row(1, title, singer)], [track])
    assert matching.pairs == ()
    assert matching.unused == (track.path,)


def test_everybody_gets_the_best_there_is():
    titles = {1: "노래", 2: "노래 (Slow)", 3: "없는 것"}
    songs = [*(row(number, title, "가나다") for number, title in titles.items()), row(4, "노래", "라마바")]
    files = {"slow.mp3": "노래 (Slow)", "again.mp3": "노래", "once.mp3": "노래"}
    tracks = [tagged(path, title, "가나다") for path, title in files.items()]
    matching = match(songs, tracks)
    assert paths(matching) == {"1": "again.mp3", "2": "slow.mp3"}
    assert matching.unused == ("once.mp3",)
    (near,) = matching.near_misses
    assert (near.song_id, near.how) == ("4", "")
    assert paths(match(songs, [])) == {}


def test_a_title_alone_must_be_the_only_one_of_its_kind_and_a_recording_serves_one_song():
    track = named("노래.mp3")
    assert paths(match([row(1, "노래", "가나다")], [track])) == {"1": "노래.mp3"}
    assert paths(match([row(1, "노래", "가나다"), row(2, "노래", "라마바")], [track])) == {}
    assert paths(match([row(1, "노래", "가나다")], [track, named("02 노래.mp3")])) == {}
    twice = [row(1, "노래", "가나다"), row(2, "노래", "가나다")]
    assert paths(match(twice, [tagged("x.mp3", "노래", "가나다")])) == {"1": "x.mp3"}


# The script ---------------------------------------------------------------------------------------------------


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., int]:
    """Run the script on ``info.csv`` and the folder ``music``, both in the test's folder, or on another table."""
    main = runpy.run_path(str(SCRIPT))["main"]

    def run(table: Path = tmp_path / "info.csv") -> int:
        return main(["--table", str(table), "--music", str(tmp_path / "music")])

    return run


def read_report(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "music" / "match_report.csv").open(encoding="utf-8", newline="") as file:
        return [(line["what"], line["id"], line["path"]) for line in csv.DictReader(file)]


def test_paths_are_filled_and_the_rest_is_reported(tmp_path, fill, capsys):
    apart = unicodedata.normalize("NFD", "라마바 - 두 번째.flac")
    record(tmp_path / "music" / "sub" / "x, 1.flac", title="첫 번째", artist="가나다")
    record(tmp_path / "music" / apart)
    record(tmp_path / "music" / "세 번째.wav")
    record(tmp_path / "music" / "다른 것.flac", title="넷째 (Live)", artist="가나다")
    record(tmp_path / "music" / "a:b.flac", title="다섯째", artist="가나다")
    (tmp_path / "music" / "._hidden.flac").write_bytes(b"")
    (tmp_path / "music" / "cover.jpg").write_bytes(b"")
    rows = [
        row(1, "첫 번째", "가나다", Lyric="a\nb", genre="Dance, Ballad", gender="female", mood="sad"),
        row(2, "두 번째", "라마바", mood=""),
        row(3, "세 번째", "가나다", mood=""),
        row(4, "넷째", "가나다", mood=""),
        row(5, "다섯째", "가나다", mood=""),
    ]
    write_info(tmp_path / "info.csv", rows)
    assert fill() == 0
    filled = read_info(tmp_path / "music" / "info.csv")
    assert [song["path"] for song in filled] == ["sub/x, 1.flac", apart, "세 번째.wav", "", ""]
    assert [song | {"path": ""} for song in filled] == rows
    assert all(safe_relative_path(song["path"]) for song in filled)
    assert all((tmp_path / "music" / song["path"]).exists() for song in filled)
    assert read_report(tmp_path) == [
        ("check", "3", "세 번째.wav"),
        ("no recording, nearest", "4", "다른 것.flac"),
        ("no recording", "5", ""),
        ("unused recording", "", "다른 것.flac"),
        ("unusable file", "", "a:b.flac"),
    ]
    assert read_info(tmp_path / "info.csv") == rows, "the given table is not touched"
    assert "3 of 5 songs have a recording, 1 of them to check; 2 recordings left over" in capsys.readouterr().out


def test_paths_already_there_stay(tmp_path, fill):
    record(tmp_path / "music" / "mine.flac", title="느린 노래", artist="가나다")
    record(tmp_path / "music" / "better.flac", title="빠른 노래", artist="가나다")
    table = tmp_path / "music" / "info.csv"
    write_info(
        table,
        [
            row(1, "빠른 노래", "가나다", path="mine.flac"),
            row(2, "느린 노래", "가나다", path="gone.flac"),
            row(3, "빠른 노래", "가나다 (GANADA)"),
        ],
    )
    assert fill(table) == 0
    assert [song["path"] for song in read_info(table)] == ["mine.flac", "", "better.flac"]
    assert read_report(tmp_path) == [("no recording", "2", "")]


def test_files_that_a_table_cannot_name_are_reported(tmp_path, fill):
    record(tmp_path / "music" / "a.flac")
    (tmp_path / "music" / "loop.flac").symlink_to("loop.flac")
    (tmp_path / "music" / "loop.jpg").symlink_to("loop.jpg")
    unusable = {"loop.flac"}
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "music") + b"/\xb4\xc0.flac")).write_bytes(b"")
        unusable.add("느.flac")  # what its bytes say in CP949
    except OSError:
        pass  # this file system takes UTF-8 names only
    write_info(tmp_path / "info.csv", [row(1, "느린 노래", "가나다")])
    assert fill() == 0
    assert {line[2] for line in read_report(tmp_path) if line[0] == "unusable file"} == unusable


@pytest.mark.parametrize("fault", ["no folder", "no recording", "no table", "other table"])
def test_bad_input_is_one_line(tmp_path, fill, capsys, fault):
    if fault != "no table":
        write_info(tmp_path / "info.csv", [row(1, "느린 노래", "가나다")])
    if fault != "no folder":
        (tmp_path / "music").mkdir()
    if fault in ("no table", "other table"):
        record(tmp_path / "music" / "x.flac")
    if fault == "other table":
        write_info(tmp_path / "music" / "info.csv", [row(2, "내 것", "나")])
    before = sorted(tmp_path.rglob("*"))
    assert fill() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
