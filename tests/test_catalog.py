"""The catalog: what is saved comes back, what was changed is refused, lookups say what they did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from catalogs import ENCODER, SONGS, build, make_melodies
from encoders import tiny_encoder
from safetensors.numpy import load_file, save

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import encoder_of
from hmm2song.catalog.storage import DATA_FILES, MANIFEST_FILE, MAPPED_FILES, check_files, sha256_of, write_manifest
from hmm2song.errors import CatalogError, IntegrityError, UnknownSongError
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.song import Song

SOURCE_COLUMNS = ["id", "Title", "Singer", "Lyric", "genre", "path", "gender"]
FOUR_WINDOWS = {"embeddings": np.zeros((4, ENCODER.dim), np.float16), "n_windows": np.ones(4, np.int32)}
FOUR_MELODIES = {"pitch_cents": np.full(4, 6000, np.int16), "n_frames": np.ones(4, np.int32)}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a saved catalog."""
    build().save(tmp_path / "catalog")
    return tmp_path / "catalog"


def sign_again(folder: Path) -> None:
    """Record the files as they are now, as somebody who means harm would."""
    write_manifest(folder, ENCODER.fingerprint, len(SONGS))


def change_rows(folder: Path, **fields: object) -> None:
    """Change the first row of the songs and sign again."""
    rows = json.loads((folder / "songs.json").read_text(encoding="utf-8"))
    rows[0].update(fields)
    (folder / "songs.json").write_text(json.dumps(rows), encoding="utf-8")
    sign_again(folder)


# Round trip ---------------------------------------------------------------------------------------------


def test_what_is_saved_comes_back_exactly(folder):
    before, after = build(), Catalog.load(folder, ENCODER)
    assert after.songs == before.songs == SONGS
    assert (after.credits, after.encoder_fingerprint) == (before.credits, ENCODER.fingerprint)
    assert after.folder == folder
    for saved, loaded in zip(before.melodies, after.melodies, strict=True):
        np.testing.assert_array_equal(saved.pitch_midi, loaded.pitch_midi)
    for name in ("embeddings", "n_windows"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
        assert getattr(before, name).dtype == getattr(after, name).dtype


def test_where_melodies_come_from_is_saved_only_if_any_was_tracked(folder, tmp_path):
    assert "tracked" not in load_file(folder / "melodies.safetensors")  # as older versions wrote it
    assert not Catalog.load(folder, ENCODER).tracked.any()
    marks = [False, True, True, False]
    mixed = Catalog.build(SONGS, make_melodies(4), ENCODER, tracked=marks)
    mixed.save(tmp_path / "mixed")
    assert mixed.tracked.tolist() == Catalog.load(tmp_path / "mixed", ENCODER).tracked.tolist() == marks


def test_the_same_catalog_is_the_same_bytes(folder, tmp_path):
    Catalog.load(folder, ENCODER).save(tmp_path / "again")
    for name in (*DATA_FILES, MANIFEST_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_rows_begin_with_the_columns_of_the_source_system(folder):
    rows = json.loads((folder / "songs.json").read_text(encoding="utf-8"))
    for row, song in zip(rows, SONGS, strict=True):
        assert list(row)[:7] == SOURCE_COLUMNS
        assert [row[name] for name in SOURCE_COLUMNS] == [
            song.id, song.title, song.singer, song.lyric, song.genre, song.path, song.gender
        ]  # fmt: skip


def test_a_table_of_the_source_system_is_read():
    row = dict(zip(SOURCE_COLUMNS, ["7", "제목", "가수", "가사", "발라드, 댄스", "7.mp3", "여성"], strict=True))
    song = Song.from_row({**row, "popularity": "ignored"})
    assert song == Song("7", "제목", singer="가수", lyric="가사", genre="발라드, 댄스", path="7.mp3", gender="female")
    assert song.genres == ("발라드", "댄스")
    assert Song.from_row({"id": "8", "Title": "t", "Singer": None}).singer == ""
    for korean, gender in (("남성", "male"), ("혼성", "mixed"), ("male", "male"), ("", "")):
        assert Song.from_row({**row, "gender": korean}).gender == gender


def test_every_song_has_the_windows_the_encoder_gives_it():
    told = []
    catalog = Catalog.build(SONGS, make_melodies(4), ENCODER, progress=lambda *done: told.append(done))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert catalog.embeddings.dtype == np.float16
    parts = np.split(catalog.embeddings, np.cumsum(catalog.n_windows)[:-1])
    for melody, embeddings in zip(catalog.melodies, parts, strict=True):
        np.testing.assert_array_equal(embeddings, ENCODER.embed_song(fill_rests(melody)).astype(np.float16))


# What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("songs", "melodies", "words"),
    [
        ((), [], "no songs"),
        ((SONGS[0], replace(SONGS[1], id="one")), make_melodies(2), "'one' occurs more than once"),
        (SONGS[:1], [Melody([np.nan] * 50)], "'one' has no melody"),
        (SONGS[:1], [Melody([])], "'one' has no melody"),
    ],
)
def test_impossible_catalogs_are_not_built(songs, melodies, words):
    with pytest.raises(CatalogError, match=words):
        Catalog.build(songs, melodies, ENCODER)


def test_parts_of_different_length_are_refused():
    whole = build()
    with pytest.raises(CatalogError, match="4 songs but 3 melodies"):
        replace(whole, melodies=whole.melodies[:3])
    with pytest.raises(CatalogError, match="window counts add up to"):
        replace(whole, embeddings=whole.embeddings[:-1])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": ""}, "needs an id"),
        ({"id": "x", "gender": "femail"}, "'femail' is not one of female, male, mixed"),
        ({"id": "x", "year": 1999}, "'year' must be text"),
        ({"id": "x", "lyric": "l" * 100_001}, "'lyric' must be text of at most 100000"),
    ],
)
def test_impossible_songs_are_refused(fields, words):
    with pytest.raises(CatalogError, match=words):
        Song(**{"title": "t", **fields})


@pytest.mark.parametrize("name", DATA_FILES)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), "differs from its recorded checksum"),
        (lambda whole: whole[:-1], r"has \d+ bytes instead of \d+"),
        (lambda _: None, "is missing"),
    ],
)
def test_a_damaged_file_is_noticed(folder, name, damage, words):
    damaged = damage((folder / name).read_bytes())
    (folder / name).unlink()
    if damaged is not None:
        (folder / name).write_bytes(damaged)
    with pytest.raises(IntegrityError, match=f"{name} of catalog 'catalog' {words}"):
        check_files(folder)
    if name in MAPPED_FILES and "checksum" in words:
        Catalog.load(folder, ENCODER)  # it is not read to be opened
        return
    with pytest.raises(IntegrityError, match=f"{name} of catalog 'catalog' {words}"):
        Catalog.load(folder, ENCODER)


def test_a_download_is_read_once_and_again_when_it_changes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "cache_folder", lambda: tmp_path / "cache")
    Catalog.load_downloaded(folder, ENCODER)
    with monkeypatch.context() as patched:
        patched.setattr(storage, "sha256_of", lambda path: {MANIFEST_FILE: sha256_of(path)}[path.name])
        Catalog.load_downloaded(folder, ENCODER)
    whole = (folder / "embeddings.safetensors").read_bytes()
    (folder / "embeddings.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for _ in range(2):  # a refusal is not forgotten
        with pytest.raises(IntegrityError, match="differs from its recorded checksum"):
            Catalog.load_downloaded(folder, ENCODER)


def test_headers_that_lie_are_refused(folder):
    name = "embeddings.safetensors"
    whole = (folder / name).read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    first, last = header["embeddings"]["data_offsets"]
    for about in (
        {"data_offsets": [first, last + 2**40]},
        {"dtype": "F64"},
        {"shape": [2**62, 16]},
        {"dtype": "F8_E4M3"},
    ):
        changed = json.dumps({**header, "embeddings": {**header["embeddings"], **about}}).encode()
        (folder / name).write_bytes(len(changed).to_bytes(8, "little") + changed + whole[8 + size :])
        sign_again(folder)
        with pytest.raises(CatalogError, match="not well formed"):
            Catalog.load(folder, ENCODER)


def test_what_is_not_aligned_is_read_as_it_is(folder):
    expected = build().melodies.pitch_cents
    whole = (folder / "melodies.safetensors").read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + size].rstrip() + b" "  # the library pads to whole numbers of eight bytes
    (folder / "melodies.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + whole[8 + size :])
    sign_again(folder)
    np.testing.assert_array_equal(Catalog.load(folder, ENCODER).melodies.pitch_cents, expected)


def test_a_catalog_of_an_older_version_is_searched_alike(folder):
    tensors = load_file(folder / "melodies.safetensors")
    old = {name: tensors[name] for name in ("pitch_cents", "n_frames")}
    (folder / "melodies.safetensors").write_bytes(save(old))
    sign_again(folder)
    for name, expected in tensors.items():
        np.testing.assert_array_equal(Catalog.load(folder, ENCODER).melodies.tensors[name], expected)


def test_a_folder_without_manifest_is_no_catalog(folder):
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(CatalogError, match="'catalog' is not a catalog"):
        Catalog.load(folder, ENCODER)
    with pytest.raises(CatalogError, match="'nowhere' is not a catalog"):
        Catalog.load(folder / "nowhere", ENCODER)


def test_another_encoder_is_refused(folder):
    with pytest.raises(CatalogError, match="build the catalog again") as refused:
        Catalog.load(folder, tiny_encoder(seed=1))
    assert ENCODER.fingerprint in str(refused.value)


def test_another_format_version_is_refused(folder):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    for version in (3, "1", None):
        (folder / MANIFEST_FILE).write_text(json.dumps({**manifest, "format_version": version}))
        with pytest.raises(CatalogError, match=f"has format version {version!r}, this program reads 1 and 2"):
            Catalog.load(folder, ENCODER)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format_version": 1, "files": []}', b"\xff\xfe", b"[" * 200_000]
)
def test_a_damaged_manifest_is_refused(folder, content):
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(IntegrityError, match=r"manifest.json of catalog 'catalog' is damaged"):
        Catalog.load(folder, ENCODER)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("songs.json", b"[{"),
        ("songs.json", b"[1, 2, 3, 4]"),
        ("songs.json", b'{"id": "x"}'),
        ("songs.json", b"[" * 200_000),
        ("songs.json", b"\xff"),
        ("melodies.safetensors", b""),
        ("melodies.safetensors", b"\x80\x04K\x01."),
        ("embeddings.safetensors", b"\xff" * 64),
        ("credits.md", b"\xff\xfe\xff"),
    ],
)
def test_malformed_files_are_refused_even_when_signed(folder, name, content):
    (folder / name).write_bytes(content)
    sign_again(folder)
    with pytest.raises(CatalogError, match="'catalog' is not well formed"):
        Catalog.load(folder, ENCODER)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": "two"}, "'two' occurs more than once"),
        ({"id": 5}, "'id' must be text"),
        ({"gender": ["female"]}, "not well formed"),
        ({"gender": "robot"}, "'robot' is not one of"),
        ({"Title": {"$ne": 1}}, "'title' must be text"),
    ],
)
def test_rows_with_impossible_fields_are_refused(folder, fields, words):
    change_rows(folder, **fields)
    with pytest.raises(CatalogError, match=words):
        Catalog.load(folder, ENCODER)


@pytest.mark.parametrize(
    ("name", "tensors", "words"),
    [
        ("melodies", {"n_frames": np.int32([10])}, "not well formed"),
        ("melodies", {"pitch_cents": np.zeros(9, np.int16), "n_frames": np.int32([10, -1, 0, 0])}, "not well formed"),
        ("melodies", {"pitch_cents": np.zeros(9, np.int16), "n_frames": np.int32([9])}, "4 songs but 1 melodies"),
        ("melodies", {**FOUR_MELODIES, "tracked": np.ones(3, bool)}, "4 songs but"),
        ("melodies", {**FOUR_MELODIES, "tracked": np.ones(4, np.uint8)}, "4 songs but"),
        ("embeddings", {**FOUR_WINDOWS, "embeddings": np.zeros((4, 3))}, r"shape \(4, 3\) and"),
        ("embeddings", {**FOUR_WINDOWS, "n_windows": np.int32([5, -1, 0, 0])}, "window counts add up"),
        ("melodies", {**FOUR_MELODIES, "pitch_cents": np.full(4, -1, np.int16)}, "'one' has no melody"),
        ("melodies", {**FOUR_MELODIES, "contour_begin": np.int32([0] * 4), "contour_end": np.int32([2] * 4)}, "inside"),
        ("melodies", {**FOUR_MELODIES, "median_midi": np.zeros(5, np.float32)}, "local medians"),
        ("embeddings", {**FOUR_WINDOWS, "embeddings": np.zeros((4, ENCODER.dim), np.float32)}, "float16"),
        ("embeddings", {**FOUR_WINDOWS, "n_windows": np.int32([[1]] * 4)}, "int32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder, name, tensors, words):
    (folder / f"{name}.safetensors").write_bytes(save(tensors))
    sign_again(folder)
    with pytest.raises(CatalogError, match=words):
        Catalog.load(folder, ENCODER)


@pytest.mark.parametrize(
    ("name", "tensor", "value", "words"),
    [
        ("embeddings", "embeddings", np.nan, "not finite"),
        ("embeddings", "embeddings", np.inf, "not finite"),
        ("melodies", "median_midi", np.nan, "local medians"),
        ("melodies", "median_midi", 1e5, "local medians"),
        ("melodies", "pitch_cents", -1, "voiced"),
    ],
)
def test_numbers_that_a_search_trusts_are_verified_whoever_signed_them(
    folder, tmp_path, monkeypatch, name, tensor, value, words
):
    monkeypatch.setattr(storage, "cache_folder", lambda: tmp_path / "cache")
    Catalog.load(folder, ENCODER, verify=True)
    tensors = load_file(folder / f"{name}.safetensors")
    tensors[tensor][:2] = value
    (folder / f"{name}.safetensors").write_bytes(save(tensors))
    sign_again(folder)
    with pytest.raises(CatalogError, match=words):
        Catalog.load(folder, ENCODER, verify=True)
    for _ in range(2):  # a refusal is not forgotten
        with pytest.raises(CatalogError, match=words):
            Catalog.load_downloaded(folder, ENCODER)


# Saving over something ----------------------------------------------------------------------------------


@pytest.mark.parametrize("can_link", [True, False])
def test_a_catalog_written_again_keeps_its_model_and_recordings(folder, monkeypatch, can_link):
    def refuse(*_):
        raise OSError("no links on this file system")

    ENCODER.save(folder)
    (folder / "two.flac").write_bytes(b"fLaC")
    (folder / "more").mkdir()
    (folder / "more" / "songs.json").write_text("precious")
    (folder / "linked.flac").symlink_to("two.flac")
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if not can_link:
        monkeypatch.setattr("hmm2song.catalog.storage.os.link", refuse)
    changed = (SONGS[1], SONGS[2])
    build(changed).save(folder)
    catalog = Catalog.load(folder, encoder_of(folder))
    assert catalog.songs == changed and catalog.recording("two") == (folder / "two.flac").resolve()
    after = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {str(name) for name in after if after[name] != before[name]} == {
        "songs.json", "melodies.safetensors", "embeddings.safetensors", "manifest.json"
    }  # fmt: skip
    assert after.keys() == before.keys() and (folder / "linked.flac").is_symlink()
    assert [path.name for path in folder.parent.iterdir()] == ["catalog"]


def test_a_catalog_is_not_written_beside_a_model_that_cannot_open_it(folder):
    tiny_encoder(seed=3).save(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CatalogError, match="catalog' holds the model of another encoder .* move its model"):
        build(SONGS[:2]).save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["catalog"]


def test_what_is_no_catalog_is_not_overwritten(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.mp3").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    build().save(tmp_path / "empty")
    for name, words in (("music", "not a catalog"), ("file", "not a folder"), ("link", "not a folder")):
        with pytest.raises(CatalogError, match=f"{name}' exists and is {words}"):
            build().save(tmp_path / name)
    assert (tmp_path / "music" / "song.mp3").read_text() == (tmp_path / "file").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"music", "file", "link", "empty"}


# Looking up ---------------------------------------------------------------------------------------------


def test_songs_and_melodies_are_found_by_id():
    catalog = build()
    assert len(catalog) == 4
    assert [catalog.position(song.id) for song in SONGS] == [0, 1, 2, 3]
    assert catalog.song("three") == SONGS[2]
    np.testing.assert_array_equal(catalog.melody("three").pitch_midi, make_melodies(4)[2].pitch_midi)
    for look_up in (catalog.position, catalog.song, catalog.melody, catalog.recording):
        with pytest.raises(UnknownSongError, match="no song has the id 'five'") as refused:
            look_up("five")
        assert isinstance(refused.value, KeyError)


def test_a_recording_inside_the_catalog_is_found(folder):
    assert Catalog.load(folder, ENCODER).recording("two") is None
    (folder / "two.flac").write_bytes(b"fLaC")
    catalog = Catalog.load(folder, ENCODER)
    assert catalog.recording("two") == (folder / "two.flac").resolve()
    assert catalog.recording("one") is None
    assert build().recording("two") is None


@pytest.mark.parametrize(
    "path", ["../secret.flac", "{outside}", "a/../../secret.flac", ".", "sub", "link.flac", "circle", "a\0b", "a" * 300]
)
def test_no_path_leads_out_of_the_catalog(folder, path):
    outside = folder.parent / "secret.flac"
    outside.write_bytes(b"fLaC")
    (folder / "sub").mkdir()
    (folder / "link.flac").symlink_to(outside)
    (folder / "circle").symlink_to(folder / "circle")
    change_rows(folder, path=path.format(outside=outside))
    catalog = Catalog.load(folder, ENCODER)
    assert catalog.recording("one") is None and catalog.recording("one", folder) is None


def test_the_report_of_indexing_tells_where_recordings_are_in_a_folder_that_is_named(folder, tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    (music / "song.flac").write_bytes(b"fLaC")
    change_rows(folder, path="")
    (folder / "report.csv").write_text("path,id,warnings\nsong.flac,one,\n../outside.flac,two,\n")
    (tmp_path / "outside.flac").write_bytes(b"fLaC")
    catalog = Catalog.load(folder, ENCODER)
    assert catalog.recording("one", music) == (music / "song.flac").resolve()
    assert catalog.recording("one") is None and catalog.recording("two", music) is None
    (folder / "report.csv").write_bytes(b"\xff\xfe damaged")
    assert Catalog.load(folder, ENCODER).recording("one", music) is None
