"""Loudness, beat and timbre of a recording, all from one spectrum.

Conventions
-----------
* Loudness is that of ITU-R BS.1770 (K-weighted, gated) of the mono mix. The spectrum is brought to
  :data:`LOUDNESS_LUFS` before anything is taken from it: what follows does not depend on the level.
* Silence says nothing of the music: frames far below the recording's loudness are left out of every mean.
* A frame is that of the style network, 16 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy.fft
import scipy.signal
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.catalog.facets import BEATS_PER_MOMENT, MFCC_STEPS, N_MFCC
from hmm2song.embeddings.spectrum import band_power
from hmm2song.embeddings.style import FRAME_RATE_HZ, HOP, N_BANDS, N_FFT, StyleEncoder
from hmm2song.machine import import_librosa

LOUDNESS_LUFS = -14.0
"""What streaming services bring music to."""
SILENCE_LUFS = -70.0
"""Below this nothing counts as sound (the absolute gate of BS.1770)."""
RELATIVE_GATE_DB = -10.0
QUIET_DB = -40.0
"""Frames this far below the loudness of the recording are silence."""
LOUDNESS_FRAMES = 25
"""0.4 s."""
FULL_SCALE_LUFS = -0.691
COMPRESSION = 10_000.0
"""Of mel power before the logarithm, as for the style network: what is fainter than -40 dB hardly counts."""
TEMPO_WINDOW_FRAMES = 750
"""12 s."""
ONSET_FRAMES = 1.5
"""An onset is blurred by this much, so that beats that fall between frames meet."""
SLOWEST_BPM, USUAL_BPM, FASTEST_BPM = 40.0, 120.0, 240.0
TEMPO_OCTAVES = 1.0
"""Spread of usual tempi around the most usual one."""
MIN_PULSE = 0.05
"""With less regularity there is no beat; the recording is then cut every half second."""
NO_BEAT_S = 0.5
LOUDNESS_STEP_DB, N_LOUDNESS_STEPS = 3.0, 10
LOUD_PERCENTILE = 95


@dataclass(frozen=True, eq=False)
class Sound:
    """What the spectrum of a recording says, frame by frame.

    Attributes
    ----------
    mel : np.ndarray, shape (n_frames, 96)
        Mel power at :data:`LOUDNESS_LUFS`.
    power : np.ndarray, shape (n_frames,)
        K-weighted power over 0.4 s, relative to the recording's loudness.
    centroid_hz : np.ndarray, shape (n_frames,)
    loudness_lufs : float
        Of the recording as it is.
    """

    mel: np.ndarray
    power: np.ndarray
    centroid_hz: np.ndarray
    loudness_lufs: float

    @cached_property
    def is_sound(self) -> np.ndarray:
        """Whether each frame sounds, shape (n_frames,)."""
        return self.power > 10 ** (QUIET_DB / 10)

    @cached_property
    def level_db(self) -> np.ndarray:
        """Loudness of each band, shape (n_frames, 96)."""
        return 10 * np.log10(1 + COMPRESSION * self.mel)

    @cached_property
    def mfcc(self) -> np.ndarray:
        """Mel-frequency cepstral coefficients, shape (n_frames, 20)."""
        return scipy.fft.dct(self.level_db, norm="ortho")[:, :N_MFCC]

    @cached_property
    def onset_strength(self) -> np.ndarray:
        """How much louder the bands become, on average; shape (n_frames,)."""
        rise = np.maximum(0, np.diff(self.level_db, axis=0, prepend=self.level_db[:1]))
        return rise.mean(axis=1)


def sound_of(samples: np.ndarray) -> Sound | None:
    """Return the sound of a recording (mono at 16 kHz), or None if it is silent."""
    bands = band_power(samples, HOP, _weights())
    mel, k_power, total, weighted = bands[:, :N_BANDS], *bands[:, N_BANDS:].T
    power = uniform_filter1d(k_power.astype(np.float64), LOUDNESS_FRAMES, mode="constant")
    audible = power[power > 10 ** ((SILENCE_LUFS - FULL_SCALE_LUFS) / 10)]
    if not len(audible):
        return None
    loud = audible[audible > audible.mean() * 10 ** (RELATIVE_GATE_DB / 10)].mean()
    loudness_lufs = FULL_SCALE_LUFS + 10 * np.log10(loud)
    gain = np.float32(10 ** ((LOUDNESS_LUFS - loudness_lufs) / 10))
    return Sound(mel * gain, power / loud, weighted / np.maximum(total, 1e-20), float(loudness_lufs))


@lru_cache(maxsize=1)
def _weights() -> np.ndarray:
    """Return the mel bands, K-weighted power, power, and power times frequency; shape (n_bins, 99)."""
    frequency_hz = scipy.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE_HZ)
    taper = scipy.signal.get_window("hann", N_FFT)
    k_weights = np.ones(len(frequency_hz))
    for b, a in _K_FILTERS:
        k_weights *= np.abs(scipy.signal.freqz(b, a, frequency_hz, fs=48000)[1]) ** 2
    k_weights *= 2 / (N_FFT * np.sum(taper**2))
    others = (k_weights, np.ones(len(frequency_hz)), frequency_hz)
    return np.column_stack((StyleEncoder.bands(), *others)).astype(np.float32)


_K_FILTERS = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
"""Those of BS.1770 at 48 kHz: a shelf for the head, and a high pass."""


@dataclass(frozen=True, eq=False)
class Beats:
    """The beats of a recording.

    Attributes
    ----------
    frames : np.ndarray, shape (n_beats + 1,)
        Where each begins, and the end of the last.
    tempo_bpm, pulse : float
        Beats per minute (0: no beat), and how regular they are, 0 to 1.
    """

    frames: np.ndarray
    tempo_bpm: float
    pulse: float


def beats_of(sound: Sound) -> Beats:
    """Return the beats: the tempo by autocorrelation, their places by dynamic programming (Ellis 2007)."""
    tempo_bpm, pulse = _tempo(sound.onset_strength)
    n_frames = len(sound.power)
    places = np.arange(0, n_frames, round(NO_BEAT_S * FRAME_RATE_HZ))
    if tempo_bpm:
        _, places = import_librosa().beat.beat_track(
            onset_envelope=sound.onset_strength, sr=SAMPLE_RATE_HZ, hop_length=HOP, bpm=tempo_bpm, trim=False
        )
    return Beats(np.unique(np.append(places, n_frames)), tempo_bpm, pulse)


def _tempo(onset_strength: np.ndarray) -> tuple[float, float]:
    """Return beats per minute and their regularity, or zeros."""
    n_windows = max(1, len(onset_strength) // TEMPO_WINDOW_FRAMES)
    smooth = gaussian_filter1d(onset_strength, ONSET_FRAMES)
    windows = np.resize(smooth, (n_windows, min(len(smooth), TEMPO_WINDOW_FRAMES)))
    windows = windows - windows.mean(axis=1, keepdims=True)
    n_fft = scipy.fft.next_fast_len(2 * windows.shape[1])
    correlation = scipy.fft.irfft(np.abs(scipy.fft.rfft(windows, n_fft)) ** 2, n_fft).mean(axis=0)
    first, last = (int(60 * FRAME_RATE_HZ / bpm) for bpm in (FASTEST_BPM, SLOWEST_BPM))
    if windows.shape[1] < last + 2 or correlation[0] <= 0:
        return 0.0, 0.0
    lags = np.arange(first, last + 1)
    bpm = 60 * FRAME_RATE_HZ / lags
    usual = np.exp(-0.5 * (np.log2(bpm / USUAL_BPM) / TEMPO_OCTAVES) ** 2)
    best = int(lags[np.argmax(correlation[lags] * usual)])
    pulse = float(np.clip(correlation[best] / correlation[0], 0, 1))
    if pulse < MIN_PULSE:
        return 0.0, pulse
    before, at, after = correlation[best - 1 : best + 2]
    bend = before - 2 * at + after
    shift = np.clip(0.5 * (before - after) / bend, -0.5, 0.5) if bend < 0 else 0.0
    return float(60 * FRAME_RATE_HZ / (best + shift)), pulse


def beat_loudness_db(sound: Sound, beats: Beats) -> np.ndarray:
    """Return the loudness of each beat relative to that of the recording; shape (n_beats,)."""
    power = np.add.reduceat(sound.power, beats.frames[:-1]) / np.diff(beats.frames)
    return 10 * np.log10(np.maximum(power, 1e-10))


def moments_of(sound: Sound, beats: Beats) -> tuple[np.ndarray, np.ndarray]:
    """Return where the moments of a recording begin, in seconds, and what they sound like.

    A moment is eight beats, most of which sound: about four seconds.

    Returns
    -------
    np.ndarray, shape (n_moments,), float32
    np.ndarray, shape (n_moments, 28), int8
        See :data:`hmm2song.catalog.facets.MOMENT_DIM`.
    """
    loudness_db = beat_loudness_db(sound, beats)
    n_moments = len(loudness_db) // BEATS_PER_MOMENT
    edges = beats.frames[: n_moments * BEATS_PER_MOMENT + 1 : BEATS_PER_MOMENT]
    if n_moments == 0:  # too short: it is one moment
        edges, n_moments = beats.frames[[0, -1]], 1
        loudness_db = np.resize(loudness_db, BEATS_PER_MOMENT)
    above_floor = loudness_db - np.percentile(loudness_db, LOUD_PERCENTILE) + LOUDNESS_STEP_DB * N_LOUDNESS_STEPS
    steps = np.clip(np.round(above_floor / LOUDNESS_STEP_DB), 0, N_LOUDNESS_STEPS)
    steps = steps[: n_moments * BEATS_PER_MOMENT].reshape(n_moments, BEATS_PER_MOMENT)
    starts, lengths = edges[:-1], np.diff(edges)
    span = slice(0, edges[-1])
    mfcc = np.add.reduceat(sound.mfcc[span], starts, axis=0) / lengths[:, None]
    share = np.add.reduceat(sound.is_sound[span].astype(float), starts) / lengths
    coded = np.clip(np.round(mfcc / MFCC_STEPS), -127, 127)
    kept = share > 0.5
    moments = np.hstack((coded, steps)).astype(np.int8)
    return (starts / FRAME_RATE_HZ).astype(np.float32)[kept], moments[kept]
