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
from typing import ClassVar, Literal, NamedTuple, Protocol, Self, cast

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.attention import NORM_EPS, Block
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.masking import LaterFields
from visual_echoes.packing import Choice, Packing

Modality = Literal["image", "audio"]
MODALITIES: tuple[Modality, Modality] = ("image", "audio")


def other(modality: Modality) -> Modality:
    """The modality that is not this one."""
    return "audio" if modality == "image" else "image"


EMBEDDING_STD = 0.02  # of every embedding at the start, so that tokens and positions weigh alike


class SequenceConfig(LaterFields):
    """What every network over the tokens of both modalities has: their grids and codebooks, and the size of a block."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER: ClassVar[tuple[str, ...]] = ("activation_dropout",)

    image_grid: tuple[PositiveInt, PositiveInt]
    audio_grid: tuple[PositiveInt, PositiveInt]
    image_codes: PositiveInt
    audio_codes: PositiveInt
    width: PositiveInt = 768
    heads: PositiveInt = 12
    mlp_ratio: PositiveInt = 4
    dropout: float = Field(default=0.1, ge=0, lt=1)  # of embeddings, attention weights, and what a block adds
    activation_dropout: float = Field(default=0.0, ge=0, lt=1)  # after the MLP's GELU (MAGE: as `dropout`)

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

    LATER = (*SequenceConfig.LATER, "head_norm_eps", "decoder_class_position")

    encoder_layers: NonNegativeInt = 12
    decoder_layers: NonNegativeInt = 8
    # What the encoder sees of the masked places: "masked" (MAGE) their mask ids, except for those dropped in training;
    # "visible" nothing, in training and sampling alike.
    encoder_input: Literal["masked", "visible"] = "masked"
    # How the decoder works: "full" (MAGE) on the whole sequence; "cross" on the masked places alone, which look at the
    # visible ones and not at each other (CrossMAE, Fu et al. 2024), so that those nobody asks for cost nothing.
    decoder: Literal["full", "cross"] = "full"
    # What stands at masked places in the decoder: a learned embedding (the paper's wording) or the encoder's class
    # feature (MAGE's default).
    pad: Literal["mask_embedding", "class_feature"] = "mask_embedding"
    head_norm_eps: float = Field(default=NORM_EPS, gt=0)  # of the heads' LayerNorm (MAGE: 1e-5)
    decoder_class_position: bool = False  # whether the decoder learns a position of the class slot, too (MAGE: yes)

    @model_validator(mode="after")
    def _nothing_masked_in_memory(self) -> Self:
        if self.decoder == "cross" and self.encoder_input != "visible":
            raise ValueError('decoder = "cross" looks at visible places alone; set encoder_input = "visible"')
        return self


class Pair(NamedTuple):
    """One tensor per modality, places in row-major order of the grid."""

    image: Tensor
    audio: Tensor


Counts = Sequence[tuple[int, int]]  # of picture and sound places, for each sample
CountedChoice = tuple[Tensor, list[int]]  # places, and how many they are, for each sample
Wanted = Sequence[Sequence[Modality]]  # modalities, for each sample


class ScoringModel(Protocol):
    """What sampling asks of a model, whoever runs it; `EchoTransformer` says what `scores` gives."""

    @property
    def config(self) -> TransformerConfig: ...

    def scores(self, tokens: Pair, masked: Pair, masked_counts: Counts, wanted: Wanted) -> Pair: ...


class Asked(NamedTuple):
    """Places whose scores are wanted."""

    by_modality: Sequence[CountedChoice]  # (B, I) and (B, A)
    both: CountedChoice  # (B, S), never the class slot


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

    def __init__(self, width: int, codes: int, norm_eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
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
        if config.decoder_class_position:
            self.decoder_class_position = nn.Parameter(torch.randn(width) * EMBEDDING_STD)
        self.decoder = nn.ModuleList(Block(config) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width, eps=NORM_EPS)

        self.heads = nn.ModuleDict({m: Head(width, config.codes(m), config.head_norm_eps) for m in MODALITIES})
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
        """Features of every place, or of the masked ones alone, and zeros elsewhere, where the decoder is "cross".

        Args:
            tokens: int64 (B, I) and (B, A).
            masked: bool, True where the token is hidden from the model.
            dropped: bool, masked places the encoder does not see at all (training with `encoder_input` "masked").

        Returns:
            Decoder features, (B, I, D) and (B, A, D); `logits` turns them into scores.
        """
        masked_BL = torch.cat(masked, 1)
        hidden = masked if self.config.encoder_input == "visible" else dropped
        seen_BS = after_class_slot(torch.ones_like(masked_BL) if hidden is None else ~torch.cat(hidden, 1), True)
        cross = self.config.decoder == "cross"
        asked_BS = after_class_slot(masked_BL if cross else torch.ones_like(masked_BL), not cross)
        return self.by_modality(self._run(tokens, masked, (seen_BS, None), (asked_BS, None)))

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
        hides = self.config.encoder_input == "visible"
        masked_BL = torch.cat(masked, 1)
        seen_BS = after_class_slot(~masked_BL if hides else torch.ones_like(masked_BL), True)
        seen_counts = [seen_BS.shape[1] - sum(counts) * hides for counts in masked_counts]
        asked = self.asked(masked, masked_counts, wanted)
        return self.scored(self._run(tokens, masked, (seen_BS, seen_counts), asked.both), asked)

    def asked(self, masked: Pair, masked_counts: Counts, wanted: Wanted) -> Asked:
        """The places whose scores are wanted; arguments as for `scores`."""
        choices: list[CountedChoice] = []
        for place, (modality, masked_BP) in enumerate(zip(MODALITIES, masked, strict=True)):
            asks = [modality in modalities for modalities in wanted]
            counts = [counts[place] * ask for counts, ask in zip(masked_counts, asks, strict=True)]
            choices.append((masked_BP & torch.tensor(asks, device=masked_BP.device)[:, None], counts))
        (image_BI, image_counts), (audio_BA, audio_counts) = choices
        both_BS = after_class_slot(torch.cat([image_BI, audio_BA], 1), False)
        return Asked(choices, (both_BS, list(map(int.__add__, image_counts, audio_counts))))

    def scored(self, x_BSD: Tensor, asked: Asked) -> Pair:
        """Scores of the places that were asked for, of their features; zeros elsewhere."""
        found = []
        for modality, features_BPD, choice in zip(MODALITIES, self.by_modality(x_BSD), asked.by_modality, strict=True):
            places = Packing(*choice)
            found.append(places.unpack(self.logits(modality, places.pack(features_BPD)).float()))
        return Pair(*found)

    def summary(self, modality: Modality, tokens: Pair) -> Tensor:
        """What the encoder makes of one modality alone, shown whole: the class slot's feature, (B, D)."""
        unseen = Pair(
            *(torch.full_like(t, m != modality, dtype=torch.bool) for m, t in zip(MODALITIES, tokens, strict=True))
        )
        seen_BS = after_class_slot(~torch.cat(unseen, 1), True)
        kept = Packing(seen_BS, [1 + self.places[modality]] * len(seen_BS))
        return kept.unpack(self._encode(self.embed(tokens, unseen), kept))[:, 0]

    def logits(self, modality: Modality, features_D: Tensor) -> Tensor:
        """Scores of the modality's codes, shape (..., K), for features (..., D)."""
        return self.heads[modality](features_D, self._table(modality)[:-1])

    def _table(self, modality: Modality) -> Tensor:
        """The modality's token embeddings, (K + 1, D); the last row is the mask id's."""
        return cast(nn.Embedding, self.embeddings[modality]).weight

    def embed(self, tokens: Pair, masked: Pair) -> Tensor:
        """What goes into the encoder, class slot first, (B, S, D)."""
        embedded = []
        for modality, tokens_BP, masked_BP in zip(MODALITIES, tokens, masked, strict=True):
            mask_id = self.config.codes(modality)
            embedded.append(self.embeddings[modality](tokens_BP.masked_fill(masked_BP, mask_id)))
        places_BLD = torch.cat(embedded, 1) + self.places_embedding()
        class_B1D = self.class_slot.expand(places_BLD.shape[0], 1, -1)  # `len` would fix the batch of an export
        return self.embed_dropout(self.embed_norm(torch.cat([class_B1D, places_BLD], 1)))

    def _run(self, tokens: Pair, masked: Pair, seen: Choice, asked: Choice) -> Tensor:
        """Features of the places that are asked for, zeros elsewhere, (B, S, D), from those that the encoder sees."""
        everything = torch.ones_like(seen[0])
        memory, wanted = Packing.pair(
            seen if self.config.decoder == "cross" else (everything, [everything.shape[1]] * len(everything)), asked
        )
        kept = memory if self.config.decoder == "cross" else Packing(*seen)
        encoded_BSD = kept.unpack(self._encode(self.embed(tokens, masked), kept))
        x_BSD = self.decoder_input(encoded_BSD, torch.cat(masked, 1))
        return wanted.unpack(self.decoder_norm(self._decode(x_BSD, memory, wanted)))

    def _encode(self, x_BSD: Tensor, kept: Packing) -> Tensor:
        """Encoder outputs for the decoder, packed."""
        x_ND = kept.pack(x_BSD)
        for block in self.encoder:
            x_ND = block(x_ND, kept)
        return self.bridge(self.encoder_norm(x_ND))

    def decoder_input(self, encoded_BSD: Tensor, masked_BL: Tensor) -> Tensor:
        """What goes into the decoder: encoder outputs, at masked places the pad instead, and positions, (B, S, D)."""
        class_B1D, encoded_BLD = encoded_BSD[:, :1], encoded_BSD[:, 1:]
        pad_B1D = class_B1D if self.config.pad == "class_feature" else self.mask_embedding.to(class_B1D.dtype)
        x_BLD = torch.where(masked_BL[..., None], pad_B1D, encoded_BLD)
        if self.config.decoder_class_position:
            class_B1D = class_B1D + self.decoder_class_position
        return torch.cat([class_B1D, x_BLD + self.decoder_positions()], 1)

    def _decode(self, x_BSD: Tensor, memory: Packing, wanted: Packing) -> Tensor:
        """Features of the wanted places, packed."""
        memory_MD, x_ND = memory.pack(x_BSD), wanted.pack(x_BSD)
        if self.config.decoder == "cross":
            for block in self.decoder:
                x_ND = block(x_ND, wanted, memory_MD, memory)
            return x_ND
        *first, last = self.decoder
        for block in first:
            memory_MD = block(memory_MD, memory)
        if wanted.runs == memory.runs:  # all places are
            return last(memory_MD, memory)
        return last(wanted.pack(memory.unpack(memory_MD)), wanted, memory_MD, memory)

    def by_modality(self, x_BSD: Tensor) -> Pair:
        """What belongs to the places of each modality, without the class slot's."""
        return Pair(*x_BSD[:, 1:].split([self.places["image"], self.places["audio"]], dim=1))


def after_class_slot(places_BL: Tensor, slot: bool) -> Tensor:
    """The choice of places with that of the class slot, which stands first."""
    return F.pad(places_BL, (1, 0), value=slot)


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
