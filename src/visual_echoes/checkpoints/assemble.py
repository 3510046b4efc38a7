"""One model out of the parts that separate trainings left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from visual_echoes import __version__
from visual_echoes.checkpoints.loading import find_model, load_model, part_names
from visual_echoes.checkpoints.model import PART_NAMES, Model, PartName, check_made_for, check_stream
from visual_echoes.checkpoints.run_folder import is_run_folder, trained_part
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.tokenizers.semantic import SemanticName, SemanticTokenizer
from visual_echoes.vocoders import GriffinLim


def assemble(
    folders: Sequence[Path], name: str, card: str, sampling: SamplingSettings, base: str | None = None
) -> Model:
    """Merge models of one or more parts each. Without a vocoder among them, Griffin-Lim takes its place.

    Args:
        folders: what the trainings exported, or run folders, of which the part that they train is taken.
        name: the model's name.
        card: the model card's text, Markdown.
        sampling: the model's own sampling settings.
        base: a model that brings what the folders do not.

    Raises:
        EchoesError: a folder is unusable, the layouts of parts do not fit together, a part comes twice or is missing.
    """
    if not folders:
        raise EchoesError("A model needs parts; name the folders they were trained in.")
    wanted = [[trained_part(folder)] if is_run_folder(folder) else None for folder in folders]
    models = [load_model(folder, wanted=names) for folder, names in zip(folders, wanted, strict=True)]
    if base is not None:
        brought = {part for model in models for part in model.parts}
        left = [part for part in part_names(find_model(base)) if part not in brought]
        folders, models = [*folders, Path(base)], [*models, load_model(base, wanted=left)]
    layout = _common_layout(folders, models)
    merged = Model(name=name, version=__version__, layout=layout, parts={}, sampling=sampling, card=card)
    for folder, model in zip(folders, models, strict=True):
        for part in model.parts:
            if part in merged.parts:
                raise EchoesError(f"{folder} brings a second {part}; name only one folder that has it.")
            merged.take(part, model)
    if "vocoder" not in merged.parts:
        merged.parts["vocoder"] = GriffinLim(layout).eval()
    streams = {stream.name for stream in layout.streams}
    needed = [part for part in PART_NAMES if part not in get_args(SemanticName) or part in streams]
    missing = [part for part in needed if part not in merged.parts]
    if missing:
        raise EchoesError(f"The folders hold no {' and no '.join(missing)}; add the folder that has it.")
    return merged


def _common_layout(folders: Sequence[Path], models: Sequence[Model]) -> Layout:
    """The transformer's, which was trained on the tokens of all others, checked against theirs."""
    owners: dict[PartName, Layout] = {part: model.layout for model in models for part in model.parts}
    first = models[0].layout
    layout = owners.get("transformer") or owners.get("image_vqgan", first).joined(owners.get("audio_vqgan", first))
    for folder, model in zip(folders, models, strict=True):
        for part, network in model.parts.items():
            if isinstance(network, SemanticTokenizer):
                check_stream(network, layout, folder)
            check_made_for(part, model.layout, layout, folder)
    return layout
