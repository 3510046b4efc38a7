"""`echoes experiment`: the paper's experiments and open questions, one after the other, resumable."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import complain, needs_extra, progress_bar, say
from visual_echoes.cli.data import DIGITS_DATA, SCENES_DATA
from visual_echoes.cli.options import BatchSizeOption, DeviceOption, PrecisionOption, load

if TYPE_CHECKING:
    from visual_echoes.model.precision import Wanted
    from visual_echoes.studies.bench import Bench, Counts
    from visual_echoes.studies.plan import Experiment

LIST, ALL = "list", "all"
DATA = {"digits": DIGITS_DATA, "scenes": SCENES_DATA}  # by layout, which names the packaged classifiers, too
TRAINED = "digits"  # the packaged model that lends its tokenizers to what is trained
RECIPES = Path("recipes/digits-mini")


def experiment(
    name: Annotated[str, typer.Argument(help="An experiment; `list` tells them, `all` runs one after the other.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for reports, plots, and what is kept.")] = Path(
        "reports/experiments"
    ),
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", show_default="all packaged ones", help="For experiments without training; can be repeated."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds.")] = 3,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Test images for each seed.")] = 200,
    sounds: Annotated[
        int, typer.Option("--sounds", min=1, help="Test sounds for each seed, if there are as many.")
    ] = 200,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Pairs from nothing for each seed.")] = 200,
    recipes: Annotated[Path, typer.Option("--recipes", help="Folder of the recipes that trainings change.")] = RECIPES,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Run an experiment: measure, train where it asks for it, and write a report, a plot and what was found.

    What was measured or trained before is not repeated, so a stopped experiment goes on. A training that is stopped
    writes a checkpoint and ends with status 75: run the same command again.
    """
    from visual_echoes.errors import EchoesError
    from visual_echoes.studies.registry import EXPERIMENTS

    if name == LIST:
        for known in EXPERIMENTS.values():
            say(f"{known.name}: {known.question}{' (trains)' if known.trains else ''}")
        return
    wanted = list(EXPERIMENTS.values()) if name == ALL else [_find(name, EXPERIMENTS)]
    if model and all(chosen.trains for chosen in wanted):
        raise EchoesError(f"The experiment {name!r} trains its own models; leave --model out.")
    # Asked for here, and not after hours of measuring.
    with needs_extra("eval"):
        import_module("matplotlib")
        import_module("scipy")
    if any(chosen.trains for chosen in wanted):
        with needs_extra("train"):
            import_module("accelerate")

    from visual_echoes.checkpoints.loading import packaged_models
    from visual_echoes.studies.bench import Counts

    counts = Counts(pictures, sounds, pairs)
    shipped = model or [packaged for packaged in packaged_models() if packaged in DATA]
    models = {chosen.name: [TRAINED] if chosen.trains else shipped for chosen in wanted}
    for source in dict.fromkeys(source for sources in models.values() for source in sources):
        here = [chosen for chosen in wanted if source in models[chosen.name]]
        _run(here, _bench(source, counts, batch_size, device, precision), output, recipes, seeds)


def _find(name: str, known: dict[str, Experiment]) -> Experiment:
    from visual_echoes.errors import EchoesError

    if name not in known:
        raise EchoesError(f"There is no experiment {name!r}; choose one of {', '.join(known)}, or {ALL}.")
    return known[name]


def _bench(source: str, counts: Counts, batch_size: int, device: str, precision: Wanted) -> Bench:
    from visual_echoes.errors import EchoesError
    from visual_echoes.layout import MODALITIES
    from visual_echoes.metrics.classifiers import packaged_classifier
    from visual_echoes.studies.bench import Bench

    echoes = load(source, device, precision)
    layout = echoes.layout.name
    if layout not in DATA:
        raise EchoesError(
            f"{source} has layout {layout!r}, for which there are no classifiers; give {' or '.join(DATA)}."
        )
    classifiers = {modality: packaged_classifier(f"{layout}-{modality}") for modality in MODALITIES}
    return Bench(echoes, DATA[layout], classifiers, counts, batch_size)


def _run(wanted: list[Experiment], bench: Bench, output: Path, recipes: Path, seeds: int) -> None:
    from visual_echoes.studies.queue import Queue
    from visual_echoes.training.signals import STOPPED_STATUS, TrainingStopped

    with progress_bar("Measuring", 1) as bar:
        queue = Queue(bench, output, recipes, lambda _, done, total: bar.show(done, total))
        for chosen in wanted:
            try:
                report = queue.run(chosen, range(seeds))
            except TrainingStopped as stopped:
                complain(str(stopped))
                raise typer.Exit(STOPPED_STATUS) from None
            bar.say(f"{chosen.name}: {report.finding}")
            bar.say(str(queue.folder(chosen)))
