"""Training the autoregressive baseline: cross entropy of the next token, on the tokens of the target only.

Each item of a batch is picture to sound or sound to picture, by a fair coin. Validation makes both directions of the
same pairs and logs the loss in nats a token, and the cross-modal gain in nats a clip, as the transformer's does.

Shapes: B batch, N items of one direction, T target places, K codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.baselines.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from visual_echoes.data.tokens import Tokens
from visual_echoes.training.task import Phase, Task, Validation
from visual_echoes.training.transformer import VALIDATION_BATCH, VALIDATION_PAIRS, VALIDATION_SEED, strangers
from visual_echoes.transformer import MODALITIES, Modality, Pair


class AutoregressiveTask(Task):
    """Trains the autoregressive baseline on cached tokens."""

    train: Tokens
    valid: Tokens

    def __init__(self, config: AutoregressiveConfig, train: Tokens, valid: Tokens) -> None:
        self.config, self.train, self.valid = config, train, valid
        self.model = AutoregressiveTransformer(config)
        self.modules = nn.ModuleDict({"model": self.model})

    def batch(self, size: int, generator: torch.Generator) -> tuple[Pair, Tensor, Pair]:
        """Tokens, which items go to sound, and how many target tokens an item has on average, (B,) a modality."""
        tokens, _ = self.train.draw(size, generator)
        to_audio_B = torch.rand(size, generator=generator) < 0.5
        scored = []
        for modality, tokens_BT in zip(MODALITIES, tokens, strict=True):
            items = max(1, int(_aimed_at(modality, to_audio_B).sum()))
            scored.append(torch.full((size,), items * tokens_BT.shape[1] / size, dtype=torch.float64))
        return tokens, to_audio_B, Pair(*scored)

    def phases(self, batch: tuple[Pair, Tensor, Pair], step: int) -> Iterator[Phase]:
        tokens, to_audio_B, scored = Pair(*batch[0]), batch[1], Pair(*batch[2])
        features_BLD = self.modules["model"](tokens, to_audio_B)
        sums, counts, metrics = [], [], {}
        for modality, tokens_BT, scored_B in zip(MODALITIES, tokens, scored, strict=True):
            chosen_B = _aimed_at(modality, to_audio_B)
            logits_NTK = self.model.logits(modality, features_BLD[chosen_B]).float()
            sums.append(F.cross_entropy(logits_NTK.flatten(0, 1), tokens_BT[chosen_B].flatten(), reduction="sum"))
            counts.append(float(scored_B.sum()))  # of the step's mean item: every target token of it weighs the same
            metrics[f"loss/{modality}"] = sums[-1] / counts[-1]
        yield Phase("model", torch.stack(sums).sum() / sum(counts), metrics)

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        assert isinstance(model, AutoregressiveTransformer)
        generator = torch.Generator().manual_seed(VALIDATION_SEED)
        tokens, groups = self.valid.draw(VALIDATION_PAIRS, generator)
        stranger = strangers(groups, generator)
        metrics: dict[str, float] = {}
        for modality in MODALITIES:
            true = self._target_loss(model, modality, tokens, torch.arange(len(groups)), device)
            wrong = self._target_loss(model, modality, tokens, stranger, device)
            metrics[f"loss/{modality}"] = true / self.config.places(modality)
            metrics[f"cross_modal_gain/{modality}"] = wrong - true
        return Validation(metrics)

    def _target_loss(
        self,
        model: AutoregressiveTransformer,
        target: Modality,
        tokens: Pair,
        partner: Tensor,
        device: torch.device,
    ) -> float:
        """Nats per clip on the target's tokens, the condition being that of each one's partner."""
        place, total = MODALITIES.index(target), 0.0
        for index_B in torch.arange(len(partner)).split(VALIDATION_BATCH):
            shown = Pair(
                *(
                    tokens_BP[index_B if modality == target else partner[index_B]].to(device)
                    for modality, tokens_BP in zip(MODALITIES, tokens, strict=True)
                )
            )
            to_audio_B = torch.full((len(index_B),), target == "audio", device=device)
            logits_BTK = model.logits(target, model(shown, to_audio_B)).float()
            total += float(F.cross_entropy(logits_BTK.flatten(0, 1), shown[place].flatten(), reduction="sum"))
        return total / len(partner)

    def export_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")


def _aimed_at(modality: Modality, to_audio_B: Tensor) -> Tensor:
    """The items whose target is of a modality."""
    return to_audio_B if modality == "audio" else ~to_audio_B
