"""Dense layers of which weights and inputs are rounded to 8 bits: a scale for each output and for each row.

A row's result depends on that row alone, and its sum of products is exact, whatever else is in the batch (after
LLM.int8(), Dettmers et al. 2022, section 2.1).

Shapes: N rows, D inputs, E outputs.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from visual_echoes.model.packing import ROWS

M = TypeVar("M", bound=nn.Module)

LARGEST = 127
SMALLEST = LARGEST * torch.finfo(torch.float32).tiny  # of a row's largest; keeps divisions finite


class Int8Dense(nn.Module):
    """A trained dense layer in 8 bits; what goes in and comes out is float32."""

    weight_ED: Tensor
    scale_E: Tensor
    bias_E: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        scale_E1, weight_ED = rounded(layer.weight.detach().float())
        self.register_buffer("weight_ED", weight_ED)
        self.register_buffer("scale_E", scale_E1[:, 0])
        self.register_buffer("bias_E", layer.bias.detach().float())

    def forward(self, x_D: Tensor) -> Tensor:
        return self.some(x_D, 0)

    def some(self, x_D: Tensor, first: int, last: int | None = None) -> Tensor:
        """Outputs from one to another, (..., E)."""
        scale_N1, x_ND = rounded(x_D.flatten(0, -2))
        sums_NE = product(x_ND, self.weight_ED[first:last])
        y_NE = torch.addcmul(self.bias_E[first:last], sums_NE.float().mul_(scale_N1), self.scale_E[first:last])
        return y_NE.unflatten(0, x_D.shape[:-1])


def rounded(x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """The scale of each row, (N, 1), and its values over that, int8 (N, D); off by half a scale at most."""
    scale_N1 = x_ND.abs().amax(1, keepdim=True).clamp_min_(SMALLEST) / LARGEST
    return scale_N1, (x_ND / scale_N1).round_().to(torch.int8)


def product(x_ND: Tensor, weight_ED: Tensor) -> Tensor:
    """Sums of products of 8 bits, int32 (N, E)."""
    # Kernels are compiled for each number of rows, which takes longer than the product.
    count = len(x_ND)
    padded_ND = nn.functional.pad(x_ND, (0, 0, 0, -count % ROWS))
    return torch._int_mm(padded_ND, weight_ED.mT)[:count]


def is_exact() -> bool:
    """Whether the processor sums the largest products without saturating on the way."""
    signs = torch.ones(ROWS, ROWS, dtype=torch.int8)
    signs[::2, 1::2] = -1
    large = signs * LARGEST
    return torch.equal(product(large, large), (large.int() @ large.int().mT))


def in_int8(model: M) -> M:
    """A copy of the model with its dense layers in 8 bits; heads stay as they are."""
    heads = {id(layer) for name, part in model.named_modules() if name == "heads" for layer in part.modules()}
    dense = (layer for layer in model.modules() if isinstance(layer, nn.Linear) and id(layer) not in heads)
    return copy.deepcopy(model, {id(layer): Int8Dense(layer) for layer in dense})
