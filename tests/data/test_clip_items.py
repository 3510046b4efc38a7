"""Training items come straight from the files of a prepared folder: right frames, right windows, repeatably."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from visual_echoes.data.augmentation import Augmentation
from visual_echoes.data.clips import ClipItems, read_clip_image, read_clip_sound, window_offsets
from visual_echoes.data.manifest import Clip
from visual_echoes.data.sources import ImageSource, MelSource, WaveSource
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.media import write_mp4, write_wav
from visual_echoes.media.tensors import pixels_to_unit

LAYOUT = tiny.LAYOUT
PLAIN = Augmentation()
FRAMES = (0.0, 0.1, 0.2, 0.3)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Three clips of an image and a rising tone each, 1 s long, and a video."""
    noise, found = np.random.default_rng(0), []
    times = np.arange(LAYOUT.sample_rate) / LAYOUT.sample_rate
    for name in ("a", "b", "c"):
        Image.fromarray(noise.integers(0, 256, (20, 20), np.uint8)).save(tmp_path / f"{name}.png")
        pitch = noise.uniform(300, 900)
        write_wav(
            tmp_path / f"{name}.wav", 0.5 * np.sin(2 * np.pi * pitch * times * (1 + times)), LAYOUT.sample_rate, {}
        )
        found.append(clip(name, f"{name}.png", f"{name}.wav", (0.0,)))
    write_mp4(tmp_path / "v.mp4", noise.integers(0, 256, (64, 64, 3), np.uint8), 0.5 * np.sin(9e3 * times**2), 8000, {})
    return [*found, clip("v", "v.mp4", "v.mp4", FRAMES)]


def images(clips: list[Clip], root: Path, layout: Layout, augmentation: Augmentation) -> ImageSource:
    return ImageSource(ClipItems(clips, root, layout), augmentation)


def waves_of(clips: list[Clip], root: Path, layout: Layout, augmentation: Augmentation) -> WaveSource:
    return WaveSource(ClipItems(clips, root, layout), layout, augmentation)


def clip(name: str, picture: str, sound: str, frames: tuple[float, ...]) -> Clip:
    return Clip(name, "train", None, picture, sound, 0.0, 1.0, frames, name, {})


def test_plain_items_are_the_middle_frame_and_window(clips: list[Clip], tmp_path: Path) -> None:
    index = torch.tensor([3, 1])
    pictures = images(clips, tmp_path, LAYOUT, PLAIN).take(index, None)
    waves = waves_of(clips, tmp_path, LAYOUT, PLAIN).take(index, None)
    assert pictures.shape == (2, 1, LAYOUT.image_size, LAYOUT.image_size)
    for row, number in enumerate(index.tolist()):
        item = clips[number]
        frame = read_clip_image(item, tmp_path, len(item.frames) // 2, LAYOUT)
        assert torch.equal(pictures[row], pixels_to_unit(frame))
        assert torch.equal(waves[row], read_clip_sound(item, tmp_path, LAYOUT, window_offsets(item, LAYOUT, 1)[0]))


def test_frames_and_windows_are_drawn_at_random(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, offsets = [], []
    picture = torch.zeros(1, LAYOUT.image_size, LAYOUT.image_size, dtype=torch.uint8)
    monkeypatch.setattr(
        "visual_echoes.data.clips.read_clip_image",
        lambda clip, root, frame, layout: frames.append((clip.id, frame)) or picture,
    )
    monkeypatch.setattr(
        "visual_echoes.data.clips.read_clip_sound",
        lambda clip, root, layout, offset: offsets.append(offset) or torch.zeros(layout.clip_samples),
    )
    index = torch.full((400,), 3)
    images(clips, tmp_path, LAYOUT, PLAIN).take(index, tiny.generator())
    waves_of(clips, tmp_path, LAYOUT, PLAIN).take(index, tiny.generator())
    counts = [frames.count(("v", frame)) for frame in range(len(FRAMES))]
    assert sum(counts) == 400
    assert all(60 < count < 140 for count in counts)  # 100 expected of each, deviation 9
    first, last = window_offsets(clips[3], LAYOUT, 2)
    assert first <= min(offsets) < first + 0.05
    assert last - 0.05 < max(offsets) <= last
    assert np.mean(offsets) == pytest.approx((first + last) / 2, abs=0.05)


def test_the_same_generator_gives_the_same_items(clips: list[Clip], tmp_path: Path) -> None:
    varied = Augmentation(shift=0.1, flip=True, crop_area=0.5, gain_db=6, time_shift=0.02)
    index = torch.tensor([0, 3, 3, 1])
    for kind in (images, waves_of):
        source = kind(clips, tmp_path, LAYOUT, varied)
        first, again, other = (source.take(index, tiny.generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert not torch.equal(first[1], first[2])
        assert -1.0 <= float(first.min()) < float(first.max()) <= 1.0


def test_they_make_mels(clips: list[Clip], tmp_path: Path) -> None:
    mels = MelSource(waves_of(clips, tmp_path, LAYOUT, PLAIN), LAYOUT)
    assert len(mels) == 4
    assert mels.take(torch.arange(4), tiny.generator()).shape == (4, 1, LAYOUT.n_mels, LAYOUT.mel_frames)


def test_a_file_that_has_gone_is_named(clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "b.png").unlink()
    with pytest.raises(EchoesError, match=r"b\.png"):
        images(clips, tmp_path, LAYOUT, PLAIN).take(torch.tensor([0, 1]), None)


def test_only_the_rows_of_this_process_are_read(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied = Augmentation(rotation=10, flip=True, time_shift=0.1, gain_db=6)
    index, read = torch.tensor([0, 3, 1, 2]), []
    for name, kind in (("read_clip_image", images), ("read_clip_sound", waves_of)):
        source = MelSource(kind(clips, tmp_path, LAYOUT, varied), LAYOUT) if "sound" in name else kind(
            clips, tmp_path, LAYOUT, varied
        )  # fmt: skip
        whole = source.take(index, tiny.generator())
        plain = source.take(index, None)
        source.share(slice(2, 4))
        assert torch.equal(source.take(index, None), plain)
        original = globals()[name]
        monkeypatch.setattr(
            f"visual_echoes.data.clips.{name}",
            lambda clip, *rest, original=original: read.append(clip.id) or original(clip, *rest),
        )
        generator = tiny.generator()
        assert torch.equal(source.take(index, generator)[2:], whole[2:])
        assert sorted(read) == ["b", "c"]
        read.clear()
