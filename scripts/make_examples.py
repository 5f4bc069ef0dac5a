#!/usr/bin/env python
"""Make the example hums of the page: tunes of the bundled songbook, sung by the simulated singer.

Writes ``<slug>.flac`` (16 kHz mono, 16 bit) per example and ``examples.json``, a list of
``{"file", "song_id", "title", "seed"}``. The same ``--seed`` gives the same files.

    python scripts/make_examples.py
    python scripts/make_examples.py --seed 7 --out /tmp/examples
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.melody.notation import abc
from hmm2song.melody.notation.parts import melody_line
from hmm2song.training.singer import FEMALE, WHISTLER, Singer
from hmm2song.training.voice import hum_audio

ASSETS = ROOT / "assets"
SONG_ID_PREFIX = "songbook_"
DURATION_S = 9.0
# an example should sound like a quiet room, and begin soon after it is played
QUIET_ROOM = {"snr_db": (28.0, 40.0), "reverb_db": (-24.0, -16.0), "lead_in_s": (0.2, 0.5), "peak_dbfs": (-6.0, -3.0)}


@dataclass(frozen=True)
class Example:
    """One example: the songbook file without ``.abc``, who hums it, and from where in the song."""

    slug: str
    singer: Singer
    start_s: float = 0.0


EXAMPLES = (
    Example("twinkle-twinkle-little-star", replace(FEMALE, timbres=("la",))),
    Example("arirang", replace(Singer(), timbres=("mm",))),
    Example("ode-to-joy", WHISTLER),
    Example("happy-birthday", replace(Singer(), timbres=("la",))),
    Example("jingle-bells", replace(FEMALE, timbres=("oo",)), start_s=24.0),
    Example("amazing-grace", replace(FEMALE, timbres=("mm",))),
)


def make_example(example: Example, songbook: Path, out: Path, seed: int) -> dict:
    """Write one example's recording and return its entry for ``examples.json``."""
    text = (songbook / f"{example.slug}.abc").read_text(encoding="utf-8")
    tune = abc.parse_tune(abc.split_tunes(text)[0])
    singer = replace(example.singer, **QUIET_ROOM)
    rng = np.random.default_rng(seed)
    _, samples = hum_audio(melody_line(tune.parts), singer, rng, start_s=example.start_s, duration_s=DURATION_S)
    path = out / f"{example.slug}.flac"
    sf.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    return {"file": path.name, "song_id": SONG_ID_PREFIX + example.slug, "title": tune.texts("T")[0], "seed": seed}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=2024, help="seed of the first example (default: %(default)s)")
    parser.add_argument("--songbook", type=Path, default=ASSETS / "songbook", help="folder of ABC tunes")
    parser.add_argument("--out", type=Path, default=ASSETS / "examples", help="folder to write to")
    args = parser.parse_args()
    missing = [example.slug for example in EXAMPLES if not (args.songbook / f"{example.slug}.abc").is_file()]
    if missing:
        parser.error(f"{args.songbook} has no {', '.join(f'{slug}.abc' for slug in missing)}")
    args.out.mkdir(parents=True, exist_ok=True)
    entries = [
        make_example(example, args.songbook, args.out, args.seed + number) for number, example in enumerate(EXAMPLES)
    ]
    index = args.out / "examples.json"
    index.write_text(json.dumps(entries, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(f"{len(entries)} examples in {args.out}")


if __name__ == "__main__":
    main()
