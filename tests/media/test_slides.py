"""Images that follow one another while a sound plays, in one MP4."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from visual_echoes.errors import EchoesError
from visual_echoes.media import read_audio, read_frames_at, read_metadata
from visual_echoes.media.slides import open_slides

RATE = 16_000


def grey(level: int, side: int = 12) -> np.ndarray:
    return np.full((side, side, 1), level, np.uint8)


def noise(samples: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(samples).normal(0, 0.1, (samples, channels)).astype(np.float32)


def test_each_image_is_shown_while_its_part_of_the_sound_plays(tmp_path: Path) -> None:
    parts = [noise(8000), noise(16_000), noise(5001)]
    with open_slides(tmp_path / "a.mp4", {"seed": "1"}) as slides:
        for level, part in zip((20, 120, 220), parts, strict=True):
            slides.show(grey(level), part, RATE)
    shown = read_frames_at(tmp_path / "a.mp4", [0.1, 0.44, 0.56, 1.4, 1.6, 1.75])
    assert [round(np.asarray(frame).mean(), -1) for frame in shown] == [20, 20, 120, 120, 220, 220]
    assert shown[0].size == (264, 264)
    whole = np.concatenate(parts)[:, 0]
    with av.open(str(tmp_path / "a.mp4")) as container:
        [track] = container.streams.audio
        assert track.duration * track.time_base == pytest.approx(len(whole) / RATE, abs=1 / 48_000)
    heard = read_audio(tmp_path / "a.mp4", RATE)[: len(whole)]
    assert np.corrcoef(heard[2000:-2000], whole[2000:-2000])[0, 1] > 0.9
    assert read_metadata(tmp_path / "a.mp4") == {"seed": "1"}


@pytest.mark.parametrize(("channels", "kept"), [(1, 1), (2, 2), (6, 1)])
def test_a_stereo_sound_stays_one(tmp_path: Path, channels: int, kept: int) -> None:
    with open_slides(tmp_path / "a.mp4", {}) as slides:
        slides.show(grey(9), noise(3000, channels), RATE)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.audio[0].layout.nb_channels == kept


def test_nothing_is_left_of_what_is_broken_off(tmp_path: Path) -> None:
    def broken_off() -> None:
        with open_slides(tmp_path / "a.mp4", {}) as slides:
            slides.show(grey(9), noise(3000), RATE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    with pytest.raises(EchoesError, match="cannot be written"), open_slides(tmp_path / "none" / "a.mp4", {}):
        pass
    assert not list(tmp_path.iterdir())
