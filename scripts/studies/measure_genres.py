#!/usr/bin/env python
"""Measure genre prediction, and songs of the same genre found, where no song of the same artist helps.

    python scripts/studies/measure_genres.py --features features_30_sec.csv --folds artist_folds.csv
    python scripts/studies/measure_genres.py --recordings TABLE.csv

The features are GTZAN's, the folds say for each song in which of them it is measured and which artist it is by. Needs
xgboost-cpu (requirements-studies.txt). TABLE has the columns file (relative to it), genre and artist, for the third
source system: its network is trained on folds as the source had them, and on folds of whole artists.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from hmm2song.evaluation.baselines.genre_cnn import N_FOLDS, GenreEnsemble, killing_part, mel_of
from hmm2song.evaluation.genre_measures import GenreData, genre_rows, similar_rows
from hmm2song.script import interval_text, main_of, markdown_table, output_file, table_rows, write_json


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="CSV with filename, label and 57 features")
    parser.add_argument("--folds", type=Path, help="CSV with filename, fold and artist_group")
    parser.add_argument("--recordings", type=Path, help="CSV with file, genre and artist")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    if (options.features is None) != (options.folds is None) or not (options.features or options.recordings):
        parser.error("give --features with --folds, or --recordings")
    return options


def run(options: argparse.Namespace) -> None:
    """Measure, print and write."""
    figures = {"network": measure_network(options.recordings)} if options.recordings else {}
    if options.features:
        figures |= measure_table(options)
    write_json(options.json, figures)


def measure_network(table: Path) -> dict:
    """Train the network of the third source system on recordings, and return its accuracy on both kinds of folds."""
    rows = table_rows(table, "file", "genre", "artist")
    genres, artists = ([row[name] for row in rows] for name in ("genre", "artist"))
    mels = [mel_of(killing_part(table.parent / row["file"])) for row in tqdm(rows, desc="recordings")]
    n_frames = max(mel.shape[1] for mel in mels)
    mels = np.stack([np.resize(mel.T, (n_frames, mel.shape[0])).T for mel in mels])  # a short one is repeated
    of_artists = np.zeros(len(rows), int)
    parts = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0).split(mels, genres, artists)
    for fold, (_, asked) in enumerate(parts):
        of_artists[asked] = fold
    figures = {"songs": len(rows), "genres": sorted(set(genres)), "artists": len(set(artists))}
    for name, folds in (("folds of the source", None), ("folds of whole artists", of_artists)):
        accuracy = GenreEnsemble.train(mels, genres, folds).accuracy
        figures[name] = accuracy.round(3).tolist()
        print(f"S3, {name}: accuracy {accuracy.mean():.3f} (mean of {N_FOLDS} folds, {len(rows)} songs)")
    return figures


def measure_table(options: argparse.Namespace) -> dict:
    """Measure all methods on a table of features and print them."""
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
    return {"genre": [asdict(row) for row in genres], "similar": [asdict(row) for row in similar]}


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
