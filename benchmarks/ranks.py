"""Compares the losses of two processes with those of one, at the same global batch, for every debug recipe.

In float64, so that it is the arithmetic that is compared. In float32 (`--single`) the sums of two halves are rounded
otherwise than those of the whole, and a discriminator's biases (whose gradients cancel, but for the rounding that Adam
then scales up) and codes about to change hands make visible differences of it after some steps, as they do between two
machines.

Usage: python benchmarks/ranks.py [--steps 50] [--ranks 2] [--single]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from debug_recipes import KINDS, debug_recipe, prepare_data

from visual_echoes.run_folder import METRICS_FILE
from visual_echoes.training import run
from visual_echoes.training.recipe import TransformerRecipe


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=50)
    arguments.add_argument("--ranks", type=int, default=2)
    arguments.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--single", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    if not options.single:
        torch.set_default_dtype(torch.float64)
        torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    if options.worker is not None:
        train_all(options.worker, f"rank-{os.environ['WORLD_SIZE']}", options.steps)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_data(folder)
        train_all(folder, None, options.steps)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.ranks}"]
        command = [*launcher, __file__, "--steps", str(options.steps), "--worker", name]
        command += ["--single"] if options.single else []
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        for kind in KINDS:
            one, many = (losses(folder / run_name) for run_name in (kind, f"{kind}-rank-{options.ranks}"))
            worst = max(abs(a - b) / max(abs(a), 1e-12) for a, b in zip(one, many, strict=True))
            print(f"{kind}: {options.ranks} processes differ from one by at most {worst:.1e} of the loss "
                  f"in {options.steps} steps")  # fmt: skip


def train_all(folder: Path, suffix: str | None, steps: int) -> None:
    """Train every kind, without dropout: the networks of the processes draw theirs apart."""
    for kind in KINDS:
        output = folder / (kind if suffix is None else f"{kind}-{suffix}")
        recipe = debug_recipe(folder, kind, output, steps=steps, validate_every=steps, checkpoint_every=steps)
        if isinstance(recipe, TransformerRecipe):
            recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"dropout": 0.0})})
        run.train(recipe)


def losses(output: Path) -> list[float]:
    rows = [json.loads(line) for line in (output / METRICS_FILE).read_text().splitlines()]
    return [row["loss/model"] for row in rows if row["group"] == "train"]


if __name__ == "__main__":
    main()
