"""What a job is shown as: states in words, and nothing a visitor wrote as markup."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.conftest import image_upload, wait
from visual_echoes.app.cards import cards, problem, words
from visual_echoes.app.jobs import JobStatus
from visual_echoes.app.service import Service
from visual_echoes.app.tasks import Options, pair_task, sound_task
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
    job = service.submit(None, lambda _: pair_task(Options(count=2, steps=1, seed=3)))
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
        with image_upload() as picture:
            job = service.submit(None, lambda e: sound_task(e.layout, Options(steps=1), picture))
        assert wait(job).confidence[0] is not None
        assert "the model is" in cards(job)
        assert "given" in cards(job)
    finally:
        service.close()
