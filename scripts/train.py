#!/usr/bin/env python
"""Train the melody encoder on simulated hums of written melodies.

    python scripts/train.py --melodies pool.jsonl.gz --out assets/model

Each step takes some hundred melodies, lets the simulated singer hum a part of each, cuts windows from hum and song at
the same place and teaches the network to tell which belong together (symmetric InfoNCE). Melodies held out of the
training choose the checkpoint: hums of them are looked up among all their windows.

Only melodies that may be trained on are used: `in_benchmark` false, no research-only source, none listed in --exclude.
Every step draws its chance from the seed and the step's number, so a run that is interrupted and started again with the
same command continues as if nothing had happened (to the bit with one thread, OMP_NUM_THREADS=1; several add up in
any order). It uses a GPU if there is one.

    python scripts/train.py --recipe mel --clips DATASET --out mel_model

trains the network of the first source system instead (docs/source-system.md), on what scripts/build_dataset.py made of
recordings; it continues after the last whole epoch.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.baselines.mel_cnn.clips import ClipSet
from hmm2song.baselines.mel_cnn.training import SMOKE, MelRecipe, train_conv_subnet
from hmm2song.embeddings.contour import MelodyEncoder, WindowConfig
from hmm2song.embeddings.network import ContourNetwork, NetworkConfig, network_input
from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.melody.contour import FilledContour, fill_rests, sample_windows
from hmm2song.melody.melody import FRAME_RATE_HZ, melody_from_notes
from hmm2song.training.singer import Singer, hum_contour
from hmm2song.training.snapshot import Snapshot

VALIDATION_SEED = 12345
RESEARCH_ONLY_SOURCES = frozenset({"essen", "symbtr", "nova_scotia"})
SHORTEST_SONG_S = 6.0
"""Shorter melodies are hardly more than a window."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is learned."""

    windows: WindowConfig = field(default_factory=WindowConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    n_steps: int = 1500
    n_hums: int = 400  # per step, of as many melodies
    windows_per_hum: int = 2
    learning_rate: float = 2e-3
    n_warmup_steps: int = 100
    weight_decay: float = 0.01
    temperature: float = 0.07  # at first; it is learned
    hum_s: tuple[float, float] = (4.0, 12.0)
    min_fill: float = 0.5  # of a hum's window
    tempo_residual_log_sd: float = 0.07  # what a search over tempi leaves
    start_residual_s: float = 0.35  # what windows on a grid leave
    poor_singer_share: float = 0.3
    noisy_song_share: float = 0.15  # songs as transcribed from recordings, not written
    held_out_share: float = 0.08
    n_validation_hums: int = 600
    without: str = ""  # an effect of the singer, for ablations
    validate_every: int = 250


GOOD_SINGER = Singer()
POOR_SINGER = replace(
    GOOD_SINGER,
    interval_scale_sd=0.10,
    tempo_warp_log_sd=0.11,
    note_error_median_st=0.45,
    wrong_probability=0.08,
    dropped_probability=0.04,
    drift_sd_st_per_10s=0.9,
    octave_slip_rate_per_s=0.05,
)
"""The hums that could not be aligned are missing from the singer's statistics: a share of worse ones makes up."""

EFFECTS: dict[str, dict[str, object]] = {
    "note-errors": {"note_error_median_st": 0.0},
    "drift": {"drift_sd_st_per_10s": 0.0},
    "interval-scale": {"interval_scale_sd": 0.0},
    "local-timing": {"tempo_warp_log_sd": 0.0},
    "glides": {"glide_median_s": 0.01, "scoop_sd_st": 0.0},
    "vibrato-jitter": {"vibrato_probability": 0.0, "jitter_sd_st": 0.0},
    "gaps-breaths": {"legato_share": (1.0, 1.0), "breath_rate_per_s": 0.0},
    "wrong-notes": {"wrong_probability": 0.0, "dropped_probability": 0.0, "repeated_probability": 0.0},
    "octave-slips": {"octave_slip_rate_per_s": 0.0},
    "mid-phrase": {"phrase_start_probability": 1.0},
}
"""What the singer can do without, for ``--without``: to measure what each effect is worth."""


@dataclass(frozen=True, eq=False)
class Song:
    """A melody to learn from: its notes, to be hummed, and its contour."""

    notes: np.ndarray
    contour: FilledContour


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows that belong together, row by row; ``song`` says which rows come from one melody."""

    hum_pitch_st: np.ndarray
    hum_voiced: np.ndarray
    song_pitch_st: np.ndarray
    song_voiced: np.ndarray
    song: np.ndarray


# Melodies -----------------------------------------------------------------------------------------------


def read_ids(path: Path) -> frozenset[str]:
    """Read the ids of songs (.jsonl), or the first column of a TSV."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if path.suffix == ".jsonl":
            return frozenset(str(json.loads(line)["id"]) for line in lines if line.strip())
        return frozenset(line.split("\t")[0].strip() for line in lines)
    except (KeyError, TypeError, ValueError) as error:
        raise Hmm2SongError(f"{path.name} is no list of songs ({error!r:.100})") from error


def read_songs(path: Path, excluded: frozenset[str]) -> Iterator[tuple[str, Song]]:
    """Yield id and melody of every row that may be trained on and is long enough."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                    forbidden = row["in_benchmark"] or row["source"] in RESEARCH_ONLY_SOURCES or row["id"] in excluded
                    if forbidden or row.get("dup_of_earlier"):
                        continue
                    contour = fill_rests(melody_from_notes(row["notes"]))
                except MelodyError:
                    continue
                except (KeyError, TypeError, ValueError) as error:
                    raise Hmm2SongError(f"{path.name}, line {number} is no melody ({error!r:.100})") from error
                if contour.duration_s >= SHORTEST_SONG_S:
                    yield str(row["id"]), Song(np.asarray(row["notes"], dtype=np.float64), contour)
    except (EOFError, UnicodeDecodeError, zlib.error) as error:
        raise Hmm2SongError(f"{path.name} cannot be read ({error}); fetch it again") from error


def read_melodies(path: Path, excluded: frozenset[str], limit: int | None) -> tuple[list[Song], list[Song]]:
    """Return the melodies to train on and those held out, chosen by their ids so that every run holds out the same."""
    train, held_out = [], []
    for song_id, song in read_songs(path, excluded):
        chance = zlib.crc32(song_id.encode()) / 2**32
        chosen = held_out if chance < Recipe.held_out_share else train
        chosen.append(song)
        if limit and len(train) >= limit and len(held_out) >= 8:
            break
    if not train or not held_out:
        raise Hmm2SongError(f"{path.name} holds {len(train)} melodies to train on and {len(held_out)} to validate with")
    return train, held_out


# Windows of a hum and of its song ------------------------------------------------------------------------


def cut(contour: FilledContour, start_s: float, span_s: float, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one window (pitch_st, voiced), each (n_frames,): ``span_s`` of the contour, centred on its median."""
    return sample_windows(contour, start_s + (np.arange(n_frames) + 0.5) * (span_s / n_frames))


def transcribed(contour: FilledContour, rng: np.random.Generator) -> FilledContour:
    """Return a contour as a tracker would write it down from a recording: off by some cents, an octave, or missing."""
    n_frames = len(contour.pitch_midi)
    n_knots = n_frames // 8 + 2
    wobble_st = np.interp(np.arange(n_frames) / 8, np.arange(n_knots), 0.25 * rng.standard_normal(n_knots))
    pitch = contour.pitch_midi + wobble_st.astype(np.float32)
    voiced = contour.voiced.copy()
    for _ in range(rng.poisson(n_frames / 250)):
        start, length = rng.integers(n_frames), int(rng.uniform(3, 30))
        if rng.random() < 0.5:
            pitch[start : start + length] += rng.choice((-12.0, 12.0))
        else:
            pitch[start : start + length] = pitch[max(0, start - 1)]
            voiced[start : start + length] = False
    return FilledContour(pitch, voiced, contour.offset_s)


def window_pairs(song: Song, recipe: Recipe, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
    """Hum a part of the song and yield (hum pitch, hum voiced, song pitch, song voiced) of windows at one place."""
    singer = POOR_SINGER if rng.random() < recipe.poor_singer_share else GOOD_SINGER
    singer = replace(singer, **EFFECTS[recipe.without]) if recipe.without else singer
    performance = hum_contour(song.notes, singer, rng, duration_s=rng.uniform(*recipe.hum_s))
    hum = fill_rests(performance.melody)
    if hum.duration_s < 1.0:
        return
    written = transcribed(song.contour, rng) if rng.random() < recipe.noisy_song_share else song.contour
    hum_s, song_s = performance.hum_onset_s - hum.offset_s, performance.song_onset_s - written.offset_s
    window_s, n_frames = recipe.windows.window_s, recipe.network.n_frames
    for _ in range(recipe.windows_per_hum):
        speed = performance.tempo_ratio * math.exp(
            np.clip(recipe.tempo_residual_log_sd * rng.standard_normal(), -0.2, 0.2)
        )
        span_s = window_s / speed
        start_s = rng.uniform(0.0, max(hum.duration_s - recipe.min_fill * span_s, 0.02))
        centre_s = start_s + min(span_s, hum.duration_s - start_s) / 2
        song_centre_s = np.interp(centre_s, hum_s, song_s) + max(centre_s - hum_s[-1], 0.0) * speed
        residual_s = rng.uniform(-1.0, 1.0) * recipe.start_residual_s
        song_start_s = max(song_centre_s - (centre_s - start_s) * speed + residual_s, 0.0)
        if song_start_s < written.duration_s - 0.1 * window_s:
            yield *cut(hum, start_s, span_s, n_frames), *cut(written, song_start_s, window_s, n_frames)


def make_batch(songs: list[Song], recipe: Recipe, seed: int, step: int) -> Batch:
    """Draw the batch of a step; the same seed and step give the same batch."""
    rng = np.random.default_rng([seed, step])
    rows: list[tuple[np.ndarray, ...]] = []
    numbers: list[int] = []
    for number in rng.choice(len(songs), min(recipe.n_hums, len(songs)), replace=False):
        try:
            pairs = list(window_pairs(songs[number], recipe, rng))
        except MelodyError:
            continue  # too short a piece of this one to sing
        rows += pairs
        numbers += [int(number)] * len(pairs)
    return Batch(*(np.stack(column) for column in zip(*rows, strict=True)), np.array(numbers))


_SONGS: list[Song] = []


def _start_worker(path: Path, excluded: frozenset[str], limit: int | None) -> None:
    torch.set_num_threads(1)
    _SONGS[:] = read_melodies(path, excluded, limit)[0]


def _worker_batch(recipe: Recipe, seed: int, step: int) -> Batch:
    return make_batch(_SONGS, recipe, seed, step)


def batches(pool: ProcessPoolExecutor, recipe: Recipe, seed: int, first: int, n_ahead: int) -> Iterator[Batch]:
    """Yield the batches from step ``first`` on, made ahead by the workers."""
    waiting: list[Future[Batch]] = []
    make = partial(_worker_batch, recipe, seed)
    for step in range(first, recipe.n_steps):
        while len(waiting) < n_ahead and step + len(waiting) < recipe.n_steps:
            waiting.append(pool.submit(make, step + len(waiting)))
        yield waiting.pop(0).result()


# Learning ------------------------------------------------------------------------------------------------


def contrastive_loss(hums: torch.Tensor, songs: torch.Tensor, song: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE; other windows of the same melody are no negatives, for melodies repeat themselves."""
    logits = scale * hums @ songs.T
    same_song = song[:, None] == song[None, :]
    same_song.fill_diagonal_(False)
    logits = logits.masked_fill(same_song, -1e4)
    truth = torch.arange(len(logits), device=logits.device)
    return (nn.functional.cross_entropy(logits, truth) + nn.functional.cross_entropy(logits.T, truth)) / 2


def learning_rate(step: int, recipe: Recipe) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to nought."""
    warm = min(1.0, (step + 1) / recipe.n_warmup_steps)
    return recipe.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / recipe.n_steps))


class Learner:
    """Network, optimiser and progress, which are saved and continued together."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed = recipe, seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = ContourNetwork(recipe.network).to(self.device)
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
        return loss.item()

    def encoder(self) -> MelodyEncoder:
        """Return the encoder as it is now."""
        copy = ContourNetwork(self.recipe.network)
        copy.load_state_dict({name: tensor.cpu() for name, tensor in self.network.state_dict().items()})
        return MelodyEncoder(self.recipe.windows, copy, self.recipe.network)

    def save(self, path: Path) -> None:
        """Write a snapshot; a crash while writing leaves the former one."""
        told = {"recipe": self._told_recipe(), "step": str(self.step), "best": repr(self.best)}
        Snapshot.of(self.network, self.optimizer, told, {"log_scale": self.log_scale}).save(path)

    def resume(self, path: Path) -> None:
        """Continue from a snapshot of the same recipe and seed."""
        snapshot = Snapshot.load(path)
        if snapshot.told.get("recipe") != self._told_recipe():
            raise Hmm2SongError(f"{path} is the snapshot of another recipe or seed; delete it or choose another --out")
        snapshot.restore(self.network, self.optimizer)
        self.log_scale.data.copy_(snapshot.tensors["log_scale"])
        self.step, self.best = int(snapshot.told["step"]), float(snapshot.told["best"])

    def _told_recipe(self) -> str:
        return json.dumps({"seed": self.seed, **asdict(self.recipe)})


# Validation ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Validation:
    """Hum windows of held-out melodies, and all windows of those melodies to find them in."""

    hums: Batch
    pitch_st: np.ndarray
    voiced: np.ndarray
    song: np.ndarray

    @classmethod
    def make(cls, songs: list[Song], recipe: Recipe) -> Validation:
        """Draw the same validation in every run, whatever the seed of the training."""
        once = replace(recipe, n_hums=recipe.n_validation_hums, windows_per_hum=1, noisy_song_share=0.0, without="")
        encoder = MelodyEncoder.untrained(recipe.network, windows=recipe.windows)
        cuts = [encoder.cut(song.contour) for song in songs]
        return cls(
            hums=make_batch(songs, once, seed=VALIDATION_SEED, step=0),
            pitch_st=np.concatenate([windows.pitch_st for windows in cuts]),
            voiced=np.concatenate([windows.voiced for windows in cuts]),
            song=np.repeat(np.arange(len(songs)), [len(windows.start_s) for windows in cuts]),
        )

    def song_top1(self, encoder: MelodyEncoder) -> float:
        """Return how often the window most like a hum's single window is of the right song."""
        hums = encoder.embed(self.hums.hum_pitch_st, self.hums.hum_voiced)
        songs = encoder.embed(self.pitch_st, self.voiced)
        return float(np.mean(self.song[np.argmax(hums @ songs.T, axis=1)] == self.hums.song))


# Command line --------------------------------------------------------------------------------------------


def main() -> int:
    """Run the command line."""
    options = parse_options()
    try:
        if options.recipe == "mel":
            train_mel(options)
        else:
            train(options, recipe_of(options))
    except (Hmm2SongError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    return 0


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Return the recipe, as changed on the command line."""
    recipe = Recipe()
    n_frames = 4 * round(options.window_s * FRAME_RATE_HZ / 4)
    recipe = replace(
        recipe,
        n_steps=options.steps or recipe.n_steps,
        n_hums=options.hums,
        without=options.without,
        windows=replace(recipe.windows, window_s=n_frames / FRAME_RATE_HZ),
        network=replace(recipe.network, n_frames=n_frames, channels=options.channels),
    )
    if options.smoke:
        recipe = replace(
            recipe, n_steps=2, n_hums=8, n_validation_hums=8, validate_every=1,
            network=replace(recipe.network, channels=8, dim=16, dilations=(1, 2)),
        )  # fmt: skip
    return recipe


def positive(text: str) -> int:
    """Read a number that must be at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def parse_options() -> argparse.Namespace:
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
    parser.add_argument("--without", choices=EFFECTS, default="", help="leave out an effect of the simulated singer")
    parser.add_argument("--workers", type=positive, default=1, help="processes that hum (default 1)")
    parser.add_argument("--smoke", action="store_true", help="two steps of a tiny network, to see that it runs")
    add_mel_options(parser)
    options = parser.parse_args()
    if options.recipe == "mel" and not options.clips:
        parser.error("--recipe mel needs --clips")
    if options.recipe == "melody" and not options.melodies:
        parser.error("the following arguments are required: --melodies")
    return options


def add_mel_options(parser: argparse.ArgumentParser) -> None:
    """Add what the recipe of the first source system needs."""
    group = parser.add_argument_group("--recipe mel")
    group.add_argument("--clips", type=Path, metavar="DATASET", help="folder made by scripts/build_dataset.py")
    group.add_argument("--epochs", type=positive, default=MelRecipe.n_epochs, help="default 5")
    group.add_argument("--n-clips", type=positive, help="train on so many random clips instead of all")
    group.add_argument("--held-out-songs", type=int, default=0, metavar="N", help="never train on N random songs")


def train_mel(options: argparse.Namespace) -> None:
    """Train the network of the first source system, or continue."""
    recipe = MelRecipe(options.epochs, n_clips=options.n_clips, n_held_out_songs=options.held_out_songs)
    with tqdm(unit=" hums", mininterval=5.0) as bar:

        def show(n_learned: int, n_hums: int, loss: float) -> None:
            bar.total = n_hums
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(n_learned - bar.n)

        train_conv_subnet(
            ClipSet.open(options.clips), SMOKE if options.smoke else recipe, options.seed, options.out, show
        )


def train(options: argparse.Namespace, recipe: Recipe) -> None:
    """Train, or continue, until the last step; keep the best encoder in the output folder."""
    excluded = frozenset[str]().union(*map(read_ids, options.exclude))
    limit = 64 if options.smoke else None
    songs, held_out = read_melodies(options.melodies, excluded, limit)
    validation = Validation.make(held_out, recipe)
    learner = Learner(recipe, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    snapshot, log = options.out / "training.safetensors", options.out / "training.jsonl"
    if snapshot.exists():
        learner.resume(snapshot)
    print(
        f"{len(songs)} melodies to train on, {len(held_out)} held out with {len(validation.song)} windows; "
        f"{sum(p.numel() for p in learner.network.parameters()):,} parameters on {learner.device}; "
        f"step {learner.step} of {recipe.n_steps}",
        file=sys.stderr,
    )
    started_s, losses = time.perf_counter(), []
    initial = (options.melodies, excluded, limit)
    with ProcessPoolExecutor(options.workers, initializer=_start_worker, initargs=initial) as pool:
        source = batches(pool, recipe, options.seed, learner.step, n_ahead=2 * options.workers + 1)
        for batch in tqdm(source, initial=learner.step, total=recipe.n_steps, unit=" steps", mininterval=5.0):
            losses.append(learner.learn(batch))
            if learner.step % recipe.validate_every == 0 or learner.step == recipe.n_steps:
                report(learner, validation, log, float(np.mean(losses)), time.perf_counter() - started_s, options.out)
                learner.save(snapshot)
                losses.clear()


def report(learner: Learner, validation: Validation, log: Path, loss: float, seconds: float, out: Path) -> None:
    """Validate, write a line of the log, and keep the encoder if it is the best so far."""
    encoder = learner.encoder()
    top1 = validation.song_top1(encoder)
    line = {
        "step": learner.step, "loss": round(loss, 4), "validation_top1": round(top1, 4),
        "temperature": round((-learner.log_scale).exp().item(), 4), "seconds": round(seconds, 1),
    }  # fmt: skip
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    tqdm.write(json.dumps(line), file=sys.stderr)
    if top1 > learner.best:
        learner.best = top1
        encoder.save(out)


if __name__ == "__main__":
    sys.exit(main())
