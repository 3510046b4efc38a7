"""What the evaluation asks of a baseline: tokens of one modality for tokens of the other.

Shapes: B batch, I positions of an image, A of a sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Baseline(Protocol):
    """Translates tokens, int64 on the CPU, places in row-major order; same seed, same result, in any batch."""

    def image_to_audio(self, image_tokens_BI1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Sound tokens (B, A, 1) for image tokens, with one seed an item."""

    def audio_to_image(self, audio_tokens_BA1: Tensor, seeds: Sequence[int]) -> Tensor:
        """Image tokens (B, I, 1) for sound tokens, with one seed an item."""
