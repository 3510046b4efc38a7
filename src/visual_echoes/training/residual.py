"""Training the way back from residual codes that stay as they are: absolute error, features, a patch discriminator.

Shapes: B batch, C channels, H rows, W columns, h x w token grid, L levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.data.sources import Source
from visual_echoes.tokenizers.residual import ResidualTokenizer
from visual_echoes.tokenizers.vqgan import code_usage
from visual_echoes.training.fine_tuning import freeze
from visual_echoes.training.perceptual import build_perceptual, classifier_distance
from visual_echoes.training.task import Phase, Task, Validation
from visual_echoes.training.vocoder_losses import Judgement, adversarial_loss, discriminator_loss, feature_loss
from visual_echoes.training.vqgan import VALIDATION_BATCH, PatchDiscriminator, Reconstructions

FROZEN = ("encoder", "quantize")
VALIDATION_ITEMS = 256  # spread over the held-out ones


class DecoderLoss(BaseModel):
    """Weight and start of each loss; a recipe's `[loss]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    absolute_weight: float = Field(default=1.0, ge=0)
    perceptual: Literal["none", "edges", "efficientnet"] = "none"
    perceptual_weight: float = Field(default=1.0, ge=0)
    classifier: Path | None = None  # a classifier trained here whose features are compared as well
    classifier_weight: float = Field(default=1.0, ge=0)
    adversarial_from: int | None = None  # step at which the discriminator starts; None: never
    adversarial_weight: float = Field(default=0.1, ge=0)
    feature_weight: float = Field(default=1.0, ge=0)  # of the discriminator's features
    discriminator_width: int = Field(default=32, gt=0, multiple_of=8)
    full_depth_share: float = Field(default=0.5, ge=0, le=1)  # of items with all codes; the others have the first few
    segment: int | None = Field(default=None, gt=0)  # columns of positions of an item; None: all


class PlacedDiscriminator(nn.Module):
    """A patch discriminator that is told the height of each position, and shows its features: bands are not alike."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.body = PatchDiscriminator(channels + 1, width).body

    def forward(self, x_BCHW: Tensor) -> Judgement:
        height_H = torch.linspace(-1.0, 1.0, x_BCHW.shape[2], device=x_BCHW.device, dtype=x_BCHW.dtype)
        x_BCHW = torch.cat([x_BCHW, height_H[:, None].expand_as(x_BCHW[:, :1])], 1)
        features = []
        for layer in self.body:
            x_BCHW = layer(x_BCHW)
            if isinstance(layer, nn.LeakyReLU):
                features.append(x_BCHW)
        return [(x_BCHW, features)]


class ResidualDecoderTask(Task):
    """Trains the decoder of one tokenizer of residual codes.

    Args:
        tokenizer: its encoder and codes stay as they are.
        loss: what to minimise.
        train, valid: images or mels in [-1, 1], (B, C, H, W).
    """

    train: Source
    valid: Source

    def __init__(self, tokenizer: ResidualTokenizer, loss: DecoderLoss, train: Source, valid: Source) -> None:
        self.model, self.loss_config, self.train, self.valid = tokenizer, loss, train, valid
        freeze(tokenizer, FROZEN)
        self.perceptual = build_perceptual(loss.perceptual)
        self.classified = classifier_distance(loss.classifier, tokenizer.config.channels)
        self.modules = nn.ModuleDict({"model": tokenizer})
        self.optimizers = {"model": ("model",)}
        if loss.adversarial_from is not None:
            self.modules["discriminator"] = PlacedDiscriminator(tokenizer.config.channels, loss.discriminator_width)
            self.optimizers = {"model": ("model",), "discriminator": ("discriminator",)}

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Items (B, C, H, W), cut to segments, and how many levels each is decoded from (B,)."""
        x_BCHW = self.train.take(self.items(size, generator), generator)
        depth, loss = self.model.config.depth, self.loss_config
        partial_B = torch.rand(size, generator=generator) >= loss.full_depth_share
        levels_B = torch.where(partial_B, torch.randint(1, depth + 1, (size,), generator=generator), depth)
        columns = self.model.config.factor[1]
        if loss.segment is not None and (spare := x_BCHW.shape[3] - loss.segment * columns) > 0:
            first_B = torch.randint(spare + 1, (size,), generator=generator).tolist()
            cut = [x[..., i : i + loss.segment * columns] for x, i in zip(x_BCHW, first_B, strict=True)]
            x_BCHW = torch.stack(cut)
        return x_BCHW, levels_B

    @torch.no_grad()
    def codes(self, x_BCHW: Tensor, levels_B: Tensor) -> Tensor:
        """The sums of the first codes of each position, as many as each item is to have, (B, D, h, w)."""
        indices_BhwL = self.model.encode_unit(x_BCHW)
        pairs = zip(indices_BhwL.split(1), levels_B.tolist(), strict=True)
        return torch.cat([self.model.quantize.lookup(item[..., :levels]) for item, levels in pairs])

    def phases(self, batch: tuple[Tensor, Tensor], step: int) -> Iterator[Phase]:
        loss = self.loss_config
        x_BCHW, levels_B = batch
        made_BCHW = self.modules["model"](self.codes(x_BCHW, levels_B)).float()
        metrics = {"l1": F.l1_loss(made_BCHW, x_BCHW), "perceptual": self.perceptual(made_BCHW, x_BCHW)}
        total = loss.absolute_weight * metrics["l1"] + loss.perceptual_weight * metrics["perceptual"]
        if loss.classifier is not None:
            metrics["classified"] = self.classified(made_BCHW, x_BCHW)
            total = total + loss.classifier_weight * metrics["classified"]
        adversarial = loss.adversarial_from is not None and step >= loss.adversarial_from
        if adversarial:
            with torch.no_grad():
                judged_real = _in_float(self.modules["discriminator"](x_BCHW))
            judged_fake = _in_float(self.modules["discriminator"](made_BCHW))
            metrics["adversarial"] = adversarial_loss(judged_fake)
            metrics["features"] = feature_loss(judged_real, judged_fake)
            total = total + loss.adversarial_weight * metrics["adversarial"]
            total = total + loss.feature_weight * metrics["features"]
        yield Phase("model", total, metrics)
        if adversarial:
            judged = _in_float(self.modules["discriminator"](torch.cat([x_BCHW, made_BCHW.detach()])))
            yield Phase("discriminator", discriminator_loss(judged))

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        """Error with all codes and with half of them, and how evenly each level's codes are used."""
        assert isinstance(model, ResidualTokenizer)
        depth, codes = model.config.depth, model.config.codes
        errors = {"": (depth, Reconstructions()), "half_depth/": (max(1, depth // 2), Reconstructions())}
        found: list[Tensor] = []
        chosen = torch.arange(0, len(self.valid), math.ceil(len(self.valid) / VALIDATION_ITEMS))
        for index_B in chosen.split(VALIDATION_BATCH):
            x_BCHW = self.valid.take(index_B, None).to(device)
            indices_BhwL = model.encode_unit(x_BCHW)
            found.append(indices_BhwL.flatten(0, 2).cpu())
            for count, made in errors.values():
                made.add(x_BCHW, model.decode_unit(indices_BhwL[..., :count]))
        metrics = {f"{name}{key}": value for name, (_, made) in errors.items() for key, value in made.metrics().items()}
        for level, index_N in enumerate(torch.cat(found).unbind(-1)):
            metrics[f"perplexity/{level}"] = code_usage(index_N, codes)[1]
        return Validation(metrics, images=errors[""][1].shown)

    def export_config(self) -> dict[str, Any]:
        return self.model.config.model_dump(mode="json")


def _in_float(judged: Judgement) -> Judgement:
    return [(score.float(), [found.float() for found in features]) for score, features in judged]
