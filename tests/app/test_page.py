"""The page's own protocol, spoken by someone who is no browser: which files and addresses it can be made to open."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.clips import clip
from app.conftest import png
from visual_echoes.model.settings import SamplingSettings


def dependency(client: TestClient, labels: list[str]) -> dict[str, Any]:
    """The first event whose inputs have these labels."""
    config = client.get("/config").json()
    named = {component["id"]: component["props"].get("label") for component in config["components"]}
    found: dict[str, Any] = next(d for d in config["dependencies"] if [named[i] for i in d["inputs"]] == labels)
    return found


def labels_with(client: TestClient, label: str) -> list[str]:
    """The labels of the inputs of the first event that has one of this label."""
    config = client.get("/config").json()
    named = {component["id"]: component["props"].get("label") for component in config["components"]}
    inputs = ([named[i] for i in d["inputs"]] for d in config["dependencies"])
    return next(labels for labels in inputs if label in labels)


def spoken(client: TestClient, data: list[Any], labels: list[str]) -> str:
    """What an event answers to data, as the text of its messages."""
    session = uuid.uuid4().hex
    body = {"data": data, "fn_index": dependency(client, labels)["id"], "session_hash": session, "trigger_id": 0}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        lines = []
        for line in stream.iter_lines():
            lines.append(line)
            if "process_completed" in line:
                break
    return "\n".join(lines)


def sent(path: str, name: str = "a.png") -> dict[str, Any]:
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def seen(client: TestClient, file: Any) -> str:
    """What the page says to a image."""
    return spoken(client, ["tiny", file], ["Model", "Image"])


def test_an_uploaded_image_is_seen(page: TestClient, uploads: Path) -> None:
    (path,) = page.post("/gradio_api/upload", files={"files": ("a.png", png())}).json()
    assert Path(path).is_relative_to(uploads)
    assert "what the model sees" in seen(page, sent(path))


@pytest.mark.parametrize("name", ["../../escape.png", "/etc/escape.png", "..\\..\\escape.png", "a/../../escape.png"])
def test_an_upload_cannot_choose_its_place(page: TestClient, uploads: Path, name: str) -> None:
    (path,) = page.post("/gradio_api/upload", files={"files": (name, png())}).json()
    assert Path(path).resolve().is_relative_to(uploads.resolve())
    assert not list(uploads.parent.glob("escape*"))


def test_files_that_were_not_uploaded_are_not_opened(page: TestClient, uploads: Path, tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(png())
    stored = files_in(uploads)
    for file in (sent(str(path)), {"path": str(path)}, sent("/etc/passwd"), {"url": f"file://{path}", "path": None}):
        assert "what the model sees" not in seen(page, file)
    assert files_in(uploads) == stored  # nor copied to where they would be given out


def test_links_are_not_followed_out_of_the_uploads(page: TestClient, uploads: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    (path,) = page.post("/gradio_api/upload", files={"files": ("a.png", png())}).json()
    Path(path).unlink()
    Path(path).symlink_to(secret)
    assert "what the model sees" not in seen(page, sent(path))


def test_addresses_are_not_fetched(page: TestClient) -> None:
    answer = seen(page, sent("http://example.com/a.png"))
    assert "what the model sees" not in answer
    assert "send the file itself" in answer


def test_archives_are_no_images(page: TestClient) -> None:
    (path,) = page.post("/gradio_api/upload", files={"files": ("a.zip", b"PK\3\4")}).json()
    assert "a.zip is damaged, incomplete or not an image" in seen(page, sent(path, "a.zip"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (clip(), "0.0 of 2.5 s are made"),
        (clip(121, rate=1), "The sound for a.mp4 would be 121.0 s long, more than the 120 s that this server makes"),
        (b"broken", "a.mp4 is damaged, incomplete or not a video"),
        (b"", "a.mp4 is empty"),
    ],
)
def test_a_video_is_seen_on_its_timeline(page: TestClient, content: bytes, said: str) -> None:
    (path,) = page.post("/gradio_api/upload", files={"files": ("a.mp4", content)}).json()
    answer = spoken(page, ["tiny", sent(path, "a.mp4")], ["Model", "Video"])
    assert said in answer
    assert path not in answer


def test_a_video_gets_its_sound_on_the_page(page: TestClient) -> None:
    (path,) = page.post("/gradio_api/upload", files={"files": ("a.mp4", clip(pitch=440.0))}).json()
    labels = labels_with(page, "Level of its own sound in dB")
    values = {"Model": "tiny", "Seed": 5, "Variants": 1, "Sampling settings": "My own", "Steps": 1, "Video": sent(path)}
    values |= {"Keep the video's own sound beneath": True, "Level of its own sound in dB": -6}
    own = SamplingSettings().model_dump()
    titles = {field.title: own[name] for name, field in SamplingSettings.model_fields.items()}
    answer = spoken(page, [values.get(label, titles.get(label)) for label in labels], labels)
    assert "Reading what is given." in answer
    (name,) = set(re.findall(r"api/v1/jobs/[\w-]+/files/1\.mp4", answer))
    assert page.get(f"/{name}").headers["content-type"] == "video/mp4"


@pytest.mark.parametrize("path", ["/etc/passwd", "{uploads}/../secret.png", "/proc/self/environ"])
def test_only_uploads_are_given_out(page: TestClient, uploads: Path, path: str) -> None:
    (uploads.parent / "secret.png").write_bytes(png())
    answer = page.get(f"/gradio_api/file={path.format(uploads=uploads)}")
    assert answer.status_code in (403, 404)


def test_a_broken_upload_names_no_path_of_the_server(page: TestClient, uploads: Path) -> None:
    (path,) = page.post("/gradio_api/upload", files={"files": ("a.png", b"broken")}).json()
    completed = next(line for line in seen(page, sent(path)).splitlines() if '"process_completed"' in line)
    (shown,) = json.loads(completed.removeprefix("data: "))["output"]["data"]
    assert "a.png is damaged" in shown
    assert str(uploads) not in shown


def test_the_page_loads_nothing_from_elsewhere(page: TestClient) -> None:
    html = page.get("/").text
    assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["']?https?://(?!127\.0\.0\.1)""", html)
    config = page.get("/config").json()
    assert config["analytics_enabled"] is False
    assert config.get("footer_links") == []
    assert not any(d["api_visibility"] == "public" for d in config["dependencies"])
