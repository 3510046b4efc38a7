"""A model folder: `config.json`, one safetensors file per part with its checksum, and a model card. No pickle.

The same format holds a whole model (both tokenizers, transformer, vocoder) and what one training exports (one part). A
model is named by a folder, by the name of a model inside the package, or by a repository of the Hugging Face hub.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, field_validator
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from visual_echoes.checkpoints.eight_bits import packed, unpacked
from visual_echoes.checkpoints.model import (
    Model,
    PartName,
    WeightsFile,
    build_part,
    check_layout,
    kind_and_config,
    reason,
)
from visual_echoes.errors import EchoesError
from visual_echoes.files import read_checked, read_limited, write_bytes, write_text
from visual_echoes.layout import Layout, Modality
from visual_echoes.machine import without_memory
from visual_echoes.model.confidence import Calibration
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.model.upgrade import upgraded_sampling, upgraded_tensors
from visual_echoes.vocoders import GriffinLim

FORMAT = 2
WITH_EIGHT_BITS = 3  # the same, with parts whose weights are in eight bits, which older versions do not know
FORMATS = (1, FORMAT, WITH_EIGHT_BITS)  # that are read; 1 is of before there were streams (`model/upgrade.py`)
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
CREDITS_FILE = "CREDITS.csv"  # authors of the training data, where licences ask for them
MAX_CONFIG_BYTES = 1 << 20
MAX_PART_BYTES = 8 << 30
_BESIDE = re.compile(r"\w[\w-]*/\w+\.safetensors", re.ASCII)  # a part in a model folder beside


class PartDescription(BaseModel):
    """One part: what network it is, how to build it, and the file that holds its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str  # of tokenizer or vocoder, or "transformer"
    config: dict[str, Any]
    file: str | None  # beside the config, or MODEL/FILE in a model folder beside this one; None: no weights
    sha256: str | None


class ModelDescription(BaseModel):
    """The content of `config.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    name: str
    version: str
    layout: dict[str, Any]
    parts: dict[PartName, PartDescription]
    sampling: SamplingSettings
    calibration: dict[Modality, Calibration] = {}  # by what is made

    @field_validator("sampling", mode="before")
    @classmethod
    def _of_older_models(cls, values: Any) -> Any:
        return upgraded_sampling(values)


def save_model(folder: Path, model: Model, half: bool, eight_bits: Collection[PartName] = ()) -> None:
    """Write a model folder; with `half`, weights are stored in float16, those of the parts `eight_bits` in eight bits.

    Credits that lie beside the model's weights go along. `config.json` is written last, so an interrupted save is not
    mistaken for a model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptions: dict[PartName, PartDescription] = {}
    for name, part in model.parts.items():
        tensors = {
            key: (value.half() if half and value.is_floating_point() else value).detach().cpu().contiguous()
            for key, value in part.state_dict().items()
        }
        if name in eight_bits:
            tensors = packed(tensors)
        file = digest = None
        if tensors:
            content = save_tensors(tensors)
            file, digest = f"{name}.safetensors", hashlib.sha256(content).hexdigest()
            write_bytes(folder / file, content)
        kind, config = kind_and_config(part)
        descriptions[name] = PartDescription(kind=kind, config=config, file=file, sha256=digest)
    description = ModelDescription(
        format=WITH_EIGHT_BITS if eight_bits else FORMAT, name=model.name, version=model.version,
        layout=model.layout.to_dict(), parts=descriptions, sampling=model.sampling, calibration=model.calibration,
    )  # fmt: skip
    if model.card:
        write_text(folder / CARD_FILE, model.card)
    for credits in {weights.path.with_name(CREDITS_FILE) for weights in model.files.values()}:
        if credits.is_file():
            write_bytes(folder / CREDITS_FILE, credits.read_bytes())
    _write_description(folder, description)


def set_calibration(folder: Path, calibration: dict[Modality, Calibration]) -> None:
    """Put into a model folder's config how sure the model is; `EchoesError` if it is no model folder."""
    description = read_description(folder)
    _write_description(folder, description.model_copy(update={"calibration": calibration}))


def _write_description(folder: Path, description: ModelDescription) -> None:
    left_out = None if description.calibration else {"calibration"}  # which older versions do not know
    write_text(folder / CONFIG_FILE, json.dumps(description.model_dump(mode="json", exclude=left_out), indent=2) + "\n")


def read_description(folder: Path) -> ModelDescription:
    """Read and check `config.json`; `EchoesError` when it is missing, too large, malformed or of a newer format."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise EchoesError(f"{folder} is no model folder: {CONFIG_FILE} is missing.")
    try:
        content = json.loads(read_limited(path, MAX_CONFIG_BYTES))
        if isinstance(content, dict) and content.get("format") not in FORMATS:
            raise EchoesError(f"{path} has format {content.get('format')!r}, this version reads {FORMATS[-1]}; update.")
        return ModelDescription.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:
        raise EchoesError(f"{path} is no valid model config ({reason(error)}); get the folder again.") from error


def load_folder(folder: Path, wanted: Iterable[PartName] | None = None) -> Model:
    """Load a model folder, checking every file against its checksum before it is used; see `loading.load_model`."""
    description = read_description(folder)
    try:
        layout = Layout.from_dict(description.layout)
    except (KeyError, TypeError, ValueError) as error:
        raise EchoesError(
            f"{folder / CONFIG_FILE} describes no valid layout ({reason(error)}); get the folder again."
        ) from error
    card = folder / CARD_FILE
    model = Model(
        name=description.name, version=description.version, layout=layout, parts={}, sampling=description.sampling,
        card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
        calibration=description.calibration,
    )  # fmt: skip
    for name in description.parts if wanted is None else wanted:
        if name not in description.parts:
            raise EchoesError(f"{folder} has no {name}; choose a model folder that has one.")
        part = description.parts[name]
        model.parts[name] = _load_part(folder, name, part, layout)
        if part.file is not None and part.sha256 is not None:
            model.files[name] = WeightsFile(_weights_path(folder, part.file), part.sha256)
    return model


def _load_part(folder: Path, name: PartName, part: PartDescription, layout: Layout) -> nn.Module:
    if part.file is None and part.kind != GriffinLim.kind:
        raise EchoesError(f"{folder / CONFIG_FILE} names no weights for {name}; get the folder again.")
    try:
        tensors = {}
        if part.file is not None:
            # Without memory, so that a config cannot ask for more than its file holds.
            with without_memory():
                module = build_part(part.kind, part.config, layout)
            check_layout(folder, name, module, layout)
            tensors = _read_tensors(folder, part, module)
        else:
            module = build_part(part.kind, part.config, layout)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise EchoesError(
            f"{folder / CONFIG_FILE} describes no valid {name} ({reason(error)}); get the folder again."
        ) from error
    module.load_state_dict(tensors, assign=True)
    return module.eval()


def _read_tensors(folder: Path, part: PartDescription, blueprint: nn.Module) -> dict[str, torch.Tensor]:
    assert part.file is not None
    path = _weights_path(folder, part.file)
    content = read_checked(path, MAX_PART_BYTES, part.sha256, "get the model folder again")
    try:
        tensors = unpacked(load_tensors(content))
    except (SafetensorError, ValueError) as error:
        raise EchoesError(f"{path} is no safetensors file ({error}); get the model folder again.") from error
    if isinstance(blueprint, EchoTransformer):
        tensors = upgraded_tensors(tensors)
    del content  # so that no more than one copy is held beside what the part keeps
    wanted = blueprint.state_dict()
    expected = {key: value.shape for key, value in wanted.items()}
    found = {key: value.shape for key, value in tensors.items()}
    if expected != found:
        odd = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise EchoesError(f"{path} does not fit its config: {odd[0]} and {len(odd) - 1} more tensors differ.")
    # One by one: what is read of each goes before the next. Copies also where the type is right: torch aligns its own.
    return {key: tensors.pop(key).to(wanted[key].dtype, copy=True) for key in list(tensors)}


def _weights_path(folder: Path, file: str) -> Path:
    """Where the weights are that a config names; models of this package share parts instead of holding each twice."""
    shared = _BESIDE.fullmatch(file) is not None
    if not shared and (Path(file).name != file or not file.endswith(".safetensors")):
        raise EchoesError(f"{folder / CONFIG_FILE} names the file {file!r}; only safetensors beside it are read.")
    return (folder.resolve().parent if shared else folder) / file
