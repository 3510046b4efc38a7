"""What is made window by window, of any length: the sound of a video or an image, and the images of a sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from visual_echoes.cli.console import Bar
from visual_echoes.cli.items import Item, check_names, failure
from visual_echoes.errors import EchoesError
from visual_echoes.provenance.mark import source_name

if TYPE_CHECKING:
    from visual_echoes.pipeline import VisualEchoes


class Long(Protocol):
    """What is asked for of files that are made one after the other."""

    def takes(self, path: Path) -> bool:
        """Whether a file is made window by window; the others are made in batches."""

    def suffixes(self, path: Path) -> Sequence[str]:
        """Those of the files that are made of one."""

    def make(self, echoes: VisualEchoes, path: Path, stem: Path, **options: Any) -> list[Path]:
        """Make them; the options are seed, label, report and sampling settings."""


@dataclass(frozen=True)
class LongSound:
    """Sounds as long as a video, or as asked for.

    Attributes:
        seconds: length of the sound of a still image; None leaves those to others.
        mix: level in dB at which a video's own sound stays beneath; None leaves it out.
        video: whether to write the video, or the image with its sound, too.
    """

    seconds: float | None
    mix: float | None
    video: bool

    def takes(self, path: Path) -> bool:
        """Every video, and images with a length."""
        return self.seconds is not None or _is_video(path)

    def suffixes(self, path: Path) -> Sequence[str]:
        """The video's is that of a file that can hold its frames as they are."""
        from visual_echoes.media.remux import suffix_of_copy

        if not self.video:
            return [".wav"]
        try:
            return [".wav", suffix_of_copy(path) if _is_video(path) else ".mp4"]
        except EchoesError:
            return [".wav", ".mp4"]  # whoever reads it will say what is wrong

    def make(self, echoes: VisualEchoes, path: Path, stem: Path, **options: Any) -> list[Path]:
        from visual_echoes.inputs import fitted_image
        from visual_echoes.soundtrack import sound_for_still, sound_for_video, write_still

        if _is_video(path):
            return sound_for_video(echoes, path, stem, keep_video=self.video, mix_db=self.mix, **options)
        assert self.seconds is not None
        image = fitted_image(path, echoes.layout)
        blocks = sound_for_still(echoes, image, self.seconds, **options)
        del options["report"]
        details = {"task": "sound", "source": source_name(path), **options}
        return write_still(echoes, stem, blocks, details, image.pixels if self.video else None)


@dataclass(frozen=True)
class Storyboard:
    """An image for each window of a sound; `video` says whether to write them with the sound, too."""

    video: bool

    def takes(self, path: Path) -> bool:
        return True

    def suffixes(self, path: Path) -> Sequence[str]:
        return [".png", ".mp4"] if self.video else [".png"]

    def make(self, echoes: VisualEchoes, path: Path, stem: Path, **options: Any) -> list[Path]:
        from visual_echoes.storyboard import storyboard

        return storyboard(echoes, path, stem, keep_video=self.video, **options)


def make_long(
    echoes: VisualEchoes,
    items: Sequence[Item],
    long: Long,
    output: Path,
    seed: int,
    label: str | None,
    sampling: dict[str, Any],
    bar: Bar,
    before: int,
    failures: list[str],
) -> Iterator[list[Path]]:
    """The files of each item; one that cannot be used is noted among the failures.

    Args:
        before: items that the bar shows as done.
    """
    for number, item in enumerate(items, start=before):

        def report(done: int, windows: int, number: int = number) -> None:
            bar.show(number + done / windows)

        try:
            check_names(item, output, long.suffixes(item.path))
            yield long.make(
                echoes, item.path, output / item.stem, seed=seed + item.position, label=label, report=report, **sampling
            )
        except EchoesError as error:
            failures.append(failure(item.path, error))


def _is_video(path: Path) -> bool:
    from visual_echoes.media import listed_kind

    try:
        return listed_kind(path) == "video"
    except EchoesError:
        return False  # whoever reads it will say what is wrong
