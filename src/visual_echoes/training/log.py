"""What a run writes down while it goes: TensorBoard files and `metrics.jsonl`, one JSON object a line.

A line has `step`, `group` ("train", "valid" or "alarm") and the values, or the `text` of an alarm.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from visual_echoes.files import write_text
from visual_echoes.run_folder import METRICS_FILE
from visual_echoes.training.task import Validation

LOGS_FOLDER = "logs"


class RunLog:
    """The log of one run; what an earlier, killed process wrote beyond its checkpoint is dropped."""

    def __init__(self, output: Path, start: int, active: bool) -> None:
        """`start`: steps the checkpoint has; `active`: whether this process writes."""
        self.active = active
        if active:
            self.writer = SummaryWriter(str(output / LOGS_FOLDER), purge_step=start)
            self.lines = output / METRICS_FILE
            kept = self.lines.read_text().splitlines() if self.lines.exists() else []
            kept = [line for line in kept if _logged_until(line, start)]
            write_text(self.lines, "".join(line + "\n" for line in kept))
        self.clock, self.last = time.perf_counter(), start

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            self.writer.close()

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

    def alarm(self, text: str, step: int) -> None:
        """Something that looks wrong."""
        if self.active:
            self.writer.add_text("alarm", text, step)
            self._line("alarm", {"text": text}, step)

    def validation(self, result: Validation, step: int) -> None:
        """Held-out figures, pictures and sounds."""
        self.scalars("valid", result.metrics, step)
        if self.active:
            for name, pixels in result.images.items():
                self.writer.add_image(name, pixels, step, dataformats="HWC")
            for name, (wave, rate) in result.sounds.items():
                self.writer.add_audio(name, wave, step, sample_rate=rate)

    def _line(self, group: str, values: Mapping[str, Any], step: int) -> None:
        with self.lines.open("a") as file:
            file.write(json.dumps({"step": step, "group": group, **values}) + "\n")


def _logged_until(line: str, step: int) -> bool:
    """Whether a line of the log is whole and of no later step; a power cut may leave half a line."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False
