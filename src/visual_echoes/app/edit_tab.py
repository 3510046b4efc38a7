"""The tab that edits: what is painted over or marked is inpainted, a sound goes on, a result is varied.

The image is painted on in the model's own grain: token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from visual_echoes.app.forms import ContinueForm, JobForm, PaintedForm, Side, VaryForm
from visual_echoes.app.inbox import Inbox
from visual_echoes.app.panel import Common, Panel
from visual_echoes.app.views import coloured_png
from visual_echoes.app.widgets import COLUMN, QUIET, image_input, sound_input
from visual_echoes.demo.page import data_uri
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout

FILL, CONTINUE, VARY = "Fill in what is marked", "Continue the sound", "Vary"
_SIDES: list[tuple[str, Side]] = [("Image", "image"), ("Sound", "sound"), ("Both", "both")]


def edit_tab(common: Common) -> tuple[Panel, tuple[gr.Image, gr.Audio]]:
    """Editing; what is not given is made along. The panel, and where another tab's result goes."""
    service, inbox, chosen = common.service, common.inbox, common.chosen
    layout = service.model().layout
    with gr.Row():
        with gr.Column(**COLUMN):
            image = image_input()
        with gr.Column(**COLUMN):
            sound = sound_input()
    common.shelf.offer(chosen, {".png": image, ".wav": sound})
    what = gr.Radio([FILL, CONTINUE, VARY], value=FILL, label="What to do")
    with gr.Row() as fill:
        with gr.Column(**COLUMN):
            paint = gr.CheckboxGroup(
                _tokens(layout),
                label="Paint over what is to be made anew",
                elem_classes="paint",
                info="Click or draw; by keyboard: Tab and Space.",
            )
            clear = gr.Button("Clear the painting", size="sm")
            style = gr.HTML(_paint_style(layout, None))
        with gr.Column(**COLUMN):
            start = gr.Slider(0, layout.seconds, 0, step=0.01, label="Make the sound anew from second")
            end = gr.Slider(0, layout.seconds, 0, step=0.01, label="to second")
            heard = gr.HTML()
    with gr.Row(visible=False) as onwards:
        keep = gr.Slider(0, layout.seconds, layout.seconds / 2, step=0.01, label="Seconds kept of the sound's end")
    with gr.Row(visible=False) as vary:
        side = gr.Radio(_SIDES, value="sound", label="What is varied")
        share = gr.Slider(0.05, 1, 0.5, step=0.05, label="Share that is made anew")
    panel = Panel(common, "edit", "Edit")

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
        return _paint_style(
            service.model(model).layout, None if pixels is None else data_uri("image/png", coloured_png(pixels))
        )

    def fit(model: str) -> list[Any]:
        layout = service.model(model).layout
        stretch = [gr.Slider(maximum=layout.seconds, value=value) for value in (0, 0, layout.seconds / 2)]
        return [gr.CheckboxGroup(choices=_tokens(layout), value=[]), *stretch]

    gr.on([image.change, chosen.model.change], see, [chosen.model, image], style, **QUIET)
    chosen.model.change(fit, chosen.model, [paint, start, end, keep], **QUIET)
    gr.on(
        [sound.change, chosen.model.change, start.change, end.change],
        lambda model, sent, start, end: inbox.see_sound(model, sent, (start or 0, end or 0)),
        [chosen.model, sound, start, end], heard, trigger_mode="always_last", **QUIET,
    )  # fmt: skip

    def build(asked: dict[str, Any], given: Sequence[Any]) -> JobForm:
        return _form(inbox, asked, given)

    panel.connect([image, sound, what, paint, start, end, keep, side, share], build)
    return panel, (image, sound)


def _form(inbox: Inbox, asked: dict[str, Any], given: Sequence[Any]) -> JobForm:
    sent_image, sent_sound, what, painted, start, end, keep, side, share = given
    if None in (start, end, keep, share):
        raise EchoesError("A number is missing; fill in every field.")
    image = inbox.file(sent_image)
    if what == CONTINUE:
        return ContinueForm.of(**asked, image=image, sound=inbox.need(sent_sound, "a sound"), keep=keep)
    asked |= {"image": image, "sound": inbox.file(sent_sound)}
    if what == VARY:
        return VaryForm.of(**asked, side=side, share=share)
    stretch = {"start": start, "end": end} if start < end else {}
    return PaintedForm.of(**asked, painted=painted, **stretch)


def _tokens(layout: Layout) -> list[tuple[str, int]]:
    """What each token of the image is called, and its number."""
    columns = layout.image_grid[1]
    return [
        (f"row {token // columns + 1}, column {token % columns + 1}", token) for token in range(layout.image_tokens)
    ]


def _paint_style(layout: Layout, background: str | None) -> str:
    """How the tokens to paint on lie: in the columns of their grid, over an image (a data URI) if there is one."""
    columns = layout.image_grid[1]
    image = f'background-image: url("{background}");' if background else ""
    grid = ".paint [data-testid=checkbox-group]"
    return f"<style>{grid} {{ grid-template-columns: repeat({columns}, 1fr); {image} }}</style>"
