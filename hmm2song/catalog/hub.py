"""Where catalogs and models come from: a folder, a Hugging Face Hub repository, or the bundled ones.

Conventions
-----------
* Only the files of a catalog or a model are downloaded: JSON, safetensors, ONNX and text, never code or pickles. What
  they hold is checked by those who load them, not here.
* A branch or tag is resolved to a commit, which a notice reports so that it can be pinned. A pinned commit
  that was downloaded before is used without asking the Hub.
* If the Hub does not answer, the copy downloaded earlier is used, or else the bundled catalog or model, always with a
  notice. If it answers "no" (wrong name, no access), that is an error.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, get_session, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from hmm2song.catalog.storage import DATA_FILES, MANIFEST_FILE, OPTIONAL_FILES, recover
from hmm2song.embeddings.base import CONFIG_FILE, WEIGHTS_FILE
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import CatalogError, Hmm2SongError, HubError, ModelError


def assets_folder() -> Path:
    """Return the folder of the bundled catalog, model and hums: inside the installed package, or beside it."""
    package = Path(__file__).parents[1]
    installed = package / "assets"
    return installed if installed.is_dir() else package.parent / "assets"


CATALOG_VARIABLE = "HMM2SONG_CATALOG"
"""Environment variable naming the catalog (a folder or a repository) if the caller names none."""
MODEL_VARIABLE = "HMM2SONG_MODEL"
"""Environment variable naming the model (a folder or a repository) if the caller names none."""
BUNDLED_CATALOG = assets_folder() / "catalog"
BUNDLED_MODEL = assets_folder() / "model"
MODEL_FILES = (CONFIG_FILE, WEIGHTS_FILE, "README.md")
CATALOG_FILES = (MANIFEST_FILE, *DATA_FILES, *OPTIONAL_FILES, *MODEL_FILES)
"""A catalog may bring its model with it."""
ONNX_FILES = ("*.onnx",)
HUB_CONNECT_TIMEOUT_S = 2.0
"""Wait for a connection, per network address of the Hub: with four of them a dead network costs 8 s."""
HUB_TIMEOUT_S = 5.0
"""Wait for the first answer on an open connection."""
REASON_LENGTH = 120
"""Characters of a technical reason that are kept in a notice."""

Source = str | os.PathLike[str] | None
Token = str | bool | None

_REPOSITORY = re.compile(r"(datasets/)?([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(\S+))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILE_SUFFIXES = {".json", ".safetensors", ".md", ".zip", ".gz", ".parquet", ".onnx"}  # "owner/v1.5" is a repository
_BUSY_STATUS = {408, 429}  # the client-side status codes that mean "try later", not "your mistake"


@dataclass(frozen=True)
class ResolvedFolder:
    """A catalog's or a model's folder on this machine, whose files are not verified yet.

    ``origin`` is ``"bundled"``, the folder, or ``owner/name@commit``; ``notices`` tell the user the commit a branch
    stood for, or that a fallback is in use; ``downloaded`` says that it came from the Hub, now or earlier.
    """

    folder: Path
    origin: str
    notices: tuple[str, ...] = ()
    downloaded: bool = False


@dataclass(frozen=True)
class _Kind:
    """What is looked for: what people call it, its files, what to raise, and where it is if nobody says.

    The first of ``files``, a name or a pattern, is the one that tells it from other things: there must be exactly one.
    """

    word: str
    files: tuple[str, ...]
    error: type[Hmm2SongError]
    variable: str = ""
    bundled: Path | None = None


@dataclass(frozen=True)
class _Repository:
    wanted: _Kind
    id: str
    type: str
    revision: str | None
    token: Token
    cache_dir: Path | None

    @property
    def name(self) -> str:
        return f"datasets/{self.id}" if self.type == "dataset" else self.id


class _UnreachableError(Hmm2SongError):
    """The Hub gave no useful answer; the message is the reason. Never leaves this module."""


def resolve_catalog(
    source: Source = None,
    revision: str | None = None,
    token: Token = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> ResolvedFolder:
    """Find a catalog, downloading it if need be.

    Parameters
    ----------
    source : str, path or None
        An existing folder, or a repository ``[datasets/]owner/name[@revision]``. None or empty: what the environment
        variable ``HMM2SONG_CATALOG`` names, else the bundled catalog.
    revision : str or None
        Commit, tag or branch, instead of ``@revision``. None: the main branch.
    token : str, bool or None
        For private repositories. None: the one saved by ``hf auth login``, if any; False: none.
    cache_dir : path or None
        Where downloads are kept. None: the Hub's own cache.
    local_files_only : bool
        Use only what was downloaded before.

    Raises
    ------
    CatalogError
        ``source`` looks like a path but is no folder, or the bundled catalog is needed and missing.
    HubError
        The repository or revision does not exist, access is refused, it is no catalog, or cannot be stored.
    """
    wanted = _Kind("catalog", CATALOG_FILES, CatalogError, CATALOG_VARIABLE, BUNDLED_CATALOG)
    return _resolve(wanted, source, revision, token, cache_dir, local_files_only)


def resolve_model(source: Source = None, revision: str | None = None, **options: Any) -> ResolvedFolder:
    """Find a model, downloading it if need be.

    Options and errors are those of :func:`resolve_catalog`, with ModelError for CatalogError; the environment variable
    is ``HMM2SONG_MODEL``.
    """
    wanted = _Kind("model", MODEL_FILES, ModelError, MODEL_VARIABLE, BUNDLED_MODEL)
    return _resolve(wanted, source, revision, **options)


def resolve_onnx_file(source: str) -> Path:
    """Return the one ``.onnx`` file of a repository (``owner/name`` or ``owner/name@revision``) or a folder."""
    folder = _resolve(_Kind("model", ONNX_FILES, HubError), source).folder
    files = [file for pattern in ONNX_FILES for file in folder.rglob(pattern)]
    if len(files) != 1:
        raise HubError(f"{source} holds {len(files)} files {ONNX_FILES[0]} instead of one: give the path of one")
    return files[0]


def _resolve(
    wanted: _Kind,
    source: Source,
    revision: str | None = None,
    token: Token = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> ResolvedFolder:
    source = source or os.environ.get(wanted.variable)
    if not source:
        return _bundled(wanted)
    folder = os.path.expanduser(source)
    recover(Path(folder))
    if os.path.isdir(folder):
        return ResolvedFolder(Path(folder), str(folder))
    match = _REPOSITORY.fullmatch(source) if isinstance(source, str) else None
    if match is None or PurePosixPath(match[2]).suffix in _FILE_SUFFIXES:
        accepted = f"give a {wanted.word} folder, or a Hub repository as 'owner/name' or 'datasets/owner/name'"
        raise wanted.error(f"{os.fspath(source)!r} is not an existing folder: {accepted}")
    try:
        validate_repo_id(match[2])
    except HFValidationError as error:
        raise HubError(f"{source!r} is not a valid repository name: {error}") from error
    if isinstance(token, str) and re.search(r"[^!-~]", token):
        raise HubError("the Hub token holds a space, line break or other odd character: copy it again")
    kind = "dataset" if match[1] else "model"
    cache = None if cache_dir is None else Path(cache_dir)
    return _from_hub(_Repository(wanted, match[2], kind, revision or match[3], token, cache), local_files_only)


def _bundled(wanted: _Kind, *notices: str) -> ResolvedFolder:
    if wanted.bundled is None or not wanted.bundled.is_dir():
        word = wanted.word
        missing = f"There is no bundled {word} here: name a {word} folder or repository."
        raise wanted.error(" ".join([*notices, missing]))
    return ResolvedFolder(wanted.bundled, "bundled", notices)


def _from_hub(repository: _Repository, local_files_only: bool) -> ResolvedFolder:
    name = repository.name
    pinned = _COMMIT.fullmatch(repository.revision or "") is not None
    reason = "local_files_only is set" if local_files_only else ""
    folder = _cached(repository) if pinned or local_files_only else None
    if folder is None and not local_files_only:
        try:
            folder = _download(repository)
        except _UnreachableError as error:
            reason, folder = str(error), _cached(repository)
    if folder is None:
        word = repository.wanted.word
        bundled = f"{name} is not complete on this machine, so the bundled {word} is in use instead."
        return _bundled(repository.wanted, f"The Hub was not reached ({reason}) and {bundled}")
    commit = folder.name
    notice = f"Using {name} at commit {commit}; pin it with revision={commit!r}."
    if reason:
        notice = f"The Hub was not reached ({reason}): using {name} as downloaded before, commit {commit}."
    return ResolvedFolder(folder, f"{name}@{commit}", () if pinned else (notice,), downloaded=True)


def _snapshot(repository: _Repository, local_files_only: bool) -> Path:
    """Return the snapshot folder, which is named after its commit."""
    folder = snapshot_download(
        repository.id,
        repo_type=repository.type,
        revision=repository.revision,
        cache_dir=repository.cache_dir,
        token=repository.token,
        local_files_only=local_files_only,
        allow_patterns=list(repository.wanted.files),
    )
    return Path(folder)


def _cached(repository: _Repository) -> Path | None:
    try:
        return _snapshot(repository, local_files_only=True)
    except LocalEntryNotFoundError:  # never downloaded, or only in part
        return None


def _download(repository: _Repository) -> Path:
    revision, kind = repository.revision, repository.type
    try:
        # snapshot_download waits and retries without limit, and the client's own first request (telemetry)
        # 3 s per address: ask first whether the Hub answers at all, then whether it knows the repository.
        timeout = httpx2.Timeout(HUB_TIMEOUT_S, connect=HUB_CONNECT_TIMEOUT_S)
        get_session().head(constants.ENDPOINT, timeout=timeout, follow_redirects=False)
        api = HfApi(token=repository.token)
        info = api.repo_info(repository.id, repo_type=kind, revision=revision, timeout=HUB_TIMEOUT_S)
        if info.siblings is not None:  # a mirror of the Hub may not list them
            _require_one(repository, [file.rfilename for file in info.siblings], info.sha)
        return _snapshot(repository, local_files_only=False)
    except LocalTokenNotFoundError as error:
        raise HubError("token=True, but no token is saved: run 'hf auth login' or pass the token") from error
    # RuntimeError is what the Xet transfer library raises; JSONDecodeError a login page in place of the Hub.
    except (httpx2.HTTPError, OSError, RuntimeError, json.JSONDecodeError) as error:
        raise _explained(repository, error) from error


def _require_one(repository: _Repository, names: list[str], commit: str) -> None:
    """Refuse a repository that does not hold what is wanted, before anything of it is downloaded."""
    word, telling = repository.wanted.word, repository.wanted.files[0]
    n_found = len(fnmatch.filter(names, telling))
    if n_found == 0:
        raise HubError(f"{repository.name} holds no {word}: it has no {telling} at commit {commit}")
    if n_found > 1:
        raise HubError(f"{repository.name} holds {n_found} files {telling}: download the right one, and give its path")


def _explained(repository: _Repository, error: Exception) -> HubError | _UnreachableError:
    """Tell the caller's mistakes, with what to do, from a Hub that cannot be reached."""
    name, cause = repository.name, error
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        cause = error.__cause__
    if isinstance(cause, OfflineModeIsEnabled):
        return _UnreachableError("HF_HUB_OFFLINE is set")
    if not isinstance(cause, HfHubHTTPError):
        if isinstance(cause, OSError) and cause.errno is not None:  # a full disk, a folder not writable
            return HubError(f"{name} cannot be stored on this machine: {cause}")
        return _UnreachableError(textwrap.shorten(f"{type(cause).__name__}: {cause}", REASON_LENGTH))
    status = cause.response.status_code
    if status in _BUSY_STATUS or status >= 500:
        return _UnreachableError(f"it answered with status {status}")
    if isinstance(cause, RevisionNotFoundError):
        return HubError(f"{name} has no revision {repository.revision or 'main'!r}: name one it has")
    if isinstance(cause, GatedRepoError) or status == 403:
        return HubError(f"access to {name} is refused: ask for it on its page, and pass a token")
    if isinstance(cause, RepositoryNotFoundError) or status == 404:
        todo = "check the name, put 'datasets/' in front of a dataset, or pass a token"
        return HubError(f"there is no folder and no public repository {name}: {todo}")
    return HubError(f"the Hub refused {name} with status {status}: check the name and the token")


@lru_cache(maxsize=4)
def _loaded(folder: Path) -> MelodyEncoder:
    return MelodyEncoder.load(folder)


def default_encoder() -> MelodyEncoder:
    """Return the encoder that ``HMM2SONG_MODEL`` names (a folder or a repository on the Hub), else the bundled one."""
    return _loaded(resolve_model().folder)


def resolve_model_of(catalog_folder: Path, **options: Any) -> ResolvedFolder:
    """Find the model of a catalog: the one it brings with it, else what :func:`resolve_model` finds."""
    recover(catalog_folder)
    if (catalog_folder / WEIGHTS_FILE).is_file():
        return ResolvedFolder(catalog_folder, str(catalog_folder))
    return resolve_model(**options)


def encoder_of(catalog_folder: Path) -> MelodyEncoder:
    """Return the encoder that a catalog brings with it, else the default one."""
    return MelodyEncoder.load(resolve_model_of(catalog_folder).folder)
