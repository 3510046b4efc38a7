"""What a model of videos needs to learn when things happen: small trainings on digits in time, each from `digits`.

Positions (sines and cosines of a time that frames and mel columns share, or learned ones on their own), frames of a
clip (16, 8, 4), and what is masked together in training (positions, whole frames, tubes), each with several seeds; then
guidance, on the first of them. Figures are those of `digits_in_time.py`, on fewer clips, and how many nats of a sound
the video tells (on validation clips). The trainings are short: models learn when something happens, not which digit it
is. What is trained or measured is not done again.

Data first: `echoes data digits-in-time`, then `echoes prepare` as in `recipes/digits-in-time/run.sh`, with tokens of
`digits` and the layouts `digits-in-time-16`, `digits-in-time-8` and `digits-in-time-4`, into
`data/prepared/digits-in-time-few`, `-8` and `-4`; a `--split-list` of 1,500 training and 60 validation clips is enough.
Run from the repository's root:

    python benchmarks/video_study.py -o docs/measurements/video-study.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from digits_in_time import SEED_STRIDE, Bench, Figures, of_model
from measuring import add_output, of_records, show

from visual_echoes import VisualEchoes
from visual_echoes.checkpoints.assemble import assemble
from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.files import write_text
from visual_echoes.machine import resolve_device
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.studies.plan import Training
from visual_echoes.studies.trainings import changed_recipe, run_training, training_figures

RECIPES, RUNS = Path("recipes/digits-in-time"), Path("runs/digits-in-time/study")
SETTINGS = SamplingSettings(steps=12, temperature=4.0, guidance=3.0)
BATCH = 12
GAIN = "told by the video, nats"
BASE = "shared time, 16 frames, positions masked"


def _frames(count: int) -> dict[str, Any]:
    return {"layout": f"digits-in-time-{count}", "data": f"data/prepared/digits-in-time-{count}"}


VARIANTS: dict[str, Mapping[str, Any]] = {
    BASE: {},
    "learned positions": {"model": {"positions": "random"}},
    "8 frames": _frames(8),
    "4 frames": _frames(4),
    "whole frames masked": {"objective": {"image": {"unit": "frame"}}},
    "tubes masked": {"objective": {"image": {"unit": "tube"}}},
}
GUIDANCE = (1.0, 5.0)
# What such short trainings can tell apart.
FORMATS = {
    "words, 100 ms": ".3f",
    "words, 150 ms": ".3f",
    "median offset, ms": ".0f",
    "changes, 1 frame": ".3f",
    GAIN: ".1f",
}
SPREADS = {"words, 150 ms": "spread of words", GAIN: "spread of nats"}


def trained(name: str, seed: int, steps: int) -> Path:
    """The model that the training of a variant left, in its folder; a training that is done is not done again."""
    short = {
        "steps": steps, "batch_size": BATCH, "warmup_steps": steps // 10, "ema_decay": 0.98, "validate_every": steps,
        "checkpoint_every": 100,
    }  # fmt: skip
    changes = {"data": "data/prepared/digits-in-time-few", **VARIANTS[name], "train": short}
    training = Training(changes, recipe="transformer")
    return run_training(changed_recipe(name.replace(" ", "-").replace(",", ""), training, seed, RECIPES, RUNS))


def measured(bench: Bench, part: Path, seed: int, guidance: float) -> Figures:
    """The figures of what was trained, measured once."""
    run = part.parent
    path = RUNS / "cells" / f"{run.name}-{guidance:g}-{bench.count}.json"
    if not path.is_file():
        echoes = VisualEchoes(assemble([part], run.name, "", SETTINGS, "digits"), resolve_device("cpu"))
        echoes.defaults = SETTINGS.model_copy(update={"guidance": guidance})
        with TemporaryDirectory() as folder:
            figures = of_model(bench, echoes, seed * SEED_STRIDE, Path(folder))
        figures[GAIN] = training_figures(run)["sound_gain"]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(figures))
    found: Figures = json.loads(path.read_text(encoding="utf-8"))
    print(run.name, guidance, found, flush=True)
    return found


def row(name: str, found: list[Figures]) -> dict[str, str | float | int | None]:
    """Means over seeds, and the spread between them of what the study is about."""
    means = {key: float(np.mean([figures[key] for figures in found])) for key in FORMATS}
    spreads = {
        title: float(np.std([figures[key] for figures in found], ddof=1)) if len(found) > 1 else None
        for key, title in SPREADS.items()
    }
    return {"variant": name, "seeds": len(found), **means, **spreads}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/digits-in-time"))
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    add_output(parser)
    options = parser.parse_args()
    bench = Bench(options.data, options.clips)
    found: dict[str, list[Figures]] = {}
    for seed in range(options.seeds):
        for name in VARIANTS:
            part = trained(name, seed, options.steps)
            found.setdefault(name, []).append(measured(bench, part, seed, SETTINGS.guidance))
            for guidance in GUIDANCE if name == BASE else ():
                other = f"guidance {guidance:g} instead of {SETTINGS.guidance:g}"
                found.setdefault(other, []).append(measured(bench, part, seed, guidance))
    formats = {**FORMATS, "spread of words": ".3f", "spread of nats": ".1f"}
    table: Table = of_records([row(name, figures) for name, figures in found.items()], formats)
    show({ONLY: table}, options.output)


if __name__ == "__main__":
    main()
