"""`echoes evaluate`: measure a model against the targets of its kind of data, or the files of any system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visual_echoes.cli.console import progress_bar, say, working
from visual_echoes.cli.data import DIGITS_DATA, DIGITS_SOURCE, SCENES_DATA, SourceOption
from visual_echoes.cli.evaluate_files import evaluate_images, evaluate_pairs, evaluate_sounds
from visual_echoes.cli.evaluate_timing import evaluate_timing
from visual_echoes.cli.options import BatchSizeOption, DeviceOption, ModelOption, PrecisionOption, load

if TYPE_CHECKING:
    from visual_echoes.evaluation.targets import Goal
    from visual_echoes.layout import Modality
    from visual_echoes.metrics.classifiers import Classifier
    from visual_echoes.pipeline import VisualEchoes

DIGITS_REPORT = Path("reports/digits")
SCENES_REPORT = Path("reports/scenes")

evaluate = typer.Typer(no_args_is_help=True, help="Measure a model, or the files of any system.")
evaluate.command("sounds")(evaluate_sounds)
evaluate.command("pictures")(evaluate_images)
evaluate.command("pairs")(evaluate_pairs)
evaluate.command("timing")(evaluate_timing)

ImageClassifierOption = Annotated[
    Path | None,
    typer.Option("--image-classifier", "--image-judge", show_default="the packaged one", help="A classifier's folder."),
]
AudioClassifierOption = Annotated[
    Path | None,
    typer.Option("--audio-classifier", "--audio-judge", show_default="the packaged one", help="A classifier's folder."),
]
ReportOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="How many seeds to repeat it with.")]
PairsOption = Annotated[int, typer.Option("--pairs", min=1, help="Pairs from nothing for each seed.")]
RepeatsOption = Annotated[int, typer.Option("--sound-repeats", min=1, help="Images for each test sound.")]


@evaluate.command("digits")
def evaluate_digits(
    model: ModelOption = None,
    data: Annotated[Path, typer.Option("--data", help="Prepared digits; made from --source if missing.")] = DIGITS_DATA,
    source: SourceOption = DIGITS_SOURCE,
    output: ReportOption = DIGITS_REPORT,
    image_classifier: ImageClassifierOption = None,
    audio_classifier: AudioClassifierOption = None,
    seeds: SeedsOption = 3,
    pairs: PairsOption = 1000,
    sound_repeats: RepeatsOption = 4,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Measure a digits model on the test split; writes a report, and sheets to look at."""
    from visual_echoes.data import digits
    from visual_echoes.data.manifest import DESCRIPTION
    from visual_echoes.evaluation.examples import write_sheets
    from visual_echoes.evaluation.targets import DIGITS

    classifiers = _classifiers("digits", image_classifier, audio_classifier)
    echoes = load(model, device, precision)
    if not (data / DESCRIPTION).is_file():
        with working("Preparing digits"):
            digits.prepare_digits(source, data, echoes.layout)
    amounts = {"seeds": range(seeds), "pairs": pairs, "sound_repeats": sound_repeats, "batch_size": batch_size}
    _evaluate(echoes, data, classifiers, DIGITS, output, **amounts)
    for file in write_sheets(echoes, data, output):
        say(str(file))


@evaluate.command("scenes")
def evaluate_scenes(
    model: ModelOption = None,
    data: Annotated[Path, typer.Option("--data", help="Prepared scenes.")] = SCENES_DATA,
    output: ReportOption = SCENES_REPORT,
    image_classifier: ImageClassifierOption = None,
    audio_classifier: AudioClassifierOption = None,
    autoregressive: Annotated[
        Path | None, typer.Option("--autoregressive", show_default="none", help="Trained folder, measured beside.")
    ] = None,
    seeds: SeedsOption = 3,
    pictures: Annotated[
        int, typer.Option("--pictures", min=1, help="Test images, the first and as many of each class.")
    ] = 600,
    pairs: PairsOption = 600,
    sound_repeats: RepeatsOption = 10,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Measure a scenes model beside baselines; writes a report, sheets to look at, and examples to listen to."""
    from visual_echoes.evaluation.baselines import autoregressive_baseline, retrieval_baselines
    from visual_echoes.evaluation.examples import write_examples, write_sheets
    from visual_echoes.evaluation.probes import second_opinions
    from visual_echoes.evaluation.targets import SCENES

    classifiers = _classifiers("scenes", image_classifier, audio_classifier)
    echoes = load(model, device, precision)
    baselines = {} if autoregressive is None else {"autoregressive": autoregressive_baseline(echoes, autoregressive)}
    with progress_bar("Encoding the training split", 1) as bar:
        baselines |= retrieval_baselines(echoes, data, batch_size, bar.show)
    with working("Fitting second opinions"):
        opinions = second_opinions(data, echoes.layout)
    _evaluate(
        echoes, data, classifiers, SCENES, output, baselines=baselines, images=pictures, seeds=range(seeds),
        opinions=opinions, pairs=pairs, sound_repeats=sound_repeats,
        batch_size=batch_size,
    )  # fmt: skip
    with working("Making sheets and examples"):
        files = [*write_sheets(echoes, data, output), *write_examples(echoes, data, output)]
    for file in files:
        say(str(file))


def _evaluate(
    echoes: VisualEchoes, data: Path, classifiers: Mapping[Modality, Classifier], goals: Sequence[Goal], output: Path,
    **options: Any,
) -> None:  # fmt: skip
    """Measure, print and write the report."""
    from visual_echoes.evaluation.generated import evaluate_model
    from visual_echoes.evaluation.measurement import MEASUREMENT_FILE, measured_here, write_measurement
    from visual_echoes.evaluation.page import write_reports
    from visual_echoes.evaluation.tables import print_report, report_tables

    with progress_bar("Evaluating", 1) as bar:
        show = bar.show
        report = evaluate_model(
            echoes, data, classifiers, goals, progress=lambda _, done, total: show(done, total), **options
        )
    print_report(report)
    measurement = measured_here(report_tables(report), "echoes")
    for file in (*write_reports(report, output), write_measurement(measurement, output / MEASUREMENT_FILE)):
        say(str(file))


def _classifiers(name: str, image: Path | None, audio: Path | None) -> dict[Modality, Classifier]:
    """The classifiers in the folders; where there is none, the packaged ones of that name."""
    from visual_echoes.metrics.classifiers import load_classifier, packaged_classifier

    return {
        "image": packaged_classifier(f"{name}-image") if image is None else load_classifier(image),
        "audio": packaged_classifier(f"{name}-audio") if audio is None else load_classifier(audio),
    }


def calibrate(
    model: Annotated[Path, typer.Argument(help="A model folder; its config is changed.")],
    data: Annotated[Path, typer.Option("--data", help="Prepared data by class, with a validation split.")],
    classifiers: Annotated[
        str, typer.Option("--classifiers", "--judges", help="Packaged classifiers where no folder is given.")
    ] = "scenes",
    image_classifier: ImageClassifierOption = None,
    audio_classifier: AudioClassifierOption = None,
    pictures: Annotated[
        int | None, typer.Option("--pictures", min=1, show_default="all", help="The first and as many of each class.")
    ] = None,
    sound_repeats: RepeatsOption = 10,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Teach a model to say how sure it is, by its classifiers on the validation split; says how well it holds."""
    from visual_echoes.checkpoints.model_folder import set_calibration
    from visual_echoes.evaluation.calibration import fit_calibration, measure_outcomes
    from visual_echoes.model.confidence import expected_calibration_error

    echoes = load(str(model), device, precision)
    chosen = _classifiers(classifiers, image_classifier, audio_classifier)
    with working("Making sounds and images of the validation split"):
        outcomes = measure_outcomes(
            echoes, data, chosen, "valid", images=pictures, sound_repeats=sound_repeats, batch_size=batch_size
        )
    curves = fit_calibration(outcomes)
    set_calibration(model, curves)
    for target, (evidence, right_B) in outcomes.items():
        chance_B = curves[target].probability(evidence)
        known_B = ~chance_B.isnan()
        chance_B, right_B = chance_B[known_B], right_B[known_B]
        error = expected_calibration_error(chance_B, right_B)
        say(
            f"{target}: right in {right_B.double().mean():.1%} of {len(right_B)}, sure between {chance_B.min():.0%} "
            f"and {chance_B.max():.0%}, calibration error {error:.3f}; {int((~known_B).sum())} others are too unusual"
        )
