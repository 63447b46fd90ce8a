"""Cosmos DB: whether numbers, ids, keys and whole documents come back as they were written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from azure.cosmos import ContainerProxy

from shared.domain.canonical import canonical_document, digest
from shared.trial.checks.asking import asked, every_item, page_of
from shared.trial.findings import Finding, judged, skipped

CLOCK_S_MAX = 10.0
NUMBERS = (0.1, 1e21, 5e-324, 1.7976931348623157e308, 2**53 - 1, -0.5, 1e-7)
BEYOND = 9_007_199_254_740_993
ODD_IDS = ("A", "Z", "a", "b", "é", "ﬀ", "𐐷", "😀", "a b", "a-1", "a.1", "a_1", "a1", "aa", "10")
DEEP, TOO_DEEP = 100, 190
ID_BYTES_MAX = 1023
PAGE_BYTES_MAX = 4 * 1024 * 1024
BIG_BYTES = 900_000
BIG_COUNT = 6


def numbers(container: ContainerProxy) -> Finding:
    """Doubles come back with all digits; an integer beyond 2^53 may be rounded in writing."""
    container.upsert_item({"id": "numbers", "pk": "values", "n": list(NUMBERS), "beyond": BEYOND})
    found = _queried(container, "numbers")
    told = f"{BEYOND} came back as {found['beyond']}"
    return judged(
        expected=f"{list(NUMBERS)} unchanged",
        seen=f"{'unchanged' if found['n'] == list(NUMBERS) else found['n']}; {told}",
        holds=found["n"] == list(NUMBERS),
    )


def to_string(container: ContainerProxy) -> Finding:
    """`ToString(c)` is the whole document, with all digits that the document itself has."""
    document = {"id": "text", "pk": "values", "n": [0.1, 1e21, BEYOND], "s": 'é\u2028"\\'}
    container.upsert_item(document)
    whole = _queried(container, "text")
    text = every_item(
        container, "SELECT ToString(c) AS t FROM c WHERE c.id = 'text'", partition_key="values"
    )[0]["t"]
    read = json.loads(text)
    same = digest(canonical_document(read)) == digest(canonical_document(whole))
    return judged(
        expected="the same canonical form as the document read whole",
        seen="the same" if same else f"{read['n']} beside {whole['n']}",
        holds=same,
    )


def unchanged(container: ContainerProxy) -> Finding:
    """A document read back has the digest of what was written."""
    document = {
        "id": "odd",
        "pk": "values",
        "": "an empty name",
        "é": {"z": None, "a": [[], {}, [None, False, ""]]},
        "\u2028": "line\r\nend\t\u0000\u007f",
        "n": [0, -1, 1.5, 1e300, 0.1, 123456789012345],
        "time": "2024-01-02T03:04:05Z",
        "😀": "𐐷",
    }
    container.upsert_item(document)
    written = digest(canonical_document(document))
    found = digest(canonical_document(container.read_item("odd", "values")))
    return judged(expected=f"digest {written[:12]}", seen=f"{found[:12]}", holds=found == written)


def id_order(container: ContainerProxy) -> Finding:
    """`ORDER BY c.id`, `>=` and `<` agree on one total order."""
    for each in ODD_IDS:
        container.upsert_item({"id": each, "pk": "order"})
    text = "SELECT VALUE c.id FROM c ORDER BY c.id"
    order = every_item(container, text, partition_key="order")
    for place, each in enumerate(order):
        at_least = every_item(
            container,
            "SELECT VALUE c.id FROM c WHERE c.id >= @id",
            parameters=[{"name": "@id", "value": each}],
            partition_key="order",
        )
        if sorted(at_least) != sorted(order[place:]):
            return judged(
                expected="those from the id on in ORDER BY",
                seen=f"`>= {each!r}` gave {at_least}, the order is {order}",
                holds=False,
            )
    return judged(
        expected=f"one order of {len(ODD_IDS)} ids, the same with ORDER BY and >=",
        seen=f"{len(order)} ids in the order of {_kind_of(order)}",
        holds=sorted(order) == sorted(ODD_IDS),
    )


def undefined_key(container: ContainerProxy) -> Finding:
    """A property that a document does not have is left out of a projected object."""
    container.upsert_item({"id": "lacking", "pk": "values"})
    text = 'SELECT VALUE {"id": c.id, "k": c["absent"]} FROM c WHERE c.id = "lacking"'
    found = every_item(container, text, partition_key="values")
    return judged(
        expected="{'id': 'lacking'}", seen=str(found[0]), holds=found == [{"id": "lacking"}]
    )


def written_at(container: ContainerProxy) -> Finding:
    """`_ts` is the service's, in whole seconds, and grows with each write."""
    began_s = time.time()
    first = container.upsert_item({"id": "clock", "pk": "values", "_ts": 1})["_ts"]
    time.sleep(1.1)
    second = container.upsert_item({"id": "clock", "pk": "values", "_ts": 1})["_ts"]
    near = abs(first - began_s) < CLOCK_S_MAX
    return judged(
        expected="two whole numbers near our clock, the second greater",
        seen=f"{first} and {second}, our clock {began_s:.0f}",
        holds=isinstance(first, int) and near and second > first,
    )


def clock(container: ContainerProxy) -> Finding:
    """The service's clock and ours agree within ten seconds."""
    answer = asked(lambda **told: container.upsert_item({"id": "date", "pk": "values"}, **told))
    if "date" not in answer.headers:
        return skipped("the answer has no Date header")
    apart_s = parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()
    return judged(
        expected=f"at most {CLOCK_S_MAX:.0f} s apart",
        seen=f"{apart_s:+.1f} s",
        holds=abs(apart_s) <= CLOCK_S_MAX,
    )


def nesting(container: ContainerProxy) -> Finding:
    """A document as deep as Cosmos DB takes is below Ebb's limit of 200 levels."""
    deep = asked(lambda **told: container.upsert_item(_nested(DEEP), **told))
    deeper = asked(lambda **told: container.upsert_item(_nested(TOO_DEEP), **told))
    return judged(
        expected=f"{DEEP} levels stored, {TOO_DEEP} refused",
        seen=f"{DEEP}: {deep}, {TOO_DEEP}: {deeper}",
        holds=not deep.status and bool(deeper.status),
    )


def forbidden_ids(container: ContainerProxy) -> Finding:
    """An id has at most 1,023 bytes, and no slash, backslash, question mark or hash."""
    longest = asked(lambda **told: container.upsert_item(_named("x" * ID_BYTES_MAX), **told))
    longer = asked(lambda **told: container.upsert_item(_named("x" * 1024), **told))
    taken = [mark for mark in "/\\?#" if _is_taken(container, f"a{mark}b")]
    return judged(
        expected="1,023 bytes stored, 1,024 refused, / \\ ? # refused",
        seen=f"1,023: {longest}, 1,024: {longer}, taken: {' '.join(taken) or 'none'}",
        holds=not longest.status and bool(longer.status) and not taken,
    )


def page_size(container: ContainerProxy) -> Finding:
    """A page of large documents ends before 4 MB and goes on."""
    ids = [f"big-{number}" for number in range(BIG_COUNT)]
    try:
        for each in ids:
            container.create_item({"id": each, "pk": "big", "big": "x" * BIG_BYTES})
        page = page_of(container, "SELECT * FROM c", limit=100, partition_key="big")
    finally:
        for each in ids:
            container.delete_item(each, "big")
    size = sum(len(json.dumps(each)) for each in page.items)
    return judged(
        expected=f"fewer than {BIG_COUNT} documents of {BIG_BYTES:,} bytes, and a continuation",
        seen=f"{len(page.items)} documents, {size:,} bytes",
        holds=0 < size <= PAGE_BYTES_MAX and page.continuation is not None,
    )


def _is_taken(container: ContainerProxy, name: str) -> bool:
    try:
        return not asked(lambda **told: container.upsert_item(_named(name), **told)).status
    except ValueError:
        return False  # the SDK refuses it before it is sent


def _queried(container: ContainerProxy, name: str) -> dict[str, Any]:
    """A document as a query gives it, which is how Ebb copies."""
    text = "SELECT * FROM c WHERE c.id = @id"
    where = [{"name": "@id", "value": name}]
    return dict(every_item(container, text, parameters=where, partition_key="values")[0])


def _named(name: str) -> dict[str, Any]:
    return {"id": name, "pk": "values"}


def _nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = {"d": value}
    return {"id": f"deep-{levels}", "pk": "values", "d": value}


def _kind_of(order: Sequence[str]) -> str:
    if list(order) == sorted(order):
        return "code points"
    if list(order) == sorted(order, key=lambda each: each.encode("utf-16-be")):
        return "UTF-16 units"
    return f"neither code points nor UTF-16 units: {list(order)}"


CHECKS: Mapping[str, Callable[[ContainerProxy], Finding]] = {
    "cosmos.numbers": numbers,
    "factory.to-string": to_string,
    "cosmos.document-unchanged": unchanged,
    "cosmos.id-order": id_order,
    "cosmos.undefined-key": undefined_key,
    "cosmos.ts": written_at,
    "cosmos.clock": clock,
    "cosmos.nesting": nesting,
    "cosmos.forbidden-ids": forbidden_ids,
    "cosmos.page-4-mb": page_size,
}
