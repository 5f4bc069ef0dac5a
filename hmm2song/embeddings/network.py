"""The network behind the encoder: melody windows in, unit vectors out.

A hum and its song share the course of the pitch over some seconds, give or take wrong notes, a wandering tempo and a
wandering key. A convolutional network over the contour learns what may differ (DESIGN and training:
``scripts/train.py``); attention pooling lets it lean on the notes that tell melodies apart. It is trained so that the
inner product of two unit vectors is high for a hum and its place in a song and low for any other (InfoNCE, van den Oord
et al. 2018).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hmm2song.embeddings import forward
from hmm2song.embeddings.forward import N_CHANNELS_IN, N_HEADS, NetworkConfig


def network_input(pitch_st: np.ndarray, voiced: np.ndarray) -> torch.Tensor:
    """Return what :func:`hmm2song.embeddings.forward.network_input` makes of windows, as a tensor."""
    return torch.from_numpy(forward.network_input(pitch_st, voiced))


class ContourNetwork(nn.Module):
    """Dilated residual convolutions over a contour window, masked attention pooling, a unit embedding."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        half = config.channels // 2
        self.stem = nn.Sequential(
            nn.Conv1d(N_CHANNELS_IN, half, kernel_size=7, stride=2, padding=3),
            nn.GELU(),
            nn.Conv1d(half, config.channels, kernel_size=5, stride=2, padding=2),
        )
        self.blocks = nn.ModuleList(_Block(config.channels, dilation) for dilation in config.dilations)
        self.position = nn.Parameter(torch.zeros(config.channels, config.n_frames // 4))
        self.attention = nn.Conv1d(config.channels, N_HEADS, kernel_size=1)
        self.head = nn.Linear(N_HEADS * config.channels, config.dim)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Embed (n, 3, n_frames) -> (n, dim), unit length."""
        hidden = self.stem(windows) + self.position
        for block in self.blocks:
            hidden = block(hidden)
        inside = nn.functional.avg_pool1d(windows[:, 2:3], 4) > 0
        logits = self.attention(hidden).float().masked_fill(~inside, -1e4)
        pooled = torch.einsum("nht,nct->nhc", logits.softmax(dim=2).to(hidden.dtype), hidden)
        return nn.functional.normalize(self.head(pooled.flatten(1)).float(), dim=1)


def weights_of(network: nn.Module) -> dict[str, np.ndarray]:
    """Return the weights as :class:`~hmm2song.embeddings.forward.Forward` takes them."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in network.state_dict().items()}


class _Block(nn.Module):
    """A residual block that starts as the identity, which trains without normalisation layers (Zhang et al. 2019)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(channels, channels, kernel_size=5, padding=2 * dilation, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, kernel_size=1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.mix(nn.functional.gelu(self.wide(nn.functional.gelu(hidden))))
