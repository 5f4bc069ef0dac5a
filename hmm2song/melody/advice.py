"""What could be better about a recording, measured from it.

Conventions
-----------
* A code is given only if its measure passes a threshold that real hums rarely pass: of 400 recordings of MIR-QBSH
  (8 bit, 8 kHz, many noisy) and 162 other hums, less than 5 % get any one code except ``too_short``.
* Levels are dBFS (0 = full scale) or differences of levels in dB; shares are percent.
* Advice never stops a search: a bad recording of a known song may still be found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.melody.melody import Melody, hz_to_midi
from hmm2song.melody.pitch import LOUD_PERCENTILE, SILENCE_PEAK, PitchTrack, voiced_runs

MIN_MELODY_S = 4.0
"""Seconds with a pitch; shorter hums fit too many songs."""
QUIET_DBFS = -45.0
"""Level of the loud frames; the quietest of the real hums that were still tracked well have -41 dBFS."""
FLOOR_DBFS = -120.0
"""Reported for digital silence, whose level is minus infinity (which JSON cannot hold)."""

ACTIVE_BELOW_LOUD_DB = 20.0
"""Frames this close to the loud ones are the performance, not the pauses."""
MIN_VOICED_PERCENT = 40.0
"""Share of the performance that has a pitch; sung lyrics with all their consonants keep at least 50 %."""

FULL_SCALE = 0.97
"""Samples beyond this are at full scale: 8-bit audio ends at 0.992, and resampling rounds off flat tops."""
NEAR_FULL_SCALE = 0.90
CLIPPED_PERCENT = 3.0
"""Share of samples at full scale; less is neither heard nor harmful."""
CLIPPED_PILE_UP = 2.0
"""An overloaded recording has this many times more samples at full scale than just below it. A pure tone that only
touches full scale has 1.2 times as many, a voice far fewer."""

PAUSE_MARGIN_S = 0.05
"""Frames this close to voiced ones may still hold their sound."""
MIN_PAUSE_S = 0.3
"""Seconds of pauses needed to know the background at all."""
BACKGROUND_PERCENTILE = 25
"""Of the pauses' levels: breaths and consonants are louder than the background."""
NOISY_MARGIN_DB = 4.0
"""Level of the voice (with background) over the background alone; 4 dB means a voice about 2 dB stronger than
the background. The tracker starts to lose notes at about 2 dB."""

MIN_JUDGED_S = 1.0
"""Seconds of sound needed to say what kind it is."""
VIBRATO_CYCLE_S = 0.18
"""Pitch is averaged over one cycle of vibrato (about 5.5 Hz), which is no speech melody."""
STEADY_S, STEADY_RANGE_ST = 0.16, 0.5
"""A steady stretch stays within this many semitones for this long. Sung notes have one; spoken syllables glide."""
MIN_STEADY_PERCENT = 55.0
SYLLABLE_S = 0.3
"""Median length of uninterrupted voice below which it may be speech: spoken syllables last 0.1 to 0.25 s."""

SPECTRUM_SAMPLES = 1024
"""64 ms: its main lobe (+-31 Hz) still separates the overtones of a low voice."""
SPECTRUM_EVERY = 3
"""Every third frame of the track suffices for an average."""
HARMONIC_HALF_WIDTH_HZ = 36.0
"""Main lobe plus a little vibrato."""
BOTTOM_HZ, TOP_HZ, WHISTLE_TOP_HZ = 80.0, 2000.0, 4000.0
"""Where melodies and their strong overtones lie; below is rumble and mains hum."""
MIN_HARMONIC_PERCENT = 88.0
"""Share of the power that lies on the overtones of the tracked pitch: real hums 93 % or more, two voices
75-91 %, a band 50-85 %."""
SURE_CONFIDENCE = 0.94
"""Steady noise lowers the harmonic share as well, but of a single voice in it the tracker stays surer."""


@dataclass(frozen=True)
class Advice:
    """Something about the recording that the person who made it can mend.

    ``code`` is stable (``too_short``, ``too_quiet``, ``clipped``, ``mostly_unvoiced``, ``noisy``, ``not_one_voice``);
    ``message`` is the English sentence with the measured ``value`` in it.
    """

    code: str
    message: str
    value: float

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        return {"code": self.code, "message": self.message, "value": round(self.value, 3)}


def assess(samples: np.ndarray, track: PitchTrack, melody: Melody) -> tuple[Advice, ...]:
    """Say what would make the next recording better, the most important first; silence gets ``too_quiet`` alone.

    ``samples`` is the recording as loaded, shape (n,): mono, 16 kHz, full scale +-1, not normalised.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if peak <= SILENCE_PEAK:
        peak_dbfs = max(FLOOR_DBFS, 20 * np.log10(peak)) if peak > 0 else FLOOR_DBFS
        message = f"The recording is silent ({peak_dbfs:.0f} dB); check that the right microphone is switched on."
        return (Advice("too_quiet", message, peak_dbfs),)
    found = (
        _too_quiet(track),
        _mostly_unvoiced(track),
        _too_short(melody),
        _several_voices(samples, track) or _speech(track),
        _noisy(track),
        _clipped(samples),
    )
    return tuple(advice for advice in found if advice is not None)


def _if_below(limit: float, value: float, code: str, message: str) -> Advice | None:
    """Return the advice if ``value`` is too low; ``message`` has a place for it."""
    return Advice(code, message.format(value), value) if value < limit else None


def _too_quiet(track: PitchTrack) -> Advice | None:
    voiced = track.f0_hz > 0
    loudness_db = track.loudness_db[voiced] if voiced.any() else track.loudness_db
    level_dbfs = max(FLOOR_DBFS, float(np.percentile(loudness_db, LOUD_PERCENTILE)))
    message = "The recording is very quiet ({:.0f} dB); hum louder or closer to the microphone."
    return _if_below(QUIET_DBFS, level_dbfs, "too_quiet", message)


def _mostly_unvoiced(track: PitchTrack) -> Advice | None:
    if len(track.time_s) * _hop_s(track) < MIN_JUDGED_S:
        return None
    loud_db = np.percentile(track.loudness_db, LOUD_PERCENTILE)
    active = track.loudness_db >= loud_db - ACTIVE_BELOW_LOUD_DB
    percent = 100.0 * float(np.mean(track.f0_hz[active] > 0))
    message = 'Only {:.0f} % of the sound had a clear pitch; hum or sing "la la la" rather than whisper.'
    return _if_below(MIN_VOICED_PERCENT, percent, "mostly_unvoiced", message)


def _too_short(melody: Melody) -> Advice | None:
    message = "Only {:.1f} s of melody was heard; hum for 8 to 10 seconds."
    return _if_below(MIN_MELODY_S, melody.voiced_s, "too_short", message)


def _several_voices(samples: np.ndarray, track: PitchTrack) -> Advice | None:
    """Tell other voices and instruments by the power that is not on the overtones of the tracked pitch."""
    voiced = track.f0_hz > 0
    if np.count_nonzero(voiced) * _hop_s(track) < MIN_JUDGED_S:
        return None
    if float(np.mean(track.confidence[voiced])) >= SURE_CONFIDENCE:
        return None
    message = "Only {:.0f} % of the sound belongs to one melody; hum alone, without music or other voices."
    return _if_below(MIN_HARMONIC_PERCENT, _harmonic_percent(samples, track), "not_one_voice", message)


def _harmonic_percent(samples: np.ndarray, track: PitchTrack) -> float:
    """Return the mean share of power on the overtones of the tracked pitch; 100 if nothing can be measured."""
    half = SPECTRUM_SAMPLES // 2
    frames = np.flatnonzero(track.f0_hz > 0)[::SPECTRUM_EVERY]
    centre = np.round(track.time_s[frames] * SAMPLE_RATE_HZ).astype(int)
    inside = (centre >= half) & (centre + half <= len(samples))
    if not inside.any():
        return 100.0
    f0_hz, centre = track.f0_hz[frames[inside], None], centre[inside]
    windows = np.lib.stride_tricks.sliding_window_view(samples, SPECTRUM_SAMPLES)[centre - half]
    power = np.abs(np.fft.rfft(windows * np.hanning(SPECTRUM_SAMPLES), axis=1)) ** 2
    bin_hz = np.fft.rfftfreq(SPECTRUM_SAMPLES, 1.0 / SAMPLE_RATE_HZ)
    in_band = (bin_hz >= BOTTOM_HZ) & (bin_hz <= (WHISTLE_TOP_HZ if track.is_whistle else TOP_HZ))
    power, bin_hz = power[:, in_band], bin_hz[in_band]
    nearest_hz = np.maximum(1.0, np.round(bin_hz / f0_hz)) * f0_hz
    on_harmonic = np.abs(bin_hz - nearest_hz) <= HARMONIC_HALF_WIDTH_HZ
    total = power.sum(axis=1)
    audible = total > 0
    if not audible.any():
        return 100.0
    return 100.0 * float(np.mean((power * on_harmonic).sum(axis=1)[audible] / total[audible]))


def _speech(track: PitchTrack) -> Advice | None:
    """Tell speech by its short syllables whose pitch glides instead of resting on notes."""
    hop_s = _hop_s(track)
    runs = voiced_runs(track.f0_hz > 0)
    n_voiced = sum(end - start for start, end in runs)
    if n_voiced * hop_s < MIN_JUDGED_S:
        return None
    if float(np.median([end - start for start, end in runs])) * hop_s >= SYLLABLE_S:
        return None
    pitch_midi = hz_to_midi(track.f0_hz)
    n_steady = sum(_steady_frames(pitch_midi[start:end], hop_s) for start, end in runs)
    message = 'Only {:.0f} % of the sound rests on notes, as when speaking; hum or sing "la la la".'
    return _if_below(MIN_STEADY_PERCENT, 100.0 * n_steady / n_voiced, "not_one_voice", message)


def _steady_frames(pitch_midi: np.ndarray, hop_s: float) -> int:
    """Count the frames of one voiced run that belong to a steady stretch."""
    width = max(2, round(STEADY_S / hop_s))
    if len(pitch_midi) < width:
        return 0
    window = np.ones(max(1, round(VIBRATO_CYCLE_S / hop_s)))
    if len(window) < len(pitch_midi):
        sums = np.convolve(pitch_midi, window, "same")
        pitch_midi = sums / np.convolve(np.ones(len(pitch_midi)), window, "same")
    stretches = np.lib.stride_tricks.sliding_window_view(pitch_midi, width)
    is_steady = np.ptp(stretches, axis=1) < STEADY_RANGE_ST
    return int(np.count_nonzero(np.convolve(is_steady, np.ones(width))))


def _noisy(track: PitchTrack) -> Advice | None:
    voiced = track.f0_hz > 0
    hop_s = _hop_s(track)
    if not voiced.any() or np.count_nonzero(~voiced) * hop_s < MIN_PAUSE_S:
        return None
    pause = np.convolve(voiced, np.ones(2 * round(PAUSE_MARGIN_S / hop_s) + 1), "same") == 0
    if np.count_nonzero(pause) * hop_s < MIN_PAUSE_S:
        return None
    background_db = np.percentile(track.loudness_db[pause], BACKGROUND_PERCENTILE)
    margin_db = float(np.median(track.loudness_db[voiced]) - background_db)
    message = (
        "The background is nearly as loud as the hum ({:.1f} dB apart); "
        "find a quieter place or come closer to the microphone."
    )
    return _if_below(NOISY_MARGIN_DB, margin_db, "noisy", message)


def _clipped(samples: np.ndarray) -> Advice | None:
    magnitude = np.abs(samples)
    percent = 100.0 * float(np.mean(magnitude >= FULL_SCALE))
    just_below_percent = 100.0 * float(np.mean((magnitude >= NEAR_FULL_SCALE) & (magnitude < FULL_SCALE)))
    if percent < CLIPPED_PERCENT or percent < CLIPPED_PILE_UP * just_below_percent:
        return None
    message = f"{percent:.0f} % of the recording is overloaded; hum softer or further from the microphone."
    return Advice("clipped", message, percent)


def _hop_s(track: PitchTrack) -> float:
    """Return the time between frames; 0 for a single frame."""
    return float(track.time_s[1] - track.time_s[0]) if len(track.time_s) > 1 else 0.0
