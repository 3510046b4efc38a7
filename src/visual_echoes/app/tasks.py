"""Tasks: something to make, and its files. Those of one kind with the same settings go through the model as one batch.

Every item has a seed of its own and does not depend on its batch, so each task gets what it would have got alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from visual_echoes.app.long import LongSound
from visual_echoes.model.interface import Progress
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.outputs import export_item
from visual_echoes.pipeline import Result, VisualEchoes

Make = Callable[[VisualEchoes, Progress], Result]
Method = Literal["image_to_audio", "audio_to_image", "generate_pair"]
Kind = Literal["image", "sound"]


@dataclass(frozen=True)
class Task:
    """Something to make, all of its inputs read and fitted.

    Attributes:
        name: as in the files' metadata.
        make: makes it; what the callback raises ends it. `Items` can be made along with those of other tasks, a
            `LongSound` is made in turns with them.
        given: what comes back as it was, so that no file is made of it alone.
        details: what else the files' metadata say.
        held: lets go of files that it starts from; closed when its job is over.
    """

    name: str
    make: Make | LongSound
    given: frozenset[Kind] = frozenset()
    details: Mapping[str, object] = field(default_factory=dict)
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def suffixes(self) -> list[str]:
        """The files of each item, as `export_item` takes them."""
        alone: dict[Kind, str] = {"image": ".png", "sound": ".wav"}
        return [suffix for kind, suffix in alone.items() if kind not in self.given] + [".mp4"]


@dataclass(frozen=True)
class Items:
    """A call of the pipeline that makes something item by item.

    Attributes:
        method: of `VisualEchoes`.
        seeds: one an item.
        settings: what else the method is told.
        inputs: one an item; None where they are made from nothing.
    """

    method: Method
    seeds: Sequence[int]
    settings: Mapping[str, Any]
    inputs: Sequence[Any] | None = None

    def __call__(self, echoes: VisualEchoes, progress: Progress) -> Result:
        """Make all of them in one batch."""
        start = len(self.seeds) if self.inputs is None else self.inputs
        return getattr(echoes, self.method)(
            start, seeds=self.seeds, batch_size=len(self.seeds), progress=progress, **self.settings
        )

    def like(self, other: Items, defaults: SamplingSettings) -> bool:
        """Whether both can be one call, given the settings that a model uses where it is told nothing else."""
        own = defaults.model_dump()
        return self.method == other.method and {**own, **self.settings} == {**own, **other.settings}


def along(calls: Sequence[Make | LongSound], defaults: SamplingSettings, most: int) -> list[int]:
    """What can be made along with the first of some calls: indices in the list, the first one's included.

    Args:
        calls: in order of their turn; what is not `Items` is made alone.
        defaults: of the model they are for.
        most: items in all. A first one that has more is made alone.
    """
    first, chosen = calls[0], [0]
    if not isinstance(first, Items):
        return chosen
    room = most - len(first.seeds)
    for index, call in enumerate(calls[1:], 1):
        if isinstance(call, Items) and len(call.seeds) <= room and call.like(first, defaults):
            chosen.append(index)
            room -= len(call.seeds)
    return chosen


def join(calls: Sequence[Make]) -> tuple[Make, list[slice]]:
    """One call that makes the items of all, which `along` has chosen, and where each one's are among them."""
    first, *others = calls
    if not isinstance(first, Items) or not others:
        return first, [slice(None)]
    alike = [call for call in calls if isinstance(call, Items)]
    ends = list(accumulate(len(call.seeds) for call in alike))
    seeds = list(chain.from_iterable(call.seeds for call in alike))
    inputs = None if first.inputs is None else list(chain.from_iterable(call.inputs or () for call in alike))
    rows = [slice(*edges) for edges in zip([0, *ends], ends, strict=False)]
    return replace(first, seeds=seeds, inputs=inputs), rows


def cut(result: Result, rows: slice) -> Result:
    """Some items of a result, copied, so that the others need not stay in memory for them."""
    parts: dict[str, Any] = {}
    for each in fields(result):
        values = getattr(result, each.name)
        if isinstance(values, np.ndarray | tuple):
            parts[each.name] = values[rows].copy() if isinstance(values, np.ndarray) else values[rows]
    return replace(result, **parts)


def item_files(echoes: VisualEchoes, task: Task, result: Result) -> dict[str, bytes]:
    """The files of all items, with what they say of themselves; nothing of them stays on the disk."""
    files = {}
    with tempfile.TemporaryDirectory(prefix="echoes-job-") as folder:
        for row in range(len(result.seeds)):
            stem, details = Path(folder) / str(row + 1), {"task": task.name, **task.details}
            for path in export_item(echoes.model, result, row, stem, task.suffixes, **details):
                files[path.name] = path.read_bytes()
    return files
