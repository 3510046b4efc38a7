"""What the folders of runs tell: how far each run is, how it fares, and in what two of them differ.

Only what a run has written is read, and little of it, so that looking never disturbs a training: the end of its log,
the names of its checkpoints and its resolved recipe. Any of them may be missing.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from visual_echoes.checkpoints.run_folder import (
    CHECKPOINTS,
    MAX_JSON_BYTES,
    METRICS_FILE,
    MODEL_FOLDER,
    RECIPE_FILE,
    checkpoint_steps,
)
from visual_echoes.errors import EchoesError

MAX_STEP = 1 << 53
LOG_TAIL_BYTES = 1 << 17  # hundreds of lines

# A run is silent for longer than three of its logged intervals only if it has stopped; validations need some time, too.
SILENT_INTERVALS = 3
SILENT_SECONDS = 120.0

State = Literal["running", "stopped", "finished", "broken"]


@dataclass(frozen=True)
class RunSummary:
    """One run at a glance.

    Attributes:
        folder: the run folder.
        recipe: kind and layout of its recipe; None where it does not tell.
        step: steps done, by its log and its checkpoints.
        steps: how many it is to take; None where it does not tell.
        loss: the last one logged, of the trained part.
        seconds_per_step: the last one logged.
        state: "running" if it has written lately, "finished" if it has left its model, "broken" if what it wrote is
            unreadable or its loss is not finite.
        alarm: the last thing that the training itself found wrong; None if there was nothing lately.
        problem: what is broken, as a sentence.
    """

    folder: Path
    recipe: str | None
    step: int
    steps: int | None
    loss: float | None
    seconds_per_step: float | None
    state: State
    alarm: str | None
    problem: str | None


def find_runs(folder: Path) -> list[Path]:
    """All run folders at or under a folder, by name; hidden folders and links are not looked into.

    Raises:
        EchoesError: there is no such folder.
    """
    if not folder.is_dir():
        raise EchoesError(f"There is no folder {folder}; name the one that holds your runs.")
    found = []
    for parent, inside, files in os.walk(folder):
        if RECIPE_FILE in files or METRICS_FILE in files or checkpoint_steps(Path(parent, CHECKPOINTS)):
            found.append(Path(parent))
            inside.clear()
        inside[:] = [name for name in inside if not name.startswith(".")]
    return sorted(found)


def summarise(folder: Path, now: float | None = None) -> RunSummary:
    """Look at one run; nothing that it wrote can make this fail.

    Args:
        folder: the run folder.
        now: seconds since the epoch; None: the clock's.
    """
    problem, recipe, rows = None, {}, []
    try:
        if (folder / RECIPE_FILE).exists():
            recipe = read_run_recipe(folder)
        rows = _last_rows(folder / METRICS_FILE)
    except EchoesError as error:
        problem = str(error)
    training, alarms = ([row for row in rows if row["group"] == group] for group in ("train", "alarm"))
    step = max([*(row["step"] for row in rows), *checkpoint_steps(folder / CHECKPOINTS)], default=0)
    loss, pace = (_number(training[-1].get(key)) if training else None for key in ("loss/model", "seconds_per_step"))
    if loss is not None and not math.isfinite(loss):
        problem = f"The loss of {folder} is {loss}; lower its learning_rate and train again."
    table = recipe.get("train")
    steps = table.get("steps") if isinstance(table, dict) and isinstance(table.get("steps"), int) else None
    kind, layout = recipe.get("kind"), recipe.get("layout")
    return RunSummary(
        folder=folder,
        recipe=None if kind is None else f"{kind}, {layout}",
        step=step,
        steps=steps,
        loss=loss,
        seconds_per_step=pace,
        state="broken" if problem else _state(folder, step, steps, _patience(training, pace), now or time.time()),
        alarm=" ".join(f"step {alarms[-1]['step']}: {alarms[-1].get('text')}".split()) if alarms else None,
        problem=problem,
    )


def read_run_recipe(folder: Path) -> dict[str, Any]:
    """The resolved recipe that a run has stored, as it was written, whatever version wrote it.

    Raises:
        EchoesError: there is none, or it cannot be read.
    """
    path = folder / RECIPE_FILE
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise EchoesError(f"{path} is larger than {MAX_JSON_BYTES} bytes; this is no stored recipe.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EchoesError(f"{folder} has no {RECIPE_FILE}; choose the folder of a run.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise EchoesError(f"{path} cannot be read as a stored recipe ({error}).") from error
    if not isinstance(content, dict):
        raise EchoesError(f"{path} cannot be read as a stored recipe (it is no table).")
    return content


def recipe_differences(first: Path, second: Path) -> dict[str, tuple[Any, Any]]:
    """In what the resolved recipes of two runs differ: dotted key to both values, None where one has no such key.

    The run folder itself (`output`) is left out: it always differs.

    Raises:
        EchoesError: one of them has no readable recipe.
    """
    values = [dict(_flat(read_run_recipe(folder))) for folder in (first, second)]
    keys = dict.fromkeys([*values[0], *values[1]])
    pairs = {key: (values[0].get(key), values[1].get(key)) for key in keys if key != "output"}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _flat(values: Mapping[str, Any], table: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{table}{key}.")
        else:
            yield f"{table}{key}", value


def _last_rows(log: Path) -> list[dict[str, Any]]:
    """The last whole lines of a log; none if it is missing or empty, `EchoesError` if none of its lines is whole."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            lines = file.read(LOG_TAIL_BYTES).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EchoesError(f"{log} cannot be read ({error.strerror}).") from error
    rows = [row for row in map(_row, lines) if row is not None]
    if lines and not rows:
        raise EchoesError(f"{log} has no line that can be read; what the run logged is lost.")
    return rows


def _row(line: bytes) -> dict[str, Any] | None:
    """One line of a log; None for one that a cut has left incomplete."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("group"), str):
        return None
    step = row.get("step")
    return row if isinstance(step, int) and 0 <= step < MAX_STEP else None


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return math.inf


def _patience(training: list[dict[str, Any]], pace: float | None) -> float:
    """For how many seconds a run of this pace may write nothing."""
    if len(training) < 2 or pace is None:
        return SILENT_SECONDS
    interval = pace * (training[-1]["step"] - training[-2]["step"])
    return max(SILENT_SECONDS, SILENT_INTERVALS * interval)


def _state(folder: Path, step: int, steps: int | None, patience: float, now: float) -> State:
    exported = any((folder / MODEL_FOLDER).glob("*.json"))  # written last
    if exported and (steps is None or step >= steps):
        return "finished"
    return "running" if now - _last_write(folder) <= patience else "stopped"


def _last_write(folder: Path) -> float:
    """When a run last wrote its recipe, its log or a checkpoint; 0.0 where it has none of them."""
    paths = (folder / name for name in (RECIPE_FILE, METRICS_FILE, CHECKPOINTS))
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
