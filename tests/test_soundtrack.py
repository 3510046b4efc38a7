"""A whole video gets a sound of its length, and nothing is left behind where that fails."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

import tiny
from visual_echoes import EchoesError, VisualEchoes
from visual_echoes.media import read_metadata
from visual_echoes.soundtrack import sound_for_still, sound_for_video, write_long, write_still

RATE = tiny.LAYOUT.sample_rate


def video(path: Path, frames: int = 25, rate: int = 10, cut: int | None = None) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            level = 40 if cut is None or number < cut else 220
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("frames", "rate"), [(1, 10), (25, 10), (31, 30)])
def test_the_sound_is_as_long_as_the_video(echoes: VisualEchoes, tmp_path: Path, frames: int, rate: int) -> None:
    source = video(tmp_path / "in.mp4", frames, rate)
    wav, mp4 = sound_for_video(echoes, source, tmp_path / "out", steps=1)
    assert (wav, mp4) == (tmp_path / "out.wav", tmp_path / "out.mp4")
    assert soundfile.info(wav).frames == round(frames / rate * RATE)
    assert soundfile.info(wav).samplerate == RATE
    metadata = read_metadata(mp4)
    assert metadata == read_metadata(wav)
    assert metadata["source"] == "in.mp4"
    assert metadata["synthetic"] == "true"


def test_a_cut_starts_a_window_with_its_own_image(echoes: VisualEchoes, tmp_path: Path) -> None:
    plain = sound_for_video(echoes, video(tmp_path / "a.mp4"), tmp_path / "a-out", keep_video=False, steps=2)
    cut = sound_for_video(echoes, video(tmp_path / "b.mp4", cut=12), tmp_path / "b-out", keep_video=False, steps=2)
    assert plain == [tmp_path / "a-out.wav"]
    one, other = (soundfile.read(path[0])[0] for path in (plain, cut))
    assert len(one) == len(other)
    assert not np.array_equal(one, other)
    assert int(read_metadata(cut[0])["windows"]) >= int(read_metadata(plain[0])["windows"])


def test_a_still_may_have_a_sound_of_any_length(echoes: VisualEchoes, tmp_path: Path) -> None:
    pixels = np.full((tiny.LAYOUT.image_size, tiny.LAYOUT.image_size, 1), 90, np.uint8)
    blocks = sound_for_still(echoes, pixels, 1.5, steps=1)
    wav, mp4 = write_still(echoes, tmp_path / "still", blocks, {"task": "sound"}, pixels)
    assert soundfile.info(wav).frames == round(1.5 * RATE)
    assert mp4.exists()
    with pytest.raises(EchoesError, match="up to 6 hours"):
        sound_for_still(echoes, pixels, 1e6)


def test_whoever_looks_on_hears_each_window(echoes: VisualEchoes, tmp_path: Path) -> None:
    source, seen = video(tmp_path / "in.mp4", cut=12), []
    report = lambda *done: seen.append(done)  # noqa: E731
    hear = lambda window, wave_N: seen.append((window.first, len(wave_N)))  # noqa: E731
    wav, _ = sound_for_video(echoes, source, tmp_path / "out", steps=1, source="b.mp4", report=report, hear=hear)
    windows = int(read_metadata(wav)["windows"])
    assert read_metadata(wav)["source"] == "b.mp4"
    assert seen[0] == (0, windows)
    assert seen[2::2] == [(number + 1, windows) for number in range(windows)]
    assert [first for first, _ in seen[1::2]] == sorted(first for first, _ in seen[1::2])
    assert {length for _, length in seen[1::2]} == {tiny.LAYOUT.samples}


def test_what_could_not_be_written_is_refused_before_a_sound_is_made(echoes: VisualEchoes, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(EchoesError, match=r"in\.mp4 has no sound to keep beneath"):
        sound_for_video(
            echoes, video(tmp_path / "in.mp4"), tmp_path / "out", mix_db=-6.0, report=lambda *done: seen.append(done)
        )
    assert seen == []


def test_nothing_is_left_where_it_is_broken_off(echoes: VisualEchoes, tmp_path: Path) -> None:
    source = video(tmp_path / "in.mp4")

    def stop(done: int, windows: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sound_for_video(echoes, source, tmp_path / "out", steps=1, report=stop)
    assert list(tmp_path.iterdir()) == [source]


def test_the_sound_goes_with_the_video_that_fails(echoes: VisualEchoes, tmp_path: Path) -> None:
    """A video that cannot be written leaves no sound without it, and a sound that was there stays."""
    source = video(tmp_path / "in.mp4")
    (tmp_path / "out.wav").write_bytes(b"precious")
    (tmp_path / "out.mp4").mkdir()
    blocks = iter([np.zeros(100, np.float32)])
    with pytest.raises(EchoesError, match=r"out\.mp4"):
        write_long(echoes, tmp_path / "out", blocks, {}, source)
    assert (tmp_path / "out.wav").read_bytes() == b"precious"


def test_a_full_disk_is_said_wherever_it_strikes(echoes: VisualEchoes, tmp_path: Path) -> None:
    """A limit on the size of files stands for it: writes fail in the middle."""
    resource = pytest.importorskip("resource")
    source = video(tmp_path / "in.mp4")
    wav, _ = sound_for_video(echoes, source, tmp_path / "fine", steps=1)
    (tmp_path / "out").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit, name in ((1000, "a.wav"), (wav.stat().st_size + 100, "a.mp4")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(EchoesError, match=rf"{name} cannot be written"):
                sound_for_video(echoes, source, tmp_path / "out" / "a", steps=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "out").iterdir())


def _audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])


def _cut_short(path: Path) -> None:
    whole = video(path.with_name("whole.mp4"), 60)
    with av.open(str(whole)) as source, av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        track = source.streams.video[0]
        copy = container.add_stream_from_template(track)
        for packet in source.demux(track):
            if packet.size:
                packet.stream = copy
                container.mux(packet)
    whole.unlink()
    with av.open(str(path)) as container:
        places = [packet.pos or 0 for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: sorted(places)[30]])


def _a_day(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for seconds in (0, 86_400):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
            frame.pts, frame.time_base = seconds * 10, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _without_frame(path: Path) -> None:
    path.write_bytes(video(path).read_bytes().replace(b"mdat", b"free")[:900])


def _out_of_order(path: Path) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "2", "b-adapt": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_audio_only, "has no video in it"),
        (_cut_short, "ends before the length its header promises"),
        (_a_day, "24.0 hours long"),
        (_without_frame, "damaged, incomplete or not a video"),
        (_out_of_order, "out of order"),
    ],
)
def test_what_is_no_whole_video_is_named_and_leaves_nothing(
    echoes: VisualEchoes, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    source = tmp_path / ("in.avi" if make is _out_of_order else "in.mp4")
    make(source)
    with pytest.raises(EchoesError, match=message):
        sound_for_video(echoes, source, tmp_path / "out", steps=1)
    assert list(tmp_path.iterdir()) == [source]


def test_no_sound_to_keep_is_said_before_the_work(echoes: VisualEchoes, tmp_path: Path) -> None:
    def never(done: int, windows: int) -> None:
        raise AssertionError

    with pytest.raises(EchoesError, match="no sound to keep beneath"):
        sound_for_video(echoes, video(tmp_path / "in.mp4"), tmp_path / "out", mix_db=0.0, steps=1, report=never)
