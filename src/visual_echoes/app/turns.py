"""Turns with a model, so that what takes minutes lets others go between."""

from __future__ import annotations

import threading


class Line:
    """Where workers wait for their turns. Who has waited longest is next, which no lock of Python promises."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._taken = self._over = 0  # numbers drawn, and turns that are over

    def enter(self) -> None:
        """Wait for a turn; it lasts until `leave`."""
        with self._change:
            number = self._taken
            self._taken += 1
            self._change.wait_for(lambda: self._over == number)

    def leave(self) -> None:
        """Let the next one begin."""
        with self._change:
            self._over += 1
            self._change.notify_all()


class Turn:
    """One worker's turn in a line: it may begin and end again and again, and ends with the block at the latest."""

    def __init__(self, line: Line) -> None:
        self._line, self._on = line, False

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """Wait for it, unless it is on."""
        if not self._on:
            self._line.enter()
            self._on = True

    def end(self) -> None:
        """Let others go, if it is on."""
        if self._on:
            self._on = False
            self._line.leave()
