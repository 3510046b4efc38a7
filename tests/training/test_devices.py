"""Where a training runs, and what is refused because it is not there."""

from __future__ import annotations

import pytest
import torch

from visual_echoes.errors import EchoesError
from visual_echoes.training.devices import check_shardable, on_gpu, open_accelerator


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK", "ACCELERATE_USE_CPU", "ACCELERATE_USE_FSDP"):
        monkeypatch.delenv(name, raising=False)
    gpus(monkeypatch, 0)


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not on_gpu("auto")
    assert not on_gpu("cpu")
    gpus(monkeypatch, 1)
    assert on_gpu("auto")
    assert on_gpu("cuda")
    assert not on_gpu("cpu")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # accelerate launch --cpu
    assert not on_gpu("auto")


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(EchoesError, match="no GPU that torch can use here; train with --device cpu or auto"):
        open_accelerator("fp32", "cuda")


@pytest.mark.parametrize("named", ["0", "1,2", "GPU-8932f937"])
def test_a_gpu_that_the_environment_names_is_refused_too(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    with pytest.raises(EchoesError, match=f"CUDA_VISIBLE_DEVICES asks for GPU {named}"):
        on_gpu("auto")
    assert not on_gpu("cpu")


@pytest.mark.parametrize("named", ["", "-1", "NoDevFiles"])
def test_an_environment_that_names_none_asks_for_none(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert not on_gpu("auto")


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert on_gpu("auto")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(EchoesError, match="only 2; start at most 2 processes"):
        on_gpu("auto")


def test_sharding_is_refused_where_accelerate_would_quietly_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(EchoesError, match="over several GPUs only; launch this training without FSDP"):
        open_accelerator("fp32")


def test_only_a_network_that_trains_alone_is_sharded() -> None:
    check_shardable(["model"], "adamw")
    with pytest.raises(EchoesError, match="this part has model, tracker; launch it without FSDP"):
        check_shardable(["model", "tracker"], "adamw")
    with pytest.raises(EchoesError, match="Muon needs whole matrices"):
        check_shardable(["model"], "muon")
