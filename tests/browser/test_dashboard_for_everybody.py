"""The dashboard by keyboard, by screen reader, in the dark and on a phone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.serving import Site

pytestmark = pytest.mark.browser

PHONE = {"width": 320, "height": 640}
TARGET_MIN_PX = 24  # WCAG 2.2, 2.5.8
TABS_MAX = 40


def ready(page: Page) -> Page:
    page.locator("path[data-series=budget]").wait_for(state="attached")
    return page


def tab_to(page: Page, css: str) -> None:
    """Presses Tab until the element has the focus, and sees that the focus shows."""
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        if page.evaluate("css => document.activeElement.matches(css)", css):
            outline = page.evaluate("getComputedStyle(document.activeElement).outline")
            assert "solid 3px" in outline, f"{css} shows its focus as {outline}"
            return
    pytest.fail(f"{css} is not reached within {TABS_MAX} tabs")


def wider_than_the_screen(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def contrast(page: Page, css: str) -> float:
    """Of an element's text against the first painted ground behind it, as WCAG reckons it."""
    return float(
        page.locator(css).first.evaluate(
            """(element) => {
              const parse = (c) => c.match(/[\\d.]+/g).map(Number);
              const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
                .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
              let ground = element;
              while (parse(getComputedStyle(ground).backgroundColor)[3] === 0) {
                ground = ground.parentElement;
              }
              const both = [getComputedStyle(element).color,
                getComputedStyle(ground).backgroundColor].map(parse).map(light).sort();
              const [low, high] = both.sort((a, b) => a - b);
              return (high + 0.05) / (low + 0.05);
            }"""
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(day_site: Site, visit: Visit, axe: str, scheme: str) -> None:
    """WCAG 2.2 A and AA, with everything unfolded."""
    page = ready(visit(day_site, color_scheme=scheme))
    page.locator("#numbers summary").click()
    page.evaluate(axe)
    found: list[dict[str, Any]] = page.evaluate(
        """async () => (await axe.run(document, {
          runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
        })).violations.map(({ id, nodes }) => ({ id, at: nodes.map((n) => n.html) }))"""
    )
    assert found == []


def test_axe_finds_no_barrier_in_the_dialogs(site: Site, visit: Visit, axe: str) -> None:
    """The question before a change, and the door for the key."""
    page = visit(site)
    page.get_by_role("button", name="Pause").click()
    page.evaluate(axe)
    rules = "async () => (await axe.run()).violations.map(({ id }) => id)"
    assert page.evaluate(rules) == []
    site.key = "s3cret"
    page.reload()
    expect(page.locator("#door")).to_be_visible()
    page.evaluate(axe)
    assert page.evaluate(rules) == []


def test_everything_is_done_by_keyboard_alone(site: Site, visit: Visit) -> None:
    """Skip, look at a moment, unfold the table, pause; the focus shows and is never lost."""
    page = ready(visit(site))
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    tab_to(page, "#verbs button")
    page.keyboard.press("Enter")
    expect(page.locator("#ask-no")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#verbs button").first).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "#ask-yes")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("paused")
    expect(page.locator("#verbs button").first).to_be_focused()
    tab_to(page, "#moment")
    before = page.locator("#readout").inner_text()
    page.keyboard.press("ArrowLeft")
    after = page.locator("#readout").inner_text()
    assert after != before
    assert page.locator("#moment").get_attribute("aria-valuetext") == after
    tab_to(page, "#numbers summary")
    page.keyboard.press("Enter")
    expect(page.locator("#rows tr").first).to_be_visible()


def test_the_page_has_landmarks_and_names(day_site: Site, visit: Visit) -> None:
    """Banner, main, content info; headings in order; the regions that speak by themselves."""
    page = ready(visit(day_site))
    for role in ("banner", "main", "contentinfo"):
        expect(page.get_by_role(role)).to_have_count(1)
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    expect(page.get_by_role("img", name="business")).to_have_count(1)
    expect(page.get_by_role("progressbar", name="Documents proven")).to_be_visible()
    expect(page.get_by_role("slider", name="Moment on the chart")).to_be_visible()
    assert page.locator("#news").get_attribute("role") == "status"
    assert page.locator("#trouble").get_attribute("role") == "alert"
    assert page.locator("[onclick], [onload], [style]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_can_be_read(
    day_site: Site, visit: Visit, scheme: str
) -> None:
    """The ground changes, and text keeps at least 4.5 to 1 against it."""
    page = ready(visit(day_site, color_scheme=scheme))
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 246, 248)", "dark": "rgb(15, 19, 23)"}[scheme]
    for css in (
        "#proven",
        "#reason",
        "#state",
        "#facts dt",
        "#verbs button",
        "#spells p",
        "footer",
    ):
        assert contrast(page, css) >= 4.5, css


def test_a_phone_shows_all_of_it_without_scrolling_sideways(day_site: Site, visit: Visit) -> None:
    """At 320 pixels, which is also a desktop at 400 %; targets are large enough for a thumb."""
    page = ready(visit(day_site, viewport=PHONE, has_touch=True, is_mobile=True))
    assert wider_than_the_screen(page) <= 0
    page.locator("#numbers summary").click()
    assert wider_than_the_screen(page) <= 0
    chart = page.locator("#chart").bounding_box()
    assert chart is not None
    assert chart["width"] > 240
    for each in page.locator("button:visible, select, summary").all():
        box = each.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= TARGET_MIN_PX
    page.get_by_role("button", name="Pause").tap()
    dialog = page.get_by_role("dialog").bounding_box()
    assert dialog is not None
    assert dialog["x"] >= 0
    assert dialog["x"] + dialog["width"] <= PHONE["width"]
    assert wider_than_the_screen(page) <= 0
