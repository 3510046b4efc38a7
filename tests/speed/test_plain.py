"""The plain way and the fast way are the same network and draw the same tokens."""

from __future__ import annotations

import pytest
import torch

import tiny
from visual_echoes.generation import generate
from visual_echoes.sampling import SamplingSettings
from visual_echoes.speed.plain import PlainTransformer, plain_generate
from visual_echoes.transformer import MODALITIES, EchoTransformer, Modality, Pair

KINDS = pytest.mark.parametrize(
    ("encoder_input", "decoder"), [("masked", "full"), ("visible", "full"), ("visible", "cross")]
)


def model_of(encoder_input: str, decoder: str) -> EchoTransformer:
    choices = {"encoder_input": encoder_input, "decoder": decoder, "decoder_class_position": True}
    return tiny.transformer(tiny.transformer_config(**choices)).eval()


def some_tokens(count: int) -> Pair:
    return tiny.token_cache().draw(count, tiny.generator())[0]


@KINDS
def test_scores_are_those_of_the_model(encoder_input: str, decoder: str) -> None:
    model, tokens = model_of(encoder_input, decoder), some_tokens(3)
    masked = Pair(*(torch.rand(t.shape, generator=tiny.generator(2)) < 0.6 for t in tokens))
    with torch.no_grad():
        found = PlainTransformer(model)(*tokens, *masked)
        features = model(tokens, masked)
    for modality, scores, feature, hidden in zip(MODALITIES, found, features, masked, strict=True):
        torch.testing.assert_close(scores[hidden], model.logits(modality, feature)[hidden], atol=1e-5, rtol=1e-5)


@KINDS
@pytest.mark.parametrize("target", MODALITIES)
def test_the_fast_way_draws_the_same_tokens(encoder_input: str, decoder: str, target: Modality) -> None:
    model, tokens, settings = model_of(encoder_input, decoder), some_tokens(3), SamplingSettings(steps=7)
    unknown = Pair(
        *(torch.full_like(t, m == target, dtype=torch.bool) for m, t in zip(MODALITIES, tokens, strict=True))
    )
    fast = generate(model, tokens, unknown, settings, [tiny.generator(i) for i in range(3)], (target,))
    plain = plain_generate(
        PlainTransformer(model), tokens, unknown, settings, [tiny.generator(i) for i in range(3)], target
    )
    assert torch.equal(torch.cat(fast, 1), torch.cat(plain, 1))
    assert not torch.equal(torch.cat(fast, 1), torch.cat(tokens, 1))
