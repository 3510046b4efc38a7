"""What runs have written is summed up truly, whatever of it is missing or damaged."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.training.loop import fit
from visual_echoes.training.runs import (
    LOG_TAIL_BYTES,
    SILENT_SECONDS,
    find_runs,
    read_run_recipe,
    recipe_differences,
    summarise,
)

RECIPE: dict[str, Any] = {
    "kind": "transformer", "layout": "debug", "output": "runs/a", "start_from": None, "freeze": [],
    "model": {"width": 32, "extra": {}}, "train": {"steps": 40, "batch_size": 4},
}  # fmt: skip


def row(step: int, group: str = "train", **values: Any) -> str:
    return json.dumps({"step": step, "group": group, **values}) + "\n"


def write_run(
    folder: Path, recipe: dict[str, Any] | None = RECIPE, log: str = "", checkpoints: tuple[int, ...] = ()
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if recipe is not None:
        (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "metrics.jsonl").write_text(log)
    for step in checkpoints:
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / f"step-{step:08d}.safetensors").touch()
    return folder


LOG = (
    row(10, **{"loss/model": 3.5, "seconds_per_step": 0.5})
    + row(20, **{"loss/model": 2.5, "seconds_per_step": 0.25})
    + row(20, "valid", **{"loss/model": 9.0})
)


def test_a_run_is_summed_up_from_its_last_lines(tmp_path: Path) -> None:
    found = summarise(write_run(tmp_path, log=LOG, checkpoints=(10, 15)))
    assert (found.recipe, found.step, found.steps) == ("transformer, debug", 20, 40)
    assert (found.loss, found.seconds_per_step, found.problem) == (2.5, 0.25, None)
    assert summarise(write_run(tmp_path, log=LOG, checkpoints=(30,))).step == 30


@pytest.mark.filterwarnings("ignore:only .* of the codebook is in use")
def test_what_the_loop_writes_is_understood(tmp_path: Path) -> None:
    fit(tiny.vqgan_task(), tiny.train_settings(3), tmp_path, "f")
    found = summarise(tmp_path)
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in logged if line["group"] == "train"][-1]
    assert (found.step, found.loss) == (3, last["loss/model"])
    assert found.seconds_per_step == last["seconds_per_step"]
    assert find_runs(tmp_path) == [tmp_path]


def test_states(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", log=LOG, checkpoints=(20,))
    assert summarise(run).state == "running"
    later = time.time() + SILENT_SECONDS + 5
    assert summarise(run, later).state == "stopped"
    # A model of an earlier, shorter training does not finish this one.
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text("{}")
    assert summarise(run, later).state == "stopped"
    write_run(run, checkpoints=(40,))
    assert summarise(run).state == "finished"
    (run / "recipe.json").unlink()
    assert summarise(run).state == "finished"


def test_a_slow_run_may_be_silent_for_longer(tmp_path: Path) -> None:
    slow = row(20, seconds_per_step=60.0) + row(40, seconds_per_step=60.0)
    run = write_run(tmp_path, log=slow)
    assert summarise(run, time.time() + 3000).state == "running"
    assert summarise(run, time.time() + 4000).state == "stopped"


def test_a_run_without_a_recipe_or_a_log_is_still_listed(tmp_path: Path) -> None:
    found = summarise(write_run(tmp_path / "a", None, LOG))
    assert (found.recipe, found.steps, found.loss) == (None, None, 2.5)
    run = write_run(tmp_path / "b")
    (run / "metrics.jsonl").unlink()
    found = summarise(run)
    assert (found.step, found.steps, found.loss, found.state) == (0, 40, None, "running")


@pytest.mark.parametrize("name", ["recipe.json", "metrics.jsonl"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000, b"[1]", b'{"step": 1'])
def test_what_cannot_be_read_is_broken_and_named(name: str, content: bytes, tmp_path: Path) -> None:
    run = write_run(tmp_path, log=LOG)
    (run / name).write_bytes(content)
    found = summarise(run)
    assert found.state == "broken"
    assert str(run / name) in (found.problem or "")


def test_a_loss_that_is_no_number_is_broken(tmp_path: Path) -> None:
    found = summarise(write_run(tmp_path, log=row(5, **{"loss/model": float("nan")})))
    assert found.state == "broken"
    assert "is nan" in (found.problem or "")


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    found = summarise(write_run(tmp_path, log=LOG + row(30, **{"loss/model": 1.0})[:-9]))
    assert (found.step, found.loss, found.state) == (20, 2.5, "running")


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    filler = row(1, "valid", text="x" * 100)
    found = summarise(write_run(tmp_path, log=filler * (2 * LOG_TAIL_BYTES // len(filler)) + LOG))
    assert (found.step, found.loss) == (20, 2.5)


values = st.one_of(
    st.none(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=4), st.lists(st.integers(), max_size=2)
)
rows = st.fixed_dictionaries(
    {"step": values | st.integers(0, 9), "group": st.sampled_from(["train", "alarm", "valid", None])},
    optional={"loss/model": values, "seconds_per_step": values, "text": values},
)
recipes = st.fixed_dictionaries(
    {}, optional={"kind": values, "layout": values, "train": values | st.fixed_dictionaries({"steps": values})}
)


@given(recipes, st.lists(rows, max_size=4), st.binary(max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_makes_the_summary_fail(
    tmp_path: Path, recipe: dict[str, Any], log: list[dict[str, Any]], rest: bytes
) -> None:
    write_run(tmp_path, recipe)
    (tmp_path / "metrics.jsonl").write_bytes("".join(json.dumps(line) + "\n" for line in log).encode() + rest)
    found = summarise(tmp_path)
    assert found.step >= 0
    assert (found.state == "broken") == (found.problem is not None)


@pytest.mark.parametrize(
    "recipe", [{"train": 3}, {"train": {"steps": "many"}}, {"kind": 4, "layout": ["x"]}, {"train": {"steps": None}}]
)
def test_a_recipe_of_another_version_is_taken_as_far_as_it_goes(recipe: dict[str, Any], tmp_path: Path) -> None:
    found = summarise(write_run(tmp_path, recipe, LOG))
    assert (found.steps, found.loss) == (None, 2.5)


# Finding and comparing


def test_runs_are_found_at_any_depth_and_not_inside_each_other(tmp_path: Path) -> None:
    expected = [write_run(tmp_path / name) for name in ("a", "b/c/d", "e")]
    write_run(tmp_path / "a" / "logs" / "inner")
    write_run(tmp_path / ".hidden" / "f")
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "a", tmp_path / "link")
    for name in ("recipe.json", "metrics.jsonl"):
        (tmp_path / "e" / name).unlink()
    write = tmp_path / "e" / "checkpoints"
    write.mkdir()
    (write / "step-00000003.safetensors").touch()
    assert find_runs(tmp_path) == expected
    with pytest.raises(EchoesError, match="no folder"):
        find_runs(tmp_path / "nowhere")


def test_recipes_are_compared_key_by_key(tmp_path: Path) -> None:
    other = {
        **RECIPE, "output": "runs/b", "freeze": ["encoder"], "model": {"width": 64, "extra": {"a": 1}}, "new": False,
    }  # fmt: skip
    del other["start_from"]
    runs = write_run(tmp_path / "a"), write_run(tmp_path / "b", other)
    assert recipe_differences(*runs) == {
        "freeze": ([], ["encoder"]), "model.width": (32, 64), "model.extra": ({}, None), "model.extra.a": (None, 1),
        "new": (None, False),
    }  # fmt: skip
    assert recipe_differences(runs[0], runs[0]) == {}
    (runs[1] / "recipe.json").unlink()
    with pytest.raises(EchoesError, match=r"b has no recipe\.json"):
        recipe_differences(*runs)


def test_a_stored_recipe_has_its_bounds(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (run / "recipe.json").write_text(" " * (1 << 20) + "{}")
    with pytest.raises(EchoesError, match="larger than"):
        read_run_recipe(run)
