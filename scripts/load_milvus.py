#!/usr/bin/env python
"""Load the windows of a catalog into Milvus, to search them there.

    python scripts/load_milvus.py --catalog my_catalog --uri windows.db
    python scripts/load_milvus.py --catalog my_catalog --uri http://milvus.example:19530 --index HNSW

The address is a file ending in .db (Milvus Lite), a standalone server or a cluster. Afterwards

    HMM2SONG_INDEX=milvus+windows.db python app.py --catalog my_catalog

searches there. Killed half-way, the same command goes on where it stopped; done already, it adds nothing. A collection
of another catalog is left alone unless --replace is given; even then it can be searched until the new one is complete.
At the end some windows are looked up, and the share of their 200 nearest neighbours that Milvus finds is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import encoder_of
from hmm2song.errors import CatalogError, IndexUnavailableError
from hmm2song.evaluation.index_recall import RECALL_AT, share_found
from hmm2song.index.exact import ExactIndex
from hmm2song.index.milvus import (
    CATALOG_PROPERTY,
    DEFAULT_COLLECTION,
    EXACT,
    INDEX_PARAMS,
    INDEX_PROPERTY,
    LOAD_TIMEOUT_S,
    METRIC,
    TOKEN_VARIABLE,
    MilvusCollection,
    MilvusIndex,
    digest_for,
)
from hmm2song.machine import n_cores
from hmm2song.script import GOES_ON, main_of

BATCH_ROWS = 2000
MAX_BATCH_ROWS = 20_000
"""A batch must stay below the 64 MB that Milvus accepts in one message."""
BATCH_TIMEOUT_S = 60.0
INDEX_POLL_S = 1.0
MAX_GENRES = 4096
MAX_GENRE_BYTES = 65_535
"""What an ARRAY of VARCHAR may hold in Milvus."""
MAX_GENDER_BYTES = 16
RECALL_QUERIES = 50


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog folder")
    parser.add_argument("--uri", required=True, help="file ending in .db, or http(s)://host:port")
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="default: %(default)s")
    parser.add_argument("--token-env", default=TOKEN_VARIABLE, metavar="VAR",
                        help="environment variable that holds the access token; default: %(default)s")  # fmt: skip
    parser.add_argument("--index", choices=INDEX_PARAMS, default=EXACT,
                        help="FLAT is exact; HNSW, on servers only, is faster and larger")  # fmt: skip
    parser.add_argument("--batch", type=batch_size, default=BATCH_ROWS, help="rows per call; default: %(default)s")
    parser.add_argument("--replace", action="store_true", help="drop a collection of this name that holds other rows")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Load the catalog, look some windows up, and say how it went."""
    token = os.environ.get(options.token_env, "")
    catalog = Catalog.load(options.catalog, encoder_of(options.catalog), verify=True)
    collection = MilvusCollection.open(options.uri, token, options.collection)
    started_s = time.monotonic()
    n_added = load(collection, catalog, options.index, options.batch, options.replace)
    took_s = time.monotonic() - started_s
    found = recall(catalog, MilvusIndex.connect(options.uri, catalog, token, options.collection))
    print(f"{len(catalog.embeddings)} rows in {options.collection!r}, {n_added} of them added in {took_s:.1f} s")
    print(f"recall@{RECALL_AT} of windows: {found:.3f}")


def batch_size(text: str) -> int:
    """Read a number of rows from 1 to the largest batch."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_BATCH_ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_BATCH_ROWS}")
    return int(text)


def load(
    collection: MilvusCollection, catalog: Catalog, kind: str, batch_rows: int = BATCH_ROWS, replace: bool = False
) -> int:
    """Load a catalog under another name and rename the collection at the end; return how many rows were added.

    Raises CatalogError for genres that Milvus cannot hold, and IndexUnavailableError if Milvus stopped answering, or
    the collection holds something else.
    """
    if kind != EXACT and collection.address.is_file:
        raise IndexUnavailableError(f"Milvus Lite searches a file exactly: leave --index at {EXACT}, not {kind}")
    require_storable(catalog)
    properties = {CATALOG_PROPERTY: digest_for(catalog, collection.properties()), INDEX_PROPERTY: kind}
    if holds(collection, properties, replace):
        return 0
    unfinished = collection.unfinished
    prepare(unfinished, catalog.embeddings.shape[1], properties, replace)
    n_rows = len(catalog.embeddings)
    n_done = rows_done(unfinished)
    with tqdm(desc="loading", total=n_rows, initial=n_done, unit=" rows") as display:
        for batch in batches(catalog, n_done, batch_rows):
            # not insert: a call repeated after a lost answer would store its rows twice
            unfinished.call("upsert", BATCH_TIMEOUT_S, data=batch)
            display.update(len(batch))
    finish(unfinished, n_rows)
    if collection.properties() is not None:
        collection.call("drop_collection", LOAD_TIMEOUT_S)
    unfinished.call("rename_collection", new_name=collection.name)
    return n_rows - n_done


def require_storable(catalog: Catalog) -> None:
    """Refuse genres that Milvus cannot store, before anything is loaded."""
    for song in catalog.songs:
        try:
            longest = max((len(genre.encode()) for genre in song.genres), default=0)
        except UnicodeEncodeError as error:
            raise CatalogError(f"song {song.id!r:.80} has a genre that is not valid text: {error}") from error
        if longest > MAX_GENRE_BYTES or len(song.genres) > MAX_GENRES:
            raise CatalogError(
                f"song {song.id!r:.80} has {len(song.genres)} genres of up to {longest} bytes; "
                f"Milvus holds {MAX_GENRES} of {MAX_GENRE_BYTES} bytes"
            )


def holds(collection: MilvusCollection, wanted: dict[str, str], replace: bool) -> bool:
    """Tell whether a collection has the properties ``wanted``; unless ``replace``, refuse one that has others."""
    properties = collection.properties()
    if properties is None:
        return False
    same = wanted.items() <= properties.items()
    if not same and not replace:
        raise IndexUnavailableError(
            f"collection {collection.name!r} holds another catalog or has another kind of index; "
            "choose another --collection, or drop it with --replace"
        )
    return same


def prepare(unfinished: MilvusCollection, dim: int, properties: dict[str, str], replace: bool) -> None:
    """Make the collection to load into, or find the one to go on with."""
    if not holds(unfinished, properties, replace):
        if unfinished.properties() is not None:
            unfinished.call("drop_collection", LOAD_TIMEOUT_S)
        create(unfinished, dim, properties)
    # without an index Milvus Lite compares with every window, as FLAT does; with one, a crash while its file is being
    # written would keep the collection from ever being loaded again (3.2.2)
    if not unfinished.address.is_file and not unfinished.call("list_indexes"):
        unfinished.call("create_index", LOAD_TIMEOUT_S, index_params=index_params(unfinished, properties))
    unfinished.call("load_collection", LOAD_TIMEOUT_S)


def create(collection: MilvusCollection, dim: int, properties: dict[str, str]) -> None:
    """Make an empty collection with the columns that hmm2song/index/milvus.py describes."""
    from pymilvus import DataType

    schema = collection.client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("row", DataType.INT64, is_primary=True)
    schema.add_field("song", DataType.INT64)
    schema.add_field("window", DataType.INT64)
    schema.add_field("genres", DataType.ARRAY, element_type=DataType.VARCHAR,
                     max_capacity=MAX_GENRES, max_length=MAX_GENRE_BYTES)  # fmt: skip
    schema.add_field("gender", DataType.VARCHAR, max_length=MAX_GENDER_BYTES)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dim)
    collection.call("create_collection", LOAD_TIMEOUT_S, schema=schema, properties=properties)


def index_params(collection: MilvusCollection, properties: dict[str, str]) -> object:
    """Return the index of the embeddings as the client wants it."""
    kind = properties[INDEX_PROPERTY]
    params = collection.client.prepare_index_params()
    params.add_index("embedding", index_type=kind, metric_type=METRIC, params=INDEX_PARAMS[kind])
    return params


def rows_done(collection: MilvusCollection) -> int:
    """Return how many rows from the first on are in without a gap.

    Rows are written in order, so gaps can only be in the batch that a crash cut short: the first is found by bisection.
    """
    low, high = 0, collection.count()
    middle = high
    while low < high:
        if collection.count(f"row < {middle}") == middle:
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return low


def batches(catalog: Catalog, first: int, batch_rows: int) -> Iterator[list[dict]]:
    """Yield the rows from ``first`` on in batches."""
    song_of_row = np.repeat(np.arange(len(catalog)), catalog.n_windows)
    first_row = np.cumsum(catalog.n_windows, dtype=np.int64) - catalog.n_windows
    for start in range(first, len(song_of_row), batch_rows):
        batch = []
        for row in range(start, min(start + batch_rows, len(song_of_row))):
            number = int(song_of_row[row])
            song = catalog.songs[number]
            batch.append({
                "row": row, "song": number, "window": row - int(first_row[number]), "genres": list(song.genres),
                "gender": song.gender, "embedding": catalog.embeddings[row].astype(np.float32),
            })  # fmt: skip
        yield batch


def finish(collection: MilvusCollection, n_rows: int) -> None:
    """Write and index all rows, and check that all arrived."""
    collection.call("flush", LOAD_TIMEOUT_S)
    if not collection.address.is_file:
        wait_for_index(collection, n_rows)
        # else a server may for a while search what it held before there was an index, and find little there
        collection.call("release_collection", LOAD_TIMEOUT_S)
        collection.call("load_collection", LOAD_TIMEOUT_S)
    stored = collection.count()
    if stored != n_rows:
        raise IndexUnavailableError(f"{stored} rows arrived instead of {n_rows}; run the same command again")


def wait_for_index(collection: MilvusCollection, n_rows: int) -> None:
    """Wait until the server has indexed what it holds; stopped here, the same command waits again."""
    with tqdm(desc="indexing", total=n_rows, unit=" rows") as display:
        while True:
            index = collection.call("describe_index", index_name="embedding")
            if index["state"] == "Failed":
                raise IndexUnavailableError(
                    "Milvus could not build the index, its log says why; run the same command again"
                )
            n_pending = int(index["pending_index_rows"])
            display.update(max(0, n_rows - n_pending) - display.n)
            if n_pending == 0:
                return
            time.sleep(INDEX_POLL_S)


def recall(catalog: Catalog, index: MilvusIndex) -> float:
    """Return the share of the nearest neighbours of some windows that the index finds."""
    rows = np.linspace(0, len(catalog.embeddings) - 1, RECALL_QUERIES).astype(int)
    queries = catalog.embeddings[rows].astype(np.float32)
    exact = ExactIndex.of(catalog.embeddings, catalog.n_windows, n_cores()).nearest(queries, RECALL_AT)
    return share_found(exact, index.nearest(queries, RECALL_AT))


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
