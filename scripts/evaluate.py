#!/usr/bin/env python
"""Measure how often a hum finds its song, by the very code path of the page.

    python scripts/evaluate.py --queries Q.csv --songs S.jsonl [--songs MORE.jsonl.gz ...]
    python scripts/evaluate.py --queries Q.csv --engine mel --clips DATASET --network MODEL
    python scripts/evaluate.py similar --help    (songs like a song, by every method)

Q.csv has the columns file,song_id (others are ignored; paths are relative to the CSV; several acceptable ids are joined
by "|"). A file is any recording, or an f0 track: a CSV with the columns time_s,f0_hz where 0 or less means unvoiced.

S.jsonl has one song per line: an id and one of notes [[onset_s, duration_s, midi], ...], audio (a recording of one
voice) or f0 (an f0 track), with paths relative to the file. Rows that cannot be used are reported and skipped; queries
whose song is in no song file are reported and count as missed.

--engine mel measures the first source system instead, in the same way: DATASET is what scripts/build_dataset.py made
of recordings of the songs, MODEL what `scripts/train.py --recipe mel` made, or `untrained`, or `raw` (no network).
"""

from __future__ import annotations

import argparse
import math
import random
import runpy
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.audio import MAX_FILE_BYTES, MAX_HUM_S, SAMPLE_RATE_HZ, load_audio
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import encoder_of
from hmm2song.errors import AudioError, Hmm2SongError, MelodyError, ScoreError
from hmm2song.evaluation.accuracy import Query, rank_of, read_queries, retrieval_scores, sampled
from hmm2song.evaluation.baselines.mel_cnn.clips import ClipSet
from hmm2song.evaluation.baselines.mel_cnn.engine import MelEngine, MelResult, embedding_of
from hmm2song.evaluation.baselines.mel_cnn.mel import load_librosa
from hmm2song.evaluation.baselines.mel_cnn.network import DISTANCES
from hmm2song.indexing.report import csv_text
from hmm2song.machine import peak_memory_bytes
from hmm2song.match.results import FOUND, NONE, PERHAPS, SearchResult
from hmm2song.melody.melody import FRAME_RATE_HZ, MAX_SONG_S, Melody, melody_from_notes
from hmm2song.melody.pitch import track_pitch
from hmm2song.melody.scores import read_rows, read_scores, row_notes
from hmm2song.recognizer import MAX_TOP_K, Recognizer
from hmm2song.script import main_of, output_file, positive, progress, write_json

MEDLEY_GAP_S = 1.0
"""Silence between the melodies of a medley."""
FALSE_START_PAUSE_S = 1.5
MAX_RECORDING_BYTES = 20 * MAX_FILE_BYTES
SONG_ROW = "a song has an id and one of notes, audio, f0"


@dataclass(frozen=True)
class Outcome:
    """What became of one query."""

    query: Query
    rank: int
    seconds: float
    found: tuple[str, ...]
    probability: float
    problem: str
    level: str = NONE


@dataclass(frozen=True)
class SongMelody:
    """A song to be found; ``tracked`` says whether its melody comes from a recording or an f0 track."""

    id: str
    melody: Melody
    tracked: bool = False


def run(options: argparse.Namespace) -> None:
    """Build or load the catalog, ask the hums, and report."""
    queries = read_queries(options.queries)
    started_s = time.perf_counter()
    skipped: list[str] = []
    engine = open_engine(options, queries, skipped)
    songs = engine.songs if isinstance(engine, MelEngine) else engine.catalog.songs
    n_unanswerable = count_unanswerable(queries, {song.id for song in songs})
    if options.save:
        engine.catalog.save(options.save)
    build_seconds = time.perf_counter() - started_s
    chosen = sampled(queries, options.limit, options.seed)
    if isinstance(engine, Recognizer):
        engine.warm_up()
    outcomes = [ask(engine, query, options) for query in tqdm(chosen, desc="hums", unit=" hums")]
    report = summarise(outcomes, len(songs), build_seconds, options.seed)
    report |= {"songs_skipped": len(skipped), "queries_without_song": n_unanswerable}
    print_report(report, outcomes)
    write_json(options.json, report)
    if options.misses:
        write_misses(options.misses, outcomes)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="CSV with the columns file,song_id")
    parser.add_argument("--engine", choices=["melody", "mel"], default="melody", help="what to measure")
    parser.add_argument(
        "--songs", type=Path, action="append", default=[], help="songs as JSON lines (.gz too); repeatable"
    )
    parser.add_argument("--catalog", type=Path, help="search the songs of this catalog folder (too)")
    parser.add_argument("--drop", type=Path, metavar="TSV", help="leave out the songs whose ids are its first column")
    parser.add_argument(
        "--no-benchmark", action="store_true", help="leave out song rows marked in_benchmark: they are in another file"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="use N random queries instead of all")
    parser.add_argument("--seed", type=int, default=0, help="for --limit, --medley and the intervals (default 0)")
    parser.add_argument("--skip-start", type=float, default=0.0, metavar="SECONDS", help="drop the start of each hum")
    parser.add_argument("--keep", type=float, default=math.inf, metavar="SECONDS", help="use no more of each hum")
    parser.add_argument(
        "--false-start",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help=f"break off each hum there, pause for {FALSE_START_PAUSE_S} s and begin again",
    )
    parser.add_argument(
        "--medley", type=positive, default=1, metavar="K", help="hide each song in a track of K melodies"
    )
    parser.add_argument(
        "--fillers", type=Path, action="append", default=[], help="melodies to fill the medleys with; repeatable"
    )
    parser.add_argument("--save", type=Path, metavar="OUT", help="keep the catalog built, for --catalog another time")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    parser.add_argument("--misses", type=output_file, metavar="OUT", help="write the queries not ranked first as CSV")
    add_mel_options(parser)
    options = parser.parse_args(arguments)
    if options.engine == "mel":
        if not options.clips:
            parser.error("--engine mel needs the dataset of the songs: --clips")
        if options.songs or options.catalog or options.save or options.medley > 1:
            parser.error("--songs, --catalog, --save and --medley are for melodies; --engine mel searches --clips")
    elif not options.songs and not options.catalog:
        parser.error("give the songs with --songs, a catalog folder with --catalog, or both")
    if not options.songs and (options.drop or options.no_benchmark):
        parser.error("--drop and --no-benchmark choose among --songs")
    if options.medley > 1 and not (options.fillers and options.songs):
        parser.error("--medley needs --songs and --fillers")
    if min(options.skip_start, options.false_start, options.keep) < 0:
        parser.error("--skip-start and --false-start must not be negative")
    return options


def add_mel_options(parser: argparse.ArgumentParser) -> None:
    """Add what the engine of the first source system needs."""
    group = parser.add_argument_group("--engine mel")
    group.add_argument("--clips", type=Path, metavar="DATASET", help="folder made by scripts/build_dataset.py")
    group.add_argument(
        "--network", default="raw", metavar="MODEL", help="folder of a network, `untrained`, or `raw` (default)"
    )
    group.add_argument("--distance", choices=DISTANCES, default="l2", help="what the nearest clip is nearest by")


def open_engine(options: argparse.Namespace, queries: list[Query], skipped: list[str]) -> Recognizer | MelEngine:
    """Build or load what is to be measured; what is wrong with unusable songs goes to ``skipped``."""
    if options.engine == "mel":
        load_librosa()  # every hum needs it: better missed now than at the first one
        clips = ClipSet.open(options.clips)
        embed = embedding_of(options.network)
        with progress("gallery", "clips", len(clips)) as show:
            return MelEngine(clips, embed, options.distance, progress=show)
    if options.songs:
        return build(read_all(options, queries, skipped))
    return Recognizer.from_pretrained(options.catalog)


def read_all(options: argparse.Namespace, queries: list[Query], skipped: list[str]) -> list[SongMelody]:
    """Read the songs, hidden in medleys if so wished; what is wrong with unusable rows goes to ``skipped``."""
    songs = [
        song
        for path in options.songs
        for song in tqdm(read_songs(path, skipped, options.no_benchmark), desc=path.name, unit=" songs")
    ]
    dropped = dropped_ids(options)
    songs = [song for song in songs if song.id not in dropped]
    if options.catalog:
        catalog = Catalog.load(options.catalog, encoder_of(options.catalog))
        entries = zip(catalog.songs, catalog.melodies, catalog.tracked.tolist(), strict=True)
        songs += [SongMelody(song.id, melody, tracked) for song, melody, tracked in entries]
    if not songs:
        raise Hmm2SongError(f"no song can be used: {skipped[0] if skipped else 'the song files are empty'}")
    if options.medley > 1:
        songs = hide_in_medleys(songs, read_fillers(options, queries), options.medley, options.seed)
    return songs


def dropped_ids(options: argparse.Namespace) -> set[str]:
    """Return the ids that are to be left out."""
    if not options.drop:
        return set()
    try:
        return {line.split("\t")[0] for line in options.drop.read_text(encoding="utf-8").splitlines()}
    except (OSError, UnicodeDecodeError) as error:
        raise Hmm2SongError(f"{options.drop}: {error}; give a table whose first column holds ids") from error


def read_songs(path: Path, skipped: list[str], no_benchmark: bool) -> Iterator[SongMelody]:
    """Yield the song of every usable row of a song file; what is wrong with the others goes to ``skipped``."""

    def skip(problem: str) -> None:
        skipped.append(f"{problem}; {SONG_ROW}")
        print(f"evaluate.py: skipped {skipped[-1]}", file=sys.stderr)

    for place, row in read_rows(path, "id", on_broken=skip):
        if no_benchmark and row.get("in_benchmark"):
            continue
        try:
            melody = melody_of_row(row, path.parent)
        except Hmm2SongError as error:
            skip(f"{place}: {error}")
            continue
        if melody.voiced.any():
            yield SongMelody(str(row["id"]), melody, tracked=not row.get("notes"))
        else:
            skip(f"{place}: it has no pitch at all")


def melody_of_row(row: dict, folder: Path) -> Melody:
    """Return the melody of a song row from its notes, f0 track or recording."""
    if row.get("notes"):
        return melody_from_notes(row_notes(row))
    if row.get("f0"):
        return read_f0(folder / str(row["f0"]))
    if not row.get("audio"):
        raise MelodyError("no 'audio'")
    samples = load_audio(folder / str(row["audio"]), max_s=MAX_SONG_S, max_bytes=MAX_RECORDING_BYTES)
    return track_pitch(samples).melody


def read_f0(path: Path) -> Melody:
    """Read an f0 track (CSV time_s,f0_hz)."""
    return read_scores(path).melodies[0].melody


def count_unanswerable(queries: list[Query], song_ids: set[str]) -> int:
    """Count the queries that no song could answer; they stay, as missed, but not silently."""
    lost = [query for query in queries if song_ids.isdisjoint(query.acceptable)]
    if lost:
        example = f"the first {lost[0].name!r} -> {'|'.join(lost[0].acceptable)!r}"
        explained = f"{len(lost)} queries name a song that is in no song file, {example}"
        if len(lost) == len(queries):
            raise Hmm2SongError(f"{explained}; add the file with --songs")
        print(f"evaluate.py: {explained}; they count as missed", file=sys.stderr)
    return len(lost)


def read_fillers(options: argparse.Namespace, queries: list[Query]) -> list[Melody]:
    """Read the fillers, without those that answer a query: in the track of another song they would be found too."""
    unwanted = {song_id for query in queries for song_id in query.acceptable} | dropped_ids(options)
    return [
        song.melody
        for path in options.fillers
        for song in read_songs(path, [], options.no_benchmark)
        if song.id not in unwanted
    ]


def hide_in_medleys(songs: list[SongMelody], fillers: list[Melody], n_melodies: int, seed: int) -> list[SongMelody]:
    """Put every song at a random place in a track of ``n_melodies``, the others drawn from the fillers."""
    if len(fillers) < n_melodies - 1:
        raise Hmm2SongError(f"{len(fillers)} fillers are too few for medleys of {n_melodies}")
    rng = random.Random(seed)
    gap = np.full(round(MEDLEY_GAP_S * FRAME_RATE_HZ), np.nan, dtype=np.float32)
    tracks = []
    for song in songs:
        parts = rng.sample(fillers, n_melodies - 1)
        parts.insert(rng.randrange(n_melodies), song.melody)
        frames = [frames for part in parts for frames in (part.pitch_midi, gap)]
        tracks.append(replace(song, melody=Melody(np.concatenate(frames[:-1]))))
    return tracks


def build(songs: list[SongMelody]) -> Recognizer:
    """Make a catalog of the songs; ids that occur twice keep their first song."""
    unique = {song.id: song for song in reversed(songs)}
    melodies = {song_id: song.melody for song_id, song in unique.items()}
    tracked = {song_id for song_id, song in unique.items() if song.tracked}
    with progress("catalog", "songs", len(unique)) as show:
        return Recognizer.from_melodies(melodies, show, tracked)


def ask(engine: Recognizer | MelEngine, query: Query, options: argparse.Namespace) -> Outcome:
    """Search one hum; one that cannot be read counts as not found."""
    started_s = time.perf_counter()
    try:
        result = search(engine, query.file, options)
    except (AudioError, MelodyError, ScoreError) as error:
        return Outcome(query, 0, time.perf_counter() - started_s, (), 0.0, str(error))
    seconds = time.perf_counter() - started_s
    found = tuple(match.id for match in result.matches)
    rank = rank_of(found, query.acceptable)
    if isinstance(result, MelResult):
        return Outcome(query, rank, seconds, found, 0.0, result.message)
    probability = result.matches[0].probability if result.matches else 0.0
    problem = " ".join(advice.code for advice in result.advice)
    return Outcome(query, rank, seconds, found, probability, problem, result.level)


def search(engine: Recognizer | MelEngine, file: Path, options: argparse.Namespace) -> SearchResult | MelResult:
    """Ask the engine, with a part of the hum or a hum begun twice, if so wished."""
    skip_start_s, false_start_s, end_s = options.skip_start, options.false_start, options.skip_start + options.keep
    if file.suffix.lower() == ".csv":
        if isinstance(engine, MelEngine):
            raise AudioError(f"{file.name} is an f0 track; --engine mel needs recordings")
        hum = read_f0(file)
        pitch_midi = hum.slice_s(skip_start_s, min(end_s, hum.duration_s)).pitch_midi
        return engine.recognize_melody(
            Melody(begun_twice(pitch_midi, false_start_s, FRAME_RATE_HZ, np.nan)), top_k=MAX_TOP_K
        )
    if skip_start_s == 0 and false_start_s == 0 and end_s == math.inf:
        return engine.recognize(file, top_k=MAX_TOP_K)
    samples = load_audio(file)
    samples = samples[round(skip_start_s * SAMPLE_RATE_HZ) : round(min(end_s, MAX_HUM_S) * SAMPLE_RATE_HZ)]
    samples = begun_twice(samples, false_start_s, SAMPLE_RATE_HZ, 0.0)
    return engine.recognize((SAMPLE_RATE_HZ, samples), top_k=MAX_TOP_K)


def begun_twice(hum: np.ndarray, false_start_s: float, rate_hz: float, silence: float) -> np.ndarray:
    """Put the start of a hum, shape (n,), and a pause before it; the same hum for a false start of 0 s."""
    if false_start_s == 0:
        return hum
    pause = np.full(round(FALSE_START_PAUSE_S * rate_hz), silence, hum.dtype)
    return np.concatenate((hum[: round(false_start_s * rate_hz)], pause, hum))


def summarise(outcomes: list[Outcome], n_songs: int, build_seconds: float, seed: int) -> dict:
    """Compute the figures."""
    seconds = [outcome.seconds for outcome in outcomes]
    return {
        **retrieval_scores([outcome.rank for outcome in outcomes], seed).to_dict(),
        "n_songs": n_songs,
        "unreadable": sum(not outcome.found for outcome in outcomes),
        "levels": {level: level_counts(outcomes, level) for level in (FOUND, PERHAPS, NONE)},
        "seconds_per_query": {
            "median": round(statistics.median(seconds), 4),
            "p95": round(float(np.percentile(seconds, 95)), 4),
        },
        "build_seconds": round(build_seconds, 2),
        "peak_mb": round((peak_memory_bytes() or 0) / 2**20, 1),
    }


def level_counts(outcomes: list[Outcome], level: str) -> dict[str, int]:
    """Count the answers of a level and those of them that name the right song first."""
    chosen = [outcome for outcome in outcomes if outcome.level == level]
    return {"n": len(chosen), "right": sum(outcome.rank == 1 for outcome in chosen)}


def print_report(report: dict, outcomes: list[Outcome]) -> None:
    """Print the figures for people."""
    print(f"{report['n']} hums, {report['n_songs']} songs")
    for name, label in (("top1", "top-1"), ("top3", "top-3"), ("top10", "top-10"), ("mrr", "MRR")):
        estimate = report[name]
        print(f"{label:>7}  {estimate['value']:.3f}   95 % interval {estimate['low']:.3f} to {estimate['high']:.3f}")
    counts = (f"{level} {count['n']}, {count['right']} right" for level, count in report["levels"].items())
    print(f"best match: {'; '.join(counts)}")
    per_query = report["seconds_per_query"]
    print(f"seconds per query: median {per_query['median']:.3f}, 95th percentile {per_query['p95']:.3f}")
    print(f"catalog built in {report['build_seconds']:.1f} s; peak memory {report['peak_mb']:.0f} MB")
    if report["unreadable"]:
        first = next(outcome for outcome in outcomes if not outcome.found)
        print(
            f"{report['unreadable']} hums gave no ranking (counted as missed), e.g. {first.query.name}: {first.problem}"
        )


def write_misses(path: Path, outcomes: list[Outcome]) -> None:
    """Write the queries whose song was not first."""
    rows = [
        (each.query.name, "|".join(each.query.acceptable), each.rank or "", next(iter(each.found), ""),
         f"{each.probability:.4f}", each.problem)
        for each in outcomes
        if each.rank != 1
    ]  # fmt: skip
    head = ("file", "song_id", "rank", "found_first", "probability", "advice")
    path.write_text(csv_text([head, *rows]), encoding="utf-8", newline="")


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    if sys.argv[1:2] == ["similar"]:  # a script of its own: it asks no hums
        del sys.argv[1]
        runpy.run_path(str(Path(__file__).with_name("evaluate_similar.py")), run_name="__main__")
    sys.exit(main())
