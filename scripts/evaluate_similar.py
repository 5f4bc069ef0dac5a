#!/usr/bin/env python
"""Measure how well songs like a song are found, for every method in one table.

    python scripts/evaluate_similar.py (the same as scripts/evaluate.py similar)
    python scripts/evaluate.py similar --audio FOLDER/audio [--rivals rivals.json] [--robust 40]
        [--features features_30_sec.csv --folds artist_folds.csv] [--hums qbsh/queries.csv --work FOLDER]

Nobody has said which of the free recordings sound alike. Two facts stand in for it: a composer's pieces are alike, and
so are the pieces of one soundtrack. A query is a recording whose composer is known and has three or more of them;
measured is the share of the same composer, or soundtrack, among its five nearest. Mastering leaks into both, hence two
more columns: the soundtrack without the composer's own pieces, and the composer among the pieces of the soundtrack
alone.

Without --audio, all comes from the vectors of the bundled catalog. FOLDER is that of scripts/build_free_catalog.py; the
baselines need its recordings (what they measure is kept beside it), and so does --robust: the share of the ten nearest
that stay after MP3 at 64 kbit/s, 10 dB less, and sampling at 44.1 or 48 kHz, of recordings of at most 90 s, none of
which scripts/train_style.py learned from. rivals.json is what
scripts/studies/measure_rivals.py measured with musly and bliss.

With --features and --folds (see scripts/studies/measure_genres.py; needs requirements-studies.txt) the table has two
more columns: songs of the same genre among the five nearest of GTZAN, and the accuracy where a genre is predicted, with
songs split at random and without songs of the same artist. With --hums, scripts/train_voice.py judges singers in a
table below, by other singers than were learned from; what it computes stays in --work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save
from scipy.stats import skew

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.audio import SAMPLE_RATE_HZ, load_part, load_recording
from hmm2song.catalog import storage
from hmm2song.catalog.facets import FEEL_COLUMNS, Facets
from hmm2song.catalog.hub import assets_folder
from hmm2song.errors import CatalogError, Hmm2SongError
from hmm2song.evaluation.accuracy import Estimate, estimate
from hmm2song.evaluation.baselines.genre_features import FeatureTable, features_of
from hmm2song.evaluation.baselines.segments import SAMPLE_RATE_HZ as SEGMENTS_RATE_HZ
from hmm2song.evaluation.baselines.segments import SegmentSearch, SongSegments, segments_of
from hmm2song.hearing.recording import hear
from hmm2song.script import interval_text, main_of, markdown_table, output_file, positive, progress, write_json
from hmm2song.similar.codec_changes import learned_from
from hmm2song.similar.neighbours import FacetSpace, farness_among, sampling_order
from hmm2song.similar.songs import SimilarSongs
from hmm2song.similar.spaces import Scaling
from hmm2song.song import Song
from hmm2song.training.copies import as_mp3, short_ones

N_NEAREST = 5
N_ROBUST_NEAREST = 10
MIN_PIECES = 3
QUIETER = 10 ** (-10 / 20)
GENRE_NAMES = {"S5: cosine, unscaled": "S5, unscaled", "S5: cosine": "S5, scaled"}
"""Methods that are measured among the free recordings too, by their name in the table of genres."""
SKIPPED = {
    "audio": "the fourth and the fifth source system",
    "rivals": "musly and bliss",
    "robust": "copies",
    "features": "genres",
    "hums": "singers",
}
"""What is left out, by the option that brings it."""


@dataclass(frozen=True, eq=False)
class Method:
    """A method, the distances (n, n) it finds, and the seconds of processor time it takes for a song, if known.

    ``before_proximity`` are the distances before mutual proximity of a method that includes it.
    """

    name: str
    distance: np.ndarray
    seconds: float | None = None
    before_proximity: np.ndarray | None = None


@dataclass(frozen=True)
class Scores:
    """What a method reaches; of the columns that need more than the query's neighbours, None if nothing can be asked.

    The skew is that of how often each song is among the five nearest, before and after mutual proximity.
    """

    name: str
    composer: Estimate
    soundtrack: Estimate
    other_composers: Estimate
    within_soundtrack: Estimate
    hub_skew: float
    hub_skew_proximity: float
    composer_proximity: Estimate
    seconds: float | None

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {name: value.to_dict() if isinstance(value, Estimate) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class GenreScores:
    """How often a method is right about genres where songs are split at random, and without songs of one artist."""

    name: str
    random: Estimate
    by_artist: Estimate
    hub_skew: float | None = None

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {name: value.to_dict() if isinstance(value, Estimate) else value for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Groups:
    """Who is like whom: ``composer`` and ``soundtrack`` (n, n) say whether two songs share it; ``query`` (n,)."""

    composer: np.ndarray
    soundtrack: np.ndarray
    known: np.ndarray
    query: np.ndarray

    @classmethod
    def of(cls, songs: Sequence[Song]) -> Groups:
        """Read them off the songs; a piece by two composers is one of each."""
        composers = [frozenset(filter(None, song.author.split(" & "))) for song in songs]
        packages = np.array([song.source.rpartition(" ")[0] for song in songs])
        counts = Counter(name for names in composers for name in names)
        itself = np.eye(len(songs), dtype=bool)
        composer = np.array([[bool(some & others) for others in composers] for some in composers]) & ~itself
        query = np.array([any(counts[name] >= MIN_PIECES for name in names) for names in composers])
        known = np.array([bool(names) for names in composers])
        return cls(composer, (packages[:, None] == packages) & ~itself, known, query)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--catalog", type=Path, default=ROOT / "assets" / "free_catalog", help="catalog with facets and authors"
    )
    parser.add_argument("--audio", type=Path, metavar="FOLDER", help="the recordings, named by their ids")
    parser.add_argument("--rivals", type=Path, metavar="JSON", help="what scripts/studies/measure_rivals.py measured")
    parser.add_argument("--robust", type=positive, metavar="N", help="change N random recordings, and listen again")
    parser.add_argument("--features", type=Path, metavar="CSV", help="GTZAN's 57 features")
    parser.add_argument("--folds", type=Path, metavar="CSV", help="filename, fold and artist_group of its songs")
    parser.add_argument("--hums", type=Path, metavar="CSV", help="file,song_id,singer")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for what is computed of the hums")
    parser.add_argument("--seed", type=int, default=0, help="for the random ranking, the intervals and --robust")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    if options.robust and not options.audio:
        parser.error("--robust needs the recordings: --audio")
    if (options.features is None) != (options.folds is None) or (options.hums is None) != (options.work is None):
        parser.error("give --features with --folds, and --hums with --work")
    return options


def run(options: argparse.Namespace) -> None:
    """Measure all methods and print the table."""
    songs = SimilarSongs.load(options.catalog).songs
    facets = Facets.load(options.catalog)
    groups = Groups.of(songs)
    if facets is None or not groups.query.any():
        raise CatalogError(f"{options.catalog} has no facets, or no composer of {MIN_PIECES} recordings or more")
    methods = methods_of_vectors(songs, facets, options.seed)
    if options.audio:
        methods += methods_of_audio(songs, options.audio)
    if options.rivals:
        methods += methods_of_rivals(songs, options.rivals)
    scores = [score(method, groups, options.seed) for method in methods]
    print(f"{int(groups.query.sum())} queries among {len(songs)} recordings; 95 % intervals in brackets\n")
    genres = genre_scores(options) if options.features else []
    print(table_of(scores, genres))
    for option, what in SKIPPED.items():
        if getattr(options, option) is None:
            print(f"\nnot measured without --{option}: {what}", end="")
    print()
    print(f"\nhighest precision of the same composer that can be reached: {ceiling(groups):.2f}")
    robust = robustness(songs, facets, options) if options.robust else {}
    for name, overlap in robust.items():
        print(f"{name}: {interval_text(overlap.to_dict())} of the ten nearest stay")
    if options.hums:
        sys.stdout.flush()
        judge = [sys.executable, ROOT / "scripts" / "train_voice.py", "--hums", options.hums, "--work", options.work]
        if subprocess.run(judge).returncode:
            raise Hmm2SongError("singers were not judged; scripts/train_voice.py says above why")
    write_json(
        options.json,
        {
            "n_songs": len(songs),
            "n_queries": int(groups.query.sum()),
            "ceiling": round(ceiling(groups), 4),
            "methods": [each.to_dict() for each in scores],
            "genres": [each.to_dict() for each in genres],
            "robustness": {name: overlap.to_dict() for name, overlap in robust.items()},
        },
    )


# Methods ----------------------------------------------------------------------------------------------------------


def methods_of_vectors(songs: Sequence[Song], facets: Facets, seed: int) -> list[Method]:
    """Return the methods that need nothing but a catalog's facets."""
    n = len(songs)
    loudness = facets.feel[:, FEEL_COLUMNS.index("loudness_lufs")]
    timbre = (facets.timbre - facets.timbre.mean(axis=0, dtype=np.float64)) / facets.timbre.std(axis=0, dtype=float)
    style = unit(facets.style)
    musicnn, mfcc = cosine_distance(style - style.mean(axis=0)), cosine_distance(timbre)
    return [
        Method("random", np.random.default_rng(seed).random((n, n))),
        Method("loudness alone", np.abs(loudness[:, None] - loudness)),
        Method("MFCC", mfcc),
        Method("MusiCNN", musicnn),
        Method("0.7 MusiCNN + 0.3 MFCC", 0.7 * musicnn + 0.3 * mfcc),
        *(ours(songs, facets, facet) for facet in ("style", "feel")),
    ]


def ours(songs: Sequence[Song], facets: Facets, facet: str) -> Method:
    """Return how the product compares songs by a facet."""
    space = space_of(songs, facets, facet)
    plain = np.linalg.norm(space.vectors[:, None] - space.vectors, axis=2)
    return Method(f"ours, {facet}", space.among(np.arange(len(songs))), before_proximity=plain)


def space_of(songs: Sequence[Song], facets: Facets, facet: str) -> FacetSpace:
    """Return the songs in one facet, as the product compares them."""
    vectors, known = getattr(Scaling.of(facets.take(np.flatnonzero(facets.heard))), facet)(facets)
    return FacetSpace.of(vectors, known, sampling_order([song.id for song in songs]))


def methods_of_audio(songs: Sequence[Song], audio: Path) -> list[Method]:
    """Return the source systems' methods; what they measure in each recording is kept beside ``audio``."""

    def cut(file: Path) -> dict[str, np.ndarray]:
        return dict(vars(segments_of(load_part(file, SEGMENTS_RATE_HZ), SEGMENTS_RATE_HZ)))

    measured, seconds = measured_in("S4", songs, audio, cut)
    search = SegmentSearch([SongSegments(**arrays) for arrays in measured])
    likeness = np.array([search.songs_like(number) for number in range(len(songs))])
    heard, s5_seconds = measured_in("S5", songs, audio, lambda file: {"features": features_of(file)})
    names, genres = [song.id for song in songs], [song.genre for song in songs]
    table = FeatureTable(tuple(names), tuple(genres), np.array([each["features"] for each in heard]))
    return [
        Method("S4, segments", -likeness, seconds),
        Method("S5, unscaled", 1 - table.similarities(is_scaled=False), s5_seconds),
        Method("S5, scaled", 1 - table.similarities(), s5_seconds),
    ]


def methods_of_rivals(songs: Sequence[Song], path: Path) -> list[Method]:
    """Return the distances that other programs measured."""
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
        row = {song_id: number for number, song_id in enumerate(measured["ids"])}
        rows = [row[song.id] for song in songs]
        return [
            Method(name, np.array(each["distance"])[np.ix_(rows, rows)], each["seconds_per_song"])
            for name, each in measured["methods"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise Hmm2SongError(f"{path}: {error!r:.200}; make it with scripts/studies/measure_rivals.py") from error


def measured_in(
    name: str, songs: Sequence[Song], audio: Path, measure: Callable[[Path], dict[str, np.ndarray]]
) -> tuple[list[dict[str, np.ndarray]], float]:
    """Measure every recording, or read what an earlier run measured; return it with the mean seconds."""
    folder = audio.parent / name
    folder.mkdir(exist_ok=True)
    arrays = []
    with progress(name, "recordings", len(songs)) as show:
        for number, song in enumerate(songs):
            kept = folder / f"{song.id}.safetensors"
            if not kept.is_file():
                started_s = time.process_time()
                found = measure(recording_of(audio, song))
                found["seconds"] = np.array(time.process_time() - started_s)
                with storage.whole_file(kept) as file:
                    file.write_bytes(save({key: np.ascontiguousarray(value) for key, value in found.items()}))
            arrays.append(load_file(kept))
            show(number + 1)
    return arrays, float(np.mean([each.pop("seconds") for each in arrays]))


def recording_of(audio: Path, song: Song) -> Path:
    """Return the file of a song, or raise Hmm2SongError."""
    file = next(audio.glob(f"{song.id}.*"), None)
    if file is None:
        raise Hmm2SongError(f"{audio} lacks {song.id}; scripts/build_free_catalog.py puts the recordings there")
    return file


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length one."""
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def cosine_distance(vectors: np.ndarray) -> np.ndarray:
    """Return one minus the cosine of each with each."""
    directions = unit(vectors)
    return 1 - directions @ directions.T


# Measures ---------------------------------------------------------------------------------------------------------


def score(method: Method, groups: Groups, seed: int) -> Scores:
    """Measure one method."""
    distance = method.distance.astype(np.float64)
    if method.before_proximity is None:
        plain = distance
        proximity = farness_among(distance)
    else:
        plain, proximity = method.before_proximity, distance
    nobody = np.zeros_like(groups.composer)
    others = ~groups.soundtrack | ~groups.known  # what is no piece of the soundtrack by a known composer
    return Scores(
        name=method.name,
        composer=precision(plain, groups.composer, nobody, groups.query, seed),
        soundtrack=precision(distance, groups.soundtrack, nobody, groups.query, seed),
        other_composers=precision(
            distance, groups.soundtrack & groups.known, groups.composer | ~groups.known, groups.query, seed
        ),
        within_soundtrack=precision(distance, groups.composer, others, groups.query, seed),
        hub_skew=hub_skew(plain),
        hub_skew_proximity=hub_skew(proximity),
        composer_proximity=precision(proximity, groups.composer, nobody, groups.query, seed),
        seconds=method.seconds,
    )


def precision(
    distance: np.ndarray, alike: np.ndarray, left_out: np.ndarray, query: np.ndarray, seed: int = 0
) -> Estimate:
    """Return how many of the nearest five songs are alike, over the queries that have both alike and unlike songs.

    Parameters
    ----------
    distance : np.ndarray, shape (n, n)
    alike, left_out : np.ndarray, shape (n, n), bool
        What counts, and which songs are not ranked for a query; itself never is.
    query : np.ndarray, shape (n,), bool
    """
    ranked = ~(left_out | np.eye(len(distance), dtype=bool))
    asked = query & (alike & ranked).any(axis=1) & (~alike & ranked).any(axis=1)
    if not asked.any():
        return Estimate(np.nan, np.nan, np.nan)
    nearest = np.argsort(np.where(ranked, distance, np.inf), axis=1, kind="stable")[:, :N_NEAREST]
    hits = np.take_along_axis(alike & ranked, nearest, axis=1)
    n_ranked = np.minimum(ranked.sum(axis=1), N_NEAREST)
    return estimate(hits.sum(axis=1)[asked] / n_ranked[asked], seed)


def hub_skew(distance: np.ndarray) -> float:
    """Return the skew of how often each song is among the five nearest of another (Radovanović et al. 2010)."""
    others = np.where(np.eye(len(distance), dtype=bool), np.inf, distance)
    nearest = np.argsort(others, axis=1, kind="stable")[:, :N_NEAREST]
    return round(float(skew(np.bincount(nearest.ravel(), minlength=len(distance)))), 2)


def ceiling(groups: Groups) -> float:
    """Return the precision of a ranking with all pieces of the composer first."""
    return float(np.minimum(groups.composer.sum(axis=1), N_NEAREST)[groups.query].mean() / N_NEAREST)


def genre_scores(options: argparse.Namespace) -> list[GenreScores]:
    """Measure the methods that need nothing but GTZAN's table."""
    from hmm2song.evaluation.genre_measures import GenreData, genre_rows, similar_rows  # scikit-learn and xgboost

    data = GenreData.read(options.features, options.folds)
    found = []
    for split in (data.split_at_random(options.seed), data):
        predicted, probability = genre_rows(split)
        found.append((predicted, similar_rows(split, probability)))
    (random_predicted, random_similar), (predicted, similar) = found
    return [
        *(
            GenreScores(GENRE_NAMES.get(row.name, row.name), at_random.precision, row.precision, round(row.hub_skew, 2))
            for at_random, row in zip(random_similar, similar, strict=True)
        ),
        *(
            GenreScores(f"genre predicted: {row.name}", at_random.accuracy, row.accuracy)
            for at_random, row in zip(random_predicted, predicted, strict=True)
        ),
    ]


def table_of(scores: Sequence[Scores], genres: Sequence[GenreScores]) -> str:
    """Return the table as Markdown, one row a method."""
    head = ["method", "same composer", "with proximity", "same soundtrack", "of others", "composer within", "hub skew",
            "s per song"]  # fmt: skip
    rows = {}
    for each in scores:
        intervals = (each.composer, each.composer_proximity, each.soundtrack)
        rows[each.name] = [
            *(interval_text(estimated.to_dict()) for estimated in intervals),
            *(f"{estimated.value:.3f}" for estimated in (each.other_composers, each.within_soundtrack)),
            f"{each.hub_skew:+.2f} -> {each.hub_skew_proximity:+.2f}",
            "" if each.seconds is None else f"{each.seconds:.2f}",
        ]
    if genres:
        head += ["genre, at random", "genre, other artists", "hub skew there"]
        empty, unmeasured = [""] * 7, [""] * 3
        rows = {name: cells + unmeasured for name, cells in rows.items()}
        for each in genres:
            cells = [interval_text(estimated.to_dict()) for estimated in (each.random, each.by_artist)]
            cells.append("" if each.hub_skew is None else f"{each.hub_skew:+.2f}")
            rows[each.name] = rows.get(each.name, empty)[:7] + cells
    return markdown_table(head, ([name, *cells] for name, cells in rows.items()))


# Robustness -------------------------------------------------------------------------------------------------------


def robustness(songs: Sequence[Song], facets: Facets, options: argparse.Namespace) -> dict[str, Estimate]:
    """Return the share of the ten nearest in style that stay when a recording is changed, by change."""
    scaling, space = Scaling.of(facets.take(np.flatnonzero(facets.heard))), space_of(songs, facets, "style")
    learned = learned_from(assets_folder() / "model_style")
    chosen = short_ones(songs, facets, options.seed, learned)[: options.robust]
    overlaps: dict[str, list[float]] = {name: [] for name in CHANGES}

    def nearest(vector: np.ndarray, row: int) -> set[int]:
        farness = space.farness(vector, row)
        farness[row] = np.inf
        return set(np.argsort(farness, kind="stable")[:N_ROBUST_NEAREST].tolist())

    with progress("changed", "recordings", len(chosen)) as show, tempfile.TemporaryDirectory() as folder:
        for number, row in enumerate(chosen):
            file = recording_of(options.audio, songs[row])
            original = nearest(space.vectors[row], row)
            for name, change in CHANGES.items():
                heard = hear(change(file, Path(folder) / "changed.mp3")).facets
                changed = nearest(scaling.style(heard)[0][0], row)
                overlaps[name].append(len(original & changed) / N_ROBUST_NEAREST)
            show(number + 1)
    return {name: estimate(np.array(each), options.seed) for name, each in overlaps.items()}


CHANGES: dict[str, Callable[[Path, Path], Path | tuple[int, np.ndarray]]] = {
    "MP3 at 64 kbit/s": as_mp3,
    "10 dB quieter": lambda file, _: (SAMPLE_RATE_HZ, QUIETER * load_recording(file)),
    "44.1 kHz": lambda file, _: (44100, load_part(file, 44100)),
    "48 kHz": lambda file, _: (48000, load_part(file, 48000)),
}

main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
