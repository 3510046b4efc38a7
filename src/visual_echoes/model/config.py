"""Size of a network over token streams, and the choices the paper leaves open."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.model.blocks import NORM_EPS, BlockSize
from visual_echoes.model.upgrade import upgraded_config
from visual_echoes.streams import Stream, by_name


class SequenceConfig(BlockSize):
    """What every network over token streams has: the streams, and the size of a block.

    Attributes:
        streams: in the order of the sequence.
        positions: what learned positions start as: sines and cosines of the "coordinates" that streams share, time in
            seconds among them; or "random", each position on its own.
    """

    streams: tuple[Stream, ...] = Field(min_length=1)
    positions: Literal["coordinates", "random"] = "coordinates"

    @model_validator(mode="before")
    @classmethod
    def _of_older_models(cls, values: Any) -> Any:
        return upgraded_config(values)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        by_name(self.streams)
        return self

    @classmethod
    def for_layout(cls, layout: Layout, **sizes: object) -> Self:
        """A config whose streams are the layout's."""
        return cls.model_validate({"streams": layout.streams, **sizes})

    def check_fits(self, layout: Layout, source: object) -> None:
        """Refuse with `EchoesError` a layout of other streams; `source` is where the network comes from."""
        own, wanted = by_name(self.streams), by_name(layout.streams)
        for name in [*own, *(name for name in wanted if name not in own)]:
            if own.get(name) != wanted.get(name):
                raise EchoesError(
                    f"The transformer of {source} has {_words(own.get(name))} as stream {name!r}, but its layout "
                    f"{layout.name!r} has {_words(wanted.get(name))}; get the folder again."
                )


def _words(stream: Stream | None) -> str:
    if stream is None:
        return "nothing"
    codes = f"{stream.codes} codes" if stream.depth == 1 else f"{stream.depth} x {stream.codes} codes"
    return f"{' x '.join(map(str, stream.shape))} positions of {codes}"


class TransformerConfig(SequenceConfig):
    """Size of the model, and the choices the paper leaves open.

    Attributes:
        decoder_heads: None for as many as in the encoder (MAGE: 16).
        encoder_input: what the encoder sees of masked positions: "masked" (MAGE) their mask ids, except for those
            dropped in training; "visible" nothing, in training and sampling alike.
        decoder: "full" (MAGE) on the whole sequence; "cross" on the masked positions alone, which attend to the
            visible ones and not to each other (CrossMAE, Fu et al. 2024).
        mask_fill: what stands at masked positions in the decoder: a learned "mask_embedding" (the paper's wording), or
            the encoder's CLS feature, "cls" (MAGE's default).
        residual: how the residual codes of a position follow each other: by "levels", each level over the whole stream
            before the next (SoundStorm, Borsos et al. 2023); by "depth", position by position, all codes of one in a
            single look of the transformer, each after those before it (RQ-Transformer, Lee et al. 2022).
        head_norm_eps: of the heads' LayerNorm (MAGE: 1e-5).
        decoder_cls_position: whether the decoder learns a position of the CLS token, too (MAGE: yes).
    """

    encoder_layers: NonNegativeInt = 12
    decoder_layers: NonNegativeInt = 8
    decoder_heads: PositiveInt | None = None
    encoder_input: Literal["masked", "visible"] = "masked"
    decoder: Literal["full", "cross"] = "full"
    mask_fill: Literal["mask_embedding", "cls"] = "mask_embedding"
    residual: Literal["levels", "depth"] = "levels"
    head_norm_eps: float = Field(default=NORM_EPS, gt=0)
    decoder_cls_position: bool = False

    @model_validator(mode="after")
    def _decoder_heads_fit(self) -> Self:
        if self.width % (self.decoder_heads or 1):
            raise ValueError("width must be a multiple of decoder_heads")
        return self

    @model_validator(mode="after")
    def _cross_attends_to_visible(self) -> Self:
        if self.decoder == "cross" and self.encoder_input != "visible":
            raise ValueError('decoder = "cross" attends to visible positions alone; set encoder_input = "visible"')
        return self
