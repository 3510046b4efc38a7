"""Training the transformer: cross entropy on masked tokens of all streams at once.

Besides the loss, validation logs the cross-modal NLL gain: how much the loss on one source falls, in nats a clip, when
the others are its own instead of a mismatched item's, at fixed masks. It tells when the model begins to condition on
them.

Shapes: B batch, P positions of a stream, Q codes a position holds, M masked tokens, K codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.data.tokens import TokenData
from visual_echoes.layout import MODALITIES
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.masking import Mask, MaskRatio, draw_mask, learnt_by_depth, level_shares
from visual_echoes.model.packing import Packing
from visual_echoes.model.upgrade import LaterFields
from visual_echoes.streams import Level, Stream, Tokens
from visual_echoes.training.task import Phase, Task, Validation

VALIDATION_PAIRS = 512  # at most
VALIDATION_DRAWS = 16  # of each item, at most: the same few tell nothing new
VALIDATION_BATCH = 128
VALIDATION_SEED = 1234
CONTRAST_WIDTH = 64
CONTRAST_TEMPERATURE = 0.1
VALIDATION_RATIO = MaskRatio()  # the paper's masks, whatever the training's, so that runs can be compared


class MaskingObjective(LaterFields):
    """Masks and loss; a recipe's `[objective]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER = ("streams", "ratios", "direction", "contrast_weight")

    image: MaskRatio = MaskRatio()  # of streams from images
    audio: MaskRatio = MaskRatio()  # and from sounds
    streams: dict[str, MaskRatio] = Field(default={})  # of single ones, by name, where they differ from their source's
    # Share of the samples in which one source, each as often as the others, is shown whole: the condition as sampling
    # gives it, which masks of one half and more never show (0 in the paper).
    shown_share: float = Field(default=0.0, ge=0, le=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    # Average over all masked tokens together, or the mean of the streams' means.
    average: Literal["tokens", "modalities"] = "tokens"
    # Whether each sample draws its own mask ratio, or one holds for the batch as in MAGE.
    ratios: Literal["sample", "batch"] = "sample"
    # What is learnt. In one direction only, the condition is always shown whole and never scored.
    direction: Literal["both", "image_to_audio", "audio_to_image"] = "both"
    # Weight of telling each image's own sound from the batch's others by what the encoder makes of each alone, and
    # the other way round (InfoNCE, as CAV-MAE, Gong et al. 2023, adds to masked modelling). 0 in the paper.
    contrast_weight: float = Field(default=0.0, ge=0)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def ratio(self, stream: Stream) -> MaskRatio:
        """The masks of a stream."""
        of_source = {"image": self.image, "audio": self.audio}.get(stream.source, MaskRatio())
        return self.streams.get(stream.name, of_source)

    def shown(self, sources: Sequence[str], coin_B: Tensor) -> dict[str, Tensor]:
        """Which samples show a source whole, bool (B,), by their coins in [0, 1)."""
        if self.direction != "both":
            always_B = torch.ones_like(coin_B, dtype=torch.bool)
            return {source: always_B if self.direction.startswith(source) else ~always_B for source in sources}
        part = self.shown_share / len(sources)
        return {s: (coin_B >= n * part) & (coin_B < (n + 1) * part) for n, s in enumerate(sources)}


class TransformerTask(Task):
    """Trains the transformer on cached tokens."""

    train: TokenData
    valid: TokenData
    same_shapes = False  # as many tokens as the masks leave

    def __init__(
        self,
        config: TransformerConfig,
        objective: MaskingObjective,
        train: TokenData,
        valid: TokenData,
        codebooks: Mapping[Level, Tensor] | None = None,
    ) -> None:
        """`codebooks`: code vectors (K, C) of the tokenizers to start the token embeddings from; None: at random."""
        self.config, self.objective, self.train, self.valid = config, objective, train, valid
        self.sources = list(dict.fromkeys(stream.source for stream in config.streams))
        self.model = FastTransformer(config)
        for level, codebook_KC in (codebooks or {}).items():
            self.model.start_from_codebook(level, codebook_KC)
        self.modules = nn.ModuleDict({"model": self.model})
        if objective.contrast_weight:
            self.contrast = nn.ModuleDict({m: nn.Linear(config.width, CONTRAST_WIDTH, bias=False) for m in MODALITIES})
            self.modules["contrast"] = self.contrast
            self.optimizers = {"model": ("model", "contrast")}

    def batch(self, size: int, generator: torch.Generator) -> tuple[dict[str, Tensor], ...]:
        """By stream: tokens, what is masked, scored and dropped of them, and the scored ones of a mean item."""
        tokens, _ = self.train.draw(size, generator)
        shown = self.objective.shown(self.sources, torch.rand(size, generator=generator))
        whole: dict[str, Tensor] = {}  # samples of which nothing of a source is known, as its first stream drew them
        masks: dict[str, Mask] = {}
        for stream in self.config.streams:
            ratio = self.objective.ratio(stream)
            ratio_B = ratio.sample(size, generator)
            if self.objective.ratios == "batch":
                ratio_B = ratio_B[:1].expand(size)
            whole_B = whole.setdefault(stream.source, ratio_B == 1.0)
            ratio_B = ratio_B.masked_fill(whole_B, 1.0).masked_fill(shown[stream.source], 0.0)
            masks[stream.name] = _known(self._draw_mask(ratio, ratio_B, stream, generator), tokens[stream.name], stream)
        counts = {name: mask.scored_BPQ.sum().clamp_min(1).double() / size for name, mask in masks.items()}
        return (
            tokens,
            {name: mask.masked_BPQ for name, mask in masks.items()},
            {name: mask.scored_BPQ for name, mask in masks.items()},
            {name: mask.dropped_BP for name, mask in masks.items()},
            {name: count.expand(size) for name, count in counts.items()},
        )

    def _draw_mask(self, ratio: MaskRatio, ratio_B: Tensor, stream: Stream, generator: torch.Generator) -> Mask:
        return draw_mask(ratio, ratio_B, stream, generator, by_depth=self.config.residual == "depth")

    def phases(self, batch: tuple[dict[str, Tensor], ...], step: int) -> Iterator[Phase]:
        tokens, masked, scored, dropped, average = batch
        features = self.modules["model"](tokens, masked, dropped)
        sums, counts, metrics = [], [], {}
        for stream in self.config.streams:
            share, smoothing = self.objective.ratio(stream).first_level_share, self.objective.label_smoothing
            total = self._nats(self.model, stream, tokens, scored, features, share, smoothing).sum()
            sums.append(total)
            counts.append(float(average[stream.name].sum()))  # of the step: every scored token of it weighs the same
            metrics[f"loss/{stream.name}"] = total / counts[-1]
        if self.objective.average == "tokens":
            loss = torch.stack(sums).sum() / sum(counts)
        else:
            loss = torch.stack([total / count for total, count in zip(sums, counts, strict=True)]).mean()
        if self.objective.contrast_weight:
            metrics["contrast"] = contrast = self._contrast(tokens)
            loss = loss + self.objective.contrast_weight * contrast
        yield Phase("model", loss, metrics)

    @staticmethod
    def _nats(
        model: FastTransformer, stream: Stream, tokens: Tokens, scored: Tokens, features: Tokens, first_share: float,
        smoothing: float = 0.0,
    ) -> Tensor:  # fmt: skip
        """Cross entropy of every scored token of a stream, (M,), its levels one after the other.

        Where all levels are learnt at once, they weigh as often as they are learnt where one is drawn for each sample.
        """
        losses = []
        weights_Q = torch.ones(stream.depth)
        if stream.name in model.depth:
            learnt_Q = learnt_by_depth(stream.depth)
            weights_Q = level_shares(first_share, stream.depth) * learnt_Q.sum() / learnt_Q
        for (name, level), weight in zip(stream.levels, weights_Q.tolist(), strict=True):
            places = Packing(scored[name][..., level])
            logits_MK = model.packed_logits(places, (name, level), features[name], tokens[name]).float()
            target_M = places.pack(tokens[name][..., level])
            nats_M = F.cross_entropy(logits_MK, target_M, label_smoothing=smoothing, reduction="none")
            losses.append(nats_M[: places.tokens] * weight)
        return torch.cat(losses)

    def _contrast(self, tokens: Tokens) -> Tensor:
        """InfoNCE in both directions over the pairs of a batch (van den Oord et al. 2018)."""
        image_BE, audio_BE = (
            F.normalize(self.contrast[source](self.model.summary(tokens, source)).float(), dim=-1)
            for source in MODALITIES
        )
        scores_BB = image_BE @ audio_BE.mT / CONTRAST_TEMPERATURE
        own_B = torch.arange(len(scores_BB), device=scores_BB.device)
        return 0.5 * (F.cross_entropy(scores_BB, own_B) + F.cross_entropy(scores_BB.mT, own_B))

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        assert isinstance(model, FastTransformer)
        generator = torch.Generator().manual_seed(VALIDATION_SEED)
        tokens, groups = self.valid.draw(min(VALIDATION_PAIRS, VALIDATION_DRAWS * len(self.valid)), generator)
        mismatched = mismatches(groups, generator)
        metrics: dict[str, float] = {}
        for source in self.sources:
            ratio_B = VALIDATION_RATIO.sample(len(groups), generator)
            own = [stream for stream in self.config.streams if stream.source == source]
            masks = {stream.name: self._draw_mask(VALIDATION_RATIO, ratio_B, stream, generator) for stream in own}
            masks = {stream.name: _known(masks[stream.name], tokens[stream.name], stream) for stream in own}
            true = self._target_loss(model, masks, tokens, None, device)
            wrong = self._target_loss(model, masks, tokens, mismatched, device)
            for name in (name for name, mask in masks.items() if mask.scored_BPQ.any()):
                metrics[f"loss/{name}"] = true[name] / (float(masks[name].scored_BPQ.sum()) / len(groups))
                metrics[f"cross_modal_gain/{name}"] = wrong[name] - true[name]
        return Validation(metrics)

    def _target_loss(
        self,
        model: FastTransformer,
        masks: Mapping[str, Mask],
        tokens: Tokens,
        partner: Tensor | None,
        device: torch.device,
    ) -> dict[str, float]:
        """Nats per clip on the masked streams' tokens, all others wholly visible (their own, or a partner's)."""
        count = len(next(iter(tokens.values())))
        total, share = dict.fromkeys(masks, 0.0), VALIDATION_RATIO.first_level_share
        for index_B in torch.arange(count).split(VALIDATION_BATCH):
            other_B = index_B if partner is None else partner[index_B]
            shown = {name: t[index_B if name in masks else other_B].to(device) for name, t in tokens.items()}
            masked = {stream.name: shown[stream.name] >= stream.codes for stream in self.config.streams}
            masked |= {name: masked[name] | mask.masked_BPQ[index_B].to(device) for name, mask in masks.items()}
            scored = {name: mask.scored_BPQ[index_B].to(device) for name, mask in masks.items()}
            features = model(shown, masked)
            for stream in self.config.streams:
                if stream.name in masks:
                    total[stream.name] += float(self._nats(model, stream, shown, scored, features, share).sum())
        return {name: nats / count for name, nats in total.items()}

    def export_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")


def _known(mask: Mask, tokens_BPQ: Tensor, stream: Stream) -> Mask:
    """The mask with all labels hidden that nobody knows, of which there is nothing to learn."""
    unknown_BPQ = tokens_BPQ >= stream.codes
    return mask._replace(masked_BPQ=mask.masked_BPQ | unknown_BPQ, scored_BPQ=mask.scored_BPQ & ~unknown_BPQ)


def mismatches(groups_B: Tensor, generator: torch.Generator) -> Tensor:
    """For each item another one of a different group, as an index; its own where all are of one group."""
    different_BB = groups_B[:, None] != groups_B[None, :]
    weight_BB = different_BB.double() + torch.eye(len(groups_B), dtype=torch.float64) * 1e-12
    return torch.multinomial(weight_BB, 1, generator=generator)[:, 0]
