#!/usr/bin/env python
"""Make the approximate index of a large catalog, and say what it finds.

    pip install -r requirements-faiss.txt
    python scripts/build_faiss.py --catalog my_catalog --out windows.faiss
    HMM2SONG_INDEX=faiss+windows.faiss python app.py --catalog my_catalog

Prints the share of the 200 nearest neighbours of some windows that the index finds, among all songs and among a random
half, a tenth and a hundredth of them. A file of that name is replaced. After songs were added or removed, make it anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import encoder_of
from hmm2song.evaluation.index_recall import RECALL_AT, recall
from hmm2song.index.approximate import ApproximateIndex, build
from hmm2song.index.exact import ExactIndex
from hmm2song.machine import n_cores
from hmm2song.match.search_index import embeddings_sha256
from hmm2song.script import main_of, output_file, progress, write_json

SHARES = (1.0, 0.5, 0.1, 0.01)


def run(options: argparse.Namespace) -> None:
    """Build, look up, print."""
    catalog = Catalog.load(options.catalog, encoder_of(options.catalog), verify=True)
    digest, started_s = embeddings_sha256(catalog), time.perf_counter()
    with progress("index", "windows", len(catalog.embeddings)) as show:
        build(catalog.embeddings, options.out, digest, show)
    seconds = time.perf_counter() - started_s
    per_window = options.out.stat().st_size / len(catalog.embeddings)
    print(f"{len(catalog.embeddings)} windows in {seconds:.1f} s, {per_window:.1f} bytes a window")
    exact = ExactIndex.of(catalog.embeddings, catalog.n_windows, n_cores())
    index = ApproximateIndex.open(options.out, exact, digest)
    rng, recalls = np.random.default_rng(options.seed), {}
    rows = np.sort(rng.permutation(len(catalog.embeddings))[: options.queries])
    for share in SHARES:
        recalls[share] = recall(index, exact.rows_of(rows), rng.random(len(catalog)) < share)
        print(f"recall at {RECALL_AT} among {share:.0%} of the songs: {recalls[share]:.3f}")
    figures = {"seconds": round(seconds, 1), "bytes_per_window": round(per_window, 1), "recall": recalls}
    write_json(options.json, figures)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog folder")
    parser.add_argument("--out", type=Path, required=True, help="the index file")
    parser.add_argument("--queries", type=int, default=100, metavar="N", help="windows to look up (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="for these windows (default 0)")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    return parser.parse_args(arguments)


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
