"""The service's figures in the text format of Prometheus."""

from __future__ import annotations

from visual_echoes.app.limits import MAX_WAITING
from visual_echoes.app.service import Service
from visual_echoes.machine import peak_memory

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ENDS = ("done", "failed", "cancelled")


def exposition(service: Service) -> str:
    """All figures, each with what it means."""
    lines = [
        *_family("echoes_jobs_total", "counter", "Jobs that ended, by how they did."),
        *(f'echoes_jobs_total{{state="{state}"}} {service.ended[state]}' for state in _ENDS),
        *_single("echoes_job_seconds_total", "counter", "Time spent on jobs.", round(service.seconds, 3)),
        *_single("echoes_batches_total", "counter", "Batches of jobs made together, or one alone.", service.batches),
        *_single("echoes_jobs_waiting", "gauge", "Jobs in the queue.", service.waiting),
        *_single("echoes_jobs_waiting_limit", "gauge", "Jobs that fit into the queue.", MAX_WAITING),
        *_single("echoes_jobs_running", "gauge", "Jobs being worked on.", service.running),
        *_single("echoes_kept_bytes", "gauge", "Results in memory.", service.kept_bytes),
    ]
    if (peak := peak_memory()) is not None:
        lines += _single("echoes_peak_memory_bytes", "gauge", "Largest memory the process has had.", peak)
    return "\n".join(lines) + "\n"


def _single(name: str, kind: str, meaning: str, value: float) -> list[str]:
    return [*_family(name, kind, meaning), f"{name} {value}"]


def _family(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
