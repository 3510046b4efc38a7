"""Sampling at the paper's shape: the presets, this model's ways and a baseline against the plain loop of equal widths.

ViT-B widths over 256 image and 265 sound tokens with random weights, whose values do not matter to the speed: a sound
for an image with guidance 3, in each precision that is not slower than float32 here. The plain loop is that of the
dense model in float32: the full sequence through every layer twice a step. It and each way of ours take few steps;
presets take their own, in the precision that `auto` takes here. Repeats take turns. Run from the repository's root:

    python benchmarks/paper_speed.py [-o docs/measurements/paper-speed.json] [--threads 2] [--repeats 3] [--batch 8]

`ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2` before it: a processor with AVX2 alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

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
from visual_echoes.model.precision import choose, in_precision, speeds_on
from visual_echoes.model.settings import PRESETS, SamplingSettings
from visual_echoes.studies.speed import MATMUL_OPERATIONS, Sampling, multiply_matrices, operations, take_turns

STEPS = 6  # of the ways; a schedule as the presets', with as large a share of the positions masked on average
PLAIN, AUTOREGRESSIVE = "plain loop", "autoregressive"
SHARE = "of the machine's product"


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
    config = config_of(next(iter(KINDS)))
    auto = choose("auto", torch.device("cpu"), config)
    native = [name for name, speed in speeds_on("cpu", config.width, config.heads).items() if speed >= 1.0]
    last, few = list(KINDS)[-1], SamplingSettings(steps=STEPS)
    for kind in KINDS:
        exact = FastTransformer(config_of(kind)).eval()
        models = {precision: in_precision(exact, precision) for precision in native}
        plain = Sampling(exact, few)
        same[kind] = bool(torch.equal(plain.fast(), plain.slow()))
        works.setdefault(PLAIN, plain.slow)
        for precision, model in models.items():
            works[f"{kind}: {precision}"] = Sampling(model, few).fast
        for preset, changes in PRESETS.items():
            model, settings = models[auto], SamplingSettings.model_validate(changes)
            works[f"{kind}: {preset}"] = Sampling(model, settings).fast
            if kind == last and preset != "quality":
                works[f"{many_of(kind, arguments.batch)}: {preset}"] = Sampling(model, settings, arguments.batch).fast
                # The autoregressive one draws without guidance.
                unguided = settings.model_copy(update={"guidance": 1.0})
                works[f"{kind}: {preset}, guidance 1"] = Sampling(model, unguided).fast
    print(f"auto is {auto}; tokens as the plain way makes them: {same}", flush=True)
    works[AUTOREGRESSIVE] = autoregressive()
    products = {f"product in {precision}": partial(multiply_matrices, precision) for precision in native}
    seconds = take_turns({**works, **products}, arguments.repeats)
    speeds = {precision: MATMUL_OPERATIONS / seconds[f"product in {precision}"].median for precision in native}
    ways: list[tuple[Cell, ...]] = []
    # Counting takes as long as the work itself, and rounding does not change the count.
    counts = {name: operations(works[name]) for name in (PLAIN, *(f"{kind}: float32" for kind in KINDS))}
    for name in (PLAIN, *(f"{kind}: {precision}" for kind in KINDS for precision in native)):
        kind, _, named = name.partition(": ")
        count, taken = counts[f"{kind}: float32" if named else PLAIN], seconds[name].median
        of_machine = count / taken / speeds[named or "float32"]  # type: ignore[index]
        ways.append(
            (kind, named or "float32", taken / STEPS, count / STEPS / 1e12, of_machine, seconds[PLAIN].median / taken)
        )
    numbers = dict.fromkeys(KINDS, 1) | {many_of(last, arguments.batch): arguments.batch}
    presets: list[tuple[Cell, ...]] = []
    for kind, number in numbers.items():
        found = (seconds.get(f"{kind}: {preset}") for preset in PRESETS)
        presets.append((kind, auto, *(taken and taken.median / number for taken in found)))
    unguided_rows = [(n, seconds[n].median) for n in works if n == AUTOREGRESSIVE or n.endswith("guidance 1")]
    columns = ("transformer", "precision", "seconds a step", "TFLOP", SHARE, "times the plain loop")
    formats = {"seconds a step": ".2f", "TFLOP": ".2f", SHARE: ".0%", "times the plain loop": ".1f"}
    named_presets = ("transformer", "precision", *PRESETS)
    tables = {
        "ways": Table(columns=columns, rows=tuple(ways), formats=formats),
        "presets": Table(columns=named_presets, rows=tuple(presets), formats=dict.fromkeys(PRESETS, ".1f")),
        "autoregressive": Table(
            columns=("transformer", "seconds"), rows=tuple(unguided_rows), formats={"seconds": ".1f"}
        ),
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
