"""A headless Chromium for the session, worlds to look at, and what must hold on every page."""

from __future__ import annotations

import datetime as dt
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from sandbox.errors import SandboxError
from sandbox.processes import find_node_modules
from tests.browser.chromium import REPOSITORY, find_chromium
from tests.browser.serving import Site, serving
from tests.simulation.alerts import message
from tests.simulation.test_pace import Run, begin
from tests.simulation.world import CAPACITY_RU_PER_S, START_S

PATIENCE_MS = 8_000
HOURS = 2
RULE, FIRED_S, RESOLVED_S = "orders-busy", START_S + 1_520.0, START_S + 1_840.0
# Nobody but loopback is found, whatever a page or the browser itself would like to ask.
ARGUMENTS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (e) =>
  window.violations.push(`${e.violatedDirective}: ${e.blockedURI} ${e.sample}`));
"""


def _missing(text: str) -> Any:
    """On CI a browser that is not there is a failure; elsewhere it may be missing."""
    return pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)


@pytest.fixture(scope="session")
def chromium() -> Path:
    try:
        return find_chromium()
    except SandboxError as error:
        return Path(_missing(str(error)))


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core, which looks for barriers."""
    script = find_node_modules() / "axe-core" / "axe.min.js"
    return script.read_text("utf-8") if script.is_file() else str(_missing(f"{script} is missing"))


@pytest.fixture(scope="module")
def playing() -> Iterator[Playwright]:
    """Ended with its file: as long as it lives, an event loop runs in this thread."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playing: Playwright, chromium: Path) -> Iterator[Browser]:
    browser = playing.chromium.launch(executable_path=chromium, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    folder = REPOSITORY / ".sandbox" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def a_day(at_s: float) -> float:
    """A business with waves, and a busy half-hour that leaves little slack."""
    hours = (at_s - START_S) / 3600
    waves = 0.4 + 0.08 * math.sin(hours * 1.9) + 0.02 * math.sin(hours * 11)
    busy = 0.22 * math.exp(-(((hours - 0.9) / 0.25) ** 2))
    return (waves + busy) * CAPACITY_RU_PER_S


@pytest.fixture(scope="session")
def day() -> Run:
    """Two hours of a migration beside a business; nobody changes it afterwards."""
    run = begin(a_day, documents=2_400)
    run.world.source.ru_per_read = 700.0
    for resolved_at_s in (None, RESOLVED_S):
        told = message(rule=RULE, fired_at_s=FIRED_S, resolved_at_s=resolved_at_s)
        said_s = (resolved_at_s or FIRED_S) + 20.0
        run.happenings.append((said_s, partial(run.world.calm.alerting.take, told)))
    run.happenings.append(
        (
            START_S + 5_400.0,
            lambda: run.world.calm.pressing.push(
                '{"business_ru_per_s": 760, "for_s": 600, "why": "month end"}'
            ),
        )
    )
    run.work(HOURS * 3600)
    return run


@pytest.fixture
def short() -> Run:
    """A migration that began three minutes ago, for those who change it."""
    run = begin(lambda _: 0.5 * CAPACITY_RU_PER_S, documents=400)
    run.work(180)
    return run


@pytest.fixture
def site(short: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serving(Site(app=short.world.calm), monkeypatch) as running:
        yield running


@pytest.fixture
def day_site(day: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serving(Site(app=day.world.calm), monkeypatch) as running:
        yield running


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens the dashboard; at the end of the test what must hold on every page is checked."""
    contexts: list[tuple[BrowserContext, Page, Site]] = []
    asked: list[str] = []
    troubles: list[str] = []

    def open_page(site: Site, *, now_s: float | None = None, **options: Any) -> Page:
        """At a fixed time where one is given; else time passes, and a test may hasten it."""
        context = browser.new_context(timezone_id="UTC", **options)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(WATCH)
        page = context.new_page()
        if now_s is None:
            page.clock.install()
        else:
            page.clock.set_fixed_time(dt.datetime.fromtimestamp(now_s, dt.UTC))
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(f"dialog {dialog.message}"))
        contexts.append((context, page, site))
        page.goto(f"{site.url}/api/dashboard")
        return page

    yield open_page
    for context, page, _site in contexts:
        troubles += page.evaluate("window.violations")
        context.close()
    assert troubles == []
    homes = tuple(f"{site.url}/api/" for *_, site in contexts)
    assert [url for url in asked if not url.startswith((*homes, "data:"))] == []
