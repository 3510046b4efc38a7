"""Evaluating a model on data paired by class, over several seeds, against a set of targets and beside baselines.

Real data, the tokenizers' round trip and made items are measured side by side, so that a bad figure can be told from a
classifier's or a tokenizer's limit. Everything is a pure function of model, data, classifiers and seeds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from visual_echoes.data.manifest import DESCRIPTION
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.baselines import Baseline, BaselineModel
from visual_echoes.evaluation.evaluation_set import EvaluationSet
from visual_echoes.evaluation.making import (
    DIRECTIONS,
    SEED_STRIDE,
    TARGETS,
    Amounts,
    EvaluationProgress,
    Meter,
    Target,
    make,
    measure_results,
)
from visual_echoes.evaluation.measures import WORDS, backbone_facts, measures_of, versions
from visual_echoes.evaluation.measuring import merged
from visual_echoes.evaluation.probes import SecondOpinion
from visual_echoes.evaluation.records import Column, DataFacts, ModelFacts, Report
from visual_echoes.evaluation.round_trip import measure_real, measure_round_trip
from visual_echoes.evaluation.targets import Goal
from visual_echoes.layout import Modality
from visual_echoes.metrics.classifiers import Classifier
from visual_echoes.metrics.networks.base import Backbone
from visual_echoes.model.settings import SamplingSettings, with_changes
from visual_echoes.pipeline import VisualEchoes

PROTOCOL = (
    "Real items are the test split; their distances are those of half of the training split. All distances are from "
    "the test split, in the features of this project's classifiers: neither FID nor FAD. Unguided is the model without "
    "guidance. What stands behind ± is the standard deviation over seeds."
)


def evaluate_model(
    echoes: VisualEchoes,
    data: Path,
    classifiers: Mapping[Modality, Classifier],
    goals: Sequence[Goal],
    *,
    baselines: Mapping[str, Baseline] | None = None,
    opinions: Mapping[Modality, SecondOpinion] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    images: int | None = None,
    pairs: int = 1000,
    sound_repeats: int = 4,
    batch_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    progress: EvaluationProgress | None = None,
) -> Report:
    """Measure a model on the test split of prepared data.

    Every direction runs once per seed, with the settings as they are and, if those have guidance, without. With the
    digits' 1,000 test images and 300 test sounds the defaults make 1,000 sounds, 1,200 images and twice 1,000 pairs
    per seed.

    Args:
        data: a folder of prepared data; its train split serves to find copies.
        goals: what the figures are held to, for instance `targets.DIGITS`.
        baselines: what is measured beside the model, by name; on the tokens of the model's own tokenizers.
        opinions: second opinions, for the modalities that have one.
        images: test images, the first and as many of each class; None for all.
        pairs: pairs from nothing, per seed and per order of unmasking.
        sound_repeats: images made for each test sound.
        batch_size: changes the speed, not the result.
        settings: any of `SamplingSettings`, over the model's defaults.
        progress: called with what is being made, sampling steps done and steps in all.

    Raises:
        EchoesError: unusable data, classifiers, amounts or settings.
    """
    sampling, opinions = with_changes(echoes.defaults, settings or {}), opinions or {}
    amounts = Amounts(tuple(seeds), pairs, sound_repeats)
    test = EvaluationSet(echoes, data, classifiers, batch_size, images)
    sources = _sources(data)
    counts = {modality: len(side.items) for modality, side in test.sides.items()}
    _check_amounts(amounts, counts["image"], counts["audio"])
    ways: dict[str, tuple[VisualEchoes | BaselineModel, SamplingSettings, Sequence[Target]]] = {
        "generated": (echoes, sampling, TARGETS)
    }
    if sampling.guidance != 1.0:
        ways["unguided"] = echoes, sampling.model_copy(update={"guidance": 1.0}), TARGETS
    for name, baseline in (baselines or {}).items():
        ways[name] = BaselineModel(echoes.codec, baseline), sampling, DIRECTIONS
    steps = sum(amounts.steps(test, target, way) for _, way, wanted in ways.values() for target in wanted)
    meter = Meter(progress, steps * len(amounts.seeds))
    made: dict[Modality, int] = {
        "image": len(seeds) * amounts.items(test, "image"),
        "audio": len(seeds) * amounts.items(test, "sound"),
    }

    def measure_way(name: str) -> Column:
        maker, way, wanted = ways[name]
        found = [] if isinstance(maker, BaselineModel) else [Column(settings=way.model_dump())]
        for target in wanted:
            results = make(test, maker, target, way, amounts, meter, f"{name}: ")
            opinion = opinions.get("audio" if target == "sound" else "image")
            found.append(measure_results(test, target, results, opinion))
        return merged(found)

    works: dict[str, Callable[[], Column]] = {
        "real": partial(measure_real, test, opinions, made),
        "round trip": partial(measure_round_trip, test, opinions),
        **{name: partial(measure_way, name) for name in ways},
    }
    columns, seconds = dict[str, Column](), dict[str, float]()
    for name, work in works.items():
        start = time.perf_counter()
        columns[name] = work()
        seconds[name] = round(time.perf_counter() - start, 1)
    backbones: dict[str, Backbone] = {f"{WORDS[m]} classifier": side.classifier for m, side in test.sides.items()}
    backbones |= {f"{WORDS[m]} second opinion": opinion.backbone for m, opinion in opinions.items()}
    sizes = {
        "test images": counts["image"],
        "test sounds": counts["audio"],
        "training images": len(test.training.images),
    }
    return Report(
        title=f"{echoes.model.name} {echoes.model.version}: {counts['image']} test images, {counts['audio']} test "
        f"sounds, seeds {', '.join(map(str, seeds))}, guidance {sampling.guidance:g}",
        protocol=PROTOCOL,
        settings={
            "seeds": ", ".join(map(str, seeds)), "pairs": pairs, "sound repeats": sound_repeats,
            "batch size": batch_size, "device": str(echoes.device), "precision": echoes.codec.precision,
            "threads": torch.get_num_threads(),
        },
        versions=versions(),
        backbones={name: backbone_facts(backbone) for name, backbone in backbones.items()},
        measures=measures_of(columns),
        columns=columns,
        model=model_facts(echoes),
        data=DataFacts(sources=sources, items=sizes),
        targets=tuple(goal.check(columns) for goal in goals),
        seconds=seconds,
    )  # fmt: skip


def _check_amounts(amounts: Amounts, images: int, sounds: int) -> None:
    if not amounts.seeds or len(set(amounts.seeds)) < len(amounts.seeds):
        raise EchoesError("There must be at least one seed, and no seed twice.")
    if amounts.pairs < 1 or amounts.sound_repeats < 1:
        raise EchoesError("There must be at least one pair and one image for each sound.")
    if max(images, sounds * amounts.sound_repeats, amounts.pairs) > SEED_STRIDE:
        raise EchoesError(f"More than {SEED_STRIDE} items per seed would share noise with the next; ask for fewer.")


def model_facts(echoes: VisualEchoes) -> ModelFacts:
    """What a report says of a model."""
    model, graphs = echoes.model, {str(name): checksum for name, checksum in echoes.codec.graphs.checksums.items()}
    checksums = {str(name): model.files[name].sha256 if name in model.files else None for name in model.parts}
    return ModelFacts(name=model.name, version=model.version, layout=model.layout, checksums=checksums, graphs=graphs)


def _sources(data: Path) -> dict[str, str]:
    """Checksums of the files the data was prepared from."""
    try:
        return dict(json.loads((data / DESCRIPTION).read_text(encoding="utf-8"))["sources"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EchoesError(f"{data / DESCRIPTION} names no sources ({error}); prepare the data again.") from error
