"""What a person hands in becomes what the layout expects, or a clear refusal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from visual_echoes.errors import EchoesError
from visual_echoes.inputs import fitted_image, heard_array, image_array, read_heard, sound_array
from visual_echoes.layout import get_layout
from visual_echoes.media import write_mp4

GREY, COLOUR = get_layout("debug"), replace(get_layout("scenes"), image_size=32)


@pytest.mark.parametrize("layout", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3), (20, 30, 4), (1, 1)])
def test_image_arrays_of_any_kind(shape: tuple[int, ...], layout: Any) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    fitted = image_array(picture, layout)
    assert fitted.shape == (layout.image_size, layout.image_size, layout.image_channels)
    assert fitted.dtype == np.uint8


def test_file_image_and_array_come_to_the_same(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = image_array(pixels, COLOUR)
    np.testing.assert_array_equal(image_array(Image.fromarray(pixels), COLOUR), expected)
    np.testing.assert_array_equal(image_array(tmp_path / "a.png", COLOUR), expected)
    np.testing.assert_array_equal(image_array(str(tmp_path / "a.png"), COLOUR), expected)


@pytest.mark.parametrize("layout", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bits_show_what_8_do(shape: tuple[int, ...], layout: Any, dtype: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    wide = (picture.astype(np.uint16) * 257).astype(dtype)
    np.testing.assert_array_equal(image_array(wide, layout), image_array(picture, layout))


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 4)])
def test_16_bits_come_to_the_same_from_a_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    wide = np.random.default_rng(0).integers(0, 65_536, shape, np.uint16)
    if len(shape) == 3:
        wide = wide // 257 * 257  # of which files keep the upper half
        Image.fromarray((wide // 257).astype(np.uint8)).save(tmp_path / "a.png")
    else:
        Image.fromarray(wide).save(tmp_path / "a.png")
    expected = image_array(tmp_path / "a.png", COLOUR)
    np.testing.assert_array_equal(image_array(wide, COLOUR), expected)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(image_array(image, COLOUR), expected)


def test_hidden_colours_do_not_show() -> None:
    pixels = np.full((32, 32, 4), 255, np.uint8)
    pixels[..., 1:3] = 0
    pixels[:16, :, 3] = 0  # the red there is invisible
    for picture in (pixels, pixels.astype(np.uint16) * 257, Image.fromarray(pixels)):
        fitted = image_array(picture, COLOUR)
        assert not fitted[:15].any()
        assert (fitted[17:] == (255, 0, 0)).all()


def test_a_pillow_image_is_turned_as_its_file_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    expected = image_array(np.rot90(pixels, -1), COLOUR)
    np.testing.assert_array_equal(image_array(tmp_path / "a.png", COLOUR), expected)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(image_array(image, COLOUR), expected)
        np.testing.assert_array_equal(image_array(image, COLOUR), expected)  # it has stayed as it was


def test_a_damaged_pillow_image_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(EchoesError, match="image cannot be decoded"):
        image_array(image, COLOUR)
    image = Image.open(tmp_path / "a.png")
    image.close()
    with pytest.raises(EchoesError, match="image cannot be decoded"):
        image_array(image, COLOUR)
    with pytest.raises(EchoesError, match="has no pixels"):
        image_array(Image.new("RGB", (0, 8)), COLOUR)
    with pytest.raises(EchoesError, match="32 bits"):
        image_array(Image.new("F", (8, 8)), COLOUR)


def test_a_image_of_the_right_size_is_left_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    np.testing.assert_array_equal(image_array(pixels, GREY)[..., 0], pixels)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8,), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros((8, 8, 5), np.uint8),
        np.zeros((0, 8), np.uint8),
        np.zeros((8, 8), bool),
        np.zeros((8, 8), np.uint32),
        np.zeros((8, 8), np.int16),
        np.zeros((8, 8), np.float64),
        np.zeros((8, 8, 2), np.uint16),
    ],
)
def test_other_image_arrays_are_refused(picture: np.ndarray) -> None:
    with pytest.raises(EchoesError, match="uint8"):
        image_array(picture, GREY)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read, name in ((image_array, "no.png"), (sound_array, "no.wav")):
        with pytest.raises(EchoesError, match=name.replace(".", r"\.")):
            read(tmp_path / name, GREY)  # type: ignore[operator]


def test_sounds_are_brought_to_the_layout_s_length_and_level() -> None:
    wave = np.zeros(500, np.float64)
    wave[100] = 0.1
    fitted = sound_array((wave, 8000), GREY)
    assert fitted.shape == (GREY.clip_samples,)
    assert fitted.dtype == np.float32
    assert np.flatnonzero(fitted).tolist() == [(GREY.clip_samples - 500) // 2 + 100]
    assert fitted.max() == pytest.approx(GREY.peak)


def test_long_sounds_give_their_loudest_stretch() -> None:
    wave = np.full(3 * GREY.clip_samples, 0.01, np.float32)
    wave[-GREY.clip_samples :] = 0.5
    np.testing.assert_allclose(sound_array((wave, 8000), GREY), GREY.peak, rtol=1e-6)


def test_a_layout_without_peak_leaves_the_level() -> None:
    layout = replace(COLOUR, peak=None)
    wave = np.full(layout.clip_samples, 0.25, np.float32)
    np.testing.assert_array_equal(sound_array((wave, layout.sample_rate), layout), wave)


def test_silence_stays_silent() -> None:
    assert not sound_array((np.zeros(10), 8000), GREY).any()


def test_sound_files_are_resampled(tmp_path: Path) -> None:
    times = np.arange(4096) / 16_000
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 1000 * times), 16_000)
    fitted = sound_array(tmp_path / "a.wav", GREY)
    assert fitted.shape == (GREY.clip_samples,)
    assert np.abs(np.fft.rfft(fitted)).argmax() * 8000 / GREY.clip_samples == pytest.approx(1000, abs=8)


@pytest.mark.parametrize(
    ("wave", "rate"),
    [
        (np.zeros((2, 100)), 8000),
        (np.zeros(0), 8000),
        (np.array([0.0, np.nan]), 8000),
        (np.array([0.0, np.inf]), 8000),
        (np.zeros(100), 44_100),
        (np.array([0, 12_000, -12_000], np.int16), 8000),
    ],
)
def test_other_sound_arrays_are_refused(wave: np.ndarray, rate: int) -> None:
    with pytest.raises(EchoesError, match="sound array"):
        sound_array((wave, rate), GREY)


def test_what_nothing_can_be_heard_in_is_refused_with_its_cause(tmp_path: Path) -> None:
    wave = np.sin(np.arange(8000, dtype=np.float32))
    for name, channels, cause in (
        ("silent", np.zeros((8000, 1)), "is silent all along"),
        ("cancel", np.stack([wave, -wave], 1) / 2, "is silent once its channels are mixed into one"),
        ("short", np.ones((1, 1)) / 2, r"holds 0\.12 ms of sound, too little to hear"),
    ):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, channels, 8000)
        with pytest.raises(EchoesError, match=rf"{name}\.wav {cause}"):
            heard_array(path, GREY)
        assert sound_array(path, GREY).shape == (GREY.clip_samples,)


def test_a_part_is_silent_where_the_whole_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.concatenate([np.sin(np.arange(8000)) / 2, np.zeros(8000)]), 8000)
    assert len(read_heard(path, GREY)) == 16_000
    assert len(read_heard(path, GREY, 0.5, 0.75)) == 6_000
    with pytest.raises(EchoesError, match=r"a\.wav from 1\.25 s on is silent all along"):
        read_heard(path, GREY, 1.25, 0.5)


VIDEO = replace(GREY, name="video", frames=4)


def test_a_video_gives_the_frames_at_the_layouts_times(tmp_path: Path) -> None:
    levels = np.array([20, 90, 160, 230], np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (4, 16, 16, 1))
    seconds = VIDEO.sound_start * 2 + 4 * VIDEO.frame_seconds
    write_mp4(tmp_path / "a.mp4", frames, np.zeros(round(8000 * seconds), np.float32), 8000, {})
    fitted = fitted_image(tmp_path / "a.mp4", VIDEO)
    assert fitted.pixels.shape == (4, 16, 16, 1)
    np.testing.assert_allclose(fitted.pixels.mean((1, 2, 3)), levels, atol=6)
    np.testing.assert_array_equal(fitted_image(list(frames), VIDEO).pixels, frames)
    np.testing.assert_array_equal(fitted_image(np.array(frames), VIDEO).pixels, frames)
    assert fitted_image(fitted, VIDEO) is fitted


def test_a_still_stays_and_another_number_of_frames_is_refused() -> None:
    still = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    np.testing.assert_array_equal(fitted_image(still, VIDEO).pixels, image_array(still, GREY)[None].repeat(4, 0))
    with pytest.raises(EchoesError, match="4 frames of a video, not 3"):
        fitted_image([still] * 3, VIDEO)
    with pytest.raises(EchoesError, match="still images"):
        fitted_image([still] * 4, GREY)


def test_a_sound_beside_frames_keeps_its_time() -> None:
    wave = np.zeros(500, np.float32)
    wave[100] = 0.5
    assert int(sound_array((wave, 8000), VIDEO).argmax()) == 100
    long = np.pad(wave, (0, VIDEO.clip_samples))
    long[-1] = 0.6
    assert int(sound_array((long, 8000), VIDEO).argmax()) == 100
    assert int(sound_array((wave, 8000), GREY).argmax()) > 100
