"""The report of `echoes bench`: what is measured of a model on this machine, as JSON and a plot."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch

from visual_echoes import __version__
from visual_echoes.evaluation.measurement import Table
from visual_echoes.evaluation.records import Record
from visual_echoes.files import atomic_path, write_text
from visual_echoes.machine import machine, peak_memory
from visual_echoes.model.settings import PRESETS, with_changes
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies.speed import (
    MATMUL_OPERATIONS,
    Sampling,
    Seconds,
    multiply_matrices,
    operations,
    stages,
    take_turns,
)

REPORT_FILE, PLOT_FILE = "report.json", "plot.png"
STEPS = (5, 10, 20, 30)
BATCHES = (1, 2, 4, 8)
FAST, PLAIN, MATMUL = "fast", "plain", "matmul"
COMMANDS = {"import": ("-c", "import visual_echoes"), "help": ("-m", "visual_echoes", "--help")}

# Called with what is measured next.
BenchProgress = Callable[[str], None]


class Point(Record):
    """One place on a scaling curve: seconds of a sound's sampling, all sounds of a batch together."""

    x: int
    seconds: Seconds


class BenchReport(Record):
    """Everything that was measured, in seconds, and what it follows from."""

    model: str
    version: str
    torch_version: str
    machine: str
    threads: int
    parameters: int  # of the transformer
    steps: int
    start_up: dict[str, Seconds]
    stages: dict[str, Seconds]
    sampling: dict[str, Seconds]  # a sound, the fast way and the plain way
    presets: dict[str, Seconds]  # a sound's sampling
    operations: dict[str, int]
    share_of_matmul_speed: dict[str, float]
    times_plain: float
    curves: dict[str, tuple[Point, ...]]
    peak_bytes: int | None


def bench(echoes: VisualEchoes, name: str, repeats: int, progress: BenchProgress) -> BenchReport:
    """Measure a model with as many threads as torch has.

    Args:
        repeats: of everything that is compared; the median counts.
    """
    model, settings = cast(EchoTransformer, echoes.codec.part("transformer")), echoes.defaults
    progress("start-up")
    start_up = take_turns({key: _runner(command) for key, command in COMMANDS.items()}, repeats)
    progress("stages")
    by_stage = stages(echoes, repeats)
    progress("the plain way")
    sampling = Sampling(model, settings)
    works = {FAST: sampling.fast, PLAIN: sampling.slow}
    seconds = take_turns({**works, MATMUL: multiply_matrices}, repeats)
    speed = MATMUL_OPERATIONS / seconds.pop(MATMUL).median
    counts = {way: operations(work) for way, work in works.items()}
    progress("presets")
    presets = {str(n): Sampling(model, with_changes(settings, {"preset": n})).fast for n in PRESETS}
    by_preset = take_turns(presets, repeats)
    curves: dict[str, tuple[Point, ...]] = {}
    progress("steps")
    at_steps = {n: Sampling(model, settings.model_copy(update={"steps": n})).fast for n in STEPS}
    curves["steps"] = _points(at_steps, repeats)
    progress("batches")
    curves["sounds at once"] = _points({n: Sampling(model, settings, n).fast for n in BATCHES}, repeats)
    progress("threads")
    threads = torch.get_num_threads()
    curves["threads"] = _points({n: _with_threads(sampling.fast, n) for n in range(1, threads + 1)}, repeats)
    torch.set_num_threads(threads)
    return BenchReport(
        model=name, version=__version__, torch_version=torch.__version__,
        machine=machine(), threads=threads,
        parameters=sum(p.numel() for p in model.parameters()), steps=settings.steps, start_up=start_up,
        stages=by_stage, sampling=seconds, presets=by_preset, operations=counts,
        share_of_matmul_speed={way: counts[way] / seconds[way].median / speed for way in works},
        times_plain=seconds[PLAIN].median / seconds[FAST].median, curves=curves, peak_bytes=peak_memory(),
    )  # fmt: skip


def bench_tables(report: BenchReport) -> dict[str, Table]:
    """Medians for documents."""
    parts = {
        "start-up": report.start_up, "stages": report.stages, "sampling": report.sampling, "presets": report.presets
    }  # fmt: skip
    return {
        part: Table(
            columns=(part, "seconds"),
            rows=tuple((name, seconds.median) for name, seconds in found.items()),
            formats={"seconds": ".3f"},
        )
        for part, found in parts.items()
    }


def write_bench(report: BenchReport, folder: Path) -> list[Path]:
    """Write the JSON and the plot; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / REPORT_FILE, report.model_dump_json(indent=2) + "\n")
    # A figure without pyplot's global state or a window.
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(9, 2.8), layout="constrained")
    for ax, (name, points) in zip(figure.subplots(1, len(report.curves)), report.curves.items(), strict=True):
        medians = [point.seconds.median for point in points]
        spread = [[m - p.seconds.least for m, p in zip(medians, points, strict=True)],
                  [p.seconds.most - m for m, p in zip(medians, points, strict=True)]]  # fmt: skip
        ax.errorbar([point.x for point in points], medians, spread, marker="o", capsize=3)
        ax.set_xlabel(name)
        ax.set_ylabel("seconds")
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
    with atomic_path(folder / PLOT_FILE) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return [folder / REPORT_FILE, folder / PLOT_FILE]


def _points(works: Mapping[int, Callable[[], object]], repeats: int) -> tuple[Point, ...]:
    found = take_turns({str(x): work for x, work in works.items()}, repeats)
    return tuple(Point(x=x, seconds=found[str(x)]) for x in works)


def _with_threads(work: Callable[[], object], threads: int) -> Callable[[], object]:
    def run() -> None:
        torch.set_num_threads(threads)
        work()

    return run


def _runner(arguments: Sequence[str]) -> Callable[[], object]:
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
