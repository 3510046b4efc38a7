"""Pixels and samples as tensors, and back.

Shapes: B batch, C channels, H rows, W columns, N samples.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pixels_to_unit(images_BCHW: Tensor) -> Tensor:
    """uint8 pixels to the tokenizer's [-1, 1]."""
    return images_BCHW.float() / 127.5 - 1.0


def unit_to_pixels(images_BCHW: Tensor) -> Tensor:
    """[-1, 1] to uint8 pixels, clipped and rounded."""
    return ((images_BCHW.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def pcm_to_wave(sounds_BN: Tensor) -> Tensor:
    """int16 samples to float32 in [-1, 1)."""
    return sounds_BN.float() / 32768.0
