"""Pictures of the dashboard for people to look at, kept under .sandbox/screenshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import HOURS, Visit
from tests.browser.serving import Site
from tests.simulation.world import START_S

pytestmark = pytest.mark.browser

NOW_S = START_S + HOURS * 3600
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 800}


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("desktop-light", {"color_scheme": "light", "viewport": DESKTOP}),
        ("desktop-dark", {"color_scheme": "dark", "viewport": DESKTOP}),
        ("phone", {"color_scheme": "light", "viewport": PHONE}),
    ],
)
def test_a_picture_is_kept_of_each_way_to_look_at_it(
    day_site: Site,
    visit: Visit,
    screenshots: Path,
    name: str,
    looks: dict[str, Any],
) -> None:
    """Whoever changes the page can see what became of it."""
    page = visit(day_site, now_s=NOW_S, **looks)
    page.locator("path[data-series=budget][d]").wait_for()
    path = screenshots / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 20_000
