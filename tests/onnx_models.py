"""ONNX models of one multiplication, written byte by byte: the onnx package is not needed for so little.

See https://github.com/onnx/onnx/blob/main/onnx/onnx.proto for the field numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FLOAT = 1
IR_VERSION, OPSET = 8, 13


def number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def chunk(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


def tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(number(1, size) for size in values.shape)
    return dims + number(2, FLOAT) + chunk(8, name) + chunk(9, values.astype("<f4").tobytes())


def value_info(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(chunk(1, number(1, size)) for size in shape)
    return chunk(1, name) + chunk(2, chunk(1, number(1, FLOAT) + chunk(2, dims)))


def write_model(file: Path, products: list[tuple[tuple[int, ...], np.ndarray, tuple[int, ...]]]) -> Path:
    """Write a model that multiplies each input with constants; a product is (input shape, constants, output shape)."""
    graph = chunk(2, "tiny")
    for index, (in_shape, constants, out_shape) in enumerate(products):
        source, factor, result = f"in{index}", f"factor{index}", f"out{index}"
        graph += chunk(1, chunk(1, source) + chunk(1, factor) + chunk(2, result) + chunk(4, "Mul"))
        graph += chunk(5, tensor(factor, constants))
        graph += chunk(11, value_info(source, in_shape)) + chunk(12, value_info(result, out_shape))
    file.write_bytes(number(1, IR_VERSION) + chunk(7, graph) + chunk(8, chunk(1, "") + number(2, OPSET)))
    return file
