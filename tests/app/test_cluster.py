"""The deployment of Ray Serve: requests that come at the same time are one batch, and each gets its own."""

from __future__ import annotations

import http.client
import io
import socket
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from app.clips import clip
from app.conftest import PATIENCE, TOKEN, png
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.soundtrack import sound_for_video

ray = pytest.importorskip("ray", reason="ray is not installed (extra test-all)")
serve = pytest.importorskip("ray.serve", reason="Ray Serve is not installed (extra test-all)")

SOURCE = Path(__file__).parents[2] / "src"
START = 300  # seconds; Ray starts half a dozen processes, and a busy machine is no failure


@pytest.fixture(scope="module")
def cluster(model_folder: Path) -> Iterator[httpx.Client]:
    """A visitor with the token, of a deployment that waits long enough for three variants to come together."""
    from visual_echoes.app.cluster import application

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:  # what Ray starts inherits it
        patch.setenv("PYTHONPATH", str(SOURCE))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_worker_niceness", "0")  # else whatever runs beside it comes first
        for check in ("READY", "HEALTH"):
            patch.setenv(f"RAY_SERVE_PROXY_{check}_CHECK_TIMEOUT_S", str(START))
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
        try:
            with suppress(TimeoutError):  # of 60 seconds; it goes on starting, which is waited for below
                serve.start(http_options={"host": "127.0.0.1", "port": port})
            serve.run(application({"model": str(model_folder), "device": "cpu", "batch_delay": "2", "token": TOKEN}))
            address, headers = f"http://127.0.0.1:{port}/api/v1", {"authorization": f"Bearer {TOKEN}"}
            with httpx.Client(base_url=address, timeout=PATIENCE, headers=headers) as client:
                deadline = time.monotonic() + START
                while not listening(port) and time.monotonic() < deadline:
                    time.sleep(0.1)
                yield client
            serve.shutdown()
        finally:
            ray.shutdown()


def listening(port: int) -> bool:
    with socket.socket() as visitor:
        return visitor.connect_ex(("127.0.0.1", port)) == 0


def unpacked(answer: httpx.Response) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_requests_at_the_same_time_are_one_batch_and_each_gets_its_own(
    cluster: httpx.Client, echoes: VisualEchoes
) -> None:
    def ask(number: int) -> httpx.Response:
        data = {"seed": 10 * number, "count": number}
        return cluster.post("/sound", files={"image": (f"{number}.png", png(number))}, data=data)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, (1, 2)))
    assert [answer.headers.get("x-batch-items", answer.text) for answer in answers] == ["3", "3"]
    for number, answer in enumerate(answers, 1):
        files = unpacked(answer)
        assert list(files) == [f"{item + 1}.{kind}" for item in range(number) for kind in ("wav", "mp4")]
        picture = Image.open(io.BytesIO(png(number)))
        alone = echoes.image_to_audio([picture] * number, seed=10 * number).audio
        assert alone is not None
        for item, expected in enumerate(alone, 1):
            wave = soundfile.read(io.BytesIO(files[f"{item}.wav"]), dtype="float32")[0]
            assert np.abs(wave - expected).max() < 1e-4  # 16 bits


def test_what_is_not_alike_is_made_apart(
    cluster: httpx.Client, echoes: VisualEchoes, wav: bytes, tmp_path: Path
) -> None:
    def ask(guidance: float) -> httpx.Response:
        return cluster.post("/picture", files={"sound": ("a.wav", wav)}, data={"seed": 3, "guidance": guidance})

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, (1.0, 4.0)))
    (tmp_path / "a.wav").write_bytes(wav)
    for guidance, answer in zip((1.0, 4.0), answers, strict=True):
        assert answer.headers["x-batch-items"] == "1"
        expected = echoes.audio_to_image([tmp_path / "a.wav"], seed=3, guidance=guidance).images
        assert expected is not None
        assert (np.asarray(Image.open(io.BytesIO(unpacked(answer)["1.png"]))) == expected[0, ..., 0]).all()


def test_a_video_comes_back_with_its_sound_as_it_would_from_python(
    cluster: httpx.Client, echoes: VisualEchoes, tmp_path: Path
) -> None:
    sent = clip(8)
    answer = cluster.post("/sound", files={"image": ("a.mp4", sent)}, data={"seed": 3, "count": 2})
    files = unpacked(answer)
    assert list(files) == ["1.wav", "1.mp4", "2.wav", "2.mp4"]
    (tmp_path / "a.mp4").write_bytes(sent)
    for row in (1, 2):
        wav, _ = sound_for_video(echoes, tmp_path / "a.mp4", tmp_path / str(row), seed=row + 2)
        expected, _ = soundfile.read(wav, dtype="float32")
        made, _ = soundfile.read(io.BytesIO(files[f"{row}.wav"]), dtype="float32")
        assert made.shape == expected.shape
        assert np.abs(made - expected).max() < 1e-4  # 16 bits


def test_it_refuses_what_the_api_refuses(cluster: httpx.Client) -> None:
    picture = {"image": ("a.png", png())}
    refusals = [
        cluster.post("/sound", files={"image": ("a.svg", b"<svg/>")}),
        cluster.post("/sound", files={"image": ("a.png", b"no picture")}),
        cluster.post("/sound", files=picture, data={"count": 9}),
        cluster.post("/sound", files=picture, data={"model": "other"}),
        cluster.post("/sound", files=picture, data={"seconds": 121}),
        cluster.post("/sound", files=picture, headers={"authorization": ""}),
    ]
    assert [answer.status_code for answer in refusals] == [422, 422, 422, 422, 422, 401]
    said = [
        "an image in the format SVG, which is not read",
        "damaged",
        "value of count",
        "no model 'other'",
        "more than the 120 s that this server makes",
        "A token is needed",
    ]
    for answer, part in zip(refusals, said, strict=True):
        assert part in answer.json()["detail"]


def test_what_is_larger_than_the_api_takes_is_refused_before_it_is_sent(cluster: httpx.Client) -> None:
    connection = http.client.HTTPConnection(cluster.base_url.host, cluster.base_url.port or 0, timeout=PATIENCE)
    connection.putrequest("POST", f"{cluster.base_url.path}sound")
    connection.putheader("authorization", cluster.headers["authorization"])
    connection.putheader("content-length", str(101 * 1024**2))
    connection.putheader("expect", "100-continue")  # who sends without asking is answered once all is there
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, "100 MB" in answer.read().decode()) == (413, True)
    connection.close()
