"""`echoes evaluate timing`: files whose events lie where the tests put them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from cli.conftest import Command
from evaluation.material import small_synchformer, write_video
from visual_echoes.evaluation.records import Report, read_report
from visual_echoes.files import file_digest
from visual_echoes.media.remux import write_with_sound

RATE, FRAMES = 16_000, 25  # Hz
SECONDS = 3.0
TIMES: Mapping[str, Sequence[float]] = {
    "a": (0.4, 1.2, 2.4), "b": (0.8, 2.0), "c": (1.0,), "d": (0.6, 1.4, 2.2), "e": (0.2, 1.8),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def write_truth(path: Path, label: str | None = None) -> Path:
    marked = {} if label is None else {"label": label}
    lines = (
        {"id": name, "seconds": SECONDS, "events": [{"time": time, **marked} for time in times]}
        for name, times in TIMES.items()
    )
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def wave_of(times: Sequence[float]) -> np.ndarray:
    """A burst of noise at each time."""
    wave_N = np.zeros(round(SECONDS * RATE), np.float32)
    noise_N = np.random.default_rng(0).uniform(-0.5, 0.5, RATE // 5).astype(np.float32)
    for time in times:
        first = round(time * RATE)
        wave_N[first : first + len(noise_N)] = noise_N[: len(wave_N) - first]
    return wave_N


def write_sounds(folder: Path, times: Mapping[str, Sequence[float]]) -> Path:
    folder.mkdir()
    for name, own in times.items():
        soundfile.write(folder / f"{name}.wav", wave_of(own), RATE)
    return folder


def write_videos(folder: Path, seen: Mapping[str, Sequence[float]], heard: Mapping[str, Sequence[float]]) -> Path:
    """A bar that jumps at each time that is seen, and a burst at each that is heard."""
    folder.mkdir()
    silent = folder.with_name(f"{folder.name} without sound.mp4")
    for name, own in seen.items():
        with av.open(str(silent), "w") as container:
            video = container.add_stream("libx264", rate=FRAMES)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            for number in range(round(SECONDS * FRAMES)):
                place = sum(number / FRAMES >= time - 1e-6 for time in own)
                pixels = np.zeros((64, 64, 3), np.uint8)
                pixels[:, 8 + 12 * place : 16 + 12 * place] = 255
                frame = av.VideoFrame.from_ndarray(pixels)
                frame.pts, frame.time_base = number, Fraction(1, FRAMES)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        write_with_sound(folder / f"{name}.mp4", silent, [wave_of(heard[name])], RATE, {})
    return folder


def moved(by: float) -> dict[str, list[float]]:
    return {name: [time + by for time in own] for name, own in TIMES.items()}


def report_of(folder: Path) -> Report:
    return read_report(folder / "report.json")


@pytest.mark.parametrize("by", [-0.07, 0.0, 0.04, 0.09])
def test_the_offset_is_how_far_sounds_were_moved(command: Command, tmp_path: Path, by: float) -> None:
    made, real = write_sounds(tmp_path / "made", moved(by)), write_sounds(tmp_path / "real", TIMES)
    truth = write_truth(tmp_path / "truth.jsonl")
    result = command("evaluate", "timing", made, "--truth", truth, "--real", real, "-o", tmp_path / "r")
    assert result.exit_code == 0, result.output
    report = report_of(tmp_path / "r")
    assert list(report.columns) == ["real", "made"]
    column = report.columns["made"]
    assert (column["files"], column["events_true"], column["events_found"], column["event_f1"]) == (5, 11, 11, 1.0)
    assert column["event_offset"] == pytest.approx(1000 * abs(by), abs=8)
    assert report.columns["real"]["event_offset"] <= 8
    assert [event.time for event in column.events["b"].true] == list(TIMES["b"])
    assert [event.time for event in column.events["b"].found] == pytest.approx(moved(by)["b"], abs=0.01)
    assert "median offset, ms" in result.stdout
    assert json.loads((tmp_path / "r/figures.json").read_text())["command"].startswith("echoes")
    assert "Evaluation of timing" in (tmp_path / "r/report.html").read_text()


def test_sounds_too_late_and_at_random_times_are_wrong(command: Command, tmp_path: Path) -> None:
    truth, random = write_truth(tmp_path / "truth.jsonl"), np.random.default_rng(3)
    write_sounds(tmp_path / "late", moved(0.15))
    write_sounds(
        tmp_path / "random", {name: random.uniform(0.1, 2.8, len(own)).tolist() for name, own in TIMES.items()}
    )
    for name, options, most in (("late", (), 0.0), ("random", (), 0.5), ("late", ("--tolerance", 0.2), 1.0)):
        result = command("evaluate", "timing", tmp_path / name, "--truth", truth, "-o", tmp_path / "r", *options)
        assert result.exit_code == 0, result.output
        assert report_of(tmp_path / "r").columns["made"]["event_f1"] <= most
    assert report_of(tmp_path / "r").columns["made"]["event_f1"] == 1.0


def test_without_a_truth_sounds_are_compared_with_what_is_seen(command: Command, tmp_path: Path) -> None:
    made = write_videos(tmp_path / "made", TIMES, moved(0.05))
    result = command("evaluate", "timing", made, "-o", tmp_path / "r")
    assert result.exit_code == 0, result.output
    column = report_of(tmp_path / "r").columns["made"]
    assert (column["events_true"], column["event_f1"]) == (11, 1.0)
    assert column["event_offset"] == pytest.approx(50, abs=10)
    sounds = write_sounds(tmp_path / "sounds", moved(0.05))
    assert command("evaluate", "timing", sounds, "--videos", made, "-o", tmp_path / "s").exit_code == 0
    assert report_of(tmp_path / "s").columns["made"]["event_f1"] == 1.0


def test_changes_of_videos_may_be_off_by_a_frame(command: Command, tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "truth.jsonl")
    for name, frames, f1 in (("right", 1, 1.0), ("late", 2, 0.0)):
        made = write_videos(tmp_path / name, moved(frames / FRAMES), TIMES)
        result = command("evaluate", "timing", made, "--of", "video", "--truth", truth, "-o", tmp_path / "r")
        assert result.exit_code == 0, result.output
        assert report_of(tmp_path / "r").columns["made"]["event_f1"] == f1


def test_events_have_classes(command: Command, tmp_path: Path) -> None:
    """A burst of noise is no digit: found in time, yet hardly ever of the class that the truth names."""
    made = write_sounds(tmp_path / "made", TIMES)
    for label in ("0", "8"):
        truth = write_truth(tmp_path / "truth.jsonl", label)
        arguments = ("evaluate", "timing", made, "--truth", truth, "--backbone", "digits", "-o", tmp_path / label)
        assert command(*arguments).exit_code == 0
    columns = [report_of(tmp_path / label).columns["made"] for label in ("0", "8")]
    taken = [event.label for clip in columns[0].events.values() for event in clip.found]
    assert set(taken) <= set("0123456789")
    for column, label in zip(columns, ("0", "8"), strict=True):
        assert column["event_class"] == pytest.approx(taken.count(label) / 11)
        assert column["class_f1"] == pytest.approx(taken.count(label) / 11)
        assert column.matrices["digits-audio"].pairs == 11


def test_silent_missing_and_broken_files_are_refused_or_counted(command: Command, tmp_path: Path) -> None:
    truth, made = write_truth(tmp_path / "truth.jsonl"), write_sounds(tmp_path / "made", TIMES)
    soundfile.write(made / "a.wav", np.zeros(3 * RATE), RATE)
    (made / "b.wav").unlink()
    (made / "c.wav").write_bytes(b"RIFF")
    arguments = ("evaluate", "timing", made, "--truth", truth, "-o", tmp_path / "r")
    result = command(*arguments)
    assert result.exit_code == 1
    assert all(part in result.stderr for part in ("a.wav is silent", "no file for b of", "c.wav", "3 of the files"))
    assert not (tmp_path / "r").exists()
    allowed = [part for name in ("a", "b", "c.wav") for part in ("--allow-missing", name)]
    result = command(*arguments, *allowed)
    assert result.exit_code == 0, result.output
    column = report_of(tmp_path / "r").columns["made"]
    assert (column["files"], column["events_true"], column["events_found"]) == (3, 8, 5)
    assert (column["event_precision"], column["event_recall"]) == pytest.approx((1, 5 / 8))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--of", "video"), "name --truth, or --videos"),
        (("--truth", "truth.jsonl", "--videos", "made"), "keep one of them"),
        (("--truth", "none.jsonl"), "none.jsonl cannot be read"),
        ((), "no files to measure as videos"),
        (("--truth", "truth.jsonl", "--backbone", "digits"), "no label"),
        (("--truth", "other.jsonl", "--backbone", "digits"), "the label 'dog'"),
    ],
)
def test_what_is_asked_for_must_make_sense(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sounds(tmp_path / "made", TIMES)
    write_truth(tmp_path / "truth.jsonl")
    write_truth(tmp_path / "other.jsonl", "dog")
    result = command("evaluate", "timing", "made", *arguments)
    assert result.exit_code == 1
    assert problem in result.stderr
    assert "Traceback" not in result.stderr


def test_synchformer_compares_real_and_made_sounds_with_their_videos(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = small_synchformer(tmp_path, monkeypatch)
    for name in "ab":
        write_video(tmp_path / "videos" / f"{name}.mp4", 5.0)
        (tmp_path / "made").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "made" / f"{name}.wav", np.sin(np.arange(5 * RATE) ** 1.2) / 2, RATE)
    (tmp_path / "truth.jsonl").write_text(
        "".join(f'{{"id": "{name}", "seconds": 5.0, "events": [{{"time": 1.0}}]}}\n' for name in "ab")
    )
    asked = ("--backbone", f"synchformer={weights}", "--sha256", f"synchformer={file_digest(weights)}")
    options = ("--truth", tmp_path / "truth.jsonl", "--videos", tmp_path / "videos", *asked, "-o", tmp_path / "r")
    result = command("evaluate", "timing", tmp_path / "made", "--real", tmp_path / "videos", *options)
    assert result.exit_code == 0, result.output
    report = read_report(tmp_path / "r" / "report.json")
    assert [column["desync"] for column in report.columns.values()] == [0.0, 0.0]
    assert report.backbones["synchformer"].sha256 == file_digest(weights)
    assert "DeSync" in result.stdout
    result = command("evaluate", "timing", tmp_path / "videos", *asked, "-o", tmp_path / "s")  # nothing changes in them
    assert result.exit_code == 0, result.output
    column = read_report(tmp_path / "s" / "report.json").columns["made"]
    assert list(column.figures) == ["files", "desync"]
    assert "has no event for the files" in column.notes[0]
    refused = command("evaluate", "timing", tmp_path / "videos", "--of", "video", *options)
    assert refused.exit_code == 1
    assert "Synchformer compares sounds with videos" in refused.stderr
