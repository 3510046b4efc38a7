"""Iterative unmasking: a sampler that turns logits into tokens, step by step, and knows no network.

The paper's way (after MaskGIT and MAGE): draw a token for every open place, keep the most confident ones, leave the
rest open, over N steps of a cosine schedule. Noise comes from one CPU generator per sample, so a sample does not depend
on the batch it is drawn in, nor on the device.

Shapes: B batch, L places, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from visual_echoes.errors import EchoesError
from visual_echoes.precision import in_float64

GUIDED_STRETCH = (0.25, 0.75)  # shares of the steps between which the schedule "interval" guides


Preset = Literal["quality", "balanced", "fast"]


class SamplingSettings(BaseModel):
    """How to sample; the defaults are the paper's. Where the paper is silent the choice is named.

    Attributes:
        steps: N, iterations.
        temperature: T, scale of the Gumbel noise on the confidence, falling linearly to 0.
        guidance: s, strength of classifier-free guidance; 1 is none.
        convention: what s means: "interpolate" u + s (c - u) (Im2Wav), "extrapolate" (1 + s) c - s u.
        schedule: "constant" s at every step (the paper); "rising" linearly from none at the first step to s at the last
            (as Besnier et al.'s sampler by confidence does); "interval", s in the middle of the steps, none elsewhere
            (after Kynkäänniemi et al. 2024).
        guidance_every: the difference that guidance adds is found anew every so many steps and kept in between (as in
            LazyMAR, Yan et al. 2025); 1 finds it at every step (the paper).
        settled_every: what settled places are to others is found anew every so many steps and kept in between
            (`reuse.py`); 1 finds it at every step (the paper).
        order: "confidence" (the paper) or "halton" (Besnier et al. 2025), which spreads the places evenly.
        confidence: whether the confidence reads the "guided" or the "conditional" probabilities.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=30, ge=1, le=1000)
    temperature: float = Field(default=9.0, ge=0, le=1000)
    guidance: float = Field(default=3.0, ge=0, le=100)
    convention: Literal["interpolate", "extrapolate"] = "interpolate"
    schedule: Literal["constant", "rising", "interval"] = "constant"
    guidance_every: int = Field(default=1, ge=1, le=1000)
    settled_every: int = Field(default=1, ge=1, le=1000)
    order: Literal["confidence", "halton"] = "confidence"
    confidence: Literal["guided", "conditional"] = "guided"

    @property
    def guided(self) -> bool:
        """Whether a second, unconditional pass is needed."""
        return self._strongest != 1.0

    def scale(self, step: int) -> float:
        """How far from the unconditional logits towards the conditional ones a step goes; 1 is no guidance."""
        if self.schedule == "rising":
            # A single step is the last one.
            return 1.0 + (self._strongest - 1.0) * (step / (self.steps - 1) if self.steps > 1 else 1.0)
        first, last = GUIDED_STRETCH
        if self.schedule == "interval" and not first <= step / self.steps < last:
            return 1.0
        return self._strongest

    def guide(self, conditional: Tensor, difference: Tensor, step: int) -> Tensor:
        """Classifier-free guidance (Ho and Salimans 2022) on logits, at a step from 0.

        Args:
            conditional: the scores with the condition.
            difference: by how much they exceed those without it.
        """
        return conditional + (self.scale(step) - 1.0) * difference

    @property
    def _strongest(self) -> float:
        return self.guidance if self.convention == "interpolate" else 1.0 + self.guidance


# What each preset changes in a model's own settings. "quality" takes the paper's steps and no short cut; the others are
# the cheapest that keep up with it in the experiment `savings` (docs/performance.md).
PRESETS: dict[Preset, dict[str, Any]] = {
    "quality": {"steps": 30, "guidance_every": 1, "settled_every": 1},
    "balanced": {"steps": 12, "guidance_every": 1, "settled_every": 3},
    "fast": {"steps": 8, "guidance_every": 1, "settled_every": 4},
}


def with_changes(own: SamplingSettings, changes: Mapping[str, Any]) -> SamplingSettings:
    """A model's own settings with some changed; "preset" changes several, under those that are named.

    Raises:
        EchoesError: an unknown preset or an impossible setting.
    """
    changes = dict(changes)
    preset = changes.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise EchoesError(f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    several = {} if preset is None else PRESETS[preset]
    try:
        return SamplingSettings.model_validate({**own.model_dump(), **several, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise EchoesError(f"The sampling setting {name!r} cannot be {first['input']!r}: {first['msg']}.") from error


def remaining_places(step: int, steps: int, unknown_B: Tensor, open_B: Tensor) -> Tensor:
    """Places still open after a step, per sample, int64 (B,).

    floor(unknown * cos(pi/2 * (step + 1) / steps)), and at least one place is settled each step (MAGE). `unknown_B`
    counts the places open at the start, `open_B` those open now.
    """
    share = math.cos(0.5 * math.pi * (step + 1) / steps)
    target_B = (unknown_B.double() * share).floor().long()
    if step + 1 >= steps:
        target_B = torch.zeros_like(target_B)
    return target_B.minimum(open_B - 1).clamp_min(0)


@lru_cache(maxsize=16)
def halton_order(rows: int, columns: int) -> tuple[int, ...]:
    """All places of a grid, row-major indices, in the order the 2-D Halton sequence first visits them.

    Base 2 along rows, base 3 along columns, each scaled by its own side, so rectangles work too.
    """
    seen: dict[int, None] = {}
    point = 1
    while len(seen) < rows * columns:
        row, column = int(_radical_inverse(point, 2) * rows), int(_radical_inverse(point, 3) * columns)
        seen.setdefault(row * columns + column)
        point += 1
    return tuple(seen)


def _radical_inverse(number: int, base: int) -> float:
    value, share = 0.0, 1.0 / base
    while number:
        number, digit = divmod(number, base)
        value += digit * share
        share /= base
    return value


class Sampler:
    """Unmasks one modality of a batch.

    Args:
        tokens_BL: int64, tokens at known places; open places may hold anything valid.
        open_BL: bool, places to fill. Known places are never touched.
        settings: how to sample.
        grid: rows and columns of the places, for the Halton order.
        generators: one CPU generator per sample.

    Attributes:
        tokens_BL, open_BL: the current state.
        open_counts: open places of each sample, known without asking the device.
    """

    def __init__(
        self,
        tokens_BL: Tensor,
        open_BL: Tensor,
        settings: SamplingSettings,
        grid: tuple[int, int],
        generators: Sequence[torch.Generator],
    ) -> None:
        self.tokens_BL, self.open_BL = tokens_BL.clone(), open_BL.clone()
        self.settings, self.generators = settings, generators
        self.unknown_B = self._open_B = open_BL.sum(1).cpu()
        rank_L = torch.empty(tokens_BL.shape[1])
        rank_L[torch.tensor(halton_order(*grid))] = torch.arange(tokens_BL.shape[1], dtype=torch.float32)
        self.halton_L = rank_L.to(tokens_BL.device)

    @property
    def done(self) -> bool:
        """Whether every place is settled."""
        return not any(self.open_counts)

    @property
    def blank(self) -> bool:
        """Whether no place is settled."""
        return all(count == self.tokens_BL.shape[1] for count in self.open_counts)

    @property
    def open_counts(self) -> list[int]:
        return self._open_B.tolist()

    def step(self, step: int, logits_BLK: Tensor, confidence_BLK: Tensor | None = None) -> None:
        """Draw tokens for the open places and settle the best of them.

        Args:
            step: 0 to settings.steps - 1.
            logits_BLK: scores to draw from (guided).
            confidence_BLK: scores to read the confidence from; None: `logits_BLK`.
        """
        uniform_BL, noise_BL = self._noise(logits_BLK.device)
        drawn_BL = draw_tokens(logits_BLK, uniform_BL)
        drawn_BL = torch.where(self.open_BL, drawn_BL, self.tokens_BL)
        self._open_B = remaining_places(step, self.settings.steps, self.unknown_B, self._open_B)
        if self.settings.order == "halton":
            score_BL = -self.halton_L.expand_as(noise_BL)
        else:
            scores_BLK = logits_BLK if confidence_BLK is None else confidence_BLK
            chosen_BL1 = scores_BLK.log_softmax(-1).gather(-1, drawn_BL[..., None])
            heat = self.settings.temperature * (1.0 - (step + 1) / self.settings.steps)
            score_BL = chosen_BL1[..., 0] + heat * noise_BL
        # Settled places rank first, so "the lowest remaining" are open ones.
        score_BL = score_BL.masked_fill(~self.open_BL, math.inf)
        rank_BL = score_BL.argsort(dim=1, stable=True).argsort(1)
        self.open_BL = self.open_BL & (rank_BL < self._open_B.to(rank_BL.device, non_blocking=True)[:, None])
        self.tokens_BL = drawn_BL

    def _noise(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Per sample and place: a uniform number for the draw and a Gumbel one for the confidence."""
        places = self.tokens_BL.shape[1]
        uniform_B2L = torch.stack([torch.rand(2, places, generator=generator) for generator in self.generators])
        gumbel_BL = -torch.log(-torch.log(uniform_B2L[:, 1].clamp(1e-20, 1.0 - 1e-7)))
        return uniform_B2L[:, 0].to(device), gumbel_BL.to(device)


def draw_tokens(logits_BLK: Tensor, uniform_BL: Tensor) -> Tensor:
    """Categorical draw by the inverse of the cumulative distribution, int64 (B, L).

    One uniform number a place, in [0, 1), instead of one a code; float64, so that the draw is exact to the float32
    probabilities.
    """
    cumulative_BLK = in_float64(logits_BLK).softmax(-1).cumsum(-1)
    target_BL1 = in_float64(uniform_BL)[..., None] * cumulative_BLK[..., -1:]
    drawn_BL = torch.searchsorted(cumulative_BLK, target_BL1, right=True)[..., 0].clamp_max(logits_BLK.shape[-1] - 1)
    return drawn_BL.to(logits_BLK.device)
