"""What the training loop costs over a bare forward, backward and step, and what the drawing of batches costs.

All take the same steps on the same batches, in turns and by the clock of the process, so that a busy machine weighs on
them alike; a second bare run shows what such a comparison is good for. A bare step is what no training can go
without: forward, backward, clipping, the optimiser's step. All in float32.

The digits recipes need their data (`echoes data digits`) and, for the later ones, the tokenizers they name.

Usage: python benchmarks/loop_overhead.py [--steps 60] [--recipe recipes/digits/image-vqgan.toml ...] [-o FILE]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from debug_recipes import ROOT
from measuring import add_output, show

from visual_echoes.evaluation.measurement import ONLY, Cell, Table
from visual_echoes.training.batches import data_stream
from visual_echoes.training.build import build_task
from visual_echoes.training.loop import stepper
from visual_echoes.training.recipe import read_recipe
from visual_echoes.training.settings import TrainSettings, build_optimizers
from visual_echoes.training.task import Task

RECIPES = [
    ROOT / "recipes/digits" / f"{name}.toml" for name in ("image-vqgan", "audio-vqgan", "vocoder", "transformer")
]

FIRST = 4  # steps that also allocate


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--recipe", type=Path, nargs="*", default=RECIPES)
    add_output(arguments)
    options = arguments.parse_args()
    rows = tuple(measure(path, options.steps) for path in options.recipe)
    formats = {"seconds a step": ".2f", "the loop": "+.1%", "a second bare run": "+.1%", "drawing the batches": ".1%"}
    show({ONLY: Table(columns=("recipe", *formats), rows=rows, formats=formats)}, options.output)


def measure(path: Path, steps: int) -> tuple[Cell, ...]:
    """Seconds of a bare step, what the loop and a second bare run take more, and what drawing takes of it; medians."""
    with tempfile.TemporaryDirectory() as name:
        recipe = read_recipe(path)
        recipe = recipe.model_copy(update={"output": Path(name)})
        settings = recipe.train.model_copy(update={"precision": "fp32"})
        bare, control = (BareSteps(build_task(recipe), settings) for _ in range(2))
        runs = {"loop": stepper(build_task(recipe), settings, "cpu"), "bare": bare.take, "control": control.take}
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for step in range(steps):
            for name in runs if step % 2 else reversed(runs):
                began = time.process_time()
                runs[name](step)
                seconds[name].append(time.process_time() - began)
    loop, again = (ratio(seconds[name], seconds["bare"]) for name in ("loop", "control"))
    bare_seconds = statistics.median(seconds["bare"][FIRST:])
    return path.stem, bare_seconds, loop - 1, again - 1, ratio(bare.drawing, seconds["bare"])


def ratio(seconds: list[float], bare: list[float]) -> float:
    return statistics.median(mine / other for mine, other in list(zip(seconds, bare, strict=True))[FIRST:])


class BareSteps:
    """Forward, backward, clipping, the optimiser's step, and no more; `drawing` has the seconds of each batch."""

    def __init__(self, task: Task, settings: TrainSettings) -> None:
        self.task, self.settings = task, settings
        self.optimizers = {
            name: build_optimizers([task.modules[n] for n in networks], settings)
            for name, networks in task.optimizers.items()
        }
        self.drawing: list[float] = []
        task.modules.train()

    def take(self, step: int) -> None:
        task, settings = self.task, self.settings
        began = time.process_time()
        batch = task.batch(settings.batch_size, data_stream(settings.seed, step))
        self.drawing.append(time.process_time() - began)
        for phase in task.phases(batch, step):
            phase.loss.backward()
            networks = [task.modules[name] for name in task.optimizers[phase.optimizer]]
            torch.nn.utils.clip_grad_norm_([p for n in networks for p in n.parameters()], settings.clip_norm)
            for optimizer in self.optimizers[phase.optimizer]:
                optimizer.step()
            task.modules.zero_grad()
        task.after_step(step)


if __name__ == "__main__":
    main()
