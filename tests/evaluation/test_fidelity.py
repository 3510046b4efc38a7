"""Round trips compared with what went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.material import write_images, write_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.fidelity import image_fidelity, sound_fidelity
from visual_echoes.evaluation.listing import Listing, list_folder
from visual_echoes.evaluation.records import Figure
from visual_echoes.layout import LAYOUTS

LAYOUT = LAYOUTS["digits"]


def nothing(done: int) -> None:
    pass


def test_equal_files_are_as_near_as_can_be(tmp_path: Path) -> None:
    images = list_folder(write_images(tmp_path / "p", 3), "image")
    found = image_fidelity(images, images, lambda a, b: 0.25, nothing)
    assert found["PSNR (dB)"].value == 120.0
    assert found["SSIM"].value == pytest.approx(1.0)
    assert (found["LPIPS"].value, found["LPIPS"].spread, found["LPIPS"].items) == (0.25, 0.0, 3)
    sounds = list_folder(write_sounds(tmp_path / "s", 3), "audio")
    assert [m.value for m in sound_fidelity(sounds, sounds, LAYOUT, nothing).values()] == [0.0, 0.0]


def test_figures_of_images_are_those_of_torchmetrics(tmp_path: Path) -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    first, second = (list_folder(write_images(tmp_path / str(s), 2, seed=s), "image") for s in (0, 1))
    found = image_fidelity(first, second, None, nothing)
    sides = [
        [torch.from_numpy(np.array(Image.open(p))).movedim(-1, 0)[None].double() for p in listing.files.values()]
        for listing in (first, second)
    ]
    ratios = [float(peak_signal_noise_ratio(b, a, data_range=255.0)) for a, b in zip(*sides, strict=True)]
    assert found["PSNR (dB)"].value == pytest.approx(np.mean(ratios), rel=1e-6)
    assert found["PSNR (dB)"].spread == pytest.approx(np.std(ratios, ddof=1) / 2**0.5)
    inside = []  # windows wholly inside; their mean counts some that are padded
    for a, b in zip(*sides, strict=True):
        _, positions = structural_similarity_index_measure(b, a, data_range=255.0, sigma=1.5, return_full_image=True)
        inside.append(float(positions[..., 5:-5, 5:-5].mean()))
    assert found["SSIM"].value == pytest.approx(np.mean(inside), rel=1e-6)


def test_a_larger_image_is_cropped_and_resized_as_the_tokenizer_sees_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (80, 60), (200, 10, 90)).save(tmp_path / "a" / name)
        Image.new("RGB", (32, 32), (200, 10, 90)).save(tmp_path / "b" / name)
    first, second = (list_folder(tmp_path / name, "image") for name in "ab")
    assert image_fidelity(first, second, None, nothing)["PSNR (dB)"].value == 120.0
    with pytest.raises(EchoesError, match="32x32 .*|of one size, or square"):
        image_fidelity(second, first, None, nothing)


def test_sounds_of_another_length_are_no_round_trip(tmp_path: Path) -> None:
    first = list_folder(write_sounds(tmp_path / "a", 2), "audio")
    with pytest.raises(EchoesError, match=r"lasts 0.25 s .* 0.50 s"):
        sound_fidelity(first, list_folder(write_sounds(tmp_path / "b", 2, samples=2000), "audio"), LAYOUT, nothing)
    near = list_folder(write_sounds(tmp_path / "c", 2, samples=4100), "audio")
    assert sound_fidelity(first, near, LAYOUT, nothing)["mel L1"].items == 2


def test_only_what_has_a_counterpart_is_compared(tmp_path: Path) -> None:
    first = list_folder(write_sounds(tmp_path / "a", 3), "audio")
    some = Listing("some", "audio", {"001": first.files["001"]})
    assert sound_fidelity(first, some, LAYOUT, nothing)["STFT distance"].items == 1
    assert Figure.of_files([2.0]).spread == 0.0
