"""Two processes learn what one learns from the same pieces: batches, dropout, losses, figures and codebooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from training import rank_run
from visual_echoes.checkpoints.run_folder import CHECKPOINTS, checkpoint_path
from visual_echoes.training.ranks import any_rank, from_main, gather_rows, mean_over_ranks, rank_count, sum_over_ranks


def figures(output: Path) -> list[dict[str, Any]]:
    """What was logged of the training steps, but for the time they took."""
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if key not in ("group", "seconds_per_step")}
        for row in rows
        if row["group"] == "train"
    ]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process wrote that takes its batch in two pieces, and what two wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    for kind in rank_run.TASKS:
        rank_run.run(folder / "one", kind, accumulate=2)
    rank_run.launch(folder / "two", 2)
    return folder / "one", folder / "two"


@pytest.mark.parametrize("kind", rank_run.TASKS)
def test_two_processes_log_what_one_logs(kind: str, outputs: tuple[Path, Path]) -> None:
    one, two = (figures(output / kind) for output in outputs)
    assert len(one) == rank_run.STEPS
    assert ("loss/discriminator" in one[-1]) == (kind != "transformer")
    assert two == [pytest.approx(row, rel=1e-5) for row in one]


def test_two_processes_revive_the_same_codes(outputs: tuple[Path, Path]) -> None:
    one, two = (load_file(checkpoint_path(output / "vqgan" / CHECKPOINTS, rank_run.STEPS)) for output in outputs)
    for key in ("module/tracker/use_K", "module/model/quantize.embedding.weight"):
        torch.testing.assert_close(two[key], one[key])


def test_alone_values_stay_as_they_are() -> None:
    values = torch.arange(3.0)
    assert rank_count() == 1
    for function in (sum_over_ranks, mean_over_ranks, gather_rows, from_main):
        assert torch.equal(function(values), values)
    assert [any_rank(here, values.device) for here in (False, True)] == [False, True]
