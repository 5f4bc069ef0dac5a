"""scripts/push_to_hub.py against a stand-in of the Hub that takes what the real client sends.

The stand-in keeps repositories as chains of commits, checks tokens and checksums as the Hub does, stores large files by
the LFS protocol, and can be told to drop connections, to lose its answers or to store something else than it was sent.
Xet, the way by which the real Hub stores large files, is tried with the client's own local storage behind it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import huggingface_hub
import huggingface_hub.utils._http
import numpy as np
import pytest
import yaml
from script_modules import loaded_script
from test_hub import StandIn, _Handler, real_client

from hmm2song.catalog import cards
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import CATALOG_VARIABLE, resolve_catalog
from hmm2song.catalog.storage import read_manifest, write_manifest
from hmm2song.embeddings.contour import MelodyEncoder
from hmm2song.embeddings.network import NetworkConfig
from hmm2song.errors import Hmm2SongError, IntegrityError
from hmm2song.melody.melody import melody_from_notes
from hmm2song.song import Song

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "push_to_hub.py"
TOKEN = "hf_verysecret"
MODEL, CATALOG, SPACE = "someone/encoder", "datasets/someone/songs", "spaces/someone/hums"
REPOSITORIES = ["--model-repo", "someone/encoder", "--catalog-repo", "someone/songs", "--space-repo", "someone/hums"]
LARGE_CATALOG_FILES = ("melodies.safetensors", "embeddings.safetensors")
HOSTILE = "<img src=x onerror=alert(1)> | [a](http://evil.example) **b** `c` $d$ @someone www.evil.example\n# e \u202ef"
HEADER = "---\ntitle: Hmm2Song\nemoji: 🎵\nsdk: gradio\npython_version: '3.12'\nmodels: []\n---\n"
SPACE_FILES = {
    "app.py": b"print('app')\n",
    "hmm2song/__init__.py": b"",
    "hmm2song/deep/module.py": b"x = 1\n",
    "requirements.txt": b"gradio\n",
    "assets/page.png": b"\x89PNG\r\n\x1a\n\x00\x01\x02",
    "README.md": f"{HEADER}\n# Hmm2Song\n\nWords.\n".encode(),
    "LICENSE": b"Apache License\n",
}
NOT_OF_THE_SPACE = (
    "tests/test_app.py",
    "scripts/evaluate.py",
    "docs/notes.md",
    ".git/config",
    ".gitignore",
    "hmm2song/__pycache__/app.pyc",
    "hmm2song/.cache/secret",
    "assets/catalog.partial/songs.json",
    "assets/.DS_Store",
)
REPORT = {
    "n": 2749,
    "n_songs": 2048,
    "top1": {"value": 0.8971, "low": 0.8853, "high": 0.9082},
    "top3": {"value": 0.93, "low": 0.92, "high": 0.94},
    "top10": {"value": 0.9641, "low": 0.9562, "high": 0.9713},
    "mrr": {"value": 0.9242, "low": 0.915, "high": 0.9331},
    "unreadable": 0,
    "seconds_per_query": {"median": 0.3137, "p95": 0.4042},
    "build_seconds": 2.0,
    "peak_mb": 512.4,
}


# --- The stand-in ---


@dataclass(frozen=True)
class Blob:
    """A file as the Hub keeps it; the content is None where only the Xet storage has it."""

    content: bytes | None
    lfs_oid: str = ""
    size: int = 0

    @property
    def oid(self) -> str:
        """What the client compares its file with."""
        if self.lfs_oid:
            return self.lfs_oid
        return hashlib.sha1(b"blob %d\0%b" % (len(self.content), self.content)).hexdigest()

    def entry(self, path: str, xet_hashes: dict[str, str]) -> dict:
        """The file in a listing."""
        lfs = {"lfs": {"oid": self.lfs_oid, "size": self.size, "pointerSize": 130}} if self.lfs_oid else {}
        xet = {"xetHash": xet_hashes[self.lfs_oid]} if self.lfs_oid in xet_hashes else {}
        return {"type": "file", "path": path, "size": self.size, "oid": self.oid[:40]} | lfs | xet


@dataclass
class Repository:
    """A chain of commits, newest last; each is a tree of path -> file."""

    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes | None]:
        """What people see at the newest commit, without the Hub's own file."""
        return {path: blob.content for path, blob in self.commits[self.head].items() if path != ".gitattributes"}

    def add(self, tree: dict[str, Blob], message: str) -> None:
        text = json.dumps([message, len(self.commits), sorted((path, blob.oid) for path, blob in tree.items())])
        self.commits[hashlib.sha1(text.encode()).hexdigest()] = tree
        self.messages.append(message)


class PublishingHub(StandIn):
    """A Hub to publish on; ``requests`` logs as in StandIn."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = _PublishingHandler
        self.repositories: dict[str, Repository] = {}
        self.storage: dict[str, bytes] = {}
        self.drops: list[tuple[str, str]] = []  # method and part of the path of requests that are cut off, once each
        self.lost_answers: list[tuple[str, str]] = []  # the same, but after they were obeyed
        self.refusal: tuple[str, int, str] | None = None  # part of the path, status and message
        self.damage: dict[str, bytes] = {}  # what is stored and served in place of these files
        self.cas_folder: Path | None = None  # where Xet stores, if at all
        self.xet_hashes: dict[str, str] = {}  # SHA-256 -> what Xet calls the file

    def make(self, title: str, files: dict[str, bytes], private: bool = False) -> Repository:
        """Make a repository as somebody else left it."""
        repository = self.repositories[title] = Repository(private)
        repository.add({path: Blob(content, size=len(content)) for path, content in files.items()}, "initial")
        return repository

    def sent(self, method: str, part: str) -> list[str]:
        """The paths of the requests of a kind so far."""
        return [path for made, path, _ in self.requests if made == method and part in path]


class _PublishingHandler(_Handler):
    server: PublishingHub

    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        self._handle(self._get)

    def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
        self._handle(self._post)

    def do_PUT(self) -> None:  # noqa: N802 - the name http.server calls
        self._handle(self._put)

    do_HEAD = do_GET  # noqa: N815 - the name http.server calls

    def _handle(self, answer: Callable[[str], None]) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization")))
        if self._is_due(self.server.drops, path):
            self.close_connection = True
            return
        refused = self.server.refusal
        if refused is not None and refused[0] in path:
            self._json({"error": refused[2]}, refused[1])
        elif self.command == "POST" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid username or password."}, 401)
        else:
            answer(path)

    def _is_due(self, planned: list[tuple[str, str]], path: str) -> bool:
        due = next((plan for plan in planned if plan[0] == self.command and plan[1] in path), None)
        if due is not None:
            planned.remove(due)
        return due is not None

    def _json(self, value: object, status: int = 200, extra: dict | None = None) -> None:
        if not self._is_due(self.server.lost_answers, self.path):
            self._answer(status, json.dumps(value).encode(), extra)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        return b"".join(parts)

    def _repository(self, path: str) -> tuple[Repository | None, list[str]]:
        """Split an address into the repository it names and what follows."""
        parts = path.strip("/").removeprefix("api/").removeprefix("models/").split("/")
        n_parts = 3 if parts[0] in ("datasets", "spaces") else 2
        title = "/".join(parts[:n_parts]).removesuffix(".git")
        return self.server.repositories.get(title), parts[n_parts:]

    def _get(self, path: str) -> None:
        repository, rest = self._repository(path)
        if path == "/":
            self._json({})
        elif repository is None or (repository.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            self._json({}, 404, {"X-Error-Code": "RepoNotFound"})
        elif rest == ["variables"]:
            self._json({key: {"value": value} for key, value in repository.variables.items()})
        elif rest[:1] in (["xet-write-token"], ["xet-read-token"]):
            self._xet_token()
        else:
            revision = rest[1] if len(rest) > 1 else "main"
            commit = repository.head if revision == "main" else revision
            tree = repository.commits.get(commit)
            if tree is None:
                self._json({}, 404, {"X-Error-Code": "RevisionNotFound"})
            elif rest[:1] == ["tree"]:
                self._json([blob.entry(name, self.server.xet_hashes) for name, blob in tree.items()])
            elif rest[:1] == ["resolve"]:
                self._resolve(tree.get("/".join(rest[2:])), commit)
            else:
                self._json({"id": "someone/name", "sha": commit, "private": repository.private})

    def _resolve(self, blob: Blob | None, commit: str) -> None:
        if blob is None:
            self._json({}, 404, {"X-Error-Code": "EntryNotFound"})
        else:
            self._answer(200, blob.content, {"X-Repo-Commit": commit, "ETag": f'"{blob.oid}"'})

    def _xet_token(self) -> None:
        if self.server.cas_folder is None:
            self._json({}, 404)
            return
        place, expiry = f"local://{self.server.cas_folder}", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": place, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expiry)}
        self._json({"casUrl": place, "accessToken": "xet", "exp": expiry}, 200, headers)

    def _post(self, path: str) -> None:
        body = self._body()
        repository, rest = self._repository(path)
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._validate(json.loads(body))
        elif rest[:1] == ["preupload"]:
            files = [self._upload_mode(repository, file) for file in json.loads(body)["files"]]
            self._json({"files": files})
        elif rest[-2:] == ["objects", "batch"]:
            self._json({"transfer": "basic", "objects": [self._action(o) for o in json.loads(body)["objects"]]})
        elif path.startswith("/verify/"):
            self._json({}, 200 if json.loads(body)["oid"] in self.server.storage else 404)
        elif rest == ["variables"]:
            wanted = json.loads(body)
            repository.variables[wanted["key"]] = wanted["value"]
            self._json({key: {"value": value} for key, value in repository.variables.items()})
        elif rest[:1] == ["commit"]:
            self._commit(repository, [json.loads(line) for line in body.splitlines()])

    def _create(self, wanted: dict) -> None:
        prefix = {"dataset": "datasets/", "space": "spaces/"}.get(wanted["type"], "")
        title = f"{prefix}{wanted['organization']}/{wanted['name']}"
        address = {"url": f"{self.server.url}/{title}"}
        if title in self.server.repositories:
            self._json(address | {"error": "You already created this repo"}, 409)
            return
        files = {".gitattributes": b"*.safetensors filter=lfs\n"}
        if wanted["type"] == "space":
            assert wanted["sdk"] == "gradio"
            files["README.md"] = b"---\ntitle: Hums\nsdk: gradio\n---\n"
        self.server.make(title, files, private=wanted.get("visibility") == "private")
        self._json(address)

    def _validate(self, card: dict) -> None:
        header = yaml.safe_load(card["content"].split("---\n")[1])
        is_valid = isinstance(header, dict) and (card["repoType"] == "space" or isinstance(header.get("license"), str))
        self._json({"errors": [] if is_valid else [{"message": "bad"}], "warnings": []}, 200 if is_valid else 400)

    def _upload_mode(self, repository: Repository, file: dict) -> dict:
        is_large = file["path"].endswith(".safetensors") or b"\0" in base64.b64decode(file["sample"])
        known = repository.commits[repository.head].get(file["path"])
        oid = {"oid": known.oid} if known else {}
        return {"path": file["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False} | oid

    def _action(self, wanted: dict) -> dict:
        if wanted["oid"] in self.server.storage:
            return wanted
        actions = {step: {"href": f"{self.server.url}/{step}/{wanted['oid']}"} for step in ("upload", "verify")}
        return wanted | {"actions": actions}

    def _put(self, path: str) -> None:
        content, oid = self._body(), path.removeprefix("/upload/")
        if hashlib.sha256(content).hexdigest() != oid:
            self._json({"error": "checksum"}, 400)
            return
        self.server.storage[oid] = content
        self._json({})

    def _commit(self, repository: Repository, lines: list[dict]) -> None:
        head, tree = lines[0]["value"], dict(repository.commits[repository.head])
        if head["parentCommit"] != repository.head:
            self._json({"error": "A commit has happened since."}, 412)
            return
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "deletedFile":
                del tree[value["path"]]
            elif line["key"] == "lfsFile":
                assert self.server.cas_folder or value["oid"] in self.server.storage
                stored = self.server.storage.get(value["oid"])
                tree[value["path"]] = Blob(stored, value["oid"], value["size"])
            else:
                content = base64.b64decode(value["content"])
                tree[value["path"]] = Blob(content, size=len(content))
        for path in self.server.damage.keys() & tree.keys():
            damaged = self.server.damage[path]
            tree[path] = Blob(damaged, hashlib.sha256(damaged).hexdigest(), len(damaged))
        repository.add(tree, head["summary"])
        title = next(title for title, each in self.server.repositories.items() if each is repository)
        address = f"{self.server.url}/{title}/commit/{repository.head}"
        self._json({"commitUrl": address, "commitOid": repository.head})


# --- What is published ---


@dataclass(frozen=True)
class Project:
    """A miniature of everything that is published, and the command line that names it."""

    folder: Path

    @property
    def options(self) -> list[str]:
        return ["--model", str(self.folder / "model"), "--catalog", str(self.folder / "catalog")]

    def write_report(self, **changes: object) -> str:
        path = self.folder / "figures.json"
        path.write_text(json.dumps(REPORT | changes), encoding="utf-8")
        return str(path)


def make_model(folder: Path, seed: int = 0) -> MelodyEncoder:
    encoder = MelodyEncoder.untrained(NetworkConfig(n_frames=16, channels=4, dim=4, dilations=(1,)), seed)
    encoder.save(folder)
    return encoder


def make_catalog(folder: Path, encoder: MelodyEncoder, genre: str = "Folk") -> None:
    songs = [Song("s0", "One", genre=genre, licence="CC0"), Song("s1", "Two", genre="Hymn", licence="public domain")]
    melodies = [melody_from_notes([(0.0, 1.0, 60 + step), (1.0, 1.0, 62)]) for step in range(len(songs))]
    embeddings = np.ones((len(songs), encoder.dim), np.float16)
    n_windows = np.ones(len(songs), np.int32)
    Catalog(tuple(songs), tuple(melodies), embeddings, n_windows, encoder.fingerprint, "# Credits\n").save(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    encoder = make_model(tmp_path / "model")
    make_catalog(tmp_path / "catalog", encoder)
    (tmp_path / "catalog" / "recording.flac").write_bytes(b"not to be published")
    for name in [*SPACE_FILES, *NOT_OF_THE_SPACE]:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SPACE_FILES.get(name, b"not to be published"))
    return Project(tmp_path)


@pytest.fixture
def script(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module, with the miniature Space in place of this repository."""
    with loaded_script("push_to_hub") as module:
        monkeypatch.setattr(module, "ROOT", project.folder / "root")
        yield module


@pytest.fixture
def server() -> Iterator[PublishingHub]:
    stand_in = PublishingHub()
    yield stand_in
    stand_in.stop()


@pytest.fixture(autouse=True)
def client(server: PublishingHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point the real client at the stand-in, with a cache and a token of its own, storing by LFS."""
    constants = huggingface_hub.constants
    for name in ("HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE", CATALOG_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.utils._http, "time", SimpleNamespace(sleep=lambda s: None, time=time.time))
    with real_client(server.url, tmp_path / "cache", monkeypatch):
        yield


@pytest.fixture
def push(script: ModuleType, project: Project, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    """Run the script; returns exit code and everything it said, which never holds the token."""

    def run(*options: str, repositories: list[str] | None = None) -> tuple[int, str]:
        try:
            code = script.main([*(REPOSITORIES if repositories is None else repositories), *project.options, *options])
        except SystemExit as stopped:
            code = stopped.code
        said = "".join(capsys.readouterr())
        assert TOKEN not in said and "Traceback" not in said
        return code, said

    return run


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def split_card(card: str) -> tuple[dict, str]:
    """Return a card's header and what a reader sees of its text."""
    _, header, body = card.split("---\n", 2)
    return yaml.safe_load(header), html.unescape(body)


# --- Publishing and loading back ---


def test_what_was_published_loads_back_at_the_pinned_commit(
    push: Callable, server: PublishingHub, project: Project
) -> None:
    code, said = push("--message", "First release")
    assert code == 0, said
    model, catalog, space = (server.repositories[title] for title in (MODEL, CATALOG, SPACE))
    assert [repository.messages for repository in (model, catalog, space)] == [["initial", "First release"]] * 3
    assert space.variables == {CATALOG_VARIABLE: f"{CATALOG}@{catalog.head}", "HMM2SONG_MODEL": f"{MODEL}@{model.head}"}
    assert all(f"{title}: " in said and server.repositories[title].head in said for title in (MODEL, CATALOG, SPACE))

    resolved = resolve_catalog(space.variables[CATALOG_VARIABLE], token=False)
    assert (resolved.origin, resolved.notices) == (space.variables[CATALOG_VARIABLE], ())
    sent, here = contents(resolved.folder), contents(project.folder / "catalog")
    assert sent.keys() == {*here, "README.md"} - {"recording.flac"}
    assert all(sent[name] == here[name] for name in sent if name != "README.md")
    encoder = MelodyEncoder.load(project.folder / "model")
    assert [song.id for song in Catalog.load(resolved.folder, encoder).songs] == ["s0", "s1"]


def test_the_code_in_the_models_card_loads_it(push: Callable, server: PublishingHub, project: Project) -> None:
    push(repositories=REPOSITORIES[:2])
    (code,) = server.repositories[MODEL].files["README.md"].decode().split("```python\n")[1:]
    names: dict = {}
    compiled = compile(code.partition("```")[0], "card", "exec")
    exec(compiled, names)
    assert names["encoder"].fingerprint == MelodyEncoder.load(project.folder / "model").fingerprint


def test_a_dry_run_writes_exactly_what_is_uploaded(
    push: Callable, server: PublishingHub, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = f"some hums={project.write_report()}"
    out = project.folder / "out"
    monkeypatch.delenv("HF_TOKEN")
    code, said = push("--figures", figures, "--dry-run", str(out))
    assert (code, server.requests) == (0, [])
    assert f"{CATALOG_VARIABLE}={CATALOG}@" in said
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push("--figures", figures)[0] == 0
    for name, title in (("model", MODEL), ("catalog", CATALOG), ("space", SPACE)):
        assert contents(out / name) == server.repositories[title].files
    assert sorted(path.name for path in out.iterdir()) == ["catalog", "model", "space"]


def test_the_space_is_the_program_and_nothing_else(push: Callable, server: PublishingHub) -> None:
    push()
    published = server.repositories[SPACE].files
    assert published.keys() == SPACE_FILES.keys()
    assert all(published[name] == content for name, content in SPACE_FILES.items() if name != "README.md")
    header, body = split_card(published["README.md"].decode())
    expected = yaml.safe_load(HEADER.split("---\n")[1]) | {"models": ["someone/encoder"], "datasets": ["someone/songs"]}
    assert (header, body) == (expected, "\n# Hmm2Song\n\nWords.\n")


def add_lyrics(catalog: Path) -> None:
    """Put lyrics where a collected chart has them, and where a stranger might."""
    rows = json.loads((catalog / "songs.json").read_text(encoding="utf-8"))
    rows[0] |= {"Lyric": "secret words", "lyrics_en": "more secret words"}
    (catalog / "songs.json").write_text(json.dumps(rows), encoding="utf-8")
    write_manifest(catalog, read_manifest(catalog)["encoder_fingerprint"], len(rows))


def test_lyrics_are_never_published_and_the_own_catalog_keeps_them(
    push: Callable, server: PublishingHub, project: Project
) -> None:
    bundled = project.folder / "root" / "assets" / "catalog"
    make_catalog(bundled, MelodyEncoder.load(project.folder / "model"))
    for catalog in (project.folder / "catalog", bundled):
        add_lyrics(catalog)
    before = contents(project.folder)
    out = project.folder / "out"
    assert push("--dry-run", str(out))[0] == 0
    code, said = push()
    assert code == 0
    assert f"{CATALOG}: the lyrics of 1 songs are left out; your own catalog keeps them" in said
    assert f"{SPACE}: the lyrics of 1 songs are left out" in said
    published = [*server.storage.values(), *contents(out).values()]
    for title in (MODEL, CATALOG, SPACE):
        published += [content for content in server.repositories[title].files.values() if content is not None]
    assert len(published) > 20 and not [content for content in published if b"secret words" in content]
    assert {name: content for name, content in contents(project.folder).items() if name in before} == before
    encoder = MelodyEncoder.load(project.folder / "model")
    here = Catalog.load(project.folder / "catalog", encoder)
    for folder in (out / "catalog", out / "space" / "assets" / "catalog"):
        there = Catalog.load(folder, encoder)
        assert there.songs == tuple(replace(song, lyric="") for song in here.songs)
        assert [song.lyric for song in here.songs] == ["secret words", ""]
    assert push()[1].count("unchanged") == 3


def test_this_repository_makes_a_space(tmp_path: Path) -> None:
    """In a process of its own, as people run it."""
    command = [sys.executable, str(SCRIPT), "--space-repo", "someone/hums", "--dry-run", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    published = contents(tmp_path / "out" / "space")
    assert {
        "app.py",
        "hmm2song/catalog/hub.py",
        "requirements.txt",
        "LICENSE",
        "assets/catalog/songs.json",
    } <= published.keys()
    assert not [name for name in published if name.startswith(("tests", "scripts", ".")) or "__pycache__" in name]
    before, after = (split_card(text) for text in ((ROOT / "README.md").read_text(), published["README.md"].decode()))
    assert after == before


def test_the_environment_variables_of_the_hub_client_are_obeyed(
    server: PublishingHub, project: Project, tmp_path: Path
) -> None:
    """In a process of its own, as the client reads HF_ENDPOINT when it is imported."""
    command = [sys.executable, str(SCRIPT), *REPOSITORIES[:4], *project.options]
    environment = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert server.repositories[CATALOG].files["songs.json"] == (project.folder / "catalog/songs.json").read_bytes()
    assert TOKEN not in done.stdout + done.stderr


# --- Again ---


def test_publishing_twice_changes_nothing(push: Callable, server: PublishingHub) -> None:
    push()
    before = {title: (repository.head, dict(repository.variables)) for title, repository in server.repositories.items()}
    server.requests.clear()
    code, said = push()
    assert (code, said.count("unchanged")) == (0, 3)
    assert {title: (each.head, each.variables) for title, each in server.repositories.items()} == before
    changing = ("/commit/", "/variables", "/preupload/", "/objects/batch")
    assert not [path for part in changing for path in server.sent("POST", part)]
    assert not server.sent("PUT", "")


def test_only_what_changed_is_sent(push: Callable, server: PublishingHub, project: Project) -> None:
    push()
    heads = {title: repository.head for title, repository in server.repositories.items()}
    make_catalog(project.folder / "catalog", MelodyEncoder.load(project.folder / "model"), genre="Rock")
    (project.folder / "root/hmm2song/deep/module.py").unlink()
    server.requests.clear()
    assert push()[0] == 0
    assert server.repositories[MODEL].head == heads[MODEL]
    catalog, space = server.repositories[CATALOG], server.repositories[SPACE]
    assert len(catalog.commits) == len(space.commits) == 3
    assert b"Rock" in catalog.files["songs.json"]
    assert not server.sent("PUT", "")  # the melodies did not change
    assert space.files.keys() == SPACE_FILES.keys() - {"hmm2song/deep/module.py"}
    assert ".gitattributes" in space.commits[space.head]
    assert space.variables[CATALOG_VARIABLE] == f"{CATALOG}@{catalog.head}"


# --- A Hub in trouble ---


def test_a_connection_dropped_in_an_upload_is_tried_again(push: Callable, server: PublishingHub) -> None:
    server.drops = [("PUT", "/upload/"), ("POST", "/objects/batch"), ("POST", "/preupload/")]
    assert push()[0] == 0
    assert server.drops == []
    assert [len(repository.commits) for repository in server.repositories.values()] == [2, 2, 2]


@pytest.mark.parametrize(
    "cut",
    [
        ("POST", "/api/datasets/someone/songs/commit/"),
        ("POST", "/api/validate-yaml"),
        ("GET", "/api/datasets/someone/songs"),
    ],
)
def test_a_connection_dropped_half_way_is_explained_and_the_next_run_goes_on(
    cut: tuple[str, str], push: Callable, server: PublishingHub
) -> None:
    push(repositories=REPOSITORIES[:2])
    head = server.repositories[MODEL].head
    server.drops = [cut]
    code, said = push()
    assert (code, server.drops) == (2, [])
    assert f"{CATALOG} is not complete: RemoteProtocolError" in said
    assert f"Published: {MODEL}@{head}. Run the same command again" in said
    assert SPACE not in server.repositories and len(server.repositories[CATALOG].commits) == 1
    assert push()[0] == 0
    assert (server.repositories[MODEL].head, len(server.repositories[CATALOG].commits)) == (head, 2)
    assert server.repositories[SPACE].variables[CATALOG_VARIABLE].startswith(f"{CATALOG}@")


def test_a_commit_whose_answer_was_lost_is_not_made_again(push: Callable, server: PublishingHub) -> None:
    server.lost_answers = [("POST", "/commit/")]
    code, said = push()
    assert code == 2 and "Published: nothing" in said
    assert len(server.repositories[MODEL].commits) == 2
    assert push()[0] == 0
    assert [len(repository.commits) for repository in server.repositories.values()] == [2, 2, 2]


def test_a_space_that_could_not_be_pinned_is_pinned_by_the_next_run(push: Callable, server: PublishingHub) -> None:
    server.drops = [("POST", "/variables")]
    code, said = push()
    assert code == 2 and f"{SPACE} is not complete" in said and f"{CATALOG}@" in said
    assert push()[0] == 0
    assert len(server.repositories[SPACE].variables) == 2
    assert len(server.repositories[SPACE].commits) == 2


def test_a_hub_that_is_gone_is_one_line(push: Callable, server: PublishingHub) -> None:
    server.stop()
    code, said = push()
    assert (code, said.count("\n")) == (2, 1)
    assert "ConnectError" in said and "Published: nothing" in said


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (401, "Invalid token", "check the token"),
        (403, "Forbidden", "use a token that may write there"),
        (402, "A subscription is needed", "A subscription is needed"),
        (412, "A commit has happened since.", "somebody else changed it"),
    ],
)
def test_a_refusal_says_why(status: int, message: str, expected: str, push: Callable, server: PublishingHub) -> None:
    server.refusal = ("/commit/", status, message)
    code, said = push()
    assert code == 2
    assert f"the Hub answered with status {status} ({message}" in said and expected in said


def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(
    push: Callable, server: PublishingHub, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(repositories=REPOSITORIES[:2])
    repository, compare = server.repositories[MODEL], script.operations_towards
    (script.ROOT.parent / "model/README.md").write_text("# Changed\n\nNow different.\n")

    def compare_late(*arguments: object) -> list:
        repository.add(dict(repository.commits[repository.head]), "theirs")
        return compare(*arguments)

    monkeypatch.setattr(script, "operations_towards", compare_late)
    code, said = push(repositories=REPOSITORIES[:2])
    assert code == 2 and "status 412" in said
    assert repository.messages[-1] == "theirs"


# --- Checksums ---


@pytest.mark.parametrize("name", ["songs.json", "credits.md", *LARGE_CATALOG_FILES])
def test_a_damaged_catalog_is_not_published(name: str, push: Callable, server: PublishingHub, project: Project) -> None:
    path = project.folder / "catalog" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, said = push()
    assert code == 2 and f"{name} of catalog" in said and "differs from its recorded checksum" in said
    assert server.requests == []


def test_a_hub_that_stores_something_else_is_found_out(push: Callable, server: PublishingHub, project: Project) -> None:
    good = (project.folder / "catalog" / "embeddings.safetensors").read_bytes()
    server.damage = {"embeddings.safetensors": good[:-1] + b"\x7f"}
    code, said = push()
    assert code == 2 and "is not what was sent: 1 files differ, the first 'embeddings.safetensors'" in said
    assert SPACE not in server.repositories
    server.damage = {}
    assert push()[0] == 0
    assert server.repositories[CATALOG].files["embeddings.safetensors"] == good


@pytest.mark.parametrize("name", ["songs.json", "credits.md", *LARGE_CATALOG_FILES])
def test_a_file_changed_on_its_way_back_is_refused(
    name: str, push: Callable, server: PublishingHub, project: Project
) -> None:
    push()
    catalog = server.repositories[CATALOG]
    blob = catalog.commits[catalog.head][name]
    changed = bytes([blob.content[0] ^ 1]) + blob.content[1:]
    catalog.commits[catalog.head][name] = Blob(changed, blob.oid, blob.size)  # as it claims the former checksum
    resolved = resolve_catalog(f"{CATALOG}@{catalog.head}", token=False)
    with pytest.raises(IntegrityError, match=f"{name} of catalog .* differs from its recorded checksum"):
        Catalog.load(resolved.folder, MelodyEncoder.load(project.folder / "model"))


# --- Xet, by which the real Hub stores ---


def test_large_files_go_through_xet_and_come_back(
    push: Callable, server: PublishingHub, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hf_xet = pytest.importorskip("hf_xet")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    server.cas_folder = tmp_path / "cas"
    large = {str(project.folder / "catalog" / name) for name in LARGE_CATALOG_FILES}
    for path, hashed in zip(large, hf_xet.hash_files(list(large)), strict=True):
        server.xet_hashes[hashlib.sha256(Path(path).read_bytes()).hexdigest()] = hashed.hash
    assert push()[0] == 0
    assert not server.sent("PUT", "") and not server.sent("POST", "/objects/batch")
    catalog = server.repositories[CATALOG]
    assert {name for name, content in catalog.files.items() if content is None} == set(LARGE_CATALOG_FILES)
    resolved = resolve_catalog(f"{CATALOG}@{catalog.head}", token=False)
    for name in LARGE_CATALOG_FILES:
        assert (resolved.folder / name).read_bytes() == (project.folder / "catalog" / name).read_bytes()


def test_a_xet_storage_that_is_not_there_is_explained(
    push: Callable, server: PublishingHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    code, said = push()
    assert code == 2 and f"{MODEL} is not complete" in said and "Run the same command again" in said


# --- Token, privacy, other people's repositories ---


def test_the_token_goes_to_the_hub_and_not_to_its_storage(push: Callable, server: PublishingHub) -> None:
    push()
    sent = [(method, path, token) for method, path, token in server.requests if path != "/"]
    assert {token for method, path, token in sent if path.startswith("/upload/")} == {None}
    assert {token for method, path, token in sent if not path.startswith("/upload/")} == {f"Bearer {TOKEN}"}


def test_without_a_token_nothing_is_tried(
    push: Callable, server: PublishingHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    code, said = push()
    assert (code, server.requests) == (2, []) and "hf auth login" in said
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN} x")
    code, said = push()
    assert (code, server.requests) == (2, []) and "odd character" in said


def test_a_wrong_token_is_refused_without_repeating_it(
    push: Callable, server: PublishingHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    code, said = push()
    assert code == 2 and "status 401" in said and "hf_wrong" not in said


def test_private_repositories(push: Callable, server: PublishingHub) -> None:
    code, said = push("--private")
    assert code == 0 and "secret HF_TOKEN" in said
    assert all(repository.private for repository in server.repositories.values())
    assert push()[0] == 0  # stays private without being told
    assert all(repository.private for repository in server.repositories.values())


def test_private_is_not_promised_for_what_is_public(push: Callable, server: PublishingHub) -> None:
    push(repositories=REPOSITORIES[:2])
    code, said = push("--private")
    assert code == 2 and f"{MODEL} exists and is public" in said
    assert CATALOG not in server.repositories


@pytest.mark.parametrize("files", [{"README.md": b"# Mine"}, {}])
def test_other_work_is_not_overwritten(files: dict, push: Callable, server: PublishingHub) -> None:
    theirs = {"model.safetensors": b"years of work", **files}
    server.make(MODEL, theirs)
    code, said = push()
    assert code == 2 and f"{MODEL} holds other work" in said
    assert server.repositories[MODEL].files == theirs


# --- Cards ---


def card_of(server: PublishingHub, title: str) -> tuple[dict, str]:
    return split_card(server.repositories[title].files["README.md"].decode())


def test_cards_hold_the_figures_that_were_measured(push: Callable, server: PublishingHub, project: Project) -> None:
    assert push("--figures", f"hums, k=10={project.write_report()}")[0] == 0
    for title in (MODEL, CATALOG):
        row = next(line for line in card_of(server, title)[1].splitlines() if line.startswith("| hums, k=10 |"))
        assert row == (
            "| hums, k=10 | 2,749 | 2,048 | 0.897 (0.885 to 0.908) | 0.964 (0.956 to 0.971) | 0.924 (0.915 to 0.933) "
            "| 0.31 (95th percentile 0.40) | 512 MB |"
        )
    changed = project.write_report(n=31, top1={"value": 0.5, "low": 0.25, "high": 0.75})
    assert push("--figures", f"hums, k=10={changed}", "--figures", f"others={changed}")[0] == 0
    body = card_of(server, MODEL)[1]
    assert "| hums, k=10 | 31 | 2,048 | 0.500 (0.250 to 0.750) |" in body and "| others | 31 |" in body
    assert "0.897" not in body and cards.NOT_MEASURED not in body


def test_cards_say_when_nothing_was_measured(push: Callable, server: PublishingHub) -> None:
    push()
    for title in (MODEL, CATALOG):
        assert cards.NOT_MEASURED in card_of(server, title)[1]
        assert "top-1" not in card_of(server, title)[1]


def test_cards_describe_the_files_beside_them(push: Callable, server: PublishingHub, project: Project) -> None:
    push()
    header, body = card_of(server, MODEL)
    assert header == {"license": "apache-2.0", "library_name": "hmm2song", "tags": list(cards.TAGS)}
    weights = server.repositories[MODEL].files["model.safetensors"]
    assert f"| model.safetensors | {len(weights):,} | {hashlib.sha256(weights).hexdigest()} |" in body
    n_parameters = sum(each.numel() for each in MelodyEncoder.load(project.folder / "model")._network.parameters())
    assert f"| parameters | {n_parameters:,} |" in body and "| channels | 4 |" in body
    header, body = card_of(server, CATALOG)
    assert (header["license"], header["size_categories"]) == ("other", ["n<1K"])
    assert header["configs"] == [{"config_name": "songs", "data_files": "songs.json"}]
    assert "| Folk | 1 |" in body and "| CC0 | 1 |" in body and "| unknown | 2 |" in body
    assert "\n2 melodies to find" in body and "lyrics" not in body


def test_the_models_own_words_stand_in_its_card_once(push: Callable, server: PublishingHub, project: Project) -> None:
    own = project.folder / "model" / "README.md"
    own.write_text("---\ndatasets: [someone/hums]\nlicense: mit\n---\n# Title\n\nHow it was *trained*.\n")
    push(repositories=REPOSITORIES[:2])
    header, body = card_of(server, MODEL)
    assert (header["datasets"], header["license"], header["library_name"]) == (["someone/hums"], "mit", "hmm2song")
    assert "\nHow it was *trained*.\n" in body and "# Title" not in body
    own.write_bytes(server.repositories[MODEL].files["README.md"])
    push(repositories=REPOSITORIES[:2])
    assert card_of(server, MODEL)[1].count("# Hmm2Song melody encoder") == 1


def test_strings_of_strangers_stay_text(project: Project) -> None:
    encoder = MelodyEncoder.load(project.folder / "model")
    make_catalog(project.folder / "catalog", encoder, genre=HOSTILE)
    figures = cards.read_figures(project.write_report(), HOSTILE)
    card = cards.catalog_card(project.folder / "catalog", "someone/songs", [figures])
    for markup in ("<img", "](http", "**b**", "`c`", "$d$", "@someone", "www.evil", "http://evil", "\n# e", "\u202e"):
        assert markup not in card
    assert f"| {HOSTILE[:79]}… |" in html.unescape(card)
    columns = {line.count(" | ") for line in card.splitlines() if line.startswith("| ") and "onerror" in line}
    assert columns == {1, 7}  # their | makes no column


@pytest.mark.parametrize(
    ("text", "shown"),
    [("St. James: 8.5 s, 50 %!", "St. James: 8.5 s, 50 %!"), ("a  b\n\tc", "a b c"), ("한글 é", "한글 é")],
)
def test_innocent_text_is_not_escaped(text: str, shown: str) -> None:
    assert cards.escape_markdown(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        " ".join(HOSTILE.replace("\u202e", "").split()),
        "readme.md",
        "a.b",
        "1.b",
        "www.1",
        "x:y",
        "a_b",
        "#1",
        "&lt;",
        "a\\b",
    ],
)
def test_escaped_text_reads_the_same(name: str) -> None:
    assert html.unescape(cards.escape_markdown(name)) == name


@pytest.mark.parametrize(
    ("count", "category"), [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**6, "n>1M")]
)
def test_the_size_category_is_one_of_the_hubs(count: int, category: str) -> None:
    assert cards._size_category(count) == category


# --- Bad input ---


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 0},
        {"n": True},
        {"n": "2749"},
        {"n_songs": None},
        {"top1": 0.9},
        {"top1": {"value": 0.9, "low": 0.8}},
        {"top1": {"value": 0.9, "low": 0.95, "high": 0.99}},
        {"mrr": {"value": 1.2, "low": 1.1, "high": 1.3}},
        {"top10": {"value": float("nan"), "low": 0.1, "high": 0.2}},
        {"seconds_per_query": {}},
        {"peak_mb": -1},
    ],
)
def test_impossible_figures_are_refused(changes: dict, project: Project) -> None:
    with pytest.raises(Hmm2SongError, match="does not hold the figures that evaluate.py"):
        cards.read_figures(project.write_report(**changes), "label")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_files_without_figures_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_bytes(content)
    with pytest.raises(Hmm2SongError, match="does not hold the figures"):
        cards.read_figures(tmp_path / "figures.json", "label")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--figures", "figures.json"], "is not of the form"),
        (["--figures", "=figures.json"], "is not of the form"),
        (["--figures", "hums=/no/such.json"], "/no/such.json cannot be read"),
        (["--model", "/no/such"], "'such' is not a model"),
        (["--catalog", "/no/such"], "'such' is not a catalog"),
        (["--model-repo", "name-only"], "has no owner"),
        (["--model-repo", "so--me/name"], "Cannot have -- or .."),
        (["--message", " "], "--message must not be empty"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(
    options: list[str], expected: str, push: Callable, server: PublishingHub
) -> None:
    code, said = push(*options)
    assert (code, server.requests) == (2, [])
    assert expected in said


def test_something_must_be_published(push: Callable) -> None:
    code, said = push(repositories=[])
    assert code == 2 and "name at least one of" in said


def test_a_dry_run_does_not_write_among_other_files(push: Callable, project: Project) -> None:
    before = contents(project.folder)
    code, said = push("--dry-run", str(project.folder))
    assert code == 2 and "choose another place" in said
    assert contents(project.folder) == before


def test_a_catalog_of_another_encoder_is_not_published_with_it(
    push: Callable, server: PublishingHub, project: Project
) -> None:
    make_model(project.folder / "model", seed=1)
    code, said = push()
    assert (code, server.requests) == (2, []) and "build the catalog again with this model" in said


@pytest.mark.parametrize("missing", ["app.py", "assets"])
def test_a_space_without_its_program_is_not_published(
    missing: str, push: Callable, server: PublishingHub, project: Project
) -> None:
    (project.folder / "root" / missing).rename(project.folder / "elsewhere")
    code, said = push()
    assert (code, server.requests) == (2, []) and f"{missing} is missing" in said


def test_a_link_is_not_followed_into_the_space(push: Callable, server: PublishingHub, project: Project) -> None:
    (project.folder / "secret").write_text("secret")
    (project.folder / "root/assets/link").symlink_to(project.folder / "secret")
    code, said = push()
    assert (code, server.requests) == (2, []) and "is a link" in said


@pytest.mark.parametrize("readme", ["# Hmm2Song", "---\n- list\n---\n", "---\n{[\n---\n"])
def test_a_readme_without_a_header_makes_no_space(readme: str) -> None:
    with pytest.raises(Hmm2SongError, match="front matter"):
        cards.space_card(readme)
