"""The page's images and sounds on their way in: from Gradio's upload to what the model sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visual_echoes.app.cards import image_view, problem, sound_view
from visual_echoes.app.service import Service
from visual_echoes.app.uploads import Upload, shown_name
from visual_echoes.errors import EchoesError, collected
from visual_echoes.inputs import heard_array, image_array
from visual_echoes.pipeline import VisualEchoes


class Inbox:
    """Takes what Gradio has stored.

    Args:
        folder: where Gradio stores what visitors send; nothing else is read.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self._service, self._folder = service, folder.resolve()

    def picture(self, sent: Any) -> Upload | None:
        """The image in a widget; None if it is empty."""
        return None if sent is None else Upload(self._path(sent), shown_name(_name(sent)))

    def sound(self, sent: Any) -> Upload | None:
        """The sound in a widget; None if it is empty."""
        return None if sent is None else Upload(self._path(sent), shown_name(_name(sent)))

    def need_image(self, sent: Any) -> Upload:
        """The image in a widget that must not be empty."""
        return _needed(self.picture(sent), "Give an image first.")

    def need_sound(self, sent: Any) -> Upload:
        """The sound in a widget that must not be empty."""
        return _needed(self.sound(sent), "Give a sound first.")

    def fitted_image(self, model: str, sent: Any) -> np.ndarray | None:
        """The image as the model takes it, uint8 (H, W, C)."""
        upload = self.picture(sent)
        if upload is None:
            return None
        return self._service.read(model, lambda echoes: upload.read(partial(image_array, layout=echoes.layout)))

    def fitted_mel(self, model: str, sent: Any) -> np.ndarray | None:
        """The log-mel (M, T) of the sound as the model takes it."""
        upload = self.sound(sent)

        def mel(echoes: VisualEchoes) -> np.ndarray:
            assert upload is not None
            wave = upload.read(partial(heard_array, layout=echoes.layout))
            return echoes.codec.mels(wave[np.newaxis])[0].cpu().numpy()

        return None if upload is None else self._service.read(model, mel)

    def see_image(self, model: str, sent: Any) -> str:
        """What the model sees of an image, or what is wrong with it, as HTML."""
        try:
            pixels = self.fitted_image(model, sent)
        except EchoesError as error:
            return problem(str(error))
        return "" if pixels is None else _seen(image_view(pixels, "what the model sees"), "what the model sees")

    def see_sound(self, model: str, sent: Any, stretch: tuple[float, float] = (0, 0)) -> str:
        """What the model hears of a sound, with a stretch marked in seconds, or what is wrong with it, as HTML."""
        try:
            with collected() as notes:
                mel_MT = self.fitted_mel(model, sent)
        except EchoesError as error:
            return problem(str(error))
        if mel_MT is None:
            return ""
        seconds = self._service.model(model).layout.seconds
        left, right = (100 * min(max(edge, 0.0), seconds) / seconds for edge in stretch)
        mark = f'<div class="mark" style="left:{left:.1f}%;width:{right - left:.1f}%"></div>' if left < right else ""
        view = f'<div class="stretch">{sound_view(mel_MT, "what the model hears")}{mark}</div>'
        return "".join(map(problem, notes)) + _seen(view, f"the {seconds:g} seconds that the model hears")

    def _path(self, sent: Any) -> Path:
        path = Path(str(sent.get("path"))) if isinstance(sent, Mapping) else Path()
        if not path.resolve().is_relative_to(self._folder):
            raise EchoesError("This is no file that was sent to this page; send it again.")
        return path


def _name(sent: Mapping[str, Any]) -> str:
    return str(sent.get("orig_name") or Path(str(sent["path"])).name)


def _needed(upload: Upload | None, sentence: str) -> Upload:
    if upload is None:
        raise EchoesError(sentence)
    return upload


def _seen(view: str, caption: str) -> str:
    return f'<figure class="seen">{view}<figcaption>{caption}</figcaption></figure>'
