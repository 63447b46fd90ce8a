"""The fidelity page: each row has an id of its own, and a check of `ebb trial` or a reason."""

import re
from collections import Counter
from pathlib import Path

HEADER = "| behaviour | used in | how sure | prove it | id |"
CELLS = 5
ID = re.compile(r"[a-z]+\.[a-z0-9][a-z0-9-]*")
ADVICE = (
    "docs/fidelity.md: end each row of these tables with an id, `… | prove it | area.short-name |`"
)


def _rows(house: Path) -> list[list[str]]:
    """The cells of each row below the header that every table of behaviours has."""
    rows, inside = [], False
    for line in (house / "docs/fidelity.md").read_text(encoding="utf-8").splitlines():
        inside = line.startswith("|") and (inside or line == HEADER)
        if inside and line != HEADER and not line.startswith("|---"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([cell.strip() for cell in cells])
    return rows


def test_every_row_of_the_fidelity_page_has_an_id_of_its_own(house: Path) -> None:
    """A row without one could not be found again in the report of a trial."""
    rows = _rows(house)
    assert rows
    bare = [row[0] for row in rows if len(row) != CELLS or not ID.fullmatch(row[-1])]
    assert bare == [], ADVICE
    twice = [name for name, count in Counter(row[-1] for row in rows).items() if count > 1]
    assert twice == [], "docs/fidelity.md: give each of these rows another id"


def test_every_table_of_behaviours_has_the_same_columns(house: Path) -> None:
    """A table with another header would hide its rows from the test above."""
    text = (house / "docs/fidelity.md").read_text(encoding="utf-8")
    headers = {line for line in text.splitlines() if line.startswith("| behaviour")}
    assert headers == {HEADER}


def test_every_row_has_a_check_of_the_trial_or_a_reason(house: Path) -> None:
    """A new row is either settled by `ebb trial`, or says why no API can settle it."""
    from shared.trial.table import CHECKED, EXCUSED

    ids = {row[-1] for row in _rows(house)}
    assert sorted(ids - CHECKED - EXCUSED) == [], (
        "these rows of docs/fidelity.md have neither: add a check to a module of "
        "shared/trial/checks, or one line to REASONS in shared/trial/reasons.py"
    )
    assert sorted((CHECKED | EXCUSED) - ids) == [], (
        "shared/trial speaks of rows that docs/fidelity.md no longer has: remove them there, too"
    )
    assert sorted(CHECKED & EXCUSED) == [], "a row with a check needs no reason: remove it there"
