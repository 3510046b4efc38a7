"""`echoes doctor`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import soundfile

from cli.conftest import Command


def test_given_files_are_measured_and_the_weak_parts_named(
    command: Command, model_folder: Path, pictures: list[Path], sounds: list[Path]
) -> None:
    result = command("doctor", model_folder, *pictures, *sounds)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "tiny: 4 of 4 parts are whole."
    assert "image tokenizer (5)" in result.stdout
    assert "both together (5)" in result.stdout
    assert any(line.startswith("The sound tokenizer is weak") for line in lines)  # it is untrained
    assert "padded with silence" in result.stderr


def test_without_files_it_brings_its_own(command: Command, model_folder: Path) -> None:
    result = command("doctor", model_folder, "--batch-size", 2)
    assert result.exit_code == 0, result.output
    assert "No files are given, so synthetic patterns and tones are used" in result.stdout
    assert "image tokenizer (3)" in result.stdout
    assert "vocoder (3)" in result.stdout


def test_a_run_folder_is_examined(command: Command, training: Path) -> None:
    result = command("doctor", training, "--batch-size", 2)
    assert result.exit_code == 0, result.output
    assert "run: 4 of 4 parts are whole." in result.stdout
    assert "both together (3)" in result.stdout


def test_the_packaged_model_is_well(command: Command) -> None:
    result = command("doctor", "digits")
    assert result.exit_code == 0, result.output
    assert "packaged digits are used" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Nothing looks wrong")


def test_broken_files_are_all_named_and_the_rest_is_still_examined(
    command: Command, model_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    (folder / "transformer.safetensors").write_bytes(b"broken")
    (folder / "audio_vqgan.safetensors").unlink()
    result = command("doctor", folder)
    assert result.exit_code == 1
    assert [line.split(" ")[0] for line in result.stderr.splitlines()] == ["Broken:", "Broken:"]
    assert "2 of 4 parts are whole" in result.stdout
    assert "image tokenizer (3)" in result.stdout
    assert "sound tokenizer" not in result.stdout


def test_unreadable_files_are_listed(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    result = command("doctor", model_folder, pictures[0], tmp_path / "text.wav")
    assert result.exit_code == 1
    assert "text.wav" in result.stderr
    assert "image tokenizer (1)" in result.stdout


def test_silence_says_nothing_of_a_model(command: Command, model_folder: Path, tmp_path: Path) -> None:
    wave = np.sin(np.arange(8000)) / 2
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    soundfile.write(tmp_path / "cancel.wav", np.stack([wave, -wave], 1), 8000)
    result = command("doctor", model_folder, tmp_path)
    assert result.exit_code == 1
    assert "cancel.wav: is silent once its channels are mixed into one" in result.stderr
    assert "silent.wav: is silent all along" in result.stderr
    assert "weak" not in result.stdout
