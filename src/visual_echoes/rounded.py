"""Loading a model for use alone: weights in the precision in which they run, and none held twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from visual_echoes.checkpoints.loading import find_model, load_model, part_names
from visual_echoes.checkpoints.model import Model
from visual_echoes.codec import decoders_to_round
from visual_echoes.model.precision import Wanted, choose, in_precision, round_decoder
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.onnx.graphs import read_manifest


def load_rounded(source: str | Path, revision: str | None, wanted: Wanted, device: torch.device) -> Model:
    """As `load_model`, with rounded weights where a lower precision runs; `exact` gives them as they were read.

    Args:
        wanted: as `precision.choose` takes it.

    Raises:
        EchoesError: as `load_model` and `precision.choose` raise it.
    """
    folder = find_model(str(source), revision)
    if read_manifest(folder) is not None:  # what graphs run in place of is not held twice
        return load_model(folder)
    model, names = load_model(folder, wanted=[]), part_names(folder)
    # The transformer before the others: while it is rounded it is there twice.
    for name in sorted(names, key=lambda name: name != "transformer"):
        model.take(name, load_model(folder, wanted=[name]))
        if name == "transformer":
            model.parts[name] = _rounded(cast(EchoTransformer, model.parts[name]), wanted, device)
    for decoder in decoders_to_round(model, wanted, device) - {"vocoder"}:  # which is rounded once it is folded
        round_decoder(model.parts[decoder])
    return replace(model, parts={name: model.parts[name] for name in names}, folder=folder)


def _rounded(transformer: EchoTransformer, wanted: Wanted, device: torch.device) -> EchoTransformer:
    return in_precision(transformer, choose(wanted, device, transformer.config))


def exact(model: Model) -> Model:
    """The model with the weights as they were read; itself, where none were rounded. Parts that it took since stay."""
    if model.folder is None:
        return model
    again = load_model(model.folder)
    same = {name: part for name, part in again.parts.items() if model.files.get(name) == again.files.get(name)}
    return replace(model, parts={name: same.get(name, part) for name, part in model.parts.items()}, folder=None)
