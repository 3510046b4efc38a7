"""Running an experiment: every variant with every seed, each measured once and kept, then a report and a plot.

`cells/` and `runs/` are shared by all experiments in a folder: what two of them need is trained and measured once. A
cell is named by a digest of everything it follows from, so nothing stale is ever taken for it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.evaluation.baselines import autoregressive_baseline
from visual_echoes.evaluation.records import Figure, write_record
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies.bench import Bench
from visual_echoes.studies.findings import finding
from visual_echoes.studies.measuring import (
    measure_beside,
    measure_generate,
    measure_mislead,
    measure_reconstruct,
)
from visual_echoes.studies.plan import AnyWork, Baseline, Chance, Experiment, Generate, Mislead, Own, Reconstruct
from visual_echoes.studies.plots import write_plot
from visual_echoes.studies.registry import TRAININGS
from visual_echoes.studies.report import Cell, ExperimentReport, Row, over_seeds, read_cell
from visual_echoes.studies.trainings import changed_recipe, run_training, training_figures
from visual_echoes.training.digests import inputs_digest
from visual_echoes.training.recipe import Recipe

CELLS, RUNS = "cells", "runs"
REPORT_FILE, PLOT_FILE = "report.json", "plot.png"

# Called with what is measured next, measurements done and measurements in all.
CellProgress = Callable[[str, int, int], None]


class Queue:
    """Experiments on one bench.

    Args:
        output: folder of all that is written.
        recipes: folder of the recipes that trainings change.
    """

    def __init__(self, bench: Bench, output: Path, recipes: Path, progress: CellProgress | None = None) -> None:
        self.bench, self.output, self.recipes, self.progress = bench, output, recipes, progress
        self.defaults = bench.test.echoes.defaults
        self._digest_inputs = lru_cache(maxsize=None)(inputs_digest)

    def folder(self, experiment: Experiment) -> Path:
        """Where the report and the plot of an experiment go."""
        setting = self.recipes.name if experiment.trains else self.bench.test.echoes.model.name
        return self.output / experiment.name / setting

    def run(self, experiment: Experiment, seeds: Sequence[int]) -> ExperimentReport:
        """Measure what was not measured yet, and write report and plot.

        Raises:
            TrainingStopped: a training was asked to stop; run again to go on.
            EchoesError: unusable recipes or data.
        """
        total, rows, seconds = len(experiment.variants) * len(seeds), [], {}
        for index, variant in enumerate(experiment.variants):
            cells = []
            for number, seed in enumerate(seeds):
                if self.progress is not None:
                    self.progress(f"{experiment.name}: {variant.label}", index * len(seeds) + number, total)
                work = variant.work
                cells.append(self._cell(work.of(self.defaults) if isinstance(work, Own) else work, seed))
            rows.append(Row(label=variant.label, x=variant.x, series=variant.series, figures=over_seeds(cells)))
            seconds[variant.label] = Figure.of_seeds([cell.seconds for cell in cells])
        report = ExperimentReport(
            experiment=experiment.name, question=experiment.question, facts=self.bench.facts, seeds=tuple(seeds),
            rows=tuple(rows), finding=finding(experiment, rows), seconds=seconds,
        )  # fmt: skip
        folder = self.folder(experiment)
        write_record(report, folder / REPORT_FILE)
        write_plot(experiment, report, folder / PLOT_FILE)
        return report

    def _cell(self, work: AnyWork, seed: int) -> Cell:
        recipe = None if work.training is None else self._recipe(work.training, seed)
        path = self.output / CELLS / f"{self._digest(work, seed, recipe)}.json"
        cell = read_cell(path)
        if cell is None:
            cell = self._measure(work, seed, recipe)
            write_record(cell, path)
        return cell

    def _recipe(self, training: str, seed: int) -> Recipe:
        return changed_recipe(training, TRAININGS[training], seed, self.recipes, self.output / RUNS)

    def _digest(self, work: AnyWork, seed: int, recipe: Recipe | None) -> str:
        content = {"work": work.model_dump(mode="json"), "seed": seed, "facts": self.bench.facts}
        if recipe is not None:
            content["training"] = [recipe.fingerprint(), self._digest_inputs(recipe)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]

    def _measure(self, work: AnyWork, seed: int, recipe: Recipe | None) -> Cell:
        bench, echoes, logged = self.bench, self.bench.test.echoes, {}
        trained = None
        if recipe is not None:
            trained = run_training(recipe)
            if isinstance(work, Generate):
                echoes, logged = with_transformer(echoes, trained), training_figures(recipe.output)
        test = bench.draw(seed, echoes)
        if isinstance(work, Generate):
            figures, seconds = measure_generate(test, work, bench.counts.pairs, seed)
        elif isinstance(work, Mislead):
            figures, seconds = measure_mislead(test, work, seed)
        elif isinstance(work, Reconstruct):
            figures, seconds = measure_reconstruct(test, work)
        elif isinstance(work, Baseline):
            beside = bench.lookups[work.name] if trained is None else autoregressive_baseline(echoes, trained)
            figures, seconds = measure_beside(test, beside, seed)
        else:
            assert isinstance(work, Chance)
            figures, seconds = dict.fromkeys(("sound_right", "image_right", "pairs_agree"), 1.0 / test.groups), 0.0
        return Cell(figures=figures | logged, seconds=seconds)


def with_transformer(echoes: VisualEchoes, folder: Path) -> VisualEchoes:
    """The model with the transformer of another folder, which must have been trained on its tokens."""
    model = copy.copy(echoes.model)
    # The calibration was fitted to the transformer that goes.
    model.parts, model.files, model.calibration = dict(model.parts), dict(model.files), {}
    model.take("transformer", load_model(folder, wanted=["transformer"]))
    return VisualEchoes(model, echoes.device)
