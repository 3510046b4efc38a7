"""The fast model is the dense model: exactly where it leaves out what nobody sees, closely where it keeps keys."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.toy import KINDS, STREAMS, all_masked, config, random_masks, random_tokens
from visual_echoes.model.fast import CachedScore, FastBlock, FastTransformer, gather_padded
from visual_echoes.model.fast import dense as as_dense
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.model.transformer import EchoTransformer

kinds = pytest.mark.parametrize("kind", KINDS, ids=str)


def both(kind: dict[str, Any]) -> tuple[EchoTransformer, FastTransformer]:
    """The dense and the fast model of the same weights, in float64."""
    torch.manual_seed(0)
    dense, fast = EchoTransformer(config(**kind)).double().eval(), FastTransformer(config(**kind)).double().eval()
    fast.load_state_dict(dense.state_dict())
    return dense, fast


@kinds
def test_features_are_those_of_the_dense_model(kind: dict[str, Any]) -> None:
    dense, fast = both(kind)
    tokens, masked = random_tokens(5), random_masks(5)
    dropped = {name: mask[..., 0] & (torch.rand(mask.shape[:2]) < 0.5) for name, mask in masked.items()}
    expected, found = dense(tokens, masked, dropped), fast(tokens, masked, dropped)
    for name, mask in masked.items():
        meant = mask[..., -1] if kind["decoder"] == "cross" else torch.ones_like(mask[..., -1])
        assert torch.allclose(found[name][meant], expected[name][meant], rtol=0, atol=1e-12)


@kinds
def test_scores_are_those_of_the_dense_model_where_they_are_asked_for(kind: dict[str, Any]) -> None:
    dense, fast = both(kind)
    tokens, masked = random_tokens(5), random_masks(5)
    asked = {level: masked[s.name][..., level[1]] for s in STREAMS for level in s.levels}
    expected, found = dense.score(tokens, masked, asked), fast.score(tokens, masked, asked)
    for level, asked_BP in asked.items():
        assert torch.allclose(found[level][asked_BP], expected[level][asked_BP], rtol=0, atol=1e-6)
        assert not found[level][~asked_BP].any()


@kinds
def test_all_samples_at_once_attend_as_runs_of_equal_length_do(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fast = both(kind)
    tokens, masked = random_tokens(5), random_masks(5)
    expected = fast(tokens, masked)
    monkeypatch.setattr(FastBlock, "_gather", lambda block, *given: gather_padded(block.attention, *given))
    found = fast(tokens, masked)
    for name, features_BPD in expected.items():
        assert torch.allclose(found[name], features_BPD, rtol=0, atol=1e-12)


def test_a_dense_model_shares_the_weights_and_leaves_them_as_they_are() -> None:
    model = FastTransformer(config()).eval()
    model.encoder.requires_grad_(False)
    plain = as_dense(model)
    shared = dict(plain.named_parameters())
    assert not plain.training
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad is not name.startswith("encoder.")
        assert shared[name] is parameter


@kinds
def test_both_draw_the_same_tokens(kind: dict[str, Any]) -> None:
    settings = SamplingSettings(steps=4, residual_steps=2)
    plan = settings.plan(STREAMS, ["label", "video"], ["audio"])
    drawn = [
        generate(
            lambda model=model: model.score,  # type: ignore[misc]
            STREAMS, random_tokens(3), all_masked(3), plan, settings,
            [torch.Generator().manual_seed(seed) for seed in range(3)],
        )
        for model in both(kind)
    ]  # fmt: skip
    for name in drawn[0]:
        assert torch.equal(drawn[0][name], drawn[1][name])


@kinds
def test_a_cache_that_is_refreshed_at_every_call_is_exact(kind: dict[str, Any]) -> None:
    _, fast = both(kind)
    cached = CachedScore(fast, 1)
    tokens, masked = random_tokens(4), random_masks(4)
    for _ in range(2):
        asked = {("audio", 1): masked["audio"][..., 1]}
        found, expected = cached(tokens, masked, asked), fast.score(tokens, masked, asked)
        assert torch.allclose(found["audio", 1], expected["audio", 1], rtol=0, atol=1e-6)
        masked = {name: mask & (torch.rand(mask.shape[:2])[..., None] < 0.5) for name, mask in masked.items()}


@kinds
def test_a_cache_takes_in_what_was_unmasked_since(kind: dict[str, Any]) -> None:
    """Between refreshes new tokens are seen: with all others unmasked before, the answer depends on them."""
    _, fast = both(kind)
    masked = all_masked(2)
    shown = {name: mask.clone() for name, mask in masked.items()}
    shown["video"][:] = False
    asked = {("audio", 0): masked["audio"][..., 0]}
    answers = []
    for seed in (0, 1):
        tokens = random_tokens(2, seed)
        cached = CachedScore(fast, 2)
        cached(tokens, masked, asked)
        answers.append(cached(tokens, shown, asked)["audio", 0])
    assert not torch.allclose(answers[0], answers[1], atol=1e-4)
