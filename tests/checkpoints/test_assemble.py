"""Merging parts into one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.checkpoints.assemble import assemble
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.tokenizers.semantic import AudioSemanticConfig, AudioSemanticTokenizer


def save_parts(folder: Path, model: Model, names: Sequence[PartName], layout: Layout | None = None) -> Path:
    kept = {name: model.parts[name] for name in names}
    save_model(folder, dataclasses.replace(model, parts=kept, layout=layout or model.layout), half=False)
    return folder


def test_the_model_answers_as_the_one_that_was_taken_apart(whole_model: Model, tmp_path: Path) -> None:
    folders = [save_parts(tmp_path / name, whole_model, [name]) for name in whole_model.parts]
    merged = assemble(folders, "merged", "# Card", whole_model.sampling)
    assert (merged.name, merged.card) == ("merged", "# Card")
    cpu = torch.device("cpu")
    results = [VisualEchoes(model, cpu).generate_pair(3, seed=1) for model in (merged, whole_model)]
    for one, other in ((results[0].images, results[1].images), (results[0].audio, results[1].audio)):
        assert one is not None
        assert other is not None
        assert np.array_equal(one, other)


def test_one_folder_may_bring_several_parts_and_griffin_lim_is_the_vocoder_without_one(
    whole_model: Model, tmp_path: Path
) -> None:
    folders = [
        save_parts(tmp_path / "tokenizers", whole_model, ["image_vqgan", "audio_vqgan"]),
        save_parts(tmp_path / "transformer", whole_model, ["transformer"]),
    ]
    merged = assemble(folders, "merged", "", SamplingSettings(steps=2))
    assert merged.kinds["vocoder"] == "griffin-lim"
    sound = VisualEchoes(merged, torch.device("cpu")).generate_pair(1).audio
    assert sound is not None
    assert sound.shape == (1, whole_model.layout.samples)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("image_vqgan", {"image_size": 32}),
        ("audio_vqgan", {"peak": 0.9}),
        ("audio_vqgan", {"fmin": 50.0}),
        ("vocoder", {"fmax": 3900.0}),
        ("transformer", {"peak": 0.9}),
        ("transformer", {"image_channels": 3}),
    ],
)
def test_parts_of_another_layout_are_refused(
    whole_model: Model, tmp_path: Path, part: PartName, changes: dict[str, Any]
) -> None:
    other = dataclasses.replace(whole_model.layout, **changes)
    folders = [
        save_parts(tmp_path / "one", whole_model, [name for name in whole_model.parts if name != part]),
        save_parts(tmp_path / "two", whole_model, [part], other),
    ]
    with pytest.raises(EchoesError, match="take parts of one layout"):
        assemble(folders, "merged", "", SamplingSettings())


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("image_vqgan", {"name": "pictures", "peak": 0.9, "audio_codes": 64, "n_mels": 8}),
        ("audio_vqgan", {"name": "sounds", "image_codes": 64, "image_size": 32}),
        ("vocoder", {"name": "voices", "image_codes": 64, "audio_codes": 64, "seconds": 0.5}),
    ],
)
def test_what_does_not_concern_a_part_may_differ(
    whole_model: Model, tmp_path: Path, part: PartName, changes: dict[str, Any]
) -> None:
    """A published image tokenizer knows nothing of sounds, so its folder's sounds do not count."""
    other = dataclasses.replace(whole_model.layout, **changes)
    folders = [
        save_parts(tmp_path / "one", whole_model, [part], other),
        save_parts(tmp_path / "two", whole_model, [name for name in whole_model.parts if name != part]),
    ]
    assert assemble(folders, "merged", "", SamplingSettings()).layout == whole_model.layout


def test_a_part_that_comes_twice_is_refused(whole_model: Model, tmp_path: Path) -> None:
    folders = [save_parts(tmp_path / name, whole_model, ["transformer"]) for name in ("one", "two")]
    with pytest.raises(EchoesError, match="two brings a second transformer"):
        assemble(folders, "merged", "", SamplingSettings())


@pytest.mark.parametrize("missing", ["image_vqgan", "audio_vqgan", "transformer"])
def test_a_missing_part_is_named(whole_model: Model, tmp_path: Path, missing: PartName) -> None:
    names = [name for name in whole_model.parts if name != missing]
    folder = save_parts(tmp_path / "parts", whole_model, names)
    with pytest.raises(EchoesError, match=f"hold no {missing}; add"):
        assemble([folder], "merged", "", SamplingSettings())


def test_no_parts_are_refused() -> None:
    with pytest.raises(EchoesError, match="needs parts"):
        assemble([], "merged", "", SamplingSettings())


def test_semantic_tokenizers_are_parts_where_the_layout_has_their_streams(tmp_path: Path) -> None:
    model = tiny.model_with_meaning()
    folders = []
    for name, part in model.parts.items():
        folders.append(tmp_path / name)
        save_model(folders[-1], replace(model, parts={name: part}, files={}), half=False)
    whole = assemble(folders, "whole", "", model.sampling)
    assert whole.layout == model.layout
    assert whole.parts.keys() == model.parts.keys()
    with pytest.raises(EchoesError, match="no audio_semantic"):
        assemble([folder for folder in folders if folder.name != "audio_semantic"], "whole", "", model.sampling)


def test_a_tokenizer_may_hold_more_codes_a_position_than_the_transformer_takes(tmp_path: Path) -> None:
    model = tiny.model_with_meaning()
    for name, part in model.parts.items():
        layout = replace(model.layout, audio_depth=2) if name == "audio_vqgan" else model.layout
        save_model(tmp_path / name, replace(model, parts={name: part}, layout=layout, files={}), half=False)
    assert assemble([tmp_path / name for name in model.parts], "whole", "", model.sampling).layout == model.layout


def test_a_semantic_tokenizer_of_other_codes_is_refused(tmp_path: Path) -> None:
    model = tiny.model_with_meaning()
    model.parts["audio_semantic"] = AudioSemanticTokenizer(AudioSemanticConfig(codes=8, code_dim=4, width=8))
    save_model(tmp_path, model, half=False)
    with pytest.raises(EchoesError, match="1 x 8 codes a position, but layout 'with meaning' has 1 x 4"):
        load_model(tmp_path)


def test_a_semantic_tokenizer_that_speaks_more_often_is_refused(tmp_path: Path) -> None:
    model = tiny.model_with_meaning()
    model.parts["audio_semantic"] = AudioSemanticTokenizer(AudioSemanticConfig(codes=4, code_dim=4, width=8, hop=16))
    save_model(tmp_path, model, half=False)
    with pytest.raises(EchoesError, match="makes 5 tokens of a sound, but layout 'with meaning' has 2"):
        load_model(tmp_path)


def test_a_base_brings_what_the_folders_do_not(whole_model: Model, model_folder: Path, tmp_path: Path) -> None:
    """A transformer of videos beside the tokenizers and the vocoder of a model of stills."""
    own = save_parts(tmp_path / "own", tiny.video_model(), ["transformer"], tiny.VIDEO_LAYOUT)
    merged = assemble([own], "merged", "", SamplingSettings(), str(model_folder))
    assert merged.layout == tiny.VIDEO_LAYOUT
    assert set(merged.parts) == set(whole_model.parts)
    for name, part in merged.parts.items():
        expected = (tiny.video_model() if name == "transformer" else whole_model).parts[name].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in part.state_dict().items())
