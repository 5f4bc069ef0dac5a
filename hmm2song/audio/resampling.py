"""Decoded sound in blocks: what is refused in them, and how they are resampled and mixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import soxr

from hmm2song.errors import AudioError

SAMPLE_RATE_HZ = 16000
"""The pitch tracker's own rate; a melody ends far below its 8 kHz Nyquist frequency."""
LENGTH_TOLERANCE_S = 0.5
"""Codecs pad both ends, so a recording stopped exactly at the limit may come back a little longer."""
MIN_RATE_HZ, MAX_RATE_HZ = 4000, 384_000
"""Sample rates accepted: below 4 kHz the overtones of a voice are gone, above 384 kHz nothing records."""
MAX_CHANNELS = 16
"""Third-order ambisonics has 16; more is a damaged header or an array lying on its side."""
LARGEST_SAMPLE = 2.0**31
"""A float file may hold unscaled 32-bit integers; whatever is larger is damage and would overflow later."""
CANCELLED_POWER_RATIO = 0.05
"""Channels cancel when their mean keeps less than this share of the loudest channel's power (uncorrelated
stereo keeps about 0.5, an inverted copy nothing)."""
JOINED_FRAMES = 32768
"""Frames that are resampled at a time."""


@dataclass(frozen=True, eq=False)
class Block:
    """Decoded frames: ``samples`` has shape (n, n_channels), float32, full scale +-1."""

    rate_hz: int
    samples: np.ndarray


def check_rate(rate_hz: float, label: str) -> None:
    """Raise AudioError for a sample rate that no recorder has."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:  # also true for NaN
        raise AudioError(
            f"{label} claims {rate_hz:g} samples per second; {MIN_RATE_HZ} to {MAX_RATE_HZ} are possible: "
            "save it again at 44100 Hz"
        )


def check_length(length_s: float, label: str, max_s: float) -> None:
    """Raise AudioError for a recording that is too long by what its header says."""
    if length_s > max_s + LENGTH_TOLERANCE_S:
        raise AudioError(f"{label} lasts {length_s:.1f} s; at most {max_s:g} s are accepted: cut out a part")


def checked(blocks: Iterator[Block], label: str, max_s: float) -> Iterator[Block]:
    """Pass blocks on, at least one; AudioError if they are impossible or last longer than ``max_s``."""
    length_s = 0.0
    try:
        for block in blocks:
            n_frames, n_channels = block.samples.shape
            check_rate(block.rate_hz, label)
            if n_channels > MAX_CHANNELS:
                raise AudioError(
                    f"{label} has {n_channels} channels; 1 to {MAX_CHANNELS} are accepted: mix it down, "
                    "or turn the array so that its shape is (n, n_channels)"
                )
            length_s += n_frames / block.rate_hz
            if length_s > max_s + LENGTH_TOLERANCE_S:
                raise AudioError(f"{label} lasts more than the {max_s:g} s that are accepted: cut out a part")
            if not np.all(np.abs(block.samples) <= LARGEST_SAMPLE):  # false for NaN too
                raise AudioError(
                    f"{label} holds samples that are not finite numbers (NaN, infinite or absurdly large), "
                    f"the first within {length_s:.1f} s; export it again"
                )
            yield block
    except OSError as error:  # a bad sector, a network drive that went away
        raise AudioError(f"{label} cannot be read to its end ({error}); copy it anew") from error
    if not length_s:
        raise AudioError(f"{label} holds no sound that can be decoded; record it again")


def to_float(samples: np.ndarray) -> np.ndarray:
    """Bring integers of any width to full scale +-1; floats are taken as they are."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is reported
            return samples.astype(np.float32)
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    offset = half if samples.dtype.kind == "u" else 0.0
    return ((samples.astype(np.float64) - offset) / half).astype(np.float32)


def mono(blocks: Iterator[Block], label: str, max_s: float) -> np.ndarray:
    """Join blocks at 16 kHz; each part with its own rate or number of channels is resampled and mixed by itself."""
    blocks = _joined(checked(blocks, label, max_s))
    parts = groupby(blocks, key=lambda block: (block.rate_hz, block.samples.shape[1]))
    return np.concatenate([to_mono(np.concatenate(list(resampled(part, SAMPLE_RATE_HZ)))) for _, part in parts])


def _joined(blocks: Iterator[Block]) -> Iterator[Block]:
    """Join the small blocks that some codecs give: resampling each by itself takes longer."""
    parts: list[Block] = []
    n_frames = 0
    for block in blocks:
        is_other = parts and (block.rate_hz, block.samples.shape[1]) != (parts[0].rate_hz, parts[0].samples.shape[1])
        if is_other or n_frames >= JOINED_FRAMES:
            yield Block(parts[0].rate_hz, np.concatenate([part.samples for part in parts]))
            parts, n_frames = [], 0
        parts.append(block)
        n_frames += len(block.samples)
    if parts:
        yield Block(parts[0].rate_hz, np.concatenate([part.samples for part in parts]))


def resampled(blocks: Iterator[Block], to_hz: int) -> Iterator[np.ndarray]:
    """Resample blocks of (n, n_channels), anew where their rate changes; at least one sample comes out."""
    n_out = 0
    for rate_hz, part in groupby(blocks, key=lambda block: block.rate_hz):
        stream = None
        for block in part:
            samples, n_channels = block.samples, block.samples.shape[1]
            if rate_hz != to_hz:
                stream = stream or soxr.ResampleStream(rate_hz, to_hz, n_channels, dtype="float32")
                samples = _fed(stream, samples)
            n_out += len(samples)
            yield samples
        if stream is not None:
            rest = _fed(stream, np.zeros((0, n_channels), np.float32), last=True)
            n_out += len(rest)
            yield rest
    if not n_out:
        yield block.samples[:1]  # a few samples at 192 kHz resample to none


def _fed(stream: soxr.ResampleStream, samples: np.ndarray, last: bool = False) -> np.ndarray:
    n_channels = samples.shape[1]
    flat = np.ascontiguousarray(samples[:, 0] if n_channels == 1 else samples)
    return stream.resample_chunk(flat, last=last).reshape(-1, n_channels)


def to_mono(frames: np.ndarray) -> np.ndarray:
    """Average the channels of (n, n_channels); take the loudest where they cancel (one wired in reverse)."""
    if frames.shape[1] == 1:
        return np.ascontiguousarray(frames[:, 0], dtype=np.float32)
    channels = [frames[:, channel].astype(np.float64) for channel in range(frames.shape[1])]
    mono = sum(channels[1:], start=channels[0]) / len(channels)  # numpy takes four times as long over rows of two
    power = [channel.var() for channel in channels]
    loudest = int(np.argmax(power))
    if mono.var() < CANCELLED_POWER_RATIO * power[loudest]:
        return np.ascontiguousarray(frames[:, loudest], dtype=np.float32)
    return mono.astype(np.float32)


def to_stereo(samples: np.ndarray) -> np.ndarray:
    """Return (n, n_channels) as contiguous (n, 2)."""
    if samples.shape[1] > 2:
        samples = samples.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.ascontiguousarray(np.broadcast_to(samples, (len(samples), 2)), dtype=np.float32)
