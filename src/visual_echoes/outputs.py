"""Writing what a model made: PNG, WAV and MP4 files that say where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visual_echoes.checkpoints.model import Model
from visual_echoes.media import write_mp4, write_png, write_wav
from visual_echoes.media.drawing import filmstrip
from visual_echoes.pipeline import Result
from visual_echoes.provenance.mark import provenance


def export_item(
    model: Model, result: Result, row: int, stem: Path, suffixes: Sequence[str], **details: object
) -> list[Path]:
    """Write one item of a result.

    Args:
        model: what made it.
        row: which item of the result.
        stem: path of the files without their suffix; its folder must exist.
        suffixes: any of ".png" (the image, or a video's frames side by side), ".wav" (the sound) and ".mp4" (both).
        details: metadata beyond model, seed and sampling settings.

    Returns:
        The files, in order of the suffixes.

    Raises:
        EchoesError: a file cannot be written.
    """
    settings = {} if result.settings is None else result.settings.model_dump()
    seed = result.seeds[row] if result.seeds else None
    confidence = None if result.confidence is None else f"{result.confidence[row]:.2f}".replace("nan", "unknown")
    label = None if result.labels is None else result.labels[row]
    agreement = None if result.agreement is None else f"{result.agreement[row]:.2f}"
    metadata = provenance(
        model,
        **details,
        label=label,
        seed=seed,
        precision=result.precision,
        model_confidence=confidence,
        model_agreement=agreement,
        **settings,
    )
    return [_write(result, row, stem.with_name(stem.name + suffix), suffix, metadata) for suffix in suffixes]


def _write(result: Result, row: int, target: Path, suffix: str, metadata: dict[str, str]) -> Path:
    if suffix == ".png":
        assert result.images is not None
        write_png(target, filmstrip(result.images[row]), metadata)
    elif suffix == ".wav":
        assert result.audio is not None
        write_wav(target, result.audio[row], result.sample_rate, metadata)
    else:
        assert result.images is not None
        assert result.audio is not None
        write_mp4(target, result.images[row], result.audio[row], result.sample_rate, metadata)
    return target
