"""What the network for mixes hears: how loud each harmonic of each possible pitch is.

Conventions
-----------
* Sound is mono at 8 kHz: voices recorded by telephones are good enough to learn from, and nothing above 4 kHz can tell
  a voice from a band by the microphone alone.
* Frames lie on the melody's grid (:data:`hmm2song.melody.melody.FRAME_RATE_HZ`), centred at their times.
* Pitches are :data:`PITCHES_MIDI`, a quarter tone apart.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from hmm2song.melody.melody import FRAME_RATE_HZ, midi_to_hz

RATE_HZ = 8000
HOP = round(RATE_HZ / FRAME_RATE_HZ)
STEPS_PER_ST = 2
PITCHES_MIDI = np.arange(36.0, 84.0, 1 / STEPS_PER_ST)
"""65 to 988 Hz: what voices sing."""
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10)
"""Multiples of each pitch; the half tells a note from the octave above it."""
LONG_WINDOW, SHORT_WINDOW = 2048, 1024
"""Samples (256 and 128 ms): low harmonics lie close together, high ones move fast."""
HALO = LONG_WINDOW // 2
"""Samples that are heard on either side of a frame's time."""
SHORT_ABOVE_HZ = 800.0
HIGHEST_HZ = 3900.0
N_BANDS = 64
"""Bands of the whole spectrum, 62.5 Hz wide: the timbre, whatever the pitch."""
BLOCK_FRAMES = 1000
"""Frames whose spectrum is taken at a time: an hour at once would take gigabytes."""
FLOOR_DB = -60.0
"""Relative to the recording's level."""


def normalised(samples: np.ndarray) -> np.ndarray:
    """Return samples of unit root mean square, float32; silence stays silence."""
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    return (samples / max(level, 1e-6)).astype(np.float32)


def harmonic_spectrum(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how loud the harmonics and the bands of each frame are, 0 (floor) to about 1 (the recording's level).

    ``samples`` (n,) are mono at 8 kHz, of unit level (:func:`normalised`). Both arrays are float32, of shape
    (n_harmonics, n_frames, n_pitches) and (n_frames, n_bands).
    """
    n_frames = max(1, len(samples) // HOP)
    padded = torch.from_numpy(np.pad(samples, (HALO, HALO + HOP)))
    starts = range(0, n_frames, BLOCK_FRAMES)
    blocks = [_block(padded[None, start * HOP :], min(BLOCK_FRAMES, n_frames - start)) for start in starts]
    harmonics, bands = zip(*blocks, strict=True)
    return torch.cat(harmonics, dim=2)[0].numpy(), torch.cat(bands, dim=1)[0].numpy()


def spectrum_of(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Do the same for a batch (n, n_samples): (n, n_harmonics, n_frames, n_pitches) and (n, n_frames, n_bands)."""
    return _block(functional.pad(samples, (HALO, HALO + HOP)), samples.shape[1] // HOP)


def _block(padded: torch.Tensor, n_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    long, short = (_decibels(padded, window, n_frames) for window in (LONG_WINDOW, SHORT_WINDOW))
    both = torch.cat((long, short), dim=2)
    lower, lower_share, upper_share = (torch.from_numpy(each).to(padded.device) for each in _PLACES)
    harmonics = both[:, :, lower] * lower_share + both[:, :, lower + 1] * upper_share
    bands = short[:, :, : SHORT_WINDOW // 2].unflatten(2, (N_BANDS, -1)).mean(dim=3)
    return harmonics.unflatten(2, (len(HARMONICS), -1)).transpose(1, 2), bands


def _decibels(padded: torch.Tensor, window: int, n_frames: int) -> torch.Tensor:
    """Return the level of every frequency, scaled to 0 at the floor; shape (n, n_frames, window / 2 + 1)."""
    frames = padded[:, HALO - window // 2 :].unfold(1, window, HOP)[:, :n_frames]
    taper = torch.hann_window(window, device=padded.device)
    magnitude = torch.fft.rfft(frames * (taper * (2 / taper.sum()))).abs()
    return (torch.log10(magnitude + 1e-9) * (-20 / FLOOR_DB) + 1).clamp(min=0)


def _places() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each harmonic of each pitch lies in the two spectra side by side: lower bin, shares of it and the next."""
    frequency_hz = np.outer(HARMONICS, midi_to_hz(PITCHES_MIDI)).ravel()
    is_short = frequency_hz > SHORT_ABOVE_HZ
    position = frequency_hz / RATE_HZ * np.where(is_short, SHORT_WINDOW, LONG_WINDOW)
    lower = np.floor(position).astype(int)
    share = (position - lower) * (is_audible := frequency_hz < HIGHEST_HZ)
    lower = np.where(is_audible, lower + is_short * (LONG_WINDOW // 2 + 1), 0)
    return lower, (is_audible - share).astype(np.float32), share.astype(np.float32)


_PLACES = _places()
