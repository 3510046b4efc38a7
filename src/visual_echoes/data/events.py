"""What happens when in clips: a file of JSON lines.

A line is `{"id": "clip-0001", "seconds": 3.0, "events": [{"time": 0.52, "label": "7"}]}`: the id is the name of a file
without its suffix, times are seconds after its start, and a label, which may be left out, is the event's class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from visual_echoes.errors import EchoesError
from visual_echoes.files import read_limited
from visual_echoes.paths import composed, shown

MAX_EVENTS_BYTES = 64 << 20
MOST_EVENTS = 1000  # of a clip
LONGEST_LABEL = 100  # characters


@dataclass(frozen=True)
class Event:
    """Something that happens at a time, in seconds after the start of a file, and its class if that is known."""

    time: float
    label: str | None = None


def label_at(events: Sequence[Event], time: float) -> str | None:
    """The label of the last of the events, which are in order, until a time in seconds; None before the first."""
    return next((event.label for event in reversed(events) if event.time <= time), None)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _EventLine(_Strict):
    time: Annotated[float, Field(ge=0)]
    label: Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL)] | None = None


class _ClipLine(_Strict):
    id: Annotated[str, Field(min_length=1)]
    seconds: Annotated[float, Field(gt=0)]
    events: Annotated[tuple[_EventLine, ...], Field(max_length=MOST_EVENTS, strict=False)]

    @model_validator(mode="after")
    def _within(self) -> _ClipLine:
        late = [event.time for event in self.events if event.time > self.seconds]
        if late:
            raise ValueError(f"an event at {late[0]:g} s is after the end at {self.seconds:g} s")
        return self


def read_events(path: Path) -> dict[str, list[Event]]:
    """Read a file of JSON lines: the events of each clip in order, by its id; empty lines are passed over.

    Raises:
        EchoesError: it cannot be read, is too large, has a line of another form or an id twice, or no events.
    """
    try:
        lines = read_limited(path, MAX_EVENTS_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise EchoesError(f"{path} cannot be read ({problem}); name a file of JSON lines in UTF-8.") from error
    found: dict[str, list[Event]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            clip = _ClipLine.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            problem = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
            raise EchoesError(f"{path}, line {number}, is no clip with events ({problem}); mend it.") from error
        id = shown(composed(clip.id))
        if id in found:
            raise EchoesError(f"{path}, line {number}, has the id {id} for the second time; keep one of them.")
        found[id] = sorted((Event(event.time, event.label) for event in clip.events), key=lambda event: event.time)
    if not any(found.values()):
        raise EchoesError(f"{path} has no event in it; a line for each clip says what happens when.")
    return found
