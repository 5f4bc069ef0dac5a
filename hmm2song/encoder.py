"""Melody window -> embedding: the contract every encoder keeps, and the untrained one that needs no weights.

An embedding turns "how alike are these two melody windows" into an inner product, so that one matrix product compares
a hum with every window of a catalog. Songs and hums are embedded separately: an encoder that is not invariant to small
errors of key answers several embeddings per hum window, one per hypothesis, and the best counts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np


class MelodyEncoder(Protocol):
    """What a catalog and a search need of an encoder."""

    window_s: float
    song_hop_s: float
    n_frames: int
    dim: int

    @property
    def fingerprint(self) -> str:
        """Identify everything the embeddings depend on; catalogs made with another fingerprint are refused."""
        ...

    def encode_songs(self, pitch_st: np.ndarray) -> np.ndarray:
        """Embed song windows (n, n_frames) -> (n, dim) float32."""
        ...

    def encode_hum(self, pitch_st: np.ndarray) -> np.ndarray:
        """Embed hum windows (n, n_frames) -> (n, n_hypotheses, dim) float32."""
        ...


@dataclass(frozen=True)
class PhaseEncoder:
    """Untrained encoder: each frame's pitch as points on circles of several periods.

    With the pitch ``p`` mapped to ``(cos 2 pi p / P, sin 2 pi p / P)`` for a few periods ``P``, the inner product of
    two windows is the mean over frames of ``sum_P cos(2 pi d / P)`` of their pitch difference ``d``: close to 1 for
    equal pitch, near zero beyond three semitones, and never much below. One wrong note thus costs its own frames and no
    more, where a squared distance would let it decide (random Fourier features, Rahimi and Recht 2007, with chosen
    frequencies). Windows are centred on their median; the hum's key hypotheses repair a median moved by wrong notes.
    """

    window_s: float = 4.0
    song_hop_s: float = 1.0
    n_frames: int = 16
    periods_st: tuple[float, ...] = (30.0, 15.0, 10.0, 7.5)
    key_hypotheses_st: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return 2 * len(self.periods_st) * self.n_frames

    @property
    def fingerprint(self) -> str:
        """Digest of the encoder's kind and every setting that changes a song's embedding."""
        settings = asdict(self)
        del settings["key_hypotheses_st"]  # affects hums only: catalogs stay valid
        text = json.dumps({"encoder": "phase", "version": 1, **settings}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def encode_songs(self, pitch_st: np.ndarray) -> np.ndarray:
        """Embed song windows (n, n_frames), NaN where empty -> (n, dim) float32."""
        angle = 2.0 * np.pi * np.asarray(pitch_st, dtype=np.float32)[:, :, None] / np.float32(self.periods_st)
        circles = np.concatenate([np.cos(angle), np.sin(angle)], axis=2)
        scale = np.sqrt(len(self.periods_st) * self.n_frames)
        return (np.nan_to_num(circles) / scale).astype(np.float32).reshape(len(pitch_st), self.dim)

    def encode_hum(self, pitch_st: np.ndarray) -> np.ndarray:
        """Embed hum windows (n, n_frames) -> (n, n_hypotheses, dim) float32."""
        moved = pitch_st[:, None, :] + np.float32(self.key_hypotheses_st)[None, :, None]
        flat = self.encode_songs(moved.reshape(-1, self.n_frames))
        return flat.reshape(len(pitch_st), len(self.key_hypotheses_st), self.dim)


def default_encoder() -> MelodyEncoder:
    """Return the encoder that the bundled catalog is made with."""
    return PhaseEncoder()
