"""One loop for every task: what is known stays, and the network is asked exactly what guidance needs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from visual_echoes.generation import generate
from visual_echoes.sampling import SamplingSettings
from visual_echoes.transformer import MODALITIES, Counts, EchoTransformer, Modality, Pair, Wanted

PLACES = {"image": tiny.LAYOUT.image_tokens, "audio": tiny.LAYOUT.audio_tokens}
IMAGE_TO_AUDIO: tuple[Modality, ...] = ("audio",)


class Watched(EchoTransformer):
    """Notes what it is shown: the masks of each branch of each step."""

    calls: list[list[Pair]]
    size: int

    def scores(self, tokens: Pair, masked: Pair, masked_counts: Counts, wanted: Wanted) -> Pair:
        assert [tuple(row) for row in torch.stack([m.sum(1) for m in masked], 1).tolist()] == list(masked_counts)
        self.calls.append([Pair(*parts) for parts in zip(*(m.split(self.size) for m in masked), strict=True)])
        return super().scores(tokens, masked, masked_counts, wanted)


def watched(size: int) -> Watched:
    model = tiny.transformer()
    model.__class__ = Watched
    assert isinstance(model, Watched)
    model.calls, model.size = [], size
    return model


class Naive(EchoTransformer):
    """The plain way: the whole network and all scores for each branch by itself."""

    def scores(self, tokens: Pair, masked: Pair, masked_counts: Counts, wanted: Wanted) -> Pair:
        rows = [
            self(Pair(*(t[i : i + 1] for t in tokens)), Pair(*(m[i : i + 1] for m in masked)))
            for i in range(len(wanted))
        ]
        features = Pair(*(torch.cat(parts) for parts in zip(*rows, strict=True)))
        return Pair(*(self.logits(m, f).float() for m, f in zip(MODALITIES, features, strict=True)))


@pytest.mark.parametrize(("encoder_input", "decoder"), [("masked", "full"), ("visible", "full"), ("visible", "cross")])
@pytest.mark.parametrize("pad", ["mask_embedding", "class_feature"])
@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("audio", [True, False])
@pytest.mark.parametrize("schedule", ["constant", "interval"])
def test_the_tokens_are_those_of_the_plain_way(
    encoder_input: str, decoder: str, pad: str, image: bool, audio: bool, schedule: str
) -> None:
    """Whatever is given whole, in part or not at all."""
    model = tiny.transformer(tiny.transformer_config(encoder_input=encoder_input, decoder=decoder, pad=pad))
    tokens = random_tokens(3)
    unknown = Pair(*(torch.rand(t.shape, generator=tiny.generator(3)) < 0.7 for t in tokens))
    unknown = Pair(unknown.image | image, unknown.audio | audio)
    fast = sample(tokens, unknown, model, schedule=schedule)
    model.__class__ = Naive
    plain = sample(tokens, unknown, model, schedule=schedule)
    assert torch.equal(torch.cat(fast, 1), torch.cat(plain, 1))


def random_tokens(batch: int) -> Pair:
    noise = tiny.generator(5)
    return Pair(*(torch.randint(32, (batch, PLACES[m]), generator=noise) for m in MODALITIES))


def unknown_where(batch: int, image: bool, audio: bool) -> Pair:
    return Pair(torch.full((batch, PLACES["image"]), image), torch.full((batch, PLACES["audio"]), audio))


def generators(batch: int) -> list[torch.Generator]:
    return [tiny.generator(100 + index) for index in range(batch)]


def sample(
    tokens: Pair, unknown: Pair, model: EchoTransformer | None = None, targets: Any = MODALITIES, **changes: Any
) -> Pair:
    settings = SamplingSettings.model_validate({"steps": 6, **changes})
    return generate(model or tiny.transformer(), tokens, unknown, settings, generators(len(tokens.image)), targets)


def test_picture_to_sound_leaves_the_picture_alone() -> None:
    tokens = random_tokens(3)
    result = sample(tokens, unknown_where(3, False, True), targets=IMAGE_TO_AUDIO)
    assert torch.equal(result.image, tokens.image)
    assert not torch.equal(result.audio, tokens.audio)
    assert 0 <= int(result.audio.min()) <= int(result.audio.max()) < 32


def test_what_is_made_depends_on_what_is_given() -> None:
    tokens = random_tokens(1)
    other = Pair((tokens.image + 7) % 32, tokens.audio)
    first, second = (sample(t, unknown_where(1, False, True), targets=IMAGE_TO_AUDIO).audio for t in (tokens, other))
    assert not torch.equal(first, second)


def test_what_stands_at_unknown_places_does_not_matter() -> None:
    tokens, unknown = random_tokens(2), unknown_where(2, False, True)
    emptied = Pair(tokens.image, torch.zeros_like(tokens.audio))
    assert torch.equal(sample(tokens, unknown).audio, sample(emptied, unknown).audio)


def test_known_places_of_both_modalities_stay() -> None:
    tokens = random_tokens(2)
    unknown = Pair(*(torch.rand(t.shape, generator=tiny.generator(1)) < 0.5 for t in tokens))
    for before, after, open_ in zip(tokens, sample(tokens, unknown), unknown, strict=True):
        assert torch.equal(before[~open_], after[~open_])
        assert not torch.equal(before[open_], after[open_])


@pytest.mark.parametrize("settings", [{"guidance": 1.0}, {"guidance": 0.0, "convention": "extrapolate"}])
def test_neutral_guidance_needs_one_branch(settings: dict[str, Any]) -> None:
    model = watched(2)
    sample(random_tokens(2), unknown_where(2, False, True), model, IMAGE_TO_AUDIO, **settings)
    assert [len(branches) for branches in model.calls] == [1] * 6


def test_the_unconditional_branch_hides_the_other_modality_and_nothing_else() -> None:
    model = watched(2)
    sample(random_tokens(2), unknown_where(2, False, True), model, IMAGE_TO_AUDIO, guidance=3.0)
    assert len(model.calls) == 6
    for conditional, unconditional in model.calls:
        assert not conditional.image.any()
        assert unconditional.image.all()
        assert torch.equal(conditional.audio, unconditional.audio)
    opened = [int(conditional.audio[0].sum()) for conditional, _ in model.calls]
    assert opened[0] == PLACES["audio"]
    assert opened == sorted(opened, reverse=True)


def test_a_pair_from_nothing_takes_one_unconditional_branch_for_each_modality() -> None:
    model = watched(1)
    sample(random_tokens(1), unknown_where(1, True, True), model, guidance=3.0)
    # In the first step nothing is known, so there is nothing to hide.
    assert [len(branches) for branches in model.calls] == [1, *[3] * 5]
    _, for_image, for_audio = model.calls[-1]
    # In the last step both are partly settled; each branch hides the modality it does not ask for.
    assert for_image.audio.all()
    assert not for_image.image.all()
    assert for_audio.image.all()
    assert not for_audio.audio.all()


def test_the_conventions_of_guidance_agree() -> None:
    tokens, unknown = random_tokens(2), unknown_where(2, False, True)
    first = sample(tokens, unknown, guidance=3.0, convention="interpolate")
    second = sample(tokens, unknown, guidance=2.0, convention="extrapolate")
    assert torch.equal(first.audio, second.audio)
    assert not torch.equal(first.audio, sample(tokens, unknown, guidance=1.0).audio)


def test_the_confidence_can_be_read_from_the_conditional_pass() -> None:
    tokens, unknown = random_tokens(4), unknown_where(4, False, True)
    found = {
        (confidence, guidance): sample(tokens, unknown, confidence=confidence, guidance=guidance, temperature=0.0).audio
        for confidence in ("guided", "conditional")
        for guidance in (1.0, 5.0)
    }
    assert torch.equal(found["guided", 1.0], found["conditional", 1.0])
    assert not torch.equal(found["guided", 5.0], found["conditional", 5.0])


def test_only_targets_are_filled_and_the_rest_stays_masked() -> None:
    model, tokens = watched(2), random_tokens(2)
    result = sample(tokens, unknown_where(2, True, True), model, ("image",))
    assert torch.equal(result.audio, tokens.audio)
    assert all(branch.audio.all() for branches in model.calls for branch in branches)


@pytest.mark.parametrize("steps", [1, 6, 40])
def test_progress_tells_every_step_and_reaches_the_end(steps: int) -> None:
    seen: list[tuple[int, int, int]] = []

    def progress(done: int, total: int, tokens: Pair, unknown: Pair) -> None:
        assert tokens.audio.shape == unknown.audio.shape
        seen.append((done, total, int(unknown.audio.sum())))

    settings = SamplingSettings(steps=steps, guidance=1.0)
    generate(
        tiny.transformer(),
        random_tokens(1),
        unknown_where(1, False, True),
        settings,
        generators(1),
        IMAGE_TO_AUDIO,
        progress,
    )
    done = [entry[0] for entry in seen]
    assert done == sorted(set(done))
    assert {entry[1] for entry in seen} == {steps}
    assert seen[-1] == (steps, steps, 0)
    assert len(seen) >= min(steps, PLACES["audio"])


def test_nothing_unknown_asks_the_network_nothing() -> None:
    model, tokens = watched(2), random_tokens(2)
    result = sample(tokens, unknown_where(2, False, False), model)
    assert not model.calls
    assert torch.equal(result.image, tokens.image)
    assert torch.equal(result.audio, tokens.audio)


@pytest.mark.parametrize("order", ["confidence", "halton"])
@pytest.mark.parametrize("encoder_input", ["masked", "visible"])
def test_the_batch_split_does_not_matter(order: str, encoder_input: str) -> None:
    """Also where the samples have unlike numbers of unknown places, so that some are done before others."""
    model = tiny.transformer(tiny.transformer_config(encoder_input=encoder_input))
    tokens, unknown = random_tokens(4), unknown_where(4, True, True)
    unknown.image[1], unknown.image[2, 3:], unknown.audio[3, 5:] = False, False, False
    settings = SamplingSettings(steps=12, order=order)

    def run(rows: slice) -> Tensor:
        parts = (Pair(*(t[rows] for t in pair)) for pair in (tokens, unknown))
        return torch.cat(generate(model, *parts, settings, generators(4)[rows]), 1)

    together = run(slice(0, 4))
    assert torch.equal(together, torch.cat([run(slice(0, 1)), run(slice(1, 4))]))
    assert torch.equal(together, torch.cat([run(slice(i, i + 1)) for i in range(4)]))


@pytest.mark.parametrize(("schedule", "blind"), [("constant", 4), ("rising", 3), ("interval", 2)])
def test_steps_without_guidance_ask_only_once(schedule: Any, blind: int) -> None:
    model = watched(1)
    sample(
        random_tokens(1), unknown_where(1, False, True), model, IMAGE_TO_AUDIO,
        steps=4, guidance=3.0, schedule=schedule,
    )  # fmt: skip
    assert sum(len(branches) - 1 for branches in model.calls) == blind
    assert len(model.calls) == 4


def test_the_difference_of_guidance_may_be_kept_for_some_steps() -> None:
    tokens, unknown = random_tokens(2), unknown_where(2, False, True)
    model = watched(2)
    kept = sample(tokens, unknown, model, IMAGE_TO_AUDIO, guidance=3.0, guidance_every=3)
    assert [len(branches) for branches in model.calls] == [2, 1, 1, 2, 1, 1]
    assert not torch.equal(kept.audio, sample(tokens, unknown, targets=IMAGE_TO_AUDIO, guidance=3.0).audio)
    assert not torch.equal(kept.audio, sample(tokens, unknown, targets=IMAGE_TO_AUDIO, guidance=1.0).audio)
    # A condition that nothing is known of at first has no difference to keep until there is one.
    model = watched(1)
    sample(random_tokens(1), unknown_where(1, True, True), model, guidance=3.0, guidance_every=4)
    assert [len(branches) for branches in model.calls] == [1, 3, 1, 1, 3, 1]


def test_what_settled_places_are_may_be_kept_for_some_steps() -> None:
    tokens, unknown = random_tokens(3), unknown_where(3, False, True)
    exact = sample(tokens, unknown, targets=IMAGE_TO_AUDIO, guidance=3.0)
    kept = sample(tokens, unknown, targets=IMAGE_TO_AUDIO, guidance=3.0, settled_every=3)
    assert not torch.equal(kept.audio, exact.audio)
    assert torch.equal(kept.image, exact.image)
    # Pairs, whose branches come and go, and a difference that is kept as well.
    sample(tokens, unknown_where(3, True, True), guidance=3.0, settled_every=3, guidance_every=2)
    sample(tokens, unknown_where(3, True, True), guidance=3.0, settled_every=2, schedule="interval")
