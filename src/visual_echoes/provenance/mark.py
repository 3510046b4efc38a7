"""What every written file says about itself: the program, the model, how it was sampled, and that a machine made it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from visual_echoes import __version__

SOFTWARE = f"Visual Echoes {__version__}"
# IPTC's term for media made by a trained model.
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


class Named(Protocol):
    """What bears a name and a version, as a model does."""

    name: str
    version: str


def provenance(model: Named, **details: object) -> dict[str, str]:
    """Metadata for the writers of `visual_echoes.media`.

    Args:
        model: what made the content.
        details: further entries, such as task, source, seed and sampling settings; those that are None are left out.
    """
    metadata = {
        "software": SOFTWARE,
        "model": model.name,
        "model_version": model.version,
        "synthetic": "true",
        "digital_source_type": DIGITAL_SOURCE_TYPE,
    }
    return metadata | {key: str(value) for key, value in details.items() if value is not None}


def says_synthetic(metadata: Mapping[str, str]) -> bool:
    """Whether what a file says about itself is that a machine made it."""
    return metadata.get("synthetic") == "true" or metadata.get("digital_source_type") == DIGITAL_SOURCE_TYPE


def source_name(path: str | os.PathLike[str]) -> str:
    """A file's name without its folders, as text that any file format takes."""
    return os.fsencode(Path(path).name).decode("utf-8", "replace")
