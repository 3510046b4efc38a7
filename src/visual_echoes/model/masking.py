"""Random masks for training: the ratios of masked positions, and the dropped ones among them.

Follows MAGE (Li et al. 2023, section 3): a share of each stream's positions is masked, a fixed part of the masked ones
is dropped before the encoder, so that batches keep one length. Unlike MAGE, the ratio is drawn per sample and stream.

Shapes: B batch, P positions of one stream, Q codes a position holds.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor

from visual_echoes.model.upgrade import LaterFields
from visual_echoes.streams import Stream

# Taken off before rounding up, so that 0.5 of 16 positions are 8 and 0.14 of 50 are 7 whatever the float product.
ROUNDING = 1e-9
FURTHER_SHARE = 0.4  # of the further codes that are hidden together are learnt: the heads would take half of the time


class MaskRatio(LaterFields):
    """Distribution of the share of masked positions, cut off at its bounds.

    The paper's is a Gaussian, of which it studies means of 0.55 and 0.7; deviation and bounds are MAGE's. The others
    have neither mean nor deviation: "uniform", and "arccos" with the density 2 / (pi sqrt(1 - r^2)) of the shares that
    a cosine schedule leaves masked (MaskGIT, Chang et al. 2022). With the probability `condition_drop` a sample is
    masked whole instead, which shows the model the empty condition that guidance uses (0 in the paper).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER = ("distribution", "first_level_share", "shown_share", "unit")
    STORED_AS: ClassVar[dict[str, str]] = {"condition_drop": "full_share"}

    mean: float = 0.7
    deviation: float = Field(default=0.25, gt=0)
    low: float = Field(default=0.5, ge=0, le=1)
    high: float = Field(default=1.0, ge=0, le=1)
    condition_drop: float = Field(default=0.0, ge=0, le=1)
    distribution: Literal["gaussian", "uniform", "arccos"] = "gaussian"
    first_level_share: float = Field(default=0.5, gt=0, lt=1)  # of the samples, where positions hold residual codes
    shown_share: float = Field(default=0.0, ge=0, le=1)  # of the samples show the whole stream
    # What is masked together: single positions; all positions of a time ("frame"); or a position at all times ("tube",
    # as VideoMAE, Tong et al. 2022). Streams without a time axis are masked by positions.
    unit: Literal["position", "frame", "tube"] = "position"

    @model_validator(mode="after")
    def _ordered(self) -> MaskRatio:
        if self.low >= self.high:
            raise ValueError("low must lie below high")
        return self

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` ratios, shape (B,), by the inverse of the cumulative distribution."""
        uniform_B = torch.rand(count, generator=generator, dtype=torch.float64)
        below, above = (self._cumulative(bound) for bound in (self.low, self.high))
        quantile_B = below + uniform_B * (above - below)
        ratio_B = self._ratio(quantile_B).clamp(self.low, self.high)
        # Drawn even when unused, so that the probability does not shift the other draws.
        whole_B = torch.rand(count, generator=generator, dtype=torch.float64) < self.condition_drop
        if self.shown_share:
            ratio_B = ratio_B.masked_fill(torch.rand(count, generator=generator) < self.shown_share, 0.0)
        return torch.where(whole_B, 1.0, ratio_B)

    def _cumulative(self, ratio: float) -> float:
        if self.distribution == "uniform":
            return ratio
        if self.distribution == "arccos":
            return math.asin(ratio) * 2.0 / math.pi
        return 0.5 * (1.0 + math.erf((ratio - self.mean) / (self.deviation * math.sqrt(2.0))))

    def _ratio(self, quantile_B: Tensor) -> Tensor:
        """The inverse of `_cumulative`."""
        if self.distribution == "uniform":
            return quantile_B
        if self.distribution == "arccos":
            return torch.sin(quantile_B * math.pi / 2.0)
        return self.mean + self.deviation * math.sqrt(2.0) * torch.erfinv(2.0 * quantile_B - 1.0)


class Mask(NamedTuple):
    """What is hidden of a stream and what of that is learnt."""

    masked_BPQ: Tensor  # bool, tokens the model does not see
    scored_BPQ: Tensor  # bool, masked tokens that it must tell
    dropped_BP: Tensor  # bool, masked positions the encoder does not see at all


def draw_mask(
    ratio: MaskRatio, ratio_B: Tensor, stream: Stream, generator: torch.Generator, by_depth: bool = False
) -> Mask:
    """Random masks of a stream: ceil(ratio * U) of its U units of each sample, which are its positions or as
    `MaskRatio.unit` says.

    The first of them, at random, are dropped: as many as the lowest ratio masks, so that batches keep one length; a
    sample with fewer drops only those. With residual codes every sample learns one level, drawn at random: the levels
    before it are known, those after it hidden (SoundStorm, Borsos et al. 2023, section 3.3). A ratio of 0 hides no
    code, a ratio of 1 every code.

    Args:
        ratio_B: share of masked positions of each sample.
        by_depth: whether all codes of a masked position are hidden and learnt, as `TransformerConfig.residual` says.
    """
    unit_P = _units(ratio, stream)
    units = int(unit_P.max()) + 1
    rank_BP = torch.rand((len(ratio_B), units), generator=generator).argsort(-1).argsort(-1)[:, unit_P]
    masked_BP = rank_BP < torch.ceil(ratio_B * units - ROUNDING)[:, None]
    dropped = math.ceil(units * ratio.low - ROUNDING)
    if by_depth:
        masked_BPQ = masked_BP[..., None].expand(-1, -1, stream.depth)
        chosen_BPQ = torch.rand(masked_BPQ.shape, generator=generator) < learnt_by_depth(stream.depth)
        return Mask(masked_BPQ, masked_BPQ & chosen_BPQ, masked_BP & (rank_BP < dropped))
    level_B = torch.zeros(len(ratio_B), dtype=torch.int64)
    if stream.depth > 1:
        level_B = _draw_levels(ratio.first_level_share, stream.depth, len(ratio_B), generator)
        level_B = level_B.masked_fill(ratio_B == 1.0, 0)
    number_Q = torch.arange(stream.depth)
    own_B1Q = (number_Q == level_B[:, None])[:, None]
    later_B1Q = ((number_Q > level_B[:, None]) & (ratio_B > 0.0)[:, None])[:, None]
    scored_BPQ = own_B1Q & masked_BP[..., None]
    masked_BPQ = scored_BPQ | later_B1Q.expand_as(scored_BPQ)
    return Mask(masked_BPQ, scored_BPQ, masked_BPQ[..., 0] & (rank_BP < dropped))


def _units(ratio: MaskRatio, stream: Stream) -> Tensor:
    """The unit that each position is masked with, int64 (P,), counted from 0."""
    positions_P = torch.arange(stream.positions)
    if ratio.unit == "position" or stream.time is None:
        return positions_P
    grid = positions_P.unflatten(0, stream.shape).movedim(stream.time.axis, 0).flatten(1)  # (times, others)
    numbers = torch.arange(len(grid))[:, None] if ratio.unit == "frame" else torch.arange(grid.shape[1])
    return torch.zeros_like(positions_P).scatter(0, grid.flatten(), numbers.expand_as(grid).flatten())


def learnt_by_depth(depth: int) -> Tensor:
    """Of how many masked positions each code is learnt where all are hidden together, (Q,): of all the first."""
    return torch.where(torch.arange(depth) == 0, 1.0, FURTHER_SHARE)


def level_shares(first_share: float, depth: int) -> Tensor:
    """How much each level counts in training, float64 (Q,): the first with its share, the others alike."""
    shares_Q = torch.full((depth,), (1.0 - first_share) / max(1, depth - 1), dtype=torch.float64)
    shares_Q[0] = first_share if depth > 1 else 1.0
    return shares_Q


def _draw_levels(first_share: float, depth: int, count: int, generator: torch.Generator) -> Tensor:
    """Which level each sample learns, int64 (B,)."""
    return torch.multinomial(level_shares(first_share, depth), count, replacement=True, generator=generator)
