"""What the training loop needs to know of the thing it trains.

A task owns its networks and data and turns a batch into losses. Everything it draws at random comes either from the
generator it is handed or from torch's global generator, which the loop seeds at every step, so a run is a pure function
of its recipe and resumes exactly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from visual_echoes.data.sources import Source


@dataclass(frozen=True)
class Phase:
    """One optimiser step: which optimiser, what to minimise, what to log."""

    optimizer: str
    loss: Tensor
    metrics: Mapping[str, float | Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """Held-out figures, images or sounds to look at (uint8 (H, W, C), and (samples, rate)), and what looks wrong."""

    metrics: dict[str, float]
    images: dict[str, Any] = field(default_factory=dict)
    sounds: dict[str, Any] = field(default_factory=dict)
    alarms: Sequence[str] = ()


class Task(ABC):
    """One trained part.

    Attributes:
        modules: every network with weights, by name. `modules["model"]` is the one that is averaged (EMA) and exported.
        train: the items to learn from.
        valid: the held-out ones.
        optimizers: names of the networks each optimiser updates; the first is the main one.
        surveyed: the mean of what `survey` found in all pieces of a step's batch; None where it is not asked.
        same_shapes: whether every step has arrays of the same sizes, so that memory freed by one fits the next.
    """

    modules: nn.ModuleDict
    train: Sized
    valid: Sized
    optimizers: Mapping[str, tuple[str, ...]] = {"model": ("model",)}
    surveyed: Tensor | None = None
    same_shapes = True

    def items(self, size: int, generator: torch.Generator) -> Tensor:
        """The training items of a batch as indices, (size,): the first that `batch` draws from the generator."""
        return torch.randint(len(self.train), (size,), generator=generator)

    def share(self, rows: slice) -> None:
        """Say which rows of every training batch this process will use; of the others, no files need to be read."""
        if isinstance(self.train, Source):
            self.train.share(rows)

    @abstractmethod
    def batch(self, size: int, generator: torch.Generator) -> Any:
        """Draw one training batch on the CPU: tensors, or a tuple or dict of them, each with one row an item."""

    def survey(self, batch: Any, step: int) -> Tensor | None:
        """What the losses of a step have to know of its whole batch, of one of several pieces; None: nothing.

        The loop asks for every piece before the first phase, and only where a process takes its share in several
        pieces. Where its share is one piece, `phases` finds the same, averaged over the ranks, on its way.
        """
        return None

    @abstractmethod
    def phases(self, batch: Any, step: int) -> Iterator[Phase]:
        """Yield one phase per optimiser step. The loop steps the optimiser before asking for the next phase.

        The batch may be a part of what was drawn; the mean of the losses over equal parts is the loss of the whole.
        """

    @abstractmethod
    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        """Measure `model` (the averaged weights, in eval mode) on held-out data, the same items every time."""

    @abstractmethod
    def export_config(self) -> dict[str, Any]:
        """The config that rebuilds `modules["model"]`, JSON-serialisable."""

    def after_step(self, step: int) -> Mapping[str, float]:
        """Upkeep between steps, for instance reviving dead codes; returns what there is to log of the whole batch.

        Torch's global generator is in the same state on every rank.
        """
        return {}
