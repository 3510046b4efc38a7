"""Where a training runs: Accelerate's own configuration decides, after what cannot be is refused in one sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, parse_flag_from_env

from visual_echoes.errors import EchoesError
from visual_echoes.training.settings import mixed_precision

Device = Literal["auto", "cpu", "cuda"]

NAMED_GPU = re.compile(r"\d|GPU-|MIG-")  # as CUDA_VISIBLE_DEVICES begins where it names any


def open_accelerator(precision: str, device: Device = "auto") -> Accelerator:
    """This process's place among the ranks, with its device and precision.

    Args:
        precision: "auto", "fp32" or "bf16".
        device: "auto" takes a GPU where there is one.

    Raises:
        EchoesError: a GPU is asked for where none is, or sharding (FSDP) where or as it cannot be done.
    """
    gpu = on_gpu(device)
    AcceleratorState._reset_state()  # one process may train several parts, each at its own precision
    accelerator = Accelerator(mixed_precision=mixed_precision(precision, gpu), cpu=not gpu)
    if parse_flag_from_env("ACCELERATE_USE_FSDP"):
        if not is_sharded(accelerator):
            raise EchoesError("Accelerate shards (FSDP) over several GPUs only; launch this training without FSDP.")
        if not accelerator.is_fsdp2:
            raise EchoesError("FSDP's first version cannot be used; launch with --fsdp_version 2.")
    return accelerator


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether parameters are split over the ranks (FSDP)."""
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def check_shardable(names: Collection[str], optimizer: str) -> None:
    """`EchoesError` unless the networks of a task, by name, are the model alone, and the optimiser takes shards."""
    if optimizer == "muon":
        raise EchoesError('Muon needs whole matrices, but FSDP splits them; set optimizer = "adamw" or leave FSDP.')
    if len(names) > 1:
        raise EchoesError(
            f"FSDP shards one network that trains alone, but this part has {', '.join(names)}; launch it without FSDP."
        )


def device_of(device: Device) -> torch.device:
    """Where this process trains; raises as `on_gpu` does."""
    return torch.device("cuda", _local_rank()) if on_gpu(device) else torch.device("cpu")


def on_gpu(device: Device) -> bool:
    """Whether this process trains on a GPU; `EchoesError` where it should and cannot."""
    if device == "cpu" or (device == "auto" and parse_flag_from_env("ACCELERATE_USE_CPU")):
        return False
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not gpus:
        named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if device == "cuda":
            raise EchoesError("There is no GPU that torch can use here; train with --device cpu or auto.")
        if NAMED_GPU.match(named):
            raise EchoesError(
                f"CUDA_VISIBLE_DEVICES asks for GPU {named}, but there is none that torch can use; unset it, or train "
                "with --device cpu."
            )
        return False
    own = _local_rank()
    if own >= gpus:
        raise EchoesError(
            f"Process {own} of this machine asks for a GPU of its own, but there are only {gpus}; start at most {gpus} "
            "processes, or train with --device cpu."
        )
    return True


def _local_rank() -> int:
    """This process's place among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
