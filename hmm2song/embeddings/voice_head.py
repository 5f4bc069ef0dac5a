"""From what Resemblyzer gives for a voice to vectors in which recordings of one singer lie closer together.

Resemblyzer was trained on speech. A linear map, learned from people who hum (``scripts/train_voice.py``), shrinks the
directions in which hums of one singer differ: from song to song, and with room, microphone and noise. It is applied to
the vectors that a catalog holds, so recordings need not be listened to again when it changes.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from hmm2song.embeddings.base import WEIGHTS_FILE, read_weights
from hmm2song.embeddings.voice import VoiceEncoder, levelled
from hmm2song.errors import ModelError


class VoiceHead:
    """Maps voices to unit vectors whose inner product tells singers apart.

    Parameters
    ----------
    mean : np.ndarray, shape (768,), float32
        Taken off first: what all voices have in common.
    weight : np.ndarray, shape (768, dim), float32
    """

    def __init__(self, mean: np.ndarray, weight: np.ndarray) -> None:
        self.mean, self.weight = mean, weight

    @property
    def dim(self) -> int:
        """Length of the vectors it gives."""
        return self.weight.shape[1]

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> VoiceHead:
        """Read ``model.safetensors``; ModelError if it is missing, damaged, or not such a map."""
        folder = Path(folder)
        weights = read_weights(folder)
        shapes = {name: weight.shape for name, weight in weights.items()}
        wanted = (VoiceEncoder.dim,)
        if set(shapes) != {"mean", "weight"} or shapes["mean"] != wanted or shapes["weight"][:-1] != wanted:
            raise ModelError(f"model {folder.name!r}: the weights do not fit (they are no map of {wanted[0]} numbers)")
        return cls(weights["mean"], weights["weight"])

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``model.safetensors`` into a folder."""
        (Path(folder) / WEIGHTS_FILE).write_bytes(save({"mean": self.mean, "weight": self.weight}))

    def __call__(self, voices: np.ndarray) -> np.ndarray:
        """Map voices (n, 768), of any float type, to (n, dim) float32 of unit length; zero rows stay zero."""
        mapped = (levelled(voices) - self.mean) @ self.weight
        mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), np.float32(1e-6))
        return np.where(voices.any(axis=1, keepdims=True), mapped, np.float32(0))
