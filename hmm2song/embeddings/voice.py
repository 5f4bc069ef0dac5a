"""Who sings: the speaker encoder of Resemblyzer (Wan et al. 2018, GE2E), which also tells singers apart.

The network is ``assets/model_voice``, made by ``scripts/convert_models.py``. It hears 1.6 s at a time. Its embedding
was trained on speech, by which much of what tells singers apart is lost: the layers below it still hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.embeddings.base import open_network
from hmm2song.embeddings.spectrum import band_power, mel_weights

VOICE_FILE = "resemblyzer.onnx"
VOICE_SHA256 = "531fae3d1a25291ff90c40f6462374da464b44b9913ce20931ffa1d73ce5f193"
VOICE_DIM, LAYER_DIM = 256, 512
"""Resemblyzer's embedding, and the means over time of what its second and third layer give."""
N_FFT, HOP, N_BANDS = 400, 160, 40
PART_FRAMES, PART_HOP_FRAMES = 160, 80
"""1.6 s every 0.8 s, less often where there is much singing."""
MAX_PARTS = 100
LEVEL_DB = -30.0
"""Root mean square of what it hears, relative to full scale: the level to which Resemblyzer raises speech."""
PIECE = 480
PAUSE_DB = -30.0
"""Pieces of this many samples (30 ms) this far below the mean are pauses and are left out."""
MIN_SUNG_S = 1.0
BATCH_PARTS = 64


class VoiceEncoder:
    """Embeds singing; ModelError if the network is missing or damaged."""

    name = "voice"
    dim = VOICE_DIM + LAYER_DIM
    fingerprint = VOICE_SHA256[:16]

    def __init__(self, folder: Path) -> None:
        self._session = open_network(folder / VOICE_FILE, VOICE_SHA256)

    def embed(self, samples: np.ndarray, segments: Sequence[tuple[float, float]]) -> np.ndarray:
        """Embed the voice of a recording -> (dim,) float32; zero where too little is sung.

        First comes Resemblyzer's embedding, (VOICE_DIM,), of unit length, then what its layers give.

        Parameters
        ----------
        samples : np.ndarray, shape (n,), float32
            Mono at 16 kHz.
        segments : sequence of (float, float)
            From where to where somebody sings, in seconds.
        """
        places = [slice(round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)) for start, end in segments]
        sung = np.concatenate([samples[:0], *(samples[place] for place in places)])
        parts = self.parts(sung)
        mean = parts.mean(axis=0) if len(parts) else np.zeros(self.dim, np.float32)
        return levelled(mean[None])[0]

    def parts(self, sung: np.ndarray) -> np.ndarray:
        """Return what the network gives for each 1.6 s of singing, pauses left out; shape (n, dim)."""
        pieces = sung[: len(sung) // PIECE * PIECE].reshape(-1, PIECE)
        energy = np.mean(np.square(pieces, dtype=np.float64), axis=1)
        is_sound = energy > energy.mean() * 10 ** (PAUSE_DB / 10) if len(energy) else energy > 0
        if is_sound.sum() < MIN_SUNG_S * SAMPLE_RATE_HZ / PIECE:
            return np.zeros((0, self.dim), np.float32)
        gain = 10 ** (LEVEL_DB / 20) / np.sqrt(energy[is_sound].mean())
        power = band_power(pieces[is_sound].ravel() * np.float32(gain), HOP, mel_weights(N_FFT, N_BANDS))
        power = power[np.arange(max(len(power), PART_FRAMES)) % len(power)]
        hop = max(PART_HOP_FRAMES, len(power) // MAX_PARTS)
        parts = np.lib.stride_tricks.sliding_window_view(power, PART_FRAMES, axis=0)[::hop]
        parts = parts.transpose(0, 2, 1)
        batches = (parts[start : start + BATCH_PARTS] for start in range(0, len(parts), BATCH_PARTS))
        outputs = [self._session.run(["voice", "layers"], {"x": np.ascontiguousarray(each)}) for each in batches]
        return np.concatenate([np.hstack(output) for output in outputs])


def levelled(voices: np.ndarray) -> np.ndarray:
    """Return voices (n, dim) as float32 whose embedding, the first VOICE_DIM numbers, has unit length; zero stays."""
    voices = voices.astype(np.float32)
    length = np.linalg.norm(voices[:, :VOICE_DIM], axis=1, keepdims=True)
    return np.hstack((voices[:, :VOICE_DIM] / np.maximum(length, np.float32(1e-6)), voices[:, VOICE_DIM:]))
