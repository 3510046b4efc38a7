"""Measuring one variant with one seed: figures by name, and the seconds an item took.

Shapes: B items, G groups.
"""

from __future__ import annotations

import time

import numpy as np

from visual_echoes.evaluation.baselines import Baseline, BaselineModel
from visual_echoes.evaluation.calibration import condition_evidence
from visual_echoes.evaluation.evaluation_set import EvaluationSet
from visual_echoes.evaluation.making import DIRECTIONS, Amounts, Meter, Target, make, measure_results
from visual_echoes.evaluation.measuring import distances, merged
from visual_echoes.evaluation.records import Column
from visual_echoes.evaluation.round_trip import measure_round_trip
from visual_echoes.metrics import scores
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.studies.misleading import misleading_images
from visual_echoes.studies.plan import Generate, Mislead, Reconstruct

Figures = dict[str, float]


def measure_generate(test: EvaluationSet, work: Generate, pairs: int, seed: int) -> tuple[Figures, float]:
    """Both directions and pairs, or those of them that are targets, and the seconds an item."""
    return _measure_made(test, test.echoes, work.targets, work.settings, Amounts((seed,), pairs))


def measure_beside(test: EvaluationSet, baseline: Baseline, seed: int) -> tuple[Figures, float]:
    """A baseline, both directions."""
    maker = BaselineModel(test.echoes.codec, baseline)
    return _measure_made(test, maker, DIRECTIONS, SamplingSettings(), Amounts((seed,), 1))


def _measure_made(
    test: EvaluationSet, maker: VisualEchoes | BaselineModel, targets: tuple[Target, ...], settings: SamplingSettings,
    amounts: Amounts,
) -> tuple[Figures, float]:  # fmt: skip
    columns, items, seconds = list[Column](), 0, 0.0
    for target in targets:
        start = time.perf_counter()
        results = list(make(test, maker, target, settings, amounts, Meter()))
        seconds += time.perf_counter() - start
        items += sum(len(result.seeds) for result in results)
        columns.append(measure_results(test, target, results))
    return _values(merged(columns)), seconds / items


def measure_mislead(test: EvaluationSet, work: Mislead, seed: int) -> tuple[Figures, float]:
    """How coherent the sounds for odd images are, and how sure the model is of them."""
    if work.images != "real":
        side = test.sides["image"]
        test = test.with_images(misleading_images(work.images, len(side.items), test.echoes.layout, seed))
    start = time.perf_counter()
    (result,) = make(test, test.echoes, "sound", work.settings, Amounts((seed,), 1), Meter(), confidence=True)
    seconds = (time.perf_counter() - start) / len(result.seeds)
    assert result.audio is not None
    seen = test.see("audio", result.audio)
    assert seen.logits_BK is not None
    figures = {
        "information": float(condition_evidence(test, "audio").information_B.mean()),
        "sound_certainty": float(seen.logits_BK.softmax(-1).amax(-1).mean()),
        "largest_share": float(scores.group_shares(seen.classes_B, test.groups).max()),
        **_values(Column(figures=distances("sound", seen, test.sides["audio"].seen, False))),
    }
    if result.confidence is not None:
        unlike_B = np.isnan(result.confidence)
        figures["confidence"] = float(np.where(unlike_B, 0.0, result.confidence).mean())
        figures["unlike"] = float(unlike_B.mean())
    return figures, seconds


def measure_reconstruct(test: EvaluationSet, work: Reconstruct) -> tuple[Figures, float]:
    """Real items, or what tokenizers and vocoder leave of them; there is nothing random in it but the items."""
    images, sounds = test.sides["image"], test.sides["audio"]
    if work.stage == "real":
        right = {
            "sound_right": scores.share(sounds.classes_B == sounds.groups_B),
            "image_right": scores.share(images.classes_B == images.groups_B),
        }
        return right, 0.0
    start = time.perf_counter()
    figures = _values(measure_round_trip(test))
    seconds = (time.perf_counter() - start) / (len(images.items) + len(sounds.items))
    if work.stage == "vocoder":
        alone = {"sound_right": "vocoder_right", "sound_kept": "vocoder_kept", "mel_l1": "vocoder_mel_l1"}
        figures = {name: figures[own] for name, own in alone.items()}
    return figures, seconds


def _values(column: Column) -> Figures:
    return {name: figure.value for name, figure in column.figures.items()}
