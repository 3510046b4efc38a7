"""Short trainings of every kind without dropout, as one of several processes: `python rank_run.py OUTPUT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import nn

import tiny
from visual_echoes.data.sources import Augmentation, WaveSource
from visual_echoes.training.loop import fit
from visual_echoes.training.ranks import rank_count
from visual_echoes.training.task import Task
from visual_echoes.training.vocoder import VocoderTask, VocoderTrainConfig

STEPS = 8


def vocoder_task() -> VocoderTask:
    torch.manual_seed(0)
    config = VocoderTrainConfig(model={"width": 16, "blocks": 1}, adversarial_from=4)
    train, valid = (WaveSource(tiny.pair_split(seed=seed), tiny.LAYOUT, Augmentation()) for seed in (0, 1))
    return VocoderTask(config, tiny.LAYOUT, train, valid)


def tasks() -> dict[str, Task]:
    """Every kind, its discriminator and its revivals of codes included."""
    return {
        "vqgan": tiny.vqgan_task(adversarial_from=4, perceptual="edges", restart_below=0.5),
        "transformer": tiny.transformer_task(dropout=0.0),
        "vocoder": vocoder_task(),
    }


def run(output: Path) -> None:
    for name, task in tasks().items():
        for module in task.modules.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # ranks draw their own
        fit(task, tiny.train_settings(STEPS, validate_every=STEPS), output / name, name)
    assert rank_count() == int(os.environ.get("WORLD_SIZE", "1"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]))
