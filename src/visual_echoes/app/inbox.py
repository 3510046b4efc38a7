"""The page's images and sounds on their way in: from Gradio's upload to what the model sees of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visual_echoes.app.long import check_length
from visual_echoes.app.long_views import timeline
from visual_echoes.app.plots import Plot
from visual_echoes.app.service import Service
from visual_echoes.app.timeline import small_frames
from visual_echoes.app.uploads import PageFile, read_file, shown_name
from visual_echoes.app.views import problem, seen
from visual_echoes.demo.page import jpeg_uri
from visual_echoes.errors import EchoesError, collected
from visual_echoes.inputs import heard_array, image_array
from visual_echoes.media import read_image
from visual_echoes.media.remux import video_seconds
from visual_echoes.pipeline import VisualEchoes

PHOTOGRAPH = 1024  # pixels of the longer side at most, where an image is shown in its own quality


class Inbox:
    """Takes what Gradio has stored.

    Args:
        folder: where Gradio stores what visitors send; nothing else is read.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self._service, self._folder = service, folder.resolve()

    def file(self, sent: Any) -> PageFile | None:
        """The file in a widget; None if it is empty."""
        if sent is None:
            return None
        path = Path(str(sent.get("path"))) if isinstance(sent, Mapping) else Path()
        if not path.resolve().is_relative_to(self._folder):
            raise EchoesError("This is no file that was sent to this page; send it again.")
        return PageFile(path, str(sent.get("orig_name") or path.name))

    def need(self, sent: Any, what: str) -> PageFile:
        """The file in a widget that must not be empty."""
        file = self.file(sent)
        if file is None:
            raise EchoesError(f"Give {what} first.")
        return file

    def fitted_image(self, model: str, sent: Any) -> np.ndarray | None:
        """The image as the model takes it, uint8 (H, W, C); None if the widget is empty."""
        return self._read(model, sent, lambda echoes: partial(image_array, layout=echoes.layout))

    def see_image(self, model: str, sent: Any) -> str:
        """What the model sees of an image, or what is wrong with it, as HTML."""
        try:
            pixels = self.fitted_image(model, sent)
        except EchoesError as error:
            return problem(str(error))
        return "" if pixels is None else seen(pixels)

    def photograph(self, model: str, sent: Any) -> str:
        """The image in its own quality, as far as a screen shows it, as a data URI; "" for what is none."""
        try:
            file = self.need(sent, "an image")
            image = self._service.read(model, lambda _: read_file(file, read_image))
        except EchoesError:
            return ""  # the form says what is wrong
        image.thumbnail((PHOTOGRAPH, PHOTOGRAPH))
        return jpeg_uri(image)

    def see_sound(self, model: str, sent: Any, stretch: tuple[float, float] = (0, 0)) -> str:
        """What the model hears of a sound, with a stretch marked in seconds, or what is wrong with it, as HTML."""
        try:
            with collected() as notes:
                wave = self._read(model, sent, lambda echoes: partial(heard_array, layout=echoes.layout))
        except EchoesError as error:
            return problem(str(error))
        if wave is None:
            return ""
        echoes = self._service.model(model)
        layout = echoes.layout
        mel_MT = echoes.codec.mels(wave[np.newaxis])[0].cpu().numpy()
        first = layout.mel_offset * layout.hop
        kept = wave[first : first + layout.samples]
        marked = stretch[0] - layout.sound_start, stretch[1] - layout.sound_start
        plot = Plot("what the model hears", layout, mel_MT, kept, marked=marked).html()
        caption = f"<figcaption>the {layout.seconds:g} seconds that the model hears</figcaption>"
        return f'{"".join(map(problem, notes))}<figure class="heard">{plot}{caption}</figure>'

    def see_video(self, model: str, sent: Any) -> str:
        """Frames of a video on the timeline of its sound to be, or what is wrong with it, as HTML."""

        def read(path: Path) -> tuple[list[Image.Image], float]:
            return small_frames(path), video_seconds(path)[1]

        try:
            file = self.file(sent)
            if file is None:
                return ""
            frames, seconds = self._service.read(model, lambda _: read_file(file, read))
            check_length(shown_name(file.filename), seconds, 1, self._service.longest)
        except EchoesError as error:
            return problem(str(error))
        return timeline(frames, seconds, np.zeros(0, np.float32), self._service.model(model).layout)

    def _read(
        self, model: str, sent: Any, reader: Callable[[VisualEchoes], Callable[[Path], np.ndarray]]
    ) -> np.ndarray | None:
        file = self.file(sent)
        return None if file is None else self._service.read(model, lambda echoes: read_file(file, reader(echoes)))
