"""Large catalogs made of phrases of other songs: the writer, the songs, and the benchmark on a few of them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from encoders import pair_of_encoders, tiny_encoder
from heard import made_facets
from humming import tune
from script_modules import SCRIPTS

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.storage import DATA_FILES, FACETS_FILE, MANIFEST_FILE
from hmm2song.catalog.writer import writing
from hmm2song.errors import CatalogError
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.song import Song
from hmm2song.training.blocks import make_block, song_of_blocks
from hmm2song.training.recombining import LONGEST_PHRASE_S, SHORTEST_PHRASE_S, notes_of, phrases_of, recombined

ENCODER = tiny_encoder()
MELODIES = [melody_from_notes(tune(number)) for number in range(12)]
SONGS = [Song(f"s{number}", f'"Été" {number}', genre="Folk" if number % 2 else "") for number in range(12)]


@pytest.mark.parametrize(
    ("tracked", "facets"), [(None, None), ([number == 3 for number in range(12)], made_facets(12))]
)
def test_song_by_song_the_same_files_are_written(tmp_path, tracked, facets):
    Catalog.build(SONGS, MELODIES, ENCODER, "# Credits\n", tracked=tracked, facets=facets).save(tmp_path / "whole")
    with writing(tmp_path / "parts", ENCODER.fingerprint, "# Credits\n", facets) as writer:
        for number, (song, melody) in enumerate(zip(SONGS, MELODIES, strict=True)):
            windows = ENCODER.embed_song(fill_rests(melody))
            writer.add(song, melody, windows, bool(tracked and tracked[number]))
    names = {*DATA_FILES, MANIFEST_FILE, *((FACETS_FILE,) if facets else ())}
    assert {path.name for path in (tmp_path / "parts").iterdir()} == names
    for name in names:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_no_catalog_is_not_written(tmp_path):
    windows = np.zeros((1, ENCODER.dim))
    with pytest.raises(CatalogError, match="'s0' occurs more than once"), writing(tmp_path / "c", "x") as writer:
        for _ in range(2):
            writer.add(SONGS[0], MELODIES[0], windows)
    with pytest.raises(CatalogError, match="'s1' has no melody"), writing(tmp_path / "c", "x") as writer:
        writer.add(SONGS[1], Melody([np.nan]), windows)
    with pytest.raises(CatalogError, match="no songs"), writing(tmp_path / "c", "x"):
        pass
    with (
        pytest.raises(CatalogError, match="facets of 2"),
        writing(tmp_path / "c", "x", facets=made_facets(2)) as writer,
    ):
        writer.add(SONGS[0], MELODIES[0], windows)
    assert list(tmp_path.iterdir()) == []


def test_songs_are_made_of_phrases():
    phrases = [phrase for melody in MELODIES for phrase in phrases_of(melody)]
    assert all(SHORTEST_PHRASE_S <= len(phrase) / 25 <= LONGEST_PHRASE_S for phrase in phrases)
    one, again, other = (recombined(phrases, np.random.default_rng(seed), 40.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.pitch_midi, again.pitch_midi)
    assert not np.array_equal(one.pitch_midi, other.pitch_midi, equal_nan=True)
    assert one.duration_s == other.duration_s == 40.0
    for melody in (one, *MELODIES):
        drawn = np.full(len(melody.pitch_midi), np.nan)
        for onset_s, duration_s, midi in notes_of(melody):
            drawn[round(onset_s * 25) : round((onset_s + duration_s) * 25)] = midi
        np.testing.assert_array_equal(drawn, melody.pitch_midi)


def test_the_windows_of_blocks_are_those_of_their_song():
    phrases = [phrase for melody in MELODIES for phrase in phrases_of(melody)]
    blocks = [make_block(phrases, np.random.default_rng(number), ENCODER) for number in range(6)]
    for number in range(8):
        rng = np.random.default_rng(number)
        melody, windows = song_of_blocks(blocks, rng, 40.0 + 25 * number, ENCODER.windows.song_hop_s)
        expected = ENCODER.embed_song(fill_rests(melody)).astype(np.float16)
        assert windows.dtype == np.float16
        np.testing.assert_allclose(windows.astype(np.float32), expected.astype(np.float32), atol=1e-3)
        assert abs(melody.duration_s - (40.0 + 25 * number)) < 60
    assert np.isnan(melody.pitch_midi).any() and not np.isnan(melody.pitch_midi[[0, -1]]).any()


def test_the_benchmark_makes_and_searches_catalogs(tmp_path):
    catalog, both = tmp_path / "songs", pair_of_encoders()
    Catalog.build(SONGS, MELODIES, both, tracked=[True] * len(SONGS)).save(catalog)
    both.save(catalog)
    options = ("--catalog", str(catalog), "--sizes", "8", "20", "--targets", "3", "--limit", "2", "--blocks", "7")
    options += ("--song-s", "60", "--filters", "none", "half")
    places = ("--keep", str(tmp_path / "kept"), "--json", str(tmp_path / "out.json"))
    command = [sys.executable, SCRIPTS / "benchmark.py", *options, *places]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = json.loads((tmp_path / "out.json").read_text())["latency"]
    told = [(row["n_songs"], row["filter"], row["n_chosen"], row["same_first"]) for row in rows]
    assert told == [(8, "none", 8, 1.0), (8, "half", 6, 1.0), (20, "none", 20, 1.0), (20, "half", 12, 1.0)]
    assert all(0 < row["median_s"] <= row["p95_s"] and row["top1_real"] is None for row in rows)
    assert "grows with the catalog" in output
    made = Catalog.load(tmp_path / "kept" / "20 songs of 60 s", both)
    expected = both.tracked.embed_song(made.melodies.contour(19))  # by the encoder that made the others
    np.testing.assert_allclose(made.embeddings[-len(expected) :], expected, atol=2e-3)
