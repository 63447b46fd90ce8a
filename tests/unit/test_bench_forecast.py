"""The bench of forecasts: what is counted, near, covered, refused and open, verified by hand."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

import pytest

from bench.forecast import command
from bench.forecast.attempts import (
    FIRST_H,
    SIZES_RU,
    STARTS,
    Attempt,
    Past,
    attempts,
    past_of,
)
from bench.forecast.command import ALL, BY
from bench.governor.loads import shaped
from bench.governor.loop import Scenario
from shared.domain.forecast import END_S, START_S, Basis, Granted

HOURS = FIRST_H + 96
RU_PER_S = 1_000.0
OVERHEAD_S = START_S + END_S


def a_past(*, took_of: float = 1.0) -> Past:
    """A steady grant, of which a part is really spent; the business leaves the rest alone."""
    minutes = [RU_PER_S * took_of * 60] * (HOURS * 60)
    return Past(
        first_s=0,
        use=[3_000.0] * (HOURS * 60),
        spent=list(accumulate(minutes, initial=0.0)),
        granted=Granted(basis=Basis.REHEARSED, until_s=HOURS * 3_600, ru_per_s=(RU_PER_S,) * HOURS),
        capacity_ru_per_s=5_000.0,
        ceiling=0.8,
    )


def an_attempt(
    p50_s: float | None, p90_s: float | None, took_s: float | None, left_s: float = 1_000.0
) -> Attempt:
    return Attempt(size_ru=1.0, start_h=0, p50_s=p50_s, p90_s=p90_s, took_s=took_s, left_s=left_s)


def test_a_forecast_is_near_within_a_quarter_of_what_it_took() -> None:
    """On either side; what had not ended is not near."""
    assert an_attempt(75.0, 90.0, 100.0).is_near
    assert not an_attempt(74.0, 90.0, 100.0).is_near
    assert an_attempt(125.0, 200.0, 100.0).is_near
    assert not an_attempt(100.0, 200.0, None).is_near


def test_what_took_longer_than_the_upper_end_is_not_covered() -> None:
    """And what had not ended when the upper end was past is not, either."""
    assert an_attempt(80.0, 100.0, 100.0).is_covered
    assert not an_attempt(80.0, 99.0, 100.0).is_covered
    late = an_attempt(80.0, 900.0, None)
    assert (late.verdict, late.is_covered) == ("counted", False)


def test_what_nobody_can_judge_is_not_counted() -> None:
    """Refused by the forecast, or the trace ended before the upper end came."""
    assert an_attempt(None, None, 50.0).verdict == "refused"
    assert an_attempt(80.0, 1_001.0, None).verdict == "open"
    assert an_attempt(80.0, 100.0, 50.0).verdict == "counted"


def test_a_steady_grant_is_forecast_as_it_goes() -> None:
    """Each size takes its request units at a thousand a second, plus beginning and end."""
    found = list(attempts(a_past(), habits=False))
    starts = {each.start_h for each in found}
    assert len(found) == len(starts) * len(SIZES_RU)
    assert STARTS - 2 <= len(starts) <= STARTS
    assert min(starts) == FIRST_H
    for each in found:
        if each.took_s is not None:
            assert each.p50_s == pytest.approx(each.size_ru / RU_PER_S + OVERHEAD_S)
            assert each.took_s == pytest.approx(each.size_ru / RU_PER_S + OVERHEAD_S, abs=60.0)
            assert each.is_near
            assert each.is_covered


def test_a_loop_that_gives_half_is_neither_near_nor_covered() -> None:
    """The forecast knows the rehearsal only, never what the loop then does."""
    (first, *_) = (each for each in attempts(a_past(took_of=0.5), habits=False) if each.took_s)
    assert first.took_s == pytest.approx(2 * first.size_ru / RU_PER_S + OVERHEAD_S, abs=60.0)
    assert not first.is_near
    assert not first.is_covered


def test_habits_know_nothing_of_the_rehearsal() -> None:
    """A calm business at 3,000 of a ceiling of 4,000: the same thousand, by another way."""
    found = list(attempts(a_past(), habits=True))
    assert found[0].p50_s == pytest.approx(found[0].size_ru / RU_PER_S + OVERHEAD_S)


def test_the_past_is_the_loop_beside_its_rehearsal() -> None:
    """Both over the same minutes of one load, and both of one capacity."""
    load = shaped(lambda _: 0.5, minutes=180)
    past = past_of(Scenario(load=load))
    assert len(past.spent) == 181
    assert past.use == [2_500.0] * 180
    assert past.granted.basis is Basis.REHEARSED
    last = past.granted.ru_per_s[-1]
    assert last is not None
    assert (past.spent[-1] - past.spent[-61]) / 3_600 == pytest.approx(last, rel=0.05)


def test_the_bench_tells_rows_by_trace_and_size_and_the_totals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As JSON; the totals are the sums of the traces."""
    monkeypatch.setattr(command, "cores", ThreadPoolExecutor)
    monkeypatch.setattr(command, "past_of", lambda _: a_past())
    for name in ("one", "two"):
        text = "timestamp,value\n2026-01-01 00:00:00,5\n2026-01-01 01:00:00,5\n"
        (tmp_path / f"{name}.csv").write_text(text)
    assert command.main(["--traces", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(BY) * 3 * (len(SIZES_RU) + 1)
    whole = {(r["by"], r["trace"]): r for r in rows if r["size"] == ALL}
    for by in BY.values():
        for column in ("counted", "refused", "open"):
            parts = whole[by, "one"][column] + whole[by, "two"][column]
            assert whole[by, ALL][column] == parts
        assert whole[by, ALL]["counted"] > 0
        assert whole[by, ALL]["near"] == whole[by, ALL]["covered"] == 1.0


def test_a_folder_without_traces_is_said_and_ends_the_bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of what cannot be reached."""
    assert command.main(["--traces", str(tmp_path)]) == 3
    assert "no *.csv there" in capsys.readouterr().err
