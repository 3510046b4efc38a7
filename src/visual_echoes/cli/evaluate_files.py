"""`echoes evaluate sounds`, `pictures` and `pairs`: measure the files of any system beside real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import complain, progress_bar, say
from visual_echoes.cli.options import BatchSizeOption, DeviceOption, load
from visual_echoes.errors import EchoesError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visual_echoes.evaluation.case import Case, Reconstruction, RowName
    from visual_echoes.evaluation.features import Progress
    from visual_echoes.evaluation.listing import Listing
    from visual_echoes.evaluation.records import Report
    from visual_echoes.layout import Modality

FILES_REPORT = Path("reports/files")
# Columns of a manifest: the row and the modality of what they name.
Columns = Mapping[str, "tuple[RowName | None, Modality]"]
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
BackboneOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone", "--judge", show_default="yamnet, efficientnet", metavar="NAME[=FILE]",
        help="Offline: yamnet, birdnet, efficientnet, digits, own=FOLDER. With published weights: panns, vggish, "
        "wav2clip, clip, inception, lpips. Repeat for more.",
    ),
]  # fmt: skip
Sha256Option = Annotated[
    list[str] | None,
    typer.Option("--sha256", metavar="NAME=HEX", show_default="the published", help="What a backbone's file must be."),
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
CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder to keep features in, for next time.")]
ReportOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for report.json and report.html.")]


@dataclass(frozen=True)
class Options:
    """What the three commands share; as the options of these names."""

    backbone: Sequence[str] | None
    sha256: Sequence[str] | None
    round_trip: str | None
    allow_missing: Sequence[str] | None
    cache: Path | None
    output: Path
    batch_size: int
    device: str


def evaluate_sounds(
    real: Annotated[Path | None, typer.Argument(help="Folder of real sounds.")] = None,
    made: Annotated[Path | None, typer.Argument(help="Folder of made ones with the same names.")] = None,
    manifest: ManifestOption = None,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Folder of the images they were made from, for CS.")
    ] = None,
    backbone: BackboneOption = None,
    sha256: Sha256Option = None,
    round_trip: RoundTripOption = None,
    round_trip_files: RoundTripFilesOption = None,
    allow_missing: AllowOption = None,
    cache: CacheOption = None,
    output: ReportOption = FILES_REPORT,
    batch_size: BatchSizeOption = 16,
    device: DeviceOption = "auto",
) -> None:
    """Measure made sounds beside real ones, of any system: distances, inception score, divergence, CS.

    A made file belongs to the real one of its name, whatever the suffix. Columns of a manifest: id, real, made,
    round_trip, picture. Without MADE only the real sounds and their round trip are measured.
    """
    folders = {"real": real, "made": made, "round_trip": round_trip_files, "picture": pictures}
    options = Options(backbone, sha256, round_trip, allow_missing, cache, output, batch_size, device)
    _evaluate(("audio",), *_rows(manifest, folders, SOUND_COLUMNS), options)


def evaluate_images(
    real: Annotated[Path | None, typer.Argument(help="Folder of real images.")] = None,
    made: Annotated[Path | None, typer.Argument(help="Folder of made ones with the same names.")] = None,
    manifest: ManifestOption = None,
    sounds: Annotated[
        Path | None, typer.Option("--sounds", help="Folder of the sounds they were made from, for CS.")
    ] = None,
    backbone: BackboneOption = None,
    sha256: Sha256Option = None,
    round_trip: RoundTripOption = None,
    round_trip_files: RoundTripFilesOption = None,
    allow_missing: AllowOption = None,
    cache: CacheOption = None,
    output: ReportOption = FILES_REPORT,
    batch_size: BatchSizeOption = 16,
    device: DeviceOption = "auto",
) -> None:
    """Measure made images beside real ones, of any system: distances, inception score, divergence, CS.

    A made file belongs to the real one of its name, whatever the suffix. Columns of a manifest: id, real, made,
    round_trip, sound. Without MADE only the real images and their round trip are measured.
    """
    folders = {"real": real, "made": made, "round_trip": round_trip_files, "sound": sounds}
    options = Options(backbone, sha256, round_trip, allow_missing, cache, output, batch_size, device)
    _evaluate(("image",), *_rows(manifest, folders, PICTURE_COLUMNS), options)


def evaluate_pairs(
    pictures: Annotated[Path | None, typer.Argument(help="Folder of made images.")] = None,
    sounds: Annotated[Path | None, typer.Argument(help="Folder of their sounds with the same names.")] = None,
    manifest: ManifestOption = None,
    real: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--real", metavar="PICTURES SOUNDS", help="Folders of real pairs; names need not be the same."),
    ] = None,
    backbone: BackboneOption = None,
    sha256: Sha256Option = None,
    round_trip: RoundTripOption = None,
    allow_missing: AllowOption = None,
    cache: CacheOption = None,
    output: ReportOption = FILES_REPORT,
    batch_size: BatchSizeOption = 16,
    device: DeviceOption = "auto",
) -> None:
    """Measure pairs of images and sounds, of any system: whether they agree, and how far they are from real ones.

    Columns of a manifest: id, picture, sound, real_picture, real_sound, round_trip_picture, round_trip_sound.
    """
    real_images, real_sounds = real or (None, None)
    folders = {"picture": pictures, "sound": sounds, "real_picture": real_images, "real_sound": real_sounds}
    rows, given = _rows(manifest, folders, PAIR_COLUMNS)
    if not rows or any(len(sides) < 2 for sides in rows.values()):
        raise EchoesError("Pairs need a folder of images and one of sounds; name PICTURES and SOUNDS.")
    options = Options(backbone, sha256, round_trip, allow_missing, cache, output, batch_size, device)
    _evaluate(("image", "audio"), rows, given, options)


def _rows(
    manifest: Path | None, folders: Mapping[str, Path | None], columns: Columns
) -> tuple[dict[RowName, dict[Modality, Listing]], dict[Modality, Listing]]:
    """The rows that folders or a manifest name, in the report's order, and what they were made from."""
    from visual_echoes.evaluation.case import ROWS
    from visual_echoes.evaluation.listing import list_folder, read_manifest

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
    measured: tuple[Modality, ...],
    rows: dict[RowName, dict[Modality, Listing]],
    given: dict[Modality, Listing],
    options: Options,
) -> None:
    from visual_echoes.evaluation.case import Case
    from visual_echoes.evaluation.choose import choose
    from visual_echoes.evaluation.file_sets import evaluate_files
    from visual_echoes.evaluation.page import write_reports
    from visual_echoes.evaluation.tables import print_report

    if "real" not in rows and (len(measured) == 1 or options.round_trip is not None):
        raise EchoesError("There are no real files to compare with; name REAL, or --real for pairs.")
    if options.round_trip is not None and "round trip" in rows:
        raise EchoesError("A round trip is given as files and as a model; keep one of them.")
    chosen = choose(options.backbone or (), options.sha256 or (), measured, tuple(given))
    case = Case(measured, {row: {**sides, **given} for row, sides in rows.items()})
    with TemporaryDirectory() as folder, progress_bar("Evaluating", 1) as bar:
        if options.round_trip is not None:
            case = _with_model(case, options.round_trip, options, Path(folder))
        with explained():
            report, case = evaluate_files(
                case, chosen.backbones, lpips=chosen.lpips, allowed=options.allow_missing or (), cache=options.cache,
                progress=bar.show,
            )  # fmt: skip
        files = write_reports(report, options.output, case)
    print_report(report)
    remark(report)
    for file in files:
        say(str(file))


@contextmanager
def explained() -> Iterator[None]:
    """Name every file that cannot be used before the error that says so."""
    from visual_echoes.evaluation.case import UnusableFiles

    try:
        yield
    except UnusableFiles as error:
        for problem in error.problems:
            complain(problem.detail)
        raise


def remark(report: Report) -> None:
    """Say what must be known of a report, beside its figures."""
    for problem in report.problems:
        complain(f"Allowed: {problem.detail}")
    for warning in report.warnings:
        complain(f"Note: {warning}")


def _with_model(case: Case, model: str, options: Options, folder: Path) -> Case:
    from visual_echoes.evaluation.model_files import reconstruct_files

    echoes = load(model, options.device)

    def reconstruct(real: Listing, progress: Progress) -> Reconstruction:
        return reconstruct_files(echoes, real, folder, f"{model} of {real.source}", options.batch_size, progress)

    return replace(case, reconstruct=reconstruct, layout=echoes.layout)
