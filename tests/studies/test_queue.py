"""Every measurement is made once, kept, and the same when it is made again; trainings go to folders of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from visual_echoes.model.settings import SamplingSettings, with_changes
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies import queue as module
from visual_echoes.studies.bench import Bench
from visual_echoes.studies.plan import Baseline, Chance, Experiment, Generate, Own, Variant
from visual_echoes.studies.queue import CELLS, PLOT_FILE, REPORT_FILE, RUNS, Queue
from visual_echoes.studies.report import Row

FEW = SamplingSettings(steps=2)
BOTH = ("sound_right", "image_right")


def steps_experiment(*steps: int) -> Experiment:
    variants = [Variant(f"N {n}", Generate(settings=FEW.model_copy(update={"steps": n})), n, "T 9") for n in steps]
    return Experiment("steps", "How many?", tuple(variants), BOTH, f"N {steps[0]}", axis="N", timed=True)


def training_experiment(*trainings: str) -> Experiment:
    variants = [Variant(name, Generate(training=name, settings=FEW, targets=("sound",))) for name in trainings]
    return Experiment("trained", "Which?", (Variant("chance", Chance()), *variants), BOTH, "chance", ranked=False)


@pytest.fixture
def desk(bench: Callable[[VisualEchoes], Bench], echoes: VisualEchoes) -> Bench:
    return bench(echoes)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the measurements that were really made."""
    seeds: list[int] = []
    original = module.measure_generate  # type: ignore[attr-defined]

    def watched(test: Any, work: Any, pairs: int, seed: int) -> Any:
        seeds.append(seed)
        return original(test, work, pairs, seed)

    monkeypatch.setattr(module, "measure_generate", watched)
    return seeds


def untimed(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / REPORT_FILE).read_text())
    del content["seconds"]
    return content


def test_a_stopped_experiment_goes_on_and_repeats_itself(
    desk: Bench, recipes: Path, tmp_path: Path, measured: list[int]
) -> None:
    plan = steps_experiment(1, 2)
    first = Queue(desk, tmp_path / "one", recipes)
    first.run(plan, (0, 1))
    folder = first.folder(plan)
    assert folder == tmp_path / "one" / "steps" / "tiny"
    assert Image.open(folder / PLOT_FILE).format == "PNG"
    assert measured == [0, 1, 0, 1]
    before = untimed(folder)
    first.run(plan, (0, 1))
    assert len(measured) == 4
    cell = sorted((tmp_path / "one" / CELLS).iterdir())[0]
    cell.write_text(cell.read_text()[:20])  # torn
    first.run(plan, (0, 1, 2))
    assert len(measured) == 4 + 1 + 2
    second = Queue(desk, tmp_path / "two", recipes)
    second.run(plan, (0, 1))
    assert untimed(second.folder(plan)) == before


def test_experiments_share_what_both_need(desk: Bench, recipes: Path, tmp_path: Path, measured: list[int]) -> None:
    queue = Queue(desk, tmp_path / "out", recipes)
    queue.run(steps_experiment(1, 2), (0,))
    queue.run(steps_experiment(2, 3), (0,))
    assert len(measured) == 3


@pytest.mark.filterwarnings("ignore")
def test_trainings_run_once_share_their_tokens_and_are_told_apart(
    desk: Bench, recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    original = module.run_training  # type: ignore[attr-defined]

    def watched(recipe: Any) -> Path:
        made.append(recipe.output.name)
        return original(recipe)

    monkeypatch.setattr(module, "run_training", watched)
    output = tmp_path / "out"
    queue, plan = Queue(desk, output, recipes), training_experiment("base", "mean-0.55")
    report = queue.run(plan, (0,))
    assert queue.folder(plan) == output / "trained" / "mini"
    assert [name.rsplit("-", 1)[0] for name in made] == ["base-seed0", "mean-0.55-seed0"]
    tokens = [{path.name for path in (output / RUNS / name).glob("tokens-*")} for name in ("tokens", *made)]
    assert len(tokens[0]) == 2
    assert tokens[0] == tokens[1] == tokens[2]
    figures = {row.label: set(row.figures) for row in report.rows}
    assert figures["chance"] == {"sound_right", "image_right", "pairs_agree"}
    assert {"sound_right", "sound_gain", "image_gain", "loss_jitter"} <= figures["base"]
    assert report.rows[0].figures["sound_right"].value == pytest.approx(0.1)
    queue.run(plan, (0,))
    assert len(made) == 2
    base = recipes / "base.toml"
    base.write_text(base.read_text().replace("1e-2", "2e-2"))
    queue.run(training_experiment("base"), (0,))
    assert len(set(made)) == len(made) == 3


@pytest.mark.filterwarnings("ignore")
def test_baselines_with_and_without_a_training(desk: Bench, recipes: Path, tmp_path: Path) -> None:
    plan = Experiment(
        "baselines", "Which?",
        (
            Variant("retrieval", Baseline(name="retrieval")),
            Variant("class mean", Baseline(name="class mean")),
            Variant("autoregressive", Baseline(name="autoregressive", training="autoregressive")),
        ),
        BOTH, "retrieval",
    )  # fmt: skip
    report = Queue(desk, tmp_path / "out", recipes).run(plan, (0,))
    for row in report.rows:
        expected = {"sound_right", "image_right", "sound_frechet", "sound_kid", "image_frechet", "image_kid"}
        assert expected <= set(row.figures)
    assert all(0 <= row.figures["sound_right"].value <= 1 for row in report.rows)


def test_a_model_s_own_settings_are_those_that_it_has(
    desk: Bench, recipes: Path, tmp_path: Path, measured: list[int]
) -> None:
    own = Own(changes={"preset": "fast", "steps": 2})
    same = own.of(desk.test.echoes.defaults)
    assert same.settings == with_changes(desk.test.echoes.defaults, {"preset": "fast", "steps": 2})
    plan = Experiment("own", "?", (Variant("own", own), Variant("same", same)), ("sound_right",), reference="own")
    report = Queue(desk, tmp_path, recipes).run(plan, (0,))
    assert measured == [0]
    assert report.rows[0].figures == report.rows[1].figures


def test_reports_of_version_0_1_are_read_by_their_names_of_today() -> None:
    old = {"mean": 0.5, "deviation": 0.1, "per_seed": [0.4, 0.6]}
    row = Row.model_validate({"label": "a", "x": None, "series": "", "figures": {"picture_right": old}})
    assert {name: (figure.value, figure.spread) for name, figure in row.figures.items()} == {"image_right": (0.5, 0.1)}
