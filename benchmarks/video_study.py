"""What a model of videos needs to learn when things happen: small trainings on digits in time, each from `digits`.

Positions (sines and cosines of a time that frames and mel columns share, or learned ones on their own), frames of a
clip (16, 8, 4), and what is masked together in training (positions, whole frames, tubes), each with several seeds; then
guidance, on the first of them. Figures are those of `digits_in_time.py`, on fewer clips. What is trained or measured
is not done again. Data first: `recipes/digits-in-time/run.sh`, and for other numbers of
frames the same `echoes prepare` with `--layout digits-in-time-8` and `-4`. Run from the repository's root:

    python benchmarks/video_study.py --steps 500 --clips 60 --seeds 3 -o docs/measurements/video-study.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from digits_in_time import FORMATS, SEED_STRIDE, Bench, Figures, of_model
from measuring import add_output, of_records, show

from visual_echoes import VisualEchoes
from visual_echoes.checkpoints.assemble import assemble
from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.files import write_text
from visual_echoes.machine import resolve_device
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.studies.plan import Training
from visual_echoes.studies.trainings import changed_recipe, run_training

RECIPES, RUNS = Path("recipes/digits-in-time"), Path("runs/digits-in-time/study")
SETTINGS = SamplingSettings(steps=12, temperature=4.0, guidance=3.0)
BATCH = 24
BASE = "shared time, 16 frames, positions masked"


def _frames(count: int) -> dict[str, Any]:
    name = f"digits-in-time-{count}"
    return {"layout": name, "data": f"data/prepared/{name}"}


VARIANTS: dict[str, Mapping[str, Any]] = {
    BASE: {},
    "learned positions": {"model": {"positions": "random"}},
    "8 frames": _frames(8),
    "4 frames": _frames(4),
    "whole frames masked": {"objective": {"image": {"unit": "frame"}}},
    "tubes masked": {"objective": {"image": {"unit": "tube"}}},
}
GUIDANCE = (1.0, 2.0, 5.0)


def trained(name: str, seed: int, steps: int) -> VisualEchoes:
    """The model of a variant; its training is done, or goes on."""
    short = {
        "steps": steps, "batch_size": BATCH, "warmup_steps": steps // 10, "ema_decay": 0.98, "validate_every": steps,
        "checkpoint_every": 100,
    }  # fmt: skip
    changes = {**VARIANTS[name], "train": short}
    training = Training(changes, recipe="transformer")
    folder = run_training(changed_recipe(name.replace(" ", "-").replace(",", ""), training, seed, RECIPES, RUNS))
    return VisualEchoes(assemble([folder], name, "", SETTINGS, "digits"), resolve_device("cpu"))


def measured(bench: Bench, echoes: VisualEchoes, name: str, seed: int, steps: int, guidance: float) -> Figures:
    """The figures of a variant, measured once."""
    path = RUNS / "cells" / f"{name}-{seed}-{steps}-{guidance:g}-{bench.count}.json".replace(" ", "-")
    if not path.is_file():
        echoes.defaults = SETTINGS.model_copy(update={"guidance": guidance})
        with TemporaryDirectory() as folder:
            figures = of_model(bench, echoes, seed * SEED_STRIDE, Path(folder))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(figures))
    found: Figures = json.loads(path.read_text(encoding="utf-8"))
    print(name, seed, guidance, found, flush=True)
    return found


def row(name: str, found: list[Figures]) -> dict[str, str | float | int | None]:
    """Means over seeds, and the spread of the first figure between them."""
    means = {key: float(np.mean([figures[key] for figures in found])) for key in FORMATS}
    spread = float(np.std([figures["right words, 150 ms"] for figures in found], ddof=1)) if len(found) > 1 else None
    return {"variant": name, "seeds": len(found), **means, "spread of right words": spread}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/digits-in-time"))
    parser.add_argument("--steps", type=int, default=500, help="of each training")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    add_output(parser)
    options = parser.parse_args()
    bench = Bench(options.data, options.clips)
    found: dict[str, list[Figures]] = {}
    for seed in range(options.seeds):
        for name in VARIANTS:
            echoes = trained(name, seed, options.steps)
            found.setdefault(name, []).append(measured(bench, echoes, name, seed, options.steps, SETTINGS.guidance))
            for guidance in GUIDANCE if name == BASE else ():
                figures = measured(bench, echoes, name, seed, options.steps, guidance)
                found.setdefault(f"guidance {guidance:g} instead of {SETTINGS.guidance:g}", []).append(figures)
    table: Table = of_records(
        [row(name, figures) for name, figures in found.items()], {**FORMATS, "spread of right words": ".3f"}
    )
    show({ONLY: table}, options.output)


if __name__ == "__main__":
    main()
