"""The voice of the simulated singer: notes in, a plausible recording of a hum out.

What is sung, and with which errors, is the subject of :mod:`hmm2song.training.singer`.

Conventions
-----------
* Audio is mono at 16 kHz; sample 0 is hum time 0. Curves are drawn at ``CONTROL_RATE_HZ`` and interpolated.
* Levels are in dB; how loud, how noisy and in which room is drawn from the :class:`Singer`'s ranges.
* Everything random comes from the generator passed in: the same seed gives the same samples.

The voice is a source-filter model (Fant 1960, *Acoustic Theory of Speech Production*): harmonics of a glottal pulse
falling 12 dB per octave, radiation rising 6, and a chain of resonances.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.melody.melody import midi_to_hz
from hmm2song.training.singer import CONTROL_RATE_HZ, WHISTLE, Performance, Singer, Take, perform

FORMANTS_HZ = {
    # Resonances of vowels: Peterson & Barney 1952, men's averages; the nasal murmur: Fujimura 1962.
    "mm": ((280.0, 70.0), (1000.0, 250.0), (2100.0, 300.0), (3100.0, 400.0)),
    "la": ((730.0, 90.0), (1090.0, 110.0), (2440.0, 170.0), (3400.0, 250.0)),
    "oo": ((300.0, 70.0), (870.0, 100.0), (2240.0, 170.0), (3400.0, 250.0)),
}
"""Frequency and bandwidth in Hz of the resonances of each sung sound."""
HIGHEST_HARMONIC_HZ = 0.45 * SAMPLE_RATE_HZ
MOST_HARMONICS = 40
WHISTLE_SECOND_HARMONIC = 0.03
ATTACK_S = 0.04
"""Rise and fall of a note's loudness."""
DIP_S = 0.03
"""Half-width of the dip where connected notes meet: the tongue or lips closing for "la" or "mm"."""


def hum_audio(
    notes: Sequence[Sequence[float]],
    singer: Singer,
    rng: np.random.Generator,
    start_s: float | None = None,
    duration_s: float = 8.0,
) -> tuple[Performance, np.ndarray]:
    """Hum notes as a microphone would hear it.

    Parameters and errors are those of :func:`hmm2song.training.singer.hum_contour`; with the same seed it is the same
    performance, except that a voice has no octave slips.

    Returns the performance with the intended contour (the truth for a pitch tracker), and mono float32 audio at 16 kHz,
    as long as the performance's melody.
    """
    take = perform(notes, singer, rng, start_s, duration_s)
    n_samples = round(take.performance.melody.duration_s * SAMPLE_RATE_HZ)
    return take.performance, _record(_voice(take, singer, rng, n_samples), singer, rng)


def _voice(take: Take, singer: Singer, rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Synthesise the voice alone, shape (n_samples,), float64."""
    timbre = singer.timbres[rng.integers(len(singer.timbres))]
    sample_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    control_s = np.arange(len(take.pitch_midi)) / CONTROL_RATE_HZ
    f0_hz = midi_to_hz(take.pitch_midi) * (1.0 + singer.cycle_jitter_share * rng.standard_normal(len(take.pitch_midi)))
    phase = 2 * np.pi * np.cumsum(np.interp(sample_s, control_s, f0_hz)) / SAMPLE_RATE_HZ
    loudness = np.interp(sample_s, control_s, _loudness(take, singer, rng))
    tone, harmonic = np.zeros(n_samples), np.ones(n_samples, dtype=complex)
    turn = np.exp(1j * phase)
    for amplitude in _harmonic_amplitudes(f0_hz, timbre, singer.formant_scale):
        harmonic *= turn
        tone += np.interp(sample_s, control_s, amplitude) * harmonic.imag
    tone /= max(_rms(tone), 1e-12)
    breath = _breath(n_samples, float(np.median(f0_hz)), timbre, singer.formant_scale, rng)
    return loudness * (tone + breath * _gain(rng.uniform(*singer.breath_noise_db)))


def _gain(level_db: float) -> float:
    return 10.0 ** (level_db / 20.0)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def _formant_gain(frequency_hz: np.ndarray, timbre: str, formant_scale: float) -> np.ndarray:
    """Gain of the throat and mouth at each frequency: a chain of resonances of unit gain at 0 Hz."""
    gain = np.ones_like(frequency_hz)
    for centre_hz, width_hz in FORMANTS_HZ[timbre]:
        centre_hz, width_hz = centre_hz * formant_scale, width_hz * formant_scale
        gain *= centre_hz**2 / np.hypot(centre_hz**2 - frequency_hz**2, width_hz * frequency_hz)
    return gain


def _harmonic_amplitudes(f0_hz: np.ndarray, timbre: str, formant_scale: float) -> np.ndarray:
    """Amplitude of every harmonic in every control frame, shape (n_harmonics, n_control); none can alias."""
    if timbre == WHISTLE:
        return np.outer([1.0, WHISTLE_SECOND_HARMONIC], np.ones_like(f0_hz))
    n_harmonics = int(np.clip(HIGHEST_HARMONIC_HZ / f0_hz.min(), 1, MOST_HARMONICS))
    number = np.arange(1, n_harmonics + 1)[:, None]
    frequency_hz = number * f0_hz
    # the glottal pulse falls by 12 dB per octave and radiation from the mouth gives back 6: 1 / number
    amplitude = _formant_gain(frequency_hz, timbre, formant_scale) / number
    return np.where(frequency_hz < HIGHEST_HARMONIC_HZ, amplitude, 0.0)


def _breath(
    n_samples: int, median_f0_hz: float, timbre: str, formant_scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the noise of air, of unit loudness: coloured by the mouth, or a band around a whistle's tone."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency_hz = np.fft.rfftfreq(n_samples, 1.0 / SAMPLE_RATE_HZ)
    if timbre == WHISTLE:
        spectrum *= np.exp(-0.5 * ((frequency_hz - median_f0_hz) / (0.3 * median_f0_hz)) ** 2)
    else:
        spectrum *= _formant_gain(frequency_hz, timbre, formant_scale)
    noise = np.fft.irfft(spectrum, n_samples)
    return noise / max(_rms(noise), 1e-12)


def _loudness(take: Take, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Draw the loudness curve: each note its level, soft edges, dips between connected notes, shimmer."""
    onset_s = take.performance.hum_onset_s
    time_s = np.arange(len(take.voiced)) / CONTROL_RATE_HZ
    note = np.maximum(np.searchsorted(onset_s, time_s, side="right") - 1, 0)
    note_db = singer.note_level_sd_db * rng.standard_normal(len(onset_s))
    dip = rng.uniform(0.2, 0.7, len(onset_s))
    since_onset_s = time_s - onset_s[note]
    level = take.voiced * 10.0 ** (note_db[note] / 20.0)
    level *= 1.0 - dip[note] * np.exp(-((since_onset_s / DIP_S) ** 2))
    n_attack = round(ATTACK_S * CONTROL_RATE_HZ)
    level = np.convolve(np.pad(level, n_attack, mode="constant"), np.hanning(n_attack + 2)[1:-1], mode="same")
    level = level[n_attack:-n_attack] / np.hanning(n_attack + 2).sum()
    return level * 10.0 ** (singer.shimmer_db * rng.standard_normal(len(level)) / 20.0)


def _record(voice: np.ndarray, singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Put the voice in a room with pink noise, before a small microphone; shape (n_samples,), float32."""
    room = fftconvolve(voice, _room_response(singer, rng))[: len(voice)]
    pink = np.fft.rfft(rng.standard_normal(len(voice)))
    pink /= np.sqrt(np.maximum(np.arange(len(pink)), 1.0))
    low_cut = butter(2, rng.uniform(*singer.low_cut_hz), btype="highpass", fs=SAMPLE_RATE_HZ, output="sos")
    room, noise = sosfilt(low_cut, np.stack((room, np.fft.irfft(pink, len(voice)))))
    heard = room + noise * _rms(room) / max(_rms(noise), 1e-12) / _gain(rng.uniform(*singer.snr_db))
    heard *= _gain(rng.uniform(*singer.peak_dbfs)) / max(np.abs(heard).max(), 1e-12)
    return heard.astype(np.float32)


def _room_response(singer: Singer, rng: np.random.Generator) -> np.ndarray:
    """Draw an impulse response: the direct sound and a tail of noise falling by 60 dB in ``reverb_t60_s``."""
    t60_s = rng.uniform(*singer.reverb_t60_s)
    tail_s = np.arange(round(t60_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(tail_s)) * 10.0 ** (-3.0 * tail_s / t60_s)
    tail *= _gain(rng.uniform(*singer.reverb_db)) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail
