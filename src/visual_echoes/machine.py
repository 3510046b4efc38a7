"""What differs between machines: the memory they have, and whether a device computes float64."""

from __future__ import annotations

import sys

import torch
from torch import Tensor


def peak_memory() -> int | None:
    """The most this process has held at once, in bytes; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere else


def in_gigabytes(peak: int | None) -> str:
    """What `peak_memory` found, in words."""
    return "not known here" if peak is None else f"{peak / 1e9:.2f} GB"


def float64_device(device: torch.device) -> torch.device:
    """Where float64 is computed for tensors of a device."""
    return torch.device("cpu") if device.type == "mps" else device


def in_float64(x: Tensor) -> Tensor:
    """The same numbers as float64, on the CPU if their own device has none."""
    return x.to(float64_device(x.device)).double()
