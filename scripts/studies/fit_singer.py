#!/usr/bin/env python
r"""Measure how people hum, measure simulated hums the very same way, and print both beside the constants.

    python scripts/studies/fit_singer.py --ssvd-notes ssvd_notes.jsonl --ssvd-f0 ssvd_f0_16ms.npz \
        --mast-csv mast_f0.csv --mast-npz mast_f0_50hz.npz --queries queries.csv --songs songs.jsonl --json fit.json

repeats what the comments of hmm2song/training/singer.py call "measured". Each source is optional; its two files go
together:

ssvd      people reading exercises from a score, with hand-labelled notes. The notes are JSON lines with key, label (the
          exercise) and notes [[onset_s, duration_s, midi], ...]; the f0 is an npz with one array per key, of shape
          (2, n): Hz and voicing confidence, one frame per 16 ms.
mast      people singing back what a piano plays. A CSV with the columns key,melody,singer,kind,jury_grade, whose kind
          begins with "sung" or "piano"; the f0 is an npz with one array per key, in Hz, one frame per 20 ms. A take is
          compared with the piano of the same melody and singer; without one it is left out. The takes are trimmed and
          voiced almost throughout, so silences and octave slips are not measured.
qbsh      people humming songs they know. A CSV with the columns file,song_id (recordings, relative to the CSV) and the
          songs as JSON lines with id and notes.

Only statistics of these people are printed; nothing else of them is kept. For every hum, the default Singer (FEMALE for
a high voice) sings the same notes from the same place. A contour on the grid of melodies is simulated by hum_contour, a
take with labelled notes by the finer curve behind it. Hums that do not align with their notes are left out on both
sides, so the worst are missing.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfiltfilt
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import load_audio
from hmm2song.errors import AudioError, Hmm2SongError
from hmm2song.evaluation.accuracy import read_queries, sampled
from hmm2song.match.search import MelodySearch
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import HOP_S, Melody, hz_to_midi, melody_from_f0, melody_from_notes
from hmm2song.melody.pitch import CONFIDENCE_VOICED, track_pitch
from hmm2song.melody.scores import read_rows
from hmm2song.script import main_of, markdown_table, output_file, positive, table_rows, write_json
from hmm2song.training import singer as simulation
from hmm2song.training.singer import CONTROL_RATE_HZ, FEMALE, LEGATO_REST_S, WANDER_KNOT_S, Singer, hum_contour, perform
from hmm2song.training.voice import hum_audio

SSVD_HOP_S = 0.016
MAST_HOP_S = 0.02
HIGH_VOICE_MIDI = 58.5
"""Median pitch between the two modes of MAST, taken for men and women."""

# What is counted as what
MAX_COST_ST = 0.9
"""A hum that costs more per frame is of another song, or too inaccurate to be measured."""
WRONG_ST = 1.5
"""Further off than this, a note is a wrong one and not an inaccurate one."""
MIN_NOTES, MIN_RIGHT_SHARE = 8, 0.6
"""Fewer notes, or more wrong ones, say nothing about accuracy."""
MIN_VOICED_S = 2.0
MIN_CENTRE_FRAMES = 4
"""A note voiced for less has no centre; and a piece of the piano's contour that is shorter is no note."""
OCTAVE_TOLERANCE_ST = 2.0
PARTED_S = 0.04
"""Two notes with an unvoiced gap this long between their middles are parted: one frame of the melody grid."""
LONG_GAP_S = 0.25
"""A longer gap is a breath, or a rest of the score."""
MIN_TAKES = 3
"""Takes of an exercise with equally many notes that make a consensus of what is written."""
NOTE_EDGE_S = 0.06
"""Left out at either end of a labelled note: glides, and where the label is uncertain."""
SCOOP_S = 0.05
GLIDE_ST = (1.5, 6.0)
GLIDE_PART = (0.15, 0.85)
"""Glides are timed between these parts of their way, over intervals of this size."""
VIBRATO_HZ, VIBRATO_OF_HZ = (4.0, 8.0), (1.5, 20.0)
VIBRATO_POWER_SHARE = 0.5
VIBRATO_LEAST_ST = 0.1
"""A long note has vibrato if this share of its fluctuation's power is in this band and its depth is not less."""
N_FFT = 1024
"""At 16 ms a resolution of 0.06 Hz."""
TABLE_HEAD = ("quantity", "unit", "people: median, 5-95 % (n)", "simulated: median, 5-95 % (n)", "constant")
DIFFERENT = 0.2
"""Medians further apart than this, relative to people's, are listed as different."""

Values = dict[str, list[float]]
"""Measured values by the key of their quantity."""
ACCURACY = (
    "low_midi", "high_midi", "tempo_ratio", "local_tempo_log_sd",
    "interval_scale", "drift_st_per_10s", "note_sd_st", "wrong",
)  # fmt: skip
"""What a contour without trustworthy silences can tell."""


@dataclass(frozen=True)
class Quantity:
    """Something measured: a row of the table.

    ``is_mean`` is for what is rare or yes-or-no, of which a median says nothing. ``constants`` are names in
    hmm2song/training/singer.py that it bears upon.
    """

    label: str
    unit: str = ""
    constants: tuple[str, ...] = ()
    is_mean: bool = False
    scale: float = 1.0


QUANTITIES = {
    "low_midi": Quantity("median pitch of low voices", "MIDI", ("centre_midi", "centre_sd_st")),
    "high_midi": Quantity("median pitch of high voices", "MIDI", ("FEMALE.centre_midi", "FEMALE.centre_sd_st")),
    "tempo_ratio": Quantity("tempo ratio", "", ("tempo_log_sd", "tempo_ratio_limits")),
    "interval_scale": Quantity("interval scale", "", ("interval_scale_sd", "interval_scale_limit")),
    "local_tempo_log_sd": Quantity(
        "sd of log tempo over 2 s", "", ("tempo_warp_log_sd", "tempo_warp_limit", "WANDER_KNOT_S")
    ),
    "drift_st_per_10s": Quantity("drift, absolute", "st/10 s", ("drift_sd_st_per_10s",)),
    "note_sd_st": Quantity("sd of note centres", "st", ("note_error_median_st", "note_error_log_sd")),
    "wrong": Quantity("wrong notes", "%", ("wrong_probability",), is_mean=True, scale=100),
    "jitter_st": Quantity("sd within a note", "st", ("jitter_sd_st",)),
    "autocorrelation": Quantity("autocorrelation within a note at 16 ms", "", ("jitter_time_s",)),
    "glide_s": Quantity("15-85 % of a glide", "s", ("glide_median_s", "glide_log_sd")),
    "scoop_st": Quantity("first 50 ms off the note, absolute", "st", ("scoop_sd_st",)),
    "vibrato": Quantity("long notes with vibrato", "%", ("vibrato_probability",), is_mean=True, scale=100),
    "vibrato_hz": Quantity("vibrato rate", "Hz", ("vibrato_rate_hz",)),
    "vibrato_st": Quantity("vibrato depth", "st", ("vibrato_depth_median_st", "vibrato_depth_log_sd")),
    "unvoiced": Quantity("unvoiced share, first to last note", "%", scale=100),
    "gap_s": Quantity("gaps", "s", ("gap_median_s", "gap_log_sd")),
    "labelled_gap_s": Quantity("gaps by hand", "s", ("gap_median_s", "gap_log_sd")),
    "breath_s": Quantity("gaps over 0.25 s", "s", ("breath_s",)),
    "breaths_per_10s": Quantity("gaps over 0.25 s", "per 10 s", ("breath_rate_per_s",)),
    "connected": Quantity("connected notes, per hum", "%", ("legato_share",), scale=100),
    "parted_same": Quantity("same pitch twice: parted", "%", ("legato_share",), is_mean=True, scale=100),
    "parted_different": Quantity("different pitches: parted", "%", ("legato_share",), is_mean=True, scale=100),
    "lead_in_s": Quantity("silence at first", "s", ("lead_in_s",)),
    "octave": Quantity("frames an octave off", "%", is_mean=True, scale=100),
    "octave_slips_per_s": Quantity("octave slips", "per s", ("octave_slip_rate_per_s",), is_mean=True),
    "octave_slip_s": Quantity("octave slips", "s", ("octave_slip_s",)),
    "start_s": Quantity("start in the song", "s", ("phrase_start_probability",)),
}


@dataclass(frozen=True, eq=False)
class Hum:
    """A contour and what it should be.

    ``melody`` starts with the recording; ``notes`` (n_notes, 3) is the score (onset_s, duration_s, midi) by onset, and
    ``search`` searches this score alone.
    """

    melody: Melody
    notes: np.ndarray
    search: MelodySearch


@dataclass(frozen=True, eq=False)
class Take:
    """A fine contour with labelled notes.

    ``pitch_midi`` (n_frames,) has one frame per ``SSVD_HOP_S``, NaN where unvoiced; ``notes`` (n_notes, 3) are as sung
    (onset_s, duration_s, midi); ``written_midi`` (n_notes,) as they should be, in any key, NaN where that is unknown.
    """

    pitch_midi: np.ndarray
    notes: np.ndarray
    written_midi: np.ndarray


@dataclass
class Source:
    """What was measured of one group of people and of their simulation."""

    name: str
    people: Values = field(default_factory=lambda: defaultdict(list))
    simulated: Values = field(default_factory=lambda: defaultdict(list))
    n_hums: int = 0
    n_used: int = 0


def run(options: argparse.Namespace) -> None:
    """Measure every source given, print the tables and write the figures."""
    sources = [*measure_ssvd(options), *measure_mast(options), *measure_qbsh(options)]
    print("\n".join(report(sources)))
    write_json(options.json, to_json(sources))


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pairs = (("ssvd_notes", "ssvd_f0"), ("mast_csv", "mast_npz"), ("queries", "songs"))
    for name in (name for pair in pairs for name in pair):
        parser.add_argument(flag(name), type=Path)
    parser.add_argument("--limit", type=positive, default=300, metavar="N", help="hums of --queries (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="for --limit and the simulation (default 0)")
    parser.add_argument("--sound", action="store_true", help="let qbsh be sung as sound and track it, as people's was")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    given = [[bool(getattr(options, name)) for name in pair] for pair in pairs]
    if not any(map(any, given)):
        parser.error("give the files of at least one source")
    for pair, files in zip(pairs, given, strict=True):
        if any(files) != all(files):
            parser.error(f"{flag(pair[0])} and {flag(pair[1])} go together")
    return options


def flag(name: str) -> str:
    """Return an option as it is typed."""
    return "--" + name.replace("_", "-")


# Reading ------------------------------------------------------------------------------------------------


def read_notes(path: Path, *keys: str) -> list[dict]:
    """Read JSON lines that have these keys and ``notes``, which become an array (n_notes, 3), sorted by onset."""
    rows = [row | {"notes": np.array(row["notes"])} for _, row in read_rows(path, *keys, "notes")]
    return [row | {"notes": row["notes"][np.argsort(row["notes"][:, 0], kind="stable")]} for row in rows]


def read_arrays(path: Path, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """Read some arrays of an npz: plain zip and NumPy's own format, which runs nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {key: np.lib.format.read_array(archive.open(f"{key}.npy")) for key in keys}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise Hmm2SongError(f"{path} is not an npz with an array for every key ({error})") from error


# Sources ------------------------------------------------------------------------------------------------


def measure_ssvd(options: argparse.Namespace) -> Iterator[Source]:
    """Measure labelled takes; the simulated ones sing the same notes in the same time."""
    if not options.ssvd_notes:
        return
    rows = read_notes(options.ssvd_notes, "key", "label")
    f0 = read_arrays(options.ssvd_f0, [row["key"] for row in rows])
    written = consensus([row["label"] for row in rows], [row["notes"] for row in rows])
    # equally many notes as the others sang: nothing was dropped or repeated in the takes with a consensus
    singer = replace(Singer(), dropped_probability=0.0, repeated_probability=0.0)
    rng = np.random.default_rng(options.seed)
    source = Source("SSVD")
    for row, written_midi in zip(tqdm(rows, desc="SSVD", unit=" takes"), written, strict=True):
        track = f0[row["key"]]
        if track.ndim != 2 or len(track) != 2:
            raise Hmm2SongError(f"{options.ssvd_f0}, {row['key']}: needs the shape (2, n), has {track.shape}")
        pitch_midi = hz_to_midi(np.where(track[1] >= CONFIDENCE_VOICED, track[0], 0.0))
        take = Take(pitch_midi, row["notes"], written_midi)
        add(source, take_values(take), take_values(simulated_take(take, singer, rng)))
    yield source


def consensus(labels: Sequence[str], notes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Infer the written notes from what several people sang: whole semitones in any key, NaN if too few sang it."""
    written = [np.full(len(table), np.nan) for table in notes]
    for label in set(labels):
        takes = [index for index, other in enumerate(labels) if other == label]
        n_notes = Counter(len(notes[index]) for index in takes).most_common(1)[0][0]
        takes = [index for index in takes if len(notes[index]) == n_notes]
        if len(takes) < MIN_TAKES or n_notes < MIN_NOTES:
            continue
        midi = np.stack([notes[index][:, 2] for index in takes])
        middle_st = np.median(midi - np.median(midi, axis=1, keepdims=True), axis=0)
        for index in takes:
            written[index] = in_semitones(middle_st)
    return written


def in_semitones(pitch_st: np.ndarray) -> np.ndarray:
    """Round to semitones in the tuning that fits best."""
    tuning_st = np.linspace(-0.5, 0.5, 41)
    off_st = pitch_st - tuning_st[:, None]
    best = np.argmin(np.abs(off_st - np.round(off_st)).sum(axis=1))
    return np.round(off_st[best])


def simulated_take(take: Take, singer: Singer, rng: np.random.Generator) -> Take:
    """Sing the notes of a take, rests included, and label them as a person would."""
    onset_s, length_s, _ = take.notes.T
    spacing_s = np.append(np.diff(onset_s), length_s[-1])
    written_s = np.where(spacing_s - length_s > LONG_GAP_S, length_s, spacing_s)  # only long gaps are written rests
    known = np.isfinite(take.written_midi).all()
    written_midi = take.written_midi if known else in_semitones(take.notes[:, 2])
    score = np.column_stack((onset_s, np.maximum(written_s, HOP_S), 60.0 + written_midi - np.median(written_midi)))
    sung = perform(score, singer, rng, float(onset_s[0]), 3.0 * float(onset_s[-1] + length_s[-1]))
    sung_onset_s, sung_end_s = sung.performance.hum_onset_s, sung.hum_end_s
    frame = np.round(np.arange(0.0, sung_end_s[-1], SSVD_HOP_S) * CONTROL_RATE_HZ).astype(int)
    frame = frame[frame < len(sung.pitch_midi)]
    pitch_midi = np.where(sung.voiced, sung.pitch_midi, np.nan)[frame]
    bounds = zip(sung_onset_s, sung_end_s, strict=True)
    midi = [np.nanmedian(pitch_midi[frames_between(start_s, end_s, SSVD_HOP_S)]) for start_s, end_s in bounds]
    notes = np.column_stack((sung_onset_s, sung_end_s - sung_onset_s, midi))
    return Take(pitch_midi, notes, take.written_midi)


def measure_mast(options: argparse.Namespace) -> Iterator[Source]:
    """Measure sung answers against the piano they heard; one source per jury grade."""
    if not options.mast_csv:
        return
    rows = table_rows(options.mast_csv, "key", "melody", "singer", "kind", "jury_grade")
    piano = {(row["melody"], row["singer"]): row["key"] for row in rows if row["kind"].startswith("piano")}
    sung = [row for row in rows if row["kind"].startswith("sung") and (row["melody"], row["singer"]) in piano]
    answers = {row["key"]: piano[row["melody"], row["singer"]] for row in sung}
    f0 = read_arrays(options.mast_npz, {*answers, *answers.values()})
    melodies = {key: melody_from_f0(np.arange(len(hz)) * MAST_HOP_S, hz) for key, hz in f0.items()}
    for grade in sorted({row["jury_grade"] for row in sung}, reverse=True):
        source = Source(f"MAST {grade}")
        rng = np.random.default_rng(options.seed)
        chosen = [row["key"] for row in sung if row["jury_grade"] == grade]
        for key in tqdm(chosen, desc=source.name, unit=" takes"):
            notes = notes_of_piano(melodies[answers[key]])
            if len(notes) >= MIN_NOTES:
                hum = Hum(melodies[key], notes, search_in(notes))
                enough_s = 3.0 * melodies[answers[key]].duration_s
                add_hum(source, hum, partial(sing_contour, rng=rng, duration_s=enough_s), ACCURACY)
        yield source


def notes_of_piano(melody: Melody) -> np.ndarray:
    """Cut a piano's contour where its semitone changes or it falls silent; notes of the same pitch may stay one."""
    semitone = np.nan_to_num(np.round(melody.pitch_midi), nan=-1.0)
    edges = np.flatnonzero(np.diff(semitone, prepend=-2.0, append=-2.0))
    notes = [
        (first * HOP_S, (after - first) * HOP_S, semitone[first])
        for first, after in pairwise(edges)
        if semitone[first] >= 0 and after - first >= MIN_CENTRE_FRAMES
    ]
    return np.array(notes).reshape(-1, 3)


def measure_qbsh(options: argparse.Namespace) -> Iterator[Source]:
    """Measure recordings of hums, tracked by our tracker, against the songs' notes."""
    if not options.queries:
        return
    songs = {row["id"]: row["notes"] for row in read_notes(options.songs, "id")}
    searches = {key: search_in(notes) for key, notes in songs.items()}
    queries = [query for query in read_queries(options.queries) if query.acceptable[0] in songs]
    if not queries:
        raise Hmm2SongError(f"no row of {options.queries} names a song of {options.songs}; give the songs hummed")
    source = Source("QBSH")
    rng = np.random.default_rng(options.seed)
    chosen = sampled(queries, options.limit, options.seed)
    for query in tqdm(chosen, unit=" hums"):
        try:
            melody = track_pitch(load_audio(query.file)).melody
        except AudioError as error:
            tqdm.write(f"fit_singer.py: skipped {error}", file=sys.stderr)
            continue
        song_id = query.acceptable[0]
        hum = Hum(melody, songs[song_id], searches[song_id])
        sing = sing_sound if options.sound else sing_contour
        add_hum(source, hum, partial(sing, rng=rng, duration_s=melody.duration_s), QUANTITIES)
    yield source


def sing_contour(
    notes: np.ndarray, singer: Singer, start_s: float, rng: np.random.Generator, duration_s: float
) -> Melody:
    """Let the simulated singer sing what a tracker would hear."""
    return hum_contour(notes, singer, rng, start_s, duration_s).melody


def sing_sound(notes: np.ndarray, singer: Singer, start_s: float, **options: object) -> Melody:
    """Let the simulated singer sing, and track the sound; the options are those of ``sing_contour``."""
    return track_pitch(hum_audio(notes, singer, start_s=start_s, **options)[1]).melody


def add_hum(source: Source, hum: Hum, sing: Callable[..., Melody], keys: Collection[str]) -> None:
    """Measure these quantities of a hum, and of a simulated one of the same notes."""
    people = hum_values(hum)
    if not people:
        add(source, {}, {})
        return
    onset_s = hum.notes[:, 0]
    start_s = onset_s[np.argmin(np.abs(onset_s - onset_s[0] - people["start_s"][0]))]
    singer = FEMALE if "high_midi" in people else Singer()
    simulated = hum_values(replace(hum, melody=sing(hum.notes, singer, float(start_s))))
    simulated.pop("start_s", None)  # it starts where it is told
    add(source, *({key: values[key] for key in values if key in keys} for values in (people, simulated)))


def add(source: Source, people: Values, simulated: Values) -> None:
    """Add the values of one hum and of its simulation."""
    source.n_hums += 1
    source.n_used += bool(people)
    for values, total in ((people, source.people), (simulated, source.simulated)):
        for key, found in values.items():
            total[key] += found


# Measuring a contour against a score --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class AlignedHum:
    """A hum aligned with its score.

    ``hum_s`` and ``song_s`` (n_path,) are the path; ``error_st`` (n_frames,) is hum minus song minus key, NaN where
    unvoiced; ``note`` (n_frames,) the number of the score's note, -1 outside the path.
    """

    hum_s: np.ndarray
    song_s: np.ndarray
    error_st: np.ndarray
    note: np.ndarray
    tempo_ratio: float


def search_in(notes: np.ndarray) -> MelodySearch:
    """Return a search that places hums on one score, in one key: how far people drift from it is measured here."""
    return MelodySearch([melody_from_notes(notes)], n_threads=1, key_reach_st=0.0)


def align(hum: Hum) -> AlignedHum | None:
    """Align a hum with its score, as the search does, but in one key; None if it does not fit."""
    if hum.melody.voiced_s < MIN_VOICED_S:
        return None
    filled = fill_rests(hum.melody)
    ranking = hum.search.rank(filled, np.ones(1, dtype=bool))
    if len(ranking.song) == 0 or ranking.cost_st[0] > MAX_COST_ST:
        return None
    path = hum.search.align(filled, ranking, 0)
    frame_song_s = np.interp(hum.melody.time_s, path.hum_time_s, path.song_time_s, left=np.nan, right=np.nan)
    note = np.searchsorted(hum.notes[:, 0], frame_song_s + 1e-6, side="right") - 1
    note[np.isnan(frame_song_s)] = -1
    error_st = hum.melody.pitch_midi - path.key_shift_st - np.where(note >= 0, hum.notes[note, 2], np.nan)
    return AlignedHum(path.hum_time_s, path.song_time_s, error_st, note, path.tempo_ratio)


def hum_values(hum: Hum) -> Values:
    """Measure everything a contour on the melody grid can tell; nothing if it does not fit its score."""
    aligned = align(hum)
    accuracy = accuracy_values(*note_centres(aligned, hum.notes)) if aligned else {}
    if not accuracy:
        return {}
    median_midi = float(np.nanmedian(hum.melody.pitch_midi))
    voiced = np.flatnonzero(hum.melody.voiced)
    return {
        "high_midi" if median_midi > HIGH_VOICE_MIDI else "low_midi": [median_midi],
        "tempo_ratio": [aligned.tempo_ratio],
        "local_tempo_log_sd": local_tempo_values(aligned),
        "lead_in_s": [voiced[0] * HOP_S],
        "start_s": [aligned.song_s[0] - hum.notes[0, 0]],
        **accuracy,
        **octave_values(aligned),
        **gap_values(hum.melody.voiced[voiced[0] : voiced[-1] + 1], HOP_S),
        **parted_values(hum.melody.voiced, HOP_S, *middles(aligned, hum.notes)),
    }


def note_centres(aligned: AlignedHum, notes: np.ndarray) -> np.ndarray:
    """Return hum time, written pitch and error of every note that was held long enough, shape (3, n)."""
    time_s = np.arange(len(aligned.note)) * HOP_S
    heard = ~np.isnan(aligned.error_st) & (aligned.note >= 0)
    numbers, counts = np.unique(aligned.note[heard], return_counts=True)
    rows = [
        (np.median(time_s[at]), notes[number, 2], np.median(aligned.error_st[at]))
        for number in numbers[counts >= MIN_CENTRE_FRAMES]
        for at in [heard & (aligned.note == number)]
    ]
    return np.array(rows).reshape(-1, 3).T


def accuracy_values(time_s: np.ndarray, written_midi: np.ndarray, error_st: np.ndarray) -> Values:
    """Split the errors of note centres (n,) into wrong notes, drift, scaled intervals and what remains."""
    wrong = np.abs(error_st) > WRONG_ST
    right = ~wrong
    if len(wrong) < MIN_NOTES or right.mean() < MIN_RIGHT_SHARE or np.ptp(written_midi[right]) == 0:
        return {}
    written_st = written_midi[right] - written_midi[right].mean()
    causes = np.column_stack((np.ones(right.sum()), time_s[right] - time_s[right].mean(), written_st))
    effect, *_ = np.linalg.lstsq(causes, error_st[right], rcond=None)
    rest_st = error_st[right] - causes @ effect
    n_free = len(rest_st) - causes.shape[1]
    return {
        "wrong": wrong.astype(float).tolist(),
        "drift_st_per_10s": [10.0 * abs(effect[1])],
        "interval_scale": [1.0 + effect[2]],
        "note_sd_st": [float(np.sqrt((rest_st**2).sum() / n_free))] if n_free > 0 else [],
    }


def local_tempo_values(aligned: AlignedHum) -> list[float]:
    """Return the spread of the log tempo over windows, relative to the hum's."""
    starts_s = np.arange(aligned.hum_s[0], aligned.hum_s[-1] - WANDER_KNOT_S, WANDER_KNOT_S / 2)
    slopes = []
    for start_s in starts_s:
        inside = (aligned.hum_s >= start_s) & (aligned.hum_s < start_s + WANDER_KNOT_S)
        slopes.append(np.polyfit(aligned.hum_s[inside], aligned.song_s[inside], 1)[0])
    return [float(np.std(np.log(np.array(slopes) / aligned.tempo_ratio)))] if len(slopes) > 2 else []


def octave_values(aligned: AlignedHum) -> Values:
    """Find where the contour is an octave off."""
    off = np.abs(np.abs(np.nan_to_num(aligned.error_st)) - 12.0) < OCTAVE_TOLERANCE_ST
    n_voiced = np.count_nonzero(~np.isnan(aligned.error_st))
    lengths_s = run_lengths_s(off, HOP_S)
    return {
        "octave": [off.sum() / n_voiced],
        "octave_slips_per_s": [len(lengths_s) / (n_voiced * HOP_S)],
        "octave_slip_s": lengths_s,
    }


def middles(aligned: AlignedHum, notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for successive notes without a written rest the hum times of their middles, and whether the pitch stays.

    Shapes (n, 2) and (n,). Notes of the same pitch cannot be told apart by the alignment; between them its time runs
    evenly, and as the windows from middle to middle do not overlap, every gap counts once.
    """
    middle_s = notes[:, 0] + notes[:, 1] / 2
    follows = (np.diff(notes[:, 0]) - notes[:-1, 1] < LEGATO_REST_S) & (np.diff(middle_s) > 0)
    inside = (middle_s[:-1] >= aligned.song_s[0]) & (middle_s[1:] <= aligned.song_s[-1])
    first = np.flatnonzero(follows & inside)
    hum_s = np.interp(middle_s, aligned.song_s, aligned.hum_s)
    return np.column_stack((hum_s[first], hum_s[first + 1])), notes[first, 2] == notes[first + 1, 2]


def parted_values(voiced: np.ndarray, hop_s: float, window_s: np.ndarray, is_same: np.ndarray) -> Values:
    """Tell which successive notes are parted by a gap, given the times (n, 2) of their middles."""
    parted = np.array(
        [
            max(run_lengths_s(~voiced[frames_between(*window, hop_s)], hop_s), default=0.0) > PARTED_S - 1e-6
            for window in window_s
        ],
        dtype=bool,
    )
    return {
        "parted_same": parted[is_same].astype(float).tolist(),
        "parted_different": parted[~is_same].astype(float).tolist(),
        "connected": [float(1.0 - parted.mean())] if len(parted) >= MIN_NOTES else [],
    }


def gap_values(voiced: np.ndarray, hop_s: float) -> Values:
    """Measure the silences of a contour that begins and ends voiced."""
    gaps_s = run_lengths_s(~voiced, hop_s)
    long_s = [gap_s for gap_s in gaps_s if gap_s > LONG_GAP_S]
    return {
        "unvoiced": [float(1.0 - voiced.mean())],
        "gap_s": gaps_s,
        "breath_s": long_s,
        "breaths_per_10s": [10.0 * len(long_s) / (len(voiced) * hop_s)],
    }


def run_lengths_s(on: np.ndarray, hop_s: float) -> list[float]:
    """Return how long each run of true frames lasts."""
    edges = np.flatnonzero(np.diff(on.astype(np.int8), prepend=0, append=0))
    return ((edges[1::2] - edges[::2]) * hop_s).tolist()


def frames_between(start_s: float, end_s: float, hop_s: float) -> slice:
    """Return the frames from one time to another, at least one."""
    first = round(start_s / hop_s)
    return slice(first, max(first + 1, round(end_s / hop_s)))


# Measuring labelled notes -------------------------------------------------------------------------------


def take_values(take: Take) -> Values:
    """Measure everything labelled notes can tell."""
    values: Values = defaultdict(list)
    for note in take.notes:
        for key, found in note_values(take.pitch_midi, note).items():
            values[key] += found
    for before, after in pairwise(take.notes):
        values["glide_s"] += glide_s(take.pitch_midi, before, after)
    onset_s, length_s, midi = take.notes.T
    gaps_s = onset_s[1:] - onset_s[:-1] - length_s[:-1]
    values["labelled_gap_s"] += gaps_s[gaps_s > 0].tolist()
    values["breath_s"] += gaps_s[gaps_s > LONG_GAP_S].tolist()
    middle_s = onset_s + length_s / 2
    follows = np.flatnonzero(gaps_s <= LONG_GAP_S)
    window_s = np.column_stack((middle_s[follows], middle_s[follows + 1]))
    voiced = ~np.isnan(take.pitch_midi)
    if np.isfinite(take.written_midi).all():
        error_st = midi - take.written_midi
        error_st -= np.median(error_st)
        values |= accuracy_values(middle_s, take.written_midi, error_st - 12.0 * np.round(error_st / 12.0))
        values |= parted_values(voiced, SSVD_HOP_S, window_s, np.diff(take.written_midi)[follows] == 0)
    return dict(values)


def note_values(pitch_midi: np.ndarray, note: np.ndarray) -> Values:
    """Measure one labelled note of (onset_s, duration_s, midi): steadiness, scoop, vibrato."""
    onset_s, length_s, _ = note
    inner = pitch_midi[frames_between(onset_s + NOTE_EDGE_S, onset_s + length_s - NOTE_EDGE_S, SSVD_HOP_S)]
    inner = inner[~np.isnan(inner)]
    if len(inner) < 10 or np.ptp(inner) > 4.0:  # too short, or not one note
        return {}
    middle_midi = np.median(inner)
    time_s = np.arange(len(inner)) * SSVD_HOP_S
    flat_st = inner - np.polyval(np.polyfit(time_s, inner, 1), time_s)
    values = {
        "jitter_st": [float(np.sqrt(np.mean((inner - middle_midi) ** 2)))],
        "autocorrelation": [float(np.mean(flat_st[1:] * flat_st[:-1]) / max(np.mean(flat_st**2), 1e-12))],
    }
    before = pitch_midi[frames_between(max(0.0, onset_s - PARTED_S), onset_s, SSVD_HOP_S)]
    start = pitch_midi[frames_between(onset_s, onset_s + SCOOP_S, SSVD_HOP_S)]
    if np.isnan(before).any() and not np.isnan(start).all():  # after another note it would be a glide
        values["scoop_st"] = [float(abs(np.nanmedian(start) - middle_midi))]
    if length_s >= Singer().vibrato_shortest_note_s:
        values |= vibrato_values(flat_st)
    return values


def vibrato_values(flat_st: np.ndarray) -> Values:
    """Look for vibrato in the fluctuation (n_frames,) of a long note: has it any, its rate and depth."""
    frequency_hz = np.fft.rfftfreq(N_FFT, SSVD_HOP_S)
    power = np.abs(np.fft.rfft(flat_st * np.hanning(len(flat_st)), N_FFT)) ** 2
    low, high = (np.searchsorted(frequency_hz, edge_hz) for edge_hz in VIBRATO_HZ)
    of = (frequency_hz > VIBRATO_OF_HZ[0]) & (frequency_hz < VIBRATO_OF_HZ[1])
    band = butter(2, (VIBRATO_HZ[0] - 0.5, VIBRATO_HZ[1] + 0.5), "bandpass", fs=1 / SSVD_HOP_S, output="sos")
    wave_st = sosfiltfilt(band, flat_st, padlen=min(15, len(flat_st) - 1))
    depth_st = float(np.std(wave_st) * np.sqrt(2.0))
    if power[low:high].sum() <= VIBRATO_POWER_SHARE * power[of].sum() or depth_st < VIBRATO_LEAST_ST:
        return {"vibrato": [0.0]}
    rate_hz = float(frequency_hz[low + np.argmax(power[low:high])])
    return {"vibrato": [1.0], "vibrato_hz": [rate_hz], "vibrato_st": [depth_st]}


def glide_s(pitch_midi: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[float]:
    """Time the glide between two labelled notes; empty if they are parted or too near or far in pitch."""
    interval_st = after[2] - before[2]
    first, last = (round((onset_s + length_s / 2) / SSVD_HOP_S) for onset_s, length_s, _ in (before, after))
    way = (pitch_midi[first:last] - before[2]) / interval_st if interval_st else np.full(1, np.nan)
    if np.isnan(way).any() or not GLIDE_ST[0] < abs(interval_st) < GLIDE_ST[1]:
        return []
    arrived = np.flatnonzero(way > GLIDE_PART[1])
    left = np.flatnonzero(way[: arrived[0]] < GLIDE_PART[0]) if len(arrived) else arrived
    return [(arrived[0] - left[-1]) * SSVD_HOP_S] if len(left) else []


# Reporting ----------------------------------------------------------------------------------------------


Summary = dict[str, float]
"""Statistics of values, in the unit of their quantity: n, median, p5, p95, mean, sd."""


def summarise(values: Sequence[float], scale: float) -> Summary | None:
    """Summarise values; None if there are none."""
    if not len(values):
        return None
    scaled = np.asarray(values) * scale
    p5, median, p95 = map(float, np.percentile(scaled, (5, 50, 95)))
    rest = {"mean": float(scaled.mean()), "sd": float(scaled.std())}
    return {"n": len(scaled), "median": median, "p5": p5, "p95": p95, **rest}


def written(summary: Summary | None, is_mean: bool) -> str:
    """Write a summary as a cell of the table."""
    if summary is None:
        return ""
    if is_mean:
        return f"mean {summary['mean']:.3g} ({summary['n']})"
    return "{median:.3g}, {p5:.3g} to {p95:.3g} ({n})".format(**summary)


def constant(name: str) -> object:
    """Return a constant of training/singer.py: a field of the default Singer, of FEMALE, or of the module."""
    if name.startswith("FEMALE."):
        return getattr(FEMALE, name.removeprefix("FEMALE."))
    return getattr(simulation if name.isupper() else Singer(), name)


def constant_cell(name: str) -> str:
    """Write a constant as a part of a cell."""
    value = constant(name)
    numbers = value if isinstance(value, tuple) else (value,)
    return f"{name} {' to '.join(f'{number:.3g}' for number in numbers)}"


def report(sources: Sequence[Source]) -> Iterator[str]:
    """Write the figures as Markdown tables, and list what differs."""
    for source in sources:
        yield f"{source.name}: {source.n_used} of {source.n_hums} hums could be measured"
        yield ""
        cells, different = [], []
        for quantity, people, simulated in rows_of(source):
            summaries = [written(summary, quantity.is_mean) for summary in (people, simulated)]
            constants = ", ".join(map(constant_cell, quantity.constants))
            cells.append([quantity.label, quantity.unit, *summaries, constants])
            if people and simulated and (share := difference(quantity, people, simulated)):
                different.append(f"{quantity.label} {share:+.0%}")
        yield markdown_table(TABLE_HEAD, cells)
        yield ""
        yield f"Simulated against people, more than {DIFFERENT:.0%} apart: {'; '.join(different) or 'nothing'}."
        yield ""


def rows_of(source: Source) -> Iterator[tuple[Quantity, Summary | None, Summary | None]]:
    """Yield the quantities measured, with the summaries of people and of the simulation."""
    for key, quantity in QUANTITIES.items():
        people, simulated = (
            summarise(values.get(key, ()), quantity.scale) for values in (source.people, source.simulated)
        )
        if people or simulated:
            yield quantity, people, simulated


def difference(quantity: Quantity, people: Summary, simulated: Summary) -> float:
    """Return how far the simulated median (or mean) is from people's, relative to theirs; 0 if near enough."""
    theirs, ours = (summary["mean" if quantity.is_mean else "median"] for summary in (people, simulated))
    share = ours / theirs - 1.0 if theirs else 0.0
    return share if abs(share) > DIFFERENT else 0.0


def to_json(sources: Sequence[Source]) -> dict:
    """Return the figures as plain JSON types."""
    return {
        source.name: {
            "n_hums": source.n_hums,
            "n_used": source.n_used,
            "quantities": [
                {
                    "quantity": quantity.label,
                    "unit": quantity.unit,
                    "people": people,
                    "simulated": simulated,
                    "constants": {name: constant(name) for name in quantity.constants},
                }
                for quantity, people, simulated in rows_of(source)
            ],
        }
        for source in sources
    }


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
