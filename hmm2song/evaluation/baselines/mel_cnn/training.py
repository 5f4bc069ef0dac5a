"""The recipe of the first source system: teach the network with triplets of clips.

A hum A is one of the five filters of a clip, P the clip itself, N another clip, which as in the source may be of the
same song. Adam at 1e-3, 64 triplets a step, five epochs, a checkpoint after each.

What is held out
----------------
Of every clip one filter, drawn by the seed, is never trained on. This is the source system's own test, in which the
clip and the other four filters *are* trained on. Whole songs can be held out as well, which the source did not do.

Two differences from the source do not change what is learned: N is drawn among the clips of the batch's part, not among
all, which saves a third of the embeddings; convolutions run in bfloat16, distances in float32.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from hmm2song.errors import ModelError
from hmm2song.evaluation.baselines.mel_cnn.clips import KINDS, ClipSet
from hmm2song.evaluation.baselines.mel_cnn.network import DIM, N_CHANNELS, ConvSubnet, as_tensor, triplet_loss
from hmm2song.training.snapshot import LOG_FILE, SNAPSHOT_FILE, Snapshot, log

HUM_KINDS = KINDS[1:]
"""The five filters that stand for hums."""
N_TRIPLETS_AT_ONCE = 16
"""Of a batch: the activations of all 64 would take 4 GB."""


@dataclass(frozen=True)
class MelRecipe:
    """Everything that, with the seed, decides what is learned."""

    n_epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 1e-3
    n_clips: int | None = None  # a random subset; None takes all
    n_held_out_songs: int = 0


SMOKE = MelRecipe(n_epochs=2, n_clips=2)
"""Two epochs of one small step, to see that it runs."""


@dataclass(frozen=True, eq=False)
class Split:
    """Clips in use, each array (n,): their numbers, whether their song is held out, and the filter held out."""

    clips: np.ndarray
    is_of_held_out_song: np.ndarray
    held_out_kind: np.ndarray  # position in HUM_KINDS

    def hums_to_learn(self) -> np.ndarray:
        """Return (n, 2): number of the clip and position in HUM_KINDS of every hum that may be trained on."""
        learned = ~self.is_of_held_out_song
        pairs = zip(self.clips[learned], self.held_out_kind[learned], strict=True)
        return np.array(
            [(clip, kind) for clip, left_out in pairs for kind in range(len(HUM_KINDS)) if kind != left_out], dtype=int
        ).reshape(-1, 2)


def split_clips(clips: ClipSet, recipe: MelRecipe, seed: int) -> Split:
    """Choose what is used and what is held out; raises ModelError if no two clips are left to train on."""
    rng = np.random.default_rng(seed)
    n_songs, n_clips = len(clips.songs), len(clips)
    held_out_songs = rng.permutation(n_songs)[: recipe.n_held_out_songs]
    held_out_kind = rng.integers(len(HUM_KINDS), size=n_clips)
    chosen = np.sort(rng.permutation(n_clips)[: recipe.n_clips])
    split = Split(chosen, np.isin(clips.clip_song[chosen], held_out_songs), held_out_kind[chosen])
    if np.count_nonzero(~split.is_of_held_out_song) < 2:
        raise ModelError(
            f"{len(chosen)} clips of {n_songs} songs, {recipe.n_held_out_songs} of them held out, leave no two clips "
            "to train on; use more clips or hold out fewer songs"
        )
    return split


def train_conv_subnet(
    clips: ClipSet, recipe: MelRecipe, seed: int, out: Path, progress: Callable[[int, int, float], None] | None = None
) -> ConvSubnet:
    """Train, or continue after the last whole epoch; an interrupted run ends with the same network.

    ``out`` gets a network after every epoch (``epoch_1``, ...), the last of them also at its top, and the log.
    ``progress`` is called after every step with the number of hums learned, of how many, and the loss of the step.

    Raises ModelError if there are too few clips, or ``out`` holds a damaged run or one of another recipe.
    """
    learner = MelLearner(clips, recipe, seed)
    out.mkdir(parents=True, exist_ok=True)
    snapshot = out / SNAPSHOT_FILE
    if snapshot.exists():
        learner.resume(snapshot)
    if learner.epoch > recipe.n_epochs:
        raise ModelError(
            f"{out} was trained for {learner.epoch} epochs, {recipe.n_epochs} are asked for; "
            f"take epoch_{recipe.n_epochs} in it, or choose another folder"
        )
    n_hums = len(learner.hums)
    while learner.epoch < recipe.n_epochs:
        started_s, losses, n_before = time.perf_counter(), [], learner.epoch * n_hums
        for n_learned, loss in learner.learn_epoch():
            losses.append(loss)
            if progress:
                progress(n_before + n_learned, recipe.n_epochs * n_hums, loss)
        seconds = round(time.perf_counter() - started_s, 1)
        log(out / LOG_FILE, {"epoch": learner.epoch, "loss": round(float(np.mean(losses)), 4), "seconds": seconds})
        learner.network.save(out / f"epoch_{learner.epoch}")
        learner.network.save(out)
        learner.save(snapshot)
    return learner.network.eval()


class MelLearner:
    """Network, optimiser and progress, which are saved and continued together."""

    def __init__(self, clips: ClipSet, recipe: MelRecipe, seed: int) -> None:
        self.recipe, self.seed = recipe, seed
        self.hums = split_clips(clips, recipe, seed).hums_to_learn()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = ConvSubnet.untrained(seed).to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self.epoch = 0
        self._clips = clips

    def learn_epoch(self) -> Iterator[tuple[int, float]]:
        """Learn every hum once; yield, step by step, how many were learned and the loss."""
        self.network.train()
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.hums)
        for at in range(0, len(order), self.recipe.batch_size):
            batch = order[at : at + self.recipe.batch_size]
            yield at + len(batch), self._learn(batch, rng)
        self.epoch += 1

    def save(self, path: Path) -> None:
        """Write a snapshot; a crash while writing leaves the former one."""
        told = {"recipe": self._told_recipe(), "epoch": str(self.epoch)}
        Snapshot.of(self.network, self.optimizer, told).save(path)

    def resume(self, path: Path) -> None:
        """Continue from a snapshot of the same recipe, seed and clips; raises ModelError."""
        snapshot = Snapshot.load(path)
        if snapshot.told.get("recipe") != self._told_recipe():
            raise ModelError(f"{path} is of another recipe, seed or dataset; delete it or choose another folder")
        snapshot.restore(self.network, self.optimizer)
        self.epoch = int(snapshot.told["epoch"])

    def _learn(self, batch: np.ndarray, rng: np.random.Generator) -> float:
        """Take one step on hums (n, 2) and return its loss."""
        self.optimizer.zero_grad()
        loss = 0.0
        for part in np.array_split(batch, -(-len(batch) // N_TRIPLETS_AT_ONCE)):
            share = self._loss(part, rng) * (len(part) / len(batch))
            share.backward()
            loss += share.item()
        self.optimizer.step()
        return loss

    def _loss(self, part: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        own = part[:, 0]
        others = draw_others(own, self.hums[:, 0], rng)
        originals, places = np.unique(np.concatenate((own, others)), return_inverse=True)
        spectrograms = np.concatenate(
            ([self._clips.kind(HUM_KINDS[kind])[clip] for clip, kind in part], self._clips.kind("org")[originals])
        )
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            rows = self.network(as_tensor(spectrograms).to(self.device))
        embedded = rows.reshape(-1, N_CHANNELS, DIM)
        of_hums, of_originals = embedded[: len(part)], embedded[len(part) :]
        first, second = of_originals[places[: len(part)]], of_originals[places[len(part) :]]
        return triplet_loss(*(vectors.reshape(-1, DIM) for vectors in (of_hums, first, second)))

    def _told_recipe(self) -> str:
        recipe = asdict(self.recipe)
        del recipe["n_epochs"]  # no step depends on how many will follow, so epochs can be added later
        return json.dumps({"seed": self.seed, "dataset": self._clips.about["files"], **recipe})


def draw_others(own: np.ndarray, clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw for each clip of ``own`` (n,) another one among them; where they are all the same, among ``clips``."""
    pool = np.unique(own)
    pool = pool if len(pool) > 1 else np.unique(clips)
    return np.array([rng.choice(pool[pool != clip]) for clip in own])
