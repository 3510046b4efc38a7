"""How to sample: settings, presets, and the plan that follows from them.

The command's options, the HTTP API's fields and the page's widgets derive from the fields of `SamplingSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from visual_echoes.errors import EchoesError, note
from visual_echoes.model.orders import ORDERS

if TYPE_CHECKING:  # at runtime where it is used: whoever wants the fields alone needs no torch
    from visual_echoes.model.interface import Order
    from visual_echoes.model.sampling import Stage
    from visual_echoes.streams import Stream

GUIDED_STRETCH = (0.25, 0.75)  # shares of the steps between which the guidance schedule "interval" guides
RENAMED = {"settled_every": "kv_refresh_every", "schedule": "guidance_schedule"}  # settings, by their former name

if TYPE_CHECKING:
    OrderName = str
else:
    OrderName = Literal[*ORDERS]  # choices of the command, the API and the page

PRESET_HELP = "Settings by how long it may take; those that are named go before it."
Preset = Literal["quality", "balanced", "fast"]


class SamplingSettings(BaseModel):
    """How to sample; the defaults are the paper's.

    Guidance mixes conditional and unconditional logits as Im2Wav does: u + s (c - u). Its schedule is "constant" (the
    paper); "rising" linearly from none at the first step to s at the last (as Besnier et al.'s sampler by confidence);
    or "interval", s in the middle of the steps and none elsewhere (after Kynkäänniemi et al. 2024). The order is
    by "confidence" (the paper), "halton" (Besnier et al. 2025), which spreads the positions evenly, or "frames", which
    makes a video frame by frame, and all else by confidence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=30, ge=1, le=1000, title="Steps", description="Sampling steps; more are slower.")
    temperature: float = Field(
        default=9.0, ge=0, le=1000, allow_inf_nan=False, title="Temperature",
        description="Noise in the order of unmasking, which falls to 0 over the steps; more varies the results.",
    )  # fmt: skip
    guidance: float = Field(
        default=3.0, ge=0, le=100, allow_inf_nan=False, title="Guidance",
        description="How strictly to follow what is given; 1 is no guidance.",
    )  # fmt: skip
    image_token_temperature: float = Field(
        default=1.0, ge=0.01, le=100, allow_inf_nan=False, title="Temperature of image tokens",
        description="How far the draw of image tokens strays from the likeliest; below 1 is surer and less varied.",
    )  # fmt: skip
    audio_token_temperature: float = Field(
        default=1.0, ge=0.01, le=100, allow_inf_nan=False, title="Temperature of sound tokens",
        description="How far the draw of sound tokens strays from the likeliest; below 1 is surer and less varied.",
    )  # fmt: skip
    audio_min_p: float = Field(
        default=0.0, ge=0, le=1, allow_inf_nan=False, title="Min-p of sound tokens",
        description="Sound tokens whose probability is below this share of the likeliest one's are not drawn.",
    )  # fmt: skip
    guidance_schedule: Literal["constant", "rising", "interval"] = Field(
        default="constant", title="Guidance schedule", description="How guidance changes over the steps."
    )
    order: OrderName = Field(default="confidence", title="Order", description="Which positions are unmasked first.")
    residual_steps: int = Field(
        default=1, ge=1, le=1000, title="Residual steps", description="Steps of every further level of residual codes."
    )
    kv_refresh_every: int = Field(
        default=1, ge=1, le=1000, title="Refresh of keys and values",
        description="Steps between two computations of all keys and values; more are faster and less exact.",
    )  # fmt: skip
    label_choice: Literal["drawn", "likeliest"] = Field(
        default="drawn",
        title="Choice of labels",
        description="Labels of what is given are drawn by chance, as all else is, or are the likeliest ones.",
    )
    best_of: int = Field(
        default=1, ge=1, le=64, title="Best of",
        description="Candidates made of each item, of which the model keeps the one that it scores best.",
    )  # fmt: skip

    def scale(self, step: int, steps: int) -> float:
        """How far from the unconditional logits towards the conditional ones a step from 0 goes; 1 is no guidance."""
        if self.guidance_schedule == "rising":
            # A single step is the last one.
            return 1.0 + (self.guidance - 1.0) * (step / (steps - 1) if steps > 1 else 1.0)
        first, last = GUIDED_STRETCH
        if self.guidance_schedule == "interval" and not first <= step / steps < last:
            return 1.0
        return self.guidance

    def token_temperature(self, source: str) -> float:
        """What the logits of a source's tokens are divided by; labels are drawn as the model says, or the likeliest."""
        return {"image": self.image_token_temperature, "audio": self.audio_token_temperature}.get(source, 1.0)

    def min_p(self, stream: Stream) -> float:
        """Below which share of the likeliest code's probability no code of a stream is drawn; 0 draws of all."""
        return self.audio_min_p if stream.source == "audio" and stream.detail == 0 else 0.0

    def order_of(self, shape: tuple[int, ...]) -> Order:
        """The order in which the positions of a grid are unmasked."""
        return ORDERS[self.order](shape, self.temperature)

    def plan(self, streams: Sequence[Stream], *groups: Sequence[str], by_depth: bool = False) -> list[Stage]:
        """From meaning to detail: the stages that fill the streams of some sources.

        Streams of little detail go first, then the first codes of finer ones, then residual codes level by level. What
        follows the tokens themselves, of detail 0, tells of them and is drawn in one step.

        Args:
            groups: sources that are filled together, one group after the other.
            by_depth: all codes of a position at once, as `TransformerConfig.residual` says.
        """
        from visual_echoes.model.sampling import Stage

        stages = []
        for group in groups:
            chosen = [stream for stream in streams if stream.source in group]
            for detail in sorted({stream.detail for stream in chosen}):
                same = [stream for stream in chosen if stream.detail == detail]
                steps = self.steps if detail <= 0 else 1
                if by_depth:
                    stages.append(Stage(tuple(level for stream in same for level in stream.levels), steps))
                    continue
                for level in range(max(stream.depth for stream in same)):
                    levels = tuple((stream.name, level) for stream in same if level < stream.depth)
                    stages.append(Stage(levels, self.residual_steps if level else steps))
        return stages


# What each preset changes in a model's own settings. "quality" takes the paper's steps and no short cut; the others are
# the cheapest that keep up with it in the experiment `savings` (docs/performance.md).
PRESETS: dict[Preset, dict[str, Any]] = {
    "quality": {"steps": 30, "kv_refresh_every": 1},
    "balanced": {"steps": 12, "kv_refresh_every": 3},
    "fast": {"steps": 8, "kv_refresh_every": 4},
}


def limits(name: str) -> tuple[float | None, float | None]:
    """Lowest and highest value of a sampling setting; None where it is no number."""
    found = {type(bound): bound for bound in SamplingSettings.model_fields[name].metadata}
    return getattr(found.get(Ge), "ge", None), getattr(found.get(Le), "le", None)


def optional_fields(**most: int) -> dict[str, Any]:
    """A preset and every sampling setting as fields that may be left out, for `pydantic.create_model`.

    Args:
        most: upper bounds that are narrower than the setting's own, by its name.
    """
    fields: dict[str, Any] = {"preset": (Preset | None, Field(default=None, title="Preset", description=PRESET_HELP))}
    for name, field in SamplingSettings.model_fields.items():
        bounds = [Le(most[name]) if name in most and isinstance(bound, Le) else bound for bound in field.metadata]
        kind: Any = Annotated[(field.annotation, *bounds)] if bounds else field.annotation
        fields[name] = (kind | None, Field(default=None, title=field.title, description=field.description))
    return fields


def with_changes(own: SamplingSettings, changes: Mapping[str, Any]) -> SamplingSettings:
    """A model's own settings with some changed; "preset" changes several, under those that are named.

    Former names of settings are read, with a note.

    Raises:
        EchoesError: an unknown preset or an impossible setting.
    """
    changes = dict(changes)
    for old, new in RENAMED.items():
        if old in changes:
            note(f"The sampling setting {old!r} is now called {new!r}; use that name.")
            changes[new] = changes.pop(old)
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
