"""Something to send through a model when nothing is given: packaged examples if they fit, else synthetic material."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from visual_echoes.inputs import image_array, sound_array
from visual_echoes.layout import LAYOUTS, Layout

EXAMPLES = "examples"  # in the package, a folder for each layout that has some


def sample_material(layout: Layout) -> tuple[str, np.ndarray, np.ndarray]:
    """What it is, images uint8 (n, H, W, C) and sounds float32 (n, clip_samples), fitted to the layout."""
    folder = Path(str(resources.files("visual_echoes") / EXAMPLES / layout.name))
    if layout == LAYOUTS.get(layout.name) and folder.is_dir():
        images = [image_array(path, layout) for path in sorted(folder.glob("*.png"))]
        sounds = [sound_array(path, layout) for path in sorted(folder.glob("*.wav"))]
        return f"packaged {layout.name}", np.stack(images), np.stack(sounds)
    return "synthetic patterns and tones", _images(layout), _sounds(layout)


def _images(layout: Layout) -> np.ndarray:
    """A gradient, rings that grow finer outwards, and squares."""
    side = np.linspace(-1.0, 1.0, layout.image_size)
    x_HW, y_HW = np.meshgrid(side, side)
    patterns = (
        (x_HW + y_HW) / 2.0,
        np.cos(4.0 * np.pi * (x_HW**2 + y_HW**2)),
        np.sign(np.sin(2.0 * np.pi * x_HW) * np.sin(2.0 * np.pi * y_HW)),
    )
    tints = np.array([1.0, 0.6, 0.3])[: layout.image_channels]
    grey_BHW = np.stack(patterns) * 0.5 + 0.5
    return np.rint(255.0 * grey_BHW[..., None] * tints).astype(np.uint8)


def _sounds(layout: Layout) -> np.ndarray:
    """A rising tone, a chord that is struck and dies away, and bursts of noise."""
    time_N = np.arange(layout.clip_samples) / layout.sample_rate
    share_N = time_N / layout.seconds
    low, high = max(layout.fmin, 100.0), layout.fmax / 2.0
    rising = np.sin(2.0 * np.pi * (low * time_N + (high - low) * time_N * share_N / 2.0))
    chord = sum(np.sin(2.0 * np.pi * low * part * time_N) / part for part in (1, 2, 3, 4, 6)) * np.exp(-4.0 * share_N)
    noise = np.random.default_rng(0).standard_normal(layout.clip_samples) * (np.sin(8.0 * np.pi * share_N) > 0)
    return np.stack([0.5 * wave / np.abs(wave).max() for wave in (rising, chord, noise)]).astype(np.float32)
