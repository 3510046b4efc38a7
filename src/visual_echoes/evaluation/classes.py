"""Evaluating a model on data paired by class: judged classes, round trip, diversity, guidance and level, over several
seeds, against a set of targets.

Real data, the tokenizers' round trip and generated items are measured side by side, so that a bad figure can be told
from a judge's or a tokenizer's limit. Everything is a pure function of model, data, judges and seeds.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from visual_echoes import __version__
from visual_echoes.data.manifest import DESCRIPTION
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.ceiling import measure_real, measure_round_trip
from visual_echoes.evaluation.exam import Exam
from visual_echoes.evaluation.gallery import Gallery
from visual_echoes.evaluation.generated import (
    SEED_STRIDE,
    Amounts,
    EvaluationProgress,
    Meter,
    measure_generated,
    sampling_steps,
)
from visual_echoes.evaluation.records import Measures
from visual_echoes.evaluation.report import ClassesReport, DataFacts, ModelFacts
from visual_echoes.evaluation.targets import Target
from visual_echoes.metrics.classifiers import Judge
from visual_echoes.model.settings import with_changes
from visual_echoes.pipeline import VisualEchoes

Measured = TypeVar("Measured")


class Evaluation:
    """One evaluation: what is measured with what, and what a report says about that.

    Args:
        images: as in `Exam`; the rest as in `evaluate_classes`.

    Attributes:
        sampling: the settings in full.
        meter: its `total` can be raised before anything is measured.
        seconds: what each part took.

    Raises:
        EchoesError: unusable data, judges, amounts or settings.
    """

    def __init__(
        self, echoes: VisualEchoes, data: Path, image_judge: Judge, audio_judge: Judge, amounts: Amounts,
        batch_size: int, settings: Mapping[str, Any] | None, progress: EvaluationProgress | None,
        pictures: int | None = None,
    ) -> None:  # fmt: skip
        self.data, self.amounts, self.judges = data, amounts, {"image": image_judge, "audio": audio_judge}
        self.sampling = with_changes(echoes.defaults, settings or {})
        self.exam = Exam(echoes, data, image_judge, audio_judge, batch_size, pictures)
        _check_amounts(amounts, len(self.exam.pictures_BHWC), len(self.exam.waves_BN))
        unguided = self.sampling.model_copy(update={"guidance": 1.0})
        self.unguided = unguided if self.sampling.guidance != 1.0 else None
        variants = [self.sampling] if self.unguided is None else [self.sampling, self.unguided]
        self.meter = Meter(progress, sum(sampling_steps(self.exam, amounts, variant) for variant in variants))
        self.seconds: dict[str, float] = {}

    def measure(
        self,
        round_trip: Gallery | None = None,
        generated: Gallery | None = None,
        unguided: Gallery | None = None,
    ) -> Measures:
        """Real data, round trip and generated items; each gallery is shown its column."""
        exam, made = self.exam, (self.exam, self.amounts)
        return Measures(
            real=self.timed("real", measure_real, exam),
            round_trip=self.timed("round_trip", measure_round_trip, exam, round_trip),
            generated=self.timed("generated", measure_generated, *made, self.sampling, self.meter, generated),
            unguided=None
            if self.unguided is None
            else self.timed("unguided", measure_generated, *made, self.unguided, self.meter, unguided),
        )

    def timed(self, name: str, measure: Callable[..., Measured], *arguments: Any) -> Measured:
        """Call and note the time."""
        start = time.perf_counter()
        measured = measure(*arguments)
        self.seconds[name] = round(time.perf_counter() - start, 1)
        return measured

    def facts(self) -> dict[str, Any]:
        """The fields of a report that say with what was measured."""
        exam = self.exam
        return {
            "version": __version__,
            "torch_version": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": str(exam.echoes.device),
            "model": model_facts(exam.echoes),
            "data": DataFacts(
                sources=_sources(self.data),
                pictures=len(exam.pictures_BHWC),
                sounds=len(exam.waves_BN),
                training_pictures=len(exam.training.images),
            ),
            "judges": {modality: weights_digest(judge.network) for modality, judge in self.judges.items()},
            "seeds": self.amounts.seeds,
            "pairs": self.amounts.pairs,
            "sound_repeats": self.amounts.sound_repeats,
            "batch_size": exam.batch_size,
            "seconds": self.seconds,
        }


def evaluate_classes(
    echoes: VisualEchoes,
    data: Path,
    image_judge: Judge,
    audio_judge: Judge,
    targets: Sequence[Target[Measures]],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    pairs: int = 1000,
    sound_repeats: int = 4,
    batch_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    progress: EvaluationProgress | None = None,
) -> ClassesReport:
    """Measure a model on the test split of prepared data.

    Every direction runs once per seed, with the settings as they are and, if those have guidance, without. With the
    digits' 1,000 test images and 300 test sounds the defaults make 1,000 sounds, 1,200 images and twice 1,000 pairs
    per seed.

    Args:
        data: a folder of prepared data; its train split serves to find copies.
        targets: what the measures are held to, for instance `targets.DIGITS`.
        pairs: pairs from nothing, per seed and per order of unmasking.
        sound_repeats: images made for each test sound.
        batch_size: changes the speed, not the result.
        settings: any of `SamplingSettings`, over the model's defaults.
        progress: called with what is being made, sampling steps done and steps in all.

    Raises:
        EchoesError: unusable data, judges, amounts or settings.
    """
    amounts = Amounts(tuple(seeds), pairs, sound_repeats)
    evaluation = Evaluation(echoes, data, image_judge, audio_judge, amounts, batch_size, settings, progress)
    measures = evaluation.measure()
    return ClassesReport(
        **evaluation.facts(), measures=measures, targets=tuple(target.check(measures) for target in targets)
    )


def _check_amounts(amounts: Amounts, pictures: int, sounds: int) -> None:
    if not amounts.seeds or len(set(amounts.seeds)) < len(amounts.seeds):
        raise EchoesError("There must be at least one seed, and no seed twice.")
    if amounts.pairs < 1 or amounts.sound_repeats < 1:
        raise EchoesError("There must be at least one pair and one image for each sound.")
    if max(pictures, sounds * amounts.sound_repeats, amounts.pairs) > SEED_STRIDE:
        raise EchoesError(f"More than {SEED_STRIDE} items per seed would share noise with the next; ask for fewer.")


def model_facts(echoes: VisualEchoes) -> ModelFacts:
    model, graphs = echoes.model, {str(name): checksum for name, checksum in echoes.codec.graphs.checksums.items()}
    checksums = {str(name): model.files[name].sha256 if name in model.files else None for name in model.parts}
    return ModelFacts(name=model.name, version=model.version, layout=model.layout, checksums=checksums, graphs=graphs)


def _sources(data: Path) -> dict[str, str]:
    """Checksums of the files the data was prepared from."""
    try:
        return dict(json.loads((data / DESCRIPTION).read_text(encoding="utf-8"))["sources"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EchoesError(f"{data / DESCRIPTION} names no sources ({error}); prepare the data again.") from error


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over all tensors of a network, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
