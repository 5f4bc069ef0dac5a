#!/usr/bin/env python
"""Measure what each part of the search is worth: alignment, encoder, votes, path, fusion.

    python scripts/studies/ablate.py --queries Q.csv --songs S.jsonl [--songs MORE.jsonl.gz] --limit 300

Every hum is searched by each part alone and by all together, over the same songs:

    alignment   slope-limited DTW alone, the way it is used in the search
    encoder     the one window of the hum that is most like any window of the song
    votes       the mean over the hum's windows of the best window of the song, in any order
    path        the same along a time-consistent path through the song
    fusion      alignment and path at the place aligned, as the recogniser joins them

`--model` is repeatable, LABEL=FOLDER: models trained with other windows, seeds, or without an effect of the singer
(scripts/train.py). Times are seconds of processor time per hum, of all threads together.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.catalog.catalog import Catalog
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import AudioError
from hmm2song.evaluation.accuracy import rank_of, read_queries, retrieval_scores, sampled
from hmm2song.index.base import WindowRanges
from hmm2song.index.exact import ExactIndex
from hmm2song.match.places import Placements
from hmm2song.match.ranking import Evidence
from hmm2song.match.search import MelodySearch
from hmm2song.match.votes import HumWindows, embed_hum, ranges_of, votes
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.melody.pitch import track_pitch
from hmm2song.melody.scores import read_scores
from hmm2song.script import main_of, output_file, progress, write_json
from hmm2song.song import Song


@dataclass(frozen=True, eq=False)
class Hum:
    """A hum as it was heard, and the songs that answer it."""

    contour: FilledContour
    acceptable: tuple[str, ...]


def run(options: argparse.Namespace) -> None:
    """Measure every part and write the figures."""
    hums = hear(options)
    melodies = {scored.song.id: scored.melody for path in options.songs for scored in read_scores(path).melodies}
    write_json(options.json, measure(hums, melodies, options.model))


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="CSV with the columns file,song_id")
    parser.add_argument("--songs", type=Path, action="append", required=True, help="songs as JSON lines; repeatable")
    parser.add_argument("--model", action="append", required=True, metavar="[LABEL=]FOLDER", help="repeatable")
    parser.add_argument("--limit", type=int, default=300, metavar="N", help="random hums to use (default 300)")
    parser.add_argument("--skip-start", type=float, default=0.0, metavar="SECONDS", help="drop the start of each hum")
    parser.add_argument("--seed", type=int, default=0, help="for --limit and the intervals")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    return parser.parse_args(arguments)


def hear(options: argparse.Namespace) -> list[Hum]:
    """Track the hums; those without a melody are left in as missed by everything."""
    queries = read_queries(options.queries)
    chosen = sampled(queries, options.limit, options.seed)
    hums = []
    for query in tqdm(chosen, desc="tracking", unit=" hums"):
        try:
            samples = load_audio(query.file)[round(options.skip_start * SAMPLE_RATE_HZ) :]
            melody = track_pitch(samples).melody
        except AudioError as error:
            print(f"ablate.py: {error}", file=sys.stderr)
            melody = Melody(np.zeros(0))
        hums.append(Hum(fill_rests(melody), query.acceptable))
    return hums


def measure(hums: list[Hum], melodies: dict[str, Melody], models: list[str]) -> list[dict]:
    """Search with every part and print a line for each."""
    print(f"{len(hums)} hums, {len(melodies)} songs")
    print(f"{'model':16s} {'part':10s} {'top-1':>6s} {'top-10':>7s} {'MRR':>6s} {'cpu s':>7s}", flush=True)
    ids = np.array(list(melodies))
    search = MelodySearch(list(melodies.values()))
    everything = np.ones(len(ids), dtype=bool)
    aligned: dict[int, Placements] = {}

    def align(hum: FilledContour, number: int) -> np.ndarray:
        aligned[number] = search.rank(hum, everything)
        return aligned[number].song

    rows = [line_of("", "alignment", ids, hums, align)]
    for model in models:
        label, _, folder = model.rpartition("=")
        rows += measure_encoder(label or Path(folder).name, Path(folder), hums, ids, melodies, aligned)
    return rows


def measure_encoder(
    label: str,
    folder: Path,
    hums: list[Hum],
    ids: np.ndarray,
    melodies: dict[str, Melody],
    aligned: dict[int, Placements],
) -> list[dict]:
    """Search with one encoder, alone and joined with the alignment."""
    encoder = MelodyEncoder.load(folder)
    songs = [Song(id=song_id, title=song_id) for song_id in ids]
    with progress(f"embedding {label}", "songs") as show:
        catalog = Catalog.build(songs, list(melodies.values()), encoder, progress=show)
    index = ExactIndex.of(catalog.embeddings, catalog.n_windows, n_threads=1)
    everything = WindowRanges.whole(np.arange(len(ids)))
    windows, counts = index.windows_of(everything)
    first = np.cumsum(counts) - counts
    embedded: dict[int, HumWindows] = {}

    def encoder_alone(hum: FilledContour, number: int) -> np.ndarray:
        embedded[number] = embed_hum(hum, encoder)
        similarity = (windows @ embedded[number].embeddings.T).max(axis=1)
        return np.argsort(-np.maximum.reduceat(similarity, first), kind="stable")

    def votes_alone(_: FilledContour, number: int) -> np.ndarray:
        hum = embedded[number]
        best = np.maximum.reduceat(windows @ hum.embeddings.T, first, axis=0)
        means = [best[:, hum.series == series].mean(axis=1) for series in np.unique(hum.series)]
        return np.argsort(-np.max(means, axis=0), kind="stable")

    def path_alone(_: FilledContour, number: int) -> np.ndarray:
        return np.argsort(-votes(embedded[number], index, everything), kind="stable")

    def fusion(hum: FilledContour, number: int) -> np.ndarray:
        placed = aligned[number]
        ranges = ranges_of(placed.stretches(hum.duration_s), encoder.windows)
        return Evidence(placed, votes(embedded[number], index, ranges)).best_first().placements.song

    parts = {"encoder": encoder_alone, "votes": votes_alone, "path": path_alone, "fusion": fusion}
    return [line_of(label, part, ids, hums, search) for part, search in parts.items()]


def line_of(
    label: str, part: str, ids: np.ndarray, hums: list[Hum], search: Callable[[FilledContour, int], np.ndarray]
) -> dict:
    """Search every hum, print the figures and return them."""
    ranks = []
    started_s = time.process_time()
    for number, hum in enumerate(tqdm(hums, desc=f"{label} {part}", leave=False)):
        found = ids[search(hum.contour, number)[:100]] if len(hum.contour.pitch_midi) else ()
        ranks.append(rank_of(tuple(found), hum.acceptable))
    cpu_s = (time.process_time() - started_s) / len(hums)
    scores = retrieval_scores(ranks, 0).to_dict()
    figures = [scores[name]["value"] for name in ("top1", "top10", "mrr")]
    print(f"{label:16s} {part:10s} {figures[0]:6.3f} {figures[1]:7.3f} {figures[2]:6.3f} {cpu_s:7.3f}", flush=True)
    return {"model": label, "part": part, "cpu_s_per_hum": round(cpu_s, 4), **scores}


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
