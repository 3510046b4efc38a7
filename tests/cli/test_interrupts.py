"""An interrupt that falls into a library's callback is not lost."""

from __future__ import annotations

import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

import tiny
from visual_echoes.cli.interrupts import lasting_interrupts
from visual_echoes.media import write_wav

PATIENCE = 5  # seconds in which an interrupt arrives


class Interrupted(io.BytesIO):
    """A file during whose first reading Ctrl-C is pressed."""

    pressed = False

    def read(self, size: int | None = -1, /) -> bytes:
        self._press()
        return super().read(size)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        self._press()
        return super().readinto(buffer)

    def _press(self) -> None:
        if not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interrupted(tmp_path: Path) -> Interrupted:
    write_wav(tmp_path / "sound.wav", np.full(4000, 0.1, np.float32), tiny.LAYOUT.sample_rate, {})
    return Interrupted((tmp_path / "sound.wav").read_bytes())


def wait() -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.001)


def read_by_libsndfile(file: Interrupted) -> None:
    with soundfile.SoundFile(file) as sound:
        sound.read()


def read_by_libav(file: Interrupted) -> None:
    with av.open(file) as container:
        list(container.decode(audio=0))


@pytest.fixture
def default_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_handler")
@pytest.mark.parametrize("read", [read_by_libsndfile, read_by_libav])
@pytest.mark.parametrize("then", [wait, lambda: None], ids=["work", "nothing"])
def test_an_interrupt_in_a_callback_arrives(
    interrupted: Interrupted, read: Callable[[Interrupted], None], then: Callable[[], None]
) -> None:
    @lasting_interrupts()
    def command() -> None:
        read(interrupted)
        then()

    with pytest.raises(KeyboardInterrupt):
        command()
    assert interrupted.pressed


def test_other_lost_exceptions_are_reported_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    class Failing:
        def __del__(self) -> None:
            raise ValueError("lost")

    with lasting_interrupts():
        Failing()
    assert [dropped.exc_type for dropped in reported] == [ValueError]
