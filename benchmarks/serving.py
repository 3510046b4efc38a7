"""Requests a second and how long each takes, by how many clients ask at the same time, with batching and without.

One process serves the HTTP API on a socket, as `echoes app` does but for the page; clients in another process send a
image, follow the job's events until it is done, fetch its sound, and ask again. Batching on and off take turns.

Usage: python benchmarks/serving.py [--seconds 20] [--turns 3] [--clients 1 2 4 8 16] [--model digits] [-o FILE]
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from measuring import add_output, show
from PIL import Image

from visual_echoes.app.api import API, create_api
from visual_echoes.app.limits import BATCH_DELAY, BATCH_ITEMS
from visual_echoes.app.service import Service
from visual_echoes.evaluation.measurement import ONLY, Table
from visual_echoes.evaluation.samples import sample_material
from visual_echoes.pipeline import VisualEchoes

HOST = "127.0.0.1"
PATIENCE = 120  # seconds
COLUMNS = ("sounds a second", "median (s)", "95 % within (s)", "requests a batch")


@dataclass(frozen=True)
class Turn:
    """What one way has done for a while: seconds of each request and in all, and requests a batch."""

    latencies: list[float]
    seconds: float
    batch: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--model", default="digits")
    arguments.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    arguments.add_argument("--seconds", type=float, default=20, help="of each turn")
    arguments.add_argument("--turns", type=int, default=3)
    arguments.add_argument("--delay", type=float, default=BATCH_DELAY)
    add_output(arguments)
    options = arguments.parse_args()
    echoes = VisualEchoes.from_pretrained(options.model, device="cpu")
    picture = png(echoes)
    ways = {"alone": (1, 0.0), "batched": (BATCH_ITEMS, options.delay)}
    seen: dict[tuple[str, int], list[Turn]] = {(way, n): [] for n in options.clients for way in ways}
    for _ in range(options.turns):
        for way, clients in seen:
            with serving(echoes, *ways[way]) as (service, port):
                seen[way, clients].append(turn(service, port, picture, clients, options.seconds))
    rows = tuple((str(clients), way, *summary(turns)) for (way, clients), turns in seen.items())
    formats = dict(zip(COLUMNS, (".2f", ".2f", ".2f", ".1f"), strict=True))
    show({ONLY: Table(columns=("clients", "way", *COLUMNS), rows=rows, formats=formats)}, options.output)


@contextmanager
def serving(echoes: VisualEchoes, items: int, delay: float) -> Iterator[tuple[Service, int]]:
    """The API on a free port."""
    service = Service({"model": lambda: echoes}, items, delay)
    server = uvicorn.Server(uvicorn.Config(create_api(service), host=HOST, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield service, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        service.close()


def turn(service: Service, port: int, picture: bytes, clients: int, seconds: float) -> Turn:
    """Clients against the service; the first request of each is left out of the times."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        latencies, took = pool.apply(ask, (port, picture, clients, seconds))
    return Turn(latencies, took, service.ended["done"] / service.batches)


def ask(port: int, picture: bytes, clients: int, seconds: float) -> tuple[list[float], float]:
    """Seconds of each request of some clients that ask again and again, and seconds in all."""
    ready = threading.Barrier(clients)

    def client(number: int) -> tuple[list[float], float, float]:
        latencies: list[float] = []
        with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=PATIENCE) as http:
            once(http, picture, number)
            ready.wait()
            began = time.perf_counter()
            while time.perf_counter() - began < seconds:
                before = time.perf_counter()
                once(http, picture, number + len(latencies) * clients)
                latencies.append(time.perf_counter() - before)
            return latencies, began, time.perf_counter()

    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(client, range(clients)))
    took = max(end for _, _, end in found) - min(began for _, began, _ in found)
    return [latency for latencies, _, _ in found for latency in latencies], took


def once(http: httpx.Client, picture: bytes, seed: int) -> None:
    """A sound for the image, from the request to its last byte."""
    answer = http.post(f"{API}/jobs/sound", files={"image": ("a.png", picture)}, data={"seed": seed})
    place = answer.raise_for_status().headers["location"]
    with http.stream("GET", f"{place}/events") as events:
        for _ in events.iter_lines():
            pass
    http.get(f"{place}/files/1.wav").raise_for_status()


def summary(turns: list[Turn]) -> tuple[float, ...]:
    """`COLUMNS` over all turns."""
    latencies = sorted(latency for turn in turns for latency in turn.latencies)
    return (
        len(latencies) / sum(turn.seconds for turn in turns),
        statistics.median(latencies),
        latencies[min(len(latencies) - 1, int(0.95 * len(latencies)))],
        statistics.mean(turn.batch for turn in turns),
    )


def png(echoes: VisualEchoes) -> bytes:
    """An image that suits the model, as a file."""
    _, pictures_BHWC, _ = sample_material(echoes.layout)
    buffer = io.BytesIO()
    Image.fromarray(pictures_BHWC[0].squeeze()).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
