"""What copies change in style and timbre: learned from copies, written, read, and heeded less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from heard import made_facets
from safetensors.numpy import save_file
from script_modules import run_script

from hmm2song.audio import SAMPLE_RATE_HZ, load_recording
from hmm2song.catalog.hub import assets_folder
from hmm2song.embeddings.base import WEIGHTS_FILE
from hmm2song.errors import ModelError
from hmm2song.similar.codec_changes import CopyChanges, learned_from, lessening
from hmm2song.similar.songs import SimilarSongs
from hmm2song.similar.spaces import Scaling
from hmm2song.training.copies import as_mp3, short_ones


def test_directions_in_which_copies_change_are_shortened() -> None:
    rng = np.random.default_rng(0)
    lessened = lessening(rng.standard_normal((500, 6)) * [9, 1, 1, 1, 1, 1] @ np.eye(6)[::-1])
    length = np.linalg.norm(lessened, axis=1)
    assert length[5] < 0.5 < 0.9 < length[:5].min() and np.allclose(lessened, lessened.T)
    assert np.allclose(lessening(np.zeros((3, 6))), np.eye(6))


def test_copies_of_songs_are_nearer_by_style_than_without(monkeypatch) -> None:
    facets, changes = made_facets(60), CopyChanges.load(assets_folder() / "model_style")
    heard = facets.take(np.flatnonzero(facets.heard))
    copies = heard.take(range(len(heard)))
    copies.style[:] = heard.style / np.linalg.norm(heard.style.astype(float), axis=1, keepdims=True)
    copies.style[:] += changes.style[: len(heard)]
    copies.timbre[:] += changes.timbre[: len(heard)]

    def distance() -> float:
        scaling = Scaling.of(heard)
        return float(np.linalg.norm(scaling.style(heard)[0] - scaling.style(copies)[0], axis=1).mean())

    lessened = distance()
    monkeypatch.setattr("hmm2song.similar.spaces.lessening", lambda changes: np.eye(changes.shape[1]))
    assert lessened < 0.8 * distance()


def test_what_is_no_such_model_is_refused(tmp_path: Path) -> None:
    save_file({"style": np.zeros((2, 3), np.float32)}, tmp_path / WEIGHTS_FILE)
    with pytest.raises(ModelError, match="no changes of style and timbre"):
        CopyChanges.load(tmp_path)


def test_copies_are_made_heard_and_learned_from(tmp_path: Path, monkeypatch, capsys) -> None:
    songs = SimilarSongs.load(assets_folder() / "free_catalog")
    facets = songs._comparison.heard
    (row, *others) = short_ones(songs.songs, facets, seed=3)
    song_id = songs.songs[row].id
    assert facets.duration_s[others].max() <= 90 and row not in short_ones(songs.songs, facets, 3, {song_id})
    arguments = ("--audio", tmp_path, "--out", tmp_path / "model", "--copies", "1", "--seed", "3")
    assert run_script("train_style", *arguments) == 2
    assert f"lacks {song_id}" in capsys.readouterr().err
    noise = np.random.default_rng(0).normal(0, 0.1, (3 * SAMPLE_RATE_HZ, 2))
    soundfile.write(tmp_path / f"{song_id}.flac", noise, SAMPLE_RATE_HZ)
    mp3 = as_mp3(tmp_path / f"{song_id}.flac", tmp_path / "copy.mp3")
    assert mp3.stat().st_size == pytest.approx(3 * 8000, rel=0.2)  # 64 kbit/s
    assert len(load_recording(mp3)) == pytest.approx(3 * SAMPLE_RATE_HZ, rel=0.05)
    assert run_script("train_style", *arguments) == 0
    changes = CopyChanges.load(tmp_path / "model")
    assert changes.style.shape == (1, 200) and np.abs(changes.timbre).max() > 1
    assert learned_from(tmp_path / "model") == {song_id}
