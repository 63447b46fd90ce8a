"""A container whose documents expire: a stub lives as long as its document, or nobody begins."""

from __future__ import annotations

import pytest

from shared.errors import Refused
from tests.simulation.retirees import Retiree, archived, check_restored
from tests.simulation.runs import DAY_S

MONTH_S = 30 * DAY_S
WHY = {"time_to_live": "invoices say ttl: -1"}


def out(mode: str) -> Retiree:
    """Documents that are to stay for good, in a container where others expire; retired."""
    retiree = archived(1, mode, documents=4, default_ttl_s=MONTH_S)
    retiree.world.calm.retirements.execute("sim", WHY)
    retiree.finish()
    return retiree


def test_a_document_that_is_to_stay_is_read_after_the_default_time() -> None:
    """Its stub has its ttl, so it stands when those without one are gone; so does what is back."""
    retiree = out("stub")
    retiree.world.clock.advance(2 * MONTH_S)
    retiree.world.source.expire()
    assert len(retiree.world.source.documents) == 4
    assert {each["ttl"] for each in retiree.world.source.documents.values()} == {-1}
    retiree.owners.check()
    retiree.world.calm.retirements.undo("sim")
    retiree.finish()
    check_restored(retiree)


def test_the_twin_forgets_what_outlived_its_time() -> None:
    """Otherwise no test here could fail: the default counts where a document says nothing."""
    retiree = archived(1, "stub", documents=4, default_ttl_s=MONTH_S)
    del retiree.world.source.documents["doc-001"]["ttl"]
    retiree.world.source.documents["doc-002"]["ttl"] = 5
    retiree.world.source.expire()
    assert set(retiree.world.source.documents) == {"doc-000", "doc-003"}


@pytest.mark.parametrize(
    ("mode", "default_s", "closed"),
    [
        ("stub", None, False),
        ("stub", -1, False),
        ("stub", MONTH_S, True),
        ("delete", None, False),
        ("delete", -1, True),
        ("delete", MONTH_S, True),
    ],
)
def test_a_time_to_live_closes_a_gate_where_it_changes_something(
    mode: str, default_s: int | None, *, closed: bool
) -> None:
    """What is removed never expires; a stub's time begins anew."""
    world = archived(1, mode, documents=2, default_ttl_s=default_s).world
    gates = {each.name: each for each in world.calm.retirements.assess("sim").gates}
    assert gates["time_to_live"].holds is not closed
    if closed:
        with pytest.raises(Refused, match="--accept-time-to-live"):
            world.calm.retirements.execute("sim", {})
    assert world.calm.retirements.execute("sim", WHY).running
