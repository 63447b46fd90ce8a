"""The coverage check: every gap and overlap by its name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.coverage import FAULTS_NAMED_MAX, coverage_faults
from shared.domain.slices import Extent
from tests.unit.samples import an_extent


def faults(*extents: Extent, until_s: int = 30) -> tuple[str, ...]:
    return coverage_faults(extents, range_ids=["r000"], until_s=until_s)


def parts(*edges: str | None) -> list[Extent]:
    """Parts of the seconds 10 to 20 between the given ids."""
    return [
        an_extent(10, 20, id_lo=edges[i], id_hi=edges[i + 1], part=i) for i in range(len(edges) - 1)
    ]


AROUND = (an_extent(0, 10), an_extent(20, 30))


def test_an_exact_tiling_has_no_fault() -> None:
    """In whatever order the ledger gives the slices."""
    assert faults(an_extent(20, 30), an_extent(0, 10), an_extent(10, 20)) == ()
    assert faults(*parts(None, "f", "m", None), *AROUND) == ()
    assert faults(*parts(None, None), *AROUND) == ()


@pytest.mark.parametrize(
    ("extents", "expected"),
    [
        ([an_extent(0, 10), an_extent(20, 30)], "gap on r000: no slice covers [10, 20)"),
        ([an_extent(5, 30)], "gap on r000: no slice covers [0, 5)"),
        ([an_extent(0, 29)], "gap on r000: no slice covers [29, 30)"),
        ([an_extent(0, 20), an_extent(19, 30)], "overlap on r000: [19, 20) is covered twice"),
        ([an_extent(0, 31)], "overlap on r000: slices reach 31, beyond 30"),
    ],
    ids=["inside", "before", "after", "twice", "beyond"],
)
def test_gaps_and_overlaps_are_named_by_their_seconds(extents: list[Extent], expected: str) -> None:
    """The sentence tells where to look."""
    assert faults(*extents) == (expected,)


def test_a_slice_inside_another_is_one_overlap_and_no_gap() -> None:
    """What follows the inner one is still covered by the outer."""
    (fault,) = faults(an_extent(0, 30), an_extent(5, 10))
    assert fault.startswith("overlap on r000: [5, ")


def test_a_range_without_slices_is_one_gap() -> None:
    """Every range the migration has is looked at, also the forgotten one."""
    found = coverage_faults([an_extent(0, 30)], range_ids=["r000", "r001"], until_s=30)
    assert found == ("gap on r001: no slice covers [0, 30)",)


def test_a_slice_of_a_foreign_range_is_a_fault() -> None:
    """It would count documents twice."""
    stray = replace(an_extent(0, 30), range=replace(an_extent().range, id="r009"))
    (fault,) = faults(an_extent(0, 30), stray)
    assert "a range the migration does not have" in fault


@pytest.mark.parametrize(
    "edges",
    [("a", "m", None), (None, "m", "x"), (None, "m", None, None)],
    ids=["no beginning", "no end", "ends twice"],
)
def test_parts_reach_from_the_first_id_to_the_last(edges: tuple[str | None, ...]) -> None:
    """An id before the first edge or behind the last would be nobody's."""
    assert faults(*parts(*edges), *AROUND) != ()


def test_a_part_lost_between_two_others_is_found() -> None:
    """Its ids are in no slice."""
    first, _, last = parts(None, "f", "m", None)
    (fault,) = faults(first, last, *AROUND)
    assert last.slice_id in fault


def test_parts_that_run_backwards_are_found() -> None:
    """From c to m these ids are held by the first part and by the last."""
    assert faults(*parts(None, "m", "c", None), *AROUND) != ()


def test_only_some_of_many_faults_are_named() -> None:
    """A thousand gaps tell no more than twenty."""
    many = [an_extent(at, at + 1) for at in range(0, 200, 2)]
    assert len(faults(*many, until_s=200)) == FAULTS_NAMED_MAX == 20
