"""Configs, sampling settings and weights of models of before there were streams, as today's.

They had two grids, `image` and `audio`, and other names for some parts; the tensors are the same.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from visual_echoes.model.settings import RENAMED

_GRIDS = {"image_grid", "image_codes", "audio_grid", "audio_codes"}
_PIECES = {
    "class_slot": "cls_token",
    "bridge": "decoder_embed",
    "embeddings": "token_embedding",
    "places_embedding": "positions",
    "decoder_class_position": "decoder_cls_position",
}


def upgraded_config(values: Any) -> Any:
    """The fields of a network's config; those of today as they are."""
    if not isinstance(values, dict):
        return values
    values = dict(values)
    if values.keys() >= _GRIDS:
        values["streams"] = [
            {"name": name, "source": name, "shape": values.pop(f"{name}_grid"), "codes": values.pop(f"{name}_codes")}
            for name in ("image", "audio")
        ]
    if "pad" in values:  # also of recipes, which keep the name
        pad = values.pop("pad")
        values["mask_fill"] = "cls" if pad == "class_feature" else pad
    if "decoder_class_position" in values:
        values["decoder_cls_position"] = values.pop("decoder_class_position")
    return values


def upgraded_sampling(values: Any) -> Any:
    """A model's sampling settings; those of today as they are."""
    if not isinstance(values, dict) or "convention" not in values:
        return values
    values = {name: value for name, value in values.items() if name not in ("guidance_every", "confidence")}
    if values.pop("convention") == "extrapolate" and isinstance(values.get("guidance"), int | float):
        values["guidance"] += 1.0
    return {RENAMED.get(name, name): value for name, value in values.items()}


def upgraded_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights under the names of today; those of today as they are."""
    return {upgraded_name(name): tensor for name, tensor in tensors.items()}


def upgraded_name(name: str) -> str:
    """Today's name of a tensor or a piece of a network."""
    piece, *rest = name.split(".")
    piece = _PIECES.get(piece, piece)
    if piece == "heads" and len(rest) > 1 and not rest[1].isdigit():
        rest.insert(1, "0")  # there was one code a position
    return ".".join([piece, *rest])
