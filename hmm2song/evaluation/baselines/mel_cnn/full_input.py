"""Voice where there is voice, accompaniment elsewhere: the "full input" of the first source system.

Conventions
-----------
* Stems are float32, mono (channels are averaged, as the source system did), 22,050 Hz (resampled by soxr) and start
  together; the result is as long as the longer one.
* If there is only a voice, the accompaniment is the recording minus the voice at the gain they have, because separators
  keep the level. What a voice of a low sample rate lacks (at 16 kHz, all above 8 kHz) stays in the accompaniment.
* A voice that was separated from another decoding of the same MP3 file may be shifted: some decoders cut off the 26 to
  50 ms that encoding adds at the start, others do not. So the voice is moved to where it correlates most with the
  recording, by half a second at most, before it is subtracted.
* Two rules of the source system tell where there is voice. Both are kept as they were, mistakes included:

``amplitude`` (its slides)
    Voice at every sample whose |voice| exceeds the mean of |voice| over the song. A wave passes zero twice per period,
    so this switches between voice and accompaniment 2,000 times a second in real songs, inside every sung note, and
    turns off soft singing. What one hears is the voice with its small samples replaced.
``difference`` (its notebook)
    a_k = mean |voice| of the k-th block of 1/8 s; d_k = sqrt(1 + (a_k+1 - a_k)^2), the length of the line between
    neighbouring points; voice at both blocks of every pair with d_k > mean(d); pauses of up to 2 s between such blocks
    are bridged. This finds *changes* of loudness, not voice: a note held for more than 2 s is cut out, and a click in
    the bleed of an instrumental passes. The mean is of squares, so a few shouts turn off the softer verses; and as a_k
    is far below 1, d_k differs from 1 by some 10^-4 only (it is computed in double precision).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import fft

from hmm2song.audio import load_part
from hmm2song.errors import AudioError
from hmm2song.evaluation.baselines.mel_cnn.mel import SAMPLE_RATE_HZ
from hmm2song.indexing.separation.stems import Stems

LARGEST_SHIFT_S = 0.5
"""More than any decoder cuts off; a longer search could lock onto the next beat of the bar."""
MIN_CORRELATION = 0.1
"""A voice that correlates less with its recording is nearly silent (sung songs reach 0.4 to 0.7): it is not moved."""
BLOCKS_PER_S = 8
BLOCK_SAMPLES = SAMPLE_RATE_HZ // BLOCKS_PER_S
"""2,756 samples: 1/8 s, rounded down."""
LONGEST_PAUSE_S = 2.0
LONGEST_PAUSE_BLOCKS = round(LONGEST_PAUSE_S * BLOCKS_PER_S)


class Rule(StrEnum):
    """How to tell where there is voice; see the module."""

    AMPLITUDE = "amplitude"
    DIFFERENCE = "difference"


@dataclass(frozen=True, eq=False)
class StemPair:
    """Voice and accompaniment, float32 (n,) each, mono, 22,050 Hz."""

    voice: np.ndarray
    accompaniment: np.ndarray


def read_pair(stems: Stems, recording: Path) -> StemPair:
    """Read the stems of a recording; if nothing was separated (``stems.is_mix``), both are the recording itself."""
    voice = read_mono(stems.vocals)
    if stems.is_mix:
        return StemPair(voice, voice)
    if stems.accompaniment is not None:
        return StemPair(voice, read_mono(stems.accompaniment))
    mix = read_mono(recording)
    voice = moved(voice, best_shift(mix, voice), len(mix))
    return StemPair(voice, mix - voice)


def read_mono(file: Path) -> np.ndarray:
    """Return a recording as float32 (n,), mono, 22,050 Hz; raises AudioError as ``hmm2song.audio.load_audio``."""
    return load_part(file, SAMPLE_RATE_HZ)


def best_shift(mix: np.ndarray, voice: np.ndarray) -> int:
    """Return the delay in samples at which the voice (m,) correlates most with the mix (n,), 0 if it hardly does."""
    reach = round(LARGEST_SHIFT_S * SAMPLE_RATE_HZ)
    n_fft = fft.next_fast_len(max(len(mix), len(voice)) + reach, real=True)
    correlation = fft.irfft(fft.rfft(mix, n_fft) * np.conj(fft.rfft(voice, n_fft)), n_fft)
    shifts = np.arange(-reach, reach + 1)
    values = correlation[shifts]  # negative shifts are at the end
    scale = float(np.linalg.norm(mix)) * float(np.linalg.norm(voice))
    best = int(np.argmax(values))
    return int(shifts[best]) if values[best] > MIN_CORRELATION * scale else 0


def moved(voice: np.ndarray, shift: int, n_samples: int) -> np.ndarray:
    """Return the voice ``shift`` samples later (earlier if negative), cut to a length or continued with silence."""
    result = np.zeros(n_samples, dtype=np.float32)
    part = voice[max(0, -shift) :][: max(0, n_samples - max(0, shift))]
    start = max(0, shift)
    result[start : start + len(part)] = part
    return result


def full_input(voice: np.ndarray, accompaniment: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the voice (n,) where the rule finds one, the accompaniment (m,) elsewhere; silence follows the shorter."""
    n_samples = max(len(voice), len(accompaniment))
    if n_samples == 0:
        raise AudioError("voice and accompaniment are empty; separate the song again")
    voice, accompaniment = (np.pad(stem, (0, n_samples - len(stem))) for stem in (voice, accompaniment))
    voiced = voiced_by_amplitude(voice) if rule is Rule.AMPLITUDE else voiced_by_difference(voice)
    return np.where(voiced, voice, accompaniment)


def voiced_by_amplitude(voice: np.ndarray) -> np.ndarray:
    """Return where |voice| exceeds its mean over the song (the slides' rule): bool (n,) of samples (n,)."""
    magnitude = np.abs(voice)
    return magnitude > magnitude.mean(dtype=np.float64)


def voiced_by_difference(voice: np.ndarray) -> np.ndarray:
    """Return where the loudness changes more than on average (the notebook's rule): bool (n,) of samples (n,)."""
    loudness = block_means(voice)
    distance = np.sqrt(1.0 + np.diff(loudness) ** 2)
    changing = distance > distance.mean() if len(distance) else np.zeros(0, dtype=bool)
    voiced = np.zeros(len(loudness), dtype=bool)
    voiced[:-1] |= changing
    voiced[1:] |= changing
    return np.repeat(_bridged(voiced), BLOCK_SAMPLES)[: len(voice)]


def block_means(voice: np.ndarray) -> np.ndarray:
    """Return mean |voice| per block of 1/8 s, the last block as long as it is: float64, shape (n_blocks,)."""
    starts = np.arange(0, len(voice), BLOCK_SAMPLES)
    sums = np.add.reduceat(np.abs(voice, dtype=np.float64), starts)
    return sums / np.diff(np.append(starts, len(voice)))


def _bridged(voiced: np.ndarray) -> np.ndarray:
    """Return the blocks with every pause of up to 2 s between voiced ones filled."""
    bridged = voiced.copy()
    places = np.flatnonzero(voiced)
    for before, after in pairwise(places):
        if after - before - 1 <= LONGEST_PAUSE_BLOCKS:
            bridged[before:after] = True
    return bridged
