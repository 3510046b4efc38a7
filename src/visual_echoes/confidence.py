"""How sure a model is of what it makes for a condition.

The condition's information is how far it moves the model's expectations: the Kullback-Leibler divergence of its
probabilities for the still empty target from those without the condition. A model that takes the condition for nothing
it knows falls back on what it expects of any. A logistic curve, fitted where a judge tells whether the outcome was what
was asked for, turns nats into a probability (Platt 1999).

Shapes: B batch, P places of the target, K codes.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.transformer import MODALITIES, EchoTransformer, Modality, Pair

SMALLEST = 1e-6  # nats; keeps the logarithm finite
RIDGE = 1e-2  # pulls the slope to 0, so that a fit to outcomes of one kind stays finite
NEWTON_STEPS = 50


class Calibration(BaseModel):
    """P(right) = sigmoid(offset + slope * ln(information))."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: float
    slope: float

    def probability(self, information_B: Tensor) -> Tensor:
        """Probability that what is made is what was asked for, float64 (B,)."""
        return torch.sigmoid(self.offset + self.slope * _scale(information_B))

    @classmethod
    def fit(cls, information_B: Tensor, right_B: Tensor) -> Calibration:
        """The most likely curve, with a slight pull of the slope to 0.

        Args:
            information_B: nats, as `information` measures them.
            right_B: bool, whether the outcome was what was asked for.
        """
        inputs_B2 = torch.stack([torch.ones(len(right_B), dtype=torch.float64), _scale(information_B)], 1)
        ridge_2 = torch.tensor([1e-6, RIDGE], dtype=torch.float64)
        weights_2 = torch.zeros(2, dtype=torch.float64)
        for _ in range(NEWTON_STEPS):
            chance_B = torch.sigmoid(inputs_B2 @ weights_2)
            gradient_2 = inputs_B2.T @ (chance_B - right_B.double()) + ridge_2 * weights_2
            curvature_22 = (inputs_B2 * (chance_B * (1 - chance_B))[:, None]).T @ inputs_B2 + torch.diag(ridge_2)
            weights_2 = weights_2 - torch.linalg.solve(curvature_22, gradient_2)
        offset, slope = weights_2.tolist()
        return cls(offset=offset, slope=slope)


@torch.inference_mode()
def information(model: EchoTransformer, tokens: Pair, target: Modality) -> Tensor:
    """What the condition tells about a wholly unknown target, in nats per place, float64 (B,).

    Args:
        model: in eval mode.
        tokens: int64 (B, I) and (B, A); those of the target are ignored.
        target: the modality that is made, from the other one.
    """
    informed_BPK, blind_BPK = (
        model.logits(target, dict(zip(MODALITIES, model(tokens, masked), strict=True))[target]).double().log_softmax(-1)
        for masked in (_masked(tokens, [target]), _masked(tokens, MODALITIES))
    )
    return F.kl_div(blind_BPK, informed_BPK, reduction="none", log_target=True).sum(-1).mean(-1)


def expected_calibration_error(probability_B: Tensor, right_B: Tensor, bins: int = 10) -> float:
    """Mean distance of the probability from the share that was right, over bins of equal width (Guo et al. 2017)."""
    index_B = (probability_B * bins).long().clamp_max(bins - 1)
    total = 0.0
    for index in index_B.unique():
        inside_B = index_B == index
        gap = probability_B[inside_B].mean() - right_B[inside_B].double().mean()
        total += float(gap.abs()) * int(inside_B.sum())
    return total / len(right_B)


def _masked(tokens: Pair, hidden: tuple[Modality, ...] | list[Modality]) -> Pair:
    return Pair(
        *(
            torch.full_like(tokens_BP, modality in hidden, dtype=torch.bool)
            for modality, tokens_BP in zip(MODALITIES, tokens, strict=True)
        )
    )


def _scale(information_B: Tensor) -> Tensor:
    return information_B.double().clamp_min(SMALLEST).log()
