#!/usr/bin/env python
"""Measure how soon a hum that still goes on is found, and choose when to stop listening by itself.

    python scripts/evaluate.py --queries Q.csv --songs S.jsonl [--songs MORE.jsonl.gz] --limit 1 --save songs
    python scripts/studies/measure_listening.py --queries Q.csv --catalog songs --hums 600 --heard heard.jsonl

Every hum is searched as it grows, each half second anew. What was guessed is kept in a file; the same command goes on
where it was stopped, and `--minutes` ends it early. Then every stop rule (best so often in a row, and at last so sure)
is tried on four fifths of the singers: of those that stop with a wrong song in at most 2 % of their hums, the one that
finds soonest is chosen, and does the hums of the last fifth; each fifth is the last once. Times are seconds of humming
plus those of the search as it took on this machine, times `--speed`.
A hum that ends before the rule stops it is answered at its end, as when its singer presses Stop. "Absent" are the same
hums with their song taken out of the answer (the others' probabilities grow as in a logit).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.errors import AudioError
from hmm2song.evaluation.accuracy import Query, read_queries, sampled
from hmm2song.match.listening import FIRST_SEARCH_S, SEARCH_EVERY_S, Guess, StopRule
from hmm2song.match.results import FOUND, level_of
from hmm2song.recognizer import Recognizer
from hmm2song.script import GOES_ON, Journal, main_of, output_file, write_json

STEP_S = 0.5
FIRST_S = 2.0
KEPT_MATCHES = 3
MAX_WRONG = 0.02
"""Of the hums a rule is chosen on; less than the 3 % that it may have among others, as it is fitted to these."""
N_FOLDS = 5
PROBABILITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
TIMES = (1, 2, 3)


@dataclass(frozen=True)
class Step:
    """What was guessed after ``heard_s``: songs with their probabilities, best first, and how long that took."""

    heard_s: float
    voiced_s: float
    best: tuple[tuple[str, float], ...]
    seconds: float

    def without(self, absent: Sequence[str]) -> Step:
        """Return the guess as it would be without some songs."""
        share = 1.0 - sum(probability for song, probability in self.best if song in absent)
        kept = [(song, probability / max(share, 1e-9)) for song, probability in self.best if song not in absent]
        return Step(self.heard_s, self.voiced_s, tuple(kept), self.seconds)


Row = tuple[Query, list[Step]]


@dataclass(frozen=True)
class Outcome:
    """How listening to one hum ended: when, by itself or with the hum, and with the right song or not."""

    answered_s: float
    by_itself: bool
    right: bool


def run(options: argparse.Namespace) -> None:
    """Search what is not searched yet, then choose and report."""
    queries = read_queries(options.queries)
    drawn = sampled(queries, options.hums, options.seed)
    heard = search(drawn, options)
    rows = [(query, heard[query.name]) for query in drawn if heard[query.name]]
    write_json(options.json, report(rows, options.seed, options.speed))


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="CSV with the columns file,song_id")
    parser.add_argument("--catalog", type=Path, required=True, help="catalog folder to search")
    parser.add_argument("--hums", type=int, default=600, metavar="N", help="hums to draw (default 600)")
    parser.add_argument("--heard", type=output_file, required=True, metavar="FILE", help="what was guessed; goes on")
    parser.add_argument("--minutes", type=float, metavar="M", help="search no longer than this")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="searches take X times as long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    return parser.parse_args(arguments)


def search(drawn: list[Query], options: argparse.Namespace) -> dict[str, list[Step]]:
    """Return the steps of each hum by name, none if time was up; those not in the file are searched and added."""
    journal = Journal(options.heard)
    missing = [query for query in drawn if journal.get(query.name) is None]
    if missing:
        recognizer = Recognizer.from_pretrained(options.catalog)
        recognizer.warm_up()
    stop_s = time.monotonic() + 60 * (options.minutes or 1e9)
    for query in tqdm(missing, unit=" hums", disable=None):
        if time.monotonic() > stop_s:
            break
        journal.remembered(query.name, lambda query=query: [astuple(step) for step in grow(recognizer, query)])
    return {query.name: [step_of(row) for row in journal.get(query.name) or ()] for query in drawn}


def step_of(row: Sequence) -> Step:
    """Rebuild a step from its JSON."""
    heard_s, voiced_s, best, seconds = row
    return Step(heard_s, voiced_s, tuple(map(tuple, best)), seconds)


def grow(recognizer: Recognizer, query: Query) -> Iterator[Step]:
    """Search a hum as it grows."""
    try:
        samples = load_audio(query.file)
    except AudioError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return
    for heard_s in np.arange(FIRST_S, len(samples) / SAMPLE_RATE_HZ + 0.01, STEP_S).tolist():
        part = samples[: round(heard_s * SAMPLE_RATE_HZ)]
        result = recognizer.recognize((SAMPLE_RATE_HZ, part), top_k=KEPT_MATCHES)
        best = tuple((match.id, round(match.probability, 5)) for match in result.matches)
        yield Step(heard_s, round(result.hum.voiced_s, 2), best, round(result.seconds, 4))


def report(rows: list[Row], seed: int, speed: float) -> dict:
    """Print what each rule does, and what those do that were chosen on other singers."""
    rows = [(query, [replace(step, seconds=speed * step.seconds) for step in steps]) for query, steps in rows]
    singers = sorted({query.singer or query.name for query, _ in rows})
    random.Random(seed).shuffle(singers)
    fold_of = {singer: number % N_FOLDS for number, singer in enumerate(singers)}
    folds = [[row for row in rows if fold_of[row[0].singer or row[0].name] == fold] for fold in range(N_FOLDS)]
    rules = [StopRule(probability, times) for probability in PROBABILITIES for times in TIMES]
    print(f"{len(rows)} hums of {len(singers)} singers; half of the hums are found after ...")
    for rule in rules:
        print(f"  {rule.probability:.2f} x {rule.times}: {describe(summarise([(row, rule) for row in rows]))}")
    chosen = [choose([row for each in folds if each is not fold for row in each], rules) for fold in folds]
    figures = summarise([(row, rule) for rule, fold in zip(chosen, folds, strict=True) for row in fold])
    print("chosen:", *(f"{rule.probability:.2f} x {rule.times}" for rule in chosen))
    print(f"on the singers left out: {describe(figures)}")
    in_use = summarise([(row, StopRule()) for row in rows])
    print(f"the rule in use: {describe(in_use)}")
    return {"chosen": [[rule.probability, rule.times] for rule in chosen], "figures": figures, "in_use": in_use}


def choose(rows: list[Row], rules: list[StopRule]) -> StopRule:
    """Return the rule that finds soonest of those that seldom stop with a wrong song, of equals the surest."""
    allowed = []
    for rule in rules:
        figures = summarise([(row, rule) for row in rows])
        if figures["stopped_wrong"] <= MAX_WRONG:
            allowed.append((round(figures["median_found_s"], 1), -rule.times, rule.probability, rule))
    return min(allowed, key=lambda each: each[:3])[-1]


def summarise(ruled: list[tuple[Row, StopRule]]) -> dict:
    """Return the figures of hums, each with its rule."""
    there = [follow(steps, query.acceptable, rule) for (query, steps), rule in ruled]
    absent = [follow([step.without(query.acceptable) for step in steps], (), rule) for (query, steps), rule in ruled]
    shown_s = [first_shown_s(steps, query.acceptable) for (query, steps), _ in ruled]
    found_s = [each.answered_s if each.right else np.inf for each in there]
    return {
        "n": len(ruled),
        "median_found_s": float(np.median(found_s)),
        "median_shown_s": float(np.median(shown_s)),
        "right": float(np.mean([each.right for each in there])),
        "stopped": float(np.mean([each.by_itself for each in there])),
        "stopped_right": float(np.mean([each.by_itself and each.right for each in there])),
        "stopped_wrong": float(np.mean([each.by_itself and not each.right for each in there])),
        "stopped_absent": float(np.mean([each.by_itself for each in absent])),
        "median_search_s": float(np.median([step.seconds for (_, steps), _ in ruled for step in steps])),
    }


def describe(figures: dict) -> str:
    """Write the figures in a line."""
    return (
        f"{figures['median_found_s']:.2f} s (shown {figures['median_shown_s']:.2f} s), "
        f"right at its end {figures['right']:.1%}, stopped {figures['stopped']:.1%}, "
        f"right {figures['stopped_right']:.1%}, wrong {figures['stopped_wrong']:.1%}, "
        f"song absent {figures['stopped_absent']:.1%}, a search {figures['median_search_s']:.2f} s"
    )


def follow(steps: list[Step], acceptable: Sequence[str], rule: StopRule) -> Outcome:
    """Listen to one hum under a rule."""
    guesses, asked_s = [], FIRST_SEARCH_S - SEARCH_EVERY_S
    for step in steps:
        if step.heard_s < asked_s + SEARCH_EVERY_S - 1e-6:
            continue
        asked_s = step.heard_s
        guesses.append(Guess(*step.best[0], step.voiced_s) if step.best else Guess("", 0.0, step.voiced_s))
        if rule.is_sure(guesses):
            return Outcome(step.heard_s + step.seconds, True, step.best[0][0] in acceptable)
    last = steps[-1]
    right = bool(last.best) and last.best[0][0] in acceptable and level_of(last.best[0][1], last.voiced_s) == FOUND
    return Outcome(last.heard_s + last.seconds, False, right)


def first_shown_s(steps: list[Step], acceptable: Sequence[str]) -> float:
    """Return when the right song first stood there as found, even if listening went on."""
    for step in steps:
        best = step.best[0] if step.best else ("", 0.0)
        if step.heard_s >= FIRST_SEARCH_S and best[0] in acceptable and level_of(best[1], step.voiced_s) == FOUND:
            return step.heard_s + step.seconds
    return float("inf")


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
