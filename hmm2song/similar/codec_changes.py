"""How style and timbre of a recording change when a codec leaves out what is faint, and how to heed that less.

Within-class covariance normalisation (Hatch, Kajarekar and Stolcke 2006): directions in which copies of one recording
differ are scaled down. The changes were heard in MP3 copies of the free recordings (``scripts/train_style.py``) and are
applied when songs are compared, so nothing needs to be listened to again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from hmm2song.catalog.facets import STYLE_DIM, TIMBRE_DIM
from hmm2song.embeddings.base import WEIGHTS_FILE, read_weights
from hmm2song.errors import ModelError


class CopyChanges:
    """What copies have more or less of than the recordings they were made of.

    Parameters
    ----------
    style : np.ndarray, shape (n_copies, 200), float32
        Difference of the style embeddings, each of length one.
    timbre : np.ndarray, shape (n_copies, 40), float32
        Difference of means and deviations of the MFCC.
    """

    def __init__(self, style: np.ndarray, timbre: np.ndarray) -> None:
        self.style, self.timbre = style, timbre

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> CopyChanges:
        """Read ``model.safetensors``; ModelError if it is missing, damaged, or holds something else."""
        folder = Path(folder)
        weights = read_weights(folder)
        shapes = {name: weight.shape[1:] for name, weight in weights.items()}
        if shapes != {"style": (STYLE_DIM,), "timbre": (TIMBRE_DIM,)}:
            raise ModelError(f"model {folder.name!r}: the weights do not fit (they are no changes of style and timbre)")
        return cls(weights["style"], weights["timbre"])

    def save(self, folder: str | os.PathLike[str], ids: Sequence[str]) -> None:
        """Write ``model.safetensors`` into a folder, with the ids of the recordings."""
        weights = {"style": self.style, "timbre": self.timbre}
        (Path(folder) / WEIGHTS_FILE).write_bytes(save(weights, metadata={"ids": " ".join(ids)}))


def learned_from(folder: Path) -> set[str]:
    """Return the ids of the recordings whose copies :meth:`CopyChanges.save` wrote: they must not judge the changes."""
    with safe_open(folder / WEIGHTS_FILE, framework="numpy") as tensors:
        return set((tensors.metadata() or {}).get("ids", "").split())


def lessening(changes: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix (dim, dim) that shortens directions by how much copies change in them (n, dim).

    Where they change as on average over all directions, by the root of two.
    """
    variance, directions = np.linalg.eigh(changes.T @ changes / len(changes))
    variance = np.maximum(variance, 0)
    return (directions / np.sqrt(1 + variance / max(variance.mean(), 1e-12))) @ directions.T
