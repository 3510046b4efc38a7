"""What a person sees first, what a result looks like, and what of a visit can be found again."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from browser.conftest import NEEDED, PHONE, Visit, tab
from visual_echoes.media import read_metadata

expect = pytest.importorskip("playwright.sync_api", reason=NEEDED).expect

ALL_TOKENS = re.compile(r"(\d+) of \1 tokens")
PLAYHEAD = "card => card.querySelector('.playhead').getBoundingClientRect().left"


def test_a_phone_shows_all_that_a_first_sound_needs(visit: Visit, address: str) -> None:
    page = visit(address, PHONE, has_touch=True, is_mobile=True)
    place = page.get_by_role("tabpanel").filter(visible=True)
    make = place.get_by_role("button", name="Make sounds")
    heights = []
    for what in (place.get_by_text("Drop Image Here"), place.get_by_role("button", name="7", exact=True), make):
        box = what.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= PHONE["height"]
        heights.append(box["y"])
    settings = page.get_by_role("button", name="Settings").bounding_box()
    assert settings is not None
    assert [*heights, settings["y"]] == sorted([*heights, settings["y"]])
    expect(page.get_by_label("Seed")).to_be_hidden()
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    dropped = place.locator(".image-container").bounding_box()
    assert dropped is not None
    assert dropped["width"] > 0.8 * PHONE["width"]
    place.get_by_role("button", name="7", exact=True).tap()
    expect(place.get_by_text("what the model sees")).to_be_visible()
    make.tap()
    expect(place.locator("audio")).to_have_count(1)
    for name in ("Edit", "To image", "Video", "Pairs", "To sound"):
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize(
    ("name", "example", "ready"),
    [
        ("To image", "3", "seconds that the model hears"),
        ("Video", "3, then 5", "0.0 of 6.0 s are made"),
        ("Edit", "3", "seconds that the model hears"),
    ],
)
def test_every_tab_has_examples(visit: Visit, address: str, name: str, example: str, ready: str) -> None:
    place = tab(visit(address), name)
    expect(place.locator(".examples").filter(visible=True).get_by_role("button")).to_have_count(6)
    place.get_by_role("button", name=example, exact=True).click()
    expect(place.get_by_text(ready).or_(place.get_by_alt_text(ready))).to_be_visible()


def test_a_result_is_read_and_played_along_its_axes(visit: Visit, address: str) -> None:
    page = visit(f"{address}?tab=pair")
    place = page.get_by_role("tabpanel").filter(visible=True)
    place.get_by_role("button", name="Make pairs").click()
    card = place.locator(".card")
    for axis, unit in (("hertz", "1000"), ("seconds", "0.6"), ("decibels", "0")):
        expect(card.locator(f".{axis}").get_by_text(unit, exact=True)).to_be_visible()
    expect(card.get_by_role("img", name="Waveform: sound of variant 1")).to_be_visible()
    over = card.locator(".over").bounding_box()
    assert over is not None
    card.locator("audio").evaluate("audio => new Promise(done => { audio.oncanplay = done; audio.load(); })")
    card.locator(".over").click(position={"x": over["width"] / 2, "y": 20})
    expect(card.locator(".playhead")).to_be_visible()
    assert card.evaluate(PLAYHEAD) == pytest.approx(over["x"] + over["width"] / 2, abs=5)
    expect(card.get_by_text(ALL_TOKENS)).to_be_visible()
    first = card.locator(".film.audio").screenshot()
    slider = place.get_by_role("slider")
    slider.focus()
    slider.press("Home")
    expect(card.get_by_text(ALL_TOKENS)).to_be_hidden()
    assert card.locator(".film.audio").screenshot() != first


def test_what_a_visit_has_made_is_kept_varied_and_saved(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit(f"{address}?tab=pair&steps=2&count=2&seed=5")
    place = page.get_by_role("tabpanel").filter(visible=True)
    expect(page.get_by_role("button", name="Vary it")).to_be_hidden()
    place.get_by_role("button", name="Make pairs").click()
    made = page.locator(".visit .gallery-item")
    expect(made).to_have_count(2)
    page.get_by_role("button", name="pair, seed 6").or_(made.nth(1).get_by_role("button")).first.click()
    expect(page.get_by_alt_text("image of variant 2")).to_have_count(2)
    page.get_by_role("button", name="Vary it").click()
    expect(made).to_have_count(4)
    with page.expect_download() as pending:
        page.get_by_text("Download all as ZIP").click()
    path = tmp_path / "all.zip"
    pending.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    assert len(names) == 12
    assert {"01-pair-seed5.wav", "01-pair-seed6.mp4", "02-vary-seed6.png"} <= set(names)
    assert read_metadata(tmp_path / "02-vary-seed6.wav")["source"] == "pair-seed6.png, pair-seed6.wav"


def test_settings_are_in_the_address(visit: Visit, address: str) -> None:
    page = visit(f"{address}?seed=7&tab=pair&steps=3&count=99&colour=red")
    expect(page.get_by_role("button", name="Make pairs")).to_be_visible()
    expect(page.get_by_text("cannot be used and is left out: count=99, colour=red.")).to_be_visible()
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_label("Seed")).to_have_value("7")
    expect(page.get_by_label("My own")).to_be_checked()
    page.get_by_label("Fast", exact=True).check()
    tab(page, "Video")
    page.wait_for_url(re.compile(r"\?(?=.*seed=7)(?=.*preset=fast)(?=.*tab=video)(?!.*steps)"))
