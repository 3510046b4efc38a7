"""What choosing among candidates brings: right by the classifiers, with 1, 4 and 8 candidates an item.

The model chooses by its own score (`visual_echoes.model.agreement`), the classifiers tell whether the choice was right;
the two know nothing of each other. Sounds are made for test images, images for test sounds, and pairs from nothing.
The first candidate of each item is the same whatever their number. Data first (`echoes data digits`); run from the
repository's root:

    python benchmarks/best_of.py --images 100 --sounds 100 --pairs 100 -o docs/measurements/best-of.json
    python benchmarks/best_of.py --model FOLDER --data data/prepared/scenes64 --image-classifier FOLDER \\
        --audio-classifier FOLDER --images 210 --sounds 210 --pairs 210
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import add_output, of_records, show

from visual_echoes import VisualEchoes
from visual_echoes.data.pairs import first_of_groups
from visual_echoes.evaluation.evaluation_set import EvaluationSet
from visual_echoes.evaluation.making import Amounts, Meter, Target, make, measure_results
from visual_echoes.evaluation.measurement import ONLY, Cell
from visual_echoes.metrics.classifiers import Classifier, load_classifier, packaged_classifier
from visual_echoes.model.settings import with_changes

BATCH = 32
FIGURES: dict[Target, tuple[str, str]] = {
    "sound": ("sounds right", "sound_right"), "image": ("images right", "image_right"),
    "pairs": ("pairs agree", "pairs_agree"),
}  # fmt: skip


def row(test: EvaluationSet, amounts: Amounts, best_of: int, changes: Mapping[str, Any]) -> dict[str, Cell]:
    """The figures of one number of candidates: mean and standard deviation over the seeds."""
    found: dict[str, Cell] = {"candidates": str(best_of)}
    settings = with_changes(test.echoes.defaults, {**changes, "best_of": best_of})
    for target, (title, name) in FIGURES.items():
        column = measure_results(test, target, make(test, test.echoes, target, settings, amounts, Meter()))
        found[title] = column.figures[name].text(".3f")
        print(best_of, title, found[title], flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--data", type=Path, default=Path("data/prepared/digits"))
    parser.add_argument("--image-classifier", type=Path, help="a folder; the packaged one of digits if left out")
    parser.add_argument("--audio-classifier", type=Path, help="a folder; the packaged one of digits if left out")
    parser.add_argument("--best-of", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--images", type=int, default=200, help="test images, as many of each class")
    parser.add_argument("--sounds", type=int, default=200, help="test sounds, as many of each class")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="sampling steps; the model's own if left out")
    parser.add_argument("--guidance", type=float, help="the model's own if left out; 1 is none")
    add_output(parser)
    options = parser.parse_args(arguments)

    def classifier(folder: Path | None, name: str) -> Classifier:
        return packaged_classifier(name) if folder is None else load_classifier(folder)

    echoes = VisualEchoes.from_pretrained(options.model)
    classifiers = {
        "image": classifier(options.image_classifier, "digits-image"),
        "audio": classifier(options.audio_classifier, "digits-audio"),
    }
    whole = EvaluationSet(echoes, options.data, classifiers, BATCH)  # type: ignore[arg-type]
    images_B, sounds_B = (
        first_of_groups(whole.sides[modality].groups_B, count // whole.groups)
        for modality, count in (("image", options.images), ("audio", options.sounds))  # type: ignore[index]
    )
    test = whole.part(echoes, images_B, sounds_B)
    amounts = Amounts(tuple(range(options.seeds)), options.pairs)
    asked = {"steps": options.steps, "guidance": options.guidance}
    changes = {name: value for name, value in asked.items() if value is not None}
    rows = [row(test, amounts, best_of, changes) for best_of in options.best_of]
    show({ONLY: of_records(rows, {})}, options.output)


if __name__ == "__main__":
    main()
