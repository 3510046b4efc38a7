"""What a person uses besides mouse and keyboard: a finger, a microphone, a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from browser.conftest import EXAMPLES, NEEDED, PHONE, SCENES, Visit, send, tab

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect = pytest.importorskip("playwright.sync_api", reason=NEEDED).expect

# A busy machine may have recorded nothing after any number of seconds, so what counts is what has arrived.
COUNT_RECORDED_BYTES = """() => {
    window.recorded = 0;
    window.MediaRecorder = class extends MediaRecorder {
        start() {
            this.addEventListener("dataavailable", (chunk) => { window.recorded += chunk.data.size; });
            super.start(200);
        }
    };
}"""


def record(page: Page, place: Locator, size: int) -> None:
    """Record until `size` bytes have arrived."""
    page.evaluate(COUNT_RECORDED_BYTES)
    place.get_by_text("Record", exact=True).filter(visible=True).click()
    page.wait_for_function(f"window.recorded > {size}")
    place.get_by_text("Stop", exact=True).filter(visible=True).click()


def test_a_finger_paints(visit: Visit, address: str) -> None:
    page = visit(address + SCENES, PHONE, has_touch=True, is_mobile=True)
    place = tab(page, "Edit")
    send(place, EXAMPLES / "cow.png")
    expect(place.get_by_role("checkbox")).to_have_count(64)
    boxes = place.get_by_test_id("checkbox-group").filter(has=page.get_by_label("row 1, column 1"))
    boxes.scroll_into_view_if_needed()
    box, scrolled = boxes.bounding_box(), page.evaluate("window.scrollY")
    assert box is not None
    finger = page.context.new_cdp_session(page)
    top, bottom = box["y"] + 5, box["y"] + box["height"] - 5  # of the first column

    def touch(kind: str, *ys: float) -> None:
        points = [{"x": box["x"] + 5, "y": y} for y in ys]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", top)
    touch("touchMove", bottom)  # so quick that nothing is heard of it on its way
    touch("touchEnd")
    expect(place.locator(".paint input:checked")).to_have_count(8)
    assert page.evaluate("window.scrollY") == scrolled  # what paints must not scroll


def test_a_microphone_is_heard(visit: Visit, address: str) -> None:
    page = visit(address, permissions=["microphone"])
    place = tab(page, "To image")
    place.get_by_label("Record audio").click()
    record(page, place, 10_000)
    expect(place.get_by_text("seconds that the model hears")).to_be_visible()
    place.get_by_role("button", name="Make images").click()
    expect(place.get_by_alt_text("image of variant 1")).to_be_visible()


def test_a_camera_is_seen(visit: Visit, address: str) -> None:
    page = visit(address, permissions=["camera"])
    place = tab(page, "To sound")
    place.get_by_label("Capture from camera").click()
    place.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("[...document.querySelectorAll('video')].some(video => video.videoWidth)")
    place.get_by_role("button", name="capture photo").click()
    expect(place.get_by_text("what the model sees")).to_be_visible()


def test_a_recorded_video_gets_a_sound(visit: Visit, address: str) -> None:
    page = visit(address, permissions=["camera", "microphone"])
    place = tab(page, "Video")
    place.get_by_label("Capture from camera").click()
    place.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("[...document.querySelectorAll('video')].some(video => video.videoWidth)")
    record(page, place, 50_000)
    place.get_by_label("play-pause-replay-button").wait_for()  # it has arrived
    place.get_by_role("button", name="Make the sound").click()
    expect(place.get_by_role("link", name="MKV")).to_be_visible()  # what browsers record does not fit into MP4


def test_what_is_pasted_is_seen(visit: Visit, address: str) -> None:
    page = visit(address, permissions=["clipboard-read", "clipboard-write"])
    place = tab(page, "To sound")
    page.evaluate("""async () => {
        const canvas = Object.assign(document.createElement("canvas"), {width: 40, height: 30});
        canvas.getContext("2d").fillRect(0, 0, 20, 30);
        const image = await new Promise((done) => canvas.toBlob(done, "image/png"));
        await navigator.clipboard.write([new ClipboardItem({"image/png": image})]);
    }""")
    place.get_by_label("Paste from clipboard").click()
    expect(place.get_by_text("what the model sees")).to_be_visible()
