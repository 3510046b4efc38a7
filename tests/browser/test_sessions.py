"""Eight visitors at once: all are served, and each finds what is theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser.conftest import EXAMPLES, NEEDED, Visit, send, tab
from visual_echoes.media import read_metadata

expect = pytest.importorskip("playwright.sync_api", reason=NEEDED).expect

VISITORS = 8
ITEMS = ("bird", "cat", "cow", "dog", "hen", "pig", "sheep", "water")


def test_eight_visitors_at_once_get_their_own(visit: Visit, address: str, tmp_path: Path) -> None:
    pages = [visit(f"{address}?seed={100 + number}") for number in range(VISITORS)]
    places = []
    for number, page in enumerate(pages):
        place = tab(page, "To sound")
        content = (EXAMPLES / f"{ITEMS[number]}.png").read_bytes()
        send(place, {"name": f"visitor-{number}.png", "mimeType": "image/png", "buffer": content})
        expect(place.get_by_text("what the model sees")).to_be_visible()
        places.append(place)
    for place in places:
        place.get_by_role("button", name="Make sounds").click()
    addresses = []
    for number, (page, place) in enumerate(zip(pages, places, strict=True)):
        expect(place.locator("audio")).to_have_count(1)
        link = place.get_by_role("link", name="WAV")
        addresses.append(link.get_attribute("href"))
        with page.expect_download() as pending:
            link.click()
        path = tmp_path / f"{number}.wav"
        pending.value.save_as(path)
        metadata = read_metadata(path)
        assert (metadata["source"], metadata["seed"]) == (f"visitor-{number}.png", str(100 + number))
        for other in set(range(VISITORS)) - {number}:
            assert f"visitor-{other}" not in page.content()
        expect(page.locator(".visit .gallery-item")).to_have_count(1)  # nor does it show what others made
    assert len(set(addresses)) == VISITORS
