"""Figures are those of the seed's items; a model that is right, or always wrong, is found out."""

from __future__ import annotations

import pytest
import torch

import tiny
from evaluation import toys
from studies.conftest import COUNTS
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies.bench import Bench, even_rows
from visual_echoes.studies.measuring import measure_beside, measure_generate, measure_mislead, measure_reconstruct
from visual_echoes.studies.plan import Generate, Mislead, Reconstruct

FEW = SamplingSettings(steps=2)


def copier(offset: int = 0) -> toys.Copier:
    return toys.Copier(tiny.whole_model(), toys.split(0), offset)


def test_rows_are_even_over_groups_and_differ_between_seeds() -> None:
    groups_B = torch.tensor([0] * 50 + [1] * 3 + [2] * 20)
    rows = [even_rows(groups_B, 12, tiny.generator(seed)) for seed in range(2)]
    assert sorted(torch.bincount(groups_B[rows[0]]).tolist()) == [3, 4, 5]
    assert int(torch.bincount(groups_B[rows[0]])[1]) == 3
    assert [len(found.unique()) for found in rows] == [12, 12]
    assert not torch.equal(rows[0], rows[1])
    assert even_rows(groups_B, 500, tiny.generator()).tolist() == list(range(73))


@pytest.mark.parametrize(("offset", "right"), [(0, 1.0), (1, 0.0)])
def test_a_model_is_measured_in_every_direction(bench, offset: int, right: float) -> None:  # type: ignore[no-untyped-def]
    model = copier(offset)
    test = bench(model).draw(0, model)
    figures, seconds = measure_generate(test, Generate(settings=FEW), COUNTS.pairs, 3)
    assert {name: figures[name] for name in ("sound_right", "image_right", "pairs_agree")} == {
        "sound_right": right, "image_right": right, "pairs_agree": right,
    }  # fmt: skip
    # Other items of the same kind than the seed's, so near to the whole split, but not at it.
    assert figures["sound_frechet"] < 0.05
    assert figures["image_frechet"] < 0.05
    assert seconds > 0
    assert {call["seed"] for call in model.calls} == {3_000_000}
    assert {call["steps"] for call in model.calls} == {2}
    only, _ = measure_generate(test, Generate(settings=FEW, targets=("image",)), COUNTS.pairs, 3)
    assert {"image_right", "image_diversity", "image_frechet", "image_kid"} <= set(only)
    assert all(name.startswith("image_") for name in only)


def test_what_the_round_trip_loses(bench) -> None:  # type: ignore[no-untyped-def]
    model = copier()
    model.codec = toys.Recall(model.model, toys.split(0), spoilt=range(5))
    test = bench(model).draw(0, model)
    stages = ("real", "round trip", "vocoder")
    real, trip, vocoder = (measure_reconstruct(test, Reconstruct(stage=stage))[0] for stage in stages)
    assert (real["image_right"], real["sound_right"]) == (1.0, 1.0)
    assert (trip["image_right"], trip["image_kept"], trip["sound_right"]) == (0.5, 0.5, 1.0)
    assert trip["mel_l1"] < 1e-3
    assert "image_right" not in vocoder
    assert vocoder["sound_kept"] == 1.0


def test_misleading_images_take_the_place_of_test_images(bench, echoes: VisualEchoes) -> None:  # type: ignore[no-untyped-def]
    desk: Bench = bench(echoes)
    found = {}
    for kind in ("real", "black"):
        test = desk.draw(0, echoes)
        before = test.sides["image"].items.copy()
        found[kind], _ = measure_mislead(test, Mislead(settings=FEW, images=kind), 0)  # type: ignore[arg-type]
        assert (test.sides["image"].items == before).all()
    assert found["real"]["information"] != found["black"]["information"]
    assert 0.1 <= found["black"]["sound_certainty"] <= 1.0
    assert "confidence" not in found["real"]  # the tiny model is not calibrated


def test_a_baseline_is_measured_beside(bench) -> None:  # type: ignore[no-untyped-def]
    model = copier()
    model.codec = toys.Indexed(model.model, toys.split(0))
    test = bench(model).draw(1, model)
    right, wrong = (measure_beside(test, toys.Shifted(offset), 1)[0] for offset in (0, 1))
    assert (right["sound_right"], right["image_right"]) == (1.0, 1.0)
    assert (wrong["sound_right"], wrong["image_right"]) == (0.0, 0.0)
