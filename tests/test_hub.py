"""Resolving a catalog or a model against a stand-in of the Hub: the real client, a local server, no network.

The stand-in speaks the part of the Hub's HTTP interface that the client uses (repository info, file tree,
download with ranges) and can be told to misbehave. Files hold arbitrary bytes: resolving never reads them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.file_download
import pytest
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from hmm2song.catalog import hub
from hmm2song.catalog.hub import resolve_catalog, resolve_model
from hmm2song.errors import CatalogError, Hmm2SongError, HubError

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
def server() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bundled"
    folder.mkdir()
    monkeypatch.setattr(hub, "BUNDLED_CATALOG", folder)
    monkeypatch.delenv(hub.CATALOG_VARIABLE, raising=False)
    return folder


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
def client(server: StandIn, bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point the real client at the stand-in, with an empty cache of its own."""
    monkeypatch.setattr(huggingface_hub.file_download, "time", SimpleNamespace(sleep=lambda seconds: None))
    with real_client(server.url, tmp_path / "cache", monkeypatch):
        yield


@pytest.fixture
def bundled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bundled model"
    folder.mkdir()
    monkeypatch.setattr(hub, "BUNDLED_MODEL", folder)
    monkeypatch.delenv(hub.MODEL_VARIABLE, raising=False)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def only_notice(resolved: hub.Resolved) -> str:
    (notice,) = resolved.notices
    return notice


def assert_bundled_with_reason(resolved: hub.Resolved, bundled: Path, reason: str) -> None:
    assert (resolved.folder, resolved.origin) == (bundled, "bundled")
    assert reason in only_notice(resolved)
    assert REPOSITORY in only_notice(resolved)


# --- Folders and the bundled catalog ---


@pytest.mark.parametrize("source", [None, ""])
def test_no_source_is_the_bundled_catalog(source: str | None, bundled: Path) -> None:
    assert resolve_catalog(source) == hub.Resolved(bundled, "bundled", ())


def test_the_bundled_catalog_lies_beside_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert Path(hub.__file__).parents[2] / "assets" / "catalog" == hub.BUNDLED_CATALOG


def test_a_missing_bundled_catalog_is_an_error_that_keeps_the_reason(server: StandIn, bundled: Path) -> None:
    bundled.rmdir()
    with pytest.raises(CatalogError, match="name a catalog folder or repository"):
        resolve_catalog()
    server.stop()
    with pytest.raises(CatalogError, match="The Hub was not reached .*ConnectError"):
        resolve_catalog(REPOSITORY)


def test_the_environment_names_the_catalog_unless_the_caller_does(
    tmp_path: Path, bundled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    monkeypatch.setenv(hub.CATALOG_VARIABLE, str(mine))
    assert resolve_catalog().folder == mine
    assert resolve_catalog(other) == hub.Resolved(other, str(other), ())


def test_a_folder_may_lie_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert resolve_catalog("~/mine").folder == tmp_path / "mine"


def test_an_existing_folder_wins_over_a_repository_of_that_name(
    tmp_path: Path, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / REPOSITORY).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve_catalog(REPOSITORY).folder == Path(REPOSITORY)
    assert server.requests == []


@pytest.mark.parametrize(
    "source",
    ["./catalog", "../no-such-catalog", "/no/such/folder", "~/no/such", "~nobody-of-that-name/x", "a/b/c", "catalog"]
    + ["assets/songs.json", "assets/songs.zip", "a\\b", Path("owner/name"), "x" * 5000, "o/na me", "a\0b/c"],
)
def test_a_path_that_is_no_folder_is_named_and_not_looked_up(source: str | Path, server: StandIn) -> None:
    with pytest.raises(CatalogError) as caught:
        resolve_catalog(source)
    assert repr(os.fspath(source)) in str(caught.value)
    assert server.requests == []


def test_a_file_is_no_catalog(tmp_path: Path) -> None:
    (tmp_path / "songs").touch()
    with pytest.raises(CatalogError, match="not an existing folder"):
        resolve_catalog(str(tmp_path / "songs"))


# --- A Hub that answers ---


@pytest.mark.parametrize("prefix", ["", "datasets/"])
def test_download_takes_the_catalogs_files_only_and_reports_the_commit(prefix: str, server: StandIn) -> None:
    resolved = resolve_catalog(prefix + REPOSITORY)
    assert contents(resolved.folder) == FILES
    assert resolved.origin == f"{prefix}{REPOSITORY}@{COMMIT}"
    assert f"revision='{COMMIT}'" in only_notice(resolved)
    kind = "/api/datasets/" if prefix else "/api/models/"
    assert server.requests[1][1] == kind + REPOSITORY


@pytest.mark.parametrize("in_the_name", [True, False])
def test_a_pinned_commit_needs_no_notice_and_the_hub_only_once(in_the_name: bool, server: StandIn) -> None:
    source, revision = (f"{REPOSITORY}@{COMMIT}", None) if in_the_name else (REPOSITORY, COMMIT)
    first = resolve_catalog(source, revision)
    assert (contents(first.folder), first.notices) == (FILES, ())
    server.requests.clear()
    assert resolve_catalog(source, revision) == first
    assert server.requests == []


def test_a_branch_follows_the_hub_but_a_pin_stays(server: StandIn) -> None:
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
def test_a_refusal_says_what_to_do(refusal: tuple[int, str], advice: str, server: StandIn) -> None:
    resolve_catalog(REPOSITORY)  # neither a copy nor the bundled catalog may hide the mistake
    server.refusal = refusal
    with pytest.raises(HubError, match=advice):
        resolve_catalog(REPOSITORY)


def test_files_that_are_refused_are_an_error(server: StandIn) -> None:
    server.refusal, server.refused_path = (403, ""), f"/resolve/{COMMIT}/{LARGE_FILE}"
    with pytest.raises(HubError, match="access to someone/songs is refused"):
        resolve_catalog(REPOSITORY)


def test_a_wrong_name_or_revision_is_an_error() -> None:
    with pytest.raises(HubError, match="no public repository someone/else"):
        resolve_catalog("someone/else")
    with pytest.raises(HubError, match="no revision 'v9'"):
        resolve_catalog(REPOSITORY, "v9")
    with pytest.raises(HubError, match="not a valid repository name"):
        resolve_catalog("some--one/songs")


def test_a_repository_without_a_catalog_is_an_error(server: StandIn) -> None:
    server.files = {"README.md": b"nothing here", "evil.pkl": b"pickle"}
    with pytest.raises(HubError, match=r"no manifest\.json"):
        resolve_catalog(REPOSITORY)
    server.files = UNWANTED
    server.commit = NEXT_COMMIT
    with pytest.raises(HubError, match=r"no manifest\.json"):
        resolve_catalog(REPOSITORY)


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(HubError, match="cannot be stored"):
        resolve_catalog(REPOSITORY, cache_dir=in_the_way)


# --- A Hub that does not answer ---


def test_a_branch_works_from_the_cache_when_the_hub_is_gone(server: StandIn) -> None:
    first = resolve_catalog(REPOSITORY)
    server.stop()
    again = resolve_catalog(REPOSITORY)
    assert (again.folder, again.origin) == (first.folder, first.origin)
    assert "The Hub was not reached (ConnectError" in only_notice(again)
    assert COMMIT in only_notice(again)


def test_never_downloaded_and_unreachable_is_bundled_with_a_notice(server: StandIn, bundled: Path) -> None:
    server.stop()
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled, "ConnectError")
    assert_bundled_with_reason(resolve_catalog(REPOSITORY, COMMIT), bundled, "ConnectError")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_troubled_hub_is_bundled_with_a_notice(status: int, server: StandIn, bundled: Path) -> None:
    server.refusal = (status, "")
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled, f"status {status}")


def test_a_login_page_in_place_of_the_hub_is_bundled_with_a_notice(server: StandIn, bundled: Path) -> None:
    server.page = b"<html>Please log in to the Wi-Fi</html>"
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled, "JSONDecodeError")


@pytest.mark.parametrize("method", ["do_HEAD", "do_GET"])
def test_a_mute_hub_is_given_up(method: str, bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HUB_TIMEOUT_S", 0.1)
    silence = threading.Event()
    monkeypatch.setattr(_Handler, method, lambda handler: silence.wait())
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled, "ReadTimeout")
    silence.set()


@pytest.mark.parametrize("error", [RuntimeError("CAS service error"), ConnectionError("reset")])
def test_a_failed_xet_transfer_is_bundled_with_a_notice(
    error: Exception, bundled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, local_files_only: bool, **options: object) -> str:
        raise hub.LocalEntryNotFoundError("not here") if local_files_only else error

    monkeypatch.setattr(hub, "snapshot_download", fail)
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled, str(error))


def test_a_connection_dropped_in_mid_file_is_resumed(server: StandIn) -> None:
    server.n_cuts = 1
    assert contents(resolve_catalog(REPOSITORY).folder) == FILES
    downloads = [path for method, path, _ in server.requests if method == "GET" and path.endswith(LARGE_FILE)]
    assert len(downloads) == 2


def test_a_connection_that_keeps_dropping_leaves_no_half_catalog(server: StandIn, bundled: Path) -> None:
    server.n_cuts = 1000
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled, "RemoteProtocolError")
    offline = resolve_catalog(REPOSITORY, local_files_only=True)
    assert_bundled_with_reason(offline, bundled, "local_files_only")
    server.n_cuts = 0
    assert contents(resolve_catalog(REPOSITORY).folder) == FILES


def test_local_files_only_asks_nobody(server: StandIn, bundled: Path) -> None:
    offline = resolve_catalog(REPOSITORY, local_files_only=True)
    assert_bundled_with_reason(offline, bundled, "local_files_only")
    assert server.requests == []
    first = resolve_catalog(REPOSITORY)
    server.requests.clear()
    again = resolve_catalog(REPOSITORY, local_files_only=True)
    assert (again.folder, server.requests) == (first.folder, [])
    assert "local_files_only" in only_notice(again)


def test_the_environment_variables_of_the_hub_client_are_obeyed(server: StandIn, tmp_path: Path) -> None:
    """In a process of its own, as the client reads HF_ENDPOINT and HF_HUB_OFFLINE when it is imported."""
    code = "from hmm2song.catalog.hub import resolve_catalog as r; x = r(); print(x.folder, *x.notices, sep='\\n')"
    environment = os.environ | {
        hub.CATALOG_VARIABLE: REPOSITORY,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(Path(hub.__file__).parents[2]),
    }
    environment.pop("HF_HUB_CACHE", None)

    def run(**extra: str) -> list[str]:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment | extra, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    folder, notice = run()
    assert contents(Path(folder)) == FILES
    assert COMMIT in notice
    server.requests.clear()
    offline_folder, offline_notice = run(HF_HUB_OFFLINE="1")
    assert (offline_folder, server.requests) == (folder, [])
    assert "HF_HUB_OFFLINE is set" in offline_notice


# --- Models ---


def test_no_source_is_the_bundled_model(bundled_model: Path) -> None:
    assert resolve_model() == resolve_model("") == hub.Resolved(bundled_model, "bundled", ())


def test_the_bundled_model_lies_beside_the_package() -> None:
    assert Path(hub.__file__).parents[2] / "assets" / "model" == hub.BUNDLED_MODEL


def test_the_environment_names_the_model_unless_the_caller_does(
    tmp_path: Path, bundled_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    monkeypatch.setenv(hub.MODEL_VARIABLE, str(mine))
    assert resolve_model().folder == mine
    assert resolve_model(other).folder == other
    assert resolve_catalog().origin == "bundled"  # which is named by another variable


@pytest.mark.parametrize("prefix", ["", "datasets/"])
def test_of_a_model_its_own_files_are_downloaded(prefix: str, server: StandIn) -> None:
    server.files = FILES | MODEL | UNWANTED
    resolved = resolve_model(prefix + REPOSITORY)
    assert contents(resolved.folder) == MODEL
    assert resolved.origin == f"{prefix}{REPOSITORY}@{COMMIT}"
    assert f"revision='{COMMIT}'" in only_notice(resolved)


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_repository_may_hold_a_catalog_with_its_model(revision: str | None, server: StandIn) -> None:
    server.files = FILES | MODEL | UNWANTED
    assert contents(resolve_model(REPOSITORY, revision).folder) == MODEL
    assert contents(resolve_catalog(REPOSITORY, revision).folder) == FILES | MODEL  # a part of it was there before


def test_a_catalog_is_not_taken_from_the_model_alone(server: StandIn, bundled: Path) -> None:
    server.files = FILES | MODEL
    resolve_model(REPOSITORY)
    server.stop()
    assert_bundled_with_reason(resolve_catalog(REPOSITORY), bundled, "ConnectError")
    assert contents(resolve_model(REPOSITORY).folder) == MODEL


def test_a_repository_without_a_model_is_an_error() -> None:
    with pytest.raises(HubError, match=r"holds no model: it has no config\.json"):
        resolve_model(REPOSITORY)


def test_an_unreachable_model_is_the_bundled_one_with_a_notice(server: StandIn, bundled_model: Path) -> None:
    server.stop()
    resolved = resolve_model(REPOSITORY)
    assert_bundled_with_reason(resolved, bundled_model, "ConnectError")
    assert "the bundled model is in use instead" in only_notice(resolved)
    bundled_model.rmdir()
    with pytest.raises(Hmm2SongError, match="There is no bundled model .* name a model folder or repository"):
        resolve_model(REPOSITORY)


def test_what_is_neither_folder_nor_repository_is_no_model() -> None:
    with pytest.raises(Hmm2SongError, match="'./model' is not an existing folder: give a model folder"):
        resolve_model("./model")


# --- The token ---


def test_the_token_goes_to_the_hub_and_not_to_its_storage(server: StandIn) -> None:
    storage = StandIn()
    server.storage_url = storage.url
    resolved = resolve_catalog(REPOSITORY, token="hf_secret")
    storage.stop()
    assert contents(resolved.folder) == FILES
    asked = [(path, authorization) for _, path, authorization in server.requests if path != "/"]
    assert {authorization for _, authorization in asked} == {"Bearer hf_secret"}
    assert [(path, authorization) for _, path, authorization in storage.requests] == [(f"/storage/{LARGE_FILE}", None)]


def test_a_damaged_token_is_refused_without_repeating_it(server: StandIn) -> None:
    with pytest.raises(HubError, match="odd character") as caught:
        resolve_catalog(REPOSITORY, token="hf_secret\n")
    assert "secret" not in str(caught.value)
    assert server.requests == []


def test_a_token_that_is_not_saved_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with pytest.raises(HubError, match="no token is saved"):
        resolve_catalog(REPOSITORY, token=True)
