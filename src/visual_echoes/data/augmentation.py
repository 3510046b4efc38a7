"""Varying training images and sounds at random.

What is drawn comes from a generator of the CPU; images and sounds are varied on the device that they are on.

Shapes: B batch, C channels, H rows, W columns, N samples.
"""

from __future__ import annotations

import math

import torch
from pydantic import ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.model.upgrade import LaterFields


class Augmentation(LaterFields):
    """How training images and sounds are varied; all zero means not at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER = ("wrap",)

    rotation: float = Field(default=0.0, ge=0)  # degrees, either way
    scale: float = Field(default=0.0, ge=0, lt=1)  # share, either way, per axis
    shear: float = Field(default=0.0, ge=0)  # degrees, either way
    shift: float = Field(default=0.0, ge=0, lt=1)  # share of the image's side, either way
    flip: bool = False  # left to right, half of the time
    crop_area: float = Field(default=1.0, gt=0, le=1)  # least share of the image that a random crop keeps; 1: all
    colour: float = Field(default=0.0, ge=0, lt=1)  # share, either way, of brightness, contrast and saturation
    time_shift: float = Field(default=0.0, ge=0)  # seconds, either way
    wrap: bool = False  # a sound goes on with its beginning where speed and shift would bring in silence
    gain_db: float = Field(default=0.0, ge=0)  # decibels, either way
    speed: float = Field(default=0.0, ge=0, lt=1)  # share, either way; the pitch goes with it
    mix_db: float | None = Field(default=None, le=0)  # highest level of another sound put behind; None: no other


MIX_RANGE_DB = 20.0  # how much fainter than `mix_db` a sound behind another may be
WRAP_SECONDS = 0.05  # over which the end of a sound that wraps fades into its beginning
CROP_ASPECT = 4.0 / 3.0  # widest shape of a random crop, and its inverse the narrowest (Szegedy et al. 2015)


def _uniform(count: int, bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2.0 - 1.0) * bound


def vary_images(images_BCHW: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """A random crop and affine map per image; what comes in from outside repeats the border."""
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
    maps_B23 = torch.stack([row_x, row_y], 1).to(images_BCHW.device)
    grid = F.affine_grid(maps_B23, list(images_BCHW.shape), align_corners=False)
    images_BCHW = F.grid_sample(images_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return _colour(images_BCHW, augmentation.colour, generator)


def _colour(images_BCHW: Tensor, bound: float, generator: torch.Generator) -> Tensor:
    """Random brightness, contrast and saturation per image."""
    if bound == 0.0:
        return images_BCHW
    count = len(images_BCHW)
    changes = (_uniform(count, bound, generator).to(images_BCHW.device)[:, None, None, None] for _ in range(3))
    brightness, contrast, saturation = changes
    grey_B1HW = images_BCHW.mean(1, keepdim=True)
    images_BCHW = grey_B1HW + (images_BCHW - grey_B1HW) * (1.0 + saturation)
    middle_B111 = grey_B1HW.mean((2, 3), keepdim=True)
    return (middle_B111 + (images_BCHW - middle_B111) * (1.0 + contrast) + brightness).clamp(-1.0, 1.0)


def _crop(images_BCHW: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """A random rectangle of each image, of at least a share of its area, enlarged to the whole (MAGE's crop)."""
    if smallest == 1.0:
        return images_BCHW
    count = len(images_BCHW)
    area = 1.0 - torch.rand(count, generator=generator) * (1.0 - smallest)
    aspect = torch.exp(_uniform(count, math.log(CROP_ASPECT), generator))
    width, height = ((area * ratio).sqrt().clamp_max(1.0) for ratio in (aspect, 1.0 / aspect))
    x, y = ((1.0 - side) * _uniform(count, 1.0, generator) for side in (width, height))
    zero = torch.zeros(count)
    corners = torch.stack([torch.stack([width, zero, x], -1), torch.stack([zero, height, y], -1)], 1)
    grid = F.affine_grid(corners.to(images_BCHW.device), list(images_BCHW.shape), align_corners=False)
    return F.grid_sample(images_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)


def draw_behind(count: int, items: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor | None:
    """Which of the items is put behind each of some sounds, (B,); None where none is."""
    return None if augmentation.mix_db is None else torch.randint(items, (count,), generator=generator)


def vary_sounds(
    wave_BN: Tensor, behind_BN: Tensor | None, sample_rate: int, augmentation: Augmentation, generator: torch.Generator
) -> Tensor:
    """Per sound a random speed, shift in time and gain, and another one behind it, if given."""
    count = len(wave_BN)
    speed_B = 1.0 + (_uniform(count, augmentation.speed, generator) if augmentation.speed else torch.zeros(count))
    bound = round(augmentation.time_shift * sample_rate)
    shift_B = torch.randint(-bound, bound + 1, (count,), generator=generator)
    fade = round(WRAP_SECONDS * sample_rate) if augmentation.wrap else None
    moved_BN = _move(wave_BN, speed_B.to(wave_BN.device), shift_B.to(wave_BN.device), fade)
    gain = torch.pow(10.0, _uniform(count, augmentation.gain_db, generator) / 20.0).to(wave_BN.device)
    louder_BN = moved_BN * gain[:, None]
    if behind_BN is not None and augmentation.mix_db is not None:
        louder_BN = _mix(louder_BN, behind_BN, augmentation.mix_db, generator)
    return louder_BN.clamp(-1.0, 1.0)


def _move(wave_BN: Tensor, speed_B: Tensor, shift_B: Tensor, fade: int | None) -> Tensor:
    """Sounds played faster or slower about their middle, and later by `shift_B` samples, by linear interpolation.

    Args:
        fade: samples over which the end of a sound becomes its beginning again; None: there is silence around it.
    """
    length = wave_BN.shape[1]
    middle = (length - 1) / 2
    place_N = torch.arange(length, dtype=torch.float64, device=wave_BN.device)
    time_BN = middle + (place_N - middle - shift_B[:, None]) * speed_B[:, None]
    if fade is None:
        wave_BN = F.pad(wave_BN, (1, 1))
        time_BN = (time_BN + 1.0).clamp(0.0, length + 1.0)
    else:
        rise = torch.linspace(0.0, 1.0, fade, device=wave_BN.device)
        start_BF = wave_BN[:, :fade] * rise + wave_BN[:, -fade:] * (1.0 - rise)
        wave_BN = torch.cat([start_BF, wave_BN[:, fade:-fade], start_BF[:, :1]], 1)  # the first sample ends it too
        time_BN = time_BN % (length - fade)
    before_BN = time_BN.long().clamp_max(wave_BN.shape[1] - 2)
    share_BN = (time_BN - before_BN).float()
    return wave_BN.gather(1, before_BN) * (1.0 - share_BN) + wave_BN.gather(1, before_BN + 1) * share_BN


def _mix(wave_BN: Tensor, behind_BN: Tensor, loudest_db: float, generator: torch.Generator) -> Tensor:
    """The sums of sounds and fainter ones, whose level relative to theirs is random."""
    level_db = loudest_db - torch.rand(len(wave_BN), generator=generator) * MIX_RANGE_DB
    power_B, behind_B = (x.square().mean(1).clamp_min(1e-12) for x in (wave_BN, behind_BN))
    factor_B = torch.pow(10.0, level_db / 20.0).to(wave_BN.device) * (power_B / behind_B).sqrt()
    return wave_BN + behind_BN * factor_B[:, None]
