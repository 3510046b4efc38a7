"""What should happen when: a file of events, or the changes of videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from visual_echoes.data.events import Event, read_events
from visual_echoes.evaluation.listing import Listing
from visual_echoes.layout import Modality
from visual_echoes.paths import shown


@dataclass(frozen=True)
class Truth:
    """The events of files.

    Attributes:
        listing: the ids; to each the file that says what happens.
        events: of an id, in order.
    """

    listing: Listing
    events: Callable[[str], Sequence[Event]]


def read_truth(path: Path, modality: Modality) -> Truth:
    """The events of a file of JSON lines, as `read_events` reads it; `EchoesError` as there.

    Args:
        modality: of the files that it is about.
    """
    found = read_events(path)
    return Truth(Listing(shown(path), modality, dict.fromkeys(sorted(found), path)), found.__getitem__)
