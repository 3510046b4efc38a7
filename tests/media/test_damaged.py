"""Whatever happens to a file, its reader returns something valid or says what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from visual_echoes.errors import EchoesError
from visual_echoes.media import (
    read_audio,
    read_frames,
    read_image,
    read_metadata,
    write_mp4,
    write_png,
    write_wav,
)

NAMES = ["a.png", "a.jpg", "a.wav", "a.mp4"]
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 16, 3), np.uint8)
WAVE = np.random.default_rng(0).uniform(-0.5, 0.5, 2000).astype(np.float32)


def write(path: Path) -> None:
    match path.suffix:
        case ".png":
            write_png(path, PIXELS, {"seed": "1"})
        case ".jpg":
            Image.fromarray(PIXELS).save(path)
        case ".wav":
            write_wav(path, WAVE, 8000, {"seed": "1"})
        case _:
            write_mp4(path, PIXELS, WAVE, 8000, {"seed": "1"})


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    for name in NAMES:
        write(folder / name)
    return {name: (folder / name).read_bytes() for name in NAMES}


def check(path: Path) -> None:
    """Read `path` in every way; only `EchoesError`, naming the path, may come out."""

    def attempt(read: Callable[[Path], object]) -> object:
        try:
            return read(path)
        except EchoesError as error:
            message = str(error)
        assert os.fspath(path) in message
        assert "\n" not in message
        return None

    image = attempt(read_image)
    assert image is None or (isinstance(image, Image.Image) and image.mode in ("L", "RGB"))
    wave = attempt(lambda path: read_audio(path, 16_000))
    assert wave is None or (isinstance(wave, np.ndarray) and wave.size and np.isfinite(wave).all())
    frames = attempt(lambda path: read_frames(path, 2))
    assert frames is None or (isinstance(frames, list) and len(frames) == 2)
    metadata = attempt(read_metadata)
    assert metadata is None or isinstance(metadata, dict)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage(
    tmp_path_factory: pytest.TempPathFactory, originals: dict[str, bytes], name: str, data: st.DataObject
) -> None:
    content = bytearray(originals[name])
    header = st.integers(0, min(200, len(content) - 1))
    places = st.lists(header | st.integers(0, len(content) - 1), max_size=8)
    for place in data.draw(places, "places"):
        content[place] = data.draw(st.integers(0, 255), "byte")
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)), "end")
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content[:end])
    check(path)


@given(content=st.binary(max_size=200), name=st.sampled_from(NAMES))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    check(path)


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_of_the_header(tmp_path: Path, originals: dict[str, bytes], name: str) -> None:
    for end in range(0, 120, 3):
        (tmp_path / name).write_bytes(originals[name][:end])
        check(tmp_path / name)
