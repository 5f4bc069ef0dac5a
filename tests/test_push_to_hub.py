"""scripts/push_to_hub.py against a Hub in memory: what becomes of repositories, and what people are told."""

from __future__ import annotations

import hashlib
import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import httpx2
import huggingface_hub
import numpy as np
import pytest
import yaml
from folders import contents
from heard import made_facets
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from script_modules import loaded_script

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import CATALOG_VARIABLE, MODEL_VARIABLE
from hmm2song.catalog.storage import read_manifest, write_manifest
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.embeddings.network import NetworkConfig
from hmm2song.errors import Hmm2SongError
from hmm2song.melody.melody import melody_from_notes
from hmm2song.song import Song

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "hf_verysecret"
MODEL, CATALOG, SPACE = "someone/encoder", "datasets/someone/songs", "spaces/someone/hums"
TITLES = (MODEL, CATALOG, SPACE)
REPOSITORIES = ["--model-repo", "someone/encoder", "--catalog-repo", "someone/songs", "--space-repo", "someone/hums"]
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
    "CONTRIBUTING.md": b"# Contributing\n",
    "docs/api.md": b"# API\n",
}
NOT_OF_THE_SPACE = (
    "tests/test_app.py",
    "scripts/evaluate.py",
    ".git/config",
    ".gitignore",
    "hmm2song/__pycache__/app.pyc",
    "hmm2song/.cache/secret",
    "assets/catalog.partial/songs.json",
)
REPORT = {
    "n": 2749,
    "n_songs": 2048,
    "top1": {"value": 0.8971, "low": 0.8853, "high": 0.9082},
    "top10": {"value": 0.9641, "low": 0.9562, "high": 0.9713},
    "mrr": {"value": 0.9242, "low": 0.915, "high": 0.9331},
    "seconds_per_query": {"median": 0.3137, "p95": 0.4042},
    "peak_mb": 512.4,
}


# --- The Hub ---


@dataclass
class Repository:
    """The commits of a repository, newest last; each is a tree of path -> content."""

    private: bool
    commits: list[dict[str, bytes]]
    messages: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The newest commit."""
        return f"{len(self.commits):040x}"

    @property
    def files(self) -> dict[str, bytes]:
        """What people see, without the Hub's own file."""
        return {path: content for path, content in self.commits[-1].items() if path != ".gitattributes"}


class Hub:
    """What the script asks of the Hub's client, with the client's own signatures.

    ``faults`` are raised by the methods they name, once each; ``late_faults`` after the method has done its work.
    """

    METHODS = (
        "create_repo", "repo_info", "list_repo_files", "hf_hub_download", "create_commit", "get_space_variables",
        "add_space_variable",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        self.folder, self.repositories, self.calls = folder, {}, []
        self.faults: dict[str, Exception] = {}
        self.late_faults: dict[str, Exception] = {}

    def client(self, token: str) -> HfApi:
        """Return the client that the script gets."""
        assert token == TOKEN
        api = create_autospec(HfApi, instance=True)
        for name in self.METHODS:
            getattr(api, name).side_effect = self._answering(name)
        return api

    def _answering(self, name: str) -> Callable:
        def answer(repo_id: str, *arguments: object, repo_type: str = "space", **options: object) -> object:
            title = repo_id if repo_type == "model" else f"{repo_type}s/{repo_id}"
            self.calls.append(name)
            if name in self.faults:
                raise self.faults.pop(name)
            answered = getattr(self, f"_{name}")(title, *arguments, **options)
            if name in self.late_faults:
                raise self.late_faults.pop(name)
            return answered

        return answer

    def _create_repo(self, title: str, private: bool | None, space_sdk: str | None, exist_ok: bool) -> None:
        assert exist_ok and (space_sdk == "gradio") == (title == SPACE)
        card = {"README.md": b"---\nsdk: gradio\n---\n"} if title == SPACE else {}
        self.repositories.setdefault(title, Repository(bool(private), [{".gitattributes": b"lfs", **card}]))

    def _repo_info(self, title: str) -> SimpleNamespace:
        repository = self.repositories[title]
        return SimpleNamespace(sha=repository.head, private=repository.private)

    def _list_repo_files(self, title: str, revision: str) -> list[str]:
        return list(self._at(title, revision))

    def _hf_hub_download(self, title: str, filename: str, revision: str, cache_dir: str) -> str:
        file = Path(cache_dir, filename)
        file.write_bytes(self._at(title, revision)[filename])
        return str(file)

    def _at(self, title: str, revision: str) -> dict[str, bytes]:
        return self.repositories[title].commits[int(revision, 16) - 1]

    def _create_commit(self, title: str, operations: list, commit_message: str, parent_commit: str) -> SimpleNamespace:
        repository = self.repositories[title]
        if parent_commit != repository.head:
            raise refusal(412, "A commit has happened since.")
        tree = dict(repository.commits[-1])
        for operation in operations:
            if isinstance(operation, CommitOperationAdd):
                with operation.as_file() as file:
                    tree[operation.path_in_repo] = file.read()
            else:
                del tree[operation.path_in_repo]
        if tree != repository.commits[-1]:
            repository.commits.append(tree)
            repository.messages.append(commit_message)
        return SimpleNamespace(oid=repository.head)

    def _get_space_variables(self, title: str) -> dict[str, SimpleNamespace]:
        return {name: SimpleNamespace(value=value) for name, value in self.repositories[title].variables.items()}

    def _add_space_variable(self, title: str, key: str, value: str, description: str) -> None:
        self.repositories[title].variables[key] = value


def refusal(status: int, message: str) -> HfHubHTTPError:
    response = httpx2.Response(status, request=httpx2.Request("POST", "https://hub.example/"))
    return HfHubHTTPError(message, response=response, server_message=message)


# --- What is published ---


@dataclass(frozen=True)
class Project:
    """A miniature of everything that is published."""

    folder: Path

    @property
    def encoder(self) -> MelodyEncoder:
        return MelodyEncoder.load(self.folder / "model")

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
    facets = made_facets(len(songs))
    catalog = Catalog(
        tuple(songs), tuple(melodies), embeddings, n_windows, encoder.fingerprint, "# Credits\n", facets=facets
    )
    catalog.save(folder)


@pytest.fixture
def project(tmp_path):
    make_catalog(tmp_path / "catalog", make_model(tmp_path / "model"))
    (tmp_path / "catalog" / "recording.flac").write_bytes(b"not to be published")
    for name in [*SPACE_FILES, *NOT_OF_THE_SPACE]:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SPACE_FILES.get(name, b"not to be published"))
    return Project(tmp_path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    return Hub(tmp_path)


@pytest.fixture
def script(project, hub, monkeypatch):
    """The script as a module, with the miniature Space in place of this repository and the Hub in memory."""
    with loaded_script("push_to_hub") as module:
        monkeypatch.setattr(module, "ROOT", project.folder / "root")
        monkeypatch.setattr(module, "HfApi", hub.client)
        yield module


@pytest.fixture
def push(script, project, capsys):
    """Run the script; returns exit code and everything it said, which never holds the token."""

    def run(*options: str, repositories: list[str] | None = None) -> tuple[int, str]:
        try:
            folders = ["--model", str(project.folder / "model"), "--catalog", str(project.folder / "catalog")]
            code = script.main([*(REPOSITORIES if repositories is None else repositories), *folders, *options])
        except SystemExit as stopped:
            code = stopped.code
        said = "".join(capsys.readouterr())
        assert TOKEN not in said and "Traceback" not in said
        return code, said

    return run


def split_card(card: str) -> tuple[dict, str]:
    """Return a card's header and what a reader sees of its text."""
    _, header, body = card.split("---\n", 2)
    return yaml.safe_load(header), html.unescape(body)


def card_of(hub: Hub, title: str) -> tuple[dict, str]:
    return split_card(hub.repositories[title].files["README.md"].decode())


# --- Publishing ---


def test_each_repository_becomes_its_tree_and_the_space_is_pinned(push, hub, project, tmp_path):
    code, said = push("--message", "First release")
    assert code == 0, said
    model, catalog, space = (hub.repositories[title] for title in TITLES)
    assert [repository.messages for repository in (model, catalog, space)] == [["First release"]] * 3
    assert space.variables == {CATALOG_VARIABLE: f"{CATALOG}@{catalog.head}", MODEL_VARIABLE: f"{MODEL}@{model.head}"}
    assert all(f"{title}: changed, commit {hub.repositories[title].head}" in said for title in TITLES)
    here = contents(project.folder / "catalog")
    del here["recording.flac"]
    assert here.items() <= catalog.files.items() and catalog.files.keys() == {*here, "README.md"}
    assert all(".gitattributes" in repository.commits[-1] for repository in hub.repositories.values())
    assert space.files.keys() == SPACE_FILES.keys()
    assert all(space.files[name] == content for name, content in SPACE_FILES.items() if name != "README.md")
    expected = yaml.safe_load(HEADER.split("---\n")[1]) | {"models": ["someone/encoder"], "datasets": ["someone/songs"]}
    assert card_of(hub, SPACE) == (expected, "\n# Hmm2Song\n\nWords.\n")


def test_a_dry_run_writes_exactly_what_is_uploaded(push, hub, project, monkeypatch):
    figures, out = f"some hums={project.write_report()}", project.folder / "out"
    monkeypatch.delenv("HF_TOKEN")
    code, said = push("--figures", figures, "--dry-run", str(out))
    assert (code, hub.calls) == (0, []) and f"{CATALOG_VARIABLE}={CATALOG}@" in said
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push("--figures", figures)[0] == 0
    assert [contents(out / name) for name in ("model", "catalog", "space")] == [
        hub.repositories[title].files for title in TITLES
    ]
    before = contents(project.folder)
    code, said = push("--dry-run", str(project.folder))
    assert code == 2 and "choose another place" in said and contents(project.folder) == before


def test_this_repository_makes_a_space(tmp_path):
    """In a process of its own, as people run it."""
    command = [sys.executable, ROOT / "scripts" / "push_to_hub.py", "--space-repo", "someone/hums"]
    done = subprocess.run([*command, "--dry-run", tmp_path / "out"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    published = contents(tmp_path / "out" / "space")
    linked = re.findall(r"\]\((?!http)([^)#]+)", published["README.md"].decode())
    assert {"app.py", "hmm2song/catalog/hub.py", "LICENSE", "assets/catalog/songs.json", *linked} <= published.keys()
    assert not [name for name in published if name.startswith(("tests", "scripts", ".")) or "__pycache__" in name]
    before, after = (split_card(text) for text in ((ROOT / "README.md").read_text(), published["README.md"].decode()))
    assert after == before


def test_lyrics_are_never_published_and_the_own_catalog_keeps_them(push, hub, project):
    bundled = project.folder / "root" / "assets" / "catalog"
    make_catalog(bundled, project.encoder)
    for catalog in (project.folder / "catalog", bundled):
        rows = json.loads((catalog / "songs.json").read_text(encoding="utf-8"))
        rows[0] |= {"Lyric": "secret words", "lyrics_en": "more secret words"}  # where a collected chart has them
        (catalog / "songs.json").write_text(json.dumps(rows), encoding="utf-8")
        write_manifest(catalog, read_manifest(catalog)["encoder_fingerprint"], len(rows))
    before, out = contents(project.folder), project.folder / "out"
    assert push("--dry-run", str(out))[0] == 0
    code, said = push()
    assert code == 0
    assert f"{CATALOG}: the lyrics of 1 songs are left out; your own catalog keeps them" in said
    assert f"{SPACE}: the lyrics of 1 songs are left out" in said
    published = [
        *contents(out).values(),
        *(file for title in TITLES for file in hub.repositories[title].files.values()),
    ]
    assert len(published) > 20 and not [content for content in published if b"secret words" in content]
    assert {name: content for name, content in contents(project.folder).items() if name in before} == before
    here = Catalog.load(project.folder / "catalog", project.encoder)
    assert [song.lyric for song in here.songs] == ["secret words", ""]
    for folder in (out / "catalog", out / "space" / "assets" / "catalog"):
        assert Catalog.load(folder, project.encoder).songs == tuple(replace(song, lyric="") for song in here.songs)


# --- Again ---


def test_publishing_twice_changes_nothing(push, hub):
    push()
    before = {title: (each.head, dict(each.variables)) for title, each in hub.repositories.items()}
    hub.calls.clear()
    code, said = push()
    assert (code, said.count("unchanged")) == (0, 3)
    assert {title: (each.head, each.variables) for title, each in hub.repositories.items()} == before
    assert "add_space_variable" not in hub.calls  # it would restart the Space


def test_what_is_gone_is_deleted_and_the_pin_follows(push, hub, project):
    push()
    heads = {title: repository.head for title, repository in hub.repositories.items()}
    make_catalog(project.folder / "catalog", project.encoder, genre="Rock")
    (project.folder / "root/hmm2song/deep/module.py").unlink()
    assert push()[0] == 0
    model, catalog, space = (hub.repositories[title] for title in TITLES)
    assert (model.head, len(catalog.commits), len(space.commits)) == (heads[MODEL], 3, 3)
    assert b"Rock" in catalog.files["songs.json"]
    assert space.files.keys() == SPACE_FILES.keys() - {"hmm2song/deep/module.py"}
    assert ".gitattributes" in space.commits[-1] and space.variables[CATALOG_VARIABLE] == f"{CATALOG}@{catalog.head}"


# --- A Hub in trouble ---


@pytest.mark.parametrize("step", ["create_repo", "repo_info", "create_commit", "hf_hub_download", "add_space_variable"])
@pytest.mark.parametrize("faults", ["faults", "late_faults"])
def test_a_connection_lost_at_any_step_is_explained_and_the_next_run_goes_on(step, faults, push, hub, project):
    push(repositories=REPOSITORIES[:4])
    make_model(project.folder / "model", seed=1)
    make_catalog(project.folder / "catalog", project.encoder)
    getattr(hub, faults)[step] = httpx2.RemoteProtocolError("gone")
    code, said = push()
    failed = SPACE if step == "add_space_variable" else MODEL
    assert code == 2 and f"{failed} is not complete: RemoteProtocolError: gone" in said and said.count("\n") <= 4
    made = f"{MODEL}@{hub.repositories[MODEL].head}" if failed == SPACE else "nothing"
    assert f"Published: {made}" in said and "Run the same command again" in said
    assert push()[0] == 0
    assert [len(hub.repositories[title].commits) for title in TITLES] == [3, 3, 2]
    assert len(hub.repositories[SPACE].variables) == 2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (refusal(401, "Invalid token"), "status 401 (Invalid token); check the token"),
        (refusal(403, "Forbidden"), "status 403 (Forbidden); use a token that may write there"),
        (refusal(402, "A subscription is needed"), "status 402 (A subscription is needed). Published"),
        (ConnectionError("reset"), "ConnectionError: reset"),
        (ValueError("bad card"), "ValueError: bad card"),
        (RuntimeError("CAS service error"), "RuntimeError: CAS service error"),
    ],
)
def test_a_refusal_says_why(fault, expected, push, hub):
    hub.faults["create_commit"] = fault
    code, said = push()
    assert code == 2 and expected in said


def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(push, hub, monkeypatch):
    real = hub._list_repo_files

    def list_late(title: str, revision: str) -> list[str]:
        hub.repositories[title].commits.append({"README.md": b"theirs"})
        return real(title, revision)

    monkeypatch.setattr(hub, "_list_repo_files", list_late)
    code, said = push()
    assert code == 2 and "status 412" in said and "somebody else changed it" in said
    assert hub.repositories[MODEL].files == {"README.md": b"theirs"}


# --- Token, privacy, other people's repositories ---


@pytest.mark.parametrize(("token", "expected"), [("", "hf auth login"), (f"{TOKEN} x", "odd character")])
def test_without_a_good_token_nothing_is_tried(token, expected, push, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    code, said = push()
    assert (code, hub.calls) == (2, []) and expected in said


def test_private_repositories(push, hub):
    code, said = push("--private")
    assert code == 0 and "secret HF_TOKEN" in said
    assert push()[0] == 0  # they stay private without being told
    assert all(repository.private for repository in hub.repositories.values())
    hub.repositories[MODEL].private = False
    code, said = push("--private")
    assert code == 2 and f"{MODEL} exists and is public" in said


@pytest.mark.parametrize("files", [{"README.md": b"# Mine"}, {}])
def test_other_work_is_not_overwritten(files, push, hub):
    theirs = {"model.safetensors": b"years of work", **files}
    hub.repositories[MODEL] = Repository(private=False, commits=[theirs])
    code, said = push()
    assert code == 2 and f"{MODEL} holds other work" in said
    assert hub.repositories[MODEL].commits == [theirs]


# --- Cards ---


def test_the_code_in_the_models_card_loads_it(push, hub, project, monkeypatch):
    push(repositories=REPOSITORIES[:2])
    _, code = hub.repositories[MODEL].files["README.md"].decode().split("```python\n")
    folders = {"someone/encoder": str(project.folder / "model")}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", folders.__getitem__)
    names: dict = {}
    exec(compile(code.partition("```")[0], "card", "exec"), names)
    assert names["encoder"].fingerprint == project.encoder.fingerprint


def test_cards_hold_the_figures_that_were_measured(push, hub, project):
    push()
    for title in (MODEL, CATALOG):
        body = card_of(hub, title)[1]
        assert "Nothing was measured for this version." in body and "top-1" not in body
    changed = project.folder / "changed.json"
    changed.write_text(json.dumps(REPORT | {"n": 31, "top1": {"value": 0.5, "low": 0.25, "high": 0.75}}))
    assert push("--figures", f"hums, k=10={project.write_report()}", "--figures", f"others={changed}")[0] == 0
    for title in (MODEL, CATALOG):
        body = card_of(hub, title)[1]
        assert (
            "| hums, k=10 | 2,749 | 2,048 | 0.897 (0.885 to 0.908) | 0.964 (0.956 to 0.971) | 0.924 (0.915 to 0.933) "
            "| 0.31 (95th percentile 0.40) | 512 MB |\n"
        ) in body
        assert "| others | 31 | 2,048 | 0.500 (0.250 to 0.750) |" in body and "Nothing was measured" not in body


def test_cards_describe_the_files_beside_them(push, hub, project):
    push()
    header, body = card_of(hub, MODEL)
    tags = ["audio", "music", "query-by-humming", "music-information-retrieval"]
    assert header == {"license": "apache-2.0", "library_name": "hmm2song", "tags": tags}
    weights = hub.repositories[MODEL].files["model.safetensors"]
    assert f"| model.safetensors | {len(weights):,} | {hashlib.sha256(weights).hexdigest()} |" in body
    n_parameters = sum(each.size for each in project.encoder.weights.values())
    assert f"| parameters | {n_parameters:,} |" in body and "| channels | 4 |" in body
    header, body = card_of(hub, CATALOG)
    assert (header["license"], header["size_categories"]) == ("other", ["n<1K"])
    assert header["configs"] == [{"config_name": "songs", "data_files": "songs.json"}]
    assert "| Folk | 1 |" in body and "| CC0 | 1 |" in body and "| unknown | 2 |" in body
    assert "\n2 melodies to find" in body and "lyrics" not in body
    heard = hub.repositories[CATALOG].files["facets.safetensors"]
    assert f"| facets.safetensors | {len(heard):,} | {hashlib.sha256(heard).hexdigest()} |" in body


def test_the_models_own_words_stand_in_its_card_once(push, hub, project):
    own = project.folder / "model" / "README.md"
    own.write_text("---\ndatasets: [someone/hums]\nlicense: mit\n---\n# Title\n\nHow it was *trained*.\n")
    push(repositories=REPOSITORIES[:2])
    header, body = card_of(hub, MODEL)
    assert (header["datasets"], header["license"], header["library_name"]) == (["someone/hums"], "mit", "hmm2song")
    assert "\nHow it was *trained*.\n" in body and "# Title" not in body
    own.write_bytes(hub.repositories[MODEL].files["README.md"])
    push(repositories=REPOSITORIES[:2])
    assert card_of(hub, MODEL)[1].count("# Hmm2Song melody encoder") == 1


def test_strings_of_strangers_stay_text(push, hub, project):
    make_catalog(project.folder / "catalog", project.encoder, genre=HOSTILE)
    assert push("--figures", f"{HOSTILE}={project.write_report()}")[0] == 0
    card = hub.repositories[CATALOG].files["README.md"].decode()
    for markup in ("<img", "](http", "**b**", "`c`", "$d$", "@someone", "www.evil", "http://evil", "\n# e", "\u202e"):
        assert markup not in card
    assert f"| {HOSTILE[:79]}… |" in html.unescape(card)
    columns = {line.count(" | ") for line in card.splitlines() if line.startswith("| ") and "onerror" in line}
    assert columns == {1, 7}  # their | makes no column


def test_escaped_text_reads_the_same(script):
    for text in ("readme.md", "1.b", "www.1", "x:y", "a_b", "#1", "&lt;", "a\\b", "한글 é, 50 %!"):
        assert html.unescape(script.escape_markdown(text)) == text
    assert script.escape_markdown("St. James: 8.5 s,\n\t  50 %!") == "St. James: 8.5 s, 50 %!"


def test_the_size_category_is_one_of_the_hubs(script):
    named = {count: script.size_category(count) for count in (1, 999, 1000, 99_999, 10**6)}
    assert list(named.values()) == ["n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "n>1M"]


# --- Bad input ---


@pytest.mark.parametrize(
    "content",
    [
        *(json.dumps(REPORT | changes).encode() for changes in (
            {"n": "2749"}, {"n_songs": None}, {"top1": 0.9}, {"top1": {"value": 0.9}}, {"seconds_per_query": {}}
        )),
        *(b"", b"[]", b"{", b"\xff", b"[" * 100_000),
    ],
)  # fmt: skip
def test_impossible_figures_are_refused(content, script, tmp_path):
    (tmp_path / "figures.json").write_bytes(content)
    with pytest.raises(Hmm2SongError, match="does not hold the figures that evaluate.py"):
        script.figures_row("label", tmp_path / "figures.json")


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
def test_bad_options_are_refused_before_anything_is_sent(options, expected, push, hub):
    code, said = push(*options)
    assert (code, hub.calls) == (2, []) and expected in said
    assert "name at least one of" in push(repositories=[])[1]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda at: (at / "catalog/credits.md").write_text("# Credit!\n"), "differs from its recorded checksum"),
        (lambda at: make_model(at / "model", seed=1), "build the catalog again with this model"),
        (lambda at: (at / "root/app.py").unlink(), "app.py is missing"),
        (lambda at: (at / "root/assets/link").symlink_to(at / "secret"), "is a link"),
        (lambda at: (at / "root/README.md").write_text("# Hmm2Song"), "has no front matter"),
        (lambda at: (at / "root/README.md").write_text("---\n- a\n---\n"), "not a YAML table"),
        (lambda at: (at / "root/README.md").write_text("---\n{[\n---\n"), "not a YAML table"),
        (lambda at: (at / "model/README.md").write_bytes(b"\xff"), "mend or remove it"),
    ],
)
def test_what_is_not_fit_to_be_published_is_refused_before_anything_is_sent(spoil, expected, push, hub, project):
    spoil(project.folder)
    code, said = push()
    assert (code, hub.calls) == (2, []) and expected in said
