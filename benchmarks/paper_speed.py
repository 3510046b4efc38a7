"""Sampling at the paper's shape: the presets, this model's ways and a baseline against the plain loop of equal widths.

ViT-B widths over 256 image and 265 sound tokens with random weights, whose values do not matter to the speed: a sound
for an image with guidance 3. The plain loop is that of the dense model: the full sequence through every layer twice a
step, for 30 steps. Repeats take turns. Run from the repository's root:

    python benchmarks/paper_speed.py [-o docs/measurements/paper-speed.json] [--threads 2] [--repeats 3] [--batch 8]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measuring import add_output, show
from paper_kinds import KINDS, LAYOUT, config_of

from visual_echoes.evaluation.measurement import Cell, Table
from visual_echoes.model.autoregressive import (
    AutoregressiveConfig,
    AutoregressiveSampling,
    AutoregressiveTransformer,
)
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.settings import PRESETS, SamplingSettings
from visual_echoes.studies.speed import MATMUL_OPERATIONS, Sampling, multiply_matrices, operations, take_turns

CHECKED_STEPS = 4  # in which the tokens are compared with the plain loop's
PLAIN, AUTOREGRESSIVE = "plain loop", "autoregressive"
SHARE = "of the machine's matmul speed"


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    works: dict[str, Callable[[], torch.Tensor]] = {}
    same: dict[str, bool] = {}
    for kind in KINDS:
        model = FastTransformer(config_of(kind)).eval()
        for preset, changes in PRESETS.items():
            settings = SamplingSettings.model_validate(changes)
            one, many = Sampling(model, settings), Sampling(model, settings, arguments.batch)
            if preset == "quality":
                few = Sampling(model, SamplingSettings(steps=CHECKED_STEPS))
                same[f"{kind}: quality"] = bool(torch.equal(few.fast(), few.slow()))
                works.setdefault(PLAIN, one.slow)
            works[f"{kind}: {preset}"] = one.fast
            if kind == list(KINDS)[-1] and preset != "quality":
                works[f"{many_of(kind, arguments.batch)}: {preset}"] = many.fast
                # The autoregressive one draws without guidance.
                works[f"{kind}: {preset}, guidance 1"] = Sampling(
                    model, settings.model_copy(update={"guidance": 1.0})
                ).fast
    print("tokens as the plain way makes them:", same, flush=True)
    works[AUTOREGRESSIVE] = autoregressive()
    seconds = take_turns({**works, "matmul": multiply_matrices}, arguments.repeats)
    speed = MATMUL_OPERATIONS / seconds.pop("matmul").median
    ways = []
    # Counting takes as long as the work itself, so only what is held to the machine's speed is counted.
    for name in (PLAIN, *same):
        count, taken = operations(works[name]), seconds[name].median
        times = seconds[PLAIN].median / taken
        ways.append((name.removesuffix(": quality"), taken, count / 1e12, count / taken / speed, times))
    kinds = dict.fromkeys(KINDS, 1) | {many_of(list(KINDS)[-1], arguments.batch): arguments.batch}
    medians = {name: taken.median for name, taken in seconds.items()}
    presets: list[tuple[Cell, ...]] = []
    for kind, count in kinds.items():
        found = (medians.get(f"{kind}: {preset}") for preset in PRESETS)
        presets.append((kind, *(taken and taken / count for taken in found)))
    unguided = [(name, seconds[name].median) for name in works if name == AUTOREGRESSIVE or name.endswith("guidance 1")]
    columns = ("transformer", "seconds", "TFLOP", SHARE, "times the plain loop")
    formats = {"seconds": ".1f", "TFLOP": ".2f", SHARE: ".0%", "times the plain loop": ".1f"}
    tables = {
        "ways": Table(columns=columns, rows=tuple(ways), formats=formats),
        "presets": Table(columns=("transformer", *PRESETS), rows=tuple(presets), formats=dict.fromkeys(PRESETS, ".1f")),
        "autoregressive": Table(columns=("transformer", "seconds"), rows=tuple(unguided), formats={"seconds": ".1f"}),
    }
    show(tables, arguments.output)


def many_of(kind: str, count: int) -> str:
    return f"{kind}, each of {count} at once"


def autoregressive() -> Callable[[], torch.Tensor]:
    """A sound for an image, token by token, by a network of equal width and as many layers, with a key-value cache."""
    torch.manual_seed(0)
    model = AutoregressiveTransformer(AutoregressiveConfig.for_layout(LAYOUT)).eval()
    noise = torch.Generator().manual_seed(0)
    image_1I1 = torch.randint(LAYOUT.image_codes, (1, LAYOUT.image_tokens, 1), generator=noise)
    sampling = AutoregressiveSampling()
    return lambda: model.sample("audio", image_1I1, sampling, [torch.Generator().manual_seed(0)])


if __name__ == "__main__":
    main()
