"""Two processes learn what one learns: the same batches, losses and codebooks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import tiny
from training import rank_run
from visual_echoes.run_folder import CHECKPOINTS, checkpoint_path
from visual_echoes.training.ranks import from_main, gather_rows, mean_over_ranks, rank_count, sum_over_ranks

TESTS = Path(tiny.__file__).parent
PATIENCE = 240  # seconds; a busy machine is no failure


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(output: Path, ranks: int) -> None:
    """What a launcher does: one process a rank, told about each other by the environment."""
    shared = {
        "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks),
    }  # fmt: skip
    command = [sys.executable, rank_run.__file__, str(output)]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, stderr


def losses(output: Path) -> list[float]:
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [value for row in rows for key, value in row.items() if row["group"] == "train" and "loss/" in key]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process wrote, and what two wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    rank_run.run(folder / "one")
    launch(folder / "two", 2)
    return folder / "one", folder / "two"


@pytest.mark.parametrize("kind", ["vqgan", "transformer", "vocoder"])
def test_two_processes_log_the_losses_of_one(kind: str, outputs: tuple[Path, Path]) -> None:
    one, two = (losses(output / kind) for output in outputs)
    assert len(one) >= rank_run.STEPS
    assert two == pytest.approx(one, rel=1e-5)


def test_two_processes_revive_the_same_codes(outputs: tuple[Path, Path]) -> None:
    one, two = (load_file(checkpoint_path(output / "vqgan" / CHECKPOINTS, rank_run.STEPS)) for output in outputs)
    for key in ("module/tracker/use_K", "module/model/quantize.embedding.weight"):
        torch.testing.assert_close(two[key], one[key], rtol=1e-3, atol=1e-4)


def test_alone_values_stay_as_they_are() -> None:
    values = torch.arange(3.0)
    assert rank_count() == 1
    for function in (sum_over_ranks, mean_over_ranks, gather_rows, from_main):
        assert torch.equal(function(values), values)
