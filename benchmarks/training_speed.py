"""A training step at the paper's shape: what dropping places saves over the full sequence, and the machine's share.

Forward, loss and backward of ViT-B widths over 256 image and 265 sound tokens, masks as the paper draws them (mean
0.7 in [0.5, 1]) and its dropout, in float32 and in bfloat16 as the recipes' `precision` has them. The plain reference,
the dense model in float32, takes every place through every layer. The optimiser's step is timed apart, as it does not
depend on the batch. Repeats take turns. Usage:

    python benchmarks/training_speed.py [-o FILE] [--threads 2] [--repeats 3] [--batch 2]
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from measuring import add_output, show
from paper_kinds import KINDS, LAYOUT, config_of
from torch import nn
from torch.nn import functional as F

from visual_echoes.data.tokens import TokenCache
from visual_echoes.evaluation.measurement import ONLY, Cell, Table
from visual_echoes.model.fast import dense
from visual_echoes.model.precision import Precision
from visual_echoes.studies.speed import MATMUL_OPERATIONS, multiply_matrices, operations, take_turns
from visual_echoes.training.settings import TrainSettings, build_optimizers
from visual_echoes.training.transformer import MaskingObjective, TransformerTask

PRODUCTS: dict[str, Precision] = {"fp32": "float32", "bf16": "bfloat16"}  # of a recipe's precision
PLAIN, OPTIMISER = "plain, full sequence", "optimiser's step"
TORCH_S_DROPOUT = "masked, full, torch's dropout"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    works: dict[str, Callable[[], None]] = {}
    for kind in KINDS:
        config = config_of(kind)
        tokens = some_tokens(arguments.batch)
        task = TransformerTask(config, MaskingObjective(), tokens, tokens)
        works.setdefault(f"{PLAIN}: fp32", plain_step(task, arguments.batch))
        for precision in PRODUCTS:
            works[f"{kind}: {precision}"] = run = step(task, arguments.batch, precision)
            if TORCH_S_DROPOUT.startswith(kind):
                works[f"{TORCH_S_DROPOUT}: {precision}"] = patch("visual_echoes.model.blocks.thinned", F.dropout)(run)
    (optimizer,) = build_optimizers(
        [task.model], TrainSettings(steps=1, batch_size=arguments.batch, learning_rate=1e-4)
    )
    products = {precision: partial(multiply_matrices, name) for precision, name in PRODUCTS.items()}
    seconds = take_turns({**works, OPTIMISER: optimizer.step, **products}, arguments.repeats)
    rows: list[tuple[Cell, ...]] = []
    for name, work in works.items():
        kind, precision = name.split(": ")
        count, taken = operations(work), seconds[name].median
        of_machine = count / taken / (MATMUL_OPERATIONS / seconds[precision].median)
        times = seconds[f"{PLAIN}: fp32"].median / taken
        rows.append((kind, precision, taken, count / 1e12, of_machine, times))
    rows.append((OPTIMISER, None, seconds[OPTIMISER].median, None, None, None))
    columns = ("transformer", "precision", "seconds", "TFLOP", "of the machine's product", "times the plain reference")
    formats = dict(zip(columns[2:], (".2f", ".2f", ".0%", ".1f"), strict=True))
    show({ONLY: Table(columns=columns, rows=tuple(rows), formats=formats)}, arguments.output)


def some_tokens(count: int) -> TokenCache:
    noise = torch.Generator().manual_seed(0)
    groups_B = torch.zeros(count, dtype=torch.int64)
    tokens = {
        stream.source: {
            stream.name: torch.randint(stream.codes, (count, stream.positions, stream.depth), generator=noise)
        }
        for stream in LAYOUT.streams
    }
    return TokenCache(tokens, dict.fromkeys(tokens, groups_B))


def step(task: TransformerTask, size: int, precision: str) -> Callable[[], None]:
    """Forward, loss and backward, the same masks every time."""
    return step_of(task, task.batch(size, torch.Generator().manual_seed(1)), precision)


def step_of(task: TransformerTask, batch: tuple[dict[str, torch.Tensor], ...], precision: str) -> Callable[[], None]:
    def run() -> None:
        task.model.zero_grad(set_to_none=False)
        phases = task.phases(batch, 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            losses = [phase.loss for phase in phases]
        for loss in losses:
            loss.backward()

    return run


def plain_step(task: TransformerTask, size: int) -> Callable[[], None]:
    """The same loss, of every place through every layer."""
    tokens, masked, scored, dropped, average = task.batch(size, torch.Generator().manual_seed(1))
    nothing = {name: torch.zeros_like(dropped_BP) for name, dropped_BP in dropped.items()}
    plain = copy.copy(task)
    plain.modules = nn.ModuleDict({"model": dense(task.model)})
    return step_of(plain, (tokens, masked, scored, nothing, average), "fp32")


if __name__ == "__main__":
    main()
