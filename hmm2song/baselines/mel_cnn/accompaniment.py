"""The stems of a recording as mono samples at 22,050 Hz, and the accompaniment where a separator gave none.

Conventions
-----------
* Samples are float32, full scale +-1; channels are averaged, as the source system did. Stems of any rate and format
  are resampled (soxr) to 22,050 Hz.
* Where there is only a voice, the accompaniment is the recording minus the voice, at the gain they have: separators
  keep the level. What a voice of a low sample rate lacks (at 16 kHz, all above 8 kHz) stays in the accompaniment.
* A voice separated from another decoding of the same MP3 file may be shifted: some decoders cut off the 26 to 50 ms
  that encoding adds at the start, others do not. So the voice is moved to where its correlation with the recording is
  greatest, by half a second at most, before it is subtracted; the recording's time is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import fft

from hmm2song.audio import stereo_blocks
from hmm2song.baselines.mel_cnn.mel import SAMPLE_RATE_HZ
from hmm2song.indexing.separation.separation import Stems

LARGEST_SHIFT_S = 0.5
"""More than any decoder cuts off; a longer search could lock onto the next beat of the bar."""
MIN_CORRELATION = 0.1
"""A voice that correlates less with its recording is nearly silent (sung songs reach 0.4 to 0.7): it is not moved."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Voice and accompaniment, float32 (n,) each, mono, 22,050 Hz."""

    voice: np.ndarray
    accompaniment: np.ndarray


def read_pair(stems: Stems, recording: Path) -> Pair:
    """Read the stems of a recording.

    Where nothing was separated (``stems.is_mix``) both are the recording, so that whatever is chosen from the two is
    the recording.

    Raises
    ------
    AudioError
        A stem or the recording cannot be read.
    """
    voice = read_mono(stems.vocals)
    if stems.is_mix:
        return Pair(voice, voice)
    if stems.accompaniment is not None:
        return Pair(voice, read_mono(stems.accompaniment))
    mix = read_mono(recording)
    voice = moved(voice, best_shift(mix, voice), len(mix))
    return Pair(voice, mix - voice)


def read_mono(file: Path) -> np.ndarray:
    """Return a recording as float32 (n,), mono, 22,050 Hz.

    Raises
    ------
    AudioError
        As :func:`hmm2song.audio.load_audio`.
    """
    return np.concatenate([block.mean(axis=1) for block in stereo_blocks(file, SAMPLE_RATE_HZ)])


def best_shift(mix: np.ndarray, voice: np.ndarray) -> int:
    """Return by how many samples the voice (m,) must be delayed to lie where it is in the mix (n,).

    That is where their correlation is greatest, within half a second either way; 0 where they hardly correlate.
    """
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
