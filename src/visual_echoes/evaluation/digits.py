"""Evaluating a model on data paired by class, as the `digits` model's targets ask: judged classes, round trip,
diversity, guidance and level, over several seeds.

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
from visual_echoes.data.pairs import DESCRIPTION
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.baseline import measure_real, measure_round_trip
from visual_echoes.evaluation.exam import Exam
from visual_echoes.evaluation.generated import (
    SEED_STRIDE,
    Amounts,
    EvaluationProgress,
    Meter,
    measure_generated,
    sampling_steps,
)
from visual_echoes.evaluation.judges import Judge
from visual_echoes.evaluation.records import Measures
from visual_echoes.evaluation.report import TARGETS, DataFacts, DigitsReport, ModelFacts
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.weights import Model, read_description

Measured = TypeVar("Measured")


def evaluate_digits(
    echoes: VisualEchoes,
    data: Path,
    image_judge: Judge,
    audio_judge: Judge,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    pairs: int = 1000,
    sound_repeats: int = 4,
    batch_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    model_folder: Path | None = None,
    progress: EvaluationProgress | None = None,
) -> DigitsReport:
    """Measure a model on the test split of prepared data.

    Every direction runs once per seed, with the settings as they are and, if those have guidance, without. With the
    digits' 1,000 test pictures and 300 test sounds the defaults make 1,000 sounds, 1,200 pictures and twice 1,000 pairs
    per seed.

    Args:
        data: a folder of prepared data; its train split serves to find copies.
        pairs: pairs from nothing, per seed and per order of unmasking.
        sound_repeats: pictures made for each test sound.
        batch_size: changes the speed, not the result.
        settings: any of `SamplingSettings`, over the model's defaults.
        model_folder: the folder the model was read from; its checksums go into the report.
        progress: called with what is being made, sampling steps done and steps in all.

    Raises:
        EchoesError: unusable data, judges, amounts or settings.
    """
    sampling = echoes._settings(dict(settings or {}))
    amounts = Amounts(tuple(seeds), pairs, sound_repeats)
    exam = Exam(echoes, data, image_judge, audio_judge, batch_size)
    _check_amounts(amounts, len(exam.pictures_BHWC), len(exam.waves_BN))
    unguided = sampling.model_copy(update={"guidance": 1.0, "convention": "interpolate"})
    variants = [sampling, unguided] if sampling.guided else [sampling]
    meter = Meter(progress, sum(sampling_steps(exam, amounts, variant) for variant in variants))
    seconds: dict[str, float] = {}
    measures = Measures(
        real=_timed(seconds, "real", measure_real, exam),
        round_trip=_timed(seconds, "round_trip", measure_round_trip, exam),
        generated=_timed(seconds, "generated", measure_generated, exam, amounts, sampling, meter),
        unguided=_timed(seconds, "unguided", measure_generated, exam, amounts, unguided, meter)
        if sampling.guided
        else None,
    )
    return DigitsReport(
        version=__version__,
        torch_version=torch.__version__,
        threads=torch.get_num_threads(),
        device=str(echoes.device),
        model=_model_facts(echoes.model, model_folder),
        data=DataFacts(
            sources=_sources(data),
            pictures=len(exam.pictures_BHWC),
            sounds=len(exam.waves_BN),
            training_pictures=len(exam.training_pictures),
        ),
        judges={"image": _weights_digest(image_judge.network), "audio": _weights_digest(audio_judge.network)},
        seeds=amounts.seeds,
        pairs=pairs,
        sound_repeats=sound_repeats,
        batch_size=batch_size,
        measures=measures,
        targets=tuple(target.check(measures) for target in TARGETS),
        seconds=seconds,
    )


def _check_amounts(amounts: Amounts, pictures: int, sounds: int) -> None:
    if not amounts.seeds or len(set(amounts.seeds)) < len(amounts.seeds):
        raise EchoesError("There must be at least one seed, and no seed twice.")
    if amounts.pairs < 1 or amounts.sound_repeats < 1:
        raise EchoesError("There must be at least one pair and one picture for each sound.")
    if max(pictures, sounds * amounts.sound_repeats, amounts.pairs) > SEED_STRIDE:
        raise EchoesError(f"More than {SEED_STRIDE} items per seed would share noise with the next; ask for fewer.")


def _timed(seconds: dict[str, float], name: str, measure: Callable[..., Measured], *arguments: Any) -> Measured:
    start = time.perf_counter()
    measured = measure(*arguments)
    seconds[name] = round(time.perf_counter() - start, 1)
    return measured


def _model_facts(model: Model, folder: Path | None) -> ModelFacts:
    parts = {} if folder is None else read_description(folder).parts
    checksums = {str(name): part.sha256 for name, part in parts.items()}
    return ModelFacts(name=model.name, version=model.version, layout=model.layout, checksums=checksums)


def _sources(data: Path) -> dict[str, str]:
    """Checksums of the files the data was prepared from."""
    try:
        return dict(json.loads((data / DESCRIPTION).read_text(encoding="utf-8"))["sources"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EchoesError(f"{data / DESCRIPTION} names no sources ({error}); prepare the data again.") from error


def _weights_digest(network: nn.Module) -> str:
    """SHA-256 over all tensors of a network, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
