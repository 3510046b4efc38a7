"""Memory over many requests."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.conftest import png, wait
from visual_echoes.app import service as service_module
from visual_echoes.app.api import API
from visual_echoes.app.service import Service

REQUESTS, WARMUP = 500, 150
GROWTH = 24 * 1024**2  # bytes; a leaked image, sound or grid a request would be more


def resident() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc to read the memory in use from")
def test_memory_stays_flat(client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "MAX_KEPT_BYTES", 1024**2)
    sizes = []
    for number in range(REQUESTS):
        data = {"steps": 1, "seed": number}
        answer = client.post(f"{API}/jobs/sound", files={"image": ("a.png", png(number))}, data=data)
        assert wait(service.job(answer.json()["id"])).state == "done"
        sizes.append(resident() if number in (WARMUP, REQUESTS - 1) else 0)
    print(f"{(sizes[-1] - sizes[WARMUP]) / 1024**2:.1f} MB more after {REQUESTS} requests than after {WARMUP + 1}")
    assert service.kept_bytes < 2 * 1024**2
    assert sizes[-1] - sizes[WARMUP] < GROWTH
