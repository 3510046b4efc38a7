"""Turns: one at a time, and who has waited longest comes first."""

from __future__ import annotations

import threading

import pytest

from app.conftest import PATIENCE
from visual_echoes.app.turns import Line, Turn


def test_who_takes_turn_after_turn_lets_others_go_between() -> None:
    line, order, waiting = Line(), [], threading.Event()

    def other() -> None:
        waiting.set()
        with Turn(line) as turn:
            turn.begin()
            order.append("other")

    with Turn(line) as turn:
        turn.begin()
        thread = threading.Thread(target=other)
        thread.start()
        assert waiting.wait(PATIENCE)
        while line._taken < 2:  # until it has asked for its turn
            pass
        order.append("first")
        turn.end()
        turn.begin()
        order.append("first again")
    thread.join(PATIENCE)
    assert order == ["first", "other", "first again"]


def test_a_turn_ends_with_its_block_whatever_happens() -> None:
    line = Line()

    def broken() -> None:
        with Turn(line) as turn:
            turn.begin()
            turn.begin()  # it is on already
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    with Turn(line) as turn:
        turn.end()  # it is not on
        turn.begin()
    assert line._taken == line._over == 2
