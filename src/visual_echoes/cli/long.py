"""Sounds as long as a video, or as asked for, one file after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_echoes.cli.console import Bar
from visual_echoes.cli.items import Item, failure
from visual_echoes.errors import EchoesError
from visual_echoes.provenance.mark import source_name

if TYPE_CHECKING:
    from visual_echoes.pipeline import VisualEchoes


@dataclass(frozen=True)
class Long:
    """What is asked for.

    Attributes:
        seconds: length of the sound of a still image; None leaves those to others.
        mix: level in dB at which a video's own sound stays beneath; None leaves it out.
        video: whether to write the video, or the image with its sound, too.
    """

    seconds: float | None
    mix: float | None
    video: bool

    def takes(self, path: Path) -> bool:
        """Whether the sound of a file is made window by window: of every video, and of images with a length."""
        from visual_echoes.media import listed_kind

        try:
            return self.seconds is not None or listed_kind(path) == "video"
        except EchoesError:
            return False  # whoever reads it will say what is wrong


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
    from visual_echoes.inputs import fitted_image
    from visual_echoes.media import listed_kind
    from visual_echoes.soundtrack import sound_for_still, sound_for_video, write_still

    for number, item in enumerate(items, start=before):

        def report(done: int, windows: int, number: int = number) -> None:
            bar.show(number + done / windows)

        stem, at = output / item.stem, seed + item.position
        try:
            if listed_kind(item.path) == "video":
                yield sound_for_video(
                    echoes, item.path, stem, keep_video=long.video, mix_db=long.mix, seed=at, label=label,
                    report=report, **sampling,
                )  # fmt: skip
                continue
            assert long.seconds is not None
            image = fitted_image(item.path, echoes.layout)
            blocks = sound_for_still(echoes, image, long.seconds, seed=at, label=label, report=report, **sampling)
            details = {"task": "sound", "source": source_name(item.path), "seed": at, "label": label, **sampling}
            yield write_still(echoes, stem, blocks, details, image.pixels if long.video else None)
        except EchoesError as error:
            failures.append(failure(item.path, error))
