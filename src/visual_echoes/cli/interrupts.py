"""Ctrl-C while a library calls back into Python, through which it cannot pass an exception on."""

from __future__ import annotations

import _thread
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN = 0.01  # seconds, by which the library has returned


@contextmanager
def lasting_interrupts() -> Iterator[None]:
    """Raise a KeyboardInterrupt again that Python could only report and drop, at the end of the block at the latest.

    Without this a program that reads a file through libsndfile or libav at that moment would go on, or call the file
    damaged.
    """
    repeats: list[Timer] = []
    report = sys.unraisablehook

    def repeat(dropped: UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            report(dropped)
            return
        repeats.append(Timer(AGAIN, _thread.interrupt_main))
        repeats[-1].daemon = True
        repeats[-1].start()

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = report
        if any(timer.is_alive() for timer in repeats):
            for timer in repeats:
                timer.cancel()
            raise KeyboardInterrupt
