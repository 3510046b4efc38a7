"""Linear probes: they find what a network says of our groups, and rare groups count as much as common ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from probes import fit_probe, look_at
from torch import Tensor

import tiny
from visual_echoes.metrics.networks.base import Backbone, Look


def clouds(counts: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
    """Features whose first values say the group and whose others are louder and say nothing."""
    groups_B = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    noise_BD = torch.randn(len(groups_B), 8, generator=tiny.generator(seed)) * torch.tensor([0.2] * 3 + [50.0] * 5)
    noise_BD[torch.arange(len(groups_B)), groups_B] += 1.0
    return noise_BD, groups_B


def test_a_probe_finds_what_tells_groups_apart() -> None:
    probe = fit_probe(clouds([40, 40, 40], 0), clouds([10, 10, 10], 1), 3)
    assert probe.right(*clouds([50, 50, 50], 2)) > 0.95


def test_a_rare_group_counts_as_much_as_a_common_one() -> None:
    def mixed(counts: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
        features_BD, groups_B = clouds(counts, seed)
        return features_BD * torch.tensor([1.0] * 3 + [0.02] * 5) + torch.randn(
            features_BD.shape, generator=tiny.generator(seed + 9)
        ), groups_B

    probe = fit_probe(mixed([400, 20, 20], 0), mixed([30, 30, 30], 1), 3)
    found = probe.classes(mixed([200, 200, 200], 2)[0])
    assert torch.bincount(found, minlength=3).min() > 100


class Halves(Backbone):
    """Two rows of features an item, in batches of three."""

    batch = 3

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def read(self, path: Any) -> Tensor:
        raise NotImplementedError

    def look(self, items: Sequence[Tensor] | Tensor) -> list[Look]:
        self.sizes.append(len(items))
        return [Look(torch.stack([item, item + 2.0]), item * 10.0) for item in items]


def test_items_are_looked_at_in_batches_and_rows_averaged() -> None:
    backbone, items = Halves(), list(torch.arange(8.0).view(4, 2))
    assert look_at(backbone, items, "features").tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    assert look_at(backbone, items, "logits")[1].tolist() == [20.0, 30.0]
    assert backbone.sizes == [3, 1, 3, 1]
