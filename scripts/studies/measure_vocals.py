#!/usr/bin/env python
"""Measure the melody found in recordings against notes: separated voice beside the whole mix.

    python scripts/studies/measure_vocals.py --songs songs.jsonl --recordings music --stems vocals

songs.jsonl has one song per line: `id`, `file` (in --recordings) and `notes` [[onset_s, duration_s, midi], ...].
--stems is a folder of separated voices, as for `python -m hmm2song index --separator stems:FOLDER`.

Measures are those of mir_eval.melody at 50 cents, on a grid of 40 ms: raw pitch accuracy (rpa), raw chroma accuracy
(rca), voicing recall (recall) and voicing false alarm (alarm). Notes of karaoke files lie some octaves off and a little
early as a whole; both are measured once per song, on the separated voice, and taken out (columns octave and delay).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import mir_eval
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.errors import Hmm2SongError
from hmm2song.indexing.separation.separation import FolderOfStems, NoSeparation
from hmm2song.indexing.separation.stems import Separator
from hmm2song.indexing.vocal_melody import vocal_melody
from hmm2song.melody.melody import FRAME_RATE_HZ, HOP_S, Melody, melody_from_notes
from hmm2song.melody.scores import read_rows
from hmm2song.script import main_of, markdown_table, output_file, write_json

TOLERANCE_CENTS = 50
CENTS_PER_ST = 100.0
LONGEST_DELAY_S = 0.32
"""Delays tried, either way: what karaoke players leave their users to set."""
UNVOICED_CENTS = 0.0
"""mir_eval's mark of frames without pitch."""


@dataclass(frozen=True)
class Offset:
    """By how much the notes must be moved to lie on the recording."""

    delay_s: float
    octaves: int


@dataclass(frozen=True)
class Accuracy:
    """Measures of one melody against its notes, 0 to 1."""

    rpa: float
    rca: float
    recall: float
    alarm: float


@dataclass(frozen=True)
class Row:
    """One song."""

    song_id: str
    offset: Offset
    separated: Accuracy
    mix: Accuracy
    warnings: tuple[str, ...]


def run(options: argparse.Namespace) -> None:
    """Measure every song and print the table."""
    songs = read_songs(options.songs)
    separator = FolderOfStems(options.stems)
    rows = [measure(song, options.recordings, separator) for song in tqdm(songs, unit=" songs")]
    print_table(rows)
    write_json(options.json, [asdict(row) for row in rows])


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=Path, required=True, help="JSON lines with id, file and notes")
    parser.add_argument("--recordings", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--stems", type=Path, required=True, help="folder of their separated voices")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the table as JSON")
    return parser.parse_args(arguments)


def read_songs(path: Path) -> list[dict]:
    """Return the rows, each with the melody of its notes added under ``melody``."""
    rows = read_rows(path, "id", "file", "notes")
    songs = [row | {"id": str(row["id"]), "melody": melody_from_notes(row["notes"])} for _, row in rows]
    if not songs:
        raise Hmm2SongError(f"{path} holds no song; give JSON lines with id, file and notes")
    return songs


def measure(song: dict, recordings: Path, separator: Separator) -> Row:
    """Measure both melodies of one song."""
    recording = recordings / song["file"]
    with tempfile.TemporaryDirectory() as out:
        found = vocal_melody(separator.separate(recording, Path(out)), recording)
        mix = vocal_melody(NoSeparation().separate(recording, Path(out)), recording)
    offset = best_offset(song["melody"], found.melody)
    return Row(
        song["id"],
        offset,
        accuracy(song["melody"], found.melody, offset),
        accuracy(song["melody"], mix.melody, offset),
        found.warnings,
    )


def best_offset(notes: Melody, found: Melody) -> Offset:
    """Find the delay with the best chroma accuracy and the octaves by which the notes are off there."""
    most = round(LONGEST_DELAY_S * FRAME_RATE_HZ)
    delays_s = [frames * HOP_S for frames in sorted(range(-most, most + 1), key=abs)]
    delay_s = max(delays_s, key=lambda delay_s: accuracy(notes, found, Offset(delay_s, 0)).rca)
    truth, heard = on_one_grid(notes, found, delay_s)
    both = ~np.isnan(truth) & ~np.isnan(heard)
    octaves = round(float(np.median(heard[both] - truth[both])) / 12) if both.any() else 0
    return Offset(delay_s, octaves)


def on_one_grid(notes: Melody, found: Melody, delay_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the notes, later by a delay, and the melody found: two arrays (n,) of semitones, NaN where unvoiced."""
    delay = round(delay_s * FRAME_RATE_HZ)
    truth = np.concatenate((np.full(max(0, delay), np.nan), notes.pitch_midi[max(0, -delay) :]))
    length = max(len(truth), len(found.pitch_midi))
    return tuple(
        np.concatenate((pitch_midi, np.full(length - len(pitch_midi), np.nan)))
        for pitch_midi in (truth, found.pitch_midi)
    )


def accuracy(notes: Melody, found: Melody, offset: Offset) -> Accuracy:
    """Compare a melody with notes that are moved by an offset."""
    truth, heard = on_one_grid(notes, found, offset.delay_s)
    truth = truth + 12 * offset.octaves
    voicing = (~np.isnan(truth)).astype(float), (~np.isnan(heard)).astype(float)
    cents = [np.nan_to_num(pitch_midi * CENTS_PER_ST, nan=UNVOICED_CENTS) for pitch_midi in (truth, heard)]
    melodies = (voicing[0], cents[0], voicing[1], cents[1])
    recall, alarm = mir_eval.melody.voicing_measures(*voicing)
    return Accuracy(
        rpa=float(mir_eval.melody.raw_pitch_accuracy(*melodies, cent_tolerance=TOLERANCE_CENTS)),
        rca=float(mir_eval.melody.raw_chroma_accuracy(*melodies, cent_tolerance=TOLERANCE_CENTS)),
        recall=float(recall),
        alarm=float(alarm),
    )


def print_table(rows: list[Row]) -> None:
    """Print the table for people, in Markdown."""
    names = list(Accuracy.__dataclass_fields__)
    figures = [[*asdict(row.separated).values(), *asdict(row.mix).values()] for row in rows]
    heads = [(row.song_id, f"{row.offset.delay_s:+.2f}", f"{row.offset.octaves:+d}") for row in rows]
    heads.append((f"**mean of {len(rows)}**", "", ""))
    lines = [[*head, *(f"{figure:.3f}" for figure in measured)]
             for head, measured in zip(heads, [*figures, np.mean(figures, axis=0)], strict=True)]  # fmt: skip
    print(markdown_table(["song", "delay s", "octave", *names, *(f"mix {name}" for name in names)], lines))
    for row in rows:
        for warning in row.warnings:
            print(f"{row.song_id}: {warning}")


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
