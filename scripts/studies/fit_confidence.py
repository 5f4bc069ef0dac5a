#!/usr/bin/env python
"""Fit the weight of the votes and the constants of hmm2song/match/confidence.py; report both on other singers.

    python scripts/studies/fit_confidence.py --queries Q.csv --songs S.jsonl [--songs MORE.jsonl.gz ...]
    python scripts/studies/fit_confidence.py --queries Q.csv --catalog C --kind tracked

The files are those of scripts/evaluate.py, songs as notes; a column `singer` in Q.csv keeps each singer's hums in one
fold; without one the hums of a song stay together. Every hum is asked whole and in parts, in catalogs of several sizes
(random subsets), once with its song and once with its song removed. Five folds by singer give all figures: each fold is
answered with what was fitted on the others. What is printed last is fitted on everything. `--plot` draws the
reliability of P(first). `--kind tracked` fits the constants of tracked melodies, with the weight of their votes
given, on the tracked songs of a catalog that scripts/evaluate.py has saved.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import default_encoder, encoder_of
from hmm2song.errors import AudioError, MelodyError
from hmm2song.evaluation.accuracy import Query, read_queries
from hmm2song.match import ranking
from hmm2song.match.confidence import (
    CROWD_RANKS,
    MIN_CROWD_SONGS,
    TRACKED,
    WRITTEN,
    LogitConstants,
    log_odds,
    probabilities,
)
from hmm2song.match.ranking import MIN_VOICED_S, N_LOOKED_AT, Evidence, Ranker
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.melody.pitch import track_pitch
from hmm2song.melody.scores import read_scores
from hmm2song.script import main_of, output_file

CATALOG_SHARES = (1.0, 0.4, 0.25)
"""Sizes of the catalogs asked, as shares of the songs given."""
SKIPPED_S = 3.0
"""Seconds dropped from the start of a recorded hum."""
KEPT_S = ((0.0, 4.0), (0.0, 8.0), (5.0, 15.0))
"""Start and length of the parts of a hum that is an f0 track, which may be long."""
N_FOLDS = 5
N_BINS = 10
START = {"written": np.array([20.0, 0.2, -0.1, 0.9, 0.8]), "tracked": np.array([40.0, 0.2, -0.8, 1.0])}
SCALE = np.array([10.0, 0.5, 0.1, 0.5, 0.5])
"""Start and typical size of each constant, for the optimiser; the last is the weight of the votes, in semitones."""
TYPICAL_CROWD_ST = {"written": WRITTEN.typical_crowd_st, "tracked": TRACKED.typical_crowd_st}
PLOT_PX = 360


@dataclass(frozen=True, eq=False)
class Trial:
    """One question: costs, votes and misfits of the best songs, (n,), and which of them is right (-1: none)."""

    singer: str
    cost_st: np.ndarray
    vote: np.ndarray
    misfit_st: np.ndarray
    voiced_s: float
    right: int
    vote_weight_st: float


@dataclass(frozen=True)
class Fit:
    """What is fitted."""

    constants: LogitConstants
    vote_weight_st: float


@dataclass(frozen=True)
class Answer:
    """What was said about one question: P(first), P(none) and the probability given to the truth; what was true."""

    first: float
    none: float
    truth: float
    first_is_right: bool
    is_absent: bool


def run(options: argparse.Namespace) -> None:
    """Collect trials, report on those held out, and print what is fitted on all."""
    trials = collect_trials(options)
    bins = report([each for fold in range(N_FOLDS) for each in cross_validate(trials, fold, options.kind)])
    if options.plot:
        options.plot.write_text(reliability_svg(bins), encoding="utf-8")
    print("fitted on all trials:", fit(trials, options.kind))


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="CSV with the columns file,song_id[,singer]")
    parser.add_argument("--songs", type=Path, action="append", default=[], help="scores; repeatable")
    parser.add_argument("--catalog", type=Path, help="a catalog folder instead of scores")
    parser.add_argument("--kind", choices=["written", "tracked"], default="written", help="whose constants to fit")
    parser.add_argument("--limit", type=int, default=500, metavar="N", help="hums to use (default 500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=output_file, metavar="OUT", help="draw the reliability as SVG")
    options = parser.parse_args(arguments)
    if bool(options.songs) == bool(options.catalog):
        parser.error("give scores or a catalog")
    return options


def collect_trials(options: argparse.Namespace) -> list[Trial]:
    """Ask every hum and cut the answers into trials."""
    queries = read_queries(options.queries)  # before the songs are embedded, which takes a minute
    ranker = open_ranker(options)
    ranking.N_LOOKED_AT = len(ranker.catalog)  # which of them are looked at depends on the part of the catalog
    ask = ranker.tracked_evidence if options.kind == "tracked" else ranker.evidence
    rng = random.Random(options.seed)
    trials = []
    for query in tqdm(rng.sample(queries, min(options.limit, len(queries))), unit=" hums"):
        group = query.singer or "|".join(query.acceptable)
        try:
            hums = parts_of(query, options.kind)
        except (AudioError, MelodyError) as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        for hum in hums:
            if hum.voiced_s < MIN_VOICED_S:
                continue  # nothing is searched then
            evidence = ask(fill_rests(hum))
            is_right = [ranker.catalog.songs[song].id in query.acceptable for song in evidence.placements.song]
            for share in CATALOG_SHARES:
                trials += cut_trials(evidence, is_right, hum.voiced_s, group, share, rng)
    return trials


def open_ranker(options: argparse.Namespace) -> Ranker:
    """Load the catalog, or build one of scores."""
    if options.catalog:
        encoder = encoder_of(options.catalog)
        return Ranker(Catalog.load(options.catalog, encoder), encoder)
    scored = {each.song.id: each for path in options.songs for each in read_scores(path).melodies}
    songs, melodies = [each.song for each in scored.values()], [each.melody for each in scored.values()]
    encoder = default_encoder()
    return Ranker(Catalog.build(songs, melodies, encoder), encoder)


def parts_of(query: Query, kind: str) -> list[Melody]:
    """Return the whole hum and parts of it: short hums belong to the fit."""
    if query.file.suffix == ".csv":
        whole = read_scores(query.file).melodies[0].melody
        return [whole, *(whole.slice_s(start_s, start_s + kept_s) for start_s, kept_s in KEPT_S)]
    samples = load_audio(query.file)
    rest = samples[round(SKIPPED_S * SAMPLE_RATE_HZ) :]
    return [track_pitch(samples).melody, track_pitch(rest).melody if len(rest) else Melody(rest)]


def cut_trials(
    evidence: Evidence, is_right: list[bool], voiced_s: float, singer: str, share: float, rng: random.Random
) -> list[Trial]:
    """Ask a random part of the catalog, with and without the right song.

    A right song too far down to be ranked gives no trial: it is there, but nobody could say with which score. So few
    others that they are no crowd give none either.
    """
    others = [i for i, right in enumerate(is_right) if not right and rng.random() < share]
    if len(others) < CROWD_RANKS.stop:
        return []
    right = [i for i, right in enumerate(is_right) if right][:1]
    questions = ([(others, -1)] if others else []) + ([(right + others, 0)] if right else [])
    cost_st, vote, weight_st = evidence.placements.cost_st, evidence.vote, evidence.vote_weight_st
    return [
        Trial(singer, cost_st[kept], vote[kept], misfit_st(evidence, kept), voiced_s, truth, weight_st)
        for kept, truth in questions
    ]


def misfit_st(evidence: Evidence, kept: list[int]) -> np.ndarray:
    """Return what the second look charges songs, shape (n,), if it is at the best of these songs only."""
    misfit_st = np.broadcast_to(evidence.misfit_st, len(evidence.vote))[kept]
    others = np.argsort(-(evidence.scores_st[kept] + misfit_st), kind="stable")[N_LOOKED_AT:]
    looked_st = np.delete(misfit_st, others)
    misfit_st[others] = looked_st.max()
    return misfit_st


def answer(trial: Trial, fitted: Fit) -> Answer:
    """Say what the fit makes of a trial."""
    scores_st = fitted.vote_weight_st * trial.vote - trial.cost_st - trial.misfit_st
    order = np.argsort(-scores_st, kind="stable")
    confidence = probabilities(log_odds(padded(scores_st[order]), trial.voiced_s, fitted.constants))
    place = int(np.flatnonzero(order == trial.right)[0]) if trial.right >= 0 else -1
    truth = confidence.none if place < 0 else float(confidence.song[place])
    return Answer(float(confidence.song[0]), confidence.none, truth, place == 0, place < 0)


def fit(trials: list[Trial], kind: str) -> Fit:
    """Maximise the likelihood of the right answers."""
    start, scale = START[kind], SCALE[: len(START[kind])]

    def as_fit(scaled: np.ndarray) -> Fit:
        numbers = (scaled * scale).round(3).tolist()
        return Fit(LogitConstants(*numbers[:4], TYPICAL_CROWD_ST[kind]), *(numbers[4:] or [trials[0].vote_weight_st]))

    def loss(scaled: np.ndarray) -> float:
        return float(np.mean([-np.log(max(answer(trial, as_fit(scaled)).truth, 1e-9)) for trial in trials]))

    found = minimize(loss, start / scale, method="Powell", options={"maxiter": 6, "xtol": 1e-2, "ftol": 1e-5})
    return as_fit(found.x)


def padded(scores_st: np.ndarray) -> np.ndarray:
    """Add the songs that a part of a ranking leaves out, too bad to matter, so that it counts as a large catalog."""
    return np.append(scores_st, np.full(MIN_CROWD_SONGS, -10.0))


def cross_validate(trials: list[Trial], fold: int, kind: str) -> list[Answer]:
    """Fit on the other singers and answer this fold's trials."""
    singers = sorted({trial.singer for trial in trials})
    random.Random(0).shuffle(singers)
    tested = set(singers[fold::N_FOLDS])
    fitted = fit([trial for trial in trials if trial.singer not in tested], kind)
    return [answer(trial, fitted) for trial in trials if trial.singer in tested]


def report(answers: list[Answer]) -> list[tuple[float, float, int]]:
    """Print figures and return the reliability bins: mean said, share right, number."""
    first, none = np.array([each.first for each in answers]), np.array([each.none for each in answers])
    right = np.array([each.first_is_right for each in answers])
    absent = np.array([each.is_absent for each in answers])
    print(f"{len(first)} questions from held-out singers, {absent.mean():.2f} of them without the song")
    print(f"first is right in {right[~absent].mean():.3f} of those with it")
    number = np.minimum((first * N_BINS).astype(int), N_BINS - 1)
    bins = [
        (float(first[number == bin].mean()), float(right[number == bin].mean()), int(np.count_nonzero(number == bin)))
        for bin in np.unique(number)
    ]
    for said, was, n in bins:
        print(f"  said {said:.2f}  was {was:.2f}  n {n}")
    print(f"expected calibration error {sum(n * abs(said - was) for said, was, n in bins) / len(first):.3f}")
    said_none = none > 0.5
    print(f"no-match: {said_none[absent].mean():.3f} of {np.count_nonzero(absent)} absent songs are called absent, ")
    print(f"          {said_none[~absent].mean():.3f} of {np.count_nonzero(~absent)} present ones wrongly so")
    threshold = np.quantile(none[~absent], 0.95)
    print(
        f"at 5 % of present songs called absent, {np.mean(none[absent] <= threshold):.3f} of absent ones get an answer"
    )
    return bins


def reliability_svg(bins: list[tuple[float, float, int]]) -> str:
    """Draw what was right against what was said; the larger a dot, the more questions."""
    size, most = PLOT_PX, max(n for _, _, n in bins)
    dots = "".join(
        f'<circle cx="{said * size:.0f}" cy="{size - was * size:.0f}" r="{3 + 9 * (n / most) ** 0.5:.0f}"/>'
        for said, was, n in bins
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-50 -10 {size + 70} {size + 60}" font-family="sans-serif" '
        f'font-size="14"><rect width="{size}" height="{size}" fill="#fff" stroke="#94a3b8"/>'
        f'<path d="M0 {size}L{size} 0" stroke="#94a3b8" stroke-dasharray="4"/><g fill="#4f46e5">{dots}</g>'
        f'<text x="{size / 2}" y="{size + 30}" text-anchor="middle">said to be right</text>'
        f'<text transform="translate(-20 {size / 2}) rotate(-90)" text-anchor="middle">was right</text></svg>\n'
    )


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
