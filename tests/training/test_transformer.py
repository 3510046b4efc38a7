"""Training the transformer: loss on masked places only, and a gain that tells whether it listens."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

import tiny
from visual_echoes.data.tokens import TokenCache
from visual_echoes.layout import MODALITIES
from visual_echoes.model.packing import Packing
from visual_echoes.streams import Stream
from visual_echoes.training.loop import fit
from visual_echoes.training.transformer import MaskingObjective, TransformerTask, mismatches

CPU = torch.device("cpu")


def task_with(**objective: Any) -> TransformerTask:
    task = tiny.transformer_task(dropout=0.0)
    task.objective = MaskingObjective.model_validate(objective)
    return task


def only_phase(task: TransformerTask, batch: Any) -> Any:
    (phase,) = task.phases(batch, 0)
    return phase


def test_masks_follow_the_paper() -> None:
    task = tiny.transformer_task()
    tokens, masked, scored, dropped, _ = task.batch(200, tiny.generator())
    for stream in task.config.streams:
        t, m, d = tokens[stream.name], masked[stream.name][..., 0], dropped[stream.name]
        assert t.shape == (200, stream.positions, 1)
        assert m.shape == d.shape == (200, stream.positions)
        assert torch.equal(scored[stream.name], masked[stream.name])
        assert not (d & ~m).any()
        assert set(d.sum(1).tolist()) == {stream.positions // 2}
        assert int(m.sum(1).min()) >= stream.positions // 2
        assert len(set(m.sum(1).tolist())) > 3
    # One ratio for each stream, not one for both.
    shares = torch.stack([m.double().mean((1, 2)) for m in masked.values()])
    assert abs(float(torch.corrcoef(shares)[0, 1])) < 0.2


@pytest.mark.parametrize("known", [0, 3])
def test_a_label_that_nobody_knows_is_hidden_and_not_learnt(known: int) -> None:
    label = Stream(name="label", source="label", shape=(1,), codes=2, detail=-1, names=("dog", "cat"))
    layout = replace(tiny.LAYOUT, extra_streams=(label,))
    cache = tiny.token_cache()
    labels = torch.full((len(cache), 1, 1), label.codes, dtype=torch.int16)
    labels[:known] = 1
    tokens = {"image": {"label": labels, **cache.tokens["image"]}, "audio": cache.tokens["audio"]}
    data = TokenCache(tokens, cache.groups)
    config = tiny.transformer_config().model_copy(update={"streams": layout.streams})
    task = TransformerTask(config, MaskingObjective(), data, data)
    drawn, masked, scored, *_ = batch = task.batch(64, tiny.generator())
    unknown = drawn["label"] == label.codes
    assert masked["label"][unknown].all()
    assert not scored["label"][unknown].any()
    assert scored["label"].any() == bool(known)
    loss = only_phase(task, batch).loss
    loss.backward()
    assert loss.isfinite()
    assert ("loss/label" in task.validate(task.model.eval(), CPU).metrics) == bool(known)


def test_a_share_of_the_samples_shows_one_modality_whole() -> None:
    _, masked, _, dropped, _ = task_with(shown_share=0.6).batch(4000, tiny.generator())
    image, audio = (~m.any((1, 2)) for m in masked.values())
    assert not (image & audio).any()
    assert float(image.double().mean()) == pytest.approx(0.3, abs=0.03)
    assert float(audio.double().mean()) == pytest.approx(0.3, abs=0.03)
    assert not dropped["image"][image].any()
    _, masked, *_ = task_with(shown_share=1.0).batch(500, tiny.generator())
    assert (masked["image"].any((1, 2)) ^ masked["audio"].any((1, 2))).all()
    _, masked, *_ = task_with().batch(500, tiny.generator())
    assert all(m.any(1).all() for m in masked.values())


def test_one_ratio_may_hold_for_a_whole_batch() -> None:
    task = task_with(ratios="batch")
    for seed in range(3):
        _, masked, *_ = task.batch(50, tiny.generator(seed))
        counts = [set(m.sum((1, 2)).tolist()) for m in masked.values()]
        assert [len(found) for found in counts] == [1, 1]
    assert len({int(task.batch(2, tiny.generator(seed))[1]["audio"][0].sum()) for seed in range(20)}) > 3


@pytest.mark.parametrize(("direction", "shown"), [("image_to_audio", "image"), ("audio_to_image", "audio")])
def test_one_direction_shows_its_condition_and_learns_the_other(direction: str, shown: str) -> None:
    task = task_with(direction=direction, shown_share=0.6)
    batch = task.batch(50, tiny.generator())
    phase = only_phase(task, batch)
    for modality, masked in batch[1].items():
        assert bool(masked.any(1).all()) == (modality != shown)
        assert bool(masked.any()) == (modality != shown)
        assert (float(phase.metrics[f"loss/{modality}"].detach()) == 0.0) == (modality == shown)


def test_a_recipe_keeps_its_fingerprint_where_it_uses_nothing_new() -> None:
    assert set(MaskingObjective().model_dump()) == {"image", "audio", "shown_share", "label_smoothing", "average"}
    assert MaskingObjective(ratios="batch").model_dump()["ratios"] == "batch"
    assert "decay_embeddings" not in tiny.train_settings(1).model_dump()
    assert tiny.train_settings(1, decay_embeddings=True).model_dump()["decay_embeddings"]


def test_batches_pair_within_groups_and_repeat() -> None:
    task = tiny.transformer_task()
    tokens, *_ = task.batch(50, tiny.generator(3))
    # The made-up tokens are the group's number, but for every fourth place.
    assert torch.equal(tokens["image"][:, 1], tokens["audio"][:, 1])
    again, *_ = task.batch(50, tiny.generator(3))
    assert all(torch.equal(tokens[name], again[name]) for name in tokens)


@pytest.mark.parametrize("average", ["tokens", "modalities"])
def test_the_loss_is_the_cross_entropy_of_masked_places(average: str) -> None:
    task = task_with(average=average, label_smoothing=0.1)
    batch = tokens, masked, _, dropped, _ = task.batch(6, tiny.generator())
    phase = only_phase(task, batch)
    losses = []
    for name, features in task.model(tokens, masked, dropped).items():
        log_p = task.model.logits((name, 0), features).log_softmax(-1)
        smooth = 0.9 * log_p.gather(-1, tokens[name])[..., 0] + 0.1 * log_p.mean(-1)
        losses.append(-smooth[masked[name][..., 0]])
        torch.testing.assert_close(phase.metrics[f"loss/{name}"], losses[-1].mean())
    expected = torch.cat(losses).mean() if average == "tokens" else (losses[0].mean() + losses[1].mean()) / 2
    torch.testing.assert_close(phase.loss, expected)


def test_targets_at_visible_places_are_not_scored_and_masked_ones_are() -> None:
    task = task_with()
    tokens, *rest = task.batch(4, tiny.generator())
    masked, _, dropped, _ = rest
    before = only_phase(task, (tokens, *rest)).loss
    # Tokens at masked positions are targets alone: another target, another loss; dropped positions count too.
    own, gone = masked["audio"], dropped["audio"][..., None]
    for places in (own & ~gone, gone):
        changed = {**tokens, "audio": torch.where(places, (tokens["audio"] + 1) % 32, tokens["audio"])}
        assert not torch.allclose(only_phase(task, (changed, *rest)).loss, before)
    # With features that know nothing of the input, visible tokens cannot matter.
    task.modules["model"].forward = lambda t, *_: {name: torch.zeros(*x.shape[:2], 16) for name, x in t.items()}
    blind = only_phase(task, (tokens, *rest)).loss
    changed = {name: torch.where(masked[name], t, (t + 1) % 32) for name, t in tokens.items()}
    assert torch.equal(only_phase(task, (changed, *rest)).loss, blind)


def test_a_modality_without_masked_places_does_not_spoil_the_loss() -> None:
    task = task_with()
    tokens, masked, scored, dropped, average = task.batch(4, tiny.generator())
    nothing = torch.zeros_like(masked["audio"])
    masked, scored = ({**mask, "audio": nothing} for mask in (masked, scored))
    phase = only_phase(task, (tokens, masked, scored, {**dropped, "audio": nothing[..., 0]}, average))
    assert phase.loss.isfinite()
    assert not phase.metrics["loss/audio"].any()
    phase.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.model.parameters())


@pytest.mark.parametrize("average", ["tokens", "modalities"])
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(average: str) -> None:
    task = task_with(average=average, shown_share=0.5)
    batch = task.batch(6, tiny.generator())
    parts = [
        only_phase(task, tuple({name: x[rows] for name, x in part.items()} for part in batch))
        for rows in (slice(3), slice(3, 6))
    ]
    whole = only_phase(task, batch)
    torch.testing.assert_close(whole.loss, (parts[0].loss + parts[1].loss) / 2)
    for key, value in whole.metrics.items():
        torch.testing.assert_close(value, (parts[0].metrics[key] + parts[1].metrics[key]) / 2)


def test_the_items_are_those_of_the_batch() -> None:
    task = task_with()
    tokens, *_ = task.batch(5, tiny.generator(3))
    items = task.items(5, tiny.generator(3))
    assert torch.equal(tokens["image"], task.train.tokens["image"]["image"][items].long())  # type: ignore[attr-defined]


def test_token_embeddings_can_start_from_codebooks() -> None:
    torch.manual_seed(0)
    codebook = torch.randn(4, 8).repeat_interleave(8, 0)  # every eight codes alike
    cache = tiny.token_cache()
    task = TransformerTask(tiny.transformer_config(), MaskingObjective(), cache, cache, {("image", 0): codebook})
    rows = task.model.codes_of(("image", 0)).reshape(4, 8, -1)
    torch.testing.assert_close(rows, rows[:, :1].expand_as(rows))
    assert len(task.model.codes_of(("audio", 0)).unique(dim=0)) == 32


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(0, 99))
def test_mismatched_items_are_of_another_group(groups: list[int], seed: int) -> None:
    tensor = torch.tensor(groups)
    other = mismatches(tensor, tiny.generator(seed))
    if len(set(groups)) == 1:
        assert torch.equal(other, torch.arange(len(groups)))
    else:
        assert (tensor[other] != tensor).all()


def test_the_gain_of_an_untrained_model_is_about_nothing() -> None:
    task = tiny.transformer_task()
    with torch.no_grad():
        found = task.validate(task.model.eval(), CPU).metrics
    for modality in MODALITIES:
        # Beside a clip's 12 masked tokens of ln 32 nats each, 42 in all.
        assert abs(found[f"cross_modal_gain/{modality}"]) < 0.4
        assert found[f"loss/{modality}"] == pytest.approx(torch.log(torch.tensor(32.0)).item(), abs=0.3)


def test_validation_is_the_same_every_time_whatever_the_training_s_masks() -> None:
    plain = tiny.transformer_task()
    plain.model.eval().requires_grad_(False)
    first = plain.validate(plain.model, CPU).metrics
    torch.rand(3)
    plain.objective = MaskingObjective.model_validate({"image": {"mean": 0.9}, "label_smoothing": 0.0})
    assert plain.validate(plain.model, CPU).metrics == first


class Oracle(nn.Module):
    """Reads the group off the other modality and bets on it."""

    def __init__(self, task: TransformerTask) -> None:
        super().__init__()
        self.config, self.depth = task.config, ()

    def forward(self, tokens: dict[str, Tensor], masked: dict[str, Tensor]) -> dict[str, Tensor]:
        bets = {}
        for other, own in (("audio", "image"), ("image", "audio")):
            group = tokens[other][:, 1, 0]  # a position that holds the group
            bets[own] = F.one_hot(group, 32).float()[:, None].expand(-1, masked[own].shape[1], -1)
        return bets

    def packed_logits(self, packing: Packing, _: object, features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return 3.0 * packing.pack(features)


def test_the_gain_is_what_the_true_partner_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny.transformer_task()
    monkeypatch.setattr("visual_echoes.training.transformer.FastTransformer", Oracle)
    found = task.validate(Oracle(task), CPU).metrics
    for modality in MODALITIES:
        # A right bet is worth 3 nats; three of four masked places (0.736 of 16, rounded up) hold the group.
        assert found[f"cross_modal_gain/{modality}"] == pytest.approx(3.0 * 12.3 * 0.75, rel=0.06)


def test_training_makes_it_listen(tmp_path: Any) -> None:
    """On pairs of one rule the loss falls and the gain rises."""
    task = tiny.transformer_task(width=32)
    with torch.no_grad():
        before = task.validate(task.model.eval(), CPU).metrics
    settings = tiny.train_settings(100, batch_size=32, learning_rate=5e-3, validate_every=1000, checkpoint_every=1000)
    model = fit(task, settings, tmp_path, "f")
    with torch.no_grad():
        after = task.validate(model, CPU).metrics
    for modality in MODALITIES:
        assert after[f"loss/{modality}"] < 0.6 * before[f"loss/{modality}"]
        assert after[f"cross_modal_gain/{modality}"] > 10


def test_by_depth_the_further_codes_are_learnt_from_the_first() -> None:
    """Where the second code follows from the first one and from nothing else, only the first stays uncertain."""
    audio = tiny.LAYOUT.streams[1].model_copy(update={"depth": 2})
    task = tiny.transformer_task(
        MaskingObjective(label_smoothing=0.0), width=32, streams=(tiny.LAYOUT.streams[0], audio), residual="depth"
    )
    optimizer = torch.optim.Adam(task.model.parameters(), 1e-2)
    for step in range(60):
        batch = task.batch(16, tiny.generator(step))
        first_BP1 = torch.randint(audio.codes, batch[0]["audio"].shape[:2], generator=tiny.generator(step))[..., None]
        batch[0]["audio"] = torch.cat([first_BP1, (first_BP1 + 1) % audio.codes], -1)
        (phase,) = task.phases(batch, step)
        optimizer.zero_grad()
        phase.loss.backward()
        optimizer.step()
    # Of two codes that weigh alike, one is a guess among all.
    assert float(phase.metrics["loss/audio"]) == pytest.approx(0.5 * math.log(audio.codes), rel=0.15)


@pytest.mark.parametrize("changes", [{"label_smoothing": 1.0}, {"average": "sum"}, {"video": {}}])
def test_refuses_unfit_objectives(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MaskingObjective.model_validate(changes)


def test_a_contrastive_loss_teaches_which_sound_is_a_image_s_own() -> None:
    config = {"contrast_weight": 1.0, "label_smoothing": 0.0}
    task = tiny.transformer_task(dropout=0.0, objective=MaskingObjective.model_validate(config))
    batch = task.batch(16, tiny.generator())
    before = only_phase(task, batch)
    plain = only_phase(task_with(label_smoothing=0.0), batch)
    assert float(before.metrics["contrast"]) == pytest.approx(math.log(16), abs=0.6)  # it cannot tell them apart yet
    assert float(before.loss) == pytest.approx(float(plain.loss) + float(before.metrics["contrast"]), rel=1e-5)
    assert set(task.optimizers["model"]) == {"model", "contrast"}
    optimizer = torch.optim.Adam(task.modules.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        only_phase(task, batch).metrics["contrast"].backward()
        optimizer.step()
    # Its groups are all that the made-up tokens share, so the best there is is a choice within the group.
    assert float(only_phase(task, batch).metrics["contrast"]) < 0.7 * float(before.metrics["contrast"])
    assert set(task.export_config()) == set(task.config.model_dump())  # what only training needs is not exported


def test_a_summary_knows_one_modality_alone() -> None:
    model, tokens = tiny.transformer().eval(), tiny.token_cache().draw(3, tiny.generator())[0]
    changed = {**tokens, "audio": tokens["audio"].flip(1)}
    with torch.no_grad():
        assert torch.equal(model.summary(tokens, "image"), model.summary(changed, "image"))
        assert not torch.allclose(model.summary(tokens, "audio"), model.summary(changed, "audio"))
