"""Recipes: one TOML file per reproducible run, read strictly into pydantic models.

A recipe names what is trained (`kind`), on which layout and data, where the run goes, and its settings. Paths are taken
from the working directory. The recipes of the documents come with the package, under the names they have there.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from visual_echoes.data.augmentation import Augmentation
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.metrics.classifiers import ClassifierConfig
from visual_echoes.model.blocks import NORM_EPS
from visual_echoes.model.upgrade import LaterFields
from visual_echoes.tokenizers.cells import RefinerConfig
from visual_echoes.training.residual import DecoderLoss
from visual_echoes.training.settings import FREE_TO_CHANGE, TrainSettings
from visual_echoes.training.transformer import MaskingObjective
from visual_echoes.training.vocoder import VocoderTrainConfig
from visual_echoes.training.vqgan import VQGANLoss

PACKAGED = Path(__file__).parents[1] / "recipes"
MAX_RECIPE_BYTES = 1 << 20


class _Recipe(LaterFields):
    """What every recipe has."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER: ClassVar[tuple[str, ...]] = ()

    layout: str
    data: Path  # folder of prepared data
    root: Path | None = None  # where the files lie now that a prepared folder of clips names; None: where it says
    output: Path  # run folder
    augmentation: Augmentation = Augmentation()
    train: TrainSettings

    @field_validator("layout")
    @classmethod
    def _known_layout(cls, name: str) -> str:
        if name not in LAYOUTS:
            raise ValueError(f"there is no layout {name!r}; choose one of {', '.join(LAYOUTS)}")
        return name

    def get_layout(self) -> Layout:
        return LAYOUTS[self.layout]

    def fingerprint(self) -> str:
        """Identifies everything that shapes the run, but not how often it is looked at."""
        content = self.model_dump_json(exclude={"output": True, "root": True, "train": set(FREE_TO_CHANGE)})
        return hashlib.sha256(content.encode()).hexdigest()


class _PartRecipe(_Recipe):
    """What the recipes of a model's parts have."""

    start_from: str | None = None  # a model whose part of this kind gives the first weights; None: at random
    freeze: tuple[str, ...] = ()  # pieces of that part that stay as they are, such as "encoder"

    @model_validator(mode="after")
    def _freezes_what_is_trained(self) -> Self:
        if self.freeze and self.start_from is None:
            raise ValueError("freeze needs start_from, whose weights it keeps")
        return self


class TokenizerModel(BaseModel):
    """Sizes of a VQGAN; channels, codes and the check of its factor come from the layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code_dim: int = 256
    width: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    strides: tuple[tuple[int, int], ...] = ((2, 2), (2, 2), (2, 2), (2, 2))
    blocks: int = 2
    attention_levels: tuple[int, ...] = (4,)
    latent_width: int = 256
    norm_groups: int = 32
    dropout: float = 0.0


class _TokenizerRecipe(_PartRecipe):
    """What the recipes of both tokenizers have."""

    model: TokenizerModel
    loss: VQGANLoss = VQGANLoss()


class ImageVQGANRecipe(_TokenizerRecipe):
    """Trains the tokenizer of images."""

    kind: Literal["image-vqgan"]


class AudioVQGANRecipe(_TokenizerRecipe):
    """Trains the tokenizer of mels."""

    kind: Literal["audio-vqgan"]


class CellModel(BaseModel):
    """Sizes of a tokenizer of residual codes for mels; codes and cells come from the layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = Field(default=8, gt=0)  # codes of a position
    components: int = Field(default=64, gt=0)  # principal components of a cell that the codes are of
    refiner: RefinerConfig = RefinerConfig()


class AudioResidualRecipe(_PartRecipe):
    """Fits residual codes of mels, and trains the decoder for them."""

    kind: Literal["audio-residual"]
    codes: Path  # model folder with the fitted codes; made where there is none
    model: CellModel = CellModel()
    loss: DecoderLoss = DecoderLoss()


class ImageResidualModel(BaseModel):
    """Depth of a tokenizer of residual codes for images; codes come from the layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = Field(default=4, gt=0)  # codes of a position


class ImageResidualRecipe(_PartRecipe):
    """Fits residual codes of a pretrained autoencoder's latents, and trains its decoder on for them."""

    kind: Literal["image-residual"]
    taef: Path  # folder with the published weights
    codes: Path  # model folder with the fitted codes; made where there is none
    model: ImageResidualModel = ImageResidualModel()
    loss: DecoderLoss = DecoderLoss()


ResidualRecipe = AudioResidualRecipe | ImageResidualRecipe


class VocoderRecipe(_PartRecipe):
    """Trains a vocoder; with `audio_vqgan` also on what that tokenizer makes of the mels."""

    kind: Literal["vocoder"]
    model: VocoderTrainConfig
    audio_vqgan: Path | None = None


class TransformerModel(LaterFields):
    """Sizes of the transformer and the choices the paper leaves open; grids and codebooks come from the layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    LATER = (
        "decoder",
        "activation_dropout",
        "head_norm_eps",
        "decoder_cls_position",
        "positions",
        "residual",
        "decoder_heads",
    )

    width: int = Field(default=768, gt=0)
    heads: int = Field(default=12, gt=0)
    encoder_layers: int = Field(default=12, gt=0)
    decoder_layers: int = Field(default=8, gt=0)
    decoder_heads: int | None = Field(default=None, gt=0)  # None: as many as in the encoder
    mlp_ratio: int = Field(default=4, gt=0)
    dropout: float = 0.1
    activation_dropout: float = 0.0
    encoder_input: Literal["masked", "visible"] = "masked"
    decoder: Literal["full", "cross"] = "full"
    pad: Literal["mask_embedding", "class_feature"] = "mask_embedding"
    head_norm_eps: float = NORM_EPS
    decoder_cls_position: bool = False
    positions: Literal["coordinates", "random"] = "coordinates"  # what they start as
    residual: Literal["levels", "depth"] = "levels"  # how residual codes follow each other, as in TransformerConfig


class TransformerRecipe(_PartRecipe):
    """Trains the transformer on the tokens of trained tokenizers."""

    LATER = ("image_semantic", "audio_semantic")

    kind: Literal["transformer"]
    image_vqgan: Path
    audio_vqgan: Path
    image_semantic: Path | None = None  # where the layout has streams of these names
    audio_semantic: Path | None = None
    model: TransformerModel
    objective: MaskingObjective = MaskingObjective()
    image_copies: int = Field(default=1, ge=1)  # varied versions of each image in the token cache
    audio_copies: int = Field(default=1, ge=1)
    start_from_codebook: bool = False  # token embeddings start from the tokenizers' code vectors


class AutoregressiveModel(BaseModel):
    """Sizes of the autoregressive baseline; grids and codebooks come from the tokenizers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=768, gt=0)
    heads: int = Field(default=12, gt=0)
    layers: int = Field(default=20, gt=0)
    mlp_ratio: int = Field(default=4, gt=0)
    dropout: float = 0.1


class AutoregressiveRecipe(_Recipe):
    """Trains the autoregressive baseline on the tokens that a transformer's recipe with these keys trains on."""

    kind: Literal["autoregressive"]
    image_vqgan: Path
    audio_vqgan: Path
    model: AutoregressiveModel
    image_copies: int = Field(default=1, ge=1)  # varied versions of each image in the token cache
    audio_copies: int = Field(default=1, ge=1)


TokensRecipe = TransformerRecipe | AutoregressiveRecipe  # those that train on the tokens of two tokenizers


class ClassifierRecipe(_Recipe):
    """Trains a classifier of images or sounds, by which what is generated is measured."""

    kind: Literal["classifier", "judge"]  # the second in recipes of older versions
    model: ClassifierConfig

    def fingerprint(self) -> str:
        """The same by either name of the kind, so that runs of older versions go on."""
        older = self if self.kind == "judge" else self.model_copy(update={"kind": "judge"})
        return super(ClassifierRecipe, older).fingerprint()


Recipe = Annotated[
    ImageVQGANRecipe
    | AudioVQGANRecipe
    | ImageResidualRecipe
    | AudioResidualRecipe
    | VocoderRecipe
    | TransformerRecipe
    | AutoregressiveRecipe
    | ClassifierRecipe,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def find_recipe(path: Path) -> Path:
    """The path itself, or what the package has there if nothing is: `recipes/...`, as the documents name them."""
    packaged = PACKAGED.parent / path
    return packaged if path.parts[:1] == (PACKAGED.name,) and not path.exists() and packaged.exists() else path


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe, found as by `find_recipe`.

    Raises:
        EchoesError: the file is missing, no TOML, or has an unknown or unfit key, which is named.
    """
    path = find_recipe(path)
    try:
        if path.stat().st_size > MAX_RECIPE_BYTES:
            raise EchoesError(f"{path} is larger than {MAX_RECIPE_BYTES} bytes; this is no recipe.")
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EchoesError(f"{path} cannot be read as a TOML recipe ({error}).") from error
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        # An unknown key explains a missing one better than the other way round.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        # The first entry of the location is the kind the union chose.
        key = ".".join(str(part) for part in first["loc"][1:]) or "kind"
        unknown = first["type"] == "extra_forbidden"
        problem = "is no key of this kind of recipe" if unknown else f"is not valid: {first['msg']}"
        raise EchoesError(
            f"{path}: {key!r} {problem}; `echoes config show` on a shipped recipe lists them all."
        ) from error
