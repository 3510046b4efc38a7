"""What `echoes evaluate timing` finds of real words at known times: the most that a system's sounds can reach by it.

The sounds are those of clips of digits in time (`echoes data digits-in-time`), of the speaker and the takes of the test
split. The detector's constants were chosen on the training split's (`--split train`). Run from the repository's root:

    python benchmarks/word_timing.py -o docs/measurements/word-timing.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch
from measuring import add_output, of_records, show

from visual_echoes.data.digits_in_time import Material, make_clip, read_material
from visual_echoes.data.manifest import Split
from visual_echoes.evaluation.listing import list_folder
from visual_echoes.evaluation.measurement import ONLY
from visual_echoes.evaluation.timing import EventScorer, evaluate_timing
from visual_echoes.evaluation.truth import read_truth
from visual_echoes.layout import get_layout
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.metrics.onsets import GAP

LAYOUT = get_layout("digits-in-time")
TOLERANCES = (0.1, 0.15)  # seconds
NOISES = (None, -50, -40)  # dB of full scale
COLUMNS = {
    "precision": "event_precision", "recall": "event_recall", "F1": "event_f1", "median offset, ms": "event_offset",
    "class right": "event_class", "F1, time and class": "class_f1", "files in order": "event_order",
}  # fmt: skip


def write_clips(material: Material, folder: Path, count: int, noise: float | None, seed: int) -> Path:
    """Write so many sounds into a folder, the same whatever the noise; returns the truth."""
    random, lines = np.random.default_rng(seed), []
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        events, _, wave_N = make_clip(material, LAYOUT, varied=False, generator=generator)
        if noise is not None:
            wave_N = wave_N + (10.0 ** (noise / 20.0) * random.standard_normal(len(wave_N))).astype(np.float32)
        name = f"clip-{number:04}"
        soundfile.write(folder / f"{name}.wav", wave_N, LAYOUT.sample_rate)
        marked = [{"time": event.time, "label": event.label} for event in events]
        lines.append(json.dumps({"id": name, "seconds": LAYOUT.seconds, "events": marked}))
    truth = folder / "truth.jsonl"
    truth.write_text("\n".join(lines) + "\n")
    return truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("data/digits"))
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    add_output(parser)
    options = parser.parse_args()
    split: Split = options.split
    material, classifier = read_material(options.source, LAYOUT)[split], packaged_classifier("digits-audio")
    records = []
    for noise in NOISES:
        with TemporaryDirectory() as folder:
            truth = read_truth(write_clips(material, Path(folder), options.clips, noise, options.seed), "audio")
            rows = {"made": list_folder(Path(folder), "audio")}
            for tolerance in TOLERANCES:
                report, _ = evaluate_timing(rows, truth, [EventScorer(truth, GAP, tolerance, classifier)])
                column = report.columns["made"]
                record: dict[str, object] = {
                    "noise, dB": "none" if noise is None else str(noise), "within, ms": str(round(1000 * tolerance)),
                    "words": int(column["events_true"]),
                }  # fmt: skip
                records.append(record | {title: column[name] for title, name in COLUMNS.items()})
    formats = {title: ".1f" if title.endswith("ms") else ".3f" for title in COLUMNS}
    show({ONLY: of_records(records, formats)}, options.output)


if __name__ == "__main__":
    main()
