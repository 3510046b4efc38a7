"""MAGE's transformer as its paper and its published names describe it, with random weights: image tokens alone.

Shapes: B batch, S positions with the class slot, P image tokens, D width, V words.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

import tiny

CODES, CLASSES = 16, 1000
TOKENS, WIDTH, HEADS, DECODER_HEADS, LAYERS, DECODER_LAYERS = 16, 32, 2, 4, 2, 1
NO_CLASS, MASK = CODES + 76, CODES + CLASSES


def state(seed: int = 0) -> dict[str, Tensor]:
    """Weights under the published names."""
    noise = tiny.generator(seed)

    def normal(*shape: int, std: float = 0.2) -> Tensor:
        return torch.randn(shape, generator=noise) * std

    found = {
        "token_emb.word_embeddings.weight": normal(MASK + 1, WIDTH),
        "token_emb.position_embeddings.weight": normal(TOKENS + 1, WIDTH),
        "decoder_pos_embed_learned": normal(1, TOKENS + 1, WIDTH),
        "mlm_layer.bias": normal(1, 1, MASK + 1),
        # Stored, and never used.
        "cls_token": normal(1, 1, WIDTH), "mask_token": normal(1, 1, WIDTH), "pos_embed": normal(1, TOKENS + 1, WIDTH),
        "decoder_pos_embed": normal(1, TOKENS + 1, WIDTH), "patch_embed.proj.weight": normal(WIDTH, 3, 4, 4),
        "patch_embed.proj.bias": normal(WIDTH), "decoder_pred.weight": normal(48, WIDTH),
        "decoder_pred.bias": normal(48),
    }  # fmt: skip

    def dense(name: str, out: int, into: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = normal(out, into), normal(out)

    def norm(name: str) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = 1.0 + normal(WIDTH), normal(WIDTH)

    for stack, count in (("blocks", LAYERS), ("decoder_blocks", DECODER_LAYERS)):
        for n in range(count):
            norm(f"{stack}.{n}.norm1")
            norm(f"{stack}.{n}.norm2")
            dense(f"{stack}.{n}.attn.qkv", 3 * WIDTH, WIDTH)
            dense(f"{stack}.{n}.attn.proj", WIDTH, WIDTH)
            dense(f"{stack}.{n}.mlp.fc1", 4 * WIDTH, WIDTH)
            dense(f"{stack}.{n}.mlp.fc2", WIDTH, 4 * WIDTH)
    for name in ("token_emb.LayerNorm", "norm", "decoder_norm", "mlm_layer.ln"):
        norm(name)
    dense("decoder_embed", WIDTH, WIDTH)
    dense("mlm_layer.fc", WIDTH, WIDTH)
    return found


def logits(weights: dict[str, Tensor], tokens_BP: Tensor, masked_BP: Tensor) -> Tensor:
    """Of the codes at every image token, (B, P, codes), nothing dropped, as in sampling."""

    def dense(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
        return F.layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], eps)

    def block(name: str, x_BSD: Tensor, heads: int) -> Tensor:
        batch, length, _ = x_BSD.shape
        qkv = dense(f"{name}.attn.qkv", norm(f"{name}.norm1", x_BSD)).view(batch, length, 3, heads, -1)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        weight_BHSS = (q @ k.transpose(-1, -2) * (WIDTH // heads) ** -0.5).softmax(-1)
        x_BSD = x_BSD + dense(f"{name}.attn.proj", (weight_BHSS @ v).transpose(1, 2).reshape(batch, length, WIDTH))
        return x_BSD + dense(f"{name}.mlp.fc2", F.gelu(dense(f"{name}.mlp.fc1", norm(f"{name}.norm2", x_BSD))))

    words_VD = weights["token_emb.word_embeddings.weight"]
    ids_BS = F.pad(tokens_BP.masked_fill(masked_BP, MASK), (1, 0), value=NO_CLASS)
    x_BSD = norm("token_emb.LayerNorm", words_VD[ids_BS] + weights["token_emb.position_embeddings.weight"])
    for n in range(LAYERS):
        x_BSD = block(f"blocks.{n}", x_BSD, HEADS)
    x_BSD = dense("decoder_embed", norm("norm", x_BSD))
    x_BSD = torch.where(F.pad(masked_BP, (1, 0))[..., None], x_BSD[:, :1], x_BSD)
    x_BSD = x_BSD + weights["decoder_pos_embed_learned"]
    for n in range(DECODER_LAYERS):
        x_BSD = block(f"decoder_blocks.{n}", x_BSD, DECODER_HEADS)
    x_BSD = norm("mlm_layer.ln", F.gelu(dense("mlm_layer.fc", norm("decoder_norm", x_BSD))), 1e-5)
    return (x_BSD @ words_VD.T + weights["mlm_layer.bias"])[:, 1:, :CODES]
