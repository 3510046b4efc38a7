"""MAGE's transformer gives its own logits in ours, and what does not fit is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import tiny
from checkpoints.convert import mage_reference as mage
from checkpoints.convert.published import tensors
from visual_echoes.checkpoints.convert import convert_checkpoint, read_vqgan
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.errors import EchoesError
from visual_echoes.model.fast import FastTransformer
from visual_echoes.training.fine_tuning import start_from

LAYOUT = replace(tiny.LAYOUT, image_codes=mage.CODES)


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """The config that tiny weights need."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model": {"num_heads": mage.HEADS, "decoder_num_heads": mage.DECODER_HEADS}}))
    return path


def written(folder: Path, state: dict[str, Tensor]) -> Path:
    path = folder / "mage.pth"
    torch.save({"model": state, "epoch": 1599}, path)
    return path


def test_the_logits_of_images_alone_are_mage_s(tmp_path: Path, heads: Path) -> None:
    weights = mage.state()
    converted = convert_checkpoint(written(tmp_path, weights), tiny.LAYOUT, config=heads)
    save_model(tmp_path / "model", converted.model, half=False)
    model = load_model(tmp_path / "model").parts["transformer"]
    assert isinstance(model, FastTransformer)
    noise = tiny.generator(1)
    tokens_BP = torch.randint(mage.CODES, (3, mage.TOKENS), generator=noise)
    masked_BP = torch.rand(3, mage.TOKENS, generator=noise) < 0.6
    tokens = {"image": tokens_BP[..., None], "audio": torch.zeros(3, tiny.LAYOUT.audio_tokens, 1, dtype=torch.int64)}
    masked = {"image": masked_BP[..., None], "audio": torch.ones_like(tokens["audio"], dtype=torch.bool)}
    # Images alone: sounds are left out, as MAGE has none.
    alone = {"image": torch.zeros_like(masked_BP), "audio": torch.ones(3, tiny.LAYOUT.audio_tokens, dtype=torch.bool)}
    with torch.inference_mode():
        encoded = model.encode(model.embed(tokens, masked), model.seen(masked, alone))
        x_BSD = model.decoder_input(encoded, model.masked_positions(masked))[:, : 1 + mage.TOKENS]
        for block in model.decoder:
            x_BSD = block.add(x_BSD, block.attention(block.norm1(x_BSD), block.norm1(x_BSD)))
        found_BPK = model.logits(("image", 0), model.decoder_norm(x_BSD)[:, 1:])
    torch.testing.assert_close(found_BPK, mage.logits(weights, tokens_BP, masked_BP), atol=1e-4, rtol=0)


def test_a_training_starts_from_it(tmp_path: Path, heads: Path) -> None:
    converted = convert_checkpoint(written(tmp_path, mage.state()), tiny.LAYOUT, config=heads)
    assert "starts afresh" in " ".join(converted.summary)
    part = converted.model.parts["transformer"]
    assert isinstance(part, FastTransformer)
    save_model(tmp_path / "model", converted.model, half=False)
    model = FastTransformer(part.config)
    start_from(model, str(tmp_path / "model"), "transformer")
    assert all(torch.equal(value, part.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_checkpoint_with_its_vqgan_gives_both_or_the_one_that_is_named(tmp_path: Path, heads: Path) -> None:
    vqgan = tensors("mage_vqgan_tiny")
    weights = mage.state() | {f"vqgan.{name}": value for name, value in vqgan.items()}
    codes, width = len(vqgan["quantize.embedding.weight"]), mage.WIDTH
    noise = tiny.generator(2)
    for name, shape in (("token_emb.word_embeddings.weight", ()), ("mlm_layer.bias", (1, 1))):
        rows = (codes + mage.CLASSES + 1, width) if not shape else (1, 1, codes + mage.CLASSES + 1)
        weights[name] = torch.randn(rows, generator=noise)
    path = written(tmp_path, weights)
    factor = read_vqgan(path).config.factor[0]
    layout = replace(tiny.LAYOUT, image_size=4 * factor, image_channels=3, image_factor=factor)
    for part, wanted in (
        (None, {"transformer", "image_vqgan"}), ("transformer", {"transformer"}), ("image_vqgan", {"image_vqgan"})
    ):  # fmt: skip
        model = convert_checkpoint(path, layout, config=heads, part=part).model
        assert set(model.parts) == wanted
        assert model.layout.image_codes == codes
    with pytest.raises(EchoesError, match="which is no vocoder"):
        convert_checkpoint(path, layout, config=heads, part="vocoder")


def test_what_does_not_fit_is_named(tmp_path: Path, heads: Path) -> None:
    weights = mage.state()
    del weights["blocks.1.mlp.fc1.bias"]
    weights["blocks.1.mlp.fc3.bias"] = torch.zeros(3)
    with pytest.raises(EchoesError, match=r"missing: blocks\.1\.mlp\.fc1\.bias; not part of it: blocks\.1\.mlp\.fc3"):
        convert_checkpoint(written(tmp_path, weights), tiny.LAYOUT, config=heads)
    other = replace(tiny.LAYOUT, image_size=2 * tiny.LAYOUT.image_size)
    with pytest.raises(EchoesError, match="16 image tokens and 16 codes, which layout 'debug'"):
        convert_checkpoint(written(tmp_path, mage.state()), other, config=heads)
    heads.write_text('{"num_heads": 3, "decoder_num_heads": 4}')
    with pytest.raises(EchoesError, match="give a --config with num_heads"):
        convert_checkpoint(written(tmp_path, mage.state()), tiny.LAYOUT, config=heads)
