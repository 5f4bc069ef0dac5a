"""Folders and tables of small files made here -> catalogs, compared byte by byte where it matters."""

import csv
import gc
import itertools
import json
import multiprocessing
import os
import random
import signal
import struct
import subprocess
import sys
import unicodedata
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from encoders import pair_of_encoders
from folders import contents
from test_audio import encode
from test_storage import FILE_SYSTEM, KilledError
from waiting import wait_until

from hmm2song.catalog import catalog as catalog_module
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import default_encoder
from hmm2song.catalog.writer import CatalogWriter
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import CatalogError, Hmm2SongError, ScoreError, SeparatorUnavailableError
from hmm2song.indexing import extract as extraction
from hmm2song.indexing.build import index
from hmm2song.indexing.edit import add, remove
from hmm2song.indexing.extract import IndexOptions, extract_file
from hmm2song.indexing.sources import Item, SkippedFile
from hmm2song.indexing.workers import WAITING_PER_WORKER, map_files
from hmm2song.melody.melody import Melody

ROOT = Path(__file__).parent.parent
SCALE = "CDEFGABc"
F0_TABLE = "time_s,f0_hz\n" + "".join(f"{0.04 * frame:.2f},{220 + frame}\n" for frame in range(100))
pytestmark = pytest.mark.usefixtures("tiny_model")


def tune(number, header=""):
    """Return a tune of 6 s that no other number gives."""
    rng = random.Random(number)
    notes = "".join(rng.choice(SCALE) for _ in range(12))
    return f"X:1\n{header}M:4/4\nL:1/4\nQ:1/4=120\nK:C\n{notes[:4]}|{notes[4:8]}|{notes[8:]}|\n"


def sung(pitches, seconds=0.5, rate_hz=16000):
    """Return a harmonic tone that sings MIDI pitches one after the other."""
    f0_hz = np.repeat(440.0 * 2 ** ((np.array(pitches) - 69) / 12), int(seconds * rate_hz))
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate_hz
    return 0.2 * sum(np.sin(harmonic * phase) / harmonic for harmonic in (1, 2, 3))


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "b.abc").write_text(tune(1, "T:Bee\nG:Folk\n"))
    (folder / "sub" / "a.abc").write_text(tune(2))
    (folder / "sub" / "deep" / "노래.abc").write_text(tune(3))
    soundfile.write(folder / "hum.wav", sung([60, 62, 64, 65, 67, 69]), 16000)
    return folder


def test_folder(music, tmp_path):
    calls = []
    report = index(music, tmp_path / "out", default_encoder(), progress=lambda *call: calls.append(call))
    assert [song.id for song in report.catalog.songs] == ["b", "hum", "sub-a", "sub-deep-노래"]
    assert [song.title for song in report.catalog.songs] == ["Bee", "hum", "a", "노래"]
    assert [song.path for song in report.catalog.songs] == [""] * 4
    assert (report.indexed, report.skipped) == (4, ())
    melody = report.catalog.melody("hum")
    assert np.nanmedian(np.abs(melody.pitch_midi[5:10] - 60)) < 0.3
    assert np.nanmedian(np.abs(melody.pitch_midi[68:73] - 69)) < 0.3
    assert [call for call in calls if call[0] == "read"] == [("read", done, 4) for done in range(5)]
    assert calls[-1] == ("embed", 4, 4)
    assert not (tmp_path / "out.partial").exists()
    assert "Bee (b): not stated" in (tmp_path / "out" / "credits.md").read_text()


def test_broken_files_are_listed(music, tmp_path):
    (music / "bad.mid").write_bytes(b"nonsense")
    (music / "empty.wav").write_bytes(b"")
    (music / "text.mp3").write_bytes(b"not sound at all, only words")
    (music / "short.jsonl").write_text('{"id": "s", "notes": [[0, 0.2, 60]]}\n')
    (music / "notes.txt").write_text("not for us")
    (music / ".hidden.mid").write_bytes(b"nonsense")
    soundfile.write(music / "silence.wav", np.zeros(32000), 16000)
    report = index(music, tmp_path / "out", default_encoder())
    assert report.indexed == 4
    assert [entry.path for entry in report.skipped] == [
        ".hidden.mid",
        "bad.mid",
        "empty.wav",
        "short.jsonl",
        "silence.wav",
        "text.mp3",
    ]
    assert report.skipped[4].reason == "0.0 s of melody; at least 1 s needed"
    with (tmp_path / "out" / "skipped.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["path", "reason"], *([entry.path, entry.reason] for entry in report.skipped)]
    assert report.to_dict()["skipped"][0] == {"path": ".hidden.mid", "reason": report.skipped[0].reason}


def test_every_kind_of_music_is_indexed_or_listed(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    melody = sung([60, 62, 64, 65, 67, 69])
    soundfile.write(folder / "sound.aiff", melody, 16000)
    encode(str(folder / "video.MP4"), melody, 16000, "aac", "mp4")
    encode(str(folder / "sound.wv"), melody, 16000, "wavpack", "wv")
    notes = b"".join(bytes([0, 0x90, pitch, 64, 96, 0x80, pitch, 0]) for pitch in (60, 62, 64, 65, 67, 69))
    track = notes + b"\0\xff\x2f\0"
    midi = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(track)) + track
    (folder / "song.kar").write_bytes(midi)
    (folder / "song.rmi").write_bytes(
        b"RIFF" + struct.pack("<I", len(midi) + 12) + b"RMIDdata" + struct.pack("<I", len(midi)) + midi
    )
    for name in ("band.dsf", "score.mscz", "cover.jpg", "notes.txt", "list.m3u"):
        (folder / name).write_bytes(b"something")
    report = index(folder, tmp_path / "out", default_encoder())
    assert [song.id for song in report.catalog.songs] == ["song", "song-2", "sound", "sound-2", "video"]
    assert list(report.catalog.tracked) == [False, False, True, True, True]
    assert [entry.path for entry in report.skipped] == ["band.dsf", "score.mscz"]
    assert "FLAC" in report.skipped[0].reason and "MusicXML" in report.skipped[1].reason
    assert str(report.files) == "10 files: 5 indexed, 2 skipped, 3 not music"

    (folder / "table.csv").write_text("path\nsound.aiff\nvideo.MP4\nsong.kar\nband.dsf\n")
    report = index(folder / "table.csv", tmp_path / "of table", default_encoder())
    assert (report.indexed, [entry.path for entry in report.skipped]) == (3, ["band.dsf"])
    assert str(report.files) == "4 rows: 3 indexed, 1 skipped"
    assert index(folder / "sound.wv", tmp_path / "alone", default_encoder()).indexed == 1
    with pytest.raises(CatalogError, match="save it as FLAC"):
        index(folder / "band.dsf", tmp_path / "none", default_encoder())


def test_broken_row_does_not_hide_the_others(tmp_path):
    source = tmp_path / "songs.jsonl"
    notes = [[0.5 * beat, 0.5, 60 + beat] for beat in range(8)]
    source.write_text("\n".join([json.dumps({"id": "one", "notes": notes}), "{", json.dumps({"notes": notes})]))
    report = index(source, tmp_path / "out", default_encoder())
    assert [(song.id, song.title) for song in report.catalog.songs] == [("one", "one"), ("songs-3", "songs-3")]
    assert report.skipped == (SkippedFile("songs.jsonl", "line 2: not a JSON object"),)
    assert str(report.files) == "1 file: 1 indexed (1 with warnings), 0 skipped"


def test_info_table_of_a_folder(music, tmp_path):
    decomposed = unicodedata.normalize("NFD", "sub/deep/노래.abc")
    (music / "info.csv").write_text(
        "id,Title,Singer,Lyric,genre,path,gender,year\n"
        f'7,노래,가수,"la,\nla","Dance, Ballad,Dance",{decomposed},여성,2023\n'
        "8,Hum,Someone,,Folk,hum.wav,MALE,\n"
        "9,None,,,,nowhere.wav,,\n"
        "10,Odd,,,,b.abc,robot,\n",
        encoding="utf-8-sig",
    )
    report = index(music, tmp_path / "out", default_encoder())
    song = report.catalog.song("7")
    assert (song.title, song.singer, song.lyric, song.genres) == ("노래", "가수", "la,\nla", ("Dance", "Ballad"))
    assert (song.gender, song.year) == ("female", "2023")
    assert report.catalog.song("8").gender == "male"
    assert [song.id for song in report.catalog.songs] == ["8", "sub-a", "7"]
    assert [entry.path for entry in report.skipped] == ["nowhere.wav", "b.abc"]
    assert "robot" in report.skipped[1].reason
    assert str(report.files) == "5 files: 3 indexed, 1 skipped, 1 not music"  # a row without a file is no file


def test_table(music, tmp_path):
    outside = tmp_path / "outside.abc"
    outside.write_text(tune(9))
    (music / "link.abc").symlink_to(outside)
    table = music / "songs.csv"
    rows = [
        ("1", "One", "b.abc"), ("1", "Two", "sub\\a.abc"), ("1-2", "Three", "./hum.wav"),
        ("4", "Up", "../outside.abc"),
        ("5", "Absolute", str(outside)), ("6", "Drive", "C:\\outside.abc"), ("7", "Link", "link.abc"),
        ("8", "Gone", "gone.abc"), ("9", "Empty", ""), ("10", "Null", "b.abc\0"), ("11", "Folder", "sub"),
        ("12", "Inside out", "sub/../../outside.abc"),
    ]  # fmt: skip
    with table.open("w", newline="", encoding="cp949") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "Title", "Singer", "Lyric", "genre", "path", "gender"])
        writer.writerows((song_id, title, "가수", "", "", path, "혼성") for song_id, title, path in rows)
    report = index(table, tmp_path / "out", default_encoder())
    assert [(song.id, song.title) for song in report.catalog.songs] == [("1", "One"), ("1-3", "Two"), ("1-2", "Three")]
    assert {song.singer for song in report.catalog.songs} == {"가수"}
    assert {song.gender for song in report.catalog.songs} == {"mixed"}
    reasons = [entry.reason for entry in report.skipped]
    assert [reason.startswith(f"line {line}: ") for line, reason in enumerate(reasons, start=5)] == [True] * 9
    leads_out = ["leads out" in reason for reason in reasons]
    assert leads_out == [True, True, True, True, False, False, True, False, True]


def test_folder_links_out_and_loops_are_not_followed(music, tmp_path):
    (tmp_path / "secret.abc").write_text(tune(9))
    (music / "link.abc").symlink_to(tmp_path / "secret.abc")
    (music / "sub" / "loop").symlink_to(music)
    (tmp_path / "elsewhere").mkdir()
    (music / "shelf").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(music / "pipe.csv")
    report = index(music, tmp_path / "out", default_encoder())
    assert report.indexed == 4
    assert report.skipped == (
        SkippedFile("link.abc", "a link out of the folder is not followed"),
        SkippedFile("pipe.csv", "not a regular file"),
        SkippedFile("shelf", "a link out of the folder is not followed; index the folder it leads to", is_file=False),
    )
    assert str(report.files) == "6 files: 4 indexed, 2 skipped"


def test_catalog_inside_its_own_folder_is_left_out(music):
    first = index(music, music / "catalog", default_encoder())
    second = index(music, music / "catalog", default_encoder())
    assert first.indexed == second.indexed == 4
    assert first.skipped == second.skipped == ()


def test_ids_that_clash(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for number, name in enumerate(("a b.abc", "a-b.abc", "a_b.abc", "a-b-2.abc", "a-b.f0.csv")):
        text = tune(number)
        if name.endswith(".csv"):
            text = F0_TABLE
        (folder / name).write_text(text)
    report = index(folder, tmp_path / "out", default_encoder())
    assert [song.id for song in report.catalog.songs] == ["a-b", "a-b-2", "a-b-3", "a-b-4", "a_b"]
    assert list(report.catalog.tracked) == [False, False, False, True, False]  # of f0, not of notes


def test_a_recording_that_comes_to_scores_is_embedded_once(tmp_path, monkeypatch):
    both, embedded, embed_song = pair_of_encoders(), [], MelodyEncoder.embed_song
    (tmp_path / "written.abc").write_text(tune(1))
    (tmp_path / "sung.f0.csv").write_text(F0_TABLE)
    index(tmp_path / "written.abc", tmp_path / "out", both)
    monkeypatch.setattr(MelodyEncoder, "embed_song", lambda *given: embedded.append(given[0]) or embed_song(*given))
    catalog = add(tmp_path / "out", [tmp_path / "sung.f0.csv"], both).catalog
    assert [encoder.fingerprint for encoder in embedded] == [both.fingerprint] == [catalog.encoder_fingerprint]


def test_a_catalog_is_embedded_anew_when_scores_come_to_recordings_or_go(tmp_path):
    both, music = pair_of_encoders(), tmp_path / "music"
    music.mkdir()
    (music / "sung.f0.csv").write_text(F0_TABLE)
    for out in ("added", "updated"):
        assert index(music, tmp_path / out, both).catalog.encoder_fingerprint == both.tracked.fingerprint
    (music / "written.abc").write_text(tune(1))
    add(tmp_path / "added", [music / "written.abc"], both)
    index(music, tmp_path / "updated", both, options=IndexOptions(update=True))
    anew = index(music, tmp_path / "anew", both).catalog
    rows = [both.embed_song(anew.melodies.contour(song)) for song in (0, 1)]
    np.testing.assert_allclose(anew.embeddings, np.concatenate(rows), atol=2e-3)  # melodies are stored in whole cents
    for name in ("updated", "added"):
        catalog = Catalog.load(tmp_path / name, both)
        assert catalog.encoder_fingerprint == both.fingerprint
        np.testing.assert_allclose(catalog.embeddings, anew.embeddings, atol=2e-3)
    (music / "written.f0.csv").write_text(F0_TABLE)
    for left in (
        remove(tmp_path / "updated", ["written"], both).catalog,
        add(tmp_path / "added", [music / "written.f0.csv"], both, replace=True).catalog,
    ):  # recordings alone again
        assert left.encoder_fingerprint == both.tracked.fingerprint
        rows = np.concatenate([both.tracked.embed_song(left.melodies.contour(song)) for song in range(len(left))])
        np.testing.assert_allclose(left.embeddings, rows, atol=2e-3)


@pytest.mark.parametrize(
    ("source", "reason"),
    [("missing", "there is no file or folder"), ("empty", "no melody found"), ("bad.csv", 'no column "path"'),
     ("notes.txt", "neither a folder"), ("broken.mid", "MThd"), ("bytes.csv", "UTF-8")],
)  # fmt: skip
def test_unusable_sources(tmp_path, source, reason):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.csv").write_text("id,Title\n1,x\n")
    (tmp_path / "bytes.csv").write_bytes(b"id,path\n\x01\xfe\xff,\n")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.mid").write_bytes(b"x")
    with pytest.raises(CatalogError, match=reason):
        index(tmp_path / source, tmp_path / "out", default_encoder())
    assert not (tmp_path / "out").exists()


# What is already there --------------------------------------------------------------------------------------


def test_other_folders_and_catalogs_with_other_files_are_never_overwritten(music, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("important")
    index(music, tmp_path / "out", default_encoder())
    (tmp_path / "out" / "recording.wav").write_bytes(b"mine")
    for name, reason in (("other", "not a catalog"), ("other/thesis.doc", "not a folder"), ("out", r"recording\.wav")):
        before = contents(tmp_path / name.partition("/")[0])
        with pytest.raises(CatalogError, match=reason):
            index(music, tmp_path / name, default_encoder())
        assert contents(tmp_path / name.partition("/")[0]) == before


def test_catalog_is_replaced_only_by_a_complete_one(music, tmp_path, monkeypatch):
    out = tmp_path / "out"
    index(music, out, default_encoder())
    before = contents(out)
    (music / "new.abc").write_text(tune(5))

    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(CatalogWriter, "finish", fail)
        with pytest.raises(KeyboardInterrupt):
            index(music, out, default_encoder())
    assert contents(out) == before
    assert index(music, out, default_encoder()).indexed == 5
    assert len(Catalog.load(out, default_encoder())) == 5


def test_torn_partial_result_is_made_again(music, tmp_path):
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    partial.mkdir()
    for file in (music / "b.abc", music / "hum.wav"):
        key = extract_file(Item(file, file.name), partial, IndexOptions())
        (partial / f"{key}.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    assert index(music, out, default_encoder()).indexed == 4


def test_partial_results_are_used(music, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(CatalogWriter, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            index(music, tmp_path / "out", default_encoder())
    monkeypatch.setattr(extraction, "_read", lambda item, *_: pytest.fail(f"{item.name} was read twice"))
    assert index(music, tmp_path / "out", default_encoder()).indexed == 4


def test_melodies_and_windows_are_written_while_others_are_still_to_be_read(tmp_path, monkeypatch):
    (tmp_path / "music").mkdir()
    for number in range(24):
        (tmp_path / "music" / f"{number}.abc").write_text(tune(number))
    monkeypatch.setattr(catalog_module, "EMBEDDED_AT_ONCE", 3)
    windows, held, embed = [], [], catalog_module._embed_song

    def embedded(*entry):
        rows = embed(*entry)
        windows.append(weakref.ref(rows))
        return rows

    def n_melodies():
        return sum(type(thing) is Melody for thing in gc.get_objects())

    def count(step, *_):
        if step == "embed":
            held.append((n_melodies() - before, sum(rows() is not None for rows in windows)))

    monkeypatch.setattr(catalog_module, "_embed_song", embedded)
    before = n_melodies()
    assert index(tmp_path / "music", tmp_path / "out", default_encoder(), 1, count).indexed == 24
    assert len(held) == 24 and max(n_held for counts in held for n_held in counts) <= 8


# Workers ----------------------------------------------------------------------------------------------------


def shout(word):
    if word == "bad":
        raise ScoreError("bad word")
    if word == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "unavailable":
        raise SeparatorUnavailableError("no weights")
    return word.upper()


@pytest.fixture
def quick_workers(monkeypatch):
    """Fork workers from a process that has imported everything: each import of its own would take seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hmm2song.indexing.extract", "pytest"])
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)


@pytest.mark.usefixtures("quick_workers")
def test_worker_crash_costs_one_file_only():
    words = [f"word {number}" for number in range(40)]
    words[3], words[7] = "crash", "bad"
    done = []
    results = map_files(shout, [(word,) for word in words], workers=2, progress=done.append)
    assert [str(results[3]), str(results[7])] == ["reading it crashed the process", "bad word"]
    others = [result for position, result in enumerate(results) if position not in (3, 7)]
    assert others == [word.upper() for position, word in enumerate(words) if position not in (3, 7)]
    assert done == list(range(1, 41))


class Taken(list):
    """Arguments of calls that say how many of them were asked for."""

    n_taken = 0

    def __getitem__(self, index):
        self.n_taken += 1
        return super().__getitem__(index)


@pytest.mark.usefixtures("quick_workers")
def test_calls_are_handed_out_a_few_at_a_time():
    words, ahead = Taken(("word",) for _ in range(100)), []
    map_files(shout, words, workers=2, progress=lambda n_done: ahead.append(words.n_taken - n_done))
    assert len(ahead) == 100 and max(ahead) < 2 * WAITING_PER_WORKER


@pytest.mark.usefixtures("quick_workers")
def test_workers_that_cannot_run_at_all_are_an_error():
    with pytest.raises(Hmm2SongError, match="workers=1"):
        map_files(shout, [("crash",)] * 40, workers=2)


@pytest.fixture(scope="module")
def ray_cluster():
    """Start Ray here, with processes that know this file."""
    pytest.importorskip("ray", reason="pip install -r requirements-dataset.txt")
    import ray

    from hmm2song.indexing import ray_runner

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_worker_niceness", "0")  # by default, whatever else runs here comes first
        patched.setenv("PYTHONPATH", str(Path(__file__).parent))
        ray_runner._start(2, None)
        yield ray_runner
        ray.shutdown()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray reads its own deprecated settings
def test_ray_makes_the_same_catalog_and_goes_on_where_a_run_stopped(music, tmp_path, ray_cluster, monkeypatch):
    (music / "broken.mid").write_bytes(b"nonsense")
    index(music, tmp_path / "here", default_encoder(), 1)
    partial, options = tmp_path / "there.partial", IndexOptions(runner="ray")
    partial.mkdir()
    stored = [
        partial / f"{extract_file(Item(music / name, name), partial, options)}.safetensors"
        for name in ("b.abc", "hum.wav")
    ]
    times = [file.stat().st_mtime_ns for file in stored]
    with monkeypatch.context() as patched:
        patched.setattr(CatalogWriter, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            index(music, tmp_path / "there", default_encoder(), 2, options=options)
    assert [file.stat().st_mtime_ns for file in stored] == times
    assert len(list(partial.glob("*.safetensors"))) == 6  # five files; one is a recording, which was listened to
    index(music, tmp_path / "there", default_encoder(), 2, options=options)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_crash_costs_one_file_only_on_ray_too(ray_cluster):
    results = ray_cluster.map_files(shout, [("word",), ("crash",), ("bad",)])
    assert (results[0], str(results[1]), str(results[2])) == ("WORD", "reading it crashed the process", "bad word")
    with pytest.raises(SeparatorUnavailableError, match="no weights"):
        ray_cluster.map_files(shout, [("unavailable",)])


def test_unknown_runners_are_refused(music, tmp_path):
    with pytest.raises(Hmm2SongError, match="'local', 'ray' or 'ray:ADDRESS'"):
        index(music, tmp_path / "out", default_encoder(), options=IndexOptions(runner="slurm"))


# Being killed -----------------------------------------------------------------------------------------------


def test_killed_again_and_again_a_run_ends_like_a_clean_one(music, tmp_path):
    """Every run is killed some calls to the file system later than the one before."""
    (music / "broken.mid").write_bytes(b"nonsense")
    clean, killed = tmp_path / "clean", tmp_path / "killed"
    index(music, clean, default_encoder(), 1, options=IndexOptions(previews=True))
    for n_calls in itertools.count(step=4):
        try:
            with FILE_SYSTEM.killing_after(n_calls):
                index(music, killed, default_encoder(), 1, options=IndexOptions(previews=True))
            break
        except KilledError:
            assert not killed.exists() or contents(killed) == contents(clean)
    assert n_calls > 40 and contents(killed) == contents(clean)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean", "killed", "music"]


# Loaded by every process of the command, as it lies on its PYTHONPATH: who opens this recording never comes back.
STALL = """
import pathlib, time
import hmm2song.audio
real = hmm2song.audio.loading.open_checked
def open_checked(path, *arguments):
    if path.name == "stall.wav":
        pathlib.Path(__file__).with_name("stalled").touch()
        time.sleep(3600)
    return real(path, *arguments)
hmm2song.audio.loading.open_checked = open_checked
"""


@pytest.fixture
def start_stalled(tmp_path):
    """Return what starts the command and waits until it is stuck; whatever a failed test leaves running is killed."""
    folder = tmp_path / "stall"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(STALL)
    started = []

    def start(source, out):
        command = [sys.executable, "-m", "hmm2song", "index", str(source), "--out", str(out), "--workers", "2"]
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # what was started in the background of a shell ignores Ctrl-C, and so would the command
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(command, env=environment, preexec_fn=heed, **pipes)
        started.append(process)
        wait_until(lambda: process.poll() is not None or (folder / "stalled").exists())
        assert process.poll() is None, process.communicate()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_ended_goes_on(music, tmp_path, start_stalled, sign):
    for name in ("stall", "other"):
        soundfile.write(
            music / f"{name}.wav", np.tile(sung([60, 62, 64, 65, 67, 69]), 12), 16000
        )  # worth two processes
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    process = start_stalled(music, out)
    process.send_signal(sign)
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, output) == ((130, "") if sign == signal.SIGINT else (-signal.SIGKILL, ""))
    if sign == signal.SIGINT:
        assert errors == "hmm2song: stopped; run the same command again to go on where it stopped\n"
    assert not out.exists()
    stored = {path: path.stat().st_mtime_ns for path in partial.glob("?" * 64 + ".safetensors")}
    assert len(stored) < 6
    index(music, out, default_encoder(), 1)
    index(music, tmp_path / "clean", default_encoder(), 1)
    assert contents(out) == contents(tmp_path / "clean")
