"""A run that is stopped, killed or damaged goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.training.checkpoint import checkpoint_path, latest_step
from visual_echoes.training.loop import fit, step_seed
from visual_echoes.training.task import Task

TESTS = Path(tiny.__file__).parent
STEPS = 8
pytestmark = pytest.mark.filterwarnings("ignore:only .* of the codebook is in use")

TASKS: dict[str, Callable[[], Task]] = {
    "vqgan": lambda: tiny.vqgan_task(),
    "adversarial vqgan": lambda: tiny.vqgan_task(adversarial_from=2, perceptual="edges"),
    "transformer": lambda: tiny.transformer_task(),
}
ALL_TASKS = pytest.mark.parametrize("kind", TASKS)


class Killed(Exception):
    """Ends a run without any of the loop's own tidying, as far as that goes inside one process."""


def kill() -> None:
    raise Killed


def train(task: Task, output: Path, steps: int = STEPS, **changes: Any) -> nn.Module:
    return fit(task, tiny.train_settings(steps, **changes), output, "fingerprint")


def lines(output: Path) -> list[dict[str, Any]]:
    """The log without the time each step took."""
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds_per_step"} for row in rows]


def assert_same_run(first: Path, second: Path) -> None:
    """Weights, average, tracker and optimiser state are equal to the bit, and so is everything logged."""
    states = [load_file(checkpoint_path(output / "checkpoints", STEPS)) for output in (first, second)]
    assert states[0].keys() == states[1].keys()
    assert {key.split("/")[0] for key in states[0]} == {"module", "optimizer"}
    assert any(key.startswith("module/average/") for key in states[0])
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
    assert lines(first) == lines(second)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function: the output of an undisturbed run of a task, made once."""
    done: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in done:
            done[kind] = tmp_path_factory.mktemp("whole")
            train(TASKS[kind](), done[kind])
        return done[kind]

    return run


@ALL_TASKS
def test_a_killed_run_goes_on_to_the_same_end(kind: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tiny.at_step(TASKS[kind](), 5, kill), tmp_path)
    assert latest_step(tmp_path / "checkpoints", "fingerprint") == 3
    with pytest.raises(Killed):  # and once more, right after resuming
        train(tiny.at_step(TASKS[kind](), 3, kill), tmp_path)
    train(TASKS[kind](), tmp_path)
    assert_same_run(whole(kind), tmp_path)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_says_how_to_go_on(name: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(EchoesError, match="Stopped after step 5; run the same command again"):
        train(tiny.at_step(TASKS["transformer"](), 4, lambda: os.kill(os.getpid(), number)), tmp_path)
    assert signal.getsignal(number) is before
    assert latest_step(tmp_path / "checkpoints", "fingerprint") == 5
    train(TASKS["transformer"](), tmp_path)
    assert_same_run(whole("transformer"), tmp_path)


def test_a_process_that_is_killed_goes_on_to_the_same_end(whole: Callable[[str], Path], tmp_path: Path) -> None:
    command = [sys.executable, str(TESTS / "tiny.py"), str(tmp_path), str(STEPS), "7"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent / "src"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert latest_step(tmp_path / "checkpoints", "fingerprint") == 6
    assert {path.suffix for path in (tmp_path / "checkpoints").iterdir()} == {".safetensors"}
    train(TASKS["vqgan"](), tmp_path)
    assert_same_run(whole("vqgan"), tmp_path)


def test_a_broken_checkpoint_costs_only_the_steps_since_the_older_one(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(tiny.at_step(TASKS["transformer"](), 7, kill), tmp_path)
    newest = checkpoint_path(tmp_path / "checkpoints", 6)
    newest.write_bytes(newest.read_bytes()[:1000])
    train(TASKS["transformer"](), tmp_path)
    assert_same_run(whole("transformer"), tmp_path)


def test_half_a_line_in_the_log_is_dropped(whole: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tiny.at_step(TASKS["transformer"](), 5, kill), tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "gro')
    train(TASKS["transformer"](), tmp_path)
    assert_same_run(whole("transformer"), tmp_path)


def test_a_finished_run_returns_its_model_again(whole: Callable[[str], Path]) -> None:
    output = whole("transformer")
    before = lines(output)
    model = train(tiny.at_step(TASKS["transformer"](), 0, kill), output)
    state = load_file(checkpoint_path(output / "checkpoints", STEPS))
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[f"module/average/module.{key}"]), key
    assert not model.training
    assert lines(output) == before


def test_checkpoints_of_another_recipe_are_refused(whole: Callable[[str], Path]) -> None:
    output = whole("transformer")
    with pytest.raises(EchoesError, match="another recipe"):
        fit(TASKS["transformer"](), tiny.train_settings(STEPS), output, "another fingerprint")


def poison_loss(task: Task, step: int) -> Task:
    original = task.phases

    def phases(batch: Any, now: int) -> Any:
        for phase in original(batch, now):
            yield type(phase)(phase.optimizer, phase.loss * (float("nan") if now == step else 1.0), phase.metrics)

    task.phases = phases  # type: ignore[method-assign]
    return task


class BadGradient(torch.autograd.Function):
    """Nothing forward, infinity backward."""

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return gradient * float("inf")


def poison_gradient(task: Task, step: int) -> Task:
    original = task.phases

    def phases(batch: Any, now: int) -> Any:
        for phase in original(batch, now):
            yield type(phase)(
                phase.optimizer, BadGradient.apply(phase.loss) if now == step else phase.loss, phase.metrics
            )

    task.phases = phases  # type: ignore[method-assign]
    return task


@pytest.mark.parametrize("poison", [poison_loss, poison_gradient])
def test_a_loss_or_gradient_that_is_not_finite_ends_the_run_before_it_is_saved(
    poison: Callable[[Task, int], Task], whole: Callable[[str], Path], tmp_path: Path
) -> None:
    # Step 5 is the one a checkpoint follows.
    with pytest.raises(EchoesError, match=r"at step 5; the last checkpoint is untouched.*learning_rate"):
        train(poison(TASKS["transformer"](), 5), tmp_path)
    assert latest_step(tmp_path / "checkpoints", "fingerprint") == 3
    train(TASKS["transformer"](), tmp_path)
    assert_same_run(whole("transformer"), tmp_path)


def test_the_average_follows_its_closed_form(tmp_path: Path) -> None:
    task = TASKS["transformer"]()
    watched: list[torch.Tensor] = []
    task.after_step = lambda step: watched.append(task.modules["model"].bridge.weight.detach().clone())  # type: ignore[method-assign]
    model = train(task, tmp_path, steps=5, ema_decay=0.6)
    expected = watched[0]
    for weights in watched[1:]:
        expected = 0.6 * expected + 0.4 * weights
    torch.testing.assert_close(model.bridge.weight, expected)


def test_the_log_tells_losses_rates_and_validation(whole: Callable[[str], Path]) -> None:
    rows = lines(whole("transformer"))
    training = [row for row in rows if row["group"] == "train"]
    assert [row["step"] for row in training] == list(range(1, STEPS + 1))
    settings = tiny.train_settings(STEPS)
    assert [row["rate"] for row in training] == pytest.approx([settings.rate(step) for step in range(STEPS)])
    assert all({"loss/model", "loss/image", "loss/audio", "gradient_norm/model"} <= row.keys() for row in training)
    assert [row["step"] for row in rows if row["group"] == "valid"] == [4, 8]
    assert any(path.name.startswith("events") for path in (whole("transformer") / "logs").iterdir())


def test_seeds_of_steps_and_ranks_are_all_different() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(5) for step in range(2000) for rank in range(4)}
    assert len(seeds) == 5 * 2000 * 4
    assert all(0 <= seed < 2**63 for seed in seeds)
