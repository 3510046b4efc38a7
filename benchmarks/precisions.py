"""The transformer in float32 and in bfloat16: how fast each is in one run, and whether what it makes is as good.

Sounds for test images, named by the classifier; and sampling alone at the paper's shape (random weights). Data first
(`echoes data digits`); run from the repository's root:

    python benchmarks/precisions.py --images 200 -o docs/measurements/precisions.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from measuring import add_output, of_records, show

from visual_echoes import VisualEchoes
from visual_echoes.data.pairs import first_of_groups, read_groups, read_split
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.layout import get_layout
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.precision import Precision, in_precision
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.streams import empty_tokens, masked_but

BATCH, REPEATS = 20, 2
KINDS = {"masked, full": {}, "visible, cross": {"encoder_input": "visible", "decoder": "cross"}}
FORMATS = {"seconds": ".2f", "times float32": ".2f", "right": ".3f"}


def of_model(data: Path, count: int) -> list[dict[str, Cell]]:
    """Seconds of a batch of sounds for images, by turns, and the share of all that the classifier names rightly."""
    models = {p: VisualEchoes.from_pretrained("digits", device="cpu", precision=p) for p in get_args(Precision)}
    layout = models["float32"].layout
    groups, test = read_groups(data), read_split(data, "test", layout)
    chosen = first_of_groups(test.image_groups, count // len(groups))
    images, groups_B = [image.movedim(0, -1).numpy() for image in test.images[chosen]], test.image_groups[chosen]
    classifier = packaged_classifier("digits-audio").restricted(groups)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    right: dict[str, float] = {}
    for turn in range(1 + REPEATS):
        for name, echoes in models.items():
            start = time.perf_counter()
            echoes.image_to_audio(images[:BATCH], batch_size=BATCH)
            if turn:  # the first one compiles
                seconds[name].append(time.perf_counter() - start)
    for name, echoes in models.items():
        made = echoes.image_to_audio(images, batch_size=BATCH).audio
        assert made is not None
        found_B = classifier.classes([torch.from_numpy(wave) for wave in made])
        right[name] = float((found_B == groups_B).double().mean())
    return _rows(f"digits, {BATCH} sounds", seconds, right)


def of_paper(kind: str) -> list[dict[str, Cell]]:
    """Seconds of sampling a sound of ten seconds for an image at the paper's shape, twelve steps, guided."""
    torch.manual_seed(0)
    layout = get_layout("paper")
    exact = FastTransformer(TransformerConfig.for_layout(layout, **KINDS[kind])).eval()
    tokens = empty_tokens(layout.streams, 1)
    masked = masked_but(layout.streams, tokens, ["image"])
    settings = SamplingSettings(steps=12)
    plan = settings.plan(layout.streams, ["audio"])
    seconds: dict[str, list[float]] = {name: [] for name in get_args(Precision)}
    models = {name: in_precision(exact, name) for name in seconds}
    for turn in range(1 + REPEATS):
        for name, model in models.items():
            start = time.perf_counter()
            generate(
                lambda model=model: model.score, layout.streams, tokens, masked, plan, settings,  # type: ignore[misc]
                [torch.Generator().manual_seed(0)],
            )  # fmt: skip
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return _rows(f"the paper's shape, {kind}", seconds, {})


def _rows(what: str, seconds: dict[str, list[float]], right: dict[str, float]) -> list[dict[str, Cell]]:
    medians = {name: float(np.median(found)) for name, found in seconds.items()}
    return [
        {
            "what": what, "precision": name, "seconds": median, "times float32": medians["float32"] / median,
            "right": right.get(name),
        }
        for name, median in medians.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/prepared/digits"))
    parser.add_argument("--images", type=int, default=200, help="test images, as many of each class")
    add_output(parser)
    options = parser.parse_args()
    rows = of_model(options.data, options.images)
    for kind in KINDS:
        rows += of_paper(kind)
    show({ONLY: of_records(rows, FORMATS)}, options.output)


if __name__ == "__main__":
    main()
