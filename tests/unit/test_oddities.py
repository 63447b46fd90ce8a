"""What is unusual about a document, one kind at a time, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.oddities import DEEP, EXACT_MAX, LARGE_BYTES, Oddity, weigh


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("document", "oddity"),
    [
        ({"id": "a/b"}, Oddity.UNADDRESSABLE),
        ({"id": 'a"b'}, Oddity.ODD_ID),
        ({"id": "größe"}, Oddity.ODD_ID),
        ({"id": " a"}, Oddity.ODD_ID),
        ({"id": "a", "n": {"m": [EXACT_MAX + 1]}}, Oddity.GREAT_NUMBER),
        ({"id": "a", "n": -1e300}, Oddity.GREAT_NUMBER),
        ({"id": "a", "n": nested(DEEP)}, Oddity.DEEP),
        ({"id": "a", "n": "x" * LARGE_BYTES}, Oddity.LARGE),
        ({"id": "a", "n": float("nan")}, Oddity.UNCANONICAL),
    ],
)
def test_each_kind_of_oddity_is_found_alone(document: dict[str, Any], oddity: Oddity) -> None:
    """Nothing else is said of the same document."""
    assert weigh(document).oddities == {oddity}


def test_a_usual_document_has_none() -> None:
    """At the edge of each kind, with the source's own properties beside it."""
    document = {
        "id": "order-1_2.3:4@5~6",
        "n": EXACT_MAX,
        "flag": True,
        "deep": nested(DEEP - 2),
        "_ts": 1,
        "_etag": "e",
    }
    weighed = weigh(document)
    assert weighed.oddities == frozenset()
    assert weighed.size_bytes == len(weighed.canonical)
    assert b"_etag" not in weighed.canonical


def test_a_document_deeper_than_any_form_is_still_looked_at() -> None:
    """No recursion: a thousand levels are a fact like another."""
    assert weigh({"id": "a", "n": nested(1_000)}).oddities == {Oddity.DEEP, Oddity.UNCANONICAL}
