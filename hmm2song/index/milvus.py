"""Vector search in Milvus: a local file (Milvus Lite), a standalone server and a cluster answer the same calls.

One collection holds the windows of one catalog, one row each::

    row        INT64, primary key    number of the window in ``Catalog.embeddings``
    song       INT64                 position of the song in the catalog
    window     INT64                 number of the window within its song
    genres     ARRAY of VARCHAR      all genres of the song, empty where unknown
    gender     VARCHAR               empty where unknown
    embedding  FLOAT_VECTOR          compared by inner product

Its properties say which catalog it belongs to and which kind of index it has. They are given when it is made, because
Milvus 2.3.5 forgets later changes when it restarts (its issue 30144); so ``scripts/load_milvus.py`` loads a collection
under another name, and renames it when all rows are in. The properties are read before every search: a collection that
is missing, or has been replaced by another catalog's, is never searched by mistake.

Every call has a timeout. Whatever keeps Milvus from answering, or a wrong address, name or collection, raises an
:class:`IndexUnavailableError`; nothing needs to be opened again once Milvus is back. Messages show addresses without
user name, password or token.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

import numpy as np

from hmm2song.errors import IndexUnavailableError, QueryError
from hmm2song.index.base import Neighbours, WindowRanges, first_windows
from hmm2song.song import ANY_GENDER, Song, SongFilter

if TYPE_CHECKING:
    from pymilvus import MilvusClient

SETTING_PREFIX = "milvus+"
COLLECTION_OPTION = "?collection="
DEFAULT_COLLECTION = "hmm2song_windows"
TOKEN_VARIABLE = "HMM2SONG_MILVUS_TOKEN"
"""Environment variable with the access token, ``user:password`` for a server with users."""

METRIC = "IP"
EXACT, APPROXIMATE = "FLAT", "HNSW"
INDEX_PARAMS = {EXACT: {}, APPROXIMATE: {"M": 32, "efConstruction": 300}}
"""Kinds of index and how they are built; FLAT compares with every window."""
EF_PER_NEIGHBOUR = 8
"""Candidates an HNSW search keeps for each neighbour asked for."""
MAX_NEIGHBOURS = 16_384
"""Most rows Milvus returns for one query."""
HITS_PER_CALL = 50_000
"""Neighbours asked for at once: a hum's 100 windows in one call, and no answer longer than a message may be."""
ROWS_PER_CALL = 4096
"""Embeddings fetched at once: 2 MB at 128 dimensions."""

CONNECT_TIMEOUT_S = 5.0
"""Wait for an answer that costs Milvus nothing."""
SEARCH_TIMEOUT_S = 20.0
LOAD_TIMEOUT_S = 600.0
"""Wait for a collection to be read into the server's memory, or written out of it."""
MAX_REASON_CHARS = 200

CATALOG_PROPERTY = "hmm2song.catalog"
INDEX_PROPERTY = "hmm2song.index"
LOADING_SUFFIX = "_loading"
"""Ends the name of a collection that is not complete."""
DIGEST_MARK = "2:"
"""Begins a digest that names the checksum of the embeddings; older ones were made of the embeddings themselves."""

_COLLECTION_NAME = re.compile(r"[A-Za-z_]\w{0,199}", re.ASCII)
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


@dataclass(frozen=True)
class MilvusAddress:
    """Where Milvus is: ``uri`` without credentials, fit to be shown, and the ``token`` to show nobody."""

    uri: str
    token: str = field(default="", repr=False)

    @classmethod
    def parse(cls, uri: str, token: str = "") -> MilvusAddress:
        """Read ``path/to/windows.db``, ``http://host:port`` or ``https://user:password@host:port/database``."""
        wanted = "name a file that ends in .db, or http://host:19530"
        if "://" not in uri:
            if not uri.endswith(".db"):
                raise IndexUnavailableError(f"{uri!r:.80} is no Milvus address: {wanted}")
            return cls(uri, token)
        try:
            parts = urlsplit(uri)
            has_host = bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number
            has_host = False
        if not has_host or parts.scheme not in ("http", "https"):
            raise IndexUnavailableError(f"the Milvus address cannot be read: {wanted}")  # it may hold a password
        if parts.username and not token:
            token = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        return cls(shown, token)

    @property
    def is_file(self) -> bool:
        """Whether Milvus Lite serves it from a local file."""
        return "://" not in self.uri

    def without_secrets(self, text: str) -> str:
        """Shorten a technical reason to one line and blot out the token."""
        for secret in (self.token, self.token.partition(":")[2]):
            text = text.replace(secret, "***") if secret else text
        return " ".join(text.split())[:MAX_REASON_CHARS]


@dataclass(frozen=True, eq=False)
class MilvusCollection:
    """A collection that need not exist yet, on a Milvus that answers."""

    address: MilvusAddress
    name: str
    client: MilvusClient

    @classmethod
    def open(cls, uri: str, token: str = "", name: str = DEFAULT_COLLECTION) -> MilvusCollection:
        """Connect to Milvus; a file that does not exist is made."""
        address = MilvusAddress.parse(uri, token)
        if not _COLLECTION_NAME.fullmatch(name):
            raise IndexUnavailableError(
                f"{name!r:.80} is no name for a Milvus collection: use letters, digits and underscores"
            )
        pymilvus = _import_pymilvus()
        try:
            client = pymilvus.MilvusClient(uri=address.uri, token=address.token, timeout=CONNECT_TIMEOUT_S)
        except _client_errors() as error:
            hint = "is the folder there, and the file not in use by another program?"
            raise IndexUnavailableError(
                f"the search index at {address.uri} does not open: {_reason(address, error)}; "
                f"{hint if address.is_file else 'check that Milvus runs there'}"
            ) from error
        return cls(address, name, client)

    def call(self, method: str, timeout_s: float = CONNECT_TIMEOUT_S, **options: Any) -> Any:
        """Call a method of the client for this collection."""
        try:
            return getattr(self.client, method)(self.name, timeout=timeout_s, **options)
        except _client_errors() as error:
            raise IndexUnavailableError(
                f"the search index at {self.address.uri} does not answer ({method}: "
                f"{_reason(self.address, error)}); try again when Milvus is ready"
            ) from error

    @property
    def unfinished(self) -> MilvusCollection:
        """The collection in which this one is being loaded."""
        return replace(self, name=self.name + LOADING_SUFFIX)

    def properties(self) -> dict[str, str] | None:
        """Return what is noted about the collection, or None if there is no such collection."""
        if not self.call("has_collection"):
            return None
        return dict(self.call("describe_collection").get("properties", {}))

    def count(self, expression: str = "") -> int:
        """Return how many rows fit a filter expression, those written last included."""
        rows = self.call(
            "query", SEARCH_TIMEOUT_S, filter=expression, output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(rows[0]["count(*)"])


class KindsOfSongs(Protocol):
    """Songs, one of each kind, and of which kind each song is."""

    kinds: tuple[Song, ...]
    kind: np.ndarray

    def __iter__(self) -> Iterator[Song]:
        """Go through the songs."""


class EmbeddedSongs(Protocol):
    """What a collection is made of; a catalog has it."""

    songs: KindsOfSongs
    embeddings: np.ndarray
    n_windows: np.ndarray
    encoder_fingerprint: str
    embeddings_sha256: str


@dataclass(frozen=True, eq=False)
class MilvusIndex:
    """The windows of a catalog in Milvus: the index for catalogs that outgrow a machine.

    ``digest`` is the catalog's (:func:`digest_for`); song ``i`` owns the rows ``first_window[i]`` to
    ``first_window[i + 1]``, where ``first_window`` has shape (n_songs + 1,) and type int64.
    """

    collection: MilvusCollection
    digest: str
    first_window: np.ndarray
    dim: int

    @classmethod
    def connect(
        cls, uri: str, catalog: EmbeddedSongs, token: str = "", collection: str = DEFAULT_COLLECTION
    ) -> MilvusIndex:
        """Open a collection into which ``scripts/load_milvus.py`` has loaded this catalog.

        Without ``token`` the one in the address is used, if any. An IndexUnavailableError says that Milvus does not
        answer, or that the collection is missing, incomplete or another catalog's.
        """
        address = MilvusAddress.parse(uri, token)
        if address.is_file and not Path(address.uri).exists():
            raise IndexUnavailableError(f"there is no search index {address.uri!r}; {_how_to_load(address)}")
        opened = MilvusCollection.open(uri, token, collection)
        first_window = first_windows(catalog.n_windows)
        digest = digest_for(catalog, opened.properties())
        index = cls(opened, digest, first_window, catalog.embeddings.shape[1])
        index._own_properties()
        opened.call("load_collection", LOAD_TIMEOUT_S)
        n_rows = opened.count()
        if n_rows != first_window[-1]:
            raise IndexUnavailableError(
                f"collection {collection!r} at {address.uri} has {n_rows} rows instead of {first_window[-1]}; "
                f"{_how_to_load(address)}"
            )
        return index

    def nearest(
        self, queries: np.ndarray, k: int, mask: np.ndarray | None = None, wanted: SongFilter | None = None
    ) -> Neighbours:
        """See :class:`hmm2song.index.base.WindowIndex`; ``mask`` is not used, ``k`` is at most 16384."""
        if not 1 <= k <= MAX_NEIGHBOURS:
            raise QueryError(f"Milvus finds 1 to {MAX_NEIGHBOURS} neighbours, not {k}")
        kind = self._own_properties()[INDEX_PROPERTY]
        search = {
            "anns_field": "embedding",
            "filter": filter_expression(wanted or SongFilter()),
            "limit": k,
            "output_fields": ["song", "window"],
            "search_params": {"metric_type": METRIC, "params": _search_params(kind, k)},
            "consistency_level": "Bounded",  # nothing is written while a complete collection is searched
        }
        song, window = np.full((2, len(queries), k), -1, np.int64)
        similarity = np.full((len(queries), k), -np.inf, np.float32)
        n_at_once = max(1, HITS_PER_CALL // k)
        for first in range(0, len(queries), n_at_once):
            data = list(np.asarray(queries[first : first + n_at_once], np.float32))
            found = self.collection.call("search", SEARCH_TIMEOUT_S, data=data, **search)
            for query, hits in enumerate(found, start=first):
                song[query, : len(hits)] = [hit["entity"]["song"] for hit in hits]
                window[query, : len(hits)] = [hit["entity"]["window"] for hit in hits]
                similarity[query, : len(hits)] = [hit["distance"] for hit in hits]
        return Neighbours(song, window, similarity)

    def windows_of(self, ranges: WindowRanges) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`hmm2song.index.base.WindowIndex`."""
        self._own_properties()
        wanted_rows, counts = ranges.rows(self.first_window)
        rows, places = np.unique(wanted_rows, return_inverse=True)  # ranges may share windows
        embeddings = np.empty((len(rows), self.dim), np.float32)
        for first in range(0, len(rows), ROWS_PER_CALL):
            self._fetch(rows[first : first + ROWS_PER_CALL], embeddings[first : first + ROWS_PER_CALL])
        return embeddings[places], counts

    def _fetch(self, rows: np.ndarray, embeddings: np.ndarray) -> None:
        """Fill ``embeddings`` (n, dim) with those of ``rows`` (n,), ascending."""
        found = self.collection.call(
            "query", SEARCH_TIMEOUT_S, filter=f"row in {rows.tolist()}", output_fields=["row", "embedding"],
            limit=len(rows), consistency_level="Bounded",
        )  # fmt: skip
        found = sorted(found, key=lambda entity: entity["row"])
        if [entity["row"] for entity in found] != rows.tolist():
            raise IndexUnavailableError(
                f"the search index at {self.collection.address.uri} lacks {len(rows) - len(found)} of {len(rows)} "
                f"windows; {_how_to_load(self.collection.address)}"
            )
        embeddings[:] = [entity["embedding"] for entity in found]

    def _own_properties(self) -> dict[str, str]:
        """Return the collection's properties, if there is one and it is this catalog's."""
        properties = self.collection.properties()
        place = f"collection {self.collection.name!r} at {self.collection.address.uri}"
        if properties is not None and properties.get(CATALOG_PROPERTY) == self.digest:
            return properties
        if properties is not None:
            problem = f"{place} does not belong to this catalog"
        elif self.collection.unfinished.properties() is not None:
            problem = f"{place} is not loaded completely"
        else:
            problem = f"there is no {place}"
        raise IndexUnavailableError(f"{problem}; {_how_to_load(self.collection.address)}")


def index_from_setting(setting: str, catalog: EmbeddedSongs) -> MilvusIndex:
    """Open the index that a setting names: ``milvus+<uri>``, and ``?collection=<name>`` behind it if need be.

    The access token, if one is needed, is in the environment variable ``HMM2SONG_MILVUS_TOKEN``.
    """
    if not setting.startswith(SETTING_PREFIX):
        raise IndexUnavailableError(
            f"the search index must be {SETTING_PREFIX}windows.db, {SETTING_PREFIX}http://host:19530 or "
            "faiss+windows.faiss"
        )
    uri, _, name = setting.removeprefix(SETTING_PREFIX).partition(COLLECTION_OPTION)
    return MilvusIndex.connect(uri, catalog, os.environ.get(TOKEN_VARIABLE, ""), name or DEFAULT_COLLECTION)


def digest_of(catalog: EmbeddedSongs) -> str:
    """Digest everything of a catalog that its rows in Milvus depend on: the same digest, the same rows.

    Of a saved catalog no embeddings are read.
    """
    columns: dict[tuple, int] = {}  # what Milvus holds of songs, and where
    numbers = [columns.setdefault((song.genres, song.gender), len(columns)) for song in catalog.songs.kinds]
    facts = [catalog.encoder_fingerprint, catalog.embeddings_sha256, list(columns)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    digest.update(np.array(numbers, dtype="<i4")[catalog.songs.kind])
    return DIGEST_MARK + digest.hexdigest()


def digest_for(catalog: EmbeddedSongs, noted: dict[str, str] | None) -> str:
    """Return the digest that a collection of this catalog has whose properties are ``noted``."""
    older = (noted or {}).get(CATALOG_PROPERTY, DIGEST_MARK)
    return digest_of(catalog) if older.startswith(DIGEST_MARK) or older != _first_digest_of(catalog) else older


def _first_digest_of(catalog: EmbeddedSongs) -> str:
    """Digest as the first version did, which reads all embeddings: those collections need not be loaded again."""
    facts = {
        "version": 1,
        "encoder": catalog.encoder_fingerprint,
        "shape": catalog.embeddings.shape,
        "n_windows": catalog.n_windows.tolist(),
        "songs": [(song.genres, song.gender) for song in catalog.songs],
    }
    digest = hashlib.sha256(json.dumps(facts).encode())
    digest.update(np.ascontiguousarray(catalog.embeddings, dtype="<f2"))
    return digest.hexdigest()


def filter_expression(wanted: SongFilter) -> str:
    """Return the scalar filter of Milvus that lets the same songs pass as ``wanted``, if guesses count some more.

    Milvus does not hold guesses: who searches leaves out those that do not pass.
    """
    only_known = wanted.only_known and not wanted.guessed
    parts = []
    if wanted.genres:
        known = f"array_contains_any(genres, [{', '.join(map(_quoted, wanted.genres))}])"
        parts.append(known if only_known else f"({known} or array_length(genres) == 0)")
    if wanted.gender != ANY_GENDER:
        genders = (wanted.gender,) if only_known else (wanted.gender, "")
        parts.append(f"gender in [{', '.join(map(_quoted, genders))}]")
    return " and ".join(parts)


def _quoted(text: str) -> str:
    """Write a string literal of Milvus's filter language: these five escapes are what all versions understand."""
    return f'"{text.translate(_ESCAPES)}"'


def _search_params(kind: str, k: int) -> dict[str, int]:
    return {"ef": EF_PER_NEIGHBOUR * k} if kind == APPROXIMATE else {}


def _how_to_load(address: MilvusAddress) -> str:
    return f"load it with: python scripts/load_milvus.py --catalog FOLDER --uri {address.uri}"


def _import_pymilvus() -> ModuleType:
    try:
        import pymilvus
    except ImportError as error:
        raise IndexUnavailableError("Milvus needs pymilvus: pip install -r requirements-milvus.txt") from error
    for name in ("pymilvus", "milvus_lite"):  # they print a traceback for every error, which they raise as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return pymilvus


def _client_errors() -> tuple[type[Exception], ...]:
    """Return what the client raises when Milvus does not answer, or answers with an error."""
    import grpc
    import pymilvus

    return pymilvus.MilvusException, grpc.RpcError


def _reason(address: MilvusAddress, error: Exception) -> str:
    details = getattr(error, "details", None)  # of a grpc error; its message goes on for many lines
    text = f"{error.code().name} {details()}" if callable(details) else getattr(error, "message", "") or str(error)
    return address.without_secrets(text)
