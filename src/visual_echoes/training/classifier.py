"""Training a classifier on real data: cross entropy on augmented images or sounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.pairs import PairSplit
from visual_echoes.data.sources import ImageSource, MelSource, Source, WaveSource
from visual_echoes.layout import Layout
from visual_echoes.metrics.classifiers import CLASSIFIER_BATCH, ClassifierConfig, build_classifier
from visual_echoes.training.task import Phase, Task, Validation

LABEL_SMOOTHING = 0.05


class ClassifierTask(Task):
    """Trains a classifier of one modality."""

    train: Source
    valid: Source

    def __init__(
        self, config: ClassifierConfig, layout: Layout, train: PairSplit, valid: PairSplit, augmentation: Augmentation
    ) -> None:
        self.config = config
        self.train, self.train_groups = _source(config, layout, train, augmentation)
        self.valid, self.valid_groups = _source(config, layout, valid, augmentation)
        groups = int(max(self.train_groups.max(), self.valid_groups.max())) + 1
        self.modules = nn.ModuleDict({"model": build_classifier(config, layout, groups)})

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        index_B = self.items(size, generator)
        return self.train.take(index_B, generator), self.train_groups[index_B]

    def phases(self, batch: tuple[Tensor, Tensor], step: int) -> Iterator[Phase]:
        x_BCHW, group_B = batch
        scores_BG = self.modules["model"](x_BCHW).float()
        accuracy = (scores_BG.argmax(-1) == group_B).float().mean()
        yield Phase(
            "model", F.cross_entropy(scores_BG, group_B, label_smoothing=LABEL_SMOOTHING), {"accuracy": accuracy}
        )

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        right = 0
        for index_B in torch.arange(len(self.valid)).split(CLASSIFIER_BATCH):
            scores_BG = model(self.valid.take(index_B, None).to(device))
            right += int((scores_BG.argmax(-1).cpu() == self.valid_groups[index_B]).sum())
        return Validation({"accuracy": right / len(self.valid)})

    def export_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")


def _source(
    config: ClassifierConfig, layout: Layout, split: PairSplit, augmentation: Augmentation
) -> tuple[Source, Tensor]:
    if config.modality == "image":
        return ImageSource(split, augmentation), split.image_groups
    return MelSource(WaveSource(split, layout, augmentation), layout), split.sound_groups
