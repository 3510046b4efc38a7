"""A run that is stopped, killed or damaged goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tiny
from visual_echoes.checkpoints.run_folder import CHECKPOINTS, checkpoint_path, checkpoint_steps
from visual_echoes.errors import EchoesError
from visual_echoes.training import loop
from visual_echoes.training.batches import dropout_seed, step_seed
from visual_echoes.training.loop import fit
from visual_echoes.training.signals import TrainingStopped
from visual_echoes.training.task import Task

TESTS = Path(tiny.__file__).parent
STEPS = 8

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


def newest(output: Path) -> int:
    return checkpoint_steps(output / CHECKPOINTS)[-1]


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
    assert newest(tmp_path) == 3
    with pytest.raises(Killed):  # and once more, right after resuming
        train(tiny.at_step(TASKS[kind](), 3, kill), tmp_path)
    train(TASKS[kind](), tmp_path)
    assert_same_run(whole(kind), tmp_path)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_saves_and_says_how_to_go_on(name: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(TrainingStopped, match="Stopped after step 5; run the same command again"):
        train(tiny.at_step(TASKS["transformer"](), 4, lambda: os.kill(os.getpid(), number)), tmp_path)
    assert signal.getsignal(number) is before
    assert newest(tmp_path) == 5
    train(TASKS["transformer"](), tmp_path)
    assert_same_run(whole("transformer"), tmp_path)


def test_a_process_that_is_killed_goes_on_to_the_same_end(whole: Callable[[str], Path], tmp_path: Path) -> None:
    command = [sys.executable, str(TESTS / "tiny.py"), str(tmp_path), str(STEPS), "7"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent / "src"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert newest(tmp_path) == 6
    assert {path.suffix for path in (tmp_path / "checkpoints").iterdir()} == {".safetensors", ".json"}
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

    task.phases = phases  # type: ignore[method-assign, assignment]
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

    task.phases = phases  # type: ignore[method-assign, assignment]
    return task


def drawn(task: Task, step: int) -> list[int]:
    """The items of a step, noted while it is drawn."""
    noted: list[int] = []
    stream = torch.Generator().manual_seed(step_seed(tiny.train_settings(1).seed, step, 1))
    original = torch.randint

    def note(*arguments: Any, **options: Any) -> torch.Tensor:
        values = original(*arguments, **options)
        if not noted:
            noted.extend(values.tolist())
        return values

    torch.randint = note  # type: ignore[assignment]
    try:
        task.batch(tiny.train_settings(1).batch_size, stream)
    finally:
        torch.randint = original
    return noted


@pytest.mark.parametrize("poison", [poison_loss, poison_gradient])
def test_a_loss_or_gradient_that_is_not_finite_ends_the_run_before_it_is_saved(
    poison: Callable[[Task, int], Task], whole: Callable[[str], Path], tmp_path: Path
) -> None:
    # Step 5 is the one a checkpoint follows.
    items = ", ".join(map(str, drawn(TASKS["transformer"](), 5)))
    with pytest.raises(EchoesError, match=rf"at step 5, .* items {items}; the last good .* is step 3.*learning_rate"):
        train(poison(TASKS["transformer"](), 5), tmp_path)
    assert newest(tmp_path) == 3
    train(TASKS["transformer"](), tmp_path)
    assert_same_run(whole("transformer"), tmp_path)


def test_the_average_follows_its_closed_form(tmp_path: Path) -> None:
    task = TASKS["transformer"]()
    watched: list[torch.Tensor] = []

    def watch(step: int) -> dict[str, float]:
        watched.append(task.modules["model"].decoder_embed.weight.detach().clone())
        return {}

    task.after_step = watch  # type: ignore[method-assign]
    model = train(task, tmp_path, steps=5, ema_decay=0.6)
    expected = watched[0]
    for weights in watched[1:]:
        expected = 0.6 * expected + 0.4 * weights
    torch.testing.assert_close(model.decoder_embed.weight, expected)


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


@pytest.mark.parametrize(("kind", "kept"), [("vqgan", 1), ("transformer", 0)])
def test_memory_is_kept_where_it_fits_again(
    kind: str, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(loop, "keep_freed_memory", lambda: calls.append(None))
    train(TASKS[kind](), tmp_path, 1)
    assert len(calls) == kept


@ALL_TASKS
def test_a_batch_in_pieces_learns_the_same(kind: str, tmp_path: Path) -> None:
    changes = {"dropout": 0.0}
    make = {
        "vqgan": lambda: tiny.vqgan_task(),
        "adversarial vqgan": lambda: tiny.vqgan_task(adversarial_from=2),
        "transformer": lambda: tiny.transformer_task(**changes),
    }[kind]
    logged = []
    for accumulate in (1, 2):
        task = make()
        for module in task.modules.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        train(task, tmp_path / str(accumulate), accumulate=accumulate)
        rows = [row for row in lines(tmp_path / str(accumulate)) if row["group"] == "train"]
        keys = {"loss/model", "adaptive_weight", "usage", "perplexity"}
        logged.append([{key: row[key] for key in row.keys() & keys} for row in rows])
    assert ("adaptive_weight" in logged[0][-1]) == kind.startswith("adversarial")
    assert logged[0] == [pytest.approx(row, rel=1e-4) for row in logged[1]]


def test_pieces_and_phases_draw_apart() -> None:
    seeds = {dropout_seed(0, step, piece, phase) for step in range(200) for piece in range(8) for phase in range(3)}
    assert len(seeds) == 200 * 8 * 3


def test_a_batch_that_another_process_cannot_read_ends_this_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visual_echoes.training.loop.any_rank", lambda here, device: True)
    with pytest.raises(EchoesError, match="Another process cannot read its share of the batch"):
        train(TASKS["transformer"](), tmp_path / "other")
    task = TASKS["transformer"]()

    def gone(size: int, generator: torch.Generator) -> Any:
        raise EchoesError("a.wav has gone.")

    task.batch = gone  # type: ignore[method-assign]
    with pytest.raises(EchoesError, match=r"a\.wav has gone"):
        train(task, tmp_path / "this")


def test_a_batch_that_cannot_be_shared_evenly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="batch_size 4 cannot be shared evenly by 1 processes with accumulate 3"):
        train(TASKS["transformer"](), tmp_path, accumulate=3)


def test_changed_inputs_are_refused_unless_accepted(tmp_path: Path) -> None:
    def go_on(inputs: str, accept: bool = False, steps: int = STEPS) -> nn.Module:
        task = TASKS["transformer"]()
        settings = tiny.train_settings(steps)
        return fit(task, settings, tmp_path, "same", inputs=inputs, accept_changed_inputs=accept)

    go_on("data", steps=3)
    with pytest.raises(EchoesError, match="begun on other data"):
        go_on("other data")
    go_on("data", steps=4)
    go_on("other data", accept=True)
    assert newest(tmp_path) == STEPS


def test_records_are_written_once_nothing_speaks_against_the_run(whole: Callable[[str], Path], tmp_path: Path) -> None:
    settings = tiny.train_settings(2)
    fit(TASKS["transformer"](), settings, tmp_path, "one", records={"recipe.json": "one"})
    with pytest.raises(EchoesError, match="another recipe"):
        fit(TASKS["transformer"](), settings, tmp_path, "two", records={"recipe.json": "two"})
    assert (tmp_path / "recipe.json").read_text() == "one"


@pytest.mark.parametrize(
    ("items", "message"), [(0, "There are 0 items"), (1, "There are 1 items"), (3, "only 3 items")]
)
def test_too_little_data_is_one_sentence(items: int, message: str, tmp_path: Path) -> None:
    task = tiny.vqgan_task()
    split = task.train.items  # type: ignore[attr-defined]
    task.train.items = replace(split, images=split.images[:items])  # type: ignore[attr-defined]
    with pytest.raises(EchoesError, match=message):
        train(task, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_checkpoint_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise EchoesError("There is no space left.")

    train(TASKS["transformer"](), tmp_path, steps=3)
    monkeypatch.setattr("visual_echoes.training.loop.save_checkpoint", fail)
    with pytest.raises(EchoesError, match=r"no space left. The checkpoint of step 3 is untouched"):
        train(TASKS["transformer"](), tmp_path)


def test_alarms_are_logged_and_the_same_after_a_kill(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def spiked(kill_at: int | None = None) -> Task:
        task = tiny.transformer_task()
        original = task.phases

        def phases(batch: Any, now: int) -> Any:
            if now == kill_at:
                raise Killed
            for phase in original(batch, now):
                yield type(phase)(phase.optimizer, phase.loss * (1000.0 if now in (26, 28) else 1.0), phase.metrics)

        task.phases = phases  # type: ignore[method-assign, assignment]
        return task

    def logged(output: Path) -> list[tuple[int, str]]:
        return [(row["step"], row["text"]) for row in lines(output) if row["group"] == "alarm"]

    train(spiked(), tmp_path / "whole", steps=30)
    alarms = logged(tmp_path / "whole")
    assert [step for step, _ in alarms] == [27, 27]  # not again at 29
    assert alarms[0][1].startswith("the loss of model jumped to ")
    assert alarms[1][1].startswith("the gradient norm of model jumped to ")
    assert "step 27: the loss of model jumped" in capfd.readouterr().err
    with pytest.raises(Killed):
        train(spiked(25), tmp_path / "killed", steps=30)
    train(spiked(), tmp_path / "killed", steps=30)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
