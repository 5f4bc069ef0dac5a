"""hmm2song/queries.py: the tables of hums that every evaluation reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from script_modules import loaded_script

from hmm2song.errors import Hmm2SongError
from hmm2song.queries import Query, read_queries


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "queries.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_as_spreadsheets_write_them(tmp_path: Path):
    path = table(tmp_path, "\ufeffyear,song_id,file,singer\r\n1,a | b|,x/1.wav, kim \r\n2,c, 2.wav\r\n")
    assert read_queries(path) == [
        Query(tmp_path / "x/1.wav", "x/1.wav", ("a", "b"), "kim"),
        Query(tmp_path / "2.wav", "2.wav", ("c",), ""),
    ]


def test_the_singer_need_not_be_known(tmp_path: Path):
    assert read_queries(table(tmp_path, "file,song_id\n1.wav,a\n"))[0].singer == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "at least one row"),
        ("file,song_id\n", "at least one row"),
        ("file,title\n1.wav,a\n", "the columns file,song_id"),
        ("file,song_id\n1.wav\n", "row 1: file or song_id is empty"),
        ("file,song_id\n1.wav,a\n,b\n", "row 2: file or song_id is empty"),
        ("file,song_id\n1.wav,|\n", "row 1: file or song_id is empty"),
        (b"file,song_id\n\xff\xfe,a\n", "not a CSV in UTF-8"),
        ("file,song_id\n" + "x" * 200_000 + ",a\n", "not a CSV in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(tmp_path: Path, content: str | bytes, message: str):
    with pytest.raises(Hmm2SongError, match=message):
        read_queries(table(tmp_path, content))


def test_a_missing_table_is_explained(tmp_path: Path):
    with pytest.raises(Hmm2SongError, match=r"none\.csv: No such file or directory; give the CSV of queries"):
        read_queries(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "options"),
    [("ablate", ["--model", "model"]), ("fit_confidence", []), ("evaluate", [])],
)
def test_scripts_say_it_in_a_line(
    name: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    songs = tmp_path / "songs.jsonl"
    songs.write_text('{"id": "a", "notes": [[0, 1, 60], [1, 1, 64], [2, 1, 62]]}\n')
    command = [name, "--queries", tmp_path / "none.csv", "--songs", songs, *options]
    monkeypatch.setattr("sys.argv", [str(part) for part in command])
    with loaded_script(name) as script:
        assert script.main() == 2
    assert capsys.readouterr().err.startswith(f"{name}.py: {tmp_path / 'none.csv'}: No such file")
