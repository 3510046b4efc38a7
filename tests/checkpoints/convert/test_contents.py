"""A network is found under whatever keys and prefixes it has, and averaged weights are taken where there are some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.convert.published import Tensors, tensors
from visual_echoes.checkpoints.convert.contents import choose
from visual_echoes.checkpoints.convert.reading import read_checkpoint, read_tensors
from visual_echoes.errors import EchoesError

NETWORKS = ("taming_vqgan_tiny", "mage_vqgan_tiny", "spec_vqgan_tiny", "hifigan_tiny", "melgan_tiny")


def network(name: str) -> Tensors:
    return {key.removeprefix("generator."): value for key, value in tensors(name).items()}


def prefixed(prefix: str, state: Tensors) -> Tensors:
    return {prefix + key: value for key, value in state.items()}


def noise(state: Tensors) -> Tensors:
    """Other weights of the same network."""
    return {key: value + 1.0 for key, value in state.items()}


def assert_same(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


OTHERS = {"discriminators.0.conv.weight": torch.ones(3, 2)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(9), "step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1.0}]}
WAYS: dict[str, Callable[[Tensors], dict[str, Any]]] = {
    "compiled": lambda state: prefixed("_orig_mod.", state),
    "compiled inside": lambda state: {key.replace("encoder.", "encoder._orig_mod."): v for key, v in state.items()},
    "parallel and compiled": lambda state: {"model": prefixed("module._orig_mod.", state)},
    "sharded data parallel": lambda state: prefixed("_fsdp_wrapped_module.", state),
    "generator.": lambda state: {**prefixed("generator.", state), **prefixed("discriminator.", OTHERS)},
    "lightning generator": lambda state: {
        "state_dict": {**prefixed("generator.", state), **prefixed("mpd.", OTHERS)},
        "hyper_parameters": {"lr": 1e-4, "config": Path("config.json")}, "optimizer_states": [OPTIMIZER],
    },
    "model_g": lambda state: {"model_g": state, "model_d": OTHERS, "optimizer_g": OPTIMIZER},
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": OPTIMIZER},
    "params": lambda state: {"params": state},
    "ema alone": lambda state: {"ema": state},
    "deepspeed": lambda state: {"module": prefixed("module.", state), "ds_version": "0"},
    "deep": lambda state: {"checkpoint": {"nets": {"net_g": prefixed("net.", state)}}},
    "first stage": lambda state: {**prefixed("first_stage_model.", state), "transformer.pos_emb": torch.zeros(4, 4)},
    "beside the weights": lambda state: {**state, "loss.logvar": torch.zeros(1), "optimizer": OPTIMIZER},
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("way", WAYS)
def test_the_network_is_found_wherever_it_is(tmp_path: Path, name: str, way: str) -> None:
    torch.save(WAYS[way](network(name)), tmp_path / "last.ckpt")
    found = read_checkpoint(tmp_path / "last.ckpt")
    assert_same(found.tensors, network(name))
    assert found.note == ""


AVERAGED: dict[str, Callable[[Tensors, Tensors], dict[str, Any]]] = {
    "ema beside model_g": lambda raw, ema: {"model_g": raw, "ema": ema},
    "params_ema": lambda raw, ema: {"params": raw, "params_ema": ema},
    "generator_ema": lambda raw, ema: {"generator_ema": ema, "generator": raw},
    "state_dict_ema": lambda raw, ema: {"state_dict": raw, "state_dict_ema": prefixed("module.", ema)},
    "in one state dict": lambda raw, ema: {"state_dict": {**prefixed("net.", raw), **prefixed("ema_model.", ema)}},
    "beside no prefix": lambda raw, ema: {**raw, **prefixed("ema_model.", ema)},
    "online and ema": lambda raw, ema: {"ema": {**prefixed("online_model.", raw), **prefixed("ema_model.", ema)}},
    "averaging_state": lambda raw, ema: {"state_dict": raw, "averaging_state": {**ema, "n_averaged": torch.tensor(3)}},
    "without dots": lambda raw, ema: {
        "state_dict": {
            **raw, **{"model_ema." + key.replace(".", ""): value for key, value in ema.items()},
            "model_ema.decay": torch.tensor(0.999), "model_ema.num_updates": torch.tensor(5),
        }
    },
    "without names": lambda raw, ema: {"state_dict": raw, "ema": {"decay": 0.9, "shadow_params": list(ema.values())}},
}  # fmt: skip


@pytest.mark.parametrize("name", ["taming_vqgan_tiny", "hifigan_tiny", "melgan_tiny"])
@pytest.mark.parametrize("way", AVERAGED)
def test_averaged_weights_are_taken_and_named(tmp_path: Path, name: str, way: str) -> None:
    ema = network(name)
    torch.save(AVERAGED[way](noise(ema), ema), tmp_path / "last.ckpt")
    found = read_checkpoint(tmp_path / "last.ckpt")
    found.tensors.pop("n_averaged", None)
    assert_same(found.tensors, ema)
    assert found.note.startswith("The averaged weights were taken (")


def test_averages_of_something_else_are_not_taken() -> None:
    state = network("hifigan_tiny")
    found = choose({"generator": state, "ema": {"shadow_params": [torch.zeros(2)]}}, "a.pt")
    assert_same(found.tensors, state)
    assert "do not fit; others were taken" in found.note
    with pytest.raises(EchoesError, match=r"a\.pt holds averaged weights without names alone"):
        choose({"shadow_params": list(state.values()), "decay": 0.9}, "a.pt")


def test_several_networks_are_named() -> None:
    first, second = network("taming_vqgan_tiny"), network("spec_vqgan_tiny")
    content = {"state_dict": {**prefixed("first_stage_model.", first), **prefixed("cond_stage_model.", second)}}
    with pytest.raises(EchoesError, match=r"several networks \(state_dict.cond_stage_model, state_dict.first_stage"):
        choose(content, "a.ckpt")


def test_what_does_not_belong_to_a_network_at_the_top_is_still_there_to_be_named() -> None:
    state = {**network("hifigan_tiny"), "stray.weight": torch.zeros(2)}
    assert "stray.weight" in choose(state, "a.pt").tensors


def test_mappings_that_hold_each_other_end(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content |= {str(key): content for key in range(500)}
    torch.save(content, tmp_path / "loop.pt")
    with pytest.raises(EchoesError, match="no tensors of a network"):
        read_tensors(tmp_path / "loop.pt")
