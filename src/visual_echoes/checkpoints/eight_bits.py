"""Weights in eight bits, half of what float16 takes: rows of matrices as whole numbers, each row with its own scale.

A weight is off by half a step at most, and a step is 1/127 of the largest weight of its row.

Shapes: R rows, ... what each has.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from visual_echoes.model.int8 import rounded

SCALE = "eight_bit_scale"  # after the name of the tensor whose rows it scales
SMALLEST = 4096  # numbers in a tensor that is worth it


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Large matrices and tables as int8 beside the scales of their rows, float32 (R,); all others as they are."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if value.dim() < 2 or value.numel() < SMALLEST or not value.is_floating_point():
            found[name] = value
            continue
        scale_R1, rows_RN = rounded(value.float().flatten(1))
        found[name] = rows_RN.view_as(value)
        found[f"{name}.{SCALE}"] = scale_R1[:, 0]
    return found


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `packed` took, as float32 where it was packed; anything else as it is.

    Raises:
        ValueError: scales that are not those of the rows beside them.
    """
    found = dict(tensors)
    for name in [name for name in tensors if name.endswith(f".{SCALE}")]:
        scale_R, whole = found.pop(name), name.removesuffix(f".{SCALE}")
        value = found.get(whole)
        if value is None or value.dtype != torch.int8 or scale_R.shape != value.shape[:1]:
            raise ValueError(f"{name} scales nothing")
        found[whole] = value.float() * scale_R.view(-1, *[1] * (value.dim() - 1))
    return found
