"""What a job is shown as: states in words, token grids, cards, and nothing a visitor wrote as markup."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.conftest import png, sent, wait
from visual_echoes.app.forms import PairForm, SoundForm
from visual_echoes.app.jobs import MASKED, JobStatus
from visual_echoes.app.service import Service
from visual_echoes.app.views import TokenGrids, cards, code_colours, draw_grid, problem, words
from visual_echoes.layout import MODALITIES
from visual_echoes.model.confidence import Calibration
from visual_echoes.pipeline import VisualEchoes

STATUS = JobStatus(id="x", task="pair", model="tiny", state="waiting", ahead=0, done=0, total=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ahead": 2}, "Waiting; 2 before it."),
        ({}, "Next in line."),
        ({"state": "running"}, "Starting."),
        ({"state": "running", "done": 2, "total": 9}, "Step 2 of 9."),
        ({"state": "running", "done": 3, "total": 9, "unit": "window"}, "Window 3 of 9."),
        ({"state": "done"}, "Done."),
        ({"state": "cancelled"}, "Cancelled; nothing was kept."),
        ({"state": "failed", "error": "It broke."}, "It broke."),
    ],
)
def test_every_state_has_words(changes: dict[str, object], said: str) -> None:
    assert said in words(STATUS.model_copy(update=changes))


def test_what_visitors_write_is_no_markup() -> None:
    assert "<b>" not in problem("<b>x.png is damaged")


def test_a_pair_is_shown_with_its_files(service: Service) -> None:
    job = PairForm(count=2, steps=1, seed=3).submit(service)
    wait(job)
    html = cards(job)
    assert html.count("<audio") == 2
    assert f'href="/api/v1/jobs/{job.id}/files/2.mp4" download="pair-seed4.mp4"' in html
    assert "Seed 4." in html
    assert "given" not in html


def test_the_model_says_how_sure_it_is(echoes: VisualEchoes) -> None:
    model = replace(echoes.model, calibration={m: Calibration(offset=1.0, slope=0.5) for m in MODALITIES})
    service = Service({"sure": lambda: VisualEchoes(model, echoes.device)})
    try:
        job = SoundForm(steps=1, image=sent(png(), "a.png")).submit(service)
        assert wait(job).confidence[0] is not None
        assert "the model is" in cards(job)
        assert "given" in cards(job)
    finally:
        service.close()


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
    tokens = echoes.layout.tokens
    assert shown[2].count(f"{tokens} of {tokens} tokens") == 2
    assert grids.show(echoes, job, 0) == grids.show(echoes, job, 4) == ""
