"""All experiments, by name.

What is not varied stands at the paper's settings: 30 steps, temperature 9, guidance 3. Trainings vary the base recipe,
whose masks are the paper's (a mean of 0.7) except that conditions are also shown whole, and which also tells the pairs
of a batch apart; with few tokens and minutes of training that is what makes a model listen.
"""

from __future__ import annotations

from typing import Any

from visual_echoes.model.settings import PRESETS, SamplingSettings
from visual_echoes.studies.plan import (
    ALL_TARGETS,
    Baseline,
    Chance,
    Experiment,
    Generate,
    Kind,
    Mislead,
    Own,
    Reconstruct,
    Target,
    Training,
    Variant,
)

PAPER = SamplingSettings()

QUALITY = ("sound_right", "picture_right", "pairs_agree", "sound_frechet", "picture_frechet")
DIRECTIONS: tuple[Target, ...] = ("sound", "picture")


def _masks(**changes: Any) -> Training:
    """The base recipe with other masks, the same for both modalities."""
    return Training({"objective": {"image": changes, "audio": changes}})


TRAININGS: dict[str, Training] = {
    "base": Training(),
    "paper-masks": Training(
        {
            "objective": {
                "contrast_weight": 0.0,
                "shown_share": 0.0,
                "image": {"condition_drop": 0.0},
                "audio": {"condition_drop": 0.0},
            }
        }
    ),
    "mean-0.55": _masks(mean=0.55),
    "mean-0.85": _masks(mean=0.85),
    "deviation-0.1": _masks(deviation=0.1),
    "bounds-0.05-1": _masks(low=0.05),
    "uniform": _masks(distribution="uniform", low=0.05),
    "arccos": _masks(distribution="arccos", low=0.05),
    "ratio-per-batch": Training({"objective": {"ratios": "batch"}}),
    "picture-to-sound": Training({"objective": {"direction": "image_to_audio"}}),
    "sound-to-picture": Training({"objective": {"direction": "audio_to_image"}}),
    "visible": Training({"model": {"encoder_input": "visible"}}),
    "cross": Training({"model": {"encoder_input": "visible", "decoder": "cross"}}),
    "autoregressive": Training(recipe="autoregressive"),
}


def _made(
    label: str, training: str | None = None, targets: tuple[Target, ...] = ALL_TARGETS, **settings: Any
) -> Variant:
    """A variant that generates; `settings` differ from the paper's."""
    sampling = SamplingSettings.model_validate({**PAPER.model_dump(), **settings})
    return Variant(label, Generate(training=training, settings=sampling, targets=targets))


def _at(x: float, variant: Variant, series: str = "") -> Variant:
    return Variant(variant.label, variant.work, x, series)


def _misled(label: str, pictures: Kind) -> Variant:
    return Variant(label, Mislead(settings=PAPER, pictures=pictures))


_ALL = (
    Experiment(
        "paper-baseline",
        "Does the model learn both directions and pairs, sampled without guidance in 30 steps at temperature 9?",
        (
            Variant("chance", Chance()),
            _made("conditions also shown whole, and told apart", "base", guidance=1.0),
            _made("the paper's objective alone", "paper-masks", guidance=1.0),
        ),
        ("sound_right", "picture_right", "pairs_agree"),
        reference="chance", role="what guessing reaches", ranked=False,
    ),
    Experiment(
        "paper-guidance",
        "Does guidance of 3 help a model that was trained for minutes?",
        (_made("guidance 3", "base"), _made("no guidance", "base", guidance=1.0)),
        QUALITY,
        reference="guidance 3",
    ),
    Experiment(
        "paper-mask-mean",
        "Is a mean mask ratio of 0.7 better than 0.55, in quality and in the steadiness of training?",
        (_made("mean 0.7", "base"), _made("mean 0.55", "mean-0.55")),
        (*QUALITY, "sound_gain", "picture_gain", "loss_jitter"),
        reference="mean 0.7",
    ),
    Experiment(
        "tokenizer",
        "What do tokenizers and vocoder lose, before anything is generated?",
        (
            Variant("real items", Reconstruct(stage="real")),
            Variant("tokenizer and vocoder", Reconstruct(stage="round trip")),
            Variant("vocoder alone", Reconstruct(stage="vocoder")),
        ),
        ("sound_right", "picture_right", "sound_kept", "picture_kept", "mel_l1", "picture_psnr"),
        reference="real items", role="the ceiling", ranked=False,
    ),
    Experiment(
        "steps-temperature",
        "How do quality and time depend on the number of steps N and the temperature T?",
        tuple(
            _at(steps, _made(f"N {steps}, T {temperature}", steps=steps, temperature=temperature), f"T {temperature}")
            for temperature in (1, 9, 20)
            for steps in (5, 10, 30, 50)
        ),
        ("sound_right", "picture_right", "pairs_agree", "sound_diversity", "picture_diversity"),
        reference="N 30, T 9", axis="steps N", timed=True,
    ),
    Experiment(
        "misleading-pictures",
        "Given images of nothing it knows, does the model stay coherent, and does its confidence fall?",
        (
            _misled("test images", "real"),
            _misled("black", "black"),
            _misled("white", "white"),
            _misled("noise", "noise"),
            _misled("unrelated (letters)", "unrelated"),
            _misled("abstract patterns", "abstract"),
        ),
        ("information", "confidence", "unlike", "sound_certainty", "largest_share", "sound_frechet"),
        reference="test images", role="what the model was trained for", ranked=False,
    ),
    Experiment(
        "mask-ratio",
        "Which distribution of mask ratios in training makes what comes out most coherent?",
        (
            _made("Gaussian, mean 0.7, deviation 0.25, in [0.5, 1]", "base"),
            _made("mean 0.55", "mean-0.55"),
            _made("mean 0.85", "mean-0.85"),
            _made("deviation 0.1", "deviation-0.1"),
            _made("bounds [0.05, 1]", "bounds-0.05-1"),
            _made("uniform in [0.05, 1]", "uniform"),
            _made("arccos in [0.05, 1]", "arccos"),
        ),
        (*QUALITY, "sound_gain", "picture_gain"),
        reference="Gaussian, mean 0.7, deviation 0.25, in [0.5, 1]",
    ),
    Experiment(
        "guidance-scale",
        "How strong should guidance be?",
        tuple(_at(scale, _made(f"s = {scale:g}", guidance=scale)) for scale in (1.0, 1.5, 2.0, 3.0, 5.0, 8.0)),
        (*QUALITY, "sound_diversity", "picture_diversity"),
        reference="s = 3", axis="guidance s",
    ),
    Experiment(
        "guidance-form",
        "Does it matter what s = 3 means, and when in sampling it acts?",
        (
            _made("u + s(c - u), constant"),
            _made("(1 + s)c - su, constant", guidance=4.0),
            _made("u + s(c - u), rising", guidance_schedule="rising"),
            _made("u + s(c - u), interval", guidance_schedule="interval"),
            _made("(1 + s)c - su, rising", guidance=4.0, guidance_schedule="rising"),
            _made("(1 + s)c - su, interval", guidance=4.0, guidance_schedule="interval"),
        ),
        (*QUALITY, "sound_diversity", "picture_diversity"),
        reference="u + s(c - u), constant",
    ),
    Experiment(
        "order",
        "Should the most confident places be settled first, or the places of a Halton sequence?",
        (_made("confidence"), _made("Halton", order="halton")),
        (*QUALITY, "sound_diversity", "picture_diversity"),
        reference="confidence",
    ),
    Experiment(
        "savings",
        "What does each way to sample faster cost in quality?",
        (
            _made("N 30"),
            _made("N 16", steps=16),
            _made("N 12", steps=12),
            _made("N 8", steps=8),
            _made("N 30, guided in the middle half", guidance_schedule="interval"),
            _made("N 30, keys and values kept for 3 steps", kv_refresh_every=3),
            _made("N 12, keys and values kept for 3 steps", steps=12, kv_refresh_every=3),
            _made("N 8, keys and values kept for 2 steps", steps=8, kv_refresh_every=2),
            _made("N 8, keys and values kept for 4 steps", steps=8, kv_refresh_every=4),
        ),
        (*QUALITY, "sound_kid", "picture_kid"),
        reference="N 30", role="the paper's way", timed=True,
    ),
    Experiment(
        "presets",
        "What do the presets cost in quality, with all else as the model has it?",
        tuple(Variant(name, Own(changes={"preset": name})) for name in PRESETS),
        QUALITY,
        reference="quality", role="the paper's number of steps", timed=True,
    ),
    Experiment(
        "cheaper-models",
        "What do an encoder of visible places alone and a decoder of open ones alone cost in quality?",
        (
            _made("masked, full", "base"),
            _made("visible, full", "visible"),
            _made("visible, cross", "cross"),
        ),
        (*QUALITY, "sound_gain", "picture_gain"),
        reference="masked, full", timed=True,
    ),
    Experiment(
        "ratio-per-batch",
        "Does a mask ratio for each sample teach more than one for the whole batch?",
        (_made("a ratio for each sample", "base"), _made("one for the batch", "ratio-per-batch")),
        (*QUALITY, "loss_jitter"),
        reference="a ratio for each sample", role="our reading of the paper",
    ),
    Experiment(
        "directions",
        "Does learning both directions at once cost quality in either? (Without guidance: one direction has none.)",
        (
            _made("both directions", "base", DIRECTIONS, guidance=1.0),
            _made("image to sound only", "picture-to-sound", ("sound",), guidance=1.0),
            _made("sound to image only", "sound-to-picture", ("picture",), guidance=1.0),
        ),
        ("sound_right", "picture_right", "sound_frechet", "picture_frechet"),
        reference="both directions",
    ),
    Experiment(
        "baselines",
        "Does the masked transformer beat simpler ways on the same tokens?",
        (
            _made("masked transformer, guidance 3", "base", DIRECTIONS),
            _made("masked transformer, no guidance", "base", DIRECTIONS, guidance=1.0),
            Variant("autoregressive", Baseline(training="autoregressive", name="autoregressive")),
            Variant("retrieval", Baseline(name="retrieval")),
            Variant("class mean", Baseline(name="class mean")),
        ),
        ("sound_right", "picture_right", "sound_frechet", "picture_frechet"),
        reference="masked transformer, guidance 3", timed=True,
    ),
)  # fmt: skip

EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in _ALL}
