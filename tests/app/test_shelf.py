"""Examples to click: six for every model that has some, of files that the readers take."""

from __future__ import annotations

from pathlib import Path

import pytest

from visual_echoes.app.service import Service
from visual_echoes.app.shelf import ITEMS, SECONDS, Shelf
from visual_echoes.inputs import heard_array, image_array
from visual_echoes.layout import get_layout
from visual_echoes.media.remux import check_copy, video_seconds


@pytest.mark.parametrize("layout", ITEMS)
def test_six_examples_can_be_read(service: Service, tmp_path: Path, layout: str) -> None:
    shelf, shape = Shelf(service, tmp_path), get_layout(layout)
    assert len(set(ITEMS[layout])) == 6
    for index in range(6):
        assert image_array(shelf.file(layout, index, ".png"), shape).any()
        assert heard_array(shelf.file(layout, index, ".wav"), shape).any()


def test_videos_are_made_of_two_photographs_when_they_are_asked_for(service: Service, tmp_path: Path) -> None:
    shelf = Shelf(service, tmp_path)
    path = shelf.file("scenes", 5, ".mp4")
    assert path.name == "water-then-dog.mp4"
    assert path.is_relative_to(tmp_path)
    check_copy(path, own_sound=False)
    assert video_seconds(path)[1] == pytest.approx(2 * SECONDS)
    written = path.stat().st_mtime_ns
    assert shelf.file("scenes", 5, ".mp4").stat().st_mtime_ns == written
