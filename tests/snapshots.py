"""Snapshots of training, for tests that compare them."""

from __future__ import annotations

from pathlib import Path

from hmm2song.training.snapshot import Snapshot


def snapshot_of(out: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """What the snapshot in a folder tells, and its tensors."""
    snapshot = Snapshot.load(out / "training.safetensors")
    return dict(snapshot.told), {name: tensor.numpy().tobytes() for name, tensor in snapshot.tensors.items()}
