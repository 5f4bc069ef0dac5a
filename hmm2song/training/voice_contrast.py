"""Learning to tell singers apart from pairs of hums, without knowing what was hummed.

What is learned is :class:`~hmm2song.embeddings.voice_head.VoiceHead`, in two steps:

1. *Whitening* (within-class covariance normalisation, Hatch, Kajarekar and Stolcke 2006): the directions in which hums
   of one singer differ are scaled down by how much they differ; then the directions in which all hums hardly differ are
   left out.
2. *Contrast* (InfoNCE, van den Oord et al. 2018), from there on: two crops of one singer, from different hums, must be
   more alike than crops of different singers. The distance to the first step is a penalty.

Hums of one singer often come from one microphone on one day, so that the channel alone would tell singers apart. Half
of the crops are therefore of degraded copies: another room, microphone, band, noise and coarseness for each hum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.signal import fftconvolve
from torch import nn

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.embeddings.voice import levelled
from hmm2song.embeddings.voice_head import VoiceHead

EQ_KNOTS_HZ = (0, 150, 300, 600, 1200, 2000, 3000, 4000, 8000)
DEGRADED_WEIGHT = 0.03
"""What a degraded hum counts in the whitening; more costs accuracy on clean hums, less on degraded ones."""
SHRINKAGE = 0.1
DIM = 256
"""Of these directions hums differ most in, measured by how much hums of one singer do; the others are left out."""
DEGRADED_SHARE = 0.5
TEMPERATURE = 0.05
LEARNING_RATE = 1e-3
PENALTY = 0.1
CROP_PARTS = (2, 7)
"""Least and most consecutive parts (of 1.6 s every 0.8 s) of a crop."""


def degraded(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a hum (n,) at 16 kHz as if through another room, microphone, line and converter, each by chance."""
    if rng.random() < 0.3:
        n_room = int(rng.uniform(0.15, 0.6) * SAMPLE_RATE_HZ)
        room = rng.standard_normal(n_room) * np.exp(-6.9 * np.arange(n_room) / n_room)
        room *= rng.uniform(0.1, 0.8) / np.sqrt(np.sum(room**2))
        room[0] += 1
        samples = fftconvolve(samples, room)[: len(samples)]
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    gain = np.ones(len(frequency_hz))
    if rng.random() < 0.8:
        curve_db = np.cumsum(rng.normal(0, 8 / 3, len(EQ_KNOTS_HZ)))
        gain *= 10 ** (np.interp(frequency_hz, EQ_KNOTS_HZ, curve_db - curve_db.mean()) / 20)
    if rng.random() < 0.5:
        low_hz, high_hz = rng.uniform(0, 300), rng.uniform(2000, 4000)
        gain /= np.sqrt((1 + (low_hz / np.maximum(frequency_hz, 1)) ** 4) * (1 + (frequency_hz / high_hz) ** 12))
    samples = np.fft.irfft(np.fft.rfft(samples) * gain, len(samples))
    if rng.random() < 0.5:
        colour = np.maximum(frequency_hz, 50) ** -rng.uniform(0, 1)
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(len(samples))) * colour, len(samples))
        level = np.sqrt(np.mean(samples**2) / np.mean(noise**2))
        samples = samples + noise * level * 10 ** (-rng.uniform(8, 30) / 20)
    if rng.random() < 0.3:
        step = 2.0 ** -rng.integers(6, 10)
        samples = np.round(samples / max(np.abs(samples).max(), 1e-6) * rng.uniform(0.1, 0.9) / step) * step
    return np.asarray(samples, np.float32)


def train_head(
    hums: Sequence[Sequence[np.ndarray]], singers: Sequence[str], steps: int = 600, seed: int = 0
) -> VoiceHead:
    """Learn a head from hums.

    Parameters
    ----------
    hums : sequence of sequences of np.ndarray, each of shape (n_parts, 768)
        What the voice network gives for the parts of each hum, as it is, then of its degraded copies, if it has any.
    singers : sequence of str
        Who hums each; at least two hums of each of at least two singers.
    steps : int
        Of the contrast; 0 leaves the whitening.
    """
    singers = np.asarray(singers)
    clean = levelled(np.array([views[0].mean(axis=0) for views in hums])).astype(np.float64)
    copies = [(view.mean(axis=0), singer) for views, singer in zip(hums, singers, strict=True) for view in views[1:]]
    vectors = np.vstack([clean, *(levelled(copy[None]) for copy, _ in copies)])
    weights = np.repeat([1.0, DEGRADED_WEIGHT], [len(clean), len(copies)])
    whitened = whitening(vectors, np.array([*singers, *(singer for _, singer in copies)]), weights)
    mean = clean.mean(axis=0)
    _, directions = np.linalg.eigh(whitened.T @ np.cov(clean.T) @ whitened)
    whitened = whitened @ directions[:, -DIM:]
    whitened = (whitened / np.sqrt(((clean - mean) @ whitened).var(axis=0).mean())).astype(np.float32)
    mean = mean.astype(np.float32)
    return VoiceHead(mean, _contrast(hums, singers, mean, whitened, steps, seed) if steps else whitened)


def whitening(vectors: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the map (dim, dim) under which ``vectors`` (n, dim) of one class differ equally in all directions."""
    _, place = np.unique(classes, return_inverse=True)
    total = np.bincount(place, weights)
    means = np.zeros((len(total), vectors.shape[1]))
    np.add.at(means, place, vectors * weights[:, None])
    within = (vectors - (means / total[:, None])[place]) * np.sqrt(weights)[:, None]
    covariance = within.T @ within / weights.sum()
    dim = len(covariance)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * max(np.trace(covariance) / dim, 1e-9) * np.eye(dim)
    variance, directions = np.linalg.eigh(covariance)
    return directions / np.sqrt(variance)


def _contrast(hums, singers, mean, whitened, steps, seed):
    rng = np.random.default_rng(seed)
    start = torch.from_numpy(whitened)
    weight = nn.Parameter(start.clone())
    optimiser = torch.optim.AdamW([weight], lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    of_singer = [np.flatnonzero(singers == name) for name in np.unique(singers)]
    partner = torch.arange(2 * len(of_singer)) ^ 1
    for _ in range(steps):
        chosen = np.concatenate([rng.permutation(rows)[:2] for rows in of_singer])
        crops = levelled(np.array([_crop(hums[row], rng) for row in chosen])) - mean
        mapped = nn.functional.normalize(torch.from_numpy(crops) @ weight, dim=1)
        likeness = (mapped @ mapped.T / TEMPERATURE).fill_diagonal_(-1e4)
        moved = ((weight - start) ** 2).sum() / (start**2).sum()
        loss = nn.functional.cross_entropy(likeness, partner) + PENALTY * moved
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return weight.detach().numpy()


def _crop(views: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    view = views[0] if len(views) == 1 or rng.random() > DEGRADED_SHARE else views[rng.integers(1, len(views))]
    n_parts = min(rng.integers(CROP_PARTS[0], CROP_PARTS[1] + 1), len(view))
    start = rng.integers(0, len(view) - n_parts + 1)
    return view[start : start + n_parts].mean(axis=0)
