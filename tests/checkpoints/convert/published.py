"""Checkpoints as other projects publish them, made small: the parity fixtures' weights in every wrapping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from parity_weights import load_parity

FIXTURES = Path(__file__).parents[2] / "parity"
VQGANS = ("taming_vqgan_tiny", "spec_vqgan_tiny", "mage_vqgan_tiny")
Tensors = dict[str, Tensor]


def tensors(name: str) -> Tensors:
    """The weights of a fixture."""
    return load_parity(name)[1]


def _lightning(state: Tensors) -> dict[str, Any]:
    discriminator = {"loss.discriminator.main.0.weight": torch.ones(4, 3), "loss.logvar": torch.tensor(float("nan"))}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}}
    return {
        "epoch": 3,
        "pytorch-lightning_version": "1.0.8",
        "state_dict": {**state, **discriminator},
        "optimizer_states": [optimizer],
    }


def _legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


# Name of a wrapping: what writes a state dict that way.
WRAPPINGS: dict[str, Callable[[Tensors, Path], None]] = {
    "plain": lambda state, path: torch.save(state, path),
    "lightning": lambda state, path: torch.save(_lightning(state), path),
    "generator": lambda state, path: torch.save({"generator": state}, path),
    "legacy generator": lambda state, path: _legacy({"generator": state}, path),
    "model and optimizer": lambda state, path: torch.save({"model": state, "optimizer": {"lr": 1.0}}, path),
    "data parallel": lambda state, path: torch.save({f"module.{key}": value for key, value in state.items()}, path),
    "safetensors": lambda state, path: save_file(state, path),
}


def write(folder: Path, state: Tensors, wrapping: str = "lightning") -> Path:
    """A checkpoint file; its name does not tell its format, as with HiFi-GAN's."""
    path = folder / "checkpoint"
    WRAPPINGS[wrapping](state, path)
    return path
