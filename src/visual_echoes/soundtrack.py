"""A sound for a whole video, and the video with it: what the command, the page and Python share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from visual_echoes.errors import EchoesError
from visual_echoes.files import atomic_path
from visual_echoes.inputs import ImageLike
from visual_echoes.media import read_frames_at, write_mp4
from visual_echoes.media.cuts import read_cuts
from visual_echoes.media.remux import check_copy, video_seconds, write_with_sound
from visual_echoes.media.sounds import open_wav, to_pcm
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.provenance.mark import provenance
from visual_echoes.windows import LONGEST, Hear, Report, Window, long_sound, plan_windows

FRAMES_AT_ONCE = 4  # decoded before they are needed
_BLOCK = 1 << 16  # samples


def sound_for_video(
    echoes: VisualEchoes,
    video: Path,
    stem: Path,
    *,
    keep_video: bool = True,
    mix_db: float | None = None,
    source: str | None = None,
    seed: int = 0,
    label: str | None = None,
    report: Report | None = None,
    hear: Hear | None = None,
    **settings: Any,
) -> list[Path]:
    """Make a sound as long as a video: STEM.wav, and STEM.mp4 (or .mkv), the video with it.

    Args:
        video: its frames are copied, not encoded again.
        stem: of the files; its folder must exist.
        keep_video: also write the video.
        mix_db: level at which the video's own sound stays beneath in the video; None leaves it out.
        source: what the files' metadata call the video; its name unless told otherwise.
        seed: of the whole; each window has one of its own that comes from it.
        label: what all of it shows; None lets the model tell for each window that starts afresh.
        report: called before the first window and after each with the windows that are done and all of them.
        hear: called with each window and its sound.
        **settings: as for `VisualEchoes.image_to_audio`.

    Raises:
        EchoesError: an unusable video or setting, one longer than `LONGEST`, or a file that cannot be written.
    """
    first, seconds = video_seconds(video)
    if seconds > LONGEST:
        raise EchoesError(f"{video} is {seconds / 3600:.1f} hours long, more than {LONGEST / 3600:g}; cut it.")
    if keep_video:  # what cannot be written is known before the work
        check_copy(video, own_sound=mix_db is not None)
    rate = echoes.layout.sample_rate
    samples = round(seconds * rate)
    cuts = read_cuts(video) if echoes.layout.frames == 1 else []  # a model that sees frames sees what changes
    windows = plan_windows(echoes.layout, samples, [cut - first for cut in cuts])
    blocks = long_sound(
        echoes, windows, _frames(video, echoes, windows, first), samples, seed=seed, label=label, report=report,
        hear=hear, **settings,
    )  # fmt: skip
    details = {
        "task": "sound", "source": source or video.name, "seed": seed, "label": label, "windows": len(windows),
        **settings,
    }  # fmt: skip
    if report is not None:
        report(0, len(windows))
    return write_long(echoes, stem, blocks, details, video if keep_video else None, mix_db)


def sound_for_still(
    echoes: VisualEchoes,
    image: ImageLike,
    seconds: float,
    *,
    seed: int = 0,
    label: str | None = None,
    report: Report | None = None,
    hear: Hear | None = None,
    **settings: Any,
) -> Iterator[np.ndarray]:
    """A sound of so many seconds for an image, as blocks of float32; arguments and errors as `sound_for_video`'s."""
    if not 0 < seconds <= LONGEST:
        raise EchoesError(
            f"A sound may be up to {LONGEST / 3600:g} hours long, not {seconds:g} s; ask for another length."
        )
    samples = round(seconds * echoes.layout.sample_rate)
    windows = plan_windows(echoes.layout, samples)
    images = [image] * len(windows)
    if report is not None:
        report(0, len(windows))
    return long_sound(echoes, windows, images, samples, seed=seed, label=label, report=report, hear=hear, **settings)


def write_long(
    echoes: VisualEchoes,
    stem: Path,
    blocks: Iterator[np.ndarray],
    details: dict[str, object],
    video: Path | None = None,
    mix_db: float | None = None,
) -> list[Path]:
    """Write blocks of a sound as STEM.wav, and the video with it; nothing is left behind where that fails."""
    metadata = provenance(echoes.model, precision=echoes.codec.precision, **details)
    wav = stem.with_name(stem.name + ".wav")
    rate = echoes.layout.sample_rate
    paths = [wav]
    with atomic_path(wav) as temporary:
        with open_wav(temporary, rate, metadata) as file:
            for block in blocks:
                file.write(to_pcm(block))
        if video is not None:
            target = stem.with_name(stem.name + ".mp4")
            paths.append(write_with_sound(target, video, _blocks_of(temporary), rate, metadata, mix_db))
    return paths


def write_still(
    echoes: VisualEchoes,
    stem: Path,
    blocks: Iterator[np.ndarray],
    details: dict[str, object],
    pixels: np.ndarray | None,
) -> list[Path]:
    """Write blocks of a sound as STEM.wav, and as STEM.mp4 with an image, uint8 (H, W, C), if there is one."""
    paths = write_long(echoes, stem, blocks, details)
    if pixels is not None:
        wave_N, rate = soundfile.read(paths[0], dtype="float32")
        paths.append(stem.with_name(stem.name + ".mp4"))
        write_mp4(paths[1], pixels, wave_N, rate, provenance(echoes.model, precision=echoes.codec.precision, **details))
    return paths


def _blocks_of(path: Path) -> Iterator[np.ndarray]:
    with soundfile.SoundFile(path) as file:
        yield from file.blocks(_BLOCK, dtype="float32")


def _frames(
    video: Path, echoes: VisualEchoes, windows: Sequence[Window], first: float
) -> Iterator[Image.Image | list[Image.Image]]:
    """The frame that each window is made for, some at a time; all of its frames where the layout has several."""
    layout = echoes.layout
    if layout.frames > 1:
        for window in windows:
            begin = first + window.first / layout.sample_rate
            yield read_frames_at(video, [begin + time for time in layout.frame_times])
        return
    times = [first + window.middle(echoes.layout) for window in windows]
    for start in range(0, len(times), FRAMES_AT_ONCE):
        yield from read_frames_at(video, times[start : start + FRAMES_AT_ONCE])
