#!/usr/bin/env python
"""Measure what "hum once more" is worth: the first hum alone, the second alone, both joined.

    python scripts/evaluate.py --queries Q.csv --songs S.jsonl [--songs MORE.jsonl.gz] --limit 1 --save songs
    python scripts/studies/measure_joined.py --queries Q.csv --catalog songs --pairs 300 --halves 300

Q.csv has the columns file,song_id and, if known, singer; paths are relative to it.

Pairs are two recordings of one song, by different singers where the table names them: each recording is in one pair at
most. Halves are the first and the last half of one recording, as if one person had hummed twice and gone on where they
stopped. "joined" is the second with the first as `earlier`, as the page's button does it. A recording that cannot be
read, or in which nothing is heard, counts as missed. Brackets are 95 % bootstrap intervals over pairs, those of a
difference over the same pairs.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.errors import AudioError, Hmm2SongError
from hmm2song.evaluation.accuracy import Query, estimate, rank_of, read_queries, retrieval_scores
from hmm2song.melody.melody import Melody
from hmm2song.recognizer import MAX_TOP_K, Recognizer
from hmm2song.script import interval_text, main_of, output_file, write_json

COLUMNS = ("first", "second", "joined")
SILENCE = np.zeros(SAMPLE_RATE_HZ, np.float32)
"""Stands for a recording that cannot be read: nothing is heard in it."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """Rank of the right song for the first hum of each pair, the second, and both joined; 0 is missed. Shape (n,)."""

    first: np.ndarray
    second: np.ndarray
    joined: np.ndarray


def run(options: argparse.Namespace) -> None:
    """Measure and write the figures."""
    write_json(options.json, measure(options))


def measure(options: argparse.Namespace) -> dict:
    """Search, print and return the figures."""
    hums = read_queries(options.queries)
    pairs = choose_pairs(hums, options.pairs, options.seed)
    halved = random.Random(options.seed).sample(hums, min(options.halves, len(hums)))
    recognizer = Recognizer.from_pretrained(options.catalog)
    recognizer.warm_up()
    report = {}
    if pairs:
        ranks = [ask(recognizer, samples_of(a), samples_of(b), a.acceptable) for a, b in tqdm(pairs, desc="pairs")]
        report["pairs"] = summarise(collect(ranks), options.seed)
        print_report(f"two hums of a song, {describe_singers(pairs)}", report["pairs"])
    if halved:
        ranks = [ask(recognizer, *split(samples_of(hum)), hum.acceptable) for hum in tqdm(halved, desc="halves")]
        report["halves"] = summarise(collect(ranks), options.seed)
        print_report("the two halves of a hum", report["halves"])
    return report


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="CSV with the columns file,song_id[,singer]")
    parser.add_argument("--catalog", type=Path, required=True, help="catalog folder to search")
    parser.add_argument("--pairs", type=int, default=300, metavar="N", help="pairs of recordings (default 300)")
    parser.add_argument("--halves", type=int, default=300, metavar="N", help="recordings to halve (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="for the choice and the intervals (default 0)")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    if min(options.pairs, options.halves) < 0 or options.pairs + options.halves == 0:
        parser.error("--pairs and --halves must not be negative, and not both 0")
    return options


def choose_pairs(hums: list[Query], n_pairs: int, seed: int) -> list[tuple[Query, Query]]:
    """Draw pairs of recordings of one song by different singers; every recording is in one pair at most."""
    rng = random.Random(seed)
    of_song: dict[tuple[str, ...], list[Query]] = defaultdict(list)
    for hum in rng.sample(hums, len(hums)):
        of_song[hum.acceptable].append(hum)
    pairs = []
    for recordings in of_song.values():
        waiting = list(recordings)
        while waiting:
            first = waiting.pop()
            others = [hum for hum in waiting if hum.singer == "" or hum.singer != first.singer]
            if others:
                waiting.remove(others[0])
                pairs.append((first, others[0]))
    if n_pairs and not pairs:
        raise Hmm2SongError("no song has two recordings by different singers; use --pairs 0")
    return rng.sample(pairs, min(n_pairs, len(pairs)))


def describe_singers(pairs: list[tuple[Query, Query]]) -> str:
    """Say whose hums are joined."""
    named = all(first.singer and second.singer for first, second in pairs)
    return "by two different people" if named else "the table does not say by whom"


def samples_of(hum: Query) -> np.ndarray:
    """Load a recording."""
    try:
        return load_audio(hum.file)
    except AudioError as error:
        print(f"measure_joined.py: counts as missed: {error}", file=sys.stderr)
        return SILENCE


def split(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a recording in its middle."""
    return samples[: len(samples) // 2], samples[len(samples) // 2 :]


def ask(
    recognizer: Recognizer, first: np.ndarray, second: np.ndarray, acceptable: tuple[str, ...]
) -> tuple[int, int, int]:
    """Search the first, the second, and the second joined with the first; return the three ranks."""

    def search(samples: np.ndarray, earlier: tuple[Melody, ...] = ()) -> tuple[int, Melody]:
        result = recognizer.recognize((SAMPLE_RATE_HZ, samples), top_k=MAX_TOP_K, earlier=earlier)
        return rank_of([match.id for match in result.matches], acceptable), result.hum

    rank_first, heard = search(first)
    return rank_first, search(second)[0], search(second, (heard,))[0]


def collect(ranks: list[tuple[int, int, int]]) -> Ranks:
    """Turn rows into columns."""
    return Ranks(*np.array(ranks).T)


def summarise(ranks: Ranks, seed: int) -> dict:
    """Compute the figures."""
    right = {name: getattr(ranks, name) == 1 for name in COLUMNS}
    missed = ~right["first"]
    return {
        "n": len(ranks.first),
        **{name: retrieval_scores(getattr(ranks, name), seed).to_dict() for name in COLUMNS},
        "gain_over_first": estimate(right["joined"] - 1.0 * right["first"], seed).to_dict(),
        "gain_over_second": estimate(right["joined"] - 1.0 * right["second"], seed).to_dict(),
        "where_first_missed": {
            "n": int(missed.sum()),
            "second": share(right["second"][missed]),
            "joined": share(right["joined"][missed]),
        },
        "where_first_right": {"n": int((~missed).sum()), "joined": share(right["joined"][~missed])},
    }


def share(right: np.ndarray) -> float | None:
    """Return the share of True values, or None if there are no values."""
    return round(float(right.mean()), 4) if len(right) else None


def print_report(title: str, report: dict) -> None:
    """Print the figures for people."""
    print(f"{title}: n {report['n']}")
    print(f"{'':8s} {'top-1':22s} {'top-10':22s} MRR")
    for name in COLUMNS:
        print(f"{name:8s} {' '.join(f'{interval_text(report[name][each]):22s}' for each in ('top1', 'top10', 'mrr'))}")
    print(f"joined minus first, top-1: {interval_text(report['gain_over_first'], '+')}")
    print(f"joined minus second, top-1: {interval_text(report['gain_over_second'], '+')}")
    missed, right = report["where_first_missed"], report["where_first_right"]
    print(f"where the first missed (n {missed['n']}): second alone {missed['second']}, joined {missed['joined']}")
    print(f"where the first was right (n {right['n']}): joined {right['joined']}")


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
