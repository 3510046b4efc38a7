"""Figures over seeds, and the progress of a whole evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evaluation import toys
from visual_echoes.evaluation.generated import evaluate_model
from visual_echoes.evaluation.making import over_seeds, pair_figures
from visual_echoes.pipeline import VisualEchoes


def test_figures_are_the_means_of_the_seeds_but_the_closest_image_that_of_all() -> None:
    figures = over_seeds([{"image_right": 0.5, "image_closest": 3.0}, {"image_right": 0.7, "image_closest": 1.0}])
    assert figures["image_right"].value == pytest.approx(0.6)
    assert figures["image_closest"].value == 1.0


def test_pairs_of_two_seeds_by_hand() -> None:
    images = [torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 2, 2])]
    sounds = [torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 2, 2])]
    figures = pair_figures("pairs", images, sounds, 3)
    assert figures["pairs_agree"].per_seed == (0.5, 1.0)
    assert figures["pairs_missing"].value == 1  # the sounds of the first seed lack the third group
    assert figures["pairs_largest"].value == 0.75  # and three of four are of the second


def test_progress_counts_up_to_its_total(echoes: VisualEchoes, data: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate_model(
        echoes, data, toys.classifiers(), (), seeds=(0, 1), pairs=9, sound_repeats=1, batch_size=8,
        settings={"steps": 2}, progress=lambda *state: seen.append(state),
    )  # fmt: skip
    done = [state[1] for state in seen]
    assert done == sorted(done)
    # Batches of 40 images, 20 sounds and 9 pairs in one and in two stages; two steps, two seeds, with and without
    # guidance.
    assert {state[2] for state in seen} == {(5 + 3 + 2 + 4) * 2 * 2 * 2}
    assert done[-1] == seen[-1][2]
    targets = ("sound", "image", "pairs", "image_first")
    assert {state[0] for state in seen} == {
        f"{way}: {target}" for way in ("generated", "unguided") for target in targets
    }
