"""The match is played from a cut of the user's own recording; nothing else leaves the folder of recordings."""

from __future__ import annotations

import dataclasses
import os
import sys

import gradio as gr
import numpy as np
import pytest
import soundfile
from encoders import tiny_encoder
from humming import tune

import app
from hmm2song.catalog.catalog import Catalog
from hmm2song.melody.melody import melody_from_notes
from hmm2song.page import preview
from hmm2song.page.search import Page
from hmm2song.page.tone import SAMPLE_RATE_HZ
from hmm2song.recognizer import Recognizer
from hmm2song.song import Song

PATHS = {
    "inside": "album/a.flac", "gone": "gone.flac", "outside": "../secret.flac", "link": "link.flac",
    "text": "notes.txt", "broken": "broken.mp3", "none": "",
}  # fmt: skip
RATE_HZ = 8000
STEP_S = 60.0


@pytest.fixture
def recordings(tmp_path):
    """Return a folder with a recording whose loudness steps up every minute, and with what must not leave it."""
    folder = tmp_path / "music"
    (folder / "album").mkdir(parents=True)
    steps = np.repeat([0.1, 0.2, 0.4], round(STEP_S * RATE_HZ)) * np.sin(np.arange(3 * STEP_S * RATE_HZ))
    for file in (folder / "album" / "a.flac", tmp_path / "secret.flac"):
        soundfile.write(file, steps, RATE_HZ)
    (folder / "notes.txt").write_text("private")
    (folder / "broken.mp3").write_bytes(bytes(1000))
    (folder / "link.flac").symlink_to(tmp_path / "secret.flac")
    return folder


@pytest.fixture
def page(recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    songs = [Song(song_id, song_id, path=path) for song_id, path in PATHS.items()]
    encoder = tiny_encoder()
    catalog = Catalog.build(songs, [melody_from_notes(tune(number)) for number in range(len(songs))], encoder)
    recognizer = Recognizer(dataclasses.replace(catalog, folder=tmp_path / "catalog"), encoder)
    with gr.Blocks() as blocks:
        return Page(recognizer, blocks, recordings)


def played(page, song_id, start_s=1.5):
    return page._sound(song_id, start_s, start_s + 3.5)


def cuts(tmp_path):
    return list((tmp_path / "cache").rglob("*.mp3"))


def test_a_cut_of_the_recording_is_played_at_the_match(page, tmp_path):
    cut = played(page, "inside", STEP_S + 5.5)
    assert cuts(tmp_path) == [cut.path]
    assert cut.path.stat().st_size < 1e6
    samples, rate_hz = soundfile.read(cut.path)
    assert len(samples) / rate_hz == pytest.approx(preview.LENGTH_S, abs=0.1)
    assert cut.match_s == pytest.approx(preview.LEAD_S + 0.5)
    assert cut.from_s + cut.match_s == STEP_S + 5.5
    assert np.abs(samples[rate_hz:]).max() == pytest.approx(0.2, abs=0.05)
    early = played(page, "inside", 0.5)
    assert (early.match_s, early.from_s) == (0.5, 0)
    assert np.abs(soundfile.read(early.path)[0]).max() == pytest.approx(0.1, abs=0.05)


def test_few_cuts_are_kept_and_used_again(page, tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "MAX_KEPT", 2)
    first, second = (played(page, "inside", start_s).path for start_s in (10, 20))
    assert played(page, "inside", 10.2).path == first
    third = played(page, "inside", 30).path
    assert set(cuts(tmp_path)) == {first, third}  # the one not used for longest is gone
    os.remove(first)  # as Gradio's sweep does
    assert played(page, "inside", 10).path.is_file()
    assert second not in cuts(tmp_path)


@pytest.mark.parametrize("song_id", [song_id for song_id in PATHS if song_id != "inside"])
def test_anything_else_is_played_as_a_tone(page, tmp_path, song_id):
    tone = played(page, song_id)
    samples, rate_hz = soundfile.read(tone.path)
    assert rate_hz == SAMPLE_RATE_HZ and len(samples) / rate_hz == pytest.approx(3.5 + 2 * preview.TONE_LEAD_S, abs=0.2)
    assert (tone.from_s, tone.match_s) == (0.5, 1.0)


def test_a_match_after_the_recordings_end_is_played_as_a_tone(page):
    assert soundfile.info(played(page, "inside", 500.0).path).samplerate == SAMPLE_RATE_HZ


def test_a_folder_that_is_none_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app.py", "--previews", str(tmp_path / "nowhere")])
    assert app.main() == app.EXIT_ERROR
    errors = capsys.readouterr().err
    assert errors.startswith("hmm2song: there is no folder") and errors.count("\n") == 1
