"""The judges that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from visual_echoes.errors import EchoesError
from visual_echoes.metrics.classifiers import Judge, load_judge

WEIGHTS = "weights"


def packaged_judges() -> list[str]:
    """Names of the judges inside the package."""
    folder = _folder()
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def packaged_judge(name: str) -> Judge:
    """A judge that comes with the package, for instance "digits-image"; `EchoesError` if there is no such one."""
    if name not in packaged_judges():
        known = ", ".join(packaged_judges()) or "none"
        raise EchoesError(f"There is no packaged judge {name!r} ({known}); train one or give its folder.")
    return load_judge(_folder() / name)


def _folder() -> Path:
    return Path(str(resources.files("visual_echoes.evaluation"))) / WEIGHTS
