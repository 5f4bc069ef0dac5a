#!/usr/bin/env python
r"""Publish model, catalog and Space on the Hugging Face Hub.

    python scripts/push_to_hub.py --model-repo me/encoder --catalog-repo me/songs --space-repo me/hmm2song \
        --figures "MIR-QBSH, all hums=qbsh.json" --dry-run out
    (the same without --dry-run publishes what was written to out)

Any of the three repositories may be left out. Each becomes exactly its tree, in one commit: files that are no longer
part of it are deleted, where nothing changed there is no commit. The order is model, catalog, Space; the Space is
pinned to the commits just made by its variables HMM2SONG_MODEL and HMM2SONG_CATALOG.

Lyrics are never published: they belong to those who wrote them. Catalogs go without them; your own keeps them.

The cards hold the figures of the JSON files that evaluate.py --json wrote, and no others. The token comes from
HF_TOKEN or from "hf auth login"; it must be allowed to write. HF_ENDPOINT names another Hub.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song import __version__
from hmm2song.catalog.cards import CARD_FILE, Figures, catalog_card, model_card, read_figures, read_songs, space_card
from hmm2song.catalog.hub import CATALOG_VARIABLE
from hmm2song.catalog.storage import (
    DATA_FILES,
    MANIFEST_FILE,
    SONGS_FILE,
    check_file,
    read_manifest,
    write_manifest,
    write_songs,
)
from hmm2song.embeddings.base import CONFIG_FILE, WEIGHTS_FILE
from hmm2song.embeddings.contour import MelodyEncoder
from hmm2song.errors import CatalogError, Hmm2SongError, HubError, IntegrityError

KINDS = {"model": "model", "catalog": "dataset", "space": "space"}
"""What is published, in this order, to the Hub's kind of repository."""
SPACE_ENTRIES = ("app.py", "hmm2song", "requirements.txt", "assets", CARD_FILE, "LICENSE")
UNWANTED = re.compile(r"^\.|^__pycache__$|\.pyc$|\.partial$")
"""Names of files and folders inside these entries that are not published."""
MODEL_VARIABLE = "HMM2SONG_MODEL"
KEPT_FILES = {".gitattributes"}
"""Made by the Hub, which says in it how it stores the others."""
OURS = "Hmm2Song"
"""Stands in every card of ours: a repository without it is somebody's other work and not to be overwritten."""
HUB_ERRORS = (httpx2.HTTPError, OSError, RuntimeError, ValueError)
"""What the client raises: refusals and lost connections, the disk, the Xet library, answers that are no JSON or no
valid card."""
REASON_LENGTH = 300
SHA256_LENGTH = 64
EXIT_ERROR = 2


@dataclass(frozen=True)
class Tree:
    """A folder that is to become a repository; ``name`` is a key of KINDS."""

    name: str
    repo_id: str
    folder: Path

    @property
    def kind(self) -> str:
        """The Hub's kind of repository."""
        return KINDS[self.name]

    @property
    def title(self) -> str:
        """The repository as the Hub writes it: ``owner/name``, ``datasets/owner/name`` or ``spaces/owner/name``."""
        return self.repo_id if self.kind == "model" else f"{self.kind}s/{self.repo_id}"

    def files(self) -> dict[str, Path]:
        """Return path in the repository -> file."""
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in files}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = parse_options(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="hmm2song-publish-") as staging:
            api = None if options.dry_run else HfApi(token=write_token())
            trees = build_trees(options, Path(staging))
            if api is None:
                write_trees(trees, options.dry_run)
            else:
                publish_all(trees, api, options)
    except (Hmm2SongError, OSError) as error:
        print(f"push_to_hub.py: {error}", file=sys.stderr)
        return EXIT_ERROR
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in KINDS:
        parser.add_argument(f"--{name}-repo", type=repo_id, metavar="OWNER/NAME", help=f"where the {name} goes")
    assets = ROOT / "assets"
    parser.add_argument("--model", type=Path, default=assets / "model", help="model folder (default: the bundled one)")
    parser.add_argument("--catalog", type=Path, default=assets / "catalog", help="catalog folder (the same)")
    parser.add_argument(
        "--figures",
        type=labelled_path,
        action="append",
        default=[],
        metavar="LABEL=JSON",
        help="figures for the cards: what was measured, and the JSON of evaluate.py; repeatable",
    )
    parser.add_argument("--dry-run", type=Path, metavar="OUT", help="write what would be uploaded to this folder")
    parser.add_argument("--private", action="store_true", help="make new repositories private; refuse public ones")
    parser.add_argument("--message", default=f"Hmm2Song {__version__}", help="of the commits (default: %(default)r)")
    options = parser.parse_args(arguments)
    if not any(getattr(options, f"{name}_repo") for name in KINDS):
        parser.error("name at least one of --model-repo, --catalog-repo and --space-repo")
    if not options.message.strip():
        parser.error("--message must not be empty")
    out = options.dry_run
    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        parser.error(f"{out} exists and is not an empty folder; choose another place for --dry-run")
    return options


def repo_id(text: str) -> str:
    """Check the name of a repository."""
    try:
        validate_repo_id(text)
    except HFValidationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if "/" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} has no owner; give OWNER/NAME")
    return text


def labelled_path(text: str) -> tuple[str, Path]:
    """Split LABEL=PATH at the last ``=``: labels may hold one."""
    label, _, path = text.rpartition("=")
    if not label.strip() or not path.strip():
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form "what was measured=figures.json"')
    return label.strip(), Path(path)


def write_token() -> str:
    """Return the token to publish with."""
    token = get_token()
    if not token:
        raise HubError("there is no token: run 'hf auth login', or put one that may write into HF_TOKEN")
    if re.search(r"[^!-~]", token):  # httpx would quote the whole token in its error
        raise HubError("the Hub token holds a space or other odd character: copy it again")
    return token


def build_trees(options: argparse.Namespace, staging: Path) -> list[Tree]:
    """Write what is to be published into ``staging``, checked, with its cards."""
    figures = [read_figures(path, label) for label, path in options.figures]
    if options.catalog_repo and (options.model_repo or options.space_repo):
        check_pair(options.model, options.catalog)
    trees = []
    for name in KINDS:
        if target := getattr(options, f"{name}_repo"):
            tree = Tree(name, target, staging / name)
            card = fill_tree(tree, options, figures)
            (tree.folder / CARD_FILE).write_text(card, encoding="utf-8", newline="\n")
            trees.append(tree)
    return trees


def fill_tree(tree: Tree, options: argparse.Namespace, figures: Sequence[Figures]) -> str:
    """Copy what belongs to a tree, checked, and return its card."""
    if tree.name == "model":
        MelodyEncoder.load(options.model)
        card = model_card(options.model, tree.repo_id, figures)
        copy_files(options.model, (CONFIG_FILE, WEIGHTS_FILE), tree.folder)
    elif tree.name == "catalog":
        check_catalog(options.catalog)
        copy_files(options.catalog, (MANIFEST_FILE, *DATA_FILES), tree.folder)
        leave_out_lyrics(tree)
        card = catalog_card(tree.folder, tree.repo_id, figures)
    else:
        card = space_card((ROOT / CARD_FILE).read_text(encoding="utf-8"), options.model_repo, options.catalog_repo)
        copy_files(ROOT, space_files(ROOT), tree.folder)
        leave_out_lyrics(tree)
    return card


def check_catalog(folder: Path) -> None:
    """Compare a catalog with its manifest, or raise CatalogError or IntegrityError."""
    manifest = read_manifest(folder)
    for name in DATA_FILES:
        check_file(folder / name, manifest["files"].get(name))


def leave_out_lyrics(tree: Tree) -> None:
    """Take the lyrics, and columns that are not ours, out of every catalog in a tree, and sign it again."""
    for manifest in sorted(tree.folder.rglob(MANIFEST_FILE)):
        if not (manifest.parent / SONGS_FILE).is_file():
            continue  # somebody else's manifest
        check_catalog(manifest.parent)
        songs = read_songs(manifest.parent / SONGS_FILE)
        write_songs(manifest.parent, [replace(song, lyric="") for song in songs])
        write_manifest(manifest.parent, read_manifest(manifest.parent).get("encoder_fingerprint", ""), len(songs))
        if n_lyrics := sum(bool(song.lyric) for song in songs):
            print(f"{tree.title}: the lyrics of {n_lyrics:,} songs are left out; your own catalog keeps them")


def check_pair(model: Path, catalog: Path) -> None:
    """Refuse a catalog that the published program could not open."""
    ours, theirs = MelodyEncoder.load(model).fingerprint, read_manifest(catalog).get("encoder_fingerprint")
    if ours != theirs:
        raise CatalogError(
            f"catalog {catalog} was made with encoder {theirs!r:.40}, model {model} is {ours!r}; build the catalog "
            "again with this model, or name the folders that belong together with --model and --catalog"
        )


def space_files(root: Path) -> list[str]:
    """Return the files of the Space, relative to ``root``: no tests, nothing hidden, compiled or half written."""
    found = []
    for entry in SPACE_ENTRIES:
        if not (root / entry).exists():
            raise Hmm2SongError(f"{root / entry} is missing: the Space needs it")
        inside = sorted((root / entry).rglob("*")) if (root / entry).is_dir() else [root / entry]
        found += [path for path in inside if not any(map(UNWANTED.search, path.relative_to(root).parts))]
    for path in found:
        if path.is_symlink():
            raise Hmm2SongError(f"{path} is a link, which a Space cannot hold; put the file itself there")
    return [path.relative_to(root).as_posix() for path in found if path.is_file()]


def copy_files(source: Path, names: Sequence[str], target: Path) -> None:
    """Copy files, with the folders they are in."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def write_trees(trees: list[Tree], out: Path) -> None:
    """Write what would be uploaded to ``out``, one folder per repository, and say what would be done."""
    for tree in trees:
        shutil.copytree(tree.folder, out / tree.name)
        sizes = [path.stat().st_size for path in tree.files().values()]
        print(f"{tree.title} would be {out / tree.name}: {len(sizes)} files, {sum(sizes):,} bytes")
    for variable, value in pins_of(trees, {tree.name: "COMMIT" for tree in trees}).items():
        print(f"the Space would have the variable {variable}={value}")


def publish_all(trees: list[Tree], api: HfApi, options: argparse.Namespace) -> None:
    """Publish one after the other and pin the Space; an error says what is there already and how to go on."""
    commits: dict[str, str] = {}
    for tree in trees:
        try:
            commits[tree.name] = publish(tree, api, options)
            if tree.name == "space":
                # After the commit: the Space is still being built, and starts once, with both.
                pin(tree.repo_id, pins_of(trees, commits), api)
        except HUB_ERRORS as error:
            there = ", ".join(f"{done.title}@{commits[done.name]}" for done in trees if done.name in commits)
            raise HubError(
                f"{tree.title} is not complete: {reason_of(error)}. Published: {there or 'nothing'}. Run the same "
                "command again to go on; what is there already is not sent twice"
            ) from error
    if options.private and "space" in commits:
        print("The Space can read private repositories only with a token: add one as its secret HF_TOKEN.")


def publish(tree: Tree, api: HfApi, options: argparse.Namespace) -> str:
    """Make a repository hold exactly the tree, and return its commit; none is made where nothing changed."""
    sdk = "gradio" if tree.kind == "space" else None
    private = True if options.private else None  # None: as the owner's settings say
    api.create_repo(tree.repo_id, repo_type=tree.kind, private=private, space_sdk=sdk, exist_ok=True)
    info = api.repo_info(tree.repo_id, repo_type=tree.kind)
    if options.private and not info.private:
        raise HubError(f"{tree.title} exists and is public: make it private in its settings, or drop --private")
    there = remote_digests(tree, api, info.sha)
    require_ours(tree, api, there, info.sha)
    operations = operations_towards(tree, there)
    if not operations:
        print(f"{tree.title}: unchanged, commit {info.sha}")
        return info.sha
    made = api.create_commit(
        tree.repo_id,
        operations,
        commit_message=options.message,
        repo_type=tree.kind,
        parent_commit=info.sha,  # refused if somebody else changed it meanwhile
    )
    check_published(tree, remote_digests(tree, api, made.oid), made.oid)
    print(f"{tree.title}: {len(operations)} files changed, commit {made.oid}")
    return made.oid


def remote_digests(tree: Tree, api: HfApi, commit: str) -> dict[str, str]:
    """Return path -> digest as the Hub states it: SHA-256 of large files, git's object id of the others."""
    listed = api.list_repo_tree(tree.repo_id, recursive=True, revision=commit, repo_type=tree.kind)
    files = [entry for entry in listed if isinstance(entry, RepoFile) and entry.path not in KEPT_FILES]
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}


def is_same(path: Path, digest: str) -> bool:
    """Tell whether a file is the one with this digest of the Hub."""
    content = path.read_bytes()
    if len(digest) == SHA256_LENGTH:
        return hashlib.sha256(content).hexdigest() == digest
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest() == digest


def require_ours(tree: Tree, api: HfApi, there: dict[str, str], commit: str) -> None:
    """Refuse a repository that holds other work: everything in it would be replaced."""
    if there.keys() <= {CARD_FILE}:  # new: the Hub itself puts a card into a Space
        return
    card = ""
    if CARD_FILE in there:
        with tempfile.TemporaryDirectory() as cache:
            path = api.hf_hub_download(tree.repo_id, CARD_FILE, repo_type=tree.kind, revision=commit, cache_dir=cache)
            card = Path(path).read_text(encoding="utf-8", errors="replace")
    if OURS not in card:
        raise HubError(
            f"{tree.title} holds other work ({len(there)} files, and its {CARD_FILE} does not speak of {OURS}): "
            "choose another name, or empty it first"
        )


def operations_towards(tree: Tree, there: dict[str, str]) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Return what turns the repository into the tree."""
    files = tree.files()
    gone = [CommitOperationDelete(name) for name in sorted(there.keys() - files.keys())]
    changed = [name for name, path in files.items() if name not in there or not is_same(path, there[name])]
    return [*gone, *(CommitOperationAdd(name, files[name]) for name in changed)]


def check_published(tree: Tree, there: dict[str, str], commit: str) -> None:
    """Compare what the Hub holds with what was sent."""
    if wrong := operations_towards(tree, there):
        raise IntegrityError(
            f"{tree.title} at commit {commit} is not what was sent: {len(wrong)} files differ, the first "
            f"{wrong[0].path_in_repo!r}; run the same command again, and do not use this commit"
        )


def pins_of(trees: list[Tree], commits: dict[str, str]) -> dict[str, str]:
    """Return the Space's variables: which commit of model and catalog it loads. Empty where no Space is published."""
    if not any(tree.name == "space" for tree in trees):
        return {}
    variables = {"model": MODEL_VARIABLE, "catalog": CATALOG_VARIABLE}
    return {variables[tree.name]: f"{tree.title}@{commits[tree.name]}" for tree in trees if tree.name in variables}


def pin(space: str, pins: dict[str, str], api: HfApi) -> None:
    """Set the variables that differ: every change restarts the Space."""
    if not pins:
        return
    present = api.get_space_variables(space)
    for variable, value in pins.items():
        if variable not in present or present[variable].value != value:
            api.add_space_variable(space, variable, value, description="set by scripts/push_to_hub.py")
            print(f"spaces/{space}: {variable}={value}")


def reason_of(error: Exception) -> str:
    """Say what went wrong, with what to do where the Hub said no."""
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    if not isinstance(cause, HfHubHTTPError):
        return textwrap.shorten(f"{type(cause).__name__}: {cause}", REASON_LENGTH)
    status = cause.response.status_code
    said = textwrap.shorten(cause.server_message or "no reason given", REASON_LENGTH)
    advice = {
        401: "; check the token",
        403: "; use a token that may write there",
        412: "; somebody else changed it meanwhile",
    }.get(status, "")
    return f"the Hub answered with status {status} ({said}){advice}"


if __name__ == "__main__":
    sys.exit(main())
