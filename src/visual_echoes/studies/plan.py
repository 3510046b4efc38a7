"""What an experiment consists of: variants, each with the work that measures it, and how they are distinguished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from visual_echoes.evaluation.making import Target
from visual_echoes.evaluation.records import Record
from visual_echoes.model.settings import SamplingSettings, with_changes

Kind = Literal["real", "black", "white", "noise", "unrelated", "abstract"]

ALL_TARGETS: tuple[Target, ...] = ("sound", "image", "pairs")


class Work(Record):
    """What is measured once per seed; written down, it is part of a cell's name.

    Attributes:
        training: key of `TRAININGS`, whose result is measured; None: the shipped model itself.
    """

    training: str | None = None


class Generate(Work):
    """Sounds for test images, images for test sounds, and pairs from nothing."""

    kind: Literal["generate"] = "generate"
    settings: SamplingSettings
    targets: tuple[Target, ...] = ALL_TARGETS


class Own(Work):
    """As `Generate`, with the model's own settings but for some changes, as `sampling.with_changes` takes them."""

    kind: Literal["own"] = "own"
    changes: dict[str, Any]

    def of(self, defaults: SamplingSettings) -> Generate:
        """What that means for a model."""
        return Generate(settings=with_changes(defaults, self.changes))


class Mislead(Work):
    """Sounds for images that the model was not trained for."""

    kind: Literal["mislead"] = "mislead"
    settings: SamplingSettings
    images: Kind


class Reconstruct(Work):
    """Test items as they are, through tokenizers and vocoder, or their sounds through the vocoder alone."""

    kind: Literal["reconstruct"] = "reconstruct"
    stage: Literal["real", "round trip", "vocoder"]


class Baseline(Work):
    """A baseline on the same tokens. The autoregressive one is what its training left."""

    kind: Literal["baseline"] = "baseline"
    name: Literal["retrieval", "class mean", "autoregressive"]


class Chance(Work):
    """What guessing would reach; nothing is run."""

    kind: Literal["chance"] = "chance"


AnyWork = Generate | Own | Mislead | Reconstruct | Baseline | Chance


@dataclass(frozen=True)
class Variant:
    """One row of an experiment.

    Attributes:
        x: position on the horizontal axis, where the experiment has one.
        series: the line it belongs to there.
    """

    label: str
    work: AnyWork
    x: float | None = None
    series: str = ""


@dataclass(frozen=True)
class Training:
    """A training, as changes to a recipe.

    Attributes:
        changes: values that differ, in the tables of the recipe.
        recipe: its file's stem.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "base"


@dataclass(frozen=True)
class Experiment:
    """One question.

    Attributes:
        headline: figures that the plot shows and the finding speaks of, keys of `FIGURES`.
        reference: label of the variant that the others are compared with.
        role: what the reference is.
        ranked: whether the finding says which variant is best; else, how each differs from the reference.
        axis: what `Variant.x` is.
        timed: whether the plot shows the time, too.
    """

    name: str
    question: str
    variants: tuple[Variant, ...]
    headline: tuple[str, ...]
    reference: str
    role: str = "the paper's choice"
    ranked: bool = True
    axis: str | None = None
    timed: bool = False

    @property
    def trains(self) -> bool:
        """Whether it trains models, which is done in one setting alone."""
        return any(variant.work.training is not None for variant in self.variants)
