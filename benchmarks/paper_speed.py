"""Sampling at the paper's shape: the presets, this model's ways and a baseline against the plain loop of equal widths.

ViT-B widths over 256 picture and 265 sound tokens with random weights, whose values do not matter to the speed: a sound
for a picture with guidance 3. The plain loop (`visual_echoes.speed.plain`) takes the full sequence through every layer
twice a step, for 30 steps. Repeats take turns. Run from the repository's root:

    python benchmarks/paper_speed.py --output reports/paper-speed.json [--threads 2] [--repeats 3] [--batch 8]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from paper_kinds import KINDS, LAYOUT, config_of

from visual_echoes.baselines.autoregressive import (
    AutoregressiveConfig,
    AutoregressiveSampling,
    AutoregressiveTransformer,
)
from visual_echoes.files import write_text
from visual_echoes.memory import peak_memory
from visual_echoes.sampling import PRESETS, SamplingSettings
from visual_echoes.speed.measure import MATMUL_OPERATIONS, Sampling, multiply_matrices, operations, take_turns
from visual_echoes.transformer import EchoTransformer

CHECKED_STEPS = 4  # in which the tokens are compared with the plain loop's
PLAIN, AUTOREGRESSIVE = "plain loop", "autoregressive"


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    works: dict[str, Callable[[], torch.Tensor]] = {}
    clips: dict[str, int] = {}
    same: dict[str, bool] = {}
    for kind in KINDS:
        model = EchoTransformer(config_of(kind)).eval()
        for preset, changes in PRESETS.items():
            settings = SamplingSettings.model_validate(changes)
            one, many = Sampling(model, settings), Sampling(model, settings, arguments.batch)
            if preset == "quality":
                few = Sampling(model, SamplingSettings(steps=CHECKED_STEPS))
                same[f"{kind}: quality"] = bool(torch.equal(few.fast(), few.slow()))
                works.setdefault(PLAIN, one.slow)
            works[f"{kind}: {preset}"] = one.fast
            if kind == list(KINDS)[-1] and preset != "quality":
                works[f"{kind}: {preset}, {arguments.batch} at once"] = many.fast
                clips[f"{kind}: {preset}, {arguments.batch} at once"] = arguments.batch
                # The autoregressive one draws without guidance.
                works[f"{kind}: {preset}, guidance 1"] = Sampling(
                    model, settings.model_copy(update={"guidance": 1.0})
                ).fast
    print("tokens as the plain way makes them:", same, flush=True)
    works[AUTOREGRESSIVE] = autoregressive()
    seconds = take_turns({**works, "matmul": multiply_matrices}, arguments.repeats)
    speed = MATMUL_OPERATIONS / seconds.pop("matmul").median
    rows = []
    for name, work in works.items():
        taken = seconds[name]
        # Counting takes as long as the work itself, so only what is held to the machine's speed is counted.
        count = operations(work) if name == PLAIN or name in same else None
        rows.append(
            {
                "way": name, "seconds": taken.model_dump(), "seconds_a_clip": taken.median / clips.get(name, 1),
                "teraflop": count and count / 1e12, "share_of_matmul_speed": count and count / taken.median / speed,
                "times_the_plain_loop": seconds[PLAIN].median * clips.get(name, 1) / taken.median,
                "same_tokens": same.get(name),
            }
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    report = {
        "threads": arguments.threads, "repeats": arguments.repeats, "matmul_gflops": speed / 1e9,
        "peak_bytes": peak_memory(), "rows": rows,
    }  # fmt: skip
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.output, json.dumps(report, indent=2) + "\n")


def autoregressive() -> Callable[[], torch.Tensor]:
    """A sound for a picture, token by token, by a network of equal width and as many layers, with a key-value cache."""
    torch.manual_seed(0)
    model = AutoregressiveTransformer(AutoregressiveConfig.for_layout(LAYOUT)).eval()
    noise = torch.Generator().manual_seed(0)
    picture_1I = torch.randint(LAYOUT.image_codes, (1, model.config.places("image")), generator=noise)
    sampling = AutoregressiveSampling()
    return lambda: model.sample("audio", picture_1I, sampling, [torch.Generator().manual_seed(0)]).audio


if __name__ == "__main__":
    main()
