"""Perceptual losses for the tokenizers: any callable of two batches in [-1, 1] that returns a scalar fits.

Shapes: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.metrics.classifiers import load_classifier
from visual_echoes.tokenizers.efficientnet import load_efficientnet

Perceptual = Callable[[Tensor, Tensor], Tensor]

EDGE_SCALES = 3
FEATURE_BLOCKS = (0, 2, 4, 7, 10)  # at a half, quarter, eighth and two at a sixteenth of the image's side


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
    """Distance of a frozen classifier's features, in the manner of LPIPS (Zhang et al. 2018) without its weights.

    Each place's features are scaled to unit length and compared by their squared difference, averaged over layers.

    Args:
        network: moved to the device of what is compared.
        features: the features of a batch after some of the network's layers, each (B, C, ...).
    """

    def __init__(self, network: nn.Module, features: Callable[[Tensor], list[Tensor]]) -> None:
        self.network, self.features = network.eval().requires_grad_(False), features

    def __call__(self, first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
        self.network.to(first_BCHW.device)
        with torch.no_grad():
            targets = self._directions(second_BCHW)
        distances = [
            (found - target).square().sum(1).mean()
            for found, target in zip(self._directions(first_BCHW), targets, strict=True)
        ]
        return torch.stack(distances).mean()

    def _directions(self, x_BCHW: Tensor) -> list[Tensor]:
        return [F.normalize(found.float(), dim=1, eps=1e-6) for found in self.features(x_BCHW)]


def efficientnet_distance() -> FeatureDistance:
    """Of EfficientNet-lite0 (Tan and Le 2019), trained on ImageNet; its weights come with a package, not by download.

    Raises:
        EchoesError: the package is not installed.
    """
    try:
        network = load_efficientnet()
    except ImportError as error:
        raise EchoesError(
            'perceptual = "efficientnet" needs its package; install visual-echoes[train] or choose "edges".'
        ) from error

    def features(x_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = network._swish(network._bn0(network._conv_stem(x_BCHW.expand(-1, 3, -1, -1))))  # grey becomes colour
        found = []
        for index, block in enumerate(network._blocks[: max(FEATURE_BLOCKS) + 1]):
            x_BCHW = block(x_BCHW)
            if index in FEATURE_BLOCKS:
                found.append(x_BCHW)
        return found

    return FeatureDistance(network, features)


def classifier_distance(folder: Path | None, channels: int) -> Perceptual:
    """Of a classifier trained here (kind `judge`), as SpecVQGAN's LPAPS is of one trained on VGGSound.

    Its pooled features count as one more layer: they say what an item is of, not where. Its first stage is left out, so
    near to the pixels which the absolute error compares. The judge of what is made must be another network, or its
    verdict would be flattered.

    Args:
        folder: the trained classifier; None for no such loss.
        channels: of what is compared, 1 for mels.

    Raises:
        EchoesError: the folder holds no classifier, or one of the other modality.
    """
    if folder is None:
        return no_perceptual
    network = load_classifier(folder).network
    if network.channels != channels:
        raise EchoesError(f"{folder} classifies items of {network.channels} channels, not {channels}; name another.")
    return FeatureDistance(network, lambda x_BCHW: [*network.stages(x_BCHW)[1:], network.features(x_BCHW)])


PERCEPTUAL: dict[str, Callable[[], Perceptual]] = {
    "none": lambda: no_perceptual,
    "edges": lambda: edge_distance,
    "efficientnet": efficientnet_distance,
}


def build_perceptual(name: str) -> Perceptual:
    """The perceptual loss called `name`; KeyError if there is none."""
    return PERCEPTUAL[name]()
