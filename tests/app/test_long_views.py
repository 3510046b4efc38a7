"""A long sound as the page shows it: window by window, then each variant with its player and files."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from app.clips import clip
from app.conftest import sent, wait
from visual_echoes.app.forms import WatchedForm
from visual_echoes.app.long import LongSound
from visual_echoes.app.long_views import growing, long_cards
from visual_echoes.app.service import Service
from visual_echoes.app.views import words
from visual_echoes.pipeline import VisualEchoes

DONE = re.compile(r"; ([\d.]+) of ([\d.]+) s are made")


def test_the_timeline_grows_with_each_window(service: Service, echoes: VisualEchoes) -> None:
    shown: list[tuple[str, str]] = []
    form = WatchedForm.of(image=sent(clip(8), "<i>.mp4"), steps=1, count=2)

    def build(echoes: VisualEchoes) -> Any:
        task = form.task(echoes.layout)
        assert isinstance(task.make, LongSound)
        make = task.make
        plain = LongSound.make

        class Watched(LongSound):
            def make(self, echoes: VisualEchoes, watch: Any, listen: Any) -> dict[str, bytes]:
                def look(*done: int) -> None:
                    watch(*done)
                    shown.append((growing(job, make, echoes.layout), words(job.status())))

                return plain(self, echoes, look, listen)

        object.__setattr__(task, "make", Watched(**vars(make)))
        return task

    with service._change:  # the workers wait until `job` is known
        job = service.submit(None, build)
    assert wait(job).state == "done"
    made = job.task.make
    assert isinstance(made, LongSound)
    seconds = [float(found[1]) for html, _ in shown if (found := DONE.search(html))]
    half = len(shown) // 2
    assert len(seconds) == len(shown)
    for variant in (seconds[1:half], seconds[half + 1 :]):
        assert variant == sorted(variant)
        assert len(set(variant)) == len(variant)
        assert variant[-1] == 0.8
    assert seconds[0] == 0
    assert "Window 2 of" in shown[2][1]
    assert len({html for html, _ in shown[:half]}) == half
    assert growing(job, made, echoes.layout) == ""


def test_each_variant_has_a_player_a_timeline_and_its_files(service: Service, echoes: VisualEchoes) -> None:
    job = WatchedForm.of(image=sent(clip(8), "<i>.mp4"), steps=1, count=2, seed=3).submit(service)
    assert wait(job).state == "done"
    made = job.task.make
    assert isinstance(made, LongSound)
    html = long_cards(job, made, echoes.layout)
    assert html.count("<video controls") == 2
    assert f'src="api/v1/jobs/{job.id}/files/2.mp4"' in html
    assert f'href="api/v1/jobs/{job.id}/files/2.wav" download="sound-seed4.wav"' in html
    assert "0.8 of 0.8 s are made" in html
    assert "Seed 4." in html
    assert "<i>" not in html


def test_nothing_is_heard_of_a_job_that_waits(echoes: VisualEchoes) -> None:
    task = WatchedForm.of(image=sent(clip(8), "a.mp4")).task(echoes.layout)
    assert isinstance(task.make, LongSound)
    assert len(task.make.frames) == 10
    assert np.isclose(task.make.seconds, 0.8)
    task.held.close()
