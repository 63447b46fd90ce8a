"""The bench of the pacing law: traces, plant, laws and figures, with numbers verified by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.governor.command import main
from bench.governor.figures import MEASURED, direction_changes, figures, foreseen, means
from bench.governor.laws import Asked, Law, Spending, View
from bench.governor.loads import PARTITION_RU_PER_S, Load, recorded, shaped
from bench.governor.loop import ClosedLoop, Scenario, shared_second
from bench.governor.pictures import most_varied_day
from bench.governor.recorded import Terms, scenario_of
from bench.governor.rivals import LAWS
from bench.governor.special import CASES, measured, spike
from bench.governor.traces import MINUTE_S, Trace, find_traces, read_trace
from shared.domain.pacing import COOL_DOWN_S
from shared.domain.readings import Reading

NOON = "2026-11-21 12:00:00"


class Constant:
    """Asks for the same at every tick."""

    def __init__(self, ru_per_s: float, spending: Spending = Spending.PACED) -> None:
        self.spending = spending
        self._ru_per_s = ru_per_s
        self.views: list[tuple[int, View]] = []

    def tick(self, now_s: int, view: View) -> Asked:
        self.views.append((now_s, view))
        return Asked(self._ru_per_s)


def a_file(folder: Path, *lines: str, header: str = "timestamp,value") -> Path:
    path = folder / "load.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def a_load(*ru_per_s: float) -> Load:
    """One minute for each."""
    return Load(
        start_s=0,
        end_s=len(ru_per_s) * MINUTE_S,
        starts_s=range(0, len(ru_per_s) * MINUTE_S, MINUTE_S),
        wants=[(each,) for each in ru_per_s],
    )


def a_reading(minute: int, *, business: float, own: float = 0.0) -> Reading:
    return Reading(
        minute_s=minute * MINUTE_S,
        total_ru=(business + own) * MINUTE_S,
        own_ru=own * MINUTE_S,
    )


def a_view(*readings: Reading) -> View:
    return View(capacity_ru_per_s=5_000.0, ceiling=0.8, readings=readings)


def asked(law: Law, view: View, now_s: int = 600) -> float:
    return law.tick(now_s, view).budget_ru_per_s


def test_a_value_lasts_until_the_next_one(tmp_path: Path) -> None:
    """Five-minute values fill five minutes, and lines may come in any order."""
    path = a_file(tmp_path, "2026-11-21 12:05:00,20", f"{NOON},10", "2026-11-21 12:07:00,0")
    trace = read_trace(path)
    assert trace.minutes == pytest.approx((10, 10, 10, 10, 10, 20, 20))
    assert trace.start_s % MINUTE_S == 0


def test_a_minute_has_the_mean_of_what_fell_into_it(tmp_path: Path) -> None:
    """Values between two minutes count by how long they lasted; half minutes are left out."""
    lines = ("2026-11-21 11:59:53,6", "2026-11-21 12:00:30,12", "2026-11-21 12:02:10,1")
    assert read_trace(a_file(tmp_path, *lines)).minutes == pytest.approx((9, 12))


@pytest.mark.parametrize(
    "line",
    ["noon,1", f"{NOON},much", f"{NOON}", f"{NOON},-1", f"{NOON},nan", f"{NOON},1,2"],
)
def test_a_malformed_line_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    """The message says which file and line, what was seen and what is wanted."""
    path = a_file(tmp_path, "2026-11-21 11:00:00,1", line)
    with pytest.raises(BenchError, match=r"load\.csv, line 3: saw .* wanted timestamp,value"):
        read_trace(path)


def test_a_file_without_the_header_is_refused(tmp_path: Path) -> None:
    """Two columns of something else are not a load."""
    with pytest.raises(BenchError, match="line 1"):
        read_trace(a_file(tmp_path, f"{NOON},1", header="time,cpu"))


def test_traces_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    """An empty folder, a file shorter than a minute, nothing but zeros."""
    with pytest.raises(BenchError, match=r"no \*\.csv there"):
        find_traces(tmp_path)
    with pytest.raises(BenchError, match="one whole minute"):
        read_trace(a_file(tmp_path, f"{NOON},1"))
    with pytest.raises(BenchError, match="all its values are 0"):
        read_trace(a_file(tmp_path, f"{NOON},0", "2026-11-21 12:05:00,0"))


def test_a_trace_is_scaled_to_half_of_capacity() -> None:
    """The mean is half, nothing is above 120 % before noise, and a seed repeats it."""
    trace = Trace(name="t", start_s=0, minutes=(1.0,) * 900 + (3.0,) * 100)
    load = recorded(trace, partitions=1, seed=1)
    business = [wants[0] for wants in load.wants]
    assert sum(business[:900]) / 900 == pytest.approx(5_000 * 0.5 / 1.2, rel=0.01)
    assert sum(business[900:]) / 100 == pytest.approx(6_000, rel=0.02)
    assert load.wants == recorded(trace, partitions=1, seed=1).wants
    assert load.wants != recorded(trace, partitions=1, seed=2).wants


def test_the_hours_asked_for_are_the_first_ones() -> None:
    """Cutting a trace changes nothing in what remains."""
    trace = Trace(name="t", start_s=60, minutes=(1.0, 2.0, 3.0) * 60)
    whole = recorded(trace, partitions=1, seed=0)
    cut = recorded(trace, partitions=1, seed=0, hours=1)
    assert (cut.start_s, cut.end_s) == (60, 60 + 3_600)
    assert cut.wants == whole.wants[:60]


def test_over_partitions_one_is_hot_for_hours() -> None:
    """A hot one has three even shares, the others keep the rest, and all have what there is."""
    trace = Trace(name="t", start_s=0, minutes=(1.0,) * 3_000)
    load = recorded(trace, partitions=12, seed=0)
    shares = [max(wants) / sum(wants) for wants in load.wants]
    hot = [share == pytest.approx(3 / 12) for share in shares]
    assert 0.2 < sum(hot) / len(hot) < 0.8
    assert all(share == pytest.approx(3 / 12) or share < 1.25 / 12 for share in shares)
    stretches = sum(one != other for one, other in pairwise(hot))
    assert stretches < 3_000 / 100
    assert sum(map(sum, load.wants)) / 3_000 == pytest.approx(12 * 2_500, rel=0.01)


def test_a_full_second_is_shared_by_demand() -> None:
    """Nobody waits while there is room; beyond it both get the same part of what they want."""
    assert shared_second(3_000, 2_000, 5_000) == (3_000, 2_000)
    assert shared_second(4_500, 1_500, 5_000) == (3_750, 1_250)
    assert shared_second(6_000, 0, 5_000) == (5_000, 0)


def test_a_tick_sees_only_minutes_that_monitor_has_told() -> None:
    """With 120 s of lag the tick at 250 s sees the two minutes that ended by 130 s."""
    law = Constant(100.0)
    scenario = Scenario(load=a_load(*[1_000.0] * 6), lost_s=frozenset({0}))
    ClosedLoop(scenario, law).run()
    seen = {now_s: [each.minute_s for each in view.readings] for now_s, view in law.views}
    assert sorted(seen) == list(range(10, 360, 30))
    assert seen[220] == []
    assert seen[250] == [60]
    assert law.views[-1][1].readings[0].business_ru_per_s == pytest.approx(1_000.0)
    assert law.views[-1][1].readings[0].own_ru == pytest.approx(6_000.0)


def test_a_silent_monitor_tells_nothing() -> None:
    """Not even what it told before."""
    law = Constant(100.0)
    scenario = Scenario(load=a_load(*[1_000.0] * 6), silence_s=range(250, 300))
    ClosedLoop(scenario, law).run()
    told = {now_s: len(view.readings) for now_s, view in law.views}
    assert (told[220], told[250], told[280], told[310]) == (1, 0, 0, 3)


def test_a_429_holds_ebb_until_the_next_decision() -> None:
    """One second is shared, then nothing is spent for the rest of the tick, and the law is told."""
    law = Constant(2_000.0, Spending.HELD)
    scenario = Scenario(load=a_load(1_000.0, 4_000.0, 4_000.0))
    run = ClosedLoop(scenario, law, stepped=True).run()
    assert run.met_s[0] == 60
    assert run.own_per_s[59:62] == pytest.approx([2_000.0, 2_000 * 5 / 6, 0.0])
    paid_s = 72  # decided at 70; the shared second is paid for at half the rate first
    assert set(run.own_per_s[61:paid_s]) == {0.0}
    wanted = 2_000.0 * (0.5 + 0.5 * 2 / 30)
    assert run.own_per_s[paid_s] == pytest.approx(wanted * 5_000 / (4_000 + wanted))
    told = dict(law.views)[70].throttles["all"]
    assert (told.at_s, told.ru_per_s) == (60, 2_000.0)
    assert dict(law.views)[40].throttles == {}


def test_a_paced_rival_goes_on_by_itself_after_a_429() -> None:
    """It holds ten seconds, pays its debt, and comes back at little more than half its rate."""
    scenario = Scenario(load=a_load(1_000.0, 4_000.0, 1_000.0))
    run = ClosedLoop(scenario, Constant(1_500.0), stepped=True).run()
    back = 60 + int(COOL_DOWN_S) + 2
    assert set(run.own_per_s[61:back]) == {0.0}
    assert run.own_per_s[back] == pytest.approx(1_500.0 * (0.5 + 0.5 * 2 / 30))


def test_a_second_the_business_fills_alone_is_not_our_throttling() -> None:
    """It would have met its limit without us; what we take from it counts all the same."""
    scenario = Scenario(load=a_load(6_000.0, 4_500.0))
    run = ClosedLoop(scenario, Constant(1_500.0, Spending.UNPACED)).run()
    assert [each.throttled_s for each in run.minutes] == [0, 60]
    assert run.minutes[0].refused_ru == pytest.approx(50 * (5_000 - 6_000 * 5_000 / 7_500))
    assert run.minutes[1].refused_ru == pytest.approx(60 * (4_500 - 3_750))


def test_a_minute_is_over_only_by_our_doing() -> None:
    """At the ceiling it is not over, nor when the business alone is above it."""
    scenario = Scenario(load=a_load(1_000.0, 3_000.0, 3_001.0, 4_001.0))
    run = ClosedLoop(scenario, Constant(1_000.0, Spending.UNPACED)).run()
    assert [each.is_over for each in run.minutes] == [False, False, True, False]


def test_one_full_partition_makes_the_minute_over() -> None:
    """The others' room does not help it, and seconds count once for all."""
    load = replace(a_load(0.0, 0.0), wants=[(1_000.0, 1_000.0), (1_000.0, 4_000.0)])
    run = ClosedLoop(Scenario(load=load), Constant(3_000.0, Spending.UNPACED)).run()
    assert [each.is_over for each in run.minutes] == [False, True]
    assert [each.throttled_s for each in run.minutes] == [0, 60]
    assert run.minutes[1].room_ru == pytest.approx(60 * 3_000)


@pytest.mark.parametrize("law", sorted(LAWS))
@pytest.mark.parametrize("partitions", [1, 2])
def test_calm_spans_cost_no_truth(law: str, partitions: int) -> None:
    """Taken at one go or second by second, every minute and every decision is the same."""
    ramp, step = spike(0.9, 60, at_s=1_207, minutes=4), spike(1.1, 1, at_s=1_860, minutes=4)
    load = shaped(lambda now_s: max(ramp(now_s), step(now_s)), minutes=45, noise=0.05, seed=3)
    scenario = Scenario(load=replace(load, wants=[each * partitions for each in load.wants]))
    calm = ClosedLoop(scenario, LAWS[law]()).run()
    stepped = ClosedLoop(scenario, LAWS[law](), stepped=True).run()
    for one, other in zip(calm.minutes, stepped.minutes, strict=True):
        assert one.own_ru == pytest.approx(other.own_ru)
        assert one.refused_ru == pytest.approx(other.refused_ru, abs=1e-6)
        assert (one.throttled_s, one.is_over) == (other.throttled_s, other.is_over)
    for before, after in zip(calm.ticks, stepped.ticks, strict=True):
        assert before == pytest.approx(after)
    assert sum(stepped.own_per_s) == pytest.approx(sum(each.own_ru for each in calm.minutes))


def test_figures_are_shares_of_what_there_was() -> None:
    """Numbers of three minutes, two of them with 1,000 RU/s of ours."""
    scenario = Scenario(load=a_load(1_000.0, 3_000.0, 3_500.0))
    run = ClosedLoop(scenario, Constant(1_000.0, Spending.UNPACED)).run()
    found = figures(run)
    assert found["oracle_share"] == pytest.approx(
        170 / (3_000 + 1_000 + 500) / 60 * 1_000, abs=1e-6
    )
    assert found["over_ceiling_pct"] == pytest.approx(100 / 3, abs=1e-6)
    assert found["throttled_s_pct"] == 0.0
    assert found["ru_spent_share"] == pytest.approx(170_000 / (5_000 * 180), abs=1e-6)
    assert figures(run, since_s=60)["oracle_share"] == pytest.approx(2_000 / 1_500, abs=1e-6)


def test_the_oracle_spends_all_and_harms_nobody() -> None:
    """It is the limit that every share is a share of."""
    found = foreseen(Scenario(load=a_load(1_000.0, 4_500.0, 2_000.0)))
    assert found["oracle_share"] == 1.0
    assert found["over_ceiling_pct"] == found["throttled_s_pct"] == 0.0
    assert found["ru_spent_share"] == pytest.approx(5_000 / 15_000, abs=1e-6)
    assert found["direction_changes_per_h"] == pytest.approx(20.0)


def test_a_pause_between_rises_is_no_change_of_direction() -> None:
    """Only a rise after a fall, or a fall after a rise, is one."""
    assert direction_changes([0, 1, 1, 2, 2, 1, 1, 0, 3]) == 2
    assert direction_changes([5, 5, 5]) == direction_changes([]) == 0


def test_means_count_every_trace_the_same() -> None:
    """A long trace is one trace."""
    rows = [{"law": "a", **dict.fromkeys(MEASURED, value)} for value in (1.0, 3.0)]
    assert means(rows) == [{"law": "a", **dict.fromkeys(MEASURED, 2.0)}]


def test_fixed_laws_ask_for_the_same_whatever_they_see() -> None:
    """The seed's batch, a fifth of capacity, and a page every quarter of a second."""
    fixed = {name: asked(LAWS[name](), a_view()) for name in ("fixed_batch", "fixed_fraction")}
    assert fixed == {"fixed_batch": 1_500.0, "fixed_fraction": 1_000.0}
    busy = a_view(a_reading(1, business=4_900.0))
    assert asked(LAWS["adf"](), busy) == 1_600.0


def test_bang_bang_takes_all_below_the_ceiling() -> None:
    """The newest minute alone counts, and without one it takes nothing."""
    law = LAWS["bang_bang"]()
    assert asked(law, a_view()) == 0.0
    assert asked(law, a_view(a_reading(1, business=0.0), a_reading(2, business=2_500.0))) == 1_500.0
    assert asked(law, a_view(a_reading(3, business=4_500.0))) == 0.0


@pytest.mark.parametrize(
    ("total", "expected"),
    [(1_599.0, 1_562.5), (1_600.0, 1_250.0), (2_799.0, 1_250.0), (2_800.0, 1_000.0), (4_000.0, 0)],
)
def test_the_zone_law_grows_holds_sheds_and_blocks(total: float, expected: float) -> None:
    """Borders at 0.4, 0.7 and 1.0 of the limit of 4,000 RU/s."""
    view = a_view(a_reading(5, business=total))
    assert asked(LAWS["zone"](), view) == pytest.approx(expected)


def test_the_zone_law_halves_and_waits_before_it_grows() -> None:
    """Beyond the limit the rate is halved, and three minutes pass before it rises again."""
    law = LAWS["zone"]()
    assert asked(law, a_view(a_reading(5, business=4_100.0)), now_s=600) == 0.0
    for minute in range(6, 12):
        asked(law, a_view(a_reading(minute, business=100.0)), now_s=630)
    idle = a_view(a_reading(12, business=100.0))
    assert asked(law, idle, now_s=750) == pytest.approx(625.0)
    assert asked(law, idle, now_s=780) == pytest.approx(781.25)


def test_the_zone_law_stops_when_its_metric_is_old() -> None:
    """Like its model it fails closed, only that Monitor is old later than a thread count."""
    law, view = LAWS["zone"](), a_view(a_reading(5, business=100.0))
    assert asked(law, view, now_s=660) > 0.0
    assert asked(law, view, now_s=661) == 0.0


@pytest.mark.parametrize("law", ["ewma_p99", "ewma_p99_all"])
def test_the_quantile_law_keeps_its_own_worst_error_as_margin(law: str) -> None:
    """A constant business needs none; after a jump of 1,000 the margin is all of it."""
    made = LAWS[law]()

    def after(minute: int, business: float) -> float:
        view = a_view(a_reading(minute, business=business))
        return asked(made, view, now_s=(minute + 3) * MINUTE_S)

    assert after(0, 1_000.0) == 0.0
    calm = [after(minute, 1_000.0) for minute in range(1, 10)]
    assert calm[-1] == pytest.approx(3_000.0)
    assert after(10, 2_000.0) == pytest.approx(4_000.0 - 1_300.0 - 1_000.0)


def test_only_the_window_forgets_an_old_error() -> None:
    """After 240 minutes the jump is out of the window, and for the expanding law one of 300."""
    budgets = {}
    for name in ("ewma_p99", "ewma_p99_all"):
        law = LAWS[name]()
        for minute in range(300):
            view = a_view(a_reading(minute, business=2_000.0 if minute == 20 else 1_000.0))
            budgets[name] = asked(law, view, now_s=(minute + 3) * MINUTE_S)
    assert budgets == pytest.approx(dict.fromkeys(budgets, 3_000.0))
    assert 297 * 0.01 > 1  # one error in so many is beyond the 99th percentile


def test_what_is_asked_of_ranges_is_never_more_than_the_budget() -> None:
    """Without limits it is even; with them in proportion, and no more than each."""
    assert Asked(900.0).of(("a", "b", "c")) == (300.0, 300.0, 300.0)
    assert Asked(600.0, {"a": 900.0, "b": 300.0}).of(("a", "b", "c")) == (450.0, 150.0, 0.0)
    assert Asked(600.0, {"a": 100.0, "b": 0.0}).of(("a", "b")) == (100.0, 0.0)


def test_ebb_hears_of_ranges_and_stays_within_the_room() -> None:
    """Over three partitions it spends on each, and all minutes stay below the ceiling."""
    load = shaped(lambda _: 0.5, minutes=90)
    scenario = Scenario(load=replace(load, wants=[each * 3 for each in load.wants]))
    found = figures(ClosedLoop(scenario, LAWS["ebb"]()).run(), since_s=3_600)
    assert 0.9 < found["oracle_share"] <= 1.0
    assert found["over_ceiling_pct"] == 0.0


def test_a_push_is_decided_upon_at_once() -> None:
    """The business asks for everything, and within a second nothing of ours is spent."""
    row = measured("the same, everything asked for", "ebb", Terms())
    assert row["own_before_pct"] > 0.0
    assert row["own_after_5_s_pct"] == 0.0
    assert row["throttled_s"] == 0


def test_every_special_case_has_a_name_and_a_law() -> None:
    """A silent Monitor stops Ebb, and nothing but Ebb's staleness limit says when."""
    row = measured("Monitor silent for 10 min", "ebb", Terms())
    assert row["case"] in CASES
    assert row["spent_after_ru"] == 0 < row["spent_before_ru"]
    assert row["resumes_after_s"] <= 30


def test_lost_minutes_are_as_many_as_asked_for(tmp_path: Path) -> None:
    """A tenth of a day's minutes, and none without loss."""
    path = a_file(tmp_path, "2026-11-21 00:00:00,1", "2026-11-22 00:00:00,1")
    assert len(scenario_of(path, Terms(loss=0.1)).lost_s) == pytest.approx(144, abs=40)
    assert scenario_of(path, Terms()).lost_s == frozenset()


def test_the_most_varied_day_has_the_widest_spread() -> None:
    """Two days of quiet, then one that swings."""
    swings = [1.0, 9.0] * 720
    assert most_varied_day([5.0] * 2_880 + swings) == 2_880
    assert most_varied_day([1.0, 2.0]) == 0


def test_json_is_a_list_of_rows_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each row names its trace and law and has every figure asked for."""
    a_file(tmp_path, f"{NOON},1", "2026-11-21 13:00:00,2", "2026-11-21 14:00:00,2")
    laws = "ebb,bang_bang,oracle"
    assert main(["--traces", str(tmp_path), "--laws", laws, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["law"] for row in rows] == laws.split(",")
    assert all(row["trace"] == "load" and set(MEASURED) <= set(row) for row in rows)


def test_without_json_a_person_reads_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One for the trace and one for the means."""
    a_file(tmp_path, f"{NOON},1", "2026-11-21 12:30:00,2")
    assert main(["--traces", str(tmp_path), "--laws", "adf,oracle"]) == 0
    shown = capsys.readouterr().out
    assert "load, share of the oracle's RU" in shown
    assert "Means over the traces" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (lambda folder: ["--traces", str(folder)], "load.csv, line 2"),
        (lambda folder: ["--traces", str(folder / "none")], r"no *.csv there"),
        (lambda _: ["--spikes", "--laws", "ebb,guess"], "guess unknown"),
        (lambda _: ["--spikes", "--ceiling", "80"], "--ceiling"),
    ],
)
def test_what_cannot_be_measured_is_said_with_an_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: Callable[[Path], list[str]],
    said: str,
) -> None:
    """Nothing on standard output, the reason on the other."""
    a_file(tmp_path, "broken")
    assert main([*arguments(tmp_path), "--json"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


def test_capacity_grows_with_the_partitions() -> None:
    """Azure gives each physical partition its own."""
    assert a_load(1.0).capacity_ru_per_s == PARTITION_RU_PER_S
    assert replace(a_load(1.0), wants=[(1.0,) * 12]).capacity_ru_per_s == 60_000.0
