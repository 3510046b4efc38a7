"""`echoes sound`, `picture` and `pair`, as a person would call them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from cli.conftest import Command, names
from visual_echoes import __version__
from visual_echoes.checkpoints.model_folder import save_model, set_calibration
from visual_echoes.media import read_audio, read_frames, read_image, read_metadata, write_mp4
from visual_echoes.model.confidence import Calibration
from visual_echoes.model.settings import PRESETS
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.provenance.mark import DIGITAL_SOURCE_TYPE

RATE = tiny.LAYOUT.sample_rate
ROUNDING = 1e-3  # sums in batches of another size differ in their last bits


def test_each_image_gets_its_sound_and_a_video(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path, echoes: VisualEchoes
) -> None:
    out = tmp_path / "new" / "out"
    result = command("sound", *pictures, "-o", out, "--model", model_folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(out / f"{p.stem}{s}") for p in pictures for s in (".wav", ".mp4")]
    assert result.stderr == ""
    expected = echoes.image_to_audio(pictures).audio
    assert expected is not None
    for path, wave in zip(pictures, expected, strict=True):
        assert np.abs(read_audio(out / f"{path.stem}.wav", RATE) - wave).max() < ROUNDING
        assert read_frames(out / f"{path.stem}.mp4", 1)[0].width >= 256


def test_each_sound_gets_its_image_and_a_video(
    command: Command, model_folder: Path, sounds: list[Path], tmp_path: Path, echoes: VisualEchoes
) -> None:
    result = command("picture", *sounds, "-o", tmp_path / "out", "--model", model_folder, "--seed", 3)
    assert result.exit_code == 0, result.output
    expected = echoes.audio_to_image(sounds, seed=3).images
    assert expected is not None
    for path, pixels in zip(sounds, expected, strict=True):
        assert (np.asarray(read_image(tmp_path / "out" / f"{path.stem}.png")) == pixels[..., 0]).all()
        assert len(read_audio(tmp_path / "out" / f"{path.stem}.mp4", RATE)) >= tiny.LAYOUT.samples


@pytest.mark.parametrize("order", ["together", "image_first", "audio_first"])
def test_pairs_from_nothing(
    command: Command, model_folder: Path, tmp_path: Path, echoes: VisualEchoes, order: str
) -> None:
    result = command(
        "pair", "-n", 3, "-o", tmp_path, "--model", model_folder, "--pair-order", order, "--seed", 5, "--batch-size", 2
    )
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == [f"pair-000{n}{suffix}" for n in (1, 2, 3) for suffix in (".mp4", ".png", ".wav")]
    expected = echoes.generate_pair(3, pair_order=order, seed=5)  # type: ignore[arg-type]
    assert expected.images is not None
    assert expected.audio is not None
    assert (np.asarray(read_image(tmp_path / "pair-0003.png")) == expected.images[2, ..., 0]).all()
    assert np.abs(read_audio(tmp_path / "pair-0003.wav", RATE) - expected.audio[2]).max() < ROUNDING
    assert read_metadata(tmp_path / "pair-0003.png")["pair_order"] == order
    assert read_metadata(tmp_path / "pair-0003.mp4")["seed"] == "7"


def test_the_files_say_where_they_come_from(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    settings = ["--steps", 3, "--temperature", 1.5, "--guidance", 2.5, "--order", "halton", "--seed", 40]
    assert command("sound", *pictures, "-o", tmp_path / "out", "--model", model_folder, *settings).exit_code == 0
    for name in ("picture-1.wav", "picture-1.mp4"):
        assert read_metadata(tmp_path / "out" / name) == {
            "software": f"Visual Echoes {__version__}",
            "model": "tiny",
            "model_version": "1.0",
            "synthetic": "true",
            "digital_source_type": DIGITAL_SOURCE_TYPE,
            "task": "sound",
            "source": "picture-1.png",
            "seed": "41",
            "steps": "3",
            "temperature": "1.5",
            "guidance": "2.5",
            "image_token_temperature": "1.0",
            "audio_token_temperature": "1.0",
            "audio_min_p": "0.0",
            "residual_steps": "1",
            "order": "halton",
            "guidance_schedule": "constant",
            "kv_refresh_every": "1",
            "precision": "float32",
            "best_of": "1",
            "label_choice": "drawn",
        }


def test_without_options_the_models_own_settings_hold(
    command: Command, model_folder: Path, sounds: list[Path], tmp_path: Path
) -> None:
    assert command("picture", sounds[0], "-o", tmp_path, "--model", model_folder, "--no-video").exit_code == 0
    metadata = read_metadata(tmp_path / "sound-0.png")
    assert (metadata["steps"], metadata["temperature"], metadata["guidance"]) == ("4", "2.0", "2.0")
    assert not list(tmp_path.glob("*.mp4"))


def test_a_preset_changes_several_settings_and_what_is_named_beside_it_goes_before(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    options = ["-o", tmp_path, "--model", model_folder, "--no-video", "--preset", "fast", "--steps", 2]
    assert command("sound", pictures[0], *options).exit_code == 0
    metadata = read_metadata(tmp_path / "picture-0.wav")
    assert (metadata["steps"], metadata["temperature"]) == ("2", "2.0")
    assert metadata["kv_refresh_every"] == str(PRESETS["fast"]["kv_refresh_every"]) != "1"


@pytest.mark.parametrize("task", ["sound", "picture", "pair"])
def test_the_best_of_some_candidates_is_written_and_marked(
    command: Command, model_folder: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path, task: str
) -> None:
    choices: dict[str, list[Any]] = {"sound": pictures[:2], "picture": sounds[:2], "pair": ["-n", 2]}
    given = choices[task]
    for name, batch_size in {"together": 16, "alone": 1}.items():
        options = ["--model", model_folder, "--no-video", "--best-of", 4, "--batch-size", batch_size]
        assert command(task, *given, "-o", tmp_path / name, *options).exit_code == 0
    files = sorted((tmp_path / "together").iterdir())
    assert len(files) == (4 if task == "pair" else 2)
    for file in files:
        metadata = read_metadata(file)
        assert metadata["best_of"] == "4"
        assert float(metadata["model_agreement"])
        assert file.read_bytes() == (tmp_path / "alone" / file.name).read_bytes()


def test_how_sure_the_model_is_is_said_where_it_is_asked_for(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "calibrated"
    shutil.copytree(model_folder, folder)
    set_calibration(folder, {"audio": Calibration(offset=1.0, slope=0.5)})
    arguments = ("sound", pictures[0], "--model", folder, "--no-video", "-o")
    quiet, asked = command(*arguments, tmp_path / "a"), command(*arguments, tmp_path / "b", "--confidence")
    assert "sure" not in quiet.stderr
    assert f"{pictures[0]}: " in asked.stderr
    assert "sure" in asked.stderr
    told = ["model_confidence" in read_metadata(tmp_path / name / "picture-0.wav") for name in ("a", "b")]
    assert told == [False, True]


def test_bad_files_are_listed_and_do_not_change_the_good_ones(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    given = [
        tmp_path / "empty.png",
        pictures[0],
        tmp_path / "gone.png",
        pictures[1],
        tmp_path / "text.png",
        pictures[2],
    ]
    mixed = command("sound", *given, "-o", tmp_path / "mixed", "--model", model_folder, "--batch-size", 2)
    assert mixed.exit_code == 1
    first, *listed = mixed.stderr.splitlines()
    assert first == "3 could not be used:"
    assert [line.split(": ")[0] for line in listed] == [str(given[index]) for index in (0, 2, 4)]
    assert "empty" in listed[0]
    assert "does not exist" in listed[1]
    assert names(tmp_path / "mixed") == [f"picture-{n}{suffix}" for n in range(3) for suffix in (".mp4", ".wav")]
    # Each item's seed follows from its own place: alone, with that seed, it comes out the same.
    for path in pictures[:3]:
        alone = tmp_path / f"alone-{path.stem}"
        seed = given.index(path)
        assert command("sound", path, "-o", alone, "--model", model_folder, "--seed", seed).exit_code == 0
        waves = [read_audio(folder / f"{path.stem}.wav", RATE) for folder in (alone, tmp_path / "mixed")]
        assert np.abs(waves[0] - waves[1]).max() < ROUNDING
        assert np.abs(waves[0]).max() > 100 * ROUNDING


def test_the_batch_size_changes_nothing(
    command: Command, model_folder: Path, sounds: list[Path], tmp_path: Path
) -> None:
    for size in (1, 2, 16):
        out = tmp_path / str(size)
        assert command("picture", *sounds, "-o", out, "--model", model_folder, "--batch-size", size).exit_code == 0
    for path in sounds:
        made = [np.asarray(read_image(tmp_path / str(size) / f"{path.stem}.png"), int) for size in (1, 2, 16)]
        assert max(np.abs(made[0] - made[1]).max(), np.abs(made[0] - made[2]).max()) <= 1
        assert made[0].std() > 10


def test_a_folder_stands_for_its_images(command: Command, model_folder: Path, pictures: list[Path]) -> None:
    folder = pictures[0].parent
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    (folder / "folder.png").mkdir()
    assert command("sound", folder, "-o", folder / "out", "--model", model_folder, "--no-video").exit_code == 0
    assert names(folder / "out") == [f"picture-{n}.wav" for n in range(5)]
    assert read_metadata(folder / "out" / "picture-4.wav")["seed"] == "4"


def test_a_folder_without_images_is_named(command: Command, model_folder: Path, tmp_path: Path) -> None:
    result = command("sound", tmp_path, "-o", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 1
    assert str(tmp_path) in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["sound", "picture", "reconstruct"])
def test_a_name_too_long_is_reported_and_the_others_are_made(
    command: Command, model_folder: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path, name: str
) -> None:
    """A name may have 255 bytes; the second file of one name gets a number, the third cannot even be looked for."""
    first = (sounds if name == "picture" else pictures)[0]
    longest = tmp_path / ("\u00e9" * 125 + "x" + first.suffix)
    twin = tmp_path / "twin" / longest.name
    twin.parent.mkdir()
    for path in (longest, twin):
        shutil.copy(first, path)
    impossible = tmp_path / ("y" * 300 + first.suffix)
    result = command(name, longest, twin, impossible, first, "-o", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 1
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {longest.stem, first.stem}
    assert result.stderr.splitlines()[-3] == "2 could not be used:"
    assert f"{twin}: was left out: {longest.stem}-2" in result.stderr
    assert f"{impossible}: " in result.stderr
    assert result.stderr.count("is too long a name for its result") == 2


def test_two_forms_of_one_name_do_not_overwrite_each_other(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    """On some systems they are one file; elsewhere they only look like it."""
    given = [tmp_path / "caf\u00e9.png", tmp_path / "cafe\u0301.png"]
    for path in given:
        shutil.copy(pictures[0], path)
    assert command("sound", *given, "-o", tmp_path / "out", "--model", model_folder, "--no-video").exit_code == 0
    assert names(tmp_path / "out") == sorted(["caf\u00e9.wav", "cafe\u0301-2.wav"])


def test_equal_names_are_told_apart(command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    given = []
    for folder, name in (("one", "a.png"), ("two", "a.png"), ("one", "A.PNG"), ("two", "a-2.png")):
        (tmp_path / folder).mkdir(exist_ok=True)
        given.append(shutil.copy(pictures[0], tmp_path / folder / name))
    assert command("sound", *given, "-o", tmp_path / "out", "--model", model_folder, "--no-video").exit_code == 0
    assert set(names(tmp_path / "out")) == {"a.wav", "a-2.wav", "A-3.wav", "a-2-2.wav"}


def test_results_are_not_overwritten_unasked(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "picture-3.wav").write_text("precious")
    arguments = ("sound", *pictures, "-o", out, "--model", model_folder)
    refused = command(*arguments)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"Error: {out / 'picture-3.wav'} exists already")
    assert names(out) == ["picture-3.wav"]
    assert (out / "picture-3.wav").read_text() == "precious"
    assert command(*arguments, "--overwrite").exit_code == 0
    assert len(names(out)) == 10
    assert len(read_audio(out / "picture-3.wav", RATE)) == tiny.LAYOUT.samples


def test_an_input_is_never_overwritten(command: Command, model_folder: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_mp4(clip, np.zeros((16, 16, 1), np.uint8), np.ones(2000, np.float32), RATE, {})
    before = clip.read_bytes()
    result = command("sound", clip, "-o", tmp_path, "--model", model_folder, "--overwrite")
    assert result.exit_code == 1
    assert "one of the inputs" in result.stderr
    assert clip.read_bytes() == before


def test_an_unusable_output_folder_is_found_before_any_work(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = command("sound", pictures[0], "-o", tmp_path / "file", "--model", model_folder)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "is a file, not a folder" in result.stderr
    result = command("sound", pictures[0], "-o", "/proc/nothing", "--model", model_folder)
    assert result.exit_code == 1
    assert "Nothing can be written to /proc/nothing" in result.stderr


def test_a_full_disk_is_one_sentence_and_leaves_no_scraps(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("visual_echoes.files.os.fsync", full)
    result = command("sound", *pictures, "-o", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "No space left on device" in result.stderr
    assert names(tmp_path / "out") == []


def test_names_cannot_break_the_output(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    odd = tmp_path / "two\nlines \x1b[31m\udcff [bold].png"
    shutil.copy(pictures[0], odd)
    out = tmp_path / "out"
    result = command("sound", odd, tmp_path / "bad\n.png", "-o", out, "--model", model_folder, "--no-video")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    assert "\x1b" not in result.output
    assert "[bold]" in result.stdout
    assert len(result.stderr.splitlines()) == 2
    assert read_metadata(out / f"{odd.stem}.wav")["source"] == "two\nlines \x1b[31m\N{REPLACEMENT CHARACTER} [bold].png"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--steps", "0"],
        ["--temperature", "-1"],
        ["--guidance", "many"],
        ["--order", "random"],
        ["--batch-size", "0"],
        ["--seed", "-1"],
    ],
)
def test_impossible_options_are_usage_errors(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path, wrong: list[str]
) -> None:
    result = command("sound", pictures[0], "-o", tmp_path / "out", "--model", model_folder, *wrong)
    assert result.exit_code == 2
    assert wrong[0] in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_device_is_one_sentence(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    result = command("sound", pictures[0], "-o", tmp_path, "--model", model_folder, "--device", "abacus")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The device 'abacus'")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with labels and semantic streams."""
    folder = tmp_path_factory.mktemp("labelled")
    save_model(folder, tiny.model_with_meaning(), half=False)
    return folder


def test_a_label_is_kept_or_foretold(
    command: Command, labelled: Path, pictures: list[Path], sounds: list[Path], tmp_path: Path
) -> None:
    result = command("sound", pictures[0], "-o", tmp_path / "a", "--model", labelled, "--label", "rain")
    assert result.exit_code == 0, result.output
    assert read_metadata(tmp_path / "a" / f"{pictures[0].stem}.wav")["label"] == "rain"
    assert "taken for" not in result.stderr
    result = command("picture", sounds[0], "-o", tmp_path / "b", "--model", labelled)
    assert result.exit_code == 0, result.output
    label = read_metadata(tmp_path / "b" / f"{sounds[0].stem}.png")["label"]
    assert label in tiny.LABELS
    assert f"taken for {label}" in result.stderr
    assert command("pair", "-o", tmp_path / "c", "--model", labelled, "--label", "dog").exit_code == 0
    assert read_metadata(tmp_path / "c" / "pair-0001.png")["label"] == "dog"


def test_a_label_that_the_model_does_not_know_is_refused(
    command: Command, labelled: Path, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    for model, message in ((labelled, "choose one of bell, dog, rain"), (model_folder, "has no labels")):
        result = command("sound", pictures[0], "-o", tmp_path, "--model", model, "--label", "cow")
        assert result.exit_code == 1
        assert message in result.stderr
        assert not list(tmp_path.glob("*.wav"))
