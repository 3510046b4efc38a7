"""The judges inside the package."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation import packaged
from visual_echoes.metrics.classifiers import JudgeConfig, build_judge, save_judge


def test_an_unknown_judge_is_refused_with_the_known_names() -> None:
    for name in ("no-such-judge", "../weights", ""):
        with pytest.raises(EchoesError, match="There is no packaged judge"):
            packaged.packaged_judge(name)


def test_a_judge_beside_the_code_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = JudgeConfig(modality="image", width=4)
    save_judge(tmp_path / "bars", build_judge(config, tiny.LAYOUT, 2), config, tiny.LAYOUT, ["a", "b"])
    monkeypatch.setattr(packaged, "_folder", lambda: tmp_path)
    assert packaged.packaged_judges() == ["bars"]
    assert packaged.packaged_judge("bars").groups == ["a", "b"]


def test_every_packaged_judge_loads() -> None:
    for name in packaged.packaged_judges():
        groups = packaged.packaged_judge(name).groups
        assert len(set(groups)) == len(groups) > 1
