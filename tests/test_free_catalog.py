"""The free recordings: from packages to a catalog without melodies, and the table of similar songs measured on it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from heard import made_facets
from script_modules import SCRIPTS, loaded_script, run_script

from hmm2song.catalog import storage
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.hub import assets_folder
from hmm2song.evaluation.baselines.genre_features import FEATURES
from hmm2song.hearing.recording import LISTENER, HeardRecording
from hmm2song.similar.songs import SimilarSongs

HEAD = ("id", "package", "version", "path", "title", "composer", "composer_from", "licence", "duration_s")
ROWS = (
    ("game_theme", "game-data", "1:2-3", "usr/theme.wav", "Theme", "Ann", "tag", "GPL-2+", "1"),
    ("game_boss", "game-data", "1:2-3", "usr/data.pk3/music/boss.wav", "Boss", "", "", "GPL-2+", "1"),
    ("song", "song", "1", "a/song.wav|a/guitar.wav", "Song", "Ben & Ann", "file name", "CC-BY-3.0", "1"),
)


def sound(level: float, n: int = 800) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.full(n, level), 16000, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture
def packages(tmp_path, monkeypatch) -> Path:
    """Make packages and a table; the packages are plain archives, and so is what unpacks them."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("music/boss.wav", sound(0.2))
    contents = {
        "game-data_1%3a2-3_all.deb": {"usr/theme.wav": sound(0.1), "usr/data.pk3": archive.getvalue()},
        "song_1_all.deb": {"a/song.wav": sound(0.25), "a/guitar.wav": sound(0.5, 400), "a/readme": b"?"},
    }
    for deb, files in contents.items():
        with tarfile.open(tmp_path / deb, "w") as members:
            for name, content in files.items():
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(content)
                members.addfile(member, io.BytesIO(content))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dpkg-deb").write_text('#!/bin/sh\nexec /bin/cat "$2"\n')
    (tools / "dpkg-deb").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEAD, *ROWS])
    return tmp_path


def build(packages: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[np.ndarray]]:
    """Build the catalog; return the exit status and the recordings that were listened to."""
    listened = []
    with loaded_script("build_free_catalog") as script:

        def hear(file: Path) -> HeardRecording:
            listened.append(script.load_recording(file))
            return HeardRecording(made_facets(1, seed=len(listened)))

        monkeypatch.setattr(script, "hear", hear)
        options = ("--packages", packages, "--recordings", packages / "table.csv", "--out", packages / "catalog")
        return script.main([*map(str, options)]), listened


def test_recordings_become_a_catalog_without_melodies(packages, monkeypatch):
    status, listened = build(packages, monkeypatch)
    assert status == 0
    assert [each.max() for each in listened] == pytest.approx([0.1, 0.2, 0.75], abs=0.01)  # the stems are mixed
    catalog = packages / "catalog"
    assert {path.name for path in catalog.iterdir()} == {
        storage.SONGS_FILE, storage.FACETS_FILE, storage.CREDITS_FILE, storage.MANIFEST_FILE
    }  # fmt: skip
    songs = SimilarSongs.load(catalog).songs
    assert [(song.id, song.author, song.licence) for song in songs] == [(row[0], row[5], row[7]) for row in ROWS]
    credits = (catalog / storage.CREDITS_FILE).read_text(encoding="utf-8")
    assert "## Debian package game-data 1:2-3\n" in credits and "GPL-2+" in credits and "composer not stated" in credits
    before = {path.name: path.read_bytes() for path in catalog.iterdir()}
    assert build(packages, monkeypatch) == (0, [])  # what was heard is kept
    assert {path.name: path.read_bytes() for path in catalog.iterdir()} == before


def test_another_version_of_a_package_is_refused(packages, monkeypatch, capsys):
    (packages / "song_1_all.deb").rename(packages / "song_2_all.deb")
    status, listened = build(packages, monkeypatch)
    assert (status, len(listened)) == (2, 2)
    assert "package song 1 cannot be downloaded" in capsys.readouterr().err
    (packages / "game-data_1%3a2-3_all.deb").rename(packages / "song_1_all.deb")
    assert build(packages, monkeypatch) == (2, [])
    assert "song_1_all.deb is damaged or another version: it lacks a/" in capsys.readouterr().err


def test_the_bundled_recordings_are_those_of_the_table_as_they_are_heard_today():
    folder = assets_folder() / "free_catalog"
    songs, facets = SimilarSongs.load(folder), Facets.load(folder)
    with (SCRIPTS.parent / "assets" / "free_recordings.csv").open(newline="", encoding="utf-8") as file:
        assert [song.id for song in songs.songs] == [row["id"] for row in csv.DictReader(file)]
    assert len(songs) >= 300 and facets.heard.all() and facets.listener == LISTENER
    assert all(song.title and song.source and song.licence and song.credit for song in songs.songs)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2100 * len(songs)
    assert songs.facets["melody"] and not any(songs.facets[facet] for facet in ("voice", "style", "feel"))


def test_precision_counts_what_is_alike_among_the_nearest():
    place = np.array([0.0, 1, 2, 3, 4, 5, 100, 101])
    alike = np.zeros((8, 8), bool)
    alike[:2, :2] = alike[6:, 6:] = True
    np.fill_diagonal(alike, False)
    distance = np.abs(place[:, None] - place)
    nobody, query = np.zeros((8, 8), bool), np.arange(8) == 0
    with loaded_script("evaluate_similar") as script:
        assert script.precision(distance, alike, nobody, query).value == pytest.approx(1 / 5)
        left_out = nobody | (np.arange(8) > 2)  # two others remain, and one of them is alike
        assert script.precision(distance, alike, left_out, query).value == pytest.approx(1 / 2)
        assert np.isnan(script.precision(distance, alike, alike, query).value)  # there is nothing to find
        hub = np.abs(np.arange(8) - np.arange(8)[:, None]) + 10.0
        hub[:, 0] = 1
        assert script.hub_skew(hub) > script.hub_skew(np.roll(hub, 1, axis=0) * 0 + distance)


def test_the_table_has_a_row_for_every_method(tmp_path, capsys, write_free_catalog):
    ids = write_free_catalog(tmp_path / "catalog")
    rivals = {"ids": ids[::-1], "methods": {"other": {"seconds_per_song": 0.5, "distance": np.eye(len(ids)).tolist()}}}
    (tmp_path / "rivals.json").write_text(json.dumps(rivals))
    options = ("--catalog", tmp_path / "catalog", "--rivals", tmp_path / "rivals.json", "--json", tmp_path / "out.json")
    assert run_script("evaluate_similar", *options) == 0
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "out.json").read_text())
    names = [each["name"] for each in figures["methods"]]
    vectors = ["random", "loudness alone", "MFCC", "MusiCNN", "0.7 MusiCNN + 0.3 MFCC", "ours, style", "ours, feel"]
    assert names == [*vectors, "other"]
    assert all(f"| {name} |" in printed for name in names)
    assert figures["n_queries"] == 9 and figures["ceiling"] == pytest.approx(2 / 5)


def test_genres_stand_in_the_same_table(tmp_path, write_free_catalog):
    pytest.importorskip("xgboost")
    write_free_catalog(tmp_path / "catalog")
    rng, genre = np.random.default_rng(0), np.arange(90) % 3
    features = np.abs(rng.normal(genre[:, None] + 1, 0.5, (90, len(FEATURES))))
    with (tmp_path / "features.csv").open("w", newline="") as table, (tmp_path / "folds.csv").open("w") as folds:
        writer = csv.writer(table)
        writer.writerow(["filename", "length", *FEATURES, "label"])
        writer.writerows([f"{n}.wav", 1, *row, f"genre {genre[n]}"] for n, row in enumerate(features.tolist()))
        folds.write("filename,fold,artist_group\n")
        folds.writelines(f"{n}.wav,{n // 3 % 3},{n // 3}\n" for n in range(90))
    options = ("--catalog", "catalog", "--features", "features.csv", "--folds", "folds.csv", "--json", "out.json")
    command = [sys.executable, SCRIPTS / "evaluate.py", "similar", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    genres = {each["name"]: each for each in json.loads((tmp_path / "out.json").read_text())["genres"]}
    assert genres["S5, scaled"]["by_artist"]["value"] > 0.5 and "genre predicted: S5: XGBoost" in genres
    assert "| genre, other artists |" in done.stdout and "not measured without --hums: singers" in done.stdout
    assert len({line.count("|") for line in done.stdout.splitlines() if line.startswith("|")}) == 1
    assert run_script("evaluate_similar", "--features", tmp_path) == 2


def test_what_cannot_be_measured_is_told(tmp_path, capsys, write_free_catalog):
    ids = write_free_catalog(tmp_path / "catalog", composers=12)
    assert run_script("evaluate_similar", "--catalog", tmp_path / "catalog") == 2
    assert "no composer of 3 recordings" in capsys.readouterr().err
    write_free_catalog(tmp_path / "catalog")
    (tmp_path / "rivals.json").write_text(json.dumps({"ids": ids[1:], "methods": {}}))
    for extra, message in (
        (("--rivals", tmp_path / "rivals.json"), "make it with scripts/studies/measure_rivals.py"),
        (("--audio", tmp_path / "audio"), f"lacks {ids[0]}"),
    ):
        assert run_script("evaluate_similar", "--catalog", tmp_path / "catalog", *extra) == 2
        assert message in capsys.readouterr().err


@pytest.fixture
def write_free_catalog():
    """Return a function that writes a catalog of 12 recordings, every composer with the same number of them."""
    from hmm2song.song import Song

    def write(folder: Path, composers: int = 4) -> list[str]:
        facets = made_facets(18).take(np.flatnonzero(np.arange(18) % 3 != 2))
        songs = [
            Song(f"s{n}", "Title", author=f"composer {n % composers}" if n % 4 or composers > 4 else "",
                 source=f"Debian package p{n % 2} 1")
            for n in range(12)
        ]  # fmt: skip
        with loaded_script("build_free_catalog") as script:
            script.write_catalog(folder, songs, facets)
        return [song.id for song in songs]

    return write
