"""From what was heard in recordings to vectors that can be compared: one space for voice, style and feel each.

Every column is centred, and scaled where columns have units of their own, by the mean and the deviation of a sample of
the catalog; style embeddings, whose columns depend on each other, are whitened half-way. What lossy copies change in
style and timbre counts less. What a recording measures against a catalog goes through the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from hmm2song.catalog.facets import FEEL_COLUMNS, Facets
from hmm2song.catalog.hub import assets_folder
from hmm2song.embeddings.style import TAGS
from hmm2song.embeddings.voice import VoiceEncoder
from hmm2song.embeddings.voice_head import VoiceHead
from hmm2song.similar.codec_changes import CopyChanges, lessening

STYLE_WEIGHT, TIMBRE_WEIGHT = 0.6, 0.4
"""Shares of the MusiCNN embedding and of the MFCC in the similarity of style."""
WHITENING = 0.5
"""How far the style is whitened: 0 not at all, 1 to equal spread in all directions."""
SPREAD_FLOOR = 0.1
"""Added to the variance of every direction of the style, in parts of the mean variance: rare ones are mostly noise."""
MOODS = (
    "beautiful", "chillout", "Mellow", "chill", "ambient", "easy listening", "party", "sexy", "catchy", "sad", "happy",
    "dance"
)  # fmt: skip
"""The tags that name a mood; the others name genres, decades and instruments."""
MOOD_COLUMNS = [TAGS.index(mood) for mood in MOODS]
MOOD_WEIGHT, TEMPO_WEIGHT = 0.35, 1.5
"""What each mood counts in the feel, and the circle of tempi, where beat, loudness from beat to beat, onsets and
brightness count one each: a third of the distance is tempo, a fifth is mood."""
TEMPO_COLUMN = FEEL_COLUMNS.index("tempo_bpm")
LEAST_PROBABILITY = 1e-3
TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Scaling:
    """Means and deviations by which the columns of facets are scaled, each of shape (n_columns,).

    ``style_axes`` whitens the style; it and ``timbre_axes``, each of shape (n_columns, n_columns), lessen what copies
    change.
    """

    style_mean: np.ndarray
    style_axes: np.ndarray
    timbre_mean: np.ndarray
    timbre_spread: np.ndarray
    timbre_axes: np.ndarray
    feel_mean: np.ndarray
    feel_spread: np.ndarray

    @classmethod
    def of(cls, sample: Facets) -> Scaling:
        """Measure the columns on songs that were heard."""
        timbre, feel = sample.timbre.astype(np.float64), _feel_columns(sample)
        style = unit(sample.style).astype(np.float64)
        whitening, timbre_spread = _whitening(style - style.mean(axis=0)), np.maximum(timbre.std(axis=0), TINY)
        changes = _copy_changes()
        return cls(
            style.mean(axis=0),
            whitening @ lessening(changes.style @ whitening),
            timbre.mean(axis=0),
            timbre_spread,
            lessening(changes.timbre / timbre_spread),
            feel.mean(axis=0),
            np.maximum(feel.std(axis=0), TINY),
        )

    def voice(self, facets: Facets) -> tuple[np.ndarray, np.ndarray]:
        """Return unit vectors of the voices (n, dim), through the voice head, and who has one (n,).

        Catalogs of earlier versions hold Resemblyzer's embedding alone: it is compared as it is.
        """
        mapped = _voice_head()(facets.voice) if facets.voice.shape[1] == VoiceEncoder.dim else unit(facets.voice)
        return mapped, facets.voice.any(axis=1)

    def style(self, facets: Facets) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors whose inner product is the weighted mean of two cosines, and who has one."""
        centred = unit(facets.style) - self.style_mean.astype(np.float32)
        style = unit(centred @ self.style_axes.astype(np.float32))
        timbre = unit(((facets.timbre - self.timbre_mean) / self.timbre_spread) @ self.timbre_axes)
        both = np.hstack((np.sqrt(STYLE_WEIGHT) * style, np.sqrt(TIMBRE_WEIGHT) * timbre))
        return both, facets.heard & facets.style.any(axis=1)

    def feel(self, facets: Facets) -> tuple[np.ndarray, np.ndarray]:
        """Return tempo on a circle of octaves and the other columns scaled, and who has them."""
        tempo = facets.feel[:, TEMPO_COLUMN].astype(np.float64)
        angle = 2 * np.pi * np.log2(np.maximum(tempo, 1))  # trackers take a tempo for its double or half
        circle = np.where(tempo[:, None] > 0, TEMPO_WEIGHT * np.stack((np.cos(angle), np.sin(angle)), axis=1), 0)
        columns = (_feel_columns(facets) - self.feel_mean) / self.feel_spread
        columns[:, -len(MOODS) :] *= MOOD_WEIGHT
        return np.hstack((circle, columns)), facets.heard & facets.style.any(axis=1)


def tempo_bpm(facets: Facets | None, row: int = 0) -> float | None:
    """Return the tempo heard in a recording, rounded, or None if it has no beat or was not heard."""
    tempo = 0.0 if facets is None else float(facets.feel[row, TEMPO_COLUMN])
    return round(tempo, 1) if tempo > 0 else None


def _whitening(centred: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix that multiplies each direction by a power of its variance in rows (n, dim)."""
    variance, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    variance = np.maximum(variance, 0) + SPREAD_FLOOR * variance.mean() + TINY
    return (directions * variance ** (-WHITENING / 2)) @ directions.T


@cache
def _voice_head() -> VoiceHead:
    return VoiceHead.load(assets_folder() / "model_voice")


@cache
def _copy_changes() -> CopyChanges:
    return CopyChanges.load(assets_folder() / "model_style")


def _feel_columns(facets: Facets) -> np.ndarray:
    """Return what is scaled of the feel; not the loudness, which is a matter of mastering."""
    columns = {name: facets.feel[:, number].astype(np.float64) for number, name in enumerate(FEEL_COLUMNS)}
    onsets, brightness = (np.log(np.maximum(columns[name], TINY)) for name in ("onset_rate_hz", "brightness_hz"))
    probability = np.clip(facets.tags[:, MOOD_COLUMNS].astype(np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    moods = np.log(probability / (1 - probability))
    return np.column_stack((columns["pulse"], columns["loudness_spread_db"], onsets, brightness, moods))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, dim) of length one, float32; zero stays."""
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(TINY))
