"""Training the autoregressive baseline: cross entropy of the next token, on the tokens of the target only.

Each item of a batch is image to sound or sound to image, by a fair coin. Validation makes both directions of the
same pairs and logs the loss in nats a token, and the cross-modal gain in nats a clip, as the transformer's does.

Shapes: B batch, N items of one direction, T target places, K codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.data.tokens import TokenData
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.model.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from visual_echoes.streams import Tokens
from visual_echoes.training.task import Phase, Task, Validation
from visual_echoes.training.transformer import VALIDATION_BATCH, VALIDATION_PAIRS, VALIDATION_SEED, mismatches


class AutoregressiveTask(Task):
    """Trains the autoregressive baseline on cached tokens."""

    train: TokenData
    valid: TokenData

    def __init__(self, config: AutoregressiveConfig, train: TokenData, valid: TokenData) -> None:
        self.config, self.train, self.valid = config, train, valid
        self.model = AutoregressiveTransformer(config)
        self.modules = nn.ModuleDict({"model": self.model})

    def batch(self, size: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
        """Tokens, which items go to sound, and how many target tokens an item has on average, (B,) a modality."""
        tokens, _ = self.train.draw(size, generator)
        to_audio_B = torch.rand(size, generator=generator) < 0.5
        scored: dict[str, Tensor] = {}
        for modality in MODALITIES:
            items = max(1, int(_aimed_at(modality, to_audio_B).sum()))
            scored[modality] = torch.full((size,), items * tokens[modality].shape[1] / size, dtype=torch.float64)
        return tokens, to_audio_B, scored

    def phases(self, batch: tuple[dict[str, Tensor], Tensor, dict[str, Tensor]], step: int) -> Iterator[Phase]:
        tokens, to_audio_B, scored = batch
        features_BLD = self.modules["model"](tokens, to_audio_B)
        sums, counts, metrics = [], [], {}
        for modality in MODALITIES:
            chosen_B = _aimed_at(modality, to_audio_B)
            logits_NTK = self.model.logits(modality, features_BLD[chosen_B]).float()
            sums.append(
                F.cross_entropy(logits_NTK.flatten(0, 1), tokens[modality][chosen_B].flatten(), reduction="sum")
            )
            counts.append(
                float(scored[modality].sum())
            )  # of the step's mean item: every target token of it weighs the same
            metrics[f"loss/{modality}"] = sums[-1] / counts[-1]
        yield Phase("model", torch.stack(sums).sum() / sum(counts), metrics)

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        assert isinstance(model, AutoregressiveTransformer)
        generator = torch.Generator().manual_seed(VALIDATION_SEED)
        tokens, groups = self.valid.draw(VALIDATION_PAIRS, generator)
        mismatched = mismatches(groups, generator)
        metrics: dict[str, float] = {}
        for modality in MODALITIES:
            true = self._target_loss(model, modality, tokens, torch.arange(len(groups)), device)
            wrong = self._target_loss(model, modality, tokens, mismatched, device)
            metrics[f"loss/{modality}"] = true / self.config.stream(modality).positions
            metrics[f"cross_modal_gain/{modality}"] = wrong - true
        return Validation(metrics)

    def _target_loss(
        self,
        model: AutoregressiveTransformer,
        target: Modality,
        tokens: Tokens,
        partner: Tensor,
        device: torch.device,
    ) -> float:
        """Nats per clip on the target's tokens, the condition being that of each one's partner."""
        total = 0.0
        for index_B in torch.arange(len(partner)).split(VALIDATION_BATCH):
            shown = {
                modality: tokens[modality][index_B if modality == target else partner[index_B]].to(device)
                for modality in MODALITIES
            }
            to_audio_B = torch.full((len(index_B),), target == "audio", device=device)
            logits_BTK = model.logits(target, model(shown, to_audio_B)).float()
            total += float(F.cross_entropy(logits_BTK.flatten(0, 1), shown[target].flatten(), reduction="sum"))
        return total / len(partner)

    def export_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")


def _aimed_at(modality: Modality, to_audio_B: Tensor) -> Tensor:
    """The items whose target is of a modality."""
    return to_audio_B if modality == "audio" else ~to_audio_B
