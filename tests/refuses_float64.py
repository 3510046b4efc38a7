"""A stand-in for Apple's MPS where there is none: tensors that say they are on it, among which no float64 can be.

They lie on the CPU in truth, so everything can be computed; weights do not say where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

MPS, CPU = torch.device("mps"), torch.device("cpu")
REFUSED = (torch.float64, torch.complex128)


class OnMps(Tensor):
    """A tensor on the device; what is computed from it is, too."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class RefusesFloat64(TorchFunctionMode):
    """As long as it lasts, what is created on or moved to "mps" is there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    there = any(isinstance(value, OnMps) for value in tree_leaves((args, kwargs)))
    if func == Tensor.device.__get__:  # type: ignore[attr-defined]
        return MPS if there else CPU
    if func is Tensor.numpy and there:
        raise TypeError("can't convert mps device type tensor to numpy. Use Tensor.cpu() first")
    if func is Tensor.cpu:
        there = False
    elif func is Tensor.to and isinstance(args[1], Tensor):
        there = isinstance(args[1], OnMps)
    elif named := [device for device in map(_device, tree_leaves((args[1:], kwargs))) if device]:
        there = named[0].type == "mps"
        args, kwargs = tree_map(lambda value: CPU if _device(value) else value, (args, kwargs))
    with torch._C.DisableTorchFunctionSubclass():
        return tree_map(lambda value: _placed(value, there), func(*args, **kwargs))


def _device(value: object) -> torch.device | None:
    return (
        torch.device(value)
        if isinstance(value, torch.device) or (isinstance(value, str) and value in ("cpu", "mps"))
        else None
    )  # type: ignore[arg-type]


def _placed(value: Any, there: bool) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, torch.nn.Parameter):
        return value
    if there and value.dtype in REFUSED:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")
    return value.as_subclass(OnMps if there else Tensor)
