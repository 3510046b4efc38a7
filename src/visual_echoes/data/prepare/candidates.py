"""What a preparation passes around: candidates to examine, what became of them, and why. All of it turns into JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:  # importing it would bring torch into every worker
    from visual_echoes.data.manifest import Split


class Reason(StrEnum):
    """Why a file or a clip is left out: the word in `rejected.csv`, and what it means."""

    _value_: str
    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        reason = str.__new__(cls, word)
        reason._value_, reason.meaning = word, meaning
        return reason

    NOT_MEDIA = "not-media", "neither a video, an image nor a sound"
    NOT_ENTERED = "not-entered", "a folder that was not entered"
    BAD_NAME = "bad-name", "its name holds control characters, or is no UTF-8"
    BAD_ROW = "bad-row", "its row in the list makes no sense"
    MISSING = "missing", "the list names it, but the file is not there"
    NOT_LISTED = "not-listed", "the list does not name it"
    NO_PICTURE = "no-picture", "no image: no video track, or no image of the same name"
    NO_SOUND = "no-sound", "no sound: no sound track, or no sound of the same name"
    UNREADABLE = "unreadable", "damaged, incomplete, of another format, or larger than what is read"
    CRASHED = "crashed", "the decoder crashed on it"
    TIMED_OUT = "timed-out", "decoding took longer than the time limit"
    OUT_OF_MEMORY = "out-of-memory", "decoding took more than the memory limit"
    TOO_SHORT = "too-short", "shorter than the shortest clip"
    BEYOND_END = "beyond-end", "its times lie beyond the end of the file"
    SILENT = "silent", "silent all along"
    STILL = "still", "the same image all along"
    DUPLICATE_ID = "duplicate-id", "another clip has the same id"
    DUPLICATE = "duplicate", "the same content as another clip"
    LEAK = "leak", "its source video is in another split"
    NO_PARTNER = "no-partner", "nothing to pair it with in its class and split"


@dataclass(frozen=True)
class Candidate:
    """Files that may hold one or more clips.

    Attributes:
        id: unique among the candidates; the id of its clip, or the first part of its clips' ids.
        origin: the source video's id, or what else must not be divided between splits.
        image: absolute path of the video or image; None for a sound that is paired by class.
        sound: absolute path of the video or sound; None for an image that is paired by class.
        label: its class, if it has one.
        split: what a list says, if there is one.
        start: where its one clip begins, in seconds; None for consecutive windows over the whole length.
        seconds: how long its one clip is; None for the window's length, or what there is of it.
        maybe_cut: the file may be the clip itself, already cut out of the source video; `start` is then 0.
    """

    id: str
    origin: str
    picture: str | None
    sound: str | None
    label: str | None = None
    split: Split | None = None
    start: float | None = None
    seconds: float | None = None
    maybe_cut: bool = False

    @property
    def files(self) -> list[str]:
        """Its files, each once."""
        return list(dict.fromkeys(path for path in (self.picture, self.sound) if path is not None))


@dataclass(frozen=True)
class Found:
    """A usable clip, before it has a split; one half of it where `picture` or `sound` is None.

    Fields as in `Clip`, but for `notes`: what is worth knowing about its files, such as damage inside the sound.
    """

    id: str
    origin: str
    picture: str | None
    sound: str | None
    label: str | None
    split: Split | None
    start: float
    seconds: float
    frames: tuple[float, ...]
    hashes: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A file or clip that is left out.

    Attributes:
        id: as far as it has one.
        file: its path; for a pair the file at fault, or the image.
        reason: the kind of fault.
        detail: what exactly, if there is more to say.
    """

    id: str
    file: str
    reason: Reason
    detail: str = ""


Outcome = Found | Rejected


@dataclass(frozen=True)
class Rules:
    """What examining a candidate depends on.

    Attributes:
        sample_rate: in Hz; the layout's.
        window: length of the clips that a longer file is cut into, in seconds.
        shortest: length that a clip must have, in seconds.
        frames: frames of each clip of a video.
    """

    sample_rate: int
    window: float
    shortest: float
    frames: int


def unpack(values: Sequence[dict[str, Any]]) -> list[Outcome]:
    """Outcomes from what `asdict` made of them; `KeyError`, `TypeError` or `ValueError` on other values."""
    return [
        Rejected(**{**value, "reason": Reason(value["reason"])})  # type: ignore[call-arg]
        if "reason" in value
        else Found(**{**value, "frames": tuple(value["frames"]), "notes": tuple(value["notes"])})
        for value in values
    ]
