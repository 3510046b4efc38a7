"""The HTTP API as a program uses it: every task, its progress and files, and what is refused."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from starlette.testclient import TestClient

import tiny
from app.conftest import Brake, png, wait
from app.recorded import RECORDINGS
from visual_echoes.app.api import API
from visual_echoes.app.limits import MAX_STEPS, MAX_VARIANTS, MAX_WAITING
from visual_echoes.app.service import Service
from visual_echoes.pipeline import VisualEchoes

JOBS = f"{API}/jobs"
IMAGE = {"image": ("dog.png", png(), "image/png")}


def made(client: TestClient, task: str, **request: Any) -> dict[str, Any]:
    """The status of a finished job of a task."""
    answer = client.post(f"{JOBS}/{task}", **request)
    assert answer.status_code == 202, answer.text
    place = answer.headers["location"]
    assert place == f"{JOBS}/{answer.json()['id']}"
    with client.stream("GET", f"{place}/events") as stream:
        *_, last = (line for line in stream.iter_lines() if line.startswith("data: "))
    status: dict[str, Any] = client.get(place).json()
    assert json.loads(last.removeprefix("data: ")) == status
    assert status["state"] == "done", status
    return status


def fetched(client: TestClient, status: dict[str, Any], name: str) -> bytes:
    answer = client.get(f"{JOBS}/{status['id']}/files/{name}")
    assert answer.status_code == 200
    return answer.content


def wave_of(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def test_a_image_gets_sounds(client: TestClient, echoes: VisualEchoes) -> None:
    status = made(client, "sound", files=IMAGE, data={"seed": 3, "count": 2, "steps": 2, "guidance": 1.5})
    assert status["files"] == ["1.wav", "1.mp4", "2.wav", "2.mp4"]
    assert (status["seeds"], status["done"], status["confidence"]) == ([3, 4], 2, [None, None])
    picture = Image.open(io.BytesIO(png()))
    expected = echoes.image_to_audio([picture], seed=4, steps=2, guidance=1.5).audio
    assert expected is not None
    assert np.abs(wave_of(fetched(client, status, "2.wav")) - expected[0]).max() < 1e-3
    assert fetched(client, status, "1.mp4")[4:8] == b"ftyp"


def test_a_sound_gets_a_image(client: TestClient, echoes: VisualEchoes, wav: bytes, tmp_path: Path) -> None:
    status = made(client, "picture", files={"sound": ("dog.wav", wav)}, data={"seed": 3})
    (tmp_path / "dog.wav").write_bytes(wav)
    expected = echoes.audio_to_image([tmp_path / "dog.wav"], seed=3).images
    assert expected is not None
    picture = Image.open(io.BytesIO(fetched(client, status, "1.png")))
    assert (np.asarray(picture) == expected[0, ..., 0]).all()
    picture.load()
    assert picture.text["source"] == "dog.wav"  # type: ignore[attr-defined]


def test_pairs_come_from_nothing(client: TestClient) -> None:
    status = made(client, "pair", data={"pair_order": "audio_first", "model": "other"})
    assert (status["model"], status["files"], status["done"]) == ("other", ["1.png", "1.wav", "1.mp4"], 8)


def test_a_marked_part_of_a_image_is_made_anew(client: TestClient, echoes: VisualEchoes) -> None:
    size = tiny.LAYOUT.image_size
    mask = Image.new("L", (size, size))
    mask.paste(255, (0, 0, size, size // 2))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    files = {"image": ("a.png", png(size=(size, size))), "mask": ("mask.png", buffer.getvalue())}
    new = np.asarray(Image.open(io.BytesIO(fetched(client, made(client, "fill", files=files), "1.png"))))
    old = np.asarray(Image.open(io.BytesIO(png(size=(size, size)))).convert("L"))
    assert (new[size // 2 :] == old[size // 2 :]).all()
    assert (new[: size // 2] != old[: size // 2]).mean() > 0.5


def test_a_marked_stretch_of_a_sound_is_made_anew(client: TestClient, wav: bytes) -> None:
    files = {**IMAGE, "sound": ("a.wav", wav)}
    whole = wave_of(fetched(client, made(client, "fill", files=files, data={"start": 0.0}), "1.wav"))
    part = wave_of(fetched(client, made(client, "fill", files=files, data={"start": 0.2, "end": 0.25}), "1.wav"))
    assert len(whole) == len(part) == tiny.LAYOUT.samples
    assert np.abs(whole - part).max() > 0.01


def test_a_sound_goes_on(client: TestClient, wav: bytes) -> None:
    status = made(client, "continue", files={"sound": ("a.wav", wav)}, data={"keep": 0.1, "count": 2})
    first, second = (wave_of(fetched(client, status, f"{number}.wav")) for number in (1, 2))
    assert status["task"] == "continue"
    assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize("side", ["image", "sound", "both"])
def test_a_result_is_varied(client: TestClient, wav: bytes, side: str) -> None:
    size = tiny.LAYOUT.image_size
    given = png(size=(size, size))
    files = {"image": ("a.png", given), "sound": ("a.wav", wav)}
    status = made(client, "vary", files=files, data={"side": side, "share": 0.3})
    alone = {"image": ["1.png"], "sound": ["1.wav"], "both": ["1.png", "1.wav"]}[side]
    assert status["files"] == [*alone, "1.mp4"]  # of what comes back as it was, no file is made
    if side != "sound":
        new = np.asarray(Image.open(io.BytesIO(fetched(client, status, "1.png"))))
        assert 0.6 < (new == np.asarray(Image.open(io.BytesIO(given)).convert("L"))).mean() < 0.8


def test_events_show_the_grids_as_they_fill(client: TestClient) -> None:
    job = client.post(f"{JOBS}/pair", data={"steps": 3}).json()["id"]
    with client.stream("GET", f"{JOBS}/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line]
    grids = [
        json.loads(data.removeprefix("data: "))
        for event, data in zip(lines[::2], lines[1::2], strict=True)
        if event == "event: grids"
    ]
    assert [grid["done"] for grid in grids] == [1, 2, 3]
    assert [len(grid["image"][0]) for grid in grids] == [tiny.LAYOUT.image_tokens] * 3
    assert -1 in grids[0]["audio"][0]
    assert -1 not in grids[2]["audio"][0]


def test_deleting_a_job_cancels_it(client: TestClient, service: Service) -> None:
    brake = Brake()
    job = service.submit(None, brake.task)
    assert brake.started.wait(60)
    assert client.delete(f"{JOBS}/{job.id}").status_code == 204
    brake.let(1)
    assert wait(job).state == "cancelled"
    assert client.get(f"{JOBS}/{job.id}").status_code == 404


def test_a_full_queue_says_when_to_come_back(client: TestClient, service: Service) -> None:
    brake = Brake()
    service.submit(None, brake.task)
    assert brake.started.wait(60)
    for _ in range(MAX_WAITING):
        assert client.post(f"{JOBS}/pair").status_code == 202
    answer = client.post(f"{JOBS}/sound", files=IMAGE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert answer.json()["detail"] == "16 jobs are waiting already, as many as fit; try again in a minute."
    brake.let(3)


@pytest.mark.parametrize(
    ("task", "files", "data", "said"),
    [
        ("sound", {"image": ("a.svg", b"<svg/>")}, {}, "a.svg is an image in the format SVG, which is not read"),
        ("sound", {"image": ("a.png", b"no picture")}, {}, "a.png is damaged, incomplete or not an image"),
        ("sound", {"image": ("a.png", b"")}, {}, "a.png is empty"),
        ("sound", {"image": ("../../etc/passwd", b"")}, {}, "passwd is empty"),
        ("sound", {"image": ("..\\..\\a.png", b"x")}, {}, "a.png is damaged"),
        ("sound", {"image": ("a.mp4", b"x")}, {}, "a.mp4 is damaged, incomplete or not an image"),
        ("sound", {}, {}, "The value of image cannot be used"),
        ("sound", IMAGE, {"count": MAX_VARIANTS + 1}, "The value of count cannot be used"),
        ("sound", IMAGE, {"steps": MAX_STEPS + 1}, "The value of steps cannot be used"),
        ("sound", IMAGE, {"temperature": "nan"}, "The value of temperature cannot be used"),
        ("sound", IMAGE, {"model": "/etc"}, "There is no model '/etc' here"),
        ("sound", IMAGE, {"folder": "/etc"}, "The value of folder cannot be used"),
        ("sound", {**IMAGE, "picture": ("a.png", png())}, {}, "The value of picture cannot be used"),
        ("sound", {}, {"image": "a.png"}, "The value of image cannot be used: it is text; send a file"),
        ("sound", {**IMAGE, "seed": ("a", b"1")}, {}, "The value of seed cannot be used"),
        ("sound", IMAGE, {"seed": ["1", "2"]}, "The field seed is sent 2 times; send each field once"),
        ("pair", {}, {"seed": ["1", "1"]}, "The field seed is sent 2 times; send each field once"),
        ("pair", {}, {"seed": "null"}, "The value of seed cannot be used"),
        ("pair", {}, {"guidance": "1e400"}, "The value of guidance cannot be used"),
        ("pair", {}, {"model": "a\x00\u00a0"}, "There is no model 'a\\x00\u00a0' here"),
        ("picture", {"sound": ("a.wav", b"RIFF")}, {}, "a.wav is damaged, incomplete or not a sound"),
        ("picture", {"sound": ("a.m3u8", b"#EXTM3U")}, {}, "a.m3u8 is damaged, incomplete or not a sound"),
        ("picture", {"sound": ("a.mp3", b"#EXTM3U\nhttp://127.0.0.1/x.mp3")}, {}, "a.mp3 is damaged"),
        ("fill", {}, {}, "Nothing is marked"),
        ("fill", IMAGE, {}, "Nothing is marked"),
        ("fill", IMAGE, {"start": 0.1}, "marked of something that is not given"),
        ("fill", IMAGE, {"start": "nan"}, "is empty"),
        ("fill", IMAGE, {"end": 1}, "an end without a start"),
        ("vary", IMAGE, {}, "What is to be varied is missing"),
        ("vary", IMAGE, {"side": "image", "share": 0}, "The value of share cannot be used"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    client: TestClient, task: str, files: dict[str, Any], data: dict[str, Any], said: str
) -> None:
    answer = client.post(f"{JOBS}/{task}", files=files, data=data)
    assert answer.status_code == 422, answer.text
    detail = answer.json()["detail"]
    assert said in detail
    assert detail.endswith(".")
    assert "/tmp" not in detail


def test_nothing_of_a_request_is_ignored(client: TestClient) -> None:
    requests: list[tuple[dict[str, Any], str]] = [
        ({"json": {"seed": 5}}, "A body of type application/json is not read; send a form"),
        ({"content": b"seed=5", "headers": {"content-type": "text/plain"}}, "A body of type text/plain is not read"),
        ({"content": [b'{"seed":', b"5}"]}, "A body of type unknown is not read"),  # without a length
        ({"params": {"seed": 5}}, "Settings in the address are not read"),
        ({"params": {"seed": 5}, "data": {"count": 1}}, "Settings in the address are not read"),
    ]
    for task in ("sound", "picture", "pair", "fill", "continue", "vary"):
        for request, said in requests:
            answer = client.post(f"{JOBS}/{task}", **request)
            assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text


def test_two_files_in_one_field_are_refused(client: TestClient) -> None:
    two = [("image", ("a.png", png())), ("image", ("b.png", png(1)))]
    answer = client.post(f"{JOBS}/sound", files=two)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "The field image is sent 2 times; send each field once."


@pytest.mark.parametrize("name", RECORDINGS)
def test_what_a_browser_records_is_taken(client: TestClient, name: str) -> None:
    """Their recorders call it `blob` and write to a stream, without a length."""
    status = made(client, "picture", files={"sound": ("blob", RECORDINGS[name], "audio/webm;codecs=opus")})
    assert status["files"] == ["1.png", "1.mp4"]


def test_the_content_decides_and_not_the_name(client: TestClient, wav: bytes) -> None:
    """A canvas calls its image `blob`; of a video the middle frame is taken, as the command does."""
    for content in (png(), RECORDINGS["Chrome with a camera"]):
        assert made(client, "sound", files={"image": ("blob", content)})["state"] == "done"
    answer = client.post(f"{JOBS}/sound", files={"image": ("a.png", wav)})
    assert (answer.status_code, "a.png holds a sound and no image" in answer.text) == (422, True)
    answer = client.post(f"{JOBS}/picture", files={"sound": ("a.wav", png())})
    assert (answer.status_code, "a.wav is damaged, incomplete or not a sound" in answer.text) == (422, True)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH"])
def test_other_methods_are_told_which_there_are(client: TestClient, method: str) -> None:
    answer = client.request(method, f"{API}/models")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    answer = client.request(method, f"{API}/nothing")
    assert answer.status_code == 404
    assert method == "HEAD" or answer.json()["detail"] == "There is nothing at this address."


@pytest.mark.parametrize("keep", [0, -1, 1000, "nan", "inf"])
def test_a_sound_cannot_go_on_from_more_than_the_model_makes(client: TestClient, wav: bytes, keep: Any) -> None:
    answer = client.post(f"{JOBS}/continue", files={"sound": ("a.wav", wav)}, data={"keep": keep})
    assert (answer.status_code, "cannot be kept" in answer.json()["detail"]) == (422, True)


def test_a_bomb_is_refused_before_it_is_decoded(client: TestClient) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    answer = client.post(f"{JOBS}/sound", files={"image": ("bomb.png", buffer.getvalue())})
    assert (answer.status_code, "bomb.png has more than 50 megapixels" in answer.text) == (422, True)


def test_the_field_of_images_may_have_its_former_name(client: TestClient) -> None:
    status = made(client, "sound", files={"picture": IMAGE["image"]}, data={"steps": 1})
    assert status["files"] == ["1.wav", "1.mp4"]
    description = client.get(f"{API}/openapi.json").text
    assert '"image"' in description
    assert '"picture"' not in description


@pytest.mark.parametrize("content", [png(), b"broken"])
def test_uploads_leave_nothing_on_the_disk(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    client.post(f"{JOBS}/sound", files={"image": ("a.png", content)})
    assert not [path for path in folder.iterdir() if path.name.startswith("echoes-upload")]


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-3", 206, slice(0, 4)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-4", 206, slice(-4, None)),
        ("bytes=-999999999", 206, slice(None)),
        ("bytes=8-999999999", 206, slice(8, None)),
        ("bytes=999999999-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
        ("bytes=5-3", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("bytes=0-1,4-5", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
        ("bytes=" + "9" * 5000 + "-", 200, slice(None)),
    ],
)
def test_players_may_ask_for_a_part_of_a_file(client: TestClient, asked: str, status: int, part: slice) -> None:
    job = made(client, "pair", data={"steps": 1})
    place, whole = f"{JOBS}/{job['id']}/files/1.wav", fetched(client, job, "1.wav")
    answer = client.get(place, headers={"range": asked})
    assert (answer.status_code, answer.content) == (status, whole[part])
    assert answer.headers["accept-ranges"] == "bytes"
    if status == 206:
        first = len(whole) - len(whole[part]) if asked[6] == "-" else part.start or 0
        last = first + len(answer.content) - 1
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


@pytest.mark.parametrize("name", ["2.wav", "%2e%2e%2f1.wav", "../../../etc/passwd", "1.wav/..", "1.wav%00"])
def test_only_a_job_s_own_files_are_given_out(client: TestClient, name: str) -> None:
    status = made(client, "pair", data={"steps": 1})
    assert client.get(f"{JOBS}/{status['id']}/files/{name}").status_code in (404, 405)


@pytest.mark.parametrize("path", ["", "/events", "/files/1.wav"])
def test_nobody_finds_another_one_s_job(client: TestClient, path: str) -> None:
    made(client, "pair", data={"steps": 1})
    answer = client.get(f"{JOBS}/another{path}")
    assert (answer.status_code, "no such job" in answer.json()["detail"]) == (404, True)


def test_models_are_described(client: TestClient) -> None:
    assert client.get(f"{API}/models").json() == {"models": ["tiny", "other"]}
    view = client.get(f"{API}/models/tiny").json()
    assert view["audio_grid"] == list(tiny.LAYOUT.audio_grid)
    assert view["sampling"]["steps"] == 4
    assert client.get(f"{API}/models/third").status_code == 404


def test_health_and_figures(client: TestClient, service: Service) -> None:
    assert client.get("/healthz").json() == {"alive": True, "waiting": 0}
    made(client, "pair", data={"steps": 1})
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (extra app)")
    lines = client.get("/metrics").text.splitlines()
    assert 'echoes_jobs_total{state="done"} 1.0' in lines
    assert "echoes_jobs_waiting_limit 16.0" in lines
    service.close()
    assert client.get("/healthz").status_code == 503


def test_the_description_asks_for_nothing_from_elsewhere(client: TestClient) -> None:
    description = client.get(f"{API}/openapi.json").json()
    assert f"{JOBS}/sound" in description["paths"]
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_all_files_of_some_jobs_come_as_one_archive(client: TestClient, service: Service) -> None:
    names = [made(client, "pair", data={"steps": 1, "seed": seed})["id"] for seed in (3, 4)]
    answer = client.get(f"{API}/zip", params={"job": [*names, "unknown"]})
    assert answer.headers["content-disposition"] == 'attachment; filename="visual-echoes.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {
            f"{number:02}-pair-seed{seed}.{kind}" for number, seed in ((1, 3), (2, 4)) for kind in ("png", "wav", "mp4")
        }
        assert archive.read("02-pair-seed4.wav") == service.job(names[1]).files["1.wav"]
    assert client.get(f"{API}/zip", params={"job": "unknown"}).status_code == 404
    assert client.get(f"{API}/zip").status_code == 422
    assert client.get(f"{API}/zip", params={"job": ["x"] * 1000}).status_code == 422
