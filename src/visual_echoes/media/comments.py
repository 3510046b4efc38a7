"""Metadata as one line of JSON, for containers that offer a single comment field."""

from __future__ import annotations

import json
from collections.abc import Mapping

SOFTWARE = "Visual Echoes"


def encode_comment(metadata: Mapping[str, str]) -> str:
    """The mapping as ASCII JSON."""
    return json.dumps(dict(metadata))


def decode_comment(comment: str | None) -> dict[str, str]:
    """The mapping that `encode_comment` wrote; empty for anything else."""
    try:
        metadata = json.loads(comment or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return {}
    return metadata
