"""What a run reads besides its recipe, as one digest: the data set and the tokenizers it was begun with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import PartName
from visual_echoes.data.manifest import MANIFEST, is_clip_folder
from visual_echoes.data.token_store import DESCRIPTION as TOKENS_DESCRIPTION
from visual_echoes.data.token_store import TOKENS_FOLDER
from visual_echoes.files import file_digest
from visual_echoes.training.recipe import Recipe, TokensRecipe, TransformerRecipe, VocoderRecipe


def tokenizer_sources(recipe: Recipe) -> dict[PartName, Path]:
    """The tokenizers that a recipe trains with, by part."""
    if isinstance(recipe, TokensRecipe):
        found: dict[PartName, Path] = {"image_vqgan": recipe.image_vqgan, "audio_vqgan": recipe.audio_vqgan}
        if isinstance(recipe, TransformerRecipe):
            found |= {"image_semantic": recipe.image_semantic} if recipe.image_semantic else {}
            found |= {"audio_semantic": recipe.audio_semantic} if recipe.audio_semantic else {}
        return found
    if isinstance(recipe, VocoderRecipe) and recipe.audio_vqgan is not None:
        return {"audio_vqgan": recipe.audio_vqgan}
    return {}


def inputs_digest(recipe: Recipe) -> str:
    """SHA-256 over the contents of data set and tokenizers; where they lie does not matter.

    Of a folder of clips the manifest is read, which holds the digests of the clips' files, and what describes the
    tokens; of a folder of arrays all training and validation data.
    """
    if is_clip_folder(recipe.data):
        files = [recipe.data / MANIFEST]
        if isinstance(recipe, TokensRecipe):
            files.append(recipe.data / TOKENS_FOLDER / TOKENS_DESCRIPTION)
    else:
        files = [recipe.data / f"{split}.safetensors" for split in ("train", "valid")]
    digests = [file_digest(path) if path.is_file() else "" for path in files]
    for part, source in tokenizer_sources(recipe).items():
        digests.append(load_model(source, wanted=[part]).files[part].sha256)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
