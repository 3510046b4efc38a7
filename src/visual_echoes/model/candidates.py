"""Several candidates for each item, of which the one is kept that the model itself scores best.

Candidates are compared as tokens, so that only the best are decoded.

Shapes: B items, P positions of a stream, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from visual_echoes.model.agreement import agreement
from visual_echoes.model.fast import scorer
from visual_echoes.model.interface import Progress, ScoringModel
from visual_echoes.model.sampling import Plan, generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.streams import Stream, Tokens


def further_seed(seed: int, *number: int) -> int:
    """What a candidate of an item, or a window of a whole, is drawn with: the first one, 0, with the item's own seed.

    The others' are mixed from all bits of it, as torch's generators on the CPU look at the last 32 alone.
    """
    if not any(number):
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=number).generate_state(1)[0])


def generate_best(
    model: ScoringModel,
    streams: Sequence[Stream],
    tokens: Tokens,
    masked: Tokens,
    plan: Plan,
    settings: SamplingSettings,
    seeds: Sequence[int],
    batch_size: int = 16,
    progress: Progress | None = None,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Fill the masked tokens of items as `sampling.generate` does, `settings.best_of` times, and keep the best of each.

    Args:
        tokens: int64 (B, P, Q) by stream, of one batch.
        masked: bool (B, P, Q) by stream.
        seeds: one an item. Its first candidate is what it would get alone; where two score the same, the earlier stays.
        batch_size: rows sampled at once, or B if that is more; changes the speed, not the result.
        progress: counts the steps of every candidate, and sees the best ones after the last.

    Returns:
        Tokens, and their `agreement`, float64 (B,); None where there was nothing to choose.
    """

    def fill(first: int, until: int) -> dict[str, Tensor]:
        """Candidates by number, and in each all items."""
        count = until - first

        def report(done: int, steps: int, now: Tokens, left: Tokens) -> None:
            if progress is not None and (settings.best_of == 1 or first * steps + done * count < total):
                progress(first * steps + done * count, total, now, left)

        own = [further_seed(seed, number) for number in range(first, until) for seed in seeds]
        return generate(
            scorer(model, settings.kv_refresh_every), streams, _repeated(tokens, count), _repeated(masked, count), plan,
            settings, [torch.Generator().manual_seed(seed) for seed in own], None if progress is None else report,
        )  # fmt: skip

    size, total = len(seeds), settings.best_of * sum(stage.steps for stage in plan)
    if settings.best_of == 1:
        return fill(0, 1), None
    levels = [level for stage in plan for level in stage.levels]
    sources = {stream.name: stream.source for stream in streams}
    made = {sources[name] for name, level in levels if masked[name][..., level].any()}
    at_once = max(1, batch_size // size)
    best: dict[str, Tensor] = {}
    best_B = torch.full((size,), -torch.inf, dtype=torch.float64)
    for first in range(0, settings.best_of, at_once):
        filled = fill(first, min(first + at_once, settings.best_of))
        for candidate in zip(*(t.split(size) for t in filled.values()), strict=True):
            drawn = dict(zip(filled, candidate, strict=True))
            score_B = agreement(model, drawn, made)
            better_B = score_B > best_B
            best_B = torch.where(better_B, score_B, best_B)
            best = {
                name: torch.where(better_B.to(t.device)[:, None, None], t, best.get(name, t))
                for name, t in drawn.items()
            }
    if progress is not None:
        left = {name: m.clone() for name, m in masked.items()}
        for name, level in levels:
            left[name][..., level] = False
        progress(total, total, {name: t.clone() for name, t in best.items()}, left)
    return best, best_B


def _repeated(rows: Tokens, count: int) -> dict[str, Tensor]:
    return {name: t.repeat(count, 1, 1) for name, t in rows.items()}
