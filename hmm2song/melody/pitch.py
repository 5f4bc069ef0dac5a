"""From sound to pitch: the SwiftF0 tracker with the care that real hums need.

SwiftF0 (Nieradzik 2025, MIT licence) is a small convolutional pitch tracker; it ships its network in its wheel.
Four things are added here:

* Very quiet input is scaled up first.
* Frames far below the recording's own level are unvoiced, because reverberation tails have a pitch too.
* Whistles are tracked an octave lower, in the range that the network has learned.
* Synthetic pure tones get a little noise. Without any noise the network misses most of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import soxr
import swift_f0
from swift_f0 import PitchResult, SwiftF0
from swift_f0.core import FMAX, FMIN, FRAME_PERIOD, HOP, LEFT_FRAMES, LOOKAHEAD_FRAMES

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.machine import in_threads
from hmm2song.melody.melody import Melody, melody_from_f0

CONFIDENCE_VOICED = 0.5
"""SwiftF0's own calibrated threshold."""
GATE_BELOW_LOUD_DB = 35.0
"""Frames this far below the recording's loud frames are reverberation, not voice."""
LOUD_PERCENTILE = 95
TARGET_PEAK = 0.5
"""Input is scaled to this peak: the tracker loses very quiet voices."""
SILENCE_PEAK = 1e-4
"""Below this peak (-80 dBFS) there is nothing to scale up."""
WHISTLE_ABOVE_HZ = 650.0
"""Median pitch above which a track is a whistle; hums and songs by untrained voices stay below."""
MOSTLY_VOICED = 0.3
"""A track with a smaller voiced share than this may have missed a whistle."""
MIN_VOICED_RUN_S = 0.06
"""Shorter voiced islands are clicks and breath."""
PIECE_S = 5.0
"""Length given to the tracker at a time. The answer is the same as that of one call for everything, but takes a fifth
less time, because the network's intermediate results then fit into the processor's cache."""

TONE_WINDOW = np.cos(np.linspace(-np.pi, np.pi, 1024)[:, None] * np.arange(4)) @ (0.35875, 0.48829, 0.14128, 0.01168)
"""Window of 64 ms by Harris (1978); its side lobes lie 92 dB below its main lobe, so that it shows how clean a tone is.
"""
TONE_HALF_WIDTH_BINS = 4
"""Half the width of that main lobe."""
TONE_BAND_HZ = (60.0, 2100.0)
"""Where the tracker looks."""
TONE_SHARE = 0.95
"""Least share of a pure tone's power that is in its fundamental: a sine has all, a triangle wave 0.99. With more
overtones the network needs no noise, and with noise it finds some of those tones an octave off."""
TONE_FLOOR_DB = -80.0
"""Level of the quietest tenth of a pure tone's spectrum below its peak, at most. Real recordings have noise there: of
3,171 hums and recordings, one has any frame that passes for a pure tone. Synthetic sines lie below -90 dB."""
MIN_TONE_FRAMES = 0.2
"""Share of the loud frames that must be pure tones; frames across two notes are none."""
MAX_TONE_FRAMES = 200
"""Frames looked at, spread over the recording."""
TONE_SNR_DB = 40.0
"""Level of a pure tone over the noise added to it. The network finds 99.9 % of the frames of sine melodies between MIDI
43 and 82 at 40 dB, 99.0 % at 50 dB, 96.3 % at 60 dB and 71.5 % without noise."""
TONE_NOISE_S = 0.032
"""The noise follows the level of the tone over this time, so that pauses stay silent."""


@dataclass(frozen=True, eq=False)
class PitchTrack:
    """The tracker's answer: arrays of shape (n,); unvoiced frames have 0 Hz, confidence is 0 to 1, loudness in dBFS."""

    time_s: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray
    loudness_db: np.ndarray
    is_whistle: bool

    @property
    def melody(self) -> Melody:
        """The track on the melody's frame grid."""
        return melody_from_f0(self.time_s, self.f0_hz)


class _Detector(SwiftF0):
    """SwiftF0 on one core, without the arena in which a server keeps what its busiest moment needed: 250 MB."""

    def __init__(self) -> None:  # that of SwiftF0 takes no such option
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        model = Path(swift_f0.__file__).with_name("model.onnx")
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def _detector() -> SwiftF0:
    return _Detector()


def track_pitch(samples: np.ndarray, n_threads: int = 1) -> PitchTrack:
    """Track the pitch of one voice in mono float32 audio at 16 kHz, shape (n,), at least one sample.

    Pieces of :data:`PIECE_S` share the threads.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    gain = TARGET_PEAK / peak if peak > SILENCE_PEAK else 1.0
    scaled = (samples * gain).astype(np.float32)
    if _is_pure_tone(scaled):
        scaled = _with_noise(scaled)
    track = _detect(scaled, SAMPLE_RATE_HZ, n_threads)
    if _n_voiced(track) < MOSTLY_VOICED * len(track.f0_hz) or _is_high(track):
        # A pure whistle may lie above what the network hears as a voice at all: try it an octave lower.
        lowered = _detect(scaled, SAMPLE_RATE_HZ // 2, n_threads)
        if _is_high(lowered) and _n_voiced(lowered) >= _n_voiced(track) / 2:  # two of its frames last as long as one
            track = lowered
    return replace(track, loudness_db=track.loudness_db - 20 * np.log10(gain))


def _is_pure_tone(samples: np.ndarray) -> bool:
    """Tell whether a recording is a synthetic melody of nearly pure sine tones without any noise."""
    n_window = len(TONE_WINDOW)
    n_frames = min(MAX_TONE_FRAMES, len(samples) // n_window)
    if n_frames == 0:
        return False
    starts = np.linspace(0, len(samples) - n_window, n_frames).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(samples, n_window)[starts]
    lowest, highest = np.round(np.array(TONE_BAND_HZ) * n_window / SAMPLE_RATE_HZ).astype(int)
    power = np.abs(np.fft.rfft(frames * TONE_WINDOW, axis=1)[:, lowest:]) ** 2
    power = power[power.sum(axis=1) > power.sum(axis=1).max() * 10 ** (-GATE_BELOW_LOUD_DB / 10)]
    in_band = power[:, : highest - lowest]
    from_peak = np.abs(np.arange(power.shape[1]) - in_band.argmax(axis=1)[:, None])
    share = np.sum(power * (from_peak <= TONE_HALF_WIDTH_BINS), axis=1) / power.sum(axis=1)
    floor = np.percentile(in_band, 10, axis=1) / in_band.max(axis=1)
    is_tone = (share >= TONE_SHARE) & (floor <= 10 ** (TONE_FLOOR_DB / 10))
    return is_tone.sum() > MIN_TONE_FRAMES * len(is_tone)


def _with_noise(samples: np.ndarray) -> np.ndarray:
    """Add white noise :data:`TONE_SNR_DB` below the sound around each sample; the same noise every time."""
    from scipy.ndimage import uniform_filter1d  # takes as long to import as a search, and few recordings need it

    power = uniform_filter1d(samples.astype(np.float64) ** 2, round(TONE_NOISE_S * SAMPLE_RATE_HZ), mode="constant")
    noise = np.random.default_rng(0).standard_normal(len(samples)) * 10 ** (-TONE_SNR_DB / 20)
    return (samples + np.sqrt(np.maximum(power, 0.0)) * noise).astype(np.float32)


def _n_voiced(track: PitchTrack) -> int:
    return int(np.count_nonzero(track.f0_hz))


def _is_high(track: PitchTrack) -> bool:
    voiced_hz = track.f0_hz[track.f0_hz > 0]
    return len(voiced_hz) > 0 and float(np.median(voiced_hz)) > WHISTLE_ABOVE_HZ


def _detect(samples: np.ndarray, declared_rate_hz: int, n_threads: int) -> PitchTrack:
    """Run the tracker as if the audio had ``declared_rate_hz``, and scale times and pitches back."""
    ratio = SAMPLE_RATE_HZ / declared_rate_hz
    found = _heard(samples if ratio == 1.0 else soxr.resample(samples, declared_rate_hz, SAMPLE_RATE_HZ), n_threads)
    loud_db = np.percentile(found.loudness_db, LOUD_PERCENTILE)
    voiced = (found.confidence >= CONFIDENCE_VOICED) & (found.loudness_db > loud_db - GATE_BELOW_LOUD_DB)
    time_s = found.timestamps / ratio
    frame_s = float(time_s[1] - time_s[0]) if len(time_s) > 1 else MIN_VOICED_RUN_S
    for start, end in voiced_runs(voiced):
        if end - start < round(MIN_VOICED_RUN_S / frame_s):
            voiced[start:end] = False
    f0_hz = np.where(voiced, found.pitch_hz * ratio, 0.0)
    return PitchTrack(time_s, f0_hz, found.confidence, found.loudness_db, is_whistle=ratio > 1)


def _heard(samples: np.ndarray, n_threads: int) -> PitchResult:
    """Run the tracker piece by piece, as it does by itself with half minutes."""
    n_frames = max(1, len(samples) // HOP)
    n_pieces = -(-n_frames * HOP // round(PIECE_S * SAMPLE_RATE_HZ))
    edges = np.linspace(0, n_frames, n_pieces + 1).round().astype(int)

    def hear(piece: tuple[int, int]) -> list[np.ndarray]:
        first, last = piece
        begin = max(0, first - LEFT_FRAMES)
        end = (last + LOOKAHEAD_FRAMES) * HOP if last < n_frames else len(samples)
        found = _detector()._run(samples[begin * HOP : end], FMIN, FMAX)
        return [values[first - begin : last - begin] for values in found]

    heard = in_threads(hear, list(pairwise(edges)), n_threads)
    return PitchResult(np.arange(n_frames) * FRAME_PERIOD, *map(np.concatenate, zip(*heard, strict=True)))


def voiced_runs(voiced: np.ndarray) -> list[tuple[int, int]]:
    """Return the (start, end) frames of each uninterrupted stretch of voice."""
    edges = np.flatnonzero(np.diff(voiced.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
