"""A foreign checkpoint as a model folder of ours with one part, its conventions recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from torch import Tensor, nn

from visual_echoes import __version__
from visual_echoes.checkpoints.convert.generators import read_own_mel
from visual_echoes.checkpoints.convert.mage import TITLE, build_mage, is_mage, layout_of, vqgan_of
from visual_echoes.checkpoints.convert.networks import NETWORKS, recognise
from visual_echoes.checkpoints.convert.reading import checkpoint_files, read_checkpoint
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath, file_digest
from visual_echoes.layout import Layout
from visual_echoes.machine import without_memory
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.tokenizers.base import Tokenizer, TokenizerName, check_fits
from visual_echoes.vocoders import HiFiGAN, RemappedHiFiGAN, Vocoder, build_vocoder
from visual_echoes.vocoders.remapped import OwnMel

MelChoice = Literal["own", "layout"]
ConvertedPart = Literal["image_vqgan", "audio_vqgan", "transformer", "vocoder"]


@dataclass(frozen=True)
class Converted:
    """What became of a checkpoint.

    Attributes:
        model: one part, ready to be saved; two of a MAGE checkpoint that holds its VQGAN, too.
        summary: what was recognised and which convention holds, a sentence each.
    """

    model: Model
    summary: tuple[str, ...]


def convert_checkpoint(
    path: StrPath,
    layout: Layout,
    *,
    config: StrPath | None = None,
    part: ConvertedPart | None = None,
    name: str | None = None,
    mel: MelChoice = "own",
) -> Converted:
    """Read a published checkpoint as a part for a layout; the number of codes comes from the checkpoint.

    Args:
        path: as for `read_vqgan`.
        layout: what the part is to work with. It also states the mel that a one-channel VQGAN or a MelGAN was trained
            on, which their tensors do not tell; SpecVQGAN's is that of layout "paper".
        config: the reference's YAML or JSON.
        part: what it is to be; None: three channels are images, one is mels, and of MAGE all that it holds.
        name: the model's name; None: the file's.
        mel: for HiFi-GAN: trained on its "own" mel, to be converted to, or on the "layout"'s.

    Raises:
        EchoesError: the file is unusable, or what it holds does not fit the layout or the part.
    """
    tensors, note = read_checkpoint(path)
    if is_mage(tensors):
        return _convert_mage(tensors, path, layout, config, part, name or Path(path).stem, note)
    title, build = NETWORKS[recognise(tensors, path)]
    network: Tokenizer | Vocoder = build(tensors, path, config)
    chosen: ConvertedPart = "vocoder"
    if isinstance(network, Tokenizer):
        chosen, layout = _tokenizer_layout(network, layout, part, path)
        summary = _describe_tokenizer(network)
    elif part not in (None, chosen):
        raise EchoesError(f"{path} holds a {title}, which is no {part}; leave --part out.")
    else:
        if isinstance(network, HiFiGAN):
            stated = None if config is None else read_own_mel(config)
            network = _remapped(network, layout, stated) if mel == "own" else _direct(network, layout, stated)
        else:
            _check_vocoder(network, layout)
        summary = _describe_vocoder(network, layout)
    if note:
        summary = (note, *summary)
    model = Model(
        name=name or Path(path).stem, version=__version__, layout=layout, parts={chosen: network},
        sampling=SamplingSettings(), card=_card(Path(path), title, summary),
    )  # fmt: skip
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Converted(model, (f"{title}, {parameters:,} parameters, as {chosen} of layout {layout.name}.", *summary))


def _convert_mage(
    tensors: Mapping[str, Tensor],
    path: StrPath,
    layout: Layout,
    config: StrPath | None,
    part: ConvertedPart | None,
    name: str,
    note: str,
) -> Converted:
    """MAGE's transformer, its VQGAN, or both if the checkpoint holds them and no part is named."""
    parts: dict[PartName, nn.Module] = {}
    summary = [note] if note else []
    layout, vqgan = layout_of(tensors, layout, path), vqgan_of(tensors)
    if part in (None, "transformer"):
        network = build_mage(tensors, path, layout, config)
        parts["transformer"] = network
        sizes = network.config
        summary.append(
            f"{TITLE} of {sizes.encoder_layers} and {sizes.decoder_layers} layers, width {sizes.width}, "
            f"{sizes.heads} and {sizes.decoder_heads} heads; what layout {layout.name} has beside images starts afresh."
        )
    if part == "image_vqgan" or (part is None and vqgan):
        tokenizer = NETWORKS[recognise(vqgan, path)].build(vqgan, path, None)
        assert isinstance(tokenizer, Tokenizer)
        check_fits(tokenizer.config, layout, "image_vqgan", path)
        parts["image_vqgan"] = tokenizer
        summary += _describe_tokenizer(tokenizer)
    if not parts:
        raise EchoesError(f"{path} holds a {TITLE}, which is no {part}; leave --part out.")
    model = Model(
        name=name, version=__version__, layout=layout, parts=parts, sampling=SamplingSettings(),
        card=_card(Path(path), TITLE, tuple(summary)),
    )  # fmt: skip
    return Converted(model, tuple(summary))


def _tokenizer_layout(
    tokenizer: Tokenizer, layout: Layout, part: ConvertedPart | None, source: StrPath
) -> tuple[TokenizerName, Layout]:
    """Which part a VQGAN is, and the layout with its number of codes."""
    config = tokenizer.config
    if part in ("vocoder", "transformer"):
        raise EchoesError(f"{source} holds a VQGAN, which is no {part}; leave --part out.")
    chosen: TokenizerName = "audio_vqgan" if config.channels == 1 else "image_vqgan"
    if part == "image_vqgan" or part == "audio_vqgan":
        chosen = part
    if chosen == "image_vqgan":
        layout = replace(layout, image_codes=config.codes)
    else:
        layout = replace(layout, audio_codes=config.codes)
    check_fits(config, layout, chosen, source)
    return chosen, layout


def _remapped(generator: HiFiGAN, layout: Layout, stated: OwnMel | None) -> RemappedHiFiGAN:
    """A generator that was trained on its own mel: the one its config states, else that of the published ones."""
    own = stated or OwnMel()
    try:
        values = {"generator": generator.config.model_dump(), "mel": own.model_dump()}
        vocoder = build_vocoder(RemappedHiFiGAN.kind, values, layout).eval()
    except ValidationError as error:
        raise EchoesError(
            f"The generator makes {generator.hop} samples of a frame of {generator.n_mels} bands, but its mel has "
            f"{own.hop} and {own.n_mels}; give the config.json that belongs to it."
        ) from error
    assert isinstance(vocoder, RemappedHiFiGAN)
    vocoder.generator = generator
    return vocoder


def _direct(generator: HiFiGAN, layout: Layout, stated: OwnMel | None) -> HiFiGAN:
    """A generator that was trained on the layout's mel; a config that says otherwise is refused."""
    _check_vocoder(generator, layout)
    if stated is not None:
        for what in ("sample_rate", "n_fft", "hop", "n_mels", "fmin", "fmax"):
            if getattr(stated, what) != getattr(layout, what):
                raise EchoesError(
                    f"The generator's config says that its mel has {what} {getattr(stated, what)}, but layout "
                    f"{layout.name!r} has {getattr(layout, what)}; convert it with --mel own."
                )
    return generator


def _check_vocoder(vocoder: Vocoder, layout: Layout) -> None:
    """Refuse one whose hop or bands are not the layout's, without building it again."""
    with without_memory():
        build_vocoder(vocoder.kind, vocoder.config.model_dump(), layout)


def _describe_tokenizer(tokenizer: Tokenizer) -> tuple[str, ...]:
    config, (low, high) = tokenizer.config, tokenizer.value_range
    rows, columns = config.factor
    return (
        f"{config.channels} channel{'s' if config.channels > 1 else ''}, {config.codes:,} codes of {config.code_dim} "
        f"dimensions, {rows} x {columns} pixels per token; values in [{low:g}, {high:g}].",
    )


def _describe_vocoder(vocoder: Vocoder, layout: Layout) -> tuple[str, ...]:
    if not isinstance(vocoder, RemappedHiFiGAN):
        return (f"Takes the mel of layout {layout.name}: {vocoder.n_mels} bands, {vocoder.hop} samples per frame.",)
    mel = vocoder.config.mel
    return (
        f"Takes its own mel: {mel.n_mels} bands from {mel.fmin:g} to {mel.fmax:g} Hz, {mel.hop} samples "
        f"per frame at {mel.sample_rate:,} Hz, natural logarithm; mels of layout {layout.name} are converted to it.",
    )


def _card(path: Path, title: str, summary: tuple[str, ...]) -> str:
    files = ", ".join(f"`{file.name}` (SHA-256 `{file_digest(file)}`)" for file in checkpoint_files(path))
    lines = [
        f"# {title}", f"Converted from {files}.", " ".join(summary),
        "Licence: that of the original checkpoint.",
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"
