"""measure_stages.py: every stage is timed once, without the stages that it calls."""

from __future__ import annotations

import json
import time

from script_modules import loaded_script


def spend(seconds: float) -> None:
    until_s = time.process_time() + seconds
    while time.process_time() < until_s:
        pass


def test_a_stage_is_timed_without_those_it_calls(catalog, tmp_path, monkeypatch):
    (tmp_path / "hums.csv").write_text(f"file,song_id\n{catalog.hum_path},{catalog.songs[0].id}\n")
    with loaded_script("measure_stages") as script:
        stopwatch = script.Stopwatch()
        inner = stopwatch.wrapped(lambda: spend(0.05), "inner")
        stopwatch.wrapped(lambda: (inner(), spend(0.01)), "outer")()
        assert stopwatch.spent_s["inner"] >= 0.05 > stopwatch.spent_s["outer"] >= 0.01
        for owner, name in script.STAGES:
            monkeypatch.setattr(owner, name, getattr(owner, name))  # put back what the script wraps
        options = ("--queries", tmp_path / "hums.csv", "--catalog", catalog.folder, "--json", tmp_path / "out.json")
        assert script.main([str(option) for option in options]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["n"] == 1
    assert {"all", "recognizer.track_pitch", "MelodySearch._place_coarsely", "the rest"} <= figures["seconds"].keys()
