"""Model folders as every format so far wrote them still load, and make what they made.

A folder under `formats` is never changed. A new format or a new optional field of the config gets a folder of its own.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model_folder import FORMATS
from visual_echoes.media import read_image
from visual_echoes.pipeline import VisualEchoes

FOLDERS = sorted((Path(__file__).parents[1] / "formats").iterdir())
ROUNDING = 2  # grey levels: processors differ in their last bits


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_of_every_format_makes_what_it_made(folder: Path) -> None:
    model = load_model(folder)
    assert tuple(model.parts) == ("image_vqgan", "audio_vqgan", "transformer", "vocoder")
    assert bool(model.calibration) == (folder.name not in ("1-plain", "1-mage"))
    made = VisualEchoes.from_pretrained(folder, device="cpu").generate_pair(1, seed=5)
    assert made.images is not None
    expected = np.asarray(read_image(folder / "made.png"), np.int16)
    assert np.abs(made.images[0, ..., 0] - expected).max() <= ROUNDING


def test_the_format_that_is_written_now_is_among_them() -> None:
    formats = {json.loads((folder / "config.json").read_text())["format"] for folder in FOLDERS}
    assert formats == set(FORMATS)
