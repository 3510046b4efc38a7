"""Masks over pixels and seconds as masks over token places, and back.

Shapes: B batch, h x w token grid, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.media import fit_image


def image_places(mask_HW: np.ndarray | None, layout: Layout) -> Tensor:
    """Picture places a mask touches, bool (picture places,); none for None.

    The mask is fitted as its picture is (centre square, resized), so it may have the picture's own size.
    """
    if mask_HW is None:
        return torch.zeros(layout.image_tokens, dtype=torch.bool)
    if mask_HW.ndim != 2 or 0 in mask_HW.shape:
        raise EchoesError("An image mask must be a two-dimensional array, True where the picture is to be made anew.")
    picture = Image.fromarray((mask_HW != 0).astype(np.uint8) * 255)
    fitted_HW = torch.from_numpy(fit_image(picture, layout.image_size, 1)[..., 0] > 127)
    side = layout.image_factor
    return fitted_HW.unfold(0, side, side).unfold(1, side, side).flatten(2).any(-1).flatten()


def audio_places(stretches: Sequence[tuple[float, float]], layout: Layout) -> Tensor:
    """Sound places that stretches (from, to), in seconds of the fitted clip, touch; bool (sound places,)."""
    rows, columns = layout.audio_grid
    seconds = layout.audio_factor[1] * layout.hop / layout.sample_rate
    start_w = torch.arange(columns) * seconds + layout.mel_offset * layout.hop / layout.sample_rate
    touched_w = torch.zeros(columns, dtype=torch.bool)
    for first, last in stretches:
        if not first < last:
            raise EchoesError(f"The stretch from {first} to {last} seconds is empty; give (from, to) with from < to.")
        touched_w |= (start_w < last) & (start_w + seconds > first)
    return touched_w.expand(rows, columns).flatten()


def enlarge(mask_Bhw: Tensor, factor: tuple[int, int]) -> Tensor:
    """A mask over tokens as one over pixels or mel cells, (B, H, W)."""
    return mask_Bhw.repeat_interleave(factor[0], 1).repeat_interleave(factor[1], 2)
