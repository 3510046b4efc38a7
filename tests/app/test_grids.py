"""Token grids: a colour for each code, a square for each token, a step after the other."""

from __future__ import annotations

import numpy as np

from app.conftest import wait
from visual_echoes.app.forms import PairForm
from visual_echoes.app.grids import TokenGrids, code_colours, draw_grid
from visual_echoes.app.jobs import MASKED
from visual_echoes.app.service import Service
from visual_echoes.pipeline import VisualEchoes


def test_codes_have_colours_of_their_own(echoes: VisualEchoes) -> None:
    for modality, codes in (("image", echoes.layout.image_codes), ("audio", echoes.layout.audio_codes)):
        colours = code_colours(echoes, modality)  # type: ignore[arg-type]
        assert colours.shape == (codes, 3)
        assert len(np.unique(colours, axis=0)) == codes


def test_a_grid_has_a_square_for_each_token() -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    pixels = draw_grid(np.array([[0, 1, MASKED], [1, 0, 0]], np.int16), colours)
    assert pixels.shape == (2, 3, 3)
    assert pixels[0, 1].tolist() == [0, 255, 0]
    assert pixels[0, 2].max() < 70


def test_each_step_is_shown_for_each_variant(service: Service, echoes: VisualEchoes) -> None:
    job = PairForm(count=2, steps=3).submit(service)
    wait(job)
    grids = TokenGrids()
    shown = [grids.show(echoes, job, step) for step in (1, 2, 3)]
    assert all(html.count("<img") == 4 for html in shown)
    assert len(set(shown)) == 3
    film = grids.film(echoes, job, "audio", 1)
    assert "--steps:3;--step:2" in film
    tokens = echoes.layout.tokens
    assert f",{tokens} of {tokens} tokens" in film
    assert grids.known(job, 1) == f"{tokens} of {tokens} tokens"
    assert shown[2].count(f"{tokens} of {tokens} tokens") == 2
    assert grids.show(echoes, job, 0) == grids.show(echoes, job, 4) == ""
