"""What all embeddings share: how they are used, how their weights are read, and how many cores they take.

An embedding is a folder with ``config.json`` and ``model.safetensors``. Nothing in it is executed or unpickled.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from hmm2song.errors import ModelError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
MAX_WEIGHTS_BYTES = 100_000_000


class Embedding(Protocol):
    """Turns windows of music into unit vectors, of which the inner product is the similarity.

    ``name`` says what the vectors describe, ``dim`` is their length. Vectors can be compared if they have the same
    ``fingerprint``.
    """

    name: str
    fingerprint: str
    dim: int

    def embed(self, *windows: np.ndarray) -> np.ndarray:
        """Embed n windows, given by one or several arrays of n rows -> (n, dim) float32."""
        ...


def fingerprint_of(facts: list, tensors: dict[str, torch.Tensor]) -> str:
    """Digest everything that an embedding depends on: settings, as JSON, and weights."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a model and see that they hold numbers.

    Raises
    ------
    ModelError
    """
    path, model = folder / WEIGHTS_FILE, f"model {folder.name!r}"
    try:
        if path.stat().st_size > MAX_WEIGHTS_BYTES:
            raise ModelError(f"{model}: {path.name} is larger than {MAX_WEIGHTS_BYTES} bytes: not an encoder of ours")
        tensors = load(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{model}: {path.name} cannot be read ({error.strerror})") from error
    except (SafetensorError, KeyError) as error:  # KeyError: of a type that torch does not have
        raise ModelError(f"{model}: the weights do not fit ({one_line(error)})") from error
    for tensor_name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{model}: the weights do not fit ({tensor_name!r:.80} is not finite float32)")
    return tensors


def one_line(error: Exception) -> str:
    """Return the message of an error, shortened to one line."""
    return " ".join(str(error).split())[:200]


class _TorchThreads:
    """Lets several threads share the wish for one core.

    Torch has a number of threads for every thread that has used it and one for threads to come. A thread that saves the
    number while another has set it to one restores one in the end, for good. So only the first user saves it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._usual = 1

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._lock:
            n_threads = torch.get_num_threads()  # also counts a new thread in, whose setting would be lost later
            if self._n_users == 0:
                self._usual = n_threads
            self._n_users += 1
            torch.set_num_threads(1)
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                torch.set_num_threads(self._usual)


one_torch_thread = _TorchThreads().one
"""Keeps torch from sharing little work among cores: on a busy machine its threads wait for each other ten times as
long."""
