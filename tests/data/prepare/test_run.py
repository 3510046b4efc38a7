"""A preparation as a whole: every form of input, the same bytes from any number of workers and after any kill."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from data.prepare.clips import write_image, write_pair, write_sound, write_video
from visual_echoes.data.manifest import read_description, read_manifest
from visual_echoes.data.prepare.candidates import Reason
from visual_echoes.data.prepare.journal import JOURNAL
from visual_echoes.data.prepare.run import Engine, Settings, prepare
from visual_echoes.errors import EchoesError

ONE, TWO = Engine(workers=1), Engine(workers=2)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with usable, broken, silent, still and doubled clips."""
    folder = tmp_path_factory.mktemp("mixed")
    for number in range(4):
        write_video(folder / f"v{number}.mp4", pitch=300 + 50 * number)
        write_pair(folder / "pairs" / f"p{number}", seed=number)
    write_video(folder / "still.mp4", still=True)
    write_video(folder / "mute.mkv", sound=None)
    write_pair(folder / "pairs" / "quiet", level=0.0, seed=9)
    (folder / "v9.mp4").write_bytes((folder / "v1.mp4").read_bytes())
    (folder / "text.mp4").write_text("no video" * 9)
    (folder / "notes.txt").write_text("notes")
    return folder


def settings(source: Path, **changes: object) -> Settings:
    return Settings(source, tiny.LAYOUT, window=1.0, frames=4, **changes)  # type: ignore[arg-type]


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("manifest.jsonl", "rejected.csv", "dataset.json")}


def rejected(folder: Path) -> dict[str, str]:
    with open(folder / "rejected.csv", newline="") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def undisturbed(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed")
    summary = prepare(settings(mixed), output, ONE)
    assert summary.splits.total() == 8
    assert summary.reasons[Reason.DUPLICATE] == 1
    assert summary.seconds == pytest.approx(8, abs=0.2)
    return output


def test_every_file_is_in_the_manifest_or_rejected_with_the_reason(mixed: Path, undisturbed: Path) -> None:
    clips = read_manifest(undisturbed)
    assert [clip.id for clip in clips] == [f"pairs/p{n}" for n in range(4)] + [f"v{n}" for n in range(4)]
    assert rejected(undisturbed) == {
        "still.mp4": "still", "mute.mkv": "no-sound", "pairs/quiet.wav": "silent", "v9.mp4": "duplicate",
        "text.mp4": "unreadable", "notes.txt": "not-media",
    }  # fmt: skip
    named = {path for clip in clips for path in (clip.picture, clip.sound)} | set(rejected(undisturbed))
    files = {path.relative_to(mixed).as_posix() for path in mixed.rglob("*") if path.is_file()}
    assert files - named == {"pairs/quiet.png"}  # of a rejected pair the file at fault is named
    description = read_description(undisturbed)
    assert (description.root, description.layout) == (mixed, tiny.LAYOUT)
    assert description.settings["pairing"] == "clip"


def test_two_workers_make_the_same_bytes(mixed: Path, undisturbed: Path, tmp_path: Path) -> None:
    prepare(settings(mixed), tmp_path, TWO)
    assert results(tmp_path) == results(undisturbed)


def test_ray_makes_the_same_bytes(mixed: Path, undisturbed: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed (extra test-all)")
    prepare(settings(mixed), tmp_path, Engine(workers=2, ray="local"))
    assert results(tmp_path) == results(undisturbed)


@pytest.mark.parametrize("reached", [0, 3, 9])
def test_a_killed_run_goes_on_to_the_same_bytes(mixed: Path, undisturbed: Path, tmp_path: Path, reached: int) -> None:
    arguments = ["prepare", str(mixed), "-o", str(tmp_path), "--layout", "debug", "--window", "1", "--frames", "4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "visual_echoes", *arguments, "--workers", "2"], stdout=subprocess.DEVNULL
    )
    while process.poll() is None and _recorded(tmp_path) <= reached:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    prepare(settings(mixed), tmp_path, ONE)
    assert results(tmp_path) == results(undisturbed)
    entries = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()[1:]]
    counts = Counter(entry["candidate"]["id"] for entry in entries)
    assert set(counts.values()) == {1}  # nothing twice, nothing lost


def _recorded(folder: Path) -> int:
    path = folder / JOURNAL
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_second_run_examines_only_what_is_new(mixed: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    write_pair(source / "a", seed=1)
    prepare(settings(source), output, ONE)
    before = _recorded(output)
    write_pair(source / "b", seed=2)
    os.unlink(source / "a.png")
    summary = prepare(settings(source), output, ONE)
    assert _recorded(output) == before + 1
    assert [clip.id for clip in read_manifest(output)] == ["b"]
    assert summary.reasons == Counter({Reason.NO_PICTURE: 1})


def test_interrupting_keeps_what_is_done(mixed: Path, undisturbed: Path, tmp_path: Path) -> None:
    def interrupt_at(number: int) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if done == number:
                raise KeyboardInterrupt

        return report

    with pytest.raises(KeyboardInterrupt):
        prepare(settings(mixed), tmp_path, TWO, interrupt_at(4))
    assert not (tmp_path / "dataset.json").exists()
    seen: list[int] = []
    prepare(settings(mixed), tmp_path, TWO, lambda done, total: seen.append(done))
    assert seen[0] >= 4
    assert results(tmp_path) == results(undisturbed)


def test_class_folders(tmp_path: Path) -> None:
    for number in range(12):
        write_image(tmp_path / "in" / "pictures" / "dog" / f"{number}.png", seed=number)
    for number in range(6):
        write_sound(tmp_path / "in" / "sounds" / "dog" / f"{number}.wav", seed=number)
    write_image(tmp_path / "in" / "pictures" / "cat" / "0.png", seed=99)
    prepare(settings(tmp_path / "in", valid_share=0.0, test_share=0.0), tmp_path / "out", TWO)
    clips = read_manifest(tmp_path / "out")
    assert len({clip.picture for clip in clips}) == 12
    assert len({clip.sound for clip in clips}) == 6
    assert {clip.label for clip in clips} == {"dog"}
    assert read_description(tmp_path / "out").settings["pairing"] == "class"
    assert rejected(tmp_path / "out") == {"pictures/cat/0.png": "no-partner"}


def test_a_list_with_times_splits_and_labels(tmp_path: Path) -> None:
    write_video(tmp_path / "long.mkv", 3.0)
    (tmp_path / "list.jsonl").write_text(
        '{"video": "long.mkv", "start": 0.5, "end": 1.5, "split": "test", "label": "bar"}\n'
        '{"video": "long.mkv", "start": 7, "end": 8, "split": "test"}\n'
    )
    prepare(settings(tmp_path / "list.jsonl"), tmp_path / "out", ONE)
    (clip,) = read_manifest(tmp_path / "out")
    assert (clip.start, clip.seconds, clip.split, clip.label) == (0.5, 1.0, "test", "bar")
    assert clip.picture == "long.mkv"
    assert rejected(tmp_path / "out") == {"long.mkv": "beyond-end"}


def test_vggsound(tmp_path: Path) -> None:
    write_video(tmp_path / "clips" / "abcdefghijk_000030.mp4")
    (tmp_path / "vggsound.csv").write_text('abcdefghijk,30,"dog, barking",test\nzzzzzzzzzzz,3,cat,train\n')
    prepare(settings(tmp_path / "clips", listing=tmp_path / "vggsound.csv"), tmp_path / "out", ONE)
    (clip,) = read_manifest(tmp_path / "out")
    assert (clip.id, clip.origin, clip.label) == ("abcdefghijk_000030", "abcdefghijk", "dog, barking")
    assert rejected(tmp_path / "out") == {"zzzzzzzzzzz_000003.mp4": "missing"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"window": 0.1, "shortest": 0.2}, "does not fit a window"),
        ({"valid_share": 0.5, "test_share": 0.5}, "nothing to train on"),
        ({"form": "vggsound"}, "needs its list"),
        ({"form": "classes"}, "not both a folder"),
        ({"listing": Path("a.txt")}, "neither a folder nor a list"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    write_pair(tmp_path / "in" / "a")
    with pytest.raises(EchoesError, match=complaint):
        prepare(Settings(tmp_path / "in", tiny.LAYOUT, **changes), tmp_path / "out", ONE)  # type: ignore[arg-type]
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_inputs_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    for source, complaint in (("empty", "holds no files"), ("notes", "no usable clip"), ("nowhere", "There is no")):
        with pytest.raises(EchoesError, match=complaint):
            prepare(settings(tmp_path / source), tmp_path / "out", ONE)
