"""What one column of a report shows, collected while it is judged: features for distances, and second opinions.

Shapes: B items, C channels, H rows, W columns, N samples, D features.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from visual_echoes.evaluation.records import Distance, Look, Spread
from visual_echoes.layout import Modality
from visual_echoes.metrics import scores
from visual_echoes.metrics.distances import frechet_distance, kernel_distance
from visual_echoes.metrics.networks.second_opinions import SecondOpinion


class Gallery:
    """Collects what is shown to the judges; each call of `ask` is one seed's."""

    def __init__(self, opinions: Mapping[Modality, SecondOpinion]) -> None:
        self.opinions = opinions
        self.features: dict[Modality, list[Tensor]] = {"image": [], "audio": []}
        self.right: dict[Modality, list[float]] = {"image": [], "audio": []}

    def show(self, modality: Modality, features_BD: Tensor) -> None:
        """Keep the judge's features of items."""
        self.features[modality].append(features_BD)

    def ask(self, modality: Modality, items: Tensor, groups_B: Tensor) -> None:
        """Ask the second opinion, if there is one, how many items are of the groups they should be of.

        Args:
            items: uint8 images (B, C, H, W) or float32 waveforms (B, N).
        """
        opinion = self.opinions.get(modality)
        if opinion is not None:
            self.right[modality].append(scores.share(opinion.classes(items) == groups_B))

    def shown(self, modality: Modality) -> int:
        """How many items there are."""
        return sum(map(len, self.features[modality]))

    def look(self, modality: Modality, references_BD: Tensor, paired: bool = False) -> Look:
        """Figures of all that was shown; `paired` as in `kernel_distance`."""
        right = self.right[modality]
        return Look(
            distance=measure_distance(torch.cat(self.features[modality]), references_BD, paired),
            second_opinion=Spread.of(right) if right else None,
        )


def measure_distance(features_AD: Tensor, references_BD: Tensor, paired: bool = False) -> Distance:
    """Both distances, with how many items they are of."""
    kernel = kernel_distance(features_AD, references_BD, paired)
    items, references, dimensions = len(features_AD), len(references_BD), references_BD.shape[1]
    few = f"fewer than {dimensions + 1} items, too few for a covariance of full rank"
    return Distance(
        frechet_judge=frechet_distance(features_AD, references_BD),
        kid_judge=kernel.value,
        kid_interval=(kernel.low, kernel.high),
        items=items,
        references=references,
        dimensions=dimensions,
        warning=few if min(items, references) <= dimensions else None,
    )
