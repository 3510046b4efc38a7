"""`echoes sound` and `picture --storyboard` of what is made window by window, as a person would call them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

import tiny
from cli.conftest import Command, names
from visual_echoes.media import read_audio, read_metadata, write_mp4

RATE = tiny.LAYOUT.sample_rate


def test_a_video_gets_a_sound_of_its_length_and_an_image_for_its_sound(
    command: Command, model_folder: Path, tmp_path: Path
) -> None:
    wave = 0.3 * np.sin(np.arange(8000) / 3)
    write_mp4(tmp_path / "clip.mp4", np.full((16, 16, 1), 200, np.uint8), wave.astype(np.float32), RATE, {})
    assert command("sound", tmp_path / "clip.mp4", "-o", tmp_path / "a", "--model", model_folder).exit_code == 0
    assert command("picture", tmp_path / "clip.mp4", "-o", tmp_path / "b", "--model", model_folder).exit_code == 0
    assert names(tmp_path / "a") == ["clip.mp4", "clip.wav"]
    assert names(tmp_path / "b") == ["clip.mp4", "clip.png"]
    assert len(read_audio(tmp_path / "a" / "clip.wav", RATE)) == 8000


def test_stills_and_videos_of_one_call_all_get_their_sounds(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    write_mp4(tmp_path / "clip.mp4", np.full((16, 16, 1), 200, np.uint8), np.ones(3000, np.float32), RATE, {})
    (tmp_path / "bad.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes()[:900])
    given = [pictures[0], tmp_path / "clip.mp4", tmp_path / "bad.mp4", pictures[1]]
    result = command("sound", *given, "-o", tmp_path / "out", "--model", model_folder, "--no-video", "--mix", -6)
    assert result.exit_code == 1
    assert "bad.mp4" in result.stderr
    assert names(tmp_path / "out") == ["clip.wav", "picture-0.wav", "picture-1.wav"]
    assert read_metadata(tmp_path / "out" / "clip.wav")["seed"] == "1"


def test_a_still_gets_a_sound_as_long_as_asked_for(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = command("sound", *pictures[:2], "-o", out, "--model", model_folder, "--seconds", 1.25, "--no-video")
    assert result.exit_code == 0, result.output
    assert [len(read_audio(out / name, RATE)) for name in names(out)] == [round(1.25 * RATE)] * 2


def test_a_storyboard_is_a_sheet_and_a_video(
    command: Command, model_folder: Path, sounds: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("picture", *sounds[:2], "-o", out, "--model", model_folder, "--storyboard", "--steps", 1)
    assert command(*arguments).exit_code == 0
    assert names(out) == ["sound-0.mp4", "sound-0.png", "sound-1.mp4", "sound-1.png"]
    assert command(*arguments).exit_code == 1
    assert "leave out --start" in command(*arguments, "--overwrite", "--start", 0).stderr


def test_a_video_that_becomes_matroska_does_not_replace_what_it_is_made_of(
    command: Command, model_folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "clip.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode(None))
    whole = source.read_bytes()
    result = command("sound", source, "-o", tmp_path, "--model", model_folder, "--overwrite", "--steps", 1)
    assert result.exit_code == 1
    assert "is one of the inputs" in result.stderr
    assert source.read_bytes() == whole
