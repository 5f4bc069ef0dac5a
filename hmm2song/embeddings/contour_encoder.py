"""Melody window -> unit embedding: one matrix product then compares a hum with every window of a catalog.

The encoder is symmetric: windows of hums and of songs go through the same network (:mod:`hmm2song.embeddings.network`).
On disk it is a folder with ``config.json`` (sizes of windows and network) and ``model.safetensors``; nothing in it is
executed or unpickled, and weights that do not fit the configuration exactly are refused.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from hmm2song.embeddings.base import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    fingerprint_of,
    one_line,
    one_torch_thread,
    read_weights,
)
from hmm2song.embeddings.network import ContourNetwork, NetworkConfig, network_input
from hmm2song.errors import ModelError
from hmm2song.melody.contour import FilledContour, Windows, cut_windows

MODEL_TYPE = "hmm2song-contour-encoder"
BATCH_WINDOWS = 512
"""Windows embedded at once: enough to keep a core busy, little memory."""


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
    network : ContourNetwork
        Used as it is, in evaluation mode.
    sizes : NetworkConfig
        What ``network`` was made with.
    """

    name = "contour"

    def __init__(self, windows: WindowConfig, network: ContourNetwork, sizes: NetworkConfig) -> None:
        self.windows = windows
        self.sizes = sizes
        self._network = network.eval()
        self.fingerprint = _fingerprint(windows, sizes, network)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.sizes.dim

    @classmethod
    def untrained(cls, sizes: NetworkConfig, seed: int = 0, windows: WindowConfig | None = None) -> MelodyEncoder:
        """Make an encoder with random weights: where the outcome does not matter, or to compare with."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(windows or WindowConfig(), ContourNetwork(sizes), sizes)

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
        tensors = read_weights(folder)
        with torch.device("meta"):  # takes no memory before the weights are known to fit
            network = ContourNetwork(sizes)
        try:
            network.load_state_dict(tensors, strict=True, assign=True)
        except RuntimeError as error:
            raise ModelError(f"model {folder.name!r}: the weights do not fit ({one_line(error)})") from error
        return cls(windows, network, sizes)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write configuration and weights into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"model_type": MODEL_TYPE, **asdict(self.windows), **asdict(self.sizes)}
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (folder / WEIGHTS_FILE).write_bytes(save(_state(self._network)))

    def cut(
        self, contour: FilledContour, hop_s: float | None = None, speed: float = 1.0, min_fill: float = 0.4
    ) -> Windows:
        """Cut a contour into windows of this encoder; parameters as in :func:`hmm2song.melody.contour.cut_windows`."""
        config = self.windows
        return cut_windows(contour, config.window_s, hop_s or config.song_hop_s, self.sizes.n_frames, speed, min_fill)

    @torch.inference_mode()
    def embed(self, pitch_st: np.ndarray, voiced: np.ndarray) -> np.ndarray:
        """Embed windows (n, n_frames) -> (n, dim) float32, unit length; on one core, so use several threads."""
        with one_torch_thread():
            rows = [
                self._network(network_input(pitch_st[at : at + BATCH_WINDOWS], voiced[at : at + BATCH_WINDOWS]))
                for at in range(0, len(pitch_st), BATCH_WINDOWS)
            ]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.dim), np.float32)

    def embed_song(self, contour: FilledContour) -> np.ndarray:
        """Embed a song's windows, one every ``song_hop_s`` -> (n_windows, dim) float32."""
        windows = self.cut(contour)
        return self.embed(windows.pitch_st, windows.voiced)


def _state(network: ContourNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _fingerprint(windows: WindowConfig, sizes: NetworkConfig, network: ContourNetwork) -> str:
    lengths_s = {name: float(value) for name, value in asdict(windows).items()}  # 5 is 5.0, as after loading
    return fingerprint_of([lengths_s, asdict(sizes)], _state(network))


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
