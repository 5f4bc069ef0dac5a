"""Teaching the melody encoder with pairs of windows: loss, optimiser, validation, and the run over all steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.embeddings.network import ContourNetwork, network_input, weights_of
from hmm2song.errors import Hmm2SongError
from hmm2song.training.pairs import Batch, MelodyPool, PoolMelody, batches, make_batch
from hmm2song.training.recipe import Recipe
from hmm2song.training.snapshot import LOG_FILE, SNAPSHOT_FILE, Snapshot, average, log
from hmm2song.training.tracker import tracked

VALIDATION_SEED = 12345


def contrastive_loss(hums: torch.Tensor, songs: torch.Tensor, song: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE; other windows of the same melody are no negatives, because melodies repeat themselves."""
    logits = scale * hums @ songs.T
    same_song = song[:, None] == song[None, :]
    same_song.fill_diagonal_(False)
    logits = logits.masked_fill(same_song, -1e4)
    truth = torch.arange(len(logits), device=logits.device)
    return (nn.functional.cross_entropy(logits, truth) + nn.functional.cross_entropy(logits.T, truth)) / 2


def learning_rate(step: int, recipe: Recipe) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to zero."""
    warm = min(1.0, (step + 1) / recipe.n_warmup_steps)
    return recipe.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / recipe.n_steps))


class Learner:
    """Network, the average of its weights, optimiser and progress, which are saved and continued together."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed = recipe, seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = ContourNetwork(recipe.network).to(self.device)
        self.averaged = deepcopy(self.network)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(recipe.temperature), device=self.device))
        self.optimizer = torch.optim.AdamW(
            [*self.network.parameters(), self.log_scale], lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0
        self.best = -1.0

    def learn(self, batch: Batch) -> float:
        """Take one step and return its loss."""
        self.network.train()
        hums = network_input(batch.hum_pitch_st, batch.hum_voiced)
        songs = network_input(batch.song_pitch_st, batch.song_voiced)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            embedded = self.network(torch.cat((hums, songs)).to(self.device))
        song = torch.from_numpy(batch.song).to(self.device)
        first, second = embedded.chunk(2)
        loss = contrastive_loss(first, second, song, self.log_scale.exp().clamp(max=100.0))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        average(self.averaged, self.network, max(self.recipe.average_share, 1.0 / self.step))
        return loss.item()

    def encoder(self) -> MelodyEncoder:
        """Return the encoder as it is now."""
        return MelodyEncoder(self.recipe.windows, weights_of(self.averaged), self.recipe.network)

    def save(self, path: Path) -> None:
        """Write a snapshot; a crash while writing leaves the former one."""
        told = {"recipe": self._told_recipe(), "step": str(self.step), "best": repr(self.best)}
        Snapshot.of(self._networks, self.optimizer, told, {"log_scale": self.log_scale}).save(path)

    def resume(self, path: Path) -> None:
        """Continue from a snapshot of the same recipe and seed."""
        snapshot = Snapshot.load(path)
        if snapshot.told.get("recipe") != self._told_recipe():
            raise Hmm2SongError(f"{path} is the snapshot of another recipe or seed; delete it or choose another --out")
        snapshot.restore(self._networks, self.optimizer)
        self.log_scale.data.copy_(snapshot.tensors["log_scale"])
        self.step, self.best = int(snapshot.told["step"]), float(snapshot.told["best"])

    @property
    def _networks(self) -> nn.ModuleList:
        return nn.ModuleList((self.network, self.averaged))

    def _told_recipe(self) -> str:
        return json.dumps({"seed": self.seed, **asdict(self.recipe)})


@dataclass(frozen=True, eq=False)
class Validation:
    """Hum windows of held-out melodies, and all windows of those melodies to find them in."""

    hums: Batch
    pitch_st: np.ndarray
    voiced: np.ndarray
    song: np.ndarray

    @classmethod
    def make(cls, melodies: list[PoolMelody], recipe: Recipe, is_tracked: bool = False) -> Validation:
        """Draw the same validation in every run, whatever the seed of the training; songs as written or as tracked."""
        once = replace(
            recipe, n_hums=recipe.n_validation_hums, windows_per_hum=1, noisy_song_share=0.0, tracked_song_share=0.0,
            without="",
        )  # fmt: skip
        encoder = MelodyEncoder.untrained(recipe.network, windows=recipe.windows)
        rng = np.random.default_rng(VALIDATION_SEED)
        contours = (tracked(melody.contour, rng) if is_tracked else melody.contour for melody in melodies)
        cuts = [encoder.cut(contour) for contour in contours]
        return cls(
            hums=make_batch(melodies, once, seed=VALIDATION_SEED, step=0),
            pitch_st=np.concatenate([windows.pitch_st for windows in cuts]),
            voiced=np.concatenate([windows.voiced for windows in cuts]),
            song=np.repeat(np.arange(len(melodies)), [len(windows.start_s) for windows in cuts]),
        )

    def song_top1(self, encoder: MelodyEncoder) -> float:
        """Return how often the window most like a hum's single window is of the right song."""
        hums = encoder.embed(self.hums.hum_pitch_st, self.hums.hum_voiced)
        songs = encoder.embed(self.pitch_st, self.voiced)
        return float(np.mean(self.song[np.argmax(hums @ songs.T, axis=1)] == self.hums.song))


class TrainingRun:
    """A training in a folder, from its start or its last snapshot; the folder gets the best encoder and a log.

    With ``written``, the folder gets that encoder, and what is learned as its sibling for tracked songs.
    """

    def __init__(
        self, pool: MelodyPool, recipe: Recipe, seed: int, out: Path, written: MelodyEncoder | None = None
    ) -> None:
        learned, held_out = pool.read()
        self.n_learned, self.n_held_out = len(learned), len(held_out)
        self.validations = {"validation_top1": Validation.make(held_out, recipe)}
        if recipe.tracked_song_share:
            self.validations["validation_tracked_top1"] = Validation.make(held_out, recipe, is_tracked=True)
        self.learner = Learner(recipe, seed)
        self._pool, self._out, self._written = pool, out, written
        out.mkdir(parents=True, exist_ok=True)
        if (out / SNAPSHOT_FILE).exists():
            self.learner.resume(out / SNAPSHOT_FILE)

    def steps(self, n_workers: int) -> Iterator[dict | None]:
        """Take all steps that are left; yield after each the line of the log, None if it was not validated."""
        learner, recipe = self.learner, self.learner.recipe
        started_s, losses = time.perf_counter(), []
        for batch in batches(self._pool, recipe, learner.seed, learner.step, n_workers):
            losses.append(learner.learn(batch))
            line = None
            if learner.step % recipe.validate_every == 0 or learner.step == recipe.n_steps:
                line = self._validated(float(np.mean(losses)), time.perf_counter() - started_s)
                learner.save(self._out / SNAPSHOT_FILE)
                losses.clear()
            yield line

    def _validated(self, loss: float, seconds: float) -> dict:
        """Validate, log, and keep the encoder if it is the best so far."""
        encoder = self.learner.encoder()
        top1 = {name: validation.song_top1(encoder) for name, validation in self.validations.items()}
        line = {
            "step": self.learner.step, "loss": round(loss, 4), **{name: round(each, 4) for name, each in top1.items()},
            "temperature": round((-self.learner.log_scale).exp().item(), 4), "seconds": round(seconds, 1),
        }  # fmt: skip
        log(self._out / LOG_FILE, line)
        mean_top1 = float(np.mean(list(top1.values())))
        if mean_top1 > self.learner.best:
            self.learner.best = mean_top1
            (self._written.with_tracked(encoder) if self._written else encoder).save(self._out)
        return line
