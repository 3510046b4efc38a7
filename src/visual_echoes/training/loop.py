"""The training loop, the same for every part.

Every random draw of step n follows from (seed, n), so a run that is killed and resumed is bit for bit the run that was
never killed, and several processes (ranks) share the batches that one process would draw. Each rank takes its share in
`accumulate` pieces. What is drawn for a piece follows from its place in the batch, and what the losses need to know of
the whole batch is averaged over all pieces, so two ranks with a piece each compute what one computes with two. Ctrl-C,
SIGTERM or SIGUSR1 finishes the step, writes a checkpoint and says how to go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from visual_echoes.checkpoints.run_folder import CHECKPOINTS
from visual_echoes.errors import EchoesError
from visual_echoes.files import write_text
from visual_echoes.machine import keep_freed_memory
from visual_echoes.training.batches import ahead, check_sizes, cut, data_stream, dropout_seed, own_rows, seed_draws
from visual_echoes.training.checkpoint import (
    find_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    stored_tensors,
)
from visual_echoes.training.devices import Device, check_shardable, is_sharded, open_accelerator
from visual_echoes.training.guards import Watch, check_finite
from visual_echoes.training.log import RunLog
from visual_echoes.training.ranks import any_rank, gather_rows, mean_over_ranks, whole
from visual_echoes.training.settings import TrainSettings, build_optimizers, deterministic_algorithms
from visual_echoes.training.signals import TrainingStopped, stop_flag
from visual_echoes.training.task import Phase, Task, Validation


def fit(
    task: Task,
    settings: TrainSettings,
    output: Path,
    fingerprint: str,
    *,
    inputs: str = "",
    accept_changed_inputs: bool = False,
    records: Mapping[str, str] | None = None,
    device: Device = "auto",
    wandb_project: str | None = None,
) -> nn.Module:
    """Train a task, or finish a run that was cut short.

    Args:
        task: what to train.
        settings: the recipe's `[train]` table.
        output: run folder; receives `checkpoints/`, `logs/` (TensorBoard) and `metrics.jsonl`.
        fingerprint: identifies the recipe; checkpoints of another recipe are refused.
        inputs: identifies what is trained on; checkpoints of other inputs are refused unless accepted.
        accept_changed_inputs: go on although the inputs changed.
        records: text files, by name, that are put into the run folder at the start.
        device: where to train; "auto" takes a GPU where there is one.
        wandb_project: the project of Weights & Biases to log to as well; None: none.

    Returns:
        The averaged model, in eval mode.

    Raises:
        TrainingStopped: the run was interrupted, after saving.
        EchoesError: too little data, a checkpoint of something else, a full disk, a loss that is no longer finite, a
            device that is not there, or no Weights & Biases.
    """
    accelerator = open_accelerator(settings.precision, device)
    run = _Run(task, settings, output, (fingerprint, inputs), accept_changed_inputs, accelerator)
    if run.accelerator.is_main_process:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in (records or {}).items():
            write_text(output / name, text)
    with deterministic_algorithms(settings.deterministic), stop_flag() as stop:
        run.train(stop, wandb_project)
    return run.average.module


def time_steps(task: Task, settings: TrainSettings, steps: Sequence[int], device: Device = "auto") -> list[float]:
    """How many seconds each of some steps takes, in this order; nothing is written."""
    take = stepper(task, settings, device)
    seconds = []
    for step in steps:
        begin = time.perf_counter()
        take(step)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return seconds


def stepper(task: Task, settings: TrainSettings, device: Device = "auto") -> Callable[[int], dict[str, float]]:
    """A training of which single steps can be taken, for their metrics; nothing is written."""
    accelerator = open_accelerator(settings.precision, device)
    with TemporaryDirectory() as nothing_to_resume:
        return _Run(task, settings, Path(nothing_to_resume), ("", ""), False, accelerator).step


class _Run:
    def __init__(
        self,
        task: Task,
        settings: TrainSettings,
        output: Path,
        identity: tuple[str, str],
        accept_changed_inputs: bool,
        accelerator: Accelerator,
    ) -> None:
        """`identity`: fingerprint of the recipe, and of the inputs."""
        if task.same_shapes:
            keep_freed_memory()
        self.task, self.settings, self.output, self.accelerator = task, settings, output, accelerator
        self.fingerprint, self.inputs = identity
        check_sizes(task, settings, accelerator.num_processes)
        self.own_rows = own_rows(settings, accelerator.process_index, accelerator.num_processes)
        if is_sharded(accelerator):
            check_shardable(list(task.modules), settings.optimizer)
        self.console = Console(stderr=True, quiet=not accelerator.is_main_process)
        self.watch = Watch()
        task.modules.to(accelerator.device)
        self.average = AveragedModel(
            task.modules["model"], multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True
        )
        self.average.eval()
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for name, networks in task.optimizers.items():
            for index, optimizer in enumerate(build_optimizers([task.modules[n] for n in networks], settings)):
                self.optimizers[f"{name}.{index}"] = optimizer
        trained = [name for name, module in task.modules.items() if any(p.requires_grad for p in module.parameters())]
        # In one call, so that the optimisers get the parameters as FSDP splits them.
        prepared = iter(accelerator.prepare(*(task.modules[name] for name in trained), *self.optimizers.values()))
        for name in trained:
            task.modules[name] = next(prepared)
        self.optimizers = dict(zip(self.optimizers, prepared, strict=True))
        trained_model = accelerator.unwrap_model(task.modules["model"])
        # The tensors of the average, and those that it follows.
        self.followed = [
            [tensor.detach() for tensor in chain(network.parameters(), network.buffers()) if tensor.is_floating_point()]
            for network in (self.average.module, trained_model)
        ]
        task.share(self.own_rows)
        task.modules.train()
        self.base_rates = {
            name: [group["lr"] for group in optimizer.param_groups] for name, optimizer in self.optimizers.items()
        }
        self.saved: int | None = None  # step of the last checkpoint
        self.drawn = ahead(self._draw) if accelerator.device.type == "cuda" else self._draw
        self.start = self._resume(accept_changed_inputs)

    def _draw(self, step: int) -> Any:
        return self.task.batch(self.settings.batch_size, data_stream(self.settings.seed, step))

    # Checkpoints

    def _stored_modules(self) -> dict[str, nn.Module]:
        stored = {name: self.accelerator.unwrap_model(module) for name, module in self.task.modules.items()}
        return {**stored, "average": self.average}

    def _stored_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {name: optimizer.optimizer for name, optimizer in self.optimizers.items()}  # type: ignore[attr-defined]

    def _resume(self, accept_changed_inputs: bool) -> int:
        folder = self.output / CHECKPOINTS
        found = find_checkpoint(folder, self.fingerprint, self._say)
        start = 0 if found is None else found.step
        if len(set(gather_rows(torch.tensor([start], device=self.accelerator.device)).tolist())) > 1:
            raise EchoesError(f"The processes do not see the same files in {folder}; put it on a disk they share.")
        if found is None:
            return start
        if found.inputs != self.inputs and not accept_changed_inputs:
            raise EchoesError(
                f"{self.output} was begun on other data or tokenizers than the recipe's paths hold now; restore them, "
                "choose another output, or go on with --accept-changed-data."
            )
        load_checkpoint(folder, start, self._stored_modules(), self._stored_optimizers())
        self.watch.restore(found.watch)
        self.saved = start
        return start

    def _save(self, step: int) -> None:
        stored = self._stored_modules(), self._stored_optimizers()
        if self.accelerator.is_main_process:
            folder, settings = self.output / CHECKPOINTS, self.settings
            try:
                save_checkpoint(
                    folder, step, *stored,
                    fingerprint=self.fingerprint, inputs=self.inputs, watch=self.watch.state(),
                )  # fmt: skip
            except EchoesError as error:
                kept = "" if self.saved is None else f" The checkpoint of step {self.saved} is untouched."
                raise EchoesError(f"{error}{kept} Then run the same command again.") from error
            prune_checkpoints(folder, step, settings.keep_last, settings.keep_every)
        elif is_sharded(self.accelerator):
            for _ in stored_tensors(*stored):
                pass  # this rank's shards go to the main process
        self.saved = step
        self.accelerator.wait_for_everyone()

    # The run

    def train(self, stop: list[bool], wandb_project: str | None) -> None:
        settings, show = self.settings, self.accelerator.is_main_process
        log = RunLog(self.output, self.start, show, wandb_project)
        with log, self._progress() as (progress, note):
            for step in range(self.start, settings.steps):
                metrics = self.step(step)
                done = step + 1
                for alarm in self.watch.observe(done, metrics):
                    self._alarm(log, alarm, done)
                if done % settings.log_every == 0 or done == settings.steps:
                    metrics["seconds_per_step"] = log.pace(done)
                    log.scalars("train", metrics, done)
                    note(" ".join(f"{k} {v:.3g}" for k, v in list(metrics.items())[:2]))
                if done % settings.validate_every == 0 or done == settings.steps:
                    self._validate(log, done)
                stopped = any_rank(stop[0], self.accelerator.device)
                if done % settings.checkpoint_every == 0 or done == settings.steps or stopped:
                    self._save(done)
                progress(done)
                if stopped and done < settings.steps:
                    raise TrainingStopped(f"Stopped after step {done}; run the same command again to go on from there.")

    def step(self, step: int) -> dict[str, float]:
        """Take one step, counted from 0; returns its metrics, means over all ranks."""
        settings, accelerator = self.settings, self.accelerator
        rate = settings.rate(step)
        for name, optimizer in self.optimizers.items():
            for group, base in zip(optimizer.param_groups, self.base_rates[name], strict=True):
                group["lr"] = base * rate
        batches = self._pieces(step)
        metrics: dict[str, float] = {}
        with accelerator.autocast():
            self.task.surveyed = self._survey(batches, step)
            pieces = [self.task.phases(batch, step) for batch in batches]
            numbers = count()
            while phases := self._backward(pieces, step, next(numbers)):
                self._update(phases, step, metrics)
        seed_draws(dropout_seed(settings.seed, step))
        metrics.update(self.task.after_step(step))
        self._follow()
        metrics["rate"] = rate
        return metrics

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the average follow the network; its first step is a copy."""
        average, model = self.followed
        weight = 1.0 - self.settings.ema_decay if int(self.average.n_averaged) else 1.0
        torch._foreach_lerp_(average, [whole(tensor) for tensor in model], weight)
        self.average.n_averaged += 1

    def _pieces(self, step: int) -> list[Any]:
        """This rank's share of the step's batch, in as many pieces as gradients are accumulated over."""
        batch, problem = None, None
        try:
            batch = self.drawn(step)
        except EchoesError as error:
            problem = error
        # Together, since a rank that ends alone leaves the others waiting for it.
        if any_rank(problem is not None, self.accelerator.device):
            raise problem or EchoesError("Another process cannot read its share of the batch; its message says why.")
        return cut(batch, self.own_rows, self.settings.accumulate, self.accelerator.device)

    def _survey(self, batches: Sequence[Any], step: int) -> Tensor | None:
        """What the task has to know of all pieces before their first phase: one more pass, whose graphs are dropped."""
        if len(batches) == 1:
            return None
        found = []
        for place, batch in enumerate(batches):
            with self._piece(step, place, alone=True):
                values = self.task.survey(batch, step)
            if values is None:
                return None
            found.append(values)
        return mean_over_ranks(torch.stack(found).mean(0))

    @contextmanager
    def _piece(self, step: int, place: int, phase: int = 0, *, alone: bool) -> Iterator[None]:
        """Seed the draws of a piece of this rank; `alone`: gradients are not yet added up over the ranks."""
        piece = self.accelerator.process_index * self.settings.accumulate + place
        seed_draws(dropout_seed(self.settings.seed, step, piece, phase))
        with ExitStack() as stack:
            for module in self.task.modules.values() if alone else ():
                stack.enter_context(self.accelerator.no_sync(module))
            yield

    def _backward(self, pieces: Sequence[Iterator[Phase]], step: int, number: int) -> list[Phase]:
        """Gradients of the next phase, the `number`-th, of every piece; nothing when there is no further phase."""
        phases = []
        for place, piece in enumerate(pieces):
            with self._piece(step, place, number, alone=place + 1 < len(pieces)):
                phase = next(piece, None)
                if phase is None:
                    return []
                self.accelerator.backward(phase.loss / len(pieces))
            phases.append(phase)
        return phases

    def _update(self, phases: Sequence[Phase], step: int, metrics: dict[str, float]) -> None:
        """Step the phase's optimisers, unless loss or gradient are not finite; adds to the metrics."""
        owner = phases[0].optimizer
        loss, figures = self._means(phases)
        self._check_finite(f"loss of {owner!r}", loss, step)
        networks = [self.task.modules[name] for name in self.task.optimizers[owner]]
        parameters = [parameter for network in networks for parameter in network.parameters()]
        norm = self.accelerator.clip_grad_norm_(parameters, self.settings.clip_norm)
        if norm is not None:
            norm = float(whole(norm))
            self._check_finite(f"gradient of {owner!r}", norm, step)
        for name, optimizer in self.optimizers.items():
            if name.split(".")[0] == owner:
                optimizer.step()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        metrics[f"loss/{owner}"] = loss
        metrics.update(figures)
        if norm is not None:
            metrics[f"gradient_norm/{owner}"] = norm

    def _means(self, phases: Sequence[Phase]) -> tuple[float, dict[str, float]]:
        """Loss and metrics of a phase, averaged over pieces and ranks."""
        device = self.accelerator.device
        rows = []
        for phase in phases:
            values = (phase.loss, *phase.metrics.values())
            rows.append(torch.stack([torch.as_tensor(value).detach().double().to(device) for value in values]))
        loss, *figures = mean_over_ranks(torch.stack(rows).mean(0)).tolist()
        return loss, dict(zip(phases[0].metrics, figures, strict=True))

    def _check_finite(self, what: str, value: float, step: int) -> None:
        stream = data_stream(self.settings.seed, step)
        check_finite(what, value, step, lambda: self.task.items(self.settings.batch_size, stream).tolist(), self.saved)

    # What is shown

    def _validate(self, log: RunLog, done: int) -> None:
        self.task.modules.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            result: Validation = self.task.validate(self.average.module, self.accelerator.device)
        log.validation(result, done)
        self._say(f"step {done}: " + "  ".join(f"{key} {value:.4g}" for key, value in result.metrics.items()))
        for alarm in result.alarms:
            self._alarm(log, alarm, done)
        self.task.modules.train()

    def _alarm(self, log: RunLog, text: str, done: int) -> None:
        log.alarm(text, done)
        self._say(f"step {done}: {text}", style="bold yellow")

    def _say(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def _progress(self) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
        """A bar on a terminal: how to say how many steps are done, and what to note beside it."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        quiet = self.console.quiet or not self.console.is_terminal
        with Progress(*columns, console=self.console, disable=quiet) as progress:
            bar = progress.add_task("training", total=self.settings.steps, completed=self.start, note="")
            yield lambda done: progress.update(bar, completed=done), lambda text: progress.update(bar, note=text)
