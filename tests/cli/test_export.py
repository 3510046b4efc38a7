"""`echoes export` writes a model that every command runs by its graphs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.conftest import Command
from visual_echoes.cli import app
from visual_echoes.media import read_audio
from visual_echoes.model import fast
from visual_echoes.onnx.graphs import read_manifest
from visual_echoes.onnx.runtime import OnnxTransformer
from visual_echoes.pipeline import VisualEchoes

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def exported_once(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The whole model as the command exports it in int8, and what it said; not to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    result = CliRunner().invoke(app, ["export", str(model_folder), "-o", str(folder), "--int8"])
    assert result.exit_code == 0, result.output
    return folder, result.stdout.splitlines()


@pytest.fixture
def exported(exported_once: tuple[Path, list[str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_once[0], tmp_path / "exported"))


def test_it_names_the_graphs_and_what_stays_with_torch(exported_once: tuple[Path, list[str]]) -> None:
    folder, said = exported_once
    assert said[0].startswith(f"{folder / 'onnx' / 'transformer.onnx'}: ")
    assert len([line for line in said if ".onnx: " in line]) == 5
    assert "The vocoder is Griffin-Lim, which has no weights: it stays with torch." in said
    assert any(line.startswith("The transformer's dense layers have weights of ") for line in said)
    assert said[-1] == str(folder)
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.int8


def test_a_sound_is_made_by_the_graphs(
    command: Command, exported: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    score = OnnxTransformer.score
    monkeypatch.setattr(OnnxTransformer, "score", lambda self, *given: asked.append(self) or score(self, *given))
    arguments = ["sound", pictures[0], "--model", exported, "--device", "cpu", "--no-video"]
    result = command(*arguments, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert asked
    echoes = VisualEchoes.from_pretrained(exported, device="cpu")
    wave = read_audio(tmp_path / "out" / f"{pictures[0].stem}.wav", echoes.layout.sample_rate)
    assert len(wave) == echoes.layout.samples

    asked.clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = command(*arguments, "-o", tmp_path / "by torch")
    assert result.exit_code == 0, result.output
    assert not asked
    assert result.stderr.startswith(f"The graphs in {exported} are not used, as onnxruntime is not installed")
    assert result.stderr.count("\n") == 1


def test_a_damaged_graph_is_one_sentence(
    command: Command, exported: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (exported / "onnx" / "transformer.onnx").write_bytes(b"")
    result = command("sound", pictures[0], "--model", exported, "--device", "cpu", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "transformer.onnx does not match its checksum" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_model_is_not_overwritten_unasked(command: Command, model_folder: Path, exported: Path) -> None:
    before = (exported / "config.json").read_bytes()
    result = command("export", model_folder, "-o", exported)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (exported / "config.json").read_bytes() == before


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_the_extra_that_is_missing_is_named(
    command: Command, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = command("export", model_folder, "-o", tmp_path / "model")
    assert result.exit_code == 1
    assert f"needs the package '{package}'; install it with: pip install 'visual-echoes[speed]'" in result.stderr
    assert not (tmp_path / "model").exists()


def test_a_preset_that_graphs_cannot_follow_is_one_line(command: Command, exported: Path, tmp_path: Path) -> None:
    fast._warn_of_exactness.cache_clear()
    result = command("pair", "--model", exported, "--preset", "fast", "--no-video", "-o", tmp_path)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "This model computes keys and values at every step; kv_refresh_every is taken for 1."
    ]
