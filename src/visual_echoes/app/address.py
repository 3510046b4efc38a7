"""Settings in the page's address: read where a page opens, and kept up to date, so that it can be sent to others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from visual_echoes.app.forms import PairForm
from visual_echoes.app.views import note
from visual_echoes.app.widgets import MINE, OWN, QUIET, Settings
from visual_echoes.errors import EchoesError
from visual_echoes.model.settings import PRESETS, SamplingSettings
from visual_echoes.paths import shown

TAB = "tab"
_NAMED = 3  # of what cannot be used, at most
_LONGEST = 40  # characters of each


def keep_address(page: gr.Blocks, chosen: Settings, said: gr.HTML, tabs: gr.Tabs, each: Mapping[str, gr.Tab]) -> None:
    """Wire the settings and tabs of a page to its address.

    Args:
        said: where the page says what of an address cannot be used.
        each: tabs by the name that they have in the address.
    """

    def read(request: gr.Request) -> list[Any]:
        query = dict(request.query_params)
        values, refused = understood(query, chosen.names, list(each))
        sentence = ""
        if refused:
            named = ", ".join(refused[:_NAMED]) + (" and more" if len(refused) > _NAMED else "")
            sentence = note(f"What the address asks for cannot be used and is left out: {named}.")
        tab = values.pop(TAB, None)
        return [*chosen.updates(values), gr.Tabs(selected=tab) if tab else gr.Tabs(), sentence]

    read_once = page.load(read, None, [*chosen.outputs, tabs, said], **QUIET)
    read_once.then(None, None, None, js="() => echoes.keepAddress()")
    names = json.dumps(["model", "seed", "count", "preset", *SamplingSettings.model_fields])
    plain = json.dumps([chosen.names[0], 0, 1, OWN])
    js = f"(...values) => echoes.remember({names}, {plain}, {json.dumps(MINE)}, values)"
    gr.on([widget.change for widget in chosen.widgets], None, chosen.widgets, None, js=js)
    for name, tab in each.items():
        tab.select(None, None, None, js=f"() => echoes.turn({json.dumps(name)}, {json.dumps(next(iter(each)))})")


def understood(query: Mapping[str, str], models: tuple[str, ...], tabs: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Values by the names of form fields, the tab among them, and what of an address cannot be used."""
    values: dict[str, Any] = {}
    refused = []
    choices: dict[str, list[str]] = {"model": list(models), TAB: tabs, "preset": list(PRESETS)}
    numbers = {"seed", "count", *SamplingSettings.model_fields}
    for name, text in query.items():
        if name.startswith("__"):  # Gradio's own, such as __theme
            continue
        try:
            if name in choices and text in choices[name]:
                values[name] = text
            elif name in numbers:
                values[name] = getattr(PairForm.of(**{name: text}), name)
            else:
                raise EchoesError("There is no such setting.")
        except EchoesError:
            refused.append(shown(f"{name}={text}"[:_LONGEST]))
    return values, refused
