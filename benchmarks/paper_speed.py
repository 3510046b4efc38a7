"""Sampling at the paper's shape: this model's ways against the plain loop of equal widths.

ViT-B widths over 256 picture and 265 sound tokens with random weights, whose values do not matter to the speed: a sound
for a picture, N = 30 and guidance 3 unless a row says otherwise. The plain loop (`visual_echoes.speed.plain`) takes the
full sequence through every layer twice a step. Repeats take turns. Run from the repository's root:

    python benchmarks/paper_speed.py --output reports/paper-speed.json [--threads 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from visual_echoes.files import write_text
from visual_echoes.layout import LAYOUTS
from visual_echoes.sampling import SamplingSettings
from visual_echoes.speed.measure import MATMUL_OPERATIONS, Sampling, multiply_matrices, operations, take_turns
from visual_echoes.transformer import EchoTransformer, TransformerConfig

PLAIN = "plain loop"
KINDS = {
    "masked, full": {"encoder_input": "masked", "decoder": "full"},
    "visible, full": {"encoder_input": "visible", "decoder": "full"},
    "visible, cross": {"encoder_input": "visible", "decoder": "cross"},
}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=SamplingSettings().steps)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = SamplingSettings(steps=arguments.steps)
    samplings = {}
    for name, choices in KINDS.items():
        torch.manual_seed(0)
        model = EchoTransformer(TransformerConfig.for_layout(LAYOUTS["paper"], **choices)).eval()
        samplings[name] = Sampling(model, settings)
    works = {PLAIN: samplings["masked, full"].slow, **{name: sampling.fast for name, sampling in samplings.items()}}
    same = {name: bool(torch.equal(sampling.fast(), sampling.slow())) for name, sampling in samplings.items()}
    print("tokens as the plain way makes them:", same, flush=True)
    seconds = take_turns({**works, "matmul": multiply_matrices}, arguments.repeats)
    speed = MATMUL_OPERATIONS / seconds.pop("matmul").median
    rows = []
    for name, work in works.items():
        count, taken = operations(work), seconds[name]
        rows.append(
            {
                "way": name, "seconds": taken.model_dump(), "teraflop": count / 1e12,
                "share_of_matmul_speed": count / taken.median / speed,
                "times_the_plain_loop": seconds[PLAIN].median / taken.median, "same_tokens": same.get(name),
            }
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    report = {"threads": arguments.threads, "steps": settings.steps, "matmul_gflops": speed / 1e9, "rows": rows}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.output, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
