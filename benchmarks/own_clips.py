"""What a model of one's own clips takes: the sample of `scenes` as a folder of pairs, prepared and trained on.

A few pairs, one thread, the commands that docs/train.md gives. How many of the sounds made for their images are named
rightly by the classifier, before and after. Run from the repository's root:

    python benchmarks/own_clips.py [--steps 60] -o docs/measurements/own-clips.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from measuring import add_output, of_records, show

from visual_echoes import VisualEchoes
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.metrics.classifiers import packaged_classifier

SAMPLE, RECIPE = Path("data/scenes-sample"), Path("recipes/mine/transformer.toml")
SEEDS = 4
FORMATS = {"value": ".3g"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    add_output(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder, "data"), Path(folder, "run")
        prepared = command("prepare", SAMPLE, "-o", data, "--tokens", "scenes", "--valid-share", 0.2, "--test-share", 0)
        pairs = (data / "manifest.jsonl").read_text(encoding="utf-8").count('"split": "train"')
        given = ["--data", data, "-o", run, "--steps", options.steps, "--batch-size", pairs]
        trained = command("train", RECIPE, *given)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        step = median(line["seconds_per_step"] for line in lines if "seconds_per_step" in line)
        figures = {
            "pairs": pairs, "seconds to prepare them": prepared, "steps": options.steps,
            "minutes to train": trained / 60, "seconds a step": step,
            "GB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9,
            "right before": right("scenes"), "right after": right(str(run)),
        }  # fmt: skip
    rows: list[dict[str, Cell]] = [{"figure": name, "value": value} for name, value in figures.items()]
    show({ONLY: of_records(rows, FORMATS)}, options.output)


def command(*given: object) -> float:
    """Run the command; seconds it took."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "visual_echoes", *map(str, given)], check=True, env=environment)
    return time.perf_counter() - start


def right(model: str) -> float:
    """The share of sounds made for the sample's images that the classifier names as their folder."""
    echoes = VisualEchoes.from_pretrained(model, device="cpu")
    images = sorted((SAMPLE / "images").glob("*/*"))
    made = [echoes.image_to_audio(images, seed=seed).audio for seed in range(SEEDS)]
    classifier = packaged_classifier("scenes-audio")
    named = classifier.classes([torch.from_numpy(wave) for waves in made if waves is not None for wave in waves])
    wanted = [path.parent.name for path in images] * SEEDS
    return sum(classifier.labels[k] == name for k, name in zip(named, wanted, strict=True)) / len(wanted)


if __name__ == "__main__":
    main()
