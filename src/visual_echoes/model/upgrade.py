"""What older versions wrote, read as today's, and what is written so that they read it.

Models of before there were streams had two grids, `image` and `audio`, and other names for some parts; the tensors are
the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor

from visual_echoes.model.settings import RENAMED

EVERYTHING = "everything"
_GRIDS = {"image_grid", "image_codes", "audio_grid", "audio_codes"}
_PIECES = {
    "class_slot": "cls_token",
    "bridge": "decoder_embed",
    "embeddings": "token_embedding",
    "places_embedding": "positions",
    "decoder_class_position": "decoder_cls_position",
}


class LaterFields(BaseModel):
    """Settings whose `LATER` fields are written down only where they differ from their defaults.

    A recipe that does not use them keeps the fingerprint it had before there were any, and so its runs go on; a model
    folder that does not use them is read by versions that do not know them. `EVERYTHING` as the context of
    `model_dump` writes them all, under their names of today; otherwise `STORED_AS` has older ones, which are read, too.
    """

    LATER: ClassVar[tuple[str, ...]]
    STORED_AS: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _under_new_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        new_names = {old: new for new, old in cls.STORED_AS.items()}
        old = {new_names[name]: value for name, value in values.items() if name in new_names}
        return old | {name: value for name, value in values.items() if name not in new_names}

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        if info.context == EVERYTHING:
            return handler(self)
        unused = self._unused()
        return {self.STORED_AS.get(name, name): value for name, value in handler(self).items() if name not in unused}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        unused = self._unused()
        return ((name, value) for name, value in super().__repr_args__() if name not in unused)

    def _unused(self) -> set[str]:
        fields = type(self).model_fields
        return {name for name in self.LATER if getattr(self, name) == fields[name].default}


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
