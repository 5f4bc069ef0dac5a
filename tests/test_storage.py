"""Replacing a folder, with the program killed at every single step: the old one or the new one is there, and whole."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from encoders import tiny_encoder
from folders import contents
from humming import tune

from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.edit import credits_of
from hmm2song.catalog.hub import encoder_of, resolve_catalog
from hmm2song.catalog.storage import PREVIOUS, partial_of, replacement
from hmm2song.errors import CatalogError
from hmm2song.indexing.build import IndexOptions, index
from hmm2song.indexing.edit import add, merge, remove
from hmm2song.melody.melody import melody_from_notes
from hmm2song.song import Song

ENCODER = tiny_encoder()


class KilledError(BaseException):
    """Ends a run as a kill does: nothing reaches the disk after it, from ``finally`` and ``except`` neither."""


class FileSystem:
    """Counts the calls that reach the file system; from a chosen one on, all of them fail."""

    def __init__(self):
        self.n_calls, self.n_allowed = 0, None
        sys.addaudithook(self.see)

    def see(self, event, _):
        if self.n_allowed is not None and event.partition(".")[0] in ("open", "os", "shutil"):
            self.n_calls += 1
            if self.n_calls > self.n_allowed:
                raise KilledError

    @contextmanager
    def killing_after(self, n_calls: int) -> Iterator[None]:
        """Kill what runs inside after this many calls."""
        self.n_calls, self.n_allowed = 0, n_calls
        try:
            yield
        finally:
            self.n_allowed = None


FILE_SYSTEM = FileSystem()


def catalog_of(*numbers: int) -> Catalog:
    songs = [Song(f"s{number}", f"Song {number}") for number in numbers]
    return Catalog.build(songs, [melody_from_notes(tune(number)) for number in numbers], ENCODER, credits_of(songs))


OLD, NEW = catalog_of(0, 1), catalog_of(2, 3, 4)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Return a folder of scores with two catalogs in it."""
    OLD.save(tmp_path / "songs" / "one")
    NEW.save(tmp_path / "songs" / "two")
    for number in (5, 6):
        row = {"id": f"s{number}", "title": f"Song {number}", "notes": tune(number)}
        (tmp_path / "songs" / f"{number}.jsonl").write_text(json.dumps(row))
    return tmp_path / "songs"


CHANGES = {
    "save": lambda folder, _: NEW.save(folder),
    "save to nothing": lambda folder, _: NEW.save(folder),
    "save with files": lambda folder, songs: NEW.save(folder, {"skipped.csv": "text", "copy": songs / "5.jsonl"}),
    "remove": lambda folder, _: remove(folder, ["s1"], ENCODER),
    "add": lambda folder, songs: add(folder, [songs], ENCODER, workers=1),
    "update": lambda folder, songs: index(songs, folder, ENCODER, workers=1, options=IndexOptions(update=True)),
    "merge": lambda folder, songs: merge([songs / "one", songs / "two"], folder, ENCODER),
}


@pytest.mark.parametrize("name", CHANGES)
def test_killed_at_any_step_the_old_catalog_or_the_new_one_is_there(name: str, songs: Path, tmp_path: Path) -> None:
    change, old, folder = CHANGES[name], tmp_path / "old", tmp_path / "catalog"
    if name == "update":
        index(songs / "5.jsonl", old, ENCODER, workers=1)
    elif name != "save to nothing":
        OLD.save(old)
    if name in ("save with files", "remove", "add"):
        ENCODER.save(old)
        (old / "sounds").mkdir()
        (old / "sounds" / "s0.flac").write_bytes(b"fLaC")

    def run_to(n_calls: int) -> bool:
        """Tell whether a run that began with the old catalog came to its end."""
        for leftover in (folder, partial_of(folder)):
            shutil.rmtree(leftover, ignore_errors=True)
        if old.exists():
            shutil.copytree(old, folder)
        try:
            with FILE_SYSTEM.killing_after(n_calls):
                change(folder, songs)
        except KilledError:
            return False
        return True

    assert run_to(10**9) and not partial_of(folder).exists()
    before, after = contents(old), contents(folder)
    n_between = n_whole = 0
    for n_calls in itertools.count():
        if run_to(n_calls):
            break
        n_between += not folder.exists()
        if before or folder.exists():
            Catalog.load(folder, ENCODER)
        found = contents(folder)
        assert found in (before, after)
        n_whole += found == after
        if found == before:
            change(folder, songs)
            assert contents(folder) == after
        else:
            NEW.save(folder, keep_others=True)
        assert not (partial_of(folder) / PREVIOUS).exists()
    assert n_calls > 10 and n_between and n_whole


def test_what_is_called_previous_is_always_whole(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).write_text("old")
    for n_calls in itertools.count():
        try:
            with FILE_SYSTEM.killing_after(n_calls), replacement(folder) as new:
                for name in ("one", "two"):
                    (new / name).write_text("new")
            break
        except KilledError:
            if (partial_of(folder) / PREVIOUS).exists():
                assert len(contents(partial_of(folder) / PREVIOUS)) == 2
    assert n_calls > 10 and contents(folder) == {"one": b"new", "two": b"new"}


def test_every_way_to_open_a_catalog_puts_it_back(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    OLD.save(folder)
    ENCODER.save(folder)
    for open_it in (lambda: Catalog.load(folder, ENCODER), lambda: resolve_catalog(folder), lambda: encoder_of(folder)):
        partial_of(folder).mkdir()
        folder.rename(partial_of(folder) / PREVIOUS)
        open_it()
        assert len(Catalog.load(folder, encoder_of(folder))) == 2
        assert [path.name for path in tmp_path.iterdir()] == ["catalog"]


@pytest.mark.parametrize(("owner", "step", "only_from"), [(storage, "write_manifest", ""), (Path, "rename", "new")])
def test_an_error_while_writing_leaves_the_old_catalog(tmp_path, monkeypatch, owner, step, only_from) -> None:
    real = getattr(owner, step)

    def fail(*arguments):
        if only_from and arguments[0].name != only_from:
            return real(*arguments)
        raise OSError("not possible")

    OLD.save(tmp_path / "catalog")
    before = contents(tmp_path)
    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(OSError, match="not possible"):
        NEW.save(tmp_path / "catalog")
    assert contents(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["catalog"]


def test_a_catalog_that_cannot_be_put_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_):
        raise PermissionError("read-only")

    OLD.save(partial_of(tmp_path / "catalog") / PREVIOUS)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(CatalogError, match=r"is in '.*previous'; move it back \(read-only\)"):
        Catalog.load(tmp_path / "catalog", ENCODER)
