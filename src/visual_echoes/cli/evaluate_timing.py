"""`echoes evaluate timing`: measure when things happen in the files of any system."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import progress_bar, say
from visual_echoes.cli.evaluate_files import (
    FILES_REPORT,
    AllowOption,
    ReportOption,
    Sha256Option,
    explained,
    remark,
)
from visual_echoes.errors import EchoesError

if TYPE_CHECKING:
    from visual_echoes.evaluation.case import RowName
    from visual_echoes.evaluation.desync import SynchformerNetwork
    from visual_echoes.evaluation.timing import Scorer
    from visual_echoes.evaluation.truth import Truth
    from visual_echoes.layout import Modality
    from visual_echoes.metrics.networks.base import Backbone


class Of(StrEnum):
    """In what events are looked for."""

    SOUND = "sound"
    VIDEO = "video"


def evaluate_timing(
    made: Annotated[Path, typer.Argument(help="Folder of made sounds or videos.")],
    truth: Annotated[
        Path | None,
        typer.Option("--truth", show_default="the visual changes", help="JSON lines that say what happens when."),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(
            "--videos", show_default="MADE",
            help="Folder of videos: their changes are the truth; Synchformer sees them.",
        ),
    ] = None,
    real: Annotated[
        Path | None, typer.Option("--real", help="Folder of real files, measured beside: what can be reached.")
    ] = None,
    of: Annotated[Of, typer.Option("--of", help="Where events are found: onsets of sound, or changes of video.")] = (
        Of.SOUND
    ),
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0, show_default="0.1, a frame of a video", help="Seconds it may be off."),
    ] = None,
    gap: Annotated[
        float | None,
        typer.Option("--gap", min=0, show_default="0.5", help="Seconds within which what is found is one event."),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone", metavar="NAME[=FILE]", show_default="no classes",
            help="Says what each event is: digits, own=FOLDER, or another with classes, one for each modality. With "
            "synchformer, sounds are also compared with the videos (DeSync).",
        ),
    ] = None,
    sha256: Sha256Option = None,
    allow_missing: AllowOption = None,
    output: ReportOption = FILES_REPORT,
) -> None:  # fmt: skip
    """Measure whether what is heard or seen in made files happens when it should: precision, recall, F1, offset.

    A line of the truth: {"id": "clip-0001", "seconds": 3.0, "events": [{"time": 0.52, "label": "7"}]}; the id is the
    name of the file without its suffix, the label may be left out.
    """
    from visual_echoes.evaluation.desync import DesyncScorer
    from visual_echoes.evaluation.listing import list_folder
    from visual_echoes.evaluation.measurement import MEASUREMENT_FILE, measured_here, write_measurement
    from visual_echoes.evaluation.page import write_reports
    from visual_echoes.evaluation.tables import print_report, report_tables
    from visual_echoes.evaluation.timing import EventScorer
    from visual_echoes.evaluation.timing import evaluate_timing as evaluate
    from visual_echoes.metrics.onsets import GAP

    modality: Modality = "audio" if of is Of.SOUND else "image"
    gap = GAP if gap is None else gap
    synchformer, backbone, sha256 = _synchformer(backbone or [], sha256 or [])
    if truth is not None and videos is not None and synchformer is None:
        raise EchoesError("The truth is given as --truth and as --videos; keep one of them.")
    if of is Of.VIDEO and truth is None and videos is None:
        raise EchoesError("Changes of videos need another truth than themselves; name --truth, or --videos.")
    if of is Of.VIDEO and synchformer is not None:
        raise EchoesError("Synchformer compares sounds with videos; leave out --of video, or synchformer.")
    named = _backbones(backbone, sha256, modality, truth is None)
    folders: dict[RowName, Path | None] = {"real": real, "made": made}
    rows = {
        row: list_folder(folder, modality, videos=of is Of.VIDEO)
        for row, folder in folders.items()
        if folder is not None
    }
    wanted = _truth(truth, videos or made, modality, gap, named)
    scorers: list[Scorer] = [EventScorer(wanted, gap, tolerance, named.get(modality), alone=synchformer is None)]
    if synchformer is not None:
        shown = wanted.listing if truth is None else list_folder(videos or made, "image", videos=True)
        scorers.append(DesyncScorer(shown, synchformer))
    with progress_bar("Evaluating", 1) as bar, explained():
        report, case = evaluate(rows, wanted, scorers, allowed=allow_missing or (), progress=bar.show)
        files = write_reports(report, output, case)
    print_report(report)
    remark(report)
    measurement = measured_here(report_tables(report), "echoes")
    for file in (*files, write_measurement(measurement, output / MEASUREMENT_FILE)):
        say(str(file))


def _synchformer(asked: list[str], sha256: list[str]) -> tuple[SynchformerNetwork | None, list[str], list[str]]:
    """Synchformer if it is among the backbones, and what is asked for beside it."""
    from visual_echoes.evaluation.desync import NAME, SynchformerNetwork

    def own(text: str) -> bool:
        return text.partition("=")[0] == NAME

    sources, pins = ([text.partition("=")[2] or None for text in texts if own(text)] for texts in (asked, sha256))
    others = [[text for text in texts if not own(text)] for texts in (asked, sha256)]
    if len(sources) > 1:
        raise EchoesError("A backbone is asked for twice; name each once.")
    found = SynchformerNetwork(sources[0], pins[-1] if pins else None) if sources else None
    return found, others[0], others[1] if sources else sha256


def _backbones(asked: list[str], sha256: list[str], modality: Modality, visual: bool) -> dict[Modality, Backbone]:
    """Who names the events of each modality; visual changes as the truth need one of images, too."""
    from visual_echoes.evaluation.choose import choose

    if not asked and not sha256:
        return {}
    needed: set[Modality] = {modality, "image"} if visual else {modality}
    found = choose(asked, sha256, sorted(needed)).backbones
    if without := next((each for each in found if each.labels is None), None):
        raise EchoesError(f"The backbone {without.name} knows no classes; name one that does, such as digits.")
    if sorted(each.modality for each in found) != sorted(needed):
        raise EchoesError(f"Classes need one backbone for each of: {', '.join(sorted(needed))}; name them all.")
    if len({tuple(each.labels or ()) for each in found}) > 1:
        raise EchoesError("The backbones of images and sounds know other classes; name two that know the same.")
    return {each.modality: each for each in found}


def _truth(truth: Path | None, videos: Path, modality: Modality, gap: float, named: dict[Modality, Backbone]) -> Truth:
    from visual_echoes.evaluation.listing import list_folder
    from visual_echoes.evaluation.timing import check_labels, visual_truth
    from visual_echoes.evaluation.truth import read_truth

    if truth is None:
        return visual_truth(list_folder(videos, "image", videos=True), gap, named.get("image"))
    found = read_truth(truth, modality)
    if modality in named:
        check_labels(found, list(named[modality].labels or ()))
    return found
