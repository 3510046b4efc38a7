"""Sampling that keeps what settled places were to others: an approximation, for speed.

From step to step most tokens stay as they are, and what a block makes of them changes little. So between refreshes
only the places that are asked for, those settled since and the class slot go through the blocks; all others keep
their keys and values (as in dLLM-Cache, Liu et al. 2025, and LazyMAR, Yan et al. 2025). A refresh is exact.

Shapes: B samples of all branches, S places with the class slot, N packed places, D width, E = 2 D keys and values.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor

from visual_echoes.attention import Block
from visual_echoes.packing import Packing
from visual_echoes.transformer import CountedChoice, Counts, EchoTransformer, Pair, Wanted, after_class_slot


class ReusingTransformer:
    """Scores as `EchoTransformer.scores` gives them, from keys and values that may be some calls old.

    Args:
        model: in eval mode.
        every: calls from one refresh to the next.
    """

    def __init__(self, model: EchoTransformer, every: int) -> None:
        self.model, self.every = model, every
        self._calls = 0
        self._keys_values: list[Tensor] = []  # of each block, (B, S, E)
        self._current_BS = torch.empty(0)  # visible places whose keys and values are those of their token
        self._current_counts: list[int] = []
        self._masked_counts: list[tuple[int, int]] = []

    def scores(self, tokens: Pair, masked: Pair, masked_counts: Counts, wanted: Wanted) -> Pair:
        """As `EchoTransformer.scores`, with the same samples in the same order every time; last ones may be left out.

        A refresh comes early where there are more samples than ever or one hides more than before.
        """
        masked_BS = after_class_slot(torch.cat(masked, 1), False)
        places = masked_BS.shape[1]
        visible: CountedChoice = (~masked_BS, [places - sum(counts) for counts in masked_counts])
        everything: CountedChoice = (torch.ones_like(masked_BS), [places] * len(masked_BS))
        asked = self.model.asked(masked, masked_counts, wanted)
        refresh = self._calls % self.every == 0 or not self._follows(masked_counts)
        if refresh:
            self._start(masked_BS)
        self._calls += 1
        self._masked_counts[: len(masked_counts)] = masked_counts
        changed = self._change(visible)
        working = everything if refresh else _either(changed, asked.both)
        features_BSD = self._run(tokens, masked, _Places(visible, everything, changed, working, asked.both))
        return self.model.scored(features_BSD, asked)

    def _follows(self, masked_counts: Counts) -> bool:
        """Whether a call may go on from the last one."""
        before = self._masked_counts[: len(masked_counts)]
        return len(before) == len(masked_counts) and all(
            now <= then for pair in zip(masked_counts, before, strict=True) for now, then in zip(*pair, strict=True)
        )

    def _start(self, masked_BS: Tensor) -> None:
        """Forget everything."""
        blocks, width = len(self.model.encoder) + len(self.model.decoder), self.model.config.width
        self._calls, self._masked_counts = 0, []
        self._keys_values = [self.model.class_slot.new_zeros(*masked_BS.shape, 2 * width) for _ in range(blocks)]
        self._current_BS, self._current_counts = torch.zeros_like(masked_BS), [0] * len(masked_BS)

    def _change(self, visible: CountedChoice) -> CountedChoice:
        """Visible places that are new, and the class slot, which sums up all; from now on they are not new."""
        visible_BS, counts = visible
        size = len(counts)
        changed_BS = visible_BS & ~self._current_BS[:size]
        changed_counts = [count - old for count, old in zip(counts, self._current_counts[:size], strict=True)]
        self._current_BS[:size, 1:] = visible_BS[:, 1:]
        self._current_counts[:size] = [count - 1 for count in counts]
        return changed_BS, changed_counts

    def _run(self, tokens: Pair, masked: Pair, places: _Places) -> Tensor:
        """Features of the places that are asked for, zeros elsewhere, (B, S, D)."""
        model, config = self.model, self.model.config
        kept = [kept_BSE[: len(tokens.image)] for kept_BSE in self._keys_values]
        blocks = [(cast(Block, b), k) for b, k in zip([*model.encoder, *model.decoder], kept, strict=True)]
        encoder, decoder = blocks[: len(model.encoder)], blocks[len(model.encoder) :]

        if config.encoder_input == "visible":
            active, memory = Packing.pair(places.changed, places.visible)
        else:
            active, memory = Packing.pair(places.working, places.everything)
        x_ND = active.pack(model.embed(tokens, masked))
        for block, kept_BSE in encoder:
            x_ND = _through(block, kept_BSE, x_ND, active, x_ND, active, memory)
        encoded_BSD = active.unpack(model.bridge(model.encoder_norm(x_ND)))
        x_BSD = model.decoder_input(encoded_BSD, torch.cat(masked, 1))

        if config.decoder == "cross":
            asked, memory = Packing.pair(places.asked, places.visible)
            new = Packing(*places.changed)
            new_ND, x_ND = new.pack(x_BSD), asked.pack(x_BSD)
            for block, kept_BSE in decoder:
                x_ND = _through(block, kept_BSE, new_ND, new, x_ND, asked, memory)
        else:
            active, memory = Packing.pair(places.working, places.everything)
            x_ND = active.pack(x_BSD)
            for block, kept_BSE in decoder[:-1]:
                x_ND = _through(block, kept_BSE, x_ND, active, x_ND, active, memory)
            asked, memory = Packing.pair(places.asked, places.everything)
            for block, kept_BSE in decoder[-1:]:
                x_ND = _through(block, kept_BSE, x_ND, active, asked.pack(active.unpack(x_ND)), asked, memory)
        return asked.unpack(model.decoder_norm(x_ND))


class _Places(NamedTuple):
    """Places of a call; never the class slot among those asked for."""

    visible: CountedChoice
    everything: CountedChoice
    changed: CountedChoice  # visible, and not when keys and values were kept last
    working: CountedChoice  # those that go through the blocks
    asked: CountedChoice


def _either(changed: CountedChoice, asked: CountedChoice) -> CountedChoice:
    """Two choices that share no place."""
    return changed[0] | asked[0], list(map(int.__add__, changed[1], asked[1]))


def _through(
    block: Block, kept_BSE: Tensor, new_MD: Tensor, new: Packing, x_ND: Tensor, places: Packing, memory: Packing
) -> Tensor:
    """Places after a block, which looks at what is kept once the new places' keys and values are written there."""
    new.write(block.attention.keys_values(block.norm1(new_MD)), kept_BSE)
    return block.add(x_ND, block.attention.look(block.norm1(x_ND), places, memory.pack(kept_BSE), memory))
