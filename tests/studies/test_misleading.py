"""Misleading images are what they are called, and the same for a seed."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from visual_echoes.layout import get_layout
from visual_echoes.studies.misleading import misleading_images
from visual_echoes.studies.plan import Kind

KINDS = [kind for kind in get_args(Kind) if kind != "real"]


@pytest.mark.parametrize("layout", ["debug", "digits", "scenes"])
@pytest.mark.parametrize("kind", KINDS)
def test_images_fit_the_layout_and_repeat(kind: Kind, layout: str) -> None:
    shape = get_layout(layout)
    made = misleading_images(kind, 5, shape, 3)
    assert made.dtype == np.uint8
    assert made.shape == (5, shape.image_size, shape.image_size, shape.image_channels)
    assert np.array_equal(made, misleading_images(kind, 5, shape, 3))
    varied = kind not in ("black", "white")
    assert (len(np.unique(made.reshape(5, -1), axis=0)) > 1) == varied
    assert np.array_equal(made, misleading_images(kind, 5, shape, 4)) != varied


def test_letters_are_light_on_dark_and_patterns_fill_the_range() -> None:
    layout = get_layout("digits")
    letters = misleading_images("unrelated", 20, layout, 0)
    assert np.median(letters) == 0
    assert letters.reshape(20, -1).max(1).min() > 200
    assert 0.05 < (letters > 128).mean() < 0.5
    patterns = misleading_images("abstract", 20, layout, 0).reshape(20, -1)
    assert patterns.std(1).min() > 20
    assert abs(patterns.mean() - 127.5) < 15
    assert (misleading_images("black", 1, layout, 0) == 0).all()
    assert (misleading_images("white", 1, layout, 0) == 255).all()
