"""From raw digits to a generated sound, through the command, on the `debug` layout."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.cli import app
from visual_echoes.data.pairs import read_split
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS
from visual_echoes.media import read_metadata, write_png, write_wav

ROOT = Path(__file__).parents[2]
PARTS = ("image-vqgan", "audio-vqgan", "vocoder", "transformer")


def echoes(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared data, the four trained parts and the model they make."""
    folder = tmp_path_factory.mktemp("workshop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        echoes("data", "digits", "--source", ROOT / "data/digits", "-o", "data/prepared/debug", "--layout", "debug")
        for part in PARTS:
            echoes("train", ROOT / f"recipes/debug/{part}.toml")
        named = [word for part in PARTS for word in ("--part", f"runs/debug/{part}/model")]
        echoes("assemble", "model", "--name", "mine", *named, "--steps", 4)
    return folder


def test_every_part_logs_and_learns(workshop: Path) -> None:
    for part in PARTS:
        run = workshop / "runs/debug" / part
        assert list((run / "logs").glob("events.*")), part
        assert list((run / "checkpoints").glob("*.safetensors")), part
    tokens = workshop / "runs/debug/transformer"
    lines = (tokens / "metrics.jsonl").read_text()
    assert "cross_modal_gain/image" in lines
    assert "cross_modal_gain/audio" in lines


def test_a_image_makes_a_sound_of_the_layouts_length(workshop: Path, tmp_path: Path) -> None:
    picture = read_split(workshop / "data/prepared/debug", "test", LAYOUTS["debug"]).images[0]
    write_png(tmp_path / "seven.png", picture.movedim(0, -1).numpy(), {})
    echoes("sound", tmp_path / "seven.png", "-o", tmp_path / "out", "--model", workshop / "model", "--seed", 5)
    wave, rate = soundfile.read(tmp_path / "out/seven.wav")
    assert (len(wave), rate) == (LAYOUTS["debug"].samples, LAYOUTS["debug"].sample_rate)
    assert np.isfinite(wave).all()
    metadata = read_metadata(tmp_path / "out/seven.wav")
    assert metadata["seed"] == "5"
    assert metadata["synthetic"] == "true"


def test_a_sound_makes_a_image_and_the_round_trip_runs(workshop: Path, tmp_path: Path) -> None:
    wave = np.sin(np.arange(4000) * 0.3).astype(np.float32) * 0.5
    write_wav(tmp_path / "tone.wav", wave, 8000, {})
    echoes("picture", tmp_path / "tone.wav", "-o", tmp_path / "out", "--model", workshop / "model")
    assert (tmp_path / "out/tone.png").is_file()
    echoes("reconstruct", tmp_path / "tone.wav", "-o", tmp_path / "again", "--model", workshop / "model")
    assert list((tmp_path / "again").iterdir())


def test_a_finished_run_is_not_trained_again(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    weights = workshop / "runs/debug/image-vqgan/model/image_vqgan.safetensors"
    before = weights.read_bytes()
    echoes("train", ROOT / "recipes/debug/image-vqgan.toml")
    assert weights.read_bytes() == before


def test_training_can_start_from_a_trained_part(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    recipe = (ROOT / "recipes/debug/image-vqgan.toml").read_text()
    further = recipe.replace("runs/debug/image-vqgan", "runs/further").replace("steps = 30", "steps = 1")
    (workshop / "further.toml").write_text(f'start_from = "model"\n{further}')
    echoes("train", workshop / "further.toml")
    before, after = (load_model(workshop / name, wanted=["image_vqgan"]) for name in ("model", "runs/further/model"))
    for old, new in zip(before.parts["image_vqgan"].parameters(), after.parts["image_vqgan"].parameters(), strict=True):
        assert (old - new).abs().max() < 0.01  # one step away, not drawn anew
    (workshop / "other.toml").write_text(f'start_from = "model"\n{further}'.replace("\nwidth = 8", "\nwidth = 12"))
    result = CliRunner().invoke(app, ["train", str(workshop / "other.toml")])
    assert isinstance(result.exception, EchoesError) or "width is 8 there and 12 here" in result.output + result.stderr
    assert result.exit_code != 0
