"""The autoregressive baseline looks back only, samples as it was trained, and repeats by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.layout import MODALITIES, Modality, other
from visual_echoes.model.autoregressive import (
    CONFIG,
    WEIGHTS,
    AutoregressiveBaseline,
    AutoregressiveConfig,
    AutoregressiveSampling,
    AutoregressiveTransformer,
    load_autoregressive,
    save_autoregressive,
)
from visual_echoes.streams import Tokens

GRIDS = {"image_grid": (2, 3), "audio_grid": (2, 4), "image_codes": 5, "audio_codes": 7}
READING_ORDER = {"image": [0, 1, 2, 3, 4, 5], "audio": [0, 4, 1, 5, 2, 6, 3, 7]}  # row by row; frame by frame
BOTH_TARGETS = pytest.mark.parametrize("target", MODALITIES)
PLAIN = AutoregressiveSampling(top_k=None)


def model_of(**changes: Any) -> AutoregressiveTransformer:
    """Untrained, but with features far from uniform, so that what it sees changes what it says."""
    torch.manual_seed(0)
    sizes = {"width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2, "dropout": 0.1}
    model = AutoregressiveTransformer(AutoregressiveConfig.model_validate({**GRIDS, **sizes, **changes})).eval()
    for parameter in (
        model.start,
        model.positions.modality,
        *(table.weight for table in model.embeddings.values()),
    ):
        torch.nn.init.normal_(parameter)
    return model


def random_tokens(batch: int, seed: int = 0) -> dict[str, Tensor]:
    noise = tiny.generator(seed)
    codes = {"image": (5, 6), "audio": (7, 8)}
    return {name: torch.randint(k, (batch, positions, 1), generator=noise) for name, (k, positions) in codes.items()}


def forced(model: AutoregressiveTransformer, tokens: Tokens, target: Modality) -> Tensor:
    """Scores of all target tokens at once."""
    with torch.no_grad():
        return model.logits(target, model(tokens, torch.full((len(tokens["image"]),), target == "audio")))


@BOTH_TARGETS
def test_a_token_is_predicted_from_all_of_the_condition_and_the_targets_earlier_ones(target: Modality) -> None:
    model, tokens, codes = model_of(), random_tokens(1), GRIDS[f"{target}_codes"]
    before, order = forced(model, tokens, target), READING_ORDER[target]
    for rank, position in enumerate(order):
        changed = {name: t.clone() for name, t in tokens.items()}
        changed[target][:, position] = (changed[target][:, position] + 1) % codes
        noticed = (forced(model, changed, target) - before).abs().amax((0, 2)) > 1e-5
        assert noticed[order].tolist() == [later > rank for later in range(len(order))]
    condition = other(target)
    for position in range(tokens[condition].shape[1]):
        changed = {name: t.clone() for name, t in tokens.items()}
        changed[condition][:, position] = (changed[condition][:, position] + 1) % GRIDS[f"{condition}_codes"]
        assert ((forced(model, changed, target) - before).abs().amax((0, 2)) > 1e-5).all()


def test_directions_do_not_mix_in_a_batch() -> None:
    model, tokens = model_of(), random_tokens(4)
    to_audio = torch.tensor([True, False, False, True])
    with torch.no_grad():
        features = model(tokens, to_audio)
        for target, chosen in (("image", ~to_audio), ("audio", to_audio)):
            alone = forced(model, {name: t[chosen] for name, t in tokens.items()}, target)
            torch.testing.assert_close(model.logits(target, features[chosen]), alone, atol=1e-5, rtol=1e-5)


@BOTH_TARGETS
def test_sampling_with_the_cache_is_naive_sampling(target: Modality, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token for token; and the scores of every step are those of teacher forcing."""
    model, tokens, order = model_of(), random_tokens(5), READING_ORDER[target]
    steps: list[Tensor] = []
    scores = model._scores
    monkeypatch.setattr(model, "_scores", lambda *given: steps.append(scores(*given)) or steps[-1])
    made = model.sample(target, tokens[other(target)], PLAIN, [tiny.generator(n) for n in range(5)])
    monkeypatch.undo()
    sampled = {**tokens, target: made}

    uniform = torch.stack([torch.rand(len(order), generator=tiny.generator(n)) for n in range(5)])
    naive = {**tokens, target: torch.zeros_like(made)}
    for step, position in enumerate(order):
        now = forced(model, naive, target)[:, position]
        naive[target][:, position, 0] = PLAIN.draw(now, uniform[:, step])
    assert torch.equal(made, naive[target])
    assert len(made.unique()) > 2
    torch.testing.assert_close(torch.stack(steps, 1), forced(model, sampled, target)[:, order], atol=1e-5, rtol=1e-5)


def test_a_draw_follows_the_probabilities_that_are_left() -> None:
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0]).expand(8000, 4)
    uniform = torch.rand(8000, generator=tiny.generator())
    for settings, expected in (
        (AutoregressiveSampling(top_k=2, temperature=0.5), torch.tensor([-torch.inf, 4.0, 2.0, -torch.inf])),
        (AutoregressiveSampling(top_k=99), logits[0]),
        (AutoregressiveSampling(top_k=1), torch.tensor([-torch.inf, 0.0, -torch.inf, -torch.inf])),
    ):
        share = torch.bincount(settings.draw(logits, uniform), minlength=4) / 8000
        torch.testing.assert_close(share, expected.softmax(0), atol=0.02, rtol=0)


def test_same_seed_same_result_in_any_batch() -> None:
    whole = AutoregressiveBaseline(model_of())
    tokens, seeds = random_tokens(7), [5, 6, 7, 8, 9, 10, 5]
    for translate, given in (("image_to_audio", tokens["image"]), ("audio_to_image", tokens["audio"])):
        given[6] = given[0]
        made = getattr(whole, translate)(given, seeds)
        assert torch.equal(getattr(replace(whole, batch_size=2), translate)(given, seeds), made)
        assert torch.equal(made[6], made[0])
        assert not torch.equal(getattr(whole, translate)(given, [seed + 100 for seed in seeds]), made)
        assert made.dtype == torch.int64


@BOTH_TARGETS
def test_the_start_tells_what_is_made(target: Modality) -> None:
    model, tokens = model_of(), random_tokens(2)
    before = {modality: forced(model, tokens, modality) for modality in MODALITIES}
    with torch.no_grad():
        model.start[MODALITIES.index(target)] += 1.0
    assert not torch.allclose(forced(model, tokens, target), before[target])
    assert torch.equal(forced(model, tokens, other(target)), before[other(target)])


def test_a_network_survives_its_folder(tmp_path: Path) -> None:
    model = model_of()
    save_autoregressive(tmp_path / "model", model, model.config)
    loaded = load_autoregressive(tmp_path / "model")
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(forced(loaded, random_tokens(2), "audio"), forced(model, random_tokens(2), "audio"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / CONFIG).unlink(),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / CONFIG).write_text("{"),
        lambda folder: (folder / CONFIG).write_text(
            (folder / CONFIG).read_text().replace('"layers": 2', '"layers": 3')
        ),
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-20]),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    model = model_of()
    save_autoregressive(tmp_path, model, model.config)
    damage(tmp_path)
    with pytest.raises(EchoesError, match="no usable autoregressive baseline"):
        load_autoregressive(tmp_path)
