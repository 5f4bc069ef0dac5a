"""Mixtures of a voice and a band, of which the voice's pitch is known: what the network for mixes learns from.

Conventions
-----------
* Sound is mono at 8 kHz, 16 bit, kept in one long file per collection (:class:`Collection`) with its pitch beside it.
* Pitch is in Hz on the melody's grid; 0 where nobody sings, :data:`UNKNOWN_HZ` where nobody knows.
* A whole batch is mixed at once, on the GPU if there is one: a processor mixes slower than a GPU learns.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hmm2song.errors import Hmm2SongError
from hmm2song.indexing.mix_spectrum import HOP, PITCHES_MIDI, RATE_HZ, spectrum_of
from hmm2song.melody.melody import FRAME_RATE_HZ

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
MOST_RECORDINGS = 3
"""Recordings of a singer, one after another, in one mixture."""
N_SHIFTS = 14
"""Of so many keys a singer mostly takes the one that fits the band."""
N_KNOTS = 7
ROOM_SAMPLES = round(0.8 * RATE_HZ)


class Collection:
    """Recordings in one file, their pitch in another; read without loading them.

    ``parts`` holds who each recording is by, its first frame and its number of frames.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.samples = np.memmap(folder / f"{name}.i16", "<i2", "c")
        self.f0_hz = np.memmap(folder / f"{name}.f32", "<f4", "c") if (folder / f"{name}.f32").exists() else None
        self.parts = [tuple(row) for row in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))]

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


@dataclass(frozen=True, eq=False)
class _Shelf:
    """A collection on the device, and the parts of it that are drawn: first frame, length, next by the same singer."""

    samples: torch.Tensor
    f0_hz: torch.Tensor
    first: torch.Tensor
    n_frames: torch.Tensor
    following: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, collection: Collection, held_out: bool, shortest: int, device: torch.device) -> _Shelf:
        """Take the parts to learn from, or those held out: no source is in both."""
        parts = [
            part
            for part in collection.parts
            if (zlib.crc32(part[0].encode()) % HELD_OUT_OF == 0) == held_out and part[2] > shortest
        ]
        if not parts:
            kind = "held out" if held_out else "learned from"
            raise Hmm2SongError(f"too few recordings: of voices and of bands, at least one each must be {kind}")
        source, first, n_frames = zip(*parts, strict=True)
        following = [
            min(i + 1, len(parts) - 1) if source[i] == source[(i + 1) % len(parts)] else i for i in range(len(parts))
        ]
        pitch = np.zeros(1, np.float32) if collection.f0_hz is None else collection.f0_hz
        whole = (torch.tensor(column, device=device) for column in (first, n_frames, following))
        weight = torch.tensor(n_frames, device=device).sqrt()
        return cls(torch.from_numpy(collection.samples).to(device), torch.from_numpy(pitch).to(device), *whole, weight)

    def sound(self, first_frame: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """Return the samples at fractional places (n, n_samples) after a first frame (n,), between -1 and 1."""
        lower = at.floor()
        place = (first_frame * HOP)[:, None] + lower.long()
        last = len(self.samples) - 1
        before, after = self.samples[place.clamp(0, last)], self.samples[(place + 1).clamp(0, last)]
        return torch.lerp(before.float(), after.float(), at - lower) / 32767


class Mixer:
    """Draws batches of mixtures of voices and bands.

    Parameters
    ----------
    voices : list of (Collection, share)
        Voices, and how often each collection sings.
    bands : Collection
        Recordings in which nobody sings.
    device : torch.device
        Where they are mixed.
    held_out : bool
        Whether to draw from the sources that are held out.
    """

    def __init__(
        self, voices: list[tuple[Collection, float]], bands: Collection, device: torch.device, held_out: bool = False
    ) -> None:
        self.device, self.rng = device, torch.Generator(device)
        self.voices = [(_Shelf.of(collection, held_out, 1, device), share) for collection, share in voices]
        self.bands = _Shelf.of(bands, held_out, int(N_FRAMES * 2**0.25) + 2, device)
        frequency_hz = torch.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ, device=device)
        octaves = torch.log2(frequency_hz.clamp(min=40.0) / 40.0)
        knots = torch.linspace(0, float(octaves[-1]), N_KNOTS, device=device)
        self._knot_shares = (1 - (octaves[:, None] - knots).abs() / knots[1]).clamp(min=0)
        self._is_tonal = (frequency_hz > CHROMA_RANGE_HZ[0]) & (frequency_hz < CHROMA_RANGE_HZ[1])
        bins = _chroma_bin(_midi(frequency_hz[self._is_tonal]))
        self._chroma_shares = torch.nn.functional.one_hot(bins, N_CHROMA).float()
        self._frequency_hz = frequency_hz
        self._sample = torch.arange(N_SAMPLES, device=device)

    def batch(self, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mix n: mostly a voice over a band, sometimes a band alone or with a second voice behind.

        Returns
        -------
        harmonics, bands : torch.Tensor
            What the network sees, see :func:`spectrum_of`.
        f0_hz : torch.Tensor, shape (n, n_frames)
            The pitch of the voice.
        """
        self.rng.manual_seed(seed)
        mix = self._band(n)
        busy = self._some(n, 0.15)
        mix[busy] += self._band(len(busy)) * self._gain(len(busy), -12, 0)
        spectrum = torch.fft.rfft(mix)
        chroma = spectrum[:, self._is_tonal].abs() @ self._chroma_shares
        mix = _levelled(torch.fft.irfft(spectrum * self._equaliser(n), N_SAMPLES))
        led = self._some(n, 0.25)
        mix[led] += self._lead(chroma[led]) * self._gain(len(led), -10, 4)
        voice, f0_hz = self._voice(chroma)
        quiet = self._some(n, 0.05)
        mix[quiet] *= self._gain(len(quiet), -30, -10)
        behind = self._some(n, 0.25)
        mix[behind] += self._voice(chroma[behind])[0] * self._gain(len(behind), -16, -6)
        alone = self._some(n, 0.15)
        voice[alone], f0_hz[alone] = 0.0, 0.0
        mix += voice * self._gain(n, -7, 8)
        mix += self._normal(n, N_SAMPLES) * LEVEL * self._gain(n, -60, -25)
        pressed = self._some(n, 0.25)
        loudest = LEVEL * self._gain(len(pressed), 3, 12)
        mix[pressed] = loudest * torch.tanh(mix[pressed] / loudest)
        dull = self._some(n, 0.3)
        cut_hz = self._uniform(2200, 4000, len(dull), 1)
        mix[dull] = torch.fft.irfft(torch.fft.rfft(mix[dull]) / (1 + (self._frequency_hz / cut_hz) ** 8), N_SAMPLES)
        return *spectrum_of(_levelled(mix) / LEVEL * self._gain(n, -9, 7)), f0_hz

    def _band(self, n: int) -> torch.Tensor:
        """Draw stretches of bands, up to three semitones faster or slower."""
        part = torch.multinomial(self.bands.weight, n, True, generator=self.rng)
        speed = 2 ** self._uniform(-0.25, 0.25, n, 1)
        free = self.bands.n_frames[part] - (N_FRAMES * speed[:, 0]).long() - 1
        begin = (self._uniform(0, 1, n) * free).long()
        samples = self.bands.sound(self.bands.first[part] + begin, self._sample * speed)
        return _levelled(samples, least=LEVEL / 20)

    def _voice(self, chroma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a singer's recordings one after another, in a room, for each band: unit gain, f0 in Hz."""
        n = len(chroma)
        voice = torch.zeros(n, N_SAMPLES, device=self.device)
        f0_hz = torch.zeros(n, N_FRAMES, device=self.device)
        which = self._uniform(0, sum(share for _, share in self.voices), n)
        for shelf, share in self.voices:
            chosen = torch.nonzero((which >= 0) & (which < share))[:, 0]
            voice[chosen], f0_hz[chosen] = self._sung(shelf, chroma[chosen])
            which = which - share
        voice = self._compressed(voice)
        spectrum = torch.fft.rfft(voice) * self._equaliser(n)
        roomy = self._some(n, 0.7)
        spectrum[roomy] *= torch.fft.rfft(self._room(len(roomy)), N_SAMPLES)
        voice = torch.fft.irfft(spectrum, N_SAMPLES)
        doubled = self._some(n, 0.15)
        voice[doubled] += self._uniform(0.4, 0.9, len(doubled), 1) * self._double(voice[doubled])
        is_sung = (f0_hz > 0).repeat_interleave(HOP, dim=1)
        return _levelled(voice, is_sung, least=LEVEL / 100), f0_hz

    def _sung(self, shelf: _Shelf, chroma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n = len(chroma)
        voice, f0_hz = torch.zeros(n, N_SAMPLES, device=self.device), torch.zeros(n, N_FRAMES, device=self.device)
        part = torch.randint(len(shelf.first), (n,), generator=self.rng, device=self.device)
        begin = (self._uniform(-4, 3, n) * FRAME_RATE_HZ).long()
        frame = torch.arange(N_FRAMES, device=self.device)
        pitch = shelf.f0_hz[(shelf.first[part][:, None] + frame).clamp(max=len(shelf.f0_hz) - 1)]
        speed = self._speed_in_key(torch.where(frame < shelf.n_frames[part][:, None], pitch, 0), chroma)[:, None]
        for _ in range(MOST_RECORDINGS):
            first, length = shelf.first[part], ((shelf.n_frames[part] - 1) / speed[:, 0]).long()
            local = frame - begin[:, None]
            is_on = (local >= 0) & (local < length[:, None])
            sung = shelf.f0_hz[first[:, None] + torch.where(is_on, local * speed, 0).round().long()]
            f0_hz = torch.where(is_on, torch.where(sung > 0, sung * speed, sung), f0_hz)
            at = (self._sample - (begin * HOP)[:, None]) * speed
            voice = torch.where(is_on.repeat_interleave(HOP, dim=1), shelf.sound(first, at), voice)
            gap = torch.empty(n, device=self.device).exponential_(1 / FRAME_RATE_HZ, generator=self.rng)
            begin, part = begin + length + gap.long(), shelf.following[part]
        return voice, f0_hz

    def _lead(self, chroma: torch.Tensor) -> torch.Tensor:
        """Let an instrument play what somebody sings, in whole semitones: a tune alone must not pass for a voice."""
        n = len(chroma)
        _, f0_hz = self._sung(self.voices[0][0], chroma)
        midi = torch.where(f0_hz > 0, _midi(f0_hz), 0).round()
        frame = torch.arange(N_FRAMES, device=self.device)
        begins = torch.nn.functional.pad(midi[:, 1:] != midi[:, :-1], (1, 0), value=True)
        since_s = (frame - torch.where(begins, frame, 0).cummax(dim=1).values) / FRAME_RATE_HZ
        level = torch.exp(-since_s / self._uniform(0.1, 3, n, 1)) * (midi > 0)
        level = torch.nn.functional.interpolate(level[:, None], N_SAMPLES, mode="linear")[:, 0]
        wobble = self._uniform(-0.2, 0.2, n, 1) * torch.sin(self._uniform(25, 45, n, 1) * self._sample / RATE_HZ)
        hz = 440 * 2 ** ((midi.repeat_interleave(HOP, dim=1) + wobble - 69) / 12)
        phase = torch.cumsum(2 * torch.pi / RATE_HZ * hz, dim=1)
        slope, tone = self._uniform(0.2, 2.5, n, 1), torch.zeros_like(phase)
        for number in range(1, 11):
            is_audible = hz * number < RATE_HZ / 2
            tone += torch.sin(number * phase) * is_audible * self._gain(n, -12, 0) / number**slope
        return _levelled(tone * level, level > 0, least=LEVEL / 100)

    def _speed_in_key(self, f0_hz: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
        """Draw speeds, mostly those at which the voices fit the bands' chroma best: singers share the band's key."""
        shifts_st = self._uniform(-4, 4, len(chroma), N_SHIFTS)
        bins = _chroma_bin(_midi(f0_hz.clamp(min=1.0))[:, None] + shifts_st[..., None])
        fit = torch.gather(chroma[:, None].expand(-1, N_SHIFTS, -1), 2, bins)
        best = (fit * (f0_hz > 0)[:, None]).sum(dim=2).argmax(dim=1, keepdim=True)
        free = self._uniform(0, 1, len(chroma), 1) < 0.25
        return 2 ** (shifts_st.gather(1, torch.where(free, 0, best))[:, 0] / 12)

    def _compressed(self, voice: torch.Tensor) -> torch.Tensor:
        """Even out the level over some tenths of a second, as records do and amateurs do not."""
        power = torch.nn.functional.avg_pool1d(voice[:, None] ** 2, 2 * HOP + 1, HOP // 8, HOP)
        power = torch.nn.functional.interpolate(power, N_SAMPLES, mode="linear")[:, 0]
        return voice * (power / LEVEL**2 + 0.01) ** self._uniform(-0.3, 0.0, len(voice), 1)

    def _room(self, n: int) -> torch.Tensor:
        """Draw impulse responses: the direct sound and a falling tail of noise."""
        time = torch.arange(ROOM_SAMPLES, device=self.device) / (self._uniform(0.1, 0.8, n, 1) * RATE_HZ)
        tail = self._normal(n, ROOM_SAMPLES) * 10 ** (-3 * time) * (time < 1)
        tail *= self._gain(n, -20, -3) / tail.norm(dim=1, keepdim=True)
        tail[:, 0] = 1.0
        return tail

    def _double(self, voice: torch.Tensor) -> torch.Tensor:
        """Sing it once more, some 20 ms later and slightly out of tune."""
        delay = self._uniform(0.012, 0.04, len(voice), 1) * RATE_HZ
        at = (self._sample - delay + 6 * torch.sin(2 * torch.pi * 0.7 / RATE_HZ * self._sample)).clamp(0, N_SAMPLES - 2)
        lower = at.long()
        return torch.lerp(voice.gather(1, lower), voice.gather(1, lower + 1), at - lower)

    def _equaliser(self, n: int) -> torch.Tensor:
        return 10 ** (4 * self._normal(n, N_KNOTS) @ self._knot_shares.T / 20)

    def _some(self, n: int, share: float) -> torch.Tensor:
        """Draw a share of n mixtures, at least one: libraries fail on the spectrum of none."""
        return torch.randperm(n, generator=self.rng, device=self.device)[: max(1, round(n * share))]

    def _uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.rng, device=self.device)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.rng, device=self.device)

    def _gain(self, n: int, low_db: float, high_db: float) -> torch.Tensor:
        return 10 ** (self._uniform(low_db, high_db, n, 1) / 20)


def targets(f0_hz: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the likelihoods to be learned (n, n_frames, n_pitches + 1) and whether each frame counts, 0 or 1."""
    pitches = torch.as_tensor(PITCHES_MIDI, dtype=torch.float32, device=f0_hz.device)
    midi = _midi(f0_hz.clamp(min=1.0))
    is_inside = (midi >= pitches[0]) & (midi <= pitches[-1])
    near = torch.exp(-0.5 * ((pitches - midi[..., None]) / TARGET_WIDTH_ST) ** 2) * is_inside[..., None]
    near = near / near.sum(dim=2, keepdim=True).clamp(min=1e-9)
    return torch.cat((near, (f0_hz == 0)[..., None]), dim=2), (is_inside | (f0_hz == 0)).float()


def _midi(frequency_hz: torch.Tensor) -> torch.Tensor:
    return 69 + 12 * torch.log2(frequency_hz.clamp(min=1e-3) / 440)


def _chroma_bin(midi: torch.Tensor) -> torch.Tensor:
    return (midi * (N_CHROMA / 12)).round().long() % N_CHROMA


def _levelled(samples: torch.Tensor, counted: torch.Tensor | None = None, least: float = 1e-6) -> torch.Tensor:
    """Bring each to one level, taken where it counts; what is below the least is left softer."""
    counted = torch.ones_like(samples) if counted is None else counted.float()
    power = (samples**2 * counted).sum(dim=1, keepdim=True) / counted.sum(dim=1, keepdim=True).clamp(min=1)
    return samples * (LEVEL / power.sqrt().clamp(min=least))
