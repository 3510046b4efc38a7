"""Short trainings of every kind as one of several processes: `python rank_run.py OUTPUT [sharded]`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

import tiny
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.sources import WaveSource
from visual_echoes.training.loop import fit
from visual_echoes.training.ranks import rank_count
from visual_echoes.training.task import Task
from visual_echoes.training.vocoder import VocoderTask, VocoderTrainConfig

TESTS = Path(tiny.__file__).parent
STEPS = 8
PATIENCE = 240  # seconds; a busy machine is no failure


HIFIGAN = {"upsample_rates": (8, 8), "upsample_kernel_sizes": (16, 16), "upsample_initial_channel": 16, "resblock": "2"}


def vocoder_task(**values: Any) -> VocoderTask:
    torch.manual_seed(0)
    config = VocoderTrainConfig.model_validate({"adversarial_from": 4, **values})
    train, valid = (WaveSource(tiny.pair_split(seed=seed), tiny.LAYOUT, Augmentation()) for seed in (0, 1))
    return VocoderTask(config, tiny.LAYOUT, train, valid)


# Every kind, with its dropout, its discriminator and its revivals of codes.
TASKS: dict[str, Callable[[], Task]] = {
    "vqgan": lambda: tiny.vqgan_task(adversarial_from=4, perceptual="edges", restart_below=0.5),
    "transformer": tiny.transformer_task,
    "vocoder": lambda: vocoder_task(model={"width": 16, "blocks": 1}),
    "hifigan": lambda: vocoder_task(kind="hifigan", model=HIFIGAN, discriminator_width=2),
}


def run(output: Path, kind: str, **settings: Any) -> Task:
    task = TASKS[kind]()
    fit(task, tiny.train_settings(STEPS, validate_every=STEPS, keep_last=STEPS, **settings), output / kind, kind)
    return task


def launch(output: Path, ranks: int, *arguments: str) -> None:
    """What a launcher does: one process a rank, told about each other by the environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks),
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(output), *arguments],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        for process in processes:
            _, stderr = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, stderr
    finally:
        for process in processes:
            process.kill()  # one that waits for another that has failed


def shard_on_processors() -> None:
    """Ask Accelerate for FSDP as its launcher does, and let it shard on processors, where it knows DDP only."""
    os.environ.update(
        ACCELERATE_USE_FSDP="true",
        FSDP_VERSION="2",
        FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP",
        FSDP_TRANSFORMER_CLS_TO_WRAP="FastBlock",
    )
    original = AcceleratorState.__init__

    def initialise(self: AcceleratorState, *arguments: Any, fsdp_plugin: Any = None, **options: Any) -> None:
        original(self, *arguments, fsdp_plugin=fsdp_plugin, **options)
        if fsdp_plugin is not None:
            self.fsdp_plugin = fsdp_plugin
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = initialise


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[2:] == ["sharded"]:
        shard_on_processors()
        trained = run(Path(sys.argv[1]), "transformer")
        assert all(isinstance(parameter, DTensor) for parameter in trained.modules["model"].parameters())
    else:
        for name in TASKS:
            run(Path(sys.argv[1]), name)
    assert rank_count() == int(os.environ["WORLD_SIZE"])
