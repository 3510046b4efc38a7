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
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastTransformer, dense
from visual_echoes.model.transformer import EMBEDDING_STD, EchoTransformer
from visual_echoes.streams import Stream, coordinates, sine_cosine

GRIDS = {"image_grid": (2, 3), "audio_grid": (2, 4), "image_codes": 5, "audio_codes": 7}
SIZES = {"image": (5, 6), "audio": (7, 8)}  # codes and positions
# What the encoder sees, and where it sees visible positions alone also a decoder that attends to those alone.
ALL_KINDS = pytest.mark.parametrize("encoder_input", ["masked", "visible", "cross"])
BOTH_FILLS = pytest.mark.parametrize("mask_fill", ["mask_embedding", "cls"])


def model_of(**changes: Any) -> FastTransformer:
    if changes.get("encoder_input") == "cross":
        changes |= {"encoder_input": "visible", "decoder": "cross"}
    return tiny.transformer(tiny.transformer_config(**{**GRIDS, **changes}))


def random_tokens(batch: int, seed: int = 0) -> dict[str, Tensor]:
    noise = tiny.generator(seed)
    return {name: torch.randint(codes, (batch, p, 1), generator=noise) for name, (codes, p) in SIZES.items()}


def random_masks(batch: int, share: float = 0.5, seed: int = 0) -> dict[str, Tensor]:
    noise = tiny.generator(seed)
    return {name: torch.rand(batch, p, 1, generator=noise) < share for name, (_, p) in SIZES.items()}


def rows(values: dict[str, Tensor], chosen: slice) -> dict[str, Tensor]:
    return {name: value[chosen] for name, value in values.items()}


def joined(features: dict[str, Tensor]) -> Tensor:
    return torch.cat(list(features.values()), 1)


@ALL_KINDS
@BOTH_FILLS
def test_tokens_at_masked_places_never_matter_and_visible_ones_do(encoder_input: str, mask_fill: str) -> None:
    model = model_of(encoder_input=encoder_input, mask_fill=mask_fill)
    tokens, other, masked = random_tokens(3), random_tokens(3, seed=1), random_masks(3)
    changed = {name: torch.where(m, other[name], tokens[name]) for name, m in masked.items()}
    with torch.no_grad():
        before = joined(model(tokens, masked))
        assert torch.equal(before, joined(model(changed, masked)))
        # One visible sound token changed: the image's masked positions must notice.
        visible = (~masked["audio"][0, :, 0]).nonzero()[0]
        tokens["audio"][0, visible] = (tokens["audio"][0, visible] + 1) % 7
        after = joined(model(tokens, masked))
    hidden_image = masked["image"][0].nonzero()[:, 0]
    assert ((after - before)[0, hidden_image].abs().amax(-1) > 1e-4).all()
    assert torch.equal(after[1:], before[1:])


@ALL_KINDS
@BOTH_FILLS
def test_a_sample_does_not_depend_on_its_batch(encoder_input: str, mask_fill: str) -> None:
    model = model_of(encoder_input=encoder_input, mask_fill=mask_fill)
    tokens = random_tokens(6)
    masks = [random_masks(1, share, seed) for seed, share in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.1))]
    masked = {name: torch.cat([mask[name] for mask in masks]) for name in masks[0]}
    assert len(set(joined(masked).sum((1, 2)).tolist())) >= 5
    with torch.no_grad():
        together = joined(model(tokens, masked))
        alone = [joined(model(rows(tokens, slice(i, i + 1)), masks[i])) for i in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_dropped_places_are_not_seen_by_the_encoder() -> None:
    """A masked position the encoder sees tells it where it is; a dropped one does not."""
    model = model_of(encoder_input="masked")
    tokens, masked = random_tokens(2), random_masks(2, 1.1)
    dropped = {name: torch.zeros_like(mask[..., 0]) for name, mask in masked.items()}
    dropped["image"][:, 2] = True
    with torch.no_grad():
        before = joined(model(tokens, masked, dropped))
        model.positions.image[2] += 1.0
        assert torch.equal(joined(model(tokens, masked, dropped)), before)
        model.positions.image[3] += 1.0
        assert not torch.allclose(joined(model(tokens, masked, dropped)), before)


def test_different_numbers_of_dropped_places_in_a_batch() -> None:
    model = model_of(encoder_input="masked")
    tokens, masked = random_tokens(3), random_masks(3, 1.1)
    dropped = {name: mask[..., 0] for name, mask in random_masks(3, 0.5, seed=2).items()}
    assert len(set(joined(dropped).sum(1).tolist())) > 1
    with torch.no_grad():
        together = joined(model(tokens, masked, dropped))
        for i in range(3):
            one = (rows(values, slice(i, i + 1)) for values in (tokens, masked, dropped))
            torch.testing.assert_close(joined(model(*one)), together[i : i + 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mask_fill", ["mask_embedding", "cls"])
def test_visible_input_never_reads_the_encoder_side_of_masked_places(mask_fill: str) -> None:
    model = model_of(encoder_input="visible", mask_fill=mask_fill)
    tokens, masked = random_tokens(2), random_masks(2)
    masked["audio"][:, 5] = True
    with torch.no_grad():
        before = joined(model(tokens, masked))
        change_D = torch.randn(model.config.width, generator=tiny.generator())  # which no norm takes away again
        model.positions.audio[5] += change_D
        model.token_embedding["audio"].weight[-1] += change_D
        assert torch.equal(joined(model(tokens, masked)), before)
        model.decoder_positions.audio[5] += change_D
        assert not torch.allclose(joined(model(tokens, masked)), before)


@ALL_KINDS
@BOTH_FILLS
def test_starts_from_everything_masked(encoder_input: str, mask_fill: str) -> None:
    model = model_of(encoder_input=encoder_input, mask_fill=mask_fill)
    with torch.no_grad():
        features = joined(model(random_tokens(2), random_masks(2, 1.1)))
    assert features.isfinite().all()
    torch.testing.assert_close(features[0], features[1])
    # Places are told apart by their positions, also across the modalities.
    distances = torch.cdist(features[0], features[0]) + torch.eye(14) * 1e9
    assert float(distances.min()) > 1e-4


@ALL_KINDS
@BOTH_FILLS
def test_gradients_reach_every_parameter(encoder_input: str, mask_fill: str) -> None:
    model = model_of(encoder_input=encoder_input, mask_fill=mask_fill)
    features = model(random_tokens(4), random_masks(4))
    sum(model.logits((name, 0), f).square().sum() for name, f in features.items()).backward()
    unreached = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert unreached == ({"mask_embedding"} if mask_fill == "cls" else set())


def test_codes_learn_from_the_head_too() -> None:
    """With everything masked no token goes in, so what reaches the codes' embeddings comes from the dot products."""
    model = model_of()
    features = model(random_tokens(2), random_masks(2, 1.1))
    model.logits(("image", 0), features["image"]).square().sum().backward()
    assert (model.token_embedding["image"].weight.grad[:-1].abs().sum(1) > 0).all()


def test_logits_cover_the_own_codebook_only() -> None:
    model = model_of()
    features = model(random_tokens(2), random_masks(2))
    assert model.logits(("image", 0), features["image"]).shape == (2, 6, 5)
    assert model.logits(("audio", 0), features["audio"]).shape == (2, 8, 7)
    assert model.logits(("audio", 0), features["audio"][0, 0]).shape == (7,)
    before = model.logits(("image", 0), features["image"])
    with torch.no_grad():
        model.token_embedding["image"].weight[-1] += 1.0  # the mask id
        model.token_embedding["audio"].weight += 1.0
    assert torch.equal(model.logits(("image", 0), features["image"]), before)


def test_logits_are_products_with_the_token_embeddings() -> None:
    model = model_of()
    features = model(random_tokens(1), random_masks(1))["image"]
    before = model.logits(("image", 0), features)
    with torch.no_grad():
        model.token_embedding["image"].weight[2] *= 3.0
    after = model.logits(("image", 0), features)
    torch.testing.assert_close(after[..., 2], 3 * before[..., 2])  # the bias is still 0
    assert torch.equal(after[..., :2], before[..., :2])


def test_starting_from_the_codebook_keeps_near_codes_near() -> None:
    streams = [stream.model_copy(update={"codes": 40}) for stream in tiny.LAYOUT.streams]
    model = EchoTransformer(tiny.transformer_config(streams=streams, width=64))
    noise = tiny.generator()
    centres = torch.randn(8, 6, generator=noise) * 3 + 5
    codebook = centres.repeat_interleave(5, 0) + 0.05 * torch.randn(40, 6, generator=noise)
    mask_id, other = model.token_embedding["image"].weight[-1].clone(), model.token_embedding["audio"].weight.clone()
    model.start_from_codebook(("image", 0), codebook)
    started = model.token_embedding["image"].weight.detach()[:-1]
    distances = torch.cdist(started, started) + torch.eye(40) * 1e9
    nearest = distances.topk(4, largest=False).indices // 5
    assert torch.equal(nearest, (torch.arange(40) // 5)[:, None].expand(40, 4))
    assert float(started.std()) == pytest.approx(EMBEDDING_STD, rel=0.05)
    assert torch.equal(model.token_embedding["image"].weight[-1], mask_id)
    assert torch.equal(model.token_embedding["audio"].weight, other)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.sampled_from((12, 64)))
def test_positions_start_distinct(shape: list[int], width: int) -> None:
    stream = Stream(name="video", source="video", shape=tuple(shape), codes=2)
    waves = sine_cosine(coordinates([stream])["video"], width)
    assert waves.shape == (stream.positions, width)
    distances = torch.cdist(waves.double(), waves.double()) + torch.eye(len(waves)) * 1e9
    assert float(distances.min()) > 1e-3 or len(waves) == 1


def test_config_takes_grids_and_codes_from_the_layout() -> None:
    config = TransformerConfig.for_layout(get_layout("paper"), width=64, heads=4)
    assert [stream.positions for stream in config.streams] == [256, 265]
    assert (config.streams[1].shape, config.streams[1].codes, config.width) == ((5, 53), 1024, 64)


@pytest.mark.parametrize(
    "changes",
    [{"width": 18}, {"heads": 3}, {"dropout": 1.0}, {"depth": 3}, {"mask_fill": "zeros"}, {"decoder": "cross"}],
)
def test_refuses_unfit_configs(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tiny.transformer_config(**changes)


@ALL_KINDS
@BOTH_FILLS
@given(seed=st.integers(0, 1000))
def test_scores_are_the_logits_of_the_wanted_places(encoder_input: str, mask_fill: str, seed: int) -> None:
    model, tokens = model_of(encoder_input=encoder_input, mask_fill=mask_fill), random_tokens(4, seed)
    masks = [random_masks(1, share, seed) for share in (0.2, 0.5, 0.8, 1.1)]
    masked = {name: torch.cat([mask[name] for mask in masks]) for name in masks[0]}
    wanted = {"image": [True, False, True, False], "audio": [False, True, True, False]}
    asked = {(name, 0): masked[name][..., 0] & torch.tensor(rows)[:, None] for name, rows in wanted.items()}
    with torch.no_grad():
        found = model.score(tokens, masked, asked)
        features = model(tokens, masked)
    for level, asked_BP in asked.items():
        expected = model.logits(level, features[level[0]])
        torch.testing.assert_close(found[level][asked_BP], expected[asked_BP], atol=1e-5, rtol=1e-5)
        assert not found[level][~asked_BP].any()


def test_attention_in_bfloat16_is_that_in_float32() -> None:
    """The CPU takes another way for it, with and without a mask."""
    attention = model_of().encoder[0].attention
    noise = tiny.generator()
    q, k, v = (torch.randn(2, 2, 5, 8, generator=noise) for _ in range(3))
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    for mask in (None, causal):
        expected = attention.attend(q, k, v, mask)
        found = attention.attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)


# MAGE's choices


def test_activation_dropout_zeroes_a_share_of_the_mlp_s_activations_in_training() -> None:
    model, plain = model_of(activation_dropout=0.25), model_of()
    tokens, masked = random_tokens(16), random_masks(16)
    with torch.no_grad():
        assert torch.equal(joined(model(tokens, masked)), joined(plain(tokens, masked)))  # none in sampling
    block = model.train().encoder[0]
    seen = []
    block.mlp.activation.register_forward_hook(lambda *call: seen.append(call[-1]))
    block.mlp[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(tokens, masked)
    before, after = seen
    zeroed = after == 0.0
    assert float(zeroed.double().mean()) == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(after[~zeroed], before[~zeroed] / 0.75)


def test_head_norm_eps_is_that_of_the_heads_alone() -> None:
    model = model_of(head_norm_eps=0.5)
    features = torch.randn(3, model.config.width, generator=tiny.generator())
    head = model.heads["audio"][0]
    hidden = torch.nn.functional.gelu(head.dense(features))
    spread = (hidden.var(-1, correction=0, keepdim=True) + 0.5).sqrt()
    normed = (hidden - hidden.mean(-1, keepdim=True)) / spread * head.norm.weight + head.norm.bias
    torch.testing.assert_close(
        model.logits(("audio", 0), features), normed @ model.codes_of(("audio", 0)).T + head.bias
    )
    others = [m for n, m in model.named_modules() if isinstance(m, torch.nn.LayerNorm) and not n.startswith("heads")]
    assert {norm.eps for norm in others} == {1e-6}


@ALL_KINDS
def test_the_decoder_may_learn_a_position_of_the_cls_token(encoder_input: str) -> None:
    model, plain = (
        model_of(encoder_input=encoder_input, decoder_cls_position=True),
        model_of(encoder_input=encoder_input),
    )
    extra = set(model.state_dict()) - set(plain.state_dict())
    assert extra == {"decoder_cls_position"}
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name not in extra})
    tokens, masked = random_tokens(3), random_masks(3)

    def features(network: EchoTransformer) -> Tensor:
        with torch.no_grad():
            found = network(tokens, masked)
        return torch.cat([found[name][mask[..., 0]] for name, mask in masked.items()])

    assert not torch.allclose(features(model), features(plain), atol=1e-4)
    torch.testing.assert_close(features(model), features(dense(model)), atol=1e-5, rtol=1e-5)
    torch.nn.init.zeros_(model.decoder_cls_position)
    assert torch.equal(features(model), features(plain))
