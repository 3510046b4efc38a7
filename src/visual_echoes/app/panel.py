"""The panel that each tab has: a button that runs a job, its way, and what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool

from visual_echoes.app.forms import JobForm
from visual_echoes.app.grids import TokenGrids
from visual_echoes.app.inbox import Inbox
from visual_echoes.app.jobs import Job
from visual_echoes.app.long import LongSound
from visual_echoes.app.long_views import growing, long_cards
from visual_echoes.app.service import Service, follow
from visual_echoes.app.shelf import Shelf
from visual_echoes.app.views import note, outcome, problem, words
from visual_echoes.app.widgets import QUIET, Settings
from visual_echoes.errors import EchoesError

Build = Callable[[dict[str, Any], Sequence[Any]], JobForm]
Photograph = Callable[[str, Sequence[Any]], str]


@dataclass(frozen=True)
class Common:
    """What all tabs are made of."""

    service: Service
    inbox: Inbox
    shelf: Shelf
    grids: TokenGrids
    chosen: Settings


class Panel:
    """A button that runs a task, one that cancels it, its grids as they fill, and what came of it.

    Args:
        name: of the tab.
        label: of the button.

    Attributes:
        job: a state with the id of the last job.
        drawn: its grids or its timeline; before it runs there is room for what is given.
        variant: which item is meant where one is taken further.
        take: a button that takes it further.
        over: the event of a job that has ended; only once the panel is connected.
    """

    def __init__(self, common: Common, name: str, label: str) -> None:
        self._service, self._grids, self._chosen = common.service, common.grids, common.chosen
        self._name = f"made-{name}"
        self.job = gr.State(None)
        with gr.Row():
            self._run = gr.Button(label, variant="primary", size="lg")
            self._cancel = gr.Button("Cancel", size="lg", visible=False)
        self._status = gr.HTML(elem_classes="status-line")
        self.drawn = gr.HTML()
        self._cards = gr.HTML(elem_id=self._name)
        self._replay = gr.Slider(1, 2, 1, step=1, label="Replay: tokens after step", visible=False)
        with gr.Row(visible=False) as self._further:
            self.variant = gr.Dropdown([1], value=1, label="Variant")
            self.take = gr.Button("Edit this variant")

    def connect(self, inputs: Sequence[Any], build: Build, photograph: Photograph = lambda *_: "") -> None:
        """Say what the button makes, of the settings and the inputs' values, and which image was given with them."""
        chosen = self._chosen
        count = len(chosen.widgets)

        def submit(values: Sequence[Any]) -> tuple[Job, str]:
            asked, given = chosen.read(values[:count]), values[count:]
            shown = photograph(asked["model"], given)
            return build(asked, given).submit(self._service), shown

        async def run(*values: Any) -> AsyncIterator[dict[Any, Any]]:
            yield {
                self._status: note("Reading what is given."), self.drawn: "", self._cards: "",
                self._replay: gr.Slider(visible=False), self._further: gr.Row(visible=False), self.job: None,
            }  # fmt: skip
            try:
                job, photograph = await run_in_threadpool(submit, values)
            except EchoesError as error:
                yield {self._status: problem(str(error))}
                return
            try:
                yield {self.job: job.id, self._cancel: gr.Button(visible=True)}
                async for update in self._updates(job, photograph):
                    yield update
            finally:  # also when the visitor has closed the page
                self._service.cancel(job)

        outputs = [
            self._status, self._cancel, self.drawn, self._cards, self._replay, self._further, self.variant, self.job,
        ]  # fmt: skip
        self.over = self._run.click(run, [*chosen.widgets, *inputs], outputs, **QUIET)
        self._cancel.click(self._end, self.job, None, **QUIET)
        self._replay.input(None, self._replay, None, js=f"step => echoes.replay({self._name!r}, step)")

    async def _updates(self, job: Job, photograph: str) -> AsyncIterator[dict[Any, Any]]:
        echoes = self._service.model(job.model)
        made = job.task.make
        async for status in follow(job):
            if isinstance(made, LongSound):
                drawn = await run_in_threadpool(growing, job, made, echoes.layout)
            else:
                drawn = self._grids.show(echoes, job, status.done)
            yield {self._status: words(status), self.drawn: drawn, self._cancel: gr.Button(visible=not status.over)}
        if isinstance(made, LongSound) and job.files:
            yield {self._cards: await run_in_threadpool(long_cards, job, made, echoes.layout)}
        if job.result is None:
            return
        numbers = list(range(1, len(job.result.seeds) + 1))
        yield {
            self.drawn: "",
            self._cards: await run_in_threadpool(outcome, job, echoes, self._grids, photograph),
            self._replay: gr.Slider(maximum=max(2, len(job.frames)), value=len(job.frames), visible=True),
            self._further: gr.Row(visible=True),
            self.variant: gr.Dropdown(numbers, value=1),
        }

    def _end(self, name: str | None) -> None:
        if name is not None:
            self._service.cancel(self._service.job(name))
