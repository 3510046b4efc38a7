"""The demonstration as one web page that needs nothing but itself: images and sounds are data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

import numpy as np
from PIL import Image

from visual_echoes.media.drawing import spectrogram


@dataclass(frozen=True)
class View:
    """An image or a sound on a card.

    Attributes:
        name: what it is, in a few words, for those who cannot see it.
        given: it went in, rather than came out.
        content: a PNG or WAV file; empty for a sound without a player.
        mel: log-mel (bands, frames) in [0, 1] of a sound; None for an image.
    """

    name: str
    given: bool
    content: bytes
    mel: np.ndarray | None = None


@dataclass(frozen=True)
class Card:
    """Views that belong together; `note` says how to make them again."""

    title: str
    views: Sequence[View]
    note: str


@dataclass(frozen=True)
class Section:
    """Cards under one heading. `anchor` is its address within the page."""

    anchor: str
    title: str
    text: str
    cards: Sequence[Card]


def render_page(title: str, lead: str, sections: Sequence[Section], footer: Sequence[str]) -> str:
    """The whole page as HTML; every text is escaped here."""
    template = Template((resources.files("visual_echoes") / "demo" / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        lead=escape(lead),
        links="".join(f'<li><a href="#{escape(s.anchor)}">{escape(s.title)}</a></li>' for s in sections),
        sections="".join(_section(section) for section in sections),
        footer="".join(f"<p>{escape(line)}</p>" for line in footer),
    )


def _section(section: Section) -> str:
    anchor = escape(section.anchor)
    return f"""
<section id="{anchor}" aria-labelledby="{anchor}-title">
<h2 id="{anchor}-title">{escape(section.title)}</h2>
<p>{escape(section.text)}</p>
<ul class="grid">{"".join(map(_card, section.cards))}</ul>
</section>"""


def _card(content: Card) -> str:
    figures = "".join(map(_figure, content.views))
    sounds = [view for view in content.views if view.mel is not None and view.content]
    players = "".join(_player(view, labelled=len(sounds) > 1) for view in sounds)
    wide = " wide" if len(content.views) > 2 else ""
    return f"""
<li class="card{wide}">
<h3>{escape(content.title)}</h3>
<div class="views">{figures}</div>
<div class="players">{players}</div>
<p class="note">{escape(content.note)}</p>
</li>"""


def _figure(view: View) -> str:
    kind = "image" if view.mel is None else "sound"
    return f"""
<figure class="{_state(view)}">
{_image_tag(view)}
<figcaption><span class="state">{_state(view)}</span> {kind}</figcaption>
</figure>"""


def _image_tag(view: View) -> str:
    if view.mel is None:
        kind, alt, content = "image", view.name, view.content
    else:
        kind, alt, content = "spectrogram", f"Mel spectrogram: {view.name}", png_bytes(spectrogram(view.mel))
    return f'<img class="{kind}" src="{data_uri("image/png", content)}" alt="{escape(alt)}">'


def _player(view: View, labelled: bool) -> str:
    label = f'<span class="state">{_state(view)}</span>' if labelled else ""
    source = data_uri("audio/wav", view.content)
    player = f'<audio controls preload="metadata" src="{source}" aria-label="{escape(view.name)}"></audio>'
    return f'<div class="{_state(view)}">{label}{player}</div>'


def _state(view: View) -> str:
    return "given" if view.given else "made"


def png_bytes(pixels: np.ndarray) -> bytes:
    """uint8 pixels (H, W, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg_uri(image: Image.Image) -> str:
    """A photograph as an address that needs no request."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return data_uri("image/jpeg", buffer.getvalue())


def data_uri(media_type: str, content: bytes) -> str:
    """The content as an address that needs no request (RFC 2397)."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
