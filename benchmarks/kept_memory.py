"""What training a tokenizer on a processor gains by keeping freed memory (`machine.keep_freed_memory`).

Both passes of a narrow VQGAN of the paper's structure, forward and back, in a process of its own each way. Run from the
repository's root:

    python benchmarks/kept_memory.py [--steps 6] [--batch 4] [-o docs/measurements/kept-memory.json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from measuring import add_output, show

from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.machine import keep_freed_memory, peak_memory
from visual_echoes.tokenizers.vqgan import VQGAN
from visual_echoes.training.build import vqgan_config
from visual_echoes.training.recipe import ImageVQGANRecipe, read_recipe

WAYS = ("given back", "kept")
RECIPE = Path("recipes/paper/image-vqgan.toml")
SMALL = {"width": 32, "blocks": 1, "attention_levels": [], "latent_width": 64}
SIDE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    add_output(parser)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options.steps, options.batch)))
        return
    rows = []
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, "--steps", str(options.steps), "--batch", str(options.batch)]
        rows.append((way, *json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)))
    columns = ("freed memory is", "seconds a step", "of it in the system", "GB at most")
    formats = {columns[1]: ".2f", columns[2]: ".0%", columns[3]: ".2f"}
    show({ONLY: Table(columns=columns, rows=tuple(rows), formats=formats)}, options.output)


def measured(way: str, steps: int, batch: int) -> tuple[float, float, float]:
    """Seconds a step, the system's share of the processor's time, and the most memory in GB."""
    torch.set_num_threads(1)
    if way == "kept":
        keep_freed_memory()
    recipe = read_recipe(RECIPE)
    assert isinstance(recipe, ImageVQGANRecipe)
    small = recipe.model.model_copy(update=SMALL)
    network = VQGAN(vqgan_config(recipe.model_copy(update={"model": small})))
    images_BCHW = torch.rand(batch, 3, SIDE, SIDE) * 2.0 - 1.0
    network.decode(network.encode(images_BCHW).indices).mean().backward()  # the first step also allocates
    seconds, before = [], os.times()
    for _ in range(steps):
        start = time.perf_counter()
        network.decode(network.encode(images_BCHW).indices).mean().backward()
        network.encode(images_BCHW).latent.mean().backward()
        seconds.append(time.perf_counter() - start)
    after = os.times()
    system, user = after.system - before.system, after.user - before.user
    return median(seconds), system / (system + user), (peak_memory() or 0) / 1e9


if __name__ == "__main__":
    main()
