#!/usr/bin/env python
"""Make a compact catalog of an ordinary one: some 10 kB a song of four minutes instead of 65, for searching only.

    pip install -r requirements-faiss.txt
    python scripts/compact_catalog.py --catalog my_catalog --out my_compact_catalog
    python app.py --catalog my_compact_catalog

A run that was ended goes on where it was. After songs were added or removed, make it anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import encoder_of
from hmm2song.indexing.compact import DIMS_PER_CODE, STRIDE, compact
from hmm2song.script import main_of, progress


def run(options: argparse.Namespace) -> None:
    """Make the catalog and print its size."""
    catalog = Catalog.load(options.catalog, encoder_of(options.catalog), verify=True)
    with progress("compact", "songs", len(catalog)) as show:
        compact(catalog, options.out, options.stride, options.dims, show)
    sizes = {path.name: path.stat().st_size / len(catalog) for path in sorted(options.out.iterdir())}
    print(f"{len(catalog)} songs, {sum(sizes.values()):.0f} bytes each: ", end="")
    print(", ".join(f"{name} {size:.0f}" for name, size in sizes.items()))


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the compact catalog")
    parser.add_argument(
        "--stride", type=int, choices=range(1, 5), default=STRIDE, help=f"keep each n-th window (default {STRIDE})"
    )
    parser.add_argument(
        "--dims", type=int, choices=(2, 4, 8), default=DIMS_PER_CODE,
        help=f"dimensions that share a byte (default {DIMS_PER_CODE})",
    )  # fmt: skip
    return parser.parse_args(arguments)


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
