"""Writing training checkpoints and taking them up again; what they look like says `run_folder`.

Tensors and manifest are written aside, synced and renamed, so a kill or a full disk leaves the older ones intact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from visual_echoes.checkpoints.run_folder import (
    CheckpointManifest,
    Report,
    checkpoint_path,
    checkpoint_steps,
    manifest_path,
    read_manifest,
    whole_checkpoints,
)
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path, file_digest, write_text
from visual_echoes.training.ranks import split_like, whole


def stored_tensors(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> Iterator[tuple[str, Tensor]]:
    """What a checkpoint holds, by name, one tensor at a time; where they are sharded, all ranks have to go through."""
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            yield f"module/{name}/{key}", whole(value.detach())
    for name, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    yield f"optimizer/{name}/{index}/{key}", whole(value.detach())


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    *,
    fingerprint: str,
    inputs: str = "",
    watch: Mapping[str, object] | None = None,
) -> Path:
    """Write the checkpoint of a step; see `CheckpointManifest` for what goes into the manifest.

    Raises:
        EchoesError: the disk is full, or the folder cannot be written. Older checkpoints are as they were.
    """
    tensors = {name: tensor.cpu().clone() for name, tensor in stored_tensors(modules, optimizers)}
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_path(folder, step)
    manifest_path(path).unlink(missing_ok=True)  # of a torn checkpoint of this step, which it would make look damaged
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)
            size, digest = temporary.stat().st_size, file_digest(temporary)
    except SafetensorError as error:
        raise EchoesError(f"{path} cannot be written ({error}); free some space on the disk.") from error
    manifest = CheckpointManifest(
        step=step, size=size, sha256=digest, fingerprint=fingerprint, inputs=inputs, watch=dict(watch or {})
    )
    write_text(manifest_path(path), manifest.model_dump_json(indent=2) + "\n")
    return path


def prune_checkpoints(folder: Path, newest: int, keep_last: int, keep_every: int | None) -> None:
    """Delete checkpoints that are no longer wanted, and torn ones older than the newest.

    Args:
        folder: the folder of checkpoints.
        newest: step of the checkpoint just written; a broken one of a higher step does not push it out.
        keep_last: how many of the newest stay.
        keep_every: those of every so many steps stay for good; None: none.
    """
    older = [step for step in checkpoint_steps(folder) if step < newest]
    complete = [step for step in older if _has_its_size(checkpoint_path(folder, step))]
    kept = set(complete[len(complete) - min(len(complete), keep_last - 1) :])
    kept |= {step for step in complete if keep_every and step % keep_every == 0}
    for step in older:
        if step not in kept:
            path = checkpoint_path(folder, step)
            path.unlink(missing_ok=True)
            manifest_path(path).unlink(missing_ok=True)


def _has_its_size(path: Path) -> bool:
    manifest = read_manifest(path)
    return manifest is not None and path.is_file() and path.stat().st_size == manifest.size


def find_checkpoint(folder: Path, fingerprint: str, report: Report) -> CheckpointManifest | None:
    """The newest checkpoint that is whole and of this recipe; None where there is nothing to go on from.

    Raises:
        EchoesError: there are checkpoints, but of another recipe, or none of them is whole any more.
    """
    foreign = False
    for manifest in whole_checkpoints(folder, report):
        if manifest.fingerprint == fingerprint:
            return manifest
        foreign = True
    if foreign:
        raise EchoesError(
            f"{folder} holds checkpoints of another recipe; move the folder away, or choose another output."
        )
    # A file without manifest is only a first checkpoint that a kill cut short.
    if any(read_manifest(checkpoint_path(folder, step)) is not None for step in checkpoint_steps(folder)):
        raise EchoesError(f"{folder} holds no whole checkpoint; move the folder away to begin anew.")
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
            found = {k.removeprefix(prefix): file.get_tensor(k) for k in keys if k.startswith(prefix)}
            present = module.state_dict()
            module.load_state_dict({k: split_like(v, present[k]) if k in present else v for k, v in found.items()})
        for name, optimizer in optimizers.items():
            prefix = f"optimizer/{name}/"
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for key in keys:
                if key.startswith(prefix):
                    index, field = key.removeprefix(prefix).split("/")
                    value = split_like(file.get_tensor(key), parameters[int(index)])
                    state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
