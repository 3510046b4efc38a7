"""Summaries over seeds, and the progress of a whole evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evaluation import toys
from visual_echoes.evaluation.classes import evaluate_classes
from visual_echoes.evaluation.generated import summarise_pairs
from visual_echoes.evaluation.records import Spread
from visual_echoes.evaluation.targets import DIGITS
from visual_echoes.pipeline import VisualEchoes


def test_a_spread_is_mean_and_sample_deviation() -> None:
    spread = Spread.of([0.5, 0.7])
    assert (spread.mean, spread.deviation) == (pytest.approx(0.6), pytest.approx(0.02**0.5))
    assert spread.per_seed == (0.5, 0.7)
    assert Spread.of([0.25]).deviation == 0.0


def test_pairs_of_two_seeds_by_hand() -> None:
    pictures = [torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 2, 2])]
    sounds = [torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 2, 2])]
    pairs = summarise_pairs(pictures, sounds, 3)
    assert pairs.items == 4
    assert pairs.agree.per_seed == (0.5, 1.0)
    assert pairs.confusion == ((2, 1, 0), (0, 2, 0), (0, 1, 2))
    assert pairs.picture_shares == (3 / 8, 2 / 8, 3 / 8)
    assert pairs.sound_shares == (2 / 8, 4 / 8, 2 / 8)
    assert pairs.groups_seen == 2  # the sounds of the first seed lack the third group
    assert pairs.largest_share == 0.75  # and three of four are of the second


def test_progress_counts_up_to_its_total(echoes: VisualEchoes, data: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate_classes(
        echoes,
        data,
        toys.judge("image"),
        toys.judge("audio"),
        DIGITS,
        seeds=(0, 1),
        pairs=9,
        sound_repeats=1,
        batch_size=8,
        settings={"steps": 2},
        progress=lambda *state: seen.append(state),
    )
    done = [state[1] for state in seen]
    assert done == sorted(done)
    # Batches of 40 images, 20 sounds and 9 pairs in one and in two stages; two steps, two seeds, with and without
    # guidance.
    assert {state[2] for state in seen} == {(5 + 3 + 2 + 4) * 2 * 2 * 2}
    assert done[-1] == seen[-1][2]
    assert {state[0] for state in seen} == {
        "image to sound",
        "sound to image",
        "pairs, together",
        "pairs, image_first",
    }
