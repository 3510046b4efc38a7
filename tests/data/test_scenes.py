"""Which photograph and which recording gets into which split, on a made-up source of the same form, and the sample."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data import scene_files as made
from visual_echoes.data import archives, scenes
from visual_echoes.data.class_folders import prepare_class_folder
from visual_echoes.data.manifest import SPLITS
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.data.scenes import CREDITS, SOUND_LISTS, correct_rate, read_list
from visual_echoes.errors import EchoesError
from visual_echoes.layout import KINDS, get_layout
from visual_echoes.media import read_audio, read_image
from visual_echoes.media.kinds import AUDIO_SUFFIXES, IMAGE_SUFFIXES

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "scenes-sample"
FREE = ("CC0", "CC-BY")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture
def prepared(source: Path, tmp_path: Path) -> Path:
    made.prepare(source, tmp_path / "scenes")
    return tmp_path / "scenes"


def sounds(folder: Path) -> dict[str, set[str]]:
    return {split: made.levels(read_split(folder, split, made.LAYOUT, ["sounds"])) for split in SPLITS}


def test_images_keep_the_published_test_split(prepared: Path) -> None:
    assert read_groups(prepared) == list(made.CLASSES)
    for split, published, ranks in (
        ("train", "train", (1, 2, 3, 4)),
        ("valid", "train", (0,)),
        ("test", "test", range(5)),
    ):
        found = read_split(prepared, split, made.LAYOUT)
        for group, label in enumerate(made.CLASSES):
            levels = found.images[found.image_groups == group].amax((1, 2, 3)).tolist()
            assert levels == [made.image_level(label, published, rank) for rank in ranks]


def test_images_of_other_classes_only_teach(prepared: Path) -> None:
    beside = prepared.with_name("scenes-images")
    assert read_groups(beside) == sorted([*made.CLASSES, "n01"])
    counts = {split: len(read_split(beside, split, made.LAYOUT, []).images) for split in SPLITS}
    kinds = len(made.CLASSES)
    assert counts == {"train": 4 * kinds + 2, "valid": kinds + 1, "test": made.PICTURES * kinds}


def test_sounds_are_split_by_fold_and_licence(prepared: Path) -> None:
    found = sounds(prepared)
    assert sorted(file for files in found.values() for file in files) == sorted(map(made.file_of, made.OWN))
    for sound in made.OWN:
        _, _, fold, _, _, licence = sound
        split = next(name for name in SPLITS if made.file_of(sound) in found[name])
        assert (split == "test") == (fold == 4), sound
        assert split != "train" or licence in FREE, sound
    # Airplane has three unfree sounds to validate with, dog none: its last recordings are taken, whole.
    assert {file for file in found["valid"] if "dog" in file} == {
        f"sounds/dog/101-3-30{number}-A.ogg" for number in range(3)
    }
    assert {file.split("-", 1)[1] for file in found["valid"] if "airplane" in file} == {
        "1-902-A.ogg", "2-903-A.ogg", "2-904-A.ogg"
    }  # fmt: skip


def test_the_sounds_of_all_classes_lie_beside(prepared: Path) -> None:
    own, every = sounds(prepared), sounds(prepared.with_name("scenes-sounds"))
    assert read_groups(prepared.with_name("scenes-sounds")) == [
        "airplane", "church_bells", "dog", "footsteps", "other dog", "rain"
    ]  # fmt: skip
    for split in SPLITS:
        assert own[split] < every[split]
        assert all("more_sounds" in file for file in every[split] - own[split])
    assert all(("-4-" in file) == (file in every["test"]) for file in made.FILES)
    assert sum(map(len, every.values())) == len(made.FILES)


def test_credits_name_every_sound_that_is_trained_on(prepared: Path) -> None:
    folder = prepared.with_name("scenes-sounds")
    rows = list(csv.DictReader((folder / CREDITS).read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(read_split(folder, "train", made.LAYOUT, []).sounds)
    assert {row["licence"] for row in rows} == set(FREE)
    assert {row["file"] for row in rows} >= sounds(prepared)["train"]


def test_no_recording_is_in_two_splits(prepared: Path) -> None:
    splits: dict[str, set[str]] = {}
    for split, files in sounds(prepared.with_name("scenes-sounds")).items():
        for file in files:
            splits.setdefault(file.split("-")[2], set()).add(split)
    assert all(len(own) == 1 for own in splits.values())


def windows_of(folder: Path) -> dict[str, set[str]]:
    return {split: made.windows(read_split(folder, split, made.LAYOUT, [])) for split in SPLITS}


def test_windows_of_one_recording_share_a_split_and_none_is_a_test(prepared: Path) -> None:
    found = windows_of(prepared.with_name("scenes-sounds"))
    assert found["test"] == set()
    assert {name for names in found.values() for name in names} == {name for name, *_ in made.WINDOWS}
    recordings = [{name.rsplit("_", 1)[0] for name in found[split]} for split in ("train", "valid")]
    assert recordings[0].isdisjoint(recordings[1])
    assert any("footsteps" in name for name in found["valid"])  # some are drawn to validate with


def test_only_kinds_are_paired(prepared: Path) -> None:
    assert {name for names in windows_of(prepared).values() for name in names} == {
        name for name, kind, *_ in made.WINDOWS if kind
    }  # a howl was found to be of no kind


def test_preparing_again_gives_the_same_bytes_and_tells_the_sources(
    prepared: Path, source: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    made.prepare(source, tmp_path / "again", lambda done, total: seen.append((done, total)))
    for suffix in ("", "-images", "-sounds"):
        for path in prepared.with_name(f"scenes{suffix}").iterdir():
            assert (tmp_path / f"again{suffix}" / path.name).read_bytes() == path.read_bytes()
    told = json.loads((prepared / "dataset.json").read_text())["sources"]
    files = [path for path in source.rglob("*") if path.is_file()]
    assert told == {
        path.relative_to(source).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    images = 2 * made.PICTURES * len(made.CLASSES)
    heard = sum(bool(kind) for _, kind, *_ in made.WINDOWS) + len(made.OWN)
    total = images + heard + images + made.OTHERS + len(made.FILES) + len(made.WINDOWS)
    assert seen == [(done, total) for done in range(1, total + 1)]


SOURCES = [
    "images/train.tar.xz", "images/test.tar.xz", "images/more.tar.xz", "images/sounds.tar", "images/sounds.csv",
    "sounds/sounds.tar", "sounds/more_sounds.tar", "sounds/sounds.csv", "sounds/more_sounds.csv",
]  # fmt: skip


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target / "copy"))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "empty"])
def test_a_damaged_source_is_named(source: Path, tmp_path: Path, name: str, damage: str) -> None:
    path = copied(source, tmp_path) / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(
            {"truncated": content[: min(700, len(content) // 2)], "garbage": b"\xff\xfeversion", "empty": b""}[damage]
        )
    if name.endswith(".csv") and damage in ("truncated", "empty"):
        path.write_bytes(content.replace(b"licence", b"license").replace(b"recording", b"record"))
    with pytest.raises(EchoesError, match=name.replace(".", r"\.")):
        made.prepare(tmp_path / "copy", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_the_list_names_must_be_there(source: Path, tmp_path: Path) -> None:
    copy = copied(source, tmp_path)
    with tarfile.open(copy / "sounds/sounds.tar") as archive:
        files = [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
    made.write_tar(copy / "sounds/sounds.tar", files[:-1])
    with pytest.raises(EchoesError, match=r"sounds\.csv names .*508-4-905-A\.ogg.*, which its archive lacks"):
        made.prepare(copy, tmp_path / "out")


@pytest.mark.parametrize("kind", ["above", "absolute", "link", "device"])
def test_members_that_reach_outside_are_refused(source: Path, tmp_path: Path, kind: str) -> None:
    copy = copied(source, tmp_path)
    with tarfile.open(copy / "sounds/sounds.tar", "a") as archive:
        member = tarfile.TarInfo({"absolute": str(tmp_path / "evil")}.get(kind, "sounds/x"))
        if kind == "above":
            member.name = "../" * 20 + str(tmp_path / "evil")[1:]
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "../../../../etc/passwd"
        if kind == "device":
            member.type = tarfile.CHRTYPE
        archive.addfile(member, io.BytesIO())
    if kind == "absolute":  # is taken as a path below the folder
        made.prepare(copy, tmp_path / "out")
    else:
        with pytest.raises(EchoesError, match=r"sounds\.tar is damaged"):
            made.prepare(copy, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_MEMBERS"])
def test_archives_are_bounded(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(archives, limit, 9)
    with pytest.raises(EchoesError, match=r"is larger than 9 bytes|holds more than it may"):
        made.prepare(source, tmp_path / "out")


@pytest.mark.parametrize("file", ["../x.ogg", "/etc/passwd", "sounds/dog/101-1-100-A.wav", "sounds/../101-1-1-A.ogg"])
def test_lists_name_nothing_else(tmp_path: Path, file: str) -> None:
    (tmp_path / "sounds.csv").write_text(f"file,class,fold,licence\n{file},dog,1,CC0\n")
    with pytest.raises(EchoesError, match="is no sound of it"):
        read_list(tmp_path / "sounds.csv")


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
    made.prepare(source, tmp_path / "out")
    assert sorted(seen) == sorted(Path(file).name for file in made.FILES)


def test_a_list_that_leads_out_of_its_archive_is_refused(source: Path, tmp_path: Path) -> None:
    copy = copied(source, tmp_path)
    listing = copy / "images/sounds.csv"
    listed = listing.read_text(encoding="utf-8")
    listing.write_text(listed.replace("dog/howl_0.ogg", "../../../sounds.csv"), encoding="utf-8")
    with pytest.raises(EchoesError, match="archive lacks"):
        made.prepare(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# What the repository carries.


def test_the_lists_are_whole_and_keep_recordings_in_their_split() -> None:
    six, more = (read_list(ROOT / "data" / "scenes" / name) for name in scenes.SOUND_LISTS)
    assert (len(six), len(more)) == (256, 1189)
    assert {row.licence for row in more} <= set(FREE)
    tests: dict[str, set[bool]] = {}
    for row in (*six, *more):
        tests.setdefault(row.file.split("-")[2], set()).add(row.fold == "4")
    assert all(len(own) == 1 for own in tests.values())


def credits() -> dict[str, dict[str, str]]:
    with (SAMPLE / "credits.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_the_sample_is_credited_file_by_file_and_free() -> None:
    files = {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*") if path.is_file()}
    assert set(credits()) == files - {"credits.csv", "README.md"}
    listed = {Path(row.file).name: row for name in SOUND_LISTS for row in read_list(ROOT / "data" / "scenes" / name)}
    for file, row in credits().items():
        assert all(value for name, value in row.items() if name != "source"), file
        assert row["class"] == Path(file).parent.name
        if file.startswith("sounds"):
            assert row["licence"] == listed[Path(file).name].licence in FREE
            assert listed[Path(file).name].fold == scenes.TEST_FOLD  # held out
        else:
            assert row["licence"] in ("CC0-1.0", "CC-BY-4.0", "public domain")
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 1_500_000


def test_the_sample_reads() -> None:
    layout = get_layout("scenes")
    for file in credits():
        if Path(file).suffix in AUDIO_SUFFIXES:
            wave = read_audio(SAMPLE / file, layout.sample_rate)
            assert 4.9 < len(wave) / layout.sample_rate < 5.1, file
            assert abs(wave).max() > 0.05, file
        else:
            assert Path(file).suffix in IMAGE_SUFFIXES
            assert max(read_image(SAMPLE / file).size) == 640


def test_the_sample_is_a_folder_of_classes(tmp_path: Path) -> None:
    prepared = prepare_class_folder(SAMPLE, tmp_path, get_layout("scenes"), 0.0, 0.0)
    assert read_groups(tmp_path) == ["bird", "cat", "cow", "dog", "hen", "pig", "sheep", "water"]
    assert set(read_groups(tmp_path)) < set(KINDS)
    assert prepared.counts["train"][0] == 8
    assert prepared.counts["train"][1] >= 16
