"""What models of before there were streams had is read as today's, and what is today's stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

import tiny
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import kind_and_config
from visual_echoes.checkpoints.model_folder import FORMAT, read_description, save_model
from visual_echoes.model.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.model.upgrade import upgraded_config, upgraded_name, upgraded_sampling, upgraded_tensors

FORMATS = Path(__file__).parents[1] / "formats"
OLDER_FOLDERS = sorted(FORMATS.glob("1-*"))
SIZES = {"width": 16, "heads": 2, "mlp_ratio": 2, "dropout": 0.0}
GRIDS = {"image_grid": [4, 4], "image_codes": 32, "audio_grid": [4, 4], "audio_codes": 30}
OLDER_NAMES = {
    "class_slot": "cls_token",
    "mask_embedding": "mask_embedding",
    "embeddings.image.weight": "token_embedding.image.weight",
    "places_embedding.image": "positions.image",
    "places_embedding.audio": "positions.audio",
    "places_embedding.modality": "positions.modality",
    "bridge.weight": "decoder_embed.weight",
    "decoder_positions.image": "decoder_positions.image",
    "decoder_positions.audio": "decoder_positions.audio",
    "decoder_positions.modality": "decoder_positions.modality",
    "heads.image.bias": "heads.image.0.bias",
    "heads.audio.norm.weight": "heads.audio.0.norm.weight",
    "encoder.0.attention.qkv.weight": "encoder.0.attention.qkv.weight",
    "decoder_norm.bias": "decoder_norm.bias",
}

# Of the parameters, but for those of the blocks.
OLDER_ORDER = (
    "class_slot",
    "mask_embedding",
    "embeddings.image.weight",
    "embeddings.audio.weight",
    "places_embedding.image",
    "places_embedding.audio",
    "places_embedding.modality",
    "embed_norm.weight",
    "embed_norm.bias",
    "encoder_norm.weight",
    "encoder_norm.bias",
    "bridge.weight",
    "bridge.bias",
    "decoder_positions.image",
    "decoder_positions.audio",
    "decoder_positions.modality",
    "decoder_norm.weight",
    "decoder_norm.bias",
    "heads.image.bias",
    "heads.image.dense.weight",
    "heads.image.dense.bias",
    "heads.image.norm.weight",
    "heads.image.norm.bias",
    "heads.audio.bias",
    "heads.audio.dense.weight",
    "heads.audio.dense.bias",
    "heads.audio.norm.weight",
    "heads.audio.norm.bias",
)


# Configs


@pytest.mark.parametrize(("pad", "fill"), [("mask_embedding", "mask_embedding"), ("class_feature", "cls")])
def test_grids_become_streams_and_pad_the_mask_fill(pad: str, fill: str) -> None:
    older = {**GRIDS, **SIZES, "encoder_layers": 1, "decoder_layers": 1, "encoder_input": "visible", "pad": pad}
    config = TransformerConfig.model_validate(older)
    shapes = [(s.name, s.source, s.shape, s.codes, s.depth, s.time) for s in config.streams]
    assert shapes == [("image", "image", (4, 4), 32, 1, None), ("audio", "audio", (4, 4), 30, 1, None)]
    assert (config.mask_fill, config.encoder_input, config.width) == (fill, "visible", 16)
    assert AutoregressiveConfig.model_validate({**GRIDS, **SIZES, "layers": 1}).streams == config.streams
    assert set(older) >= set(GRIDS)  # what was handed in is left alone


def test_the_config_of_today_stays() -> None:
    config = tiny.transformer_config(mask_fill="cls", encoder_input="visible", head_norm_eps=1e-5)
    assert upgraded_config(config.model_dump()) == config.model_dump()
    assert TransformerConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError):
        TransformerConfig.model_validate({**config.model_dump(), "place": 1})


@pytest.mark.parametrize("values", [None, 3, [], "image_grid", {"image_grid": 3}, {"image_grid": [4, 4]}])
def test_what_is_no_config_is_refused_as_one(values: Any) -> None:
    with pytest.raises(ValidationError):
        TransformerConfig.model_validate(values)


# Sampling settings


OLDER_SETTINGS = {
    "steps": 20, "temperature": 3.0, "guidance": 2.0, "convention": "interpolate", "order": "halton",
    "schedule": "rising", "guidance_every": 1, "settled_every": 4, "confidence": "guided",
}  # fmt: skip


@pytest.mark.parametrize(("convention", "guidance"), [("interpolate", 2.0), ("extrapolate", 3.0)])
def test_settings_get_their_names_of_today_and_mean_the_same(convention: str, guidance: float) -> None:
    """(1 + s) c - s u is u + (s + 1) (c - u)."""
    found = SamplingSettings.model_validate(upgraded_sampling({**OLDER_SETTINGS, "convention": convention}))
    assert found == SamplingSettings(
        steps=20, temperature=3.0, guidance=guidance, order="halton", guidance_schedule="rising", kv_refresh_every=4
    )


def test_a_guidance_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError):
        SamplingSettings.model_validate(
            upgraded_sampling({**OLDER_SETTINGS, "convention": "extrapolate", "guidance": "much"})
        )


def test_settings_of_today_stay() -> None:
    settings = SamplingSettings(steps=5, residual_steps=2, guidance_schedule="interval", kv_refresh_every=2)
    assert upgraded_sampling(settings.model_dump()) == settings.model_dump()
    for values in (None, 3, [], "convention"):
        assert upgraded_sampling(values) == values


# Tensors


def test_tensors_get_their_names_of_today_and_those_of_today_stay() -> None:
    older = {name: torch.tensor(float(number)) for number, name in enumerate(OLDER_NAMES)}
    found = upgraded_tensors(older)
    assert list(found) == list(OLDER_NAMES.values())
    assert all(found[OLDER_NAMES[name]] is tensor for name, tensor in older.items())
    today = tiny.transformer().state_dict()
    assert list(upgraded_tensors(today)) == list(today)


def older_names(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A network's weights under the names they had."""
    pieces = {"cls_token": "class_slot", "token_embedding": "embeddings", "decoder_embed": "bridge"}
    found = {}
    for name, tensor in model.state_dict().items():
        first, *rest = name.split(".")
        first = "places_embedding" if first == "positions" else pieces.get(first, first)
        if first == "heads":
            del rest[1]
        found[".".join([first, *rest])] = tensor
    return found


def test_a_network_loads_older_weights_under_whatever_prefix() -> None:
    model, other = tiny.transformer(seed=1), tiny.transformer(seed=2)
    older = older_names(model)
    assert {upgraded_name(name) for name in older} == set(model.state_dict())
    # Optimizer states of older checkpoints go by this order.
    named = [upgraded_name(name) for name in OLDER_ORDER]
    assert [name for name, _ in model.named_parameters() if name.split(".")[0] not in ("encoder", "decoder")] == named
    other.load_state_dict(older)
    wrapped = torch.nn.ModuleDict({"model": tiny.transformer(seed=3)})
    wrapped.load_state_dict({f"model.{name}": tensor for name, tensor in older.items()})
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
        assert torch.equal(wrapped.state_dict()[f"model.{name}"], tensor)


def test_the_autoregressive_network_keeps_its_names_and_reads_older_configs() -> None:
    config = AutoregressiveConfig.for_layout(tiny.LAYOUT, **SIZES, layers=1)
    names = set(AutoregressiveTransformer(config).state_dict())
    assert {"positions.image", "positions.audio", "positions.modality", "heads.image.bias"} <= names
    older = {**config.model_dump(exclude={"streams"}), "image_codes": tiny.LAYOUT.image_codes}
    older |= {"audio_codes": tiny.LAYOUT.audio_codes, "image_grid": tiny.LAYOUT.image_grid}
    assert AutoregressiveConfig.model_validate({**older, "audio_grid": tiny.LAYOUT.audio_grid}) == config


# Folders


@pytest.mark.parametrize("folder", OLDER_FOLDERS, ids=lambda folder: folder.name)
def test_an_older_folder_is_read_and_written_as_one_of_today(folder: Path, tmp_path: Path) -> None:
    assert json.loads((folder / "config.json").read_text())["format"] == 1
    model = load_model(folder)
    save_model(tmp_path, model, half=True)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["format"] == FORMAT == 2
    assert set(written["sampling"]) == set(SamplingSettings.model_fields)
    assert "streams" in written["parts"]["transformer"]["config"]
    assert not {"image_grid", "pad"} & set(written["parts"]["transformer"]["config"])
    again = load_model(tmp_path)
    assert (again.sampling, again.layout, again.calibration) == (model.sampling, model.layout, model.calibration)
    assert read_description(tmp_path).parts["transformer"].config == kind_and_config(again.parts["transformer"])[1]
    for name, part in model.parts.items():
        for key, tensor in part.state_dict().items():
            assert torch.equal(again.parts[name].state_dict()[key], tensor)
