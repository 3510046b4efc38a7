"""What measurements share: a model, the evaluation set, and how much of it is used for a seed.

Shapes: B items, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes import __version__
from visual_echoes.data.manifest import DESCRIPTION
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.baselines import Baseline, retrieval_baselines
from visual_echoes.evaluation.evaluation_set import EvaluationSet
from visual_echoes.evaluation.generated import model_facts
from visual_echoes.evaluation.making import SEED_STRIDE
from visual_echoes.files import file_digest
from visual_echoes.layout import Modality
from visual_echoes.metrics.classifiers import Classifier
from visual_echoes.pipeline import VisualEchoes


@dataclass(frozen=True)
class Counts:
    """Items for each seed: test images, test sounds (or as many as there are), and pairs from nothing."""

    images: int = 200
    sounds: int = 200
    pairs: int = 200


class Bench:
    """A model and what it is measured with.

    Args:
        echoes: the shipped model, whose tokenizers and vocoder serve trained transformers, too.
        data: the folder of prepared data that model and classifiers are for.

    Attributes:
        test: the whole test split.
        facts: what figures follow from besides their work and seed, as JSON values.

    Raises:
        EchoesError: unusable data, classifiers or counts.
    """

    def __init__(
        self,
        echoes: VisualEchoes,
        data: Path,
        classifiers: Mapping[Modality, Classifier],
        counts: Counts,
        batch_size: int,
    ) -> None:
        self.test = EvaluationSet(echoes, data, classifiers, batch_size)
        self.data, self.counts = data, counts
        for name, count in asdict(counts).items():
            if not 1 <= count <= SEED_STRIDE:
                raise EchoesError(f"There must be from 1 to {SEED_STRIDE} {name} for each seed, not {count}.")
        model = model_facts(echoes)
        self.facts: dict[str, Any] = {
            "version": __version__,
            "torch_version": torch.__version__,
            "device": str(echoes.device),
            "precision": echoes.codec.precision,
            "model": model.model_dump(mode="json", exclude=None if model.graphs else {"graphs"}),
            "data": {name: file_digest(data / name) for name in (DESCRIPTION, "train.safetensors", "test.safetensors")},
            "classifiers": {modality: classifier.sha256 for modality, classifier in classifiers.items()},
            "counts": asdict(counts),
        }

    @cached_property
    def lookups(self) -> dict[str, Baseline]:
        """Baselines without a network, on the tokens of the model's own tokenizers."""
        return retrieval_baselines(self.test.echoes, self.data, self.test.batch_size)

    def draw(self, seed: int, echoes: VisualEchoes) -> EvaluationSet:
        """One seed's items, evenly over the groups, for a model with the same tokenizers.

        Every seed has other items and other noise, so that the spread holds both. What distances are measured to stays
        the whole split.
        """
        generator, sides = torch.Generator().manual_seed(seed), self.test.sides
        images_B = even_rows(sides["image"].groups_B, self.counts.images, generator)
        sounds_B = even_rows(sides["audio"].groups_B, self.counts.sounds, generator)
        return self.test.part(echoes, images_B, sounds_B)


def even_rows(groups_B: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random items, as many of each group as the others have; all if there are not so many. Indices, ascending."""
    order_B = torch.randperm(len(groups_B), generator=generator)
    shuffled_B = groups_B[order_B]
    turn_B = F.one_hot(shuffled_B).cumsum(0).gather(1, shuffled_B[:, None])[:, 0]  # 1 for the first of its group
    return order_B[turn_B.argsort(stable=True)[:count]].sort().values
