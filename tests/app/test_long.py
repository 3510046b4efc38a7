"""Sounds as long as a video, or as asked for, over the HTTP API: whole, in turns with other jobs, within limits."""

from __future__ import annotations

import io
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

import tiny
from app.clips import clip, packets_of
from app.conftest import PATIENCE, held, png, sent, wait
from app.test_api import JOBS, fetched, made, wave_of
from visual_echoes.app import forms
from visual_echoes.app.api import API
from visual_echoes.app.forms import PairForm, SoundForm, WatchedForm
from visual_echoes.app.jobs import Job
from visual_echoes.app.limits import LONGEST_SOUND
from visual_echoes.app.service import Service
from visual_echoes.media import read_audio, read_metadata
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.soundtrack import sound_for_video
from visual_echoes.windows import plan_windows

RATE = tiny.LAYOUT.sample_rate
WINDOWS = len(plan_windows(tiny.LAYOUT, round(2.5 * RATE)))


def video(content: bytes, name: str = "clip.mp4") -> dict[str, Any]:
    return {"image": (name, content)}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def submitted(service: Service, content: bytes | None = None, **options: Any) -> Job:
    return SoundForm.of(image=sent(content or clip(), "clip.mp4"), steps=1, **options).submit(service)


def test_a_video_gets_a_sound_as_long_and_comes_back_with_it(
    client: TestClient, echoes: VisualEchoes, tmp_path: Path, disk: Path
) -> None:
    source = clip()
    status = made(client, "sound", files=video(source, "C:\\my clip.mp4"), data={"seed": 3, "steps": 2})
    assert (status["files"], status["seeds"]) == (["1.wav", "1.mp4"], [3])
    assert (status["unit"], status["done"], status["total"]) == ("window", WINDOWS, WINDOWS)
    assert WINDOWS > 5
    assert not list(disk.iterdir())
    wav, mp4 = (fetched(client, status, name) for name in status["files"])
    assert packets_of(mp4) == packets_of(source)
    (tmp_path / "in.mp4").write_bytes(source)
    alone, _ = sound_for_video(echoes, tmp_path / "in.mp4", tmp_path / "out", seed=3, steps=2)
    assert np.array_equal(wave_of(wav), wave_of(alone.read_bytes()))
    assert len(wave_of(wav)) == round(2.5 * RATE)
    for content, name in ((wav, "1.wav"), (mp4, "1.mp4")):
        (tmp_path / name).write_bytes(content)
        metadata = read_metadata(tmp_path / name)
        assert (metadata["source"], metadata["seed"], metadata["synthetic"]) == ("my clip.mp4", "3", "true")


def test_what_mp4_cannot_hold_comes_back_as_matroska(client: TestClient) -> None:
    source = clip(8, container="webm", codec="libvpx")
    status = made(client, "sound", files=video(source, "clip.webm"), data={"steps": 1})
    assert status["files"] == ["1.wav", "1.mkv"]
    answer = client.get(f"{JOBS}/{status['id']}/files/1.mkv")
    assert answer.headers["content-type"] == "video/matroska"
    assert packets_of(answer.content) == packets_of(source)


def test_a_video_of_one_frame_has_a_sound_as_long_as_the_frame(client: TestClient) -> None:
    status = made(client, "sound", files=video(clip(1, rate=4)), data={"steps": 1})
    assert len(wave_of(fetched(client, status, "1.wav"))) == RATE / 4


def test_each_variant_has_its_seed(client: TestClient) -> None:
    status = made(client, "sound", files=video(clip(8)), data={"seed": 5, "count": 2, "steps": 3})
    assert (status["files"], status["seeds"]) == (["1.wav", "1.mp4", "2.wav", "2.mp4"], [5, 6])
    assert status["done"] == status["total"] == 2 * len(plan_windows(tiny.LAYOUT, round(0.8 * RATE)))
    second = made(client, "sound", files=video(clip(8)), data={"seed": 6, "steps": 3})
    one, other = wave_of(fetched(client, status, "2.wav")), wave_of(fetched(client, second, "1.wav"))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, wave_of(fetched(client, status, "1.wav")))


def test_the_own_sound_stays_where_that_is_asked_for(client: TestClient, tmp_path: Path) -> None:
    source, pitch = clip(10, pitch=3000.0), 3000.0
    levels = []
    for number, data in enumerate(({}, {"mix_db": 0.0})):
        status = made(client, "sound", files=video(source), data={"steps": 1, **data})
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(fetched(client, status, "1.mp4"))
        wave = read_audio(path, 16_000)
        levels.append(abs(np.exp(-2j * np.pi * pitch * np.arange(len(wave)) / 16_000) @ wave) / len(wave))
    assert levels[1] > 0.1 > 2 * levels[0]  # a tone of amplitude 0.5, halved, is half of that on either side


def test_an_image_may_have_a_sound_of_a_length(client: TestClient) -> None:
    files = {"image": ("dog.png", png())}
    status = made(client, "sound", files=files, data={"seconds": 1.5, "steps": 1, "count": 2})
    assert status["files"] == ["1.wav", "1.mp4", "2.wav", "2.mp4"]
    assert len(wave_of(fetched(client, status, "2.wav"))) == round(1.5 * RATE)
    assert status["unit"] == "window"


def only_a_tone() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.5 * np.sin(np.arange(4000) / 3), RATE, format="OGG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "data", "said"),
    [
        (clip(13, rate=1), {}, "clip.mp4 would be 13.0 s long, more than the 10 s that this server makes; ask for"),
        (clip(4, rate=1), {"count": 3}, "3 sounds of 4.0 s for clip.mp4 are more than the 10 s"),
        (png(), {"seconds": 11}, "clip.mp4 would be 11.0 s long, more than the 10 s"),
        (only_a_tone(), {}, "clip.mp4 holds a sound and no image; use an image or a video"),
        (b"", {}, "clip.mp4 is empty"),
        (clip()[:400], {}, "clip.mp4 is damaged, incomplete or not a video"),
        (clip(8), {"mix_db": 0}, "clip.mp4 has no sound to keep beneath"),
        (clip(8), {"mix_db": 12.1}, "The value of mix_db cannot be used"),
        (clip(8), {"mix_db": -61}, "The value of mix_db cannot be used"),
        (clip(8), {"mix_db": "nan"}, "The value of mix_db cannot be used"),
        (clip(8), {"seconds": 3}, "clip.mp4 is a video, whose sound is as long as it is; leave out seconds"),
        (clip(8), {"steps": 101}, "The value of steps cannot be used"),
        (png(), {"mix_db": 0}, "clip.mp4 is an image, without a sound; leave out mix_db"),
        (png(), {"seconds": 0}, "The value of seconds cannot be used"),
        (png(), {"seconds": "inf"}, "The value of seconds cannot be used"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    client: TestClient, service: Service, disk: Path, content: bytes, data: dict[str, Any], said: str
) -> None:
    service.longest = 10.0
    answer = client.post(f"{JOBS}/sound", files=video(content), data=data)
    assert answer.status_code == 422, answer.text
    detail = answer.json()["detail"]
    assert said in detail
    assert detail.endswith(".")
    assert str(disk) not in detail
    assert not list(disk.iterdir())


def test_variants_have_no_more_bytes_together_than_one_may_have(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clip(8)
    monkeypatch.setattr(forms, "MAX_UPLOAD_BYTES", 2 * len(source))
    answer = client.post(f"{JOBS}/sound", files=video(source), data={"count": 3})
    assert (answer.status_code, "3 variants of clip.mp4 have" in answer.text) == (422, True)
    assert client.post(f"{JOBS}/sound", files=video(source), data={"count": 2, "steps": 1}).status_code == 202


def test_the_limit_is_in_the_description(client: TestClient) -> None:
    description = client.get(f"{API}/openapi.json").json()
    assert f"up to {LONGEST_SOUND:g} seconds of sound" in description["info"]["description"]
    fields = description["components"]["schemas"]["SoundForm"]["properties"]
    assert {"minimum": -60, "maximum": 12}.items() <= fields["mix_db"]["anyOf"][0].items()
    assert "video" in fields["image"]["description"]


def test_a_job_that_is_cancelled_between_windows_leaves_nothing(service: Service, disk: Path) -> None:
    with held(service):
        job = submitted(service)
        pass_window = job.pass_window

        def leave(row: int, done: int, windows: int) -> None:
            if done == 2:
                service.cancel(job)
            pass_window(row, done, windows)

        job.pass_window = leave  # type: ignore[method-assign]
    status = wait(job)
    assert (status.state, status.done, status.files, job.heard) == ("cancelled", 2, (), [])
    assert not list(disk.iterdir())
    assert wait(submitted(service, clip(3))).state == "done"


def test_a_job_that_waits_or_fails_lets_go_of_its_video(
    service: Service, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(service):
        first, second = submitted(service), submitted(service)
        assert list(disk.iterdir())
        assert (first.status().ahead, second.status().ahead) == (0, 1)  # others are not before it
        service.cancel(second)
        assert second.status().state == "cancelled"
    assert wait(first).state == "done"
    assert not list(disk.iterdir())
    status = wait(submitted(service, label="cat"))
    assert (status.state, status.error is not None and "label" in status.error) == ("failed", True)
    assert not list(disk.iterdir())


def test_short_jobs_go_between_the_windows_and_change_nothing(service: Service) -> None:
    with held(service):
        long = submitted(service)
        hear = long.hear
        others: list[Job] = []

        def look(*heard: Any) -> None:
            hear(*heard)
            if not others:
                others.append(PairForm.of(steps=1).submit(service))

        long.hear = look  # type: ignore[method-assign, assignment]
    assert wait(long).state == "done"
    (short,) = others
    assert wait(short).state == "done"
    assert short.ended is not None
    assert long.ended is not None
    assert short.ended < long.ended
    alone = submitted(service)
    assert wait(alone).state == "done"
    assert alone.files["1.wav"] == long.files["1.wav"]


def test_decoding_a_video_takes_no_turn(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts are looked for in all of its frames, which may take a minute."""
    reading, go_on = threading.Event(), threading.Event()

    def slow(_: Path) -> list[float]:
        reading.set()
        assert go_on.wait(PATIENCE)
        return []

    monkeypatch.setattr("visual_echoes.soundtrack.read_cuts", slow)
    long = submitted(service)
    assert reading.wait(PATIENCE)
    assert wait(PairForm.of(steps=1).submit(service)).state == "done"
    go_on.set()
    assert wait(long).state == "done"


def test_closing_ends_a_long_job_at_its_window(service: Service, disk: Path) -> None:
    with held(service):
        job = submitted(service)
        pass_window, closing = job.pass_window, threading.Thread(target=service.close)

        def leave(row: int, done: int, windows: int) -> None:
            if done == 1:
                closing.start()
                while not job._cancelled.is_set():
                    pass
            pass_window(row, done, windows)

        job.pass_window = leave  # type: ignore[method-assign]
    assert wait(job).state == "cancelled"
    closing.join()
    assert not service.alive
    assert not list(disk.iterdir())


def test_the_page_is_shown_frames_and_the_api_decodes_none_for_it() -> None:
    for form, frames in ((WatchedForm, 10), (SoundForm, 0)):
        task = form.of(image=sent(clip(), "clip.mp4")).task(tiny.LAYOUT)
        assert len(task.make.frames) == frames  # type: ignore[union-attr]
        task.held.close()


def test_a_full_disk_is_said_without_a_path(service: Service, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("visual_echoes.soundtrack.open_wav", full)
    status = wait(submitted(service))
    assert status.error == "1.wav cannot be written (No space left on device); free some space on the disk."
