"""Merging parts into one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visual_echoes.checkpoints.assemble import assemble
from visual_echoes.checkpoints.model import PART_NAMES, Model, PartName
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import VisualEchoes


def save_parts(folder: Path, model: Model, names: Sequence[PartName], layout: Layout | None = None) -> Path:
    kept = {name: model.parts[name] for name in names}
    save_model(folder, dataclasses.replace(model, parts=kept, layout=layout or model.layout), half=False)
    return folder


def test_the_model_answers_as_the_one_that_was_taken_apart(whole_model: Model, tmp_path: Path) -> None:
    folders = [save_parts(tmp_path / name, whole_model, [name]) for name in PART_NAMES]
    merged = assemble(folders, "merged", "# Card", whole_model.sampling)
    assert (merged.name, merged.card) == ("merged", "# Card")
    cpu = torch.device("cpu")
    results = [VisualEchoes(model, cpu).generate_pair(3, seed=1) for model in (merged, whole_model)]
    for one, other in ((results[0].images, results[1].images), (results[0].audio, results[1].audio)):
        assert one is not None
        assert other is not None
        assert np.array_equal(one, other)


def test_one_folder_may_bring_several_parts_and_griffin_lim_is_the_vocoder_without_one(
    whole_model: Model, tmp_path: Path
) -> None:
    folders = [
        save_parts(tmp_path / "tokenizers", whole_model, ["image_vqgan", "audio_vqgan"]),
        save_parts(tmp_path / "transformer", whole_model, ["transformer"]),
    ]
    merged = assemble(folders, "merged", "", SamplingSettings(steps=2))
    assert merged.kinds["vocoder"] == "griffin-lim"
    sound = VisualEchoes(merged, torch.device("cpu")).generate_pair(1).audio
    assert sound is not None
    assert sound.shape == (1, whole_model.layout.samples)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("image_vqgan", {"image_size": 32}),
        ("audio_vqgan", {"peak": 0.9}),
        ("audio_vqgan", {"fmin": 50.0}),
        ("vocoder", {"fmax": 3900.0}),
        ("transformer", {"peak": 0.9}),
        ("transformer", {"image_channels": 3}),
    ],
)
def test_parts_of_another_layout_are_refused(
    whole_model: Model, tmp_path: Path, part: PartName, changes: dict[str, Any]
) -> None:
    other = dataclasses.replace(whole_model.layout, **changes)
    folders = [
        save_parts(tmp_path / "one", whole_model, [name for name in PART_NAMES if name != part]),
        save_parts(tmp_path / "two", whole_model, [part], other),
    ]
    with pytest.raises(EchoesError, match="take parts of one layout"):
        assemble(folders, "merged", "", SamplingSettings())


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("image_vqgan", {"name": "pictures", "peak": 0.9, "audio_codes": 64, "n_mels": 8}),
        ("audio_vqgan", {"name": "sounds", "image_codes": 64, "image_size": 32}),
        ("vocoder", {"name": "voices", "image_codes": 64, "audio_codes": 64, "seconds": 0.5}),
    ],
)
def test_what_does_not_concern_a_part_may_differ(
    whole_model: Model, tmp_path: Path, part: PartName, changes: dict[str, Any]
) -> None:
    """A published image tokenizer knows nothing of sounds, so its folder's sounds do not count."""
    other = dataclasses.replace(whole_model.layout, **changes)
    folders = [
        save_parts(tmp_path / "one", whole_model, [part], other),
        save_parts(tmp_path / "two", whole_model, [name for name in PART_NAMES if name != part]),
    ]
    assert assemble(folders, "merged", "", SamplingSettings()).layout == whole_model.layout


def test_a_part_that_comes_twice_is_refused(whole_model: Model, tmp_path: Path) -> None:
    folders = [save_parts(tmp_path / name, whole_model, ["transformer"]) for name in ("one", "two")]
    with pytest.raises(EchoesError, match="two brings a second transformer"):
        assemble(folders, "merged", "", SamplingSettings())


@pytest.mark.parametrize("missing", ["image_vqgan", "audio_vqgan", "transformer"])
def test_a_missing_part_is_named(whole_model: Model, tmp_path: Path, missing: PartName) -> None:
    names = [name for name in PART_NAMES if name != missing]
    folder = save_parts(tmp_path / "parts", whole_model, names)
    with pytest.raises(EchoesError, match=f"hold no {missing}; add"):
        assemble([folder], "merged", "", SamplingSettings())


def test_no_parts_are_refused() -> None:
    with pytest.raises(EchoesError, match="needs parts"):
        assemble([], "merged", "", SamplingSettings())
