"""Arrays to tokens and back: both tokenizers and the vocoder of a model, behind one small face.

Shapes: B batch, C channels, H rows, W columns, N samples, M mel bands, T mel frames, I and A token places.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from visual_echoes.data.pairs import pixels_to_unit, unit_to_pixels
from visual_echoes.errors import EchoesError
from visual_echoes.mel import mel_to_unit, unit_to_mel, wave_to_mel
from visual_echoes.speed.onnx_runtime import Graphs, OnnxTokenizer
from visual_echoes.tokenizer import Tokenizer, TokenizerName
from visual_echoes.transformer import EchoTransformer, ScoringModel
from visual_echoes.vocoder import Vocoder, vocode_in_stretches
from visual_echoes.weights import Model, PartName


class Codec:
    """Encodes and decodes fitted pictures and sounds; every method works on a batch, without gradients.

    Args:
        graphs: what runs in place of the model's parts.
    """

    def __init__(self, model: Model, device: torch.device, graphs: Graphs | None = None) -> None:
        self.model, self.layout, self.device, self.graphs = model, model.layout, device, graphs or Graphs()

    def part(self, name: PartName) -> nn.Module:
        """A part of the model; `EchoesError` if the model came without it."""
        if name not in self.model.parts:
            raise EchoesError(f"The model {self.model.name!r} has no {name}; choose one that has it.")
        return self.model.parts[name]

    @property
    def image_vqgan(self) -> Tokenizer:
        return cast(Tokenizer, self.part("image_vqgan"))

    @property
    def audio_vqgan(self) -> Tokenizer:
        return cast(Tokenizer, self.part("audio_vqgan"))

    @property
    def transformer(self) -> ScoringModel:
        """What is asked for scores."""
        return self.graphs.transformer or cast(EchoTransformer, self.part("transformer"))

    def _tokenizer(self, name: TokenizerName) -> Tokenizer | OnnxTokenizer:
        """What encodes and decodes."""
        return self.graphs.tokenizers.get(name) or cast(Tokenizer, self.part(name))

    @cached_property
    @torch.inference_mode(False)
    def vocoder(self) -> Vocoder:
        """The vocoder, faster: without what only training needs. A copy, so that the model's own can still be saved."""
        return copy.deepcopy(cast(Vocoder, self.part("vocoder"))).fold()

    @torch.inference_mode()
    def encode_images(self, pictures_BHWC: np.ndarray) -> Tensor:
        """uint8 pictures to tokens (B, I), int64."""
        pixels_BCHW = torch.from_numpy(pictures_BHWC).movedim(-1, 1).to(self.device)
        return self._tokenizer("image_vqgan").encode_unit(pixels_to_unit(pixels_BCHW)).flatten(1)

    @torch.inference_mode()
    def decode_images(self, tokens_BI: Tensor) -> np.ndarray:
        """Tokens to uint8 pictures (B, H, W, C)."""
        grid_Bhw = tokens_BI.unflatten(1, self.layout.image_grid)
        return unit_to_pixels(self._tokenizer("image_vqgan").decode_unit(grid_Bhw)).movedim(1, -1).cpu().numpy()

    @torch.inference_mode()
    def image_error(self, pictures_BHWC: np.ndarray, tokens_BI: Tensor) -> Tensor:
        """What the tokens lose of uint8 pictures: root mean square on the scale of [-1, 1], float64 (B,)."""
        pixels_BCHW = torch.from_numpy(pictures_BHWC).movedim(-1, 1).to(self.device)
        decoded_BCHW = self._tokenizer("image_vqgan").decode_unit(tokens_BI.unflatten(1, self.layout.image_grid))
        return _root_mean_square(decoded_BCHW.clamp(-1.0, 1.0) - pixels_to_unit(pixels_BCHW))

    @torch.inference_mode()
    def mels(self, waves_BN: np.ndarray) -> Tensor:
        """Fitted waveforms to log-mels (B, M, T) in [0, 1]."""
        return wave_to_mel(torch.from_numpy(waves_BN).to(self.device), self.layout)

    @torch.inference_mode()
    def encode_mels(self, mel_BMT: Tensor) -> Tensor:
        """Log-mels to tokens (B, A), int64."""
        return self._tokenizer("audio_vqgan").encode_unit(mel_to_unit(mel_BMT)).flatten(1)

    @torch.inference_mode()
    def mel_error(self, mel_BMT: Tensor, tokens_BA: Tensor) -> Tensor:
        """What the tokens lose of log-mels: root mean square on the scale of [-1, 1], float64 (B,)."""
        decoded_B1MT = self._tokenizer("audio_vqgan").decode_unit(tokens_BA.unflatten(1, self.layout.audio_grid))
        return _root_mean_square(decoded_B1MT.clamp(-1.0, 1.0) - mel_to_unit(mel_BMT))

    @torch.inference_mode()
    def decode_mels(self, tokens_BA: Tensor) -> Tensor:
        """Tokens to log-mels (B, M, T) in [0, 1]."""
        grid_Bhw = tokens_BA.unflatten(1, self.layout.audio_grid)
        return unit_to_mel(self._tokenizer("audio_vqgan").decode_unit(grid_Bhw))

    @torch.inference_mode()
    def vocode(self, mel_BMT: Tensor) -> np.ndarray:
        """Log-mels to waveforms (B, layout.samples), float32 in [-1, 1]."""
        graph = self.graphs.vocoder
        return (vocode_in_stretches(self.vocoder, mel_BMT) if graph is None else graph(mel_BMT)).cpu().numpy()


def _root_mean_square(difference_BCHW: Tensor) -> Tensor:
    return difference_BCHW.double().square().mean((1, 2, 3)).sqrt()
