"""The tabs that make something: a sound for an image, an image for a sound, a sound for a video, pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from visual_echoes.app.forms import PairForm, PictureForm, SoundForm, WatchedForm
from visual_echoes.app.limits import MIX_DB
from visual_echoes.app.panel import Common, Panel
from visual_echoes.app.widgets import COLUMN, QUIET, image_input, sound_input
from visual_echoes.pipeline import PairOrder

_ORDERS: list[tuple[str, PairOrder]] = [
    ("Both at once", "together"),
    ("Image first", "image_first"),
    ("Sound first", "audio_first"),
]
_BENEATH = -12.0  # dB at which a video's own sound is kept at first


def sound_tab(common: Common) -> Panel:
    """A sound for an image."""
    with gr.Row():
        with gr.Column(**COLUMN):
            image = image_input()
            seen = gr.HTML()
        with gr.Column(**COLUMN):
            common.shelf.offer(common.chosen, {".png": image})
    panel = Panel(common, "sound", "Make sounds")
    gr.on(
        [image.change, common.chosen.model.change], common.inbox.see_image, [common.chosen.model, image], seen, **QUIET
    )
    panel.connect(
        [image], lambda asked, given: SoundForm.of(**asked, image=common.inbox.need(given[0], "an image")),
        lambda model, given: common.inbox.photograph(model, given[0]),
    )  # fmt: skip
    return panel


def picture_tab(common: Common) -> Panel:
    """An image for a sound."""
    with gr.Row():
        with gr.Column(**COLUMN):
            sound = sound_input()
            seen = gr.HTML()
        with gr.Column(**COLUMN):
            common.shelf.offer(common.chosen, {".wav": sound})
    panel = Panel(common, "picture", "Make images")
    gr.on(
        [sound.change, common.chosen.model.change], common.inbox.see_sound, [common.chosen.model, sound], seen, **QUIET
    )
    panel.connect([sound], lambda asked, given: PictureForm.of(**asked, sound=common.inbox.need(given[0], "a sound")))
    return panel


def video_tab(common: Common) -> Panel:
    """A sound for the whole of a video."""
    longest = f"Up to {common.service.longest:g} seconds."
    with gr.Row():
        with gr.Column(**COLUMN):
            video = gr.Video(label="Video", sources=["upload", "webcam"], buttons=[], elem_classes="video")
        with gr.Column(**COLUMN):
            common.shelf.offer(common.chosen, {".mp4": video})
    gr.Markdown(f"The sound will be as long as the video, which comes back with it. {longest}")
    with gr.Row():
        keep = gr.Checkbox(label="Keep the video's own sound beneath")
        level = gr.Slider(*MIX_DB, _BENEATH, step=1, label="Level of its own sound in dB", visible=False)
    panel = Panel(common, "video", "Make the sound")
    keep.change(lambda kept: gr.Slider(visible=kept), keep, level, **QUIET)
    gr.on(
        [video.change, common.chosen.model.change],
        common.inbox.see_video,
        [common.chosen.model, video],
        panel.drawn,
        **QUIET,
    )

    def build(asked: dict[str, Any], given: Sequence[Any]) -> WatchedForm:
        sent, kept, level = given
        return WatchedForm.of(**asked, image=common.inbox.need(sent, "a video"), mix_db=level if kept else None)

    panel.connect([video, keep, level], build)
    return panel


def pair_tab(common: Common) -> Panel:
    """Image and sound from nothing."""
    order = gr.Radio(_ORDERS, value="together", label="What is made first")
    panel = Panel(common, "pair", "Make pairs")
    panel.connect([order], lambda asked, given: PairForm.of(**asked, pair_order=given[0]))
    return panel
