"""Sounds longer than a model's own, made window by window: of whole videos, and of images for so many seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visual_echoes.errors import EchoesError, collected
from visual_echoes.inputs import FittedImage
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.soundtrack import sound_for_still, sound_for_video, write_still
from visual_echoes.windows import Report, Window

# Called with the row of a variant, its windows that are done, and all of them; also before the first, with 0.
Watch = Callable[[int, int, int], None]
# Called with the row of a variant, a window of it, and the window's sound, float32 (N,).
Listen = Callable[[int, Window, np.ndarray], None]


def check_length(name: str, seconds: float, variants: int, longest: float) -> None:
    """Raise `EchoesError` where more seconds of sound are asked for, all variants together, than may be."""
    if seconds > longest:
        raise EchoesError(
            f"The sound for {name} would be {seconds:.1f} s long, more than the {longest:g} s that this server makes; "
            "ask for a shorter one."
        )
    if seconds * variants > longest:
        raise EchoesError(
            f"{variants} sounds of {seconds:.1f} s for {name} are more than the {longest:g} s that this server makes "
            "at once; ask for fewer variants."
        )


@dataclass(frozen=True)
class LongSound:
    """A sound for each seed, and with it the video or image that it is for.

    Attributes:
        source: a video, or an image as the model takes it.
        name: what its sender calls it.
        seconds: length of each sound.
        seeds: one a variant.
        settings: as for `VisualEchoes.image_to_audio`, the label among them.
        mix_db: level at which a video's own sound stays beneath; None leaves it out.
        frames: small ones of the video, at the centres of equal parts, for those who look on.
    """

    source: Path | FittedImage
    name: str
    seconds: float
    seeds: Sequence[int]
    settings: Mapping[str, Any]
    mix_db: float | None = None
    frames: Sequence[Image.Image] = ()

    def make(self, echoes: VisualEchoes, watch: Watch, listen: Listen) -> dict[str, bytes]:
        """The files of every variant; what the callbacks raise ends it, and nothing of it stays on the disk.

        Raises:
            EchoesError: as `sound_for_video`, which speaks of the sender's name instead of a path.
        """
        files = {}
        with tempfile.TemporaryDirectory(prefix="echoes-job-") as folder, self._named(folder):
            for row, seed in enumerate(self.seeds):
                made = self._write(echoes, Path(folder) / str(row + 1), seed, partial(watch, row), partial(listen, row))
                for path in made:
                    files[path.name] = path.read_bytes()
                    path.unlink()
        return files

    def _write(
        self, echoes: VisualEchoes, stem: Path, seed: int, report: Report, hear: Callable[[Window, np.ndarray], None]
    ) -> list[Path]:
        asked: dict[str, Any] = {"seed": seed, **self.settings}
        if isinstance(self.source, Path):
            return sound_for_video(
                echoes, self.source, stem, mix_db=self.mix_db, source=self.name, report=report, hear=hear, **asked
            )
        blocks = sound_for_still(echoes, self.source, self.seconds, report=report, hear=hear, **asked)
        return write_still(echoes, stem, blocks, {"task": "sound", "source": self.name, **asked}, self.source.pixels)

    @contextmanager
    def _named(self, folder: str) -> Iterator[None]:
        """Errors of the block tell nobody where the files lie; notes were taken when the video came in."""
        try:
            with collected():
                yield
        except EchoesError as error:
            raise EchoesError(str(error).replace(str(self.source), self.name).replace(f"{folder}/", "")) from error
