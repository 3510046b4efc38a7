"""Checkpoints give everything back, and a torn or foreign one is never resumed from."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from visual_echoes.checkpoints.run_folder import checkpoint_path, checkpoint_steps, manifest_path
from visual_echoes.errors import EchoesError
from visual_echoes.training.checkpoint import find_checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint


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
        parts = {"model": self.network}, {"model.0": self.optimizer}
        return save_checkpoint(folder, step, *parts, fingerprint=fingerprint, watch={"recent": [step / 3]})

    def load(self, folder: Path, step: int) -> None:
        load_checkpoint(folder, step, {"model": self.network}, {"model.0": self.optimizer})


def latest(folder: Path, fingerprint: str = "recipe") -> tuple[int | None, list[str]]:
    """The step that a run would go on from, and what it reports of the torn ones."""
    reports: list[str] = []
    found = find_checkpoint(folder, fingerprint, reports.append)
    return (None if found is None else found.step), reports


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
    save_checkpoint(tmp_path, 0, {"model": network}, {"model.0": optimizer}, fingerprint="recipe")
    load_checkpoint(tmp_path, 0, {"model": network}, {"model.0": optimizer})
    assert optimizer.state_dict()["state"] == {}


def test_the_manifest_gives_back_what_it_was_given(tmp_path: Path) -> None:
    Trained(0).save(tmp_path, 10)
    found = find_checkpoint(tmp_path, "recipe", print)
    assert found is not None
    assert (found.step, found.fingerprint, found.watch) == (10, "recipe", {"recent": [10 / 3]})


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "left"),
    [(2, None, [15, 120]), (1, None, [120]), (1, 10, [10, 120]), (9, 7, [5, 10, 15, 120])],
)
def test_the_newest_and_every_nth_are_kept(
    tmp_path: Path, keep_last: int, keep_every: int | None, left: list[int]
) -> None:
    trained = Trained(0)
    for step in (5, 10, 15, 120):
        trained.save(tmp_path, step)
        prune_checkpoints(tmp_path, step, keep_last, keep_every)
    assert checkpoint_steps(tmp_path) == left
    assert len(list(tmp_path.iterdir())) == 2 * len(left)
    assert latest(tmp_path) == (120, [])


def test_torn_files_push_no_whole_one_out(tmp_path: Path) -> None:
    trained = Trained(0)
    for step in (15, 100, 110):
        checkpoint_path(tmp_path, step).write_bytes(b"cut short")
    for step in (10, 20):
        trained.save(tmp_path, step)
        prune_checkpoints(tmp_path, step, 2, None)
    assert checkpoint_steps(tmp_path) == [10, 20, 100, 110]
    assert latest(tmp_path)[0] == 20


def test_no_cut_or_changed_checkpoint_is_chosen(tmp_path: Path) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)
    newest = trained.save(tmp_path, 20)
    whole = newest.read_bytes()
    chance = random.Random(0)
    for cut in [0, 1, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(100))]:
        for content in (whole[:cut], whole[:cut] + bytes([whole[cut] ^ 1]) + whole[cut + 1 :]):
            newest.write_bytes(content)
            step, (report,) = latest(tmp_path)
            assert step == 10
            assert str(newest) in report
    newest.write_bytes(whole)
    manifest = manifest_path(newest).read_bytes()
    for cut in (0, 1, len(manifest) // 2):
        manifest_path(newest).write_bytes(manifest[:cut])
        assert latest(tmp_path)[0] == 10
    manifest_path(newest).unlink()
    step, (report,) = latest(tmp_path)
    assert step == 10
    assert "no readable manifest" in report


def test_a_first_checkpoint_that_was_cut_short_begins_anew(tmp_path: Path) -> None:
    manifest_path(Trained(0).save(tmp_path, 10)).unlink()
    step, (report,) = latest(tmp_path)
    assert step is None
    assert "not written to its end" in report


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(tmp_path: Path) -> None:
    Trained(0).save(tmp_path, 10).write_bytes(b"damaged")
    with pytest.raises(EchoesError, match="no whole checkpoint; move the folder away"):
        latest(tmp_path)


def test_a_foreign_checkpoint_is_passed_over_and_alone_refused(tmp_path: Path) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)
    trained.save(tmp_path, 20, fingerprint="another recipe")
    assert latest(tmp_path) == (10, [])
    with pytest.raises(EchoesError, match="of another recipe"):
        latest(tmp_path, "third recipe")


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    assert latest(tmp_path / "nowhere") == (None, [])
    for name in ("step-1.safetensors", "step-00000030.safetensors.tmp", "step-00000040.pt", "step-.json"):
        (tmp_path / name).write_bytes(b"x")
    assert latest(tmp_path) == (None, [])


def test_an_interrupted_write_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("visual_echoes.training.checkpoint.save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        trained.save(tmp_path, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010.json", "step-00000010.safetensors"]


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond a few hundred bytes, as on a full disk; pytest's own output neither."""
    resource = pytest.importorskip("resource", reason="there is no limit on the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_older_one(tmp_path: Path) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)
    with small_disk(), pytest.raises(EchoesError, match=r"step-00000020.safetensors cannot be written .*\.$"):
        trained.save(tmp_path, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010.json", "step-00000010.safetensors"]
    assert latest(tmp_path) == (10, [])


def test_a_tensor_that_is_missing_is_not_overlooked(tmp_path: Path) -> None:
    trained = Trained(0)
    trained.save(tmp_path, 10)
    with pytest.raises(RuntimeError, match="bias"):
        load_checkpoint(tmp_path, 10, {"model": nn.Linear(3, 4), "more": nn.Linear(1, 1)}, {})
    assert checkpoint_path(tmp_path, 10).exists()
