"""Judges as folders, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Modality
from visual_echoes.metrics.classifiers import (
    JUDGE_BATCH,
    JUDGE_CONFIG,
    JUDGE_WEIGHTS,
    Judge,
    JudgeConfig,
    build_judge,
    load_judge,
    save_judge,
)

NAMES = ["a", "b", "c"]


def untrained(modality: Modality) -> Judge:
    torch.manual_seed(0)
    config = JudgeConfig(modality=modality, width=4)
    return Judge(config, build_judge(config, tiny.LAYOUT, len(NAMES)).eval(), tiny.LAYOUT, NAMES)


def items(modality: Modality, count: int) -> torch.Tensor:
    if modality == "image":
        size = tiny.LAYOUT.image_size
        return torch.randint(0, 256, (count, 1, size, size), generator=tiny.generator(), dtype=torch.uint8)
    return torch.rand(count, tiny.LAYOUT.clip_samples, generator=tiny.generator()) * 2 - 1


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_judge_survives_its_folder(tmp_path: Path, modality: Modality) -> None:
    judge = untrained(modality)
    save_judge(tmp_path / "judge", judge.network, judge.config, judge.layout, judge.groups)
    loaded = load_judge(tmp_path / "judge")
    assert (loaded.config, loaded.layout, loaded.groups) == (judge.config, judge.layout, judge.groups)
    expected = judge.probabilities(items(modality, 3))
    torch.testing.assert_close(loaded.probabilities(items(modality, 3)), expected, atol=2e-3, rtol=0)  # half precision


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_batches_do_not_change_a_verdict(modality: Modality) -> None:
    judge, many = untrained(modality), items(modality, JUDGE_BATCH + 3)
    probabilities = judge.probabilities(many)
    torch.testing.assert_close(probabilities[-3:], judge.probabilities(many[-3:]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(many)))
    assert judge.classes(many).tolist() == probabilities.argmax(1).tolist()


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_restricted_judge_knows_nothing_else(modality: Modality) -> None:
    judge, some = untrained(modality), items(modality, 5)
    full, features = judge.probabilities(some), judge.look(some)[0]
    restricted = judge.restricted(["c", "a"])
    assert restricted.groups == ["c", "a"]
    expected = full[:, [2, 0]] / full[:, [2, 0]].sum(1, keepdim=True)  # given that it is one of both
    torch.testing.assert_close(restricted.probabilities(some), expected)
    torch.testing.assert_close(restricted.restricted(["a", "c"]).probabilities(some), expected.flip(1))
    assert torch.equal(restricted.look(some)[0], features)
    with pytest.raises(EchoesError, match="other groups than the data"):
        judge.restricted(["a", "d"])
    with pytest.raises(EchoesError, match="other groups than the data"):
        restricted.restricted(["a", "b"])


@torch.no_grad()
@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_look_gives_what_the_network_makes_of_it(modality: Modality) -> None:
    judge, some = untrained(modality), items(modality, JUDGE_BATCH + 2)
    features, probabilities = judge.look(some)
    assert features.shape == (len(some), 2 * 16)
    scores = judge.network.head(features.clone())
    torch.testing.assert_close(probabilities, scores.softmax(1))


def replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / JUDGE_CONFIG).unlink(),
        lambda folder: (folder / JUDGE_WEIGHTS).unlink(),
        lambda folder: (folder / JUDGE_CONFIG).write_text("[]"),
        lambda folder: (folder / JUDGE_CONFIG).write_text("{"),
        lambda folder: replace(folder / JUDGE_CONFIG, '"c"', '"c", "d"'),
        lambda folder: replace(folder / JUDGE_CONFIG, "width", "breadth"),
        lambda folder: (folder / JUDGE_WEIGHTS).write_bytes((folder / JUDGE_WEIGHTS).read_bytes()[:-20]),
        lambda folder: (folder / JUDGE_WEIGHTS).write_bytes(b""),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    judge = untrained("image")
    save_judge(tmp_path, judge.network, judge.config, judge.layout, judge.groups)
    damage(tmp_path)
    with pytest.raises(EchoesError, match="no usable judge"):
        load_judge(tmp_path)
