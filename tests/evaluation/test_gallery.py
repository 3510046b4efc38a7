"""What is collected while it is judged."""

from __future__ import annotations

import pytest
import torch

import tiny
from evaluation import toys
from visual_echoes.evaluation.gallery import Gallery, measure_distance
from visual_echoes.metrics.distances import frechet_distance, kernel_distance


def test_a_look_is_of_all_seeds_and_an_opinion_of_each() -> None:
    features = torch.randn(12, 3, generator=tiny.generator())
    references = torch.randn(9, 3, generator=tiny.generator(1))
    gallery = Gallery({"image": toys.Opinion()})
    pictures = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    for part, groups in ((features[:6], [0, 0, 0, 1, 1, 1]), (features[6:], [0, 1, 1, 1, 1, 1])):
        gallery.show("image", part)
        gallery.ask("image", pictures, torch.tensor(groups))
        gallery.show("audio", part)
        gallery.ask("audio", torch.zeros(6, 100), torch.tensor(groups))
    assert gallery.shown("image") == 12
    look = gallery.look("image", references)
    assert look.second_opinion is not None
    assert look.second_opinion.per_seed == pytest.approx((1 / 2, 1 / 6))
    assert look.distance.frechet_judge == frechet_distance(features, references)
    assert look.distance.kid_judge == kernel_distance(features, references).value
    assert (look.distance.items, look.distance.references, look.distance.dimensions) == (12, 9, 3)
    assert gallery.look("audio", references).second_opinion is None


@pytest.mark.parametrize(("items", "references", "warned"), [(9, 9, False), (8, 9, True), (9, 8, True)])
def test_too_few_items_for_their_features_are_warned_of(items: int, references: int, warned: bool) -> None:
    features = torch.randn(9, 8, generator=tiny.generator())
    distance = measure_distance(features[:items], features[:references] + 1.0)
    assert (distance.warning is not None) == warned
    assert distance.warning is None or "fewer than 9 items" in distance.warning
