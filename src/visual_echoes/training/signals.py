"""Stopping a training from outside: Ctrl-C, SIGTERM and SIGUSR1 finish the step, write a checkpoint and end the run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from visual_echoes.errors import EchoesError

STOPPED_STATUS = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run it again
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class TrainingStopped(EchoesError):
    """The run was asked to stop and has written a checkpoint; the command exits with `STOPPED_STATUS`."""


@contextmanager
def stop_flag() -> Iterator[list[bool]]:
    """A flag that the signals raise instead of tearing the step apart; a second Ctrl-C ends the program at once."""
    flag = [False]

    def raise_flag(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and flag[0]:
            raise KeyboardInterrupt
        flag[0] = True

    try:
        previous = {number: signal.signal(number, raise_flag) for number in SIGNALS}
    except ValueError:  # not the main thread: the caller owns the signals
        yield flag
        return
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
