"""The command `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visual_echoes.cli.console import needs_extra, say, working
from visual_echoes.cli.options import ModelOption, load


def bench(
    model: ModelOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for report and plot.")] = Path("reports/bench"),
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, show_default="all cores", help="Processor threads to use.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Repeats, of which the median counts.")] = 5,
) -> None:
    """Measure how fast a model is here: each stage, the plain way of sampling beside ours, and scaling curves."""
    import torch

    from visual_echoes.pipeline import DEFAULT_MODEL

    with needs_extra("eval"):
        import matplotlib.figure  # noqa: F401
    from visual_echoes.evaluation.measurement import MEASUREMENT_FILE, measured_here, write_measurement
    from visual_echoes.machine import in_gigabytes
    from visual_echoes.studies.speed_report import FAST, PLAIN, bench_tables, write_bench
    from visual_echoes.studies.speed_report import bench as measure

    if threads is not None:
        torch.set_num_threads(threads)
    echoes = load(model, "cpu")
    with working("Measuring") as show:
        report = measure(echoes, model or DEFAULT_MODEL, repeats, lambda part: show(f"Measuring: {part}"))
    groups = {"start-up": report.start_up, "stage": report.stages, "sampling, preset": report.presets}
    for title, figures in groups.items():
        for name, seconds in figures.items():
            say(f"{title}: {name}: {seconds.median:.3f} s ({seconds.least:.3f} to {seconds.most:.3f})")
    for way in (FAST, PLAIN):
        seconds, share = report.sampling[way], report.share_of_matmul_speed[way]
        say(
            f"sampling, {way}: {seconds.median:.3f} s ({seconds.least:.3f} to {seconds.most:.3f}), "
            f"{report.operations[way] / 1e9:.1f} GFLOP, {share:.0%} of the machine's matmul speed"
        )
    say(f"{report.times_plain:.2f} times as fast as the plain way; peak memory {in_gigabytes(report.peak_bytes)}")
    measurement = measured_here(bench_tables(report), "echoes")
    for file in (*write_bench(report, output), write_measurement(measurement, output / MEASUREMENT_FILE)):
        say(str(file))
