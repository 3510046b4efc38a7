"""What differs between machines: name, devices, the memory they have or save, and whether a device computes float64."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from visual_echoes.errors import EchoesError


def peak_memory() -> int | None:
    """The most this process has held at once, in bytes; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere else


# Parameters of glibc's `mallopt`.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX, _NEVER = -1, -4, -8, -1


def keep_freed_memory() -> None:
    """Keep for later what this process frees, instead of handing it back to the system.

    glibc maps every large array anew, and the system clears it page by page: of the training of a VQGAN on a processor
    that is up to two fifths of the time. Where sizes vary, what is kept seldom fits, and more memory is held. Other
    systems' C libraries are left alone.
    """
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_ARENA_MAX, 1)  # threads' own arenas map what is large


def hand_back_freed_memory() -> None:
    """Hand back to the system what this process has freed, between other things too; other C libraries than glibc are
    left alone."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    try:
        return cast(Callable[..., int], getattr(ctypes.CDLL(None), name))
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None


def machine() -> str:
    """This machine's processor and cores."""
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        name = names[0].partition(":")[2].strip()
    except (OSError, IndexError):  # another system: its own short name will do, though it may start a program to tell
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def in_gigabytes(peak: int | None) -> str:
    """What `peak_memory` found, in words."""
    return "not known here" if peak is None else f"{peak / 1e9:.2f} GB"


def resolve_device(name: str) -> torch.device:
    """The device called `name`; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        EchoesError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EchoesError(f"The device {name!r} is not available here; use cpu or auto.") from error
    return device


@contextmanager
def without_memory() -> Iterator[None]:
    """Networks that are built in the block have shapes and no weights."""
    with torch.device("meta"), _NoFirstWeights():
        yield


def is_without_memory() -> bool:
    """Whether this is such a block, where first weights need not be computed."""
    return torch.get_default_device().type == "meta"


class _NoFirstWeights(TorchFunctionMode):
    """Leaves out first weights, for which torch would load its compiler: a second of every start."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == torch.nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def float64_device(device: torch.device) -> torch.device:
    """Where float64 is computed for tensors of a device."""
    return torch.device("cpu") if device.type == "mps" else device


def in_float64(x: Tensor) -> Tensor:
    """The same numbers as float64, on the CPU if their own device has none."""
    return x.to(float64_device(x.device)).double()
