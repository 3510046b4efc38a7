"""What the training loop costs over a bare forward, backward and step, and what the drawing of batches costs.

All take the same steps on the same batches, in turns of some steps, by the clock of the process, so that a busy machine
weighs on them alike; a second bare run shows what such a comparison is good for. A bare step is what no training can go
without: forward, backward, clipping, the optimiser's step. All in float32.

The digits recipes need their data (`echoes data digits`) and, for the later ones, the tokenizers they name.

Usage: python benchmarks/loop_overhead.py [--turns 8] [--steps 12] [--recipe recipes/digits/image-vqgan.toml ...]
"""

from __future__ import annotations

import argparse
import statistics
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
    arguments.add_argument("--turns", type=int, default=8)
    arguments.add_argument("--steps", type=int, default=12)
    arguments.add_argument("--recipe", type=Path, nargs="*", default=RECIPES)
    options = arguments.parse_args()
    for path in options.recipe:
        measure(path, options.turns, options.steps)


def measure(path: Path, turns: int, steps: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        recipe = read_recipe(path)
        recipe = recipe.model_copy(update={"output": Path(name)})
        tasks = {which: build_task(recipe) for which in ("loop", "bare", "control")}
        settings = recipe.train.model_copy(update={"precision": "fp32"})
        ratios: dict[str, list[float]] = {"loop": [], "control": [], "data": []}
        for turn in range(turns + 1):
            some = range(turn * steps, (turn + 1) * steps)
            found: dict[str, float] = {}
            for which in tasks if turn % 2 else reversed(tasks):
                if which == "loop":
                    found[which] = sum(time_steps(tasks[which], settings, some, "cpu", time.process_time))
                else:
                    found[which], found["data"] = time_bare(tasks[which], settings, some)
            if turn:  # the first one also allocates
                for which in ratios:
                    ratios[which].append(found[which] / found["bare"])
    loop, control, data = (statistics.median(ratios[which]) for which in ("loop", "control", "data"))
    print(
        f"{path.stem}: the loop costs {loop - 1:+.1%} over bare steps, a second bare run {control - 1:+.1%}; drawing "
        f"the batches takes {data:.1%} of a step (medians of {turns} turns of {steps} steps)",
        flush=True,
    )


def time_bare(task: Task, settings: TrainSettings, steps: range) -> tuple[float, float]:
    """Processor seconds of bare steps in all, and of drawing their batches."""
    optimizers = {
        name: build_optimizers([task.modules[n] for n in networks], settings)
        for name, networks in task.optimizers.items()
    }
    task.modules.train()
    total = drawing = 0.0
    for step in steps:
        began = time.process_time()
        batch = task.batch(settings.batch_size, data_stream(settings.seed, step))
        drawing += time.process_time() - began
        for phase in task.phases(batch, step):
            phase.loss.backward()
            networks = [task.modules[name] for name in task.optimizers[phase.optimizer]]
            torch.nn.utils.clip_grad_norm_([p for n in networks for p in n.parameters()], settings.clip_norm)
            for optimizer in optimizers[phase.optimizer]:
                optimizer.step()
            task.modules.zero_grad()
        task.after_step(step)
        total += time.process_time() - began
    return total, drawing


if __name__ == "__main__":
    main()
