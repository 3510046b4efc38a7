"""Masks over pixels and seconds as masks over the positions of the streams "image" and "audio", and back.

Shapes: B batch, h x w token grid, H rows, W columns, S pixels along the centre square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout

_ROUNDING = 1e-6  # seconds: a stretch that ends where a frame begins must not touch it


def image_positions(
    mask_HW: np.ndarray | None, layout: Layout, stretches: Sequence[tuple[float, float]] = ()
) -> Tensor:
    """Positions of the image that a mask touches, bool (positions,); none for None.

    The mask is fitted as its image is (its centre square), so it may have the image's own size. Of a video it is that
    of every frame, or of those that are shown at some time of the stretches (from, to), in seconds of the fitted clip;
    without a mask those frames are touched whole.

    Raises:
        EchoesError: a mask of another shape, an empty stretch, or stretches of a still image.
    """
    if len(stretches) and layout.frames == 1:
        raise EchoesError("This model makes still images, which have no stretches of time; use a mask.")
    touched_hw = _touched(mask_HW, layout) if mask_HW is not None or not len(stretches) else None
    if layout.frames == 1:
        assert touched_hw is not None
        return touched_hw.flatten()
    starts_F = layout.sound_start + torch.arange(layout.frames, dtype=torch.float64) * layout.frame_seconds
    shown_F = torch.full((layout.frames,), not len(stretches))
    for first, last in stretches:
        _check_stretch(first, last)
        shown_F |= (starts_F < last - _ROUNDING) & (starts_F + layout.frame_seconds > first + _ROUNDING)
    whole_hw = torch.ones(layout.image_grid, dtype=torch.bool) if touched_hw is None else touched_hw
    return (shown_F[:, None, None] & whole_hw).flatten()


def _touched(mask_HW: np.ndarray | None, layout: Layout) -> Tensor:
    """Tokens of one frame that a mask touches, bool (h, w)."""
    if mask_HW is None:
        return torch.zeros(layout.image_grid, dtype=torch.bool)
    if mask_HW.ndim != 2 or 0 in mask_HW.shape:
        raise EchoesError("An image mask must be a two-dimensional array, True where the image is to be inpainted.")
    height, width = mask_HW.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square_SS = torch.from_numpy((mask_HW[top : top + side, left : left + side] != 0).astype(np.float32))
    return F.adaptive_max_pool2d(square_SS[None], layout.image_grid)[0] > 0


def audio_positions(stretches: Sequence[tuple[float, float]], layout: Layout) -> Tensor:
    """Positions of the sound that stretches (from, to), in seconds of the fitted clip, touch; bool (positions,)."""
    rows, columns = layout.audio_grid
    # In whole samples: a stretch that ends where a token begins must not touch it for a rounding error.
    token = layout.audio_factor[1] * layout.hop
    start_w = layout.mel_offset * layout.hop + torch.arange(columns) * token
    touched_w = torch.zeros(columns, dtype=torch.bool)
    for first, last in stretches:
        _check_stretch(first, last)
        # Bounded, so that "to the end" may be given as infinity.
        begin, end = (round(min(max(edge * layout.sample_rate, 0.0), layout.clip_samples)) for edge in (first, last))
        touched_w |= (start_w < end) & (start_w + token > begin)
    return touched_w.expand(rows, columns).flatten()


def _check_stretch(first: float, last: float) -> None:
    if not first < last:
        raise EchoesError(f"The stretch from {first} to {last} seconds is empty; give (from, to) with from < to.")


def enlarge(mask_Bhw: Tensor, factor: tuple[int, int]) -> Tensor:
    """A mask over tokens as one over pixels or mel cells, (B, H, W)."""
    return mask_Bhw.repeat_interleave(factor[0], 1).repeat_interleave(factor[1], 2)
