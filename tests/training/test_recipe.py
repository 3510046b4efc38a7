"""Recipes are read strictly; the shipped ones are all valid."""

from pathlib import Path

import pytest

from visual_echoes.errors import EchoesError
from visual_echoes.training.recipe import ImageVQGANRecipe, TransformerRecipe, read_recipe

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("*/*.toml"))


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_recipes_are_valid(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.output.parts[:2] == ("runs", path.parent.name)


def test_the_recipes_of_the_documents_are_there_in_any_folder_and_ones_own_go_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = Path("recipes/digits/transformer.toml")
    shipped = read_recipe(named)
    assert shipped == read_recipe(ROOT / named)
    text = (ROOT / named).read_text()
    named.parent.mkdir(parents=True)
    named.write_text(text.replace(f"steps = {shipped.train.steps}", "steps = 7"))
    assert read_recipe(named).train.steps == 7
    for missing in ("recipes/digits/none.toml", "transformer.toml", "recipes/../weights.py"):
        with pytest.raises(EchoesError, match="cannot be read"):
            read_recipe(Path(missing))


def test_a_classifier_by_its_old_kind_is_the_same_run(tmp_path: Path) -> None:
    text = (ROOT / "recipes/digits/judge-image.toml").read_text()
    recipe = read_recipe(written(tmp_path, text))
    older = read_recipe(written(tmp_path, text.replace('kind = "classifier"', 'kind = "judge"')))
    assert (recipe.kind, older.kind) == ("classifier", "judge")
    assert recipe.fingerprint() == older.fingerprint()
    assert recipe.model_copy(update={"layout": "debug"}).fingerprint() != older.fingerprint()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("steps = ", "stepps = "), "train.stepps"),
        (("[train]", "[training]"), "training"),
        (('layout = "digits"', 'layout = "diggits"'), "layout"),
        (("width = ", "width = -"), "width"),
        (('kind = "transformer"', 'kind = "transfomer"'), "kind"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    text = (ROOT / "recipes/digits/transformer.toml").read_text()
    path = written(tmp_path, text.replace(*change))
    with pytest.raises(EchoesError, match=named):
        read_recipe(path)


@pytest.mark.parametrize("text", ["kind = ", "", "\x00"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(EchoesError, match=r"recipe\.toml"):
        read_recipe(written(tmp_path, text))
    with pytest.raises(EchoesError, match="cannot be read"):
        read_recipe(tmp_path / "missing.toml")


def test_freezing_needs_weights_to_keep(tmp_path: Path) -> None:
    text = (ROOT / "recipes/digits/image-decoder.toml").read_text()
    recipe = read_recipe(written(tmp_path, text))
    assert isinstance(recipe, ImageVQGANRecipe)
    assert recipe.freeze == ("encoder", "quant_conv", "quantize")
    with pytest.raises(EchoesError, match="freeze needs start_from"):
        read_recipe(written(tmp_path, text.replace("start_from", "# start_from")))


def test_the_fingerprint_follows_what_shapes_the_run_only(tmp_path: Path) -> None:
    text = (ROOT / "recipes/digits/transformer.toml").read_text()
    plain = read_recipe(written(tmp_path, text))
    looked_at = read_recipe(written(tmp_path, text.replace("validate_every = 500", "validate_every = 50")))
    longer = read_recipe(written(tmp_path, text.replace("\nsteps = ", "\nsteps = 1")))
    assert isinstance(plain, TransformerRecipe)
    assert plain.fingerprint() == looked_at.fingerprint()
    assert plain.fingerprint() != longer.fingerprint()
    assert plain.fingerprint() == plain.model_copy(update={"output": Path("elsewhere")}).fingerprint()
