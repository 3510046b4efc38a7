"""LPIPS 0.1 on AlexNet (Zhang et al. 2018): weighted distance of features scaled to unit length.

The weights of the layers come inside the package torchmetrics, those of AlexNet from torchvision's published file.

Shapes: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from visual_echoes.errors import EchoesError

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
WIDTHS = (64, 192, 384, 256, 256)
EPS = 1e-10
SMALLEST = 32  # pixels; AlexNet has nothing left of less
COMPARED = (1, 4, 7, 9, 11)  # the ReLUs after AlexNet's convolutions


def own_names(alexnet: Mapping[str, Tensor], layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AlexNet's convolutions, and the weights of the five layers."""
    convolutions = {name: value for name, value in alexnet.items() if name.startswith("features.")}
    return convolutions | {f"layers.{index}": layers[f"lin{index}.model.1.weight"] for index in range(len(WIDTHS))}


class Lpips(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth, fifth = WIDTHS
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(first, second, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(second, third, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(third, fourth, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(fourth, fifth, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.layers = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in WIDTHS)

    @torch.inference_mode()
    def compare(self, given_HWC: np.ndarray, made_HWC: np.ndarray) -> float:
        """The distance of two uint8 images of one size, grey or in colour; 0 for equal ones.

        Raises:
            EchoesError: a side under `SMALLEST`.
        """
        if min(given_HWC.shape[:2]) < SMALLEST:
            raise EchoesError(f"LPIPS needs images of {SMALLEST} pixels or more a side; leave --backbone lpips out.")
        return float(self.distance(*(_input(image_HWC) for image_HWC in (given_HWC, made_HWC))))

    def distance(self, first_B3HW: Tensor, second_B3HW: Tensor) -> Tensor:
        """The same of images in [-1, 1], (B,)."""
        total = torch.zeros(len(first_B3HW))
        sides = zip(self._directions(first_B3HW), self._directions(second_B3HW), strict=True)
        for layer, (first, second) in zip(self.layers, sides, strict=True):
            total = total + (cast(Tensor, layer) * (first - second).square()).sum(1).mean((1, 2))
        return total

    def _directions(self, x_B3HW: Tensor) -> list[Tensor]:
        x = (x_B3HW - torch.tensor(SHIFT)[:, None, None]) / torch.tensor(SCALE)[:, None, None]
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in COMPARED:
                found.append(x / (x.norm(dim=1, keepdim=True) + EPS))
        return found


def _input(image_HWC: np.ndarray) -> Tensor:
    x_3HW = torch.from_numpy(image_HWC).movedim(-1, 0).expand(3, -1, -1)
    return (x_3HW.float() / 127.5 - 1.0)[None]
