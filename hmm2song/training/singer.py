"""The simulated singer: notes in, a plausible hum out, as a contour.

It stands in for people where no recording may be used: in tests, for the example hums and for training. How its
voice sounds is the subject of :mod:`hmm2song.training.voice`.

Conventions
-----------
* Notes are ``[onset_s, duration_s, midi]`` rows of a song, one voice; pitches are MIDI numbers.
* *Song time* runs in the score, *hum time* in the performance, where 0 is the first frame and sample.
* ``tempo_ratio`` and ``key_shift_st`` mean what they mean in :class:`hmm2song.match.results.Alignment`: 1.2 is 20 %
  faster than the score, and hum = song + shift, octave included.
* Everything random comes from the generator passed in: the same seed gives the same hum.

Where the numbers come from
---------------------------
"measured" beside a constant is a statistic over people, of which only the statistic is used here, as
``scripts/studies/fit_singer.py`` finds it; ``docs/singer.md`` holds its tables:

* *SSVD*: 194 amateur phone recordings of sight-singing with hand-labelled notes; note centres from 91 whose
  exercise at least two others sang with equally many notes, against their consensus;
* *MAST*: 632 of 869 recordings of students singing back short melodies, passed or failed by a jury, aligned
  with a piano's rendition by our own search;
* *QBSH*: 279 of 300 random hums of 8 s of well-known songs (MIR-QBSH), aligned with their scores likewise.
  Those that would not align are left out, so the worst hums are missing, here and in MAST.

"simulated" is what the same measurement finds in hums of this singer. Contours give most of the statistics back.
Medians, QBSH in brackets: sd of note centres 0.33 st (0.35), of log tempo over 2 s 0.060 (0.052); gaps 0.08 s
(0.08); connected notes 48 % (44); unvoiced 15 % (17); octave slips in 0.2 % of the frames (0.2). The sound as
tracked is too connected: connected notes 71 %, unvoiced 9 %.

"assumed" marks what none of them can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import lfilter

from hmm2song.errors import MelodyError
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody, within_range

CONTROL_PER_FRAME = 4
"""Curves are drawn four times finer than the melody grid: glides and vibrato must be smooth in the sound."""
CONTROL_RATE_HZ = FRAME_RATE_HZ * CONTROL_PER_FRAME
SHORTEST_NOTE_S = 0.06
"""Shorter remainders of notes are left out: neither a voice nor a tracker gets there."""
LONGEST_REST_S = 1.5
"""Nobody hums the bars of an instrumental break: longer rests are cut to this (assumed)."""
PHRASE_REST_S = 0.25
"""A rest this long in the score ends a phrase."""
PHRASE_NOTE_RATIO = 1.9
"""So does a note this many times as long as the usual one, in scores written without rests."""
LEGATO_REST_S = 0.15
"""A shorter rest in the score is how its notes are articulated, and a singer may connect them."""
WANDER_KNOT_S = 2.0
"""Tempo and pitch wander on this time scale; it is the window in which both were measured."""
WRONG_NOTE_ST = (-4, -3, -2, 2, 3, 4)
"""A wrong note lies this far off (assumed: a third at most; one semitone is within the ordinary error)."""
VIBRATO_DELAY_S = 0.2
"""Vibrato sets in after the note has settled."""

WHISTLE = "whistle"
"""The one timbre without a throat: nearly a sine."""


@dataclass(frozen=True)
class Singer:
    """How one kind of person errs and sounds: distributions, of which each hum is one draw.

    Pairs are uniform ranges or limits, as said. The defaults are an untrained man; see :data:`FEMALE`,
    :data:`WHISTLER` and :data:`FLAWLESS`, or use :func:`dataclasses.replace`.
    """

    # Key and tempo, once per hum
    centre_midi: float = 52.0  # median pitch of a hum; measured, low voices: QBSH 51.9, MAST 52.4-52.5
    centre_sd_st: float = 3.0  # measured: QBSH low voices 3.0, quartiles 49.9-53.6
    tempo_log_sd: float = 0.2  # measured, sd of the ratio: QBSH 0.185 around 1.04, MAST fail 0.127 around 0.955
    tempo_ratio_limits: tuple[float, float] = (0.6, 1.7)  # measured: QBSH 5-95 % 0.79-1.38; rarely beyond
    interval_scale_sd: float = 0.06  # measured: QBSH 0.07, SSVD 0.05, MAST pass 0.06, fail 0.09; medians 0.99-1.00
    interval_scale_limit: float = 0.15  # measured: MAST fail 5-95 % -16 to +14 %
    # Wandering
    tempo_warp_log_sd: float = 0.08  # measured: QBSH over 2 s stretches, mean 0.067; simulated 0.072
    tempo_warp_limit: float = 0.2  # measured: QBSH sd over 2 s stretches, 95 % 0.17; simulated 0.15
    drift_sd_st_per_10s: float = 0.4  # measured: QBSH |slope| median 0.50, simulated 0.50; SSVD 0.12, simulated 0.20
    # Single notes
    note_error_median_st: float = 0.31  # measured, sd in a hum: QBSH 0.35, SSVD 0.37, MAST 0.29-0.42; simulated 0.33
    note_error_log_sd: float = 0.35  # measured: QBSH 5-95 % 0.20-0.58 st
    wrong_probability: float = 0.03  # measured, over 1.5 st off: QBSH 2.1 %, SSVD 2.9 %, MAST pass 1.8 %, fail 7.0 %
    dropped_probability: float = 0.02  # assumed; the note before is held instead
    repeated_probability: float = 0.02  # assumed; another syllable on the same note
    # Within notes
    jitter_sd_st: float = 0.17  # measured: SSVD frames around a note's median 0.15, simulated 0.15
    jitter_time_s: float = 0.07  # measured: SSVD autocorrelation 0.78 at 16 ms; simulated 0.58
    glide_median_s: float = 0.11  # measured: SSVD 15-85 % of the way in 0.064 s, half of a cosine glide
    glide_log_sd: float = 0.6  # measured: SSVD quartiles 0.048-0.096 s
    scoop_sd_st: float = 0.5  # measured: SSVD first 50 ms off the note, median 0.30, 95 % 1.15; simulated 0.28, 0.88
    vibrato_probability: float = 0.20  # measured: SSVD, 0.16 of 2,806 long notes are found to have it; simulated 0.16
    vibrato_shortest_note_s: float = 0.55  # the notes counted as long there
    vibrato_rate_hz: tuple[float, float] = (4.0, 6.0)  # measured: SSVD, median 4.9; simulated 5.3
    vibrato_depth_median_st: float = 0.16  # measured: SSVD 0.17, simulated 0.16
    vibrato_depth_log_sd: float = 0.6  # measured: SSVD 5-95 % 0.10-0.51 st; simulated 0.11-0.32
    # Between notes
    legato_share: tuple[float, float] = (0.1, 1.0)  # over hums, "la la" to "mm"; measured: QBSH 5-95 % 0.08-0.94
    gap_median_s: float = 0.075  # measured: QBSH as tracked 0.08, SSVD by hand 0.12
    gap_log_sd: float = 0.6  # measured: SSVD quartiles 0.08-0.19 s
    breath_rate_per_s: float = 0.25  # measured: QBSH 1.4 gaps over 0.25 s in 10 s, rests included; simulated 1.3
    breath_s: tuple[float, float] = (0.3, 0.9)  # measured, gaps over 0.25 s: SSVD quartiles 0.45-0.75, QBSH 0.36-0.52
    # Beginning
    phrase_start_probability: float = 0.7  # assumed; otherwise any note, mid-phrase
    lead_in_s: tuple[float, float] = (0.1, 0.9)  # silence at first; measured: QBSH 5-95 % 0.20-0.96
    # The tracker's errors, in contours only
    octave_slip_rate_per_s: float = 0.02  # measured: QBSH with SwiftF0 0.023, 37 in 279 hums
    octave_slip_s: tuple[float, float] = (0.04, 0.2)  # measured: the same, 5-95 % 0.04-0.22
    # Sound
    timbres: tuple[str, ...] = ("mm", "la", "oo")  # one is picked per hum
    formant_scale: float = 1.0  # women's resonances are about 1.17 times as high (Peterson & Barney 1952)
    cycle_jitter_share: float = 0.005  # of f0; healthy voices stay below 1 %
    shimmer_db: float = 0.3  # healthy voices stay below about 0.4 dB
    note_level_sd_db: float = 2.0  # assumed
    breath_noise_db: tuple[float, float] = (-38.0, -24.0)  # relative to the voice (assumed)
    reverb_t60_s: tuple[float, float] = (0.15, 0.5)  # living rooms and bedrooms (assumed)
    reverb_db: tuple[float, float] = (-24.0, -10.0)  # relative to the direct sound, at arm's length (assumed)
    snr_db: tuple[float, float] = (15.0, 40.0)  # from a street to a quiet room (assumed)
    low_cut_hz: tuple[float, float] = (60.0, 150.0)  # small microphones (assumed)
    peak_dbfs: tuple[float, float] = (-20.0, -3.0)  # assumed


FEMALE = Singer(centre_midi=64.0, centre_sd_st=2.5, formant_scale=1.17)
"""An untrained woman; measured: high voices of MAST, medians 64.0-64.2, 5-95 % 60.4-68.0."""
WHISTLER = Singer(centre_midi=86.0, centre_sd_st=3.0, timbres=(WHISTLE,))
"""Somebody whistling, about 800-2000 Hz."""
_ERRORS = (
    "centre_sd_st", "tempo_log_sd", "interval_scale_sd", "tempo_warp_log_sd", "drift_sd_st_per_10s",
    "note_error_median_st", "wrong_probability", "dropped_probability", "repeated_probability", "jitter_sd_st",
    "scoop_sd_st", "vibrato_probability", "breath_rate_per_s", "octave_slip_rate_per_s",
)  # fmt: skip
FLAWLESS = Singer(
    legato_share=(0.0, 0.0), phrase_start_probability=1.0, lead_in_s=(0.0, 0.0), **dict.fromkeys(_ERRORS, 0.0)
)
"""Sings what is written, the notes apart, in a key of its own: for tests that need a known answer."""


@dataclass(frozen=True, eq=False)
class Performance:
    """A hum and the truth about it.

    ``melody`` is the contour from hum time 0; ``start_s`` and ``end_s`` the song times at which the first note begins
    and the last ends, as sung; ``hum_onset_s`` and ``song_onset_s``, shape (n_notes,), when each note begins.
    """

    melody: Melody
    start_s: float
    end_s: float
    tempo_ratio: float
    key_shift_st: float
    hum_onset_s: np.ndarray
    song_onset_s: np.ndarray


@dataclass(frozen=True, eq=False)
class Take:
    """A performance on the control grid, before it becomes a contour or sound.

    ``pitch_midi`` (held through silences) and ``voiced`` have one value per control frame, shape (n_control,);
    ``hum_end_s``, shape (n_notes,), is when each note falls silent.
    """

    performance: Performance
    pitch_midi: np.ndarray
    voiced: np.ndarray
    hum_end_s: np.ndarray


def hum_contour(
    notes: Sequence[Sequence[float]],
    singer: Singer,
    rng: np.random.Generator,
    start_s: float | None = None,
    duration_s: float = 8.0,
) -> Performance:
    """Hum notes as a pitch tracker would hear it, octave slips included.

    Parameters
    ----------
    notes : sequence of (onset_s, duration_s, midi)
        A song. Where notes overlap the later onset wins, as in :func:`hmm2song.melody.melody.melody_from_notes`.
    start_s : float, optional
        Song time to begin at; a note sounding there is begun in its middle. By default somewhere in the song,
        preferably at a phrase, such that the song suffices for ``duration_s`` if it is long enough.
    duration_s : float
        Length of the hum, lead-in included; shorter if the song ends before.

    Raises
    ------
    MelodyError
        No usable note, or nothing left to sing after ``start_s`` or within ``duration_s``.
    """
    take = perform(notes, singer, rng, start_s, duration_s)
    slips_st = _octave_slips(singer, rng, len(take.pitch_midi))
    return replace(take.performance, melody=_on_frames(take.pitch_midi + slips_st, take.voiced))


def _on_frames(pitch_midi: np.ndarray, voiced: np.ndarray) -> Melody:
    """Put a contour at the control rate on the melody grid."""
    return Melody(within_range(np.where(voiced, pitch_midi, np.nan)[::CONTROL_PER_FRAME]))


# What is sung: score rows in song time ------------------------------------------------------------------


def _one_voice(notes: Sequence[Sequence[float]]) -> np.ndarray:
    """Check notes and return rows of (onset_s, end_s, midi), sorted, not overlapping, shape (n_notes, 3)."""
    table = np.asarray(notes, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 3 or len(table) == 0:
        raise MelodyError(f"notes must be rows of [onset_s, duration_s, midi], got shape {table.shape}")
    if not np.isfinite(table).all():
        raise MelodyError("notes must be finite numbers")
    table = table[np.argsort(table[:, 0], kind="stable")]
    end_s = np.minimum(table[:, 0] + table[:, 1], np.append(table[1:, 0], np.inf))
    rows = np.column_stack((table[:, 0], end_s, table[:, 2]))[end_s > table[:, 0]]
    if len(rows) == 0:
        raise MelodyError("none of the notes has a positive duration_s")
    return rows


def _choose_start_s(rows: np.ndarray, needed_s: float, singer: Singer, rng: np.random.Generator) -> float:
    """Pick a note to begin with, a phrase's first if it can be, leaving ``needed_s`` of song."""
    onset_s, end_s = rows[:, 0], rows[:, 1]
    spacing_s = np.diff(onset_s)
    usual_s = np.median(spacing_s) if len(spacing_s) else 0.0
    after_rest = onset_s[1:] - end_s[:-1] >= PHRASE_REST_S
    begins_phrase = np.append(True, after_rest | (spacing_s >= PHRASE_NOTE_RATIO * usual_s))
    possible = onset_s <= max(onset_s[0], end_s[-1] - needed_s)
    at_phrase = rng.random() < singer.phrase_start_probability
    return float(rng.choice(onset_s[possible & begins_phrase] if at_phrase else onset_s[possible]))


def _rows_from(rows: np.ndarray, start_s: float) -> np.ndarray:
    """Return the rows from ``start_s`` on; a note sounding there loses its beginning."""
    left = rows[rows[:, 1] > start_s + SHORTEST_NOTE_S].copy()
    if len(left) == 0:
        raise MelodyError(f"no note to sing after start_s={start_s:.2f}; the song ends at {rows[-1, 1]:.2f} s")
    left[:, 0] = np.maximum(left[:, 0], start_s)
    return left


def _misremember(rows: np.ndarray, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Drop, repeat and mistake notes of (onset_s, end_s, midi) rows."""
    chance = rng.random((3, len(rows)))
    wrong_st = rng.choice(WRONG_NOTE_ST, len(rows))
    split_at = rng.uniform(0.3, 0.7, len(rows))
    midi = rows[:, 2] + np.where(chance[0] < singer.wrong_probability, wrong_st, 0)
    dropped = np.append(False, chance[1, 1:] < singer.dropped_probability)
    after_rest = np.append(False, rows[1:, 0] - rows[:-1, 1] >= PHRASE_REST_S)
    kept = np.flatnonzero(~dropped)
    # the note before a dropped one is held in its place, but not across a rest
    held_end_s = np.maximum.reduceat(np.where(dropped & after_rest, 0.0, rows[:, 1]), kept)
    rows = np.column_stack((rows[kept, 0], held_end_s, midi[kept]))
    split = np.flatnonzero(chance[2, kept] < singer.repeated_probability)
    second = rows[split]
    second[:, 0] += split_at[kept][split] * (second[:, 1] - second[:, 0])
    rows[split, 1] = second[:, 0]
    return np.insert(rows, split + 1, second, axis=0)


# When it is sung: hum time ------------------------------------------------------------------------------


def _wander(span_s: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a normal number on each of the knots covering 0 to ``span_s``; return knot times and numbers."""
    n_knots = int(np.ceil(span_s / WANDER_KNOT_S)) + 2
    return np.arange(n_knots) * WANDER_KNOT_S, rng.standard_normal(n_knots)


def _hum_times_s(rows: np.ndarray, tempo_ratio: float, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Map onsets and ends to seconds since the first onset at the singer's tempo, shape (n_notes, 2)."""
    rest_s = rows[1:, 0] - rows[:-1, 1]
    skipped_s = np.append(0.0, np.cumsum(np.maximum(rest_s - LONGEST_REST_S, 0.0)))
    even_s = (rows[:, :2] - rows[0, 0] - skipped_s[:, None]) / tempo_ratio
    knot_s, number = _wander(even_s[-1, 1], rng)
    slower = np.clip(singer.tempo_warp_log_sd * number, -singer.tempo_warp_limit, singer.tempo_warp_limit)
    slower -= slower[:-1].mean()
    warped_s = np.append(0.0, np.cumsum(WANDER_KNOT_S * np.exp(slower[:-1])))
    return np.interp(even_s, knot_s, warped_s)


def _articulate(onset_s: np.ndarray, end_s: np.ndarray, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Connect notes or part them by gaps and breaths; return the new ends, shape (n_notes,)."""
    n_between = len(onset_s) - 1
    legato_share = rng.uniform(*singer.legato_share)
    gap_s = singer.gap_median_s * np.exp(singer.gap_log_sd * rng.standard_normal(n_between))
    breath_s = rng.uniform(*singer.breath_s, n_between)
    connects, breathes = rng.random((2, n_between))
    spacing_s = np.diff(onset_s)
    written_rest_s = onset_s[1:] - end_s[:-1]
    # measured: notes of the same pitch are parted as often as others (QBSH 51 % and 52 %; but SSVD 66 % and 50 %)
    connected = (connects < legato_share) & (written_rest_s < LEGATO_REST_S)
    breathing = breathes < 1.0 - np.exp(-singer.breath_rate_per_s * spacing_s)
    parted_end_s = np.minimum(end_s[:-1], onset_s[1:] - np.minimum(gap_s, spacing_s / 2))
    ends = np.where(connected, onset_s[1:], parted_end_s)
    ends = np.where(breathing, np.minimum(ends, onset_s[1:] - np.minimum(breath_s, 0.6 * spacing_s)), ends)
    return np.append(np.maximum(ends, np.minimum(onset_s[:-1] + SHORTEST_NOTE_S, onset_s[1:])), end_s[-1])


# How it is sung: curves on the control grid -------------------------------------------------------------


def perform(
    notes: Sequence[Sequence[float]],
    singer: Singer,
    rng: np.random.Generator,
    start_s: float | None,
    duration_s: float,
) -> Take:
    """Draw one performance; parameters and errors are those of :func:`hum_contour`."""
    if not duration_s > 0:
        raise MelodyError(f"duration_s must be positive, got {duration_s}")
    rows = _one_voice(notes)
    tempo_ratio = float(np.clip(np.exp(singer.tempo_log_sd * rng.standard_normal()), *singer.tempo_ratio_limits))
    if start_s is None:
        start_s = _choose_start_s(rows, duration_s * tempo_ratio, singer, rng)
    rows = _rows_from(rows, start_s)
    rows = _misremember(rows, singer, rng)
    lead_in_s = rng.uniform(*singer.lead_in_s)
    times_s = lead_in_s + _hum_times_s(rows, tempo_ratio, singer, rng)
    sung = times_s[:, 0] < duration_s - SHORTEST_NOTE_S
    if not sung.any():
        raise MelodyError(f"no note fits into duration_s={duration_s:.2f} after {lead_in_s:.2f} s of lead-in")
    rows, onset_s, written_end_s = rows[sung], times_s[sung, 0], np.minimum(times_s[sung, 1], duration_s)
    end_s = _articulate(onset_s, written_end_s, singer, rng)
    song_per_hum = (rows[-1, 1] - rows[-1, 0]) / (times_s[sung][-1, 1] - times_s[sung][-1, 0])
    centre_midi = float(np.median(rows[:, 2]))
    key_shift_st = singer.centre_midi + singer.centre_sd_st * rng.standard_normal() - centre_midi
    widest = singer.interval_scale_limit
    scale = 1.0 + np.clip(singer.interval_scale_sd * rng.standard_normal(), -widest, widest)
    note_sd_st = singer.note_error_median_st * np.exp(singer.note_error_log_sd * rng.standard_normal())
    target_midi = centre_midi + key_shift_st + scale * (rows[:, 2] - centre_midi)
    target_midi += note_sd_st * rng.standard_normal(len(rows))
    n_frames = max(1, round(end_s[-1] * FRAME_RATE_HZ))
    time_s = np.arange(n_frames * CONTROL_PER_FRAME) / CONTROL_RATE_HZ
    note = np.maximum(np.searchsorted(onset_s, time_s, side="right") - 1, 0)
    pitch_midi = (
        _glides(time_s, onset_s, end_s, target_midi, singer, rng)
        + _drift_st(time_s, singer, rng)
        + _vibrato_st(time_s - onset_s[note], (end_s - onset_s)[note], note, singer, rng)
        + singer.jitter_sd_st * _smooth_noise(len(time_s), singer.jitter_time_s, rng)
    )
    voiced = (time_s >= onset_s[note]) & (time_s < end_s[note])
    performance = Performance(
        melody=_on_frames(pitch_midi, voiced),
        start_s=float(rows[0, 0]),
        end_s=float(min(rows[-1, 0] + (end_s[-1] - onset_s[-1]) * song_per_hum, rows[-1, 1])),
        tempo_ratio=tempo_ratio,
        key_shift_st=float(key_shift_st),
        hum_onset_s=onset_s,
        song_onset_s=rows[:, 0],
    )
    return Take(performance, pitch_midi, voiced, end_s)


def _glides(
    time_s: np.ndarray,
    onset_s: np.ndarray,
    end_s: np.ndarray,
    target_midi: np.ndarray,
    singer: Singer,
    rng: np.random.Generator,
) -> np.ndarray:
    """Join the notes' targets: half-cosine glides between connected notes, scoops into the others."""
    n_notes = len(onset_s)
    glide_s = singer.glide_median_s * np.exp(singer.glide_log_sd * rng.standard_normal(n_notes))
    scoop_st = singer.scoop_sd_st * rng.standard_normal(n_notes)
    connected = np.append(False, onset_s[1:] - end_s[:-1] < 1e-6)
    from_midi = np.where(connected, np.roll(target_midi, 1), target_midi + scoop_st)
    glide_s = np.maximum(np.minimum(glide_s, 0.8 * (end_s - onset_s)), 1.0 / CONTROL_RATE_HZ)
    # a glide between connected notes is centred on their border, a scoop begins with its note
    begin_s = onset_s - np.where(connected, glide_s / 2, 0.0)
    note = np.maximum(np.searchsorted(begin_s, time_s, side="right") - 1, 0)
    way = np.clip((time_s - begin_s[note]) / glide_s[note], 0.0, 1.0)
    return from_midi[note] + (target_midi - from_midi)[note] * (0.5 - 0.5 * np.cos(np.pi * way))


def _drift_st(time_s: np.ndarray, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Draw the slow loss of the key: a random walk, centred so that the key shift stays true on the whole."""
    knot_s, number = _wander(time_s[-1], rng)
    walk_st = np.cumsum(singer.drift_sd_st_per_10s * np.sqrt(WANDER_KNOT_S / 10.0) * number)
    drift_st = np.interp(time_s, knot_s, walk_st)
    return drift_st - drift_st.mean()


def _vibrato_st(
    into_note_s: np.ndarray,
    note_length_s: np.ndarray,
    note: np.ndarray,
    singer: Singer,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw vibrato on some of the long notes; all arrays have one value per control frame."""
    rate_hz = rng.uniform(*singer.vibrato_rate_hz)
    depth_st = singer.vibrato_depth_median_st * np.exp(singer.vibrato_depth_log_sd * rng.standard_normal())
    chosen = rng.random(note[-1] + 1) < singer.vibrato_probability
    swell = np.clip((into_note_s - VIBRATO_DELAY_S) / VIBRATO_DELAY_S, 0.0, 1.0)
    long_enough = note_length_s >= singer.vibrato_shortest_note_s
    wave_st = depth_st * swell * np.sin(2 * np.pi * rate_hz * into_note_s)
    return np.where(chosen[note] & long_enough, wave_st, 0.0)


def _smooth_noise(n_control: int, time_constant_s: float, rng: np.random.Generator) -> np.ndarray:
    """Draw noise of unit variance that forgets itself within ``time_constant_s``, shape (n_control,)."""
    memory = np.exp(-1.0 / (CONTROL_RATE_HZ * time_constant_s))
    white = rng.standard_normal(n_control)
    white[0] /= np.sqrt(1 - memory**2)  # begins in its steady state
    return lfilter([np.sqrt(1 - memory**2)], [1.0, -memory], white)


def _octave_slips(singer: Singer, rng: np.random.Generator, n_control: int) -> np.ndarray:
    """Draw the short octave errors of a tracker, shape (n_control,)."""
    slips_st = np.zeros(n_control)
    for _ in range(rng.poisson(singer.octave_slip_rate_per_s * n_control / CONTROL_RATE_HZ)):
        begin = rng.integers(n_control)
        length = round(rng.uniform(*singer.octave_slip_s) * CONTROL_RATE_HZ)
        slips_st[begin : begin + length] = rng.choice((-12.0, 12.0))
    return slips_st
