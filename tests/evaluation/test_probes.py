"""Linear probes: they find what a network says of our groups, and rare groups count as much as common ones."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from data import scene_files as made
from visual_echoes.data.pairs import read_split
from visual_echoes.evaluation import probes
from visual_echoes.evaluation.probes import fit_opinion, fit_probe, look_at
from visual_echoes.layout import Modality, get_layout
from visual_echoes.media.tensors import pcm_to_wave
from visual_echoes.metrics.networks import packages, yamnet
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


class Brightness(Backbone):
    """The mean level of an image, or the level of a sound."""

    batch = 4

    def __init__(self, modality: Modality) -> None:
        self.modality, self.title = modality, f"level of an {modality}"  # type: ignore[misc]

    def read(self, path: Any) -> Tensor:
        raise NotImplementedError

    def look(self, items: Sequence[Tensor] | Tensor) -> list[Look]:
        levels = [item.float().mean() for item in items]
        return [Look(torch.stack([level, -level])[None], level[None]) for level in levels]


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_second_opinion_is_fitted_on_real_training_items(modality: Modality, tmp_path: Path) -> None:
    source = made.write_source(tmp_path / "source")
    made.prepare(source, tmp_path / "scenes")
    opinion = fit_opinion(Brightness(modality), "features", tmp_path / "scenes", made.LAYOUT)
    assert opinion.name == f"level of an {modality}"
    split = read_split(tmp_path / "scenes", "train", made.LAYOUT)
    items = list(split.images) if modality == "image" else list(pcm_to_wave(split.sounds))
    groups_B = split.image_groups if modality == "image" else split.sound_groups
    assert (opinion.classes(items) == groups_B).double().mean() > 0.6  # three groups whose levels mostly differ


def test_only_what_is_installed_and_fits_gives_an_opinion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []
    monkeypatch.setattr(probes, "fit_opinion", lambda backbone, *_: fitted.append(backbone))
    monkeypatch.setattr(probes, "EfficientNet", lambda: "image")
    monkeypatch.setattr(yamnet, "YAMNet", lambda: "audio")
    there = ModuleSpec("there", None, is_package=True)
    assert there.submodule_search_locations is not None
    there.submodule_search_locations.append("somewhere")
    monkeypatch.setattr(packages, "find_spec", lambda name: there)
    scenes, digits = get_layout("scenes"), get_layout("digits")
    assert set(probes.second_opinions(tmp_path, scenes)) == {"image", "audio"}
    assert probes.second_opinions(tmp_path, digits) == {}  # grey, 8 kHz
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert probes.second_opinions(tmp_path, scenes) == {}
    assert fitted == ["image", "audio"]
