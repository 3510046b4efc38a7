"""What a writer stores beside the content comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visual_echoes.errors import EchoesError
from visual_echoes.media import read_metadata, write_mp4, write_png, write_wav

PIXELS = np.zeros((32, 32, 3), np.uint8)
WAVE = np.zeros(800, np.float32)
EXAMPLE = {
    "seed": "7",
    "model": "digits \U0001f600 écho",
    "note": 'two\nlines, "quotes" = \\ ; #',
    "empty": "",
}


def write(path: Path, metadata: dict[str, str]) -> None:
    match path.suffix:
        case ".png":
            write_png(path, PIXELS, metadata)
        case ".wav":
            write_wav(path, WAVE, 8000, metadata)
        case _:
            write_mp4(path, PIXELS, WAVE, 8000, metadata)


@pytest.mark.parametrize("suffix", [".png", ".wav", ".mp4"])
@pytest.mark.parametrize("metadata", [EXAMPLE, {}, {"long": "x" * 50_000}])
def test_round_trip(tmp_path: Path, suffix: str, metadata: dict[str, str]) -> None:
    write(tmp_path / f"a{suffix}", metadata)
    assert read_metadata(tmp_path / f"a{suffix}") == metadata


@pytest.mark.parametrize("suffix", [".png", ".wav"])
@given(
    metadata=st.dictionaries(
        st.text("abc-_ ", min_size=1, max_size=9).map(str.strip).filter(bool), st.text(max_size=50)
    )
)
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, suffix: str, metadata: dict[str, str]) -> None:
    path = tmp_path_factory.getbasetemp() / f"text{suffix}"
    write(path, metadata)
    assert read_metadata(path) == metadata


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", EXAMPLE)
    assert read_metadata((tmp_path / "a.wav").rename(tmp_path / "a.bin")) == EXAMPLE


def test_the_wav_names_its_software(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", EXAMPLE)
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        assert file.software.startswith("Visual Echoes")


def test_files_of_others_carry_none(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("hello")
    for comment in ("recorded in the garden", "[1, 2]", '{"a": 1}', "[" * 10_000):
        with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 1) as file:
            file.comment = comment
            file.write(WAVE)
        assert read_metadata(tmp_path / "a.wav") == {}
    for path in (tmp_path / "a.png", tmp_path / "a.jpg", tmp_path / "a.txt", make_video()):
        assert read_metadata(path) == {}


def test_text_that_is_no_utf_8_is_read_as_well_as_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.zeros(800, np.float32), 8000, {"source": "garden"})
    path.write_bytes(path.read_bytes().replace(b"garden", b"g\xe4rten"))
    assert read_metadata(path) == {"source": "g\N{REPLACEMENT CHARACTER}rten"}


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="does not exist"):
        read_metadata(tmp_path / "no.png")
    for suffix in (".png", ".wav", ".mp4"):
        path = tmp_path / f"a{suffix}"
        write(path, EXAMPLE)
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(EchoesError, match="damaged"):
            read_metadata(path)
