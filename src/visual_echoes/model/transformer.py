"""The model of the paper, dense: one masked transformer over the tokens of all streams, read top to bottom.

As MAGE (Li et al. 2023, `models_mage.py`), with any number of streams in one sequence:
- token, position and modality embeddings, after a CLS token; a mask id at masked tokens
- an encoder, which does not see dropped tokens
- a decoder over the full sequence, with the mask embedding at masked positions
- logits as dot products with the token embeddings, each stream over its own codebooks

Shapes: B batch, P positions of one stream, Q codes a position (depth), L positions of all streams, S = 1 + L with the
CLS token, D width, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.machine import is_without_memory
from visual_echoes.model.blocks import NORM_EPS, Block, DepthStep, Dropout, Head
from visual_echoes.model.config import SequenceConfig, TransformerConfig
from visual_echoes.model.interface import Draw
from visual_echoes.model.upgrade import upgraded_tensors
from visual_echoes.streams import Level, Stream, Tokens, by_name, coordinates, masked_but, sine_cosine

EMBEDDING_STD = 0.02  # of every embedding at the start, so that tokens and positions weigh alike


# Embeddings


class Positions(nn.Module):
    """Learned positions and one modality embedding per stream; see `SequenceConfig.positions` for their start."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        scale = EMBEDDING_STD * math.sqrt(2.0)
        if config.positions == "random" or is_without_memory():
            starts = {stream.name: _normal(stream.positions, config.width) for stream in config.streams}
        else:
            found = coordinates(config.streams)
            starts = {name: sine_cosine(where_PA, config.width) * scale for name, where_PA in found.items()}
        for name, start_PD in starts.items():
            self.register_parameter(name, nn.Parameter(start_PD))
        self._names = tuple(starts)
        self.modality = nn.Parameter(_normal(len(starts), config.width))

    def forward(self) -> Tensor:
        """All positions of the sequence but the CLS token's, (L, D)."""
        return torch.cat([self.stream(name) + m_D for name, m_D in zip(self._names, self.modality, strict=True)])

    def stream(self, name: str) -> nn.Parameter:
        """Of one stream, (P, D)."""
        return self.get_parameter(name)


def _normal(*shape: int) -> Tensor:
    return nn.init.normal_(torch.empty(shape), std=EMBEDDING_STD)


class TokenEmbedding(nn.Embedding):
    """The codes of every level of a stream, (Q * (K + 1), D); the last of each level is its mask id."""

    def __init__(self, stream: Stream, width: int) -> None:
        super().__init__(stream.depth * (stream.codes + 1), width)
        self.depth, self.codes = stream.depth, stream.codes

    def forward(self, tokens_Q: Tensor, masked_Q: Tensor | None = None) -> Tensor:
        """The sum of a position's codes, or of its first ones, (..., D)."""
        if masked_Q is not None:
            tokens_Q = tokens_Q.masked_fill(masked_Q, self.codes)
        first_Q = torch.arange(tokens_Q.shape[-1], device=tokens_Q.device) * (self.codes + 1)
        return super().forward(tokens_Q + first_Q).sum(-2)

    def level(self, level: int) -> Tensor:
        """The embeddings of one level's codes, without the mask id's, (K, D)."""
        first = level * (self.codes + 1)
        return self.weight[first : first + self.codes]


# The model


class EchoTransformer(nn.Module):
    """Masked transformer over any number of streams.

    Tokens are integers below the stream's codes; what stands at a masked token is ignored. Of a position's codes the
    first ones are known and the rest masked: a position is masked where its first code is.
    """

    kind: ClassVar[str] = "transformer"
    block: type[Block] = Block

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        width, streams = config.width, config.streams
        self.token_embedding = nn.ModuleDict({s.name: TokenEmbedding(s, width) for s in streams})
        self.cls_token = nn.Parameter(_normal(width))
        self.positions = Positions(config)
        self.embed_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.embed_dropout = Dropout(config.dropout)

        self.encoder = nn.ModuleList(self.block(config) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width, eps=NORM_EPS)

        self.decoder_embed = nn.Linear(width, width)
        self.mask_embedding = nn.Parameter(_normal(width))
        self.decoder_positions = Positions(config)
        if config.decoder_cls_position:
            self.decoder_cls_position = nn.Parameter(_normal(width))
        decoder = config.model_copy(update={"heads": config.decoder_heads or config.heads})
        self.decoder = nn.ModuleList(self.block(decoder) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width, eps=NORM_EPS)

        self.heads = nn.ModuleDict(
            {s.name: nn.ModuleList(Head(width, s.codes, config.head_norm_eps) for _ in s.levels) for s in streams}
        )
        deep = [s for s in streams if s.depth > 1 and config.residual == "depth"]
        self.depth = nn.ModuleDict({s.name: DepthStep(config) for s in deep})
        initialise(self)
        self.register_load_state_dict_pre_hook(_upgrade)  # type: ignore[no-untyped-call]

    @cached_property
    def streams(self) -> Mapping[str, Stream]:
        return by_name(self.config.streams)

    def forward(self, tokens: Tokens, masked: Tokens, dropped: Tokens | None = None) -> dict[str, Tensor]:
        """Decoder features of every position, (B, P, D) by stream; with "cross" only masked ones' mean anything.

        Args:
            tokens: int64 (B, P, Q).
            masked: bool (B, P, Q), True where the token is hidden from the model.
            dropped: bool (B, P), masked positions the encoder does not see (training with `encoder_input` "masked").
        """
        seen_BS = self.seen(masked, dropped)
        encoded_BSD = self.encode(self.embed(tokens, masked), seen_BS)
        x_BSD = self.decoder_input(encoded_BSD, self.masked_positions(masked))
        return self.by_stream(self.decoder_norm(self.decode(x_BSD, seen_BS)))

    def seen(self, masked: Tokens, dropped: Tokens | None = None) -> Tensor:
        """What the encoder sees, the CLS token included, bool (B, S)."""
        visible_BS = self.visible(masked)
        if self.config.encoder_input == "visible":
            return visible_BS
        if dropped is None:
            return torch.ones_like(visible_BS)
        return F.pad(~torch.cat([dropped[name] for name in self.streams], 1), (1, 0), value=True)

    def embed(self, tokens: Tokens, masked: Tokens) -> Tensor:
        """What goes into the encoder, the CLS token first, (B, S, D)."""
        embedded = [self.token_embedding[name](tokens[name], masked[name]) for name in self.streams]
        x_BLD = torch.cat(embedded, 1) + self.positions()
        cls_B1D = self.cls_token.expand(x_BLD.shape[0], 1, -1)  # `len` would fix the batch of an export
        return self.embed_dropout(self.embed_norm(torch.cat([cls_B1D, x_BLD], 1)))

    def encode(self, x_BSD: Tensor, seen_BS: Tensor | None = None) -> Tensor:
        """Encoder features as the decoder takes them, (B, S, D); those that are not seen mean nothing."""
        for block in self.encoder:
            x_BSD = block(x_BSD, seen_BS=seen_BS)
        return self.decoder_embed(self.encoder_norm(x_BSD))

    def decoder_input(self, encoded_BSD: Tensor, masked_BL: Tensor) -> Tensor:
        """Encoder features, at masked positions the mask embedding instead, with decoder positions, (B, S, D)."""
        cls_B1D, encoded_BLD = encoded_BSD[:, :1], encoded_BSD[:, 1:]
        fill = cls_B1D if self.config.mask_fill == "cls" else self.mask_embedding.to(cls_B1D.dtype)
        x_BLD = torch.where(masked_BL[..., None], fill, encoded_BLD)
        if self.config.decoder_cls_position:
            cls_B1D = cls_B1D + self.decoder_cls_position
        return torch.cat([cls_B1D, x_BLD + self.decoder_positions()], 1)

    def decode(self, x_BSD: Tensor, seen_BS: Tensor | None) -> Tensor:
        """Decoder features before their norm, (B, S, D)."""
        memory_BSD = x_BSD
        for block in self.decoder:
            x_BSD = block(x_BSD, memory_BSD, seen_BS) if self.config.decoder == "cross" else block(x_BSD)
        return x_BSD

    def logits(self, level: Level, features_D: Tensor, before_D: Tensor | None = None) -> Tensor:
        """Scores of a level's codes, (..., K), for features (..., D) and what `before` gives."""
        name, number = level
        if before_D is not None:
            features_D = self.depth[name](features_D, before_D)
        return cast(nn.ModuleList, self.heads[name])[number](features_D, self.codes_of(level))

    def score(
        self, tokens: Tokens, masked: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None = None
    ) -> dict[Level, Tensor]:
        """Logits of the levels that are asked for, (B, P, K), float32; in eval mode, for sampling.

        Args:
            asked: by level, bool (B, P): elsewhere the logits need not mean anything.
            draw: draws the codes of a level that others of the same stream follow; None: they are those in `tokens`.
        """
        return self.scored(self(tokens, masked), tokens, asked, draw)

    def scored(
        self, features: Tokens, tokens: Tokens, asked: Mapping[Level, Tensor], draw: Draw | None
    ) -> dict[Level, Tensor]:
        """As `score`, once there are features."""
        tokens, asked, found = dict(tokens), dict(asked), dict[Level, Tensor]()
        for name, number in list(asked):
            level, following = (name, number), (name, number + 1)
            found[level] = self.logits_at(asked[level], level, features[name], tokens[name])
            if draw is not None and following in asked:
                codes_BP, next_BP = draw(level, found[level])
                tokens[name] = torch.cat([tokens[name][..., :number], codes_BP[..., None]], -1)
                asked[following] = asked[following] & next_BP
        return found

    def before(self, level: Level, tokens_Q: Tensor) -> Tensor | None:
        """The sum of the codes that a level follows by depth, (..., D); None where it follows none."""
        name, number = level
        return self.token_embedding[name](tokens_Q[..., :number]) if number and name in self.depth else None

    def logits_at(self, asked_BP: Tensor, level: Level, features_BPD: Tensor, tokens_BPQ: Tensor) -> Tensor:
        """Logits of a level where they are asked for, and maybe elsewhere, (B, P, K), float32."""
        return self.logits(level, features_BPD, self.before(level, tokens_BPQ)).float()

    def summary(self, tokens: Tokens, source: str) -> Tensor:
        """What the encoder makes of one source alone, shown whole: the CLS feature, (B, D)."""
        masked = masked_but(self.config.streams, tokens, [source])
        return self.encode(self.embed(tokens, masked), self.visible(masked))[:, 0]

    def visible(self, masked: Tokens) -> Tensor:
        """Positions that are not masked, the CLS token among them, bool (B, S)."""
        return F.pad(~self.masked_positions(masked), (1, 0), value=True)

    def masked_positions(self, masked: Tokens) -> Tensor:
        """Positions of the sequence of which no code is known, bool (B, L)."""
        return torch.cat([masked[name][..., 0] for name in self.streams], 1)

    def by_stream(self, x_BSD: Tensor) -> dict[str, Tensor]:
        """What belongs to the positions of each stream, without the CLS token's, (B, P, D)."""
        parts = x_BSD[:, 1:].split([stream.positions for stream in self.config.streams], dim=1)
        return dict(zip(self.streams, parts, strict=True))

    @torch.no_grad()
    def start_from_codebook(self, level: Level, codebook_KC: Tensor) -> None:
        """Start token embeddings from the tokenizer's code vectors, so that like codes start alike.

        A random projection keeps their distances; the scale is that of the usual start.
        """
        centred_KC = codebook_KC - codebook_KC.mean(0)
        projected_KD = centred_KC @ torch.randn(codebook_KC.shape[1], self.config.width)
        self.codes_of(level).copy_(projected_KD * (EMBEDDING_STD / projected_KD.std()))

    def codes_of(self, level: Level) -> Tensor:
        """The embeddings of a level's codes, (K, D)."""
        name, number = level
        return cast(TokenEmbedding, self.token_embedding[name]).level(number)


def _upgrade(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Give the weights of older models the names of today, in place, before they are loaded."""
    own = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    renamed = upgraded_tensors({name.removeprefix(prefix): tensor for name, tensor in own.items()})
    state.update({prefix + name: tensor for name, tensor in renamed.items()})


def initialise(model: nn.Module) -> None:
    """First weights of dense layers and embedding tables, as in MAGE."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=EMBEDDING_STD)
