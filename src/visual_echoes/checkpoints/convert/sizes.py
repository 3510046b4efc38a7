"""Sizes of a network, read from its tensors and the reference's own config, and whether all tensors fit them.

A size stands in several tensors; the one most of them agree on is taken, so that a misshapen tensor is found out
instead of believed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from visual_echoes.errors import EchoesError, first_line
from visual_echoes.files import StrPath, read_limited
from visual_echoes.machine import without_memory

Network = TypeVar("Network", bound=nn.Module)
ABSENT = 1
MAX_SETTINGS_BYTES = 1 << 20
DEEPEST = 6

Settings = Mapping[str, Any]


class Shapes:
    """The shapes of a checkpoint's tensors by name."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}

    def size(self, places: Iterable[tuple[str, int]], absent: int = ABSENT) -> int:
        """The size that most of the given (tensor name, axis) have, the first of them where it is a tie.

        Where none of the tensors is there it is `absent`; as all are then missing, `fit` names them.
        """
        shapes = ((self._shapes.get(name, ()), axis) for name, axis in places)
        votes = Counter(shape[axis] for shape, axis in shapes if axis < len(shape))
        return votes.most_common(1)[0][0] if votes else absent

    def count(self, pattern: str) -> int:
        """One more than the largest number at the first group of `pattern`, which is matched from a name's start."""
        return max(self.numbers(pattern), default=-1) + 1

    def numbers(self, pattern: str) -> list[int]:
        """The numbers at the first group of `pattern`, in order, each once."""
        matches = (re.match(pattern, name) for name in self._shapes)
        return sorted({int(match[1]) for match in matches if match})


def fit(build: Callable[[], Network], tensors: Mapping[str, Tensor], source: StrPath, what: str) -> Network:
    """The network that `build` makes, with these tensors as weights, in eval mode.

    Raises:
        EchoesError: the sizes make no network, or any tensor is missing, extra, misshapen, not of floating point or
            not finite; every such tensor is named.
    """
    try:
        with without_memory():
            network = build()
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise EchoesError(f"The sizes in {source} make no {what} ({reason}); give another checkpoint.") from error
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    problems = _differences(expected, tensors) or _bad_values(tensors)
    if problems:
        raise EchoesError(f"{source} does not fit a {what}: {'; '.join(problems)}; get a whole checkpoint of it.")
    # Copies, because the tensors may be windows into the file.
    own = {name: value.to(torch.float32, copy=True).contiguous() for name, value in tensors.items()}
    network.load_state_dict(own, assign=True)
    return network.eval()


def _differences(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> list[str]:
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    misshapen = [
        f"{name} is {found[name]} instead of {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    lists = (("missing", missing), ("not part of it", extra), ("misshapen", misshapen))
    return [f"{title}: {', '.join(names)}" for title, names in lists if names]


def _bad_values(tensors: Mapping[str, Tensor]) -> list[str]:
    odd = sorted(name for name, value in tensors.items() if not value.is_floating_point() or value.is_sparse)
    if odd:
        return [f"no floating-point numbers: {', '.join(odd)}"]
    infinite = sorted(name for name, value in tensors.items() if not value.float().isfinite().all())
    return [f"values that are not finite: {', '.join(infinite)}"] if infinite else []


def read_settings(source: StrPath, key: str) -> Settings:
    """The table of a YAML or JSON file that has `key`, at whatever depth the reference keeps it.

    Raises:
        EchoesError: the file is missing, too large, neither YAML nor JSON, or has no such table.
    """
    found = find_settings(source, key)
    if found is None:
        raise EchoesError(f"{source} has no {key!r}; give the config that belongs to the checkpoint, or leave it out.")
    return found


def find_settings(source: StrPath, key: str) -> Settings | None:
    """As `read_settings`, but None where there is no such table."""
    import yaml

    path = Path(source)
    try:
        text = read_limited(path, MAX_SETTINGS_BYTES).decode("utf-8")
        content = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise EchoesError(
            f"{path} cannot be read as YAML or JSON ({first_line(error)}); give the checkpoint's config."
        ) from error
    return _find(content, key, DEEPEST)


def _find(content: object, key: str, depth: int) -> Settings | None:
    if not isinstance(content, Mapping) or depth == 0:
        return None
    if key in content:
        return content
    return next((found for value in content.values() if (found := _find(value, key, depth - 1)) is not None), None)


def check_agreement(stated: Settings, found: Settings, config: StrPath, source: StrPath) -> None:
    """Refuse a config that says something else than the tensors, key by key where both know."""
    for key, value in stated.items():
        if key in found and found[key] != value:
            raise EchoesError(
                f"{config} gives {key} as {value}, but the tensors of {source} have {found[key]}; give the config that "
                "belongs to the checkpoint, or leave it out."
            )


def as_tuples(value: object) -> Any:
    """Lists as tuples, at any depth, so that a config's values compare equal to a network's."""
    return tuple(as_tuples(item) for item in value) if isinstance(value, list | tuple) else value
