"""Scores from kept keys and values: exact at a refresh and where nothing changed, and what they claim to be between."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.attention import Block
from visual_echoes.reuse import ReusingTransformer
from visual_echoes.transformer import MODALITIES, Counts, EchoTransformer, Pair, Wanted, after_class_slot

KINDS = pytest.mark.parametrize(
    ("encoder_input", "decoder"), [("masked", "full"), ("visible", "full"), ("visible", "cross")]
)
BATCH = 3
AUDIO: Wanted = [("audio",)] * BATCH


def model_of(encoder_input: str, decoder: str) -> EchoTransformer:
    choices = {"encoder_input": encoder_input, "decoder": decoder, "decoder_class_position": True}
    return tiny.transformer(tiny.transformer_config(**choices)).eval()


def states(model: EchoTransformer, calls: int, seed: int = 0) -> list[tuple[Pair, Pair]]:
    """Tokens and masked places of successive calls: every sample settles sounds at its own pace."""
    noise = tiny.generator(seed)
    image_BI = torch.randint(model.config.image_codes, (BATCH, model.places["image"]), generator=noise)
    audio_BA = torch.randint(model.config.audio_codes, (BATCH, model.places["audio"]), generator=noise)
    turn_BA = torch.rand(audio_BA.shape, generator=noise) * torch.tensor([[1.0], [0.8], [0.6]])
    hidden_BI = torch.zeros_like(image_BI, dtype=torch.bool)
    hidden_BI[1, 0] = True  # a place that stays unknown
    return [(Pair(image_BI, audio_BA), Pair(hidden_BI, turn_BA > call / calls)) for call in range(calls)]


def counts_of(masked: Pair) -> Counts:
    return list(zip(*(masked_BP.sum(1).tolist() for masked_BP in masked), strict=True))


def ask(scorer: EchoTransformer | ReusingTransformer, state: tuple[Pair, Pair], wanted: Wanted = AUDIO) -> Tensor:
    tokens, masked = state
    return torch.cat([scores.flatten(1) for scores in scorer.scores(tokens, masked, counts_of(masked), wanted)], 1)


def close(first: Tensor, second: Tensor) -> bool:
    return bool(torch.allclose(first, second, atol=1e-5, rtol=1e-4))


@KINDS
@torch.inference_mode()
def test_a_refresh_is_exact_and_so_is_a_state_that_did_not_change(encoder_input: str, decoder: str) -> None:
    model = model_of(encoder_input, decoder)
    always, seldom = ReusingTransformer(model, 1), ReusingTransformer(model, 100)
    for state in states(model, 4):
        assert close(ask(always, state), ask(model, state))
    first, *_, last = states(model, 4)
    assert close(ask(seldom, first), ask(model, first))
    assert close(ask(seldom, first), ask(model, first))
    assert not close(ask(seldom, last), ask(model, last))


@KINDS
@torch.inference_mode()
def test_between_refreshes_settled_places_keep_their_keys_and_values(encoder_input: str, decoder: str) -> None:
    model = model_of(encoder_input, decoder)
    reusing, naive = ReusingTransformer(model, 4), NaiveReuse(model)
    for number, state in enumerate(states(model, 6)):
        assert close(ask(reusing, state), naive.scores(*state, refresh=number % 4 == 0))


@KINDS
@torch.inference_mode()
def test_last_samples_may_go_and_a_sample_that_hides_more_starts_anew(encoder_input: str, decoder: str) -> None:
    model = model_of(encoder_input, decoder)
    whole, fewer = ReusingTransformer(model, 9), ReusingTransformer(model, 9)
    first, second, third = states(model, 3)
    for reusing in (whole, fewer):
        ask(reusing, first)
    ask(whole, second)
    ask(fewer, tuple(Pair(*(t[:1] for t in pair)) for pair in second), AUDIO[:1])
    # The first sample went on as if the others had been there, and they catch up.
    assert close(ask(fewer, third)[:1], ask(whole, third)[:1])
    assert not close(ask(whole, third), ask(model, third))
    assert close(ask(whole, first), ask(model, first))


class NaiveReuse:
    """Every place through every block in each call; where a place is not due, its old keys and values are put back."""

    def __init__(self, model: EchoTransformer) -> None:
        self.model = model
        self.kept: list[Tensor] = []
        self.old_BS = torch.empty(0)

    def scores(self, tokens: Pair, masked: Pair, refresh: bool) -> Tensor:
        model, config = self.model, self.model.config
        masked_BS = after_class_slot(torch.cat(masked, 1), False)
        everything_BS = torch.ones_like(masked_BS)
        asked_BS = after_class_slot(torch.cat([torch.zeros_like(masked.image), masked.audio], 1), False)
        changed_BS = ~masked_BS if refresh else ~masked_BS & ~self.old_BS
        changed_BS[:, 0] = True
        self.old_BS = ~masked_BS
        due_BS = everything_BS if refresh else changed_BS | asked_BS
        if refresh:
            self.kept = [torch.zeros(())] * (len(model.encoder) + len(model.decoder))
        hides = config.encoder_input == "visible"
        x_BSD = model.embed(tokens, masked)
        depth = len(model.encoder)
        encoder_due_BS = changed_BS if hides else due_BS
        for number, block in enumerate(model.encoder):
            x_BSD = self._block(block, number, x_BSD, x_BSD, encoder_due_BS, ~masked_BS if hides else everything_BS)
        encoded_BSD = model.bridge(model.encoder_norm(x_BSD))
        x_BSD = start_BSD = model.decoder_input(encoded_BSD, torch.cat(masked, 1))
        for number, block in enumerate(model.decoder, depth):
            if config.decoder == "cross":
                x_BSD = self._block(block, number, x_BSD, start_BSD, changed_BS, ~masked_BS)
            else:
                x_BSD = self._block(block, number, x_BSD, x_BSD, due_BS, everything_BS)
        features = model.by_modality(model.decoder_norm(x_BSD))
        found = [model.logits(m, f) for m, f in zip(MODALITIES, features, strict=True)]
        found[0] = torch.zeros_like(found[0])
        found[1] = found[1] * masked.audio[..., None]
        return torch.cat([scores.flatten(1) for scores in found], 1)

    def _block(
        self, block: torch.nn.Module, number: int, x_BSD: Tensor, memory_BSD: Tensor, due_BS: Tensor, seen_BS: Tensor
    ) -> Tensor:
        block = cast(Block, block)
        attention = block.attention
        kv_BSE = attention.keys_values(block.norm1(memory_BSD))
        self.kept[number] = kv_BSE = torch.where(due_BS[..., None], kv_BSE, self.kept[number])
        q_BSD = attention.qkv(block.norm1(x_BSD))[..., : x_BSD.shape[-1]]
        mixed_BSD = attention.mix(
            *attention.by_head(q_BSD, 1), *attention.by_head(kv_BSE, 2), mask=seen_BS[:, None, None]
        )
        return block.add(x_BSD, attention.out(mixed_BSD))
