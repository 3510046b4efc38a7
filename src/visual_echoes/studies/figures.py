"""The figures that experiments measure: their names in a report, and what they are called for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """How a figure is shown, and which end of it is better; None where neither is."""

    title: str
    better: Literal["higher", "lower"] | None = None
    digits: int = 3


# Distances are between generated and real test items in the features of the own judge: neither FID nor FAD.
FIGURES: dict[str, Figure] = {
    "sound_right": Figure("sounds judged right", "higher"),
    "picture_right": Figure("images judged right", "higher"),
    "pairs_agree": Figure("pairs that agree", "higher"),
    "sound_frechet": Figure("Fréchet distance of sounds", "lower"),
    "picture_frechet": Figure("Fréchet distance of images", "lower"),
    "sound_kid": Figure("kernel distance of sounds", "lower", 4),
    "picture_kid": Figure("kernel distance of images", "lower", 4),
    "sound_diversity": Figure("diversity of sounds, real is 1"),
    "picture_diversity": Figure("diversity of images, real is 1"),
    "sound_certainty": Figure("the judge's certainty about the sounds"),
    "largest_share": Figure("share of the most frequent class"),
    "information": Figure("what the image tells, nats a place"),
    "confidence": Figure("the model's confidence, 0 where it declines"),
    "unlike": Figure("share that is unlike what the model knows"),
    "sound_kept": Figure("sounds that keep their class", "higher"),
    "picture_kept": Figure("images that keep their class", "higher"),
    "picture_psnr": Figure("PSNR of images, dB", "higher", 1),
    "mel_l1": Figure("log-mel distance", "lower", 4),
    "picture_codes": Figure("image codes in use"),
    "sound_codes": Figure("sound codes in use"),
    "picture_perplexity": Figure("perplexity of image codes", digits=0),
    "sound_perplexity": Figure("perplexity of sound codes", digits=0),
    "sound_gain": Figure("gain of sounds given an image, nats", "higher", 2),
    "picture_gain": Figure("gain of images given a sound, nats", "higher", 2),
    "loss_jitter": Figure("jitter of the training loss", "lower", 4),
}
