"""A prepared data set: images and sounds as arrays, paired through groups.

Every image and every sound belongs to a group; any image of a group goes with any sound of it. For data paired by
class a group is a class, for videos it is one clip. One safetensors file per split, plus `dataset.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from visual_echoes.data.manifest import DESCRIPTION
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path, write_text
from visual_echoes.layout import Layout
from visual_echoes.media.tensors import pcm_to_wave

Wanted = Literal["images", "sounds"]


@dataclass(frozen=True)
class PairSplit:
    """One split in memory, whose items `sources.Items` describes.

    Attributes:
        images: uint8 (n, channels, size, size).
        image_groups: int64 (n,), indices into the data set's group names.
        sounds: int16 (m, clip_samples).
        sound_groups: int64 (m,).
    """

    images: Tensor
    image_groups: Tensor
    sounds: Tensor
    sound_groups: Tensor

    def count(self, kind: Wanted) -> int:
        return len(self.images if kind == "images" else self.sounds)

    def draw(self, size: int, generator: torch.Generator) -> None:
        return None

    def few(self, each: int) -> PairSplit:
        """The first items of each group, of images and of sounds."""
        images, sounds = (first_of_groups(groups, each) for groups in (self.image_groups, self.sound_groups))
        return PairSplit(self.images[images], self.image_groups[images], self.sounds[sounds], self.sound_groups[sounds])

    def read_images(self, index_B: Tensor, share_B: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
        return self.images[index_B]

    def read_sounds(self, index_B: Tensor, share_B: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
        return pcm_to_wave(self.sounds[index_B])


def write_split(folder: Path, name: str, split: PairSplit) -> None:
    """Write one split; the file appears only when it is complete."""
    with atomic_path(folder / f"{name}.safetensors") as temporary:
        save_file({key: value.contiguous() for key, value in vars(split).items()}, temporary)


def write_description(folder: Path, layout: Layout, groups: list[str], sources: dict[str, str]) -> None:
    """Write `dataset.json`: the layout the arrays were made for, the group names, where the data came from."""
    content = {"layout": layout.to_dict(), "groups": groups, "sources": sources}
    write_text(folder / DESCRIPTION, json.dumps(content, indent=2) + "\n")


def first_of_groups(groups_n: Tensor, most: int) -> Tensor:
    """The first items of each group, at most so many of each, as ascending indices, int64."""
    members = [(groups_n == group).nonzero()[:, 0] for group in groups_n.unique()]
    return torch.cat([index[:most] for index in members]).sort().values


def read_split(folder: Path, name: str, layout: Layout, wanted: Sequence[Wanted] = ("images", "sounds")) -> PairSplit:
    """Load one split; `EchoesError` if it is missing, broken, of another shape, or empty of what is wanted."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise EchoesError(
            f"There is no prepared data at {path}; prepare it first, for instance with `echoes data`, or name the "
            "place that it has moved to with --data."
        )
    try:
        split = PairSplit(**load_file(path))
    except (SafetensorError, TypeError, OSError) as error:
        raise EchoesError(f"{path} is no readable data split ({error}); prepare the data again.") from error
    expected = (layout.image_channels, layout.image_size, layout.image_size), (layout.clip_samples,)
    if (split.images.shape[1:], split.sounds.shape[1:]) != expected:
        raise EchoesError(f"{path} was prepared for another layout than {layout.name!r}; prepare the data again.")
    if not all(map(split.count, wanted)):
        counts = f"{len(split.images)} images and {len(split.sounds)} sounds"
        raise EchoesError(f"{path} holds {counts}; prepare more data.")
    return split


def read_groups(folder: Path) -> list[str]:
    """The group names of a prepared data set."""
    try:
        return list(json.loads((folder / DESCRIPTION).read_text())["groups"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EchoesError(f"{folder / DESCRIPTION} cannot be read ({error}); prepare the data again.") from error
