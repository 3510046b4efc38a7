"""A folder of one's own, pictures/CLASS and sounds/CLASS, to the arrays a training reads.

Splits go by the hash of a file's name, as in `echoes prepare`; files of one content are in one split.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from visual_echoes.data.classes import Classes, ClassFile, Counts, Report, SilentSound, fit_classes
from visual_echoes.data.prepare.candidates import Candidate, Found, Rejected
from visual_echoes.data.prepare.find import find_classes
from visual_echoes.data.prepare.finish import REJECTED, Splitting, below_root, check_shares, settle, write_rejected
from visual_echoes.data.prepare.reasons import Reason
from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest
from visual_echoes.layout import Layout


@dataclass(frozen=True)
class PreparedClasses:
    """What came of it: images and windows of sounds per split, and how many files were left out for each reason."""

    counts: Counts
    reasons: Counter[Reason]


def prepare_class_folder(
    folder: Path,
    target: Path,
    layout: Layout,
    valid_share: float,
    test_share: float,
    report: Report | None = None,
) -> PreparedClasses:
    """Prepare class folders; files that cannot be used are left out and listed in `<target>/rejected.csv`.

    Args:
        folder: with `pictures/CLASS/...` and `sounds/CLASS/...`.
        target: folder to write, made if needed.
        valid_share, test_share: of the files, by their names' hashes.
        report: called with how many files are done, and of how many.

    Raises:
        EchoesError: no class folders, shares that leave nothing, or a class without images or sounds to train on; the
            list of what was left out is written all the same.
    """
    check_shares(valid_share, test_share)
    folder, target = folder.absolute(), target.absolute()
    findings = find_classes(folder, target)
    found, rejected = settle(
        (*findings.rejected, *map(_found, findings.candidates)), Splitting(None, valid_share, test_share)
    )
    ids = {_file(half): half.id for half in found}
    halves = [(half, ClassFile(_file(half), half.label or "", half.split or "train")) for half in found]

    def leave_out(file: ClassFile, error: EchoesError) -> None:
        reason = Reason.SILENT if isinstance(error, SilentSound) else Reason.UNREADABLE
        detail = "" if reason is Reason.SILENT else str(error).removeprefix(f"{file.path} ")
        rejected.append(Rejected(ids[file.path], str(file.path), reason, detail))

    classes = fit_classes(
        [file for half, file in halves if half.picture], [file for half, file in halves if half.sound], layout, report,
        leave_out,
    )  # fmt: skip
    target.mkdir(parents=True, exist_ok=True)
    write_rejected(target, below_root(rejected, folder))
    _check_training(folder, target, classes, {candidate.label or "" for candidate in findings.candidates})
    return PreparedClasses(
        classes.write(target, layout, {folder.name: _content_digest(found, folder)}),
        Counter(one.reason for one in rejected),
    )


def _found(candidate: Candidate) -> Found | Rejected:
    """A half of a pair, as yet unread but for its digest."""
    path = Path(candidate.files[0])
    kind = "picture" if candidate.picture else "sound"
    try:
        if not path.is_file():  # opening a pipe could wait for ever
            raise OSError("it is no regular file")
        digest = file_digest(path)
    except OSError as error:
        return Rejected(candidate.id, str(path), Reason.UNREADABLE, error.strerror or str(error))
    return Found(
        candidate.id, candidate.origin, candidate.picture, candidate.sound, candidate.label, None, 0.0, 0.0, (0.0,),
        {kind: digest},
    )  # fmt: skip


def _file(half: Found) -> Path:
    return Path(half.picture or half.sound or "")


def _check_training(folder: Path, target: Path, classes: Classes, labels: set[str]) -> None:
    """Every class needs both to train on."""
    train = classes.splits["train"]
    for kind, groups in (("picture", train.image_groups), ("sound", train.sound_groups)):
        left = labels - {classes.groups[group] for group in groups.unique().tolist()}
        if left or not labels:
            which = f"The class '{min(left)}'" if left else "No class"
            raise EchoesError(
                f"{which} of {folder} has {'no' if left else 'a'} usable {kind} to train on; add some, or make the "
                f"shares for validation and test smaller ({target / REJECTED} lists what was left out)."
            )


def _content_digest(found: list[Found], folder: Path) -> str:
    """SHA-256 over names and contents of all files that were kept."""
    lines = [f"{_file(half).relative_to(folder)} {digest}" for half in found for digest in half.hashes.values()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
