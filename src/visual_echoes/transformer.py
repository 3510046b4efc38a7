"""The model of the paper: one masked transformer over picture tokens and sound tokens, read top to bottom.

Features:
- one joint sequence: class slot, picture places, sound places; joint self-attention, no separate cross-attention
- per modality: token embedding with one mask id, positions, modality embedding
- an encoder over the kept tokens, a decoder over the full sequence with a pad vector at masked places (MAGE)
- logits are dot products with the token embeddings, each modality over its own codebook

Shapes: B batch, I picture places, A sound places, L = I + A, S = 1 + L with the class slot, N packed places, D width,
K codes, H heads; of a run of samples R, of their places P.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.layout import Layout
from visual_echoes.packing import Packing

Modality = Literal["image", "audio"]
MODALITIES: tuple[Modality, Modality] = ("image", "audio")


def other(modality: Modality) -> Modality:
    """The modality that is not this one."""
    return "audio" if modality == "image" else "image"


NORM_EPS = 1e-6
EMBEDDING_STD = 0.02  # of every embedding at the start, so that tokens and positions weigh alike


class SequenceConfig(BaseModel):
    """What every network over the tokens of both modalities has: their grids and codebooks, and the size of a block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_grid: tuple[int, int]
    audio_grid: tuple[int, int]
    image_codes: int = Field(gt=0)
    audio_codes: int = Field(gt=0)
    width: int = 768
    heads: int = 12
    mlp_ratio: int = 4
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.heads or self.width % 4:
            raise ValueError("width must be a multiple of heads and of 4")
        return self

    @classmethod
    def for_layout(cls, layout: Layout, **sizes: object) -> Self:
        """A config whose grids and codebooks are the layout's."""
        grids = {"image_grid": layout.image_grid, "audio_grid": layout.audio_grid}
        return cls.model_validate(
            {**grids, "image_codes": layout.image_codes, "audio_codes": layout.audio_codes, **sizes}
        )

    def grid(self, modality: Modality) -> tuple[int, int]:
        return self.image_grid if modality == "image" else self.audio_grid

    def codes(self, modality: Modality) -> int:
        return self.image_codes if modality == "image" else self.audio_codes

    def places(self, modality: Modality) -> int:
        rows, columns = self.grid(modality)
        return rows * columns


class TransformerConfig(SequenceConfig):
    """Size of the model, and the choices the paper leaves open."""

    encoder_layers: int = 12
    decoder_layers: int = 8
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


Counts = Sequence[tuple[int, int]]  # of picture and sound places, for each sample
Wanted = Sequence[Sequence[Modality]]  # modalities, for each sample


class Attention(nn.Module):
    """Multi-head self-attention within each sample of a packed batch."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x_ND: Tensor, packing: Packing) -> Tensor:
        mixed = [self.mix(*self.by_head(qkv_RPE, 3)) for qkv_RPE in packing.split(self.qkv(x_ND))]
        return self.out(torch.cat([mixed_RPD.flatten(0, 1) for mixed_RPD in mixed]))

    def look_up(self, x_ND: Tensor, wanted: Packing, everything_BLD: Tensor) -> Tensor:
        """What some places, the wanted ones, gather from all places of their samples."""
        (weight_q, weight_kv), (bias_q, bias_kv) = (
            p.split([len(p) // 3, 2 * len(p) // 3]) for p in self.qkv.parameters()
        )
        kv_BLE = F.linear(everything_BLD, weight_kv, bias_kv)
        if wanted.rows_B is not None:
            kv_BLE = kv_BLE[wanted.rows_B]
        queries = wanted.split(F.linear(x_ND, weight_q, bias_q))
        pairs = zip(queries, kv_BLE.split([run.samples for run in wanted.runs]), strict=True)
        mixed = [self.mix(*self.by_head(q_RPD, 1), *self.by_head(kv_RLE, 2)) for q_RPD, kv_RLE in pairs]
        return self.out(torch.cat([mixed_RPD.flatten(0, 1) for mixed_RPD in mixed]))

    def by_head(self, x_BSE: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Queries, keys or values that lie side by side, (B, H, S, D / H) each."""
        return tuple(x_BSE.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4))

    def mix(self, q_BHSd: Tensor, k_BHKd: Tensor, v_BHKd: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each query gathers, (B, S, D); the mask is True where it may look, and broadcasts to (B, H, S, K)."""
        dropout = self.dropout if self.training else 0.0
        if q_BHSd.device.type == "cpu" and q_BHSd.dtype == torch.bfloat16:
            # The CPU's fused kernel is three times slower backwards in bfloat16 than two products.
            scores_BHSK = (q_BHSd * q_BHSd.shape[-1] ** -0.5) @ k_BHKd.mT
            if mask is not None:
                scores_BHSK = scores_BHSK.masked_fill(~mask, -torch.inf)
            mixed_BHSd = F.dropout(scores_BHSK.softmax(-1), dropout).to(v_BHKd.dtype) @ v_BHKd
        else:
            mixed_BHSd = F.scaled_dot_product_attention(q_BHSd, k_BHKd, v_BHKd, attn_mask=mask, dropout_p=dropout)
        return mixed_BHSd.transpose(1, 2).flatten(-2)


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

    def forward(self, x_ND: Tensor, packing: Packing) -> Tensor:
        x_ND = x_ND + self.dropout(self.attention(self.norm1(x_ND), packing))
        return x_ND + self.dropout(self.mlp(self.norm2(x_ND)))

    def at(self, x_BLD: Tensor, wanted: Packing) -> Tensor:
        """The outputs at the wanted places alone, packed; to be called in eval mode."""
        normed_BLD = self.norm1(x_BLD)
        x_ND = wanted.pack(x_BLD) + self.attention.look_up(wanted.pack(normed_BLD), wanted, normed_BLD)
        return x_ND + self.mlp(self.norm2(x_ND))


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
        x_BSD = self._embed(tokens, masked)
        hidden = masked if self.config.encoder_input == "visible" else dropped
        kept = Packing.whole(x_BSD) if hidden is None else Packing(_with_class_slot(~torch.cat(hidden, 1)))
        x_BSD = self._decoder_input(self._encode(x_BSD, kept), masked_BL)
        packing = Packing.whole(x_BSD)
        x_ND = packing.pack(x_BSD)
        for block in self.decoder:
            x_ND = block(x_ND, packing)
        return self._by_modality(self.decoder_norm(packing.unpack(x_ND)))

    def scores(self, tokens: Pair, masked: Pair, masked_counts: Counts, wanted: Wanted) -> Pair:
        """Scores of the codes at masked places, as sampling needs them; to be called in eval mode.

        Equal to the `logits` of what `forward` returns, for less: the last block and the heads work on the wanted
        places alone, and as the counts are known, nothing waits for the device.

        Args:
            tokens, masked: as for `forward`.
            masked_counts: how many places of each modality a sample hides, for each sample.
            wanted: the modalities whose masked places are wanted, for each sample.

        Returns:
            (B, I, K) and (B, A, K), float32; zeros where nothing is wanted.
        """
        x_BSD = self._embed(tokens, masked)
        kept = Packing.whole(x_BSD)
        if self.config.encoder_input == "visible":
            seen_BS = _with_class_slot(~torch.cat(masked, 1))
            kept = Packing(seen_BS, [seen_BS.shape[1] - sum(counts) for counts in masked_counts])
        x_BSD = self._decoder_input(self._encode(x_BSD, kept), torch.cat(masked, 1))
        *first, last = cast(list[Block], list(self.decoder))
        packing = Packing.whole(x_BSD)
        x_ND = packing.pack(x_BSD)
        for block in first:
            x_ND = block(x_ND, packing)
        needed: list[tuple[Tensor, list[int]]] = []
        for place, (modality, masked_BP) in enumerate(zip(MODALITIES, masked, strict=True)):
            asked = [modality in modalities for modalities in wanted]
            counts = [counts[place] * ask for counts, ask in zip(masked_counts, asked, strict=True)]
            needed.append((masked_BP & torch.tensor(asked, device=masked_BP.device)[:, None], counts))
        open_BS = F.pad(torch.cat([needed_BP for needed_BP, _ in needed], 1), (1, 0))
        at = Packing(open_BS, [sum(counts) for counts in zip(*(counts for _, counts in needed), strict=True)])
        features = self._by_modality(at.unpack(self.decoder_norm(last.at(packing.unpack(x_ND), at))))
        found = []
        for modality, features_BPD, part in zip(MODALITIES, features, needed, strict=True):
            places = Packing(*part)
            found.append(places.unpack(self.logits(modality, places.pack(features_BPD)).float()))
        return Pair(*found)

    def summary(self, modality: Modality, tokens: Pair) -> Tensor:
        """What the encoder makes of one modality alone, shown whole: the class slot's feature, (B, D)."""
        unseen = Pair(
            *(torch.full_like(t, m != modality, dtype=torch.bool) for m, t in zip(MODALITIES, tokens, strict=True))
        )
        kept = Packing(_with_class_slot(~torch.cat(unseen, 1)), [1 + self.places[modality]] * len(tokens.image))
        return self._encode(self._embed(tokens, unseen), kept)[:, 0]

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

    def _encode(self, x_BSD: Tensor, kept: Packing) -> Tensor:
        """Encoder outputs for the decoder, put back at their places, class slot first; zeros where nothing is kept."""
        x_ND = kept.pack(x_BSD)
        for block in self.encoder:
            x_ND = block(x_ND, kept)
        return kept.unpack(self.bridge(self.encoder_norm(x_ND)))

    def _decoder_input(self, bridged_BSD: Tensor, masked_BL: Tensor) -> Tensor:
        class_B1D, bridged_BLD = bridged_BSD[:, :1], bridged_BSD[:, 1:]
        pad_B1D = class_B1D if self.config.pad == "class_feature" else self.mask_embedding.to(class_B1D.dtype)
        x_BLD = torch.where(masked_BL[..., None], pad_B1D, bridged_BLD)
        return torch.cat([class_B1D, x_BLD + self.decoder_positions()], 1)

    def _by_modality(self, x_BSD: Tensor) -> Pair:
        """Features of the places of each modality, without the class slot's."""
        return Pair(*x_BSD[:, 1:].split([self.places["image"], self.places["audio"]], dim=1))


def _with_class_slot(kept_BL: Tensor) -> Tensor:
    """The class slot stands first and is always kept."""
    return F.pad(kept_BL, (1, 0), value=True)


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
