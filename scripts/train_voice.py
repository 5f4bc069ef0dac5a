#!/usr/bin/env python
"""Learn to tell singers apart from hums: the map behind what Resemblyzer gives (assets/model_voice).

    python scripts/train_voice.py --hums qbsh/queries.csv --work work --out assets/model_voice
    python scripts/train_voice.py --hums other/queries.csv --work other_work --judge assets/model_voice

The CSV has the columns file,song_id,singer. What was sung is not used, but pairs of one song are left out when it is
judged. Judging comes first: with --folds 2, one half of the singers is judged by a map learned from the other half, and
the other way round. The map that is written learned from all singers. See hmm2song/training/voice_contrast.py.

Embeddings stay in --work; the same command continues where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.audio import load_audio
from hmm2song.catalog.hub import assets_folder
from hmm2song.catalog.storage import whole_file
from hmm2song.embeddings.voice import VOICE_DIM, VoiceEncoder, levelled
from hmm2song.embeddings.voice_head import VoiceHead
from hmm2song.errors import Hmm2SongError
from hmm2song.evaluation.accuracy import Query, read_queries, singer_scores
from hmm2song.script import GOES_ON, interval_text, main_of, markdown_table, positive, progress
from hmm2song.similar.neighbours import FacetSpace
from hmm2song.training.voice_contrast import degraded, train_head

DEGRADED_PER_SINGER = 9
JUDGED_PER_SINGER = 6
HEAD = ("singers x hums", "voice", "equal error rate", "nearest is the singer")


@dataclass(frozen=True, eq=False)
class Hums:
    """Hums with their parts, as they are and degraded (see :func:`train_head`), singers and songs."""

    views: list[list[np.ndarray]]
    singers: np.ndarray
    songs: np.ndarray

    def take(self, rows: np.ndarray) -> Hums:
        """Return some of the hums."""
        return Hums([self.views[row] for row in rows], self.singers[rows], self.songs[rows])


def run(options: argparse.Namespace) -> None:
    """Embed, judge by folds, learn from all, write."""
    options.work.mkdir(parents=True, exist_ok=True)
    if options.judge:
        head = VoiceHead.load(options.judge)
        print(markdown_table(HEAD, judge(load_hums(options), head, options.seed)))
        return
    hums = load_hums(options)
    if options.folds > 1:
        print(markdown_table(HEAD, folds(hums, options)))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        train_head(hums.views, hums.singers, options.steps, options.seed).save(options.out)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hums", type=Path, required=True, metavar="CSV", help="file,song_id,singer")
    parser.add_argument("--work", type=Path, required=True, help="folder for what was computed")
    parser.add_argument("--out", type=Path, help="folder to write model.safetensors to")
    parser.add_argument("--judge", type=Path, metavar="MODEL", help="judge this map by all singers, learn nothing")
    parser.add_argument("--copies", type=int, default=2, help="degraded copies of some hums of each singer (default 2)")
    parser.add_argument("--steps", type=positive, default=600)
    parser.add_argument("--folds", type=positive, default=2, help="default 2; 1: do not judge")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.judge:
        options.copies, options.folds = 0, 1
    return options


def load_hums(options: argparse.Namespace) -> Hums:
    """Embed the hums; those in which too little is sung are reported and left out, like singers with one hum."""
    queries = [query for query in read_queries(options.hums) if query.singer]
    singers = np.array([query.singer for query in queries])
    chosen = np.ones(len(queries), bool)
    views: list[list[np.ndarray]] = [[] for _ in queries]
    for copy in range(options.copies + 1):
        file = options.work / f"parts_{copy}.safetensors"
        if not file.is_file():
            write_parts(file, queries, chosen, copy)
        stored = load_file(file)
        n_parts, parts = stored["n_parts"], stored["parts"].astype(np.float32)
        if len(n_parts) != len(queries):
            raise Hmm2SongError(f"{file} is of other hums than {options.hums}; name another --work")
        for row, each in enumerate(np.split(parts, np.cumsum(n_parts)[:-1])):
            views[row] += [each] if len(each) or copy == 0 else []
        rng = np.random.default_rng(options.seed + copy + 1)
        draw = [rng.permutation(np.flatnonzero(singers == name))[:DEGRADED_PER_SINGER] for name in np.unique(singers)]
        chosen = np.isin(np.arange(len(queries)), np.concatenate(draw))
    sung = np.array([len(parts[0]) > 0 for parts in views])
    kept = np.array([sung[row] and np.sum(sung & (singers == singers[row])) > 1 for row in range(len(queries))])
    if not kept.all():
        print(f"{np.sum(~kept)} hums are left out: too little is sung, or they are their singer's only one")
    if len(np.unique(singers[kept])) < 2 * options.folds:
        raise Hmm2SongError(f"{options.hums} needs two singers with two hums each for every fold")
    return Hums(views, singers, np.array([query.acceptable[0] for query in queries])).take(np.flatnonzero(kept))


def write_parts(file: Path, queries: Sequence[Query], chosen: np.ndarray, copy: int) -> None:
    """Embed the chosen hums, degraded if ``copy`` is not 0, and keep the parts of all as one array."""
    encoder, rng = VoiceEncoder(assets_folder() / "model_voice"), np.random.default_rng(copy)
    parts = [np.zeros((0, encoder.dim), np.float32)] * len(queries)
    with progress(f"copy {copy}", "hums", int(chosen.sum())) as show:
        for done, row in enumerate(np.flatnonzero(chosen), start=1):
            samples = load_audio(queries[row].file)
            parts[row] = encoder.parts(degraded(samples, rng) if copy else samples)
            show(done)
    n_parts = np.array([len(each) for each in parts])
    with whole_file(file) as new:
        save_file({"n_parts": n_parts, "parts": np.concatenate(parts).astype(np.float16)}, new)


def folds(hums: Hums, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Judge each fold of singers by what is learned from the others; yield rows of a table."""
    names = np.random.default_rng(options.seed).permutation(np.unique(hums.singers))
    for fold in range(options.folds):
        is_judged = np.isin(hums.singers, names[fold :: options.folds])
        others = hums.take(np.flatnonzero(~is_judged))
        head = train_head(others.views, others.singers, options.steps, options.seed)
        yield from judge(hums.take(np.flatnonzero(is_judged)), head, options.seed)


def judge(hums: Hums, head: VoiceHead, seed: int) -> Iterator[tuple[str, ...]]:
    """Judge a map by some hums of each singer; yield rows of a table."""
    rng = np.random.default_rng(seed)
    names = np.unique(hums.singers)
    hums = hums.take(
        np.concatenate([rng.permutation(np.flatnonzero(hums.singers == name))[:JUDGED_PER_SINGER] for name in names])
    )
    voices = levelled(np.array([views[0].mean(axis=0) for views in hums.views]))
    for name, vectors in (("Resemblyzer", voices[:, :VOICE_DIM]), ("with the map", head(voices))):
        for kind, likeness in (("cosine", vectors @ vectors.T), ("mutual proximity", mutual_proximity(vectors))):
            scores = singer_scores(likeness, hums.singers, hums.songs, seed).to_dict()
            figures = (interval_text(scores[key]) for key in ("equal_error", "nearest"))
            yield f"{scores['n_singers']} x {JUDGED_PER_SINGER}", f"{name}, {kind}", *figures


def mutual_proximity(vectors: np.ndarray) -> np.ndarray:
    """Return the likeness (n, n) by which similar songs are listed, among these vectors alone."""
    rows = np.arange(len(vectors))
    return 1 - FacetSpace.of(vectors, np.ones(len(rows), bool), rows).among(rows)


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
