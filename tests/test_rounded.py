"""A model that is loaded for use holds rounded weights alone, makes what it made with exact ones, and saves those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.model import precision
from visual_echoes.model.int8 import is_exact
from visual_echoes.model.precision import Precision
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.rounded import exact

LOWER: tuple[Precision, ...] = ("bfloat16", "int8") if is_exact() else ("bfloat16",)


def dtypes(model: Model, name: str) -> set[torch.dtype]:
    return {value.dtype for key, value in model.parts["image_vqgan"].named_parameters() if key.startswith(name)}


@pytest.mark.parametrize("wanted", LOWER)
def test_what_is_made_is_that_of_exact_weights_rounded_at_use(model_folder: Path, wanted: Precision) -> None:
    held = VisualEchoes(load_model(model_folder), torch.device("cpu"), precision=wanted)
    loaded = VisualEchoes.from_pretrained(model_folder, device="cpu", precision=wanted)
    assert loaded.codec.precision == held.codec.precision
    theirs, ours = (echoes.generate_pair(2, seed=3, steps=3) for echoes in (held, loaded))
    assert theirs.images is not None
    assert theirs.audio is not None
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.audio, theirs.audio)


def test_only_what_runs_rounded_is_rounded(model_folder: Path) -> None:
    model = VisualEchoes.from_pretrained(model_folder, device="cpu", precision="bfloat16").model
    assert {value.dtype for value in model.parts["transformer"].parameters()} == {torch.bfloat16}
    assert torch.float32 in dtypes(model, "decoder")  # norms
    assert torch.bfloat16 in dtypes(model, "decoder")
    assert dtypes(model, "encoder") == dtypes(model, "quantize") == {torch.float32}


@pytest.mark.parametrize("wanted", ["float32", *LOWER])
def test_a_model_in_any_precision_is_saved_as_it_was_read(
    model_folder: Path, wanted: Precision, tmp_path: Path
) -> None:
    echoes = VisualEchoes.from_pretrained(model_folder, device="cpu", precision=wanted)
    echoes.generate_pair(steps=2)  # which folds the vocoder
    echoes.save_pretrained(tmp_path / "again", half=False)
    before, after = load_model(model_folder), load_model(tmp_path / "again")
    assert list(after.parts) == list(before.parts)
    for name, part in before.parts.items():
        for key, value in part.state_dict().items():
            torch.testing.assert_close(after.parts[name].state_dict()[key], value, rtol=0, atol=0)


def test_a_part_of_another_model_is_saved_too(model_folder: Path, whole_model: Model, tmp_path: Path) -> None:
    next(whole_model.parts["transformer"].parameters()).data += 1
    save_model(tmp_path / "other", whole_model, half=False)
    model = VisualEchoes.from_pretrained(model_folder, device="cpu", precision="bfloat16").model
    model.take("transformer", other := load_model(tmp_path / "other", wanted=["transformer"]))
    found = exact(model)
    assert found.parts["transformer"] is other.parts["transformer"]
    assert dtypes(found, "decoder") == {torch.float32}


def test_a_model_that_was_not_read_is_exact(whole_model: Model) -> None:
    assert exact(whole_model) is whole_model


def test_a_decoder_that_is_rounded_already_decodes_in_bfloat16(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the precision is left to be chosen anew, as for the same model with another transformer."""
    model = VisualEchoes.from_pretrained(model_folder, device="cpu", precision="bfloat16").model
    monkeypatch.setattr(precision, "convolution_speeds_on", lambda _: {"float32": 1.0, "bfloat16": 0.5})
    again = VisualEchoes(model, torch.device("cpu"), precision="auto")
    assert again.generate_pair(seed=1, steps=2).audio is not None
