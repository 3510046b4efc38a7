"""A training's run folder as others read it: the recipe, the trained part, and the checkpoints that are whole.

`recipe.json` is the resolved recipe and `part.json` the part it trains, both written at the start of the run. A
checkpoint is `checkpoints/step-00000500.safetensors` with all tensors, and beside it `step-00000500.json`, its
manifest, written after it. A checkpoint without manifest, or with other bytes than the manifest says, is torn and
never used. No pickle.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import safe_open
from torch import nn

from visual_echoes import __version__
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.tokenizer import TokenizerName
from visual_echoes.vocoder import GRIFFIN_LIM_ITERATIONS, GriffinLim
from visual_echoes.weights import (
    CONFIG_FILE,
    Model,
    PartName,
    WeightsFile,
    build_part,
    current_config,
    find_model,
    load_model,
    read_description,
)

RECIPE_FILE = "recipe.json"
PART_FILE = "part.json"
CHECKPOINTS = "checkpoints"
METRICS_FILE = "metrics.jsonl"
MODEL_FOLDER = "model"  # what is exported at the end
AVERAGE_PREFIX = "module/average/module."  # of the averaged weights in a checkpoint
MAX_JSON_BYTES = 1 << 20

_NAME = re.compile(r"step-(\d{8,})\.(safetensors|json)")


class CheckpointManifest(BaseModel):
    """What is known of a checkpoint.

    Attributes:
        step: steps taken.
        size: of the tensors' file, in bytes.
        sha256: of the tensors' file.
        fingerprint: of the recipe.
        inputs: of the data set and the tokenizers.
        watch: what the guards remember, so that a resumed run raises the same alarms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    step: int
    size: int
    sha256: str
    fingerprint: str
    inputs: str
    watch: dict[str, Any]


class TrainedPart(BaseModel):
    """What a run trains, and where the parts are that it needs for making sounds and pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: PartName
    kind: str
    config: dict[str, Any]
    layout: dict[str, Any]
    tokenizers: dict[TokenizerName, str] = {}


Report = Callable[[str], None]


def checkpoint_path(folder: Path, step: int) -> Path:
    """The tensors' file of a step, in the folder of checkpoints."""
    return folder / f"step-{step:08d}.safetensors"


def manifest_path(checkpoint: Path) -> Path:
    """The manifest of a checkpoint."""
    return checkpoint.with_suffix(".json")


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps of which the folder holds a checkpoint or something of one, ascending."""
    names = (_NAME.fullmatch(path.name) for path in folder.glob("step-*"))
    return sorted({int(name[1]) for name in names if name})


def read_manifest(checkpoint: Path) -> CheckpointManifest | None:
    """The manifest of a checkpoint; None if there is none that this version reads."""
    path = manifest_path(checkpoint)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        return CheckpointManifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole_checkpoints(folder: Path, report: Report) -> Iterator[CheckpointManifest]:
    """The manifests of the checkpoints that are whole, newest first, each read through when it is asked for.

    Args:
        folder: the folder of checkpoints.
        report: told of each torn checkpoint that is skipped.
    """
    for step in reversed(checkpoint_steps(folder)):
        path = checkpoint_path(folder, step)
        if not path.is_file():
            continue  # the manifest of one that was deleted
        manifest = read_manifest(path)
        if manifest is None:
            report(f"{path} is skipped: it has no readable manifest, so it was not written to its end.")
        elif path.stat().st_size != manifest.size or file_digest(path) != manifest.sha256:
            report(f"{path} is skipped: it is not what its manifest says, so it is cut short or damaged.")
        else:
            yield manifest


def is_run_folder(folder: Path) -> bool:
    """Whether a training of a model's part began here, and no model was put in its place."""
    return (folder / PART_FILE).is_file() and not (folder / CONFIG_FILE).exists()


def trained_part(folder: Path) -> PartName:
    """Which part the run trains; `EchoesError` if it does not tell."""
    return _read_part(folder).name


def part_names(folder: Path) -> list[PartName]:
    """The parts that `load_model` finds in a model folder or run folder; `EchoesError` if it does not tell."""
    return _run_parts(_read_part(folder)) if is_run_folder(folder) else list(read_description(folder).parts)


def load_run(folder: Path, wanted: Iterable[PartName] | None = None) -> Model:
    """The model a training has come to: the averaged weights of its newest whole checkpoint.

    A transformer brings the tokenizers of its recipe, and the vocoder that lies with one of them or else Griffin-Lim.

    Args:
        folder: a run folder.
        wanted: parts to load; None loads all.

    Raises:
        EchoesError: no whole checkpoint, a tokenizer that is not where the recipe says, or a part that is not there.
    """
    part = _read_part(folder)
    try:
        layout = Layout.from_dict(part.layout)
    except (KeyError, TypeError, ValueError) as error:
        raise EchoesError(f"{folder / PART_FILE} describes no valid layout ({error}); go on with the run.") from error
    model = Model(name=folder.resolve().name, version=__version__, layout=layout, parts={}, sampling=SamplingSettings())
    found = _run_parts(part)
    for name in found if wanted is None else wanted:
        if name not in found:
            raise EchoesError(f"{folder} trains a {part.name} and has no {name}; choose a folder that has one.")
        source = None if name == part.name else _source(part, name)
        if name == part.name:
            model.parts[name], model.files[name] = _newest_average(folder, part, layout)
            model.kinds[name], model.configs[name] = part.kind, current_config(model.parts[name], part.config)
        elif source is None:
            config = {"iterations": GRIFFIN_LIM_ITERATIONS}
            model.parts[name] = build_part(GriffinLim.kind, config, layout).eval()
            model.kinds[name], model.configs[name] = GriffinLim.kind, config
        else:
            model.take(name, load_model(source, wanted=[name]))
    return model


def _read_part(folder: Path) -> TrainedPart:
    path = folder / PART_FILE
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"more than {MAX_JSON_BYTES} bytes")
        return TrainedPart.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EchoesError(f"{path} does not say what was trained ({reason}); go on with the run to mend it.") from error


def _run_parts(part: TrainedPart) -> list[PartName]:
    """What the run trains, and before it what it is used with."""
    return [*part.tokenizers, "vocoder", "transformer"] if part.name == "transformer" else [part.name]


def _source(part: TrainedPart, name: PartName) -> str | None:
    """The model that has a part which the run does not train; None for a vocoder that is in none of them."""
    for tokenizer, source in part.tokenizers.items():
        if tokenizer == name:
            return source
    return next((source for source in part.tokenizers.values() if name in part_names(find_model(source))), None)


def _newest_average(folder: Path, part: TrainedPart, layout: Layout) -> tuple[nn.Module, WeightsFile]:
    checkpoints = folder / CHECKPOINTS
    manifest = next(whole_checkpoints(checkpoints, lambda text: warnings.warn(text, stacklevel=2)), None)
    if manifest is None:
        raise EchoesError(f"{folder} has no whole checkpoint yet; wait for the training's first one.")
    path = checkpoint_path(checkpoints, manifest.step)
    with safe_open(path, framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith(AVERAGE_PREFIX)]  # noqa: SIM118  no dictionary
        weights = {key.removeprefix(AVERAGE_PREFIX): file.get_tensor(key) for key in keys}
    try:
        module = build_part(part.kind, part.config, layout)
        module.load_state_dict(weights)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise EchoesError(f"{folder / PART_FILE} does not describe the checkpoints beside it ({error}).") from error
    return module.float().eval(), WeightsFile(path, manifest.sha256)
