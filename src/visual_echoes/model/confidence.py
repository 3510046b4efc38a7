"""How sure a model is of what it makes for a condition.

The condition's information is how far it moves the model's expectations: the Kullback-Leibler divergence of its
probabilities for the still empty target from those without the condition. A model that takes the condition for nothing
it knows falls back on what it expects of any. A logistic curve, fitted where a classifier tells whether the outcome was
what was asked for, turns nats into a probability (Platt 1999).

The curve holds for conditions like those it was fitted on. Two figures tell others from them: how well the model
predicts one half of the condition's tokens from the other, and how much of the condition its tokenizer loses.

Shapes: B batch, P positions of the target, C positions of the condition, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.machine import in_float64
from visual_echoes.model.interface import ScoringModel
from visual_echoes.streams import LABEL, Level, Tokens, masked_but

SMALLEST = 1e-6  # nats; keeps the logarithm finite
RIDGE = 1e-2  # pulls the slope to 0, so that a fit to outcomes of one kind stays finite
NEWTON_STEPS = 50
UNSURE_BELOW = 0.5  # rather wrong than right
FAMILIAR_SHARE = 0.99  # of the conditions that a calibration was fitted on, by each figure


class Evidence(NamedTuple):
    """What is known of conditions before anything is made for them, float64 (B,) each."""

    information_B: Tensor  # what they tell about the target, nats per position
    surprise_B: Tensor  # nats per token of their own
    error_B: Tensor  # root mean square of what the tokenizer changes, on its scale of [-1, 1]


class Familiar(BaseModel):
    """What most of the conditions were like that a calibration was fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least_surprise: float
    most_surprise: float
    most_error: float

    def holds(self, evidence: Evidence) -> Tensor:
        """Which conditions are like them, bool (B,)."""
        surprise_B = evidence.surprise_B
        expected_B = (surprise_B >= self.least_surprise) & (surprise_B <= self.most_surprise)
        return expected_B & (evidence.error_B <= self.most_error)

    @classmethod
    def fit(cls, evidence: Evidence) -> Familiar:
        """Bounds that leave out the rarest on either side."""
        tail = (1.0 - FAMILIAR_SHARE) / 2.0
        least, most = evidence.surprise_B.quantile(torch.tensor([tail, 1.0 - tail], dtype=torch.float64)).tolist()
        return cls(
            least_surprise=least, most_surprise=most, most_error=float(evidence.error_B.quantile(FAMILIAR_SHARE))
        )


class Calibration(BaseModel):
    """P(right) = sigmoid(offset + slope * ln(information)), for familiar conditions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: float
    slope: float
    familiar: Familiar | None = None  # None: of a model that was calibrated before there was such a bound

    def probability(self, evidence: Evidence) -> Tensor:
        """Probability that what is made is what was asked for, float64 (B,); NaN for unfamiliar conditions."""
        chance_B = torch.sigmoid(self.offset + self.slope * _scale(evidence.information_B))
        return chance_B if self.familiar is None else chance_B.masked_fill(~self.familiar.holds(evidence), torch.nan)

    @classmethod
    def fit(cls, evidence: Evidence, right_B: Tensor) -> Calibration:
        """The most likely curve, with a slight pull of the slope to 0.

        Args:
            evidence: of the conditions.
            right_B: bool, whether the outcome was what was asked for.
        """
        scale_B = _scale(evidence.information_B)
        inputs_B2 = torch.stack([torch.ones_like(scale_B), scale_B], 1)
        ridge_2 = torch.tensor([1e-6, RIDGE], dtype=torch.float64)
        weights_2 = torch.zeros(2, dtype=torch.float64)
        for _ in range(NEWTON_STEPS):
            chance_B = torch.sigmoid(inputs_B2 @ weights_2)
            gradient_2 = inputs_B2.T @ (chance_B - right_B.double()) + ridge_2 * weights_2
            curvature_22 = (inputs_B2 * (chance_B * (1 - chance_B))[:, None]).T @ inputs_B2 + torch.diag(ridge_2)
            weights_2 = weights_2 - torch.linalg.solve(curvature_22, gradient_2)
        offset, slope = weights_2.tolist()
        return cls(offset=offset, slope=slope, familiar=Familiar.fit(evidence))


@torch.inference_mode()
def information(model: ScoringModel, tokens: Tokens, given: Collection[str], target: str) -> Tensor:
    """What a condition tells about a wholly unknown target, in nats per position, float64 (B,).

    Args:
        model: in eval mode.
        tokens: int64 (B, P, Q) by stream; only those of the given sources are looked at.
        given: the sources that are known.
        target: the source that is made.
    """
    first = [(stream.name, 0) for stream in model.config.streams if stream.source == target]
    informed, blind = (
        log_probabilities(model, tokens, masked_but(model.config.streams, tokens, known), first)
        for known in (given, ())
    )
    nats = [F.kl_div(blind[level], informed[level], reduction="none", log_target=True).sum(-1) for level in first]
    return torch.cat(nats, 1).mean(1)


@torch.inference_mode()
def surprise(model: ScoringModel, tokens: Tokens, condition: str) -> Tensor:
    """How little the model expects a condition's tokens, given every other one of them, in nats each, float64 (B,).

    Args:
        model: in eval mode.
        tokens: int64 (B, P, Q) by stream; only those of the condition are looked at.
        condition: the source that is given.
    """
    total_B = torch.zeros(len(next(iter(tokens.values()))), dtype=torch.float64)
    count = 0
    for parity in (0, 1):
        masked = masked_but(model.config.streams, tokens, ())
        hidden = {}
        for stream in model.config.streams:
            if stream.source == condition:
                index = torch.stack(torch.meshgrid(*map(torch.arange, stream.shape), indexing="ij"))
                hidden[stream.name] = (index.sum(0).flatten() % 2 == parity).to(tokens[stream.name].device)
                masked[stream.name] = hidden[stream.name][:, None].expand_as(tokens[stream.name])
        found = log_probabilities(model, tokens, masked, [(name, 0) for name in hidden])
        for name, hidden_C in hidden.items():
            nats_BPK = -found[name, 0]
            own_BC1 = tokens[name][:, hidden_C, :1].to(nats_BPK.device)
            nats_BCK = nats_BPK[:, hidden_C.to(nats_BPK.device)]
            total_B = total_B.to(nats_BPK.device) + nats_BCK.gather(-1, own_BC1).sum((1, 2))
            count += int(hidden_C.sum())
    return total_B / count


def weigh(model: ScoringModel, tokens: Tokens, condition: str, target: str, error_B: Tensor) -> Evidence:
    """The evidence of conditions for a target, with what their tokenizer changed in them.

    One by one: the scores of a batch are rounded as its size happens to make the kernels do.
    """
    alone = [{name: t[i : i + 1] for name, t in tokens.items()} for i in range(len(error_B))]
    information_B = torch.cat([information(model, row, [condition], target) for row in alone])
    return Evidence(information_B, torch.cat([surprise(model, row, condition) for row in alone]), error_B)


@torch.inference_mode()
def label_probability(model: ScoringModel, tokens: Tokens, condition: str) -> Tensor:
    """How probable the labels of items are where their condition alone is known, float64 (B,) on the CPU.

    Of several labels their product. One by one, as `weigh` does.
    """
    found = []
    for i in range(len(tokens[condition])):
        row = {name: t[i : i + 1] for name, t in tokens.items()}
        labels = expected(model, row, [condition], [LABEL])
        own = [nats_1PK.gather(-1, row[name][..., :1].cpu()).sum() for name, nats_1PK in labels.items()]
        found.append(torch.stack(own).sum().exp())
    return torch.stack(found)


def in_words(chance: float) -> str:
    """How sure the model is, with the measured probability that it gets its task right."""
    if math.isnan(chance):
        return "unsure; this is unlike what the model knows"
    if chance < UNSURE_BELOW:
        return f"unsure; in cases like this the model is right {chance:.0%} of the time"
    return f"{chance:.0%} sure"


def expected_calibration_error(probability_B: Tensor, right_B: Tensor, bins: int = 10) -> float:
    """Mean distance of the probability from the share that was right, over bins of equal width (Guo et al. 2017)."""
    index_B = (probability_B * bins).long().clamp_max(bins - 1)
    total = 0.0
    for index in index_B.unique():
        inside_B = index_B == index
        gap = probability_B[inside_B].mean() - right_B[inside_B].double().mean()
        total += float(gap.abs()) * int(inside_B.sum())
    return total / len(right_B)


def expected(model: ScoringModel, tokens: Tokens, known: Collection[str], sources: Collection[str]) -> Tokens:
    """Log-probabilities of some sources' first codes where others alone are known, float64 (B, P, K) on the CPU
    by stream."""
    first = [(stream.name, 0) for stream in model.config.streams if stream.source in sources]
    found = log_probabilities(model, tokens, masked_but(model.config.streams, tokens, known), first)
    return {name: log_probability_BPK.cpu() for (name, _), log_probability_BPK in found.items()}


def log_probabilities(
    model: ScoringModel, tokens: Tokens, masked: Tokens, levels: Collection[Level]
) -> dict[Level, Tensor]:
    """Of the levels' codes at their masked positions, float64 (B, P, K)."""
    asked = {(name, level): masked[name][..., level] for name, level in levels}
    return {level: in_float64(scores).log_softmax(-1) for level, scores in model.score(tokens, masked, asked).items()}


def _scale(information_B: Tensor) -> Tensor:
    return in_float64(information_B).clamp_min(SMALLEST).log()
