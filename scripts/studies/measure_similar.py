#!/usr/bin/env python
"""Measure what docs/similar.md says of a catalog: melodic relatives, hubs, time of a query, neighbours on the map.

OMP_NUM_THREADS=1 python scripts/studies/measure_similar.py --random-songs 100000
OMP_NUM_THREADS=1 python scripts/studies/measure_similar.py --catalog my-catalog
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import skew

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.catalog.facets import FEEL_COLUMNS, MOMENT_DIM, N_TAGS, STYLE_DIM, TIMBRE_DIM, Facets
from hmm2song.embeddings.voice import VoiceEncoder
from hmm2song.script import main_of
from hmm2song.similar.songs import SimilarSongs
from hmm2song.song import Song

N_NEAREST = 10


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", metavar="SOURCE", help="a folder or a repository (default: the bundled catalog)")
    parser.add_argument(
        "--queries", type=int, default=200, metavar="N", help="queries for hubs and times (default: 200)"
    )
    parser.add_argument(
        "--random-songs", type=int, default=0, metavar="N", help="also time queries by sound among so many random songs"
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Print the figures."""
    songs = SimilarSongs.load(options.catalog)
    print(songs)
    if not songs.facets["melody"]:
        measure_relatives(songs, options.queries)
    measure_map(songs)
    if options.random_songs:
        measure_time(random_songs(options.random_songs), options.queries)


def measure_relatives(songs: SimilarSongs, n_queries: int) -> None:
    """Ask for every song that has versions, and for some others."""
    tunes = list(songs.songs.column("tune"))
    ids = list(songs.songs.column("id"))
    alike = Counter(filter(None, tunes))
    with_versions = [row for row, tune in enumerate(tunes) if alike[tune] > 1]
    first, codes, started_s = [], Counter(), time.process_time()
    for row in with_versions:
        listed = songs.like(ids[row], "tune", per_artist=0).songs
        first.append(bool(listed) and listed[0].song.tune == tunes[row])
    query_s = (time.process_time() - started_s) / max(len(with_versions), 1)
    if with_versions:
        print(f"a version is first: {np.mean(first):.3f} of {len(first)}; {query_s:.2f} CPU-s a query")
    others = [row for row in np.random.default_rng(1).permutation(len(ids)) if alike[tunes[row]] < 2][:n_queries]
    returned = np.zeros(len(ids))
    for row in others:
        listed = songs.like(ids[row], "tune", per_artist=0, top_k=N_NEAREST).songs
        returned[[songs.position(each.song.id) for each in listed]] += 1
        codes.update(reason.code for reason in listed[0].reasons if reason.facet == "melody")
    never, chance = np.mean(returned == 0), np.exp(-returned.sum() / len(ids))
    print(f"{len(others)} others: hub skew {skew(returned):.2f}, never returned {never:.2f} (chance {chance:.2f})")
    print("what is said of the first of them:", ", ".join(f"{code} {n / len(others):.2f}" for code, n in codes.items()))


def measure_map(songs: SimilarSongs) -> None:
    """Compare the nearest songs on the map with the nearest ones by its facet."""
    drawn = songs.map()
    ids, places = [point.song.id for point in drawn.points], np.array([(point.x, point.y) for point in drawn.points])
    preset = {drawn.facet: 1.0}
    kept = []
    for row in np.random.default_rng(2).permutation(len(ids))[:100]:
        far = np.linalg.norm(places - places[row], axis=1)
        far[row] = np.inf
        on_map = {ids[other] for other in np.argsort(far, kind="stable")[:N_NEAREST]}
        listed = songs.like(ids[row], preset, per_artist=0, top_k=N_NEAREST).songs
        kept.append(len(on_map & {each.song.id for each in listed}) / N_NEAREST)
    names = ", ".join(f"{cluster.name} ({cluster.n_songs})" for cluster in drawn.clusters)
    print(f"map by {drawn.facet}: {np.mean(kept):.2f} of the nearest {N_NEAREST} are the nearest on it; {names}")


def random_songs(n_songs: int) -> SimilarSongs:
    """Return songs of noise, all of them sung."""
    rng = np.random.default_rng(0)

    def noise(n_columns: int) -> np.ndarray:
        return rng.standard_normal((n_songs, n_columns), dtype=np.float32).astype(np.float16)

    facets = Facets(
        heard=np.ones(n_songs, bool),
        style=noise(STYLE_DIM),
        timbre=10 * noise(TIMBRE_DIM),
        tags=np.full((n_songs, N_TAGS), 0.1, np.float16),
        voice=noise(VoiceEncoder.dim),
        singing_share=np.ones(n_songs, np.float32),
        feel=np.abs(noise(len(FEEL_COLUMNS))).astype(np.float32),
        duration_s=rng.uniform(100, 300, n_songs).astype(np.float32),
        n_moments=np.zeros(n_songs, np.int32),
        moment_start_s=np.zeros(0, np.float32),
        moments=np.zeros((0, MOMENT_DIM), np.int8),
        listener="noise",
    )
    artists = rng.integers(0, max(1, n_songs // 5), n_songs)
    return SimilarSongs([Song(f"s{i}", f"s{i}", singer=f"a{artists[i]}") for i in range(n_songs)], facets)


def measure_time(songs: SimilarSongs, n_queries: int) -> None:
    """Time queries by voice, style and feel."""
    started_s = time.process_time()
    songs.warm_up()
    print(f"{songs}: opened in {time.process_time() - started_s:.1f} CPU-s")
    for preset in ("all", "voice", "style", "feel"):
        taken_s = []
        for number in range(min(n_queries, 20)):
            started_s = time.process_time()
            songs.like(f"s{number}", preset)
            taken_s.append(time.process_time() - started_s)
        print(f"  {preset}: {1000 * np.median(taken_s):.0f} CPU-ms a query")


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
