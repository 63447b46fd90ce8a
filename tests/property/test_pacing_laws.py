"""The debt bucket's laws, over any schedule of costs, rates, 429s and clocks that step back."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.pacing import BURST_S, COOL_DOWN_S, RECOVERY_S, DebtBucket

WAITS_MAX = 20  # rounds of waiting for one operation; a clock that stepped back needs several
LONGEST_WAIT_S = 1e6
ROUNDING_S = 1e-6

Event = tuple[str, float]
events = st.lists(
    st.one_of(
        st.tuples(st.just("spend"), st.floats(0.01, 5_000)),
        st.tuples(st.just("rate"), st.sampled_from([0.0, 1.0, 100.0]) | st.floats(0, 5_000)),
        st.tuples(st.just("pass"), st.floats(0, 120)),
        st.tuples(st.just("step back"), st.floats(0, 300)),
        st.tuples(st.just("throttle"), st.floats(0, 30)),
    ),
    max_size=40,
)


@dataclass(slots=True)
class Spent:
    """One operation, the rate in force when it began, and the highest until the next one."""

    at_s: float
    ru: float
    rate: float
    rate_max: float


@dataclass(slots=True)
class Run:
    """A worker with a clock that may be wrong beside the true one."""

    bucket: DebtBucket
    true_s: float = 0.0
    wrong_by_s: float = 1_800_000_000.0
    rate_ru_per_s: float = 100.0
    spent: list[Spent] = field(default_factory=list)
    held_until_s: float = float("-inf")

    @property
    def now_s(self) -> float:
        return self.true_s + self.wrong_by_s

    def happen(self, event: Event) -> None:
        kind, amount = event
        if kind == "rate":
            self.bucket.set_rate(amount, now_s=self.now_s)
            self.rate_ru_per_s = amount
            if self.spent:
                self.spent[-1].rate_max = max(self.spent[-1].rate_max, amount)
        elif kind == "pass":
            self.true_s += amount
        elif kind == "step back":
            self.wrong_by_s -= amount
        elif kind == "throttle":
            self.bucket.throttled(now_s=self.now_s, retry_after_s=amount)
            self.held_until_s = max(self.held_until_s, self.now_s + max(amount, COOL_DOWN_S))
        elif self.waited():
            assert self.now_s >= self.held_until_s - ROUNDING_S
            self.bucket.charge(amount, now_s=self.now_s)
            rate = self.rate_ru_per_s
            self.spent.append(Spent(at_s=self.true_s, ru=amount, rate=rate, rate_max=rate))

    def waited(self) -> bool:
        for _ in range(WAITS_MAX):
            wait_s = self.bucket.wait_s(now_s=self.now_s)
            if wait_s <= ROUNDING_S:
                return True
            if wait_s > LONGEST_WAIT_S:
                return False
            self.true_s += wait_s + ROUNDING_S
        return False


def ran(schedule: list[Event]) -> Run:
    run = Run(bucket=DebtBucket(now_s=1_800_000_000.0, rate_ru_per_s=100.0))
    for event in schedule:
        run.happen(event)
    return run


@given(events)
@example([("pass", 100.0)] + [("spend", 10.0)] * 20)
@example([("pass", 100.0), ("step back", 90.0)] + [("spend", 60.0), ("step back", 50.0)] * 6)
@example([("rate", 5000.0), ("pass", 9.0), ("rate", 1.0), *[("spend", 1.0)] * 9])
def test_no_span_spends_more_than_its_rate_and_one_operation(schedule: list[Event]) -> None:
    """The promise to production, over every span of every schedule."""
    run = ran(schedule)
    for first, begun in enumerate(run.spent):
        total, dearest, rate = 0.0, 0.0, begun.rate
        for each in run.spent[first:]:
            total, dearest = total + each.ru, max(dearest, each.ru)
            allowed = rate * (each.at_s - begun.at_s + BURST_S)
            assert total <= allowed + dearest + 1e-3 * (1 + allowed)
            rate = max(rate, each.rate_max)


@given(events, st.floats(0.01, 5_000))
def test_without_a_rate_nothing_may_ever_start(schedule: list[Event], later_s: float) -> None:
    """Whatever happened before, zero means never."""
    run = ran([*schedule, ("rate", 0.0), ("pass", COOL_DOWN_S + 40.0), ("pass", 301.0 * 40)])
    assert run.bucket.wait_s(now_s=run.now_s) == float("inf")
    assert run.bucket.wait_s(now_s=run.now_s + later_s) == float("inf")


@given(events, st.floats(0, 1e6))
def test_a_clock_that_steps_back_grants_nothing(schedule: list[Event], back_s: float) -> None:
    """The same second is not paid out twice."""
    run = ran([*schedule, ("rate", 100.0)])
    before_s = run.bucket.wait_s(now_s=run.now_s)
    run.bucket.wait_s(now_s=run.now_s - back_s)
    after_s = run.bucket.wait_s(now_s=run.now_s)
    assert after_s >= before_s - ROUNDING_S


@given(events, st.floats(0.1, 5_000))
def test_the_rate_in_force_is_never_above_the_rate_set(schedule: list[Event], rate: float) -> None:
    """Recovery ends at the whole rate and not beyond it."""
    run = ran([*schedule, ("rate", rate)])
    for after_s in (0.0, 5.0, 15.0, 40.0, 1e6):
        assert 0.0 <= run.bucket.rate_ru_per_s(now_s=run.now_s + after_s) <= rate
    assert run.bucket.rate_ru_per_s(now_s=run.now_s + 1e6) == rate


@given(events)
def test_business_keeps_being_served_after_any_schedule(schedule: list[Event]) -> None:
    """No history leaves the bucket stuck: with a rate, work goes on in bounded time."""
    run = ran([*schedule, ("rate", 5_000.0), ("pass", 40 * 301.0)])
    count = len(run.spent)
    run.happen(("spend", 1.0))
    assert len(run.spent) == count + 1


@given(events, st.floats(1, 5_000), st.floats(0, 30))
def test_after_any_throttle_the_rate_is_nothing_then_half_then_whole(
    schedule: list[Event], rate: float, retry_after_s: float
) -> None:
    """Whatever came before, one 429 means the same."""
    run = ran([*schedule, ("rate", rate), ("throttle", retry_after_s)])
    held_s = run.held_until_s - run.now_s
    assert held_s >= max(COOL_DOWN_S, retry_after_s) - ROUNDING_S
    shares = {0.0: 0.0, held_s * 0.99: 0.0, held_s + 0.01: 0.5, held_s + RECOVERY_S + 0.01: 1.0}
    for after_s, share in shares.items():
        found = run.bucket.rate_ru_per_s(now_s=run.now_s + after_s)
        assert abs(found - share * rate) <= rate * 1e-3
