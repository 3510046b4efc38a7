"""The commands `data`: prepare arrays for training and evaluation, and look at their augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visual_echoes.cli.console import needs_extra, progress_bar, say, working

if TYPE_CHECKING:
    from visual_echoes.data.classes import Counts

DIGITS_SOURCE = Path("data/digits")
DIGITS_DATA = Path("data/prepared/digits")
DIGITS_CLIPS = Path("data/digits-in-time")
SCENES_LISTS = Path("data/scenes")
SCENES_DATA = Path("data/prepared/scenes")
SCENES_CLIPS = Path("data/scenes-in-time")

data = typer.Typer(no_args_is_help=True, help="Prepare data for training and evaluation.")

SourceOption = Annotated[Path, typer.Option("--source", help="Folder with images.npz and spoken.tar.gz.")]
ClipsOption = Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")]
TrainOption = Annotated[int, typer.Option("--train", min=1, help="Clips for training.")]
ValidOption = Annotated[int, typer.Option("--valid", min=1, help="Clips for validation.")]
TestOption = Annotated[int, typer.Option("--test", min=1, help="Clips for testing, of data of their own.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="What the clips are drawn with.")]


@data.command("digits")
def prepare_digits(
    source: SourceOption = DIGITS_SOURCE,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = DIGITS_DATA,
    layout: Annotated[str, typer.Option("--layout", help="Layout to fit the digits to.")] = "digits",
) -> None:
    """Prepare handwritten and spoken digits: training, validation and test split."""
    from visual_echoes.data import digits
    from visual_echoes.layout import get_layout

    with working("Preparing digits"):
        counts = digits.prepare_digits(source, output, get_layout(layout))
    _say_counts({output: counts})


@data.command("digits-in-time")
def make_digits_in_time(
    source: SourceOption = DIGITS_SOURCE,
    output: ClipsOption = DIGITS_CLIPS,
    layout: Annotated[
        str, typer.Option("--layout", help="Layout whose image size, rate and length the clips have.")
    ] = "digits-in-time",
    train: TrainOption = 6000,
    valid: ValidOption = 200,
    test: TestOption = 500,
    seed: SeedOption = 0,
) -> None:
    """Make videos of digits that appear one after another and are spoken as they appear, with the time of each.

    Writes clips/, events.jsonl (of all), truth.jsonl (of the test clips, whose speaker is heard in no other) and
    splits.csv; `echoes prepare` goes on.
    """
    from visual_echoes.data import digits_in_time
    from visual_echoes.layout import get_layout

    with progress_bar("Making clips", 1) as bar:
        digits_in_time.make_digits_in_time(
            source, output, get_layout(layout), {"train": train, "valid": valid, "test": test}, seed, bar.show
        )
    say(str(output))


@data.command("scenes")
def prepare_scenes(
    images: Annotated[
        Path, typer.Option("--images", help="Folder with train, test and more images (*.tar.xz), and sounds.tar.")
    ],
    sounds: Annotated[
        Path | None,
        typer.Option(
            "--sounds", show_default="ESC-50, downloaded", help="Folder with sounds.tar, more_sounds.tar, their lists."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; NAME-images and NAME-sounds beside it.")
    ] = SCENES_DATA,
    layout: Annotated[str, typer.Option("--layout", help="Layout to fit images and sounds to.")] = "scenes",
    lists: Annotated[Path, typer.Option("--lists", help="For the download: the lists of sounds.")] = SCENES_LISTS,
    accept_unverified: Annotated[
        bool, typer.Option("--accept-unverified", help="Take a download of sounds that no checksum vouches for.")
    ] = False,
) -> None:
    """Prepare photographs and recordings of 21 kinds.

    Without --sounds, ESC-50 (600 MB) is downloaded to `downloads` beside the output.
    """
    from visual_echoes.data import archives, originals, scenes
    from visual_echoes.layout import get_layout

    chosen, esc50 = get_layout(layout), None
    if sounds is None:
        with progress_bar("Downloading", 1) as bar:
            downloads = output.with_name("downloads")
            esc50 = archives.fetch(originals.ESC50, downloads, bar.show, accept_unverified=accept_unverified)
    with progress_bar("Preparing", 1) as bar, scenes.unpacked(images, sounds or lists, esc50) as copies:
        _say_counts(scenes.prepare_scenes(copies, output, chosen, bar.show))


@data.command("scenes-in-time")
def make_scenes_in_time(
    prepared: Annotated[Path, typer.Option("--data", help="Prepared data, as `echoes data scenes` writes it.")] = (
        SCENES_DATA
    ),
    output: ClipsOption = SCENES_CLIPS,
    layout: Annotated[str, typer.Option("--layout", help="Layout that the data was prepared for.")] = "scenes",
    train: TrainOption = 2000,
    valid: ValidOption = 100,
    test: TestOption = 200,
    seed: SeedOption = 0,
) -> None:  # fmt: skip
    """Make videos of scenes that follow one another at cuts, each with a sound of its kind, with the time of each cut.

    Writes clips/, events.jsonl (of all), truth.jsonl (the cuts of the test clips) and splits.csv; `echoes prepare`
    goes on.
    """
    from visual_echoes.data import scenes_in_time
    from visual_echoes.layout import get_layout

    with progress_bar("Making clips", 1) as bar:
        scenes_in_time.make_scenes_in_time(
            prepared, output, get_layout(layout), {"train": train, "valid": valid, "test": test}, seed, bar.show
        )
    say(str(output))


@data.command("classes")
def prepare_classes(
    folder: Annotated[Path, typer.Argument(help="A folder with pictures/CLASS/... and sounds/CLASS/...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; made if needed.")],
    layout: Annotated[str, typer.Option("--layout", help="Layout to fit images and sounds to.")] = "scenes",
    valid_share: Annotated[float, typer.Option("--valid-share", min=0, max=1, help="Of files, by name.")] = 0.1,
    test_share: Annotated[float, typer.Option("--test-share", min=0, max=1, help="Of files, by name.")] = 0.1,
) -> None:
    """Prepare class folders of your own; what cannot be used is left out, counted, and listed in rejected.csv."""
    from visual_echoes.data.class_folders import prepare_class_folder
    from visual_echoes.layout import get_layout

    with progress_bar("Preparing", 1) as bar:
        prepared = prepare_class_folder(folder, output, get_layout(layout), valid_share, test_share, bar.show)
    _say_counts({output: prepared.counts})
    for reason, count in prepared.reasons.most_common():
        say(f"left out: {count} {reason.value} ({reason.meaning})")


@data.command("sheet")
def contact_sheet(
    recipe: Annotated[Path, typer.Argument(help="A recipe, for instance one of recipes/scenes.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="What the variations are drawn with.")] = 0,
) -> None:
    """Show how a recipe varies its training images and sounds: each row plain first, then varied."""
    with needs_extra("train"):
        from visual_echoes.training.contact_sheet import write_contact_sheet
        from visual_echoes.training.recipe import read_recipe

    with working("Drawing the sheet"):
        write_contact_sheet(read_recipe(recipe), output, seed)
    say(str(output))


def _say_counts(written: Mapping[Path, Counts]) -> None:
    for folder, counts in written.items():
        for split, (images, sounds) in counts.items():
            say(f"{folder / split}.safetensors: {images} images, {sounds} sounds")
