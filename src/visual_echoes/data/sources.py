"""Where tokenizers and vocoder get their training batches: pictures, sounds and mels, varied at random.

Shapes: B batch, C channels, H rows, W columns, N samples.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.data.pairs import PairSplit, pcm_to_wave, pixels_to_unit
from visual_echoes.layout import Layout
from visual_echoes.mel import mel_to_unit, wave_to_mel


class Augmentation(BaseModel):
    """How training pictures and sounds are varied; all zero means not at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: float = Field(default=0.0, ge=0)  # degrees, either way
    scale: float = Field(default=0.0, ge=0, lt=1)  # share, either way, per axis
    shear: float = Field(default=0.0, ge=0)  # degrees, either way
    shift: float = Field(default=0.0, ge=0, lt=1)  # share of the picture's side, either way
    flip: bool = False  # left to right, half of the time
    crop_area: float = Field(default=1.0, gt=0, le=1)  # least share of the picture that a random crop keeps; 1: all
    time_shift: float = Field(default=0.0, ge=0)  # seconds, either way
    gain_db: float = Field(default=0.0, ge=0)  # decibels, either way


CROP_ASPECT = 4.0 / 3.0  # widest shape of a random crop, and its inverse the narrowest (Szegedy et al. 2015)


class Source(Protocol):
    """Training items by index."""

    def __len__(self) -> int: ...

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        """Items in [-1, 1], varied at random when a generator is given.

        Pictures and mels, which a tokenizer takes, are (B, C, H, W), sounds are (B, N).
        """


class PictureSource:
    """Pictures of a split."""

    def __init__(self, split: PairSplit, augmentation: Augmentation) -> None:
        self.images, self.augmentation = split.images, augmentation

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        images_BCHW = pixels_to_unit(self.images[index_B])
        return images_BCHW if generator is None else vary_pictures(images_BCHW, self.augmentation, generator)


class WaveSource:
    """Sounds of a split, `layout.clip_samples` long."""

    def __init__(self, split: PairSplit, layout: Layout, augmentation: Augmentation) -> None:
        self.sounds, self.layout, self.augmentation = split.sounds, layout, augmentation

    def __len__(self) -> int:
        return len(self.sounds)

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        wave_BN = pcm_to_wave(self.sounds[index_B])
        if generator is None:
            return wave_BN
        return vary_sounds(wave_BN, self.layout.sample_rate, self.augmentation, generator)


class MelSource:
    """Mels of sounds, one channel."""

    def __init__(self, waves: Source, layout: Layout) -> None:
        self.waves, self.layout = waves, layout

    def __len__(self) -> int:
        return len(self.waves)

    def take(self, index_B: Tensor, generator: torch.Generator | None) -> Tensor:
        return mel_to_unit(wave_to_mel(self.waves.take(index_B, generator), self.layout))


def _uniform(count: int, bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2.0 - 1.0) * bound


def vary_pictures(images_BCHW: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """A random crop and affine map per picture; what comes in from outside repeats the border."""
    count = len(images_BCHW)
    images_BCHW = _crop(images_BCHW, augmentation.crop_area, generator)
    angle = _uniform(count, math.radians(augmentation.rotation), generator)
    shear = torch.tan(_uniform(count, math.radians(augmentation.shear), generator))
    scale_x = 1.0 + _uniform(count, augmentation.scale, generator)
    scale_y = 1.0 + _uniform(count, augmentation.scale, generator)
    shift_x = _uniform(count, 2.0 * augmentation.shift, generator)
    shift_y = _uniform(count, 2.0 * augmentation.shift, generator)
    if augmentation.flip:
        scale_x = torch.where(torch.rand(count, generator=generator) < 0.5, -scale_x, scale_x)
    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([cos * scale_x, cos * shear - sin * scale_y, shift_x], -1)
    row_y = torch.stack([sin * scale_x, sin * shear + cos * scale_y, shift_y], -1)
    grid = F.affine_grid(torch.stack([row_x, row_y], 1), list(images_BCHW.shape), align_corners=False)
    return F.grid_sample(images_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _crop(images_BCHW: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """A random rectangle of each picture, of at least a share of its area, enlarged to the whole (MAGE's crop)."""
    if smallest == 1.0:
        return images_BCHW
    count = len(images_BCHW)
    area = 1.0 - torch.rand(count, generator=generator) * (1.0 - smallest)
    aspect = torch.exp(_uniform(count, math.log(CROP_ASPECT), generator))
    width, height = ((area * ratio).sqrt().clamp_max(1.0) for ratio in (aspect, 1.0 / aspect))
    x, y = ((1.0 - side) * _uniform(count, 1.0, generator) for side in (width, height))
    zero = torch.zeros(count)
    corners = torch.stack([torch.stack([width, zero, x], -1), torch.stack([zero, height, y], -1)], 1)
    grid = F.affine_grid(corners, list(images_BCHW.shape), align_corners=False)
    return F.grid_sample(images_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)


def vary_sounds(wave_BN: Tensor, sample_rate: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """A random shift in time (filled with silence) and a random gain per sound."""
    count, length = wave_BN.shape
    bound = round(augmentation.time_shift * sample_rate)
    shift = torch.randint(-bound, bound + 1, (count, 1), generator=generator)
    place_BN = torch.arange(length) - shift
    inside_BN = (place_BN >= 0) & (place_BN < length)
    shifted_BN = wave_BN.gather(1, place_BN.clamp(0, length - 1)) * inside_BN
    gain = torch.pow(10.0, _uniform(count, augmentation.gain_db, generator) / 20.0)
    return (shifted_BN * gain[:, None]).clamp(-1.0, 1.0)
