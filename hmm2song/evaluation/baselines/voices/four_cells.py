"""Voices told apart by contrast, with pitch shift and time stretch as positive or negative pairs: four cells.

The second source system followed Yakura, Watanabe and Goto 2022 ("Self-supervised contrastive learning for singing
voices"): crops of one singer attract each other, crops of different singers repel. A copy with shifted pitch, or
another tempo, either belongs to its singer (positive: the voice is what stays the same) or to nobody (negative: pitch
and tempo belong to the voice). The source system compared the four cells by their loss, which is no measure, as each
cell has another task; here they are compared by how well they find singers that they have not heard.

The source system does not state its network; this one is small enough for two cores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

SAMPLE_RATE_HZ = 8000
N_FFT, HOP, N_MELS = 512, 128, 64
CROP_FRAMES = 192
"""3.1 s."""
SHIFT_ST = (2.0, 6.0)
STRETCH_OCTAVES = (0.25, 0.6)
TEMPERATURE = 0.1
CHANNELS = 96


@dataclass(frozen=True)
class Cell:
    """What a copy of shifted pitch and one of changed tempo are to their original: alike, unlike, or None: unused."""

    pitch_alike: bool | None
    tempo_alike: bool | None

    def __str__(self) -> str:
        words = {True: "positive", False: "negative", None: "none"}
        return f"pitch {words[self.pitch_alike]}, tempo {words[self.tempo_alike]}"


CELLS = (Cell(None, None), Cell(True, True), Cell(True, False), Cell(False, True), Cell(False, False))
"""No copies at all, then the source system's four."""


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Return the log-mel spectrogram (n_frames, n_mels) of samples at 8 kHz, natural logarithm, mean 0."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=samples, sr=SAMPLE_RATE_HZ, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, norm=None
    )
    logarithm = np.log(power / max(float(power.mean()), 1e-12) + 1e-5)
    return (logarithm - logarithm.mean()).T.astype(np.float32)


def copies(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return samples at 8 kHz 2 to 6 semitones higher or lower, and a fifth to a half faster or slower."""
    import librosa

    shift_st = rng.choice((-1, 1)) * rng.uniform(*SHIFT_ST)
    rate = 2 ** (rng.choice((-1, 1)) * rng.uniform(*STRETCH_OCTAVES))
    shifted = librosa.effects.pitch_shift(
        samples, sr=SAMPLE_RATE_HZ, n_steps=shift_st, n_fft=N_FFT * 2, res_type="soxr_hq"
    )
    return shifted, librosa.effects.time_stretch(samples, rate=rate, n_fft=N_FFT * 2)


class SingerNetwork(nn.Module):
    """Convolutions over time, mean and deviation of what comes out, a unit vector."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(N_MELS, CHANNELS, kernel_size=5, stride=2, padding=2)
        self.wide = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, 3, padding=k, dilation=k) for k in (1, 2, 3))
        self.norms = nn.ModuleList(nn.GroupNorm(1, CHANNELS) for _ in range(4))
        self.head = nn.Linear(2 * CHANNELS, CHANNELS)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """Embed spectrograms (n, n_frames, n_mels) -> (n, CHANNELS)."""
        hidden = torch.relu(self.norms[0](self.first(mels.transpose(1, 2) / 3)))
        for norm, wide in zip(self.norms[1:], self.wide, strict=True):
            hidden = hidden + torch.relu(norm(wide(hidden)))
        pooled = torch.cat([hidden.mean(dim=2), (hidden.var(dim=2) + 1e-4).sqrt()], dim=1)
        return nn.functional.normalize(self.head(pooled), dim=1)


def train_cell(
    mels: tuple[np.ndarray, np.ndarray, np.ndarray], singers: np.ndarray, cell: Cell, steps: int
) -> SingerNetwork:
    """Train a network on hums, their copies of shifted pitch and those of changed tempo.

    ``mels`` are three arrays of shape (n_hums, n_frames, n_mels); every singer has two hums at least.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SingerNetwork()
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    of_singer = [np.flatnonzero(singers == name) for name in np.unique(singers)]
    who = np.arange(len(of_singer))
    nobody = len(who)
    for _ in range(steps):
        first, second = np.array([rng.permutation(rows)[:2] for rows in of_singer]).T
        batch, labels = [_crops(mels[0], first, rng), _crops(mels[0], second, rng)], [who, who]
        for copied, alike in ((mels[1], cell.pitch_alike), (mels[2], cell.tempo_alike)):
            if alike is not None:
                batch.append(_crops(copied, first, rng))
                labels.append(who if alike else nobody + who)
                nobody += 0 if alike else len(who)
        loss = contrast(network(torch.from_numpy(np.concatenate(batch))), torch.from_numpy(np.concatenate(labels)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def contrast(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of vectors (n, dim): those of one label attract each other (Khosla et al. 2020)."""
    itself = torch.eye(len(vectors), dtype=torch.bool)
    alike = (labels[:, None] == labels) & ~itself
    likelihood = (vectors @ vectors.T / TEMPERATURE).masked_fill(itself, -1e4).log_softmax(dim=1)
    n_alike = alike.sum(dim=1)
    return -((likelihood * alike).sum(dim=1)[n_alike > 0] / n_alike[n_alike > 0]).mean()


def _crops(mels: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = rng.integers(0, mels.shape[1] - CROP_FRAMES + 1, len(rows))
    return np.stack([mels[row, start : start + CROP_FRAMES] for row, start in zip(rows, starts, strict=True)])
