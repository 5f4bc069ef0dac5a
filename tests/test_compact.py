"""Compact catalogs: nothing of the melodies is lost, and they are searched by codes of windows; needs FAISS."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from encoders import tiny_encoder
from humming import tune
from script_modules import loaded_script

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.edit import remove_songs
from hmm2song.catalog.storage import (
    COMPACT_FILES,
    EMBEDDINGS_FILE,
    MANIFEST_FILE,
    MELODIES_FILE,
    WINDOWS_FILE,
    check_files,
    mapped_tensors,
)
from hmm2song.embeddings.codes import CodedWindows, coded_windows
from hmm2song.errors import CatalogError, Hmm2SongError
from hmm2song.index import approximate
from hmm2song.indexing import compact as compact_module
from hmm2song.indexing.compact import compact
from hmm2song.match.search_index import own_index
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.melody.packed import PackedMelodies
from hmm2song.melody.runs import RunMelodies, runs_of
from hmm2song.recognizer import Recognizer
from hmm2song.song import Song

pytest.importorskip("faiss")
ENCODER = tiny_encoder()
RNG = np.random.default_rng(0)
TUNES = [melody_from_notes([(2 * start, 2 * length, midi) for start, length, midi in tune(n)]) for n in range(30)]
RESTS = np.array([np.nan] * 3 + [60.0] * 600 + [np.nan, np.nan, 62.5] + [np.nan] * 2)
TRACKED = np.where(RNG.random(400) < 0.3, np.nan, 60 + RNG.normal(size=400))
SONGS = [Song(f"s{n}", f'"Été" {n}', genre="Folk" if n % 2 else "", gender="female" * (n == 4)) for n in range(30)]


@pytest.mark.parametrize("more", [(), (Melody(RESTS),), (Melody(RESTS), Melody(TRACKED))])
def test_runs_lose_nothing(more):
    packed = PackedMelodies.of([*TUNES[:5], *more])
    runs = RunMelodies(runs_of(packed), verify=True)
    for one, other in zip(runs, packed, strict=True):
        np.testing.assert_array_equal(one.pitch_midi, other.pitch_midi)
    np.testing.assert_array_equal(runs.median_midi * runs.median_unit_st, packed.median_midi)
    assert runs.median_midi.dtype == (np.float32 if len(more) == 2 else np.uint8)
    for rate_hz in (8.0, 12.5):
        melody = np.repeat(np.arange(len(packed)), 9)
        n_samples = packed.n_samples(rate_hz)[melody]
        start = (RNG.random(len(melody)) * n_samples).astype(np.int64)
        stop = start + 1 + (RNG.random(len(melody)) * (n_samples - start)).astype(np.int64)
        places = melody, start, np.minimum(stop, n_samples)
        np.testing.assert_array_equal(runs.sample(rate_hz, *places), packed.sample(rate_hz, *places))


@pytest.mark.parametrize(
    ("name", "change"),
    [("n_runs", lambda n: n + 1), ("run_frames", lambda n: n[:-1]), ("run_frames", lambda n: n.astype(np.int32)),
     ("n_frames", lambda n: n - 1), ("contour_begin", lambda n: n + 1), ("median_midi", lambda n: n[:-1])],
)  # fmt: skip
def test_runs_that_do_not_fit_are_refused(name, change):
    stored = runs_of(PackedMelodies.of([*TUNES[:3], Melody(RESTS)]))
    with pytest.raises(ValueError):
        RunMelodies({**stored, name: change(stored[name])}, verify=True)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory):
    folder, patch = tmp_path_factory.mktemp("compact"), pytest.MonkeyPatch()
    patch.setattr(approximate, "MIN_WINDOWS", 100)
    patch.setattr(approximate, "EXACT_WINDOWS", 0)
    patch.setattr(compact_module, "SONGS_PER_SHARD", 8)
    Catalog.build(SONGS, TUNES, ENCODER, "# Credits\n").save(folder / "whole")
    whole = Catalog.load(folder / "whole", ENCODER)

    def stop_at_16(done: int, _: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact(whole, folder / "small", progress=stop_at_16)
    shards = {path.name: path.stat().st_mtime_ns for path in (folder / "small.partial" / "shards").iterdir()}
    assert {"0.safetensors", "8.safetensors", "trained.faiss"} <= set(shards) and not (folder / "small").exists()
    compact(whole, folder / "small")
    assert not (folder / "small.partial").exists()
    yield whole, Catalog.load(folder / "small", ENCODER, verify=True)
    patch.undo()


def test_a_compact_catalog_holds_the_same_songs_and_finds_them(catalogs):
    whole, small = catalogs
    assert {path.name for path in small.folder.iterdir()} == {*COMPACT_FILES, MANIFEST_FILE}
    assert small.songs == whole.songs and small.credits == whole.credits and small.stride == 2
    assert (small.genre_counts(), small.gender_counts()) == (whole.genre_counts(), whole.gender_counts())
    assert small.find("ete 7") == whole.find("ete 7")
    np.testing.assert_array_equal(small.select(["Folk"]).mask, whole.select(["Folk"]).mask)
    of_songs = np.split(whole.embeddings, np.cumsum(whole.n_windows)[:-1])
    decoded, kept = small.embeddings[:].astype(np.float32), np.concatenate([windows[::2] for windows in of_songs])
    assert np.quantile((decoded * kept).sum(axis=1), 0.01) > 0.8
    recognizer = Recognizer(small, ENCODER)
    for number in (3, 20):
        hum = Melody(TUNES[number].pitch_midi[:200] + 2)
        for genres in ([], ["Folk"] * (number % 2)):
            assert recognizer.recognize_melody(hum, genres=genres).matches[0].id == f"s{number}"


def test_codes_that_stand_in_the_catalog_too_are_read_and_places_outside_the_lists_refused(catalogs):
    _, small = catalogs
    path, stored = small.folder / WINDOWS_FILE, mapped_tensors(small.folder / EMBEDDINGS_FILE)
    older = coded_windows(path, {"codes": small.embeddings.codes[:]})
    for rows in (slice(None), slice(3, 9), np.array([40, 2, 2]), np.zeros(0, np.int64)):
        np.testing.assert_array_equal(older[rows], small.embeddings[rows])
    for name in ("window_list", "window_place"):
        outside = coded_windows(path, {**stored, name: stored[name] + np.array(9999, stored[name].dtype)})
        with pytest.raises(CatalogError, match="not in the lists"):
            outside[np.array([5])]


def test_windows_that_a_filter_leaves_out_are_not_decoded(catalogs, monkeypatch):
    _, small = catalogs
    index, mask, decoded = own_index(small, 1).exact, np.zeros(len(small), bool), []
    mask[[2, 25]] = True
    read = CodedWindows.__getitem__
    monkeypatch.setattr(CodedWindows, "__getitem__", lambda *given: decoded.append(read(*given)) or decoded[-1])
    found = index.nearest(np.ones((1, ENCODER.dim), np.float32), 5, mask)
    assert mask[found.song].all() and sum(map(len, decoded)) == small.n_windows[mask].sum()


def test_a_compact_catalog_is_not_changed_and_damage_is_refused(catalogs, tmp_path):
    _, small = catalogs
    with pytest.raises(CatalogError, match="for searching"):
        small.save(tmp_path / "again")
    with pytest.raises(CatalogError, match="for searching"):
        remove_songs(small, ["s1"])
    with pytest.raises(CatalogError, match="those who made it"):
        Catalog.load_downloaded(small.folder, ENCODER)
    with loaded_script("push_to_hub") as push, pytest.raises(CatalogError, match="publish the one"):
        push.fill_tree(SimpleNamespace(name="catalog"), SimpleNamespace(catalog=small.folder), "")
    for name in COMPACT_FILES:
        damaged = tmp_path / f"{name} damaged"
        damaged.mkdir()
        for path in small.folder.iterdir():
            content = bytearray(path.read_bytes())
            if path.name == name and content:
                content[-1] ^= 1
            (damaged / path.name).write_bytes(content)
        with pytest.raises(Hmm2SongError):
            Catalog.load(damaged, ENCODER, verify=True)
    manifest = json.loads((damaged / MANIFEST_FILE).read_text())
    del manifest["files"][MELODIES_FILE]
    (damaged / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(Hmm2SongError):
        check_files(damaged)
