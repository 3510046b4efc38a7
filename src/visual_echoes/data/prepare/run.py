"""A preparation from beginning to end: find candidates, examine them, finish. Cut short anywhere, it can go on."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from visual_echoes.data.events import read_events
from visual_echoes.data.manifest import DESCRIPTION, Description, write_description, write_manifest
from visual_echoes.data.prepare.candidates import Candidate, Reason, Rules
from visual_echoes.data.prepare.find import Findings, find_classes, find_in_folder, is_classes
from visual_echoes.data.prepare.finish import Splitting, check_shares, finish, with_events, write_notes, write_rejected
from visual_echoes.data.prepare.journal import Journal
from visual_echoes.data.prepare.lists import find_listed, find_vggsound, is_vggsound, read_split_list
from visual_echoes.data.prepare.workers import examine_in_pool, examine_on_cluster
from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest
from visual_echoes.layout import Layout

Form = Literal["folder", "classes", "list", "vggsound"]
Report = Callable[[int, int], None]

FRAMES = 10  # of each clip of a video (the paper's ten in ten seconds)
SHORTEST = 0.5  # seconds
TIME_LIMIT = 120.0  # seconds for one clip
VALID_SHARE, TEST_SHARE = 0.05, 0.05

_EXAMINATION = 2  # counted up whenever `examine` comes to other outcomes


@dataclass(frozen=True)
class Settings:
    """What the result depends on.

    Attributes:
        source: a folder, or a list.
        layout: what the clips are for.
        form: how `source` is to be understood; None to find out.
        listing: a list of clips whose paths start from `source`, or VGGSound's CSV.
        window: seconds of the clips that longer files are cut into; None for the layout's.
        shortest: seconds that a clip must have; None for `SHORTEST`, or half a window if that is less.
        frames: frames of each clip of a video.
        split_list: a published list of splits.
        events: what happens when in the files (`data.events`); None if nobody says.
        valid_share: share of the origins for validation where no list says.
        test_share: share of the origins for testing where no list says.
    """

    source: Path
    layout: Layout
    form: Form | None = None
    listing: Path | None = None
    window: float | None = None
    shortest: float | None = None
    frames: int = FRAMES
    split_list: Path | None = None
    valid_share: float = VALID_SHARE
    test_share: float = TEST_SHARE
    events: Path | None = None


@dataclass(frozen=True)
class Engine:
    """How the work is done, which changes nothing about the result.

    Attributes:
        workers: processes that examine; None for as many as there are cores.
        time_limit: seconds that one clip may take.
        ray: address of a Ray cluster, or "local"; None for processes of our own.
    """

    workers: int | None = None
    time_limit: float = TIME_LIMIT
    ray: str | None = None


@dataclass(frozen=True)
class Summary:
    """What came of a preparation: clips in each split, and how many were left out for each reason."""

    splits: Counter[str]
    reasons: Counter[Reason]
    seconds: float  # of all clips together
    notes: int = 0  # lines of `notes.csv`


def prepare(
    settings: Settings, output: Path, engine: Engine, report: Report | None = None, moved: bool = False
) -> Summary:
    """Prepare clips: manifest, `rejected.csv`, `notes.csv` and `dataset.json` in the folder `output`.

    A second call with the same settings examines only what is new, changed or was not reached by the first.

    Args:
        report: called with the number of candidates that are done, and of all.
        moved: the files have moved to `source` since the first call; those that are as they were are not examined
            again.

    Raises:
        EchoesError: unusable input or output, or not one usable clip.
    """
    source, output = settings.source.absolute(), output.absolute()
    form, findings = _find(settings, source, output)
    rules = _rules(settings)
    root = source.parent if source.is_file() else source
    if not findings.candidates and not findings.rejected:
        raise EchoesError(f"{source} holds no files; name a folder with videos, images or sounds, or a list.")
    described = _described(settings, form, rules)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EchoesError(f"{output} cannot be made ({error.strerror}); choose another folder with -o.") from error
    with Journal(output, root, {"rules": asdict(rules), "examination": _EXAMINATION}, moved) as journal:
        (output / DESCRIPTION).unlink(missing_ok=True)  # not complete until the end
        _examine_all(findings.candidates, journal, rules, engine, report)
        listed = None if settings.split_list is None else read_split_list(settings.split_list)
        outcomes = [outcome for candidate in findings.candidates for outcome in journal.outcomes(candidate) or ()]
        outcomes += findings.rejected
        splitting = Splitting(listed, settings.valid_share, settings.test_share)
        clips, rejected = finish(outcomes, splitting, form == "classes", root)
        clips = with_events(clips, {} if settings.events is None else read_events(settings.events))
        write_rejected(output, rejected)
        notes = write_notes(output, outcomes, root)
        if not clips:
            raise EchoesError(f"{source} holds no usable clip; {output / 'rejected.csv'} says why.")
        write_manifest(output, clips)
        write_description(output, Description(root, settings.layout, described))
    return Summary(
        Counter(clip.split for clip in clips), Counter(one.reason for one in rejected),
        sum(clip.seconds for clip in clips), notes,
    )  # fmt: skip


def _rules(settings: Settings) -> Rules:
    window = settings.layout.seconds if settings.window is None else settings.window
    shortest = min(SHORTEST, window / 2) if settings.shortest is None else settings.shortest
    if not 0 < shortest <= window:
        raise EchoesError(f"A shortest clip of {shortest:g} s does not fit a window of {window:g} s; correct them.")
    check_shares(settings.valid_share, settings.test_share)
    return Rules(settings.layout.sample_rate, window, shortest, settings.frames)


def _find(settings: Settings, source: Path, output: Path) -> tuple[Form, Findings]:
    """What the input is understood as, and what there is in it."""
    if not source.exists():
        raise EchoesError(f"There is no {source}; name a folder or a list.")
    form, named = settings.form, settings.listing or (source if source.is_file() else None)
    if form is None and named is None:
        form = "classes" if is_classes(source) else "folder"
    if form == "classes":
        return form, find_classes(source, output)
    if form == "folder":
        return form, find_in_folder(source, output)
    if form is None and named is not None:
        if named.suffix.lower() not in (".csv", ".jsonl"):
            raise EchoesError(
                f"{named} is neither a folder nor a list; name a folder, or a file ending in .csv or .jsonl."
            )
        form = "vggsound" if is_vggsound(named) else "list"
    if form == "list":
        named = named or source
        return form, find_listed(named, source if source.is_dir() else named.absolute().parent)
    if settings.listing is None:
        raise EchoesError(f"VGGSound needs its list; give the folder of clips, {source}, and --list vggsound.csv.")
    return "vggsound", find_vggsound(settings.listing, source, output)


def _described(settings: Settings, form: Form, rules: Rules) -> dict[str, Any]:
    """The settings as `dataset.json` shows them."""
    lists = {"list": settings.listing, "split_list": settings.split_list}
    if settings.events is not None:
        lists["events"] = settings.events
    if form == "list" and settings.listing is None:
        lists["list"] = settings.source
    digests = {name: path and _digest(path) for name, path in lists.items()}
    shares = {"valid_share": settings.valid_share, "test_share": settings.test_share}
    pairing = "class" if form == "classes" else "clip"
    return json.loads(json.dumps({"form": form, "pairing": pairing, **asdict(rules), **digests, **shares}))


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise EchoesError(f"{path} cannot be read ({error.strerror}); check the path.") from error


def _examine_all(
    candidates: Sequence[Candidate], journal: Journal, rules: Rules, engine: Engine, report: Report | None
) -> None:
    left = [candidate for candidate in candidates if journal.outcomes(candidate) is None]
    before = len(candidates) - len(left)
    if report is not None:
        report(before, len(candidates))
    if not left:
        return
    if engine.ray is None:
        examined = examine_in_pool(left, rules, engine.workers or os.cpu_count() or 1, engine.time_limit)
    else:
        examined = examine_on_cluster(left, rules, engine.workers, engine.time_limit, engine.ray)
    with closing(examined):
        for done, (candidate, outcomes) in enumerate(examined, start=before + 1):
            journal.record(candidate, outcomes)
            if report is not None:
                report(done, len(candidates))
