"""Melody window -> unit embedding: one matrix product then compares a hum with every window of a catalog.

The encoder is symmetric: windows of hums and of songs go through the same network (:mod:`hmm2song.embeddings.forward`).
A model may hold two of them: the second, of the same sizes, has also learned from songs as a tracker hears them in
recordings. It finds those far better and written ones a little worse, so it serves catalogs of recordings.

On disk a model is a folder with ``config.json`` (sizes of windows and network) and ``model.safetensors``; nothing in it
is executed or unpickled, and weights that do not fit the configuration exactly are refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from hmm2song.embeddings.base import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    fingerprint_of,
    read_weights,
)
from hmm2song.embeddings.forward import Forward, NetworkConfig, weight_shapes
from hmm2song.errors import ModelError
from hmm2song.machine import in_threads, one_blas_thread
from hmm2song.melody.contour import FilledContour, Windows, cut_windows

MODEL_TYPE = "hmm2song-contour-encoder"
TRACKED = "tracked."
"""What the names of the second network's weights begin with in the file."""
BATCH_WINDOWS = 64
"""Windows embedded at once: what the network makes of them stays in the processor's cache."""


@dataclass(frozen=True)
class WindowConfig:
    """Length of a window and distance between a song's windows, in seconds of song."""

    window_s: float = 5.12
    song_hop_s: float = 1.0


class MelodyEncoder:
    """Embeds windows of melodies; an :class:`~hmm2song.embeddings.base.Embedding`.

    Parameters
    ----------
    windows : WindowConfig
    weights : mapping of str to np.ndarray
        Those of the network (:func:`hmm2song.embeddings.network.weights_of`).
    sizes : NetworkConfig
        What the network was made with.
    tracked : MelodyEncoder, optional
        The encoder for catalogs of recordings, with windows and sizes like these.
    """

    name = "contour"

    def __init__(
        self,
        windows: WindowConfig,
        weights: Mapping[str, np.ndarray],
        sizes: NetworkConfig,
        tracked: MelodyEncoder | None = None,
    ) -> None:
        self.windows = windows
        self.tracked = tracked
        self.sizes = sizes
        self.weights = dict(weights)
        self.fingerprint = _fingerprint(windows, sizes, self.weights)
        self._forward = Forward(self.weights, sizes)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.sizes.dim

    @classmethod
    def untrained(cls, sizes: NetworkConfig, seed: int = 0, windows: WindowConfig | None = None) -> MelodyEncoder:
        """Make an encoder with random weights: where the outcome does not matter, or to compare with."""
        import torch  # takes seconds, and no search needs it

        from hmm2song.embeddings.network import ContourNetwork, weights_of

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(windows or WindowConfig(), weights_of(ContourNetwork(sizes)), sizes)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> MelodyEncoder:
        """Read an encoder from a folder.

        Raises
        ------
        ModelError
            Not an encoder, damaged, or weights that do not fit the configuration.
        """
        folder = Path(folder)
        windows, sizes = _read_config(folder / CONFIG_FILE)
        weights = read_weights(folder)
        expected = weight_shapes(sizes)
        if any(name.startswith(TRACKED) for name in weights):
            expected |= {TRACKED + name: shape for name, shape in expected.items()}
        shapes = {name: weight.shape for name, weight in weights.items()}
        unlike = sorted(name for name in shapes | expected if shapes.get(name) != expected.get(name))
        if unlike:
            name = unlike[0]
            found = f"{name!r:.80} is {shapes.get(name, 'missing')}, not {expected.get(name, 'known')}"
            raise ModelError(f"model {folder.name!r}: the weights do not fit ({found})")
        own = {name: weight for name, weight in weights.items() if not name.startswith(TRACKED)}
        others = {name.removeprefix(TRACKED): weight for name, weight in weights.items() if name not in own}
        return cls(windows, own, sizes, cls(windows, others, sizes) if others else None)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write configuration and weights into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"model_type": MODEL_TYPE, **asdict(self.windows), **asdict(self.sizes)}
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        others = {TRACKED + name: weight for name, weight in self.tracked.weights.items()} if self.tracked else {}
        (folder / WEIGHTS_FILE).write_bytes(save(self.weights | others))

    def with_tracked(self, tracked: MelodyEncoder) -> MelodyEncoder:
        """Return this encoder with another one for catalogs of recordings; ModelError if their sizes differ."""
        if (tracked.windows, tracked.sizes) != (self.windows, self.sizes):
            raise ModelError(f"encoders of one model have equal sizes, not {self.sizes} and {tracked.sizes}")
        return MelodyEncoder(self.windows, self.weights, self.sizes, tracked)

    def for_songs(self, tracked: Collection[bool]) -> MelodyEncoder:
        """Return the encoder for a catalog whose songs are ``tracked``: one for all, so that they compare.

        It is alone, and therefore the encoder for any part of that catalog, too.
        """
        if self.tracked is None:
            return self
        return self.tracked if len(tracked) and all(tracked) else self._alone

    @cached_property
    def _alone(self) -> MelodyEncoder:
        return MelodyEncoder(self.windows, self.weights, self.sizes)

    def that_made(self, fingerprint: str) -> MelodyEncoder:
        """Return the encoder of this model that a catalog was made with; this one if it was made with neither."""
        return self.tracked if self.tracked and self.tracked.fingerprint == fingerprint else self

    def cut(
        self, contour: FilledContour, hop_s: float | None = None, speed: float = 1.0, min_fill: float = 0.4
    ) -> Windows:
        """Cut a contour into windows of this encoder; parameters as in :func:`hmm2song.melody.contour.cut_windows`."""
        config = self.windows
        return cut_windows(contour, config.window_s, hop_s or config.song_hop_s, self.sizes.n_frames, speed, min_fill)

    def embed(self, pitch_st: np.ndarray, voiced: np.ndarray, n_threads: int = 1) -> np.ndarray:
        """Embed windows (n, n_frames) -> (n, dim) float32, unit length; batches of windows share the threads."""
        batches = [slice(at, at + BATCH_WINDOWS) for at in range(0, len(pitch_st), BATCH_WINDOWS)]
        with one_blas_thread():
            rows = in_threads(lambda batch: self._forward(pitch_st[batch], voiced[batch]), batches, n_threads)
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def embed_song(self, contour: FilledContour) -> np.ndarray:
        """Embed a song's windows, one every ``song_hop_s`` -> (n_windows, dim) float32."""
        windows = self.cut(contour)
        return self.embed(windows.pitch_st, windows.voiced)


def _fingerprint(windows: WindowConfig, sizes: NetworkConfig, weights: Mapping[str, np.ndarray]) -> str:
    lengths_s = {name: float(value) for name, value in asdict(windows).items()}  # 5 is 5.0, as after loading
    return fingerprint_of([lengths_s, asdict(sizes)], weights)


def _read_config(path: Path) -> tuple[WindowConfig, NetworkConfig]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("model_type") != MODEL_TYPE:
            raise ValueError(f"model_type is not {MODEL_TYPE}")
        windows = WindowConfig(**{field.name: float(config.pop(field.name)) for field in fields(WindowConfig)})
        dilations = tuple(int(dilation) for dilation in config.pop("dilations"))
        numbers = [field.name for field in fields(NetworkConfig) if field.name != "dilations"]
        sizes = NetworkConfig(dilations=dilations, **{name: int(config.pop(name)) for name in numbers})
        if config:
            raise ValueError(f"unknown: {', '.join(config)}")
        _check_sizes(windows, sizes)
    except OSError as error:
        raise ModelError(f"{path.parent.name!r} is not a model: {path.name} cannot be read ({error})") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path.parent.name!r}: {path.name} is not well formed ({error!r:.200})") from error
    return windows, sizes


def _check_sizes(windows: WindowConfig, sizes: NetworkConfig) -> None:
    """Refuse sizes that would ask for absurd memory: the file may come from a stranger."""
    possible = (
        0.5 <= windows.window_s <= 60.0
        and 0.1 <= windows.song_hop_s <= 60.0
        and sizes.n_frames % 4 == 0
        and 4 <= sizes.n_frames <= 4096
        and 2 <= sizes.channels <= 1024
        and 1 <= sizes.dim <= 4096
        and len(sizes.dilations) <= 64
        and all(1 <= dilation <= 1024 for dilation in sizes.dilations)
    )
    if not possible:
        raise ValueError(f"sizes out of bounds: {windows}, {sizes}")
