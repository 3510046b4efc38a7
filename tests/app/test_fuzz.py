"""The HTTP API against what its description allows, and against much that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from visual_echoes.app import service as service_module
from visual_echoes.app.api import API
from visual_echoes.app.server import create_app
from visual_echoes.app.service import Service
from visual_echoes.pipeline import VisualEchoes

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (extra test-all)")

EXAMPLES = 25  # of each route


@pytest.fixture(scope="module")
def described(echoes: VisualEchoes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The API's description, with a queue that never says that it is full."""
    service = Service({"tiny": lambda: echoes})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service_module, "MAX_WAITING", 10**6)
        app = create_app(service, tmp_path_factory.mktemp("uploads"), None, None)
        yield schemathesis.openapi.from_asgi(f"{API}/openapi.json", app)
    service.close()


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_as_described(described: Any, mode: Any) -> None:
    # No description can tell an image from other bytes, and an empty field of a form counts as left out.
    unchecked = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance", "negative_data_rejection"])
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        def check(case: Any) -> None:
            case.call_and_validate(excluded_checks=unchecked)

        with suppress(Unsatisfiable):  # where nothing can be sent that is wrong
            check()
