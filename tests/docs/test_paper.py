"""The section that pairs the paper with the code names code, tests and options that there are."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from importlib.util import find_spec
from inspect import signature

import pytest
from pydantic import BaseModel

from docs.blocks import ROOT, the_paper
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.training.recipe import read_recipe

PAGE = the_paper()
CODE = sorted(set(re.findall(r"`([a-z]\w*(?:\.\w+)*\.[A-Z]\w*(?:\.\w+)*|(?!\w+\.sh`)[a-z]\w*(?:\.[a-z]\w*)+)`", PAGE)))
TESTS = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize("name", CODE)
def test_the_code_is_where_the_page_says(name: str) -> None:
    module, *rest = name.split(".")
    found = import_module(f"visual_echoes.{module}")
    for part in rest:
        inner = f"{found.__name__}.{part}" if hasattr(found, "__path__") else ""
        found = import_module(inner) if inner and find_spec(inner) is not None else getattr(found, part)


def test_the_scripts_are_where_the_page_says() -> None:
    scripts = set(re.findall(r"`(\w+\.sh)`", PAGE))
    assert scripts
    assert not [name for name in scripts if not (ROOT / "recipes/paper" / name).is_file()]


def test_the_tests_are_where_the_page_says() -> None:
    missing = [
        f"{file}::{test}"
        for file, test in TESTS
        if f"def {test}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8")
    ]
    assert not missing
    assert len(TESTS) > 15


def test_options_of_the_paper_s_page_are_those_of_its_recipes() -> None:
    settings: dict[str, list[object]] = {
        "pair_order": [signature(VisualEchoes.generate_pair).parameters["pair_order"].default]
    }

    def collect(values: BaseModel) -> None:
        for key, value in values:
            settings.setdefault(key, []).append(value)
            if isinstance(value, BaseModel):
                collect(value)

    for settled in (SamplingSettings(), *map(read_recipe, sorted((ROOT / "recipes/paper").glob("*.toml")))):
        collect(settled)
    options = re.findall(r"`(\w+ = [^`]+)`", PAGE)
    assert len(options) > 30
    for option in options:
        ((key, value),) = tomllib.loads(option).items()
        assert value in settings[key], option
