"""What the dashboard shows and does, in a real browser over the real application."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect

from shared.application.operating import QUARANTINED_SHOWN_MAX
from shared.application.picturing import ALERT_KINDS, EVENT_KINDS
from shared.domain.governor import Reason
from shared.domain.slices import Cause, MigrationState
from shared.ports import Change, Incident
from tests.browser.chromium import REPOSITORY
from tests.browser.conftest import FIRED_S, RESOLVED_S, RULE, Visit
from tests.browser.serving import Site
from tests.simulation.alerts import message
from tests.simulation.test_pace import Run
from tests.simulation.world import make_world
from tests.unit.test_cycling import scheduled

pytestmark = pytest.mark.browser

POLL_MS = 5_000
HOSTILE = '<img src=x onerror="window.harmed = 1"><script>window.harmed = 2</script>'
HOSTILE_NAME = "<img src=x onerror=alert(1)>"


def asked(site: Site, path: str) -> Any:
    with urlopen(f"{site.url}/api/{path}") as answer:  # noqa: S310  it is our own loopback server
        return json.load(answer)


def facts(page: Page, part: str) -> dict[str, str]:
    """The pairs of a list of facts."""
    pairs = page.locator(f"{part} > div").all()
    return {p.locator("dt").inner_text(): p.locator("dd").inner_text() for p in pairs}


def number(text: str) -> float:
    found = re.search(r"[\d,]+(\.\d+)?", text)
    assert found, text
    return float(found[0].replace(",", ""))


def wait_for_picture(page: Page) -> None:
    page.locator("path[data-series=budget]").wait_for(state="attached")


def test_the_page_shows_what_the_status_says(day_site: Site, visit: Visit) -> None:
    """Progress, pace, budget, cost and slices are the numbers of the JSON."""
    page = visit(day_site)
    wait_for_picture(page)
    status = asked(day_site, "migrations/sim")
    documents = status["documents"]
    assert number(page.locator("#proven").inner_text()) == documents["proven"] > 0
    assert f"of {documents['expected']:,} documents" in page.locator("#expected").inner_text()
    part = documents["proven"] / documents["expected"]
    assert page.locator("#bar").evaluate("bar => bar.value") == pytest.approx(part)
    expect(page.locator("#pace")).to_have_text(status["pace"])
    expect(page.locator("#state")).to_have_text("running")
    shown = facts(page, "#facts")
    assert number(shown["Budget of its source"]) == round(status["ru"]["budget_per_s"])
    assert number(shown["Share of it"]) == round(status["ru"]["share_per_s"])
    assert number(shown["Time left"]) == int(status["eta_s"] // 60)
    cost = facts(page, "#cost")
    assert number(cost["Request units"]) == round(status["ru"]["spent"])
    assert number(cost["Per document"]) == status["ru"]["per_document"]
    verdicts = facts(page, "#verdicts")
    assert number(verdicts["Mismatches found"]) == documents["mismatches"]
    slices = page.locator("#slices").inner_text().split("\n")
    assert number(slices[slices.index("proven") + 1]) == status["slices"]["proven"]


def test_the_chart_draws_ceiling_budget_and_business(day_site: Site, visit: Visit) -> None:
    """Each series has its shape, and the slider reads the numbers of the timeline."""
    page = visit(day_site)
    wait_for_picture(page)
    for name in ("capacity", "ceiling", "budget", "own", "business"):
        assert len(page.locator(f"path[data-series={name}]").get_attribute("d") or "") > 20
    timeline = asked(day_site, "migrations/sim/timeline?hours=6")
    points = timeline["points"]
    page.locator("#moment").fill("40")
    text = page.locator("#readout").inner_text()
    for word, key in (("business", "business"), ("Ebb", "own"), ("budget", "budget")):
        assert f"{word} {points[40][f'{key}_ru_per_s']:,.0f} RU/s" in text
    drawn = page.locator("#chart rect[data-reason]").evaluate_all(
        "cells => [...new Set(cells.map((c) => c.dataset.reason))]"
    )
    assert set(drawn) == {p["reason"] for p in points if p["reason"]} >= {"slack", "too_risky"}
    used = timeline["tally"]["slack_used"]
    assert f"{int(used * 1000) / 10:.1f} % of the slack" in page.locator("#tally").inner_text()
    spells = page.locator("#spells > li")
    assert spells.count() == len(timeline["spells"])
    assert timeline["spells"][0]["sentence"] in spells.first.inner_text()


def test_the_budget_is_drawn_upon_the_business_and_below_the_ceiling(
    day_site: Site, visit: Visit
) -> None:
    """At the pressed minutes the budget lies on the business; in calm ones under the ceiling."""
    page = visit(day_site)
    wait_for_picture(page)

    def top(name: str, share: float) -> float:
        """The height of a series at a part of the width."""
        shape = page.locator(f"path[data-series={name}]")
        found: float = shape.evaluate(
            """(path, share) => {
              const { width, height } = path.ownerSVGElement.getBoundingClientRect();
              const heights = path.getAttribute("d").split(/[ML]/).slice(1)
                .filter((piece) => piece.includes("H")).map((piece) => {
                  const [from, level, until] = piece.split(/[,HZ]/).map(Number);
                  return [Math.min(from, until), Math.max(from, until), level];
                });
              const at = 46 + (width - 54) * share;
              const met = heights.filter(([from, until]) => from <= at && at < until);
              return height - Math.min(...met.map(([, , level]) => level));
            }""",
            share,
        )
        return found

    pressed, calm = 95 / 120, 20 / 120
    assert top("budget", pressed) == pytest.approx(top("business", pressed), abs=1.5)
    assert top("business", calm) < top("budget", calm) <= top("ceiling", calm)
    assert top("ceiling", calm) < top("capacity", calm)


def test_an_alert_is_marked_by_its_rule_when_it_fired_and_when_it_ended(
    day_site: Site, day: Run, visit: Visit
) -> None:
    """On the chart, in what happened and at the slider, long after the board forgot it."""
    assert day.world.ports.boards.read().alarms == {}
    page = visit(day_site)
    wait_for_picture(page)
    firsts = []
    for kind, word, at_s in (("fired", "fired", FIRED_S), ("resolved", "resolved", RESOLVED_S)):
        marker = page.locator(f"#chart g[data-kind=alert_{kind}]")
        expect(marker).to_have_count(1)
        assert f"{RULE} {word}" in (marker.locator("title").text_content() or "")
        expect(marker.locator("text")).to_have_text(f"{RULE} {word}")
        firsts.append(float(marker.locator("line").get_attribute("x1") or "nan"))
        expect(page.locator("#events")).to_contain_text(f"Alert {kind}")
        points = asked(day_site, "migrations/sim/timeline?hours=6")["points"]
        index = next(i for i, p in enumerate(points) if 0 <= at_s - p["at_s"] < 60)
        page.locator("#moment").fill(str(index))
        expect(page.locator("#readout")).to_contain_text(f"; {RULE} {word}")
    assert firsts == sorted(firsts)
    expect(page.locator("#events")).to_contain_text(RULE)
    expect(page.locator("#legend-alert")).to_be_visible()


def test_names_of_markers_never_cross(short: Run, site: Site, visit: Visit) -> None:
    """Where many fire at once the names without room are left to the titles."""
    with site.lock:
        for index in range(12):
            fired_at_s = short.world.clock.now_s() - 60.0 + index
            told = message(rule=f"rule-{index}", alert=str(index), fired_at_s=fired_at_s)
            short.world.calm.alerting.take(told)
    page = visit(site, viewport={"width": 375, "height": 800})
    wait_for_picture(page)
    expect(page.locator("#chart g.marker")).to_have_count(12)
    boxes = [each.bounding_box() for each in page.locator("#chart g.marker text").all()]
    known = [box for box in boxes if box]
    assert 2 <= len(known) < 12
    for first, second in itertools.combinations(known, 2):
        apart = first["x"] + first["width"] <= second["x"] or first["y"] != second["y"]
        assert apart or second["x"] + second["width"] <= first["x"]
    chart = page.locator("#chart").bounding_box()
    assert chart
    assert all(box["x"] + box["width"] <= chart["x"] + chart["width"] for box in known)


def test_every_reason_and_every_event_has_words_on_the_page() -> None:
    """Nobody reads `too_risky` in a sentence for people."""
    script = (REPOSITORY / "shared" / "dashboard" / "script.js").read_text("utf-8")
    kinds = {*EVENT_KINDS, *ALERT_KINDS}
    for name, words in (("REASONS", {each.value for each in Reason}), ("EVENTS", kinds)):
        block = script.partition(f"const {name} = {{")[2].partition("};")[0]
        assert set(re.findall(r"(?:^|,)\s*(\w+): ", block, re.MULTILINE)) == words


def test_the_table_says_what_the_chart_shows(day_site: Site, visit: Visit) -> None:
    """A row for each point, newest first, for those who do not see a picture."""
    page = visit(day_site)
    wait_for_picture(page)
    page.locator("#numbers summary").click()
    points = asked(day_site, "migrations/sim/timeline?hours=6")["points"]
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(len(points))
    cells = rows.last.locator("td").all_inner_texts()
    keys = ("business", "own", "total", "budget", "ceiling", "capacity")
    told = [points[0][f"{key}_ru_per_s"] for key in keys]
    assert cells[:-1] == ["–" if value is None else f"{value:,.0f}" for value in told]
    label = page.locator("#chart").get_attribute("aria-label") or ""
    assert "business" in label
    assert "ceiling 800 to 800 RU/s" in label


def test_another_span_is_asked_for_and_drawn(day_site: Site, visit: Visit) -> None:
    """One hour has sixty points at most."""
    page = visit(day_site)
    wait_for_picture(page)
    page.locator("#hours").select_option("1")
    expect(page.locator("#moment")).to_have_attribute("max", "58")
    assert day_site.calls("GET", "timeline?hours=1") == 1


def test_pause_asks_first_and_then_acts(site: Site, short: Run, visit: Visit) -> None:
    """The state, the verbs and the polite region follow."""
    page = visit(site)
    page.get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog", name="Pause sim?")
    expect(dialog).to_be_visible()
    assert short.world.ports.ledger.migration("sim").state is MigrationState.RUNNING
    dialog.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("paused")
    expect(dialog).to_be_hidden()
    assert short.world.ports.ledger.migration("sim").state is MigrationState.PAUSED
    expect(page.get_by_role("status")).to_have_text("sim is paused: paused by hand")
    assert site.calls("POST") == 1
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog", name="Resume sim?").get_by_role("button", name="Resume").click()
    expect(page.locator("#state")).to_have_text("running")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog", name="Stop sim?").get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("stopped")
    assert page.locator("#verbs button").all_inner_texts() == ["Start"]


def test_a_cancelled_change_does_nothing(site: Site, short: Run, visit: Visit) -> None:
    """Neither by its button nor by Escape."""
    page = visit(site)
    for leave in ("Cancel", "Escape"):
        page.get_by_role("button", name="Stop").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        if leave == "Cancel":
            dialog.get_by_role("button", name="Cancel").click()
        else:
            page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
    assert site.calls("POST") == 0
    assert short.world.ports.ledger.migration("sim").state is MigrationState.RUNNING


def test_a_refused_change_says_why_and_stays_until_dismissed(
    site: Site, short: Run, visit: Visit
) -> None:
    """Somebody else was faster; the server's own words are shown."""
    page = visit(site)
    page.get_by_role("button", name="Pause").click()
    with site.lock:
        short.world.calm.operating.stop("sim")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    refusal = page.locator("#refusal")
    expect(refusal).to_contain_text("cannot pause sim: it is stopped")
    expect(page.locator("#state")).to_have_text("stopped")
    expect(refusal).to_be_visible()
    refusal.get_by_role("button", name="Dismiss").click()
    expect(refusal).to_be_hidden()


def test_what_changes_is_shown_without_a_reload(site: Site, short: Run, visit: Visit) -> None:
    """Within a few seconds, and what has the focus keeps it."""
    page = visit(site)
    expect(page.locator("#state")).to_have_text("running")
    before = number(page.locator("#proven").inner_text())
    page.evaluate("window.same = true")
    page.get_by_role("button", name="Stop").focus()
    with site.lock:
        short.work(60)
        after = short.proven
    assert after > before
    page.clock.run_for(POLL_MS)
    expect(page.locator("#proven")).to_have_text(f"{after:,}")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    assert page.evaluate("window.same") is True


def test_updates_stop_when_hidden_or_switched_off(site: Site, visit: Visit) -> None:
    """A page that nobody looks at asks nothing, and is up to date when looked at again."""
    page = visit(site)
    expect(page.locator("#state")).to_have_text("running")

    def hide(*, hidden: bool) -> None:
        page.evaluate(
            """(hidden) => {
              Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    def asked_in_a_minute() -> int:
        before = site.calls("GET", "/migrations")
        page.clock.fast_forward(60_000)
        page.wait_for_timeout(300)
        return site.calls("GET", "/migrations") - before

    seen = site.calls("GET", "/migrations")
    hide(hidden=True)
    assert asked_in_a_minute() == 0
    assert site.calls("GET", "/migrations") == seen
    with page.expect_response("**/api/health"):
        hide(hidden=False)
    with page.expect_response("**/api/health"):
        page.clock.run_for(POLL_MS)
    with site.lock:
        page.evaluate("window.dispatchEvent(new Event('hashchange'))")
        page.wait_for_timeout(200)
        hide(hidden=True)
    page.wait_for_timeout(300)
    assert asked_in_a_minute() == 0
    with page.expect_response("**/api/health"):
        hide(hidden=False)
    page.get_by_role("button", name="Live updates").click()
    expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
    page.wait_for_timeout(300)
    assert asked_in_a_minute() == 0


@pytest.mark.parametrize("trouble", ["busy", "down"])
def test_a_server_error_is_told_and_gone_when_it_recovers(
    site: Site, visit: Visit, trouble: str
) -> None:
    """What was seen stays, marked as old; trying again is a button and happens by itself."""
    page = visit(site)
    expect(page.locator("#state")).to_have_text("running")
    setattr(site, trouble, True)
    alert = page.locator("#trouble")
    page.clock.run_for(POLL_MS)
    expect(alert).to_be_visible()
    words = "503: reading the ledger: storage is busy" if trouble == "busy" else "does not answer"
    expect(alert).to_contain_text(words)
    expect(alert).to_contain_text("What is shown below is old. Trying again in 5 s.")
    expect(page.locator("#state")).to_have_text("running")
    page.clock.run_for(POLL_MS)
    expect(alert).to_contain_text("Trying again in 10 s.")
    setattr(site, trouble, False)
    if trouble == "busy":
        alert.get_by_role("button", name="Try now").click()
    else:
        page.clock.run_for(2 * POLL_MS)
    expect(alert).to_be_hidden()


def test_words_from_outside_never_become_html(site: Site, short: Run, visit: Visit) -> None:
    """Names, reasons, errors, sentences and incidents are text, whatever they hold."""
    ports = short.world.ports
    with site.lock:
        migration = ports.ledger.migration("sim")
        ports.ledger.put_migration(replace(migration, reason=HOSTILE))
        ports.ledger.put_migration(
            replace(migration, name=HOSTILE_NAME, reason="x", uid="other", version="")
        )
        ports.incidents.record(Incident(at_s=short.world.clock.now_s(), kind=HOSTILE, text=HOSTILE))
        entry = ports.journal.entries(since_s=0.0, limit=1)[0]
        at_s = entry.decision.at_s + 1.0
        decision = replace(entry.decision, at_s=at_s, sentence=HOSTILE)
        told = replace(entry, decision=decision, actions={"sim.error": HOSTILE})
        ports.journal.record(told)
        _quarantine(short)
    page = visit(site)
    expect(page.locator("#name")).to_have_text(HOSTILE_NAME)
    page.locator("#list a", has_text="sim").click()
    wait_for_picture(page)
    for part in ("#reason", "#incidents", "#spells", "#events", "#quarantined"):
        expect(page.locator(part)).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("img, main script").count() == 0
    assert page.evaluate("window.harmed") is None


def _quarantine(run: Run, *, slices: int = 1) -> None:
    ledger = run.world.ports.ledger
    each = ledger.open_slices("sim")[0]
    failed = each.failed(cause=Cause.DOCUMENT, error=HOSTILE, now_s=0.0, attempts_max=1)
    ledger.commit("sim", Change(slices=(failed,)))
    for n in range(1, slices):
        another = replace(failed, extent=replace(failed.extent, part=900 + n), version="")
        ledger.commit("sim", Change(slices=(another,)))


def test_all_quarantined_slices_are_counted(site: Site, short: Run, visit: Visit) -> None:
    """The status names the first twenty and counts them all."""
    with site.lock:
        _quarantine(short, slices=QUARANTINED_SHOWN_MAX + 5)
    page = visit(site)
    wait_for_picture(page)
    assert facts(page, "#verdicts")["Quarantined"] == str(QUARANTINED_SHOWN_MAX + 5)
    assert page.locator("#quarantined > li").count() == QUARANTINED_SHOWN_MAX


def test_one_of_several_is_chosen_and_stands_in_the_address(
    site: Site, short: Run, visit: Visit
) -> None:
    """A link to one migration opens that one."""
    with site.lock:
        migration = short.world.ports.ledger.migration("sim")
        other = replace(
            migration, name="b & c", uid="u2", version="", state=MigrationState.REGISTERED
        )
        short.world.ports.ledger.put_migration(other)
    page = visit(site)
    expect(page.locator("#name")).to_have_text("sim")
    page.get_by_role("link", name="b & c").click()
    expect(page.locator("#name")).to_have_text("b & c")
    expect(page.locator("#list a[aria-current]")).to_contain_text("b & c")
    assert page.url.endswith("#b%20%26%20c")
    page.reload()
    expect(page.locator("#name")).to_have_text("b & c")
    expect(page.locator("#tally")).to_have_text("No decision was made in this span.")


def test_a_wanted_key_is_asked_for_once_and_never_in_an_address(site: Site, visit: Visit) -> None:
    """It is kept in the tab, sent as a header, and forgotten when asked."""
    site.key = "s3cret"
    page = visit(site)
    door = page.locator("#door")
    expect(door).to_be_visible()
    expect(page.locator("#key")).to_be_focused()
    page.locator("#key").fill("wrong")
    page.keyboard.press("Enter")
    expect(door).to_contain_text("That key was refused")
    page.locator("#key").fill("s3cret")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("running")
    expect(door).to_be_hidden()
    page.reload()
    expect(page.locator("#state")).to_have_text("running")
    assert [address for _, address, _ in site.asked if "s3cret" in address] == []
    assert "s3cret" not in page.content()
    page.get_by_role("button", name="Forget key").click()
    expect(door).to_be_visible()


def test_without_keys_none_is_asked_for(site: Site, visit: Visit) -> None:
    """Core Tools and the sandbox check none."""
    page = visit(site)
    expect(page.locator("#state")).to_have_text("running")
    expect(page.locator("#door")).to_be_hidden()
    expect(page.locator("#forget")).to_be_hidden()
    assert {key for _, _, key in site.asked} == {""}


def test_an_empty_app_says_how_to_begin(site: Site, visit: Visit) -> None:
    """Nothing is registered yet."""
    site.app = make_world(1).calm
    page = visit(site)
    expect(page.locator("#empty")).to_contain_text("begin with: ebb apply SPEC")
    expect(page.locator("#detail")).to_be_hidden()


def test_a_migration_of_the_factory_shows_what_it_is_billed_by(
    site: Site, short: Run, visit: Visit
) -> None:
    """Activity runs and DIU hours, only where Data Factory copies."""
    page = visit(site)
    expect(page.locator("#cost")).to_contain_text("Request units")
    expect(page.locator("#cost")).not_to_contain_text("DIU")
    with site.lock:
        ledger = short.world.ports.ledger
        migration = ledger.migration("sim")
        text = json.dumps({**json.loads(migration.spec_text), "engine": "adf"})
        ledger.put_migration(replace(migration, spec_text=text))
        progress = ledger.progress("sim")
        assert progress is not None
        ledger.commit("sim", Change(progress=replace(progress, activity_runs=24, diu_hours=0.3333)))
    page.reload()
    expect(page.locator("#cost")).to_contain_text("Data Factory")
    cost = facts(page, "#cost")
    assert (cost["Activity runs"], cost["DIU hours"]) == ("24", "0.3333")


def test_a_schedule_shows_its_watermark_and_can_be_stopped(site: Site, visit: Visit) -> None:
    """Between two cycles stop is the one verb there is; without a schedule there is none."""
    world = scheduled()
    site.app = world.calm
    page = visit(site)
    shown = facts(page, "#facts")
    assert "2027" in shown["Proven up to"]
    assert "2027" in shown["Next cycle"]
    assert page.locator("#verbs button").all_inner_texts() == ["Stop"]
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog", name="Stop sim?").get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("stopped")
    assert "Next cycle" not in facts(page, "#facts")


def test_nobody_deciding_is_said_aloud(site: Site, short: Run, visit: Visit) -> None:
    """The controller died ninety seconds ago; health answers 503, which is no failure to show."""
    with site.lock:
        short.world.clock.advance(100)
    page = visit(site)
    expect(page.locator("#health")).to_contain_text("Nobody decides: the last decision is 2 min")
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator("#state")).to_have_text("running")


def test_the_page_is_served_with_a_strict_policy(site: Site, visit: Visit) -> None:
    """Only its own two inline blocks run, and it asks nobody but its own app."""
    with urlopen(f"{site.url}/api/dashboard") as answer:  # noqa: S310  our own loopback server
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    page = visit(site)
    expect(page.locator("#state")).to_have_text("running")
    blocked = page.evaluate(
        """() => {
          const script = document.createElement("script");
          try { script.textContent = "window.ran = true"; document.body.append(script); }
          catch { return true; }
          return window.ran !== true;
        }"""
    )
    assert blocked
    page.evaluate("window.violations = []")


@pytest.mark.parametrize(
    ("path", "status"),
    [("sim/timeline?hours=0", 422), ("sim/timeline?hours=x", 422), ("nobody/timeline", 404)],
)
def test_a_timeline_that_cannot_be_drawn_says_why(site: Site, path: str, status: int) -> None:
    """Bad hours are the caller's, an unknown name is not found; both as problem details."""
    with pytest.raises(HTTPError) as caught:
        asked(site, f"migrations/{path}")
    with caught.value as answer:
        assert answer.code == json.load(answer)["status"] == status
        assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_two_refreshes_never_run_side_by_side(site: Site, visit: Visit) -> None:
    """A slow app is not asked again before it has answered."""
    page = visit(site)
    expect(page.locator("#state")).to_have_text("running")
    before = site.calls("GET", "/migrations")
    with site.lock:
        for _ in range(5):
            page.evaluate("window.dispatchEvent(new Event('hashchange'))")
        page.wait_for_timeout(300)
        assert site.calls("GET", "/migrations") == before + 1
    page.wait_for_timeout(400)
    assert site.calls("GET", "/migrations") == before + 2
