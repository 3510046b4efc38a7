"""A sound of any length gets an image for each of its windows, and nothing is left behind where that fails."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

import tiny
from visual_echoes import EchoesError, VisualEchoes
from visual_echoes.errors import collected
from visual_echoes.media import read_audio, read_frames_at, read_metadata
from visual_echoes.media.drawing import ENLARGE, GAP
from visual_echoes.storyboard import storyboard
from visual_echoes.windows import window_seed

LAYOUT = tiny.LAYOUT
RATE = LAYOUT.sample_rate
WINDOW = LAYOUT.clip_samples / RATE  # seconds


def sound(path: Path, levels: list[float], rest: float = 0.0, rate: int = RATE, channels: int = 1) -> Path:
    """Noise of a level a window, and of the last level for a part of one."""
    random = np.random.default_rng(0)
    lengths = [*[round(WINDOW * rate)] * len(levels), round(rest * WINDOW * rate)]
    parts = [
        level * random.normal(0, 0.2, (length, channels))
        for level, length in zip([*levels, levels[-1]], lengths, strict=True)
    ]
    soundfile.write(path, np.concatenate(parts), rate, subtype="FLOAT")
    return path


def cells(path: Path) -> list[np.ndarray]:
    """The images of a sheet, as they were made."""
    step = ENLARGE * (LAYOUT.image_size + GAP)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    return [
        sheet[y + ENLARGE * GAP : y + step : ENLARGE, x + ENLARGE * GAP : x + step : ENLARGE]
        for y in range(0, sheet.shape[0] - step, step)
        for x in range(0, sheet.shape[1] - step, step)
    ]


def test_each_window_s_image_is_the_one_made_for_it_alone(echoes: VisualEchoes, tmp_path: Path) -> None:
    source = sound(tmp_path / "in.wav", [1.0, 1.0, 1.0])
    seen: list[tuple[int, int]] = []
    png, mp4 = storyboard(echoes, source, tmp_path / "out", seed=3, report=lambda *done: seen.append(done), steps=2)
    assert (png, mp4) == (tmp_path / "out.png", tmp_path / "out.mp4")
    assert seen == [(1, 3), (2, 3), (3, 3)]
    wave = read_audio(source, RATE).reshape(3, -1)
    for number, cell in enumerate(cells(png)[:3]):
        alone = echoes.audio_to_image([(wave[number], RATE)], seed=window_seed(3, number), steps=2).images
        assert alone is not None
        np.testing.assert_array_equal(cell, np.broadcast_to(alone[0], cell.shape))
        [shown] = read_frames_at(mp4, [(number + 0.5) * WINDOW])
        small = np.asarray(shown.resize((LAYOUT.image_size,) * 2, Image.Resampling.BOX), np.float64)
        np.testing.assert_allclose(small.mean(), cell.mean(), atol=4)
    assert read_metadata(png)["source"] == "in.wav"
    assert read_metadata(mp4)["synthetic"] == "true"


@pytest.mark.parametrize(("rest", "images"), [(0.1, 2), (0.6, 3)])
@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (44_100, 2)])
def test_the_whole_sound_is_kept(
    echoes: VisualEchoes, tmp_path: Path, rest: float, images: int, rate: int, channels: int
) -> None:
    source = sound(tmp_path / "in.wav", [1.0, 1.0], rest, rate, channels)
    seen: list[tuple[int, int]] = []
    _, mp4 = storyboard(echoes, source, tmp_path / "out", report=lambda *done: seen.append(done), steps=1)
    assert seen[-1] == (images, images)
    with av.open(str(mp4)) as container:
        [track] = container.streams.audio
        assert track.duration * track.time_base == pytest.approx(soundfile.info(source).frames / rate, abs=1 / 48_000)
        assert track.layout.nb_channels == channels


def test_where_it_is_silent_the_image_before_stays(echoes: VisualEchoes, tmp_path: Path) -> None:
    source = sound(tmp_path / "in.wav", [0.0, 1.0, 0.0, 1.0])
    with collected() as notes:
        storyboard(echoes, source, tmp_path / "out", keep_video=False, steps=1)
    first, second, third, fourth = cells(tmp_path / "out.png")
    assert not first.any()
    assert second.any()
    np.testing.assert_array_equal(second, third)
    assert not np.array_equal(third, fourth)
    assert [note for note in notes if "silent in the window from 0.00 s on and in 1 more" in note]
    assert not (tmp_path / "out.mp4").exists()


def test_what_cannot_be_drawn_leaves_nothing(echoes: VisualEchoes, tmp_path: Path) -> None:
    silent = sound(tmp_path / "silent.wav", [0.0, 0.0])
    short = tmp_path / "short.wav"
    soundfile.write(short, np.ones(2), RATE)
    for source, message in ((silent, "silent all along"), (short, "too short")):
        with pytest.raises(EchoesError, match=message):
            storyboard(echoes, source, tmp_path / "out", steps=1)
    fine = sound(tmp_path / "fine.wav", [1.0, 1.0])

    def stop(done: int, windows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storyboard(echoes, fine, tmp_path / "out", steps=1, report=stop)
    (tmp_path / "out.png").mkdir()
    with pytest.raises(EchoesError, match=r"out\.png"):
        storyboard(echoes, fine, tmp_path / "out", steps=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fine.wav", "out.png", "short.wav", "silent.wav"]


def test_a_sheet_of_many_windows_stays_small(
    echoes: VisualEchoes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visual_echoes.storyboard.SHEET_SIDE", 48)
    source = sound(tmp_path / "in.wav", [1.0] * 5)
    storyboard(echoes, source, tmp_path / "out", keep_video=False, steps=1)
    with Image.open(tmp_path / "out.png") as sheet:
        assert max(sheet.size) <= 48
