"""The third source system: a network over mel spectrograms tells the genre, and the nearest songs of it are listed.

Five networks are trained, each without one of five stratified folds, and the genre is the mode of their votes. Songs
are then compared by the cosine of features of their part from 60 to 90 s (the "killing part"). The source used
ResNet50, Xception and MobileNet (about 70 % of four genres); this network is smaller and has their parts: convolutions,
normalisation, pooling over time.

Mistakes, kept
--------------
* The gate is hard: if the genre is wrong, all five songs are, and none of another genre is ever found. What a genre is
  sure of does not count, nor do the votes that lost.
* The folds are stratified by genre, not by artist, so the network may know a song's artist.
* Features are not scaled (:mod:`hmm2song.evaluation.baselines.genre_features`): those in Hz decide.
* A song shorter than 90 s has no such part; here its last 30 s are taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import torch
from torch import nn

from hmm2song.audio import load_part
from hmm2song.errors import AudioError, CatalogError

RATE_HZ = 16000
N_FFT, HOP, N_MELS = 2048, 1024, 64
FROM_S, PART_S = 60.0, 30.0
N_FOLDS = 5
N_EPOCHS = 20
BATCH = 16
LEARNING_RATE = 1e-3


def killing_part(path: str | Path) -> np.ndarray:
    """Return a recording from 60 to 90 s, or the last 30 s of a shorter one, as mono samples at 16 kHz, shape (n,)."""
    try:
        samples = load_part(path, RATE_HZ, FROM_S, PART_S)
    except AudioError:
        samples = np.zeros(0, np.float32)
    if len(samples) >= PART_S * RATE_HZ:
        return samples
    return load_part(path, RATE_HZ, 0.0, FROM_S + PART_S)[-round(PART_S * RATE_HZ) :]


def mel_of(samples: np.ndarray) -> np.ndarray:
    """Return the mel spectrogram in dB below its maximum, shape (64, n_frames), float32."""
    power = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS)
    return librosa.power_to_db(power, ref=np.max).astype(np.float32)


def features_of(samples: np.ndarray) -> np.ndarray:
    """Return what songs are compared by, shape (27,).

    Rate and number of zero crossings, spectrogram, harmonic and percussive part, chromagram (12), spectral centroid,
    rolloff and bandwidth, as means and deviations, and the tempo.
    """
    sound = {"y": samples, "sr": RATE_HZ}
    crossings = librosa.zero_crossings(samples)
    harmonic, percussive = librosa.effects.hpss(samples)
    series = (
        np.abs(librosa.stft(samples)),
        harmonic,
        percussive,
        librosa.feature.spectral_centroid(**sound),
        librosa.feature.spectral_rolloff(**sound),
        librosa.feature.spectral_bandwidth(**sound),
    )
    moments = [moment for values in series for moment in (np.mean(values), np.std(values))]
    chroma = librosa.feature.chroma_stft(**sound).mean(axis=1)
    tempo_bpm = float(np.squeeze(librosa.beat.beat_track(**sound)[0]))
    return np.array([crossings.mean(), crossings.sum(), *moments, *chroma, tempo_bpm])


class GenreNetwork(nn.Module):
    """Four convolutions with normalisation and pooling, the mean over time, and one output per genre."""

    def __init__(self, n_genres: int) -> None:
        super().__init__()
        layers, n_channels = [], 1
        for n_next in (16, 32, 64, 64):
            layers += [nn.Conv2d(n_channels, n_next, 3, padding=1), nn.BatchNorm2d(n_next), nn.ReLU(), nn.MaxPool2d(2)]
            n_channels = n_next
        self.convolutions = nn.Sequential(*layers)
        self.output = nn.Linear(n_channels, n_genres)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """Return log odds of the genres, (n, n_genres), of mel spectrograms (n, 64, n_frames) in dB."""
        return self.output(self.convolutions(mels[:, None] / 40 + 1).mean(dim=(2, 3)))


def train_network(mels: np.ndarray, genres: np.ndarray, n_genres: int, seed: int, n_epochs: int) -> GenreNetwork:
    """Train on mel spectrograms (n, 64, n_frames) and the numbers of their genres (n,)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GenreNetwork(n_genres)
        optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
        inputs, targets = torch.from_numpy(mels), torch.from_numpy(genres)
        for _ in range(n_epochs):
            for batch in torch.randperm(len(inputs)).split(BATCH):
                loss = nn.functional.cross_entropy(network(inputs[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return network.eval()


def stratified_folds(genres: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return which of the five folds each song is in, shape (n,): every genre is spread evenly over them."""
    random, folds = np.random.default_rng(seed), np.zeros(len(genres), int)
    for genre in np.unique(genres):
        places = random.permutation(np.flatnonzero(genres == genre))
        folds[places] = np.arange(len(places)) % N_FOLDS
    return folds


@dataclass(frozen=True, eq=False)
class GenreEnsemble:
    """Five networks, and the share of songs each was right about in the fold it was not trained on, shape (5,)."""

    genres: tuple[str, ...]
    networks: tuple[GenreNetwork, ...]
    accuracy: np.ndarray

    @classmethod
    def train(
        cls,
        mels: np.ndarray,
        labels: Sequence[str],
        folds: np.ndarray | None = None,
        seed: int = 0,
        n_epochs: int = N_EPOCHS,
    ) -> GenreEnsemble:
        """Train on mel spectrograms (n, 64, n_frames); CatalogError with fewer than five songs of a genre.

        ``folds`` (n,), 0 to 4, are stratified if not given, as the source had them; of whole artists they are honest.
        """
        genres = tuple(sorted(set(labels)))
        if min(Counter(labels).values(), default=0) < N_FOLDS or len(genres) < 2:
            raise CatalogError(f"five folds need at least {N_FOLDS} songs of each of two genres")
        numbers = np.array([genres.index(label) for label in labels])
        folds = stratified_folds(numbers, seed) if folds is None else folds
        networks, accuracy = [], []
        for fold in range(N_FOLDS):
            network = train_network(mels[folds != fold], numbers[folds != fold], len(genres), seed + fold, n_epochs)
            right = _best(network, mels[folds == fold]) == numbers[folds == fold]
            networks.append(network)
            accuracy.append(right.mean())
        return cls(genres, tuple(networks), np.array(accuracy))

    def predict(self, mels: np.ndarray) -> list[str]:
        """Return the genre that most of the five vote for, of a tie the first; mel spectrograms (n, 64, n_frames)."""
        votes = np.stack([_best(network, mels) for network in self.networks])
        counts = [np.bincount(votes[:, song], minlength=len(self.genres)) for song in range(len(mels))]
        return [self.genres[int(np.argmax(count))] for count in counts]


@torch.inference_mode()
def _best(network: GenreNetwork, mels: np.ndarray) -> np.ndarray:
    return network(torch.from_numpy(mels)).argmax(dim=1).numpy()
