"""Jobs made together: which ones, that each gets what it would get alone, and that none harms another."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import tiny
from app.conftest import PATIENCE, held, png, sent, wait
from visual_echoes.app.forms import FORMS
from visual_echoes.app.jobs import Job
from visual_echoes.app.service import Service
from visual_echoes.app.tasks import cut
from visual_echoes.pipeline import VisualEchoes

KINDS = pytest.mark.parametrize("kind", ["sound", "picture", "pair"])
Submit = Callable[..., Job]


def tone(number: int) -> bytes:
    """A WAV file with a tone of its own."""
    rate = tiny.LAYOUT.sample_rate
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.5 * np.sin(np.arange(4000) * (number + 1) * 600 / rate), rate, format="WAV")
    return buffer.getvalue()


@pytest.fixture
def submit(service: Service) -> Submit:
    """Put a task in a queue: its kind, its options, and what it starts from by a number."""

    def submit(kind: str, to: Service = service, model: str | None = None, given: int = 0, **options: Any) -> Job:
        if kind == "picture":
            options["sound"] = sent(tone(given), "a.wav")
        elif kind != "pair":
            options["image"] = sent(png(given), "a.png")
        if kind == "vary":
            options["side"] = "image"
        return FORMS[kind].of(model=model, **options).submit(to)

    return submit


def assert_same(job: Job, alone: Job) -> None:
    assert wait(job).state == wait(alone).state == "done"
    assert job.status().model_dump(exclude={"id"}) == alone.status().model_dump(exclude={"id"})
    assert len(job.frames) == len(alone.frames)
    for one, other in zip(job.frames, alone.frames, strict=True):
        assert all(np.array_equal(*sides) for sides in zip(one, other, strict=True))
    assert job.result is not None
    assert alone.result is not None
    assert (job.result.seeds, job.result.settings) == (alone.result.seeds, alone.result.settings)
    assert np.array_equal(job.result.images, alone.result.images)  # type: ignore[arg-type]
    assert np.array_equal(job.result.audio, alone.result.audio)  # type: ignore[arg-type]
    assert np.array_equal(job.result.mels, alone.result.mels)  # type: ignore[arg-type]


@KINDS
def test_jobs_that_wait_for_the_same_are_made_together_as_they_would_be_alone(
    service: Service, submit: Submit, kind: str
) -> None:
    asked = [{"given": number, "seed": 5 * number, "count": number + 1, "steps": 3} for number in range(3)]
    with held(service):
        jobs = [submit(kind, **one) for one in asked]
    for job in jobs:
        wait(job)
    assert service.batches == 2
    for job, one in zip(jobs, asked, strict=True):
        assert_same(job, submit(kind, **one))
    assert service.batches == 5
    first, second = jobs[0].result, jobs[1].result
    assert first is not None
    assert second is not None
    assert not np.allclose(first.audio[0], second.audio[0]) or not np.allclose(first.images[0], second.images[0])  # type: ignore[index]


def test_a_part_of_a_result_has_all_of_its_items(echoes: VisualEchoes) -> None:
    whole = replace(echoes.generate_pair(3, steps=1), labels=("a", "b", "c"), confidence=np.array([0.1, 0.2, 0.3]))
    part, alone = cut(whole, slice(1, 3)), echoes.generate_pair(2, seed=1, steps=1)
    assert (part.seeds, part.labels, part.settings) == ((1, 2), ("b", "c"), whole.settings)
    for name in ("images", "audio", "mels"):
        np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))
        assert getattr(part, name).base is None
    np.testing.assert_array_equal(part.confidence, [0.2, 0.3])


def test_only_the_same_is_made_together(service: Service, submit: Submit) -> None:
    with held(service):
        jobs = [
            submit("sound", steps=2),
            submit("pair", steps=2),
            submit("sound", steps=3),
            submit("sound", steps=2, guidance=1.0),
            submit("sound", steps=2, model="other"),
            submit("vary", steps=2),
            submit("vary", steps=2),
        ]
    assert {wait(job).state for job in jobs} == {"done"}
    assert service.batches == 1 + len(jobs)


def test_the_model_s_own_settings_are_the_same_whether_named_or_not(service: Service, submit: Submit) -> None:
    with held(service):
        jobs = [submit("sound"), submit("sound", steps=4, guidance=2.0)]
    assert {wait(job).state for job in jobs} == {"done"}
    assert service.batches == 2


@pytest.mark.parametrize(("most", "batches"), [(1, 4), (3, 2), (16, 1)])
def test_a_batch_has_so_many_items_at_most(echoes: VisualEchoes, submit: Submit, most: int, batches: int) -> None:
    service = Service({"tiny": lambda: echoes}, batch_items=most)
    with held(service):
        jobs = [submit("sound", service, count=count, steps=1) for count in (2, 2, 1, 1)]
    assert {wait(job).state for job in jobs} == {"done"}
    assert service.batches == 1 + batches
    service.close()


def test_a_job_that_leaves_a_batch_does_not_harm_the_others(service: Service, submit: Submit) -> None:
    with held(service):
        first, leaver, last = (submit("sound", given=number, seed=number) for number in range(3))
        advance = leaver.advance

        def leave(*step: Any) -> None:
            service.cancel(leaver)
            advance(*step)

        leaver.advance = leave  # type: ignore[method-assign, assignment]
    assert wait(leaver).state == "cancelled"
    assert (leaver.status().done, leaver.files) == (1, {})
    assert_same(first, submit("sound", given=0, seed=0))
    assert_same(last, submit("sound", given=2, seed=2))
    assert service.ended == {"done": 5, "cancelled": 1}


def test_a_batch_that_all_have_left_ends(service: Service, submit: Submit) -> None:
    with held(service):
        jobs = [submit("pair", steps=100, seed=number) for number in range(2)]
        advance = jobs[0].advance

        def leave(*step: Any) -> None:
            for job in jobs:
                service.cancel(job)
            advance(*step)

        jobs[0].advance = leave  # type: ignore[method-assign, assignment]
    assert [(wait(job).state, job.status().done) for job in jobs] == [("cancelled", 1)] * 2
    assert wait(submit("pair")).state == "done"


def test_what_is_too_much_together_is_made_one_by_one(
    service: Service, submit: Submit, echoes: VisualEchoes, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = echoes.image_to_audio

    def starved(images: Any, **asked: Any) -> Any:
        """Fails after its first step if there is more than one item."""

        def progress(*step: Any) -> None:
            asked["progress"](*step)
            if len(images) > 1:
                raise MemoryError

        return make(images, **{**asked, "progress": progress})

    monkeypatch.setattr(echoes, "image_to_audio", starved)
    with held(service):
        jobs = [submit("sound", seed=number) for number in range(2)]
    for number, job in enumerate(jobs):
        assert_same(job, submit("sound", seed=number))


def test_a_lone_job_never_waits_for_others(echoes: VisualEchoes, submit: Submit) -> None:
    service = Service({"tiny": lambda: echoes}, batch_delay=10 * PATIENCE)
    assert wait(submit("pair", service, steps=1)).state == "done"
    assert wait(submit("pair", service, steps=1)).state == "done"
    service.close()


def test_a_job_that_had_to_wait_waits_a_little_for_others(echoes: VisualEchoes, submit: Submit) -> None:
    service = Service({"tiny": lambda: echoes}, batch_items=2, batch_delay=10 * PATIENCE)
    with held(service):
        waiting = submit("pair", service, seed=1)
    assert waiting.status().state == "waiting"
    joining = submit("pair", service, seed=2)
    assert_same(waiting, submit("pair", seed=1))
    assert_same(joining, submit("pair", seed=2))
    assert service.batches == 2
    service.close()


def test_what_is_cut_out_of_a_result_has_its_own_labels() -> None:
    whole = VisualEchoes(tiny.model_with_meaning(), torch.device("cpu")).generate_pair(3, label=list(tiny.LABELS))
    part = cut(whole, slice(1, 3))
    assert part.labels == tiny.LABELS[1:]
    assert part.seeds == whole.seeds[1:]
    assert np.array_equal(part.audio, whole.audio[1:])
