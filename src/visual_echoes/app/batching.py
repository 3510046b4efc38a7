"""Tasks made together: those of one kind with the same settings go through the model as one batch.

Every item has a seed of its own and does not depend on its batch, so each task gets what it would have got alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any, Literal

import numpy as np

from visual_echoes.model.interface import Progress
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import Result, VisualEchoes

Make = Callable[[VisualEchoes, Progress], Result]
Method = Literal["image_to_audio", "audio_to_image", "generate_pair"]


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


def along(calls: Sequence[Make], defaults: SamplingSettings, most: int) -> list[int]:
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

    def part(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[rows].copy()

    return replace(
        result, images=part(result.images), audio=part(result.audio), mels=part(result.mels),
        seeds=tuple(result.seeds[rows]), confidence=part(result.confidence),
        labels=None if result.labels is None else result.labels[rows],
    )  # fmt: skip
