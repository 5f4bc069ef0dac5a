"""What the network of :mod:`hmm2song.embeddings.network` answers, without torch: importing torch takes seconds.

The same network in numpy, for searching and indexing; :mod:`hmm2song.training` learns with the one in torch. Arrays
have shape (time, windows, channels): a convolution is then one matrix product for each of its taps, without copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np

PITCH_UNIT_ST = 6.0
"""Pitch is fed in halves of an octave: most of a melody lies within one on either side of its median."""
PITCH_LIMIT_ST = 18.0
"""Beyond this an octave error of the tracker or the transcription speaks, not the melody."""
N_CHANNELS_IN = 3
"""Pitch, whether it is voiced, whether the frame is inside the melody."""
N_HEADS = 4
"""Attention heads that pool the frames."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; ``n_frames`` must be divisible by 4."""

    n_frames: int = 128
    channels: int = 128
    dim: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)


def weight_shapes(sizes: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by its name in torch."""
    channels, half = sizes.channels, sizes.channels // 2
    shapes = {
        "position": (channels, sizes.n_frames // 4),
        "stem.0.weight": (half, N_CHANNELS_IN, 7),
        "stem.0.bias": (half,),
        "stem.2.weight": (channels, half, 5),
        "stem.2.bias": (channels,),
        "attention.weight": (N_HEADS, channels, 1),
        "attention.bias": (N_HEADS,),
        "head.weight": (sizes.dim, N_HEADS * channels),
        "head.bias": (sizes.dim,),
    }
    for block in range(len(sizes.dilations)):
        shapes |= {f"blocks.{block}.wide.weight": (channels, channels, 5), f"blocks.{block}.wide.bias": (channels,)}
        shapes |= {f"blocks.{block}.mix.weight": (channels, channels, 1), f"blocks.{block}.mix.bias": (channels,)}
    return shapes


def network_input(pitch_st: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Turn windows into network input.

    Parameters
    ----------
    pitch_st : np.ndarray, shape (n, n_frames)
        Semitones relative to the window's median, rests filled; NaN outside the melody.
    voiced : np.ndarray, shape (n, n_frames), bool

    Returns
    -------
    np.ndarray, shape (n, 3, n_frames), float32
    """
    inside = ~np.isnan(pitch_st)
    pitch = np.clip(np.nan_to_num(pitch_st), -PITCH_LIMIT_ST, PITCH_LIMIT_ST) / PITCH_UNIT_ST
    return np.stack((pitch, voiced & inside, inside), axis=1).astype(np.float32)


class Forward:
    """The network with its weights.

    Parameters
    ----------
    weights : mapping of str to np.ndarray
        Shaped as :func:`weight_shapes` says, float32.
    sizes : NetworkConfig
    """

    def __init__(self, weights: Mapping[str, np.ndarray], sizes: NetworkConfig) -> None:
        self._sizes = sizes
        self._bias = {name: value for name, value in weights.items() if name.endswith(".bias")}
        kernels = {name: value for name, value in weights.items() if value.ndim == 3}
        # (out, in, taps) -> (taps, in, out)
        self._taps = {name: np.ascontiguousarray(value.transpose(2, 1, 0)) for name, value in kernels.items()}
        self._position = np.ascontiguousarray(weights["position"].T)[:, None]
        self._head = np.ascontiguousarray(weights["head.weight"].T)

    def __call__(self, pitch_st: np.ndarray, voiced: np.ndarray) -> np.ndarray:
        """Embed windows (n, n_frames), NaN outside the melody, -> (n, dim) float32, unit length."""
        inside = ~np.isnan(pitch_st)
        fed = network_input(pitch_st, voiced)
        hidden = self._convolve(fed.transpose(2, 0, 1), "stem.0", stride=2)
        hidden = self._convolve(hidden, "stem.2", stride=2, activate=True) + self._position
        for block, dilation in enumerate(self._sizes.dilations):
            wide = self._convolve(hidden, f"blocks.{block}.wide", dilation=dilation, activate=True)
            hidden += self._convolve(wide, f"blocks.{block}.mix", activate=True)
        is_inside = inside.reshape(len(inside), -1, 4).any(axis=2)
        logits = np.where(is_inside.T[:, :, None], self._convolve(hidden, "attention"), np.float32(-1e4))
        shares = np.exp(logits - logits.max(axis=0))
        shares /= shares.sum(axis=0)
        pooled = np.matmul(shares.transpose(1, 2, 0), hidden.transpose(1, 0, 2)).reshape(len(inside), -1)
        embedding = pooled @ self._head + self._bias["head.bias"]
        return embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), np.float32(1e-12))

    def _convolve(
        self, frames: np.ndarray, name: str, stride: int = 1, dilation: int = 1, activate: bool = False
    ) -> np.ndarray:
        """Convolve (time, n, in), or its GELU, along time -> (time / stride, n, out); padded as by torch."""
        taps = self._taps[f"{name}.weight"]
        n_time, n, _ = frames.shape
        reach = (len(taps) // 2) * dilation
        padded = np.empty((n_time + 2 * reach, n, frames.shape[2]), np.float32)
        padded[:reach], padded[reach + n_time :] = 0.0, 0.0
        if activate:
            _fill_gelu(frames.ravel(), padded[reach : reach + n_time].reshape(-1))
        else:
            padded[reach : reach + n_time] = frames
        seen = [padded[first * dilation : first * dilation + n_time : stride] for first in range(len(taps))]
        seen = [each.reshape(n_time // stride * n, -1) for each in seen]
        total = seen[0] @ taps[0]
        total += self._bias[f"{name}.bias"]
        part = np.empty_like(total)
        for each, tap in zip(seen[1:], taps[1:], strict=True):
            total += np.matmul(each, tap, out=part)
        return total.reshape(n_time // stride, n, -1)


@numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _fill_gelu(values, out):
    """Fill ``out`` with ``x * (1 + erf(x / sqrt(2))) / 2``; erf is a fraction of polynomials, as in Eigen (1e-7)."""
    for index in range(len(values)):
        x = values[index] * np.float32(0.70710678)
        x = x if x > np.float32(-4.0) else np.float32(-4.0)
        x = x if x < np.float32(4.0) else np.float32(4.0)
        s = x * x
        over = np.float32(-2.72614225801306e-10)
        over = over * s + np.float32(2.77068142495902e-08)
        over = over * s + np.float32(-2.10102402082508e-06)
        over = over * s + np.float32(-5.69250639462346e-05)
        over = over * s + np.float32(-7.34990630326855e-04)
        over = over * s + np.float32(-2.95459980854025e-03)
        over = over * s + np.float32(-1.60960333262415e-02)
        under = np.float32(-1.45660718464996e-05)
        under = under * s + np.float32(-2.13374055278905e-04)
        under = under * s + np.float32(-1.68282697438203e-03)
        under = under * s + np.float32(-7.37332916720468e-03)
        under = under * s + np.float32(-1.42647390514189e-02)
        erf = x * over / under
        out[index] = np.float32(0.5) * values[index] * (np.float32(1.0) + erf)
