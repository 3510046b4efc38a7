"""Images that mislead a model: of nothing, of noise, of other things than it was trained on.

Shapes: B images, H rows, W columns, C channels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visual_echoes.layout import Layout
from visual_echoes.studies.plan import Kind

LETTERS = "ACEFHJKLMNPRTUVWXY"  # those that are no digit's shape
LETTER_SIZE = 0.8  # of the image's side
SHIFT = 0.08
WAVES = 3  # plane waves in an abstract pattern
HIGHEST_FREQUENCY = 4.0  # periods along the image's side


def misleading_images(kind: Kind, count: int, layout: Layout, seed: int) -> np.ndarray:
    """uint8 images (B, H, W, C) of a kind other than "real"."""
    noise = np.random.default_rng(seed)
    side, channels = layout.image_size, layout.image_channels
    shape = count, side, side, channels
    if kind == "noise":
        return noise.integers(0, 256, shape, dtype=np.uint8)
    if kind == "unrelated":
        grey_BHW = np.stack([_letter(side, noise) for _ in range(count)])
    elif kind == "abstract":
        grey_BHW = np.stack([_pattern(side, noise) for _ in range(count)])
    else:
        return np.full(shape, {"black": 0, "white": 255}[kind], np.uint8)
    tint_B11C = noise.uniform(0.4, 1.0, (count, 1, 1, channels)) if channels > 1 else 1.0
    return np.rint(grey_BHW[..., None] * tint_B11C).astype(np.uint8)


def _letter(side: int, noise: np.random.Generator) -> np.ndarray:
    """A white letter on black, uint8 (H, W)."""
    image = Image.new("L", (side, side))
    centre = side / 2 + noise.uniform(-SHIFT, SHIFT, 2) * side
    font = ImageFont.load_default(LETTER_SIZE * side)
    text = LETTERS[noise.integers(len(LETTERS))]
    ImageDraw.Draw(image).text((centre[0], centre[1]), text, 255, font, anchor="mm")
    return np.asarray(image)


def _pattern(side: int, noise: np.random.Generator) -> np.ndarray:
    """Plane waves of random directions and phases on each other, in [0, 255], (H, W)."""
    share_H, share_W = np.arange(side)[:, None] / side, np.arange(side) / side
    frequency_K2 = noise.uniform(-HIGHEST_FREQUENCY, HIGHEST_FREQUENCY, (WAVES, 2))
    phase_K = noise.uniform(0, 2 * np.pi, WAVES)
    waves = [
        np.sin(2 * np.pi * (down * share_H + across * share_W) + phase)
        for (down, across), phase in zip(frequency_K2, phase_K, strict=True)
    ]
    return 127.5 * (1.0 + np.mean(waves, axis=0))
