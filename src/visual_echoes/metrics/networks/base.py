"""A backbone: a network that items are measured by, with features for distances and, if it is a classifier, scores.

Published networks, those inside packages and the classifiers trained here are all of this one kind.

Shapes: F frames (1 for a network that sees an item as a whole), B items, D features, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from visual_echoes.layout import Modality


class Look(NamedTuple):
    """What a backbone says of one item."""

    features_FD: Tensor  # float32
    logits_K: Tensor | None  # float32; None of a backbone that tells no classes


class Described:
    """What a report says of a network.

    Attributes:
        name: what the option `--backbone` calls it.
        title: network, version and where it comes from.
        modality: of what it measures.
        sha256: of the weights, in hexadecimal.
        pin: how the weights are known to be the published ones.
        preprocessing: how files become its input.
    """

    name: str
    title: str
    modality: Modality
    sha256: str
    pin: str
    preprocessing: str


class Backbone(Described, ABC):
    """A network with what it needs to read a file.

    Attributes:
        frechet, kernel: what the two distances in its features are called.
        unit: what one row of its features is.
        labels: its classes; None of a backbone that tells none.
        batch: how many items it is shown at once.
        seconds: of a sound that it looks at; None for all of it.
    """

    frechet: str
    kernel: str
    unit: str = "file"
    labels: Sequence[str] | None = None
    batch: int = 1
    seconds: float | None = None

    @abstractmethod
    def read(self, path: Path) -> Any:
        """A file as `look` takes it; `EchoesError` if it is unusable."""

    @abstractmethod
    def look(self, items: Sequence[Any] | Tensor) -> list[Look]:
        """What it says of each item; the same whatever else is in the batch."""

    def looks(self, items: Sequence[Any] | Tensor) -> Iterator[Look]:
        """The same of any number of items, `batch` of them at once."""
        for first in range(0, len(items), self.batch):
            yield from self.look(items[first : first + self.batch])

    def probabilities(self, items: Sequence[Any] | Tensor) -> Tensor:
        """Probability of each of its classes, (B, K), of items as `look` takes them."""
        return torch.stack([look.logits_K for look in self.looks(items) if look.logits_K is not None]).softmax(-1)

    def classes(self, items: Sequence[Any] | Tensor) -> Tensor:
        """The most probable class of each item, int64 (B,)."""
        return self.probabilities(items).argmax(-1)
