"""The search of the first source system: a hum's log-mel spectrogram against those of ten-second clips of the songs.

The gallery is embedded once (the source did so for every hum). Songs that pass the filter are ranked by their nearest
clip. Three embeddings can be compared: a trained network, an untrained one, and the raw spectrogram without a network.

Conventions
-----------
* As in the source, a hum is its first ten seconds at 22,050 Hz, as one clip; silence follows a shorter hum.
* Of distances (``network.py``) the smallest is the nearest; they are not probabilities.
* Unlike in the source, a song in several genres passes the filter for each of them, and a filter that leaves nothing
  gives an empty result that says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import soxr

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.errors import QueryError
from hmm2song.evaluation.baselines.mel_cnn.clips import ClipSet
from hmm2song.evaluation.baselines.mel_cnn.mel import CLIP_SAMPLES, log_mel
from hmm2song.evaluation.baselines.mel_cnn.mel import SAMPLE_RATE_HZ as MEL_RATE_HZ
from hmm2song.evaluation.baselines.mel_cnn.network import DISTANCES, ConvSubnet
from hmm2song.song import ANY_GENDER, Song, SongFilter

Progress = Callable[[int], None]
"""Called with the number of clips embedded so far."""
Embedding = Callable[[np.ndarray, Progress | None], np.ndarray]
"""Spectrograms (n, 128, 431) in dB, perhaps memory-mapped -> vectors (n, d) float32."""
RAW = "raw"
UNTRAINED = "untrained"
NOTHING_LEFT = "No song passes this filter; choose another genre or gender."


@dataclass(frozen=True)
class ClipMatch:
    """A song by its nearest clip, which begins at ``start_s`` seconds."""

    rank: int
    song: Song
    clip: int
    start_s: float
    distance: float

    @property
    def id(self) -> str:
        """The song's id."""
        return self.song.id


@dataclass(frozen=True)
class MelResult:
    """Songs, nearest first; ``message`` is for people and empty unless nothing could be searched."""

    matches: tuple[ClipMatch, ...]
    n_searched: int
    message: str = ""


class MelEngine:
    """Finds songs of a built dataset.

    ``embed`` is a result of :func:`embedding_of`, ``distance`` a name in ``network.DISTANCES``; ``progress`` is called
    while the clips are embedded.
    """

    def __init__(
        self, clips: ClipSet, embed: Embedding, distance: str = "l2", progress: Progress | None = None
    ) -> None:
        if distance not in DISTANCES:
            raise QueryError(f"distance {distance!r:.40} is not one of {', '.join(DISTANCES)}")
        self.songs = clips.songs
        self.clip_song = clips.clip_song
        self._start_s = clips.start_s
        self._embed = embed
        self._distance = DISTANCES[distance]
        self._gallery = embed(clips.kind("org"), progress)

    def recognize(
        self,
        audio: str | os.PathLike[str] | tuple[int, np.ndarray],
        genres: Iterable[str] = (),
        gender: str = ANY_GENDER,
        top_k: int = 10,
        only_known: bool = False,
    ) -> MelResult:
        """Find the songs with a clip like this hum, ``top_k`` at most.

        The hum is given as to :func:`hmm2song.audio.load_audio` (which raises AudioError), the filter as to
        :class:`hmm2song.song.SongFilter`.
        """
        wanted = SongFilter(tuple(genres), gender, only_known)
        passing = np.array([wanted.passes(song) for song in self.songs])
        if not passing.any():
            return MelResult((), 0, NOTHING_LEFT)
        (distances,) = self.distances(spectrogram_of(audio)[np.newaxis])
        order = np.argsort(distances, kind="stable")
        order = order[passing[self.clip_song[order]]]
        nearest_of_songs = np.unique(self.clip_song[order], return_index=True)[1]
        ranked = order[np.sort(nearest_of_songs)[:top_k]]
        return MelResult(
            tuple(self._match(rank, int(clip), distances[clip]) for rank, clip in enumerate(ranked, start=1)),
            int(passing.sum()),
        )

    def distances(self, spectrograms: np.ndarray) -> np.ndarray:
        """Return the distance of every spectrogram (n, 128, 431) from every clip, (n, n_clips)."""
        return self._distance(self._embed(spectrograms, None), self._gallery)

    def _match(self, rank: int, clip: int, distance: float) -> ClipMatch:
        song = self.songs[self.clip_song[clip]]
        return ClipMatch(rank, song, clip, float(self._start_s[clip]), float(distance))


def spectrogram_of(audio: str | os.PathLike[str] | tuple[int, np.ndarray]) -> np.ndarray:
    """Return the log-mel spectrogram (128, 431) of a hum's first ten seconds; raises ``AudioError``."""
    samples = soxr.resample(load_audio(audio), SAMPLE_RATE_HZ, MEL_RATE_HZ)
    return log_mel(samples[:CLIP_SAMPLES])


def embedding_of(network: str | os.PathLike[str]) -> Embedding:
    """Return what turns spectrograms into vectors: of ``"raw"``, ``"untrained"`` or a network's folder."""
    if network == RAW:
        return raw_log_mel
    return (ConvSubnet.untrained() if network == UNTRAINED else ConvSubnet.load(network)).embed


def raw_log_mel(spectrograms: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """Return spectrograms (n, 128, 431) as vectors (n, 55168): no model at all."""
    if progress:
        progress(len(spectrograms))
    return np.array(spectrograms, dtype=np.float32).reshape(len(spectrograms), -1)
