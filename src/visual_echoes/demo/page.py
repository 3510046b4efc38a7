"""The demonstration as one web page that needs nothing but itself: images and sounds are data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
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
    return _PAGE.substitute(
        title=escape(title),
        lead=escape(lead),
        style=_STYLE,
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
<ul class="grid">{"".join(map(card, section.cards))}</ul>
</section>"""


def card(content: Card, links: str = "") -> str:
    """A card as HTML, with links (HTML) above its note."""
    figures = "".join(map(_figure, content.views))
    sounds = [view for view in content.views if view.mel is not None and view.content]
    players = "".join(_player(view, labelled=len(sounds) > 1) for view in sounds)
    wide = " wide" if len(content.views) > 2 else ""
    return f"""
<li class="card{wide}">
<h3>{escape(content.title)}</h3>
<div class="views">{figures}</div>
<div class="players">{players}</div>{links}
<p class="note">{escape(content.note)}</p>
</li>"""


def _figure(view: View) -> str:
    kind = "image" if view.mel is None else "sound"
    return f"""
<figure class="{_state(view)}">
{image_tag(view)}
<figcaption><span class="state">{_state(view)}</span> {kind}</figcaption>
</figure>"""


def image_tag(view: View) -> str:
    """An image, or a sound's spectrogram, as HTML."""
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


def data_uri(media_type: str, content: bytes) -> str:
    """The content as an address that needs no request (RFC 2397)."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<a class="skip" href="#main">Skip to the examples</a>
<header>
<h1>$title</h1>
<p class="lead">$lead</p>
<nav aria-label="Sections"><ul>$links</ul></nav>
</header>
<main id="main">$sections
</main>
<footer>$footer</footer>
</body>
</html>
""")

_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f7f4f1; --card: #ffffff; --ink: #221d2b; --soft: #665f70; --line: #e3dcd8;
  --made: #a2295f; --made-ground: #fbe9ef; --given: #3d4a78; --given-ground: #e9ecf7;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #13101c; --card: #1d1929; --ink: #f1edf4; --soft: #aaa2b6; --line: #332d42;
    --made: #ff9dba; --made-ground: #45203a; --given: #b7c4f5; --given-ground: #2a3052;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem clamp(1rem, 4vw, 3rem); max-width: 92rem;
  background: var(--ground); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif;
}
h1 { margin: 0; font-size: clamp(1.9rem, 5vw, 3rem); line-height: 1.1; letter-spacing: -0.02em; }
h2 { margin: 0 0 0.3rem; font-size: 1.5rem; line-height: 1.25; letter-spacing: -0.01em; }
h3 { margin: 0; font-size: 1rem; }
p { margin: 0; max-width: 68ch; }
section { margin-top: 3.5rem; }
section > p, .lead, footer, .note { color: var(--soft); }
.lead { margin-top: 0.8rem; font-size: 1.1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.5rem; margin: 1.4rem 0 0; padding: 0; list-style: none; }
nav a {
  display: block; padding: 0.35rem 0.9rem; border: 1px solid var(--line); border-radius: 99px;
  background: var(--card); color: var(--ink); text-decoration: none;
}
nav a:hover { border-color: var(--made); color: var(--made); }
:focus-visible { outline: 3px solid var(--made); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 0.5rem; padding: 0.4rem 0.8rem; background: var(--card); color: var(--ink); }
.grid {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr)); gap: 1.1rem;
  margin: 1.2rem 0 0; padding: 0; list-style: none;
}
.card {
  display: flex; flex-direction: column; gap: 0.7rem; padding: 0.8rem;
  border: 1px solid var(--line); border-radius: 0.9rem; background: var(--card);
}
.views { display: grid; grid-template-columns: 1fr 1fr; gap: 0.7rem; }
.players { display: grid; gap: 0.7rem; font-size: 0.82rem; }
@media (min-width: 36rem) {
  .wide { grid-column: span 2; }
  .wide .views { grid-template-columns: repeat(4, 1fr); }
  .wide .players { grid-template-columns: 1fr 1fr; }
}
figure { margin: 0; min-width: 0; }
img { display: block; width: 100%; aspect-ratio: 1; border-radius: 0.5rem; background: #07072a; }
img.image { object-fit: contain; image-rendering: pixelated; }
figcaption { margin-top: 0.4rem; font-size: 0.82rem; line-height: 1.35; color: var(--soft); }
.state { display: inline-block; margin-bottom: 0.2rem; padding: 0 0.45em; border-radius: 0.35em; font-weight: 600; }
.made .state { background: var(--made-ground); color: var(--made); }
.given .state { background: var(--given-ground); color: var(--given); }
audio { display: block; width: 100%; height: 2.4rem; }
.note { margin-top: auto; font-size: 0.82rem; font-variant-numeric: tabular-nums; }
footer { margin-top: 4rem; padding-top: 1.2rem; border-top: 1px solid var(--line); font-size: 0.88rem; }
footer p + p { margin-top: 0.4rem; }
"""
