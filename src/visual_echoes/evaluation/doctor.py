"""What is wrong with a model: broken files, and tokenizers or a vocoder that lose too much.

Images and sounds go through the tokenizers and the vocoder and back, each part alone and both together, so that the
figures tell which part is at fault. The transformer only has to load: how well it generates is a matter for evaluation.

Shapes: B batch, H rows, W columns, C channels, N samples, M mel bands, T mel frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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


@dataclass(frozen=True)
class ImageFindings:
    """Round trips of images; means over them."""

    count: int
    psnr: float  # dB
    ssim: float
    use: CodeUse


@dataclass(frozen=True)
class SoundFindings:
    """Round trips of sounds; mel errors in dB, means over them. What needs a missing part is None."""

    count: int
    tokenizer: float | None  # mel to tokens to mel
    vocoder: float | None  # mel to wave to mel
    both: float | None  # mel to tokens to mel to wave to mel
    use: CodeUse | None


@dataclass
class Examination:
    """Round trips of batch after batch."""

    codec: Codec
    _images: list[tuple[float, float]] = field(default_factory=list)
    _errors: dict[str, list[float]] = field(default_factory=dict)
    _tokens: dict[PartName, list[Tensor]] = field(default_factory=dict)

    def add_images(self, images_BHWC: np.ndarray) -> None:
        """Examine the tokenizer on fitted images, uint8; without one nothing happens."""
        if not self._has("image_vqgan"):
            return
        tokens_BI = self.codec.encode_images(images_BHWC)
        self._tokens.setdefault("image_vqgan", []).append(tokens_BI.cpu())
        for given_HWC, made_HWC in zip(images_BHWC, self.codec.decode_images(tokens_BI), strict=True):
            self._images.append((psnr(given_HWC, made_HWC), ssim(given_HWC, made_HWC)))

    def add_sounds(self, waves_BN: np.ndarray) -> None:
        """Examine tokenizer and vocoder on fitted sounds, float32; what is missing is left out."""
        given_BMT = self.codec.mels(waves_BN)
        if self._has("vocoder"):
            self._compare("vocoder", given_BMT, self._vocoded(given_BMT))
        if self._has("audio_vqgan"):
            tokens_BA = self.codec.encode_mels(given_BMT)
            self._tokens.setdefault("audio_vqgan", []).append(tokens_BA.cpu())
            decoded_BMT = self.codec.decode_mels(tokens_BA)
            self._compare("tokenizer", given_BMT, decoded_BMT.cpu().numpy())
            if self._has("vocoder"):
                self._compare("both", given_BMT, self._vocoded(decoded_BMT))

    def pictures(self) -> ImageFindings | None:
        """What the images showed; None without images or tokenizer."""
        use = self._use("image_vqgan")
        if use is None:
            return None
        means = np.mean(self._images, 0)
        return ImageFindings(len(self._images), float(means[0]), float(means[1]), use)

    def sounds(self) -> SoundFindings | None:
        """What the sounds showed; None without sounds, or without both parts."""
        if not self._errors:
            return None
        means = {name: float(np.mean(errors)) for name, errors in self._errors.items()}
        count = len(next(iter(self._errors.values())))
        return SoundFindings(
            count, means.get("tokenizer"), means.get("vocoder"), means.get("both"), self._use("audio_vqgan")
        )

    def _has(self, name: PartName) -> bool:
        return name in self.codec.model.parts

    def _vocoded(self, mel_BMT: Tensor) -> np.ndarray:
        """The mels of what the vocoder makes of mels."""
        return np.stack([made_mel(made_N, self.codec.layout) for made_N in self.codec.vocode(mel_BMT)])

    def _compare(self, stage: str, given_BMT: Tensor, made_BMT: np.ndarray) -> None:
        pairs = zip(given_BMT.cpu().numpy(), made_BMT, strict=True)
        self._errors.setdefault(stage, []).extend(mel_error_db(*pair, self.codec.layout) for pair in pairs)

    def _use(self, name: PartName) -> CodeUse | None:
        if name not in self._tokens:
            return None
        layout, tokens = self.codec.layout, torch.cat(self._tokens[name])
        codes = layout.image_codes if name == "image_vqgan" else layout.audio_codes
        return CodeUse(len(tokens.unique()), codes, tokens.numel())


def verdict(images: ImageFindings | None, sounds: SoundFindings | None) -> list[str]:
    """Which part is weak, in one to a few sentences; a single reassuring one if none is."""
    sentences = []
    if images is not None and not (images.psnr >= WEAK_PSNR and images.ssim >= WEAK_SSIM):
        sentences.append(
            f"The image tokenizer is weak: it loses more than images can bear (PSNR below {WEAK_PSNR:g} dB or SSIM "
            f"below {WEAK_SSIM:g}), so no image from this model will be better."
        )
    if sounds is not None:
        sentences += _sound_verdict(sounds)
    uses = {"image": images.use if images else None, "sound": sounds.use if sounds else None}
    for name, use in uses.items():
        sentences += _use_verdict(name, use)
    return sentences or ["Nothing looks wrong: tokenizers and vocoder keep what they were given."]


def _sound_verdict(sounds: SoundFindings) -> Sequence[str]:
    sentences = []
    if sounds.tokenizer is not None and not sounds.tokenizer <= WEAK_TOKENIZER:
        sentences.append(
            f"The sound tokenizer is weak: the mel comes back with more than {WEAK_TOKENIZER:g} dB of error before the "
            "vocoder has any part in it."
        )
    if sounds.vocoder is not None and not sounds.vocoder <= WEAK_VOCODER:
        sentences.append(
            f"The vocoder is weak: even from true mels it is more than {WEAK_VOCODER:g} dB off; train it longer, or "
            "use Griffin-Lim meanwhile."
        )
    if not sentences and None not in (sounds.tokenizer, sounds.vocoder, sounds.both):
        assert sounds.tokenizer is not None
        assert sounds.vocoder is not None
        assert sounds.both is not None
        if not sounds.both <= sounds.tokenizer + sounds.vocoder + MISMATCH:
            sentences.append(
                "Tokenizer and vocoder are good alone but not together: the vocoder is not used to the tokenizer's "
                "mels; train it on them (`audio_vqgan` in its recipe)."
            )
    return sentences


def _use_verdict(name: str, use: CodeUse | None) -> Sequence[str]:
    if use is None or use.share >= WEAK_USAGE:
        return []
    caution = "; so few tokens may need no more, give more files to be sure" if use.few else ""
    return [f"The {name} tokenizer uses only {use.used} of its {use.codes} codes{caution}."]
