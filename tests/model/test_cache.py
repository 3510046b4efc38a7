"""Scores from kept keys and values: exact at a refresh and where nothing changed, and what they claim to be between."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import tiny
from visual_echoes.model.blocks import Block
from visual_echoes.model.fast import CachedScore, FastTransformer
from visual_echoes.model.interface import Score
from visual_echoes.streams import Tokens

KINDS = pytest.mark.parametrize(
    ("encoder_input", "decoder"), [("masked", "full"), ("visible", "full"), ("visible", "cross")]
)
BATCH = 3
State = tuple[Tokens, Tokens]


def model_of(encoder_input: str, decoder: str) -> FastTransformer:
    choices = {"encoder_input": encoder_input, "decoder": decoder, "decoder_cls_position": True}
    return tiny.transformer(tiny.transformer_config(**choices)).eval()


def states(model: FastTransformer, calls: int, seed: int = 0) -> list[State]:
    """Tokens and masked positions of successive calls: every sample unmasks sounds at its own pace."""
    noise = tiny.generator(seed)
    tokens = {s.name: torch.randint(s.codes, (BATCH, s.positions, 1), generator=noise) for s in model.config.streams}
    turn_BA1 = torch.rand(tokens["audio"].shape, generator=noise) * torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    hidden_BI1 = torch.zeros_like(tokens["image"], dtype=torch.bool)
    hidden_BI1[1, 0] = True  # a position that stays masked
    return [(tokens, {"image": hidden_BI1, "audio": turn_BA1 > call / calls}) for call in range(calls)]


def ask(score: Score, state: State) -> Tensor:
    """Logits of the masked sounds."""
    tokens, masked = state
    asked = {("audio", 0): masked["audio"][..., 0]}
    return score(tokens, masked, asked, lambda level, logits: (logits.argmax(-1), asked[level]))["audio", 0]


def close(first: Tensor, second: Tensor) -> bool:
    return bool(torch.allclose(first, second, atol=1e-5, rtol=1e-4))


@KINDS
@torch.inference_mode()
def test_a_refresh_is_exact_and_so_is_a_state_that_did_not_change(encoder_input: str, decoder: str) -> None:
    model = model_of(encoder_input, decoder)
    always, seldom = CachedScore(model, 1), CachedScore(model, 100)
    for state in states(model, 4):
        assert close(ask(always, state), ask(model.score, state))
    first, *_, last = states(model, 4)
    assert close(ask(seldom, first), ask(model.score, first))
    assert close(ask(seldom, first), ask(model.score, first))
    assert not close(ask(seldom, last), ask(model.score, last))


@KINDS
@torch.inference_mode()
def test_between_refreshes_unmasked_positions_keep_their_keys_and_values(encoder_input: str, decoder: str) -> None:
    model = model_of(encoder_input, decoder)
    reusing, naive = CachedScore(model, 4), NaiveReuse(model)
    for number, state in enumerate(states(model, 6)):
        assert close(ask(reusing, state), naive.score(*state, refresh=number % 4 == 0))


@KINDS
@torch.inference_mode()
def test_last_samples_may_go_and_a_sample_that_hides_more_starts_anew(encoder_input: str, decoder: str) -> None:
    model = model_of(encoder_input, decoder)
    whole, fewer = CachedScore(model, 9), CachedScore(model, 9)
    first, second, third = states(model, 3)
    for reusing in (whole, fewer):
        ask(reusing, first)
    ask(whole, second)
    ask(fewer, tuple({name: value[:1] for name, value in side.items()} for side in second))
    # The first sample went on as if the others had been there, and they catch up.
    assert close(ask(fewer, third)[:1], ask(whole, third)[:1])
    assert not close(ask(whole, third), ask(model.score, third))
    assert close(ask(whole, first), ask(model.score, first))


class NaiveReuse:
    """Every position through every block in each call; where one is not due, its old keys and values are put back."""

    def __init__(self, model: FastTransformer) -> None:
        self.model = model
        self.kept: list[Tensor] = []
        self.old_BS = torch.empty(0)

    def score(self, tokens: Tokens, masked: Tokens, refresh: bool) -> Tensor:
        model, config = self.model, self.model.config
        masked_BS = F.pad(torch.cat([masked["image"], masked["audio"]], 1)[..., 0], (1, 0))
        everything_BS = torch.ones_like(masked_BS)
        asked_BS = masked_BS.clone()
        asked_BS[:, : 1 + masked["image"].shape[1]] = False
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
        encoded_BSD = model.decoder_embed(model.encoder_norm(x_BSD))
        x_BSD = start_BSD = model.decoder_input(encoded_BSD, masked_BS[:, 1:])
        for number, block in enumerate(model.decoder, depth):
            if config.decoder == "cross":
                x_BSD = self._block(block, number, x_BSD, start_BSD, changed_BS, ~masked_BS)
            else:
                x_BSD = self._block(block, number, x_BSD, x_BSD, due_BS, everything_BS)
        features = model.by_stream(model.decoder_norm(x_BSD))
        return model.logits(("audio", 0), features["audio"]) * masked["audio"]

    def _block(
        self, block: torch.nn.Module, number: int, x_BSD: Tensor, memory_BSD: Tensor, due_BS: Tensor, seen_BS: Tensor
    ) -> Tensor:
        block = cast(Block, block)
        attention = block.attention
        kv_BSE = attention.keys_values(block.norm1(memory_BSD))
        self.kept[number] = kv_BSE = torch.where(due_BS[..., None], kv_BSE, self.kept[number])
        q_BSD = attention.queries(block.norm1(x_BSD))
        mixed_BSD = attention.attend(  # type: ignore[misc]
            *attention.by_head(q_BSD, 1), *attention.by_head(kv_BSE, 2), mask=seen_BS[:, None, None]
        )
        return block.add(x_BSD, attention.out(mixed_BSD))
