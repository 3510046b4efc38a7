"""The reference's own config files, YAML or JSON, and whether they agree with what the tensors say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visual_echoes.errors import EchoesError, first_line
from visual_echoes.files import StrPath

MAX_SETTINGS_BYTES = 1 << 20
DEEPEST = 6

Settings = Mapping[str, Any]


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
        if path.stat().st_size > MAX_SETTINGS_BYTES:
            raise EchoesError(f"{path} is larger than {MAX_SETTINGS_BYTES} bytes; this is no config.")
        text = path.read_text(encoding="utf-8")
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
