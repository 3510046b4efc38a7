"""`echoes evaluate`: measure a model against the targets of its kind of data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import progress_bar, say, working
from visual_echoes.cli.data import DIGITS_DATA, DIGITS_SOURCE, SCENES_DATA, SourceOption
from visual_echoes.cli.evaluate_files import evaluate_images, evaluate_pairs, evaluate_sounds
from visual_echoes.cli.options import BatchSizeOption, DeviceOption, ModelOption, load

if TYPE_CHECKING:
    from visual_echoes.metrics.classifiers import Judge

DIGITS_REPORT = Path("reports/digits")
SCENES_REPORT = Path("reports/scenes")

evaluate = typer.Typer(no_args_is_help=True, help="Measure a model, or the files of any system.")
evaluate.command("sounds")(evaluate_sounds)
evaluate.command("pictures")(evaluate_images)
evaluate.command("pairs")(evaluate_pairs)

ImageJudgeOption = Annotated[
    Path | None, typer.Option("--image-judge", show_default="the packaged one", help="A judge's folder.")
]
AudioJudgeOption = Annotated[
    Path | None, typer.Option("--audio-judge", show_default="the packaged one", help="A judge's folder.")
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
    image_judge: ImageJudgeOption = None,
    audio_judge: AudioJudgeOption = None,
    seeds: SeedsOption = 3,
    pairs: PairsOption = 1000,
    sound_repeats: RepeatsOption = 4,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
) -> None:
    """Measure a digits model on the test split; writes a report, and sheets to look at."""
    from visual_echoes.data import digits
    from visual_echoes.data.manifest import DESCRIPTION
    from visual_echoes.evaluation.classes import evaluate_classes
    from visual_echoes.evaluation.measurement import MEASUREMENT_FILE, measured_here, write_measurement
    from visual_echoes.evaluation.report import write_report
    from visual_echoes.evaluation.sheets import write_sheets
    from visual_echoes.evaluation.tables import print_report, report_tables
    from visual_echoes.evaluation.targets import DIGITS

    judges = _judges("digits", image_judge, audio_judge)
    echoes = load(model, device)
    if not (data / DESCRIPTION).is_file():
        with working("Preparing digits"):
            digits.prepare_digits(source, data, echoes.layout)
    with progress_bar("Evaluating", 1) as bar:
        report = evaluate_classes(
            echoes, data, *judges, DIGITS, seeds=range(seeds), pairs=pairs, sound_repeats=sound_repeats,
            batch_size=batch_size, progress=lambda _, done, total: bar.show(done, total),
        )  # fmt: skip
    print_report(report)
    say(str(write_report(report, output)))
    measurement = measured_here(report_tables(report), "echoes")
    say(str(write_measurement(measurement, output / MEASUREMENT_FILE)))
    for sheet in write_sheets(echoes, data, output):
        say(str(sheet))


@evaluate.command("scenes")
def evaluate_scenes(
    model: ModelOption = None,
    data: Annotated[Path, typer.Option("--data", help="Prepared scenes.")] = SCENES_DATA,
    output: ReportOption = SCENES_REPORT,
    image_judge: ImageJudgeOption = None,
    audio_judge: AudioJudgeOption = None,
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
) -> None:
    """Measure a scenes model beside baselines; writes a report, sheets to look at, and examples to listen to."""
    from visual_echoes.data.pairs import read_groups
    from visual_echoes.evaluation import scenes
    from visual_echoes.evaluation.against import autoregressive_baseline, retrieval_baselines
    from visual_echoes.evaluation.examples import write_coloured_sheets, write_examples
    from visual_echoes.evaluation.measurement import MEASUREMENT_FILE, measured_here, write_measurement
    from visual_echoes.evaluation.report import write_report
    from visual_echoes.evaluation.tables import print_report, report_tables
    from visual_echoes.metrics.networks.second_opinions import second_opinions

    judges = _judges("scenes", image_judge, audio_judge)
    echoes = load(model, device)
    baselines = {} if autoregressive is None else {"autoregressive": autoregressive_baseline(echoes, autoregressive)}
    with progress_bar("Encoding the training split", 1) as bar:
        baselines |= retrieval_baselines(echoes, data, batch_size, bar.show)
    opinions = second_opinions(read_groups(data), echoes.layout)
    with progress_bar("Evaluating", 1) as bar:
        report = scenes.evaluate_scenes(
            echoes, data, *judges, baselines, opinions, seeds=range(seeds), pictures=pictures, pairs=pairs,
            sound_repeats=sound_repeats, batch_size=batch_size,
            progress=lambda _, done, total: bar.show(done, total),
        )  # fmt: skip
    print_report(report)
    say(str(write_report(report, output)))
    measurement = measured_here(report_tables(report), "echoes")
    say(str(write_measurement(measurement, output / MEASUREMENT_FILE)))
    with working("Making sheets and examples"):
        files = [*write_coloured_sheets(echoes, data, output), *write_examples(echoes, data, output)]
    for file in files:
        say(str(file))


def _judges(name: str, image: Path | None, audio: Path | None) -> tuple[Judge, Judge]:
    """The judges in the folders; where there is none, the packaged ones of that name."""
    from visual_echoes.evaluation.packaged import packaged_judge
    from visual_echoes.metrics.classifiers import load_judge

    return (
        packaged_judge(f"{name}-image") if image is None else load_judge(image),
        packaged_judge(f"{name}-audio") if audio is None else load_judge(audio),
    )


def calibrate(
    model: Annotated[Path, typer.Argument(help="A model folder; its config is changed.")],
    data: Annotated[Path, typer.Option("--data", help="Prepared data by class, with a validation split.")],
    judges: Annotated[str, typer.Option("--judges", help="Packaged judges where no folder is given.")] = "scenes",
    image_judge: ImageJudgeOption = None,
    audio_judge: AudioJudgeOption = None,
    pictures: Annotated[
        int | None, typer.Option("--pictures", min=1, show_default="all", help="The first and as many of each class.")
    ] = None,
    sound_repeats: RepeatsOption = 10,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
) -> None:
    """Teach a model to say how sure it is, by what judges say on the validation split; tells how well it holds."""
    from visual_echoes.checkpoints.model_folder import set_calibration
    from visual_echoes.evaluation.calibration import fit_calibration, measure_outcomes
    from visual_echoes.model.confidence import expected_calibration_error

    echoes = load(str(model), device)
    chosen = _judges(judges, image_judge, audio_judge)
    with working("Making sounds and images of the validation split"):
        outcomes = measure_outcomes(
            echoes, data, *chosen, "valid", pictures=pictures, sound_repeats=sound_repeats, batch_size=batch_size
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
