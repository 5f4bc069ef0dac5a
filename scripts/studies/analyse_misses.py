#!/usr/bin/env python
"""Say why hums miss their song: our matching, another version, the tracker, the singer, or an ambiguous melody.

    python scripts/evaluate.py --queries Q.csv --songs S.jsonl [--songs MORE.jsonl.gz] --save songs --misses missed.csv
    python scripts/studies/analyse_misses.py --queries Q.csv --missed missed.csv --catalog songs --titles S.jsonl \
        --work w.jsonl

Q.csv has the columns file,song_id; missed.csv is what evaluate.py --misses writes; S.jsonl has rows with id and title.
The hums that were missed are measured in a random order (--seed) until --misses of them have missed again; then the
others, until there are as many hits as --hits says, which show what is usual. --work keeps the measurements, one line a
hum, and the same command continues from there. Needs requirements-dataset.txt (librosa).

These are measured of a hum:

    cost        of its song: the mean distance in semitones where the hum lies best on it, as searched and *forced*
                (this song alone, every place, every key in quarter semitones, 19 tempi), of the whole hum and of its
                two halves, each placed for itself
    rival       the best wrong song, with which a missed hum was answered: the same costs
    likeness    what the song's passage would cost on the rival if it were sung without a flaw
    second      what a second tracker hears (pYIN, Mauch and Dixon 2014), where the song then ranks and what it costs

Each miss gets the first cause that applies. "More than usual" is above the 95th percentile of the hits, "less than
usual" below the 5th.

    version     the rival holds the passage almost note for note (likeness at most that of hmm2song/match/versions.py)
    matching    if both are placed as well as they can be, the song is ahead of the rival by cost and votes together, or
                by cost alone, and by no less than hits usually are: smaller leads are a toss-up
    tracker     the trackers agree less than usual on the pitch or on where there is one, and with the second one the
                song comes first, or its cost falls to a usual one
    jump        placed each for itself, the halves of the hum gain more than usual, and the song is ahead of the rival:
                another key, a skip or a new start half-way
    singer      the song costs more than usual
    ambiguous   the song costs no more than usual, and the rival is more like it than most rivals of hits are
    chance      the song costs no more than usual, and a rival that is unlike it costs as little
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.evaluation.accuracy import Query, rank_of, read_queries
from hmm2song.evaluation.baselines.mel_cnn.mel import load_librosa
from hmm2song.match.align import INFINITE_COST, PackedContours, pack_contours, place, place_drifting, trace
from hmm2song.match.places import Placements, Places
from hmm2song.match.ranking import MIN_VOICED_S, VOTE_WEIGHT_ST, Ranker
from hmm2song.match.search import FINE_RATE_HZ
from hmm2song.match.versions import SAME_TUNE_COST_ST
from hmm2song.melody.contour import MAX_PIECE_S, FilledContour, fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody, melody_from_f0
from hmm2song.melody.pitch import track_pitch
from hmm2song.melody.scores import read_rows
from hmm2song.recognizer import Recognizer
from hmm2song.script import GOES_ON, Journal, main_of, output_file, positive

FORCED_SPEEDS = tuple(2.0 ** (step / 8) for step in range(-9, 10))
FORCED_KEY_STEP_ST = 0.25
SECOND_LOWEST_HZ, SECOND_HIGHEST_HZ = 65.0, 1200.0
SECOND_FRAME_SAMPLES, SECOND_HOP_SAMPLES = 1024, 320
SAME_PITCH_ST = 0.5
"""Two trackers closer than this in a frame hear the same note."""
USUAL_PERCENTILE = 95
CAUSES = ("version", "matching", "tracker", "jump", "singer", "ambiguous", "chance")
N_EXAMPLES = 3


@dataclass(frozen=True)
class Side:
    """A song as an answer to one hum; cost and vote are None where the search did not rank it.

    ``forced_st`` is the forced cost of the whole hum, ``halves_st`` the mean of those of its two halves.
    """

    song_id: str
    cost_st: float | None
    vote: float | None
    forced_st: float
    halves_st: float


@dataclass(frozen=True)
class SecondHearing:
    """The hum as another tracker hears it.

    ``pitch_agreement`` is the share of the frames that both call voiced in which they are within half a semitone,
    ``voicing_agreement`` the share that both call voiced of those that either does; ``rank`` is that of the song in a
    search with this pitch, ``forced_st`` its forced cost.
    """

    pitch_agreement: float
    voicing_agreement: float
    rank: int
    forced_st: float


@dataclass(frozen=True)
class Measurement:
    """What was measured of one hum; ``rank`` is that of its song, 0 where it was not ranked."""

    file: str
    rank: int
    voiced_share: float
    truth: Side
    rival: Side
    likeness_st: float
    second: SecondHearing


@dataclass(frozen=True, eq=False)
class Answer:
    """The songs that the search ranks for a hum, best first; costs and votes have shape (n,)."""

    ids: tuple[str, ...]
    cost_st: np.ndarray
    vote: np.ndarray


@dataclass(frozen=True)
class ForcedPlacement:
    """The best placement of a hum on one song: its cost, and the song's passage there."""

    cost_st: float
    passage: FilledContour


@dataclass(frozen=True)
class UsualBounds:
    """What is usual of hits: bounds within which 95 % of them lie, costs at most, agreements at least.

    ``gain_st`` bounds what the halves of a hum cost less than the whole, the leads (at least) by how much the song is
    ahead of its rival; ``likeness_st`` is the median, not a bound.
    """

    cost_st: float
    gain_st: float
    cost_lead_st: float
    score_lead_st: float
    likeness_st: float
    pitch_agreement: float
    voicing_agreement: float


def run(options: argparse.Namespace) -> None:
    """Measure misses and hits, and say why the misses missed."""
    queries = read_queries(options.queries)
    titles = read_titles(options.titles) if options.titles else {}
    ranker = Recognizer.from_pretrained(options.catalog).ranker
    require_songs(queries, ranker)
    random.Random(options.seed).shuffle(queries)
    missed = {query.name for query in read_queries(options.missed)}
    done = Journal(options.work)
    with tqdm(total=options.misses + options.hits, unit=" hums") as bar:
        of_misses = measure_some(ranker, [each for each in queries if each.name in missed], done)
        misses = take(of_misses, options.misses, bar, is_hit=False)
        of_others = measure_some(ranker, [each for each in queries if each.name not in missed], done)
        hits = take(of_others, options.hits, bar, is_hit=True)
    usual = usual_of(hits)
    causes = [cause_of(each, usual) for each in misses]
    print_report(misses, causes, usual, len(hits), titles)
    if options.csv:
        write_csv(options.csv, misses, causes, titles)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="CSV with the columns file,song_id")
    parser.add_argument("--missed", type=Path, required=True, help="hums not ranked first, by evaluate.py --misses")
    parser.add_argument("--catalog", type=Path, required=True, help="catalog folder to search")
    parser.add_argument("--work", type=output_file, required=True, metavar="JSONL", help="keeps the measurements")
    parser.add_argument("--titles", type=Path, metavar="JSONL", help="songs with id and title, for the examples")
    parser.add_argument("--misses", type=positive, default=100, metavar="N", help="misses to analyse (default 100)")
    parser.add_argument("--hits", type=positive, default=200, metavar="N", help="hits to compare with (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="for the order of the hums (default 0)")
    parser.add_argument("--csv", type=output_file, metavar="OUT", help="write each miss with its cause and figures")
    return parser.parse_args(arguments)


# What to read -------------------------------------------------------------------------------------------


def read_titles(path: Path) -> dict[str, str]:
    """Read id -> title."""
    return {str(row["id"]): str(row["title"]) for _, row in read_rows(path, "id", "title")}


def require_songs(queries: list[Query], ranker: Ranker) -> None:
    """Raise an error if the song of a hum is not in the catalog."""
    songs = {song.id for song in ranker.catalog.songs}
    lost = [query for query in queries if query.acceptable[0] not in songs]
    if lost:
        raise Hmm2SongError(
            f"{len(lost)} hums are of songs that the catalog does not hold, the first {lost[0].name!r} of "
            f"{lost[0].acceptable[0]!r}; give a catalog with them"
        )
    if len(songs) < 2:
        raise Hmm2SongError("the catalog holds one song only: no hum can miss it")


# Measuring ----------------------------------------------------------------------------------------------


def measure_some(ranker: Ranker, queries: list[Query], done: Journal) -> Iterator[Measurement]:
    """Yield a measurement of every hum that can be measured."""
    for query in queries:
        try:
            yield as_measurement(done.remembered(query.name, lambda query=query: asdict(measure(ranker, query))))
        except Hmm2SongError as error:
            print(f"analyse_misses.py: left out: {error}", file=sys.stderr)


def take(measured: Iterator[Measurement], n_wanted: int, bar: tqdm, is_hit: bool) -> list[Measurement]:
    """Return the first hits or misses."""
    taken: list[Measurement] = []
    while len(taken) < n_wanted and (each := next(measured, None)) is not None:
        if (each.rank == 1) == is_hit:
            taken.append(each)
            bar.update()
    if not taken:
        raise Hmm2SongError(f"none of the hums is a {'hit' if is_hit else 'miss'} in this catalog; nothing to compare")
    return taken


def as_measurement(row: dict) -> Measurement:
    """Rebuild a measurement from its JSON."""
    sides = {name: Side(**row[name]) for name in ("truth", "rival")}
    return Measurement(**row | sides | {"second": SecondHearing(**row["second"])})


def measure(ranker: Ranker, query: Query) -> Measurement:
    """Search one hum and measure it; of several acceptable songs the first is the right one.

    Raises AudioError or MelodyError if it cannot be read, or holds too little or too long a melody.
    """
    samples = load_audio(query.file)
    hum = track_pitch(samples).melody
    contour = fill_rests(hum)
    if hum.voiced_s < MIN_VOICED_S or contour.duration_s > MAX_PIECE_S:
        raise MelodyError(f"{query.name}: {hum.voiced_s:.0f} s of melody in {contour.duration_s:.0f} s, not one piece")
    found = ranked(ranker, contour)
    song_id = query.acceptable[0]
    rival = next((each for each in found.ids if each not in query.acceptable), None)
    if rival is None:
        raise MelodyError(f"{query.name}: no other song is long enough for it")
    own = force(ranker, contour, song_id)
    return Measurement(
        file=query.name,
        rank=rank_of(found.ids, query.acceptable),
        voiced_share=hum.voiced_s / contour.duration_s,
        truth=side(ranker, found, contour, song_id),
        rival=side(ranker, found, contour, rival),
        likeness_st=likeness_of(ranker, own.passage, rival),
        second=hear_again(ranker, samples, hum, song_id),
    )


def ranked(ranker: Ranker, hum: FilledContour) -> Answer:
    """Return what the search answers to a hum."""
    evidence = ranker.evidence(hum).best_first()
    ids = tuple(ranker.catalog.songs[song].id for song in evidence.placements.song)
    return Answer(ids, evidence.placements.cost_st, evidence.vote)


def side(ranker: Ranker, found: Answer, contour: FilledContour, song_id: str) -> Side:
    """Measure one song as an answer."""
    rank = rank_of(found.ids, (song_id,))
    middle = len(contour.pitch_midi) // 2
    halves = (contour.part(0, middle), contour.part(middle, len(contour.pitch_midi)))
    return Side(
        song_id=song_id,
        cost_st=float(found.cost_st[rank - 1]) if rank else None,
        vote=float(found.vote[rank - 1]) if rank else None,
        forced_st=force(ranker, contour, song_id).cost_st,
        halves_st=float(np.mean([force(ranker, half, song_id).cost_st for half in halves])),
    )


def force(ranker: Ranker, hum: FilledContour, song_id: str) -> ForcedPlacement:
    """Place a hum on one song wherever it costs least: every position, every key, finer than the search does.

    From there, as in the search, the key may drift.
    """
    song = fill_rests(ranker.catalog.melody(song_id))
    packed = pack_contours([song], FINE_RATE_HZ)
    best = place_in_one_key(hum, packed)
    if best.cost_st[0] >= INFINITE_COST:  # a song shorter than half the hum
        return ForcedPlacement(float(INFINITE_COST), song)
    speed = float(best.speed[0])
    end = round(float(best.end_s[0]) * FINE_RATE_HZ)
    start = max(0, end - 2 * int(hum.duration_s * speed * FINE_RATE_HZ) - 2)
    after_start = Places(best.song, np.array([start / FINE_RATE_HZ]), np.array([np.inf]))
    drifting = place_drifting(hum, packed, after_start, best, n_threads=1)
    end = round(float(drifting.end_s[0]) * FINE_RATE_HZ)
    _, song_time_s = trace(hum, packed.pitch_midi[start:end], float(best.key_st[0]), speed, FINE_RATE_HZ)
    first, last = (start / FINE_RATE_HZ + song_time_s[[0, -1]]) * FRAME_RATE_HZ
    return ForcedPlacement(float(drifting.cost_st[0]), song.part(int(first), int(last) + 1))


def likeness_of(ranker: Ranker, passage: FilledContour, song_id: str) -> float:
    """Return what a passage of one song costs on another, in semitones; scores do not drift (match/versions.py)."""
    packed = pack_contours([fill_rests(ranker.catalog.melody(song_id))], FINE_RATE_HZ)
    return float(place_in_one_key(passage, packed).cost_st[0])


def place_in_one_key(hum: FilledContour, song: PackedContours) -> Placements:
    """Return the best place on the whole of one song in every key."""
    keys_st = np.median(hum.pitch_midi) - np.array([[song.pitch_midi.max()], [song.pitch_midi.min()]])
    everywhere = Places.whole(np.array([0]))
    return place(hum, song, everywhere, *keys_st, FORCED_SPEEDS, FORCED_KEY_STEP_ST, n_threads=1)


def hear_again(ranker: Ranker, samples: np.ndarray, hum: Melody, song_id: str) -> SecondHearing:
    """Track the recording with pYIN (Mauch and Dixon 2014), compare, and search what it heard."""
    librosa = load_librosa()
    f0_hz, voiced, _ = librosa.pyin(
        samples,
        fmin=SECOND_LOWEST_HZ,
        fmax=SECOND_HIGHEST_HZ,
        sr=SAMPLE_RATE_HZ,
        frame_length=SECOND_FRAME_SAMPLES,
        hop_length=SECOND_HOP_SAMPLES,
    )
    time_s = librosa.times_like(f0_hz, sr=SAMPLE_RATE_HZ, hop_length=SECOND_HOP_SAMPLES)
    heard = melody_from_f0(time_s, np.where(voiced, f0_hz, 0.0))
    pitch_agreement, voicing_agreement = agreement(hum, heard)
    if heard.voiced_s < MIN_VOICED_S:
        return SecondHearing(pitch_agreement, voicing_agreement, 0, float(INFINITE_COST))
    contour = fill_rests(heard)
    rank = rank_of(ranked(ranker, contour).ids, (song_id,))
    forced_st = force(ranker, contour, song_id).cost_st
    return SecondHearing(pitch_agreement, voicing_agreement, rank, forced_st)


def agreement(one: Melody, other: Melody) -> tuple[float, float]:
    """Return the shares of frames in which two melodies agree on the pitch, and on whether there is one."""
    n_frames = min(len(one.pitch_midi), len(other.pitch_midi))
    difference_st = np.abs(one.pitch_midi[:n_frames] - other.pitch_midi[:n_frames])
    both = ~np.isnan(difference_st)
    either = one.voiced[:n_frames] | other.voiced[:n_frames]
    if not both.any():
        return 0.0, 0.0
    return float(np.mean(difference_st[both] < SAME_PITCH_ST)), float(both.sum() / either.sum())


# Judging ------------------------------------------------------------------------------------------------


def usual_of(hits: Sequence[Measurement]) -> UsualBounds:
    """Read off the hits what is usual."""

    def at_most(values: Sequence[float]) -> float:
        return float(np.percentile(values, USUAL_PERCENTILE))

    def at_least(values: Sequence[float]) -> float:
        return float(np.percentile(values, 100 - USUAL_PERCENTILE))

    return UsualBounds(
        cost_st=at_most([hit.truth.forced_st for hit in hits]),
        gain_st=at_most([gain_of_halves_st(hit) for hit in hits]),
        cost_lead_st=at_least([lead_by_cost_st(hit) for hit in hits]),
        score_lead_st=at_least([lead_by_score_st(hit) for hit in hits]),
        likeness_st=float(np.median([hit.likeness_st for hit in hits])),
        pitch_agreement=at_least([hit.second.pitch_agreement for hit in hits]),
        voicing_agreement=at_least([hit.second.voicing_agreement for hit in hits]),
    )


def cause_of(miss: Measurement, usual: UsualBounds) -> str:
    """Return the first cause that applies."""
    rules = {
        "version": miss.likeness_st <= SAME_TUNE_COST_ST,
        "matching": is_our_matching(miss, usual),
        "tracker": is_the_tracker(miss, usual),
        "jump": gain_of_halves_st(miss) > usual.gain_st and miss.truth.halves_st < miss.rival.halves_st,
        "singer": miss.truth.forced_st > usual.cost_st,
        "ambiguous": miss.likeness_st <= usual.likeness_st,
        "chance": True,
    }
    return next(cause for cause, applies in rules.items() if applies)


def gain_of_halves_st(measured: Measurement) -> float:
    """Return how much less the halves of a hum cost on its song than the whole."""
    return measured.truth.forced_st - measured.truth.halves_st


def is_our_matching(miss: Measurement, usual: UsualBounds) -> bool:
    """Tell whether the song is ahead by more than a toss-up when both are placed as well as they can be."""
    return lead_by_cost_st(miss) >= usual.cost_lead_st or lead_by_score_st(miss) >= usual.score_lead_st


def lead_by_cost_st(measured: Measurement) -> float:
    """Return how much less the song costs than the rival, both forced."""
    return measured.rival.forced_st - measured.truth.forced_st


def lead_by_score_st(measured: Measurement) -> float:
    """Return the same with the votes, as far as there are any for the song."""
    if measured.truth.vote is None:
        return lead_by_cost_st(measured)
    return lead_by_cost_st(measured) + VOTE_WEIGHT_ST * (measured.truth.vote - measured.rival.vote)


def is_the_tracker(miss: Measurement, usual: UsualBounds) -> bool:
    """Tell whether the trackers disagree and the second one would have helped."""
    second = miss.second
    disagree = second.pitch_agreement < usual.pitch_agreement or second.voicing_agreement < usual.voicing_agreement
    return disagree and (second.rank == 1 or second.forced_st <= usual.cost_st < miss.truth.forced_st)


# Telling ------------------------------------------------------------------------------------------------


def print_report(
    misses: list[Measurement], causes: list[str], usual: UsualBounds, n_hits: int, titles: dict[str, str]
) -> None:
    """Print how many misses each cause has, with examples."""
    print(f"{len(misses)} misses, measured against {n_hits} hits, of which these are usual:")
    print("  " + ", ".join(f"{name} {value:.2f}" for name, value in asdict(usual).items()))
    print(f"{'cause':10s} {'n':>3s} {'2-3':>5s} {'4-10':>5s} {'later':>5s}   (ranks)")
    for cause in CAUSES:
        of_cause = [miss for miss, its in zip(misses, causes, strict=True) if its == cause]
        ranks = np.array([miss.rank for miss in of_cause])
        bands = [int(np.sum((ranks >= first) & (ranks <= last))) for first, last in ((2, 3), (4, 10))]
        print(f"{cause:10s} {len(of_cause):3d} {bands[0]:5d} {bands[1]:5d} {len(of_cause) - sum(bands):5d}")
        for miss in of_cause[:N_EXAMPLES]:
            print(f"             {describe(miss, titles)}")


def describe(miss: Measurement, titles: dict[str, str]) -> str:
    """Describe a miss in one line; costs are searched/forced/mean of the halves."""
    song, rival = (titles.get(each.song_id) or each.song_id for each in (miss.truth, miss.rival))
    second = miss.second
    return (
        f"{song}: rank {miss.rank or 'none'}, cost {costs(miss.truth)}; answered {rival}, cost {costs(miss.rival)}; "
        f"likeness {miss.likeness_st:.2f}; trackers {second.pitch_agreement:.0%} {second.voicing_agreement:.0%}, "
        f"with the second rank {second.rank or 'none'} ({miss.file})"
    )


def costs(answer: Side) -> str:
    """Write the costs of a song."""
    searched = "none" if answer.cost_st is None else f"{answer.cost_st:.2f}"
    return f"{searched}/{answer.forced_st:.2f}/{answer.halves_st:.2f}"


def write_csv(path: Path, misses: list[Measurement], causes: list[str], titles: dict[str, str]) -> None:
    """Write each miss with its cause and figures."""
    rows = [
        {"cause": cause, "title": titles.get(miss.truth.song_id, ""), **asdict(miss)}
        for miss, cause in zip(misses, causes, strict=True)
    ]
    pandas.json_normalize(rows, sep="_").to_csv(path, index=False)


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
