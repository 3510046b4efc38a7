"""Kills trainings at random moments and cuts their checkpoints; every one must end as if nothing had happened.

Of each debug recipe one run is left alone. Others of the same recipe are killed (SIGKILL) and begun again until all
kills are spent; whenever one comes to its end, its last checkpoint and its log are compared with the first run's, bit
for bit. Then the newest checkpoint is cut short at random offsets, and none may be chosen.

Usage: python benchmarks/kill_training.py [--kills 50] [--cuts 100] [--steps 60] [--seed 0] [--kinds transformer ...]
    [-o FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import tempfile
import time
from pathlib import Path

import torch
from debug_recipes import KINDS, debug_recipe, prepare_data
from measuring import add_output, show
from safetensors.torch import load_file

from visual_echoes.checkpoints.run_folder import CHECKPOINTS, METRICS_FILE, checkpoint_path, checkpoint_steps
from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.training import run
from visual_echoes.training.checkpoint import find_checkpoint
from visual_echoes.training.recipe import Recipe

CHECKPOINT_EVERY = 3


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--cuts", type=int, default=100)
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS, help="which are killed; all are trained")
    add_output(arguments)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(options.seed)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_data(folder)
        for kind in KINDS:
            settings = {"steps": options.steps, "checkpoint_every": CHECKPOINT_EVERY, "validate_every": 20}
            whole = debug_recipe(folder, kind, folder / kind, **settings)
            began = time.perf_counter()
            train(whole)
            seconds = time.perf_counter() - began
            if kind not in options.kinds:
                continue
            ends = kill(whole, folder / "killed", options.kills, seconds, chance)
            cut(whole, options.cuts, chance)
            rows.append((kind, options.kills, ends, options.cuts, 0))  # anything else has ended this program
    columns = ("recipe", "kills", "runs that came to their end, all equal to the bit to the one left alone")
    table = Table(columns=(*columns, "cut checkpoints", "chosen of them"), rows=tuple(rows))
    show({ONLY: table}, options.output)


def kill(whole: Recipe, output: Path, kills: int, seconds: float, chance: random.Random) -> int:
    """Spend the kills; returns how many runs came to their end, the last without a further kill."""
    recipe = whole.model_copy(update={"output": output})
    ends = 0
    while kills:
        kills -= train(recipe, patience=chance.uniform(0.0, seconds))
        if not kills:
            train(recipe)
        if (output / "model").is_dir():
            compare(whole.output, output, whole.train.steps)
            shutil.rmtree(output)
            ends += 1
    return ends


def train(recipe: Recipe, patience: float | None = None) -> bool:
    """Train in a process of its own; whether it was killed after so many seconds."""
    process = multiprocessing.get_context("fork").Process(target=run.train, args=(recipe,))
    process.start()
    process.join(patience)
    killed = process.is_alive()
    process.kill()
    process.join()
    if not killed and process.exitcode:
        raise SystemExit(f"the training in {recipe.output} failed")
    return killed


def compare(first: Path, second: Path, steps: int) -> None:
    states = [load_file(checkpoint_path(output / CHECKPOINTS, steps)) for output in (first, second)]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
    assert logged(first) == logged(second)


def logged(output: Path) -> list[dict[str, object]]:
    """The log without the time each step took."""
    rows = [json.loads(line) for line in (output / METRICS_FILE).read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds_per_step"} for row in rows]


def cut(recipe: Recipe, cuts: int, chance: random.Random) -> None:
    folder = recipe.output / CHECKPOINTS
    *_, before, newest = checkpoint_steps(folder)
    path = checkpoint_path(folder, newest)
    content = path.read_bytes()
    for _ in range(cuts):
        path.write_bytes(content[: chance.randrange(len(content))])
        found = find_checkpoint(folder, recipe.fingerprint(), lambda _: None)
        assert found is not None
        assert found.step == before
    path.write_bytes(content)


if __name__ == "__main__":
    main()
