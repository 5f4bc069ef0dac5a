"""The network of the first source system: a log-mel spectrogram in, one vector per channel out; its loss and distances.

It is kept as it was, so that its method can be run, measured and compared (``docs/source-system.md``); the search of
this package does not use it. A spectrogram of ten seconds goes through three convolutions; the last has 256 channels of
16 x 53 values, and ``view(-1, 848)`` hands them *one by one* to a linear layer. So a clip becomes 256 vectors, all of
which are trained (a hum A nearer to its clip P than to another clip N), and of which inference reads the first.

Conventions
-----------
* Spectrograms have shape (n, 128, 431) and are in dB, as ``mel.log_mel`` makes them:
  22,050 Hz, hop 512, neither scaled nor centred.
* Of a distance the smallest is the nearest. ``cosine_as_distance`` is the source system's error, kept under a name that
  says so: it is a similarity, of which the smallest is the *least* alike.
* A saved network is a folder with ``config.json`` and ``model.safetensors``, like a melody encoder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from hmm2song.embeddings.base import CONFIG_FILE, WEIGHTS_FILE, one_line, read_weights
from hmm2song.errors import ModelError
from hmm2song.evaluation.baselines.mel_cnn.mel import N_FRAMES, N_MELS

N_CHANNELS = 256
CHANNEL_SIZE = (N_MELS // 8) * (N_FRAMES // 8)
"""848 = 16 x 53: what three poolings leave of a channel."""
DIM = 128
MARGIN = 1.0
"""The loss is zero if P is nearer than N by this distance."""
N_CLIPS_AT_ONCE = 16
"""Embedded at once: some 300 MB of activations."""
CONFIG = {"model_type": "hmm2song-conv-subnet", "n_mels": N_MELS, "n_frames": N_FRAMES, "dim": DIM}


class ConvSubnet(nn.Module):
    """Three 3 x 3 convolutions (1-64-128-256), each with ReLU and 2 x 2 max-pooling, and ``Linear(848, 128)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(64, 128, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(128, N_CHANNELS, kernel_size=3, padding=1)
        self.linear = nn.Linear(CHANNEL_SIZE, DIM)
        self.to(memory_format=torch.channels_last)  # how weights lie in memory: a third faster on a CPU

    @classmethod
    def untrained(cls, seed: int = 0) -> ConvSubnet:
        """Make a network with random weights, without touching the random state of others."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls()

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Embed (n, 128, 431) -> (n * 256, 128): the 256 channels of the first clip, those of the second, ..."""
        channels = _pooled(self.conv3(self._middle(spectrograms)))
        with torch.autocast(channels.device.type, enabled=False):  # differences of vectors need all their digits
            return self.linear(channels.float().reshape(-1, CHANNEL_SIZE))

    def first_channel(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Embed (n, 128, 431) -> (n, 128): row 0 of every clip in what :meth:`forward` gives, at half its cost."""
        middle = self._middle(spectrograms)
        channel = _pooled(nn.functional.conv2d(middle, self.conv3.weight[:1], self.conv3.bias[:1], padding=1))
        return self.linear(channel.reshape(-1, CHANNEL_SIZE))

    @torch.inference_mode()
    def embed(self, spectrograms: np.ndarray, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Embed clips (n, 128, 431) as the source system's inference does: channel 0 of every clip, (n, 128), float32.

        The clips may be memory-mapped. ``progress`` is called with the number of clips embedded so far.
        """
        device = self.linear.weight.device
        rows = [np.zeros((0, DIM), np.float32)]
        for at in range(0, len(spectrograms), N_CLIPS_AT_ONCE):
            batch = as_tensor(spectrograms[at : at + N_CLIPS_AT_ONCE]).to(device)
            rows.append(self.first_channel(batch).cpu().numpy())
            if progress:
                progress(at + len(batch))
        return np.concatenate(rows)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ConvSubnet:
        """Read a network from a folder; raises ModelError."""
        folder = Path(folder)
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(
                f"{folder.name!r} is not a model: {CONFIG_FILE} cannot be read ({error!s:.200})"
            ) from error
        if config != CONFIG:
            raise ModelError(f"{folder.name!r}: {CONFIG_FILE} is {config!r:.200}, expected {CONFIG}")
        network = cls.untrained()
        try:
            network.load_state_dict(
                {name: torch.from_numpy(each) for name, each in read_weights(folder).items()}, strict=True
            )
        except RuntimeError as error:
            raise ModelError(f"model {folder.name!r}: the weights do not fit ({one_line(error)})") from error
        return network

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write configuration and weights into a folder, made if missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        (folder / CONFIG_FILE).write_text(json.dumps(CONFIG, indent=1) + "\n", encoding="utf-8")
        (folder / WEIGHTS_FILE).write_bytes(save(weights))

    def _middle(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Return what the last convolution is given, (n, 128, 32, 107)."""
        images = spectrograms.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        return _pooled(self.conv2(_pooled(self.conv1(images))))


def as_tensor(spectrograms: np.ndarray) -> torch.Tensor:
    """Copy spectrograms of any float type into a float32 tensor; raises ModelError unless they are of ten seconds."""
    if spectrograms.shape[1:] != (N_MELS, N_FRAMES):
        raise ModelError(f"spectrograms must have shape (n, {N_MELS}, {N_FRAMES}), got {spectrograms.shape}")
    return torch.from_numpy(np.array(spectrograms, dtype=np.float32))


def triplet_loss(hums: torch.Tensor, originals: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Mean of max(||f(A) - f(P)|| - ||f(A) - f(N)|| + 1, 0) over rows, each argument (n, 128) (Schroff et al. 2015)."""
    return nn.functional.triplet_margin_loss(hums, originals, others, margin=MARGIN)


def pairwise_l2(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Euclidean distances of (n, d) and (m, d) -> (n, m): the inference with which 99.5 % was reported."""
    return np.stack([np.linalg.norm(gallery - query, axis=1) for query in queries])


def cosine_as_distance(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Cosine *similarities* of (n, d) and (m, d) -> (n, m), to be minimised all the same: the 7.3 % of the source."""
    return _unit(queries) @ _unit(gallery).T


def cosine_distance(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return 1 - cosine similarity of (n, d) and (m, d) -> (n, m): the same with its sign mended."""
    return 1.0 - cosine_as_distance(queries, gallery)


DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "l2": pairwise_l2,
    "cosine": cosine_distance,
    "cosine-as-distance": cosine_as_distance,
}
"""What a clip may be looked up by; the smallest is the nearest."""


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _pooled(features: torch.Tensor) -> torch.Tensor:
    return nn.functional.max_pool2d(torch.relu(features), 2)
