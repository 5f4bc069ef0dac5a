"""The files by which an interrupted training continues: a snapshot (one safetensors file) and a log (JSON lines).

A crash while a snapshot is written leaves the former one. Its text (recipe, step, ...) is compared by the reader before
the tensors are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from hmm2song.catalog.storage import whole_file
from hmm2song.errors import ModelError

SNAPSHOT_FILE = "training.safetensors"
LOG_FILE = "training.jsonl"
NETWORK = "network."
OPTIMIZER = "optimizer."


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a snapshot holds: ``told``, text by name, and ``tensors`` by name."""

    told: Mapping[str, str]
    tensors: Mapping[str, torch.Tensor]

    @classmethod
    def of(
        cls,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        told: Mapping[str, str],
        more: Mapping[str, torch.Tensor] | None = None,
    ) -> Snapshot:
        """Take a snapshot of a training, with ``more`` tensors of the caller."""
        tensors = {f"{NETWORK}{name}": tensor for name, tensor in network.state_dict().items()} | dict(more or {})
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{number}.{name}": tensor for name, tensor in state.items()}
        return cls(told, tensors)

    @classmethod
    def load(cls, path: Path) -> Snapshot:
        """Read a snapshot; raises a ModelError if it is damaged."""
        try:
            with safe_open(path, "pt") as file:
                names = file.keys()
                return cls(file.metadata() or {}, {name: file.get_tensor(name) for name in names})
        except SafetensorError as error:
            raise ModelError(f"{path.name} is damaged ({error}); delete it to train anew") from error

    def save(self, path: Path) -> None:
        """Write the snapshot in place of the former one."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        with whole_file(path) as temporary:
            save_file(tensors, temporary, dict(self.told))

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put a network and its optimiser back into the state of the snapshot."""
        network.load_state_dict({name: self.tensors[f"{NETWORK}{name}"] for name in network.state_dict()})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name.startswith(OPTIMIZER):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = tensor
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, share: float) -> None:
    """Move the averaged weights towards the newest ones."""
    for mean, newest in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(newest, share)


def log(path: Path, line: Mapping[str, object]) -> None:
    """Append a line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
