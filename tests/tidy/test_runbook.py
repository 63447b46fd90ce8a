"""The runbook has a section for every word that Ebb says, and none about nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.domain.governor import Reason
from shared.domain.halts import Halt
from shared.domain.notices import NoticeKind
from shared.ports import IncidentKind

Modules = dict[Path, ast.Module]

PARTS = ("**Means.**", "**Look at.**", "**Do.**")
HEADING = re.compile(r"^### `([^`]+)`$", re.MULTILINE)
TYPED = {"kind"}  # an argument of that name, which mypy keeps to the enumeration


@pytest.fixture(scope="module")
def sections(house: Path) -> dict[str, str]:
    """Each word with what the runbook says about it."""
    text = (house / "docs" / "runbook.md").read_text(encoding="utf-8")
    _, *pieces = HEADING.split(text)
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def words() -> set[str]:
    return {word.value for kind in (Reason, Halt, IncidentKind, NoticeKind) for word in kind}


def calls(modules: Modules, name: str) -> Iterator[tuple[Path, ast.Call]]:
    for path, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name:
                yield path, node


def test_every_word_has_its_section_and_none_is_about_nothing(sections: dict[str, str]) -> None:
    """Who is woken by a word finds it; who reads the page finds no ghosts."""
    assert words() - set(sections) == set()
    assert set(sections) - words() == set()


def test_no_word_has_two_sections(house: Path) -> None:
    """A link leads to the first, and the second would never be read."""
    text = (house / "docs" / "runbook.md").read_text(encoding="utf-8")
    headings = HEADING.findall(text)
    assert len(headings) == len(set(headings))


def test_every_section_says_what_it_means_and_what_to_do(sections: dict[str, str]) -> None:
    """What to look at stands between, in this order."""
    for word, text in sections.items():
        places = [text.find(part) for part in PARTS]
        assert -1 not in places, word
        assert places == sorted(places), word


def test_every_incident_is_of_a_kind_that_can_be_listed(modules: Modules) -> None:
    """A text of its own would have no section, and nobody would notice."""
    found = [
        (path, ast.unparse(keyword.value))
        for path, call in calls(modules, "Incident")
        if path.parts[0] == "shared"
        for keyword in call.keywords
        if keyword.arg == "kind"
    ]
    assert len(found) >= 3
    free = [each for each in found if not each[1].startswith("IncidentKind.")]
    assert [each for each in free if each[1] not in TYPED] == []


def test_every_kind_of_incident_and_halt_is_used(modules: Modules) -> None:
    """A word that nothing says needs no section; those of slices are put together by cause."""
    text = "".join(
        ast.unparse(tree)
        for path, tree in modules.items()
        if path.parts[0] == "shared" and path.name != "notices.py"  # it has words for all of them
    )
    for kind in (IncidentKind, Halt, NoticeKind, Reason):
        for word in kind:
            by_cause = word.value.startswith("slice_")
            assert by_cause or text.count(f"{kind.__name__}.{word.name}") >= 1, word


def test_every_link_into_the_runbook_leads_somewhere(house: Path, sections: dict[str, str]) -> None:
    """Also those of its own sections to each other."""
    for page in sorted((house / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        inner = re.findall(r"\(#([a-z_]+)\)", text) if page.name == "runbook.md" else []
        for anchor in [*re.findall(r"runbook\.md#([a-z_]+)\)", text), *inner]:
            assert anchor in sections, f"{page.name} links to #{anchor}"


def test_a_failed_slice_halts_under_the_word_of_its_cause() -> None:
    """All but odd documents, which quarantine a slice and let the rest go on."""
    from shared.domain.slices import Cause

    by_cause = {word.value for word in Halt if word.value.startswith("slice_")}
    assert by_cause == {f"slice_{each.value}" for each in Cause if each is not Cause.DOCUMENT}
