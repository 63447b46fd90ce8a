"""Cosmos DB: conditional writes and reads of single documents, their refusals and their charges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from azure.core import MatchConditions
from azure.cosmos import ContainerProxy

from shared.trial.checks.asking import Answer, asked
from shared.trial.findings import Finding, judged

STALE = '"00000000-0000-0000-0000-000000000000"'
LARGE_BYTES = 300_000
REFUSED_RU_MAX = 2.0
ABSENT, EXISTS, CHANGED, RETRY_WITH = 404, 409, 412, 449
RACERS = 16


def conditions(container: ContainerProxy) -> Finding:
    """A stale etag is refused with 412, an absent document with 404, and nothing is written."""
    before = container.upsert_item(_document("conditions"))
    body = {**_document("conditions"), "changed": True}
    seen = {
        "delete": _deleted(container, "conditions"),
        "replace": _replaced(container, body),
        "delete of none": _deleted(container, "absent"),
        "replace of none": _replaced(container, _document("absent")),
    }
    after = container.read_item("conditions", "writes")
    kept = after["_etag"] == before["_etag"] and "changed" not in after
    statuses = [each.status for each in seen.values()]
    return judged(
        expected="412, 412, 404, 404, and the document as it was",
        seen=f"{_told(seen)}; the document {'as it was' if kept else 'changed'}",
        holds=statuses == [CHANGED, CHANGED, ABSENT, ABSENT] and kept,
    )


def fates(container: ContainerProxy) -> Finding:
    """With the right etag it is done; a create of what exists is 409."""
    etag = container.upsert_item(_document("fates"))["_etag"]
    again = asked(lambda **told: container.create_item(_document("fates"), **told))
    replaced = _replaced(container, _document("fates"), etag=etag)
    deleted = _deleted(container, "fates", etag=replaced.body["_etag"] if replaced.body else STALE)
    seen = {"create": again, "replace": replaced, "delete": deleted}
    return judged(
        expected="create: 409, replace: success, delete: success",
        seen=_told(seen),
        holds=[each.status for each in seen.values()] == [EXISTS, 0, 0],
    )


def raced(container: ContainerProxy) -> Finding:
    """Of sixteen replaces with one etag exactly one is done, and it is the one that is stored."""
    etag = container.upsert_item(_document("raced"))["_etag"]

    def replace(number: int) -> Answer:
        return _replaced(container, {**_document("raced"), "n": number}, etag=etag)

    with ThreadPoolExecutor(RACERS) as pool:
        statuses = [each.status for each in pool.map(replace, range(RACERS))]
    stored = container.read_item("raced", "writes").get("n")
    winners = [number for number, status in enumerate(statuses) if not status]
    return judged(
        expected="1 winner, whose document is stored; 412 or 449 for the others",
        seen=f"winners {winners}, stored {stored}, others {sorted(set(statuses) - {0})}",
        holds=winners == [stored] and set(statuses) <= {0, CHANGED, RETRY_WITH},
    )


def patched(container: ContainerProxy) -> Finding:
    """A patch with a stale etag is refused with 412."""
    container.upsert_item(_document("patched"))
    change = [{"op": "add", "path": "/changed", "value": True}]
    answer = asked(
        lambda **told: container.patch_item("patched", "writes", change, **_if_match(STALE), **told)
    )
    kept = "changed" not in container.read_item("patched", "writes")
    return judged(
        expected="412, and the document as it was",
        seen=f"{answer}; the document {'as it was' if kept else 'changed'}",
        holds=answer.status == CHANGED and kept,
    )


def etag_of_write(container: ContainerProxy) -> Finding:
    """A write's answer has its etag, also without a body."""
    answer = asked(
        lambda **told: container.upsert_item(_document("etag"), no_response=True, **told)
    )
    stored = container.read_item("etag", "writes")["_etag"]
    return judged(
        expected=f"the header etag {stored}",
        seen=str(answer.headers.get("etag", "no such header")),
        holds=answer.headers.get("etag") == stored,
    )


def upsert_if_match(container: ContainerProxy) -> Finding:
    """An upsert with an etag, of a document that is not there: its answer says what it did."""
    _deleted(container, "upserted", etag=None)
    answer = asked(
        lambda **told: container.upsert_item(_document("upserted"), **_if_match(STALE), **told)
    )
    stored = not asked(lambda **told: container.read_item("upserted", "writes", **told)).status
    return judged(
        expected="success and a document, or a refusal and none",
        seen=f"{answer} and {'a' if stored else 'no'} document",
        holds=stored == (not answer.status),
    )


def refusal_prices(container: ContainerProxy) -> Finding:
    """A refused write of a large document costs about as much as a refused one of a small one."""
    large = {**_document("large"), "big": "x" * LARGE_BYTES}
    container.upsert_item(large)
    seen = {
        "412": _deleted(container, "large"),
        "404": _deleted(container, "absent"),
        "409": asked(lambda **told: container.create_item(large, **told)),
    }
    container.delete_item("large", "writes")
    return judged(
        expected=f"each at most {REFUSED_RU_MAX:.0f} RU",
        seen=", ".join(f"{name}: {each.ru:.2f} RU" for name, each in seen.items()),
        holds=all(0 < each.ru <= REFUSED_RU_MAX for each in seen.values()),
    )


def charged(container: ContainerProxy) -> Finding:
    """Each answer has its charge, and the hook is called once for each."""
    calls: list[float] = []

    def hook(headers: Mapping[str, str], _body: Any) -> None:
        calls.append(float(headers["x-ms-request-charge"]))

    container.upsert_item(_document("charged"), response_hook=hook)
    container.read_item("charged", "writes", response_hook=hook)
    container.delete_item("charged", "writes", response_hook=hook)
    return judged(
        expected="three charges above 0",
        seen=", ".join(f"{each:.2f} RU" for each in calls),
        holds=len(calls) == 3 and all(each > 0 for each in calls),  # noqa: PLR2004
    )


def prices(container: ContainerProxy) -> Finding:
    """Reading 1 KB costs about 1 RU and 100 KB about 10; writing about five times that."""
    wanted = {"read 1 KB": 1.0, "read 100 KB": 10.0, "write 1 KB": 5.0, "write 100 KB": 50.0}
    seen = {}
    for name, size in (("1 KB", 600), ("100 KB", 99_000)):
        document = {**_document("priced"), "big": "x" * size}
        seen[f"write {name}"] = asked(lambda d=document, **t: container.upsert_item(d, **t)).ru
        seen[f"read {name}"] = asked(lambda **t: container.read_item("priced", "writes", **t)).ru
    return judged(
        expected=", ".join(f"{name}: {ru:.0f} RU" for name, ru in wanted.items()) + ", within half",
        seen=", ".join(f"{name}: {seen[name]:.2f} RU" for name in wanted),
        holds=all(ru / 2 <= seen[name] <= ru * 2 for name, ru in wanted.items()),
    )


def delete_prices(container: ContainerProxy) -> Finding:
    """A conditional delete costs about as much as a write."""
    seen = []
    for size in (600, 99_000):
        stored = container.upsert_item({**_document("deleted"), "big": "x" * size})
        seen.append(_deleted(container, "deleted", etag=stored["_etag"]).ru)
    return judged(
        expected="about 5 RU for 1 KB and 50 for 100 KB, within half",
        seen=f"{seen[0]:.2f} and {seen[1]:.2f} RU",
        holds=all(ru / 2 <= each <= ru * 2 for ru, each in zip((5.0, 50.0), seen, strict=True)),
    )


def _document(name: str) -> dict[str, Any]:
    return {"id": name, "pk": "writes"}


def _if_match(etag: str | None) -> dict[str, Any]:
    if etag is None:
        return {}
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _deleted(container: ContainerProxy, name: str, *, etag: str | None = STALE) -> Answer:
    return asked(lambda **told: container.delete_item(name, "writes", **_if_match(etag), **told))


def _replaced(container: ContainerProxy, body: dict[str, Any], *, etag: str = STALE) -> Answer:
    return asked(lambda **told: container.replace_item(body["id"], body, **_if_match(etag), **told))


def _told(seen: Mapping[str, Answer]) -> str:
    return ", ".join(f"{name}: {answer}" for name, answer in seen.items())


CHECKS: Mapping[str, Callable[[ContainerProxy], Finding]] = {
    "cosmos.conditions": conditions,
    "cosmos.fates": fates,
    "cosmos.racing-replaces": raced,
    "cosmos.patch-if-match": patched,
    "cosmos.etag-of-write": etag_of_write,
    "cosmos.upsert-if-match": upsert_if_match,
    "cosmos.refusal-price": refusal_prices,
    "cosmos.charge-of-every-answer": charged,
    "cosmos.prices": prices,
    "cosmos.delete-price": delete_prices,
}
