"""Mels as residual codes of cells: the closed form loses nothing but what it leaves out, and loads as it was saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import tiny
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.tokenizers.cells import CellConfig, CellTokenizer, RefinerConfig, fit_cells, from_cells, to_cells

CELL = (4, 8)
REFINER = RefinerConfig(width=8, blocks=1, split=(2, 4), fine_width=4, fine_blocks=1)


def config(**changes: Any) -> CellConfig:
    values = {"channels": 1, "codes": 32, "code_dim": 8, "depth": 2, "cell": CELL, "rows": 4, "refiner": REFINER}
    return CellConfig.model_validate({**values, **changes})


def mels(count: int = 20, seed: int = 0) -> Tensor:
    """Smooth noise in [-1, 1]."""
    noise = torch.rand(count, 1, 4, 6, generator=tiny.generator(seed)) * 2.0 - 1.0
    return torch.nn.functional.interpolate(noise, (16, 24), mode="bilinear")


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_cells_are_rectangles_of_the_mel() -> None:
    x_BCHW = torch.randn(3, 2, 16, 24, generator=tiny.generator())
    cells_BPhw = to_cells(x_BCHW, CELL)
    assert cells_BPhw.shape == (3, 2 * 32, 4, 3)
    assert torch.equal(cells_BPhw[1, :, 2, 1].view(2, *CELL), x_BCHW[1, :, 8:12, 8:16])
    assert torch.equal(from_cells(cells_BPhw, CELL), x_BCHW)


def test_all_components_lead_back_to_the_mel() -> None:
    tokenizer = fit_cells(config(code_dim=32, refiner=None), mels(), tiny.generator())
    other = mels(3, seed=1)
    torch.testing.assert_close(tokenizer.decode_codes(tokenizer.features(other)), other, atol=1e-4, rtol=0)


def test_the_components_kept_are_those_that_say_most() -> None:
    train, other = mels(), mels(3, seed=1)
    errors = []
    for count in (1, 4, 16):
        tokenizer = fit_cells(config(code_dim=count, refiner=None), train, tiny.generator())
        errors.append(float((tokenizer.decode_codes(tokenizer.features(other)) - other).square().mean()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_mel_becomes_a_grid_of_several_codes_and_its_first_levels_can_be_heard_alone() -> None:
    tokenizer = fit_cells(config(), mels(), tiny.generator())
    indices_BhwL = tokenizer.encode_unit(mels(3, seed=1))
    assert indices_BhwL.shape == (3, 4, 3, 2)
    assert tokenizer.decode_unit(indices_BhwL[..., :1]).shape == (3, 1, 16, 24)


def test_an_untrained_refiner_adds_nothing() -> None:
    refined = fit_cells(config(), mels(), tiny.generator())
    plain = fit_cells(config(refiner=None), mels(), tiny.generator())
    indices = plain.encode_unit(mels(2, seed=1))
    torch.testing.assert_close(refined.decode_unit(indices), plain.decode_unit(indices))


def test_codes_are_the_same_in_half_precision() -> None:
    tokenizer = fit_cells(config(), mels(), tiny.generator())
    many = mels(200, seed=1)
    expected = tokenizer.encode_unit(many)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokenizer.encode_unit(many), expected)


def test_it_loads_as_it_was_saved(tmp_path: Path) -> None:
    tokenizer = fit_cells(config(), mels(), tiny.generator())
    model = Model(
        name="cells", version="0", layout=replace(tiny.LAYOUT, audio_factor=CELL, audio_codes=32),
        parts={"audio_vqgan": tokenizer}, sampling=SamplingSettings(),
    )  # fmt: skip
    save_model(tmp_path / "model", model, half=False)
    loaded = load_model(tmp_path / "model").parts["audio_vqgan"]
    assert isinstance(loaded, CellTokenizer)
    assert torch.equal(loaded.encode_unit(mels(2)), tokenizer.encode_unit(mels(2)))


@pytest.mark.parametrize("changes", [{"code_dim": 33}, {"refiner": {"split": (3, 4)}}])
def test_sizes_that_make_no_tokenizer_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**changes)
