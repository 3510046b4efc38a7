"""Perceptual losses for the tokenizers: any callable of two batches in [-1, 1] that returns a scalar fits.

Shapes: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Perceptual = Callable[[Tensor, Tensor], Tensor]

EDGE_SCALES = 3


def no_perceptual(first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
    """Nothing; keeps the loss's sum in one form."""
    return first_BCHW.new_zeros(())


def edge_distance(first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and vertical gradients at `EDGE_SCALES` scales.

    Needs no weights, unlike LPIPS, and asks for sharp strokes and harmonics where an absolute error accepts blur.
    """
    total = first_BCHW.new_zeros(())
    for scale in range(EDGE_SCALES):
        if scale:
            first_BCHW, second_BCHW = F.avg_pool2d(first_BCHW, 2), F.avg_pool2d(second_BCHW, 2)
        for axis in (-1, -2):
            total = total + F.l1_loss(torch.diff(first_BCHW, dim=axis), torch.diff(second_BCHW, dim=axis))
    return total / (2 * EDGE_SCALES)


PERCEPTUAL: dict[str, Perceptual] = {"none": no_perceptual, "edges": edge_distance}


def build_perceptual(name: str) -> Perceptual:
    """The perceptual loss called `name`; KeyError if there is none."""
    return PERCEPTUAL[name]
