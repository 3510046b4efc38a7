"""Checkpoints give everything back, and a broken or foreign one is never resumed from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from visual_echoes.training.checkpoint import KEEP, checkpoint_path, latest_step, load_checkpoint, save_checkpoint


class Trained:
    """A network with an optimiser whose state is past its first steps."""

    def __init__(self, seed: int, muon: bool = False) -> None:
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        matrices = [p for p in self.network.parameters() if p.dim() == 2]
        self.optimizer = torch.optim.Muon(matrices) if muon else torch.optim.AdamW(self.network.parameters(), lr=0.1)
        for _ in range(3):
            self.step(torch.randn(5, 3))

    def step(self, x: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        self.network(x).square().sum().backward()
        self.optimizer.step()

    def save(self, folder: Path, step: int, fingerprint: str = "recipe") -> Path:
        return save_checkpoint(folder, step, {"model": self.network}, {"model.0": self.optimizer}, fingerprint)

    def load(self, folder: Path, step: int) -> None:
        load_checkpoint(folder, step, {"model": self.network}, {"model.0": self.optimizer})


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("muon", [False, True])
def test_weights_and_optimizer_come_back_exactly(tmp_path: Path, muon: bool) -> None:
    original, other = Trained(0, muon), Trained(1, muon)
    original.save(tmp_path, 7)
    assert not same_weights(original.network, other.network)
    other.load(tmp_path, 7)
    assert same_weights(original.network, other.network)
    # The next steps show whether moments and step counts came back too.
    for _ in range(2):
        for trained in (original, other):
            trained.step(torch.arange(15.0).reshape(5, 3))
        assert same_weights(original.network, other.network)


def test_a_checkpoint_before_the_first_step_can_be_loaded(tmp_path: Path) -> None:
    network = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    save_checkpoint(tmp_path, 0, {"model": network}, {"model.0": optimizer}, "recipe")
    load_checkpoint(tmp_path, 0, {"model": network}, {"model.0": optimizer})
    assert optimizer.state_dict()["state"] == {}


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    trained = Trained(0)
    for step in (5, 10, 15, 120):
        trained.save(tmp_path / "checkpoints", step)
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert KEEP == 2
    assert left == ["step-00000015.safetensors", "step-00000120.safetensors"]
    assert latest_step(tmp_path / "checkpoints", "recipe") == 120


def test_broken_files_of_later_steps_do_not_push_a_new_one_out(tmp_path: Path) -> None:
    trained = Trained(0)
    for step in (100, 110, 120):
        checkpoint_path(tmp_path, step).write_bytes(b"cut short")
    trained.save(tmp_path, 10)
    trained.save(tmp_path, 20)
    assert latest_step(tmp_path, "recipe") == 20


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_checkpoint_falls_back_to_the_older_one(tmp_path: Path, length: int) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)
    newest = trained.save(tmp_path, 20)
    newest.write_bytes(newest.read_bytes()[:length])
    assert latest_step(tmp_path, "recipe") == 10


def test_a_foreign_checkpoint_is_passed_over(tmp_path: Path) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)
    trained.save(tmp_path, 20, fingerprint="another recipe")
    assert latest_step(tmp_path, "recipe") == 10
    assert latest_step(tmp_path, "third recipe") is None


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    assert latest_step(tmp_path / "nowhere", "recipe") is None
    for name in ("step-1.safetensors", "step-00000030.safetensors.tmp", "step-00000040.pt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "step-00000050.safetensors").write_bytes(b"x" * 100)
    assert latest_step(tmp_path, "recipe") is None


def test_a_failed_write_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("visual_echoes.training.checkpoint.save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        trained.save(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010.safetensors"]


def test_a_tensor_that_is_missing_is_not_overlooked(tmp_path: Path) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)
    with pytest.raises(RuntimeError, match="bias"):
        load_checkpoint(tmp_path, 10, {"model": nn.Linear(3, 4), "more": nn.Linear(1, 1)}, {})
    assert checkpoint_path(tmp_path, 10).exists()
