#!/usr/bin/env python
"""Train the melody encoder on simulated hums of written melodies.

    python scripts/train.py --melodies pool.jsonl.gz --out assets/model

In each step a simulated singer hums parts of some hundred melodies. Windows are cut from hum and song at the same
place, and the network learns to tell which belong together (symmetric InfoNCE). Melodies held out of the training
choose the checkpoint: hums of them are looked up among all their windows.

Only melodies that may be trained on are used: `in_benchmark` false, no research-only source, none listed in --exclude.
All random draws of a step depend on the seed and the step's number, so an interrupted run that is started again with
the same command continues as if it had not stopped (with OMP_NUM_THREADS=1 to the last bit; several threads add up in
any order). It uses a GPU if there is one.

    python scripts/train.py --melodies pool.jsonl.gz --tracked 0.3 --hums 800 --steps 4371 --average 0.002 \
        --written assets/model --out model

trains the network for songs that were tracked in recordings: a share of its songs is heard as a tracker hears them
(hmm2song/training/tracker.py). It becomes part of the model that --written names, for catalogs of recordings.

    python scripts/train.py --recipe mel --clips DATASET --out mel_model

trains the network of the first source system instead (docs/source-system.md) on a dataset of scripts/build_dataset.py;
it continues after the last whole epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.evaluation.baselines.mel_cnn.clips import ClipSet
from hmm2song.evaluation.baselines.mel_cnn.training import SMOKE, MelRecipe, train_conv_subnet
from hmm2song.melody.melody import FRAME_RATE_HZ
from hmm2song.script import GOES_ON, main_of, positive
from hmm2song.training.learner import TrainingRun
from hmm2song.training.pairs import MelodyPool, read_ids
from hmm2song.training.recipe import EFFECTS, Recipe, smoke

N_SMOKE_MELODIES = 64


def run(options: argparse.Namespace) -> None:
    """Train one of the two networks."""
    train_mel(options) if options.recipe == "mel" else train_melody(options)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    shipped = Recipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=["melody", "mel"], default="melody", help="what to train")
    parser.add_argument("--melodies", type=Path, help="melodies as JSON lines (.gz too)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument(
        "--exclude",
        type=Path,
        action="append",
        default=[],
        metavar="IDS",
        help="ids never to train on: first column of a TSV, or songs as JSON lines (.jsonl); repeatable",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=positive, help=f"train shorter or longer than {Recipe.n_steps} steps")
    parser.add_argument("--hums", type=positive, default=shipped.n_hums, help=f"per step (default {shipped.n_hums})")
    parser.add_argument("--window-s", type=float, default=shipped.windows.window_s, help="length of a window")
    parser.add_argument("--channels", type=int, default=shipped.network.channels, help="width of the network, even")
    parser.add_argument(
        "--tracked", type=share, default=0.0, metavar="SHARE", help="of songs as trackers hear them in recordings"
    )
    parser.add_argument(
        "--average", type=share, default=1.0, metavar="SHARE", help="of the newest weights in the average that is kept"
    )
    parser.add_argument(
        "--written", type=Path, metavar="MODEL", help="write that model too, with what is learned for tracked songs"
    )
    parser.add_argument("--without", choices=EFFECTS, default="", help="leave out an effect of the simulated singer")
    parser.add_argument("--workers", type=positive, default=1, help="processes that hum (default 1)")
    parser.add_argument("--smoke", action="store_true", help="two steps of a tiny network, to see that it runs")
    group = parser.add_argument_group("--recipe mel")
    group.add_argument("--clips", type=Path, metavar="DATASET", help="folder made by scripts/build_dataset.py")
    group.add_argument("--epochs", type=positive, default=MelRecipe.n_epochs, help="default 5")
    group.add_argument("--n-clips", type=positive, help="train on so many random clips instead of all")
    group.add_argument("--held-out-songs", type=int, default=0, metavar="N", help="never train on N random songs")
    options = parser.parse_args(arguments)
    if options.recipe == "mel" and not options.clips:
        parser.error("--recipe mel needs --clips")
    if options.recipe == "melody" and not options.melodies:
        parser.error("the following arguments are required: --melodies")
    return options


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Return the recipe, as changed on the command line."""
    recipe = Recipe()
    n_frames = 4 * round(options.window_s * FRAME_RATE_HZ / 4)
    recipe = replace(
        recipe,
        n_steps=options.steps or recipe.n_steps,
        n_hums=options.hums,
        without=options.without,
        tracked_song_share=options.tracked,
        average_share=options.average,
        windows=replace(recipe.windows, window_s=n_frames / FRAME_RATE_HZ),
        network=replace(recipe.network, n_frames=n_frames, channels=options.channels),
    )
    return smoke(recipe) if options.smoke else recipe


def train_melody(options: argparse.Namespace) -> None:
    """Train the melody encoder, or continue."""
    excluded = frozenset[str]().union(*map(read_ids, options.exclude))
    pool = MelodyPool(options.melodies, excluded, N_SMOKE_MELODIES if options.smoke else None)
    written = MelodyEncoder.load(options.written) if options.written else None
    run = TrainingRun(pool, recipe_of(options), options.seed, options.out, written)
    learner, n_steps = run.learner, run.learner.recipe.n_steps
    n_windows = len(run.validations["validation_top1"].song)
    print(
        f"{run.n_learned} melodies to train on, {run.n_held_out} held out with {n_windows} windows; "
        f"{sum(p.numel() for p in learner.network.parameters()):,} parameters on {learner.device}; "
        f"step {learner.step} of {n_steps}",
        file=sys.stderr,
    )
    steps = run.steps(options.workers)
    for line in tqdm(steps, initial=learner.step, total=n_steps, unit=" steps", mininterval=5.0):
        if line is not None:
            tqdm.write(json.dumps(line), file=sys.stderr)


def train_mel(options: argparse.Namespace) -> None:
    """Train the network of the first source system, or continue."""
    recipe = MelRecipe(options.epochs, n_clips=options.n_clips, n_held_out_songs=options.held_out_songs)
    with tqdm(unit=" hums", mininterval=5.0) as bar:

        def show(n_learned: int, n_hums: int, loss: float) -> None:
            bar.total = n_hums
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(n_learned - bar.n)

        clips = ClipSet.open(options.clips)
        train_conv_subnet(clips, SMOKE if options.smoke else recipe, options.seed, options.out, show)


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
