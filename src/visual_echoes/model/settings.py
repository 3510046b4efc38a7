"""How to sample: settings, presets, and the plan that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from visual_echoes.errors import EchoesError
from visual_echoes.model.interface import Order
from visual_echoes.model.sampling import ORDERS, Stage
from visual_echoes.streams import Stream

GUIDED_STRETCH = (0.25, 0.75)  # shares of the steps between which the guidance schedule "interval" guides

Preset = Literal["quality", "balanced", "fast"]


def _known(order: str) -> str:
    if order not in ORDERS:
        raise ValueError(f"choose one of {', '.join(ORDERS)}")
    return order


OrderName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(ORDERS)})]


class SamplingSettings(BaseModel):
    """How to sample; the defaults are the paper's.

    Attributes:
        steps: N, iterations of every stage of first codes.
        temperature: T, scale of the Gumbel noise on the confidence, falling linearly to 0.
        guidance: s, strength of classifier-free guidance: u + s (c - u) of conditional and unconditional logits (as
            Im2Wav); 1 is none.
        guidance_schedule: "constant" s at every step (the paper); "rising" linearly from none at the first step to s at
            the last (as Besnier et al.'s sampler by confidence does); "interval", s in the middle of the steps, none
            elsewhere (after Kynkäänniemi et al. 2024).
        order: one of `sampling.ORDERS`: "confidence" (the paper) or "halton" (Besnier et al. 2025), which spreads the
            positions evenly.
        residual_steps: iterations of every further level of residual codes.
        kv_refresh_every: keys and values of unmasked tokens are computed anew every so many steps and kept in between
            (`fast.py`); 1 computes them at every step (the paper).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=30, ge=1, le=1000)
    temperature: float = Field(default=9.0, ge=0, le=1000)
    guidance: float = Field(default=3.0, ge=0, le=100)
    guidance_schedule: Literal["constant", "rising", "interval"] = "constant"
    order: OrderName = "confidence"
    residual_steps: int = Field(default=1, ge=1, le=1000)
    kv_refresh_every: int = Field(default=1, ge=1, le=1000)

    def scale(self, step: int, steps: int) -> float:
        """How far from the unconditional logits towards the conditional ones a step from 0 goes; 1 is no guidance."""
        if self.guidance_schedule == "rising":
            # A single step is the last one.
            return 1.0 + (self.guidance - 1.0) * (step / (steps - 1) if steps > 1 else 1.0)
        first, last = GUIDED_STRETCH
        if self.guidance_schedule == "interval" and not first <= step / steps < last:
            return 1.0
        return self.guidance

    def order_of(self, shape: tuple[int, ...]) -> Order:
        """The order in which the positions of a grid are unmasked."""
        return ORDERS[self.order](shape, self.temperature)

    def plan(self, streams: Sequence[Stream], *groups: Sequence[str]) -> list[Stage]:
        """From meaning to detail: the stages that fill the streams of some sources.

        Streams of little detail go first, then the first codes of finer ones, then residual codes level by level.

        Args:
            groups: sources that are filled together, one group after the other.
        """
        stages = []
        for group in groups:
            chosen = [stream for stream in streams if stream.source in group]
            for detail in sorted({stream.detail for stream in chosen}):
                same = [stream for stream in chosen if stream.detail == detail]
                for level in range(max(stream.depth for stream in same)):
                    levels = tuple((stream.name, level) for stream in same if level < stream.depth)
                    stages.append(Stage(levels, self.residual_steps if level else self.steps))
        return stages


# What each preset changes in a model's own settings. "quality" takes the paper's steps and no short cut; the others are
# the cheapest that keep up with it in the experiment `savings` (docs/performance.md).
PRESETS: dict[Preset, dict[str, Any]] = {
    "quality": {"steps": 30, "kv_refresh_every": 1},
    "balanced": {"steps": 12, "kv_refresh_every": 3},
    "fast": {"steps": 8, "kv_refresh_every": 4},
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
