"""Each law of the governor and the board, seen to fail when the code is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings

from shared.domain import governor, outlook, readings
from shared.domain.board import Board, Grant
from tests.property import test_board_laws as board_laws
from tests.property import test_governor_laws as laws

WITHOUT_SHRINKING = settings(phases=[Phase.generate], max_examples=3_000)  # that it fails is enough

BREAKS: dict[str, tuple[Callable[[], None], Any, str, Any]] = {
    "the business's newest minute is forgotten": (
        laws.test_business_and_budget_stay_below_the_ceiling,
        governor,
        "_needed",
        lambda _signals, _known: 0.0,
    ),
    "old readings are taken for new": (
        laws.test_nothing_is_spent_on_old_knowledge_or_none,
        governor,
        "STALE_AFTER_S",
        1e9,
    ),
    "the budget leaps up at once": (
        laws.test_only_a_new_fresh_clean_reading_raises,
        governor,
        "GROWTH",
        10.0,
    ),
    "old readings justify a rise": (
        laws.test_only_a_new_fresh_clean_reading_raises,
        governor,
        "FRESH_S",
        1e9,
    ),
    "minutes full of 429s justify a rise": (
        laws.test_only_a_new_fresh_clean_reading_raises,
        governor,
        "THROTTLED_SHARE",
        1e9,
    ),
    "of two readings the later one counts": (
        laws.test_the_order_of_readings_decides_nothing,
        outlook.Past,
        "_is_news",
        lambda _past, _minute_s, _ru_per_s: True,
    ),
    "a zero is taken for an idle business": (
        laws.test_what_cannot_be_believed_changes_nothing,
        readings,
        "_idle",
        lambda zeros: zeros,
    ),
    "a minute half added up is taken for whole": (
        laws.test_what_cannot_be_believed_changes_nothing,
        readings,
        "COUNTED_SHARE",
        0.0,
    ),
    "a range is given what another has": (
        laws.test_ranges_give_no_more_than_their_partition_has,
        governor,
        "range_limits",
        lambda shares, **_: dict.fromkeys(shares, 1e9),
    ),
    "our own 429s are overlooked": (
        laws.test_a_throttle_never_raises_anything,
        governor,
        "_throttles",
        lambda _signals, _known: {},
    ),
    "the business's word is overlooked": (
        laws.test_pressure_never_raises_the_budget,
        governor,
        "_pushed",
        lambda _signals: None,
    ),
    "seats are not counted": (
        board_laws.test_all_seats_together_stay_within_the_budget,
        Board,
        "divided_by",
        lambda _board, _migration, _now_s: 1,
    ),
    "seats on a range are not counted": (
        board_laws.test_no_range_is_asked_for_more_than_its_limit,
        Board,
        "seats_on",
        lambda _board, _source, _range_id, _now_s: (),
    ),
    "a 429 holds nobody": (
        board_laws.test_a_throttled_range_waits_for_the_next_decision,
        Grant,
        "is_held",
        lambda _grant, _range_id, **_: False,
    ),
    "pressure takes nothing back": (
        board_laws.test_pressure_only_ever_takes_back,
        Grant,
        "pressed",
        lambda grant, _pressure: grant,
    ),
}


@pytest.mark.parametrize("name", list(BREAKS))
def test_a_broken_law_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A law that cannot fail promises nothing."""
    law, place, attribute, broken = BREAKS[name]
    monkeypatch.setattr(place, attribute, broken)
    monkeypatch.setattr(law, "_hypothesis_internal_use_settings", WITHOUT_SHRINKING)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        law()
