"""`echoes evaluate sounds`, `pictures` and `pairs`: judge the files of any system beside real ones."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import complain, needs_extra, progress_bar, say
from visual_echoes.cli.options import BatchSizeOption, DeviceOption, load
from visual_echoes.errors import EchoesError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from visual_echoes.evaluation.files.case import Case, Kind, Trip
    from visual_echoes.evaluation.files.features import Progress
    from visual_echoes.evaluation.files.listing import Listing
    from visual_echoes.evaluation.files.records import FilesReport, RowName
    from visual_echoes.layout import Modality

FILES_REPORT = Path("reports/files")
# Columns of a manifest: the row and the modality of what they name.
Columns = dict[str, "tuple[RowName | None, Modality]"]
SOUND_COLUMNS: Columns = {
    "real": ("real", "audio"), "made": ("made", "audio"), "round_trip": ("round trip", "audio"),
    "picture": (None, "image"),
}  # fmt: skip
PICTURE_COLUMNS: Columns = {
    "real": ("real", "image"), "made": ("made", "image"), "round_trip": ("round trip", "image"),
    "sound": (None, "audio"),
}  # fmt: skip
PAIR_COLUMNS: Columns = {
    "picture": ("made", "image"), "sound": ("made", "audio"),
    "real_picture": ("real", "image"), "real_sound": ("real", "audio"),
    "round_trip_picture": ("round trip", "image"), "round_trip_sound": ("round trip", "audio"),
}  # fmt: skip

ManifestOption = Annotated[
    Path | None,
    typer.Option("--manifest", show_default="folders", help="CSV with the columns below instead of folders."),
]
JudgeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--judge", show_default="yamnet, efficientnet", metavar="NAME[=FILE]",
        help="Offline: yamnet, birdnet, efficientnet, digits, own=FOLDER. With published weights: panns, vggish, "
        "wav2clip, clip, inception, lpips. Repeat for more.",
    ),
]  # fmt: skip
Sha256Option = Annotated[
    list[str] | None,
    typer.Option("--sha256", metavar="NAME=HEX", show_default="the published", help="What a judge's file must be."),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow-missing", metavar="NAME", help="A file that may be missing, broken or silent. Repeat."),
]
RoundTripOption = Annotated[
    str | None,
    typer.Option("--round-trip", metavar="MODEL", help="Send the real files through this model's tokenizers too."),
]
RoundTripFilesOption = Annotated[
    Path | None, typer.Option("--round-trip-files", help="Folder of another tokenizer's round trip.")
]
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder to keep what judges saw in, for next time.")]
ReportOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for report.json and report.html.")]


def evaluate_sounds(
    real: Annotated[Path | None, typer.Argument(help="Folder of real sounds.")] = None,
    made: Annotated[Path | None, typer.Argument(help="Folder of made ones with the same names.")] = None,
    manifest: ManifestOption = None,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Folder of the images they were made from, for CS.")
    ] = None,
    judge: JudgeOption = None,
    sha256: Sha256Option = None,
    round_trip: RoundTripOption = None,
    round_trip_files: RoundTripFilesOption = None,
    allow_missing: AllowOption = None,
    cache: CacheOption = None,
    output: ReportOption = FILES_REPORT,
    batch_size: BatchSizeOption = 16,
    device: DeviceOption = "auto",
) -> None:
    """Judge made sounds beside real ones, of any system: distances, inception score, divergence, CS.

    A made file belongs to the real one of its name, whatever the suffix. Columns of a manifest: id, real, made,
    round_trip, image. Without MADE only the real sounds and their round trip are judged.
    """
    folders = {"real": real, "made": made, "round_trip": round_trip_files, "picture": pictures}
    rows, given = _rows(manifest, folders, SOUND_COLUMNS)
    _evaluate(
        "sounds", ("audio",), rows, given, judge, sha256, round_trip, allow_missing, cache, output, batch_size, device
    )


def evaluate_images(
    real: Annotated[Path | None, typer.Argument(help="Folder of real images.")] = None,
    made: Annotated[Path | None, typer.Argument(help="Folder of made ones with the same names.")] = None,
    manifest: ManifestOption = None,
    sounds: Annotated[
        Path | None, typer.Option("--sounds", help="Folder of the sounds they were made from, for CS.")
    ] = None,
    judge: JudgeOption = None,
    sha256: Sha256Option = None,
    round_trip: RoundTripOption = None,
    round_trip_files: RoundTripFilesOption = None,
    allow_missing: AllowOption = None,
    cache: CacheOption = None,
    output: ReportOption = FILES_REPORT,
    batch_size: BatchSizeOption = 16,
    device: DeviceOption = "auto",
) -> None:
    """Judge made images beside real ones, of any system: distances, inception score, divergence, CS.

    A made file belongs to the real one of its name, whatever the suffix. Columns of a manifest: id, real, made,
    round_trip, sound. Without MADE only the real images and their round trip are judged.
    """
    folders = {"real": real, "made": made, "round_trip": round_trip_files, "sound": sounds}
    rows, given = _rows(manifest, folders, PICTURE_COLUMNS)
    _evaluate(
        "pictures", ("image",), rows, given, judge, sha256, round_trip, allow_missing, cache, output, batch_size, device
    )


def evaluate_pairs(
    pictures: Annotated[Path | None, typer.Argument(help="Folder of made images.")] = None,
    sounds: Annotated[Path | None, typer.Argument(help="Folder of their sounds with the same names.")] = None,
    manifest: ManifestOption = None,
    real: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--real", metavar="PICTURES SOUNDS", help="Folders of real pairs; names need not be the same."),
    ] = None,
    judge: JudgeOption = None,
    sha256: Sha256Option = None,
    round_trip: RoundTripOption = None,
    allow_missing: AllowOption = None,
    cache: CacheOption = None,
    output: ReportOption = FILES_REPORT,
    batch_size: BatchSizeOption = 16,
    device: DeviceOption = "auto",
) -> None:
    """Judge pairs of images and sounds, of any system: whether they agree, and how far they are from real ones.

    Columns of a manifest: id, image, sound, real_picture, real_sound, round_trip_picture, round_trip_sound.
    """
    real_pictures, real_sounds = real or (None, None)
    folders = {"picture": pictures, "sound": sounds, "real_picture": real_pictures, "real_sound": real_sounds}
    rows, given = _rows(manifest, folders, PAIR_COLUMNS)
    halves = [row for row, sides in rows.items() if len(sides) < len(("image", "audio"))]
    if halves or not rows:
        raise EchoesError("Pairs need a folder of images and one of sounds; name PICTURES and SOUNDS.")
    _evaluate(
        "pairs", ("image", "audio"), rows, given, judge, sha256, round_trip, allow_missing, cache, output, batch_size,
        device,
    )  # fmt: skip


def _rows(
    manifest: Path | None, folders: Mapping[str, Path | None], columns: Columns
) -> tuple[dict[RowName, dict[Modality, Listing]], dict[Modality, Listing]]:
    """The rows that folders or a manifest name, in the report's order, and what they were made from."""
    from visual_echoes.evaluation.files.listing import list_folder, read_manifest
    from visual_echoes.evaluation.files.records import ROWS

    named = {name: folder for name, folder in folders.items() if folder is not None}
    if (manifest is None) == (not named):
        raise EchoesError("Name folders, or a --manifest, and not both; see --help.")
    if manifest is not None:
        found = read_manifest(manifest, {name: modality for name, (_, modality) in columns.items()})
    else:
        found = {name: list_folder(folder, columns[name][1]) for name, folder in named.items()}
    rows: dict[RowName, dict[Modality, Listing]] = {}
    for row in ROWS:
        sides = {columns[name][1]: listing for name, listing in found.items() if columns[name][0] == row}
        if sides:
            rows[row] = sides
    return rows, {columns[name][1]: listing for name, listing in found.items() if columns[name][0] is None}


def _evaluate(
    kind: Kind,
    measured: tuple[Modality, ...],
    rows: dict[RowName, dict[Modality, Listing]],
    given: dict[Modality, Listing],
    judge: Sequence[str] | None,
    sha256: Sequence[str] | None,
    round_trip: str | None,
    allow_missing: Sequence[str] | None,
    cache: Path | None,
    output: Path,
    batch_size: int,
    device: str,
) -> None:
    from visual_echoes.evaluation.files.case import Case, UnusableFiles
    from visual_echoes.evaluation.files.choose import choose
    from visual_echoes.evaluation.files.page import write_reports
    from visual_echoes.evaluation.files.protocol import evaluate_files

    if "real" not in rows and (kind != "pairs" or round_trip is not None):
        raise EchoesError("There are no real files to compare with; name REAL, or --real for pairs.")
    if round_trip is not None and "round trip" in rows:
        raise EchoesError("A round trip is given as files and as a model; keep one of them.")
    with needs_extra("eval"):
        import jinja2  # noqa: F401  # before hours of work
    chosen = choose(judge or (), sha256 or (), measured, tuple(given))
    with ExitStack() as stack:
        case = Case(kind, measured, {row: {**sides, **given} for row, sides in rows.items()})
        if round_trip is not None:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            case = _with_model(case, round_trip, device, folder, batch_size)
        bar = stack.enter_context(progress_bar("Evaluating", 1))
        try:
            report, case = evaluate_files(
                case, chosen.judges, lpips=chosen.lpips, allowed=allow_missing or (), cache=cache, progress=bar.show
            )
        except UnusableFiles as error:
            for problem in error.problems:
                complain(problem.detail)
            raise
        files = write_reports(report, case, output)
    _print(report)
    for file in files:
        say(str(file))


def _with_model(case: Case, model: str, device: str, folder: Path, batch_size: int) -> Case:
    from dataclasses import replace

    from visual_echoes.evaluation.files.case import Trip
    from visual_echoes.evaluation.files.round_trip import model_round_trip

    echoes = load(model, device)

    def trip(real: Listing, progress: Progress) -> Trip:
        return Trip(*model_round_trip(echoes, real, folder, f"{model} of {real.source}", batch_size, progress))

    send: Callable[[Listing, Progress], Trip] = trip
    return replace(case, trip=send, layout=echoes.layout)


def _print(report: FilesReport) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from visual_echoes.evaluation.files.records import ROWS
    from visual_echoes.evaluation.files.summary import lines, warnings

    table = Table("measure", *ROWS, box=SIMPLE)
    for line in lines(report):
        table.add_row(f"{line.measure}\n[dim]{line.by}[/dim]" if line.by else line.measure, *line.cells)
    Console().print(table)
    for problem in report.problems:
        complain(f"Allowed: {problem.detail}")
    for warning in warnings(report):
        complain(f"Note: {warning}")
