"""Files of classes become arrays: windows where the sound is, one class and split each, whatever is broken is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from data.class_files import RATE, write_image, write_sound
from visual_echoes.data.classes import WINDOWS, ClassFile, SilentSound, fit_classes, loud_windows
from visual_echoes.data.manifest import SPLITS, Split
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.errors import EchoesError

LAYOUT = replace(tiny.LAYOUT, peak=None)  # so that levels tell which file a sound is from
SAMPLES = LAYOUT.clip_samples


def test_windows_are_where_the_energy_is() -> None:
    wave = np.zeros(20 * 80, np.float32)
    wave[400:440] = 0.3
    wave[1200:1240] = 0.9
    starts = loud_windows(wave, 80, 4)
    assert len(starts) == 4
    for start in starts:  # the quieter sound has an eighth of the energy; silence has none
        assert np.square(wave[start : start + 80]).sum() >= 0.1 * 40 * 0.81 * 0.99
    assert starts[0] <= 1200 <= 1240 <= starts[0] + 80
    every = loud_windows(wave, 80, 1000)
    assert any(start + 80 > 400 and start < 440 for start in every)
    assert all(start + 80 > 400 and start < 1240 for start in every)
    assert len(set(every)) == len(every) < 1600 // 10


def test_what_is_faint_beside_the_loudest_gives_no_window() -> None:
    wave = np.zeros(1600, np.float32)
    wave[400:440] = 0.9
    wave[1200:1240] = 0.9 * np.sqrt(0.1) * 0.95  # just below -10 dB
    assert all(start < 440 for start in loud_windows(wave, 80, 1000))


@given(length=st.integers(1, 300), samples=st.integers(1, 100), count=st.integers(1, 9), seed=st.integers(0, 99))
def test_windows_lie_within_the_sound_and_the_loudest_comes_first(
    length: int, samples: int, count: int, seed: int
) -> None:
    wave = np.random.default_rng(seed).normal(size=length).astype(np.float32)
    starts = loud_windows(wave, samples, count)
    assert 1 <= len(starts) <= count
    energies = [float(np.square(wave[start : start + samples].astype(np.float64)).sum()) for start in starts]
    assert energies == pytest.approx(sorted(energies, reverse=True))
    assert all(0 <= start <= max(0, length - samples) for start in starts)


def files(folder: Path) -> tuple[list[ClassFile], list[ClassFile]]:
    """Of each class and split an image and a sound of two windows' length; levels tell which."""
    pictures, sounds = [], []
    for row, label in enumerate(("dog", "cat")):
        for column, split in enumerate(SPLITS):
            level = 1 + row * len(SPLITS) + column
            pictures.append(ClassFile(write_image(folder / label / f"{split}.png", 20 * level), label, split))
            sound = write_sound(folder / label / f"{split}.wav", 0.1 * level, 2 * LAYOUT.seconds)
            sounds.append(ClassFile(sound, label, split))
    return pictures, sounds


def test_every_file_is_in_its_class_and_split(tmp_path: Path) -> None:
    pictures, sounds = files(tmp_path)
    seen: list[tuple[int, int]] = []
    target = tmp_path / "new" / "out"
    classes = fit_classes(pictures, sounds, LAYOUT, lambda done, total: seen.append((done, total)))
    counts = classes.write(target, LAYOUT, {"a.tar": "0"})
    assert read_groups(target) == ["cat", "dog"]
    assert json.loads((target / "dataset.json").read_text())["sources"] == {"a.tar": "0"}
    assert seen == [(done, 12) for done in range(1, 13)]
    for column, split in enumerate(SPLITS):
        found = read_split(target, split, LAYOUT)
        windows = WINDOWS if split == "train" else 1
        assert counts[split] == (2, 2 * windows) == (len(found.images), len(found.sounds))
        for group, row in ((0, 1), (1, 0)):
            level = 1 + row * len(SPLITS) + column
            assert set(found.images[found.image_groups == group].flatten().tolist()) == {20 * level}
            of_group = found.sounds[found.sound_groups == group]
            assert len(of_group) == windows
            assert set(of_group.flatten().tolist()) == {round(0.1 * level * 32768)}


def test_a_short_sound_is_centred_and_a_loud_one_clipped(tmp_path: Path) -> None:
    sound = ClassFile(write_sound(tmp_path / "a.wav", 1.5, 100 / RATE), "a", "train")
    split = fit_classes([], [sound], LAYOUT).splits["train"]
    first = (SAMPLES - 100) // 2
    assert split.images.shape == (0, 1, 16, 16)
    assert split.sounds.shape == (1, SAMPLES)
    assert split.sounds[0].nonzero()[:, 0].tolist() == list(range(first, first + 100))
    assert set(split.sounds[0].tolist()) == {0, 32767}


@pytest.mark.parametrize("kind", ["picture", "sound"])
def test_a_broken_file_is_named(tmp_path: Path, kind: str) -> None:
    pictures, sounds = files(tmp_path)
    broken = (pictures if kind == "picture" else sounds)[3].path
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(EchoesError, match=str(broken)):
        fit_classes(pictures, sounds, LAYOUT)


def test_broken_and_silent_files_can_be_left_out(tmp_path: Path) -> None:
    pictures, sounds = files(tmp_path)
    for broken in (pictures[0], sounds[5]):
        broken.path.write_bytes(b"nothing")
    write_sound(sounds[1].path, 5e-4)
    left: dict[Path, type] = {}
    found = fit_classes(pictures, sounds, LAYOUT, leave_out=lambda file, error: left.update({file.path: type(error)}))
    assert left == {pictures[0].path: EchoesError, sounds[5].path: EchoesError, sounds[1].path: SilentSound}
    counts = {name: (len(split.images), len(split.sounds)) for name, split in found.splits.items()}
    assert counts == {"train": (1, 16), "valid": (2, 1), "test": (2, 1)}
    assert found.groups == ["cat", "dog"]
    # Without a say in it silence is kept: nothing of a published set goes missing.
    quiet: list[Split] = ["train"]
    kept = fit_classes([], [ClassFile(sounds[1].path, "dog", split) for split in quiet], LAYOUT)
    assert torch.equal(kept.splits["train"].sounds, torch.full((1, SAMPLES), 16, dtype=torch.int16))
