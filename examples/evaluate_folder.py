"""How good are another system's sounds? Compares a folder of them with the real ones of the same names.

    python examples/evaluate_folder.py REAL MADE

prints each figure of the offline classifier YAMNet (pip install 'visual-echoes[eval]'); docs/evaluation.md names the
field's own networks.
"""

import argparse
from pathlib import Path

from visual_echoes.evaluation.case import Case
from visual_echoes.evaluation.choose import choose
from visual_echoes.evaluation.file_sets import evaluate_files
from visual_echoes.evaluation.listing import list_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("made", type=Path)
    options = parser.parse_args()
    rows = {row: {"audio": list_folder(folder, "audio")} for row, folder in vars(options).items()}
    report, _ = evaluate_files(Case(("audio",), rows), choose((), (), ("audio",), ()).backbones)
    for row, column in report.columns.items():
        for name, figure in column.figures.items():
            of = f" of {figure.items} files" if figure.items else ""
            print(f"{row}: {report.measures[name].title}{of} {figure.value:.3f}")


if __name__ == "__main__":
    main()
