"""The training loop, the same for all four parts.

Every random draw of step n follows from (seed, n, rank), so a run that is killed and resumed is bit for bit the run
that was never killed. Ctrl-C or SIGTERM finishes the step, writes a checkpoint and says how to go on.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from visual_echoes.errors import EchoesError
from visual_echoes.files import write_text
from visual_echoes.training.checkpoint import latest_step, load_checkpoint, save_checkpoint
from visual_echoes.training.settings import TrainSettings, build_optimizers, mixed_precision
from visual_echoes.training.task import Task, Validation


def step_seed(seed: int, step: int, rank: int) -> int:
    """One 63-bit seed per (run, step, rank), well spread so that neighbouring steps share nothing."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 31)) * 0xD6E8FEB86659FD93) & (2**64 - 1)
    return mixed >> 1


def fit(task: Task, settings: TrainSettings, output: Path, fingerprint: str) -> nn.Module:
    """Train a task, or finish a run that was cut short.

    Args:
        task: what to train.
        settings: the recipe's `[train]` table.
        output: run folder; receives `checkpoints/`, `logs/` (TensorBoard) and `metrics.jsonl`.
        fingerprint: identifies the recipe; checkpoints of another recipe are refused.

    Returns:
        The averaged model, in eval mode.

    Raises:
        EchoesError: the run was interrupted (after saving), or the loss is no longer finite.
    """
    run = _Run(task, settings, output, fingerprint, _accelerator(settings))
    with _stop_flag() as stop:
        run.train(stop)
    return run.average.module


def time_steps(task: Task, settings: TrainSettings, steps: Sequence[int]) -> list[float]:
    """How many seconds each of some steps takes, in this order; nothing is written."""
    with TemporaryDirectory() as nothing_to_resume:
        run = _Run(task, settings, Path(nothing_to_resume), "", _accelerator(settings))
    seconds = []
    for step in steps:
        begin = time.perf_counter()
        run.step(step)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return seconds


def _accelerator(settings: TrainSettings) -> Accelerator:
    AcceleratorState._reset_state()  # one process may train several parts, each at its own precision
    return Accelerator(mixed_precision=mixed_precision(settings.precision), cpu=not torch.cuda.is_available())


class _Run:
    def __init__(
        self, task: Task, settings: TrainSettings, output: Path, fingerprint: str, accelerator: Accelerator
    ) -> None:
        self.task, self.settings, self.output, self.fingerprint = task, settings, output, fingerprint
        self.accelerator = accelerator
        task.modules.to(accelerator.device)
        self.average = AveragedModel(
            task.modules["model"], multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True
        )
        self.average.eval()
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for name, networks in task.optimizers.items():
            for index, optimizer in enumerate(build_optimizers([task.modules[n] for n in networks], settings)):
                self.optimizers[f"{name}.{index}"] = accelerator.prepare(optimizer)
        for name, module in task.modules.items():
            task.modules[name] = accelerator.prepare(module) if any(True for _ in module.parameters()) else module
        self.base_rates = {
            name: [group["lr"] for group in optimizer.param_groups] for name, optimizer in self.optimizers.items()
        }
        self.start = self._resume()

    def _stored_modules(self) -> dict[str, nn.Module]:
        stored = {name: self.accelerator.unwrap_model(module) for name, module in self.task.modules.items()}
        return {**stored, "average": self.average}

    def _stored_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {name: optimizer.optimizer for name, optimizer in self.optimizers.items()}  # type: ignore[attr-defined]

    def _resume(self) -> int:
        folder = self.output / "checkpoints"
        step = latest_step(folder, self.fingerprint)
        if step is None:
            if any(folder.glob("step-*.safetensors")):
                raise EchoesError(
                    f"{self.output} holds checkpoints of another recipe (or broken ones); move the folder away, or "
                    "choose another output."
                )
            return 0
        load_checkpoint(folder, step, self._stored_modules(), self._stored_optimizers())
        return step

    def _save(self, step: int) -> None:
        if self.accelerator.is_main_process:
            folder = self.output / "checkpoints"
            save_checkpoint(folder, step, self._stored_modules(), self._stored_optimizers(), self.fingerprint)
        self.accelerator.wait_for_everyone()

    def train(self, stop: list[bool]) -> None:
        settings = self.settings
        self.output.mkdir(parents=True, exist_ok=True)
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        show = self.accelerator.is_main_process
        console = Console(stderr=True)
        quiet = not (show and console.is_terminal)
        with _Log(self.output, self.start, show) as log, Progress(*columns, console=console, disable=quiet) as progress:
            bar = progress.add_task("training", total=settings.steps, completed=self.start, note="")
            for step in range(self.start, settings.steps):
                metrics = self.step(step)
                done = step + 1
                if done % settings.log_every == 0 or done == settings.steps:
                    metrics["seconds_per_step"] = log.pace(done)
                    log.scalars("train", metrics, done)
                    progress.update(bar, note=" ".join(f"{k} {v:.3g}" for k, v in list(metrics.items())[:2]))
                if done % settings.validate_every == 0 or done == settings.steps:
                    result = self._validate()
                    log.validation(result, done)
                    if show:
                        figures = "  ".join(f"{key} {value:.4g}" for key, value in result.metrics.items())
                        console.print(f"step {done}: {figures}", highlight=False, markup=False)
                if done % settings.checkpoint_every == 0 or done == settings.steps or stop[0]:
                    self._save(done)
                progress.update(bar, completed=done)
                if stop[0] and done < settings.steps:
                    raise EchoesError(f"Stopped after step {done}; run the same command again to go on from there.")

    def step(self, step: int) -> dict[str, float]:
        settings, accelerator = self.settings, self.accelerator
        rank = accelerator.process_index
        torch.manual_seed(step_seed(settings.seed, step, rank))
        # The batch has a stream of its own, so that its draws are not those of the dropout.
        stream = torch.Generator().manual_seed(step_seed(settings.seed, step, rank + accelerator.num_processes))
        batch = _to_device(
            self.task.batch(settings.batch_size // accelerator.num_processes, stream), accelerator.device
        )
        rate = settings.rate(step)
        metrics: dict[str, float] = {}
        self.task.modules.train()
        with accelerator.autocast():
            for phase in self.task.phases(batch, step):
                loss = float(phase.loss.detach())
                _check_finite("loss", phase.optimizer, loss, step)
                owners = [name for name in self.optimizers if name.split(".")[0] == phase.optimizer]
                accelerator.backward(phase.loss)
                parameters = [
                    p for n in self.task.optimizers[phase.optimizer] for p in self.task.modules[n].parameters()
                ]
                norm = accelerator.clip_grad_norm_(parameters, settings.clip_norm)
                if norm is not None:
                    _check_finite("gradient", phase.optimizer, float(norm), step)
                for name in owners:
                    optimizer = self.optimizers[name]
                    for group, base in zip(optimizer.param_groups, self.base_rates[name], strict=True):
                        group["lr"] = base * rate
                    optimizer.step()
                for optimizer in self.optimizers.values():
                    optimizer.zero_grad()
                metrics[f"loss/{phase.optimizer}"] = loss
                metrics.update({key: float(torch.as_tensor(value).detach()) for key, value in phase.metrics.items()})
                if norm is not None:
                    metrics[f"gradient_norm/{phase.optimizer}"] = float(norm)
        self.task.after_step(step)
        self.average.update_parameters(accelerator.unwrap_model(self.task.modules["model"]))
        metrics["rate"] = rate
        return metrics

    def _validate(self) -> Validation:
        self.task.modules.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            return self.task.validate(self.average.module, self.accelerator.device)


def _check_finite(what: str, optimizer: str, value: float, step: int) -> None:
    """Stop before the weights, and then a checkpoint, take over what is not a number."""
    if not math.isfinite(value):
        raise EchoesError(
            f"The {what} of {optimizer!r} is {value} at step {step}; the last checkpoint is untouched. "
            "Lower learning_rate or clip_norm, or set precision to fp32."
        )


class _Log:
    """Writes TensorBoard files and one JSON line per logged step."""

    def __init__(self, output: Path, start: int, active: bool) -> None:
        self.active = active
        if active:
            self.writer = SummaryWriter(str(output / "logs"), purge_step=start)
            self.lines = output / "metrics.jsonl"
            kept = self.lines.read_text().splitlines() if self.lines.exists() else []
            kept = [line for line in kept if _logged_until(line, start)]
            write_text(self.lines, "".join(line + "\n" for line in kept))
        self.clock, self.last = time.perf_counter(), start

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            self.writer.close()

    def pace(self, done: int) -> float:
        now = time.perf_counter()
        seconds = (now - self.clock) / max(1, done - self.last)
        self.clock, self.last = now, done
        return seconds

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        if not self.active:
            return
        for key, value in values.items():
            self.writer.add_scalar(f"{group}/{key}", value, step)
        with self.lines.open("a") as file:
            file.write(json.dumps({"step": step, "group": group, **values}) + "\n")

    def validation(self, result: Validation, step: int) -> None:
        self.scalars("valid", result.metrics, step)
        if self.active:
            for name, pixels in result.images.items():
                self.writer.add_image(name, pixels, step, dataformats="HWC")
            for name, (wave, rate) in result.sounds.items():
                self.writer.add_audio(name, wave, step, sample_rate=rate)


def _logged_until(line: str, step: int) -> bool:
    """Whether a line of the log is whole and of no later step; a power cut may leave half a line."""
    try:
        return json.loads(line)["step"] <= step
    except (ValueError, KeyError, TypeError):
        return False


def _to_device(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: _to_device(value, device) for key, value in batch.items()}
    return tuple(_to_device(value, device) for value in batch)


@contextmanager
def _stop_flag() -> Iterator[list[bool]]:
    """A flag that Ctrl-C and SIGTERM raise instead of tearing the step apart."""
    flag = [False]

    def raise_flag(_signal: int, _frame: FrameType | None) -> None:
        flag[0] = True

    try:
        previous = {name: signal.signal(name, raise_flag) for name in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller owns the signals
        yield flag
        return
    try:
        yield flag
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
