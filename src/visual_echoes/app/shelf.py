"""Examples to click for those who have no file at hand: the packaged ones, and videos of two photographs each.

Shapes: H rows, W columns.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any, Literal

import av
import gradio as gr
import numpy as np
import torch
from PIL import Image

from visual_echoes.app.service import Service
from visual_echoes.app.widgets import QUIET, Settings
from visual_echoes.audio import wave_to_mel
from visual_echoes.demo.examples import EXAMPLES
from visual_echoes.demo.page import jpeg_uri
from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path
from visual_echoes.inputs import heard_array
from visual_echoes.layout import get_layout
from visual_echoes.media.drawing import spectrogram
from visual_echoes.media.mp4 import add_video, set_size, video_packets

Kind = Literal[".png", ".wav", ".mp4"]

ITEMS: Mapping[str, Sequence[str]] = {
    "scenes": ("dog", "bird", "cat", "cow", "sheep", "water"),
    "digits": ("1", "2", "3", "5", "7", "8"),
}  # by layout
RATE, SECONDS, SIDE = 10, 3, 256  # of the videos: frames a second, length of each part, pixels
ZOOM = 0.3  # how much closer a part has come at its end
THUMBNAIL = 160  # pixels

CREDITS = "".join(
    f"\n- {examples.images.capitalize()} and {examples.sounds}: {examples.origin}." for examples in EXAMPLES.values()
)


class Shelf:
    """Lays examples where Gradio finds them.

    Args:
        folder: of visitors' files; a folder of it is the shelf.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self._service, self._folder = service, folder / "examples"

    def offer(self, chosen: Settings, takers: Mapping[Kind, Any]) -> None:
        """Place examples that fill widgets, each with a file of its kind; those that fit the model are to be seen."""
        first = next(iter(takers))
        rows = {}
        for layout, items in ITEMS.items():
            rows[layout] = gr.Dataset(
                components=[gr.HTML(render=False)], samples=[[_card(layout, item, first)] for item in items],
                type="index", label="Or click an example", elem_classes=["examples", layout],
                visible=self._fits(None, layout),
            )  # fmt: skip
            rows[layout].click(partial(self._take, layout, list(takers)), rows[layout], list(takers.values()), **QUIET)

        def choose(model: str) -> list[gr.Dataset]:
            return [gr.Dataset(visible=self._fits(model, layout)) for layout in rows]

        chosen.model.change(choose, chosen.model, list(rows.values()), **QUIET)

    def _fits(self, model: str | None, layout: str) -> bool:
        return self._service.model(model).layout.name == layout

    def _take(self, layout: str, kinds: Sequence[Kind], index: Any) -> Any:
        if index not in range(len(ITEMS[layout])):
            raise EchoesError("There is no such example.")
        paths = [str(self.file(layout, index, kind)) for kind in kinds]
        return paths if len(paths) > 1 else paths[0]

    def file(self, layout: str, index: int, kind: Kind) -> Path:
        """An example's file on the shelf."""
        item = ITEMS[layout][index]
        after = _after(layout, item)
        target = self._folder / (f"{item}-then-{after}.mp4" if kind == ".mp4" else item + kind)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(target) as path:
                if kind == ".mp4":
                    path.write_bytes(_video([_photograph(layout, name) for name in (item, after)]))
                else:
                    shutil.copyfile(EXAMPLES[layout].file(item, kind), path)
        return target


def _after(layout: str, item: str) -> str:
    """The item that follows in a video."""
    items = ITEMS[layout]
    return items[(items.index(item) + 1) % len(items)]


def _photograph(layout: str, item: str) -> Image.Image:
    return Image.open(EXAMPLES[layout].file(item, ".png")).convert("RGB")


@cache
def _card(layout: str, item: str, kind: Kind) -> str:
    """What is to be clicked, as HTML: an image, or a sound's spectrogram, above the item's name."""
    words = {name: word.removeprefix("a ") for name, word in EXAMPLES[layout].items.items()}
    said, images = words[item].capitalize(), [_photograph(layout, item)]
    if kind == ".wav":
        shape = get_layout(layout)
        wave = torch.from_numpy(heard_array(EXAMPLES[layout].file(item, ".wav"), shape))
        images = [Image.fromarray(spectrogram(wave_to_mel(wave[None], shape)[0].numpy()))]
    elif kind == ".mp4":
        after = _after(layout, item)
        said, images = f"{said}, then {words[after]}", [*images, _photograph(layout, after)]
    small = [np.asarray(image.resize((THUMBNAIL, THUMBNAIL))) for image in images]
    return f'<img src="{jpeg_uri(Image.fromarray(np.hstack(small)))}" alt=""><span>{escape(said)}</span>'


def _video(photographs: Sequence[Image.Image]) -> bytes:
    """Photographs one after the other, each coming slowly closer, as an MP4 file."""
    frames = []
    for image in photographs:
        for step in range(RATE * SECONDS):
            side = min(image.size) * (1 - ZOOM * step / (RATE * SECONDS))
            left, top = ((length - side) / 2 for length in image.size)
            frames.append(np.asarray(image.resize((SIDE, SIDE), box=(left, top, left + side, top + side))))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        track = add_video(output)
        set_size(track, SIDE, SIDE)
        output.mux([*video_packets(track, np.stack(frames), SECONDS * len(photographs))])
    return buffer.getvalue()
