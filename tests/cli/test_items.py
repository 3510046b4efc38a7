"""Files are used or reported; sounds longer or shorter than the layout's clip are cut or filled up, which is said."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cli.conftest import Command
from visual_echoes.cli.items import read_clip, sorted_by_kind
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.media import write_mp4, write_wav

PAPER = LAYOUTS["paper"]


def written(folder: Path, seconds: float, layout: Layout = PAPER) -> Path:
    """A ramp, which tells where a sample came from, with its loudest part at the end."""
    path = folder / "ramp.wav"
    samples = round(seconds * layout.sample_rate)
    write_wav(path, np.linspace(0.0, 0.9, samples, dtype=np.float32), layout.sample_rate, {})
    return path


@pytest.mark.parametrize(
    ("seconds", "start", "said"),
    [
        (10.0, None, None),
        (10.03, None, None),
        (12.34, None, "is 12.34 s long; the loudest 10 s are used"),
        (12.34, 1.5, "is 12.34 s long; from 1.5 s on, 10 s are used"),
        (3.0, None, "is 3 s long; 3 s are padded with silence to 10 s"),
        (3.0, 1.25, "is 3 s long; 1.75 s are padded with silence to 10 s"),
        (12.0, 4.0, "is 12 s long; 8 s are padded with silence to 10 s"),
    ],
)
def test_what_is_cut_or_filled_up_is_said_once(
    tmp_path: Path, seconds: float, start: float | None, said: str | None
) -> None:
    notes: list[str] = []
    path = written(tmp_path, seconds)
    wave, rate = read_clip(path, PAPER, start, notes.append)
    assert (len(wave), rate) == (PAPER.clip_samples, PAPER.sample_rate)
    assert notes == ([] if said is None else [f"{path} {said}"])


def test_the_part_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    path, rate = written(tmp_path, 12.0), PAPER.sample_rate
    ramp = np.linspace(0.0, 0.9, 12 * rate)
    for start, expected in ((None, ramp[2 * rate :]), (0.0, ramp[: 10 * rate]), (1.0, ramp[rate : 11 * rate])):
        wave, _ = read_clip(path, PAPER, start, lambda _: None)
        np.testing.assert_allclose(wave, expected, atol=1e-4)
    wave, _ = read_clip(path, PAPER, 4.0, lambda _: None)
    np.testing.assert_allclose(wave[: 8 * rate], ramp[4 * rate :], atol=1e-4)
    assert not wave[8 * rate :].any()


@pytest.mark.parametrize("start", [3.0, 100.0, float("nan"), float("inf")])
def test_a_start_beyond_the_end_is_refused(tmp_path: Path, start: float) -> None:
    path = written(tmp_path, 3.0)
    with pytest.raises(EchoesError, match=r"is 3 s long.*earlier --start"):
        read_clip(path, PAPER, start, lambda _: None)


@pytest.mark.parametrize("name", ["picture", "reconstruct"])
def test_the_commands_say_it_on_standard_error(
    command: Command, model_folder: Path, sounds: list[Path], tmp_path: Path, name: str
) -> None:
    arguments = ["-o", tmp_path / "out", "--model", model_folder]
    result = command(name, *sounds[:2], *arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        f"{path} is 0.19 s long; 0.19 s are padded with silence to 0.256 s" for path in sounds[:2]
    ]
    late = command(name, *sounds[:2], *arguments, "--overwrite", "--start", 0.1)
    assert late.exit_code == 0, late.output
    assert "0.09 s are padded" in late.stderr
    assert command(name, *sounds[:2], *arguments, "--overwrite", "--start", 5).exit_code == 1


def test_a_folder_s_files_are_used_or_reported(
    command: Command, model_folder: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "inside").mkdir(parents=True)
    shutil.copy(pictures[0], folder / "a.jfif")
    shutil.copy(pictures[1], folder / "b")  # an image by its content
    shutil.copy(sounds[0], folder / "c.png")  # a sound by its content
    (folder / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    (folder / "e.png").write_bytes(b"no picture")
    (folder / "empty.jpg").touch()
    os.symlink(tmp_path / "gone", folder / "f")
    os.symlink(folder / "inside", folder / "g")
    os.mkfifo(folder / "pipe")
    for name in (".DS_Store", "notes.txt", "list.csv", "empty"):
        (folder / name).write_text("" if name == "empty" else "text")
    result = command("sound", folder, "-o", tmp_path / "out", "--model", model_folder, "--no-video")
    assert result.exit_code == 1, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "b.wav"]
    lines = result.stderr.splitlines()
    assert f"{folder / 'g'} is a link to a folder, which is not entered; name it, too, to use what it holds." in lines
    assert f"{folder}: left out are 1 sound, 2 folders, 1 hidden file, 3 other files." in lines
    assert lines[lines.index("5 could not be used:") + 1 :] == [
        f"{folder / 'd.heic'}: is an image in the format HEIC, which is not read; export it as JPEG or PNG.",
        f"{folder / 'e.png'}: is damaged, incomplete or not an image (PNG, JPEG, WebP, AVIF, BMP, GIF or TIFF); "
        "use another file.",
        f"{folder / 'empty.jpg'}: is empty; check that it was copied completely.",
        f"{folder / 'f'}: is a link to something that does not exist; mend or delete it.",
        f"{folder / 'pipe'}: is a folder or a device, not a file; name a file.",
    ]


def test_the_content_tells_images_from_sounds(
    pictures: list[Path], sounds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for source, name in ((pictures[0], "a.wav"), (sounds[0], "b.png"), (sounds[1], "c")):
        shutil.copy(source, folder / name)
    write_mp4(folder / "d.jpg", np.zeros((8, 8, 3), np.uint8), np.zeros(8000, np.float32), 8000, {})
    (folder / "e.txt").write_text("neither")
    named = [folder / name for name in ("a.wav", "b.png", "c", "d.jpg", "e.txt")]
    found = sorted_by_kind(named)
    assert [[item.path.name for item in items] for items in found] == [
        ["a.wav", "d.jpg", "e.txt"],
        ["b.png", "c", "d.jpg"],
    ]
    found = sorted_by_kind([folder])
    assert [[item.path.name for item in items] for items in found] == [["a.wav", "d.jpg"], ["b.png", "c", "d.jpg"]]
    assert capsys.readouterr().err == f"{folder}: left out are 1 other file.\n"


def test_a_start_counts_from_the_beginning_of_the_video(tmp_path: Path) -> None:
    rate, path = 16_000, tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        container.mux([*video.encode(frame), *video.encode(None)])
        wave = np.linspace(0.0, 0.9, 12 * rate)  # begins 1.5 s later than the video
        block = av.AudioFrame.from_ndarray((wave[np.newaxis] * 32767).astype(np.int16), format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = rate, 3 * rate // 2, Fraction(1, rate)
        container.mux([*audio.encode(block), *audio.encode(None)])
    for start, first in ((1.5, 0.0), (2.5, 1.0)):
        heard, _ = read_clip(path, PAPER, start, lambda _: None)
        expected = np.interp(first + np.arange(len(heard)) / PAPER.sample_rate, np.arange(12 * rate) / rate, wave)
        np.testing.assert_allclose(heard[200:-200], expected[200:-200], atol=1e-3)
    heard, _ = read_clip(path, PAPER, 1.0, lambda _: None)
    assert not heard[: PAPER.sample_rate // 2 - 200].any()
    with pytest.raises(EchoesError, match=r"is 13\.5 s long"):
        read_clip(path, PAPER, 13.6, lambda _: None)
