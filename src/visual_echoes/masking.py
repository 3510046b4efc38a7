"""Random masks for training: the ratios of masked places, and the dropped places within the masked ones.

Follows MAGE (Li et al. 2023, section 3): a share of each modality's places is masked, a fixed part of the masked places
is dropped before the encoder, so that batches keep one length. Unlike MAGE, the ratio is drawn per sample and modality.

Shapes: B batch, L places of one modality.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor

# Taken off before rounding up, so that 0.5 of 16 places are 8 and 0.14 of 50 are 7 whatever the float product.
ROUNDING = 1e-9

EVERYTHING = "everything"


class LaterFields(BaseModel):
    """Settings whose `LATER` fields are written down only where they differ from their defaults.

    A recipe that does not use them keeps the fingerprint it had before there were any, and so its runs go on; a model
    folder that does not use them is read by versions that do not know them. `EVERYTHING` as the context of
    `model_dump` writes them all.
    """

    LATER: ClassVar[tuple[str, ...]]

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        if info.context == EVERYTHING:
            return handler(self)
        fields = type(self).model_fields
        unused = [name for name in self.LATER if getattr(self, name) == fields[name].default]
        return {name: value for name, value in handler(self).items() if name not in unused}


class MaskRatio(LaterFields):
    """Distribution of the share of masked places, cut off at its bounds.

    The paper's is a Gaussian, of which it studies means of 0.55 and 0.7; deviation and bounds are MAGE's. The others
    have neither mean nor deviation: "uniform", and "arccos" with the density 2 / (pi sqrt(1 - r^2)) of the shares that
    a cosine schedule leaves masked (MaskGIT, Chang et al. 2022). `full_share` of the samples are masked whole instead,
    which shows the model the empty condition that guidance uses (0 in the paper).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER = ("distribution",)

    mean: float = 0.7
    deviation: float = Field(default=0.25, gt=0)
    low: float = Field(default=0.5, ge=0, le=1)
    high: float = Field(default=1.0, ge=0, le=1)
    full_share: float = Field(default=0.0, ge=0, le=1)
    distribution: Literal["gaussian", "uniform", "arccos"] = "gaussian"

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
        # Drawn even when unused, so that the share does not shift the other draws.
        whole_B = torch.rand(count, generator=generator, dtype=torch.float64) < self.full_share
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
    """Which places are masked and which of those are dropped before the encoder; both bool (B, L)."""

    masked_BL: Tensor
    dropped_BL: Tensor


def dropped_count(length: int, low: float) -> int:
    """Places dropped in every sample: as many as the lowest ratio masks."""
    return math.ceil(length * low - ROUNDING)


def random_mask(ratio_B: Tensor, length: int, dropped: int, generator: torch.Generator) -> Mask:
    """Mask ceil(ratio * length) places per sample; the first `dropped` of them, at random, are dropped.

    A sample with fewer masked places than `dropped` drops only those.
    """
    rank_BL = torch.rand(len(ratio_B), length, generator=generator).argsort(-1).argsort(-1)
    masked_B = torch.ceil(ratio_B * length - ROUNDING)
    masked_BL = rank_BL < masked_B[:, None]
    return Mask(masked_BL, masked_BL & (rank_BL < dropped))
