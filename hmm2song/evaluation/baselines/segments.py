"""The fourth source system: segments of music compared without labels, as its authors did it.

A song is cut on the beat into segments of about four seconds. Of each, the 20 MFCC over time are reduced by a whitened
PCA to one value per coefficient. K-means puts the segments of all songs into ten clusters; inside the query's cluster
the most similar segments by cosine are shown with a percentage. A loudness profile goes with each: decibels per beat
over eight beats, in steps of 3 dB from 0 to 30.

What is wrong with it, kept here as it is:

* The PCA is fitted to each segment alone: two segments are described along different axes, and the sign of an axis is
  arbitrary.
* Whitening scales every segment to the same spread, in which the first MFCC outweighs all others: half of all pairs
  of segments are more than 90 % alike.
* What lies just outside the query's cluster is never found.
* The loudness profile is relative to the song, so that it says nothing of how loud a song is, and it is not compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import librosa
import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

SAMPLE_RATE_HZ = 22050
HOP = 512
N_MFCC = 20
SEGMENT_S = 4.0
N_CLUSTERS = 10
PROFILE_BEATS = 8
LOUDNESS_STEP_DB, LOUDEST_DB = 3, 30


@dataclass(frozen=True, eq=False)
class SongSegments:
    """The segments of one song, a row each.

    ``vectors`` (n, 20) hold one value per MFCC; ``loudness_db`` (n, 8) is that of the beats, in steps of 3 from 0 to
    30; the last value is repeated in shorter segments.
    """

    start_s: np.ndarray
    vectors: np.ndarray
    loudness_db: np.ndarray


def segments_of(samples: np.ndarray, rate_hz: int = SAMPLE_RATE_HZ) -> SongSegments:
    """Cut a song, mono samples of shape (n,), on the beat; one without beats is cut every four seconds."""
    if rate_hz != SAMPLE_RATE_HZ:
        samples = librosa.resample(samples, orig_sr=rate_hz, target_sr=SAMPLE_RATE_HZ, res_type="soxr_qq")
    spectrum = np.abs(librosa.stft(samples, hop_length=HOP))
    level_db = librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=SAMPLE_RATE_HZ))
    mfcc = librosa.feature.mfcc(S=level_db, n_mfcc=N_MFCC)
    onsets = librosa.onset.onset_strength(S=level_db, sr=SAMPLE_RATE_HZ)
    _, beats = librosa.beat.beat_track(onset_envelope=onsets, sr=SAMPLE_RATE_HZ, hop_length=HOP)
    segment_frames = SEGMENT_S * SAMPLE_RATE_HZ / HOP
    if len(beats) < 2:
        beats = np.arange(0, mfcc.shape[1], round(segment_frames / PROFILE_BEATS))
    n_beats = max(1, round(segment_frames / np.median(np.diff(np.append(beats, mfcc.shape[1])))))
    edges = np.append(beats[:-n_beats:n_beats], beats[-1]) if len(beats) > n_beats else np.array([0, mfcc.shape[1]])
    loudness_db = _beat_loudness_db(librosa.feature.rms(S=spectrum)[0], beats)
    profiles = [loudness_db[start : start + PROFILE_BEATS] for start in range(0, n_beats * (len(edges) - 1), n_beats)]
    return SongSegments(
        edges[:-1] * HOP / SAMPLE_RATE_HZ,
        np.array([_one_value_each(mfcc[:, start:end]) for start, end in pairwise(edges)]),
        np.array([np.pad(profile, (0, PROFILE_BEATS - len(profile)), "edge") for profile in profiles]),
    )


def _one_value_each(mfcc: np.ndarray) -> np.ndarray:
    """Reduce the MFCC of a segment, shape (20, n_frames), to their first principal component, whitened: shape (20,)."""
    if np.ptp(mfcc) == 0:
        return np.zeros(len(mfcc))
    return PCA(1, whiten=True, random_state=0).fit_transform(mfcc)[:, 0]


def _beat_loudness_db(rms: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Return the loudness of each beat in steps of 3 dB, from 0 to 30 for the loudest beat of the song."""
    mean = np.array([part.mean() for part in np.split(rms, beats[1:])])
    below_db = librosa.amplitude_to_db(mean, ref=max(mean.max(), 1e-10), top_db=LOUDEST_DB)
    return np.clip(LOUDNESS_STEP_DB * np.round(below_db / LOUDNESS_STEP_DB) + LOUDEST_DB, 0, LOUDEST_DB)


class SegmentSearch:
    """Finds the segments of other songs that are most like one of a song's."""

    def __init__(self, songs: list[SongSegments]) -> None:
        self.song = np.repeat(np.arange(len(songs)), [len(song.vectors) for song in songs])
        self.vectors = np.concatenate([song.vectors for song in songs])
        self._unit = self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1, keepdims=True), 1e-12)
        self.cluster = KMeans(min(N_CLUSTERS, len(self.vectors)), n_init=1, random_state=0).fit_predict(self.vectors)

    def nearest(self, segment: int, n: int = 5) -> list[tuple[int, float]]:
        """Return the ``n`` segments of other songs in its cluster that are nearest, with their percentages."""
        percent = self.percent(segment)
        order = np.argsort(-percent, kind="stable")[:n]
        return [(int(other), float(percent[other])) for other in order if percent[other] > -np.inf]

    def percent(self, segment: int) -> np.ndarray:
        """Return the cosine with every segment as a percentage; minus infinity in its own song and other clusters."""
        allowed = (self.cluster == self.cluster[segment]) & (self.song != self.song[segment])
        return np.where(allowed, 100 * (self._unit @ self._unit[segment]), -np.inf)

    def songs_like(self, song: int) -> np.ndarray:
        """Return how like song number ``song`` the others are, shape (n_songs,): the mean of their best percentages.

        The source stops at segments. A song that has none in the cluster of a segment counts 0 there.
        """
        likeness = np.zeros(self.song.max() + 1)
        segments = np.flatnonzero(self.song == song)
        for segment in segments:
            percent = np.where(np.isfinite(self.percent(segment)), self.percent(segment), 0)
            best = np.zeros_like(likeness)
            np.maximum.at(best, self.song, percent)
            likeness += best / len(segments)
        return likeness
