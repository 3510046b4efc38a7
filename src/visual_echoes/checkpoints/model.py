"""A model in memory: its parts, what they were built from and where their weights were read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError
from torch import nn

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Concern, Layout, Modality
from visual_echoes.model.confidence import Calibration
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.streams import by_name
from visual_echoes.tokenizers.base import Tokenizer, check_fits
from visual_echoes.tokenizers.cells import CellConfig, CellTokenizer
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN, MageVQGANConfig
from visual_echoes.tokenizers.semantic import (
    AudioSemanticConfig,
    AudioSemanticTokenizer,
    ImageSemanticConfig,
    ImageSemanticTokenizer,
    SemanticTokenizer,
)
from visual_echoes.tokenizers.taef import TAEFConfig, TAEFTokenizer
from visual_echoes.tokenizers.vqgan import VQGAN, VQGANConfig
from visual_echoes.vocoders import build_vocoder

PartName = Literal["image_vqgan", "audio_vqgan", "image_semantic", "audio_semantic", "transformer", "vocoder"]

PART_NAMES: tuple[PartName, ...] = get_args(PartName)
# What of a layout each part depends on.
_CONCERNS: dict[PartName, Concern] = {
    "image_vqgan": "image",
    "audio_vqgan": "cells",
    "audio_semantic": "mel",
    "transformer": "all",
    "vocoder": "mel",
}
_NETWORKS: dict[str, tuple[Callable[..., nn.Module], type[BaseModel]]] = {
    VQGAN.kind: (VQGAN, VQGANConfig),
    MageVQGAN.kind: (MageVQGAN, MageVQGANConfig),
    CellTokenizer.kind: (CellTokenizer, CellConfig),
    TAEFTokenizer.kind: (TAEFTokenizer, TAEFConfig),
    ImageSemanticTokenizer.kind: (ImageSemanticTokenizer, ImageSemanticConfig),
    AudioSemanticTokenizer.kind: (AudioSemanticTokenizer, AudioSemanticConfig),
    EchoTransformer.kind: (FastTransformer, TransformerConfig),
}  # by what a folder calls them, beside the vocoders


@dataclass(frozen=True)
class WeightsFile:
    """The file that a part's weights were read from, and its SHA-256."""

    path: Path
    sha256: str


@dataclass
class Model:
    """The parts of a model, built and in eval mode; `files` has those whose weights were read.

    Attributes:
        folder: where the weights can be read as they were, if some parts are rounded; else None.
    """

    name: str
    version: str
    layout: Layout
    parts: dict[PartName, nn.Module]
    sampling: SamplingSettings
    card: str = ""
    files: dict[PartName, WeightsFile] = field(default_factory=dict)
    calibration: dict[Modality, Calibration] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def kinds(self) -> dict[PartName, str]:
        """What network each part is, as a folder calls it."""
        return {name: kind_and_config(part)[0] for name, part in self.parts.items()}

    def take(self, name: PartName, other: Model) -> None:
        """Bring in a part of another model, in place of one's own if there is one."""
        self.parts[name] = other.parts[name]
        self.files.pop(name, None)
        if name in other.files:
            self.files[name] = other.files[name]


def build_part(kind: str, config: dict[str, Any], layout: Layout) -> nn.Module:
    """An untrained part of a kind; `ValueError` if the config does not fit."""
    if kind in _NETWORKS:
        network, config_type = _NETWORKS[kind]
        return network(config_type.model_validate(config))
    return build_vocoder(kind, config, layout)


def kind_and_config(part: Any) -> tuple[str, dict[str, Any]]:
    """What `build_part` makes such a part of; a model folder holds it as JSON."""
    return part.kind, part.config.model_dump(mode="json")


def reason(error: Exception) -> str:
    """What is wrong, in one line: of a config, its first problem."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return " ".join(str(error).split())


def check_layout(folder: Path, name: PartName, part: nn.Module, layout: Layout) -> None:
    """Refuse a part whose own shape contradicts the folder's layout; vocoders see to that themselves."""
    if isinstance(part, Tokenizer) and (name == "image_vqgan" or name == "audio_vqgan"):
        check_fits(part.config, layout, name, folder)
    elif isinstance(part, SemanticTokenizer):
        check_stream(part, layout, folder)
    elif isinstance(part, EchoTransformer):
        part.config.check_fits(layout, folder)


def check_made_for(name: PartName, made_for: Layout, layout: Layout, source: object) -> None:
    """Refuse with `EchoesError` a part that was made for a layout which differs where it matters to the part."""
    fields = made_for.differences(layout, _CONCERNS[name]) if name in _CONCERNS else []
    if fields:
        raise EchoesError(
            f"The {name} of {source} was made for layout {made_for.name!r}, not {layout.name!r} as it is here: they "
            f"differ in {', '.join(fields)}; take parts of one layout."
        )


def check_stream(part: SemanticTokenizer, layout: Layout, source: object) -> None:
    """Refuse with `EchoesError` a semantic tokenizer whose codes are not those of the layout's stream.

    Args:
        source: where it comes from, for the message.
    """
    name = part.stream
    stream = by_name(layout.streams).get(name)
    if stream is None:
        raise EchoesError(f"Layout {layout.name!r} has no stream {name!r}, which {source} brings a tokenizer for.")
    if (part.config.codes, part.config.depth) != (stream.codes, stream.depth):
        raise EchoesError(
            f"The {name} of {source} has {part.config.depth} x {part.config.codes} codes a position, but layout "
            f"{layout.name!r} has {stream.depth} x {stream.codes}; choose a layout or a checkpoint that fits."
        )
    if isinstance(part, AudioSemanticTokenizer) and part.config.positions(layout.mel_frames) != stream.positions:
        raise EchoesError(
            f"The {name} of {source} makes {part.config.positions(layout.mel_frames)} tokens of a sound, but layout "
            f"{layout.name!r} has {stream.positions}; choose a layout or a checkpoint that fits."
        )
