#!/usr/bin/env python
"""Measure the stages of a search: processor time per hum, one after the other on one core.

    OMP_NUM_THREADS=1 python scripts/studies/measure_stages.py --queries Q.csv --catalog songs --limit 30

Q.csv has the columns file,song_id; the files are recordings or f0 tracks. What a stage calls counts for the called one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song import recognizer as audio_stages
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import encoder_of
from hmm2song.evaluation.accuracy import read_queries, sampled
from hmm2song.index.exact import ExactIndex
from hmm2song.match import ranking, search, tracked
from hmm2song.melody.scores import read_scores
from hmm2song.recognizer import Recognizer
from hmm2song.script import main_of, output_file, write_json

STAGES = (
    (audio_stages, "load_audio"), (audio_stages, "track_pitch"), (audio_stages, "assess"), (ranking, "embed_hum"),
    (ranking, "propose"), (ExactIndex, "nearest"), (search.MelodySearch, "_place_coarsely"),
    (search.MelodySearch, "_place_finely"), (tracked, "place_folded"), (ranking, "votes"),
    (search.MelodySearch, "align"), (tracked.TrackedSearch, "align"),
)  # fmt: skip
"""Functions by where they are looked up."""


class Stopwatch:
    """Adds up the processor time of wrapped functions, each without the wrapped ones that it calls."""

    def __init__(self) -> None:
        self.spent_s: Counter[str] = Counter()
        self._called_s: list[float] = []

    def wrapped(self, function: Callable, name: str) -> Callable:
        """Return the function, timed."""

        def timed(*arguments, **options):
            started_s = time.process_time()
            self._called_s.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                whole_s = time.process_time() - started_s
                self.spent_s[name] += whole_s - self._called_s.pop()
                if self._called_s:
                    self._called_s[-1] += whole_s

        return timed


def run(options: argparse.Namespace) -> None:
    """Search every hum, print and write the figures."""
    queries = read_queries(options.queries)
    chosen = sampled(queries, options.limit, options.seed)
    encoder = encoder_of(options.catalog)
    searched = Recognizer(Catalog.load(options.catalog, encoder), encoder, n_threads=1)
    searched.warm_up()
    stopwatch = Stopwatch()
    for owner, name in STAGES:
        setattr(owner, name, stopwatch.wrapped(getattr(owner, name), f"{owner.__name__.split('.')[-1]}.{name}"))
    search_hum = stopwatch.wrapped(searched.recognize, "the rest")
    search_track = stopwatch.wrapped(searched.recognize_melody, "the rest")
    for query in chosen:
        if query.file.suffix == ".csv":
            search_track(read_scores(query.file).melodies[0].melody)
        else:
            search_hum(query.file)
    figures = {name: round(spent_s / len(chosen), 4) for name, spent_s in stopwatch.spent_s.most_common()}
    figures = {"all": round(sum(stopwatch.spent_s.values()) / len(chosen), 4), **figures}
    for name, seconds in figures.items():
        print(f"{name:32s} {1000 * seconds:8.1f} ms")
    write_json(options.json, {"n": len(chosen), "seconds": figures})


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="CSV with the columns file,song_id")
    parser.add_argument("--catalog", type=Path, required=True, help="catalog folder")
    parser.add_argument("--limit", type=int, default=30, metavar="N", help="random hums to search (default 30)")
    parser.add_argument("--seed", type=int, default=0, help="for --limit (default 0)")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    return parser.parse_args(arguments)


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
