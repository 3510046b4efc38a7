"""Fitting how sure a model is, on models that are always right or always wrong."""

from pathlib import Path

import pytest
import torch

import tiny
from evaluation import toys
from visual_echoes.evaluation.calibration import fit_calibration, measure_outcomes
from visual_echoes.model.confidence import information
from visual_echoes.streams import empty_tokens


@pytest.mark.parametrize(("offset", "right"), [(0, True), (1, False)])
def test_outcomes_and_their_curves(data: Path, offset: int, right: bool) -> None:
    model = toys.Copier(tiny.whole_model(), toys.split(0), offset)
    outcomes = measure_outcomes(model, data, toys.classifiers(), "test", images=20, sound_repeats=2)
    images, sounds = 20, 2 * 10 * toys.SOUNDS
    for target, count in (("audio", images), ("image", sounds)):
        evidence, right_B = outcomes[target]  # type: ignore[index]
        assert {len(figure_B) for figure_B in evidence} == {len(right_B)} == {count}
        assert bool((right_B == right).all())
        chance_B = fit_calibration(outcomes)[target].probability(evidence)  # type: ignore[index]
        assert bool((chance_B[~chance_B.isnan()] > 0.5).all()) is right
        assert float(chance_B.isnan().double().mean()) < 0.2


def test_the_information_is_that_of_the_item_that_was_given(data: Path) -> None:
    model = toys.Copier(tiny.whole_model(), toys.split(0))
    evidence, _ = measure_outcomes(model, data, toys.classifiers(), "test")["audio"]
    images = toys.split(0).images.movedim(1, -1).numpy()
    image_BI = model.codec.encode_images(images)
    tokens = {**empty_tokens(toys.LAYOUT.streams, len(image_BI)), "image": image_BI}
    expected_B = information(model.model.parts["transformer"], tokens, ["image"], "audio")  # type: ignore[arg-type]
    assert torch.allclose(evidence.information_B, expected_B, atol=1e-6)
    assert len(evidence.information_B.unique()) > 1
    decoded = model.codec.decode_images(image_BI).astype(float)
    # The decoded images are rounded to whole levels of 2 / 255.
    by_hand_B = torch.from_numpy(((decoded - images) / 127.5) ** 2).mean((1, 2, 3)).sqrt()
    assert torch.allclose(evidence.error_B, by_hand_B, atol=3e-3)
