"""The tab that edits: what is painted over or marked is made anew, a sound goes on, a result is varied.

The image is painted on in the model's own grain: a place is a token, and whole tokens are made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from visual_echoes.app import tasks
from visual_echoes.app.cards import image_source
from visual_echoes.app.inputs import Inbox
from visual_echoes.app.jobs import Task
from visual_echoes.app.live import Live
from visual_echoes.app.service import Service
from visual_echoes.app.style import paint_style
from visual_echoes.app.tasks import Options
from visual_echoes.app.widgets import QUIET, Panel, Settings
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.pipeline import VisualEchoes

FILL, CONTINUE, VARY = "Fill in what is marked", "Continue the sound", "Vary"
_SIDES: list[tuple[str, tasks.Side]] = [("Picture", "picture"), ("Sound", "sound"), ("Both", "both")]


@dataclass(frozen=True)
class EditInputs:
    """Where another tab's result goes."""

    picture: gr.Image
    sound: gr.Audio


def edit_tab(service: Service, inbox: Inbox, live: Live, chosen: Settings) -> tuple[Panel, EditInputs]:
    """Editing; what is not given is made along."""
    layout = service.model().layout
    with gr.Row():
        picture = gr.Image(
            label="Picture", sources=["upload", "clipboard"], type="filepath", image_mode=None, height=260, format="png"
        )
        sound = gr.Audio(label="Sound", sources=["upload", "microphone"], type="filepath", editable=False, buttons=[])
    what = gr.Radio([FILL, CONTINUE, VARY], value=FILL, label="What to do")
    with gr.Row() as fill:
        with gr.Column():
            paint = gr.CheckboxGroup(
                _places(layout),
                label="Paint over what is to be made anew",
                elem_classes="paint",
                info="Click or draw; by keyboard: Tab and Space.",
            )
            clear = gr.Button("Clear the painting", size="sm")
            style = gr.HTML(paint_style(layout, None))
        with gr.Column():
            start = gr.Slider(0, layout.seconds, 0, step=0.01, label="Make the sound anew from second")
            end = gr.Slider(0, layout.seconds, 0, step=0.01, label="to second")
            heard = gr.HTML()
    with gr.Row(visible=False) as onwards:
        keep = gr.Slider(0, layout.seconds, layout.seconds / 2, step=0.01, label="Seconds kept of the sound's end")
    with gr.Row(visible=False) as vary:
        side = gr.Radio(_SIDES, value="sound", label="What is varied")
        share = gr.Slider(0.05, 1, 0.5, step=0.05, label="Share that is made anew")
    panel = Panel(service, live, "Edit")

    what.change(
        lambda chosen: [gr.Row(visible=chosen == name) for name in (FILL, CONTINUE, VARY)],
        what,
        [fill, onwards, vary],
        **QUIET,
    )
    clear.click(list, None, paint, **QUIET)

    def see(model: str, sent: Any) -> str:
        try:
            pixels = inbox.fitted_image(model, sent)
        except EchoesError:
            pixels = None  # the button says what is wrong
        return paint_style(service.model(model).layout, None if pixels is None else image_source(pixels))

    def fit(model: str) -> list[Any]:
        layout = service.model(model).layout
        stretch = [gr.Slider(maximum=layout.seconds, value=value) for value in (0, 0, layout.seconds / 2)]
        return [gr.CheckboxGroup(choices=_places(layout), value=[]), *stretch]

    gr.on([picture.change, chosen.model.change], see, [chosen.model, picture], style, **QUIET)
    chosen.model.change(fit, chosen.model, [paint, start, end, keep], **QUIET)
    gr.on(
        [sound.change, chosen.model.change, start.change, end.change],
        lambda model, sent, start, end: inbox.see_sound(model, sent, (start or 0, end or 0)),
        [chosen.model, sound, start, end], heard, trigger_mode="always_last", **QUIET,
    )  # fmt: skip

    def build(echoes: VisualEchoes, options: Options, values: Sequence[Any]) -> Task:
        return _task(inbox, echoes.layout, options, values)

    panel.connect(chosen, [picture, sound, what, paint, start, end, keep, side, share], build)
    return panel, EditInputs(picture, sound)


def _task(inbox: Inbox, layout: Layout, options: Options, values: Sequence[Any]) -> Task:
    sent_image, sent_sound, what, painted, start, end, keep, side, share = values
    if None in (start, end, keep, share):
        raise EchoesError("A number is missing; fill in every field.")
    picture, sound = inbox.picture(sent_image), inbox.sound(sent_sound)
    if what == CONTINUE:
        return tasks.continue_task(layout, options, picture, inbox.need_sound(sent_sound), keep)
    if what == VARY:
        return tasks.vary_task(layout, options, picture, sound, side, share)
    mask_hw = np.isin(np.arange(layout.image_tokens), painted).reshape(layout.image_grid)
    return tasks.fill_task(layout, options, picture, sound, mask_hw, (start, end) if start < end else None)


def _places(layout: Layout) -> list[tuple[str, int]]:
    """What each place of the image is called, and its number."""
    columns = layout.image_grid[1]
    return [
        (f"row {place // columns + 1}, column {place % columns + 1}", place) for place in range(layout.image_tokens)
    ]
