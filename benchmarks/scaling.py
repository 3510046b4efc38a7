"""How the cost grows: seconds of sampling over the number of tokens, seconds of a training step over processes.

Sampling: a transformer of half the paper's width and layers, a sound for an image in eight steps, guidance 3.
Training: `recipes/digits-mini/base.toml` at one global batch on one process and on several, a thread each; it needs the
data (`echoes data digits`). Run from the repository's root:

    python benchmarks/scaling.py [-o docs/measurements/scaling.json] [--ranks 1 2] [--steps 100]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from measuring import add_output, show

from visual_echoes.checkpoints.run_folder import METRICS_FILE
from visual_echoes.evaluation.measurement import Table
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.streams import Stream
from visual_echoes.studies.speed import Sampling, take_turns
from visual_echoes.training import run
from visual_echoes.training.recipe import TransformerRecipe, read_recipe

RECIPE = Path(__file__).parents[1] / "recipes/digits-mini/base.toml"
SIDES = (6, 8, 12, 16, 24)  # of the image's grid; the sound has as many places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        torch.set_num_threads(1)
        train(options.worker, options.steps)
        return
    steps = tuple((str(ranks), over_ranks(ranks, options.steps)) for ranks in options.ranks)
    tables = {
        "tokens": Table(
            columns=("tokens", "seconds"), rows=tuple(over_tokens(options.repeats).items()), formats={"seconds": ".2f"}
        ),
        "processes": Table(columns=("processes", "seconds a step"), rows=steps, formats={"seconds a step": ".3f"}),
    }
    show(tables, options.output)


@torch.inference_mode()
def over_tokens(repeats: int) -> dict[str, float]:
    """Median seconds of a sound, by tokens of image and sound together."""
    works = {}
    for side in SIDES:
        streams = tuple(
            Stream(name=name, source=name, shape=(side, side), codes=codes)
            for name, codes in (("image", 1024), ("audio", 128))
        )
        config = TransformerConfig(streams=streams, width=384, heads=6, encoder_layers=6, decoder_layers=4)
        works[f"{2 * side * side:,}"] = Sampling(FastTransformer(config).eval(), SamplingSettings(steps=8)).fast
    return {tokens: seconds.median for tokens, seconds in take_turns(works, repeats).items()}


def over_ranks(ranks: int, steps: int) -> float:
    """Seconds of a training step, the mean over all but the first logged ones."""
    with tempfile.TemporaryDirectory() as name:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        command = [*launcher, __file__, "--steps", str(steps), "--worker", name]
        subprocess.run(command, check=True, stdout=sys.stderr)
        rows = [json.loads(line) for line in (Path(name) / METRICS_FILE).read_text().splitlines()]
    paces = [row["seconds_per_step"] for row in rows if row["group"] == "train"][1:]
    return sum(paces) / len(paces)


def train(folder: Path, steps: int) -> None:
    recipe = read_recipe(RECIPE)
    assert isinstance(recipe, TransformerRecipe)
    settings = {"steps": steps, "validate_every": steps, "log_every": max(1, steps // 5)}
    changes = {"output": folder, "image_copies": 1, "audio_copies": 1}
    run.train(recipe.model_copy(update={**changes, "train": recipe.train.model_copy(update=settings)}))


if __name__ == "__main__":
    main()
