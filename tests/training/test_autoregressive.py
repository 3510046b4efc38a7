"""Training the autoregressive baseline: the loss is the target's alone, and a run is one like all others."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import tiny
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.checkpoints.run_folder import AVERAGE_PREFIX, CHECKPOINTS, checkpoint_path
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.model.autoregressive import AutoregressiveConfig, AutoregressiveTransformer, load_autoregressive
from visual_echoes.streams import Tokens
from visual_echoes.training import run
from visual_echoes.training.autoregressive import AutoregressiveTask
from visual_echoes.training.build import build_task
from visual_echoes.training.digests import inputs_digest
from visual_echoes.training.dry_run import dry_run
from visual_echoes.training.loop import fit
from visual_echoes.training.recipe import AutoregressiveRecipe, Recipe
from visual_echoes.training.runs import summarise
from visual_echoes.training.signals import TrainingStopped

CPU = torch.device("cpu")
SIZES = {"width": 16, "heads": 2, "layers": 1, "mlp_ratio": 2, "dropout": 0.1}


def task_with(**sizes: Any) -> AutoregressiveTask:
    torch.manual_seed(0)
    config = AutoregressiveConfig.for_layout(tiny.LAYOUT, **{**SIZES, **sizes})
    return AutoregressiveTask(config, tiny.token_cache(), tiny.token_cache(seed=1))


def loss_of(task: AutoregressiveTask, batch: Any) -> tuple[Tensor, Any]:
    (phase,) = task.phases(batch, 0)
    return phase.loss, phase.metrics


def test_a_fair_coin_chooses_each_items_direction() -> None:
    task = task_with()
    tokens, to_audio, scored = task.batch(4000, tiny.generator(3))
    assert float(to_audio.double().mean()) == pytest.approx(0.5, abs=0.03)
    again = task.batch(4000, tiny.generator(3))
    assert torch.equal(again[1], to_audio)
    assert torch.equal(again[0]["audio"], tokens["audio"])
    # A place that holds the group: partners are of one group.
    assert torch.equal(tokens["image"][:, 1], tokens["audio"][:, 1])
    items = int(to_audio.sum())
    assert float(scored["audio"].sum()) == pytest.approx(items * tiny.LAYOUT.audio_tokens)
    assert float(scored["image"].sum()) == pytest.approx((4000 - items) * tiny.LAYOUT.image_tokens)


def test_the_loss_is_the_cross_entropy_of_the_targets_tokens() -> None:
    task = task_with(dropout=0.0)
    batch = task.batch(6, tiny.generator())
    tokens, to_audio, _ = batch
    loss, metrics = loss_of(task, batch)
    parts = []
    for modality, chosen, own in (("image", ~to_audio, tokens["image"]), ("audio", to_audio, tokens["audio"])):
        logits = task.model.logits(modality, task.model(tokens, to_audio)[chosen])
        parts.append(F.cross_entropy(logits.flatten(0, 1), own[chosen].flatten(), reduction="none"))
        torch.testing.assert_close(metrics[f"loss/{modality}"], parts[-1].mean())
    torch.testing.assert_close(loss, torch.cat(parts).mean())


def test_pieces_of_a_batch_make_up_its_loss() -> None:
    task = task_with(dropout=0.0)
    tokens, to_audio, scored = task.batch(8, tiny.generator(1))
    to_audio = torch.arange(8) < 3  # the second half has one direction only
    scored = {name: torch.full((8,), float(n) * 16 / 8) for name, n in (("image", 5), ("audio", 3))}
    whole, metrics = loss_of(task, (tokens, to_audio, scored))
    halves = []
    for rows in (slice(0, 4), slice(4, 8)):
        pairs = [{name: t[rows] for name, t in side.items()} for side in (tokens, scored)]
        halves.append(loss_of(task, (pairs[0], to_audio[rows], pairs[1])))
    torch.testing.assert_close((halves[0][0] + halves[1][0]) / 2, whole)
    for name, value in metrics.items():
        torch.testing.assert_close((halves[0][1][name] + halves[1][1][name]) / 2, value)
    halves[1][0].backward()
    assert all(parameter.grad is not None for parameter in task.model.parameters())


class Oracle(AutoregressiveTransformer):
    """Reads the group off the condition and bets on it."""

    def forward(self, tokens: Tokens, to_audio_B: Tensor) -> Tensor:
        group_B = torch.where(to_audio_B, tokens["image"][:, 1, 0], tokens["audio"][:, 1, 0])
        return F.one_hot(group_B, 32).float()[:, None].expand(-1, tiny.LAYOUT.tokens, -1)

    def logits(self, target: Modality, features_BLD: Tensor) -> Tensor:
        return 3.0 * features_BLD[:, -self.config.stream(target).positions :]


def test_the_gain_is_what_the_true_partner_is_worth() -> None:
    task = task_with()
    found = task.validate(Oracle(task.config), CPU).metrics
    for modality in MODALITIES:
        places = task.config.stream(modality).positions
        # A right bet is worth 3 nats, and three of four places hold the group; of the others, noise, 1 in 32 does.
        assert found[f"cross_modal_gain/{modality}"] == pytest.approx(3.0 * 0.75 * places, rel=0.06)
        right = 0.75 + 0.25 / 32
        assert found[f"loss/{modality}"] == pytest.approx(math.log(math.exp(3) + 31) - 3 * right, abs=0.05)


class Deaf(Oracle):
    """Bets on the same codes whatever the condition."""

    def forward(self, tokens: Tokens, to_audio_B: Tensor) -> Tensor:
        return torch.arange(32.0).expand(len(to_audio_B), tiny.LAYOUT.tokens, -1)


def test_who_does_not_listen_gains_nothing() -> None:
    task = task_with()
    found = task.validate(Deaf(task.config), CPU).metrics
    assert [found[f"cross_modal_gain/{modality}"] for modality in MODALITIES] == [0.0, 0.0]


def test_training_makes_it_listen(tmp_path: Path) -> None:
    task = task_with(width=32)
    with torch.no_grad():
        before = task.validate(task.model.eval(), CPU).metrics
    settings = tiny.train_settings(40, batch_size=16, learning_rate=5e-3, validate_every=1000, checkpoint_every=1000)
    model = fit(task, settings, tmp_path, "f")
    with torch.no_grad():
        after = task.validate(model, CPU).metrics
    for modality in MODALITIES:
        assert after[f"loss/{modality}"] < 0.6 * before[f"loss/{modality}"]
        assert after[f"cross_modal_gain/{modality}"] > 8


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path) -> AutoregressiveRecipe:
    for name in ("train", "valid"):
        write_split(tmp_path, name, tiny.pair_split())
    write_description(tmp_path, tiny.LAYOUT, ["a", "b", "c", "d"], {})
    recipe = TypeAdapter(Recipe).validate_python(
        {
            "kind": "autoregressive", "layout": "debug", "data": tmp_path, "output": tmp_path / "run", "model": SIZES,
            "image_vqgan": model_folder, "audio_vqgan": model_folder, "image_copies": 2, "audio_copies": 3,
            "train": tiny.train_settings(4),
        }
    )  # fmt: skip
    assert isinstance(recipe, AutoregressiveRecipe)
    return recipe


def test_a_stopped_run_goes_on_to_the_same_end(
    recipe: AutoregressiveRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_autoregressive(run.train(recipe)).state_dict()
    stored = load_file(checkpoint_path(recipe.output / CHECKPOINTS, recipe.train.steps))
    assert all(torch.equal(value, stored[AVERAGE_PREFIX + name]) for name, value in whole.items())
    assert {summarise(recipe.output).state, summarise(recipe.output).recipe} == {"finished", "autoregressive, debug"}

    second = recipe.model_copy(update={"output": tmp_path / "second"})
    stop = lambda: signal.raise_signal(signal.SIGTERM)  # noqa: E731
    monkeypatch.setattr(run, "build_task", lambda *given: tiny.at_step(build_task(*given), 1, stop))
    with pytest.raises(TrainingStopped, match="after step 2"):
        run.train(second)
    monkeypatch.undo()
    again = load_autoregressive(run.train(second)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.parametrize("name", ["image_vqgan", "audio_vqgan"])
def test_a_run_belongs_to_its_tokenizers(
    recipe: AutoregressiveRecipe, whole_model: Model, tmp_path: Path, name: PartName
) -> None:
    with torch.no_grad():
        next(whole_model.parts[name].parameters()).add_(1.0)
    save_model(tmp_path / "other", whole_model, half=False)
    assert inputs_digest(recipe.model_copy(update={name: tmp_path / "other"})) != inputs_digest(recipe)


def test_a_dry_run_counts_the_tokens(recipe: AutoregressiveRecipe) -> None:
    found = dry_run(recipe)
    assert found.tokens_per_item == tiny.LAYOUT.tokens
    assert found.parameters["model"] > 1000
    assert not recipe.output.exists()
