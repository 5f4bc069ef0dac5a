#!/usr/bin/env python
"""Measure how fast recordings become a catalog: multiples of real time per core, and the gain of a second worker.

    python scripts/studies/benchmark_index.py --music my-music --workers 1 2
    python scripts/studies/benchmark_index.py --music my-music --seconds 60 --separator onnx:htdemucs.onnx \
        --json figures.json

First each step is measured alone, on one core: separation, decoding, pitch (f0 and what is made of it), windows and
embeddings, what the recording sounds like. Then `index` is measured as the command line runs it, with the start of its
processes, for each number of workers. Without --music, songs are synthesised. Wall time and CPU time are printed; on a
busy machine only the CPU time is meaningful. The last line says what a million songs of four minutes would take at this
speed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio, load_recording
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import default_encoder
from hmm2song.errors import Hmm2SongError
from hmm2song.hearing.recording import hear_samples
from hmm2song.indexing.build import IndexOptions, index
from hmm2song.indexing.extract import MAX_RECORDING_BYTES
from hmm2song.indexing.separation.separation import open_separator
from hmm2song.indexing.sources import list_source
from hmm2song.indexing.vocal_melody import vocal_melody
from hmm2song.machine import n_cores
from hmm2song.melody.melody import MAX_SONG_S
from hmm2song.script import main_of, output_file, write_json
from hmm2song.song import Song

MILLION_SONGS_H = 1e6 * 240 / 3600
SYNTHETIC_SONGS, SYNTHETIC_S = 8, 120.0


@dataclass(frozen=True)
class Speed:
    """A step: seconds of sound, wall and CPU seconds, and the sound's length as a multiple of each."""

    step: str
    sound_s: float
    wall_s: float
    cpu_s: float
    x_real_time: float
    x_real_time_per_core: float


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, metavar="FOLDER", help="recordings (default: songs synthesised here)")
    parser.add_argument("--seconds", type=float, metavar="S", help="use only so much of each recording, as WAV")
    parser.add_argument("--separator", default="none", metavar="SPEC", help="as for `index` (default: none)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Measure in a temporary folder, and write the figures."""
    with tempfile.TemporaryDirectory(prefix="hmm2song-benchmark-") as folder:
        speeds = measure(options, Path(folder))
    write_json(options.json, {"separator": options.separator, "speeds": [asdict(speed) for speed in speeds]})


def measure(options: argparse.Namespace, folder: Path) -> list[Speed]:
    """Measure and print everything."""
    print(f"{n_cores()} cores, load before the run {os.getloadavg()[0]:.1f}, separator {options.separator}")
    music = options.music or synthesised(folder / "songs")
    if options.seconds:
        music = shortened(music, folder / "short", options.seconds)
    recordings = [item.file for item in list_source(music).items if item.is_recording]
    if not recordings:
        raise Hmm2SongError(f"{str(music)!r} holds no recording; choose another folder")
    sound_s = sum(len(load_audio(file, MAX_SONG_S, MAX_RECORDING_BYTES)) / SAMPLE_RATE_HZ for file in recordings)
    print(f"{len(recordings)} recordings, {sound_s / 60:.1f} minutes")
    speeds = measure_parts(recordings, options.separator, folder, sound_s)
    speeds += [measure_whole(music, options.separator, n, folder, sound_s) for n in options.workers]
    core_hours = MILLION_SONGS_H / speeds[-1].x_real_time_per_core
    print(f"a million songs of four minutes at this speed: {core_hours:,.0f} core-hours")
    return speeds


def measure_parts(recordings: list[Path], separator_spec: str, folder: Path, sound_s: float) -> list[Speed]:
    """Measure each step on one core."""
    separator, encoder = open_separator(separator_spec), default_encoder()
    warm = vocal_melody(separator.separate(recordings[0], folder / "warm"), recordings[0]).melody
    Catalog.build([Song("warm", "warm")], [warm], encoder)
    clock = Clock()
    stems = [
        separator.separate(file, folder / "stems" / str(number))
        for number, file in enumerate(tqdm(recordings, desc="separating", file=sys.stderr, disable=None))
    ]
    separating = clock.speed("separation", sound_s)
    clock = Clock()
    for parts in tqdm(stems, desc="decoding", file=sys.stderr, disable=None):
        load_audio(parts.vocals, MAX_SONG_S, MAX_RECORDING_BYTES)
    decoding = clock.speed("decoding", sound_s)
    clock = Clock()
    melodies = [
        vocal_melody(parts, file).melody
        for parts, file in zip(tqdm(stems, desc="melodies", file=sys.stderr, disable=None), recordings, strict=True)
    ]
    hearing = clock.speed("decoding and vocal melody", sound_s)
    heard = [melody for melody in melodies if melody.voiced.any()]
    songs = [Song(str(number), str(number)) for number in range(len(heard))]
    clock = Clock()
    Catalog.build(songs, heard, encoder)
    embedding = clock.speed("windows and embeddings", sound_s)
    hear_samples(load_recording(recordings[0]))
    clock = Clock()
    for file in tqdm(recordings, desc="listening", file=sys.stderr, disable=None):
        hear_samples(load_recording(file))
    listening = clock.speed("decoding and listening", sound_s)
    analysis = summed("f0, windows, embeddings", sound_s, [(hearing, 1), (decoding, -1), (embedding, 1)])
    listened = summed("listening", sound_s, [(listening, 1), (decoding, -1)])
    everything = summed("all of it", sound_s, [(separating, 1), (hearing, 1), (embedding, 1), (listened, 1)])
    return [separating, decoding, hearing, embedding, listening, analysis, listened, everything]


def summed(step: str, sound_s: float, parts: list[tuple[Speed, int]]) -> Speed:
    """Print and return the speed of several steps together; a factor of -1 takes one away."""
    wall_s = sum(factor * part.wall_s for part, factor in parts)
    cpu_s = sum(factor * part.cpu_s for part, factor in parts)
    return shown(Speed(step, *multiples(sound_s, wall_s, cpu_s)))


def measure_whole(music: Path, separator_spec: str, workers: int, folder: Path, sound_s: float) -> Speed:
    """Measure the whole command, processes included."""
    clock = Clock()
    index(music, folder / f"catalog-{workers}", default_encoder(), workers, options=IndexOptions(separator_spec))
    return clock.speed(f"index, {workers} worker{'s' if workers > 1 else ''}", sound_s)


class Clock:
    """Wall and CPU time since it was made, processes that have ended included."""

    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.perf_counter(), cpu_seconds()

    def speed(self, step: str, sound_s: float) -> Speed:
        """Print and return how fast a step was."""
        wall_s, cpu_s = time.perf_counter() - self._wall_s, cpu_seconds() - self._cpu_s
        return shown(Speed(step, *multiples(sound_s, wall_s, cpu_s)))


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those it has waited for."""
    return sum(os.times()[:4])


def multiples(sound_s: float, wall_s: float, cpu_s: float) -> list[float]:
    """Return the figures of a step, rounded."""
    wall_s, cpu_s = max(wall_s, 1e-3), max(cpu_s, 1e-3)
    return [round(sound_s, 1), round(wall_s, 3), round(cpu_s, 3), round(sound_s / wall_s, 1), round(sound_s / cpu_s, 1)]


def shown(speed: Speed) -> Speed:
    """Print a step and return it."""
    print(
        f"{speed.step:28} {speed.x_real_time:9.1f} x real time, {speed.x_real_time_per_core:9.1f} x per core "
        f"({speed.wall_s:.1f} s wall, {speed.cpu_s:.1f} s CPU)",
        flush=True,
    )
    return speed


def synthesised(folder: Path) -> Path:
    """Write songs of random notes over noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(SYNTHETIC_SONGS):
        notes = np.repeat(rng.integers(55, 72, int(SYNTHETIC_S / 0.4)), int(0.4 * SAMPLE_RATE_HZ))
        phase = 2 * np.pi * np.cumsum(440.0 * 2 ** ((notes - 69) / 12)) / SAMPLE_RATE_HZ
        samples = sum(np.sin(harmonic * phase) / harmonic for harmonic in (1, 2, 3)) + rng.normal(0, 0.05, len(phase))
        soundfile.write(folder / f"{number}.flac", 0.2 * samples, SAMPLE_RATE_HZ)
    return folder


def shortened(music: Path, folder: Path, seconds: float) -> Path:
    """Write the first seconds of each recording: separating whole ones takes long."""
    folder.mkdir()
    for number, item in enumerate(item for item in list_source(music).items if item.is_recording):
        samples = load_audio(item.file, MAX_SONG_S, MAX_RECORDING_BYTES)[: int(seconds * SAMPLE_RATE_HZ)]
        soundfile.write(folder / f"{number:03d} {item.file.stem}.wav", samples, SAMPLE_RATE_HZ)
    return folder


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
