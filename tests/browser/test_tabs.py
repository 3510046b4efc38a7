"""Each tab used as a person would, with real files and broken ones."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from PIL import Image

from app.clips import clip, packets_of
from app.proxy import behind_a_proxy
from browser.conftest import ENDLESS, EXAMPLES, NEEDED, SCENES, Visit, number, send, serving, setting, settings, tab
from visual_echoes.inputs import image_array
from visual_echoes.layout import get_layout
from visual_echoes.media import read_audio, read_frames, read_metadata
from visual_echoes.model.settings import PRESETS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

expect = pytest.importorskip("playwright.sync_api", reason=NEEDED).expect

FIRST_SOUND = 10  # seconds from the button to a sound on the page, on two cores that have nothing else to do
ALL_TOKENS = re.compile(r"(\d+) of \1 tokens")
UNDER_WAY = re.compile(r"Step \d+ of \d{3,}")
PLAYABLE_SECONDS = "audio => new Promise(done => { audio.oncanplay = () => done(audio.duration); audio.load(); })"
TOKEN = "a-token-for-the-browser"


def download(page: Page, place: Locator, kind: str, folder: Path) -> Path:
    """Save a file that the page offers."""
    with page.expect_download() as pending:
        place.get_by_role("link", name=kind).first.click()
    path = folder / pending.value.suggested_filename
    pending.value.save_as(path)
    return path


def test_a_image_gets_a_sound(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit(address + SCENES)
    setting(page, "Seed", 7)
    setting(page, "Variants", 2)
    place = tab(page, "To sound")
    send(place, EXAMPLES / "dog.png")
    expect(place.get_by_text("what the model sees")).to_be_visible()
    begin = time.monotonic()
    place.get_by_role("button", name="Make sounds").click()
    expect(place.locator("audio")).to_have_count(2)
    taken = time.monotonic() - begin
    print(f"two sounds {taken:.1f} s after the button, load {os.getloadavg()[0]:.1f}")
    assert taken < FIRST_SOUND or os.getloadavg()[0] > (os.cpu_count() or 1) + 1
    expect(place.get_by_text("Done.")).to_be_visible()
    expect(place.get_by_text("Seed 8.")).to_be_visible()
    expect(place.get_by_text("Taken for: dog; the model is")).to_be_visible()
    given = place.get_by_alt_text("the image that was given")
    assert given.evaluate("image => image.naturalWidth") == Image.open(EXAMPLES / "dog.png").width
    assert place.locator("audio").first.evaluate(PLAYABLE_SECONDS) > 2
    wav, mp4 = (download(page, place, kind, tmp_path) for kind in ("WAV", "MP4"))
    assert wav.name == "sound-seed7.wav"
    assert len(read_audio(wav, 16_000)) > 30_000
    assert read_frames(mp4, 1)
    for path in (wav, mp4):
        metadata = read_metadata(path)
        assert (metadata["source"], metadata["seed"], metadata["synthetic"]) == ("dog.png", "7", "true")


def test_a_sound_gets_a_image(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit(address)
    place = tab(page, "To image")
    send(place, EXAMPLES / "dog.wav")
    expect(place.get_by_text("seconds that the model hears")).to_be_visible()
    place.get_by_role("button", name="Make images").click()
    expect(place.get_by_alt_text("image of variant 1")).to_be_visible()
    png = download(page, place, "PNG", tmp_path)
    assert Image.open(png).size == (32, 32)
    assert read_metadata(png)["source"] == "dog.wav"


def test_a_pair_comes_from_nothing_with_settings_of_one_s_own(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit(address)
    settings(page).get_by_label("My own").check()
    setting(page, "Steps", 3)
    place = tab(page, "Pairs")
    place.get_by_label("Sound first").check()
    place.get_by_role("button", name="Make pairs").click()
    metadata = read_metadata(download(page, place, "PNG", tmp_path))
    assert (metadata["steps"], metadata["pair_order"], metadata["guidance"]) == ("3", "audio_first", "3.0")


def test_another_model_and_a_preset_can_be_chosen(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit(address)
    settings(page).get_by_label("Fast", exact=True).check()
    expect(page.get_by_label("Steps")).to_be_hidden()
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="scenes", exact=True).click()
    place = tab(page, "Edit")
    expect(place.get_by_role("checkbox")).to_have_count(64)
    place = tab(page, "Pairs")
    place.get_by_role("button", name="Make pairs").click()
    metadata = read_metadata(download(page, place, "WAV", tmp_path))
    assert metadata["model"] == "scenes"
    assert {key: metadata[key] for key in PRESETS["fast"]} == {key: str(v) for key, v in PRESETS["fast"].items()}


def test_a_painted_part_is_made_anew(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit(f"{address}{SCENES}&preset=fast")
    place = tab(page, "Edit")
    send(place, EXAMPLES / "cow.png")
    expect(place.get_by_role("checkbox")).to_have_count(64)
    box = place.get_by_test_id("checkbox-group").filter(has=page.get_by_label("row 1, column 1")).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 5, steps=20)  # along the first row
    page.mouse.up()
    expect(place.locator(".paint input:checked")).to_have_count(8)
    place.get_by_role("checkbox", name="row 2, column 1").focus()
    page.keyboard.press("Space")
    expect(place.locator(".paint input:checked")).to_have_count(9)
    place.get_by_role("button", name="Edit", exact=True).click()
    new = np.asarray(Image.open(download(page, place, "PNG", tmp_path)))
    old = image_array(EXAMPLES / "cow.png", get_layout("scenes"))
    assert (new[16:] == old[16:]).all()
    assert (new[8:16, 8:] == old[8:16, 8:]).all()
    assert (new[:8] != old[:8]).mean() > 0.5


def test_a_marked_stretch_is_made_anew(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit(address)
    place = tab(page, "Edit")
    send(place, EXAMPLES / "bird.png")
    send(place, EXAMPLES / "bird.wav", 1)
    expect(place.get_by_text("seconds that the model hears")).to_be_visible()
    number(place, "Make the sound anew from second", 0.2)
    number(place, "to second", 0.6)
    expect(place.locator(".mark")).to_be_visible()
    place.get_by_role("button", name="Edit", exact=True).click()
    assert read_metadata(download(page, place, "WAV", tmp_path))["source"] == "bird.png, bird.wav"


def test_a_result_is_taken_further(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit(address)
    place = tab(page, "Pairs")
    place.get_by_role("button", name="Make pairs").click()
    place.get_by_role("button", name="Edit this variant").click()
    place = page.get_by_role("tabpanel").filter(visible=True)
    expect(place.get_by_text("seconds that the model hears")).to_be_visible()
    for what, task in (("Continue the sound", "continue"), ("Vary", "vary")):
        place.get_by_label(what).check()
        place.get_by_role("button", name="Edit", exact=True).click()
        link = place.locator(f'a[download="{task}-seed0.wav"]')
        expect(link).to_be_visible()
        assert read_metadata(download(page, place, "WAV", tmp_path))["task"] == task


def test_a_running_job_can_be_cancelled(visit: Visit, address: str) -> None:
    page = visit(address + ENDLESS)
    place = page.get_by_role("tabpanel").filter(visible=True)
    place.get_by_role("button", name="Make pairs").click()
    expect(place.get_by_text(UNDER_WAY)).to_be_visible()
    place.get_by_role("button", name="Cancel").click()
    expect(place.get_by_text("Cancelled; nothing was kept.")).to_be_visible()
    expect(place.get_by_role("button", name="Cancel")).to_be_hidden()
    for name in ("Steps", "Variants", "Best of"):
        setting(page, name, 1)
    place.get_by_role("button", name="Make pairs").click()
    expect(place.locator("audio")).to_have_count(1)


def test_a_visitor_who_leaves_is_not_worked_for(visit: Visit, address: str) -> None:
    leaving = visit(address + ENDLESS)
    cancelled = re.compile(r'echoes_jobs_total{state="cancelled"} (\d+)')
    before = cancelled.search(leaving.request.get(f"{address}metrics").text())
    place = leaving.get_by_role("tabpanel").filter(visible=True)
    place.get_by_role("button", name="Make pairs").click()
    expect(place.get_by_text(UNDER_WAY)).to_be_visible()
    leaving.close()
    staying = visit(f"{address}?tab=pair&steps=1")
    place = staying.get_by_role("tabpanel").filter(visible=True)
    place.get_by_role("button", name="Make pairs").click()
    expect(place.locator("audio")).to_have_count(1)
    after = cancelled.search(staying.request.get(f"{address}metrics").text())
    assert int(after[1]) == int(before[1]) + 1


def test_a_video_gets_a_sound_window_by_window(visit: Visit, address: str, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(clip(30, size=(160, 120)))
    page = visit(f"{address}?tab=video&preset=fast")
    place = page.get_by_role("tabpanel").filter(visible=True)
    send(place, source)
    expect(place.get_by_alt_text("0.0 of 3.0 s are made")).to_be_visible()
    place.get_by_role("button", name="Make the sound").click()
    expect(place.get_by_text(re.compile(r"Window \d of \d"))).to_be_visible()
    expect(place.get_by_text("Done.")).to_be_visible()
    expect(place.get_by_alt_text("3.0 of 3.0 s are made")).to_be_visible()
    player = place.get_by_label("clip.mp4 with sound")
    assert player.evaluate(PLAYABLE_SECONDS) == pytest.approx(3, abs=0.05)
    sought = "video => new Promise(done => { video.onseeked = () => done(video.currentTime); video.currentTime = 2; })"
    assert player.evaluate(sought) == pytest.approx(2)
    made = download(page, place, "MP4", tmp_path)
    assert packets_of(made.read_bytes()) == packets_of(source.read_bytes())
    assert len(read_audio(download(page, place, "WAV", tmp_path), 8_000)) == 3 * 8_000


def test_a_video_that_cannot_be_used_is_refused_in_a_sentence(visit: Visit, address: str) -> None:
    place = tab(visit(address), "Video")
    send(place, {"name": "long.mp4", "mimeType": "video/mp4", "buffer": clip(121, rate=1)})
    said = "The sound for long.mp4 would be 121.0 s long, more than the 120 s"
    expect(place.get_by_role("alert").filter(has_text=said)).to_be_visible()


Content = Callable[[], bytes]


def torn(name: str) -> bytes:
    return (EXAMPLES / name).read_bytes()[:500]


def huge() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


def many_channels() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((100, 64), np.float32), 8000, format="WAV")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "torn.png",
            lambda: (EXAMPLES / "dog.png").read_bytes()[:200],
            "torn.png is damaged, incomplete or not an image",
        ),
        ("text.jpg", lambda: b"no picture", "text.jpg is damaged, incomplete or not an image"),
        ("<b>bold.png", lambda: b"no picture", "<b>bold.png is damaged"),
        ("huge.png", huge, "huge.png has more than 50 megapixels"),
    ],
)
def test_broken_images_are_refused_in_a_sentence(
    visit: Visit, address: str, name: str, content: object, said: str
) -> None:
    page = visit(address)
    place = tab(page, "To sound")
    send(place, {"name": name, "mimeType": "image/png", "buffer": content()})
    expect(place.get_by_role("alert").filter(has_text=said)).to_have_count(1)
    place.get_by_role("button", name="Make sounds").click()
    expect(place.get_by_role("alert").filter(has_text=said)).to_have_count(2)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("torn.wav", lambda: torn("dog.wav"), "torn.wav ends before the length its header"),
        ("text.mp3", lambda: b"no sound", "text.mp3 is damaged, incomplete or not a sound"),
        ("many.wav", many_channels, "many.wav claims 64 channels"),
    ],
)
def test_broken_sounds_are_refused_in_a_sentence(
    visit: Visit, address: str, name: str, content: object, said: str
) -> None:
    page = visit(address)
    place = tab(page, "To image")
    send(place, {"name": name, "mimeType": "audio/wav", "buffer": content()})
    expect(place.get_by_role("alert").filter(has_text=said)).to_have_count(1)
    place.get_by_role("button", name="Make images").click()
    expect(place.get_by_role("alert").filter(has_text=said)).to_have_count(2)


@pytest.mark.parametrize(
    ("name", "button", "said"),
    [
        ("To sound", "Make sounds", "Give an image first."),
        ("To image", "Make images", "Give a sound first."),
        ("Edit", "Edit", "Nothing is marked"),
    ],
)
def test_what_is_missing_is_said(visit: Visit, address: str, name: str, button: str, said: str) -> None:
    place = tab(visit(address), name)
    place.get_by_role("button", name=button, exact=True).click()
    expect(place.get_by_role("alert").filter(has_text=said)).to_be_visible()


def test_the_page_works_by_keyboard(visit: Visit, address: str) -> None:
    page = visit(address)
    page.get_by_role("tab", name="Pairs").focus()
    page.keyboard.press("Enter")
    place = page.get_by_role("tabpanel").filter(visible=True)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Make pairs":
            break
    page.keyboard.press("Enter")
    expect(place.locator("audio")).to_have_count(1)


def test_beyond_this_machine_below_a_proxy_s_path_a_token_is_needed(visit: Visit, browser: Browser) -> None:
    arguments = ("--model", "digits", "--host", "0.0.0.0", "--token", TOKEN, "--root-path", "/some/where")
    with serving(*arguments) as printed, behind_a_proxy(printed.replace("0.0.0.0", "127.0.0.1"), "/some/where") as home:
        assert printed.endswith(f"?token={TOKEN}")
        stranger = browser.new_context().new_page()
        assert stranger.goto(home).status == 401
        expect(stranger.get_by_text("A token is needed")).to_be_visible()
        stranger.context.close()
        page = visit(f"{home}?token={TOKEN}&tab=pair", color_scheme="dark")
        assert page.url == f"{home}?tab=pair"  # settings are kept in the address, the token is not
        place = page.get_by_role("tabpanel").filter(visible=True)
        place.get_by_role("button", name="Make pairs").click()
        assert place.locator("audio").evaluate(PLAYABLE_SECONDS) == pytest.approx(1, abs=0.05)
