"""A video gets another sound; its picture stays as it is, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from visual_echoes.errors import EchoesError, collected
from visual_echoes.media import read_audio, read_frames, read_metadata, write_png
from visual_echoes.media.remux import check_copy, suffix_of_copy, video_seconds, write_with_sound

RATE = 16_000
Make = Callable[..., Path]


def picture_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


def sound_seconds(path: Path) -> float:
    """What the container says, which is what players stop at."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        return float(track.duration * track.time_base)


def noise(seconds: float, level: float = 0.1) -> Iterator[np.ndarray]:
    wave = np.random.default_rng(0).normal(0, level, round(seconds * RATE)).astype(np.float32)
    for first in range(0, len(wave), 3000):
        yield wave[first : first + 3000]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", *sorted({"libsvtav1", "libx265"} & av.codecs_available)])
@pytest.mark.parametrize("frames", [1, 7, 20])
def test_the_picture_is_copied_and_the_sound_as_long(make_video: Make, tmp_path: Path, codec: str, frames: int) -> None:
    source = make_video(frames=frames, codec=codec, sound="aac")
    path = write_with_sound(tmp_path / "out.mp4", source, noise(5.0), RATE, {"seed": "3"})
    assert path == tmp_path / "out.mp4"
    assert picture_packets(path) == picture_packets(source)
    first, seconds = video_seconds(source)
    assert (first, seconds) == pytest.approx((0.0, frames / 10), abs=1e-6)
    assert sound_seconds(path) == pytest.approx(seconds, abs=1 / RATE)
    assert read_metadata(path) == {"seed": "3"}


def test_a_short_sound_is_followed_by_silence(make_video: Make, tmp_path: Path) -> None:
    path = write_with_sound(tmp_path / "out.mp4", make_video(frames=20), noise(0.5), RATE, {})
    wave = read_audio(path, RATE)
    assert np.abs(wave[: RATE // 2]).mean() > 0.05
    assert np.abs(wave[RATE : 2 * RATE - 1000]).max() < 1e-3


def test_a_rotated_video_stays_rotated(make_video: Make, tmp_path: Path) -> None:
    source = make_video(halves=True, rotation=90)
    path = write_with_sound(tmp_path / "out.mp4", source, noise(1.0), RATE, {})
    one, other = (np.asarray(read_frames(file, 1)[0]) for file in (source, path))
    assert one.shape == other.shape
    assert one.shape[0] > one.shape[1]
    np.testing.assert_array_equal(one, other)


def test_what_mp4_cannot_hold_goes_into_matroska(make_video: Make, tmp_path: Path) -> None:
    source = make_video("clip.webm", codec="libvpx")
    with collected() as notes:
        path = write_with_sound(tmp_path / "out.mp4", source, noise(2.0), RATE, {})
    assert path == tmp_path / "out.mkv"
    assert suffix_of_copy(source) == ".mkv"
    assert notes == [f"{source} has video in vp8, which MP4 cannot hold; out.mkv is written instead."]
    assert picture_packets(path) == picture_packets(source)
    assert not (tmp_path / "out.mp4").exists()


def test_the_own_sound_stays_beneath(make_video: Make, tmp_path: Path) -> None:
    source = make_video(frames=20, sound="aac")  # a tone of 440 Hz
    plain = write_with_sound(tmp_path / "plain.mp4", source, noise(2.0, 0.02), RATE, {})
    mixed = write_with_sound(tmp_path / "mixed.mp4", source, noise(2.0, 0.02), RATE, {}, mix_db=-6.0)
    strength = []
    for path in (plain, mixed):
        wave = read_audio(path, RATE)[2000:26000]
        spectrum = np.abs(np.fft.rfft(wave))
        at = round(440 * len(wave) / RATE)
        strength.append(spectrum[at - 3 : at + 4].max() / np.median(spectrum))
    assert strength[1] > 20 * strength[0]


def test_a_video_without_sound_has_none_to_mix(make_video: Make, tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="no sound"):
        write_with_sound(tmp_path / "out.mp4", make_video(), noise(1.0), RATE, {}, mix_db=0.0)
    assert not list(tmp_path.glob("out*"))


def test_nothing_is_left_of_what_is_broken_off(make_video: Make, tmp_path: Path) -> None:
    def stopping() -> Iterator[np.ndarray]:
        yield np.zeros(2000, np.float32)
        raise KeyboardInterrupt

    source = make_video(frames=20)
    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        write_with_sound(tmp_path / "out.mp4", source, stopping(), RATE, {})
    assert set(tmp_path.iterdir()) == before


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    write_png(tmp_path / "a.mp4", np.zeros((8, 8, 3), np.uint8), {})
    with pytest.raises(EchoesError, match=r"a\.mp4"):
        video_seconds(tmp_path / "a.mp4")


def test_a_place_that_cannot_be_written_is_named(make_video: Make, tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="cannot be written"):
        write_with_sound(tmp_path / "none" / "out.mp4", make_video(), noise(1.0), RATE, {})


def test_what_can_be_written_is_known_before(make_video: Make, tmp_path: Path) -> None:
    mute, with_sound = make_video("mute.mp4"), make_video("sound.mp4", sound="aac")
    check_copy(mute, own_sound=False)
    check_copy(with_sound, own_sound=True)
    with pytest.raises(EchoesError, match=r"mute\.mp4 has no sound to keep beneath"):
        check_copy(mute, own_sound=True)
    write_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8), {})
    with pytest.raises(EchoesError, match=r"a\.png is damaged, incomplete or not a video"):
        check_copy(tmp_path / "a.png", own_sound=False)
