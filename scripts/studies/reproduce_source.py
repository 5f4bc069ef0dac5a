#!/usr/bin/env python
"""Reproduce the first source system: its own test, and tests that a hum would have to pass (docs/source-system.md).

    python scripts/studies/reproduce_source.py --clips DATASET --out reproduced
    python scripts/studies/reproduce_source.py --clips DATASET --out reproduced \
        --hums hums/queries.csv --songs songs.jsonl

DATASET is what scripts/build_dataset.py made of recordings. The network is trained as by scripts/train.py --recipe mel
(or continued, or taken as it is when finished); then the tables are printed as Markdown and written to OUT/report.json.

--hums adds hums of the recordings, --songs says what they were hummed from; the melody engine of this package searches
the same hums among those songs. --people adds recordings of people and --people-songs the notes of what they sang,
which are sung by a flawless simulated voice and become a dataset of their own. scripts/evaluate.py measures both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas
import soundfile
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import Hmm2SongError
from hmm2song.evaluation.accuracy import retrieval_scores
from hmm2song.evaluation.baselines.mel_cnn.clips import DATASET_FILE, ClipSet
from hmm2song.evaluation.baselines.mel_cnn.engine import raw_log_mel
from hmm2song.evaluation.baselines.mel_cnn.network import DISTANCES, ConvSubnet
from hmm2song.evaluation.baselines.mel_cnn.training import HUM_KINDS, MelRecipe, Split, split_clips, train_conv_subnet
from hmm2song.melody.scores import read_rows
from hmm2song.script import GOES_ON, interval_text, main_of, markdown_table, positive, progress, write_json
from hmm2song.song import Song
from hmm2song.training.singer import FLAWLESS
from hmm2song.training.voice import hum_audio

SCRIPTS = Path(__file__).resolve().parents[1]
PLAIN_VOICE = replace(FLAWLESS, timbres=("la",), snr_db=(60.0, 60.0), reverb_db=(-60.0, -60.0))
MODEL, PEOPLE = "model", "people"
UNTRAINED_SEEDS = range(4)
"""Inference reads one channel of 256, and chance decides whether that one lets anything through."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """Filtered clips to look up: clip and filter (position in HUM_KINDS) of each, shape (n,)."""

    clips: np.ndarray
    kinds: np.ndarray


def run(options: argparse.Namespace) -> None:
    """Train and measure, write the report and print its tables."""
    report = reproduce(options)
    write_json(options.out / "report.json", report)
    print("\n\n".join(markdown(report)))


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, metavar="DATASET", help="recordings as clips")
    parser.add_argument("--out", type=Path, required=True, help="folder for the network and the report")
    parser.add_argument("--epochs", type=positive, default=MelRecipe.n_epochs, help="default 5")
    parser.add_argument("--n-clips", type=positive, help="train and test with so many random clips instead of all")
    parser.add_argument("--held-out-songs", type=positive, default=3, metavar="N", help="never trained on (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hums", type=Path, metavar="CSV", help="hums of the recordings: file,song_id")
    parser.add_argument("--songs", type=Path, metavar="JSONL", help="notes of the recordings, for the melody engine")
    parser.add_argument("--people", type=Path, metavar="CSV", help="hums of other songs: file,song_id")
    parser.add_argument("--people-songs", type=Path, metavar="JSONL", help="notes of those songs")
    parser.add_argument("--limit", type=positive, default=200, help="use so many random hums of people (default 200)")
    options = parser.parse_args(arguments)
    if bool(options.hums) != bool(options.songs) or bool(options.people) != bool(options.people_songs):
        parser.error("--hums goes with --songs, and --people with --people-songs")
    return options


def reproduce(options: argparse.Namespace) -> dict:
    """Train, measure, and return all figures as plain JSON types."""
    clips = ClipSet.open(options.clips)
    recipe = MelRecipe(options.epochs, n_clips=options.n_clips, n_held_out_songs=options.held_out_songs)
    model = options.out / MODEL
    train(clips, recipe, options.seed, model)
    split = split_clips(clips, recipe, options.seed)
    tests = {"own": seen_test(split), "held_out": held_out_test(split)}
    report = {"recipe": {"seed": options.seed, **asdict(recipe)}, "about": about(clips, split)}
    report |= measure(clips, tests, model)
    if options.hums:
        report["hums"] = compare(options.out / "hums", options.hums, options.clips, options.songs, model)
    if options.people:
        sung = sung_clips(options.people_songs, options.out / PEOPLE)
        report[PEOPLE] = compare(
            options.out / PEOPLE, options.people, sung, options.people_songs, model, "--limit", str(options.limit)
        )
    return report


def train(clips: ClipSet, recipe: MelRecipe, seed: int, model: Path) -> None:
    """Train the network, or take it as it is."""
    with progress("training", "hums") as show:
        train_conv_subnet(clips, recipe, seed, model, lambda n_learned, n_hums, _: show(n_learned, n_hums))


# The source system's test, and the same with songs held out ------------------------------------------------


def seen_test(split: Split) -> Lookup:
    """Return the filter held out of every clip that was trained on: its clip and its siblings were seen."""
    seen = ~split.is_of_held_out_song
    return Lookup(split.clips[seen], split.held_out_kind[seen])


def held_out_test(split: Split) -> Lookup:
    """Return all filters of the clips of songs never trained on."""
    clips = split.clips[split.is_of_held_out_song]
    return Lookup(clips.repeat(len(HUM_KINDS)), np.tile(np.arange(len(HUM_KINDS)), len(clips)))


def about(clips: ClipSet, split: Split) -> dict:
    """Say what was used."""
    held_out = np.unique(clips.clip_song[split.clips[split.is_of_held_out_song]])
    return {
        "n_songs": len(clips.songs),
        "n_clips": len(clips),
        "n_clips_used": len(split.clips),
        "n_hums_learned": len(split.hums_to_learn()),
        "held_out_songs": [clips.songs[song].id for song in held_out],
        "dataset": {name: clips.about.get(name) for name in ("rule", "separator")},
    }


def measure(clips: ClipSet, tests: dict[str, Lookup], model: Path) -> dict:
    """Look the filtered clips up by their raw spectrograms, with untrained networks, and with the trained one."""
    figures = {
        name: {"n": len(test.clips), "chance": chance(clips, test), "rows": [], "by_filter": {}}
        for name, test in tests.items()
    }
    embeddings = {
        "raw log-mel": (raw_log_mel, tuple(DISTANCES)),
        **{f"untrained, seed {seed}": (ConvSubnet.untrained(seed).embed, ("l2",)) for seed in UNTRAINED_SEEDS},
        "trained": (ConvSubnet.load(model).embed, tuple(DISTANCES)),
    }
    for label, (embed, distances) in embeddings.items():
        with progress(label, "clips", len(clips)) as show:
            gallery = embed(clips.kind("org"), show)
        for name, test in tests.items():
            vectors = embed(pictures(clips, test), None)
            for distance in distances:
                row = row_of(clips, test, DISTANCES[distance](vectors, gallery), label, distance)
                figures[name]["rows"].append(row)
            found = DISTANCES["l2"](vectors, gallery).argmin(axis=1)
            figures[name]["by_filter"][label] = by_filter(test, found == test.clips)
    return figures


def pictures(clips: ClipSet, test: Lookup) -> np.ndarray:
    """Return what is to be looked up, (n, 128, 431)."""
    return np.stack([clips.kind(HUM_KINDS[kind])[clip] for clip, kind in zip(test.clips, test.kinds, strict=True)])


def by_filter(test: Lookup, right: np.ndarray) -> dict[str, float]:
    """Return the share of the right ones for each filter that occurs."""
    shares = {kind: right[test.kinds == number] for number, kind in enumerate(HUM_KINDS)}
    return {kind: round(float(hits.mean()), 4) for kind, hits in shares.items() if len(hits)}


def row_of(clips: ClipSet, test: Lookup, nearness: np.ndarray, embedding: str, distance: str) -> dict:
    """Score distances (n, n_clips): how often the nearest clip, of all or in the bucket, is right or of the song."""
    row: dict = {"embedding": embedding, "distance": distance}
    for suffix, left in (("", True), ("_in_bucket", buckets(clips, test))):
        found = np.where(left, nearness, np.inf).argmin(axis=1)
        for name, hit in (
            ("clip", found == test.clips),
            ("song", clips.clip_song[found] == clips.clip_song[test.clips]),
        ):
            row[name + suffix] = retrieval_scores(hit.astype(int)).top1.to_dict()
    return row


def buckets(clips: ClipSet, test: Lookup) -> np.ndarray:
    """Tell for every hum which clips its filter leaves, (n, n_clips): songs of just its genre text and gender."""
    labels = np.array([f"{song.genre}|{song.gender}" for song in clips.songs])[clips.clip_song]
    return labels[test.clips][:, None] == labels


def chance(clips: ClipSet, test: Lookup) -> dict[str, float]:
    """Return how often a clip drawn at random would be right."""
    same_song = clips.clip_song[test.clips][:, None] == clips.clip_song
    figures = {}
    for suffix, left in (("", np.ones_like(same_song)), ("_in_bucket", buckets(clips, test))):
        figures[f"clip{suffix}"] = float(np.mean(1 / left.sum(axis=1)))
        figures[f"song{suffix}"] = float(np.mean((same_song & left).sum(axis=1) / left.sum(axis=1)))
    return {name: round(value, 4) for name, value in figures.items()}


# Hums ----------------------------------------------------------------------------------------------------


def compare(work: Path, queries: Path, clips: Path, songs: Path, model: Path, *options: str) -> dict[str, dict]:
    """Measure both engines on the same hums with scripts/evaluate.py."""
    work.mkdir(parents=True, exist_ok=True)
    engines = {
        "S1, raw log-mel": ("--engine", "mel", "--clips", clips, "--network", "raw"),
        "S1, untrained network": ("--engine", "mel", "--clips", clips, "--network", "untrained"),
        "S1, trained network": ("--engine", "mel", "--clips", clips, "--network", model),
        "ours, melodies of the scores": ("--songs", songs),
    }
    figures = {}
    for label, engine in engines.items():
        print(f"{queries}: {label}", file=sys.stderr)
        out = work / "evaluation.json"
        call("evaluate.py", "--queries", queries, *engine, "--json", out, *options)
        figures[label] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def sung_clips(songs: Path, work: Path) -> Path:
    """Let a flawless voice sing written songs, and return their dataset; what is there already is not made again."""
    music, dataset = work / "music", work / "clips"
    if not (dataset / DATASET_FILE).exists():
        music.mkdir(parents=True, exist_ok=True)
        rows = [row for _, row in read_rows(songs, "id", "notes")]
        table = []
        for number, row in enumerate(tqdm(rows, desc="singing", unit=" songs")):
            sing(row, music / f"{number:04d}.flac")
            table.append(Song(str(row["id"]), row.get("title", ""), row.get("artist", ""), path=f"{number:04d}.flac"))
        pandas.DataFrame([song.to_row() for song in table]).to_csv(music / "info.csv", index=False)
        call("build_dataset.py", "--source", music / "info.csv", "--out", dataset, "--workers", "1")
    return dataset


def sing(row: dict, path: Path) -> None:
    """Write the whole song as sung."""
    rng = np.random.default_rng(zlib.crc32(str(row["id"]).encode()))
    end_s = max(onset_s + duration_s for onset_s, duration_s, _ in row["notes"])
    soundfile.write(path, hum_audio(row["notes"], PLAIN_VOICE, rng, 0.0, end_s)[1], SAMPLE_RATE_HZ)


def call(script: str, *options: object) -> None:
    """Run another script; its figures go to its file, what it prints is not shown."""
    command = [sys.executable, str(SCRIPTS / script), *map(str, options)]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise Hmm2SongError(f"{script} ended with {error.returncode}, see above") from error


# Tables --------------------------------------------------------------------------------------------------

TITLES = {
    "own": "The source system's own test: {n} clips by a filter whose siblings were trained on",
    "held_out": "Songs never trained on: {n} filtered clips",
    "hums": "Hums of the recordings",
    PEOPLE: "Hums by people",
}


def markdown(report: dict) -> Iterable[str]:
    """Yield the tables."""
    told, recipe = report["about"], report["recipe"]
    yield (
        f"{told['n_songs']} songs, {told['n_clips']} clips in the gallery; {told['n_hums_learned']} hums of "
        f"{told['n_clips_used']} clips without those of {len(told['held_out_songs'])} songs learned in "
        f"{recipe['n_epochs']} epochs, seed {recipe['seed']}."
    )
    for name in ("own", "held_out"):
        yield f"**{TITLES[name].format(n=report[name]['n'])}**"
        yield clip_table(report[name])
        yield filter_table(report[name]["by_filter"])
    for name in ("hums", PEOPLE):
        if name in report:
            yield f"**{TITLES[name]}**"
            yield hum_table(report[name])


def clip_table(figures: dict) -> str:
    """Tell how often the nearest clip was right."""
    columns = ("clip", "song", "clip_in_bucket", "song_in_bucket")
    rows = [["chance", "", *(f"{figures['chance'][column]:.3f}" for column in columns)]]
    for row in figures["rows"]:
        rows.append([row["embedding"], row["distance"], *(interval_text(row[column]) for column in columns)])
    return markdown_table(["embedding", "distance", "clip", "song", "clip, in bucket", "song, in bucket"], rows)


def filter_table(figures: dict[str, dict[str, float]]) -> str:
    """Tell how often the nearest clip (L2, among all) was the right one, by filter."""
    kinds = list(next(iter(figures.values())))
    rows = [[label, *(f"{by_kind[kind]:.3f}" for kind in kinds)] for label, by_kind in figures.items()]
    return markdown_table(["right clip by L2", *kinds], rows)


def hum_table(figures: dict[str, dict]) -> str:
    """Tell how often a hum found its song."""
    first = next(iter(figures.values()))
    n_songs = first["n_songs"]
    harmonic = sum(1 / rank for rank in range(1, n_songs + 1)) / n_songs
    rows = [["chance", f"{1 / n_songs:.3f}", f"{min(10, n_songs) / n_songs:.3f}", f"{harmonic:.3f}"]]
    for label, report in figures.items():
        rows.append([label, *(interval_text(report[name]) for name in ("top1", "top10", "mrr"))])
    return markdown_table([f"{first['n']} hums, {n_songs} songs", "top-1", "top-10", "MRR"], rows)


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
