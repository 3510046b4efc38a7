"""The page: settings, five tabs, and nothing that is fetched from another server."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from fastapi import FastAPI
from gradio import processing_utils

from visual_echoes.app.edit_tab import edit_tab
from visual_echoes.app.forms import PairForm, PictureForm, SoundForm, WatchedForm
from visual_echoes.app.inbox import Inbox
from visual_echoes.app.limits import MAX_UPLOAD_AGE, MAX_UPLOAD_BYTES, MIX_DB
from visual_echoes.app.service import Service
from visual_echoes.app.views import TokenGrids
from visual_echoes.app.widgets import QUIET, Panel, Settings
from visual_echoes.errors import EchoesError
from visual_echoes.pipeline import PairOrder
from visual_echoes.provenance.mark import SOFTWARE

_INTRODUCTION = """# Visual Echoes
A sound for an image, an image for a sound, or both from nothing, by one masked transformer over the tokens of both.
Everything it makes is synthetic, and every file says so."""
_ORDERS: list[tuple[str, PairOrder]] = [
    ("Both at once", "together"),
    ("Image first", "image_first"),
    ("Sound first", "audio_first"),
]
_BENEATH = -12.0  # dB at which a video's own sound is kept at first
_CLEANING = 60  # seconds between two looks for uploads that are too old


def mount_page(api: FastAPI, service: Service, uploads: Path) -> None:
    """Put the page at the root of the API's server.

    Args:
        uploads: where Gradio stores what visitors send.
    """
    # A message may name an address instead of an upload, which Gradio would fetch.
    processing_utils.async_ssrf_protected_download = _refuse_address
    page = create_page(service, uploads)
    gr.mount_gradio_app(
        api, page, "/", footer_links=[], run_history=False, allowed_paths=[], show_error=True,
        max_file_size=MAX_UPLOAD_BYTES, ssr_mode=False, enable_monitoring=False, mcp_server=False, theme=_theme(),
        css=_text("page.css"), head=f"<script>{_text('paint.js')}</script>",
    )  # fmt: skip
    # Without this a message may name any file of the machine: Gradio 6 checks that a file was uploaded only where it
    # has opened its own server, copies every other one among the uploads, and gives it out.
    page.has_launched = True


def create_page(service: Service, uploads: Path) -> gr.Blocks:
    """The widgets and what they do."""
    inbox, grids = Inbox(service, uploads), TokenGrids()
    with gr.Blocks(
        title="Visual Echoes", analytics_enabled=False, delete_cache=(_CLEANING, MAX_UPLOAD_AGE), fill_width=False
    ) as page:
        gr.Markdown(_INTRODUCTION)
        chosen = Settings(service)
        with gr.Tabs() as tabs:
            with gr.Tab("To sound", id="sound"):
                panels = [_sound_tab(service, inbox, grids, chosen)]
            with gr.Tab("To image", id="picture"):
                panels.append(_picture_tab(service, inbox, grids, chosen))
            with gr.Tab("Video", id="video"):
                panels.append(_video_tab(service, inbox, grids, chosen))
            with gr.Tab("Pairs", id="pair"):
                panels.append(_pair_tab(service, grids, chosen))
            with gr.Tab("Edit", id="edit"):
                panel, edited = edit_tab(service, inbox, grids, chosen)
                panels.append(panel)
        gr.Markdown(f"{SOFTWARE}. Nothing you give leaves this server; what you send is removed after an hour.")
        for panel in panels:
            _take_further(service, panel, [*edited, tabs])
    return page


def _sound_tab(service: Service, inbox: Inbox, grids: TokenGrids, chosen: Settings) -> Panel:
    """A sound for an image."""
    with gr.Row():
        image = gr.Image(label="Image", sources=["upload", "clipboard"], type="filepath", image_mode=None, height=260)
        seen = gr.HTML()
    panel = Panel(service, grids, "Make sounds")
    gr.on([image.change, chosen.model.change], inbox.see_image, [chosen.model, image], seen, **QUIET)
    panel.connect(chosen, [image], lambda asked, given: SoundForm.of(**asked, image=inbox.need(given[0], "an image")))
    return panel


def _picture_tab(service: Service, inbox: Inbox, grids: TokenGrids, chosen: Settings) -> Panel:
    """An image for a sound."""
    with gr.Row():
        sound = gr.Audio(label="Sound", sources=["upload", "microphone"], type="filepath", editable=False, buttons=[])
        seen = gr.HTML()
    panel = Panel(service, grids, "Make images")
    gr.on([sound.change, chosen.model.change], inbox.see_sound, [chosen.model, sound], seen, **QUIET)
    panel.connect(chosen, [sound], lambda asked, given: PictureForm.of(**asked, sound=inbox.need(given[0], "a sound")))
    return panel


def _video_tab(service: Service, inbox: Inbox, grids: TokenGrids, chosen: Settings) -> Panel:
    """A sound for the whole of a video."""
    longest = f"Up to {service.longest:g} seconds."
    with gr.Row():
        video = gr.Video(label="Video", sources=["upload"], height=260, buttons=[])
        with gr.Column():
            gr.Markdown(f"The sound will be as long as the video, which comes back with it. {longest}")
            keep = gr.Checkbox(label="Keep the video's own sound beneath")
            level = gr.Slider(*MIX_DB, _BENEATH, step=1, label="Level of its own sound in dB", visible=False)
    panel = Panel(service, grids, "Make the sound")
    keep.change(lambda kept: gr.Slider(visible=kept), keep, level, **QUIET)
    gr.on([video.change, chosen.model.change], inbox.see_video, [chosen.model, video], panel.drawn, **QUIET)

    def build(asked: dict[str, Any], given: Sequence[Any]) -> WatchedForm:
        sent, kept, level = given
        return WatchedForm.of(**asked, image=inbox.need(sent, "a video"), mix_db=level if kept else None)

    panel.connect(chosen, [video, keep, level], build)
    return panel


def _pair_tab(service: Service, grids: TokenGrids, chosen: Settings) -> Panel:
    """Image and sound from nothing."""
    order = gr.Radio(_ORDERS, value="together", label="What is made first")
    panel = Panel(service, grids, "Make pairs")
    panel.connect(chosen, [order], lambda asked, given: PairForm.of(**asked, pair_order=given[0]))
    return panel


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
        result = None if name is None else service.job(name).result
        if result is None or result.images is None or result.audio is None:
            return [gr.Image(), gr.Audio(), gr.Tabs()]
        wave = (np.clip(result.audio[variant - 1], -1, 1) * 32767).astype(np.int16)
        pixels = np.broadcast_to(result.images[variant - 1], (*result.images.shape[1:3], 3))
        return [pixels, (result.sample_rate, wave), gr.Tabs(selected="edit")]

    panel.take.click(take, [panel.job, panel.variant], edited, **QUIET)


async def _refuse_address(url: str, cache_dir: str) -> str:
    raise EchoesError(f"{url} is an address; send the file itself.")
