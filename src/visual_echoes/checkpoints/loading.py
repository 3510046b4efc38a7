"""Loading a model by name: a folder, a packaged model, a hub repository, or what a training has come to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from safetensors import safe_open
from torch import nn

from visual_echoes import __version__
from visual_echoes.checkpoints.hub import fetch_model
from visual_echoes.checkpoints.model import Model, PartName, WeightsFile, build_part
from visual_echoes.checkpoints.model_folder import CONFIG_FILE, load_folder, read_description
from visual_echoes.checkpoints.run_folder import (
    AVERAGE_PREFIX,
    CHECKPOINTS,
    PART_FILE,
    TrainedPart,
    checkpoint_path,
    is_run_folder,
    read_part,
    whole_checkpoints,
)
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.vocoders import GriffinLim

PACKAGED = "models"


def packaged_models() -> list[str]:
    """Names of the models inside the package."""
    folder = resources.files("visual_echoes") / PACKAGED
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def find_model(source: str, revision: str | None = None) -> Path:
    """The folder of a model named by a path, by a packaged name or by a hub repository ("owner/name").

    A path may also be the run folder of a training, which `load_model` reads, too.

    Raises:
        EchoesError: there is no such model, or the hub cannot be reached.
    """
    if source in packaged_models():  # first, so that a folder that happens to bear the name does not hide the model
        return Path(str(resources.files("visual_echoes") / PACKAGED / source))
    if Path(source).is_dir():
        return Path(source)
    if Path(source).exists():
        raise EchoesError(
            f"{source} is a file, not a model folder with {CONFIG_FILE} and safetensors; published checkpoints and "
            "pickles must be converted first, with `echoes convert`."
        )
    if source.count("/") == 1 and not source.startswith((".", "/")):
        return fetch_model(source, revision)
    known = ", ".join(packaged_models()) or "none"
    raise EchoesError(f"There is no model '{source}'; give a folder, a hub repository or a packaged name ({known}).")


def load_model(source: str | Path, revision: str | None = None, wanted: Iterable[PartName] | None = None) -> Model:
    """Load a model folder, or what a training has come to, checking every file against its checksum before it is used.

    Args:
        source: as for `find_model`.
        revision: branch, tag or commit of a hub repository.
        wanted: parts to load; None loads what is there.

    Raises:
        EchoesError: a part is missing, altered, too large or does not fit its config.
    """
    folder = find_model(str(source), revision)
    if is_run_folder(folder):
        return load_run(folder, wanted)
    return load_folder(folder, wanted)


def part_names(folder: Path) -> list[PartName]:
    """The parts that `load_model` finds in a model folder or run folder; `EchoesError` if it does not tell."""
    return _run_parts(read_part(folder)) if is_run_folder(folder) else list(read_description(folder).parts)


def load_run(folder: Path, wanted: Iterable[PartName] | None = None) -> Model:
    """The model a training has come to: the averaged weights of its newest whole checkpoint.

    A transformer brings the tokenizers of its recipe, and the vocoder that lies with one of them or else Griffin-Lim.

    Args:
        folder: a run folder.
        wanted: parts to load; None loads all.

    Raises:
        EchoesError: no whole checkpoint, a tokenizer that is not where the recipe says, or a part that is not there.
    """
    part = read_part(folder)
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
        elif source is None:
            model.parts[name] = GriffinLim(layout).eval()
        else:
            model.take(name, load_model(source, wanted=[name]))
    return model


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
