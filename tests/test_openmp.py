"""How threads wait is said before torch is loaded, and never against the user's own word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from visual_echoes.openmp import TURNS, wait_briefly

# What the command says when it begins to run, and whether torch was there before.
SHOWN = """
import os, sys
from visual_echoes import cli
cli.app = lambda prog_name: print(os.environ["GOMP_SPINCOUNT"], "torch" in sys.modules)
cli.main()
"""


def test_the_command_says_it_before_torch_is_there() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    result = subprocess.run([sys.executable, "-c", SHOWN], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [TURNS, "False"]


@pytest.mark.parametrize("said", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_what_the_user_says_stays(said: dict[str, str]) -> None:
    environment = dict(said)
    wait_briefly(environment)
    assert environment == said
