"""What a run writes down while it goes: TensorBoard files and `metrics.jsonl`, one JSON object a line.

A line has `step`, `group` ("train", "valid" or "alarm") and the values, or the `text` of an alarm. If asked, the same
goes to Weights & Biases, whose package is imported then only.
"""

from __future__ import annotations

import importlib
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from visual_echoes.checkpoints.run_folder import METRICS_FILE, RECIPE_FILE
from visual_echoes.errors import EchoesError
from visual_echoes.files import write_text
from visual_echoes.training.task import Validation

LOGS_FOLDER = "logs"
WANDB_ID = "wandb-id.txt"  # in the run folder: a resumed run goes on with its own run at Weights & Biases


class RunLog:
    """The log of one run; what an earlier, killed process wrote beyond its checkpoint is dropped."""

    def __init__(self, output: Path, start: int, active: bool, wandb_project: str | None = None) -> None:
        """`start`: steps the checkpoint has; `active`: whether this process writes."""
        self.active = active
        self.wandb = _WandbRun(output, wandb_project) if active and wandb_project is not None else None
        if active:
            self.writer = SummaryWriter(str(output / LOGS_FOLDER), purge_step=start)
            self.lines = output / METRICS_FILE
            kept = self.lines.read_text().splitlines() if self.lines.exists() else []
            kept = [line for line in kept if _logged_until(line, start)]
            write_text(self.lines, "".join(line + "\n" for line in kept))
        self.clock, self.last = time.perf_counter(), start

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if self.active:
            self.writer.close()
        if self.wandb is not None:
            self.wandb.finish(failed=error is not None)

    def pace(self, done: int) -> float:
        """Seconds a step since the last call."""
        now = time.perf_counter()
        seconds = (now - self.clock) / max(1, done - self.last)
        self.clock, self.last = now, done
        return seconds

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Figures of a step."""
        if self.active:
            for key, value in values.items():
                self.writer.add_scalar(f"{group}/{key}", value, step)
            self._line(group, values, step)
        if self.wandb is not None:
            self.wandb.scalars(group, values, step)

    def alarm(self, text: str, step: int) -> None:
        """Something that looks wrong."""
        if self.active:
            self.writer.add_text("alarm", text, step)
            self._line("alarm", {"text": text}, step)
        if self.wandb is not None:
            self.wandb.alarm(text, step)

    def validation(self, result: Validation, step: int) -> None:
        """Held-out figures, images and sounds."""
        self.scalars("valid", result.metrics, step)
        if self.active:
            for name, pixels in result.images.items():
                self.writer.add_image(name, pixels, step, dataformats="HWC")
            for name, (wave, rate) in result.sounds.items():
                self.writer.add_audio(name, wave, step, sample_rate=rate)
        if self.wandb is not None:
            self.wandb.media(result, step)

    def _line(self, group: str, values: Mapping[str, Any], step: int) -> None:
        with self.lines.open("a") as file:
            file.write(json.dumps({"step": step, "group": group, **values}) + "\n")


def import_wandb() -> Any:
    """The package of Weights & Biases, which is not among this one's requirements; `EchoesError` without it."""
    try:
        return importlib.import_module("wandb")
    except ModuleNotFoundError as error:
        raise EchoesError(
            "Logging to Weights & Biases needs its package; install it with: pip install wandb, or leave --wandb out."
        ) from error


class _WandbRun:
    """The run at Weights & Biases. What a resumed run logs again is dropped there; it is the same to the bit."""

    def __init__(self, output: Path, project: str) -> None:
        self._wandb = import_wandb()
        path, recipe = output / WANDB_ID, output / RECIPE_FILE
        if not path.is_file():
            write_text(path, secrets.token_hex(8))
        config = json.loads(recipe.read_text()) if recipe.is_file() else {}
        try:
            self._run = self._wandb.init(
                project=project, id=path.read_text(), resume="allow", name=output.name, dir=str(output), config=config
            )
        except self._wandb.Error as error:
            raise EchoesError(
                f"Weights & Biases cannot be used ({error}); log in with `wandb login`, set WANDB_MODE=offline, or "
                "leave --wandb out."
            ) from error

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        self._run.log({f"{group}/{key}": value for key, value in values.items()}, step=step)

    def alarm(self, text: str, step: int) -> None:
        self._run.alert(title=f"step {step}", text=text)

    def media(self, result: Validation, step: int) -> None:
        shown = {name: self._wandb.Image(pixels) for name, pixels in result.images.items()}
        shown |= {name: self._wandb.Audio(wave, sample_rate=rate) for name, (wave, rate) in result.sounds.items()}
        self._run.log(shown, step=step)

    def finish(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def _logged_until(line: str, step: int) -> bool:
    """Whether a line of the log is whole and of no later step; a power cut may leave half a line."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False
