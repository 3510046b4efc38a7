"""The dense model computed with less: packed sequences, only what is asked for, and kept keys and values.

`FastTransformer` has the weights of `EchoTransformer` and gives the same features and logits: what nobody sees or asks
for is left out instead of masked out, and sequences of different lengths lie end to end (`packing.py`).
`CachedScore` is an approximation: most tokens stay as they are from step to step, so between refreshes only new
tokens, those that are asked for and the CLS token go through the blocks, and all others keep their keys and values (as
in dLLM-Cache, Liu et al. 2025, and LazyMAR, Yan et al. 2025).

Shapes: B batch, P positions of one stream, Q codes a position, L positions of all streams, S = 1 + L with the CLS
token, N and M packed positions, D width, E = 2 D keys and values, K codes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.machine import without_memory
from visual_echoes.model.blocks import Attention, Block
from visual_echoes.model.interface import Draw, Score, ScoringModel
from visual_echoes.model.packing import Packing
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.streams import Level, Tokens


class FastBlock(Block):
    """`Block` on packed positions, which attend to each other or to a memory whose runs are of the same samples."""

    def forward(  # type: ignore[override]
        self, x_ND: Tensor, packing: Packing, memory_MD: Tensor | None = None, memory: Packing | None = None
    ) -> Tensor:
        if memory_MD is None or memory is None:
            q_ND, keys_values_NE = self.attention.qkv(self.norm1(x_ND)).split([x_ND.shape[1], 2 * x_ND.shape[1]], 1)
            return self.add(x_ND, self.attention.out(self._gather(q_ND, packing, keys_values_NE, packing)))
        return self.attend_to(x_ND, packing, self.attention.keys_values(self.norm1(memory_MD)), memory)

    def attend_to(self, x_ND: Tensor, packing: Packing, keys_values_ME: Tensor, memory: Packing) -> Tensor:
        """The same, to a memory of which keys and values are known."""
        q_ND = self.attention.queries(self.norm1(x_ND))
        return self.add(x_ND, self.attention.out(self._gather(q_ND, packing, keys_values_ME, memory)))

    def _gather(self, q_ND: Tensor, packing: Packing, keys_values_ME: Tensor, memory: Packing) -> Tensor:
        """What queries gather from the memory of their samples, (N, D)."""
        attention = self.attention
        if q_ND.is_cuda:
            return gather_padded(attention, q_ND, packing, keys_values_ME, memory)
        runs = zip(packing.split(q_ND), memory.split(keys_values_ME), strict=True)
        return packing.join(
            [attention.attend(*attention.by_head(q_RPD, 1), *attention.by_head(kv_RQE, 2)) for q_RPD, kv_RQE in runs]
        )


def gather_padded(
    attention: Attention, q_ND: Tensor, packing: Packing, keys_values_ME: Tensor, memory: Packing
) -> Tensor:
    """What queries gather from the memory of their samples, (N, D), all samples at once."""
    asked, known = packing.padded, memory.padded
    (q_BHPd,) = attention.by_head(asked.pad(q_ND), 1)
    k_BHMd, v_BHMd = attention.by_head(known.pad(keys_values_ME), 2)
    mask_B11M = None if len(memory.runs) == 1 else known.real_BP[:, None, None]
    return asked.unpad(attention.attend(q_BHPd, k_BHMd, v_BHMd, mask_B11M))


class FastTransformer(EchoTransformer):
    """`EchoTransformer` for less: same weights, same results."""

    block = FastBlock

    def forward(self, tokens: Tokens, masked: Tokens, dropped: Tokens | None = None) -> dict[str, Tensor]:
        """As the dense model's; with "cross" zeros at positions of which every code is known."""
        asked_BL = torch.cat([masked[name][..., -1] for name in self.streams], 1)
        asked_BS = F.pad(asked_BL, (1, 0))
        if self.config.decoder == "full":
            asked_BS = torch.ones_like(asked_BS)
        return self.by_stream(self.run(tokens, masked, self.seen(masked, dropped), asked_BS))

    def score(
        self, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None = None
    ) -> dict[Level, Tensor]:
        """As the dense model's; zeros where nothing is asked for."""
        features = self.by_stream(self.run(tokens, masked, self.seen(masked), self.positions_of(asked)))
        return self.scored(features, tokens, asked, draw)

    def positions_of(self, asked: Mapping[Level, Tensor]) -> Tensor:
        """Positions of the sequence of which a level is asked for, bool (B, S)."""
        some_BP = next(iter(asked.values()))
        found = {name: some_BP.new_zeros(len(some_BP), stream.positions) for name, stream in self.streams.items()}
        for (name, _), asked_BP in asked.items():
            found[name] = found[name] | asked_BP
        return F.pad(torch.cat(list(found.values()), 1), (1, 0))

    def logits_at(self, asked_BP: Tensor, level: Level, features_BPD: Tensor, tokens_BPQ: Tensor) -> Tensor:
        """As the dense model's; zeros where nothing is asked for."""
        packing = Packing(asked_BP)
        return packing.unpack(self.packed_logits(packing, level, features_BPD, tokens_BPQ).float())

    def packed_logits(self, packing: Packing, level: Level, features_BPD: Tensor, tokens_BPQ: Tensor) -> Tensor:
        """Logits of a level at packed positions, (N, K)."""
        features_ND = packing.pack(features_BPD)
        return self.logits(level, features_ND, self.before(level, packing.pack(tokens_BPQ, len(features_ND))))

    def encode(self, x_BSD: Tensor, seen_BS: Tensor | None = None, kept: Packing | None = None) -> Tensor:
        """As the dense model's; zeros where nothing is seen."""
        kept = kept or Packing(torch.ones_like(x_BSD[..., 0], dtype=torch.bool) if seen_BS is None else seen_BS)
        x_ND = kept.pack(x_BSD)
        for block in blocks(self.encoder):
            x_ND = block(x_ND, kept)
        return kept.unpack(self.decoder_embed(self.encoder_norm(x_ND)))

    def run(self, tokens: Tokens, masked: Tokens, seen_BS: Tensor, asked_BS: Tensor) -> Tensor:
        """Decoder features of the positions that are asked for, zeros elsewhere, (B, S, D)."""
        cross = self.config.decoder == "cross"
        memory, asked = Packing.pair(seen_BS if cross else torch.ones_like(seen_BS), asked_BS)
        encoded_BSD = self.encode(self.embed(tokens, masked), seen_BS, memory if cross else None)
        x_BSD = self.decoder_input(encoded_BSD, self.masked_positions(masked))
        memory_MD, x_ND = memory.pack(x_BSD), asked.pack(x_BSD)
        if cross:
            for block in blocks(self.decoder):
                x_ND = block(x_ND, asked, memory_MD, memory)
        else:
            *first, last = blocks(self.decoder)
            for block in first:
                memory_MD = block(memory_MD, memory)
            everywhere = asked.runs == memory.runs
            x_ND = memory_MD if everywhere else asked.pack(memory.unpack(memory_MD))
            x_ND = last(x_ND, asked) if everywhere else last(x_ND, asked, memory_MD, memory)
        return asked.unpack(self.decoder_norm(x_ND))


def dense(model: EchoTransformer) -> EchoTransformer:
    """The dense model of the same weights, which the two share."""
    with without_memory():
        plain = EchoTransformer(model.config)
    weights = model.state_dict(keep_vars=True)
    for name, parameter in plain.named_parameters():
        parameter.requires_grad_(weights[name].requires_grad)  # which assigning would change in the shared weights
    plain.load_state_dict(weights, assign=True)
    return plain.train(model.training)


def blocks(modules: Iterable[torch.nn.Module]) -> list[FastBlock]:
    return [cast(FastBlock, module) for module in modules]


class CachedScore:
    """A score for the sampling loop whose keys and values may be some calls old; a refresh is exact.

    Args:
        model: in eval mode.
        every: calls from one refresh to the next.
    """

    def __init__(self, model: FastTransformer, every: int) -> None:
        self.model, self.every = model, every
        self._calls = 0
        self._keys_values: list[Tensor] = []  # of each block, (B, S, E)
        self._masked: dict[str, Tensor] = {}  # as each sample was last
        self._current_BS = torch.empty(0)  # visible positions whose keys and values are those of their tokens

    def __call__(
        self, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None = None
    ) -> dict[Level, Tensor]:
        """As `FastTransformer.score`, for the same samples in the same order; last ones may be left out.

        A refresh comes early where there are more samples than ever, or one hides more than before.
        """
        visible_BS = self.model.visible(masked)
        asked_BS = self.model.positions_of(asked)
        refresh = self._calls % self.every == 0 or not self._follows(masked)
        if refresh:
            self._start(visible_BS, masked)
        self._calls += 1
        changed_BS = visible_BS & ~self._current_BS[: len(visible_BS)] | self._revealed(masked)
        self._current_BS[: len(visible_BS), 1:] = visible_BS[:, 1:]  # the CLS token sums up all, so it is always new
        for name, mask in masked.items():
            self._masked[name][: len(mask)] = mask
        working_BS = torch.ones_like(asked_BS) if refresh else changed_BS | asked_BS
        features_BSD = self._run(tokens, masked, visible_BS, changed_BS, working_BS, asked_BS)
        return self.model.scored(self.model.by_stream(features_BSD), tokens, asked, draw)

    def _follows(self, masked: Tokens) -> bool:
        """Whether a call may go on from the last one."""
        return bool(self._masked) and all(
            len(now) <= len(self._masked[name]) and not bool((now & ~self._masked[name][: len(now)]).any())
            for name, now in masked.items()
        )

    def _start(self, visible_BS: Tensor, masked: Tokens) -> None:
        """Forget everything."""
        count, width = len(self.model.encoder) + len(self.model.decoder), self.model.config.width
        self._calls, self._masked = 0, {name: mask.clone() for name, mask in masked.items()}
        self._keys_values = [self.model.cls_token.new_zeros(*visible_BS.shape, 2 * width) for _ in range(count)]
        self._current_BS = torch.zeros_like(visible_BS)

    def _revealed(self, masked: Tokens) -> Tensor:
        """Positions of which a residual code is new, bool (B, S)."""
        new = [(self._masked[name][: len(now)] & ~now).any(-1) for name, now in masked.items()]
        return F.pad(torch.cat(new, 1), (1, 0))

    def _run(
        self,
        tokens: Tokens,
        masked: Tokens,
        visible_BS: Tensor,
        changed_BS: Tensor,
        working_BS: Tensor,
        asked_BS: Tensor,
    ) -> Tensor:
        """Decoder features of the positions that are asked for, zeros elsewhere, (B, S, D).

        Args:
            visible_BS: not masked.
            changed_BS: visible, and not when keys and values were kept last.
            working_BS: those that go through the blocks.
        """
        model, config = self.model, self.model.config
        kept = [kept_BSE[: len(visible_BS)] for kept_BSE in self._keys_values]
        encoder = list(zip(blocks(model.encoder), kept, strict=False))
        decoder = list(zip(blocks(model.decoder), kept[len(encoder) :], strict=True))
        everything_BS = torch.ones_like(visible_BS)
        if config.encoder_input == "visible":
            active, memory = Packing.pair(changed_BS, visible_BS)
        else:
            active, memory = Packing.pair(working_BS, everything_BS)
        x_ND = active.pack(model.embed(tokens, masked))
        for block, kept_BSE in encoder:
            x_ND = _through_cache(block, kept_BSE, x_ND, active, x_ND, active, memory)
        encoded_BSD = active.unpack(model.decoder_embed(model.encoder_norm(x_ND)))
        x_BSD = model.decoder_input(encoded_BSD, model.masked_positions(masked))
        if config.decoder == "cross":
            asked, memory = Packing.pair(asked_BS, visible_BS)
            new = Packing(changed_BS)
            new_ND, x_ND = new.pack(x_BSD), asked.pack(x_BSD)
            for block, kept_BSE in decoder:
                x_ND = _through_cache(block, kept_BSE, new_ND, new, x_ND, asked, memory)
        else:
            active, memory = Packing.pair(working_BS, everything_BS)
            x_ND = active.pack(x_BSD)
            for block, kept_BSE in decoder[:-1]:
                x_ND = _through_cache(block, kept_BSE, x_ND, active, x_ND, active, memory)
            asked, memory = Packing.pair(asked_BS, everything_BS)
            for block, kept_BSE in decoder[-1:]:
                x_ND = _through_cache(block, kept_BSE, x_ND, active, asked.pack(active.unpack(x_ND)), asked, memory)
        return asked.unpack(model.decoder_norm(x_ND))


def _through_cache(
    block: FastBlock, kept_BSE: Tensor, new_MD: Tensor, new: Packing, x_ND: Tensor, packing: Packing, memory: Packing
) -> Tensor:
    """Positions after a block, which attend to what is kept once the new positions' keys and values are there."""
    new.write(block.attention.keys_values(block.norm1(new_MD)), kept_BSE)
    return block.attend_to(x_ND, packing, memory.pack(kept_BSE), memory)


def scorer(model: ScoringModel, refresh_every: int) -> Callable[[], Score]:
    """What `sampling.generate` asks for a score at every stage: the model's own, or a new cache."""
    if refresh_every == 1:
        return lambda: model.score
    if isinstance(model, FastTransformer):
        return lambda: CachedScore(model, refresh_every)
    _warn_of_exactness()
    return lambda: model.score


@cache  # once, whatever the filters
def _warn_of_exactness() -> None:
    warnings.warn("This model computes keys and values at every step; kv_refresh_every is taken for 1.", stacklevel=3)
