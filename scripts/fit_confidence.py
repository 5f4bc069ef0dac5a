#!/usr/bin/env python
"""Fit the constants of hmm2song/confidence.py and report how well calibrated they are on other singers.

    python scripts/fit_confidence.py --queries Q.csv --songs S.jsonl [--songs MORE.jsonl.gz ...]

The files are those of scripts/evaluate.py, songs as notes; a column `singer` in Q.csv keeps each singer's hums in one
fold. Every hum is asked whole and without its first seconds, in catalogs of several sizes (random subsets), once with
its song and once with its song removed. Five folds by singer give the calibration figures; the constants printed are
fitted on everything.
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

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.confidence import MIN_CROWD_SONGS, LogitConstants, probabilities
from hmm2song.errors import AudioError
from hmm2song.inference import MAX_TOP_K, Recognizer
from hmm2song.results import SearchResult
from hmm2song.scores import read_scores

CATALOG_SHARES = (1.0, 0.4, 0.15)
"""Sizes of the catalogs asked, as shares of the songs given; of the 100 ranked, 15 must remain to have a crowd."""
SKIPPED_S = (0.0, 3.0)
"""Seconds dropped from the start of each hum: short hums belong to the fit."""
N_FOLDS = 5
N_BINS = 10
START = np.array([30.0, 0.2, -0.4, 0.9])
SCALE = np.array([10.0, 0.5, 0.1, 0.5])
"""Start and typical size of each constant, for the optimiser."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One question: scores of the best songs, best first, and which of them is right (-1: none)."""

    singer: str
    scores_st: np.ndarray
    voiced_s: float
    right: int


@dataclass(frozen=True)
class Answer:
    """What was said about one question: P(first) and P(none), and what was true."""

    first: float
    none: float
    first_is_right: bool
    is_absent: bool


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--songs", type=Path, action="append", required=True)
    parser.add_argument("--limit", type=int, default=500, metavar="N", help="hums to use (default 500)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trials = collect_trials(options)
    report([answer for fold in range(N_FOLDS) for answer in cross_validate(trials, fold)])
    print("constants fitted on all trials:", fit(trials))
    return 0


def collect_trials(options: argparse.Namespace) -> list[Trial]:
    """Ask every hum and cut the answers into trials."""
    scores = (scored for path in options.songs for scored in read_scores(path).melodies)
    recognizer = Recognizer.from_melodies({scored.song.id: scored.melody for scored in scores})
    with options.queries.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    rng = random.Random(options.seed)
    trials = []
    for row in tqdm(rng.sample(rows, min(options.limit, len(rows))), unit=" hums"):
        try:
            samples = load_audio(options.queries.parent / row["file"])
        except AudioError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        singer, acceptable = row.get("singer", row["file"]), row["song_id"].split("|")
        for skipped_s in SKIPPED_S:
            rest = samples[round(skipped_s * SAMPLE_RATE_HZ) :]
            result = recognizer.recognize((SAMPLE_RATE_HZ, rest), top_k=MAX_TOP_K) if len(rest) else None
            for share in CATALOG_SHARES:
                trials += cut_trials(result, acceptable, singer, share, rng) if result else []
    return trials


def cut_trials(
    result: SearchResult, acceptable: list[str], singer: str, share: float, rng: random.Random
) -> list[Trial]:
    """Ask a random part of the catalog, with and without the right song.

    A right song too far down to be ranked gives no trial: it is there, but nobody could say with which score.
    """
    others = [match.score for match in result.matches if match.id not in acceptable and rng.random() < share]
    right = [match.score for match in result.matches if match.id in acceptable][:1]
    trials = []
    if others:
        trials.append(Trial(singer, np.array(others), result.hum.voiced_s, -1))
    if right:
        rank = sum(score > right[0] for score in others)
        scores_st = np.insert(np.array(others), rank, right[0])
        trials.append(Trial(singer, scores_st, result.hum.voiced_s, rank))
    return trials


def fit(trials: list[Trial]) -> LogitConstants:
    """Maximise the likelihood of the right answers."""

    def loss(scaled: np.ndarray) -> float:
        constants = LogitConstants(*(scaled * SCALE).tolist())
        return float(np.mean([-np.log(max(probability_of_truth(trial, constants), 1e-9)) for trial in trials]))

    found = minimize(loss, START / SCALE, method="Powell", options={"maxiter": 8, "xtol": 1e-2, "ftol": 1e-5})
    return LogitConstants(*(found.x * SCALE).round(3).tolist())


def probability_of_truth(trial: Trial, constants: LogitConstants) -> float:
    """Return the probability given to what is true of a trial."""
    confidence = probabilities(padded(trial.scores_st), trial.voiced_s, constants)
    return confidence.none if trial.right < 0 else float(confidence.song[trial.right])


def padded(scores_st: np.ndarray) -> np.ndarray:
    """Add the songs that a part of a ranking leaves out, too bad to matter, so that it counts as a large catalog."""
    return np.append(scores_st, np.full(MIN_CROWD_SONGS, -10.0))


def cross_validate(trials: list[Trial], fold: int) -> list[Answer]:
    """Fit on the other singers and answer this fold's trials."""
    singers = sorted({trial.singer for trial in trials})
    random.Random(0).shuffle(singers)
    tested = set(singers[fold::N_FOLDS])
    constants = fit([trial for trial in trials if trial.singer not in tested])
    answers = []
    for trial in trials:
        if trial.singer in tested:
            confidence = probabilities(padded(trial.scores_st), trial.voiced_s, constants)
            answers.append(Answer(float(confidence.song[0]), confidence.none, trial.right == 0, trial.right < 0))
    return answers


def report(answers: list[Answer]) -> None:
    """Print reliability, expected calibration error and the no-match decision."""
    first, none = np.array([answer.first for answer in answers]), np.array([answer.none for answer in answers])
    right = np.array([answer.first_is_right for answer in answers])
    absent = np.array([answer.is_absent for answer in answers])
    bins = np.minimum((first * N_BINS).astype(int), N_BINS - 1)
    print(f"{len(first)} questions from held-out singers, {absent.mean():.2f} of them without the song")
    error = 0.0
    for index in np.unique(bins):
        inside = bins == index
        error += inside.mean() * abs(first[inside].mean() - right[inside].mean())
        print(f"  said {first[inside].mean():.2f}  was {right[inside].mean():.2f}  n {np.count_nonzero(inside)}")
    print(f"expected calibration error {error:.3f}")
    said_none = none > 0.5
    print(f"no-match: {said_none[absent].mean():.3f} of {np.count_nonzero(absent)} absent songs are called absent, ")
    print(f"          {said_none[~absent].mean():.3f} of {np.count_nonzero(~absent)} present ones wrongly so")
    threshold = np.quantile(none[~absent], 0.95)
    print(
        f"at 5 % of present songs called absent, {np.mean(none[absent] <= threshold):.3f} of absent ones get an answer"
    )


if __name__ == "__main__":
    sys.exit(main())
