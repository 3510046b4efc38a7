"""The command as its own process: how fast it answers, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

import tiny
from cli.conftest import Command
from visual_echoes import __version__
from visual_echoes.cli.options import PairOrder
from visual_echoes.media import read_audio, read_frames
from visual_echoes.pipeline import PAIR_ORDERS

ECHOES = [sys.executable, "-m", "visual_echoes"]
HEAVY = ("torch", "numpy", "av", "PIL", "huggingface_hub")
PATIENCE = 120  # seconds; a busy machine is no failure


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2] / "src")}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE, check=False)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["sound", "--help"], ["--version"], ["evaluate", "digits", "--help"]]
)
def test_help_answers_without_the_heavy_packages(arguments: list[str]) -> None:
    code = (
        "import sys, atexit; from visual_echoes.cli import main; sys.argv = ['echoes', *sys.argv[1:]]\n"
        f"atexit.register(lambda: print('loaded', [name for name in {HEAVY} if name in sys.modules]))\n"
        "main()"
    )
    result = run(sys.executable, "-c", code, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "loaded []"


def test_the_module_is_the_command() -> None:
    result = run(*ECHOES, "--version")
    assert (result.returncode, result.stdout) == (0, f"echoes {__version__}\n")
    result = run(*ECHOES, "sound")
    assert result.returncode == 2
    assert "Usage: echoes sound" in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_leaves_only_whole_files(model_folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [*ECHOES, "sound", *map(str, pictures * 40), "-o", str(out), "--model", str(model_folder)]
    command += ["--batch-size", "1"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        # A test run in the background hands down an ignored interrupt; a person's shell does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while not list(out.glob("*.mp4")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, stderr
    assert stderr == "Interrupted; nothing half-written was left.\n"
    files = list(out.iterdir())
    assert 0 < len(files) < 2 * len(pictures * 40)
    for path in files:
        assert not path.name.startswith(".")
        if path.suffix == ".wav":
            assert len(read_audio(path, tiny.LAYOUT.sample_rate)) == tiny.LAYOUT.samples
        else:
            assert read_frames(path, 1)


def test_progress_is_shown_in_a_terminal_and_results_stay_apart(model_folder: Path, tmp_path: Path) -> None:
    command = [*ECHOES, "pair", "-n", "3", "-o", str(tmp_path / "out"), "--model", str(model_folder), "--no-video"]
    terminal, other_end = os.openpty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=other_end, text=True, env=environment()) as process:
        os.close(other_end)
        shown = b""
        with suppress(OSError):  # the terminal is gone when the process has ended
            while chunk := os.read(terminal, 4096):
                shown += chunk
        assert process.stdout is not None
        printed = process.stdout.read().splitlines()
    os.close(terminal)
    assert process.returncode == 0
    assert sorted(printed) == sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert b"Making pairs" in shown


def test_a_reader_that_leaves_early_is_no_error(model_folder: Path) -> None:
    code = f"{' '.join(ECHOES)} config layouts | true"
    result = run("bash", "-c", code)
    assert "Traceback" not in result.stderr


def test_the_choices_are_the_librarys() -> None:
    assert set(get_args(PairOrder)) == set(PAIR_ORDERS)


@pytest.mark.parametrize("group", [[], ["config"], ["data"], ["evaluate"]])
def test_a_group_alone_shows_its_commands(command: Command, group: list[str]) -> None:
    assert "Usage: " in command(*group).output


def test_operating_system_errors_are_one_sentence(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/secret/place")

    monkeypatch.setattr("visual_echoes.cli.layouts.layout_table", lambda layouts: refuse())
    result = command("config", "layouts")
    assert (result.exit_code, result.stderr) == (1, "Error: /secret/place cannot be used (Permission denied).\n")


def test_a_terminal_of_few_letters_shows_every_name(tmp_path: Path) -> None:
    path = tmp_path / "a\u202f\u00e9.png"
    Image.new("RGB", (20, 20)).save(path)
    command = [*ECHOES, "info", str(path)]
    surroundings = {**environment(), "PYTHONIOENCODING": "latin-1"}
    result = subprocess.run(command, capture_output=True, env=surroundings, timeout=PATIENCE, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"a\\u202f\xe9.png carries no metadata" in result.stdout
