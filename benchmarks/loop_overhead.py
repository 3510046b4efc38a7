"""What the training loop costs over a bare forward, backward and step, and what the drawing of batches costs.

Both take the same steps on the same batches, in turns of some steps so that a busy machine weighs on both alike. The
bare one does what no training can go without: forward, backward, clipping, the optimiser's step. All in float32.

The digits recipes need their data (`echoes data digits`) and, for the later ones, the tokenizers they name.

Usage: python benchmarks/loop_overhead.py [--turns 10] [--steps 5] [--recipe recipes/digits/image-vqgan.toml ...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from debug_recipes import ROOT

from visual_echoes.training.build import build_task
from visual_echoes.training.loop import data_stream, time_steps
from visual_echoes.training.recipe import read_recipe
from visual_echoes.training.settings import TrainSettings, build_optimizers
from visual_echoes.training.task import Task

RECIPES = [
    ROOT / "recipes/digits" / f"{name}.toml" for name in ("image-vqgan", "audio-vqgan", "vocoder", "transformer")
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--turns", type=int, default=10)
    arguments.add_argument("--steps", type=int, default=5)
    arguments.add_argument("--recipe", type=Path, nargs="*", default=RECIPES)
    options = arguments.parse_args()
    for path in options.recipe:
        measure(path, options.turns, options.steps)


def measure(path: Path, turns: int, steps: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        recipe = read_recipe(path)
        recipe = recipe.model_copy(update={"output": Path(name)})
        looped, bare = build_task(recipe), build_task(recipe)
        settings = recipe.train.model_copy(update={"precision": "fp32"})
        loop_seconds, bare_seconds, data_seconds = [], [], []
        for turn in range(turns + 1):
            some = range(turn * steps, (turn + 1) * steps)
            found = time_steps(looped, settings, some)
            plain, data = time_bare(bare, settings, some)
            if turn:  # the first one also allocates
                loop_seconds += found
                bare_seconds += plain
                data_seconds += data
    # The least of many is what the work costs; the rest is the machine's other business.
    loop, plain, data = (sorted(values)[len(values) // 4] for values in (loop_seconds, bare_seconds, data_seconds))
    print(
        f"{path.stem}: {loop * 1e3:.1f} ms a step in the loop, {(plain + data) * 1e3:.1f} ms bare, so the loop costs "
        f"{loop / (plain + data) - 1:+.1%}; drawing the batch {data * 1e3:.2f} ms, {data / loop:.1%} of the step"
    )


def time_bare(task: Task, settings: TrainSettings, steps: range) -> tuple[list[float], list[float]]:
    """Seconds of each step without its batch, and of drawing the batch."""
    optimizers = {
        name: build_optimizers([task.modules[n] for n in networks], settings)
        for name, networks in task.optimizers.items()
    }
    task.modules.train()
    step_seconds, data_seconds = [], []
    for step in steps:
        began = time.perf_counter()
        batch = task.batch(settings.batch_size, data_stream(settings.seed, step))
        drawn = time.perf_counter()
        for phase in task.phases(batch, step):
            phase.loss.backward()
            networks = [task.modules[name] for name in task.optimizers[phase.optimizer]]
            torch.nn.utils.clip_grad_norm_([p for n in networks for p in n.parameters()], settings.clip_norm)
            for optimizer in optimizers[phase.optimizer]:
                optimizer.step()
            task.modules.zero_grad()
        task.after_step(step)
        data_seconds.append(drawn - began)
        step_seconds.append(time.perf_counter() - drawn)
    return step_seconds, data_seconds


if __name__ == "__main__":
    main()
