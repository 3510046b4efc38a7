"""Writes what the experiments found into docs/experiments.md: a table, the plot and the finding of every report.

A section names its experiment in a comment, `<!-- figures: NAME -->`, and ends with `<!-- end -->`; what stands between
them is replaced where there are reports. Plots are copied beside the page. Run from the repository's root:

    python benchmarks/document_experiments.py [--reports reports/experiments]
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from visual_echoes.experiments.figures import FIGURES
from visual_echoes.experiments.findings import show
from visual_echoes.experiments.queue import PLOT_FILE, REPORT_FILE
from visual_echoes.experiments.registry import EXPERIMENTS
from visual_echoes.experiments.report import ExperimentReport

PAGE = Path("docs/experiments.md")
PLOTS = Path("docs/figures/experiments")
SECTION = re.compile(r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=Path, default=Path("reports/experiments"))
    folder = parser.parse_args().reports

    def fill(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        settings = sorted(path.parent for path in (folder / name).glob(f"*/{REPORT_FILE}"))
        if not settings:
            return match.group()
        return start + "".join(section(name, setting) for setting in settings) + end

    PAGE.write_text(SECTION.sub(fill, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def section(name: str, folder: Path) -> str:
    """Table, plot and finding of one experiment in one setting."""
    report = ExperimentReport.model_validate_json((folder / REPORT_FILE).read_text(encoding="utf-8"))
    experiment = EXPERIMENTS[name]
    headline = [key for key in experiment.headline if any(key in row.figures for row in report.rows)]
    columns = [FIGURES[key].title for key in headline] + ["seconds an item"] * experiment.timed
    lines = [f"| {folder.name} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in report.rows:
        cells = [show(row.figures[key], FIGURES[key]) if key in row.figures else "" for key in headline]
        if experiment.timed:
            cells.append(f"{report.seconds[row.label].mean:.3f}")
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    counts = ", ".join(f"{report.facts['counts'][key]} {key}" for key in ("pictures", "sounds", "pairs"))
    plot = PLOTS / f"{name}-{folder.name}.png"
    plot.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / PLOT_FILE, plot)
    return (
        "\n".join(lines)
        + f"\n\n![{name} on {folder.name}]({plot.relative_to(PAGE.parent)})\n\n"
        + f"{len(report.seeds)} seeds, {counts} each. {report.finding}\n\n"
    )


if __name__ == "__main__":
    main()
