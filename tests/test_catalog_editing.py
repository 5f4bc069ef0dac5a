"""Catalogs made of catalogs, in memory and on the disk: what stays, what comes, and that nothing is embedded twice."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
from encoders import pair_of_encoders, tiny_encoder
from folders import contents
from humming import tune

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.edit import RenamedSong, assemble, credits_of, entries_of, join, remove_songs
from hmm2song.errors import CatalogError, UnknownSongError
from hmm2song.indexing.build import index
from hmm2song.indexing.edit import add, merge, remove
from hmm2song.match.ranking import Ranker
from hmm2song.melody.melody import melody_from_notes
from hmm2song.song import Song

ENCODER = tiny_encoder()


def catalog_of(*numbers: int, prefix: str = "s", encoder=ENCODER) -> Catalog:
    songs = [Song(f"{prefix}{number}", f"Song {number}", author=f"Author {number}") for number in numbers]
    melodies = [melody_from_notes(tune(number)) for number in numbers]
    return Catalog.build(songs, melodies, encoder, credits_of(songs))


def ids(catalog: Catalog) -> list[str]:
    return [song.id for song in catalog.songs]


def same_catalog(first: Catalog, second: Catalog) -> bool:
    pairs = zip(first.melodies, second.melodies, strict=False)
    return (
        (first.songs, first.credits) == (second.songs, second.credits)
        and all(np.array_equal(one.pitch_midi, other.pitch_midi, equal_nan=True) for one, other in pairs)
        and np.array_equal(first.embeddings, second.embeddings)
        and np.array_equal(first.n_windows, second.n_windows)
    )


# In memory --------------------------------------------------------------------------------------------------


def test_what_is_left_is_what_was_never_more():
    assert same_catalog(remove_songs(catalog_of(0, 1, 2, 3), ["s1", "s3"]), catalog_of(0, 2))


def test_songs_joined_are_as_if_built_together_and_none_is_added_twice():
    joined = join(catalog_of(0, 1), catalog_of(1, 2, 3))
    assert same_catalog(joined.catalog, catalog_of(0, 1, 2, 3))
    assert (joined.renamed, joined.repeated) == ((), ("s1",))


def test_a_taken_id_is_changed_also_in_the_credits():
    other = catalog_of(7, 8)
    other = assemble(
        [dataclasses.replace(e, song=dataclasses.replace(e.song, id=f"s{n}")) for n, e in enumerate(entries_of(other))],
        credits_of([dataclasses.replace(song, id=f"s{n}") for n, song in enumerate(other.songs)]),
    )
    first = catalog_of(0, 2)
    joined = join(first, other)
    assert ids(joined.catalog) == ["s0", "s2", "s0-2", "s1"]
    assert joined.renamed == (RenamedSong("s0", "s0-2"),)
    assert joined.catalog.song("s0-2").title == "Song 7"
    assert joined.catalog.credits == credits_of(joined.catalog.songs)

    replaced = join(first, other, replace=True)
    assert ids(replaced.catalog) == ["s0", "s2", "s1"]
    assert replaced.catalog.song("s0").title == "Song 7"
    assert np.array_equal(replaced.catalog.melody("s0").pitch_midi, other.melody("s0").pitch_midi, equal_nan=True)
    assert sorted(replaced.catalog.credits.split()) == sorted(credits_of(replaced.catalog.songs).split())


def test_other_peoples_credits_stay():
    first = dataclasses.replace(catalog_of(0, 1), credits="# Where from\n\n- `s0`: a book\n- `s1`: a book\n")
    joined = join(first, catalog_of(2)).catalog
    assert joined.credits == first.credits + "\n* Song 2 (s2): Author 2\n"
    assert join(first, dataclasses.replace(catalog_of(2), credits=first.credits)).catalog.credits == first.credits
    assert remove_songs(joined, ["s2"]).credits.strip() == first.credits.strip()


def test_songs_keep_the_source_of_their_melodies():
    first = dataclasses.replace(catalog_of(0, 1), tracked=np.array([False, True]))
    joined = join(first, dataclasses.replace(catalog_of(2, 3), tracked=np.array([True, False]))).catalog
    assert joined.tracked.tolist() == [False, True, True, False]
    assert remove_songs(joined, ["s1"]).tracked.tolist() == [False, True, False]


def test_impossible_edits():
    with pytest.raises(CatalogError, match="different encoders"):
        join(catalog_of(0), catalog_of(1, encoder=tiny_encoder(seed=1)))
    with pytest.raises(UnknownSongError, match="s9"):
        remove_songs(catalog_of(0, 1), ["s0", "s9"])
    with pytest.raises(CatalogError, match="at least one"):
        remove_songs(catalog_of(0), ["s0"])


# On the disk ------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """Return a catalog that brings its model and a recording with it."""
    catalog_of(0, 1, 2).save(tmp_path / "catalog")
    ENCODER.save(tmp_path / "catalog")
    (tmp_path / "catalog" / "sounds").mkdir()
    (tmp_path / "catalog" / "sounds" / "s0.flac").write_bytes(b"sound")
    return tmp_path / "catalog"


@pytest.fixture
def scores(tmp_path):
    folder = tmp_path / "scores"
    folder.mkdir()
    for number in (5, 6):
        row = {"id": f"s{number}", "title": f"Song {number}", "artist": f"Author {number}", "notes": tune(number)}
        (folder / f"{number}.jsonl").write_text(json.dumps(row))
    return folder


def test_adding_and_removing_leave_the_rest_as_it_was(saved, scores, monkeypatch):
    before = contents(saved / "sounds"), (saved / "model.safetensors").read_bytes()
    report = add(saved, [scores / "5.jsonl", scores / "6.jsonl"], ENCODER)
    assert (report.n_new, report.renamed, report.repeated) == (2, (), ())
    assert ids(Catalog.load(saved, ENCODER)) == ["s0", "s1", "s2", "s5", "s6"]
    again = add(saved, [scores], ENCODER)
    assert (again.n_new, again.repeated) == (0, ("s5", "s6"))
    monkeypatch.setattr(Catalog, "build", None)  # nothing is embedded to remove a song
    assert len(remove(saved, ["s1", "s5"], ENCODER).catalog) == 3
    assert ids(Catalog.load(saved, ENCODER)) == ["s0", "s2", "s6"]
    assert (contents(saved / "sounds"), (saved / "model.safetensors").read_bytes()) == before
    assert not saved.with_name("catalog.partial").exists()


def test_adding_with_replace(saved, tmp_path):
    (tmp_path / "new.jsonl").write_text(json.dumps({"id": "s1", "title": "New", "notes": tune(9)}))
    report = add(saved, [tmp_path / "new.jsonl"], ENCODER, replace=True)
    assert [song.title for song in report.catalog.songs] == ["Song 0", "New", "Song 2"]
    report = add(saved, [tmp_path / "new.jsonl"], ENCODER)
    assert (report.n_new, report.repeated) == (0, ("s1",))


def test_a_failed_edit_changes_nothing(saved, tmp_path):
    before = {name: (saved / name).read_bytes() for name in ("songs.json", "manifest.json")}
    (tmp_path / "bad.mid").write_bytes(b"x")
    with pytest.raises(CatalogError, match="bad.mid"):
        add(saved, [tmp_path / "bad.mid"], ENCODER)
    with pytest.raises(UnknownSongError):
        remove(saved, ["s0", "nobody"], ENCODER)
    with pytest.raises(CatalogError, match="not a catalog"):
        add(tmp_path / "nowhere", [saved], ENCODER)
    assert {name: (saved / name).read_bytes() for name in before} == before


def test_a_catalog_of_recordings_alone_is_made_with_the_encoder_for_them(tmp_path):
    both = pair_of_encoders()
    recordings, written = (
        Catalog.build([Song(f"s{n}", f"Song {n}")], [melody_from_notes(tune(n))], both, tracked=[is_tracked])
        for n, is_tracked in ((0, True), (1, False))
    )
    for catalog, encoder in ((recordings, both.tracked), (written, both)):
        assert catalog.encoder_fingerprint == encoder.fingerprint
        expected = encoder.embed_song(catalog.melodies.contour(0)).astype(np.float16)
        np.testing.assert_array_equal(catalog.embeddings, expected)
        Ranker(catalog, both)
        with pytest.raises(CatalogError, match="made with encoder"):
            Ranker(catalog, tiny_encoder(seed=2))
    recordings.save(tmp_path / "recordings")
    written.save(tmp_path / "written")
    assert Catalog.load(tmp_path / "recordings", both).encoder_fingerprint == both.tracked.fingerprint
    merged = merge([tmp_path / "recordings", tmp_path / "written"], tmp_path / "all", both).catalog
    assert merged.encoder_fingerprint == both.fingerprint and merged.tracked.tolist() == [True, False]
    rows = [both.embed_song(merged.melodies.contour(song)).astype(np.float16) for song in (0, 1)]
    np.testing.assert_array_equal(merged.embeddings, np.concatenate(rows))


def test_merge(saved, tmp_path):
    catalog_of(1, 2).save(tmp_path / "second")
    dataclasses.replace(catalog_of(3), tracked=np.array([True])).save(tmp_path / "third")
    report = merge([saved, tmp_path / "second", tmp_path / "third"], tmp_path / "all", ENCODER)
    assert (report.repeated, report.n_new) == (("s1", "s2"), 1)
    merged = Catalog.load(tmp_path / "all", ENCODER)
    assert same_catalog(merged, catalog_of(0, 1, 2, 3)) and merged.tracked.tolist() == [False, False, False, True]
    assert (tmp_path / "all" / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()
    first = contents(tmp_path / "all")
    merge([saved, tmp_path / "second", tmp_path / "third"], tmp_path / "again", ENCODER)
    assert contents(tmp_path / "again") == first
    with pytest.raises(CatalogError, match="two catalogs"):
        merge([saved], tmp_path / "one", ENCODER)
    catalog_of(4, encoder=tiny_encoder(seed=2)).save(tmp_path / "foreign")
    with pytest.raises(CatalogError, match="made with encoder"):
        merge([saved, tmp_path / "foreign"], tmp_path / "mixed", ENCODER)
    assert not (tmp_path / "mixed").exists()


def test_an_indexed_catalog_forgets_what_was_removed(scores, tmp_path):
    out = tmp_path / "out"
    index(scores, out, ENCODER)
    remove(out, ["s5"], ENCODER)
    remembered = {row["path"]: row["songs"] for row in json.loads((out / "sources.json").read_text())["files"]}
    assert remembered["5.jsonl"] == [] and len(remembered["6.jsonl"]) == 1
    with (out / "report.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == []  # scores are no recordings
