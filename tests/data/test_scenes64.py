"""Which image and which recording of 21 kinds gets into which split, on a made-up source of the same form."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from data import scene_files as made
from visual_echoes.data import scenes
from visual_echoes.data.manifest import SPLITS
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.data.scenes import CREDITS, SCENES64, correct_rate, prepare_scenes
from visual_echoes.errors import EchoesError

# Name, kind, category and recording of each sound that is not ESC-50's.
WINDOWS = [
    *((f"rain/heavy_{number}.ogg", "rain", "rain", "heavy.mp3") for number in range(4)),
    ("dog/howl_0.ogg", "", "dog", "howl.mp3"),
    *(
        (f"footsteps/{number}_{take}.ogg", "", "footsteps", f"step-{number}.mp3")
        for number in range(40)
        for take in "ab"
    ),
]


def jpeg(level: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "esc").mkdir()
    made.write_source(folder / "esc")
    for split, classes, count in (("train", ("dog", "rain"), 21), ("test", ("dog", "rain"), 2), ("more", ("n01",), 3)):
        files = [(f"{split}/{name}/{rank:03d}.jpg", jpeg(rank)) for name in classes for rank in range(count)]
        made.write_tar(folder / f"{split}.tar.xz", files, "w:xz")
    with (folder / "sounds.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "class", "category", "source", "licence", "seconds", "recording"))
        rows.writerows((name, kind, category, "a site", "CC0", 5.0, place) for name, kind, category, place in WINDOWS)
    sounds = [(f"sounds/{name}", made.wav(200 + rank)) for rank, (name, *_) in enumerate(WINDOWS)]
    made.write_tar(folder / "sounds.tar", sounds)
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("prepared") / "scenes64"
    prepare_scenes(SCENES64, source, source / "esc", target, made.LAYOUT)
    return target


def windows_of(folder: Path) -> dict[str, set[str]]:
    """By split, the names of the sounds that are not ESC-50's."""
    found: dict[str, set[str]] = {}
    for split in SPLITS:
        levels = [round(int(wave[0]) / 100) - 200 for wave in read_split(folder, split, made.LAYOUT, []).sounds]
        found[split] = {WINDOWS[level][0] for level in levels if level >= 0}
    return found


def test_images_keep_the_published_test_split_and_others_only_teach(prepared: Path) -> None:
    counts = {split: len(read_split(prepared, split, made.LAYOUT, []).images) for split in SPLITS}
    assert counts == {"train": 2 * 19, "valid": 2 * 2, "test": 2 * 2}
    beside = prepared.with_name("scenes64-images")
    assert {"dog", "n01", "rain"} == set(read_groups(beside))
    assert len(read_split(beside, "train", made.LAYOUT, []).images) == 2 * 19 + 2
    assert len(read_split(beside, "test", made.LAYOUT, []).images) == 2 * 2


def test_only_kinds_are_paired(prepared: Path) -> None:
    assert set(read_groups(prepared)) <= SCENES64.kinds.keys()
    assert not any("footsteps" in name or "howl" in name for names in windows_of(prepared).values() for name in names)


def test_windows_of_one_recording_share_a_split_and_none_is_a_test(prepared: Path) -> None:
    found = windows_of(prepared.with_name("scenes64-sounds"))
    assert found["test"] == set()
    assert {name for names in found.values() for name in names} == {name for name, *_ in WINDOWS}
    recordings = [{name.rsplit("_", 1)[0] for name in found[split]} for split in ("train", "valid")]
    assert recordings[0].isdisjoint(recordings[1])
    assert any("footsteps" in name for name in found["valid"])  # some are drawn to validate with


def test_a_sound_that_was_found_to_be_of_no_kind_is_of_none(prepared: Path) -> None:
    assert "other dog" in read_groups(prepared.with_name("scenes64-sounds"))


def test_credits_name_every_sound_that_is_trained_on(prepared: Path) -> None:
    folder = prepared.with_name("scenes64-sounds")
    rows = list(csv.DictReader((folder / CREDITS).read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(read_split(folder, "train", made.LAYOUT, []).sounds)
    assert {row["licence"] for row in rows} == {"CC0", "CC-BY"}


def test_a_clip_that_was_resampled_in_name_only_plays_at_its_own_speed(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440.0 * np.arange(240_000) / 48_000)
    for name, rate in (("wrong", 22_050), ("right", 48_000)):
        soundfile.write(tmp_path / f"{name}.wav", tone, rate, subtype="FLOAT")
        correct_rate(tmp_path / f"{name}.wav")
    soundfile.write(tmp_path / "other.wav", tone[:110_250], 22_050)
    correct_rate(tmp_path / "other.wav")
    durations = {name: soundfile.info(tmp_path / f"{name}.wav").duration for name in ("wrong", "right", "other")}
    assert durations == {"wrong": 5.0, "right": 5.0, "other": 5.0}
    np.testing.assert_allclose(soundfile.read(tmp_path / "wrong.wav")[0], tone, atol=1e-6)


def test_every_clip_is_held_against_its_rate(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(scenes, "correct_rate", lambda path: seen.append(path.name))
    prepare_scenes(SCENES64, source, source / "esc", tmp_path / "out", made.LAYOUT)
    assert sorted(seen) == sorted(Path(file).name for file in made.FILES)


def test_a_list_that_leads_out_of_its_archive_is_refused(source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    listed = (source / "sounds.csv").read_text(encoding="utf-8")
    (tmp_path / "sounds.csv").write_text(listed.replace("dog/howl_0.ogg", "../../../sounds.csv"), encoding="utf-8")
    with pytest.raises(EchoesError, match="archive lacks"):
        prepare_scenes(SCENES64, tmp_path, source / "esc", tmp_path / "out", made.LAYOUT)
    assert not (tmp_path / "out").exists()
