"""Debian's Chromium before the command's own page, as a person sits before it; images of what it showed are kept."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "src" / "visual_echoes" / "examples" / "scenes"
SCENES = "?model=scenes"  # of an address
ENDLESS = f"{SCENES}&tab=pair&steps=100&count=8&best_of=8"  # a job that takes minutes on any machine
SHOTS = ROOT / "reports" / "browser"  # the artefacts
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",  # a microphone that hears beeps
]  # fmt: skip
PATIENCE = 180_000  # milliseconds; a busy machine is no failure
DESK, PHONE = {"width": 1100, "height": 900}, {"width": 390, "height": 844}

NEEDED = "playwright is not installed (extra test-all)"

Visit = Callable[..., "Page"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs them all: several Chromiums beside as many servers starve each other."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("browser"))


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Run `echoes app` on a free port; yield the address that it prints."""
    command = [sys.executable, "-m", "visual_echoes", "app", "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert re.match(r"http://.*:\d+/", address)
            yield address
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The page with the packaged models, on this machine; the smallest one is used unless another is asked for."""
    with serving("--model", "digits") as address:
        yield address


@pytest.fixture(scope="package")  # while it is there no other test can run an event loop
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, with nothing from an earlier life."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}; `make test-all` installs it")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    shutil.rmtree(SHOTS, ignore_errors=True)
    SHOTS.mkdir(parents=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A function: open an address as a new visitor. What each saw last is kept, and none may be sent elsewhere."""
    pages: list[Page] = []
    sent: list[str] = []
    homes: set[str] = set()
    problems: list[str] = []

    def open_page(address: str, size: Any = None, **options: Any) -> Page:
        homes.add(address.split("?")[0])
        page = browser.new_context(viewport=size or DESK, **options).new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: sent.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        page.locator("body[data-opened]").wait_for()
        pages.append(page)
        return page

    yield open_page
    name = re.sub(r"\W+", "-", request.node.name)
    for number, page in enumerate(pages):
        if not page.is_closed():
            page.screenshot(path=SHOTS / f"{name}-{number + 1}.png", full_page=True)
        page.context.close()
    assert not [url for url in sent if not url.startswith((*homes, "data:", "blob:"))]
    assert not problems


def tab(page: Page, name: str) -> Any:
    """Go to a tab; its content."""
    page.get_by_role("tab", name=name).click()
    return page.get_by_role("tabpanel").filter(visible=True)


def send(place: Any, path: Path | dict[str, Any], number: int = 0) -> None:
    """Hand a file to one of the widgets that take one."""
    place.locator("input[type=file]").nth(number).set_input_files(path)


def settings(page: Page) -> Any:
    """The settings, unfolded."""
    place = page.locator(".settings")
    if not place.get_by_label("Seed").is_visible():
        place.get_by_role("button", name="Settings").click()
    return place


def setting(page: Page, name: str, value: int) -> None:
    """Type a number into a setting."""
    number(settings(page), name, value)


def number(place: Any, name: str, value: int) -> None:
    """Type a number into one of the widgets that take one."""
    field = place.get_by_label(name, exact=False).and_(place.page.locator("input[type=number]")).first
    field.fill(str(value))
    field.press("Tab")
