"""What scripts do alike: a table that lacks a column is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from script_modules import run_script


@pytest.mark.parametrize(
    ("script", "options", "columns"),
    [
        ("studies/measure_genres", ("--recordings", "speakers.csv"), "file,genre,artist"),
        ("train_labels", ("--speakers", ".", "--music", ".", "--catalog", ".", "--out", "out"), "file,gender,speaker"),
    ],
)
def test_a_table_without_a_column_is_refused(
    script: str, options: tuple[str, ...], columns: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speakers.csv").write_text("file,speaker\na.wav,b\n", encoding="utf-8")
    assert run_script(script, *options) == 2
    assert f"speakers.csv needs the columns {columns} and at least one row" in capsys.readouterr().err
