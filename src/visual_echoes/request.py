"""What a request to a model starts from.

Shapes: I and A token places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from visual_echoes.layout import Modality


@dataclass(frozen=True)
class Given:
    """What a request starts from, fitted to the layout, one row an item; None where there is nothing.

    The masks are over token places, True where they are to be made anew.
    """

    count: int
    pictures: np.ndarray | None = None  # uint8 (n, H, W, C)
    waves: np.ndarray | None = None  # float32 (n, clip_samples)
    image_mask: Tensor | None = None  # bool (I,)
    audio_mask: Tensor | None = None  # bool (A,)

    @property
    def target(self) -> Modality | None:
        """What is made wholly from a wholly given other modality; None for other requests."""
        if self.waves is None and self.pictures is not None and self.image_mask is None:
            return "audio"
        if self.pictures is None and self.waves is not None and self.audio_mask is None:
            return "image"
        return None
