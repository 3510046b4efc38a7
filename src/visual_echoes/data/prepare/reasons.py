"""Why a file or a clip is left out."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The word in `rejected.csv`; `WORDING` says it in a sentence."""

    NOT_MEDIA = "not-media"
    NOT_ENTERED = "not-entered"
    BAD_NAME = "bad-name"
    BAD_ROW = "bad-row"
    MISSING = "missing"
    NOT_LISTED = "not-listed"
    NO_PICTURE = "no-picture"
    NO_SOUND = "no-sound"
    UNREADABLE = "unreadable"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    TOO_SHORT = "too-short"
    BEYOND_END = "beyond-end"
    SILENT = "silent"
    STILL = "still"
    DUPLICATE_ID = "duplicate-id"
    DUPLICATE = "duplicate"
    LEAK = "leak"
    NO_PARTNER = "no-partner"


WORDING = {
    Reason.NOT_MEDIA: "neither a video, an image nor a sound",
    Reason.NOT_ENTERED: "a folder that was not entered",
    Reason.BAD_NAME: "its name holds control characters, or is no UTF-8",
    Reason.BAD_ROW: "its row in the list makes no sense",
    Reason.MISSING: "the list names it, but the file is not there",
    Reason.NOT_LISTED: "the list does not name it",
    Reason.NO_PICTURE: "no image: no video track, or no image of the same name",
    Reason.NO_SOUND: "no sound: no sound track, or no sound of the same name",
    Reason.UNREADABLE: "damaged, incomplete, of another format, or larger than what is read",
    Reason.CRASHED: "the decoder crashed on it",
    Reason.TIMED_OUT: "decoding took longer than the time limit",
    Reason.OUT_OF_MEMORY: "decoding took more than the memory limit",
    Reason.TOO_SHORT: "shorter than the shortest clip",
    Reason.BEYOND_END: "its times lie beyond the end of the file",
    Reason.SILENT: "silent all along",
    Reason.STILL: "the same image all along",
    Reason.DUPLICATE_ID: "another clip has the same id",
    Reason.DUPLICATE: "the same content as another clip",
    Reason.LEAK: "its source video is in another split",
    Reason.NO_PARTNER: "nothing to pair it with in its class and split",
}
