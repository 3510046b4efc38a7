"""Float64 whatever the device: Apple's MPS has none, so there the processor computes it."""

from __future__ import annotations

import torch
from torch import Tensor


def float64_device(device: torch.device) -> torch.device:
    """Where float64 is computed for tensors of a device."""
    return torch.device("cpu") if device.type == "mps" else device


def in_float64(x: Tensor) -> Tensor:
    """The same numbers as float64, on the CPU if their own device has none."""
    return x.to(float64_device(x.device)).double()
