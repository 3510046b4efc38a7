"""How the command talks: results on standard output, progress and problems on standard error, never a traceback."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from visual_echoes.cli.interrupts import lasting_interrupts
from visual_echoes.errors import EchoesError
from visual_echoes.paths import shown

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

INTERRUPTED = 130  # the shell's status for a program that Ctrl-C ended


class ReportingGroup(TyperGroup):
    """Turns what a user can cause into one line and an exit status, and warnings into a line each."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with lasting_interrupts(), warnings.catch_warnings():
                warnings.showwarning = lambda message, *_, **__: complain(str(message))
                return super().invoke(ctx)
        except EchoesError as error:
            problem = str(error)
        except KeyboardInterrupt:
            complain("Interrupted; nothing half-written was left.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # Typer ends quietly when the reader of the output has gone
        except OSError as error:
            problem = f"{error.filename or 'A file'} cannot be used ({error.strerror or error})."
        except MemoryError:
            problem = "There is not enough memory; use a smaller --batch-size."
        complain(f"Error: {problem}")
        raise typer.Exit(1)


def print_every_name() -> None:
    """Have standard output escape what its encoding lacks, as standard error does, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """One line on standard output."""
    typer.echo(shown(text))


def complain(text: str) -> None:
    """One line on standard error."""
    typer.echo(shown(text), err=True)


class Bar:
    """A progress bar on standard error; nothing is shown where that is no terminal."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def show(self, done: float, total: float | None = None) -> None:
        """How much is done, and of how much if that changed."""
        self._progress.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """`say`, above the bar where both are in one terminal."""
        if self._progress.disable or not sys.stdout.isatty():
            say(text)
        else:
            self._progress.console.print(shown(text), markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """`complain`, above the bar."""
        if self._progress.disable:
            complain(text)
        else:
            self._progress.console.print(shown(text), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Bar]:
    """Yield a bar that is gone when the block ends."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield Bar(progress, progress.add_task(title, total=total))


@contextmanager
def working(title: str) -> Iterator[Callable[[str], None]]:
    """Show that something is going on; yield a function that changes the title. Silent as `progress_bar`."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda title: None
        return
    with console.status(title) as status:
        yield lambda title: status.update(title)


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say which optional part of the package to install when an import in the block fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise EchoesError(
            f"This command needs the package {error.name!r}; install it with: pip install 'visual-echoes[{extra}]'."
        ) from error
