"""Where the device has no float64, as Apple's MPS, everything works all the same, and gives the same."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from refuses_float64 import RefusesFloat64
from visual_echoes import VisualEchoes
from visual_echoes.machine import in_float64

FAULTS = """
import numpy, resource
from visual_echoes.machine import keep_freed_memory
keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.empty(1 << 26, numpy.uint8).fill(1)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), [faults() for _ in range(4)][-1])
"""


HELD = """
import numpy
from visual_echoes.machine import hand_back_freed_memory
def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * 4096
before = resident()
small = [numpy.ones(1 << 16, numpy.uint8) for _ in range(1 << 11)]  # 128 MiB
held, last = resident(), small.pop()  # so that the end of what was held is in use
del small
freed = resident()
hand_back_freed_memory()
print(held - before, freed - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mends what glibc alone does")
def test_memory_that_was_freed_need_not_be_cleared_again() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    first, again = map(int, done.stdout.split())
    assert again < first / 10


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="mends what glibc alone does")
def test_freed_memory_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    held, freed, handed_back = map(int, done.stdout.split())
    assert freed > 0.9 * held
    assert handed_back < 0.2 * held


def test_the_stand_in_refuses_float64_and_the_helper_goes_to_the_cpu() -> None:
    with RefusesFloat64():
        x = torch.ones(3, device="mps")
        with pytest.raises(TypeError, match="float64"):
            (x + 1).double()
        with pytest.raises(TypeError, match="float64"):
            torch.mul(x, torch.ones(3, dtype=torch.float64))
        exact = in_float64(x)
        assert (x.device.type, exact.device.type, exact.dtype) == ("mps", "cpu", torch.float64)


@pytest.mark.parametrize("name", ["digits", "scenes"])
def test_a_model_works_on_a_device_without_float64(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = Path(str(files("visual_echoes"))) / "examples" / name
    picture, sound = (min(examples.glob(f"*.{kind}")) for kind in ("png", "wav"))
    expected = everything(VisualEchoes.from_pretrained(name, device="cpu"), picture, sound)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with RefusesFloat64():
        echoes = VisualEchoes.from_pretrained(name)
        assert echoes.device.type == "mps"
        found = everything(echoes, picture, sound)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def everything(echoes: VisualEchoes, picture: Path, sound: Path) -> list[np.ndarray | None]:
    """What a model makes in every task, and how sure it is."""
    results = [
        echoes.image_to_audio([picture], steps=2, confidence=True),
        echoes.audio_to_image([sound], steps=3, confidence=True, kv_refresh_every=2),
        echoes.generate_pair(steps=2, order="halton"),
        echoes.inpaint(picture, sound, audio_mask=[(0.1, 0.4)], steps=2),
        echoes.reconstruct([picture], [sound]),
    ]
    assert (results[0].confidence is None) == (not echoes.model.calibration and results[0].labels is None)
    return [array for r in results for array in (r.images, r.audio, r.mels, r.confidence)]
