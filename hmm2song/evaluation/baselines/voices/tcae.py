"""The time-causal auto-encoder (TCAE) of the second source system, whose latent is said to carry the melody.

A log-mel spectrogram (16 kHz, window 512, hop 256, 48 mels) goes through stacked dilated causal convolutions, as in
WaveNet (van den Oord et al. 2016), to a few values per frame and through another stack back to the spectrogram. No
frame sees a later one. The source system states the input and the kind of network, but not its sizes; those here are
ours. It never tested what its latent holds: ``scripts/studies/measure_voice_baselines.py`` does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from hmm2song.audio import SAMPLE_RATE_HZ

N_FFT, HOP, N_MELS = 512, 256, 48
FLOOR = 1e-5
"""Added to the power of each mel band before the logarithm: 8-bit silence must not be louder in it than a voice."""
CHANNELS, LATENT, N_LAYERS = 32, 8, 7
"""A stack sees ``2 ** N_LAYERS`` frames, itself and those before."""


def tcae_mel(samples: np.ndarray) -> np.ndarray:
    """Return the log-mel spectrogram (n_mels, n_frames) of mono samples at 16 kHz, brought to one level."""
    import librosa

    level = np.sqrt(np.mean(np.square(samples), dtype=np.float64)) if len(samples) else 0.0
    scaled = samples / level if level > 0 else samples
    power = librosa.feature.melspectrogram(
        y=np.asarray(scaled, np.float32), sr=SAMPLE_RATE_HZ, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS
    )
    return np.log10(power / N_FFT + FLOOR).astype(np.float32)


class Tcae(nn.Module):
    """Encoder and decoder of causal convolutions; in between ``LATENT`` values per frame."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _stack(N_MELS, LATENT), _stack(LATENT, N_MELS)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """Return the spectrograms (n, n_mels, n_frames) as they come back through the latent."""
        return self.decoder(self.encoder(mels))

    @torch.inference_mode()
    def latent(self, mel: np.ndarray) -> np.ndarray:
        """Return the latent (n_frames, LATENT) of one spectrogram (n_mels, n_frames)."""
        return self.encoder(torch.from_numpy(mel)[None])[0].T.numpy()


def train_tcae(
    mels: np.ndarray, steps: int, batch: int = 16, progress: Callable[[int, float], None] | None = None
) -> Tcae:
    """Train an auto-encoder on spectrograms (n, n_mels, n_frames) to give back what it got (mean squared error)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Tcae()
    rng = np.random.default_rng(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.from_numpy(mels[rng.integers(0, len(mels), batch)])
        loss = nn.functional.mse_loss(network(chosen), chosen)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress:
            progress(step, loss.item())
    return network.eval()


class _Gated(nn.Module):
    """A gated residual block of WaveNet: ``tanh * sigmoid`` of a causal convolution of two taps."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.wide = nn.Conv1d(channels, 2 * channels, kernel_size=2, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, kernel_size=1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        signal, gate = self.wide(nn.functional.pad(hidden, (self.dilation, 0))).chunk(2, dim=1)
        return hidden + self.mix(torch.tanh(signal) * torch.sigmoid(gate))


def _stack(n_in: int, n_out: int) -> nn.Sequential:
    blocks = (_Gated(CHANNELS, 2**layer) for layer in range(N_LAYERS))
    return nn.Sequential(nn.Conv1d(n_in, CHANNELS, kernel_size=1), *blocks, nn.ReLU(), nn.Conv1d(CHANNELS, n_out, 1))
