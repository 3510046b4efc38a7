"""Training the transformer: cross entropy on masked tokens of both modalities at once.

Besides the loss, validation logs the cross-modal gain: how much the loss on one modality falls, in nats a clip, when
the other is the true partner instead of a stranger, at fixed masks. It tells when the model begins to listen.

Shapes: B batch, I picture places, A sound places, P places of one modality, K codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.data.tokens import Tokens
from visual_echoes.masking import LaterFields, Mask, MaskRatio, dropped_count, random_mask
from visual_echoes.packing import Packing
from visual_echoes.training.task import Phase, Task, Validation
from visual_echoes.transformer import MODALITIES, EchoTransformer, Modality, Pair, TransformerConfig

VALIDATION_PAIRS = 512
VALIDATION_BATCH = 128
VALIDATION_SEED = 1234
CONTRAST_WIDTH = 64
CONTRAST_TEMPERATURE = 0.1
VALIDATION_RATIO = MaskRatio()  # the paper's masks, whatever the training's, so that runs can be compared


class MaskingObjective(LaterFields):
    """Masks and loss; a recipe's `[objective]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER = ("ratios", "direction", "contrast_weight")

    image: MaskRatio = MaskRatio()
    audio: MaskRatio = MaskRatio()
    # Share of the samples in which one modality, by a fair coin, is shown whole: the condition as sampling gives it,
    # which masks of one half and more never show (0 in the paper).
    shown_share: float = Field(default=0.0, ge=0, le=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    # Average over all masked tokens together, or the mean of the two modalities' means.
    average: Literal["tokens", "modalities"] = "tokens"
    # Whether each sample draws its own mask ratio, or one holds for the batch as in MAGE.
    ratios: Literal["sample", "batch"] = "sample"
    # What is learnt. In one direction only, the condition is always shown whole and never scored.
    direction: Literal["both", "image_to_audio", "audio_to_image"] = "both"
    # Weight of telling each picture's own sound from the batch's others by what the encoder makes of each alone, and
    # the other way round (InfoNCE, as CAV-MAE, Gong et al. 2023, adds to masked modelling). 0 in the paper.
    contrast_weight: float = Field(default=0.0, ge=0)

    def ratio(self, modality: Modality) -> MaskRatio:
        return self.image if modality == "image" else self.audio

    def shown(self, coin_B: Tensor) -> dict[Modality, Tensor]:
        """Which samples show a modality whole, bool (B,), by their coins in [0, 1)."""
        if self.direction != "both":
            always_B = torch.ones_like(coin_B, dtype=torch.bool)
            return {m: always_B if self.direction.startswith(m) else ~always_B for m in MODALITIES}
        half = 0.5 * self.shown_share
        return {"image": coin_B < half, "audio": (coin_B >= half) & (coin_B < 2.0 * half)}


class TransformerTask(Task):
    """Trains the transformer on cached tokens."""

    train: Tokens
    valid: Tokens

    def __init__(
        self,
        config: TransformerConfig,
        objective: MaskingObjective,
        train: Tokens,
        valid: Tokens,
        codebooks: dict[Modality, Tensor] | None = None,
    ) -> None:
        """`codebooks`: code vectors (K, C) of the tokenizers to start the token embeddings from; None: at random."""
        self.config, self.objective, self.train, self.valid = config, objective, train, valid
        self.model = EchoTransformer(config)
        for modality, codebook_KC in (codebooks or {}).items():
            self.model.start_from_codebook(modality, codebook_KC)
        self.modules = nn.ModuleDict({"model": self.model})
        if objective.contrast_weight:
            self.contrast = nn.ModuleDict({m: nn.Linear(config.width, CONTRAST_WIDTH, bias=False) for m in MODALITIES})
            self.modules["contrast"] = self.contrast
            self.optimizers = {"model": ("model", "contrast")}

    def batch(self, size: int, generator: torch.Generator) -> tuple[Pair, Pair, Pair, Pair]:
        """Tokens, masked places, dropped places, and how many masked places an item has on average, (B,) each."""
        tokens, _ = self.train.draw(size, generator)
        shown = self.objective.shown(torch.rand(size, generator=generator))
        masks = []
        for modality in MODALITIES:
            ratio = self.objective.ratio(modality)
            ratio_B = ratio.sample(size, generator)
            if self.objective.ratios == "batch":
                ratio_B = ratio_B[:1].expand(size)
            ratio_B = ratio_B.masked_fill(shown[modality], 0.0)
            masks.append(self._draw_mask(ratio, ratio_B, modality, generator))
        masked = [mask.masked_BL for mask in masks]
        scored = [(masked_BL.sum().clamp_min(1).double() / size).expand(size) for masked_BL in masked]
        return tokens, Pair(*masked), Pair(*(mask.dropped_BL for mask in masks)), Pair(*scored)

    def _draw_mask(self, ratio: MaskRatio, ratio_B: Tensor, modality: Modality, generator: torch.Generator) -> Mask:
        length = self.config.places(modality)
        return random_mask(ratio_B, length, dropped_count(length, ratio.low), generator)

    def phases(self, batch: tuple[Pair, Pair, Pair, Pair], step: int) -> Iterator[Phase]:
        tokens, masked, dropped, scored = (Pair(*pair) for pair in batch)
        features = self.modules["model"](tokens, masked, dropped)
        sums, counts, metrics = [], [], {}
        for modality, tokens_BP, masked_BP, scored_B, features_BPD in zip(
            MODALITIES, tokens, masked, scored, features, strict=True
        ):
            # Only masked places are scored, dropped ones included.
            places = Packing(masked_BP)
            logits_MK = self.model.logits(modality, places.pack(features_BPD)).float()
            losses_M = F.cross_entropy(
                logits_MK, places.pack(tokens_BP), label_smoothing=self.objective.label_smoothing, reduction="none"
            )[: places.tokens]
            sums.append(losses_M.sum())
            counts.append(float(scored_B.sum()))  # not `len(losses_M)`: every masked place of the step weighs the same
            metrics[f"loss/{modality}"] = losses_M.sum() / counts[-1]
        if self.objective.average == "tokens":
            loss = torch.stack(sums).sum() / sum(counts)
        else:
            loss = torch.stack([total / count for total, count in zip(sums, counts, strict=True)]).mean()
        if self.objective.contrast_weight:
            metrics["contrast"] = contrast = self._contrast(tokens)
            loss = loss + self.objective.contrast_weight * contrast
        yield Phase("model", loss, metrics)

    def _contrast(self, tokens: Pair) -> Tensor:
        """InfoNCE in both directions over the pairs of a batch (van den Oord et al. 2018)."""
        image_BE, audio_BE = (
            F.normalize(self.contrast[modality](self.model.summary(modality, tokens)).float(), dim=-1)
            for modality in MODALITIES
        )
        scores_BB = image_BE @ audio_BE.mT / CONTRAST_TEMPERATURE
        own_B = torch.arange(len(scores_BB), device=scores_BB.device)
        return 0.5 * (F.cross_entropy(scores_BB, own_B) + F.cross_entropy(scores_BB.mT, own_B))

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        assert isinstance(model, EchoTransformer)
        generator = torch.Generator().manual_seed(VALIDATION_SEED)
        tokens, groups = self.valid.draw(VALIDATION_PAIRS, generator)
        stranger = strangers(groups, generator)
        metrics: dict[str, float] = {}
        for modality in MODALITIES:
            ratio_B = VALIDATION_RATIO.sample(len(groups), generator)
            masked_BP = self._draw_mask(VALIDATION_RATIO, ratio_B, modality, generator).masked_BL
            true = self._target_loss(model, modality, tokens, masked_BP, None, device)
            wrong = self._target_loss(model, modality, tokens, masked_BP, stranger, device)
            metrics[f"loss/{modality}"] = true / (float(masked_BP.sum()) / len(groups))
            metrics[f"cross_modal_gain/{modality}"] = wrong - true
        return Validation(metrics)

    def _target_loss(
        self,
        model: EchoTransformer,
        target: Modality,
        tokens: Pair,
        masked_BP: Tensor,
        partner: Tensor | None,
        device: torch.device,
    ) -> float:
        """Nats per clip on the target's masked places, the other modality wholly visible (true, or of a partner)."""
        total = 0.0
        for index_B in torch.arange(len(masked_BP)).split(VALIDATION_BATCH):
            other_B = index_B if partner is None else partner[index_B]
            shown, hidden = [], []
            for modality, tokens_BP in zip(MODALITIES, tokens, strict=True):
                shown.append(tokens_BP[index_B if modality == target else other_B].to(device))
                hidden.append(
                    masked_BP[index_B].to(device)
                    if modality == target
                    else torch.zeros_like(shown[-1], dtype=torch.bool)
                )
            features = dict(zip(MODALITIES, model(Pair(*shown), Pair(*hidden)), strict=True))
            place = MODALITIES.index(target)
            logits_MK = model.logits(target, features[target][hidden[place]]).float()
            total += float(F.cross_entropy(logits_MK, shown[place][hidden[place]], reduction="sum"))
        return total / len(masked_BP)

    def export_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")


def strangers(groups_B: Tensor, generator: torch.Generator) -> Tensor:
    """For each item another one of a different group, as an index; its own where all are of one group."""
    different_BB = groups_B[:, None] != groups_B[None, :]
    weight_BB = different_BB.double() + torch.eye(len(groups_B), dtype=torch.float64) * 1e-12
    return torch.multinomial(weight_BB, 1, generator=generator)[:, 0]
