"""Convolutions with weight normalisation, as HiFi-GAN and MelGAN have them.

Shapes: B batch, C channels, T time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WeightNormConv(nn.Module):
    """Convolution over time whose weight is weight_g * weight_v / |weight_v| (Salimans and Kingma 2016).

    The norm is taken over each slice of the first axis, as in the published checkpoints. A `rate` above 1
    makes it a transposed convolution that returns `rate` samples for each one. Zeros go around the input so that a
    plain one keeps its length, unless `padded` is off. `fold` leaves one plain `weight`.
    """

    weight: Tensor | None

    def __init__(
        self, width_in: int, width_out: int, kernel: int, dilation: int = 1, rate: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        self.dilation, self.rate = dilation, rate
        self.padding = (kernel - rate) // 2 if rate > 1 else dilation * (kernel - 1) // 2 if padded else 0
        layer = nn.ConvTranspose1d if rate > 1 else nn.Conv1d
        initial = layer(width_in, width_out, kernel)
        assert initial.bias is not None
        self.bias = nn.Parameter(initial.bias.detach())
        self.weight_v = nn.Parameter(initial.weight.detach())
        self.weight_g = nn.Parameter(self._length(self.weight_v.detach()))
        self.register_parameter("weight", None)

    @staticmethod
    def _length(weight: Tensor) -> Tensor:
        return torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)

    def _scaled_weight(self) -> Tensor:
        return self.weight_v * (self.weight_g / self._length(self.weight_v))

    def fold(self) -> None:
        if self.weight is None:
            self.weight = nn.Parameter(self._scaled_weight().detach())
            del self.weight_g, self.weight_v

    def forward(self, x_BCT: Tensor) -> Tensor:
        weight = self._scaled_weight() if self.weight is None else self.weight
        if self.rate > 1:
            return F.conv_transpose1d(x_BCT, weight, self.bias, stride=self.rate, padding=self.padding)
        return F.conv1d(x_BCT, weight, self.bias, padding=self.padding, dilation=self.dilation)
