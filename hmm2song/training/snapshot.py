"""Training that can be interrupted: network, optimiser and a few words in one safetensors file.

Conventions
-----------
* A snapshot is complete or absent: a crash while writing leaves the former one.
* What it tells (recipe, step, ...) is text; whoever reads it compares the recipe before the tensors are used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from hmm2song.errors import ModelError

NETWORK = "network."
OPTIMIZER = "optimizer."


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a snapshot holds: ``told``, the text, and ``tensors`` by name."""

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
        """Take a snapshot, with ``more`` tensors of the caller's."""
        tensors = {f"{NETWORK}{name}": tensor for name, tensor in network.state_dict().items()} | dict(more or {})
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{number}.{name}": tensor for name, tensor in state.items()}
        return cls(told, tensors)

    @classmethod
    def load(cls, path: Path) -> Snapshot:
        """Read a snapshot.

        Raises
        ------
        ModelError
            It is damaged.
        """
        try:
            with safe_open(path, "pt") as file:
                names = file.keys()
                return cls(file.metadata() or {}, {name: file.get_tensor(name) for name in names})
        except SafetensorError as error:
            raise ModelError(f"{path.name} is damaged ({error}); delete it to train anew") from error

    def save(self, path: Path) -> None:
        """Write it."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        save_file(tensors, path.with_suffix(".new"), dict(self.told))
        os.replace(path.with_suffix(".new"), path)

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put a network and its optimiser back to where they were."""
        network.load_state_dict({name: self.tensors[f"{NETWORK}{name}"] for name in network.state_dict()})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name.startswith(OPTIMIZER):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = tensor
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
