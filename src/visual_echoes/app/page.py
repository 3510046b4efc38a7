"""The page: five tabs, the settings below them, and nothing that is fetched from another server."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from fastapi import FastAPI
from gradio import processing_utils

from visual_echoes.app.address import keep_address
from visual_echoes.app.edit_tab import edit_tab
from visual_echoes.app.grids import TokenGrids
from visual_echoes.app.inbox import Inbox
from visual_echoes.app.limits import MAX_UPLOAD_AGE, MAX_UPLOAD_BYTES
from visual_echoes.app.panel import Common, Panel
from visual_echoes.app.service import Service
from visual_echoes.app.shelf import CREDITS, Shelf
from visual_echoes.app.tabs import pair_tab, picture_tab, sound_tab, video_tab
from visual_echoes.app.views import coloured
from visual_echoes.app.visit import Visit, item
from visual_echoes.app.widgets import QUIET, Settings
from visual_echoes.errors import EchoesError
from visual_echoes.provenance.mark import SOFTWARE

_INTRODUCTION = """# Visual Echoes
Give an image and get its sound. Give a sound and get its image. Or let both come from nothing."""
_FOOT = f"""{SOFTWARE}: one masked transformer over the tokens of images and sounds. Everything it makes is synthetic,
and every file says so. Nothing you give leaves this server; what you send is removed after an hour."""
_TABS = {
    "sound": ("To sound", sound_tab),
    "picture": ("To image", picture_tab),
    "video": ("Video", video_tab),
    "pair": ("Pairs", pair_tab),
}
EDIT = "edit"
_CLEANING = 60  # seconds between two looks for uploads that are too old


def mount_page(api: FastAPI, service: Service, uploads: Path, root_path: str = "") -> None:
    """Put the page at the root of the API's server.

    Args:
        uploads: where Gradio stores what visitors send.
        root_path: where a proxy serves it.
    """
    # A message may name an address instead of an upload, which Gradio would fetch.
    processing_utils.async_ssrf_protected_download = _refuse_address
    page = create_page(service, uploads)
    gr.mount_gradio_app(
        api, page, "/", root_path=root_path, footer_links=[], run_history=False, allowed_paths=[], show_error=True,
        max_file_size=MAX_UPLOAD_BYTES, ssr_mode=False, enable_monitoring=False, mcp_server=False, theme=_theme(),
        css=_text("page.css"), head=f"<script>{_text('paint.js')}{_text('page.js')}</script>",
    )  # fmt: skip
    # Without this a message may name any file of the machine: Gradio 6 checks that a file was uploaded only where it
    # has opened its own server, copies every other one among the uploads, and gives it out.
    page.has_launched = True


def create_page(service: Service, uploads: Path) -> gr.Blocks:
    """The widgets and what they do."""
    with gr.Blocks(
        title="Visual Echoes", analytics_enabled=False, delete_cache=(_CLEANING, MAX_UPLOAD_AGE), fill_width=False
    ) as page:
        gr.Markdown(_INTRODUCTION)
        said = gr.HTML()
        chosen, panels = Settings(service), []
        common = Common(service, Inbox(service, uploads), Shelf(service, uploads), TokenGrids(), chosen)
        each: dict[str, gr.Tab] = {}
        with gr.Tabs() as tabs:
            for name, (title, lay_out) in _TABS.items():
                with gr.Tab(title, id=name) as each[name]:
                    panels.append(lay_out(common))
            with gr.Tab("Edit", id=EDIT) as each[EDIT]:
                panel, edited = edit_tab(common)
                panels.append(panel)
        chosen.place()
        keep_address(page, chosen, said, tabs, each)
        visit = Visit(common)
        with gr.Accordion("Where the examples come from", open=False):
            gr.Markdown(CREDITS)
        gr.Markdown(_FOOT)
        for panel in (*panels, visit.panel):
            visit.follow(panel)
            _take_further(service, panel, [*edited, tabs])
    return page


def _text(name: str) -> str:
    """A file beside this one."""
    return (resources.files("visual_echoes") / "app" / name).read_text(encoding="utf-8")


def _theme() -> gr.themes.Base:
    """The system's own fonts, which nobody has to fetch, and small print that can be read."""
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return theme.set(
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700", block_title_text_color="*neutral_700",
    )  # fmt: skip


def _take_further(service: Service, panel: Panel, edited: list[Any]) -> None:
    """Let a panel's button lay one of its items into the tab that edits: its image, its sound, and the tabs."""

    def take(name: str | None, variant: int) -> list[Any]:
        if name is None:
            return [gr.Image(), gr.Audio(), gr.Tabs()]
        pixels, rate, wave = item(service.job(name), variant - 1)
        return [coloured(pixels), (rate, (np.clip(wave, -1, 1) * 32767).astype(np.int16)), gr.Tabs(selected=EDIT)]

    panel.take.click(take, [panel.job, panel.variant], edited, **QUIET)


async def _refuse_address(url: str, cache_dir: str) -> str:
    raise EchoesError(f"{url} is an address; send the file itself.")
