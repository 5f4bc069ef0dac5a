#!/usr/bin/env python
"""Fit the constants of hmm2song/confidence.py and report how well calibrated they are on other singers.

    python scripts/fit_confidence.py --queries Q.csv --songs S.jsonl [--songs MORE.jsonl.gz ...]

The files are those of scripts/evaluate.py; a column `singer` in Q.csv keeps each singer's hums in one fold. Every hum
is asked in catalogs of several sizes (random subsets), once with its song and once with its song removed. Five folds by
singer give the calibration figures; the constants printed are fitted on everything.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.catalog import Catalog
from hmm2song.confidence import LogitConstants, probabilities
from hmm2song.encoder import default_encoder
from hmm2song.errors import AudioError
from hmm2song.inference import MAX_TOP_K, Recognizer
from hmm2song.scores import read_scores
from hmm2song.song import Song

CATALOG_SHARES = (1.0, 0.5, 0.1)
"""Sizes of the catalogs asked, as shares of the songs given."""
N_FOLDS = 5
N_BINS = 10
START = LogitConstants(20.0, 0.5, -0.7, 0.05)
SCALE = np.array([10.0, 0.5, 0.1, 0.1])
"""Typical size of each constant, for the optimiser."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One question: scores of the best songs, and which of them is right (-1: none)."""

    singer: str
    scores_st: np.ndarray
    voiced_s: float
    n_searched: int
    right: int


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--songs", type=Path, action="append", required=True)
    parser.add_argument("--limit", type=int, default=800, metavar="N", help="hums to use (default 800)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trials = collect_trials(options)
    held_out = [pair for fold in range(N_FOLDS) for pair in cross_validate(trials, fold)]
    report(held_out)
    constants = fit(trials)
    print("constants fitted on all trials:", constants)
    return 0


def collect_trials(options: argparse.Namespace) -> list[Trial]:
    """Ask every hum and cut the answers into trials."""
    songs = {scored.song.id: scored for path in options.songs for scored in read_scores(path).melodies}
    encoder = default_encoder()
    catalog = Catalog.build(
        [Song(id=song_id, title=song_id) for song_id in songs],
        [scored.melody for scored in songs.values()],
        encoder,
    )
    recognizer = Recognizer(catalog, encoder)
    with options.queries.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    rng = random.Random(options.seed)
    rows = rng.sample(rows, min(options.limit, len(rows)))
    trials = []
    for row in tqdm(rows, unit=" hums"):
        try:
            result = recognizer.recognize(options.queries.parent / row["file"], top_k=MAX_TOP_K)
        except AudioError:
            continue
        for share in CATALOG_SHARES:
            trials += cut_trials(
                result, row["song_id"].split("|"), row.get("singer", row["file"]), share, len(catalog), rng
            )
    return trials


def cut_trials(
    result, acceptable: list[str], singer: str, share: float, n_songs: int, rng: random.Random
) -> list[Trial]:
    """Ask a random part of the catalog, with and without the right song."""
    others = [match for match in result.matches if match.id not in acceptable and rng.random() < share]
    right = [match for match in result.matches if match.id in acceptable][:1]
    n_searched = max(1, round(n_songs * share))
    voiced_s = result.hum.voiced_s
    scores = [match.score for match in right + others]
    with_song = Trial(singer, np.array(scores), voiced_s, n_searched, 0 if right else -1)
    without_song = Trial(singer, np.array(scores[len(right) :]), voiced_s, n_searched, -1)
    return [with_song, without_song] if right else [without_song]


def fit(trials: list[Trial]) -> LogitConstants:
    """Maximise the likelihood of the right answers."""

    def loss(scaled: np.ndarray) -> float:
        constants = LogitConstants(*(scaled * SCALE))
        return float(np.mean([-np.log(max(probability_of_truth(trial, constants), 1e-9)) for trial in trials]))

    start = (
        np.array([START.sharpness_per_st, START.length_exponent, START.none_score_st, START.none_per_decade_st]) / SCALE
    )
    found = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 250, "xatol": 1e-3, "fatol": 1e-5})
    return LogitConstants(*(found.x * SCALE))


def probability_of_truth(trial: Trial, constants: LogitConstants) -> float:
    """Return the probability given to what is true of a trial."""
    confidence = probabilities(trial.scores_st, trial.voiced_s, trial.n_searched, constants)
    return confidence.none if trial.right < 0 else float(confidence.song[trial.right])


def cross_validate(trials: list[Trial], fold: int) -> list[tuple[float, bool, float, bool]]:
    """Fit on the other singers; return (P(first), first is right, P(none), song is absent) of this fold's trials."""
    singers = sorted({trial.singer for trial in trials})
    random.Random(0).shuffle(singers)
    tested = set(singers[fold::N_FOLDS])
    constants = fit([trial for trial in trials if trial.singer not in tested])
    answers = []
    for trial in trials:
        if trial.singer in tested and len(trial.scores_st):
            confidence = probabilities(trial.scores_st, trial.voiced_s, trial.n_searched, constants)
            first = int(np.argmax(confidence.song))
            answers.append((float(confidence.song[first]), first == trial.right, confidence.none, trial.right < 0))
    return answers


def report(answers: list[tuple[float, bool, float, bool]]) -> None:
    """Print reliability, expected calibration error and the no-match decision."""
    first, right, none, absent = (np.array(column) for column in zip(*answers, strict=True))
    bins = np.minimum((first * N_BINS).astype(int), N_BINS - 1)
    print(f"{len(first)} questions from held-out singers, {absent.mean():.2f} of them without the song")
    error = 0.0
    for index in np.unique(bins):
        inside = bins == index
        error += inside.mean() * abs(first[inside].mean() - right[inside].mean())
        print(f"  said {first[inside].mean():.2f}  was {right[inside].mean():.2f}  n {np.count_nonzero(inside)}")
    print(f"expected calibration error {error:.3f}")
    said_none = none > 0.5
    print(
        f"no-match: of {np.count_nonzero(absent)} absent songs {said_none[absent].mean():.3f} are called absent; "
        f"of {np.count_nonzero(~absent)} present ones {said_none[~absent].mean():.3f} are wrongly called absent"
    )
    threshold = np.quantile(none[~absent], 0.95)
    print(
        f"at 5 % of present songs called absent, {np.mean(none[absent] <= threshold):.3f} of absent ones get an answer"
    )


if __name__ == "__main__":
    sys.exit(main())
