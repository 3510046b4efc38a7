"""There is something to send through a model of any layout."""

from __future__ import annotations

import numpy as np
import pytest

from visual_echoes.demo.examples import EXAMPLES
from visual_echoes.evaluation.samples import sample_material
from visual_echoes.layout import LAYOUTS, Layout


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_samples_fit_their_layout_and_differ(layout: Layout) -> None:
    name, pictures, sounds = sample_material(layout)
    assert name == (f"packaged {layout.name}" if layout.name in EXAMPLES else "synthetic patterns and tones")
    assert pictures.shape[1:] == (layout.image_size, layout.image_size, layout.image_channels)
    assert pictures.dtype == np.uint8
    assert sounds.shape[1:] == (layout.clip_samples,)
    assert sounds.dtype == np.float32
    assert 0.1 < np.abs(sounds).max() <= 1.0
    for items in (pictures, sounds):
        assert len({item.tobytes() for item in items}) == len(items) >= 3
        assert all(item.std() > 0.01 for item in items)
