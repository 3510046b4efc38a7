"""What of an image CLIP sees: the same pixels as with the transform that openai publishes with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from visual_echoes.metrics.networks import clip


def original_placement(width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """torchvision's `Resize(224)` and `CenterCrop(224)`, which openai's transform is made of."""
    short, long = sorted((width, height))
    longer = int(224 * long / short)
    size = (224, longer) if width <= height else (longer, 224)
    return size, (round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0))


def test_every_size_is_placed_as_by_openai() -> None:
    sizes = [(width, height) for width in range(8, 900, 7) for height in range(8, 900, 11)]
    for size in sizes:
        assert clip.placement(*size) == original_placement(*size)
    assert clip.placement(318, 159) == ((448, 224), (112, 0))  # 223.99999... in other orders of rounding
    assert clip.placement(224, 227) == ((224, 227), (0, 2))
    assert clip.placement(225, 224) == ((225, 224), (0, 0))


@pytest.mark.parametrize("size", [(318, 159), (61, 40), (40, 61), (227, 224), (8, 100), (300, 300)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_pixels_are_those_of_openais_transform(size: tuple[int, int], mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert(mode)
    resized, (left, top) = original_placement(*size)
    square = image.resize(resized, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224)).convert("RGB")
    seen_3HW = clip.clip_input(image)
    assert seen_3HW.shape == (3, 224, 224)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (clip.MEAN, clip.DEVIATION))
    pixels_HW3 = ((seen_3HW * deviation + mean) * 255).round().to(torch.uint8).movedim(0, -1)
    assert np.array_equal(pixels_HW3.numpy(), np.array(square))
