"""Writing items of a result, and what the files say about themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.media import read_audio, read_image, read_metadata
from visual_echoes.outputs import export_item
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.provenance.mark import provenance, source_name


def test_the_item_of_the_row_is_written(echoes: VisualEchoes, tmp_path: Path) -> None:
    result = echoes.generate_pair(3, seed=11, steps=2)
    paths = export_item(echoes.model, result, 2, tmp_path / "v1.0", [".png", ".wav", ".mp4"], task="pair", source=None)
    assert [path.name for path in paths] == ["v1.0.png", "v1.0.wav", "v1.0.mp4"]
    assert result.images is not None
    assert result.audio is not None
    assert (np.asarray(read_image(paths[0])) == result.images[2, ..., 0]).all()
    assert np.abs(read_audio(paths[1], tiny.LAYOUT.sample_rate) - result.audio[2]).max() < 1e-4
    for path in paths:
        metadata = read_metadata(path)
        assert (metadata["seed"], metadata["steps"], metadata["task"]) == ("13", "2", "pair")
        assert "source" not in metadata


def test_what_was_chosen_among_candidates_says_among_how_many_and_how_well_it_agrees(
    echoes: VisualEchoes, tmp_path: Path
) -> None:
    for best_of in (1, 3):
        result = echoes.generate_pair(2, steps=1, best_of=best_of)
        (path,) = export_item(echoes.model, result, 1, tmp_path / "a", [".wav"])
        metadata = read_metadata(path)
        assert metadata["best_of"] == str(best_of)
        assert ("model_agreement" in metadata) is (best_of > 1)
    assert result.agreement is not None
    assert metadata["model_agreement"] == f"{result.agreement[1]:.2f}"


def test_a_round_trip_has_neither_seed_nor_settings(echoes: VisualEchoes, tmp_path: Path) -> None:
    result = echoes.reconstruct(images=[np.zeros((16, 16), np.uint8)])
    (path,) = export_item(echoes.model, result, 0, tmp_path / "a", [".png"], task="reconstruct")
    assert not {"seed", "steps"} & set(read_metadata(path))


def test_a_missing_folder_is_named(echoes: VisualEchoes, tmp_path: Path) -> None:
    result = echoes.generate_pair(1)
    with pytest.raises(EchoesError, match="gone/a.png"):
        export_item(echoes.model, result, 0, tmp_path / "gone" / "a", [".png"])


def test_generated_content_is_marked_as_such(echoes: VisualEchoes) -> None:
    metadata = provenance(echoes.model, seed=0, source=None)
    assert metadata["synthetic"] == "true"
    assert metadata["digital_source_type"].endswith("/trainedAlgorithmicMedia")
    assert metadata["seed"] == "0"
    assert "source" not in metadata


def test_source_names_are_text_without_folders() -> None:
    assert source_name("/home/me/cat.png") == "cat.png"
    assert source_name(Path("bad\udcff.png")) == "bad\N{REPLACEMENT CHARACTER}.png"
