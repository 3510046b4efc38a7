"""Masks over pixels and seconds as masks over token places, and back.

Shapes: B batch, h x w token grid, H rows, W columns, S pixels along the centre square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout


def image_places(mask_HW: np.ndarray | None, layout: Layout) -> Tensor:
    """Image places a mask touches, bool (image places,); none for None.

    The mask is fitted as its image is (its centre square), so it may have the image's own size.
    """
    if mask_HW is None:
        return torch.zeros(layout.image_tokens, dtype=torch.bool)
    if mask_HW.ndim != 2 or 0 in mask_HW.shape:
        raise EchoesError("An image mask must be a two-dimensional array, True where the image is to be made anew.")
    height, width = mask_HW.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square_SS = (mask_HW[top : top + side, left : left + side] != 0).astype(np.float32)
    down_hS, across_wS = (_overlaps(tokens, side) for tokens in layout.image_grid)
    return torch.from_numpy(down_hS @ square_SS @ across_wS.T > 0).flatten()


def _overlaps(tokens: int, pixels: int) -> np.ndarray:
    """1 where two divisions of one side, into tokens and into pixels, overlap; float32 (tokens, pixels)."""
    token, pixel = np.arange(tokens)[:, None], np.arange(pixels)
    return ((pixel * tokens < (token + 1) * pixels) & ((pixel + 1) * tokens > token * pixels)).astype(np.float32)


def audio_places(stretches: Sequence[tuple[float, float]], layout: Layout) -> Tensor:
    """Sound places that stretches (from, to), in seconds of the fitted clip, touch; bool (sound places,)."""
    rows, columns = layout.audio_grid
    # In whole samples: a stretch that ends where a token begins must not touch it for a rounding error.
    token = layout.audio_factor[1] * layout.hop
    start_w = layout.mel_offset * layout.hop + torch.arange(columns) * token
    touched_w = torch.zeros(columns, dtype=torch.bool)
    for first, last in stretches:
        if not first < last:
            raise EchoesError(f"The stretch from {first} to {last} seconds is empty; give (from, to) with from < to.")
        # Bounded, so that "to the end" may be given as infinity.
        begin, end = (round(min(max(edge * layout.sample_rate, 0.0), layout.clip_samples)) for edge in (first, last))
        touched_w |= (start_w < end) & (start_w + token > begin)
    return touched_w.expand(rows, columns).flatten()


def enlarge(mask_Bhw: Tensor, factor: tuple[int, int]) -> Tensor:
    """A mask over tokens as one over pixels or mel cells, (B, H, W)."""
    return mask_Bhw.repeat_interleave(factor[0], 1).repeat_interleave(factor[1], 2)
