"""What `echoes evaluate timing` finds of real words at known times: the most that a system's sounds can reach by it.

Recordings of spoken digits are cut to where their level first and last reaches a share of the highest, and one to three
of one speaker are put into three seconds of silence at random times. The detector's constants were chosen on the takes
of the training split (`--split train`); its figures are of those of the test split. Run from the repository's root:

    python benchmarks/word_timing.py -o docs/measurements/word-timing.json
"""

from __future__ import annotations

import argparse
import io
import json
import re
import tarfile
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from measuring import add_output, of_records, show

from visual_echoes.audio import set_peak
from visual_echoes.data.digits import SOUNDS_FILE, TEST_TAKES, VALID_TAKES
from visual_echoes.evaluation.listing import list_folder
from visual_echoes.evaluation.measurement import ONLY
from visual_echoes.evaluation.timing import EventScorer, evaluate_timing
from visual_echoes.evaluation.truth import read_truth
from visual_echoes.metrics.classifiers import packaged_classifier
from visual_echoes.metrics.onsets import GAP

RATE = 8000  # Hz, of the recordings
SECONDS, MOST = 3.0, 3  # of a clip, and words in it
APART, LAST, PAUSE = 0.7, 0.6, 0.05  # seconds from one word to the next, for the last one, of silence between two
ONSET, LEVEL = 0.05, 0.01  # share of the highest level at which a word begins, and seconds that a level is of
PEAK = 0.7
TOLERANCES = (0.1, 0.15)  # seconds
NOISES = (None, -50, -40)  # dB of full scale
COLUMNS = {
    "precision": "event_precision", "recall": "event_recall", "F1": "event_f1", "median offset, ms": "event_offset",
    "class right": "event_class", "F1, time and class": "class_f1", "files in order": "event_order",
}  # fmt: skip
Words = dict[str, dict[int, list[np.ndarray]]]  # by speaker and digit


def read_words(archive: Path, takes: range) -> Words:
    words: Words = defaultdict(lambda: defaultdict(list))
    with tarfile.open(archive) as file:
        for member in sorted(file.getmembers(), key=lambda member: member.name):
            match = re.fullmatch(r"spoken/(\d)_([a-z]+)_(\d+)\.wav", member.name)
            content = file.extractfile(member)
            if match is not None and content is not None and int(match[3]) in takes:
                wave_N, _ = soundfile.read(io.BytesIO(content.read()), dtype="float32")
                words[match[2]][int(match[1])].append(set_peak(cut(wave_N), PEAK))
    return words


def cut(wave_N: np.ndarray) -> np.ndarray:
    step = round(LEVEL * RATE)
    level = np.sqrt(np.square(np.pad(wave_N, (0, -len(wave_N) % step)).reshape(-1, step), dtype=np.float64).mean(1))
    loud = np.flatnonzero(level >= ONSET * level.max())
    return wave_N[loud[0] * step : (loud[-1] + 1) * step]


def write_clips(words: Words, folder: Path, count: int, noise: float | None, seed: int) -> Path:
    """Write so many clips into a folder; returns the truth."""
    random, lines = np.random.default_rng(seed), []
    for number in range(count):
        events = int(random.integers(1, MOST + 1))
        free = SECONDS - LAST - (events - 1) * APART
        times = [share * free + APART * index for index, share in enumerate(sorted(random.random(events)))]
        wave_N, marked = np.zeros(round(SECONDS * RATE), np.float32), []
        speaker = words[random.choice(sorted(words))]
        for time, until in zip(times, [*times[1:], SECONDS], strict=True):
            room = round((until - time - PAUSE) * RATE)
            fitting = [(digit, word) for digit in sorted(speaker) for word in speaker[digit] if len(word) <= room]
            digit, word_N = fitting[random.integers(len(fitting))]
            first = round(time * RATE)
            wave_N[first : first + len(word_N)] = word_N
            marked.append({"time": time, "label": str(digit)})
        if noise is not None:
            wave_N += (10.0 ** (noise / 20.0) * random.standard_normal(len(wave_N))).astype(np.float32)
        name = f"clip-{number:04}"
        soundfile.write(folder / f"{name}.wav", wave_N, RATE)
        lines.append(json.dumps({"id": name, "seconds": SECONDS, "events": marked}))
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
    takes = range(TEST_TAKES) if options.split == "test" else range(TEST_TAKES + VALID_TAKES, 1000)
    words, classifier = read_words(options.source / SOUNDS_FILE, takes), packaged_classifier("digits-audio")
    records = []
    for noise in NOISES:
        with TemporaryDirectory() as folder:
            truth = read_truth(write_clips(words, Path(folder), options.clips, noise, options.seed), "audio")
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
