"""What a recipe will cost: builds model and data, takes two steps, writes nothing.

Where a discriminator joins later, two more steps are taken with it, and the estimate adds up both stretches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from visual_echoes.machine import peak_memory
from visual_echoes.training.build import build_task
from visual_echoes.training.devices import Device, device_of
from visual_echoes.training.loop import time_steps
from visual_echoes.training.recipe import Recipe, TokensRecipe, VocoderRecipe

STEPS = 2  # of each stretch; the last is timed, since the first also allocates
EACH = 2  # items of each group that tokens are made of: a step costs the same whichever it draws


@dataclass(frozen=True)
class Stretch:
    """Steps that cost the same."""

    first: int
    steps: int
    seconds_per_step: float


@dataclass(frozen=True)
class DryRun:
    """What was found.

    Attributes:
        parameters: of each trained network, by name.
        batch_size: items a step, on all devices together.
        tokens_per_item: length of a transformer's sequence; None for the other parts.
        stretches: the run's parts, in order.
        memory: peak of this process in bytes; None where the system does not say.
        device_memory: peak on its GPU in bytes; None without one.
    """

    parameters: dict[str, int]
    batch_size: int
    tokens_per_item: int | None
    stretches: tuple[Stretch, ...]
    memory: int | None
    device_memory: int | None

    @property
    def total_seconds(self) -> float:
        """The whole run, without its validations and checkpoints."""
        return sum(stretch.steps * stretch.seconds_per_step for stretch in self.stretches)


def dry_run(recipe: Recipe, device: Device = "auto") -> DryRun:
    """Try a recipe; `EchoesError` for whatever would keep it from starting."""
    with TemporaryDirectory() as folder:
        task = build_task(recipe.model_copy(update={"output": Path(folder)}), device_of(device), EACH)
        parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in task.modules.items()}
        starts = _stretch_starts(recipe)
        taken = [step for first in starts for step in range(first, first + STEPS)]
        seconds = time_steps(task, recipe.train, taken, device)[STEPS - 1 :: STEPS]
    ends = [*starts[1:], recipe.train.steps]
    return DryRun(
        parameters={name: count for name, count in parameters.items() if count},
        batch_size=recipe.train.batch_size,
        tokens_per_item=recipe.get_layout().tokens if isinstance(recipe, TokensRecipe) else None,
        stretches=tuple(
            Stretch(first, end - first, each) for first, end, each in zip(starts, ends, seconds, strict=True)
        ),
        memory=peak_memory(),
        device_memory=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    )


def _stretch_starts(recipe: Recipe) -> list[int]:
    """The first step, and that at which a discriminator joins."""
    settings = recipe.model if isinstance(recipe, VocoderRecipe) else getattr(recipe, "loss", None)
    joins = getattr(settings, "adversarial_from", None)
    return [0] if not joins or joins >= recipe.train.steps else [0, joins]
