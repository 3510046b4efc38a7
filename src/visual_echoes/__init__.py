"""Visual Echoes: sound for images and images for sound, by one masked transformer over both."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visual_echoes.errors import EchoesError, EchoesWarning
    from visual_echoes.model.settings import SamplingSettings
    from visual_echoes.pipeline import Result, VisualEchoes

__version__ = "0.2.0"
__all__ = ["EchoesError", "EchoesWarning", "Result", "SamplingSettings", "VisualEchoes", "__version__"]

_HOMES = {
    "EchoesError": "visual_echoes.errors",
    "EchoesWarning": "visual_echoes.errors",
    "Result": "visual_echoes.pipeline",
    "SamplingSettings": "visual_echoes.model.settings",
    "VisualEchoes": "visual_echoes.pipeline",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
