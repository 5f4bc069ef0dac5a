#!/usr/bin/env python
"""Let the simulated singer hum songs: recordings and a query table for scripts/evaluate.py.

    python scripts/simulate_hums.py --songs songs.jsonl --out hums --per-song 20 --shortest 8 --longest 12

Every song (JSON lines with `id` and `notes`) is hummed some times, at random places, by men and women who err like real
people (hmm2song/training/singer.py). Writes `<song>_<number>.flac` and `queries.csv` with the columns file, song_id,
singer, start_s, seconds. The same seed gives the same hums; what is there already is not made again.
"""

from __future__ import annotations

import argparse
import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
import soundfile as sf
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.melody.scores import read_rows
from hmm2song.script import GOES_ON, main_of
from hmm2song.training.singer import FEMALE, Singer
from hmm2song.training.voice import hum_audio

SINGERS = {"man": Singer(), "woman": FEMALE}


def run(options: argparse.Namespace) -> None:
    """Hum the songs and write the table."""
    songs = [(str(row["id"]), row["notes"]) for _, row in read_rows(options.songs, "id", "notes")]
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [row for song_id, notes in tqdm(songs, unit=" songs") for row in hum_song(song_id, notes, options)]
    if not rows:
        raise Hmm2SongError("no song could be hummed; give longer songs or shorter hums")
    pandas.DataFrame(rows).to_csv(options.out / "queries.csv", index=False)
    print(f"{len(rows)} hums of {len(songs)} songs in {options.out}")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=Path, required=True, help="songs as JSON lines with id and notes")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--per-song", type=int, default=20, metavar="N")
    parser.add_argument("--shortest", type=float, default=8.0, metavar="SECONDS")
    parser.add_argument("--longest", type=float, default=12.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if not 1.0 <= options.shortest <= options.longest <= 60.0:
        parser.error("--shortest and --longest must be in order and from 1 to 60 seconds")
    return options


def hum_song(song_id: str, notes: list, options: argparse.Namespace) -> list[dict]:
    """Hum one song some times and return the rows for the query table."""
    slug = re.sub(r"[^\w-]+", "_", song_id)[:80]
    rows = []
    for number in range(options.per_song):
        rng = np.random.default_rng([options.seed, zlib.crc32(song_id.encode()), number])
        kind = rng.choice(list(SINGERS))
        duration_s = rng.uniform(options.shortest, options.longest)
        try:
            performance, samples = hum_audio(notes, SINGERS[kind], rng, duration_s=duration_s)
        except MelodyError as error:
            print(f"simulate_hums.py: skipped {song_id!r:.80}: {error}", file=sys.stderr)
            continue
        path = options.out / f"{slug}_{number:02d}.flac"
        if not path.exists():
            sf.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        rows.append(
            {
                "file": path.name, "song_id": song_id, "singer": f"{kind}-{slug}-{number}",
                "start_s": round(performance.start_s, 2), "seconds": round(len(samples) / SAMPLE_RATE_HZ, 2),
            }
        )  # fmt: skip
    return rows


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
