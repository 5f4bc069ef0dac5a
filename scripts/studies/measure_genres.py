#!/usr/bin/env python
"""Measure genre prediction, and songs of the same genre found, on a table of 57 features, filtered by artist.

    python scripts/studies/measure_genres.py --features features_30_sec.csv --folds artist_folds.csv

The features are GTZAN's, the folds say for each song in which of them it is measured and which artist it is by. Needs
xgboost-cpu (requirements-studies.txt).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from hmm2song.baselines.genre_measures import GenreData, genre_rows, similar_rows
from hmm2song.script import interval_text, main_of, markdown_table, output_file, write_json


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True, help="CSV with filename, label and 57 features")
    parser.add_argument("--folds", type=Path, required=True, help="CSV with filename, fold and artist_group")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Measure, print and write."""
    data = GenreData.read(options.features, options.folds)
    genres, probability = genre_rows(data)
    similar = similar_rows(data, probability)
    print(f"{len(data.genre)} songs, {len(set(data.artist))} artists, {data.n_genres} genres\n")
    cells = [(row.name, interval_text(asdict(row.accuracy)), f"{row.calibration_error:.3f}") for row in genres]
    print(markdown_table(("genre", "accuracy", "calibration error"), cells))
    cells = [
        (row.name, interval_text(asdict(row.precision)), f"{row.hub_skew:.2f}", f"{row.never_found:.0%}")
        for row in similar
    ]
    print(markdown_table(("similar", "precision at 5", "hub skew", "never found"), cells))
    write_json(options.json, {"genre": [asdict(row) for row in genres], "similar": [asdict(row) for row in similar]})


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
