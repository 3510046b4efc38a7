"""Batches that are drawn ahead of their step are those that would have been drawn at it."""

from __future__ import annotations

import threading

import pytest

from visual_echoes.errors import EchoesError
from visual_echoes.training.batches import ahead


def test_the_next_step_is_drawn_before_it_is_asked_for_and_comes_out_the_same() -> None:
    begun: dict[int, threading.Event] = {step: threading.Event() for step in range(16)}

    def draw(step: int) -> int:
        begun[step].set()
        return step * step

    drawn = ahead(draw)
    assert drawn(3) == 9
    assert begun[4].wait(timeout=60)
    assert not begun[5].is_set()
    assert [drawn(step) for step in (4, 5, 0, 8, 8)] == [16, 25, 0, 64, 64]


def test_what_cannot_be_drawn_fails_where_it_is_asked_for() -> None:
    def draw(step: int) -> int:
        if step == 1:
            raise EchoesError("no such file")
        return step

    drawn = ahead(draw)
    assert drawn(0) == 0
    with pytest.raises(EchoesError, match="no such file"):
        drawn(1)
    assert drawn(2) == 2
