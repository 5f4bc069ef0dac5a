"""What all embeddings share: how they are used and how their weights are read.

An embedding is a folder with ``config.json`` and ``model.safetensors``. Nothing in it is executed or unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from hmm2song.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

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


def fingerprint_of(facts: list, weights: Mapping[str, np.ndarray]) -> str:
    """Digest everything that an embedding depends on: settings, as JSON, and weights."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, weight in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(weight.tobytes())
    return digest.hexdigest()[:16]


def read_weights(folder: Path) -> dict[str, np.ndarray]:
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
    except (SafetensorError, KeyError) as error:  # KeyError: of a type that numpy does not have
        raise ModelError(f"{model}: the weights do not fit ({one_line(error)})") from error
    for tensor_name, tensor in tensors.items():
        if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
            raise ModelError(f"{model}: the weights do not fit ({tensor_name!r:.80} is not finite float32)")
    return tensors


def open_network(file: Path, sha256: str) -> InferenceSession:
    """Open a bundled ONNX network for one thread; ModelError if it is missing or not the file that was recorded."""
    import onnxruntime  # no search needs it

    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}); install hmm2song again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{file} differs from its recorded checksum: damaged or replaced; install hmm2song again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def one_line(error: Exception) -> str:
    """Return the message of an error, shortened to one line."""
    return " ".join(str(error).split())[:200]
