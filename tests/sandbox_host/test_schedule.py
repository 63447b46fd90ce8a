"""The schedule law, against moments worked out by hand and a search second by second."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.host.faults import HostError
from sandbox.host.schedule import parse_schedule


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        ("* * * * * *", "2026-01-01T00:00:00", "2026-01-01T00:00:01"),
        ("* * * * * *", "2026-01-01T00:00:00.5", "2026-01-01T00:00:01"),
        ("*/30 * * * * *", "2026-12-31T23:59:30", "2027-01-01T00:00:00"),
        ("0 */5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("*/5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("5/20 0 0 * * *", "2026-01-01T00:00:05", "2026-01-01T00:00:25"),
        ("10,40 1-2 3 * * *", "2026-01-01T03:01:40", "2026-01-01T03:02:10"),
        ("0 0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 0 29 2 *", "2096-02-29T00:00:00", "2104-02-29T00:00:00"),
        ("0 0 0 29 2 sun", "2088-03-01T00:00:00", "2128-02-29T00:00:00"),
        ("0 0 0 31 * *", "2026-03-31T00:00:00", "2026-05-31T00:00:00"),
        ("0 30 9 * Jan Mon-Fri", "2026-01-02T09:30:00", "2026-01-05T09:30:00"),
        ("0 0 0 * JAN,december Sunday", "2026-01-26T00:00:00", "2026-12-06T00:00:00"),
        # Both the day and the weekday must match, unlike in Unix cron: Friday the 13th.
        ("0 0 0 13 * 5", "2026-01-01T00:00:00", "2026-02-13T00:00:00"),
        # As NCRONTAB has it, a range is the same both ways round, and a step of 0 is 1.
        ("0 0 0 * * 5-1", "2026-01-02T00:00:00", "2026-01-05T00:00:00"),
        ("*/0 0 0 * * *", "2026-01-01T00:00:00", "2026-01-01T00:00:01"),
    ],
)
def test_the_next_moment_is_the_one_worked_out_by_hand(
    text: str, moment: str, expected: str
) -> None:
    """Steps, lists, ranges, names, leap days and both ends of a year."""
    assert parse_schedule(text).next_after(at(moment)) == at(expected)


def test_a_moment_in_another_zone_is_read_as_utc() -> None:
    """Schedules are UTC, wherever the clock's text came from."""
    moment = datetime(2026, 1, 1, 1, 59, 59, tzinfo=timezone(timedelta(hours=2)))
    expected = at("2026-01-01T00:00:00")
    assert parse_schedule("0 0 0 * * *").next_after(moment) == expected


def test_a_day_that_never_comes_has_no_next_moment() -> None:
    """The 30th of February ends the search instead of the patience."""
    assert parse_schedule("0 0 0 30 2 *").next_after(at("2026-01-01T00:00:00")) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "* * * *", "* * * * * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *"),
        *("* * * * 13 *", "* * * * * 7", "* * * * * funday", "a * * * * *", "1- * * * * *"),
        *("-1 * * * * *", "1,,2 * * * * *", "*/x * * * * *", "? * * * * *", "00:05:00"),
    ],
)
def test_what_is_no_schedule_is_refused_and_named(text: str) -> None:
    """The message quotes the expression; nothing is guessed."""
    with pytest.raises(HostError, match="reading the schedule"):
        parse_schedule(text)


part = st.lists(st.integers(0, 59), min_size=1, max_size=3).map(lambda n: ",".join(map(str, n)))


@given(second=part, minute=part, start=st.integers(0, 2**32), hour=st.sampled_from(["*", "*/2"]))
def test_the_next_moment_is_the_first_a_search_finds(
    second: str, minute: str, hour: str, start: int
) -> None:
    """No matching second lies between a moment and its next one."""
    moment = datetime.fromtimestamp(start, UTC)
    found = parse_schedule(f"{second} {minute} {hour} * * *").next_after(moment)
    seconds, minutes = ({int(n) for n in text.split(",")} for text in (second, minute))
    candidate = moment + timedelta(seconds=1)
    while not (
        candidate.second in seconds
        and candidate.minute in minutes
        and (hour == "*" or candidate.hour % 2 == 0)
    ):
        candidate += timedelta(seconds=1)
    assert found == candidate
