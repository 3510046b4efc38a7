"""What figures are called: those of models and experiments, and those that a backbone gives of files."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from visual_echoes import __version__
from visual_echoes.evaluation.records import BackboneFacts, Column, Measure
from visual_echoes.layout import Modality
from visual_echoes.metrics.networks.base import Backbone, Described

WORDS: dict[Modality, str] = {"image": "image", "audio": "sound"}
PACKAGES = ("av", "numpy", "onnxruntime", "pillow", "soundfile", "torch")


def _both(name: str, title: str, form: str = ".3f", better: str | None = None) -> dict[str, Measure]:
    """The same measure of images and of sounds."""
    return {
        f"{word}_{name}": Measure.model_validate(
            {"title": title.format(word=word, words=f"{word}s"), "form": form, "better": better}
        )
        for word in WORDS.values()
    }


# Distances are between generated and real test items in the features of the own classifier: neither FID nor FAD.
FIGURES: dict[str, Measure] = {
    **_both("files", "{words}", ".0f"),
    **_both("right", "{words} classified right", better="higher"),
    **_both("opinion", "{words} right by the second opinion", better="higher"),
    "pairs_agree": Measure(title="pairs that agree", better="higher"),
    "pairs_missing": Measure(title="pairs: classes that never appear", form=".0f", better="lower"),
    "pairs_largest": Measure(title="pairs: share of the most frequent class"),
    "image_first_agree": Measure(title="pairs that agree, image first", better="higher"),
    "image_first_missing": Measure(title="pairs, image first: classes that never appear", form=".0f", better="lower"),
    "image_first_largest": Measure(title="pairs, image first: share of the most frequent class"),
    **_both("frechet", "Fréchet distance of {words}", better="lower"),
    **_both("kid", "kernel distance of {words}", ".4f", "lower"),
    **_both("diversity", "diversity of {words}, real is 1"),
    "image_nearest": Measure(title="nearest training image, mean"),
    "image_closest": Measure(title="nearest training image, closest"),
    "sound_peak": Measure(title="sound peak, dBFS", form=".1f"),
    "sound_rms": Measure(title="sound RMS, dBFS", form=".1f"),
    "sound_silent": Measure(title="silent sounds"),
    "sound_clipped": Measure(title="clipped sounds"),
    "sound_certainty": Measure(title="the classifier's certainty about the sounds"),
    "largest_share": Measure(title="share of the most frequent class"),
    "information": Measure(title="what the image tells, nats a position"),
    "confidence": Measure(title="the model's confidence, 0 where it declines"),
    "unlike": Measure(title="share that is unlike what the model knows"),
    **_both("kept", "{words} that keep their class", better="higher"),
    "vocoder_right": Measure(title="sounds classified right, vocoder alone", better="higher"),
    "vocoder_kept": Measure(title="sounds that keep their class, vocoder alone", better="higher"),
    "image_psnr": Measure(title="PSNR of images, dB", form=".1f", better="higher"),
    "mel_l1": Measure(title="log-mel distance", form=".4f", better="lower"),
    "vocoder_mel_l1": Measure(title="log-mel distance, vocoder alone", form=".4f", better="lower"),
    "tokenizer_mel_l1": Measure(title="log-mel distance, tokenizer alone", form=".4f", better="lower"),
    **_both("codes", "{word} codes in use"),
    **_both("perplexity", "perplexity of {word} codes", ".0f"),
    "sound_gain": Measure(title="gain of sounds given an image, nats", form=".2f", better="higher"),
    "image_gain": Measure(title="gain of images given a sound, nats", form=".2f", better="higher"),
    "loss_jitter": Measure(title="jitter of the training loss", form=".4f", better="lower"),
    # Of files:
    "clip_score": Measure(title="CS", by="CLIP and Wav2CLIP", form=".4g", better="higher"),
    "file_pairs_agree": Measure(title="image and sound agree", by="own classifiers", form=".1%", better="higher"),
}


def backbone_measures(backbone: Backbone) -> dict[str, Measure]:
    """What `measuring.measure` finds of files with a backbone, each figure under its name and the backbone's."""
    found = {
        "frechet": (backbone.frechet, ".4g"), "kid": (backbone.kernel, ".4g"), "inception": ("inception score", ".3f"),
        "kl_softmax": ("KL, softmax", ".3f"), "kl_sigmoid": ("KL, sigmoid", ".3f"),
        "agree": ("first choice as of the real file", ".1%"),
    }  # fmt: skip
    return {
        f"{backbone.name}_{key}": Measure(title=title, by=backbone.title, form=form)
        for key, (title, form) in found.items()
    }


def measures_of(columns: Mapping[str, Column], backbones: Iterable[Backbone] = ()) -> dict[str, Measure]:
    """The measures that at least one column has."""
    known = dict(FIGURES)
    for backbone in backbones:
        known |= backbone_measures(backbone)
    found = {name for column in columns.values() for name in column.figures}
    others = {name: Measure(title=name, by="what went in", form=".4g") for name in sorted(found - known.keys())}
    return {name: measure for name, measure in {**known, **others}.items() if name in found}


def backbone_facts(backbone: Described) -> BackboneFacts:
    """What a report says of a backbone."""
    return BackboneFacts.model_validate({field: getattr(backbone, field) for field in BackboneFacts.model_fields})


def versions() -> dict[str, str]:
    """Of this package and of those that figures depend on."""
    found = {"visual-echoes": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return found
