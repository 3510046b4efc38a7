"""What the tabs of the page share: the settings, and the panel that runs a job and shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool

from visual_echoes.app.cards import cards, note, problem, words
from visual_echoes.app.jobs import Job, Task
from visual_echoes.app.limits import MAX_STEPS, MAX_VARIANTS
from visual_echoes.app.live import Live
from visual_echoes.app.service import Service, follow
from visual_echoes.app.tasks import Options
from visual_echoes.errors import EchoesError
from visual_echoes.model.settings import PRESETS, SamplingSettings
from visual_echoes.pipeline import VisualEchoes

# Files reach the handlers undecoded (`preprocess`): only `visual_echoes.media` decodes them, within its limits.
QUIET: dict[str, Any] = {
    "preprocess": False, "show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private",
}  # fmt: skip
OWN, MINE = "The model's own", "My own"

Build = Callable[[VisualEchoes, Options, Sequence[Any]], Task]


@dataclass(frozen=True)
class Settings:
    """The widgets above the tabs: which model, and how it samples."""

    model: gr.Dropdown
    seed: gr.Number
    count: gr.Slider
    preset: gr.Radio
    steps: gr.Slider
    temperature: gr.Slider
    guidance: gr.Slider

    @property
    def widgets(self) -> list[Any]:
        """In the order in which `read` takes their values."""
        return [self.model, self.seed, self.count, self.preset, self.steps, self.temperature, self.guidance]

    @staticmethod
    def read(values: Sequence[Any]) -> tuple[str, Options]:
        """Model and options."""
        model, seed, count, preset, steps, temperature, guidance = values
        if preset == MINE:
            chosen = {"steps": steps, "temperature": temperature, "guidance": guidance}
        else:
            chosen = {"preset": None if preset == OWN else preset}
        return model, Options.of(seed=seed, count=count, **chosen)


def settings(service: Service) -> Settings:
    """Lay out the settings."""
    paper = SamplingSettings()
    with gr.Row():
        model = gr.Dropdown(list(service.names), value=service.names[0], label="Model")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, info="The same seed makes the same again.")
        count = gr.Slider(1, MAX_VARIANTS, 1, step=1, label="Variants")
        preset = gr.Radio(
            [OWN, *((name.capitalize(), name) for name in PRESETS), MINE], value=OWN, label="Sampling settings"
        )
    with gr.Row(visible=False) as mine:
        steps = gr.Slider(1, MAX_STEPS, paper.steps, step=1, label="Steps", info="More are slower.")
        temperature = gr.Slider(0, 30, paper.temperature, label="Temperature", info="Noise in what is settled first.")
        guidance = gr.Slider(0, 15, paper.guidance, label="Guidance", info="How strictly to follow what is given.")
    chosen = Settings(model, seed, count, preset, steps, temperature, guidance)

    def show(preset: str, name: str) -> list[Any]:
        own = service.model(name).defaults
        values = own.steps, own.temperature, own.guidance
        return [gr.Row(visible=preset == MINE), *values]

    # Whoever turns to settings of their own goes on from the model's.
    gr.on([preset.change, model.change], show, [preset, model], [mine, steps, temperature, guidance], **QUIET)
    return chosen


class Panel:
    """A button that runs a task, one that cancels it, its grids as they fill, and what came of it.

    Attributes:
        job: a state with the id of the last job.
        variant: which item is meant where one is taken further.
        take: a button that takes it further.
    """

    def __init__(self, service: Service, live: Live, label: str) -> None:
        self._service, self._live = service, live
        self.job = gr.State(None)
        with gr.Row():
            self._run = gr.Button(label, variant="primary")
            self._cancel = gr.Button("Cancel")
        self._status = gr.HTML(elem_classes="status-line")
        self._grids = gr.HTML()
        self._replay = gr.Slider(1, 2, 1, step=1, label="Replay: tokens after step", visible=False)
        self._cards = gr.HTML()
        with gr.Row(visible=False) as self._further:
            self.variant = gr.Dropdown([1], value=1, label="Variant")
            self.take = gr.Button("Edit this variant")

    def connect(self, chosen: Settings, inputs: Sequence[Any], build: Build) -> None:
        """Say what the button makes, of the settings and the inputs' values."""
        count = len(chosen.widgets)

        def submit(values: Sequence[Any]) -> Job:
            model, options = chosen.read(values[:count])
            return self._service.submit(model, lambda echoes: build(echoes, options, values[count:]))

        async def run(*values: Any) -> AsyncIterator[dict[Any, Any]]:
            yield {
                self._status: note("Reading what is given."), self._grids: "", self._cards: "",
                self._replay: gr.Slider(visible=False), self._further: gr.Row(visible=False), self.job: None,
            }  # fmt: skip
            try:
                job = await run_in_threadpool(submit, values)
            except EchoesError as error:
                yield {self._status: problem(str(error))}
                return
            try:
                async for update in self._updates(job):
                    yield update
            finally:  # also when the visitor has closed the page
                self._service.cancel(job)

        outputs = [self._status, self._grids, self._cards, self._replay, self._further, self.variant, self.job]
        self._run.click(run, [*chosen.widgets, *inputs], outputs, **QUIET)
        self._cancel.click(self._end, self.job, None, **QUIET)
        self._replay.input(self._step, [self.job, self._replay], self._grids, trigger_mode="always_last", **QUIET)

    async def _updates(self, job: Job) -> AsyncIterator[dict[Any, Any]]:
        echoes = self._service.model(job.model)
        async for status in follow(job):
            yield {
                self.job: job.id,
                self._status: words(status),
                self._grids: self._live.show(echoes, job, status.done),
            }
        if job.result is None:
            return
        numbers = list(range(1, len(job.result.seeds) + 1))
        yield {
            self._cards: cards(job),
            self._replay: gr.Slider(maximum=max(2, len(job.frames)), value=len(job.frames), visible=True),
            self._further: gr.Row(visible=True),
            self.variant: gr.Dropdown(numbers, value=1),
        }

    def _end(self, name: str | None) -> None:
        if name is not None:
            self._service.cancel(self._service.job(name))

    def _step(self, name: str | None, step: int) -> str:
        if name is None:
            return ""
        try:
            job = self._service.job(name)
        except EchoesError as error:
            return problem(str(error))
        return self._live.show(self._service.model(job.model), job, int(step))
