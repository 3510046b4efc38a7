"""What the tabs of the page share: how their events are wired, how wide columns are, and the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import gradio as gr

from visual_echoes.app.forms import SAMPLING_LIMITS
from visual_echoes.app.limits import MAX_VARIANTS
from visual_echoes.app.service import Service
from visual_echoes.model.settings import PRESETS, SamplingSettings, limits

# Files reach the handlers undecoded (`preprocess`): only `visual_echoes.media` decodes them, within its limits.
QUIET: dict[str, Any] = {
    "preprocess": False, "show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private",
}  # fmt: skip
OWN, MINE = "The model's own", "My own"
COLUMN: dict[str, Any] = {"min_width": 320}  # pixels below which a column takes a row of its own


def image_input() -> gr.Image:
    """Takes an image; it is decoded by nobody but the forms."""
    return gr.Image(
        label="Image",
        sources=["upload", "clipboard", "webcam"],
        type="filepath",
        image_mode=None,
        height=260,
        format="png",
    )


def sound_input() -> gr.Audio:
    """Takes a sound."""
    return gr.Audio(label="Sound", sources=["upload", "microphone"], type="filepath", editable=False, buttons=[])


class Settings:
    """The widgets below the tabs, folded away: which model, and how it samples, each sampling setting among them.

    Attributes:
        model: its name.
        names: of all models.
        widgets: all of them, in the order in which `read` takes their values.
        outputs: the same and what shows and hides some; only once they are placed.
    """

    def __init__(self, service: Service) -> None:
        self.model = gr.Dropdown(list(service.names), value=service.names[0], label="Model", render=False)
        seed = gr.Number(
            0, label="Seed", precision=0, minimum=0, info="The same seed makes the same again.", render=False
        )
        count = gr.Slider(1, MAX_VARIANTS, 1, step=1, label="Variants", render=False)
        presets: list[str | tuple[str, str]] = [OWN, *((name.capitalize(), name) for name in PRESETS), MINE]
        preset = gr.Radio(presets, value=OWN, label="Sampling settings", render=False)
        mine = [_widget(name) for name in SamplingSettings.model_fields]
        self.widgets: list[Any] = [self.model, seed, count, preset, *mine]
        self.names = service.names
        self._service = service

    def place(self) -> None:
        """Put them where the page is being laid out; the tabs before them take their values, too."""
        model, seed, count, preset, *mine = self.widgets
        with gr.Accordion("Settings", open=False, elem_classes="settings"):
            with gr.Row():
                for widget in (model, seed, count, preset):
                    widget.render()
            with gr.Row(visible=False) as row:
                for widget in mine:
                    widget.render()
        self.outputs = [*self.widgets, row]

        def show(preset: str, name: str) -> list[Any]:
            return [gr.Row(visible=preset == MINE), *self._service.model(name).defaults.model_dump().values()]

        # Whoever turns to settings of their own goes on from the model's.
        gr.on([preset.input, model.input], show, [preset, model], [row, *mine], **QUIET)

    def updates(self, values: Mapping[str, Any]) -> list[Any]:
        """What `outputs` become where some settings are asked for, by the names of form fields."""
        model = values.get("model", self.names[0])
        own = self._service.model(model).defaults.model_dump()
        mine = not own.keys().isdisjoint(values)
        preset = MINE if mine else values.get("preset", OWN)
        sampling = [values.get(name, value) for name, value in own.items()]
        return [model, values.get("seed", 0), values.get("count", 1), preset, *sampling, gr.Row(visible=mine)]

    @staticmethod
    def read(values: Sequence[Any]) -> dict[str, Any]:
        """What forms take."""
        model, seed, count, preset, *mine = values
        if preset == MINE:
            sampling = dict(zip(SamplingSettings.model_fields, mine, strict=True))
        else:
            sampling = {"preset": None if preset == OWN else preset}
        return {"model": model, "seed": seed, "count": count, **sampling}


def _widget(name: str) -> gr.Slider | gr.Radio:
    """For a sampling setting; a slider goes to ten times the paper's value, unless that is 0, as far as is allowed."""
    field = SamplingSettings.model_fields[name]
    low, high = limits(name)
    if low is None or high is None:
        choices = list(get_args(field.annotation))
        return gr.Radio(choices, value=field.default, label=field.title, info=field.description, render=False)
    most = min(high, 10 * field.default or high, SAMPLING_LIMITS.get(name, high))
    step = 1 if field.annotation is int else None
    return gr.Slider(low, most, field.default, step=step, label=field.title, info=field.description, render=False)
