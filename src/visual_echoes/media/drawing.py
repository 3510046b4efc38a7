"""Mels as coloured images, and many images as one.

Shapes: F frames, M mel bands, T mel frames, B cells, H rows, W columns, C colour channels.
"""

from __future__ import annotations

import numpy as np

GAP = 2  # pixels between cells, and around them
ENLARGE = 2  # sheet pixels per pixel along each side

# From quiet to loud. Lightness rises in equal steps in OKLab (Ottosson 2020) while the hue turns from indigo to yellow,
# so equal differences in level look equal, also without colour vision.
_COLOURS = np.array(
    [
        (7, 7, 42), (33, 16, 75), (67, 25, 100), (106, 36, 115), (147, 49, 119), (184, 69, 114),
        (215, 97, 106), (236, 132, 102), (246, 170, 115), (249, 208, 151), (252, 242, 204),
    ]
)  # fmt: skip


def spectrogram(mel_MT: np.ndarray) -> np.ndarray:
    """A log-mel in [0, 1] as uint8 (M, T, C): time to the right, low frequencies at the bottom."""
    level_MT = np.clip(mel_MT[::-1], 0.0, 1.0) * (len(_COLOURS) - 1)
    channels = [np.interp(level_MT, np.arange(len(_COLOURS)), _COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def filmstrip(image: np.ndarray) -> np.ndarray:
    """An image (H, W, C) as it is, or a video's frames (F, H, W, C) side by side, (H, F W, C)."""
    return image if image.ndim == 3 else np.concatenate(image, axis=1)


def tile(cells_BHWC: np.ndarray, rows: int) -> np.ndarray:
    """uint8 cells, row by row, as one enlarged image with black gaps, (height, width, C)."""
    padded = np.pad(cells_BHWC, ((0, 0), (GAP, 0), (GAP, 0), (0, 0)))
    grid = padded.reshape(rows, -1, *padded.shape[1:]).swapaxes(1, 2)
    sheet = grid.reshape(rows * padded.shape[1], -1, padded.shape[-1])
    sheet = np.pad(sheet, ((0, GAP), (0, GAP), (0, 0)))
    return sheet.repeat(ENLARGE, 0).repeat(ENLARGE, 1)
