"""Arrays to tokens and back: both tokenizers and the vocoder of a model, behind one small face.

Shapes: B batch, F frames, C channels, H rows, W columns, N samples, M mel bands, T mel frames, I and A token positions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property, partial
from typing import cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from visual_echoes.audio import made_gain, mel_to_unit, unit_to_mel, wave_to_mel
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.errors import EchoesError
from visual_echoes.machine import float64_device, in_float64
from visual_echoes.media.tensors import pixels_to_unit, unit_to_pixels
from visual_echoes.model.interface import ScoringModel
from visual_echoes.model.precision import Wanted, choose, choose_for_decoder, in_precision, order_decoder
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.onnx.runtime import Graphs, OnnxTokenizer
from visual_echoes.tokenizers.base import Tokenizer, TokenizerName
from visual_echoes.tokenizers.residual import ResidualTokenizer
from visual_echoes.tokenizers.semantic import AudioSemanticTokenizer, ImageSemanticTokenizer
from visual_echoes.vocoders import Vocoder, vocode_in_stretches

TOKENIZERS: tuple[TokenizerName, ...] = get_args(TokenizerName)


class Codec:
    """Encodes and decodes fitted images and sounds; every method works on a batch, without gradients.

    A batch goes through the networks item by item, so that an item is the same to the bit in any batch. Where the
    layout has several frames, images are videos, (B, F, H, W, C), and go through frame by frame.

    Args:
        graphs: what runs in place of the model's parts.
        precision: of the transformer and of what decodes tokens, where no graph runs in their place.

    Raises:
        EchoesError: no such precision, or none on that device.
    """

    def __init__(
        self, model: Model, device: torch.device, graphs: Graphs | None = None, precision: Wanted = "float32"
    ) -> None:
        self.model, self.layout, self.device, self.graphs = model, model.layout, device, graphs or Graphs()
        transformer = None if self.graphs.transformer else model.parts.get("transformer")
        size = transformer.config if isinstance(transformer, EchoTransformer) else None
        self._precision = choose(precision, device, size)
        replaced = {*self.graphs.tokenizers, *(["vocoder"] if self.graphs.vocoder else [])}
        self._rounded = decoders_to_round(model, precision, device) - replaced
        for name in self._rounded:
            order_decoder(model.parts[name])

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
    def image_semantic(self) -> ImageSemanticTokenizer:
        return cast(ImageSemanticTokenizer, self.part("image_semantic"))

    @property
    def audio_semantic(self) -> AudioSemanticTokenizer:
        return cast(AudioSemanticTokenizer, self.part("audio_semantic"))

    @property
    def transformer(self) -> ScoringModel:
        """What is asked for scores."""
        return self.graphs.transformer or self._transformer

    @property
    def by_depth(self) -> bool:
        """Whether the transformer fills all codes of a position at once."""
        return self.transformer.config.residual == "depth"

    @property
    def precision(self) -> str:
        """In which the transformer runs, and the decoders if some of them round."""
        transformer = self._precision if self.graphs.transformer is None else self.graphs.transformer.precision
        return f"{transformer}, decoders bfloat16" if self._rounded else transformer

    @cached_property
    @torch.inference_mode(False)
    def _transformer(self) -> EchoTransformer:
        return in_precision(cast(EchoTransformer, self.part("transformer")), self._precision)

    def _tokenizer(self, name: TokenizerName) -> Tokenizer | OnnxTokenizer:
        """What encodes and decodes."""
        return self.graphs.tokenizers.get(name) or cast(Tokenizer, self.part(name))

    @cached_property
    @torch.inference_mode(False)
    def vocoder(self) -> Vocoder:
        """The vocoder without what only training needs; a copy, where the model's own is what would be saved."""
        own = cast(Vocoder, self.part("vocoder"))
        folded = (copy.deepcopy(own) if self.model.folder is None else own).fold()
        return (folded.rounded() if "vocoder" in self._rounded else folded).to(self._vocoder_device)

    @cached_property
    @torch.inference_mode(False)
    def _exact_audio_vqgan(self) -> Tokenizer:
        """A copy that computes in float64."""
        return copy.deepcopy(self.audio_vqgan).to(self._vocoder_device).double()

    @torch.inference_mode()
    def encode_images(self, pictures: np.ndarray) -> Tensor:
        """uint8 images to tokens of the stream "image", int64 (B, P, Q)."""
        grid = one_by_one(self._tokenizer("image_vqgan").encode_unit, self._unit(pictures))
        return self._by_item(to_sequence(grid, self.layout.image_depth)).flatten(1, 2)

    @torch.inference_mode()
    def encode_views(self, views: np.ndarray) -> Tensor:
        """uint8 images, as large as they are had, to tokens of the stream "image_semantic", int64 (B, P, Q)."""
        return self._by_item(one_by_one(self.image_semantic.encode, self._unit(views))).flatten(1, 2)

    @torch.inference_mode()
    def encode_meaning(self, mel_BMT: Tensor) -> Tensor:
        """Log-mels to tokens of the stream "audio_semantic", int64 (B, P, Q)."""
        return one_by_one(self.audio_semantic.encode, mel_to_unit(mel_BMT.float()))

    @torch.inference_mode()
    def decode_images(self, tokens_BPQ: Tensor) -> np.ndarray:
        """Tokens to uint8 images (B, H, W, C)."""
        images = unit_to_pixels(self._decoded_images(tokens_BPQ)).movedim(1, -1)
        return (images if self.layout.frames == 1 else self._by_item(images)).cpu().numpy()

    @torch.inference_mode()
    def image_error(self, pictures: np.ndarray, tokens_BPQ: Tensor) -> Tensor:
        """What the tokens lose of uint8 images: root mean square on the scale of [-1, 1], float64 (B,)."""
        lost = self._decoded_images(tokens_BPQ).clamp(-1.0, 1.0) - self._unit(pictures)
        return _root_mean_square(self._by_item(lost))

    def _unit(self, pictures: np.ndarray) -> Tensor:
        """uint8 images, or all frames of videos, as a tokenizer's, (n, C, H, W) in [-1, 1]."""
        frames_nHWC = pictures.reshape(-1, *pictures.shape[-3:])
        return pixels_to_unit(torch.from_numpy(frames_nHWC).movedim(-1, 1).to(self.device))

    def _by_item(self, rows_n: Tensor) -> Tensor:
        """Rows of frames as those of items, (B, F, ...)."""
        return rows_n.unflatten(0, (len(rows_n) // self.layout.frames, self.layout.frames))

    def _decoded_images(self, tokens_BPQ: Tensor) -> Tensor:
        """All frames, about in [-1, 1], (n, C, H, W)."""
        frames_nPQ = tokens_BPQ.unflatten(1, (self.layout.frames, -1)).flatten(0, 1)
        grid = self._grid("image_vqgan", frames_nPQ, self.layout.image_grid)
        return self._decoded("image_vqgan", grid)

    def _decoded(self, name: TokenizerName, grid: Tensor) -> Tensor:
        """Images or mels, about in [-1, 1], float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=name in self._rounded):
            return one_by_one(self._tokenizer(name).decode_unit, grid).float()

    def _grid(self, name: TokenizerName, tokens_BPQ: Tensor, shape: tuple[int, int]) -> Tensor:
        """Tokens as their tokenizer takes them: (B, h, w), or (B, h, w, Q) of residual codes."""
        residual = isinstance(self.part(name), ResidualTokenizer)
        return (tokens_BPQ if residual else tokens_BPQ[..., 0]).unflatten(1, shape)

    @torch.inference_mode()
    def mels(self, waves_BN: np.ndarray) -> Tensor:
        """Fitted waveforms to log-mels (B, M, T) in [0, 1], float32.

        Computed in float64 on the CPU, where it costs next to nothing: rounded to float32 it is the same anywhere.
        """
        exact_BN = torch.from_numpy(waves_BN).double()
        return one_by_one(partial(wave_to_mel, layout=self.layout), exact_BN).float().to(self.device)

    @torch.inference_mode()
    def encode_mels(self, mel_BMT: Tensor) -> Tensor:
        """Log-mels to tokens of the stream "audio", int64 (B, P, Q)."""
        grid = one_by_one(self._tokenizer("audio_vqgan").encode_unit, mel_to_unit(mel_BMT.float()))
        return to_sequence(grid, self.layout.audio_depth)

    @torch.inference_mode()
    def mel_error(self, mel_BMT: Tensor, tokens_BPQ: Tensor) -> Tensor:
        """What the tokens lose of log-mels: root mean square on the scale of [-1, 1], float64 (B,)."""
        grid_Bhw = self._grid("audio_vqgan", tokens_BPQ, self.layout.audio_grid)
        return _root_mean_square(self._decoded("audio_vqgan", grid_Bhw).clamp(-1.0, 1.0) - mel_to_unit(mel_BMT))

    @torch.inference_mode()
    def decode_mels(self, tokens_BPQ: Tensor) -> Tensor:
        """Tokens to log-mels (B, M, T) in [0, 1], as `vocode` takes them best.

        Where the vocoder magnifies rounding, torch computes them in float64, and on the CPU if the device has none.
        """
        grid_Bhw = self._grid("audio_vqgan", tokens_BPQ, self.layout.audio_grid)
        if not self._magnifies_rounding:
            return unit_to_mel(self._decoded("audio_vqgan", grid_Bhw))
        return unit_to_mel(one_by_one(self._exact_audio_vqgan.decode_unit, grid_Bhw.to(self._vocoder_device)))

    @torch.inference_mode()
    def vocode(self, mel_BMT: Tensor) -> np.ndarray:
        """Log-mels to waveforms (B, layout.samples), float32 in [-1, 1]."""
        vocoder = self.graphs.vocoder or partial(vocode_in_stretches, self.vocoder)
        return one_by_one(vocoder, mel_BMT.to(self._vocoder_device)).cpu().numpy()

    def vocode_made(self, mel_BMT: Tensor) -> np.ndarray:
        """As `vocode`, of sounds that were made: they have the level of those learnt from (`made_gain`)."""
        return np.stack([wave_N * made_gain(wave_N, self.layout.peak) for wave_N in self.vocode(mel_BMT)])

    @property
    def _magnifies_rounding(self) -> bool:
        vocoder = self.model.parts.get("vocoder")
        return vocoder is not None and cast(Vocoder, vocoder).magnifies_rounding

    @property
    def _vocoder_device(self) -> torch.device:
        return float64_device(self.device) if self._magnifies_rounding else self.device


def decoders_to_round(model: Model, wanted: Wanted, device: torch.device) -> set[PartName]:
    """What decodes in bfloat16 (`precision.choose_for_decoder`): tokenizers, unless the vocoder magnifies what it does
    to a mel, and the vocoder if it rounds."""
    parts: dict[PartName, nn.Module] = {name: part for name, part in model.parts.items() if name in TOKENIZERS}
    vocoder = cast(Vocoder | None, model.parts.get("vocoder"))
    if vocoder is not None and vocoder.magnifies_rounding:
        parts.pop("audio_vqgan", None)
    if vocoder is not None and vocoder.rounds:
        parts["vocoder"] = vocoder
    return {name for name, part in parts.items() if choose_for_decoder(wanted, device, part) == "bfloat16"}


def one_by_one(run: Callable[[Tensor], Tensor], rows_B: Tensor) -> Tensor:
    """What becomes of each row alone: kernels round differently in batches of different sizes."""
    return torch.cat([run(row_1) for row_1 in rows_B.split(1)])


def to_sequence(grid: Tensor, depth: int) -> Tensor:
    """A tokenizer's grid (B, h, w), or (B, h, w, L) of residual codes, as tokens of a stream, (B, P, Q).

    Args:
        depth: Q, the first codes of a position that the stream holds.
    """
    grid_BhwL = grid[..., None] if grid.ndim == 3 else grid
    return grid_BhwL.flatten(1, 2)[..., :depth]


def _root_mean_square(difference_B: Tensor) -> Tensor:
    return in_float64(difference_B).square().flatten(1).mean(1).sqrt()
