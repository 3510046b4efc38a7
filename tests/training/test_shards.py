"""A training split over two processes (FSDP) is the training of one, and each goes on from the other's checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from training import rank_run
from training.test_ranks import figures
from visual_echoes.checkpoints.run_folder import CHECKPOINTS, checkpoint_path
from visual_echoes.training.ranks import split_like, whole

BEGUN = 3  # steps that one process took


def test_sharded_processes_go_on_where_one_stopped_and_one_where_they_stopped(tmp_path: Path) -> None:
    rank_run.run(tmp_path / "one", "transformer", accumulate=2)
    folder = tmp_path / "two" / "transformer" / CHECKPOINTS
    folder.mkdir(parents=True)
    for path in (tmp_path / "one" / "transformer" / CHECKPOINTS).glob(f"step-*{BEGUN}.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    rank_run.launch(tmp_path / "two", 2, "sharded")
    one, two = (figures(tmp_path / name / "transformer") for name in ("one", "two"))
    assert two == [pytest.approx(row, rel=1e-5) for row in one[BEGUN:]]
    last = [checkpoint_path(tmp_path / name / "transformer" / CHECKPOINTS, rank_run.STEPS) for name in ("one", "two")]
    first, second = map(load_file, last)
    assert {key: value.shape for key, value in first.items()} == {key: value.shape for key, value in second.items()}
    assert all(torch.allclose(value, second[key], atol=1e-3) for key, value in first.items())

    last[1].unlink()
    rank_run.run(tmp_path / "two", "transformer", accumulate=2)
    assert figures(tmp_path / "two" / "transformer")[-2:] == [pytest.approx(row, rel=1e-5) for row in one[-2:]]


def test_whole_tensors_stay_as_they_are() -> None:
    network = nn.BatchNorm1d(3)
    assert whole(network.weight) is network.weight
    assert split_like(network.bias, network.weight) is network.bias
