"""Training checkpoints: one safetensors file with every tensor and, in its header, the step and scalars.

A checkpoint is written aside and renamed, so a kill leaves the older one intact; a file that does not open or lacks
something is never resumed from. No pickle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from visual_echoes.files import atomic_path

KEEP = 2
_NAME = re.compile(r"step-(\d{8})\.safetensors")


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.safetensors"


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    fingerprint: str,
) -> Path:
    """Write a checkpoint and drop all but the newest `KEEP`."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {"step": step, "fingerprint": fingerprint}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module/{name}/{key}"] = value.detach().cpu().clone()
    for name, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{name}/{index}/{key}"] = value.detach().cpu().clone()
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_path(folder, step)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"training": json.dumps(scalars)})
    # Only older ones: a broken file of a higher step must not push the new one out.
    older = [other for other in _sorted_checkpoints(folder) if other.name < path.name]
    for old in older[: len(older) - (KEEP - 1)]:
        old.unlink(missing_ok=True)
    return path


def latest_step(folder: Path, fingerprint: str) -> int | None:
    """Step of the newest checkpoint that opens whole and belongs to this recipe, or None."""
    for path in reversed(_sorted_checkpoints(folder)):
        try:
            with safe_open(path, framework="pt") as file:
                scalars = json.loads((file.metadata() or {})["training"])
        except (SafetensorError, OSError, KeyError, ValueError):
            continue
        if scalars["fingerprint"] == fingerprint:
            return int(scalars["step"])
    return None


def load_checkpoint(
    folder: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> None:
    """Put a checkpoint's tensors back, strictly: every tensor must be there."""
    with safe_open(checkpoint_path(folder, step), framework="pt") as file:
        keys = list(file.keys())
        for name, module in modules.items():
            prefix = f"module/{name}/"
            module.load_state_dict({k.removeprefix(prefix): file.get_tensor(k) for k in keys if k.startswith(prefix)})
        for name, optimizer in optimizers.items():
            prefix = f"optimizer/{name}/"
            state: dict[int, dict[str, Tensor]] = {}
            for key in keys:
                if key.startswith(prefix):
                    index, field = key.removeprefix(prefix).split("/")
                    state.setdefault(int(index), {})[field] = file.get_tensor(key)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _sorted_checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))
