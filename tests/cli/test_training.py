"""`echoes config` and `train`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import tiny
from cli.conftest import Command
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.cli.training import duration, toml_lines
from visual_echoes.data.pairs import read_split, write_description, write_split
from visual_echoes.layout import LAYOUTS, get_layout
from visual_echoes.model.masking import MaskRatio
from visual_echoes.tokenizers.vqgan import VQGAN, VQGANConfig
from visual_echoes.training.build import vqgan_config
from visual_echoes.training.recipe import ImageVQGANRecipe, Recipe, TransformerModel, read_recipe
from visual_echoes.training.settings import TrainSettings
from visual_echoes.training.transformer import MaskingObjective

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A tokenizer of images that is trained in a second; its data is there, too."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "valid"):
        write_split(data, name, tiny.pair_split())
    write_description(data, tiny.LAYOUT, ["a", "b", "c", "d"], {})
    path = tmp_path / "recipe.toml"
    path.write_text(f"""
kind = "image-vqgan"
layout = "debug"
data = "{data}"
output = "{tmp_path / "run"}"

[model]
code_dim = 8
width = 8
multipliers = [1, 1, 1]
strides = [[2, 2], [2, 2]]
blocks = 1
attention_levels = []
latent_width = 8
norm_groups = 4

[train]
steps = 1000
batch_size = 4
learning_rate = 1e-3
""")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shown_recipe_is_the_recipe(command: Command, path: Path) -> None:
    result = command("config", "show", path)
    assert result.exit_code == 0, result.output
    shown = TypeAdapter(Recipe).validate_python(tomllib.loads(result.stdout))
    assert shown == read_recipe(path)
    assert f"# tokens in all: {shown.get_layout().tokens}" in result.stdout.splitlines()


def test_a_shown_recipe_lists_every_key(command: Command) -> None:
    shown = tomllib.loads(command("config", "show", "recipes/debug/transformer.toml").stdout)
    for table, settings in (("model", TransformerModel), ("objective", MaskingObjective), ("train", TrainSettings)):
        optional = {"keep_every", "decoder_heads"}  # None, which TOML does not know
        assert set(shown[table]) == set(settings.model_fields) - optional
    assert set(shown["objective"]["image"]) == set(MaskRatio.model_fields)


def test_toml_of_odd_keys_and_values() -> None:
    values = {
        "none": None, "text": 'quote " back \\ new\nline é', "tiny": 1e-5, "no": False, "lists": [[2, 2], [1, 2]],
        "table": {"a key": 1, "deeper": {"é": "x", "empty": {}}},
    }  # fmt: skip
    read = tomllib.loads("\n".join(toml_lines(values)))
    assert read == {key: value for key, value in values.items() if value is not None}


def test_a_wrong_recipe_names_the_key(command: Command, recipe: Path) -> None:
    good = recipe.read_text()
    for wrong, named in (
        (good.replace("width = 8", "witdh = 8", 1), "'model.witdh' is no key"),
        (good.replace("batch_size = 4", "batch_size = 0"), "train.batch_size"),
        (good.replace('"debug"', '"gigantic"'), "gigantic"),
        (good.replace('"image-vqgan"', '"painter"'), "kind"),
        (good + "[[[", "cannot be read as a TOML recipe"),
    ):
        recipe.write_text(wrong)
        for arguments in (("config", "show"), ("train",)):
            result = command(*arguments, recipe)
            assert result.exit_code == 1
            assert result.stderr.startswith(f"Error: {recipe}")
            assert result.stderr.count("\n") == 1
            assert named in result.stderr, result.stderr


def test_layouts_are_all_there(command: Command) -> None:
    rows: dict[str, list[str]] = {}
    for line in command("config", "layouts").stdout.splitlines():
        name, *values = re.split(r"\s{2,}", line.strip())
        rows.setdefault(name, []).extend(values)
    assert rows["layout"] == list(LAYOUTS)
    assert rows["tokens in all"][0] == "521"
    assert rows["samples generated"] == [str(layout.samples) for layout in LAYOUTS.values()]


def test_training_leaves_a_part_and_prints_its_folder(command: Command, recipe: Path, tmp_path: Path) -> None:
    result = command("train", recipe, "--output", tmp_path / "elsewhere", "--steps", 2, "--threads", 1)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "elsewhere" / "model"
    assert result.stdout.splitlines()[-1] == str(folder)
    assert not (tmp_path / "run").exists()
    assert isinstance(load_model(folder).parts["image_vqgan"], VQGAN)
    # A run that is done is not done again.
    before = (folder / "image_vqgan.safetensors").read_bytes()
    assert command("train", recipe, "--output", tmp_path / "elsewhere", "--steps", 2).exit_code == 0
    assert (folder / "image_vqgan.safetensors").read_bytes() == before


def test_a_stopped_training_has_a_status_of_its_own_and_goes_on(recipe: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "visual_echoes", "train", str(recipe), "--steps", "100000", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
    metrics = tmp_path / "run" / "metrics.jsonl"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (metrics.is_file() and metrics.stat().st_size):
            time.sleep(0.05)
        process.send_signal(signal.SIGUSR1)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 75, stderr
    assert re.search(r"^Stopped after step \d+; run the same command again", stderr, re.MULTILINE), stderr
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["kind"] == "image-vqgan"


def test_changed_data_is_refused_unless_accepted(command: Command, recipe: Path, tmp_path: Path) -> None:
    assert command("train", recipe, "--steps", 2).exit_code == 0
    write_split(tmp_path / "data", "train", tiny.pair_split(seed=5))
    result = command("train", recipe, "--steps", 2)
    assert result.exit_code == 1
    assert "begun on other data" in result.stderr
    assert command("train", recipe, "--steps", 2, "--accept-changed-data").exit_code == 0


def test_a_run_goes_on_when_its_data_has_moved(command: Command, recipe: Path, tmp_path: Path) -> None:
    assert command("train", recipe, "--steps", 2).exit_code == 0
    (tmp_path / "data").rename(tmp_path / "moved")
    result = command("train", recipe, "--steps", 2)
    assert result.exit_code == 1
    assert "There is no prepared data at" in result.stderr
    assert "--data" in result.stderr
    for arguments in (["--dry-run"], []):
        result = command("train", recipe, "--steps", 2, "--data", tmp_path / "moved", *arguments)
        assert result.exit_code == 0, result.output
    assert "root is not set" in command("config", "show", recipe).stdout


def test_a_batch_beyond_the_data_says_what_would_do(command: Command, recipe: Path) -> None:
    result = command("train", recipe, "--steps", 1, "--batch-size", 1000)
    assert result.exit_code == 1
    assert (found := re.search(r"take (\d+) at most, by --batch-size", result.stderr))
    assert command("train", recipe, "--steps", 1, "--batch-size", found[1]).exit_code == 0


def test_training_without_data_says_what_to_do(command: Command, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "train.safetensors").unlink()
    result = command("train", recipe, "--steps", 1)
    assert result.exit_code == 1
    assert "prepare it first" in result.stderr


def test_a_gpu_or_a_service_that_is_not_there_is_one_sentence(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "wandb", None)  # type: ignore[arg-type]
    for option, value, named in (("--device", "cuda", "no GPU"), ("--wandb", "echoes", "pip install wandb")):
        result = command("train", recipe, "--steps", 1, option, value)
        assert result.exit_code == 1
        assert named in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (recipe.parent / "run").exists()
    assert command("train", recipe, "--steps", 1, "--device", "cpu").exit_code == 0


def test_training_without_its_packages_says_what_to_install(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "accelerate"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("visual_echoes.training.run", "visual_echoes.training.loop"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("visual_echoes.training.run", raising=False)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    result = command("train", recipe, "--steps", 1)
    assert result.exit_code == 1
    assert "pip install 'visual-echoes[train]'" in result.stderr


@pytest.mark.parametrize("joins", [None, 600])
def test_a_dry_run_says_what_it_will_cost_and_writes_nothing(
    command: Command, recipe: Path, tmp_path: Path, joins: int | None
) -> None:
    if joins is not None:
        recipe.write_text(recipe.read_text() + f"[loss]\nadversarial_from = {joins}\ndiscriminator_width = 8\n")
    before = sorted(tmp_path.rglob("*"))
    result = command("train", recipe, "--dry-run", "--steps", 1000)
    assert result.exit_code == 0, result.output
    assert sorted(tmp_path.rglob("*")) == before
    config = tokenizer_recipe_config(recipe)
    lines = result.stdout.splitlines()
    assert lines[0] == f"model: {sum(p.numel() for p in VQGAN(config).parameters()):,} parameters"
    assert [line.split(":")[0] for line in lines[1:]] == [
        *(["steps 0 to 1,000"] if joins is None else ["discriminator", "steps 0 to 600", "steps 600 to 1,000"]),
        "peak memory", "the whole run",
    ]  # fmt: skip
    assert "4 items" in lines[-3]


def tokenizer_recipe_config(path: Path) -> VQGANConfig:
    recipe = read_recipe(path)
    assert isinstance(recipe, ImageVQGANRecipe)
    return vqgan_config(recipe)


def test_a_dry_run_of_a_transformer_counts_tokens_and_makes_few(
    command: Command, model_folder: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = recipe.parent / "data"
    recipe.write_text(f"""
kind = "transformer"
layout = "debug"
data = "{data}"
output = "{recipe.parent / "run"}"
image_vqgan = "{model_folder}"
audio_vqgan = "{model_folder}"
image_copies = 50
model = {{ width = 16, heads = 2, encoder_layers = 1, decoder_layers = 1 }}
train = {{ steps = 10, batch_size = 4, learning_rate = 1e-3 }}
""")
    encoded: list[int] = []
    whole = VQGAN.encode_unit
    monkeypatch.setattr(VQGAN, "encode_unit", lambda self, x: (encoded.append(len(x)), whole(self, x))[1])
    result = command("train", recipe, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "tokens a second" in result.stdout
    assert not (recipe.parent / "run").exists()
    splits = [read_split(data, name, get_layout("debug")) for name in ("train", "valid")]
    groups = sum(len(groups.unique()) for split in splits for groups in (split.image_groups, split.sound_groups))
    assert 0 < sum(encoded) <= 2 * groups < sum(len(split.images) + len(split.sounds) for split in splits)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (90, "2 min"), (3600, "1 h 0 min"), (12_030, "3 h 20 min"), (200_000, "2 d 8 h")],
)
def test_durations_read_well(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
