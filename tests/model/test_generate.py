"""One loop for every task: what is known stays, and the network is asked exactly what guidance needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from model import toy
from visual_echoes.model.fast import FastTransformer, dense, scorer
from visual_echoes.model.interface import Draw, Progress
from visual_echoes.model.sampling import generate
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import PAIR_ORDERS, Groups
from visual_echoes.streams import Level, Stream, Tokens

POSITIONS = {"image": tiny.LAYOUT.image_tokens, "audio": tiny.LAYOUT.audio_tokens}
IMAGE_TO_AUDIO = (("audio",),)
TOGETHER = PAIR_ORDERS["together"]


class Watched:
    """A score that notes what it is shown: the masks of each branch of each step."""

    def __init__(self, size: int) -> None:
        self.model, self.size = tiny.transformer(), size
        self.calls: list[list[dict[str, Tensor]]] = []

    def score(
        self, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None = None
    ) -> Mapping[Level, Tensor]:
        split = {name: mask[..., 0].split(self.size) for name, mask in masked.items()}
        self.calls.append([dict(zip(split, parts, strict=True)) for parts in zip(*split.values(), strict=True)])
        return self.model.score(tokens, masked, asked, draw)


class Naive:
    """The plain way: the dense network and all scores, for each sample of each branch by itself."""

    def __init__(self, model: FastTransformer) -> None:
        self.model = dense(model)

    def score(
        self, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None = None
    ) -> Mapping[Level, Tensor]:
        rows = [
            self.model.score(*({n: v[i : i + 1] for n, v in side.items()} for side in (tokens, masked)), asked)  # type: ignore[call-arg]
            for i in range(len(tokens["image"]))
        ]
        return {level: torch.cat([row[level] for row in rows]) for level in asked}


@pytest.mark.parametrize(("encoder_input", "decoder"), [("masked", "full"), ("visible", "full"), ("visible", "cross")])
@pytest.mark.parametrize("mask_fill", ["mask_embedding", "cls"])
@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("audio", [True, False])
@pytest.mark.parametrize("schedule", ["constant", "interval"])
def test_the_tokens_are_those_of_the_plain_way(
    encoder_input: str, decoder: str, mask_fill: str, image: bool, audio: bool, schedule: str
) -> None:
    """Whatever is given whole, in part or not at all."""
    kind = {"encoder_input": encoder_input, "decoder": decoder, "mask_fill": mask_fill}
    model = tiny.transformer(tiny.transformer_config(**kind))
    tokens = random_tokens(3)
    whole = {"image": image, "audio": audio}
    masked = {n: (torch.rand(t.shape, generator=tiny.generator(3)) < 0.7) | whole[n] for n, t in tokens.items()}
    fast, plain = (sample(tokens, masked, m, guidance_schedule=schedule) for m in (model, Naive(model)))
    assert all(torch.equal(fast[name], plain[name]) for name in fast)


def random_tokens(batch: int) -> dict[str, Tensor]:
    noise = tiny.generator(5)
    return {name: torch.randint(32, (batch, count, 1), generator=noise) for name, count in POSITIONS.items()}


def masked_where(batch: int, image: bool, audio: bool) -> dict[str, Tensor]:
    hidden = {"image": image, "audio": audio}
    return {name: torch.full((batch, count, 1), hidden[name]) for name, count in POSITIONS.items()}


def generators(batch: int) -> list[torch.Generator]:
    return [tiny.generator(100 + index) for index in range(batch)]


def sample(
    tokens: Tokens,
    masked: Tokens,
    model: Watched | Naive | FastTransformer | None = None,
    groups: Groups = TOGETHER,
    progress: Progress | None = None,
    **changes: Any,
) -> dict[str, Tensor]:
    settings = SamplingSettings.model_validate({"steps": 6, **changes})
    model, streams = model or tiny.transformer(), tiny.LAYOUT.streams
    scores = scorer(model, settings.kv_refresh_every)  # type: ignore[arg-type]
    plan = settings.plan(streams, *groups)
    return generate(scores, streams, tokens, masked, plan, settings, generators(len(tokens["image"])), progress)


def test_image_to_sound_leaves_the_image_alone() -> None:
    tokens = random_tokens(3)
    result = sample(tokens, masked_where(3, False, True), groups=IMAGE_TO_AUDIO)
    assert torch.equal(result["image"], tokens["image"])
    assert not torch.equal(result["audio"], tokens["audio"])
    assert 0 <= int(result["audio"].min()) <= int(result["audio"].max()) < 32


def test_what_is_made_depends_on_what_is_given() -> None:
    tokens = random_tokens(1)
    other = {**tokens, "image": (tokens["image"] + 7) % 32}
    first, second = (sample(t, masked_where(1, False, True), groups=IMAGE_TO_AUDIO)["audio"] for t in (tokens, other))
    assert not torch.equal(first, second)


def test_what_stands_at_unknown_places_does_not_matter() -> None:
    tokens, unknown = random_tokens(2), masked_where(2, False, True)
    emptied = {**tokens, "audio": torch.zeros_like(tokens["audio"])}
    assert torch.equal(sample(tokens, unknown)["audio"], sample(emptied, unknown)["audio"])


def test_known_places_of_both_modalities_stay() -> None:
    tokens = random_tokens(2)
    masked = {name: torch.rand(t.shape, generator=tiny.generator(1)) < 0.5 for name, t in tokens.items()}
    for name, after in sample(tokens, masked).items():
        before, hidden = tokens[name], masked[name]
        assert torch.equal(before[~hidden], after[~hidden])
        assert not torch.equal(before[hidden], after[hidden])


def test_neutral_guidance_needs_one_branch() -> None:
    model = Watched(2)
    sample(random_tokens(2), masked_where(2, False, True), model, IMAGE_TO_AUDIO, guidance=1.0)
    assert [len(branches) for branches in model.calls] == [1] * 6


def test_the_unconditional_branch_hides_the_other_modality_and_nothing_else() -> None:
    model = Watched(2)
    sample(random_tokens(2), masked_where(2, False, True), model, IMAGE_TO_AUDIO, guidance=3.0)
    assert len(model.calls) == 6
    for conditional, unconditional in model.calls:
        assert not conditional["image"].any()
        assert unconditional["image"].all()
        assert torch.equal(conditional["audio"], unconditional["audio"])
    opened = [int(conditional["audio"][0].sum()) for conditional, _ in model.calls]
    assert opened[0] == POSITIONS["audio"]
    assert opened == sorted(opened, reverse=True)


def test_a_pair_from_nothing_takes_one_unconditional_branch_for_each_modality() -> None:
    model = Watched(1)
    sample(random_tokens(1), masked_where(1, True, True), model, guidance=3.0)
    # In the first step nothing is known, so there is nothing to hide.
    assert [len(branches) for branches in model.calls] == [1, *[3] * 5]
    _, for_image, for_audio = model.calls[-1]
    # In the last step both are partly unmasked; each branch hides the modality it does not ask for.
    assert for_image["audio"].all()
    assert not for_image["image"].all()
    assert for_audio["image"].all()
    assert not for_audio["audio"].all()


def test_only_targets_are_filled_and_the_rest_stays_masked() -> None:
    model, tokens = Watched(2), random_tokens(2)
    result = sample(tokens, masked_where(2, True, True), model, (("image",),))
    assert torch.equal(result["audio"], tokens["audio"])
    assert all(branch["audio"].all() for branches in model.calls for branch in branches)


@pytest.mark.parametrize("steps", [1, 6, 40])
def test_progress_tells_every_step_and_reaches_the_end(steps: int) -> None:
    seen: list[tuple[int, int, int]] = []

    def progress(done: int, total: int, tokens: Tokens, masked: Tokens) -> None:
        assert tokens["audio"].shape == masked["audio"].shape
        seen.append((done, total, int(masked["audio"].sum())))

    sample(
        random_tokens(1), masked_where(1, False, True), groups=IMAGE_TO_AUDIO, progress=progress, steps=steps,
        guidance=1.0,
    )  # fmt: skip
    done = [entry[0] for entry in seen]
    assert done == sorted(set(done))
    assert {entry[1] for entry in seen} == {steps}
    assert seen[-1] == (steps, steps, 0)
    assert len(seen) >= min(steps, POSITIONS["audio"])


def test_nothing_unknown_asks_the_network_nothing() -> None:
    model, tokens = Watched(2), random_tokens(2)
    result = sample(tokens, masked_where(2, False, False), model)
    assert not model.calls
    assert torch.equal(result["image"], tokens["image"])
    assert torch.equal(result["audio"], tokens["audio"])


@pytest.mark.parametrize("order", ["confidence", "halton"])
@pytest.mark.parametrize("encoder_input", ["masked", "visible"])
def test_the_batch_split_does_not_matter(order: Any, encoder_input: str) -> None:
    """Also where the samples have unlike numbers of masked tokens, so that some are done before others."""
    model = tiny.transformer(tiny.transformer_config(encoder_input=encoder_input))
    tokens, masked = random_tokens(4), masked_where(4, True, True)
    masked["image"][1], masked["image"][2, 3:], masked["audio"][3, 5:] = False, False, False
    settings, streams = SamplingSettings(steps=12, order=order), tiny.LAYOUT.streams
    plan = settings.plan(streams, *TOGETHER)

    def run(rows: slice) -> Tensor:
        parts = ({name: value[rows] for name, value in side.items()} for side in (tokens, masked))
        found = generate(lambda: model.score, streams, *parts, plan, settings, generators(4)[rows])  # type: ignore[call-arg]
        return torch.cat(list(found.values()), 1)

    together = run(slice(0, 4))
    assert torch.equal(together, torch.cat([run(slice(0, 1)), run(slice(1, 4))]))
    assert torch.equal(together, torch.cat([run(slice(i, i + 1)) for i in range(4)]))


@pytest.mark.parametrize(("schedule", "blind"), [("constant", 4), ("rising", 3), ("interval", 2)])
def test_steps_without_guidance_ask_only_once(schedule: Any, blind: int) -> None:
    model = Watched(1)
    sample(
        random_tokens(1), masked_where(1, False, True), model, IMAGE_TO_AUDIO,
        steps=4, guidance=3.0, guidance_schedule=schedule,
    )  # fmt: skip
    assert sum(len(branches) - 1 for branches in model.calls) == blind
    assert len(model.calls) == 4


def test_keys_and_values_may_be_kept_for_some_steps() -> None:
    tokens, masked = random_tokens(3), masked_where(3, False, True)
    exact = sample(tokens, masked, groups=IMAGE_TO_AUDIO, guidance=3.0)
    kept = sample(tokens, masked, groups=IMAGE_TO_AUDIO, guidance=3.0, kv_refresh_every=3)
    assert not torch.equal(kept["audio"], exact["audio"])
    assert torch.equal(kept["image"], exact["image"])
    # Pairs, whose branches come and go.
    sample(tokens, masked_where(3, True, True), guidance=3.0, kv_refresh_every=3)
    sample(tokens, masked_where(3, True, True), guidance=3.0, kv_refresh_every=2, guidance_schedule="interval")


def test_a_low_temperature_of_tokens_and_a_high_min_p_take_the_likeliest() -> None:
    tokens, masked = random_tokens(8), masked_where(8, False, True)
    likeliest = tiny.transformer().score(tokens, masked, {("audio", 0): masked["audio"][..., 0]})["audio", 0].argmax(-1)

    def share(**temperature: float) -> float:
        once = {"groups": IMAGE_TO_AUDIO, "steps": 1, "guidance": 1.0, **temperature}
        return float((sample(tokens, masked, **once)["audio"][..., 0] == likeliest).double().mean())

    surest, usual, loosest = (share(audio_token_temperature=temperature) for temperature in (0.01, 1.0, 100.0))
    assert surest > 0.95 > 0.8 > usual > 0.5 > loosest
    assert share(image_token_temperature=0.01) == usual  # a setting of another source's tokens
    assert share(audio_min_p=1.0) == 1.0 > share(audio_min_p=0.3) > usual


def test_residual_codes_follow_the_first_level_by_level() -> None:
    """And what comes later stays masked until its turn."""
    model = FastTransformer(toy.config()).eval()
    settings = SamplingSettings(steps=3, residual_steps=2, guidance=2.0)
    plan = settings.plan(toy.STREAMS, ["label", "video"], ["audio"])
    assert [(stage.levels, stage.steps) for stage in plan] == [
        ((("label", 0), ("video", 0)), 3),
        ((("audio", 0),), 3),
        ((("audio", 1),), 2),
        ((("audio", 2),), 2),
    ]
    states: list[list[int]] = []

    def progress(done: int, total: int, tokens: Tokens, masked: Tokens) -> None:
        assert total == 10
        states.append([int(masked["video"].sum()), *masked["audio"].sum((0, 1)).tolist()])

    found = generate(
        lambda: model.score,
        toy.STREAMS,
        toy.random_tokens(1),
        toy.all_masked(1),
        plan,
        settings,
        generators(1),
        progress,
    )
    assert found["audio"].shape == (1, 12, 3)
    assert states[2] == [0, 12, 12, 12]
    assert states[5] == [0, 0, 12, 12]
    assert states[7] == [0, 0, 0, 12]
    assert states[-1] == [0, 0, 0, 0]
    assert all(state[1] <= state[2] <= state[3] for state in states)


def test_by_depth_a_position_s_codes_are_unmasked_together() -> None:
    model = FastTransformer(toy.config(residual="depth", encoder_input="visible", decoder="cross")).eval()
    settings = SamplingSettings(steps=3, residual_steps=2, guidance=2.0)
    plan = settings.plan(toy.STREAMS, ["label", "video"], ["audio"], by_depth=True)
    assert [(stage.levels, stage.steps) for stage in plan] == [
        ((("label", 0), ("video", 0)), 3),
        ((("audio", 0), ("audio", 1), ("audio", 2)), 3),
    ]
    tokens, masked = toy.random_tokens(2), toy.all_masked(2)
    masked["audio"][0, 3:5] = False
    states: list[list[int]] = []

    def progress(done: int, total: int, _: Tokens, left: Tokens) -> None:
        states.append(left["audio"].sum((0, 1)).tolist())

    run = partial(generate, lambda: model.score, toy.STREAMS, tokens, masked, plan, settings)
    found = run(generators(2), progress)
    assert torch.equal(found["audio"][0, 3:5], tokens["audio"][0, 3:5])
    assert [state[0] for state in states] == [22, 22, 22, *(state[0] for state in states[3:])]
    assert all(len(set(state)) == 1 for state in states)
    assert states[3][0] > states[4][0] > states[5][0] == 0
    assert all(torch.equal(again, found[name]) for name, again in run(generators(2)).items())


def test_by_depth_each_code_follows_the_ones_before_it() -> None:
    """Drawn as scored: the joint distribution of a position's two codes, whichever branch is asked."""
    stream = Stream(name="audio", source="audio", shape=(1,), codes=2, depth=2)
    joint = torch.tensor([[0.1, 0.3], [0.55, 0.05]])

    def score(tokens: Tokens, _: Tokens, asked: Mapping[Level, Tensor], draw: Draw) -> Mapping[Level, Tensor]:
        first_BPK = joint.sum(1).log().expand(len(tokens["audio"]), 1, 2)
        drawn_BP, asked_BP = draw(("audio", 0), first_BPK)
        assert asked_BP.all()  # of what the only step unmasks
        return {("audio", 0): first_BPK, ("audio", 1): joint[drawn_BP].log()}

    count = 4000
    tokens = {"audio": torch.zeros(count, 1, 2, dtype=torch.int64)}
    masked = {"audio": torch.ones(count, 1, 2, dtype=torch.bool)}
    settings = SamplingSettings(steps=1)
    plan = settings.plan([stream], ["audio"], by_depth=True)
    found = generate(lambda: score, [stream], tokens, masked, plan, settings, generators(count))["audio"]
    shares = torch.bincount(found[:, 0, 0] * 2 + found[:, 0, 1], minlength=4) / count
    torch.testing.assert_close(shares.view(2, 2), joint, atol=0.03, rtol=0)


def test_by_depth_further_codes_are_asked_for_once_where_they_stay() -> None:
    stream = Stream(name="audio", source="audio", shape=(6,), codes=2, depth=2)
    asked: list[Tensor] = []

    def score(_: Tokens, masked: Tokens, levels: Mapping[Level, Tensor], draw: Draw) -> Mapping[Level, Tensor]:
        logits = torch.zeros(*masked["audio"].shape)
        asked.append(draw(("audio", 0), logits)[1])
        return dict.fromkeys(levels, logits)

    tokens = {"audio": torch.zeros(1, 6, 2, dtype=torch.int64)}
    masked = {"audio": torch.ones(1, 6, 2, dtype=torch.bool)}
    settings = SamplingSettings(steps=3)
    plan = settings.plan([stream], ["audio"], by_depth=True)
    generate(lambda: score, [stream], tokens, masked, plan, settings, generators(1))
    assert len(asked) == 3
    assert torch.equal(torch.cat(asked).sum(0), torch.ones(6, dtype=torch.int64))


def test_streams_of_little_detail_go_first() -> None:
    plan = SamplingSettings(steps=5).plan(toy.STREAMS, ["audio", "video", "label"])
    assert [stage.levels for stage in plan[:2]] == [(("label", 0), ("video", 0)), (("audio", 0),)]


def test_what_only_tells_of_a_sound_follows_it_in_one_step() -> None:
    heard = Stream(name="heard", source="audio", shape=(4,), codes=3, detail=1)
    plan = SamplingSettings(steps=5).plan([heard, *toy.STREAMS], ["audio", "label"])
    assert [stage.levels for stage in plan[:2]] == [(("label", 0),), (("audio", 0),)]
    assert plan[-1] == ((("heard", 0),), 1)
