"""What the documents tell a reader to type works: Python runs, quick commands run, all others are parsed.

Each page is a session of its own: one folder with the files that pages speak of, one Python namespace, top to bottom.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from checkpoints.convert.published import tensors, write
from docs.blocks import (
    APPLIED,
    LANGUAGES,
    PAGES,
    PLACEHOLDER,
    QUICK,
    ROOT,
    Block,
    blocks,
    check_quoted,
    commands,
    echoes_arguments,
    inline_commands,
    parse,
)
from visual_echoes.checkpoints import model_folder
from visual_echoes.checkpoints.model_folder import ModelDescription, read_description
from visual_echoes.cli import app
from visual_echoes.media import read_image, write_mp4

EXAMPLES = ROOT / "src/visual_echoes/examples/scenes"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STEPS = 2  # of sampling
NAMES = [str(page.relative_to(ROOT)) for page in PAGES if page != APPLIED]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader stands: files under the names that the pages use, and the repository's recipes."""
    for name in ("photo.jpg", "dog.jpg", "door.jpg"):
        read_image(EXAMPLES / "dog.png").save(tmp_path / name)
    for name in ("recording.wav", "dog.wav"):
        shutil.copy(EXAMPLES / "dog.wav", tmp_path / name)
    wave, rate = soundfile.read(EXAMPLES / "dog.wav", dtype="float32")
    write_mp4(tmp_path / "clip.mp4", np.asarray(read_image(EXAMPLES / "dog.png")), wave, rate, {})
    for name, checkpoint in (("taming_vqgan_tiny", "last.ckpt"), ("hifigan_tiny", "g_02500000")):
        write(tmp_path, tensors(name)).rename(tmp_path / checkpoint)
    (tmp_path / "my-clips").mkdir()
    for name in ("dog.png", "dog.wav"):
        shutil.copy(EXAMPLES / name, tmp_path / "my-clips")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mine").symlink_to(ROOT / "src/visual_echoes/models/scenes")  # in place of a training of hours
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_folder, "read_description", lambda folder: _with_few_steps(read_description(folder)))
    return tmp_path


def _with_few_steps(description: ModelDescription) -> ModelDescription:
    """A model that samples in a moment: what a page promises does not depend on how well."""
    few = description.sampling.model_copy(update={"steps": STEPS})
    return description.model_copy(update={"sampling": few})


@pytest.mark.parametrize("page", [page for page in PAGES if page != APPLIED], ids=NAMES)
def test_the_page_does_what_it_says(page: Path, folder: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        place = f"{page.relative_to(ROOT)}:{block.line}"
        assert block.language in LANGUAGES, f"{place}: name the block's language, one of {', '.join(LANGUAGES)}"
        if block.language == "python":
            exec(compile(block.content, place, "exec"), namespace)
        elif block.language == "toml":
            tomllib.loads(block.content)
        elif block.language == "sh":
            _shell(block, place)
    for code in inline_commands(page):
        check_quoted(code)


def _shell(block: Block, place: str) -> None:
    subprocess.run(["bash", "-n"], input=block.content, text=True, check=True)
    for words in filter(None, commands(block.content)):
        arguments = echoes_arguments(words)
        if arguments is None:
            _check_other(words, place)
        elif arguments and arguments[0] in QUICK and not any(PLACEHOLDER.search(word) for word in arguments):
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{place}: {' '.join(words)}\n{result.output}"
        else:
            parse(arguments)


def _check_other(words: list[str], place: str) -> None:
    """What belongs to the project exists: make's targets, scripts, the package's extras."""
    program, *rest = words
    if program == "make":
        targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
        assert set(rest) <= targets, place
    elif program == "curl":
        forms = pytest.importorskip("visual_echoes.app.forms", reason="FastAPI is not installed (extra app)").FORMS
        fields = {rest[number + 1].split("=")[0] for number, word in enumerate(rest) if word == "-F"}
        task = rest[-1].rsplit("/", 1)[-1]
        assert not fields or fields <= set(forms[task].model_fields), place
    elif program.startswith("recipes/"):
        assert os.access(ROOT / program, os.X_OK), f"{place}: {program}"
    elif program == "python" and rest and rest[0].endswith(".py"):
        assert (ROOT / rest[0]).is_file(), f"{place}: {rest[0]}"
    elif program == "pip":
        for extras in (word.split("[")[1].split("]")[0] for word in rest if word.startswith("visual-echoes[")):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), place


def test_a_renamed_option_would_be_noticed() -> None:
    for line in ("echoes sound a.png -o out --stepz 3", "echoes sund a.png", "echoes evaluate scnes"):
        with pytest.raises(Exception, match=r"No such|no command|requires"):
            parse(line.split()[1:])
        with pytest.raises(AssertionError):
            check_quoted(line)
    parse(["sound", "a.png", "-o", "out", "--steps", "3"])


def test_commands_are_found_in_scripts() -> None:
    script = """
    srun bash -c \\
      'A=1 exec echoes train RECIPE'  # a comment
    accelerate launch -m visual_echoes train x.toml; echoes info 'a b'
    make test
    """
    found = [echoes_arguments(words) for words in commands(script) if words]
    assert [given for given in found if given] == [
        ["train", "RECIPE"],
        ["train", "x.toml"],
        ["info", "a b"],
    ]
