"""The queue: one job at a time, in order, bounded, cancellable, and nothing kept for ever."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from app.conftest import Brake, wait
from visual_echoes import EchoesError
from visual_echoes.app import service as service_module
from visual_echoes.app.forms import PairForm
from visual_echoes.app.jobs import MASKED, Job, JobStatus
from visual_echoes.app.limits import MAX_WAITING
from visual_echoes.app.service import Busy, Service, UnknownJob, follow
from visual_echoes.app.tasks import Task
from visual_echoes.errors import note
from visual_echoes.media import read_metadata
from visual_echoes.pipeline import VisualEchoes


def submit(service: Service, **options: int) -> Job:
    return PairForm.of(**options).submit(service)


def failing(error: Exception) -> Task:
    def make(*_: object) -> object:
        raise error

    return Task("pair", make)  # type: ignore[arg-type]


def test_a_job_makes_what_the_pipeline_makes(service: Service, echoes: VisualEchoes, tmp_path: Path) -> None:
    job = submit(service, seed=5, count=2, steps=3)
    status = wait(job)
    assert (status.state, status.done, status.total, status.seeds) == ("done", 3, 3, (5, 6))
    assert status.files == ("1.png", "1.wav", "1.mp4", "2.png", "2.wav", "2.mp4")
    expected = echoes.generate_pair(2, seed=5, steps=3)
    assert job.result is not None
    assert job.result.images is not None
    assert (job.result.images == expected.images).all()
    path = tmp_path / "2.wav"
    path.write_bytes(job.files["2.wav"])
    metadata = read_metadata(path)
    assert (metadata["task"], metadata["seed"], metadata["steps"], metadata["synthetic"]) == ("pair", "6", "3", "true")


def test_a_job_tells_what_was_noted_of_its_files(service: Service) -> None:
    def build(echoes: VisualEchoes) -> Task:
        note("a.wav has a hole.")
        return PairForm(steps=1).task(echoes.layout)

    assert service.submit(None, build).status().notes == ("a.wav has a hole.",)


def test_each_step_leaves_a_frame_with_fewer_masked_tokens(service: Service) -> None:
    job = submit(service, steps=4)
    assert wait(job).state == "done"
    masked = [sum(int((tokens == MASKED).sum()) for tokens in frame.values()) for frame in job.frames]
    assert len(masked) == 4
    assert masked == sorted(masked, reverse=True)
    assert masked[0] > masked[-1] == 0


def test_steps_that_a_stage_had_no_need_of_have_frames_too(service: Service) -> None:
    job = submit(service, steps=1)
    wait(job)
    frames = len(job.frames)
    tokens = {"image": torch.zeros(1, 4, 1), "audio": torch.zeros(1, 4, 1)}
    job.advance(frames + 16, 32, tokens, {name: t > 0 for name, t in tokens.items()})
    assert len(job.frames) == frames + 16


def test_every_candidate_leaves_its_frames_and_the_last_one_shows_the_chosen(service: Service) -> None:
    job = submit(service, steps=2, best_of=3)
    status = wait(job)
    assert (status.state, status.done, status.total, len(job.frames)) == ("done", 6, 6, 6)
    assert job.result is not None
    assert job.result.images is not None
    assert len(job.frames[-1]["image"]) == len(job.result.seeds)
    tokens_BPQ = torch.from_numpy(job.frames[-1]["image"]).long()[..., None]
    shown = service.model().codec.decode_images(tokens_BPQ)
    assert np.array_equal(shown, job.result.images)


def test_jobs_wait_for_their_turn(service: Service) -> None:
    brake = Brake()
    first = service.submit(None, brake.task)
    assert brake.started.wait(60)
    later = [submit(service, steps=1) for _ in range(3)]
    assert [job.status().ahead for job in later] == [1, 2, 3]
    assert [job.status().state for job in (first, *later)] == ["running", *["waiting"] * 3]
    service.cancel(later[0])
    assert [job.status().ahead for job in later] == [0, 1, 2]
    brake.let(3)
    assert [wait(job).state for job in (first, *later)] == ["done", "cancelled", "done", "done"]


def test_a_full_queue_refuses(service: Service) -> None:
    brake = Brake()
    service.submit(None, brake.task)
    assert brake.started.wait(60)
    jobs = [submit(service, steps=1) for _ in range(MAX_WAITING)]

    def unread(_: object) -> Task:
        raise AssertionError("what does not fit must not be read")

    with pytest.raises(Busy, match="16 jobs are waiting"):
        service.submit(None, unread)
    service.cancel(jobs[0])
    submit(service, steps=1)
    brake.let(3)


def test_a_running_job_ends_after_the_step_in_which_it_is_cancelled(service: Service) -> None:
    brake = Brake()
    job = service.submit(None, brake.task)
    assert brake.started.wait(60)
    service.cancel(job)
    assert job.status().state == "running"
    brake.let(1)
    status = wait(job)
    assert (status.state, status.done, status.files) == ("cancelled", 1, ())
    assert service.ended == {"cancelled": 1}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EchoesError("This cannot be made; make that."), "This cannot be made; make that."),
        (MemoryError(), "There is not enough memory for this; ask for fewer variants."),
        (ValueError("/secret/path"), "Something went wrong in the server, which has noted it; try other settings."),
    ],
)
def test_what_fails_says_so_and_lets_the_next_one_run(service: Service, error: Exception, said: str) -> None:
    status = wait(service.submit(None, lambda _: failing(error)))
    assert (status.state, status.error) == ("failed", said)
    assert wait(submit(service, steps=1)).state == "done"


def test_unknown_models_and_jobs_are_refused(service: Service) -> None:
    with pytest.raises(EchoesError, match="no model 'third' here; choose one of tiny, other"):
        service.submit("third", lambda echoes: PairForm().task(echoes.layout))
    with pytest.raises(UnknownJob, match="no such job"):
        service.job("guess")


def test_a_model_is_loaded_once(echoes: VisualEchoes) -> None:
    loads: list[str] = []

    def load(name: str) -> VisualEchoes:
        loads.append(name)
        return echoes

    service = Service({"a": lambda: load("a"), "b": lambda: load("b")})
    for name in (None, "a", "b", "b"):
        assert service.model(name) is echoes
    service.close()
    assert loads == ["a", "b"]


def test_results_are_kept_for_a_while_only(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit(service, steps=1)
    wait(job)
    assert service.job(job.id) is job
    assert service.kept_bytes >= job.size > 0
    monkeypatch.setattr(service_module, "MAX_KEPT_SECONDS", 0)
    with pytest.raises(UnknownJob):
        service.job(job.id)
    assert service.kept_bytes == 0


def test_the_oldest_results_make_room(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [submit(service, steps=1) for _ in range(3)]
    for job in jobs:
        wait(job)
    monkeypatch.setattr(service_module, "MAX_KEPT_BYTES", jobs[0].size * 2)
    assert service.job(jobs[2].id) is jobs[2]
    with pytest.raises(UnknownJob):
        service.job(jobs[0].id)


def test_a_forgotten_job_is_gone(service: Service) -> None:
    job = submit(service, steps=1)
    wait(job)
    service.forget(job)
    with pytest.raises(UnknownJob):
        service.job(job.id)


def test_nothing_stays_on_the_disk(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert wait(submit(service, steps=1)).files
    assert not list(tmp_path.iterdir())


def test_following_sees_the_end(service: Service) -> None:
    async def watch() -> list[JobStatus]:
        return [status async for status in follow(submit(service, steps=2))]

    seen = asyncio.run(watch())
    assert seen[-1].state == "done"
    assert [status.done for status in seen] == sorted(status.done for status in seen)
    assert len(seen) == len(set(map(str, seen)))


def test_closing_cancels_everything(service: Service) -> None:
    brake = Brake()
    running = service.submit(None, brake.task)
    assert brake.started.wait(60)
    waiting = submit(service)
    brake.let(3)
    service.close()
    assert waiting.status().state == "cancelled"
    assert running.status().over
    assert not service.alive
    with pytest.raises(Busy):
        submit(service)
