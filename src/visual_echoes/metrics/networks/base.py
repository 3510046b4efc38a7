"""What judges files: a network with features for distances and, if it is a classifier, scores.

Shapes: F frames (1 for a network that sees an item as a whole), D features, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from visual_echoes.layout import Modality


class Look(NamedTuple):
    """What a judge sees in one item."""

    features_FD: Tensor  # float32
    logits_K: Tensor | None  # float32; None of a judge that tells no classes


class FileJudge(ABC):
    """A judge of files.

    Attributes:
        name: what the option `--judge` calls it.
        title: network, version and where it comes from.
        sha256: of the weights, in hexadecimal.
        pin: how the weights are known to be the published ones.
        preprocessing: how files become its input.
        frechet, kernel: what the two distances in its features are called.
        unit: what one row of its features is.
        labels: its classes; None of a judge that tells none.
        batch: how many items it is shown at once.
    """

    name: str
    title: str
    modality: Modality
    sha256: str
    pin: str
    preprocessing: str
    frechet: str
    kernel: str
    unit: str = "file"
    labels: Sequence[str] | None = None
    batch: int = 1

    @abstractmethod
    def read(self, path: Path) -> Any:
        """A file as `look` takes it; `EchoesError` if it is unusable."""

    @abstractmethod
    def look(self, items: Sequence[Any]) -> list[Look]:
        """What it sees in each item; the same whatever else is in the batch."""
