"""Compares the losses of several processes with those of one, at the same global batch, for every debug recipe.

Twice: with one process that takes the batch in as many pieces as there are processes (`accumulate`), so that both
compute the same pieces, and with one that takes it whole, whose sums are rounded otherwise. In float32 the biases of a
discriminator (whose gradients cancel, but for the rounding that Adam then scales up) and codes about to change hands
make visible differences of that rounding after some steps, as they do between two machines; `--double` shows the same
arithmetic without it. Dropout is drawn piece by piece, so it takes part in the first comparison only.

Usage: python benchmarks/ranks.py [--steps 50] [--ranks 2] [--double] [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from debug_recipes import KINDS, debug_recipe, prepare_data
from measuring import add_output, show

from visual_echoes.checkpoints.run_folder import METRICS_FILE
from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.training import run
from visual_echoes.training.recipe import TransformerRecipe

Losses = dict[tuple[int, str], float]  # by step and name


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=50)
    arguments.add_argument("--ranks", type=int, default=2)
    arguments.add_argument("--double", action="store_true")
    add_output(arguments)
    arguments.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    if options.double:
        torch.set_default_dtype(torch.float64)
        torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    if options.worker is not None:
        for dropout in (True, False):
            train_all(options.worker, "ranks", options.steps, dropout=dropout)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_data(folder)
        train_all(folder, "pieces", options.steps, accumulate=options.ranks)
        train_all(folder, "whole", options.steps, dropout=False)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.ranks}"]
        subprocess.run([*launcher, __file__, *sys.argv[1:], "--worker", name], check=True)
        rows = tuple(
            (
                kind,
                difference(folder, kind, "pieces-dropout", "ranks-dropout"),
                difference(folder, kind, "whole", "ranks"),
            )
            for kind in KINDS
        )
    formats = {"as many pieces": ".2g", "whole": ".2g"}
    show({ONLY: Table(columns=("recipe", *formats), rows=rows, formats=formats)}, options.output)


def train_all(folder: Path, name: str, steps: int, *, accumulate: int = 1, dropout: bool = True) -> None:
    """Train every kind; those that need tokenizers take the first run's."""
    for kind in KINDS:
        output = run_folder(folder, kind, f"{name}-dropout" if dropout else name)
        settings = {"steps": steps, "validate_every": steps, "checkpoint_every": steps, "accumulate": accumulate}
        recipe = debug_recipe(folder, kind, output, **settings)
        if isinstance(recipe, TransformerRecipe) and not dropout:
            recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"dropout": 0.0})})
        run.train(recipe)


def run_folder(folder: Path, kind: str, name: str) -> Path:
    return folder / (kind if name == "pieces-dropout" else f"{kind}-{name}")


def difference(folder: Path, kind: str, first: str, second: str) -> float:
    """The largest relative difference of a loss."""
    one, two = (losses(run_folder(folder, kind, name)) for name in (first, second))
    assert one.keys() == two.keys()
    return max(abs(one[key] - two[key]) / max(abs(one[key]), 1e-12) for key in one)


def losses(output: Path) -> Losses:
    rows = [json.loads(line) for line in (output / METRICS_FILE).read_text().splitlines()]
    return {
        (row["step"], key): value
        for row in rows
        if row["group"] == "train"
        for key, value in row.items()
        if key.startswith("loss/")
    }


if __name__ == "__main__":
    main()
