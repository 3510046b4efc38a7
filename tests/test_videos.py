"""A model whose layout has several frames takes and makes videos by the calls that others take and make images by."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

import tiny
from visual_echoes import EchoesError, VisualEchoes
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.media import read_audio, read_frames_at
from visual_echoes.outputs import export_item
from visual_echoes.regions import image_positions
from visual_echoes.request import Given, start
from visual_echoes.soundtrack import sound_for_video
from visual_echoes.windows import plan_windows

LAYOUT = tiny.VIDEO_LAYOUT
SIZE, FRAMES = LAYOUT.image_size, LAYOUT.frames
VIDEOS = np.random.default_rng(0).integers(0, 256, (2, FRAMES, SIZE, SIZE, 1), np.uint8)
SOUNDS = [
    (wave, LAYOUT.sample_rate)
    for wave in np.random.default_rng(1).uniform(-0.5, 0.5, (2, LAYOUT.clip_samples)).astype(np.float32)
]


@pytest.fixture(scope="module")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> VisualEchoes:
    folder = tmp_path_factory.mktemp("models") / "video"
    save_model(folder, tiny.video_model(), half=False)
    return VisualEchoes.from_pretrained(folder, device="cpu")


def write_video(path: Path, levels: list[int], rate: int = 25) -> Path:
    """A grey video of so many frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number, level in enumerate(levels):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_every_task_makes_whole_videos(echoes: VisualEchoes) -> None:
    heard = echoes.image_to_audio(list(VIDEOS), steps=2)
    seen = echoes.audio_to_image(SOUNDS, steps=2)
    both = echoes.generate_pair(2, steps=2)
    np.testing.assert_array_equal(heard.images, VIDEOS)
    for result in (heard, seen, both):
        assert result.images is not None
        assert result.images.shape == VIDEOS.shape
        assert result.images.dtype == np.uint8
        assert result.audio is not None
        assert result.audio.shape == (2, LAYOUT.samples)
    assert seen.images is not None
    assert not np.array_equal(seen.images[0], seen.images[1])


def test_an_item_does_not_depend_on_its_batch(echoes: VisualEchoes) -> None:
    together = echoes.image_to_audio(list(VIDEOS), steps=2, seeds=[5, 6])
    alone = echoes.image_to_audio([VIDEOS[1]], steps=2, seeds=[6])
    assert together.audio is not None
    assert alone.audio is not None
    np.testing.assert_array_equal(together.audio[1], alone.audio[0])


def test_tokens_are_those_of_the_frames_in_order(echoes: VisualEchoes) -> None:
    codec = echoes.codec
    tokens_BPQ = codec.encode_images(VIDEOS)
    assert tokens_BPQ.shape == (2, FRAMES * LAYOUT.image_tokens, 1)
    moved = VIDEOS[:, ::-1].copy()
    backwards = codec.encode_images(moved).unflatten(1, (FRAMES, -1)).flip(1).flatten(1, 2)
    assert torch.equal(tokens_BPQ, backwards)
    assert codec.decode_images(tokens_BPQ).shape == VIDEOS.shape
    assert codec.image_error(VIDEOS, tokens_BPQ).shape == (2,)


def test_inpainting_in_time_keeps_the_frames_outside(echoes: VisualEchoes) -> None:
    second = [(LAYOUT.sound_start + LAYOUT.frame_seconds, LAYOUT.sound_start + 2 * LAYOUT.frame_seconds)]
    result = echoes.inpaint(VIDEOS[0], SOUNDS[0], image_times=second, count=2, steps=3)
    assert result.images is not None
    np.testing.assert_array_equal(result.images[:, 0], VIDEOS[[0, 0], 0])
    np.testing.assert_array_equal(result.images[:, 2], VIDEOS[[0, 0], 2])
    assert not np.array_equal(result.images[0, 1], VIDEOS[0, 1])
    with pytest.raises(EchoesError, match="belongs to"):
        echoes.inpaint(None, SOUNDS[0], image_times=second)


def test_what_is_masked_of_a_video_is_what_the_region_says(echoes: VisualEchoes) -> None:
    region_P = image_positions(None, LAYOUT, [(0.0, LAYOUT.sound_start + 0.5 * LAYOUT.frame_seconds)])
    _, masked = start(echoes.codec, Given(2, images=VIDEOS, image_mask=region_P), slice(0, 2), None)
    assert masked["image"][..., 0].unflatten(1, (FRAMES, -1)).all(-1).tolist() == [[True, False, False]] * 2


def test_a_sound_for_a_long_video_sees_the_frames_of_its_own_time(
    echoes: VisualEchoes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_video(tmp_path / "in.mp4", list(range(20, 220, 10)))
    seen: list[np.ndarray] = []
    encode = echoes.codec.encode_images
    monkeypatch.setattr(echoes.codec, "encode_images", lambda pixels: (seen.append(pixels), encode(pixels))[1])
    wav, _ = sound_for_video(echoes, source, tmp_path / "out", steps=1)
    assert soundfile.info(wav).frames == round(20 / 25 * LAYOUT.sample_rate)
    windows = plan_windows(LAYOUT, round(20 / 25 * LAYOUT.sample_rate))
    assert len(seen) == len(windows) > 1
    for window, pixels in zip(windows, seen, strict=True):
        times = [window.first / LAYOUT.sample_rate + time for time in LAYOUT.frame_times]
        shown = [20 + 10 * min(19, int(time * 25)) for time in times]
        np.testing.assert_allclose(pixels[0].mean((1, 2, 3)), shown, atol=3)


def test_files_hold_all_frames(echoes: VisualEchoes, tmp_path: Path) -> None:
    result = echoes.generate_pair(1, steps=2)
    png, mp4 = export_item(echoes.model, result, 0, tmp_path / "a", [".png", ".mp4"], task="pair")
    assert result.images is not None
    from PIL import Image

    with Image.open(png) as strip:
        assert strip.size == (FRAMES * SIZE, SIZE)
        np.testing.assert_array_equal(np.asarray(strip)[:, SIZE : 2 * SIZE], result.images[0, 1, ..., 0])
    times = list(LAYOUT.frame_times)
    for frame, shown in zip(read_frames_at(mp4, times), result.images[0], strict=True):
        small = np.asarray(frame.convert("L").resize((SIZE, SIZE)), float)
        assert np.abs(small - shown[..., 0]).mean() < 12
    assert len(read_audio(mp4, LAYOUT.sample_rate)) >= LAYOUT.samples
