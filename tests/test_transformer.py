"""The transformer sees what it may see, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

import tiny
from visual_echoes.layout import get_layout
from visual_echoes.transformer import (
    EMBEDDING_STD,
    MODALITIES,
    EchoTransformer,
    Pair,
    TransformerConfig,
    sine_cosine_2d,
)

GRIDS = {"image_grid": (2, 3), "audio_grid": (2, 4), "image_codes": 5, "audio_codes": 7}
# What the encoder sees, and where it sees visible places alone also a decoder that looks at those alone.
ALL_KINDS = pytest.mark.parametrize("encoder_input", ["masked", "visible", "cross"])
BOTH_PADS = pytest.mark.parametrize("pad", ["mask_embedding", "class_feature"])


def model_of(**changes: Any) -> EchoTransformer:
    if changes.get("encoder_input") == "cross":
        changes |= {"encoder_input": "visible", "decoder": "cross"}
    return tiny.transformer(tiny.transformer_config(**{**GRIDS, **changes}))


def random_tokens(batch: int, seed: int = 0) -> Pair:
    noise = tiny.generator(seed)
    return Pair(torch.randint(5, (batch, 6), generator=noise), torch.randint(7, (batch, 8), generator=noise))


def random_masks(batch: int, share: float = 0.5, seed: int = 0) -> Pair:
    noise = tiny.generator(seed)
    return Pair(*(torch.rand(batch, places, generator=noise) < share for places in (6, 8)))


def joined(features: Pair) -> Tensor:
    return torch.cat(features, 1)


@ALL_KINDS
@BOTH_PADS
def test_tokens_at_masked_places_never_matter_and_visible_ones_do(encoder_input: str, pad: str) -> None:
    model = model_of(encoder_input=encoder_input, pad=pad)
    tokens, other, masked = random_tokens(3), random_tokens(3, seed=1), random_masks(3)
    changed = Pair(*(torch.where(m, o, t) for t, o, m in zip(tokens, other, masked, strict=True)))
    with torch.no_grad():
        before = joined(model(tokens, masked))
        assert torch.equal(before, joined(model(changed, masked)))
        # One visible sound token changed: the picture's masked places must notice.
        visible = (~masked.audio[0]).nonzero()[0]
        tokens.audio[0, visible] = (tokens.audio[0, visible] + 1) % 7
        after = joined(model(tokens, masked))
    hidden_picture = masked.image[0].nonzero()[:, 0]
    assert ((after - before)[0, hidden_picture].abs().amax(-1) > 1e-4).all()
    assert torch.equal(after[1:], before[1:])


@ALL_KINDS
@BOTH_PADS
def test_a_sample_does_not_depend_on_its_batch(encoder_input: str, pad: str) -> None:
    model = model_of(encoder_input=encoder_input, pad=pad)
    tokens = random_tokens(6)
    masks = [random_masks(1, share, seed) for seed, share in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.1))]
    masked = Pair(*(torch.cat(rows) for rows in zip(*masks, strict=True)))
    assert len(set(joined(masked).sum(1).tolist())) >= 5
    with torch.no_grad():
        together = joined(model(tokens, masked))
        alone = [joined(model(Pair(*(t[i : i + 1] for t in tokens)), masks[i])) for i in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_dropped_places_are_not_seen_by_the_encoder() -> None:
    """A masked place the encoder sees tells it its position; a dropped one does not."""
    model = model_of(encoder_input="masked")
    tokens, masked = random_tokens(2), Pair(torch.ones(2, 6, dtype=torch.bool), torch.ones(2, 8, dtype=torch.bool))
    dropped = Pair(torch.zeros(2, 6, dtype=torch.bool), torch.zeros(2, 8, dtype=torch.bool))
    dropped.image[:, 2] = True
    with torch.no_grad():
        before = joined(model(tokens, masked, dropped))
        model.places_embedding.image[2] += 1.0
        assert torch.equal(joined(model(tokens, masked, dropped)), before)
        model.places_embedding.image[3] += 1.0
        assert not torch.allclose(joined(model(tokens, masked, dropped)), before)


def test_different_numbers_of_dropped_places_in_a_batch() -> None:
    model = model_of(encoder_input="masked")
    tokens, masked, dropped = random_tokens(3), random_masks(3, 1.1), random_masks(3, 0.5, seed=2)
    assert len(set(joined(dropped).sum(1).tolist())) > 1
    with torch.no_grad():
        together = joined(model(tokens, masked, dropped))
        for i in range(3):
            one = (Pair(*(t[i : i + 1] for t in pair)) for pair in (tokens, masked, dropped))
            torch.testing.assert_close(joined(model(*one)), together[i : i + 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pad", ["mask_embedding", "class_feature"])
def test_visible_input_never_reads_the_encoder_side_of_masked_places(pad: str) -> None:
    model = model_of(encoder_input="visible", pad=pad)
    tokens, masked = random_tokens(2), random_masks(2)
    masked.audio[:, 5] = True
    with torch.no_grad():
        before = joined(model(tokens, masked))
        change_D = torch.randn(model.config.width, generator=tiny.generator())  # which no norm takes away again
        model.places_embedding.audio[5] += change_D
        model.embeddings["audio"].weight[-1] += change_D
        assert torch.equal(joined(model(tokens, masked)), before)
        model.decoder_positions.audio[5] += change_D
        assert not torch.allclose(joined(model(tokens, masked)), before)


@ALL_KINDS
@BOTH_PADS
def test_starts_from_everything_masked(encoder_input: str, pad: str) -> None:
    model = model_of(encoder_input=encoder_input, pad=pad)
    with torch.no_grad():
        features = joined(model(random_tokens(2), random_masks(2, 1.1)))
    assert features.isfinite().all()
    torch.testing.assert_close(features[0], features[1])
    # Places are told apart by their positions, also across the modalities.
    distances = torch.cdist(features[0], features[0]) + torch.eye(14) * 1e9
    assert float(distances.min()) > 1e-4


@ALL_KINDS
@BOTH_PADS
def test_gradients_reach_every_parameter(encoder_input: str, pad: str) -> None:
    model = model_of(encoder_input=encoder_input, pad=pad)
    features = model(random_tokens(4), random_masks(4))
    sum(model.logits(m, f).square().sum() for m, f in zip(MODALITIES, features, strict=True)).backward()
    unreached = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert unreached == ({"mask_embedding"} if pad == "class_feature" else set())


def test_codes_learn_from_the_head_too() -> None:
    """With everything masked no token goes in, so what reaches the codes' embeddings comes from the dot products."""
    model = model_of()
    features = model(random_tokens(2), random_masks(2, 1.1))
    model.logits("image", features.image).square().sum().backward()
    assert (model.embeddings["image"].weight.grad[:-1].abs().sum(1) > 0).all()


def test_logits_cover_the_own_codebook_only() -> None:
    model = model_of()
    features = model(random_tokens(2), random_masks(2))
    assert model.logits("image", features.image).shape == (2, 6, 5)
    assert model.logits("audio", features.audio).shape == (2, 8, 7)
    assert model.logits("audio", features.audio[0, 0]).shape == (7,)
    before = model.logits("image", features.image)
    with torch.no_grad():
        model.embeddings["image"].weight[-1] += 1.0  # the mask id
        model.embeddings["audio"].weight += 1.0
    assert torch.equal(model.logits("image", features.image), before)


def test_logits_are_products_with_the_token_embeddings() -> None:
    model = model_of()
    features = model(random_tokens(1), random_masks(1)).image
    before = model.logits("image", features)
    with torch.no_grad():
        model.embeddings["image"].weight[2] *= 3.0
    after = model.logits("image", features)
    torch.testing.assert_close(after[..., 2], 3 * before[..., 2])  # the bias is still 0
    assert torch.equal(after[..., :2], before[..., :2])


def test_starting_from_the_codebook_keeps_near_codes_near() -> None:
    model = EchoTransformer(tiny.transformer_config(image_codes=40, width=64))
    noise = tiny.generator()
    centres = torch.randn(8, 6, generator=noise) * 3 + 5
    codebook = centres.repeat_interleave(5, 0) + 0.05 * torch.randn(40, 6, generator=noise)
    mask_id, other = model.embeddings["image"].weight[-1].clone(), model.embeddings["audio"].weight.clone()
    model.start_from_codebook("image", codebook)
    started = model.embeddings["image"].weight.detach()[:-1]
    distances = torch.cdist(started, started) + torch.eye(40) * 1e9
    nearest = distances.topk(4, largest=False).indices // 5
    assert torch.equal(nearest, (torch.arange(40) // 5)[:, None].expand(40, 4))
    assert float(started.std()) == pytest.approx(EMBEDDING_STD, rel=0.05)
    assert torch.equal(model.embeddings["image"].weight[-1], mask_id)
    assert torch.equal(model.embeddings["audio"].weight, other)


@given(st.integers(1, 16), st.integers(1, 53), st.sampled_from((8, 16, 64)))
def test_positions_start_distinct(rows: int, columns: int, width: int) -> None:
    waves = sine_cosine_2d((rows, columns), width)
    assert waves.shape == (rows * columns, width)
    distances = torch.cdist(waves.double(), waves.double()) + torch.eye(len(waves)) * 1e9
    assert float(distances.min()) > 1e-3 or len(waves) == 1


def test_config_takes_grids_and_codes_from_the_layout() -> None:
    config = TransformerConfig.for_layout(get_layout("paper"), width=64, heads=4)
    assert (config.places("image"), config.places("audio")) == (256, 265)
    assert (config.grid("audio"), config.codes("audio"), config.width) == ((5, 53), 1024, 64)


@pytest.mark.parametrize(
    "changes", [{"width": 18}, {"heads": 3}, {"dropout": 1.0}, {"depth": 3}, {"pad": "zeros"}, {"decoder": "cross"}]
)
def test_refuses_unfit_configs(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tiny.transformer_config(**changes)


@ALL_KINDS
@BOTH_PADS
@given(seed=st.integers(0, 1000))
def test_scores_are_the_logits_of_the_wanted_places(encoder_input: str, pad: str, seed: int) -> None:
    model, tokens = model_of(encoder_input=encoder_input, pad=pad), random_tokens(4, seed)
    masks = [random_masks(1, share, seed) for share in (0.2, 0.5, 0.8, 1.1)]
    masked = Pair(*(torch.cat(rows) for rows in zip(*masks, strict=True)))
    counts = [tuple(row) for row in torch.stack([m.sum(1) for m in masked], 1).tolist()]
    wanted: list[Any] = [["image"], ["audio"], ["image", "audio"], []]
    with torch.no_grad():
        found = model.scores(tokens, masked, counts, wanted)
        features = model(tokens, masked)
    for modality, scores, m, f in zip(MODALITIES, found, masked, features, strict=True):
        asked = m & torch.tensor([modality in modalities for modalities in wanted])[:, None]
        torch.testing.assert_close(scores[asked], model.logits(modality, f)[asked], atol=1e-5, rtol=1e-5)
        assert not scores[~asked].any()


def test_attention_in_bfloat16_is_that_in_float32() -> None:
    """The CPU takes another way for it, with and without a mask."""
    attention = model_of().encoder[0].attention
    noise = tiny.generator()
    q, k, v = (torch.randn(2, 2, 5, 8, generator=noise) for _ in range(3))
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    for mask in (None, causal):
        expected = attention.mix(q, k, v, mask)
        found = attention.mix(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)
