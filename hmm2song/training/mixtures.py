"""Mixtures of a voice and a band, of which the voice's pitch is known: what the network for mixes learns from.

Conventions
-----------
* Sound is mono at 8 kHz, 16 bit, kept in one long file per collection (:class:`Collection`) with its pitch beside it.
* Pitch is in Hz on the melody's grid; 0 where nobody sings, :data:`UNKNOWN_HZ` where nobody knows.
* Each mixture is drawn from a generator of its own: the same seed gives the same mixture.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.fft import irfft, rfft, rfftfreq

from hmm2song.errors import Hmm2SongError
from hmm2song.indexing.mix_spectrum import HOP, PITCHES_MIDI, RATE_HZ, harmonic_spectrum, normalised
from hmm2song.melody.melody import FRAME_RATE_HZ, hz_to_midi

UNKNOWN_HZ = -1.0
N_FRAMES = 256
"""Length of a mixture, 10.24 s."""
N_SAMPLES = N_FRAMES * HOP
LEVEL = 0.1
"""Root mean square to which recordings are brought."""
HELD_OUT_OF = 10
"""One singer and one band in so many is held out, to choose by."""
TARGET_WIDTH_ST = 0.35
N_CHROMA = 36
CHROMA_RANGE_HZ = (90.0, 2000.0)


@dataclass(frozen=True)
class Part:
    """A recording in a collection: who it is by, first frame, number of frames."""

    source: str
    first: int
    n_frames: int


class Collection:
    """Recordings in one file, their pitch in another; read without loading them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.samples = np.memmap(folder / f"{name}.i16", "<i2", "r")
        self.f0_hz = np.memmap(folder / f"{name}.f32", "<f4", "r") if (folder / f"{name}.f32").exists() else None
        self.parts = [Part(*row) for row in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))]

    @staticmethod
    def write(folder: Path, name: str, recordings: Iterator[tuple[str, np.ndarray, np.ndarray | None]]) -> None:
        """Write (source, samples (n,), f0 in Hz (n / HOP,) or None); the list of parts last, as the mark of success."""
        parts, first = [], 0
        with (folder / f"{name}.i16").open("wb") as sound, (folder / f"{name}.f32").open("wb") as pitch:
            for source, samples, f0_hz in recordings:
                n_frames = len(samples) // HOP
                sound.write((np.clip(samples[: n_frames * HOP], -1, 1) * 32767).astype("<i2").tobytes())
                if f0_hz is not None:
                    pitch.write(np.asarray(f0_hz[:n_frames], dtype="<f4").tobytes())
                parts.append([source, first, n_frames])
                first += n_frames
        if (folder / f"{name}.f32").stat().st_size == 0:
            (folder / f"{name}.f32").unlink()
        (folder / f"{name}.json").write_text(json.dumps(parts), encoding="utf-8")

    def sound(self, part: Part, first: int = 0, n_frames: int | None = None) -> np.ndarray:
        """Return the samples of a part, or of some of its frames, float32."""
        begin = (part.first + first) * HOP
        return self.samples[begin : begin + (n_frames or part.n_frames) * HOP].astype(np.float32) / 32767

    def pitch(self, part: Part) -> np.ndarray:
        """Return the f0 of a part in Hz, shape (n_frames,)."""
        return np.array(self.f0_hz[part.first : part.first + part.n_frames])

    def chosen(self, held_out: bool) -> list[Part]:
        """Return the parts to learn from, or those held out: no source is in both."""
        return [part for part in self.parts if (zlib.crc32(part.source.encode()) % HELD_OUT_OF == 0) == held_out]


@dataclass(frozen=True, eq=False)
class Mixture:
    """What the network sees of a mixture (see :func:`harmonic_spectrum`) and the pitch of its voice in Hz."""

    harmonics: np.ndarray
    bands: np.ndarray
    f0_hz: np.ndarray


class Mixer:
    """Draws mixtures of voices and bands.

    Parameters
    ----------
    voices : list of (Collection, share)
        Voices, and how often each collection sings.
    bands : Collection
        Recordings in which nobody sings.
    held_out : bool
        Whether to draw from the sources that are held out.
    """

    def __init__(self, voices: list[tuple[Collection, float]], bands: Collection, held_out: bool = False) -> None:
        self.voices = [(collection, collection.chosen(held_out)) for collection, _ in voices]
        self.voice_shares = np.array([share for _, share in voices]) / sum(share for _, share in voices)
        self.bands, self.band_parts = bands, bands.chosen(held_out)
        if not self.band_parts or not all(parts for _, parts in self.voices):
            kind = "held out" if held_out else "learned from"
            raise Hmm2SongError(f"too few recordings: of voices and of bands, at least one each must be {kind}")
        self.band_shares = np.sqrt([part.n_frames for part in self.band_parts])
        self.band_shares /= self.band_shares.sum()
        frequency_hz = rfftfreq(N_SAMPLES, 1 / RATE_HZ)
        self._octaves = np.log2(np.maximum(frequency_hz, 40.0) / 40.0)
        self._is_tonal = (frequency_hz > CHROMA_RANGE_HZ[0]) & (frequency_hz < CHROMA_RANGE_HZ[1])
        self._chroma_bin = _chroma_bin(hz_to_midi(frequency_hz[self._is_tonal]))
        self._frequency_hz = frequency_hz

    def mixture(self, rng: np.random.Generator) -> Mixture:
        """Draw one: mostly a voice over a band, sometimes a band alone or with a second voice behind."""
        spectrum = rfft(self._band(rng))
        chroma = np.bincount(self._chroma_bin, np.abs(spectrum[self._is_tonal]), N_CHROMA)
        mix = _levelled(irfft(spectrum * self._equaliser(rng), N_SAMPLES))
        f0_hz = np.zeros(N_FRAMES, dtype=np.float32)
        if rng.random() < 0.85:
            voice, f0_hz = self._voice(rng, chroma)
            if rng.random() < 0.2:
                voice += self._voice(rng, chroma)[0] * _gain(rng.uniform(-14, -6))
            if rng.random() < 0.05:
                mix *= _gain(rng.uniform(-30, -10))
            mix += voice * _gain(rng.uniform(-7, 8))
        mix += rng.standard_normal(N_SAMPLES) * LEVEL * _gain(rng.uniform(-60, -25))
        if rng.random() < 0.3:
            mix = irfft(rfft(mix) / (1 + (self._frequency_hz / rng.uniform(2200, 4000)) ** 8), N_SAMPLES)
        return Mixture(*harmonic_spectrum(normalised(mix) * np.float32(_gain(rng.uniform(-9, 7)))), f0_hz)

    def _band(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a stretch of a band, up to three semitones faster or slower."""
        for _ in range(20):
            speed = 2 ** rng.uniform(-0.25, 0.25)
            n_needed = int(N_FRAMES * speed) + 1
            part = self.band_parts[rng.choice(len(self.band_parts), p=self.band_shares)]
            if part.n_frames > n_needed:
                samples = self.bands.sound(part, int(rng.integers(part.n_frames - n_needed)), n_needed)
                if np.sqrt(np.mean(samples**2)) > LEVEL / 20:
                    return _levelled(_at_speed(samples, speed, N_SAMPLES))
        return LEVEL * rng.standard_normal(N_SAMPLES)

    def _voice(self, rng: np.random.Generator, chroma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw one singer's recordings one after another, in a room: samples of unit gain, f0 in Hz."""
        voice, f0_hz = np.zeros(N_SAMPLES), np.zeros(N_FRAMES, dtype=np.float32)
        collection, parts = self.voices[rng.choice(len(self.voices), p=self.voice_shares)]
        number = int(rng.integers(len(parts)))
        source, speed = parts[number].source, None
        at = int(rng.uniform(-4, 3) * FRAME_RATE_HZ)
        while at < N_FRAMES:
            pitch = collection.pitch(parts[number])
            speed = speed or _speed_in_key(pitch, chroma, rng)
            n_frames = int((len(pitch) - 1) / speed)
            sung = pitch[np.round(np.arange(n_frames) * speed).astype(int)]
            samples = _at_speed(collection.sound(parts[number]), speed, n_frames * HOP)
            begin, end = max(at, 0), min(at + n_frames, N_FRAMES)
            if begin < end:
                voice[begin * HOP : end * HOP] = samples[(begin - at) * HOP : (end - at) * HOP]
                f0_hz[begin:end] = np.where(sung > 0, sung * speed, sung)[begin - at : end - at]
            at += n_frames + int(rng.exponential(FRAME_RATE_HZ))
            if number + 1 < len(parts) and parts[number + 1].source == source:
                number += 1
        spectrum = rfft(voice) * self._equaliser(rng)
        if rng.random() < 0.7:
            spectrum *= rfft(_room(rng), N_SAMPLES)
        voice = irfft(spectrum, N_SAMPLES)
        if rng.random() < 0.15:
            voice += rng.uniform(0.4, 0.9) * _double(voice, rng)
        is_sung = np.repeat(f0_hz > 0, HOP)
        return (_levelled(voice, is_sung) if is_sung.any() else voice), f0_hz

    def _equaliser(self, rng: np.random.Generator) -> np.ndarray:
        knots = np.linspace(0, self._octaves[-1], 7)
        return _gain(np.interp(self._octaves, knots, rng.normal(0, 4, len(knots))))


def targets(f0_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the likelihoods to be learned (n_frames, n_pitches + 1) and whether each frame counts (n_frames,)."""
    midi = hz_to_midi(f0_hz)
    is_inside = (midi >= PITCHES_MIDI[0]) & (midi <= PITCHES_MIDI[-1])
    near = np.exp(-0.5 * ((PITCHES_MIDI - midi[is_inside, None]) / TARGET_WIDTH_ST) ** 2)
    likelihood = np.zeros((len(f0_hz), len(PITCHES_MIDI) + 1), dtype=np.float32)
    likelihood[is_inside, :-1] = near / near.sum(axis=1, keepdims=True)
    likelihood[f0_hz == 0, -1] = 1.0
    return likelihood, (is_inside | (f0_hz == 0)).astype(np.float32)


def _gain(level_db: float | np.ndarray) -> float | np.ndarray:
    return 10.0 ** (level_db / 20.0)


def _levelled(samples: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    heard = samples if counted is None else samples[counted]
    return samples * (LEVEL / max(float(np.sqrt(np.mean(heard**2))), 1e-6))


def _at_speed(samples: np.ndarray, speed: float, n_samples: int) -> np.ndarray:
    """Play faster and higher (above 1) or slower and lower."""
    return np.interp(np.arange(n_samples) * speed, np.arange(len(samples)), samples)


def _chroma_bin(midi: np.ndarray) -> np.ndarray:
    return np.round(midi * (N_CHROMA / 12)).astype(int) % N_CHROMA


def _speed_in_key(f0_hz: np.ndarray, chroma: np.ndarray, rng: np.random.Generator) -> float:
    """Draw a speed, mostly one of fourteen at which the voice fits the band's chroma best: singers share its key."""
    shifts_st = rng.uniform(-4, 4, 14)
    if rng.random() < 0.25 or not (f0_hz > 0).any():
        return float(2 ** (shifts_st[0] / 12))
    midi = hz_to_midi(f0_hz[f0_hz > 0])
    fit = [chroma[_chroma_bin(midi + shift_st)].mean() for shift_st in shifts_st]
    return float(2 ** (shifts_st[int(np.argmax(fit))] / 12))


def _room(rng: np.random.Generator) -> np.ndarray:
    """Draw an impulse response: the direct sound and a falling tail of noise."""
    time = np.linspace(0, 1, int(rng.uniform(0.1, 0.8) * RATE_HZ))
    tail = rng.standard_normal(len(time)) * 10.0 ** (-3 * time)
    tail *= _gain(rng.uniform(-20, -3)) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail


def _double(voice: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sing it once more, some 20 ms later and slightly out of tune."""
    delay = rng.uniform(0.012, 0.04) * RATE_HZ
    wobble = 6 * np.sin(2 * np.pi * 0.7 * np.arange(len(voice)) / RATE_HZ)
    return np.interp(np.arange(len(voice)) - delay + wobble, np.arange(len(voice)), voice)
