"""What was heard in recordings stays with its songs, through files and edits, and is refused where it is damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from catalogs import ENCODER, SONGS, build
from heard import made_facets
from safetensors.numpy import load_file, save

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.edit import join, remove_songs
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.storage import FACETS_FILE
from hmm2song.errors import CatalogError, IntegrityError
from hmm2song.song import Song

ARRAYS = [name for name in Facets.__dataclass_fields__ if name != "listener"]


def same(one: Facets, other: Facets) -> bool:
    return one.listener == other.listener and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS
    )


def heard_catalog(facets: Facets | None = None) -> Catalog:
    return replace(build(), facets=made_facets(4) if facets is None else facets)


@pytest.fixture
def folder(tmp_path):
    heard_catalog().save(tmp_path / "catalog")
    return tmp_path / "catalog"


def test_facets_come_back_and_are_the_same_bytes(folder, tmp_path):
    catalog = Catalog.load(folder, ENCODER)
    assert same(catalog.facets, made_facets(4))
    catalog.save(tmp_path / "again")
    assert (tmp_path / "again" / FACETS_FILE).read_bytes() == (folder / FACETS_FILE).read_bytes()


def test_a_catalog_of_notes_has_none_and_drops_those_of_a_former_one(folder):
    build().save(folder)
    assert not (folder / FACETS_FILE).exists()
    assert Catalog.load(folder, ENCODER).facets is None


def test_rows_are_taken_with_their_moments():
    facets = made_facets(7, seed=1)
    parts = [facets.take([place]) for place in range(7)]
    assert same(Facets.concatenate(parts), facets)
    order = [6, 0, 3, 3]
    assert same(facets.take(order), Facets.concatenate([parts[place] for place in order]))
    assert len(facets.take([])) == 0


def test_edits_keep_every_song_with_what_was_heard_in_it():
    first = heard_catalog()
    songs = tuple(Song(f"other-{number}", "Other") for number in range(4))
    second, notes = heard_catalog(made_facets(4, seed=2)), build([Song("notes", "Notes")])
    joined = join(join(first, notes).catalog, replace(second, songs=songs)).catalog
    expected = Facets.concatenate([first.facets, Facets.unheard(1), second.facets])
    assert same(joined.facets, expected)
    kept = remove_songs(joined, ["two", "notes", "other-3"])
    assert same(kept.facets, expected.take([0, 2, 3, 5, 6, 7]))
    heard = [song.id for song, is_heard in zip(joined.songs, joined.facets.heard, strict=True) if is_heard]
    assert remove_songs(joined, heard).facets is None


def test_what_different_listeners_heard_is_not_joined():
    with pytest.raises(CatalogError, match=r"\(ears, eyes\).*index --update"):
        Facets.concatenate([made_facets(3), Facets.unheard(1), made_facets(3, listener="eyes")])


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda whole: whole[:-1] + b"?", lambda _: None])
def test_a_damaged_file_is_noticed(folder, damage):
    damaged = damage((folder / FACETS_FILE).read_bytes())
    (folder / FACETS_FILE).unlink()
    if damaged:
        (folder / FACETS_FILE).write_bytes(damaged)
    with pytest.raises(IntegrityError, match=FACETS_FILE):
        Catalog.load(folder, ENCODER)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("style", np.zeros((4, 199), np.float16), r"style is float16 of shape \(4, 199\)"),
        ("tags", np.full((4, 50), np.inf, np.float16), "tags holds numbers that are not finite"),
        ("voice", np.zeros((1, 8)), "voice is float64"),
        ("voice", np.zeros((4, 8), np.float16), "not well formed"),
        ("is_sung", np.zeros((2, 2), bool), "not well formed"),
        ("is_sung", np.zeros(4), "not well formed"),
        ("heard", np.zeros((2, 2), bool), "heard is bool of shape"),
        ("heard", np.bool_(True), "not well formed"),
        ("n_moments", np.int32([-5, 5, 0, 0]), "moment"),
        ("n_moments", np.int32([9, 9, 9, 9]), "moment_start_s is float32"),
        ("moments", None, "not well formed"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_even_when_signed(folder, name, array, words):
    arrays = load_file(folder / FACETS_FILE) | {name: np.asarray(array)}
    arrays = {name: array for name, array in arrays.items() if array.dtype != object}
    (folder / FACETS_FILE).write_bytes(save(arrays, metadata={"listener": "ears"}))
    storage.write_manifest(folder, ENCODER.fingerprint, 4)
    with pytest.raises(CatalogError, match=words):
        Catalog.load(folder, ENCODER)


def test_a_file_with_a_voice_of_every_song_is_read_as_before(folder):
    facets = Facets.load(folder)
    arrays = load_file(folder / FACETS_FILE) | {"voice": facets.voice}
    del arrays["is_sung"]
    (folder / FACETS_FILE).write_bytes(save(arrays, metadata={"listener": "ears"}))
    assert same(Facets.read(folder / FACETS_FILE), facets)


def test_another_number_of_rows_than_songs_is_refused(folder):
    made_facets(3).write(folder / FACETS_FILE)
    storage.write_manifest(folder, ENCODER.fingerprint, 4)
    with pytest.raises(CatalogError, match="4 songs but facets of 3"):
        Catalog.load(folder, ENCODER)


def test_a_catalog_without_melodies_can_be_explored_only(tmp_path):
    storage.write_songs(tmp_path, SONGS)
    made_facets(4).write(tmp_path / FACETS_FILE)
    (tmp_path / storage.CREDITS_FILE).write_text("# Credits\n", encoding="utf-8")
    storage.write_manifest(tmp_path, "", len(SONGS))
    assert same(Facets.load(tmp_path), made_facets(4))
    for load in (Catalog.load, Catalog.load_downloaded):
        with pytest.raises(CatalogError, match="explored, not searched by humming"):
            load(tmp_path, ENCODER)
