"""The match is played from the user's own recordings, and nothing but the recording matched leaves their folder."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import soundfile
from encoders import tiny_encoder
from humming import tune

import app
from hmm2song.catalog.catalog import Catalog
from hmm2song.melody.melody import melody_from_notes
from hmm2song.page.search import Page
from hmm2song.recognizer import Recognizer
from hmm2song.song import Song

PATHS = {
    "inside": "album/a.flac", "gone": "gone.flac", "outside": "../secret.flac", "link": "link.flac",
    "text": "notes.txt", "none": "",
}  # fmt: skip


@pytest.fixture
def previews(tmp_path):
    folder = tmp_path / "music"
    (folder / "album").mkdir(parents=True)
    for file in (folder / "album" / "a.flac", tmp_path / "secret.flac"):
        soundfile.write(file, np.zeros(8000), 8000)
    (folder / "notes.txt").write_text("private")
    (folder / "link.flac").symlink_to(tmp_path / "secret.flac")
    return folder


@pytest.fixture
def page(previews, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    songs = [Song(song_id, song_id, path=path) for song_id, path in PATHS.items()]
    encoder = tiny_encoder()
    catalog = Catalog.build(songs, [melody_from_notes(tune(number)) for number in range(len(songs))], encoder)
    recognizer = Recognizer(dataclasses.replace(catalog, folder=tmp_path / "catalog"), encoder)
    with gr.Blocks() as blocks:
        return Page(recognizer, blocks, previews)


def played(page, song_id):
    match = SimpleNamespace(id=song_id, alignment=SimpleNamespace(start_s=1.5, end_s=5.0))
    return page._sound(match, "en")


def test_the_recording_matched_is_copied_and_played_at_the_match(page, previews, tmp_path):
    answer = played(page, "inside")
    copy = Path(answer["value"])
    assert copy.is_relative_to(tmp_path / "cache")
    assert copy.read_bytes() == (previews / "album" / "a.flac").read_bytes()
    assert answer["playback_position"] == 1.5


@pytest.mark.parametrize("song_id", [song_id for song_id in PATHS if song_id != "inside"])
def test_anything_else_is_played_as_a_tone(page, tmp_path, song_id):
    rate_hz, tone = played(page, song_id)["value"]
    assert rate_hz > 8000 and len(tone) > rate_hz
    assert not list((tmp_path / "cache").rglob("*.flac"))


def test_a_folder_that_is_none_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app.py", "--previews", str(tmp_path / "nowhere")])
    assert app.main() == app.EXIT_ERROR
    errors = capsys.readouterr().err
    assert errors.startswith("hmm2song: there is no folder") and errors.count("\n") == 1
