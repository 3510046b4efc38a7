"""`echoes reconstruct`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import tiny
from cli.conftest import Command
from visual_echoes.media import read_audio, read_metadata, write_mp4
from visual_echoes.pipeline import VisualEchoes

RATE = tiny.LAYOUT.sample_rate


def test_images_and_sounds_come_back_with_a_figure_each(
    command: Command, model_folder: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path, echoes: VisualEchoes
) -> None:
    out = tmp_path / "out"
    result = command(
        "reconstruct", *pictures, *sounds, tmp_path / "gone.wav", "-o", out, "--model", model_folder, "--batch-size", 2
    )
    assert result.exit_code == 1
    assert "gone.wav" in result.stderr
    assert sorted(path.name for path in out.iterdir()) == [path.stem + path.suffix for path in (*pictures, *sounds)]
    expected = echoes.reconstruct(pictures, sounds)
    assert expected.images is not None
    assert expected.audio is not None
    assert (np.asarray(Image.open(out / "picture-4.png")) == expected.images[4, ..., 0]).all()
    assert np.abs(read_audio(out / "sound-4.wav", RATE) - expected.audio[4]).max() < 1e-3
    lines = result.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(out / path.name) for path in (*pictures, *sounds)]
    assert all("PSNR" in line for line in lines[:5])
    assert all("log-mel L1" in line for line in lines[5:])
    assert read_metadata(out / "sound-4.wav")["task"] == "reconstruct"


def test_a_image_and_a_sound_of_one_name_keep_it_and_a_video_counts_as_both(
    command: Command, model_folder: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pictures[0].rename(folder / "a.png")
    sounds[0].rename(folder / "a.wav")
    write_mp4(folder / "b.mp4", np.full((16, 16, 1), 90, np.uint8), np.ones(2000, np.float32) / 2, RATE, {})
    result = command("reconstruct", folder, "-o", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a.wav", "b.png", "b.wav"]
