"""Near codes stand for a condition's, in the measure of their nearness, and for nothing else."""

from __future__ import annotations

import torch

import tiny
from visual_echoes.training.neighbours import Neighbours
from visual_echoes.training.transformer import MaskingObjective, TransformerTask

# Two pairs of codes: the first two lie close together, the others close together elsewhere.
CODEBOOK = torch.tensor([[0.0, 0.0], [0.1, 0.0], [5.0, 5.0], [5.0, 5.1]])


def test_codes_become_near_ones_as_often_as_told() -> None:
    tokens = torch.tensor([0, 3]).repeat(20, 500)[..., None]
    drawn = Neighbours(CODEBOOK, 0.5)(tokens, torch.zeros_like(tokens, dtype=torch.bool), tiny.generator())
    assert torch.equal(drawn // 2, tokens // 2)  # none becomes a far one
    # Half are drawn anew, and of these about half are the other code of the pair.
    assert abs(float((drawn != tokens).double().mean()) - 0.25) < 0.01


def test_what_is_not_shown_whole_stays() -> None:
    tokens = torch.zeros(2, 400, 1, dtype=torch.int64)
    masked = torch.zeros_like(tokens, dtype=torch.bool)
    masked[0, 0] = True
    drawn = Neighbours(CODEBOOK, 1.0)(tokens, masked, tiny.generator())
    assert int(drawn[0].sum()) == 0
    assert int(drawn[1].sum()) > 150


def test_what_is_learnt_stays_and_other_streams_keep_their_codes() -> None:
    cache = tiny.token_cache()
    near = Neighbours(torch.randn(tiny.LAYOUT.audio_codes, 2, generator=tiny.generator()), 1.0)
    objective = MaskingObjective(shown_share=1.0)
    tasks = [
        TransformerTask(tiny.transformer_config(), objective, cache, cache, neighbours=neighbours)
        for neighbours in (None, {"audio": near})
    ]
    (plain, masked, *_), (varied, *_) = (task.batch(40, tiny.generator()) for task in tasks)
    assert torch.equal(varied["image"], plain["image"])
    shown_B = ~masked["audio"].any(1)[:, 0]
    assert 10 < int(shown_B.sum()) < 30
    assert torch.equal(varied["audio"][~shown_B], plain["audio"][~shown_B])
    assert float((varied["audio"][shown_B] == plain["audio"][shown_B]).double().mean()) < 0.8
