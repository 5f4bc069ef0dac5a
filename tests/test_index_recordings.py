"""From a folder of recordings to a catalog: tags, separation, melodies, quality, updates; and broken files."""

from __future__ import annotations

import csv
import dataclasses
import random

import numpy as np
import pytest
import soundfile
from broken_files import MAKERS
from folders import contents
from test_indexing import sung

from hmm2song.catalog import catalog as catalog_module
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import default_encoder
from hmm2song.catalog.storage import FACETS_FILE, write_manifest
from hmm2song.errors import CatalogError, SeparationError, SeparatorUnavailableError
from hmm2song.indexing import extract as extraction
from hmm2song.indexing import gathering
from hmm2song.indexing.build import IndexOptions, index
from hmm2song.indexing.edit import add
from hmm2song.indexing.separation import separation
from hmm2song.indexing.separation.separation import open_separator
from hmm2song.indexing.separation.stems import Stems
from hmm2song.indexing.sources import Item, readable_name
from hmm2song.indexing.vocal_melody import VocalMelody
from hmm2song.similar import enrich
from hmm2song.similar.enrich import LabelModel

RATE_HZ = 16000
pytestmark = pytest.mark.usefixtures("tiny_model")


def record(file, pitches_midi, **tags):
    file.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(file, "w", RATE_HZ, 1) as sound:
        for name, text in tags.items():
            setattr(sound, name, text)
        sound.write(sung(pitches_midi))


def report_of(folder):
    with (folder / "report.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    record(folder / "Kim - Rising.flac", [60, 62, 64, 65, 67, 69])
    record(folder / "album" / "02 falling.flac", [69, 67, 65, 64, 62, 60], title="Falling", artist="Lee", genre="Trot")
    record(folder / "leaps.wav", [60, 67, 59, 72, 60, 64])
    return folder


class Recorder:
    """A separator that writes down what it separates: the voice is the mix, a fifth higher."""

    name = "fake-1"

    def __init__(self):
        self.separated = []

    def separate(self, recording, out, progress=None):
        self.separated.append((recording.name, out))
        if recording.name.startswith("bad"):
            raise SeparationError(f"{recording.name!r} is only noise")
        out.mkdir(parents=True, exist_ok=True)
        samples, rate_hz = soundfile.read(recording, dtype="float32")
        soundfile.write(out / "vocals.flac", samples, round(rate_hz * 1.5))
        return Stems(out / "vocals.flac", None, is_mix=False)

    def __call__(self, spec):
        return self if spec == "fake" else open_separator(spec)


@pytest.fixture
def separator(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(separation, "open_separator", recorder)
    monkeypatch.setattr(gathering, "open_separator", recorder)
    separation.process_separator.cache_clear()
    yield recorder
    separation.process_separator.cache_clear()


def make(music, out, **options):
    return index(music, out, default_encoder(), 1, options=IndexOptions(**options))


# From the recording to the song -----------------------------------------------------------------------------


def test_titles_melodies_and_what_was_heard(music, tmp_path):
    report = make(music, tmp_path / "out")
    songs = {song.id: song for song in report.catalog.songs}
    assert {song_id: (song.title, song.singer, song.genre) for song_id, song in songs.items()} == {
        "Kim-Rising": ("Rising", "Kim", ""),
        "album-02-falling": ("Falling", "Lee", "Trot"),
        "leaps": ("leaps", "", ""),
    }
    assert np.nanmedian(np.abs(report.catalog.melody("leaps").pitch_midi[15:22] - 67)) < 0.3
    assert [note.partition(":")[0] for note in report.notes] == ["recordings read as they are"]
    assert [(row["path"], row["id"], row["separated"]) for row in report_of(tmp_path / "out")] == [
        ("Kim - Rising.flac", "Kim-Rising", "no"),
        ("album/02 falling.flac", "album-02-falling", "no"),
        ("leaps.wav", "leaps", "no"),
    ]
    assert all(float(row["voiced_share"]) > 0.8 for row in report_of(tmp_path / "out"))
    assert "* Falling (album-02-falling): Lee\n" in (tmp_path / "out" / "credits.md").read_text()


def test_a_row_of_the_table_outweighs_tags(music, tmp_path):
    (music / "info.csv").write_text("id,Title,Singer,path,gender\n7,Named,,album/02 falling.flac,female\n")
    song = make(music, tmp_path / "out").catalog.song("7")
    assert (song.title, song.singer, song.gender, song.genre) == ("Named", "Lee", "female", "Trot")


def test_the_catalog_refers_to_recordings_only_when_asked(music, tmp_path):
    out = tmp_path / "out"
    plain = make(music, out).catalog
    assert {song.path for song in plain.songs} == {""}
    catalog = make(music, out, previews=True).catalog
    assert catalog.recording("leaps") is None  # the catalog holds no sound
    assert catalog.recording("leaps", music) == music / "leaps.wav"
    assert catalog.recording("leaps", music / "album") is None
    assert not [path for path in out.rglob("*") if path.suffix in {".wav", ".flac"}]


@pytest.mark.parametrize(
    ("spec", "share", "codes", "warning", "kinds"),
    [
        ("none", 0.9, ("instrumental: no voice",), "instrumental: no voice", {"instrumental": 1, "melody": 2}),
        ("none", 0.1, (), "little melody: a pitch in 10% of it; perhaps nobody sings",
         {"little melody": 1, "melody": 2}),
        ("fake", 0.1, ("little voice: 10%",), "little voice: 10%", {"little voice": 1, "voice": 2}),
    ],
)  # fmt: skip
def test_the_report_says_which_recordings_have_a_voice(
    music, tmp_path, monkeypatch, separator, spec, share, codes, warning, kinds
):
    real, files = extraction.vocal_melody, iter(["Kim - Rising.flac", "album/02 falling.flac", "leaps.wav"])

    def heard(stems, recording):
        found = real(stems, recording)
        return VocalMelody(found.melody, share, codes) if next(files) == "leaps.wav" else found

    monkeypatch.setattr(extraction, "vocal_melody", heard)
    report = make(music, tmp_path / "out", separator=spec)
    assert [(entry.path, entry.id, entry.warnings) for entry in report.warned] == [("leaps.wav", "leaps", (warning,))]
    assert report_of(tmp_path / "out")[2]["warnings"] == warning
    about = report.to_dict()
    assert (about["warned"][0]["id"], about["files"]["with_warnings"]) == ("leaps", 1)
    assert about["recordings"]["not_separated" if spec == "none" else "separated"] == kinds
    assert about["recordings"]["not_separated_s"] == (pytest.approx(9, abs=0.2) if spec == "none" else 0)
    monkeypatch.setattr(extraction, "vocal_melody", None)  # remembered, not heard again
    assert make(music, tmp_path / "out", update=True, separator=spec).warned == report.warned


# Separation -------------------------------------------------------------------------------------------------


def test_the_separated_voice_is_what_is_indexed(music, tmp_path, separator):
    record(music / "bad.wav", [60, 62, 64])
    report = make(music, tmp_path / "out", separator="fake")
    assert np.nanmedian(np.abs(report.catalog.melody("Kim-Rising").pitch_midi[4:7] - 67)) < 0.3
    assert [(entry.path, entry.reason) for entry in report.skipped] == [("bad.wav", "is only noise")]
    assert report.notes == ()
    assert {row["separated"] for row in report_of(tmp_path / "out")} == {"yes"}


def test_stems_are_deleted_unless_there_is_a_place_for_them(music, tmp_path, separator, monkeypatch):
    kept_at_once = []
    real = extraction._save_result

    def save(found, partial, key):
        real(found, partial, key)
        kept_at_once.append(len(list((partial / "stems").glob("*/vocals.flac"))))

    monkeypatch.setattr(extraction, "_save_result", save)
    make(music, tmp_path / "out", separator="fake")
    assert kept_at_once == [1, 1, 1]
    make(music, tmp_path / "kept", separator="fake", stems_cache=tmp_path / "stems")
    assert len(list((tmp_path / "stems").glob("*/vocals.flac"))) == 3
    assert not (tmp_path / "kept.partial").exists() and not (tmp_path / "out.partial").exists()


def test_an_interrupted_run_separates_nothing_twice(music, tmp_path, separator, monkeypatch):
    record(music / "bad.wav", [60, 62, 64])
    real, calls = extraction.vocal_melody, []

    def interrupted(stems, recording):
        calls.append(recording)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(stems, recording)

    monkeypatch.setattr(extraction, "vocal_melody", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(music, tmp_path / "out", separator="fake")
    first = [name for name, _ in separator.separated]
    monkeypatch.setattr(extraction, "vocal_melody", real)
    separator.separated.clear()
    make(music, tmp_path / "out", separator="fake")
    # The one whose melody was not stored is asked for again, in the same folder, where its stems still are.
    assert [name for name, _ in separator.separated] == [first[-1]]
    make(music, tmp_path / "clean", separator="fake")
    assert contents(tmp_path / "out") == contents(tmp_path / "clean")


def test_a_missing_separator_ends_the_run_before_it_starts(music, tmp_path):
    for spec in ("nonsense", f"stems:{tmp_path / 'nowhere'}"):
        with pytest.raises(SeparatorUnavailableError):
            make(music, tmp_path / "out", separator=spec)
    assert not (tmp_path / "out").exists()


def test_a_separator_that_breaks_ends_the_run(music, tmp_path, separator, monkeypatch):
    def broken(*_):
        raise SeparatorUnavailableError("the worker does not live")

    monkeypatch.setattr(separator, "separate", broken)
    with pytest.raises(SeparatorUnavailableError, match="does not live"):
        make(music, tmp_path / "out", separator="fake")


def test_stems_that_are_there_already(music, tmp_path):
    stems = music / "separated"  # inside the music: not songs of their own
    record(stems / "leaps.flac", [72, 71, 69, 67, 65])
    report = make(music, tmp_path / "out", separator=f"stems:{stems}")
    assert [song.id for song in report.catalog.songs] == ["leaps"]
    assert np.nanmedian(np.abs(report.catalog.melody("leaps").pitch_midi[2:10] - 72)) < 0.3
    assert [entry.path for entry in report.skipped] == ["Kim - Rising.flac", "album/02 falling.flac"]


# Updates ----------------------------------------------------------------------------------------------------


def test_an_update_reads_and_embeds_only_what_changed(music, tmp_path, monkeypatch):
    out, clean = tmp_path / "out", tmp_path / "clean"
    make(music, out)
    record(music / "leaps.wav", [60, 67, 59, 72, 60, 65])
    record(music / "new.wav", [64, 64, 65, 67, 67, 65])
    (music / "Kim - Rising.flac").unlink()
    (music / "info.csv").write_text("id,Title,Singer,path\n7,Named,,album/02 falling.flac\n")

    read, embedded = [], []
    real_read, real_embed = extraction._read, catalog_module._embed_song
    with monkeypatch.context() as patched:
        patched.setattr(extraction, "_read", lambda item, *rest: read.append(item.name) or real_read(item, *rest))
        patched.setattr(
            catalog_module, "_embed_song", lambda song, *rest: embedded.append(song.id) or real_embed(song, *rest)
        )
        report = make(music, out, update=True)
    assert read == embedded_names(embedded) == ["leaps.wav", "new.wav"]
    assert (report.indexed, report.unchanged, report.removed) == (3, 1, 2)
    assert report.catalog.song("7").title == "Named"
    make(music, clean)
    assert contents(out) == contents(clean)
    (music / "info.csv").unlink()  # what the file itself says is not lost
    make(music, out, update=True)
    make(music, clean)
    assert contents(out) == contents(clean)


def embedded_names(ids):
    return [f"{song_id}.wav" for song_id in ids]


def test_an_update_of_nothing_is_a_catalog_made_anew(music, tmp_path):
    make(music, tmp_path / "out", update=True)
    make(music, tmp_path / "clean")
    assert contents(tmp_path / "out") == contents(tmp_path / "clean")


def test_an_update_keeps_what_was_added_by_hand_and_what_was_removed_stays_away(music, tmp_path, capsys):
    from hmm2song.__main__ import main

    out, other = str(tmp_path / "out"), tmp_path / "other"
    record(other / "mine.wav", [72, 71, 72, 67, 64, 60])
    (tmp_path / "out").mkdir()
    assert main(["index", str(music), "--out", out, "--workers", "1", "--no-listen"]) == 0
    assert "--update --no-listen" in (output := capsys.readouterr().out) and "listened" not in output
    assert main(["add", out, str(other / "mine.wav")]) == 0
    assert main(["remove", out, "leaps"]) == 0
    assert [row["id"] for row in report_of(tmp_path / "out")] == ["Kim-Rising", "album-02-falling", "mine"]
    assert main(["index", str(music), "--out", out, "--update", "--workers", "1"]) == 0
    output = capsys.readouterr().out
    assert f"3 files: 2 indexed, 1 skipped\n3 songs in {out}; 3 files unchanged, 0 songs removed\n" in output
    assert "leaps.wav: removed from the catalog by hand" in output and "\n3 recordings listened to: " in output
    ids = [song.id for song in Catalog.load(out, default_encoder()).songs]
    assert ids == ["Kim-Rising", "album-02-falling", "mine"]


def test_merged_catalogs_are_not_updated(music, tmp_path):
    make(music, tmp_path / "out")
    (tmp_path / "out" / "sources.json").unlink()
    with pytest.raises(CatalogError, match=r"sources\.json"):
        make(music, tmp_path / "out", update=True)


@pytest.mark.parametrize("damage", ["{", "[]", '{"version": 1, "files": [{"path": 1}]}', '{"version": 2, "files": []}'])
def test_a_damaged_memory_is_an_error(music, tmp_path, damage):
    make(music, tmp_path / "out")
    (tmp_path / "out" / "sources.json").write_text(damage)
    with pytest.raises(CatalogError, match="not well formed"):
        make(music, tmp_path / "out", update=True)


def test_two_rows_of_one_file_survive_an_update(music, tmp_path):
    table = music / "table.csv"
    table.write_text("id,Title,path\na,First,leaps.wav\nb,Second,leaps.wav\n")
    before = [(song.id, song.title) for song in make(table, tmp_path / "out").catalog.songs]
    assert before == [("a", "First"), ("b", "Second")]
    after = make(table, tmp_path / "out", update=True).catalog.songs
    assert [(song.id, song.title) for song in after] == before


# Listening --------------------------------------------------------------------------------------------------


def test_recordings_are_listened_to_and_notes_are_not(music, tmp_path):
    (music / "notes.abc").write_text("X:1\nT:Notes\nL:1/4\nK:C\nCDEF GABc\n")
    report = make(music, tmp_path / "out")
    facets, ids = report.catalog.facets, [song.id for song in report.catalog.songs]
    assert {song_id for song_id, is_heard in zip(ids, facets.heard, strict=True) if not is_heard} == {"notes"}
    assert facets.duration_s[ids.index("leaps")] == pytest.approx(3, abs=0.01)
    assert report.to_dict()["heard"] == {"songs": 3, "sung": int(facets.voice.any(axis=1).sum())}
    quick = make(music, tmp_path / "quick", listen=False)
    assert quick.catalog.facets is None and quick.to_dict()["heard"] == {"songs": 0, "sung": 0}


def test_labels_are_guessed_alike_by_indexing_adding_and_updating(music, tmp_path, monkeypatch):
    sure = LabelModel("sure", np.zeros(256), 0.0, 0.0, 0.0, genre_slope=0.0, genre_offset=9.0)
    monkeypatch.setattr(enrich, "label_model", lambda: sure)
    monkeypatch.setattr(enrich, "GUESSED_GENRES", tuple(enrich.GENRE_TAGS))
    (music / "notes.abc").write_text("X:1\nT:Notes\nL:1/4\nK:C\nCDEF GABc\n")
    whole = {song.id: song.guessed for song in make(music, tmp_path / "whole").catalog.songs}
    assert {song_id for song_id, guessed in whole.items() if "(0.99, sure)" in guessed} == {"Kim-Rising", "leaps"}
    assert whole["notes"] == whole["album-02-falling"] == ""  # not heard; and of a stated genre
    assert {row["id"]: row["guessed"] for row in report_of(tmp_path / "whole")}["leaps"] == whole["leaps"]
    out = tmp_path / "added"
    make(music / "album", out)
    add(out, [music / "leaps.wav", music / "Kim - Rising.flac"], default_encoder(), 1)
    added = {song.id: song.guessed for song in Catalog.load(out, default_encoder()).songs}
    assert (added["leaps"], added["Kim-Rising"]) == (whole["leaps"], whole["Kim-Rising"])
    assert {row["id"]: row["guessed"] for row in report_of(out)}["leaps"] == whole["leaps"]
    monkeypatch.setattr(enrich, "label_model", lambda: dataclasses.replace(sure, genre_offset=-9.0))
    assert not any(song.guessed for song in make(music, tmp_path / "whole", update=True).catalog.songs)


@pytest.mark.parametrize("listener", ["", "another version"])
def test_an_update_listens_to_what_was_not_heard_and_reads_nothing_again(music, tmp_path, monkeypatch, listener):
    out = tmp_path / "out"
    catalog = make(music, out, listen=bool(listener)).catalog
    if listener:
        dataclasses.replace(catalog.facets, listener=listener).write(out / FACETS_FILE)
        write_manifest(out, catalog.encoder_fingerprint, len(catalog))
    with monkeypatch.context() as patched:
        patched.setattr(extraction, "_read", None)
        assert make(music, out, update=True).unchanged == 3
        patched.setattr(extraction, "hear_samples", None)
        make(music, out, update=True)
    make(music, tmp_path / "clean")
    assert contents(out) == contents(tmp_path / "clean")


def test_songs_added_by_hand_that_another_version_heard_are_told(music, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    record(other / "mine.wav", [72, 71, 72, 67, 64, 60])
    make(music, out)
    catalog = add(out, [other], default_encoder(), 1).catalog
    dataclasses.replace(catalog.facets, listener="another version").write(out / FACETS_FILE)
    write_manifest(out, catalog.encoder_fingerprint, len(catalog))
    record(other / "new.wav", [72, 71, 69, 67, 65, 60])
    with pytest.raises(CatalogError, match="--no-listen"):
        add(out, [other / "new.wav"], default_encoder(), 1)
    report = make(music, out, update=True)
    assert "added by hand: 1;" in report.notes[-1]
    assert report.catalog.facets.heard.tolist() == [True, True, True, False]
    assert add(out, [other / "mine.wav"], default_encoder(), 1).repeated == ("mine",)
    assert add(out, [other / "mine.wav"], default_encoder(), 1, replace=True).catalog.facets.heard.all()


def test_a_run_killed_while_listening_goes_on(music, tmp_path, monkeypatch):
    real, heard = extraction.hear_samples, []

    def interrupted(samples):
        if len(heard) == 1:
            raise KeyboardInterrupt
        heard.append(len(samples))
        return real(samples)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(extraction, "hear_samples", interrupted)
        make(music, tmp_path / "out")
    read, real_read = [], extraction._read
    monkeypatch.setattr(extraction, "_read", lambda item, *rest: read.append(item.name) or real_read(item, *rest))
    make(music, tmp_path / "out")
    assert read == ["leaps.wav"]
    make(music, tmp_path / "clean")
    assert contents(tmp_path / "out") == contents(tmp_path / "clean")


# Workers and broken files -----------------------------------------------------------------------------------


def test_one_or_two_workers_make_the_same_catalog(music, tmp_path):
    for number in range(3):  # enough to be worth a second process
        soundfile.write(music / f"long-{number}.wav", np.tile(sung([60, 62, 64, 67 + number]), 12), RATE_HZ)
    one = index(music, tmp_path / "one", default_encoder(), 1)
    two = index(music, tmp_path / "two", default_encoder(), 2)
    assert one.indexed == two.indexed == 6
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_broken_files_of_every_kind_are_listed_and_the_good_ones_among_them_are_found(tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    broken = [make(music / f"broken-{number:03d}", random.Random(number)) for number, make in enumerate(MAKERS)]
    for number in range(30):
        (music / f"good-{number:02d}.abc").write_bytes(TUNE)
    soundfile.write(music / "good-30.wav", sung([60, 62, 64, 65, 67, 65, 64, 62]), RATE_HZ)
    report = index(music, tmp_path / "catalog", default_encoder(), 1)
    assert {song.id for song in report.catalog.songs} == {f"good-{number:02d}" for number in range(31)}
    named = sorted(readable_name(path.name) for path in broken)
    assert sorted(skipped.path for skipped in report.skipped) == named
    assert all(skipped.reason.strip() for skipped in report.skipped)


def test_a_recording_that_breaks_off_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", sung([60, 62, 64, 65, 67, 65, 64, 62, 60, 62, 64, 65]), RATE_HZ)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: len(content) // 2])
    key = extraction.extract_file(Item(tmp_path / "a.wav", "a.wav"), tmp_path, IndexOptions())
    assert extraction.load_result(tmp_path, key).melodies[0].warnings == ("only 3 of 6 s can be read",)


TUNE = b"X:1\nL:1/4\nQ:1/4=120\nK:C\nCDEF|GABc|\n"
