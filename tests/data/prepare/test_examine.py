"""What becomes of real files: usable clips with their times, and the true reason for every other one."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from data.prepare.clips import write_image, write_pair, write_sound, write_video
from visual_echoes.data.prepare import examine as module
from visual_echoes.data.prepare.candidates import Candidate, Found, Outcome, Rejected, Rules, unpack
from visual_echoes.data.prepare.examine import examine, plan_windows
from visual_echoes.media import Tracks

RULES = Rules(sample_rate=8000, window=1.0, shortest=0.4, frames=4)


def of(picture: Path | None, sound: Path | None = None, **values: object) -> list[Outcome]:
    files = [None if path is None else str(path) for path in (picture, sound)]
    return list(examine(Candidate("a", "a", files[0], files[1], **values), RULES))  # type: ignore[arg-type]


def video(path: Path, **values: object) -> list[Outcome]:
    return of(path, path, **values)


def reasons(outcomes: list[Outcome]) -> list[str]:
    return [outcome.reason.value if isinstance(outcome, Rejected) else "found" for outcome in outcomes]


def test_a_video_as_long_as_the_window_is_one_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1.0)
    (found,) = video(path, label="dog")
    assert isinstance(found, Found)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.id, found.label, found.start) == ("a", "dog", 0.0)
    assert found.seconds == pytest.approx(1.0, abs=0.01)
    assert found.hashes == {"picture": digest, "sound": digest}
    np.testing.assert_allclose(found.frames, np.array([0.125, 0.375, 0.625, 0.875]) * found.seconds, atol=1e-5)
    assert unpack([asdict(found)]) == [found]


def test_a_longer_video_is_cut_into_windows(tmp_path: Path) -> None:
    outcomes = video(write_video(tmp_path / "a.mkv", 2.7))
    assert [(one.id, one.start) for one in outcomes if isinstance(one, Found)] == [
        ("a_00000000", 0.0), ("a_00001000", 1.0), ("a_00002000", 2.0),
    ]  # fmt: skip
    assert isinstance(outcomes[2], Found)
    assert outcomes[2].seconds == pytest.approx(0.7, abs=0.05)


@given(length=st.floats(0.4, 50), window=st.floats(0.5, 10))
def test_windows_are_consecutive_and_leave_out_less_than_half_of_one(length: float, window: float) -> None:
    rules = Rules(8000, window, shortest=0.1, frames=1)
    windows = plan_windows(Candidate("a", "a", "v", "v"), length, rules)
    ends = [start + seconds for start, seconds in windows]
    assert windows[0][0] == 0
    assert [start for start, _ in windows[1:]] == pytest.approx(ends[:-1], abs=1e-3)
    assert all(seconds == pytest.approx(window, abs=1e-5) for _, seconds in windows[:-1])
    assert 0 < windows[-1][1] <= window + 1e-5
    assert length - window / 2 - 0.002 <= ends[-1] <= length + 0.002


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"start": 1.0}, (1.0, 1.0)),
        ({"start": 0.5, "seconds": 2.0}, (0.5, 2.0)),
        ({"start": 2.5}, (2.5, 0.5)),  # what there is of a window
        ({"start": 2.0, "seconds": 1.2}, (2.0, 1.0)),  # not exactly as long as promised
        ({"start": 1.0, "seconds": 3.0}, "beyond-end"),
        ({"start": 3.0}, "beyond-end"),
        ({"start": 2.8}, "too-short"),
        ({"start": 30.0, "maybe_cut": True}, "beyond-end"),  # too long to be the clip itself
        ({"start": 1.0, "maybe_cut": True}, (1.0, 1.0)),
    ],
)
def test_listed_times(tmp_path: Path, values: dict[str, object], expected: object) -> None:
    path = write_sound(tmp_path / "a.wav", 3.0)
    (outcome,) = of(write_image(tmp_path / "a.png"), path, **values)
    if isinstance(outcome, Found):
        assert (outcome.start, outcome.seconds) == expected
    else:
        assert outcome.reason == expected


def test_a_file_that_may_be_the_clip_itself_is_when_it_is_as_short(tmp_path: Path) -> None:
    write_pair(tmp_path / "a", 1.5)
    (outcome,) = of(tmp_path / "a.png", tmp_path / "a.wav", start=30.0, maybe_cut=True)
    assert isinstance(outcome, Found)
    assert (outcome.start, outcome.seconds) == (0.0, 1.0)


def test_pairs_and_halves(tmp_path: Path) -> None:
    write_pair(tmp_path / "a")
    (pair,) = of(tmp_path / "a.png", tmp_path / "a.wav")
    (picture,) = of(tmp_path / "a.png")
    (sound,) = of(None, tmp_path / "a.wav")
    assert isinstance(pair, Found)
    assert isinstance(picture, Found)
    assert isinstance(sound, Found)
    assert pair.frames == picture.frames == (0.0,)
    assert pair.hashes == picture.hashes | sound.hashes
    assert len(set(pair.hashes.values())) == 2


def test_the_reason_is_the_true_one(tmp_path: Path) -> None:
    write_pair(tmp_path / "quiet", level=5e-4)
    write_pair(tmp_path / "brief", seconds=0.3)
    write_pair(tmp_path / "good")
    (tmp_path / "text.mp4").write_text("no video" * 50)
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:100])
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    whole = write_video(tmp_path / "all.avi", 3.0, sound="pcm_s16le").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    assert reasons(video(write_video(tmp_path / "mute.mp4", sound=None))) == ["no-sound"]
    shutil.copy(tmp_path / "good.wav", tmp_path / "sound.mp4")
    assert reasons(video(tmp_path / "sound.mp4")) == ["no-picture"]
    assert reasons(video(write_video(tmp_path / "silent.mp4", level=0.0))) == ["silent"]
    assert reasons(video(write_video(tmp_path / "still.mp4", still=True))) == ["still"]
    assert reasons(of(tmp_path / "quiet.png", tmp_path / "quiet.wav")) == ["silent"]
    assert reasons(of(tmp_path / "brief.png", tmp_path / "brief.wav")) == ["too-short"]
    for path in (tmp_path / "text.mp4", tmp_path / "cut.mp4", tmp_path / "cut.avi", tmp_path / "nowhere.mp4", tmp_path):
        assert reasons(video(path)) == ["unreadable"], path
    (broken,) = of(tmp_path / "broken.png", tmp_path / "good.wav")
    assert isinstance(broken, Rejected)
    assert (broken.file, broken.reason.value) == (str(tmp_path / "broken.png"), "unreadable")
    assert broken.detail.startswith("is damaged")


def test_a_window_that_is_silent_does_not_condemn_the_others(tmp_path: Path) -> None:
    assert reasons(video(write_video(tmp_path / "a.mp4", 2.0, "mpeg4", sound_seconds=0.9))) == ["found"]
    path = write_sound(tmp_path / "a.wav", 1.0)
    data = path.read_bytes()
    path.write_bytes(data + bytes(len(data) * 2))  # silence, of which the header knows nothing
    assert reasons(of(write_image(tmp_path / "a.png"), path)) == ["found"]


def test_a_length_that_is_a_lie_costs_a_few_windows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mkv", 2.0)
    lie = Tracks(9000.0, 9000.0)
    monkeypatch.setattr(module, "read_tracks", lambda path: lie)
    outcomes = video(path)
    assert reasons(outcomes) == ["found", "found"] + ["unreadable"] * (module.GIVE_UP + 1)
    assert isinstance(outcomes[-1], Rejected)
    assert outcomes[-1].detail == "all the rest, from 5 s on"


def test_a_bad_packet_is_noted_and_costs_no_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3.0)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]
    path.write_bytes(content.replace(packets[24], b"\xff" * len(packets[24])))
    outcomes = video(path)
    assert reasons(outcomes) == ["found"] * 3
    notes = [one.notes for one in outcomes if isinstance(one, Found)]
    assert [len(sentences) for sentences in notes] == [0, 1, 0]
    assert "has no sound that can be decoded from 1.47 to 1.54 s" in notes[1][0]
    assert unpack([asdict(outcome) for outcome in outcomes]) == outcomes


def test_silence_has_its_cause(tmp_path: Path) -> None:
    wave = np.sin(np.arange(8000)) / 2
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -wave], 1), 8000)
    (rejected,) = of(write_image(tmp_path / "a.png"), tmp_path / "a.wav")
    assert isinstance(rejected, Rejected)
    assert (rejected.reason.value, rejected.file) == ("silent", str(tmp_path / "a.wav"))
    assert rejected.detail.startswith("silent once its channels are mixed into one")
