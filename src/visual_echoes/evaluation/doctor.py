"""What is wrong with a model: broken files, and tokenizers or a vocoder that lose too much.

Images and sounds go through the tokenizers and the vocoder and back, each part alone and both together, so that the
figures tell which part is at fault. The transformer only has to load: how well it generates is a matter for evaluation.

Shapes: B batch, H rows, W columns, C channels, N samples, M mel bands, T mel frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visual_echoes.checkpoints.loading import find_model, load_model, part_names
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.codec import Codec
from visual_echoes.errors import EchoesError
from visual_echoes.metrics.fidelity import made_mel, mel_error_db, psnr, ssim

# Beyond these a part is called weak. The packaged digits model has 24 dB, 0.95, 2 dB and 2 dB there; one of its sounds
# taken for another is 16 dB off, and one made of random tokens 11 dB.
WEAK_PSNR = 17.0  # dB
WEAK_SSIM = 0.4
WEAK_TOKENIZER = 8.0  # dB of mel error
WEAK_VOCODER = 5.0  # dB of mel error
MISMATCH = 2.0  # dB that both together may lose beyond the sum of what each loses
WEAK_USAGE = 0.15  # of the codes that as many tokens would use, were all codes alike
FEW_TOKENS = 10  # tokens a code below which a low usage proves nothing


def check_model(source: str) -> tuple[Model, list[str]]:
    """Load what can be loaded of a model, and say what is wrong with the rest: one sentence a part.

    Raises:
        EchoesError: there is no such model, or its config cannot be read.
    """
    folder = find_model(source)
    model = load_model(folder, wanted=[])
    problems = []
    for name in part_names(folder):
        try:
            found = load_model(folder, wanted=[name])
            _check_finite(folder, name, found)
        except EchoesError as error:
            problems.append(str(error))
        else:
            model.take(name, found)
    return model, problems


def _check_finite(folder: Path, name: PartName, model: Model) -> None:
    for key, value in model.parts[name].state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise EchoesError(
                f"The {name} of {folder} has weights in {key} that are no finite numbers; train it again."
            )


@dataclass(frozen=True)
class CodeUse:
    """Codes that appeared, of how many, among how many tokens."""

    used: int
    codes: int
    tokens: int

    @property
    def few(self) -> bool:
        """Whether the tokens are too few to tell much of the codebook's use."""
        return self.tokens < FEW_TOKENS * self.codes

    @property
    def share(self) -> float:
        """Used codes over those that as many tokens would use on average, were all codes equally likely."""
        return self.used / (self.codes * -math.expm1(self.tokens * math.log1p(-1.0 / self.codes)))


@dataclass
class Examination:
    """Round trips of batch after batch.

    Attributes:
        values: of each image PSNR in dB and SSIM, of each sound the mel error in dB that "tokenizer" (mel to tokens to
            mel), "vocoder" (mel to wave to mel) and "both" make. What needs a missing part is not there.
    """

    codec: Codec
    values: dict[str, list[float]] = field(default_factory=dict)
    _tokens: dict[PartName, list[Tensor]] = field(default_factory=dict)

    def add_images(self, images_BHWC: np.ndarray) -> None:
        """Examine the tokenizer on fitted images, uint8; without one nothing happens."""
        if not self._has("image_vqgan"):
            return
        tokens_BI = self.codec.encode_images(images_BHWC)
        self._tokens.setdefault("image_vqgan", []).append(tokens_BI.cpu())
        for given_HWC, made_HWC in zip(images_BHWC, self.codec.decode_images(tokens_BI), strict=True):
            self._add("psnr", psnr(given_HWC, made_HWC))
            self._add("ssim", ssim(given_HWC, made_HWC))

    def add_sounds(self, waves_BN: np.ndarray) -> None:
        """Examine tokenizer and vocoder on fitted sounds, float32; what is missing is left out."""
        given_BMT = self.codec.mels(waves_BN)
        if self._has("audio_vqgan"):
            tokens_BA = self.codec.encode_mels(given_BMT)
            self._tokens.setdefault("audio_vqgan", []).append(tokens_BA.cpu())
            decoded_BMT = self.codec.decode_mels(tokens_BA)
            self._compare("tokenizer", given_BMT, decoded_BMT.cpu().numpy())
        if self._has("vocoder"):
            self._compare("vocoder", given_BMT, self._vocoded(given_BMT))
            if self._has("audio_vqgan"):
                self._compare("both", given_BMT, self._vocoded(decoded_BMT))

    def means(self) -> dict[str, float]:
        """Of `values`."""
        return {name: float(np.mean(values)) for name, values in self.values.items()}

    def uses(self) -> dict[str, CodeUse]:
        """Codes in use of the "image" and of the "sound" tokenizer."""
        layout, found = self.codec.layout, {}
        codes = {"image": ("image_vqgan", layout.image_codes), "sound": ("audio_vqgan", layout.audio_codes)}
        for word, (name, count) in codes.items():
            if name in self._tokens:
                tokens = torch.cat(self._tokens[name])
                found[word] = CodeUse(len(tokens.unique()), count, tokens.numel())
        return found

    def _has(self, name: PartName) -> bool:
        return name in self.codec.model.parts

    def _vocoded(self, mel_BMT: Tensor) -> np.ndarray:
        """The mels of what the vocoder makes of mels."""
        return np.stack([made_mel(made_N, self.codec.layout) for made_N in self.codec.vocode(mel_BMT)])

    def _compare(self, stage: str, given_BMT: Tensor, made_BMT: np.ndarray) -> None:
        for pair in zip(given_BMT.cpu().numpy(), made_BMT, strict=True):
            self._add(stage, mel_error_db(*pair, self.codec.layout))

    def _add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)


def verdict(means: Mapping[str, float], uses: Mapping[str, CodeUse]) -> list[str]:
    """Which part is weak, in one to a few sentences; a single reassuring one if none is."""
    sentences = []
    # Written so that what is no number is weak, too; what was not measured is not.
    if not (means.get("psnr", WEAK_PSNR) >= WEAK_PSNR and means.get("ssim", WEAK_SSIM) >= WEAK_SSIM):
        sentences.append(
            f"The image tokenizer is weak: it loses more than images can bear (PSNR below {WEAK_PSNR:g} dB or SSIM "
            f"below {WEAK_SSIM:g}), so no image from this model will be better."
        )
    alone = not means.get("tokenizer", 0.0) <= WEAK_TOKENIZER, not means.get("vocoder", 0.0) <= WEAK_VOCODER
    if alone[0]:
        sentences.append(
            f"The sound tokenizer is weak: the mel comes back with more than {WEAK_TOKENIZER:g} dB of error before the "
            "vocoder has any part in it."
        )
    if alone[1]:
        sentences.append(
            f"The vocoder is weak: even from true mels it is more than {WEAK_VOCODER:g} dB off; train it longer, or "
            "use Griffin-Lim meanwhile."
        )
    if "both" in means and not any(alone) and not means["both"] <= means["tokenizer"] + means["vocoder"] + MISMATCH:
        sentences.append(
            "Tokenizer and vocoder are good alone but not together: the vocoder is not used to the tokenizer's "
            "mels; train it on them (`audio_vqgan` in its recipe)."
        )
    for name, use in uses.items():
        if use.share < WEAK_USAGE:
            caution = "; so few tokens may need no more, give more files to be sure" if use.few else ""
            sentences.append(f"The {name} tokenizer uses only {use.used} of its {use.codes} codes{caution}.")
    return sentences or ["Nothing looks wrong: tokenizers and vocoder keep what they were given."]
