"""Images or mels to tokens and back: the kinds of tokenizer that a model folder may name."""

from __future__ import annotations

from visual_echoes.tokenizers.base import Tokenizer
from visual_echoes.tokenizers.cells import CellTokenizer
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN
from visual_echoes.tokenizers.taef import TAEFTokenizer
from visual_echoes.tokenizers.vqgan import VQGAN

KINDS: tuple[type[Tokenizer], ...] = (
    VQGAN,
    MageVQGAN,
    CellTokenizer,
    TAEFTokenizer,
)
TOKENIZERS: dict[str, type[Tokenizer]] = {tokenizer.kind: tokenizer for tokenizer in KINDS}
