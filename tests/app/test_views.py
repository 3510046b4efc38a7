"""What a job is shown as: states in words, what was given, cards, and nothing a visitor wrote as markup."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.conftest import png, sent, wait
from visual_echoes.app.forms import PairForm, SoundForm
from visual_echoes.app.grids import TokenGrids
from visual_echoes.app.jobs import JobStatus
from visual_echoes.app.service import Service
from visual_echoes.app.views import outcome, problem, verdicts, words
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


def test_a_pair_is_shown_with_its_files(service: Service, echoes: VisualEchoes) -> None:
    job = PairForm(count=2, steps=1, seed=3).submit(service)
    wait(job)
    html = outcome(job, echoes, TokenGrids())
    assert html.count("<audio") == html.count("Waveform: ") == 2
    assert f'href="api/v1/jobs/{job.id}/files/2.mp4" download="pair-seed4.mp4"' in html
    assert "Seed 4." in html
    assert "given" not in html


def test_what_is_given_is_shown_once_with_what_the_model_made_of_it(echoes: VisualEchoes) -> None:
    model = replace(echoes.model, calibration={m: Calibration(offset=1.0, slope=0.5) for m in MODALITIES})
    service = Service({"sure": lambda: VisualEchoes(model, echoes.device)})
    try:
        job = SoundForm(steps=1, count=2, image=sent(png(), "a.png")).submit(service)
        assert wait(job).confidence[0] is not None
        html = outcome(job, echoes, TokenGrids(), "data:image/jpeg;base64,AAAA")
        assert html.count('<img class="photograph" src="data:image/jpeg;base64,AAAA"') == 1
        assert html.count("The model is ") == 1
        assert html.index("photograph") < html.index("The model is ") < html.index("Variant 1")
    finally:
        service.close()


def test_variants_that_are_taken_for_something_else_say_so(service: Service) -> None:
    job = PairForm(count=3, steps=1).submit(service)
    wait(job)
    assert job.result is not None
    assert verdicts(job.result) == []
    sure = np.array([0.9, 0.9, 0.7])
    labelled = replace(job.result, labels=("dog", "dog", "motor_vehicle"), confidence=sure)
    assert verdicts(labelled) == [
        "Variant 1, 2 taken for: dog; the model is 90% sure.",
        "Variant 3 taken for: motor vehicle; the model is 70% sure.",
    ]
    assert verdicts(replace(labelled, labels=("dog",) * 3, confidence=None)) == ["Taken for: dog."]
