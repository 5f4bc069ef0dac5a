"""Resolving a catalog or a model against a stand-in of the Hub: the real client, a local server, no network.

The stand-in speaks the part of the Hub's HTTP interface that the client uses (repository info, file tree,
download with ranges) and can be told to misbehave. Files hold arbitrary bytes: resolving never reads them.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.file_download
import pytest
from folders import contents
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from hmm2song.catalog import hub
from hmm2song.catalog.hub import resolve_catalog, resolve_model
from hmm2song.errors import CatalogError, Hmm2SongError, HubError, ModelError

REPOSITORY = "someone/songs"
COMMIT, NEXT_COMMIT = "a" * 40, "b" * 40
FILES = {
    "manifest.json": b'{"version": 1}',
    "songs.json": b"[]",
    "melodies.safetensors": bytes(range(256)) * 400,
    "embeddings.safetensors": b"\x00\xff" * 100,
}
MODEL = {"config.json": b'{"dim": 1}', "model.safetensors": bytes(range(100)) * 30}
UNWANTED = {"evil.pkl": b"pickle", "modeling.py": b"code", "nested/songs.json": b"nested"}
LARGE_FILE = "melodies.safetensors"


@dataclass(frozen=True)
class Kind:
    """What is resolved in one of the two ways."""

    word: str
    resolve: Callable[..., hub.ResolvedFolder]
    variable: str
    files: dict[str, bytes]
    error: type[Hmm2SongError]


KINDS = (
    Kind("catalog", resolve_catalog, hub.CATALOG_VARIABLE, FILES, CatalogError),
    Kind("model", resolve_model, hub.MODEL_VARIABLE, MODEL, ModelError),
)


class StandIn(ThreadingHTTPServer):
    """A Hub with one repository. ``requests`` logs (method, path, Authorization) in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = FILES | UNWANTED
        self.commit = COMMIT
        self.refusal: tuple[int, str] | None = None  # status and X-Error-Code of the answers ...
        self.refused_path = ""  # ... to requests with this in their path
        self.page: bytes | None = None  # answers every GET, as the login page of a public network does
        self.n_cuts = 0  # how many downloads of LARGE_FILE break off after half of the bytes asked for
        self.storage_url = ""  # where LARGE_FILE redirects to; empty: served here
        self.requests: list[tuple[str, str, str | None]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization")))
        path = self.path.partition("?")[0]
        if self.server.page is not None:
            self._answer(200, self.server.page)
        elif self.server.refusal is not None and self.server.refused_path in path:
            status, code = self.server.refusal
            self._answer(status, b"", {"X-Error-Code": code})
        elif path.startswith("/storage/"):
            self._file(path.removeprefix("/storage/"))
        elif REPOSITORY not in path:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in path:
            self._resolve(path.partition("/resolve/")[2].partition("/")[2])
        elif not path.endswith(("/main", COMMIT, NEXT_COMMIT, REPOSITORY)):
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif "/tree/" in path:
            self._answer(200, json.dumps([_tree_entry(*item) for item in self.server.files.items()]).encode())
        else:
            self._answer(200, json.dumps(self._info()).encode())

    do_HEAD = do_GET  # noqa: N815 - the name http.server calls

    def _info(self) -> dict:
        siblings = [{"rfilename": name} for name in self.server.files]
        return {"id": REPOSITORY, "sha": self.server.commit, "siblings": siblings}

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""

    def _resolve(self, name: str) -> None:
        if name == LARGE_FILE and self.server.storage_url:
            content = self.server.files[name]
            linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": _digest(content)}
            location = f"{self.server.storage_url}/storage/{name}"
            self._answer(302, b"", {"X-Repo-Commit": self.server.commit, "Location": location} | linked)
        else:
            self._file(name)

    def _file(self, name: str) -> None:
        content = self.server.files[name]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        extra = {"X-Repo-Commit": self.server.commit, "ETag": f'"{_digest(content)}"'}
        if start:
            extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = name == LARGE_FILE and self.command == "GET" and self.server.n_cuts > 0
        self.server.n_cuts -= cut
        body = content[start:]
        # A second cut sends nothing more, so that the client runs out of patience.
        n_sent = len(body) if not cut else 0 if start else len(body) // 2
        self._answer(206 if start else 200, body[:n_sent], extra, length=len(body))

    def _answer(self, status: int, body: bytes, extra: dict | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for key, value in (extra or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tree_entry(path: str, content: bytes) -> dict:
    return {"type": "file", "path": path, "size": len(content), "oid": _digest(content)[:40]}


@pytest.fixture
def server():
    stand_in = StandIn()
    yield stand_in
    stand_in.stop()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.word)
def kind(request):
    return request.param


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """The folders of the bundled things, by their names."""
    folders = {kind.word: tmp_path / f"bundled {kind.word}" for kind in KINDS}
    for kind in KINDS:
        folders[kind.word].mkdir()
        monkeypatch.setattr(hub, f"BUNDLED_{kind.word.upper()}", folders[kind.word])
        monkeypatch.delenv(kind.variable, raising=False)
    return folders


@contextmanager
def real_client(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point the real client at a stand-in, with a cache of its own, silent and without telemetry."""
    constants = huggingface_hub.constants
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)  # it would make requests of its own
    bars_were_on = not are_progress_bars_disabled()
    disable_progress_bars()
    huggingface_hub.close_session()  # a session from elsewhere may go through a proxy
    yield
    huggingface_hub.close_session()
    if bars_were_on:
        enable_progress_bars()


@pytest.fixture(autouse=True)
def client(server, bundled, tmp_path, monkeypatch):
    """Point the real client at the stand-in, with an empty cache of its own."""
    monkeypatch.setattr(huggingface_hub.file_download, "time", SimpleNamespace(sleep=lambda seconds: None))
    with real_client(server.url, tmp_path / "cache", monkeypatch):
        yield


def only_notice(resolved: hub.ResolvedFolder) -> str:
    (notice,) = resolved.notices
    return notice


def assert_bundled_with_reason(resolved: hub.ResolvedFolder, folder: Path, reason: str) -> None:
    assert (resolved.folder, resolved.origin) == (folder, "bundled")
    assert reason in only_notice(resolved) and REPOSITORY in only_notice(resolved)


# --- Folders and what is bundled ---


@pytest.mark.parametrize("source", [None, ""])
def test_no_source_is_the_bundled_one(source, kind, bundled):
    assert kind.resolve(source) == hub.ResolvedFolder(bundled[kind.word], "bundled", ())


def test_what_is_bundled_lies_beside_the_package(monkeypatch):
    monkeypatch.undo()
    assets = Path(hub.__file__).parents[2] / "assets"
    assert (assets / "catalog", assets / "model") == (hub.BUNDLED_CATALOG, hub.BUNDLED_MODEL)


def test_nothing_bundled_is_an_error_that_keeps_the_reason(kind, server, bundled):
    bundled[kind.word].rmdir()
    with pytest.raises(kind.error, match=f"name a {kind.word} folder or repository"):
        kind.resolve()
    server.stop()
    with pytest.raises(kind.error, match=f"The Hub was not reached .*ConnectError.* There is no bundled {kind.word}"):
        kind.resolve(REPOSITORY)


def test_the_environment_names_the_source_unless_the_caller_does(kind, tmp_path, monkeypatch):
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    monkeypatch.setenv(kind.variable, str(mine))
    assert kind.resolve().folder == mine
    assert kind.resolve(other) == hub.ResolvedFolder(other, str(other), ())
    assert [each.resolve().origin for each in KINDS if each is not kind] == ["bundled"]  # it has its own variable


def test_a_folder_may_lie_in_the_home_and_wins_over_a_repository(tmp_path, server, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / REPOSITORY).mkdir(parents=True)
    assert resolve_catalog(f"~/{REPOSITORY}").folder == tmp_path / REPOSITORY
    monkeypatch.chdir(tmp_path)
    assert resolve_catalog(REPOSITORY).folder == Path(REPOSITORY)
    assert server.requests == []


@pytest.mark.parametrize(
    "source",
    [__file__, "./catalog", "/no/such/folder", "~/no/such", "~nobody-of-that-name/x", "a/b/c", "catalog"]
    + ["assets/songs.zip", "a\\b", Path("owner/name"), "x" * 5000, "o/na me", "a\0b/c"],
)
def test_a_path_that_is_no_folder_is_named_and_not_looked_up(source, server):
    for kind in KINDS:
        with pytest.raises(kind.error, match=f"is not an existing folder: give a {kind.word} folder") as caught:
            kind.resolve(source)
        assert repr(os.fspath(source)) in str(caught.value)
    assert server.requests == []


# --- A Hub that answers ---


@pytest.mark.parametrize("prefix", ["", "datasets/"])
def test_only_its_own_files_are_downloaded_and_the_commit_is_reported(prefix, kind, server):
    server.files = kind.files | UNWANTED
    resolved = kind.resolve(prefix + REPOSITORY)
    assert contents(resolved.folder) == kind.files
    assert resolved.origin == f"{prefix}{REPOSITORY}@{COMMIT}"
    assert f"revision='{COMMIT}'" in only_notice(resolved)
    assert server.requests[1][1] == ("/api/datasets/" if prefix else "/api/models/") + REPOSITORY


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_repository_may_hold_a_catalog_with_its_model(revision, server):
    server.files = FILES | MODEL | UNWANTED
    assert contents(resolve_model(REPOSITORY, revision).folder) == MODEL
    assert contents(resolve_catalog(REPOSITORY, revision).folder) == FILES | MODEL  # a part of it was there before


@pytest.mark.parametrize("in_the_name", [True, False])
def test_a_pinned_commit_needs_no_notice_and_the_hub_only_once(in_the_name, server):
    source, revision = (f"{REPOSITORY}@{COMMIT}", None) if in_the_name else (REPOSITORY, COMMIT)
    first = resolve_catalog(source, revision)
    assert (contents(first.folder), first.notices) == (FILES, ())
    server.requests.clear()
    assert resolve_catalog(source, revision) == first
    assert server.requests == []


def test_a_branch_follows_the_hub_but_a_pin_stays(server):
    resolve_catalog(REPOSITORY)
    server.commit, server.files = NEXT_COMMIT, FILES | {"songs.json": b"[1]"}
    moved = resolve_catalog(REPOSITORY)
    assert (moved.folder.name, contents(moved.folder)["songs.json"]) == (NEXT_COMMIT, b"[1]")
    assert contents(resolve_catalog(REPOSITORY, COMMIT).folder) == FILES


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        ((404, "RepoNotFound"), "check the name"),
        ((401, "RepoNotFound"), "or pass a token"),
        ((403, "GatedRepo"), "access to someone/songs is refused"),
        ((401, "GatedRepo"), "access to someone/songs is refused"),
        ((403, ""), "access to someone/songs is refused"),
        ((401, ""), "check the name and the token"),
        ((404, "RevisionNotFound"), "no revision 'main'"),
    ],
)
def test_a_refusal_says_what_to_do(refusal, advice, server):
    resolve_catalog(REPOSITORY)  # neither a copy nor the bundled catalog may hide the mistake
    server.refusal = refusal
    with pytest.raises(HubError, match=advice):
        resolve_catalog(REPOSITORY)


def test_a_wrong_name_or_revision_is_an_error():
    for arguments, words in (
        (("someone/else",), "no public repository someone/else"),
        ((REPOSITORY, "v9"), "no revision 'v9'"),
        (("some--one/songs",), "not a valid repository name"),
    ):
        with pytest.raises(HubError, match=words):
            resolve_catalog(*arguments)


@pytest.mark.parametrize("files", [UNWANTED, {"README.md": b"nothing here"}, {}])
def test_a_repository_without_what_is_wanted_is_an_error(files, kind, server):
    server.files = files
    telling = next(iter(kind.files))
    with pytest.raises(HubError, match=f"holds no {kind.word}: it has no {telling} at commit {COMMIT}"):
        kind.resolve(REPOSITORY)
    assert not [path for _, path, _ in server.requests if "/resolve/" in path]


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(HubError, match="cannot be stored"):
        resolve_catalog(REPOSITORY, cache_dir=in_the_way)


# --- A Hub that does not answer ---


def test_a_branch_works_from_the_cache_when_the_hub_is_gone(server):
    first = resolve_catalog(REPOSITORY)
    server.stop()
    again = resolve_catalog(REPOSITORY)
    assert (again.folder, again.origin) == (first.folder, first.origin)
    assert "The Hub was not reached (ConnectError" in only_notice(again)
    assert COMMIT in only_notice(again)


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_never_downloaded_and_unreachable_is_bundled_with_a_notice(revision, kind, server, bundled):
    server.files = FILES | MODEL
    if kind.resolve is resolve_catalog:
        resolve_model(REPOSITORY)  # a part of the same repository, but no catalog
    server.stop()
    resolved = kind.resolve(REPOSITORY, revision)
    assert_bundled_with_reason(resolved, bundled[kind.word], "ConnectError")
    assert f"the bundled {kind.word} is in use instead" in only_notice(resolved)


@pytest.mark.parametrize("status", [500, 503, 429, 408, None])
def test_a_troubled_hub_is_bundled_with_a_notice(status, server, bundled):
    if status is None:
        server.page = b"<html>Please log in to the Wi-Fi</html>"
    else:
        server.refusal = (status, "")
    reason = f"status {status}" if status else "JSONDecodeError"
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled["catalog"], reason)


@pytest.mark.parametrize("method", ["do_HEAD", "do_GET"])
def test_a_mute_hub_is_given_up(method, bundled, monkeypatch):
    monkeypatch.setattr(hub, "HUB_TIMEOUT_S", 0.1)
    silence = threading.Event()
    monkeypatch.setattr(_Handler, method, lambda handler: silence.wait())
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled["catalog"], "ReadTimeout")
    silence.set()


@pytest.mark.parametrize("error", [RuntimeError("CAS service error"), ConnectionError("reset")])
def test_a_failed_xet_transfer_is_bundled_with_a_notice(error, bundled, monkeypatch):
    def fail(*args: object, local_files_only: bool, **options: object) -> str:
        raise hub.LocalEntryNotFoundError("not here") if local_files_only else error

    monkeypatch.setattr(hub, "snapshot_download", fail)
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled["catalog"], str(error))


def test_a_connection_dropped_in_mid_file_is_resumed_or_leaves_no_half_catalog(server, bundled):
    server.n_cuts = 1000
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled["catalog"], "RemoteProtocolError")
    offline = resolve_catalog(REPOSITORY, local_files_only=True)
    assert_bundled_with_reason(offline, bundled["catalog"], "local_files_only")
    server.n_cuts = 1
    server.requests.clear()
    assert contents(resolve_catalog(REPOSITORY).folder) == FILES
    downloads = [path for method, path, _ in server.requests if method == "GET" and path.endswith(LARGE_FILE)]
    assert len(downloads) == 2


def test_local_files_only_asks_nobody(server):
    first = resolve_catalog(REPOSITORY)
    server.requests.clear()
    again = resolve_catalog(REPOSITORY, local_files_only=True)
    assert (again.folder, server.requests) == (first.folder, [])
    assert "local_files_only" in only_notice(again)


def test_offline_the_hub_is_not_asked_and_the_reason_is_told(server, monkeypatch):
    monkeypatch.setenv(hub.CATALOG_VARIABLE, REPOSITORY)
    first = resolve_catalog()
    server.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    again = resolve_catalog()
    assert (again.folder, server.requests) == (first.folder, [])
    assert "HF_HUB_OFFLINE is set" in only_notice(again)


# --- The token ---


def test_the_token_goes_to_the_hub_and_not_to_its_storage(server):
    storage = StandIn()
    server.storage_url = storage.url
    resolved = resolve_catalog(REPOSITORY, token="hf_secret")
    storage.stop()
    assert contents(resolved.folder) == FILES
    asked = [(path, authorization) for _, path, authorization in server.requests if path != "/"]
    assert {authorization for _, authorization in asked} == {"Bearer hf_secret"}
    assert [(path, authorization) for _, path, authorization in storage.requests] == [(f"/storage/{LARGE_FILE}", None)]


def test_a_damaged_or_missing_token_is_an_error(server, monkeypatch, tmp_path):
    with pytest.raises(HubError, match="odd character") as caught:
        resolve_catalog(REPOSITORY, token="hf_secret\n")
    assert "secret" not in str(caught.value) and server.requests == []
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with pytest.raises(HubError, match="no token is saved"):
        resolve_catalog(REPOSITORY, token=True)
