"""The tabs that make something whole: a sound for an image, an image for a sound, both from nothing."""

from __future__ import annotations

import gradio as gr

from visual_echoes.app import tasks
from visual_echoes.app.inputs import Inbox
from visual_echoes.app.live import Live
from visual_echoes.app.service import Service
from visual_echoes.app.widgets import QUIET, Panel, Settings
from visual_echoes.pipeline import PairOrder

_ORDERS: list[tuple[str, PairOrder]] = [
    ("Both at once", "together"),
    ("Image first", "image_first"),
    ("Sound first", "audio_first"),
]


def sound_tab(service: Service, inbox: Inbox, live: Live, chosen: Settings) -> Panel:
    """A sound for a image."""
    with gr.Row():
        picture = gr.Image(
            label="Picture", sources=["upload", "clipboard"], type="filepath", image_mode=None, height=260
        )
        seen = gr.HTML()
    panel = Panel(service, live, "Make sounds")
    gr.on([picture.change, chosen.model.change], inbox.see_image, [chosen.model, picture], seen, **QUIET)
    panel.connect(
        chosen,
        [picture],
        lambda echoes, options, values: tasks.sound_task(echoes.layout, options, inbox.need_image(values[0])),
    )
    return panel


def image_tab(service: Service, inbox: Inbox, live: Live, chosen: Settings) -> Panel:
    """An image for a sound."""
    with gr.Row():
        sound = gr.Audio(label="Sound", sources=["upload", "microphone"], type="filepath", editable=False, buttons=[])
        seen = gr.HTML()
    panel = Panel(service, live, "Make images")
    gr.on([sound.change, chosen.model.change], inbox.see_sound, [chosen.model, sound], seen, **QUIET)
    panel.connect(
        chosen,
        [sound],
        lambda echoes, options, values: tasks.image_task(echoes.layout, options, inbox.need_sound(values[0])),
    )
    return panel


def pair_tab(service: Service, live: Live, chosen: Settings) -> Panel:
    """Image and sound from nothing."""
    order = gr.Radio(_ORDERS, value="together", label="What is made first")
    panel = Panel(service, live, "Make pairs")
    panel.connect(chosen, [order], lambda echoes, options, values: tasks.pair_task(options, values[0]))
    return panel
