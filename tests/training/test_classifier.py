"""A judge learns what is easy to tell apart."""

from __future__ import annotations

import pytest
import torch

import tiny
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.layout import Modality
from visual_echoes.metrics.classifiers import ClassifierConfig, build_classifier
from visual_echoes.training.classifier import ClassifierTask


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_judge_learns_bars_and_tones_in_a_few_steps(modality: Modality) -> None:
    torch.manual_seed(0)
    config = ClassifierConfig(modality=modality, width=4, dropout=0.0)
    task = ClassifierTask(
        config, tiny.LAYOUT, tiny.pair_split(seed=0), tiny.pair_split(seed=1), Augmentation(gain_db=3)
    )
    model = task.modules["model"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(20):
        batch = task.batch(16, tiny.generator(step))
        for phase in task.phases(batch, step):
            optimizer.zero_grad()
            phase.loss.backward()
            optimizer.step()
    assert task.validate(model.eval(), torch.device("cpu")).metrics["accuracy"] == 1.0


def test_the_exported_config_builds_the_same_network() -> None:
    config = ClassifierConfig(modality="audio", width=4)
    task = ClassifierTask(config, tiny.LAYOUT, tiny.pair_split(), tiny.pair_split(seed=1), Augmentation())
    rebuilt = build_classifier(ClassifierConfig.model_validate(task.export_config()), tiny.LAYOUT, tiny.GROUPS)
    rebuilt.load_state_dict(task.modules["model"].state_dict())
