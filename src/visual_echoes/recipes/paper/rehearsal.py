"""What `rehearsal.sh` needs beside the real commands: clips, small recipes, networks of random weights, the tables.

Nothing it makes says how good a model is: networks are small and hardly trained, and those of the metrics have random
weights. It shows that every step takes what the one before left, and what each took beside its estimate.
"""

import argparse
import csv
import json
import math
import re
import resource
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from visual_echoes.cli.training import toml_lines
from visual_echoes.evaluation.measurement import Table, measured_here, write_measurement
from visual_echoes.evaluation.records import REPORT_FILE, read_report
from visual_echoes.files import file_digest, write_text
from visual_echoes.layout import get_layout
from visual_echoes.media import read_audio, read_image, write_mp4
from visual_echoes.metrics.networks import clip, panns, vggish, wav2clip
from visual_echoes.metrics.networks.weights import PUBLISHED, with_random_weights
from visual_echoes.studies.trainings import merged
from visual_echoes.training.dry_run import dry_run
from visual_echoes.training.recipe import read_recipe

PAPER = Path(__file__).parent
LAYOUT = get_layout("paper")
MISSING, CUT_SHORT, SILENT = 5, 3, 2  # of those for training: what a downloaded set has, too
FRAMES, SIDE = 20, 256  # of a clip
LEAST_CROP = 0.6  # of an image's shorter side

# What is smaller than in the paper's recipes; all that counts steps is shortened with them.
TOKENIZER = {
    "model": {"width": 32, "blocks": 1, "attention_levels": [], "code_dim": 64, "latent_width": 64},
    "loss": {"discriminator_width": 16},
    "train": {"steps": 120, "batch_size": 4, "learning_rate": 1e-3},
}
SMALLER: dict[str, dict[str, Any]] = {
    "image-vqgan": TOKENIZER,
    "audio-vqgan": TOKENIZER,
    "vocoder": {
        "model": {"discriminator_width": 8, "model": {"upsample_initial_channel": 64}},
        "train": {"steps": 100, "batch_size": 4},
    },
    "transformer": {
        "model": {"width": 192, "heads": 4, "encoder_layers": 4, "decoder_layers": 2},
        "train": {"steps": 200, "batch_size": 16, "learning_rate": 1e-3},
    },
}
IN_STEPS = ("adversarial_from", "restart_every", "restart_until", "warmup_steps", "log_every")
TWICE = ("validate_every", "checkpoint_every")  # in a run
NETWORKS = {"panns": panns.Cnn14, "vggish": vggish.VGGish, "clip": clip.ClipImages, "wav2clip": wav2clip.Wav2Clip}
FIGURES = {
    "panns_frechet": "FD", "vggish_frechet": "FAD", "panns_inception": "inception score",
    "panns_kl_softmax": "KL, softmax", "clip_score": "CS",
}  # fmt: skip


def make_clips(source: Path, target: Path, train: int, test: int) -> None:
    """Videos of ten seconds with VGGSound's names and list: a way over a photograph, with recordings of its kind."""
    generator = np.random.default_rng(0)
    kinds = sorted(folder.name for folder in (source / "images").iterdir())
    images = {kind: [read_image(path) for path in sorted((source / "images" / kind).iterdir())] for kind in kinds}
    sounds = {
        kind: [read_audio(path, LAYOUT.sample_rate) for path in sorted((source / "sounds" / kind).iterdir())]
        for kind in kinds
    }
    (target / "clips").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(train + test):
        kind = kinds[number % len(kinds)]
        name = f"rehearse{number:03d}"
        rows.append((name, 30, kind, "train" if number < train else "test"))
        path = target / "clips" / f"{name}_000030.mp4"
        if number < MISSING or path.exists():
            continue
        image = images[kind][generator.integers(len(images[kind]))]
        silent = MISSING + CUT_SHORT <= number < MISSING + CUT_SHORT + SILENT
        wave = 0.0 * _sound(sounds[kind], generator) if silent else _sound(sounds[kind], generator)
        write_mp4(path, _way(image, generator), wave, LAYOUT.sample_rate, {})
        if number < MISSING + CUT_SHORT:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open(target / "vggsound.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _way(image: Image.Image, generator: np.random.Generator) -> np.ndarray:
    """Frames of a square that moves over an image, uint8 (F, H, W, 3)."""
    side = min(image.size) * generator.uniform(LEAST_CROP, 1.0)
    (left, top), (right, bottom) = (generator.uniform(0, np.array(image.size) - side) for _ in range(2))
    frames = []
    for share in np.linspace(0.0, 1.0, FRAMES):
        x, y = left + share * (right - left), top + share * (bottom - top)
        frames.append(np.asarray(image.convert("RGB").resize((SIDE, SIDE), box=(x, y, x + side, y + side))))
    return np.stack(frames)


def _sound(waves: list[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """The recordings of a kind one after another from a random place on, float32 (samples,)."""
    samples = round(LAYOUT.seconds * LAYOUT.sample_rate)
    joined = np.concatenate([waves[place] for place in generator.permutation(len(waves))])
    return np.resize(np.roll(joined, generator.integers(len(joined))), samples) * np.float32(generator.uniform(0.3, 1))


def make_recipes(target: Path, data: str, runs: str, steps: int | None) -> None:
    """The paper's recipes with the smaller values, and with the rehearsal's folders.

    Args:
        steps: of each training, instead of the table's.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name, smaller in SMALLER.items():
        paper = tomllib.loads((PAPER / f"{name}.toml").read_text(encoding="utf-8"))
        values = merged(paper, smaller)
        values["train"]["steps"] = steps or values["train"]["steps"]
        _shorten(values, values["train"]["steps"], values["train"]["steps"] / paper["train"]["steps"])
        text = "\n".join(toml_lines(values)).replace("data/prepared/vggsound", data).replace("runs/paper", runs)
        write_text(target / f"{name}.toml", text + "\n")


def _shorten(values: dict[str, Any], steps: int, share: float) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _shorten(value, steps, share)
        elif key in IN_STEPS:
            values[key] = math.ceil(value * share)
        elif key in TWICE:
            values[key] = math.ceil(steps / 2)


def make_networks(target: Path) -> None:
    """Files of random weights under the published names; prints the options by which `echoes evaluate` takes them."""
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for name, build in NETWORKS.items():
        tensors = with_random_weights(build()).state_dict()
        if name == "panns":
            tensors |= {key: torch.zeros(shape) for key, shape in panns.FRONT_ENDS[0].shapes.items()}
        for prefix, own in wav2clip.PREFIXES.items() if name == "wav2clip" else ():
            tensors = {re.sub(f"^{re.escape(own)}", prefix, key): value for key, value in tensors.items()}
        path = target / PUBLISHED[name].file
        torch.save(tensors, path)
        if PUBLISHED[name].sha256:
            print(f"--sha256 {name}={file_digest(path)}")


def timed(record: Path, command: list[str]) -> int:
    """Run a command; what it took is a line of the record."""
    start = time.perf_counter()
    status = subprocess.run(command).returncode
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    line = {"command": command, "seconds": time.perf_counter() - start, "peak": peak, "status": status}
    with open(record, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return status


def tables(work: Path) -> dict[str, Table]:
    """Steps beside their estimates, what is smaller, and the figures."""
    return {"steps": _steps(work), "smaller": _smaller(), "figures": _figures(work)}


def _steps(work: Path) -> Table:
    rows = []
    for line in (work / "times.jsonl").read_text(encoding="utf-8").splitlines():
        taken = json.loads(line)
        words = [Path(word).name for word in taken["command"]]
        recipe = next((Path(word) for word in taken["command"] if word.endswith(".toml")), None)
        guess = None if recipe is None else dry_run(read_recipe(recipe))
        verb = next(place for place, word in enumerate(words) if word in ("echoes", "visual_echoes")) + 1
        what = (
            f"train {recipe.name}"
            if recipe
            else " ".join(words[verb : verb + 2] + ["--tokens"] * ("--tokens" in words))
        )
        seconds = None if guess is None else guess.total_seconds
        memory = None if guess is None or guess.memory is None else guess.memory / 1e9
        rows.append((what, taken["seconds"], seconds, taken["peak"] / 1e9, memory))
    columns = ("step", "seconds", "estimate", "GB", "estimate, GB")
    return Table(
        columns=columns,
        rows=tuple(rows),
        formats=dict.fromkeys(columns[1:3], ",.0f") | dict.fromkeys(columns[3:], ".1f"),
    )


def _smaller() -> Table:
    rows = []
    for name, changes in SMALLER.items():
        paper = tomllib.loads((PAPER / f"{name}.toml").read_text(encoding="utf-8"))
        rows += [(name, key, json.dumps(_at(paper, key)), json.dumps(value)) for key, value in _leaves(changes)]
    return Table(columns=("recipe", "key", "the paper's", "rehearsal"), rows=tuple(rows))


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _at(values: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _figures(work: Path) -> Table:
    report = read_report(work / "runs" / "test-transformer" / "report" / REPORT_FILE)
    rows = [
        (name, *(column.figures[key].value if key in column.figures else None for key in FIGURES))
        for name, column in report.columns.items()
    ]
    columns = ("of random networks", *FIGURES.values())
    return Table(columns=columns, rows=tuple(rows), formats=dict.fromkeys(columns[1:], ".4g"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("clips", "recipes", "networks", "timed", "tables"))
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    what, rest = arguments.what, arguments.rest
    if what == "clips":
        make_clips(Path(rest[0]), Path(rest[1]), int(rest[2]), int(rest[3]))
    elif what == "recipes":
        make_recipes(Path(rest[0]), rest[1], rest[2], int(rest[3]) if rest[3:] else None)
    elif what == "networks":
        make_networks(Path(rest[0]))
    elif what == "timed":
        sys.exit(timed(Path(rest[0]), rest[1:]))
    else:
        measurement = measured_here(tables(Path(rest[0])), "").model_copy(update={"command": rest[1]})
        print(measurement.markdown())
        write_measurement(measurement, Path(rest[0]) / "rehearsal.json")


if __name__ == "__main__":
    main()
