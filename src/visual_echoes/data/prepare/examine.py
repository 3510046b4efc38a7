"""Examine one candidate: decode it, and say which clips it makes or why it makes none.

A pure function of the files and the rules: the same in one worker, in many, or on a cluster. It imports no torch, so
that workers start at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from visual_echoes.data.prepare.candidates import Candidate, Found, Outcome, Reason, Rejected, Rules
from visual_echoes.errors import EchoesError, collected, note
from visual_echoes.media import read_audio_window, read_frames_at, read_image, read_tracks, why_silent

STILL = 6.0  # grey levels of 255 that some part of the image must change by, at THUMBNAIL pixels
THUMBNAIL = 32  # pixels a side: averages out what compression alone changes
KEPT_REST = 0.5  # share of a window that the rest of a file must have to become a clip of its own
CUT_SLACK = 1.0  # seconds that a clip cut out of a video may be longer than the window
END_SLACK = 0.5  # seconds that a listed clip may end after its file
GIVE_UP = 3  # unreadable clips in a row after which the rest of a file is left out
ROUNDING = 1e-3  # seconds by which lengths may be off
_OF_SOUND = (Reason.SILENT, Reason.TOO_SHORT, Reason.NO_SOUND, Reason.BEYOND_END)  # an image has no length


class _Dropped(Exception):
    """Ends the examination of a clip."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def examine(candidate: Candidate, rules: Rules) -> Iterator[Outcome]:
    """Yield what becomes of each clip of a candidate, one after the other.

    What is said of the whole file goes with its first clip.
    """
    try:
        with collected() as said:
            length = _length(candidate)
            hashes = _hashes(candidate)
            windows = plan_windows(candidate, length, rules)
    except (_Dropped, EchoesError, OSError) as fault:
        yield _rejected(candidate, candidate.id, fault)
        return
    known = set(said)
    unreadable = 0
    for start, seconds in windows:
        if unreadable == GIVE_UP:
            yield Rejected(
                f"{candidate.id}_*", candidate.files[0], Reason.UNREADABLE, f"all the rest, from {start:g} s on"
            )
            return
        id = candidate.id if len(windows) == 1 else f"{candidate.id}_{round(start * 1000):08d}"
        try:
            with collected() as notes:
                frames = _check(candidate, start, seconds, rules)
        except (_Dropped, EchoesError, OSError) as fault:
            yield _rejected(candidate, id, fault)
            unreadable = 0 if isinstance(fault, _Dropped) else unreadable + 1
        else:
            unreadable = 0
            said += [sentence for sentence in notes if sentence not in known]
            yield Found(
                id, candidate.origin, candidate.picture, candidate.sound, candidate.label, candidate.split,
                start, seconds, frames, hashes, tuple(said),
            )  # fmt: skip
            known |= set(said)
            said = []


def plan_windows(candidate: Candidate, length: float, rules: Rules) -> list[tuple[float, float]]:
    """Where the clips of a candidate of a given length are: start and seconds of each.

    A candidate without times is cut into consecutive windows; the rest becomes a clip if it has `KEPT_REST` of a
    window. What is shorter than a window is one clip. Raises what `examine` turns into a rejection.
    """
    if candidate.sound is None:
        return [(0.0, rules.window)]
    if length < rules.shortest - ROUNDING:
        raise _Dropped(Reason.TOO_SHORT, f"{length:.2f} s")
    if candidate.start is not None:
        return [_listed_window(candidate, candidate.start, length, rules)]
    count, rest = divmod(length + ROUNDING, rules.window)
    windows = [(index * rules.window, rules.window) for index in range(int(count))]
    if not windows or rest >= rules.window * KEPT_REST:
        windows.append((count * rules.window, min(rest, length - count * rules.window)))
    return [(round(start, 6), round(seconds, 6)) for start, seconds in windows]


def _listed_window(candidate: Candidate, start: float, length: float, rules: Rules) -> tuple[float, float]:
    if candidate.maybe_cut and length <= rules.window + CUT_SLACK:
        start = 0.0
    end = start + (candidate.seconds or rules.window)
    beyond = end > length + END_SLACK and candidate.seconds is not None
    if start >= length or beyond:
        raise _Dropped(Reason.BEYOND_END, f"{start:g} to {end:g} s of {length:.2f} s")
    seconds = min(end, length) - start
    if seconds < rules.shortest - ROUNDING:
        raise _Dropped(Reason.TOO_SHORT, f"{seconds:.2f} s")
    return round(start, 6), round(seconds, 6)


def _length(candidate: Candidate) -> float:
    """How long image and sound both last, in seconds; 0 for an image alone."""
    if candidate.sound is None:
        return 0.0
    with collected() as notes:
        tracks = read_tracks(candidate.sound)
    if candidate.picture == candidate.sound and not tracks.image:
        raise _Dropped(Reason.NO_PICTURE, " ".join(notes))
    if not tracks.sound:
        raise _Dropped(Reason.NO_SOUND, " ".join(notes))
    for sentence in notes:
        note(sentence)
    if candidate.picture == candidate.sound and tracks.image is not None:
        return min(tracks.image, tracks.sound)
    return tracks.sound


def _hashes(candidate: Candidate) -> dict[str, str]:
    digests = {path: _digest(path) for path in candidate.files}
    parts = {"picture": candidate.picture, "sound": candidate.sound}
    return {part: digests[path] for part, path in parts.items() if path is not None}


def _digest(path: str) -> str:
    if not Path(path).is_file():  # opening a pipe could wait for ever
        raise EchoesError(f"{path} is no regular file; name a file.")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(candidate: Candidate, start: float, seconds: float, rules: Rules) -> tuple[float, ...]:
    """Decode one clip as training will; returns the times of its frames after its start."""
    if candidate.sound is not None:
        wave = read_audio_window(candidate.sound, rules.sample_rate, start, seconds)
        cause = why_silent(candidate.sound, wave, start, seconds)
        if cause is not None:
            raise _Dropped(Reason.SILENT, cause)
    if candidate.picture is None or candidate.picture != candidate.sound:
        if candidate.picture is not None:
            read_image(candidate.picture)
        return (0.0,)
    times = tuple(round(seconds * (part + 0.5) / rules.frames, 6) for part in range(rules.frames))
    if _is_still(read_frames_at(candidate.picture, [start + time for time in times])):
        raise _Dropped(Reason.STILL)
    return times


def _is_still(frames: Sequence[Image.Image]) -> bool:
    """Whether all frames show the same, but for what compression changes; one frame alone is never still."""
    size = (THUMBNAIL, THUMBNAIL)
    grey = np.stack([np.asarray(frame.convert("L").resize(size, Image.Resampling.BOX), np.float32) for frame in frames])
    return len(frames) > 1 and float(np.ptp(grey, axis=0).max()) < STILL


def _rejected(candidate: Candidate, id: str, fault: Exception) -> Rejected:
    file = candidate.files[0]
    if isinstance(fault, _Dropped):
        blamed = candidate.files[-1] if fault.reason in _OF_SOUND else file
        return Rejected(id, blamed, fault.reason, fault.detail)
    blamed = next((path for path in candidate.files if str(fault).startswith(path)), file)
    reason = Reason.OUT_OF_MEMORY if isinstance(fault.__cause__, MemoryError) else Reason.UNREADABLE
    return Rejected(id, blamed, reason, str(fault).removeprefix(f"{blamed} "))
