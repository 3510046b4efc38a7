"""A training's run folder as others read it: the recipe, the trained part, and the checkpoints that are whole.

`recipe.json` is the resolved recipe and `part.json` the part it trains, both written at the start of the run. A
checkpoint is `checkpoints/step-00000500.safetensors` with all tensors, and beside it `step-00000500.json`, its
manifest, written after it. A checkpoint without manifest, or with other bytes than the manifest says, is torn and
never used. No pickle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from visual_echoes.checkpoints.model import PartName
from visual_echoes.checkpoints.model_folder import CONFIG_FILE
from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest, read_limited

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
    """What a run trains, and where the parts are that it needs for making sounds and images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: PartName
    kind: str
    config: dict[str, Any]
    layout: dict[str, Any]
    tokenizers: dict[PartName, str] = {}


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
    try:
        return CheckpointManifest.model_validate_json(read_limited(manifest_path(checkpoint), MAX_JSON_BYTES))
    except (OSError, ValueError):
        return None


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
    return read_part(folder).name


def read_part(folder: Path) -> TrainedPart:
    path = folder / PART_FILE
    try:
        return TrainedPart.model_validate_json(read_limited(path, MAX_JSON_BYTES))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EchoesError(f"{path} does not say what was trained ({reason}); go on with the run to mend it.") from error
