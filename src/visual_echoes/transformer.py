"""The model of the paper: one masked transformer over picture tokens and sound tokens, read top to bottom.

Features:
- one joint sequence: class slot, picture places, sound places; joint self-attention, no separate cross-attention
- per modality: token embedding with one mask id, positions, modality embedding
- an encoder over the kept tokens, a decoder over the full sequence with a pad vector at masked places (MAGE)
- logits are dot products with the token embeddings, each modality over its own codebook

Shapes: B batch, I picture places, A sound places, L = I + A, S kept places with the class slot, D width, K codes,
H heads.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout

Modality = Literal["image", "audio"]
MODALITIES: tuple[Modality, Modality] = ("image", "audio")

NORM_EPS = 1e-6
EMBEDDING_STD = 0.02  # of every embedding at the start, so that tokens and positions weigh alike


class SequenceConfig(BaseModel):
    """What every network over the tokens of both modalities has: their grids and codebooks, and the size of a block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_grid: tuple[PositiveInt, PositiveInt]
    audio_grid: tuple[PositiveInt, PositiveInt]
    image_codes: PositiveInt
    audio_codes: PositiveInt
    width: PositiveInt = 768
    heads: PositiveInt = 12
    mlp_ratio: PositiveInt = 4
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.heads or self.width % 4:
            raise ValueError("width must be a multiple of heads and of 4")
        return self

    @classmethod
    def for_layout(cls, layout: Layout, **sizes: object) -> Self:
        """A config whose grids and codebooks are the layout's."""
        return cls.model_validate({**_of_layout(layout), **sizes})

    def check_fits(self, layout: Layout, source: object) -> None:
        """Refuse with `EchoesError` a layout of other grids or codebooks; `source` is where the network comes from."""
        for field, wanted in _of_layout(layout).items():
            if getattr(self, field) != wanted:
                raise EchoesError(
                    f"The transformer of {source} has {field} {getattr(self, field)}, but its layout {layout.name!r} "
                    f"has {wanted}; get the folder again."
                )

    def grid(self, modality: Modality) -> tuple[int, int]:
        return self.image_grid if modality == "image" else self.audio_grid

    def codes(self, modality: Modality) -> int:
        return self.image_codes if modality == "image" else self.audio_codes

    def places(self, modality: Modality) -> int:
        rows, columns = self.grid(modality)
        return rows * columns


def _of_layout(layout: Layout) -> dict[str, object]:
    """The fields of a config that follow from a layout."""
    return {
        "image_grid": layout.image_grid,
        "audio_grid": layout.audio_grid,
        "image_codes": layout.image_codes,
        "audio_codes": layout.audio_codes,
    }


class TransformerConfig(SequenceConfig):
    """Size of the model, and the choices the paper leaves open."""

    encoder_layers: NonNegativeInt = 12
    decoder_layers: NonNegativeInt = 8
    # What the encoder sees of the masked places: "masked" (MAGE) their mask ids, except for those dropped in training;
    # "visible" nothing, in training and sampling alike.
    encoder_input: Literal["masked", "visible"] = "masked"
    # What stands at masked places in the decoder: a learned embedding (the paper's wording) or the encoder's class
    # feature (MAGE's default).
    pad: Literal["mask_embedding", "class_feature"] = "mask_embedding"


class Pair(NamedTuple):
    """One tensor per modality, places in row-major order of the grid."""

    image: Tensor
    audio: Tensor


class Attention(nn.Module):
    """Multi-head self-attention with an optional mask over keys."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x_BSD: Tensor, keys_BS: Tensor | None) -> Tensor:
        return self.mix(*self.project(x_BSD), None if keys_BS is None else keys_BS[:, None, None, :])

    def project(self, x_BSD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, H, S, D / H) each."""
        qkv_BSD = self.qkv(x_BSD)
        if qkv_BSD.device.type == "cpu":
            # The CPU's bfloat16 attention is ten times slower backwards than float32's.
            qkv_BSD = qkv_BSD.float()
        q_BHSd, k_BHSd, v_BHSd = qkv_BSD.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q_BHSd, k_BHSd, v_BHSd

    def mix(self, q_BHSd: Tensor, k_BHSd: Tensor, v_BHSd: Tensor, mask: Tensor | None) -> Tensor:
        """What each query gathers, (B, S, D); the mask is True where it may look, and broadcasts to (B, H, S, keys)."""
        with torch.autocast(q_BHSd.device.type, enabled=q_BHSd.device.type != "cpu"):
            mixed_BHSd = F.scaled_dot_product_attention(
                q_BHSd, k_BHSd, v_BHSd, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
            )
        return self.out(mixed_BHSd.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Pre-norm attention and MLP (Vaswani et al. 2017; MAGE's block)."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS)
        hidden = config.mlp_ratio * config.width
        self.mlp = nn.Sequential(nn.Linear(config.width, hidden), nn.GELU(), nn.Linear(hidden, config.width))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BSD: Tensor, keys_BS: Tensor | None = None) -> Tensor:
        x_BSD = x_BSD + self.dropout(self.attention(self.norm1(x_BSD), keys_BS))
        return x_BSD + self.dropout(self.mlp(self.norm2(x_BSD)))


class Positions(nn.Module):
    """Learned positions of both grids plus a modality embedding; the positions start as 2-D sines and cosines."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.image = nn.Parameter(sine_cosine_2d(config.image_grid, config.width))
        self.audio = nn.Parameter(sine_cosine_2d(config.audio_grid, config.width))
        self.modality = nn.Parameter(torch.randn(2, config.width) * EMBEDDING_STD)

    def forward(self) -> Tensor:
        """All places of the joint sequence, shape (L, D)."""
        return torch.cat([self.image + self.modality[0], self.audio + self.modality[1]])


class Head(nn.Module):
    """Features to logits: dense layer, then dot products with the token embeddings (MAGE's MlmLayer)."""

    def __init__(self, width: int, codes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.bias = nn.Parameter(torch.zeros(codes))

    def forward(self, features_D: Tensor, embeddings_KD: Tensor) -> Tensor:
        return self.norm(F.gelu(self.dense(features_D))) @ embeddings_KD.mT + self.bias


class EchoTransformer(nn.Module):
    """Masked transformer over both modalities.

    Tokens are integers below the modality's number of codes; what stands at a masked place is ignored.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.places = {modality: config.places(modality) for modality in MODALITIES}
        # One row more than codes: the last is the modality's mask id.
        self.embeddings = nn.ModuleDict({m: nn.Embedding(config.codes(m) + 1, width) for m in MODALITIES})
        self.class_slot = nn.Parameter(torch.randn(width) * EMBEDDING_STD)
        self.places_embedding = Positions(config)
        self.embed_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.embed_dropout = nn.Dropout(config.dropout)

        self.encoder = nn.ModuleList(Block(config) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width, eps=NORM_EPS)

        self.bridge = nn.Linear(width, width)
        self.mask_embedding = nn.Parameter(torch.randn(width) * EMBEDDING_STD)
        self.decoder_positions = Positions(config)
        self.decoder = nn.ModuleList(Block(config) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width, eps=NORM_EPS)

        self.heads = nn.ModuleDict({m: Head(width, config.codes(m)) for m in MODALITIES})
        initialise(self)

    @torch.no_grad()
    def start_from_codebook(self, modality: Modality, codebook_KC: Tensor) -> None:
        """Start token embeddings from the tokenizer's code vectors, so that like codes start alike.

        A random projection keeps their distances; the scale is that of the usual start.
        """
        centred_KC = codebook_KC - codebook_KC.mean(0)
        projected_KD = centred_KC @ torch.randn(codebook_KC.shape[1], self.config.width)
        self._table(modality)[:-1] = projected_KD * (EMBEDDING_STD / projected_KD.std())

    def forward(self, tokens: Pair, masked: Pair, dropped: Pair | None = None) -> Pair:
        """Features of every place.

        Args:
            tokens: int64 (B, I) and (B, A).
            masked: bool, True where the token is hidden from the model.
            dropped: bool, masked places the encoder does not see at all (training with `encoder_input` "masked").

        Returns:
            Decoder features, (B, I, D) and (B, A, D); `logits` turns them into scores.
        """
        masked_BL = torch.cat(masked, 1)
        if self.config.encoder_input == "visible":
            kept_BL = ~masked_BL
        else:
            kept_BL = torch.ones_like(masked_BL) if dropped is None else ~torch.cat(dropped, 1)
        encoded_BLD, class_BD = self._encode(tokens, masked, kept_BL)
        features_BLD = self._decode(encoded_BLD, class_BD, masked_BL)
        return Pair(*features_BLD.split([self.places["image"], self.places["audio"]], dim=1))

    def summary(self, modality: Modality, tokens: Pair) -> Tensor:
        """What the encoder makes of one modality alone, shown whole: the class slot's feature, (B, D)."""
        unseen = Pair(
            *(torch.full_like(t, m != modality, dtype=torch.bool) for m, t in zip(MODALITIES, tokens, strict=True))
        )
        return self._encode(tokens, unseen, ~torch.cat(unseen, 1))[1]

    def logits(self, modality: Modality, features_D: Tensor) -> Tensor:
        """Scores of the modality's codes, shape (..., K), for features (..., D)."""
        return self.heads[modality](features_D, self._table(modality)[:-1])

    def _table(self, modality: Modality) -> Tensor:
        """The modality's token embeddings, (K + 1, D); the last row is the mask id's."""
        return cast(nn.Embedding, self.embeddings[modality]).weight

    def _embed(self, tokens: Pair, masked: Pair) -> Tensor:
        embedded = []
        for modality, tokens_BP, masked_BP in zip(MODALITIES, tokens, masked, strict=True):
            mask_id = self.config.codes(modality)
            embedded.append(self.embeddings[modality](tokens_BP.masked_fill(masked_BP, mask_id)))
        places_BLD = torch.cat(embedded, 1) + self.places_embedding()
        class_B1D = self.class_slot.expand(len(places_BLD), 1, -1)
        return self.embed_dropout(self.embed_norm(torch.cat([class_B1D, places_BLD], 1)))

    def _encode(self, tokens: Pair, masked: Pair, kept_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder outputs put back at their places (zeros elsewhere), and the class slot's."""
        x_BSD = self._embed(tokens, masked)
        kept_BS = F.pad(kept_BL, (1, 0), value=True)
        everything = bool(kept_BS.all())
        if everything:
            index_BS = keys_BS = None
        else:
            # Kept places first, in order; samples with fewer are padded and the padding is never attended to.
            count_B = kept_BS.sum(1)
            longest = int(count_B.max())
            index_BS = kept_BS.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :longest]
            keys_BS = None if int(count_B.min()) == longest else kept_BS.gather(1, index_BS)
            x_BSD = x_BSD.gather(1, _wide(index_BS, x_BSD.shape[-1]))
        for block in self.encoder:
            x_BSD = block(x_BSD, keys_BS)
        x_BSD = self.encoder_norm(x_BSD)
        if index_BS is not None:
            full_BLD = x_BSD.new_zeros(len(x_BSD), kept_BS.shape[1], x_BSD.shape[-1])
            x_BSD = full_BLD.scatter(1, _wide(index_BS, x_BSD.shape[-1]), x_BSD)
        return x_BSD[:, 1:], x_BSD[:, 0]

    def _decode(self, encoded_BLD: Tensor, class_BD: Tensor, masked_BL: Tensor) -> Tensor:
        bridged_BLD, class_BD = self.bridge(encoded_BLD), self.bridge(class_BD)
        pad_BD = class_BD if self.config.pad == "class_feature" else self.mask_embedding.expand_as(class_BD)
        x_BLD = torch.where(masked_BL[..., None], pad_BD[:, None].to(bridged_BLD.dtype), bridged_BLD)
        x_BLD = torch.cat([class_BD[:, None], x_BLD + self.decoder_positions()], 1)
        for block in self.decoder:
            x_BLD = block(x_BLD)
        return self.decoder_norm(x_BLD[:, 1:])


def _wide(index_BS: Tensor, width: int) -> Tensor:
    return index_BS[..., None].expand(-1, -1, width)


def initialise(model: nn.Module) -> None:
    """First weights of dense layers and embedding tables, as in MAGE."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=EMBEDDING_STD)


def sine_cosine_2d(grid: tuple[int, int], width: int) -> Tensor:
    """Sines and cosines of row and column, a quarter of the width each, at the embeddings' scale, (L, D)."""
    frequency = torch.exp(torch.arange(width // 4) * (-math.log(10_000.0) / (width // 4)))
    rows, columns = (place.flatten() for place in torch.meshgrid(*map(torch.arange, grid), indexing="ij"))
    angles = [place[:, None] * frequency for place in (rows, columns)]
    waves = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    return waves * (EMBEDDING_STD * math.sqrt(2.0))
