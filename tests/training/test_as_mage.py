"""What MAGE's training does and ours does where a recipe asks for it, each against a few lines of its own.

Shapes: B batch, S positions, N packed positions, D width, d width of a head, K codes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tiny
from visual_echoes.model.blocks import Block, Head, thinned
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastBlock
from visual_echoes.model.packing import Packing
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.training.recipe import TransformerRecipe, read_recipe
from visual_echoes.training.settings import TrainSettings, build_optimizers

RECIPES = Path(__file__).parents[2] / "recipes"
PAPER = [RECIPES / "paper" / f"{name}.toml" for name in ("transformer", "transformer-mu055")]
TABLES = {"token_embedding.image.weight", "token_embedding.audio.weight"}
SINGLE = {"cls_token", "mask_embedding", "decoder_cls_position"}
SIZES = {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 2, "mlp_ratio": 2}


def paper_config(path: Path = PAPER[0]) -> TransformerConfig:
    """What a recipe of the paper says, but for its sizes."""
    recipe = read_recipe(path)
    assert isinstance(recipe, TransformerRecipe)
    return TransformerConfig.for_layout(tiny.LAYOUT, **{**recipe.model.model_dump(), **SIZES})


def paper_model() -> EchoTransformer:
    return tiny.transformer(paper_config())


# Dropout


def test_dropout_falls_on_weights_projection_gelu_and_mlp() -> None:
    torch.manual_seed(0)
    block, rate = Block(paper_config()).train(), 0.1
    packed = FastBlock(paper_config()).train()
    packed.load_state_dict(block.state_dict())
    x_BSD = torch.randn(3, 40, 16)

    def reference() -> Tensor:
        """Pre-norm attention and MLP with all four dropouts, as a vision transformer is written down."""
        q_BHSd, k_BHSd, v_BHSd = (
            part.unflatten(-1, (2, 8)).transpose(1, 2) for part in block.attention.qkv(block.norm1(x_BSD)).chunk(3, -1)
        )
        weights_BHSS = thinned((q_BHSd @ k_BHSd.mT / 8**0.5).softmax(-1), rate)
        gathered_BSD = block.attention.out((weights_BHSS @ v_BHSd).transpose(1, 2).flatten(-2))
        middle_BSD = x_BSD + thinned(gathered_BSD, rate)
        first, second = (layer for layer in block.mlp if isinstance(layer, nn.Linear))
        hidden_BSE = thinned(F.gelu(first(block.norm2(middle_BSD))), rate)
        return middle_BSD + thinned(second(hidden_BSE), rate)

    places = Packing(torch.ones(3, 40, dtype=torch.bool))
    for run in (lambda: block(x_BSD), lambda: places.unpack(packed(places.pack(x_BSD), places))):
        torch.manual_seed(7)
        found_BSD = run()
        torch.manual_seed(7)
        torch.testing.assert_close(found_BSD, reference())
        assert not torch.allclose(run(), reference(), atol=1e-3)


def test_without_it_the_gelu_is_left_alone_and_draws_nothing() -> None:
    torch.manual_seed(0)
    block = Block(tiny.transformer_config(dropout=0.1)).train()
    x_ND, state = torch.randn(4, 16), torch.get_rng_state()
    assert torch.equal(block.mlp(x_ND), block.mlp(x_ND))
    assert torch.equal(torch.get_rng_state(), state)


# Weight decay


def undecayed(model: nn.Module, settings: TrainSettings) -> set[str]:
    """The parameters that a step with gradients of 0 leaves as they are."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in build_optimizers([model], settings):
        optimizer.step()
    shrunk = 1.0 - settings.learning_rate * settings.weight_decay
    left = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    for name, parameter in model.named_parameters():
        if name not in left:
            torch.testing.assert_close(parameter.detach(), before[name] * shrunk)
    return left


def with_something_everywhere(model: EchoTransformer) -> EchoTransformer:
    """Norms and biases that are not 0, so that decay would show."""
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_in_the_papers_recipes_only_biases_and_norms_are_not_decayed(path: Path) -> None:
    model, settings = with_something_everywhere(paper_model()), read_recipe(path).train
    assert (settings.betas, settings.weight_decay, settings.clip_norm) == ((0.9, 0.95), 0.05, 3.0)
    names = {name for name, _ in model.named_parameters()}
    left = undecayed(model, settings.model_copy(update={"learning_rate": 0.1}))
    assert left == {name for name in names if name.endswith("bias") or "norm" in name}
    positions = {f"{side}.{m}" for side in ("positions", "decoder_positions") for m in ("image", "modality")}
    assert names - left >= TABLES | SINGLE | positions


def test_elsewhere_tables_and_single_embeddings_are_left_alone_too() -> None:
    model = with_something_everywhere(paper_model())
    left = undecayed(model, tiny.train_settings(1, learning_rate=0.1, weight_decay=0.05))
    assert left == {name for name, p in model.named_parameters() if p.dim() == 1} | TABLES
    assert left >= SINGLE


def test_muon_leaves_decayed_embeddings_to_adamw() -> None:
    model = paper_model()
    adamw, _ = build_optimizers([model], tiny.train_settings(1, optimizer="muon", decay_embeddings=True))
    decayed = adamw.param_groups[0]["params"]
    assert {name for name, p in model.named_parameters() if any(p is other for other in decayed)} == TABLES | SINGLE


# The head's norm


@pytest.mark.parametrize("eps", [1e-6, 1e-5])
def test_the_head_is_dense_gelu_norm_and_a_product_with_the_tokens(eps: float) -> None:
    torch.manual_seed(0)
    head, table_KD = Head(16, 5, eps), torch.randn(5, 16)
    nn.init.normal_(head.norm.weight)
    nn.init.normal_(head.bias)
    features_ND = 3e-3 * torch.randn(7, 16)  # so small that the norm's eps is felt
    hidden_ND = F.gelu(features_ND @ head.dense.weight.mT)
    variance_N1 = hidden_ND.var(-1, correction=0, keepdim=True)
    assert bool((variance_N1 < 1e-5).all())
    normed_ND = (hidden_ND - hidden_ND.mean(-1, keepdim=True)) / (variance_N1 + eps).sqrt() * head.norm.weight
    with torch.no_grad():
        nn.init.zeros_(head.dense.bias)
        torch.testing.assert_close(head(features_ND, table_KD), normed_ND @ table_KD.mT + head.bias)


def test_the_papers_heads_have_pytorchs_own_eps_and_all_other_norms_a_tenth() -> None:
    for path in PAPER:
        model = EchoTransformer(paper_config(path))
        eps = {name: module.eps for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)}
        assert {name for name, value in eps.items() if value == 1e-5} == {"heads.image.0.norm", "heads.audio.0.norm"}
        assert {value for name, value in eps.items() if not name.startswith("heads.")} == {1e-6}
    older = EchoTransformer(tiny.transformer_config())
    assert {module.eps for module in older.modules() if isinstance(module, nn.LayerNorm)} == {1e-6}


# The CLS token's position in the decoder


@pytest.mark.parametrize("mask_fill", ["mask_embedding", "cls"])
def test_the_cls_token_has_a_position_in_the_decoder(mask_fill: str) -> None:
    model = tiny.transformer(paper_config().model_copy(update={"mask_fill": mask_fill}))
    places = sum(stream.positions for stream in model.config.streams)
    encoded_BSD = torch.randn(2, 1 + places, 16, generator=tiny.generator())
    masked_BL = torch.rand(2, places, generator=tiny.generator(1)) < 0.5
    fill_BLD = (encoded_BSD[:, :1] if mask_fill == "cls" else model.mask_embedding).expand(2, places, 16)
    sequence_BSD = encoded_BSD.clone()
    sequence_BSD[:, 1:][masked_BL] = fill_BLD[masked_BL]  # the fill is the feature without a position
    positions_SD = torch.cat([model.decoder_cls_position[None], model.decoder_positions()])
    torch.testing.assert_close(model.decoder_input(encoded_BSD, masked_BL), sequence_BSD + positions_SD)


@pytest.mark.parametrize("kind", [{}, {"encoder_input": "visible"}, {"encoder_input": "visible", "decoder": "cross"}])
def test_its_position_reaches_what_is_predicted_and_is_learned(kind: dict[str, str]) -> None:
    model = tiny.transformer(paper_config().model_copy(update={**kind, "dropout": 0.0}))
    tokens, _ = tiny.token_cache().draw(2, tiny.generator())
    masked = {name: torch.rand(t.shape, generator=tiny.generator()) < 0.6 for name, t in tokens.items()}
    before = torch.cat(list(model(tokens, masked).values()), 1)
    before.square().sum().backward()
    assert model.decoder_cls_position.grad is not None
    assert model.decoder_cls_position.grad.abs().min() > 0
    with torch.no_grad():
        model.decoder_cls_position += 1.0 * torch.randn(16, generator=tiny.generator())  # type: ignore[misc]
        after = torch.cat(list(model(tokens, masked).values()), 1)
    assert ((after - before).abs().amax(-1) > 1e-4)[model.masked_positions(masked)].all()


def test_older_models_have_no_such_position() -> None:
    model = tiny.transformer()
    assert "decoder_cls_position" not in model.state_dict()
    encoded_BSD = torch.randn(
        2, 1 + sum(stream.positions for stream in model.config.streams), 16, generator=tiny.generator()
    )
    masked_BL = torch.ones(encoded_BSD.shape[0], encoded_BSD.shape[1] - 1, dtype=torch.bool)
    assert torch.equal(model.decoder_input(encoded_BSD, masked_BL)[:, 0], encoded_BSD[:, 0])
