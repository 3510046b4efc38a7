"""Perceptual losses for the tokenizers: any callable of two batches in [-1, 1] that returns a scalar fits.

Shapes: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.efficientnet import load_efficientnet
from visual_echoes.errors import EchoesError

Perceptual = Callable[[Tensor, Tensor], Tensor]

EDGE_SCALES = 3
FEATURE_BLOCKS = (0, 2, 4, 7, 10)  # at a half, quarter, eighth and two at a sixteenth of the picture's side


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


class FeatureDistance:
    """Distance of features of an ImageNet classifier, in the manner of LPIPS (Zhang et al. 2018) without its weights.

    Features of some blocks of EfficientNet-lite0 (Tan and Le 2019), each place scaled to unit length, compared by their
    squared difference and averaged over blocks. Its weights come with a package, so nothing is downloaded.

    Raises:
        EchoesError: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            self.network = load_efficientnet()
        except ImportError as error:
            raise EchoesError(
                'perceptual = "efficientnet" needs its package; install visual-echoes[train] or choose "edges".'
            ) from error

    def __call__(self, first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
        self.network.to(first_BCHW.device)
        with torch.no_grad():
            targets = self._features(second_BCHW)
        distances = [
            (found - target).square().sum(1).mean()
            for found, target in zip(self._features(first_BCHW), targets, strict=True)
        ]
        return torch.stack(distances).mean()

    def _features(self, x_BCHW: Tensor) -> list[Tensor]:
        """Unit vectors at every place after each of `FEATURE_BLOCKS`; grey pictures become colour ones."""
        x_BCHW = self.network._swish(self.network._bn0(self.network._conv_stem(x_BCHW.expand(-1, 3, -1, -1))))
        found = []
        for index, block in enumerate(self.network._blocks[: max(FEATURE_BLOCKS) + 1]):
            x_BCHW = block(x_BCHW)
            if index in FEATURE_BLOCKS:
                found.append(F.normalize(x_BCHW.float(), dim=1, eps=1e-6))
        return found


PERCEPTUAL: dict[str, Callable[[], Perceptual]] = {
    "none": lambda: no_perceptual,
    "edges": lambda: edge_distance,
    "efficientnet": FeatureDistance,
}


def build_perceptual(name: str) -> Perceptual:
    """The perceptual loss called `name`; KeyError if there is none."""
    return PERCEPTUAL[name]()
