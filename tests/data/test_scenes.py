"""Which photograph and which recording gets into which split, on a made-up source of the same form, and the sample."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from data import scene_files as made
from visual_echoes.data import archives, scenes
from visual_echoes.data.class_folders import prepare_class_folder
from visual_echoes.data.manifest import SPLITS
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.data.scenes import SCENES, read_list
from visual_echoes.errors import EchoesError
from visual_echoes.layout import get_layout
from visual_echoes.media import read_audio, read_image
from visual_echoes.media.kinds import AUDIO_SUFFIXES, IMAGE_SUFFIXES

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "scenes-sample"
FREE = ("CC0", "CC-BY")


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "VALID_IMAGES", 2)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture
def prepared(source: Path, tmp_path: Path) -> Path:
    made.prepare(SCENES, source, source, tmp_path / "scenes")
    return tmp_path / "scenes"


def sounds(folder: Path) -> dict[str, set[str]]:
    return {split: made.levels(read_split(folder, split, made.LAYOUT, ["sounds"])) for split in SPLITS}


def test_images_keep_the_published_test_split(prepared: Path) -> None:
    assert read_groups(prepared) == list(made.CLASSES)
    for split, published, ranks in (
        ("train", "train", (2, 3, 4)),
        ("valid", "train", (0, 1)),
        ("test", "test", range(5)),
    ):
        found = read_split(prepared, split, made.LAYOUT)
        for group, label in enumerate(made.CLASSES):
            levels = found.images[found.image_groups == group].amax((1, 2, 3)).tolist()
            assert levels == [made.image_level(label, published, rank) for rank in ranks]


def test_sounds_are_split_by_fold_and_licence(prepared: Path) -> None:
    found = sounds(prepared)
    assert sorted(file for files in found.values() for file in files) == sorted(map(made.file_of, made.SIX))
    for sound in made.SIX:
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
    six, every = sounds(prepared), sounds(prepared.with_name("scenes-sounds"))
    assert read_groups(prepared.with_name("scenes-sounds")) == ["airplane", "dog", "rain"]
    for split in SPLITS:
        assert six[split] < every[split]
        assert all("more_sounds" in file for file in every[split] - six[split])
    assert all(("-4-" in file) == (file in every["test"]) for file in made.FILES)
    assert sum(map(len, every.values())) == len(made.FILES)


def test_whoever_made_what_is_trained_on_is_credited(prepared: Path) -> None:
    with (prepared.with_name(f"{prepared.name}-sounds") / scenes.CREDITS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    trained = sounds(prepared)["train"] | sounds(prepared.with_name(f"{prepared.name}-sounds"))["train"]
    assert sorted(row["file"] for row in rows) == sorted(trained)
    assert all(row["licence"] in scenes.TRAINED_LICENCES for row in rows)


@pytest.mark.parametrize("all_folds", [False, True])
def test_no_recording_is_in_two_splits(source: Path, tmp_path: Path, all_folds: bool) -> None:
    made.prepare(SCENES, source, source, tmp_path / "s", all_folds=all_folds)
    splits: dict[str, set[str]] = {}
    for split, files in sounds(tmp_path / "s-sounds").items():
        for file in files:
            splits.setdefault(file.split("-")[2], set()).add(split)
    assert all(len(own) == 1 for own in splits.values())


def test_all_folds_are_trained_on_and_nothing_else_changes(prepared: Path, source: Path, tmp_path: Path) -> None:
    made.prepare(SCENES, source, source, tmp_path / "all", all_folds=True)
    for suffix in ("", "-sounds"):
        before, after = (sounds(tmp_path / f"{name}{suffix}") for name in ("scenes", "all"))
        unfree = {"sounds/dog/101-4-450-A.ogg"}
        assert after == {
            "train": before["train"] | before["test"] - unfree, "valid": before["valid"], "test": unfree
        }  # fmt: skip
    assert json.loads((tmp_path / "all" / "dataset.json").read_text())["sources"]["folds trained on"] == "all"
    for split in SPLITS:
        images = [read_split(tmp_path / name, split, made.LAYOUT).images for name in ("scenes", "all")]
        assert images[0].equal(images[1])


def test_preparing_again_gives_the_same_bytes_and_tells_the_sources(
    prepared: Path, source: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    made.prepare(SCENES, source, source, tmp_path / "again", lambda done, total: seen.append((done, total)))
    for suffix in ("", "-sounds"):
        for path in prepared.with_name(f"scenes{suffix}").iterdir():
            assert (tmp_path / f"again{suffix}" / path.name).read_bytes() == path.read_bytes()
    told = json.loads((prepared / "dataset.json").read_text())["sources"]
    assert told == {
        f"{source.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in source.iterdir()
    }
    total = 4 * made.PICTURES + len(made.FILES) + len(made.SIX)
    assert seen == [(done, total) for done in range(1, total + 1)]


SOURCES = ["images_train.tar", "images_test.tar", "sounds.tar", "more_sounds.tar", "sounds.csv", "more_sounds.csv"]


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target / "copy"))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "empty"])
def test_a_damaged_source_is_named(source: Path, tmp_path: Path, name: str, damage: str) -> None:
    path = copied(source, tmp_path) / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"truncated": content[:700], "garbage": b"\xff\xfeversion", "empty": b""}[damage])
    if name.endswith(".csv") and damage in ("truncated", "empty"):
        path.write_bytes(content.replace(b"licence", b"license"))
    with pytest.raises(EchoesError, match=name.replace(".", r"\.")):
        made.prepare(SCENES, path.parent, path.parent, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_the_list_names_must_be_there(source: Path, tmp_path: Path) -> None:
    copy = copied(source, tmp_path)
    with tarfile.open(copy / "sounds.tar") as archive:
        files = [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
    made.write_tar(copy / "sounds.tar", files[:-1])
    with pytest.raises(EchoesError, match=r"sounds\.csv names .*508-4-905-A\.ogg.*, which its archive lacks"):
        made.prepare(SCENES, copy, copy, tmp_path / "out")


@pytest.mark.parametrize("kind", ["above", "absolute", "link", "device"])
def test_members_that_reach_outside_are_refused(source: Path, tmp_path: Path, kind: str) -> None:
    copy = copied(source, tmp_path)
    with tarfile.open(copy / "sounds.tar", "a") as archive:
        member = tarfile.TarInfo({"absolute": str(tmp_path / "evil")}.get(kind, "sounds/x"))
        if kind == "above":
            member.name = "../" * 20 + str(tmp_path / "evil")[1:]
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "../../../../etc/passwd"
        if kind == "device":
            member.type = tarfile.CHRTYPE
        archive.addfile(member, io.BytesIO())
    if kind == "absolute":  # is taken as a path below the folder
        made.prepare(SCENES, copy, copy, tmp_path / "out")
    else:
        with pytest.raises(EchoesError, match=r"sounds\.tar is damaged"):
            made.prepare(SCENES, copy, copy, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_MEMBERS"])
def test_archives_are_bounded(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(archives, limit, 9)
    with pytest.raises(EchoesError, match=r"is larger than 9 bytes|holds more than it may"):
        made.prepare(SCENES, source, source, tmp_path / "out")


@pytest.mark.parametrize("file", ["../x.ogg", "/etc/passwd", "sounds/dog/101-1-100-A.wav", "sounds/../101-1-1-A.ogg"])
def test_lists_name_nothing_else(tmp_path: Path, file: str) -> None:
    (tmp_path / "sounds.csv").write_text(f"file,class,fold,licence\n{file},dog,1,CC0\n")
    with pytest.raises(EchoesError, match="is no sound of it"):
        read_list(tmp_path / "sounds.csv")


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
    listed = {row.file: row for row in read_list(ROOT / "data" / "scenes" / "sounds.csv")}
    for file, row in credits().items():
        assert all(row.values()), file
        assert row["class"] == Path(file).parent.name
        if file.startswith("sounds"):
            assert row["licence"] == listed[file].licence in FREE
            assert listed[file].fold == scenes.TEST_FOLD  # held out
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 1_500_000


def test_the_sample_reads() -> None:
    layout = get_layout("scenes")
    for file in credits():
        if Path(file).suffix in AUDIO_SUFFIXES:
            wave = read_audio(SAMPLE / file, layout.sample_rate)
            assert 4.9 < len(wave) / layout.sample_rate < 5.1, file
            assert abs(wave).max() > 0.1, file
        else:
            assert Path(file).suffix in IMAGE_SUFFIXES
            assert read_image(SAMPLE / file).size == (32, 32)


def test_the_sample_is_a_folder_of_classes(tmp_path: Path) -> None:
    prepared = prepare_class_folder(SAMPLE, tmp_path, get_layout("scenes"), 0.0, 0.0)
    assert read_groups(tmp_path) == ["airplane", "automobile", "bird", "cat", "dog", "frog"]
    assert prepared.counts["train"][0] == 24
    assert prepared.counts["train"][1] >= 11
