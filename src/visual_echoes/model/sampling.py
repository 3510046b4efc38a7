"""Iterative unmasking: from logits to tokens, step by step; knows no network.

The paper's way (after MaskGIT and MAGE): draw a token at every masked position, unmask the most confident ones, keep
the rest masked, over N steps of a cosine schedule. With residual codes a position's levels are unmasked one after the
other (SoundStorm, Borsos et al. 2023), or all of a position's at once, each after those before it (RQ-Transformer, Lee
et al. 2022). Noise comes from one CPU generator per sample and stream, so a sample does not
depend on the batch it is drawn in, nor on the device.

Shapes: B batch, P positions of a stream, Q codes a position, N positions that are drawn, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from visual_echoes.machine import in_float64
from visual_echoes.model.interface import Order, Progress, Score, Settings
from visual_echoes.streams import LABEL, Level, Stream, Tokens, by_name


class Stage(NamedTuple):
    """Levels that are unmasked together, and in how many steps."""

    levels: tuple[Level, ...]
    steps: int


Plan = Sequence[Stage]
Guided = Callable[[Tensor], Tensor]  # logits (N, K) of the positions that are True in a mask (B, P)


# Schedule


def remaining(step: int, steps: int, start_B: Tensor, masked_B: Tensor) -> Tensor:
    """Tokens still masked after a step from 0, per sample, int64 (B,).

    floor(start * cos(pi/2 * (step + 1) / steps)), and at least one is unmasked each step (MAGE). `start_B` counts the
    tokens masked at the start, `masked_B` those masked now.
    """
    share = math.cos(0.5 * math.pi * (step + 1) / steps)
    target_B = (start_B.double() * share).floor().long()
    if step + 1 >= steps:
        target_B = torch.zeros_like(target_B)
    return target_B.minimum(masked_B - 1).clamp_min(0)


# One stream


class Sampler:
    """Unmasks levels of a stream: one, or several whose codes follow each other at a position.

    Args:
        tokens_BPQ: int64, the levels' tokens at known positions; masked ones may hold anything valid.
        masked_BP: bool, positions to fill. Known ones are never touched.
        steps: in how many steps.
        generators: one CPU generator per sample.
        likeliest: take the most probable tokens instead of drawing them.
    """

    def __init__(
        self, tokens_BPQ: Tensor, masked_BP: Tensor, steps: int, order: Order, generators: Sequence[torch.Generator],
        likeliest: bool = False,
    ) -> None:  # fmt: skip
        self.tokens_BPQ, self.masked_BP = tokens_BPQ, masked_BP
        self.steps, self.order, self.generators, self.likeliest = steps, order, generators, likeliest
        self.new_BP = masked_BP  # where codes are drawn: at all that is masked, then at what was unmasked
        self._start_B = self._masked_B = masked_BP.sum(1).cpu()
        self._uniform_BQP = self._gumbel_BP = self._log_probability_BP = torch.empty(0)

    @property
    def done(self) -> bool:
        """Whether nothing is masked."""
        return not self._masked_B.any()

    def begin(self) -> None:
        """Draw a step's noise: per sample and position a uniform number a level, and a Gumbel one for the order."""
        self.new_BP = self.masked_BP
        rows, size = self.tokens_BPQ.shape[-1] + 1, self.tokens_BPQ.shape[1]
        uniform_BRP = torch.stack([torch.rand(rows, size, generator=generator) for generator in self.generators])
        self._uniform_BQP = uniform_BRP[:, :-1]
        self._gumbel_BP = -torch.log(-torch.log(uniform_BRP[:, -1].clamp(1e-20, 1.0 - 1e-7)))

    def draw(self, number: int, logits_NK: Tensor, min_p: float = 0.0) -> Tensor:
        """Draw a level's tokens at `new_BP`: the masked positions, after `unmask` the new ones; with all, int64 (B, P).

        Args:
            number: of the level among those that are unmasked here, from 0 on. The first one decides on the order.
            logits_NK: of those positions, in their order.
            min_p: as `likely` takes it; it has no effect on the order.
        """
        uniform_N = self._uniform_BQP[:, number].to(logits_NK.device)[self.new_BP]
        drawn_N = logits_NK.argmax(-1) if self.likeliest else draw_tokens(likely(logits_NK, min_p), uniform_N)
        drawn_BP = self.tokens_BPQ[..., number].masked_scatter(self.new_BP, drawn_N)
        if number == 0:
            log_probability_N = logits_NK.log_softmax(-1).gather(-1, drawn_N[:, None])[:, 0]
            zeros_BP = torch.zeros_like(drawn_BP, dtype=log_probability_N.dtype)
            self._log_probability_BP = zeros_BP.masked_scatter(self.new_BP, log_probability_N)
        self.tokens_BPQ = self.tokens_BPQ.index_copy(
            -1, torch.tensor([number], device=drawn_BP.device), drawn_BP[..., None]
        )
        return drawn_BP

    def unmask(self, step: int) -> None:
        """Unmask the first of the drawn positions in order, at a step from 0."""
        self._masked_B = remaining(step, self.steps, self._start_B, self._masked_B)
        noise_BP = self._gumbel_BP.to(self.masked_BP.device)
        score_BP = self.order(self._log_probability_BP, noise_BP, (step + 1) / self.steps)
        # Unmasked positions rank first, so the lowest of all are masked ones.
        score_BP = score_BP.masked_fill(~self.masked_BP, math.inf)
        rank_BP = score_BP.argsort(dim=1, stable=True).argsort(1)
        remain_BP = self.masked_BP & (rank_BP < self._masked_B.to(rank_BP.device, non_blocking=True)[:, None])
        self.new_BP, self.masked_BP = self.masked_BP & ~remain_BP, remain_BP


def likely(logits_K: Tensor, min_p: float) -> Tensor:
    """Logits, -inf for codes less likely than `min_p` times the likeliest (min-p, Nguyen et al. 2024); 0 keeps all."""
    if min_p == 0.0:
        return logits_K
    return logits_K.masked_fill(logits_K < logits_K.amax(-1, keepdim=True) + math.log(min_p), -math.inf)


def draw_tokens(logits_K: Tensor, uniform: Tensor) -> Tensor:
    """Categorical draw by the inverse of the cumulative distribution, int64 (...) for logits (..., K).

    One uniform number a position, in [0, 1), instead of one a code; float64, so that the draw is exact to the float32
    probabilities.
    """
    cumulative_K = in_float64(logits_K).softmax(-1).cumsum(-1)
    target_1 = in_float64(uniform)[..., None] * cumulative_K[..., -1:]
    drawn = torch.searchsorted(cumulative_K, target_1, right=True)[..., 0].clamp_max(logits_K.shape[-1] - 1)
    return drawn.to(logits_K.device)


# The loop


@torch.inference_mode()
def generate(
    scorer: Callable[[], Score],
    streams: Sequence[Stream],
    tokens: Tokens,
    masked: Tokens,
    plan: Plan,
    settings: Settings,
    generators: Sequence[torch.Generator],
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Fill the masked tokens of the levels in the plan, stage by stage.

    Every task is this loop: image to sound, sound to image, both from nothing, inpainting and continuation differ only
    in what is known at the start and in the plan. Masked tokens that the plan leaves out stay masked: the model goes
    without them. Labels of what is given may be the likeliest ones instead of drawn. Classifier-free guidance (Ho and
    Salimans 2022) compares with the same state in which all streams of the other sources are masked wholly, as training
    shows it, so it needs no extra training.

    Args:
        scorer: called for every stage, gives the model's logits.
        tokens: int64 (B, P, Q) by stream; any valid code where masked.
        masked: bool (B, P, Q) by stream.
        generators: one CPU generator per sample; each is advanced by one draw a stage and stream.
        progress: called after each step; where a stage is filled before its last step, once more as if it were over.

    Returns:
        Tokens; known ones are as they were.
    """
    named = by_name(streams)
    tokens, masked = ({name: values[name].clone() for name in named} for values in (tokens, masked))
    total, before = sum(stage.steps for stage in plan), 0
    given = not all(m.all() for m in masked.values())
    for stage in plan:
        numbers: dict[str, list[int]] = {}  # of the levels, by stream
        for name, level in stage.levels:
            numbers.setdefault(name, []).append(level)
        own = {name: [_child(parent) for parent in generators] for name in named}
        samplers = {
            name: Sampler(
                tokens[name][..., levels],
                masked[name][..., levels[0]],
                stage.steps,
                settings.order_of(named[name].shape),
                own[name],
                likeliest=settings.label_choice == "likeliest" and named[name].source == LABEL and given,
            )
            for name, levels in numbers.items()
        }
        score = scorer()
        for step in range(stage.steps):
            active = {name: sampler for name, sampler in samplers.items() if not sampler.done}
            for sampler in active.values():
                sampler.begin()

            def draw(level: Level, guided: Guided) -> tuple[Tensor, Tensor]:
                name, number = level[0], numbers[level[0]].index(level[1])  # noqa: B023
                sampler = active[name]  # noqa: B023
                logits_NK = guided(sampler.new_BP) / settings.token_temperature(named[name].source)
                drawn_BP = sampler.draw(number, logits_NK, settings.min_p(named[name]))
                if number == 0:  # further codes are drawn of what stays
                    sampler.unmask(step)  # noqa: B023
                return drawn_BP, sampler.new_BP

            if active:
                asked = [level for level in stage.levels if level[0] in active]
                seen = _hidden_after(masked, asked)
                _guided(score, named, tokens, seen, asked, settings.scale(step, stage.steps), draw)
            for name, sampler in active.items():
                tokens[name][..., numbers[name]] = sampler.tokens_BPQ
                masked[name][..., numbers[name]] = sampler.masked_BP[..., None]
            if progress is not None:
                now = ({name: t.clone() for name, t in state.items()} for state in (tokens, masked))  # may be kept
                progress(before + (step + 1 if active else stage.steps), total, *now)
            if not active:
                break
        before += stage.steps
    return tokens


def _hidden_after(masked: Tokens, active: Sequence[Level]) -> Tokens:
    """The masks with all later codes of the active levels' streams hidden, as training hides them: known positions show
    no more codes than those being filled will have (SoundStorm, section 3.3)."""
    hidden = dict(masked)
    for name, last in dict(active).items():
        if last + 1 < masked[name].shape[-1]:
            hidden[name] = masked[name].clone()
            hidden[name][..., last + 1 :] = True
    return hidden


def _guided(
    score: Score,
    streams: Mapping[str, Stream],
    tokens: Tokens,
    masked: Tokens,
    active: Sequence[Level],
    scale: float,
    draw: Callable[[Level, Guided], tuple[Tensor, Tensor]],
) -> None:
    """Draw the active levels by guided logits; all branches go through the model in one batch.

    Args:
        draw: takes the guided logits of a level, and gives its codes and where the next ones are asked for.
    """
    branches: list[tuple[Sequence[Level], Tokens]] = [(active, masked)]
    for source in dict.fromkeys(streams[name].source for name, _ in active):
        # With nothing known of the other sources, both branches would be the same.
        if scale != 1.0 and any(not masked[name].all() for name in masked if streams[name].source != source):
            own = [level for level in active if streams[level[0]].source == source]
            hidden = {n: m if streams[n].source == source else torch.ones_like(m) for n, m in masked.items()}
            branches.append((own, hidden))
    size = len(next(iter(tokens.values())))
    asked = {
        (name, level): torch.cat([m[name][..., level] & ((name, level) in wanted) for wanted, m in branches])
        for name, level in active
    }
    stacked = {name: t.repeat(len(branches), 1, 1) for name, t in tokens.items()}
    hidden = {name: torch.cat([m[name] for _, m in branches]) for name in masked}

    def mixed(level: Level, scores_BPK: Tensor, where_BP: Tensor) -> Tensor:
        conditional, *others = scores_BPK.split(size)
        for (wanted, _), unconditional in zip(branches[1:], others, strict=True):
            if level in wanted:
                return unconditional[where_BP].lerp(conditional[where_BP], scale)
        return conditional[where_BP]

    def drawn_in_all(level: Level, scores_BPK: Tensor) -> tuple[Tensor, Tensor]:
        codes_BP, next_BP = draw(level, partial(mixed, level, scores_BPK))
        return codes_BP.repeat(len(branches), 1), next_BP.repeat(len(branches), 1)

    found = score(stacked, hidden, asked, drawn_in_all)
    drawn = {(name, number - 1) for name, number in active}  # on the way, as others follow them
    for level in active:
        if level not in drawn:
            draw(level, partial(mixed, level, found[level]))


def _child(parent: torch.Generator) -> torch.Generator:
    """A generator of one stream's own: one that is filled early must not shift the draws of the others."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=parent)))
