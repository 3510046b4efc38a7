"""Figures that documents give and the code decides: limits, defaults and sizes, each read from its one home."""

from __future__ import annotations

import inspect
import math

from visual_echoes.app import limits
from visual_echoes.checkpoints import model_folder as weights
from visual_echoes.cli import models
from visual_echoes.cli.data import prepare_classes
from visual_echoes.data.augmentation import MIX_RANGE_DB
from visual_echoes.data.prepare import run as prepare
from visual_echoes.data.prepare.workers import MAX_BYTES
from visual_echoes.evaluation.measurement import ONLY, Cell, Measurement, Table
from visual_echoes.layout import get_layout
from visual_echoes.media import images, opening, sounds, videos
from visual_echoes.metrics.scores import SILENT_DB
from visual_echoes.model.confidence import FAMILIAR_SHARE
from visual_echoes.model.masking import MaskRatio
from visual_echoes.model.settings import PRESETS
from visual_echoes.onnx import graphs
from visual_echoes.provenance import credentials
from visual_echoes.studies.findings import CERTAINTY
from visual_echoes.vocoders.base import LIMITER_REACH

MB, GB = 1 << 20, 1 << 30
SCENES = get_layout("scenes")
CLASS_FOLDERS = inspect.signature(prepare_classes).parameters

FIGURES: dict[str, Cell] = {
    "image, megapixels": images.MAX_IMAGE_PIXELS / 1e6,
    "image, MB": images.MAX_IMAGE_BYTES / 1e6,
    "image, least side": images.MIN_IMAGE_SIDE,
    "sound, MB": sounds.MAX_AUDIO_BYTES / MB,
    "sound, minutes": sounds.MAX_AUDIO_SECONDS / 60,
    "sound, channels": sounds.MAX_AUDIO_CHANNELS,
    "sound, kHz": sounds.MAX_SAMPLE_RATE / 1e3,
    "video, GB": opening.MAX_VIDEO_BYTES / GB,
    "video, million frames": videos.MAX_FRAMES / 1e6,
    "video, megapixels": videos.MAX_FRAME_PIXELS / 1e6,
    "model config, MB": weights.MAX_CONFIG_BYTES / MB,
    "model part, GB": weights.MAX_PART_BYTES / GB,
    "graph manifest, MB": graphs.MAX_MANIFEST_BYTES / MB,
    "graph, GB": graphs.MAX_GRAPH_BYTES / GB,
    "model card, MB": models.MAX_CARD_BYTES / MB,
    "certificate, MB": credentials.MAX_PEM_BYTES / MB,
    "app, jobs that wait": limits.MAX_WAITING,
    "app, variants": limits.MAX_VARIANTS,
    "app, steps": limits.MAX_STEPS,
    "app, candidates": limits.MAX_CANDIDATES,
    "app, seconds of a long sound": limits.LONGEST_SOUND,
    "app, mix from dB": limits.MIX_DB[0],
    "app, mix to dB": limits.MIX_DB[1],
    "app, MB of a request": limits.MAX_UPLOAD_BYTES / MB,
    "app, MB of results": limits.MAX_KEPT_BYTES / MB,
    "app, variants of a batch": limits.BATCH_ITEMS,
    "app, batch delay": limits.BATCH_DELAY,
    "app, characters of a token": limits.MIN_TOKEN,
    "prepare, seconds a clip": prepare.TIME_LIMIT,
    "prepare, GB of a worker": MAX_BYTES / GB,
    "prepare, validation": prepare.VALID_SHARE,
    "prepare, test": prepare.TEST_SHARE,
    "prepare, silence in dB": 20 * math.log10(sounds.SILENT_PEAK),
    "class folders, validation": CLASS_FOLDERS["valid_share"].default,
    "class folders, test": CLASS_FOLDERS["test_share"].default,
    "augmentation, range of mix_db": MIX_RANGE_DB,
    "scenes, seconds": SCENES.seconds,
    "limiter of scenes, ms": 1000 * LIMITER_REACH / SCENES.sample_rate,
    **{f"{preset}, steps": changes["steps"] for preset, changes in PRESETS.items()},
    "silent below, dBFS": SILENT_DB,
    "familiar share": FAMILIAR_SHARE,
    "experiments, certainty": CERTAINTY,
    "mask ratio, mean": MaskRatio().mean,
    "mask ratio, deviation": MaskRatio().deviation,
    "mask ratio, least": MaskRatio().low,
}

SETTINGS = Measurement(
    command="python benchmarks/document_figures.py",
    machine="any",
    date="",
    tables={ONLY: Table(columns=("setting", "value"), rows=tuple(FIGURES.items()))},
)
